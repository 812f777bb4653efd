"""Anybody's training in a sweep: what it consists of, and its fields."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxmlp.bounds import check_integer
from jaxmlp.sweeps.schema import SEED, Objective, Trial

EPOCHS = "epochs"
# names with a meaning in a table
TAKEN = ("setting", "trial", "epoch", "diverged", "trained", SEED)
MODES = ("min", "max")


class Task(NamedTuple):
    """A training as pure functions, for `sweep`.

    Attributes:
        init: (key, hyper, static) -> state: any pytree, such as parameters and optax's state.
        epoch: (state, hyper, key, epoch, static) -> (state, metrics): the next state, of the same
            shapes, and a dict of scalars. `epoch` counts from 0.

    `hyper` holds every field that is swept or given by `sweep(…, hyper=…)`: as a dict, or as the
    NamedTuple or dataclass that was given. Numbers are traced, so that all their values share a
    program; what cannot be traced, such as names, widths, or a number that a shape is made of, has
    its Python value there, and is in the dict `static` too. The keys of a trial are its own, and
    depend on its seed alone; those of `init` and of every epoch have nothing in common. Arrays that
    the functions find outside, such as a data set, are shared by all trials.
    """

    init: Callable[..., Any]
    epoch: Callable[..., Any]


def task_of(train: Callable[..., Any]) -> Task:
    """A training that is one function, (key, hyper) -> metrics: a dict of arrays over the epochs.

    It runs as a whole when it starts, so that nothing is known of it before it has ended.
    """

    def init(key: Any, hyper: Any, static: Any) -> Any:
        del static
        curves = train(key, hyper)
        if not isinstance(curves, Mapping):
            raise ValueError(f"it returns a {type(curves).__name__}: return a dict of arrays")
        return {k: jnp.atleast_1d(curve) for k, curve in curves.items()}, jnp.zeros((), jnp.int32)

    def epoch(state: Any, hyper: Any, key: Any, epoch: Any, static: Any) -> Any:
        del hyper, key, static
        curves, done = state
        return (curves, done + 1), {name: curve[epoch] for name, curve in curves.items()}

    return Task(init, epoch)


class TaskConfig(NamedTuple):
    """What a program of a task is compiled for.

    Attributes:
        epochs: how many there are.
        static: the fields that are not traced, with their values.
    """

    epochs: int
    static: tuple[tuple[str, Any], ...] = ()

    @property
    def patience(self) -> int:
        """A task does not stop by itself."""
        return 0


class Hyper(NamedTuple):
    """The fields of a trial of a task.

    Attributes:
        values: by name.
        like: what the task is given them as: a dict, NamedTuple or dataclass that has these fields.
    """

    values: dict[str, Any]
    like: Any = None

    def given(self, values: Mapping[str, Any]) -> Any:
        """The fields with other values, as the task takes them."""
        if self.like is None or isinstance(self.like, Mapping):
            return dict(values)
        if hasattr(self.like, "_replace"):
            return self.like._replace(**values)
        return dataclasses.replace(self.like, **values)


def hyper_of(like: Any) -> Hyper:
    """The fields that are not swept.

    Raises:
        ValueError: unless they are a dict, a NamedTuple, a dataclass or nothing.
    """
    if like is None or isinstance(like, Mapping):
        found = dict(like or {})
    elif as_dict := getattr(like, "_asdict", None):
        found = as_dict()
    elif dataclasses.is_dataclass(like) and not isinstance(like, type):
        found = {field.name: getattr(like, field.name) for field in dataclasses.fields(like)}
    else:
        raise ValueError(
            f"hyper is a {type(like).__name__}: give a dict, a NamedTuple or a dataclass of fields"
        )
    return Hyper({name: plain(name, value) for name, value in found.items()}, like)


def plain(name: str, value: Any) -> Any:
    """A value as Python's own type, lists as tuples.

    Raises:
        ValueError: if it is none that a table can hold.
    """
    value = value.tolist() if hasattr(value, "tolist") else value
    if hasattr(value, "sample") or hasattr(value, "rvs"):
        raise ValueError(f"{name} is a draw among other values: draw it as a field of its own")
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f"{name} is {value}: give a number")
    if isinstance(value, (list, tuple)):
        return tuple(plain(name, each) for each in value)
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise ValueError(
            f"{name} is {value!r}: give numbers, text or tuples of them, and let the task make of "
            "it what it needs"
        )
    return value


@dataclasses.dataclass(frozen=True)
class TaskSchema:
    """Of a task: its own fields, `seed` and `epochs`.

    Attributes:
        fields: its own.
        metrics: names, once they are known.
        chosen: the metric by which trials are chosen.
        mode: `min` or `max` of it is the best.
        record: whether the task takes its fields as a NamedTuple or a dataclass.
    """

    fields: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    chosen: str = ""
    mode: str = "min"
    record: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Of the fields that can be swept."""
        return (*self.fields, EPOCHS, SEED)

    def is_traced(self, name: str) -> bool:
        """Whether it is one of its own, which may be numbers."""
        return name in self.fields and not jax.config.read("jax_enable_x64")

    def is_integer(self, name: str) -> bool:
        """Whether it is no field of its own."""
        return name in (EPOCHS, SEED)

    def plain(self, name: str, value: Any) -> Any:
        """A value as Python's own type, lists as tuples."""
        return plain(name, value)

    def trial(self, base: Trial, chosen: Mapping[str, Any]) -> Trial:
        """The fields together; every value is checked here."""
        own = {name: value for name, value in chosen.items() if name in self.fields}
        values = {**base.hyper.values, **own}
        if lacks := [name for name in self.fields if name not in values]:
            raise ValueError(
                f"{lacks[0]} has no value in some trial: give it in every setting, or by hyper="
            )
        epochs, seed = chosen.get(EPOCHS, base.config.epochs), chosen.get(SEED, base.seed)
        check_integer(EPOCHS, epochs, least=1)
        check_integer(SEED, seed)
        return Trial(TaskConfig(epochs), base.hyper._replace(values=values), seed)

    def check_swept(self, swept: Iterable[str]) -> None:
        """All can be swept."""

    def check_trials(self, trials: Sequence[Trial]) -> None:
        """All go together."""

    def settings(self, base: Trial) -> dict[str, Any]:
        """What is not swept, and by what trials are chosen."""
        return {**base.hyper.values, EPOCHS: base.config.epochs, SEED: base.seed}

    def choosing(self, metrics: Sequence[str], objective: str | None, mode: str) -> "TaskSchema":
        """The same, once the metrics are known, and by which of them trials are chosen.

        Raises:
            ValueError: if there is no such metric, or it has the name of a field.
        """
        if both := [name for name in metrics if name in self.fields]:
            raise ValueError(f"{both[0]} is a metric and a field: rename one of them")
        chosen = objective or (metrics[0] if len(metrics) == 1 else None)
        if chosen not in metrics:
            says = "not given" if chosen is None else f"{chosen!r}"
            raise ValueError(f"objective is {says}: give one of {', '.join(metrics)}")
        return dataclasses.replace(self, metrics=tuple(metrics), chosen=chosen, mode=mode)

    def about(self) -> dict[str, Any]:
        """The schema itself, as JSON takes it."""
        return {"task": dataclasses.asdict(self)}

    def read(self, settings: Mapping[str, Any]) -> Trial:
        """What is not swept, from what `settings` gave."""
        values = {name: value for name, value in settings.items() if name in self.fields}
        return Trial(TaskConfig(settings[EPOCHS]), Hyper(values), settings[SEED])

    def objective(self, base: Trial) -> Objective:
        """The metric that was asked for; a trial has diverged if any metric is not finite."""
        column = self.metrics.index(self.chosen)
        return Objective(
            names=self.metrics,
            column=column,
            higher=self.mode == "max",
            metric=self.chosen,
            tie=column,
            finite=tuple(range(len(self.metrics))),
            limits=(-float("inf"), float("inf")),
            saved=tuple(f"metric{number:06d}" for number in range(len(self.metrics))),
        )

    def last_epoch(self, trial: Trial, curves: Any) -> int | None:
        """None: it does not stop by itself."""

    def best_epoch(self, trial: Trial, curves: Any) -> int | None:
        """None: it keeps its last state."""


def task_schema(space: Any, base: Hyper) -> TaskSchema:
    """The fields of a task: those that are given, and those that are swept.

    Raises:
        ValueError: if a name is none, or has a meaning of its own.
    """
    settings = space.get("setting", ()) if isinstance(space, Mapping) else space
    if not isinstance(settings, Iterable):
        raise ValueError(f"the space is {space!r}: give a dict of fields, or a list of dicts")
    parts = [space, *settings]
    swept = {name for part in parts if isinstance(part, Mapping) for name in part}
    swept -= {"name", "setting", EPOCHS, SEED}
    given = {*base.values} if base.like is not None else {*swept}
    for name in sorted(given | swept, key=str):
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"a field is called {name!r}: give it a name that Python can take")
        if name in (*TAKEN, EPOCHS):
            raise ValueError(f"hyper has a field {name}, which means something else in a sweep")
    record = base.like is not None and not isinstance(base.like, Mapping)
    return TaskSchema(tuple(sorted(given)), record=record)
