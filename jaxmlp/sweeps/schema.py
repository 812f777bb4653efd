"""What a sweep is told of what it trains: its fields, a trial, and by what a trial is chosen."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, NamedTuple, Protocol, get_type_hints

from jaxmlp.bounds import check_integer
from jaxmlp.results import Metrics, best_epoch_of, last_epoch, metric_names
from jaxmlp.settings import Config, Hyperparams, check_hyperparams, spoken

SEED = "seed"


class Trial(NamedTuple):
    """One run of a sweep.

    Attributes:
        config: its static settings, `epochs` among them.
        hyper: its numbers.
        seed: of its key.
    """

    config: Any
    hyper: Any
    seed: int


class Objective(NamedTuple):
    """By what trials are chosen.

    Attributes:
        names: of the metrics, as the variables of a table.
        column: of the metrics, that by which they are chosen.
        higher: whether more of it is better.
        metric: its name, without the part on which it is measured.
        tie: of the metrics, the one of which less is better where trials are equal.
        finite: of the metrics, those that are finite unless a trial has diverged.
        limits: between which it lies, with its sign changed if less of it is better.
        saved: names of the metrics in the files of a sweep.
    """

    names: tuple[str, ...]
    column: int
    higher: bool
    metric: str
    tie: int
    finite: tuple[int, ...]
    limits: tuple[float, float]
    saved: tuple[str, ...]

    @property
    def spoken(self) -> str:
        """Its name for people, such as validation accuracy."""
        part = self.names[self.column].removesuffix(self.metric).replace("_", " ")
        return part + spoken(self.metric)


class Schema(Protocol):
    """Which fields there are, and what their values make."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the fields that can be swept."""
        ...

    def is_traced(self, name: str) -> bool:
        """Whether a field takes real numbers, which float32 has to tell apart."""
        ...

    def is_integer(self, name: str) -> bool:
        """Whether it takes integers, to which draws are rounded."""
        ...

    def plain(self, name: str, value: Any) -> Any:
        """A value of Python's own type."""
        ...

    def trial(self, base: Trial, chosen: Mapping[str, Any]) -> Trial:
        """The trial that has some values, and what is not swept; raises ValueError."""
        ...

    def check_swept(self, swept: Iterable[str]) -> None:
        """Raise ValueError if a field cannot be swept."""
        ...

    def check_trials(self, trials: Sequence[Trial]) -> None:
        """Raise ValueError if trials do not go together."""
        ...

    def settings(self, base: Trial) -> dict[str, Any]:
        """What is not swept, as JSON takes it."""
        ...

    def about(self) -> dict[str, Any]:
        """What a table needs to be read with the same schema, as JSON takes it."""
        ...

    def objective(self, base: Trial) -> Objective:
        """By what trials are chosen."""
        ...

    def last_epoch(self, trial: Trial, curves: Any) -> int | None:
        """After which epoch, from 1, a trial stops by itself; None if it does not."""
        ...

    def best_epoch(self, trial: Trial, curves: Any) -> int | None:
        """The epoch, from 1, whose state a trial keeps; None if that is its last one."""
        ...


class NetworkSchema:
    """Of our networks: the fields of `Config` and `Hyperparams`, and `seed`."""

    static = tuple(field.name for field in fields(Config))
    traced = Hyperparams._fields
    names = (*traced, *static, SEED)
    integers = (*(name for name, kind in get_type_hints(Config).items() if kind is int), SEED)

    def is_traced(self, name: str) -> bool:
        """Whether it is a hyperparameter."""
        return name in self.traced

    def is_integer(self, name: str) -> bool:
        """Whether it takes integers; a single width is one too."""
        return name in (*self.integers, "hidden")

    def plain(self, name: str, value: Any) -> Any:
        """Widths as a tuple, hyperparameters as real numbers."""
        if name == "hidden":
            return tuple(value) if isinstance(value, Iterable) else (value,)
        if name in self.traced and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        return value

    def trial(self, base: Trial, chosen: Mapping[str, Any]) -> Trial:
        """What `train` would be told; every value is checked here."""
        config = replace(base.config, **{k: v for k, v in chosen.items() if k in self.static})
        hyper = base.hyper._replace(**{k: v for k, v in chosen.items() if k in self.traced})
        check_hyperparams(hyper)
        seed = chosen.get(SEED, base.seed)
        check_integer(SEED, seed)
        return Trial(config, hyper, seed)

    def check_swept(self, swept: Iterable[str]) -> None:
        """A table has one loss and one metric."""
        for name in ("loss", "metric"):
            if name in swept:
                raise ValueError(
                    f"{name} cannot be swept, as a table has one: give Config({name}=…) or --{name}"
                )

    def check_trials(self, trials: Sequence[Trial]) -> None:
        """The numbers of mixup need mixup."""
        mixed = {trial.config.augmentation == "mixup" for trial in trials}
        if len({float(trial.hyper.mixup_alpha) for trial in trials}) > 1 and mixed == {False}:
            raise ValueError("mixup_alpha changes nothing without augmentation: set it to mixup")

    def settings(self, base: Trial) -> dict[str, Any]:
        """All fields."""
        hyper = {name: float(value) for name, value in base.hyper._asdict().items()}
        return {**asdict(base.config), **hyper, SEED: base.seed}

    def about(self) -> dict[str, Any]:
        """Nothing: it is the schema of a table that says nothing of its own."""
        return {}

    def read(self, settings: Mapping[str, Any]) -> Trial:
        """What is not swept, from what `settings` gave; fields that are new have their defaults."""
        if strange := {*settings} - {*self.names}:
            raise ValueError(f"unknown settings {', '.join(sorted(strange))}")
        config = Config(**{name: settings[name] for name in self.static})
        hyper = Hyperparams(**{name: settings[name] for name in self.traced if name in settings})
        return Trial(config, hyper, settings[SEED])

    def objective(self, base: Trial) -> Objective:
        """The metric of `Config.metric` on the validation part; of equal ones, the lower loss."""
        config, names = base.config, metric_names(base.config)
        by_loss = config.metric == "loss"
        return Objective(
            names=names,
            column=names.index("validation_loss") if by_loss else len(names) - 1,
            higher=not by_loss,
            metric=config.chosen_by,
            tie=names.index("validation_loss"),
            finite=(0, 1),
            limits=limits_of(config.chosen_by),
            saved=Metrics._fields,
        )

    def last_epoch(self, trial: Trial, curves: Any) -> int | None:
        """That in which the patience is over."""
        if not trial.config.patience:
            return None
        return last_epoch(Metrics(*curves), trial.config, trial.hyper)

    def best_epoch(self, trial: Trial, curves: Any) -> int | None:
        """With patience."""
        return best_epoch_of(Metrics(*curves), trial.config)


def limits_of(metric: str) -> tuple[float, float]:
    """Between which a metric lies, or less the loss."""
    lowest = 0.0 if metric not in ("loss", "r2") else -math.inf
    return lowest, 0.0 if metric == "loss" else 1.0  # a loss is no less than 0


NETWORKS = NetworkSchema()
