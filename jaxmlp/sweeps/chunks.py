"""Finished chunks on disk: whole or not there, and only of the sweep that the folder is for."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxmlp.files import (
    began_otherwise,
    check_owned,
    digest,
    environment,
    explained,
    in_order,
    keep_record,
    locked,
    numbered,
    read_tensors,
    remove_partial,
    restore_record,
    write_tensors,
)
from jaxmlp.sweeps.halving import Rung
from jaxmlp.sweeps.plan import Plan
from jaxmlp.sweeps.processes import is_first, on_first
from jaxmlp.sweeps.run import Training
from jaxmlp.sweeps.space import Space, describe
from jaxmlp.sweeps.table import Chunk
from jaxmlp.version import __version__

RECORD = "sweep.json"
FLIGHT = "unfinished.safetensors"
SELDOM = 20  # times as long as it took to write the chunk in flight is it not written again


class Chunks:
    """The folder of a sweep, which says what it is for, and holds what is finished.

    A context: while it is open, no other sweep can open the folder. Of several processes only the
    first one writes.
    """

    def __init__(self, folder: Path, record: dict[str, Any], names: tuple[str, ...]) -> None:
        """Get ready for the folder of the sweep that `record` describes.

        Args:
            folder: its path.
            record: of `record_of`.
            names: of the metrics, in files.
        """
        self.folder, self.record, self.names = folder, record, names
        self.held = ExitStack()
        self.due = 0.0  # when the chunk in flight may be written again

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
        record = self.record | environment()
        restore_record(path, record, self.record, self.folder.glob("*.safetensors"))
        check_owned(self.folder, path, "sweep")
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(locked(self.folder, "sweep"))
            remove_partial(self.folder)
            found = keep_record(path, record, self.record, "sweep")
            if what := began_otherwise(found):
                warnings.warn(f"{self.folder} began otherwise: {what}", stacklevel=2)
            self.held = stack.pop_all()

    def save(self, chunk: Chunk) -> None:
        """Keep a chunk that is finished."""
        if is_first():
            self._write(_name(chunk), chunk)
            (self.folder / FLIGHT).unlink(missing_ok=True)

    def keep(self, chunk: Callable[[], Chunk], seldom: bool = True) -> None:
        """Keep a chunk in flight, with all that its trials go on from, in a sweep of one process.

        Args:
            chunk: how it is by now.
            seldom: not if that would take more than a twentieth of the time.
        """
        start = time.perf_counter()
        if jax.process_count() > 1 or (seldom and start < self.due):
            return
        self._write(FLIGHT, chunk())
        now = time.perf_counter()
        self.due = now + SELDOM * (now - start)

    def _write(self, name: str, chunk: Chunk) -> None:
        metrics = zip(self.names, chunk.metrics, strict=True)
        arrays = {name: np.asarray(values) for name, values in metrics}
        arrays |= numbered("leaf", chunk.leaves)
        arrays["trials"] = np.asarray(chunk.trials, np.int32)
        arrays["kept"] = np.asarray(chunk.kept, np.int32)
        arrays["first"] = np.asarray([chunk.first], np.int32)
        write_tensors(self.folder / name, self.record, arrays)

    def load(self, rung: Rung, plan: Plan, training: Training) -> Iterator[Chunk]:
        """Every finished chunk of a rung; a file that is none is skipped, with a warning."""
        for path in sorted(self.folder.glob(f"chunk-{rung.first:05d}-*.safetensors")):
            if chunk := self._read(path, plan, training):
                yield chunk

    def drop(self, chunk: Chunk) -> None:
        """Remove a finished chunk, to train it again."""
        if is_first():
            (self.folder / _name(chunk)).unlink(missing_ok=True)

    def load_flight(self, plan: Plan, training: Training) -> Chunk | None:
        """The chunk in flight; none if there are several processes, which might not all see it."""
        path = self.folder / FLIGHT
        alone = jax.process_count() == 1
        return self._read(path, plan, training) if alone and path.exists() else None

    def _read(self, path: Path, plan: Plan, training: Training) -> Chunk | None:
        try:
            chunk = self._parse(path)
            _check(chunk, plan, training, flying=path.name == FLIGHT)
            if path.name not in (FLIGHT, _name(chunk)):
                raise ValueError(f"it should be called {_name(chunk)}")
        except (KeyError, TypeError, ValueError) as error:
            if is_first():
                message = f"{path} is damaged or of another sweep, and not used: {error}"
                warnings.warn(message, stacklevel=2)
            return None
        return chunk

    def _parse(self, path: Path) -> Chunk:
        arrays, written = read_tensors(path)
        if written != digest(self.record, arrays):
            raise ValueError("it is not as this sweep wrote it")
        for name in ("trials", "kept", "first"):
            if arrays[name].dtype != np.int32:
                raise ValueError(f"its {name} are no integers")
        trials, kept = (tuple(arrays[name].tolist()) for name in ("trials", "kept"))
        metrics = tuple(arrays[name] for name in self.names)
        first = int(arrays["first"].item())
        return Chunk(trials, first, metrics, kept, in_order("leaf", arrays))


def _name(chunk: Chunk) -> str:
    """What a finished chunk's file is called."""
    return f"chunk-{chunk.first:05d}-{chunk.trials[0]:06d}-{len(chunk.trials)}.safetensors"


def _check(chunk: Chunk, plan: Plan, training: Training, flying: bool) -> None:
    """Raise ValueError unless the trials, epochs and shapes of a chunk are those of a plan."""
    trials = {*chunk.trials}
    buckets = [bucket for bucket in plan.buckets if trials.issubset(bucket.trials)]
    rungs = [rung for rung in plan.rungs if rung.first == chunk.first]
    if not (trials and buckets and rungs) or len(trials) < len(chunk.trials):
        raise ValueError(f"it holds trials {chunk.trials} from epoch {chunk.first} on")
    config, rung = buckets[0].config, rungs[0]
    epochs = min(rung.last, config.epochs) - rung.first
    found = {(values.shape, values.dtype) for values in chunk.metrics}
    length = chunk.metrics[0].size // len(trials)
    possible = 0 < length < epochs if flying else length == epochs
    if found != {((len(trials), length), np.dtype(np.float32))} or not possible:
        raise ValueError(f"it holds metrics of shapes {found}")
    ends = rung == plan.rungs[-1] and not flying
    if not (trials.issuperset(chunk.kept) if ends else chunk.kept == chunk.trials):
        raise ValueError(f"it holds the parameters of {chunk.kept}")
    like = training.like(config)
    wanted = [((len(chunk.kept), *leaf.shape), leaf.dtype)
              for leaf in jax.tree.leaves(training.chosen(like) if ends else like)]  # fmt: skip
    if [(leaf.shape, leaf.dtype) for leaf in chunk.leaves] != (wanted if chunk.kept else []):
        raise ValueError("it holds parameters of other shapes")


def record_of(space: Space, data: str, keep: str, halving: int | None) -> dict[str, Any]:
    """All that decides about what a sweep leaves; `data` is its data set's fingerprint."""
    return {
        "version": __version__,
        **describe(space),
        "keep": keep,
        "halving": halving,
        "fingerprint": data,
    }
