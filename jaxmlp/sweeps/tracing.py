"""A task as programs: what can be traced, what the state is, which metrics there are.

A task is looked at by tracing it: nothing is computed, and nothing compiled. Every config is traced
once, for one trial; many trials are the same program mapped.
"""

import hashlib
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxmlp.importing import first_line
from jaxmlp.sweeps.schema import Trial
from jaxmlp.sweeps.space import is_number
from jaxmlp.sweeps.states import Skeleton, apart, differences
from jaxmlp.sweeps.tasks import EPOCHS, TAKEN, Hyper, Task, TaskConfig

INIT, EPOCH = 1, 2  # what the two roots of a trial's keys are folded in with
_LARGEST = float(np.finfo(np.float32).max)
OURS = str(Path(__file__).parents[1])


class TaskError(ValueError):
    """What a task does is not what a sweep needs."""


class Program(NamedTuple):
    """A config of a task, traced for one trial.

    Attributes:
        skeleton: of the state.
        like: the arrays in the state, in shapes and dtypes alone.
        metrics: their names.
        init, epoch: of (constants, root key, traced fields), and of (constants, arrays, root key,
            traced fields, number of the epoch): the arrays in the next state, and the metrics.
        constants: the arrays that each of the two finds outside.
        jaxprs: both as JAX traced them.
        moves: whether an epoch changes the state, as far as the program says.
    """

    skeleton: Skeleton
    like: list[Any]
    metrics: tuple[str, ...]
    init: Callable[..., Any]
    epoch: Callable[..., Any]
    constants: tuple[list[Any], list[Any]]
    jaxprs: tuple[Any, Any]
    moves: bool


class Reading(NamedTuple):
    """What tracing the trials found.

    Attributes:
        traced: the dtype of every field that is traced.
        untraced: of the numbers that cannot be, why.
        programs: by config.
    """

    traced: dict[str, Any]
    untraced: dict[str, str]
    programs: dict[TaskConfig, Program]


def config_of(trial: Trial, traced: Mapping[str, Any]) -> TaskConfig:
    """The fields of a trial that are not traced."""
    static = {name: value for name, value in trial.hyper.values.items() if name not in traced}
    return TaskConfig(trial.config.epochs, tuple(static.items()))


def read(task: Task, trials: Sequence[Trial]) -> Reading:
    """Trace the trials of a task, with as many numbers traced as can be.

    Raises:
        ValueError: if the task raises for some trial whatever is traced, changes its state's
            shapes, has no scalar metrics, or others in some trials.
    """
    traced, untraced = _numbers(trials), dict[str, str]()
    while True:
        examples = {config_of(trial, traced)._replace(epochs=1): trial for trial in trials[::-1]}
        programs: dict[TaskConfig, Program] = {}
        for config, trial in examples.items():
            try:
                programs[config] = trace(task, trial.hyper, config, traced)
            except ValueError as error:
                if not traced:
                    raise _of_trial(error, config) from error
                new = _untraceable(task, trial, traced)
                untraced |= new
                traced = {name: dtype for name, dtype in traced.items() if name not in new}
                break
        else:
            _check_metrics_alike(programs)
            return Reading(traced, untraced, programs)


def trace(task: Task, hyper: Hyper, config: TaskConfig, traced: Mapping[str, Any]) -> Program:
    """A config of a task as two programs.

    Raises:
        ValueError: if the task raises, or returns what it should not.
    """
    counters: frozenset[int] | None = frozenset()
    once, new = None, counters
    try:
        while once is None or new:  # a number may follow another one
            counters |= new
            once = _trace(task, hyper, config, traced, counters)
            new = once[0].skeleton.counters(once[1][1])
    except ValueError:  # which another reading of Python's numbers in the state may mend
        once, counters = None, None
    program, after = once or _trace(task, hyper, config, traced, counters)
    if says := differences((program.like, program.skeleton), after):
        raise TaskError(says)
    return program


def _trace(
    task: Task, hyper: Hyper, config: TaskConfig, traced: Mapping[str, Any], counters: Any
) -> tuple[Program, tuple[list[Any], Skeleton]]:
    """The same, whose state has some Python numbers as arrays; and the state after an epoch."""
    static = dict(config.static)
    root = jax.ShapeDtypeStruct((2,), jnp.uint32)
    # as weak as Python's own numbers, so that they do not make another dtype of a state
    numbers = {k: jax.ShapeDtypeStruct((), dtype, weak_type=True) for k, dtype in traced.items()}
    found: dict[str, Any] = {}

    def init(root: Any, numbers: Mapping[str, Any]) -> list[Any]:
        key = jax.random.fold_in(_key(root), INIT)
        state = task.init(key, hyper.given({**static, **numbers}), static)
        arrays, found["before"] = apart(state, counters)
        return arrays

    def epoch(arrays: list[Any], root: Any, numbers: Mapping[str, Any], count: Any) -> Any:
        key = jax.random.fold_in(jax.random.fold_in(_key(root), EPOCH), count)
        state, given = found["before"].whole(arrays), hyper.given({**static, **numbers})
        returned: Any = task.epoch(state, given, key, count, static)
        if not (isinstance(returned, tuple) and len(returned) == 2):
            raise TaskError(
                f"epoch returns a {type(returned).__name__}: return (state, metrics), metrics a "
                "dict of scalars"
            )
        state, metrics = returned
        found["metrics"] = _checked(metrics)
        after, found["after"] = apart(state, counters)
        return after, _sound(after, found["metrics"].values())

    with explained("init"):
        before, like = jax.make_jaxpr(init, return_shape=True)(root, numbers)
    like = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in like]
    count = jax.ShapeDtypeStruct((), jnp.int32)
    with explained("epoch"):
        step, (after, values) = jax.make_jaxpr(epoch, return_shape=True)(like, root, numbers, count)
    if any(isinstance(each, jax.core.Tracer) for each in (*before.consts, *step.consts)):
        raise TaskError(
            "the state holds a number of its trial inside a function, such as a learning rate in "
            "an optimizer: make the optimizer again in epoch, from hyper"
        )
    program = Program(
        skeleton=found["before"],
        like=like,
        metrics=tuple(found["metrics"]),
        init=_run(before, jax.tree.structure(like)),
        epoch=_run(step, jax.tree.structure((after, values))),
        constants=(list(before.consts), list(step.consts)),
        jaxprs=(before, step),
        moves=not like or step.jaxpr.outvars[: len(like)] != step.jaxpr.invars[: len(like)],
    )
    return program, (after, found["after"])


def _run(closed: Any, structure: Any) -> Callable[..., Any]:
    """A traced function, which takes what it found outside as its first argument.

    As constants of a program, such arrays would be compiled into it, once for every program.
    """

    def run(constants: list[Any], *given: Any) -> Any:
        found = jax.core.eval_jaxpr(closed.jaxpr, constants, *jax.tree.leaves(given))
        return jax.tree.unflatten(structure, found)

    return run


def _key(root: Any) -> Any:
    return jax.random.wrap_key_data(root, impl="threefry2x32")


def _sound(state: list[Any], metrics: Any) -> tuple[Any, ...]:
    """The metrics; NaN once there is one in the state, which a metric need not show."""
    real = [leaf for leaf in state if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    lost = jnp.asarray([jnp.isnan(leaf).any() for leaf in real] or [False]).any()
    return tuple(jnp.where(lost, jnp.nan, jnp.asarray(each, jnp.float32)) for each in metrics)


def _checked(metrics: Any) -> dict[str, Any]:
    """The metrics, if they are a dict of real scalars."""
    if not isinstance(metrics, Mapping) or not metrics:
        raise TaskError(f"the metrics are {metrics!r}: return a dict of scalars")
    for name, metric in metrics.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise TaskError(f"a metric is called {name!r}: give it a name that Python can take")
        if name in (*TAKEN, EPOCHS):
            raise TaskError(f"a metric is called {name}, which means something else in a table")
        try:
            shape, dtype = np.shape(metric), jnp.result_type(metric)
        except TypeError:
            raise TaskError(f"{name} is {metric!r}: return a scalar for each metric") from None
        if shape:
            raise TaskError(f"{name} has shape {shape}: return a scalar for each metric")
        if not any(jnp.issubdtype(dtype, kind) for kind in (np.floating, np.integer, np.bool_)):
            raise TaskError(f"{name} has dtype {dtype}: return a real number")
    return dict(metrics)


def _check_metrics_alike(programs: Mapping[TaskConfig, Program]) -> None:
    """Raise TaskError unless all configs have the same metrics, in whatever order."""
    first = next(iter(programs.values())).metrics
    for config, program in programs.items():
        if {*program.metrics} != {*first}:
            raise TaskError(
                f"epoch returns the metrics {', '.join(sorted(program.metrics))} with "
                f"{described(config)}, but {', '.join(sorted(first))} otherwise: return the same "
                "for all trials"
            )


def _numbers(trials: Sequence[Trial]) -> dict[str, Any]:
    """The fields whose values are numbers in all trials, with a dtype that holds them."""
    found, wide = {}, bool(jax.config.read("jax_enable_x64"))
    for name in trials[0].hyper.values:
        values = [trial.hyper.values[name] for trial in trials]
        if not all(map(is_number, values)):
            continue
        kinds = [np.int64] if wide else [np.int32, np.uint32]
        fitting = [
            kind for kind in kinds
            if all(isinstance(v, int) and np.iinfo(kind).min <= v <= np.iinfo(kind).max
                   for v in values)
        ]  # fmt: skip
        if fitting:
            found[name] = np.dtype(fitting[0])
        elif all(abs(value) <= _LARGEST or abs(value) == np.inf for value in values) and not all(
            isinstance(value, int) for value in values
        ):
            found[name] = np.dtype(np.float64 if wide else np.float32)
    return found


def _untraceable(task: Task, trial: Trial, traced: Mapping[str, Any]) -> dict[str, str]:
    """Of some traced fields, those with which a trial cannot be traced, and why.

    Raises:
        TaskError: if it cannot be traced without them either.
    """
    found, whole = dict[str, str](), config_of(trial, {})
    try:
        trace(task, trial.hyper, whole, {})
    except ValueError as error:  # which comes from none of them
        raise _of_trial(error, whole) from error
    for name, dtype in traced.items():
        alone = {name: dtype}
        try:
            trace(task, trial.hyper, config_of(trial, alone), alone)
        except ValueError as error:
            found[name] = first_line(error)
    return found or dict.fromkeys(traced, "it cannot be traced together with the others")


def described(config: TaskConfig) -> str:
    """The fields of a config that are not traced."""
    return ", ".join(f"{name}={value!r}" for name, value in config.static) or "these fields"


def _of_trial(error: ValueError, config: TaskConfig) -> ValueError:
    """An error, with the fields of the trials that it is about."""
    return TaskError(f"{first_line(error)} (with {described(config)})" if config.static else error)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """An error inside a function of the user becomes a TaskError with the place in their file."""
    try:
        yield
    except TaskError:
        raise
    except Exception as error:
        says = f"{what} raised {type(error).__name__}{_place(error)}: {first_line(error)}"
        raise TaskError(says) from error


def _place(error: BaseException) -> str:
    """The last line of the user's own code that an error went through."""
    packages = {OURS, sysconfig.get_path("stdlib"), *(p for p in sys.path if "-packages" in p)}
    place, trace = "", error.__traceback__
    while trace:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith(("<frozen", *packages)):
            place = f" at {Path(name).name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def fingerprint_of(programs: Mapping[TaskConfig, Program]) -> str:
    """Of the programs of a task, and of the arrays in them."""
    found = hashlib.sha256()
    for config, program in programs.items():
        found.update(repr((config.static, program.metrics)).encode())
        for closed in program.jaxprs:
            found.update(re.sub(r"0x[0-9a-f]+", "", str(closed.jaxpr)).encode())
            for constant in _constants(closed):
                found.update(constant.tobytes())
    return found.hexdigest()


def _constants(closed: Any) -> Iterator[np.ndarray]:
    """The arrays in a traced function, and in those that it calls."""
    for constant in getattr(closed, "consts", ()):
        is_key = jnp.issubdtype(getattr(constant, "dtype", np.int32), jax.dtypes.prng_key)
        yield np.asarray(jax.random.key_data(constant) if is_key else constant)
    for equation in getattr(closed, "jaxpr", closed).eqns:
        for value in jax.tree.leaves([*equation.params.values()], is_leaf=_is_program):
            if _is_program(value):
                yield from _constants(value)


def _is_program(value: Any) -> bool:
    """Whether it is a traced function, with the arrays that it finds outside or without."""
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")
