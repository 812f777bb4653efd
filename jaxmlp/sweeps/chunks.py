"""Finished chunks on disk: whole or not there, and only of the sweep that the folder is for."""

import hashlib
import json
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from jaxmlp.data import Dataset
from jaxmlp.runs import write_bytes, write_text
from jaxmlp.sweeps.run import Chunk
from jaxmlp.sweeps.space import Space, describe
from jaxmlp.training import Metrics

RECORD = "sweep.json"


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
    """The folder of a sweep, which says what it is for, and holds what is finished."""

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        """Open a folder, or make it.

        Raises:
            ValueError: if it is for another sweep, with what differs, or cannot be written.
        """
        self.folder = folder
        path = folder / RECORD
        if path.exists():
            _check_same(path, record)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(record, indent=1) + "\n")

    def save(self, chunk: Chunk) -> None:
        """Write a chunk aside and rename it."""
        arrays = {name: np.asarray(values) for name, values in chunk.metrics._asdict().items()}
        arrays["trials"] = np.asarray(chunk.trials, np.int32)
        first, number = chunk.trials[0], len(chunk.trials)
        write_bytes(self.folder / f"chunk-{first:06d}-{number}.safetensors", save(arrays))

    def load(self) -> Iterator[Chunk]:
        """Every chunk that is whole; a damaged one is said to be run again."""
        for path in sorted(self.folder.glob("chunk-*.safetensors")):
            try:
                arrays = load_file(path)
                trials = tuple(int(number) for number in arrays["trials"])
                metrics = [jnp.asarray(arrays[name]) for name in Metrics._fields]
                if any(len(values) != len(trials) for values in metrics):
                    raise ValueError("it has other trials than curves")
            except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
                warnings.warn(f"{path} is damaged and is run again: {error}", stacklevel=2)
            else:
                yield Chunk(trials, Metrics(*metrics))


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


def record_of(space: Space, dataset: Dataset) -> dict[str, Any]:
    """All that decides about the numbers of a sweep."""
    return {"version": version("jaxmlp"), "data": fingerprint(dataset), **describe(space)}
