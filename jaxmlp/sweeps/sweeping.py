"""`sweep`: train every trial of a space, and return one labelled table."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmlp.bounds import check_integer
from jaxmlp.data import Dataset
from jaxmlp.settings import Config
from jaxmlp.sweeps.halving import Rung, survivors, worth_keeping
from jaxmlp.sweeps.networks import NetworkTraining
from jaxmlp.sweeps.plan import Bucket, Plan, free_memory, make_plan
from jaxmlp.sweeps.processes import check_same, smallest, together
from jaxmlp.sweeps.run import Curves, Training, curves_of, fetch, train_together
from jaxmlp.sweeps.space import Space, describe, make_space
from jaxmlp.sweeps.table import Chunk, check_installed, columns_of, decisive_after, table_of
from jaxmlp.sweeps.task_training import task_space
from jaxmlp.sweeps.tasks import Task
from jaxmlp.training import check_loss, out_of_memory

KEEP = ("best", "all")


class Progress(NamedTuple):
    """How far a sweep is.

    Attributes:
        share: of the whole work that is done.
        finished: trials that are finished.
        trials: all of them.
    """

    share: float
    finished: int
    trials: int


def sweep(
    space: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    dataset: Dataset | Task | Callable[..., Any],
    *,
    config: Config | None = None,
    hyper: Any = None,
    seed: int = 0,
    epochs: int | None = None,
    objective: str | None = None,
    mode: str | None = None,
    trials: int | None = None,
    draw_seed: int = 0,
    out: str | Path | None = None,
    at_once: int | None = None,
    keep: str = "best",
    halving: int | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Any:
    """Train every setting of a space.

    Trials that differ in numbers only are trained together in one compiled program, and see the
    same minibatches in the same order; so are networks of different widths, padded with zeros,
    where that costs less than another compilation. The trials are spread over all devices; after
    `jax.distributed.initialize`, over those of all processes, which all have to call this with
    the same arguments, and of which the first one alone writes.

    Args:
        space: what to sweep: names of fields of `Config` and `Hyperparams`, or `seed`, each with
            a list of values, which make a grid, such as
            {"learning_rate": [0.001, 0.01], "hidden": [(32,), (64,)], "seed": range(8)}; or
            with `uniform`, `loguniform` or `choice`, which are drawn `trials` times; or
            `setting` with a list of dicts, which set several fields together.
        dataset: the training and validation parts are used, the test part is not. Or a training of
            your own: a `Task`, or a function (key, hyper) -> metrics, a dict of arrays over the
            epochs. Its fields are what `space` and `hyper` name.
        config, hyper, seed: what is not swept. Sweeping `data_seed` gives each trial an order of
            its own; the validation part is the data set's, whatever the seed.
        epochs, objective, mode: of a task: for how long it trains, the metric by which a setting is
            the best, and whether `min` or `max` of it is. Of one function, the epochs are known.
        trials, draw_seed: of the fields that are drawn at random.
        out: a folder for what is done; a sweep that was stopped goes on from there.
        at_once: how many trials to train at once at the most; by default, what fits in memory,
            or on a CPU in its cache, which is faster.
        keep: whose parameters the table holds: of the `best` setting, by `Config.metric` on the
            validation part, or of `all` trials.
        halving: η of successive halving: after every rung only the best 1/η of the settings go
            on, for η times as many epochs in all. Their curves are those of the full sweep.
        on_progress: called after every epoch.

    Returns:
        An `xarray.Dataset`: one dimension per swept name, in the order given, then epoch;
        variables train_loss, validation_loss, validation_accuracy (or another metric that
            `Config` names); diverged, which is the
        epoch in which a loss of a trial became NaN or infinite, or 0; and trained, which is how
        many epochs it had. Its attributes say what it is a table of, and hold the parameters that
        are kept, for `params_at`. Every trial's losses are those that `train` gives with the same
        settings, up to a relative difference of 10⁻⁴, unless training itself makes rounding
        errors grow: see `replay`.

    Raises:
        ValueError: if the space or a setting is unsound, or `out` holds another sweep.
        ModuleNotFoundError: if xarray is not installed.
        LostProcessError: if one of several processes has ended.
    """
    check_installed()
    if keep not in KEEP:
        raise ValueError(f"keep is {keep!r}: give one of {', '.join(KEEP)}")
    if not isinstance(out, (str, Path, NoneType)):
        raise ValueError(f"out is {out!r}: give a folder's path")
    if at_once is not None:
        check_integer("at_once", at_once, least=1)
    drawn = {"trials": trials, "draw_seed": draw_seed}
    training: Training
    if isinstance(dataset, Dataset):
        for name, value in (("epochs", epochs), ("objective", objective), ("mode", mode)):
            if value is not None:
                says = "Config(epochs=…)" if name == "epochs" else "Config(metric=…)"
                raise ValueError(f"{name} is {value!r}, which is for tasks: give {says}")
        config = Config() if config is None else config
        found = make_space(space, config, hyper, seed=seed, **drawn)
        kinds = {(each.config, float(each.hyper.label_smoothing)): each for each in found.trials}
        for trial in kinds.values():
            check_loss(trial.hyper, dataset, trial.config)
        training = NetworkTraining(dataset)
    elif isinstance(dataset, Task) or callable(dataset):
        if config is not None:
            raise ValueError("config is for networks: a task gets its fields by hyper=")
        by = epochs, objective, mode or "min"
        found, training = task_space(space, dataset, hyper, seed, *by, **drawn)
    else:
        raise ValueError(
            f"dataset is a {type(dataset).__name__}: give a jaxmlp.Dataset, a Task, or a function "
            "of (key, hyper)"
        )
    return _train(found, training, out, at_once, keep, halving, on_progress)


def _train(
    space: Space,
    training: Training,
    out: str | Path | None,
    at_once: int | None,
    keep: str,
    halving: int | None,
    on_progress: Callable[[Progress], None],
) -> Any:
    """Train the trials of a space: the table."""
    with together(), contextlib.ExitStack() as stack:
        data = training.fingerprint()
        check_same("space", (describe(space), keep, halving, at_once))
        check_same("data", data)
        memory = smallest(free_memory())
        plan = make_plan(space, training, at_once, halving=halving, memory=memory)
        folder = None
        if out is not None:
            folder = stack.enter_context(_folder(Path(out), space, data, keep, halving))
        run = _Run(plan, training, keep, on_progress, folder)
        run.train()
        while folder and (useless := run.without_parameters()):
            for chunk in useless:
                folder.drop(chunk)
            run = _Run(plan, training, keep, on_progress, folder)
            run.train()
    found = training.attributes(space.trials, run.held)
    return table_of(space, run.chunks, {"data": data, **found})


def _folder(path: Path, space: Space, data: str, keep: str, halving: int | None) -> Any:
    """The folder for finished chunks; its format needs packages that are imported only here."""
    from jaxmlp.sweeps.chunks import Chunks, record_of

    return Chunks(path, record_of(space, data, keep, halving), space.objective.saved)


class _Run:
    """A sweep under way: the curves so far, and what training goes on from."""

    def __init__(
        self,
        plan: Plan,
        training: Training,
        keep: str,
        on_progress: Callable[[Progress], None],
        folder: Any,
    ) -> None:
        self.plan, self.space, self.training, self.keep = plan, plan.space, training, keep
        self.on_progress, self.folder = on_progress, folder
        self.flight: Chunk | None = None  # the chunk that an earlier process was training
        self.chunks: list[Chunk] = []
        self.held: dict[int, list[np.ndarray]] = {}  # of a trial: its state, or its last parameters
        self.alive = set(range(len(self.space.trials)))
        self.lengths = np.asarray([trial.config.epochs for trial in self.space.trials])
        self.at_once = {bucket: bucket.at_once for bucket in plan.buckets}
        self.work = 0.0
        self.compared = False

    def train(self) -> None:
        """Train all that is not in the folder: rung by rung, bucket by bucket, chunk by chunk."""
        if self.folder:
            self.flight = self.folder.load_flight(self.plan, self.training)
        for rung in self.plan.rungs:
            if rung.first:
                columns = columns_of(self.space, self.chunks)
                decisive = decisive_after(self.space, columns, rung.first)
                self.alive = survivors(self.space, decisive, rung.settings)
                self._hold_only(self.alive)
            self._load(rung)
            for bucket in self.plan.buckets:
                for chunk in self._train_bucket(rung, bucket):
                    if self.folder:
                        self.folder.save(chunk)
                    self._tell()
        if self.keep == "best":  # what was loaded may be states that others went on from
            self._hold_only(self._wanted())

    def without_parameters(self) -> list[Chunk]:
        """Finished chunks of the best setting that kept no parameters, as it was not the best then.

        That can change where a lost chunk was trained again with others, and rounded otherwise.
        """
        last = self.plan.rungs[-1].first
        missing = self._wanted() - {*self.held} if self.keep == "best" else set()
        return [
            chunk for chunk in self.chunks
            if chunk.first == last and not missing.isdisjoint(chunk.trials)
        ]  # fmt: skip

    def _load(self, rung: Rung) -> None:
        """Take what the folder has of a rung; the rest goes on from what the one before it left."""
        for chunk in self.folder.load(rung, self.plan, self.training) if self.folder else ():
            if self.alive.issuperset(chunk.trials):  # else one was lost, and others survive now
                self.chunks.append(chunk._replace(leaves=()))
                self._hold(chunk)
        known = sorted(chunk.trials for chunk in self.chunks if chunk.first == rung.first)
        check_same("finished chunks", known)

    def _train_bucket(self, rung: Rung, bucket: Bucket) -> Iterator[Chunk]:
        done = {
            trial for chunk in self.chunks if chunk.first == rung.first for trial in chunk.trials
        }
        last = min(rung.last, bucket.config.epochs)
        each = self.training.work(bucket.config) / bucket.config.epochs
        every = [trial for trial in bucket.trials if trial in self.alive]
        self.work += each * (last - rung.first) * len(done.intersection(every))
        todo = [trial for trial in every if trial not in done]
        while todo:
            # all as large, whatever is finished already, so that they share a program
            size = -(-len(every) // -(-len(every) // self.at_once[bucket]))
            flying = self._flying(rung.first)
            stopped = [trial for trial in todo if trial in flying]
            some = tuple((stopped or todo)[:size])
            try:
                curves = self._train_chunk(some, size, bucket, rung.first, last, each)
            except jax.errors.JaxRuntimeError as error:
                if not out_of_memory(error) or len(some) == 1:
                    raise
                if jax.process_count() > 1:  # the others have not run out, and would go on
                    raise ValueError(
                        f"memory is short for {len(some)} trials at once: give a smaller at_once"
                    ) from error
                self.at_once[bucket] = -(-len(some) // 2)
                continue
            self.work += each * (last - rung.first) * len(some)
            if not (self.compared or rung.first or stopped):
                self.training.compare(
                    self.space.trials[some[0]], [metric[0] for metric in curves.metrics]
                )
                self.compared = True
            trained = {*some}
            todo = [trial for trial in todo if trial not in trained]
            if stopped and flying.isdisjoint(todo):
                self.flight = None  # its states take room
            yield self._finish(Chunk(some, rung.first, curves.metrics), curves.states)

    def _train_chunk(
        self, some: tuple[int, ...], size: int, bucket: Bucket, first: int, last: int, each: float
    ) -> Curves:
        """Train some trials to the end of a rung, which begins with the epoch `first`."""
        flight = self.flight
        if flight and some[0] in self._flying(first):
            rows = [flight.trials.index(trial) for trial in some]
            before = tuple(values[rows] for values in flight.metrics)
            begin = first + before[0].shape[1]
            states = self._unflatten([leaf[rows] for leaf in flight.leaves], bucket.config)
        else:
            nothing = np.empty((len(some), 0), np.float32)
            begin, before = first, (nothing,) * len(self.space.objective.names)
            states = self._states(some, bucket.config) if first else None

        def joined(metrics: Any) -> tuple[np.ndarray, ...]:
            return tuple(np.hstack(both) for both in zip(before, metrics, strict=True))

        def on_epoch(done: int, states: Any, history: list[Any]) -> None:
            if begin + done == last:  # the whole chunk is kept soon
                return

            def now() -> Chunk:
                held = self.training.turned(jax.device_get(states))
                leaves = [leaf[: len(some)] for leaf in jax.tree.leaves(held)]
                return Chunk(some, first, joined(curves_of(history, len(some))), some, leaves)

            if self.folder:
                self.folder.keep(now)
            try:
                self._tell(each * len(some) * (begin + done - first))
            except KeyboardInterrupt:
                if self.folder:
                    self.folder.keep(now, seldom=False)
                raise

        curves = train_together(
            [self.space.trials[trial] for trial in some],
            bucket.config,
            self.training,
            size,
            shared=bucket.shared,
            states=states,
            first=begin,
            last=last,
            on_epoch=on_epoch,
        )
        metrics = joined(curves.metrics)
        left = last - first - metrics[0].shape[1]  # not trained, as all have stopped before
        more = (0, 0), (0, left)
        padded = tuple(np.pad(values, more, constant_values=np.nan) for values in metrics)
        return curves._replace(metrics=padded)

    def _flying(self, first: int) -> set[int]:
        """The trials that were stopped in the rung that begins with the epoch `first`."""
        return {*self.flight.trials} if self.flight and self.flight.first == first else set()

    def _tell(self, work: float = 0.0) -> None:
        """Say how far the sweep is, with some work on a chunk that is not finished."""
        final = self.plan.rungs[-1].first
        ended = sum(len(chunk.trials) for chunk in self.chunks if chunk.first == final)
        trials = len(self.space.trials)
        share = min(1.0, (self.work + work) / self.plan.work)
        self.on_progress(Progress(share, trials - len(self.alive) + ended, trials))

    def _states(self, some: Sequence[int], config: Any) -> Any:
        """What some trials go on from, with a first axis of trials."""
        leaves = [np.stack(each) for each in zip(*(self.held[i] for i in some), strict=True)]
        return self._unflatten(leaves, config)

    def _unflatten(self, leaves: Sequence[np.ndarray], config: Any) -> Any:
        return jax.tree.unflatten(jax.tree.structure(self.training.like(config)), leaves)

    def _finish(self, chunk: Chunk, states: Any) -> Chunk:
        """Hold of a chunk what may be wanted later; the chunk with just that."""
        self.chunks.append(chunk)
        ends = chunk.first == self.plan.rungs[-1].first
        wanted = self._wanted() if ends and self.keep == "best" else self.alive
        rows = [row for row, trial in enumerate(chunk.trials) if trial in wanted]
        kept = self.training.chosen(states) if ends else states
        chunk = chunk._replace(
            kept=tuple(chunk.trials[row] for row in rows),
            leaves=jax.tree.leaves(self.training.turned(fetch(kept, rows))) if rows else [],
        )
        self._hold(chunk)
        self._hold_only(wanted)
        return chunk

    def _wanted(self) -> set[int]:
        """The trials whose parameters may still be those of the best setting."""
        columns = columns_of(self.space, self.chunks)
        ended = {*np.flatnonzero(columns.finished).tolist()}
        decisive = decisive_after(self.space, columns, self.lengths)
        return worth_keeping(self.space, decisive, self.alive - ended)

    def _hold(self, chunk: Chunk) -> None:
        self._hold_only({*self.held}.difference(chunk.trials))
        for row, trial in enumerate(chunk.kept):
            self.held[trial] = [leaf[row].copy() for leaf in chunk.leaves]

    def _hold_only(self, wanted: set[int]) -> None:
        self.held = {trial: leaves for trial, leaves in self.held.items() if trial in wanted}
