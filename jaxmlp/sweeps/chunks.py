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
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from jaxmlp.runs import explained, write_bytes, write_text
from jaxmlp.sweeps.processes import is_first, on_first
from jaxmlp.sweeps.space import Space, describe
from jaxmlp.sweeps.table import Chunk
from jaxmlp.training import Metrics

RECORD = "sweep.json"
LOCK = ".lock"


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
        write_bytes(self.folder / name, save(arrays, {"digest": self._digest(arrays)}))

    def load(self) -> Iterator[Chunk]:
        """Every whole chunk of this sweep, by epoch; another one is said to be run again."""
        for path in sorted(self.folder.glob("chunk-*.safetensors")):
            try:
                yield self._read(path)
            except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
                if is_first():
                    warnings.warn(f"{path} is damaged and is run again: {error}", stacklevel=2)

    def _read(self, path: Path) -> Chunk:
        with safe_open(path, "np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            written = (file.metadata() or {}).get("digest")
        if written != self._digest(arrays):
            raise ValueError("it is not as this sweep wrote it")
        trials, kept = (tuple(arrays[name].tolist()) for name in ("trials", "kept"))
        metrics = Metrics(*(arrays[name] for name in Metrics._fields))
        leaves = [arrays[name] for name in sorted(arrays) if name.startswith("leaf")]
        return Chunk(trials, int(arrays["first"][0]), metrics, kept, leaves)

    def _digest(self, arrays: dict[str, Any]) -> str:
        """Of what a chunk holds, and of the sweep that it belongs to."""
        digest = hashlib.sha256(json.dumps(self.record).encode())
        for name, array in sorted(arrays.items()):
            digest.update(f"{name}{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def _check_same(path: Path, record: dict[str, Any]) -> None:
    """Raise ValueError unless a folder is for this very sweep."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        names = {name: found.get(name) for name in record}
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not as a sweep writes it: {error!r}: remove it") from error
    for name, value in json.loads(json.dumps(record)).items():  # with lists for tuples
        if names[name] != value:
            raise ValueError(
                f"{path.parent} holds another sweep: its {_difference(name, names[name], value)}: "
                "give another folder, or the same settings"
            )


def _difference(name: str, was: Any, now: Any) -> str:
    """The first part in which two records differ, such as batch_size is 32, not 64."""
    if name == "data":
        return f"data set is another one, of fingerprint {was}, not {now}"
    if name == "space":
        was, now = ({axis[0]: axis[1:] for axis in axes} for axes in (was, now))
        if [*was] != [*now]:
            return f"swept fields are {', '.join(was)}, not {', '.join(now)}"
        name = next(field for field in now if was[field] != now[field])
        return f"{name} is {was[name][0]}, not {now[name][0]}"
    if isinstance(was, dict) and isinstance(now, dict):
        name = next(field for field in now if was.get(field) != now[field])
        return f"{name} is {was.get(name)}, not {now[name]}"
    return f"{name} is {was}, not {now}"


def record_of(space: Space, data: str, keep: str, halving: int | None) -> dict[str, Any]:
    """All that decides about what a sweep leaves; `data` is the fingerprint of the data set."""
    return {
        "version": version("jaxmlp"),
        **describe(space),
        "keep": keep,
        "halving": halving,
        "data": data,
    }
