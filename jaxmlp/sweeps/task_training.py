"""Anybody's training in a sweep: the epochs of many trials of a task at once."""

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxmlp.sweeps.contract import TINY, agreement
from jaxmlp.sweeps.run import EVERYWHERE, SPREAD, Epoch, mesh, put
from jaxmlp.sweeps.schema import Trial
from jaxmlp.sweeps.space import Space, space_on
from jaxmlp.sweeps.states import as_attributes
from jaxmlp.sweeps.tasks import EPOCHS, MODES, Task, TaskConfig, hyper_of, task_of, task_schema
from jaxmlp.sweeps.tracing import Program, TaskError, config_of, fingerprint_of, read

COPIES = 4  # of a state while it trains: itself, the next one, and what is in between
ALONE = 2  # epochs that a trial is run alone for


class TaskTraining:
    """A task with its trials, as `run.Training` describes it."""

    def __init__(self, task: Task, trials: Sequence[Trial]) -> None:
        """Find out what can be traced, and which metrics there are.

        Raises:
            ValueError: if the task raises, changes its state's shapes, or has no scalar metrics.
        """
        self.reading = read(task, trials)
        self.varied = {
            name
            for name in self.reading.traced
            if len({trial.hyper.values[name] for trial in trials}) > 1
        }
        self.metrics = next(iter(self.reading.programs.values())).metrics
        self.programs: dict[Any, Any] = {}
        self.shared: dict[int, tuple[Any, Any]] = {}

    # --- what the plan asks ---

    def config_of(self, trial: Trial) -> TaskConfig:
        """The fields that are not traced."""
        return config_of(trial, self.reading.traced)

    def merged(self, groups: Mapping[TaskConfig, list[int]]) -> dict[TaskConfig, list[int]]:
        """Each has a program of its own."""
        return dict(groups)

    def fields_of(self, config: TaskConfig) -> dict[str, Any]:
        """The fields that are not traced, and the epochs."""
        return {**dict(config.static), "epochs": config.epochs}

    def shares_order(self, trials: Iterable[Trial]) -> bool:
        """Whether they have the same seed: what follows from keys is the same for all then."""
        return len({trial.seed for trial in trials}) == 1

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
        return self._program(config).like

    # --- how it is trained ---

    def start(self, trials: Sequence[Trial], config: TaskConfig) -> list[Any]:
        """The first states."""
        program = self._program(config)
        mapped = self._jitted(("init", config), jax.vmap(program.init, (None, 0, 0)))
        return mapped(list(program.constants[0]), *self._numbers(trials))

    def epochs(
        self, trials: Sequence[Trial], mine: slice, config: TaskConfig, shared: bool
    ) -> Epoch:
        """The epochs of all trials, mapped as one program; what all share is computed once."""
        roots, fields = self._numbers(trials[mine])
        roots = put(roots[0], EVERYWHERE) if shared else put(roots, SPREAD)
        axes = {name: 0 if name in self.varied else None for name in fields}
        numbers = (
            roots,
            {
                name: put(values, SPREAD) if name in self.varied else put(values[0], EVERYWHERE)
                for name, values in fields.items()
            },
        )
        program = self._program(config)
        constants = self._placed(program.constants[1])
        mapped = self._jitted(
            ("epoch", config, shared),
            jax.vmap(program.epoch, (None, 0, None if shared else 0, axes, None)),
            donate_argnums=1,
            out_shardings=(NamedSharding(mesh(), SPREAD), NamedSharding(mesh(), EVERYWHERE)),
        )
        order = [program.metrics.index(name) for name in self.metrics]

        def run_epoch(states: list[Any], epoch: int) -> tuple[list[Any], tuple[Any, ...]]:
            states, metrics = mapped(constants, states, *numbers, np.int32(epoch))
            return states, tuple(metrics[place] for place in order)

        return run_epoch

    def _jitted(self, key: Any, function: Any, **options: Any) -> Any:
        """A function as one compiled program for each number of trials."""
        if key not in self.programs:
            self.programs[key] = jax.jit(function, **options)
        return self.programs[key]

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
        skeleton = self._program(self.config_of(trial)).skeleton
        return skeleton.whole(list(map(jnp.asarray, leaves)))

    def alone(self, trial: Trial) -> np.ndarray:
        """The curves of a trial without any other."""
        return np.asarray([*self._each_epoch_alone(trial)], np.float32).T

    def named(self, curves: np.ndarray) -> dict[str, np.ndarray]:
        """A dict by the names of the metrics."""
        return dict(zip(self.metrics, curves, strict=True))

    def nudged(self, trial: Trial, ulps: tuple[int, int]) -> Trial:
        """A change in the last digit of all real fields, the first number for every other one."""
        values = dict(trial.hyper.values)
        real = [name for name, dtype in self.reading.traced.items() if dtype.kind == "f"]
        for place, name in enumerate(real):
            towards = np.float32(np.copysign(np.inf, ulps[place % 2]))
            if ulps[place % 2]:
                values[name] = float(np.nextafter(np.float32(values[name]), towards))
        return trial._replace(hyper=trial.hyper._replace(values=values))

    def _each_epoch_alone(self, trial: Trial) -> Iterator[list[float]]:
        """The metrics of every epoch of a trial without any other."""
        config = self.config_of(trial)
        program = self._program(config)
        root, numbers = jax.tree.map(lambda leaf: leaf[0], self._numbers([trial]))
        run = self._jitted(("epoch alone", config), program.epoch)
        start = self._jitted(("init alone", config), program.init)
        state = start(list(program.constants[0]), root, numbers)
        constants = self._placed(program.constants[1])
        for number in range(config.epochs):
            state, metrics = run(constants, state, root, numbers, np.int32(number))
            by_name = dict(zip(program.metrics, map(float, metrics), strict=True))
            yield [by_name[name] for name in self.metrics]

    def compare(self, trial: Trial, curves: Sequence[np.ndarray]) -> None:
        """Warn if the first epochs of a trial in a sweep are not those that it has alone.

        Args:
            trial: the first of a chunk.
            curves: of it, shape (epochs,) each.
        """
        together = np.stack(curves)[:, :ALONE]
        count = together.shape[1]
        if not self._program(self.config_of(trial)).moves:
            warnings.warn(
                "epoch returns the state that it was given: return the new one (of Flax NNX, split "
                "the module in init, merge it in epoch, and split it again)",
                stacklevel=2,
            )

        def again(nudge: tuple[int, int]) -> np.ndarray:
            every = self._each_epoch_alone(self.nudged(trial, nudge))
            return np.asarray([*islice(every, count)], np.float32).T

        alone = again((0, 0))
        if agreement(together, alone, again, range(len(alone))).holds:
            return
        off = np.nan_to_num(np.abs(together - alone) / np.maximum(np.abs(alone), TINY), nan=np.inf)
        metric, epoch = np.unravel_index(np.argmax(off), off.shape)
        values = [f"{name}={value}" for name, value in trial.hyper.values.items()]
        warnings.warn(
            f"with {', '.join([*values, f'seed={trial.seed}'])}, {self.metrics[metric]} in epoch "
            f"{epoch + 1} is {together[metric, epoch]:.6g} among other trials, but "
            f"{alone[metric, epoch]:.6g} alone: something goes from trial to trial, or rounding "
            "errors grow",
            stacklevel=2,
        )

    # --- what a table and a folder say ---

    def fingerprint(self) -> str:
        """Of the task's programs and of the arrays in them."""
        return fingerprint_of(self.reading.programs)

    def attributes(self, trials: Sequence[Trial], held: Mapping[int, Any]) -> dict[str, Any]:
        """The states of some trials."""
        return {"untraced": json.dumps(self.reading.untraced), **as_attributes(held)}

    def _numbers(self, trials: Sequence[Trial]) -> tuple[Any, dict[str, Any]]:
        """The root keys and the traced fields of trials, with a first axis of trials."""
        roots = [np.asarray([0, trial.seed], np.uint32) for trial in trials]
        fields = {
            name: np.asarray([trial.hyper.values[name] for trial in trials], dtype)
            for name, dtype in self.reading.traced.items()
        }
        return np.stack(roots), fields

    def _program(self, config: TaskConfig) -> Program:
        return self.reading.programs[config._replace(epochs=1)]

    def _placed(self, constants: Sequence[Any]) -> list[Any]:
        """Arrays that are shared by all trials, on every device, once for all programs."""
        for constant in constants:
            if id(constant) not in self.shared:
                self.shared[id(constant)] = constant, put(constant, EVERYWHERE)
        return [self.shared[id(constant)][1] for constant in constants]


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
    if whole and isinstance(space, Mapping) and EPOCHS in space:
        raise ValueError("epochs is swept, but a function of (key, hyper) has its own")
    fields = hyper_of(hyper)
    schema = task_schema(space, fields)
    base = Trial(TaskConfig(epochs or 1), fields, seed)
    trials = space_on(base, schema, space, **drawn).trials
    training = TaskTraining(task_of(task) if whole else task, trials)
    if whole:
        base = base._replace(config=TaskConfig(_length(training)))
    schema = schema.choosing(training.metrics, objective, mode)
    return space_on(base, schema, space, **drawn), training


def _length(training: TaskTraining) -> int:
    """How many epochs the curves of a function have, in all of its trials."""
    shapes = {
        curve.shape for program in training.reading.programs.values() for curve in program.like[:-1]
    }
    if len(shapes) > 1 or len(next(iter(shapes))) > 1:
        says = " and ".join(sorted(map(str, shapes)))
        raise TaskError(f"the metrics have shapes {says}: return as many epochs for all trials")
    (length,) = next(iter(shapes)) or (0,)
    if not length:
        raise TaskError("the metrics have no epochs: return arrays of at least one")
    return length
