"""Finished chunks on disk: whole or not there, and only of the sweep that the folder is for."""

import hashlib
import json
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from jaxmlp.data import Dataset
from jaxmlp.runs import explained, write_bytes, write_text
from jaxmlp.sweeps.processes import is_first, on_first
from jaxmlp.sweeps.space import Space, describe
from jaxmlp.sweeps.table import Chunk
from jaxmlp.training import Metrics

RECORD = "sweep.json"
LOCK = ".lock"


def fingerprint(dataset: Dataset) -> str:
    """A short name for the numbers of a data set."""
    digest = hashlib.sha256()
    for part in (dataset.train, dataset.validation, dataset.test):
        for array in part:
            values = np.ascontiguousarray(array)
            digest.update(f"{values.dtype}{values.shape}".encode())
            digest.update(values.data)
    return digest.hexdigest()[:16]


class Chunks:
    """The folder of a sweep, which says what it is for, and holds what is finished.

    A context: while it is open, no other sweep can open the folder. Of several processes only the
    first one writes.
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        """Get ready for the folder of the sweep that `record` describes."""
        self.folder, self.record = folder, record
        self.lock = FileLock(folder / LOCK)

    def __enter__(self) -> "Chunks":
        """Open the folder, or make it.

        Raises:
            ValueError: if it is in use, is for another sweep, with what differs, or cannot be
                written.
        """
        on_first(self._open)
        return self

    def __exit__(self, *_: object) -> None:
        """Let others open the folder."""
        self.lock.release()

    def _open(self) -> None:
        path = self.folder / RECORD
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(
                f"{self.folder} is in use by another sweep: wait for it, or give another folder"
            ) from None
        try:
            if path.exists():
                _check_same(path, self.record)
            else:
                write_text(path, json.dumps(self.record, indent=1) + "\n")
        except ValueError:
            self.lock.release()
            raise

    def save(self, chunk: Chunk) -> None:
        """Write a chunk aside and rename it."""
        if not is_first():
            return
        arrays = {name: np.asarray(values) for name, values in chunk.metrics._asdict().items()}
        arrays |= {f"leaf{number:03d}": leaf for number, leaf in enumerate(chunk.leaves)}
        arrays["trials"] = np.asarray(chunk.trials, np.int32)
        arrays["kept"] = np.asarray(chunk.kept, np.int32)
        arrays["first"] = np.asarray([chunk.first], np.int32)
        name = f"chunk-{chunk.first:05d}-{chunk.trials[0]:06d}-{len(chunk.trials)}.safetensors"
        write_bytes(self.folder / name, save(arrays))

    def load(self) -> Iterator[Chunk]:
        """Every chunk that is whole; a damaged one is said to be run again."""
        for path in sorted(self.folder.glob("chunk-*.safetensors")):
            try:
                yield _read(path)
            except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
                if is_first():
                    warnings.warn(f"{path} is damaged and is run again: {error}", stacklevel=2)


def _read(path: Path) -> Chunk:
    arrays: dict[str, Any] = load_file(path)
    trials, kept = (tuple(arrays[name].tolist()) for name in ("trials", "kept"))
    metrics = Metrics(*(arrays[name] for name in Metrics._fields))
    leaves = [arrays[name] for name in sorted(arrays) if name.startswith("leaf")]
    if any(len(values) != len(trials) for values in metrics):
        raise ValueError("it has other trials than curves")
    if any(len(leaf) != len(kept) for leaf in leaves):
        raise ValueError("it has other trials than parameters")
    return Chunk(trials, int(arrays["first"][0]), metrics, kept, leaves)


def _check_same(path: Path, record: dict[str, Any]) -> None:
    """Raise ValueError unless a folder is for this very sweep."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        names = {name: found.get(name) for name in record}
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not as a sweep writes it: {error!r}: remove it") from error
    wanted = json.loads(json.dumps(record))  # with lists for tuples
    for name, value in wanted.items():
        if names[name] != value:
            was, now = _difference(names[name], value)
            raise ValueError(
                f"{path.parent} holds another sweep: its {name} is {was}, not {now}: give another "
                "folder, or the same settings"
            )


def _difference(one: Any, other: Any) -> tuple[Any, Any]:
    """The first part in which two records differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in {**one, **other}:
            if one.get(name) != other.get(name):
                was, now = _difference(one.get(name), other.get(name))
                return (f"{name} {was}", f"{name} {now}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return next(_difference(a, b) for a, b in zip(one, other, strict=True) if a != b)
    return one, other


def record_of(space: Space, dataset: Dataset, keep: str, halving: int | None) -> dict[str, Any]:
    """All that decides about what a sweep leaves."""
    return {
        "version": version("jaxmlp"),
        "data": fingerprint(dataset),
        **describe(space),
        "keep": keep,
        "halving": halving,
    }
