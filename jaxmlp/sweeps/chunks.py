"""Finished chunks on disk: whole or not there, and only of the sweep that the folder is for."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from jaxmlp.files import (
    check_owned,
    digest,
    explained,
    keep_record,
    locked,
    read_tensors,
    remove_partial,
    write_tensors,
)
from jaxmlp.sweeps.processes import is_first, on_first
from jaxmlp.sweeps.space import Space, describe
from jaxmlp.sweeps.table import Chunk
from jaxmlp.training import Metrics

RECORD = "sweep.json"


class Chunks:
    """The folder of a sweep, which says what it is for, and holds what is finished.

    A context: while it is open, no other sweep can open the folder. Of several processes only the
    first one writes.
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        """Get ready for the folder of the sweep that `record` describes."""
        self.folder, self.record = folder, record
        self.held = ExitStack()

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
        self.held.close()

    def _open(self) -> None:
        path = self.folder / RECORD
        check_owned(self.folder, path, "sweep")
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(locked(self.folder, "sweep"))
            remove_partial(self.folder)
            keep_record(path, self.record, self.record, "sweep")
            self.held = stack.pop_all()

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
        write_tensors(self.folder / name, self.record, arrays)

    def load(self) -> Iterator[Chunk]:
        """Every whole chunk of this sweep, by epoch; of another one it is said why it is not."""
        for path in sorted(self.folder.glob("chunk-*.safetensors")):
            try:
                yield self._read(path)
            except (KeyError, TypeError, ValueError) as error:
                if is_first():
                    warnings.warn(
                        f"{path} is damaged or of another sweep, and not used: {error}",
                        stacklevel=2,
                    )

    def _read(self, path: Path) -> Chunk:
        arrays, written = read_tensors(path)
        if written != digest(self.record, arrays):
            raise ValueError("it is not as this sweep wrote it")
        trials, kept = (tuple(arrays[name].tolist()) for name in ("trials", "kept"))
        metrics = Metrics(*(arrays[name] for name in Metrics._fields))
        leaves = [arrays[name] for name in sorted(arrays) if name.startswith("leaf")]
        return Chunk(trials, int(arrays["first"][0]), metrics, kept, leaves)


def record_of(space: Space, data: str, keep: str, halving: int | None) -> dict[str, Any]:
    """All that decides about what a sweep leaves; `data` is its data set's fingerprint."""
    return {
        "version": version("jaxmlp"),
        **describe(space),
        "keep": keep,
        "halving": halving,
        "fingerprint": data,
    }
