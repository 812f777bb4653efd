"""Anybody's training in a sweep: which fields can be traced, and the epochs of many trials at once.

What the task is made of is looked at by tracing it: nothing is computed, and nothing compiled.
"""

import hashlib
import json
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxmlp.importing import first_line
from jaxmlp.sweeps.run import EVERYWHERE, SPREAD, Epoch, mesh, put
from jaxmlp.sweeps.schema import Trial
from jaxmlp.sweeps.space import Space, is_number, space_on
from jaxmlp.sweeps.states import Skeleton, apart, as_attributes
from jaxmlp.sweeps.tasks import (
    MODES,
    TAKEN,
    Task,
    TaskConfig,
    hyper_of,
    task_of,
    task_schema,
)

INIT, EPOCH = 1, 2  # what the two roots of a trial's keys are folded in with
COPIES = 4  # of a state while it trains: itself, the next one, and what is in between
BOUND = 1e-4  # of what metrics of a trial in a sweep and alone may differ by, relatively
TINY = 1e-30  # a metric that is smaller counts as that
ALONE = 2  # epochs that a trial is run alone for
OURS = str(Path(__file__).parents[1])


class TaskError(ValueError):
    """What a task returns is not what it should."""


class Reading(NamedTuple):
    """What tracing a task found.

    Attributes:
        traced: the dtype of every field that is traced.
        untraced: of the numbers that cannot be, why.
        metrics: their names.
    """

    traced: dict[str, Any]
    untraced: dict[str, str]
    metrics: tuple[str, ...]


class TaskTraining:
    """A task with its trials, as `run.Training` describes it."""

    def __init__(self, task: Task, trials: Sequence[Trial]) -> None:
        """Find out what can be traced, and which metrics there are.

        Raises:
            ValueError: if the task raises, changes its state's shapes, or has no scalar metrics.
        """
        self.task, self.trials = task, trials
        self.programs: dict[Any, Any] = {}
        self.skeletons: dict[TaskConfig, Skeleton] = {}
        self.reading = self._read()

    # --- what the plan asks ---

    def config_of(self, trial: Trial) -> TaskConfig:
        """The fields that are not traced."""
        static = {k: v for k, v in trial.hyper.values.items() if k not in self.reading.traced}
        return TaskConfig(trial.config.epochs, tuple(static.items()))

    def merged(self, groups: Mapping[TaskConfig, list[int]]) -> dict[TaskConfig, list[int]]:
        """Each has a program of its own."""
        return dict(groups)

    def fields_of(self, config: TaskConfig) -> dict[str, Any]:
        """The fields that are not traced, and the epochs."""
        return {**dict(config.static), "epochs": config.epochs}

    def shares_order(self, trials: Iterable[Trial]) -> bool:
        """No: a task has minibatches of its own, if any."""
        return False

    def work(self, config: TaskConfig) -> float:
        """Epochs: nothing else is known."""
        return float(config.epochs)

    def bytes_each(self, config: TaskConfig, shared: bool) -> int:
        """A few times its state."""
        return COPIES * self.bytes_of_state(config) + 1

    def bytes_of_state(self, config: TaskConfig) -> int:
        """By its shapes."""
        return sum(leaf.size * leaf.dtype.itemsize for leaf in self.like(config))

    def like(self, config: TaskConfig) -> list[Any]:
        """The arrays in a state."""
        with _explained("init"):
            return jax.eval_shape(self._init(config), *self._example(config))

    # --- how it is trained ---

    def start(self, trials: Sequence[Trial], config: TaskConfig) -> list[Any]:
        """The first states."""
        roots, numbers = self._numbers(trials)
        key = "start", config, len(trials)
        if key not in self.programs:
            with _explained("init"):
                self.programs[key] = _hoisted(jax.vmap(self._init(config)), roots, numbers)
        closed, run = self.programs[key]
        return jax.jit(run)(closed, roots, numbers)

    def epochs(
        self, trials: Sequence[Trial], mine: slice, config: TaskConfig, shared: bool
    ) -> Epoch:
        """The epochs of all trials, mapped as one program."""
        numbers = put(self._numbers(trials[mine]), SPREAD)
        key = "epoch", config, len(trials)

        def run_epoch(states: list[Any], epoch: int) -> tuple[list[Any], tuple[Any, ...]]:
            count = np.int32(epoch)
            if key not in self.programs:
                mapped = jax.vmap(self._epoch(config), in_axes=(0, 0, 0, None))
                with _explained("epoch"):
                    constants, run = _hoisted(mapped, states, *numbers, count)
                out = NamedSharding(mesh(), SPREAD), NamedSharding(mesh(), EVERYWHERE)
                run = jax.jit(run, donate_argnums=1, out_shardings=out)
                self.programs[key] = put(constants, EVERYWHERE), run
            constants, run = self.programs[key]
            return run(constants, states, *numbers, count)

        return run_epoch

    def ended(self, states: list[Any], config: TaskConfig) -> bool:
        """A task does not stop by itself."""
        return False

    def turned(self, states: Any) -> Any:
        """The states as they are."""
        return states

    def chosen(self, states: Any) -> Any:
        """The whole state."""
        return states

    def state(self, trial: Trial, leaves: Sequence[Any]) -> Any:
        """The state of a trial as the task made it, from its arrays."""
        config = self.config_of(trial)
        self.like(config)  # by which the skeleton is known
        return self.skeletons[config].whole(list(map(jnp.asarray, leaves)))

    def alone(self, trial: Trial) -> np.ndarray:
        """The curves of a trial without any other."""
        every = (metrics for _, metrics, _ in self._each_epoch_alone(trial))
        return np.asarray([*every], np.float32).T

    def named(self, curves: np.ndarray) -> dict[str, np.ndarray]:
        """A dict by the names of the metrics."""
        return dict(zip(self.reading.metrics, curves, strict=True))

    def nudged(self, trial: Trial, ulps: tuple[int, int]) -> Trial:
        """A change in the last digit of all real fields, the first number for every other one."""
        values = dict(trial.hyper.values)
        real = [name for name, dtype in self.reading.traced.items() if dtype == np.float32]
        for place, name in enumerate(real):
            towards = np.float32(np.copysign(np.inf, ulps[place % 2]))
            if ulps[place % 2]:
                values[name] = float(np.nextafter(np.float32(values[name]), towards))
        return trial._replace(hyper=trial.hyper._replace(values=values))

    def _each_epoch_alone(self, trial: Trial) -> Iterator[tuple[bool, list[float], list[Any]]]:
        """Of every epoch: whether it changes the state, the metrics, the next state."""
        config = self.config_of(trial)
        root, numbers = jax.tree.map(lambda leaf: leaf[0], self._numbers([trial]))
        key = "alone", config
        if key not in self.programs:
            init, epoch = self._init(config), self._epoch(config)
            state = jax.eval_shape(init, root, numbers)
            self.programs[key] = (
                _hoisted(init, root, numbers),
                _hoisted(epoch, state, root, numbers, np.int32(0)),
            )
        (constants, init), (shared, epoch) = self.programs[key]
        run = jax.jit(epoch)
        state = jax.jit(init)(constants, root, numbers)
        for number in range(config.epochs):
            before = state
            state, metrics = run(shared, state, root, numbers, np.int32(number))
            pairs = zip(*jax.device_get((before, state)), strict=True)
            moves = not all(one.tobytes() == other.tobytes() for one, other in pairs)
            yield moves or not state, [float(metric) for metric in metrics], state

    def compare(self, trial: Trial, curves: Sequence[np.ndarray]) -> None:
        """Warn if the first epochs of a trial in a sweep are not those that it has alone.

        Args:
            trial: the first of a chunk.
            curves: of it, shape (epochs,) each.
        """
        together = np.stack(curves)[:, :ALONE].astype(float)
        first = islice(self._each_epoch_alone(trial), len(together[0]))
        moves, metrics, _ = zip(*first, strict=True)
        alone = np.asarray(metrics, np.float32).T
        values = ", ".join(f"{name}={value}" for name, value in trial.hyper.values.items())
        if not any(moves):
            warnings.warn(
                "epoch returns the state that it was given: return the new one (of Flax NNX, split "
                "the module in init, merge it in epoch, and split it again)",
                stacklevel=2,
            )
        with np.errstate(invalid="ignore"):
            off = np.abs(together - alone) / np.maximum(np.abs(alone), TINY)
        off = np.where(np.isfinite(together) | np.isfinite(alone), off, 0.0)
        if np.all(off <= BOUND):
            return
        metric, epoch = np.unravel_index(np.argmax(np.nan_to_num(off, nan=np.inf)), off.shape)
        warnings.warn(
            f"with {values or 'no fields'} and seed {trial.seed}, "
            f"{self.reading.metrics[metric]} in epoch {epoch + 1} is {together[metric, epoch]:.6g} "
            f"among other trials, but {alone[metric, epoch]:.6g} alone: something goes from trial "
            "to trial, or rounding errors grow",
            stacklevel=2,
        )

    # --- what a table and a folder say ---

    def fingerprint(self) -> str:
        """Of the task's program and of the arrays in it."""
        config = self.config_of(self.trials[0])
        example = self._example(config)
        found = hashlib.sha256()
        with _explained("init"):
            programs = [jax.make_jaxpr(self._init(config))(*example)]
        state = self.like(config)
        with _explained("epoch"):
            programs += [jax.make_jaxpr(self._epoch(config))(state, *example, np.int32(0))]
        for closed in programs:
            found.update(re.sub(r"0x[0-9a-f]+", "", str(closed.jaxpr)).encode())
            for constant in closed.consts:
                found.update(np.asarray(constant).tobytes())
        return found.hexdigest()

    def attributes(self, trials: Sequence[Trial], held: Mapping[int, Any]) -> dict[str, Any]:
        """The states of some trials."""
        return {"untraced": json.dumps(self.reading.untraced), **as_attributes(held)}

    # --- reading the task ---

    def _read(self) -> Reading:
        """Trace every number that can be traced."""
        numbers = self._number_fields()
        self.reading = Reading(numbers, {}, ())
        try:
            return Reading(numbers, {}, self._traced())
        except Exception as all_traced:
            last = all_traced
        untraced: dict[str, str] = {}
        for name, dtype in numbers.items():
            self.reading = Reading({name: dtype}, {}, ())
            try:
                self._traced()
            except Exception as error:
                last, untraced[name] = error, f"{type(error).__name__}: {first_line(error)}"
        left = {name: dtype for name, dtype in numbers.items() if name not in untraced}
        self.reading = Reading(left, untraced, ())
        try:
            return self.reading._replace(metrics=self._traced())
        except Exception:
            if not left:
                raise
        why = f"{type(last).__name__}: {first_line(last)}"
        self.reading = Reading({}, dict.fromkeys(numbers, why), ())
        return self.reading._replace(metrics=self._traced())

    def _number_fields(self) -> dict[str, Any]:
        """The fields whose values are numbers in all trials."""
        found = {}
        for name in self.trials[0].hyper.values:
            values = [trial.hyper.values[name] for trial in self.trials]
            if all(map(is_number, values)):
                whole = all(isinstance(each, int) and -(2**31) <= each < 2**31 for each in values)
                found[name] = np.dtype(np.int32 if whole else np.float32)
        return found

    def _traced(self) -> tuple[str, ...]:
        """The names of the metrics, after the first trial was traced; raises what the task does."""
        config = self.config_of(self.trials[0])
        example, names = self._example(config), list[str]()
        with _explained("init"):
            state = jax.eval_shape(self._init(config), *example)
        with _explained("epoch"):
            after, _ = jax.eval_shape(
                self._epoch(config, names.extend), state, *example, np.int32(0)
            )
        _check_alike(state, after, self.skeletons[config])
        return tuple(names)

    def _init(self, config: TaskConfig) -> Callable[..., list[Any]]:
        """The arrays in the first state, from a trial's root key and its traced fields."""

        def init(root: Any, numbers: Mapping[str, Any]) -> list[Any]:
            key = jax.random.fold_in(_key(root), INIT)
            state = self.task.init(key, self._given(config, numbers), self._static(config))
            arrays, self.skeletons[config] = apart(state)
            return arrays

        return init

    def _epoch(
        self, config: TaskConfig, name: Callable[[Iterable[str]], Any] = lambda _: None
    ) -> Callable[..., Any]:
        """The arrays in the next state and the metrics, from those before and an epoch's number."""

        def epoch(arrays: list[Any], root: Any, numbers: Mapping[str, Any], count: Any) -> Any:
            key = jax.random.fold_in(jax.random.fold_in(_key(root), EPOCH), count)
            state = self.skeletons[config].whole(arrays)
            given = self._given(config, numbers)
            found: Any = self.task.epoch(state, given, key, count, self._static(config))
            if not (isinstance(found, tuple) and len(found) == 2):
                raise TaskError(
                    f"epoch returns a {type(found).__name__}: return (state, metrics), metrics a "
                    "dict of scalars"
                )
            state, metrics = found
            _check_metrics(metrics)
            name(metrics)
            return apart(state)[0], tuple(
                jnp.asarray(metric, jnp.float32) for metric in metrics.values()
            )

        return epoch

    def _given(self, config: TaskConfig, numbers: Mapping[str, Any]) -> Any:
        """The fields as the task takes them."""
        return self.trials[0].hyper.given({**self._static(config), **numbers})

    def _static(self, config: TaskConfig) -> dict[str, Any]:
        return dict(config.static)

    def _numbers(self, trials: Sequence[Trial]) -> tuple[Any, dict[str, Any]]:
        """The root keys and the traced fields of trials, with a first axis of trials."""
        roots = [np.asarray([0, trial.seed], np.uint32) for trial in trials]
        fields = {
            name: np.asarray([trial.hyper.values[name] for trial in trials], dtype)
            for name, dtype in self.reading.traced.items()
        }
        return np.stack(roots), fields

    def _example(self, config: TaskConfig) -> tuple[Any, dict[str, Any]]:
        """The same of one trial of a config."""
        del config  # whose traced fields are those of any
        return jax.tree.map(lambda leaf: leaf[0], self._numbers(self.trials[:1]))


def _key(root: Any) -> Any:
    return jax.random.wrap_key_data(root, impl="threefry2x32")


def _hoisted(function: Callable[..., Any], *arguments: Any) -> tuple[list[Any], Callable[..., Any]]:
    """The arrays that a function finds outside, and the function with these as its first argument.

    As constants of a program they would be compiled into it, once for every program.
    """
    closed, like = jax.make_jaxpr(function, return_shape=True)(*arguments)
    structure = jax.tree.structure(like)

    def run(constants: list[Any], *given: Any) -> Any:
        found = jax.core.eval_jaxpr(closed.jaxpr, constants, *jax.tree.leaves(given))
        return jax.tree.unflatten(structure, found)

    return list(closed.consts), run


def _check_metrics(metrics: Any) -> None:
    if not isinstance(metrics, Mapping) or not metrics:
        raise TaskError(f"the metrics are {metrics!r}: return a dict of scalars")
    for name, metric in metrics.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise TaskError(f"a metric is called {name!r}: give it a name that Python can take")
        if name in TAKEN:
            raise TaskError(f"a metric is called {name}, which means something else in a table")
        if np.shape(metric):
            raise TaskError(f"{name} has shape {np.shape(metric)}: return a scalar for each metric")
        dtype = jnp.result_type(metric)
        if not (jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)):
            raise TaskError(f"{name} has dtype {dtype}: return a real number")


def _check_alike(before: Sequence[Any], after: Sequence[Any], skeleton: Skeleton) -> None:
    """Raise ValueError unless two states have the same shapes and dtypes."""
    if len(before) != len(after):
        raise TaskError(
            f"epoch returns a state of {len(after)} arrays, but init one of {len(before)}: return "
            "the same tree"
        )
    for name, one, other in zip(skeleton.names, before, after, strict=True):
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            raise TaskError(
                f"state{name} is {one.dtype}{list(one.shape)} after init, but "
                f"{other.dtype}{list(other.shape)} after epoch: return it with the same shape and "
                "dtype"
            )


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """An error inside a function of the user becomes a ValueError with the place in their file."""
    try:
        yield
    except TaskError:
        raise
    except Exception as error:
        place = _place(error)
        raise ValueError(
            f"{what} raised {type(error).__name__}{place}: {first_line(error)}"
        ) from error


def _place(error: BaseException) -> str:
    """The last line of the user's own code that an error went through."""
    packages = {OURS, *(path for path in sys.path if "-packages" in path)}
    place, trace = "", error.__traceback__
    while trace:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith(("<frozen", *packages)) and "contextlib" not in name:
            place = f" at {Path(name).name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def task_space(
    space: Any,
    task: Any,
    hyper: Any,
    seed: int,
    epochs: int | None,
    objective: str | None,
    mode: str,
    **drawn: Any,
) -> tuple[Space, TaskTraining]:
    """The trials of a task, or of a function (key, hyper), and how they are trained.

    Raises:
        ValueError: as `sweep` does.
    """
    whole = not isinstance(task, Task)
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}: give one of {', '.join(MODES)}")
    if epochs is None and not whole:
        raise ValueError("epochs is None: say for how long the task trains")
    if epochs is not None and whole:
        raise ValueError(f"epochs is {epochs}, but a function of (key, hyper) has its own")
    fields = hyper_of(hyper)
    schema = task_schema(space, fields)
    base = Trial(TaskConfig(epochs or 1), fields, seed)
    trials = space_on(base, schema, space, **drawn).trials
    training = TaskTraining(task_of(task) if whole else task, trials)
    if whole:
        *curves, _ = training.like(training.config_of(trials[0]))
        if len({curve.shape for curve in curves}) > 1 or curves[0].ndim > 1:
            shapes = ", ".join(str(curve.shape) for curve in curves)
            raise TaskError(f"the metrics have shapes {shapes}: return arrays over the epochs")
        base = base._replace(config=TaskConfig(curves[0].shape[0]))
    schema = schema.choosing(training.reading.metrics, objective, mode)
    return space_on(base, schema, space, **drawn), training
