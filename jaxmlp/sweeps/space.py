"""What a sweep varies: a grid, random draws, named settings, or a product of these."""

import difflib
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, NamedTuple, get_type_hints

import numpy as np

from jaxmlp.bounds import check_integer
from jaxmlp.settings import Config, Hyperparams, check_hyperparams

STATIC = tuple(field.name for field in fields(Config))
TRACED = Hyperparams._fields
SEED = "seed"
REPEATS = (SEED, "data_seed")  # trials that differ in these alone are repetitions of one setting
NAMES = (*TRACED, *STATIC, SEED)
SETTING = "setting"  # an axis whose values are dicts: several fields that change together
TRIAL = "trial"  # the axis of random draws
INTEGERS = (*(name for name, kind in get_type_hints(Config).items() if kind is int), SEED)
MOST = 1_000_000  # trials, beyond which a space is a mistake


class Draw(NamedTuple):
    """A distribution to draw a field from: `uniform`, `loguniform` or `choice`."""

    kind: str
    values: tuple[Any, ...]

    def sample(self, rng: np.random.Generator) -> Any:
        """One value."""
        if self.kind == "choice":
            return self.values[int(rng.integers(len(self.values)))]
        low, high = self.values
        if self.kind == "loguniform":
            return float(np.exp(rng.uniform(np.log(low), np.log(high))))
        return float(rng.uniform(low, high))


def uniform(low: int | float, high: int | float) -> Draw:
    """Draw uniformly between two numbers; rounded for a field that takes integers."""
    return Draw("uniform", _interval(low, high, -np.inf))


def loguniform(low: int | float, high: int | float) -> Draw:
    """Draw so that the logarithm is uniform between two positive numbers; rounded likewise."""
    return Draw("loguniform", _interval(low, high, 0.0))


def choice(values: Iterable[Any]) -> Draw:
    """Draw one of some values, each as likely as the others."""
    return Draw("choice", _listed("choice", values))


def _interval(low: Any, high: Any, above: float) -> tuple[float, float]:
    numbers = all(is_number(end) for end in (low, high))
    if not (numbers and above < low < high < np.inf):
        least = "two finite numbers" if above < 0 else "two positive numbers"
        raise ValueError(f"the interval is {low!r} to {high!r}: give {least}, the smaller first")
    return float(low), float(high)


def is_number(value: Any) -> bool:
    """Whether it is one, Python's or NumPy's, and no bool."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


class Trial(NamedTuple):
    """One run of a sweep: what `train` would be told."""

    config: Config
    hyper: Hyperparams
    seed: int


class Axis(NamedTuple):
    """One dimension of the table.

    Attributes:
        name: of the dimension.
        labels: the coordinate of every position: numbers or text.
        settings: the fields that every position sets.
    """

    name: str
    labels: tuple[Any, ...]
    settings: tuple[Mapping[str, Any], ...]


class Space(NamedTuple):
    """All trials of a sweep.

    Attributes:
        axes: the dimensions, in the order given.
        trials: the product of the axes, the last one running fastest.
        base: what is not swept.
    """

    axes: tuple[Axis, ...]
    trials: tuple[Trial, ...]
    base: Trial

    @property
    def shape(self) -> tuple[int, ...]:
        """How many positions every axis has."""
        return tuple(len(axis.labels) for axis in self.axes)


def make_space(
    space: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    config: Config,
    hyper: Hyperparams | None = None,
    *,
    seed: int = 0,
    trials: int | None = None,
    draw_seed: int = 0,
) -> Space:
    """The trials that a space describes.

    Args:
        space: names of fields of `Hyperparams` and `Config`, or `seed`, with a list of values,
            which makes an axis of a grid; or with `uniform`, `loguniform` or `choice`, which are
            drawn together along an axis `trial`; or `setting` with a list of dicts, each of
            which sets several fields and may have a `name`. A list of dicts is short for that.
        config, hyper, seed: what is not swept.
        trials: how many random draws.
        draw_seed: of the random draws.

    Raises:
        ValueError: if a name is unknown, a value is out of its range or occurs twice, an axis is
            empty, or draws and `trials` do not go together.
    """
    if not isinstance(config, Config):
        raise ValueError(f"config is a {type(config).__name__}: give a jaxmlp.Config")
    check_hyperparams(hyper if hyper is not None else Hyperparams())
    check_integer(SEED, seed)
    check_integer("draw_seed", draw_seed)
    if not isinstance(space, Mapping):
        space = {SETTING: space}
    if not space:
        raise ValueError("the space is empty: give at least one field with its values")
    drawn = {name: value for name, value in space.items() if isinstance(value, Draw)}
    if drawn and trials is None:
        raise ValueError(f"{next(iter(drawn))} is drawn at random: say how often by trials=…")
    if trials is not None and not drawn:
        raise ValueError(
            f"trials is {trials}, but nothing is drawn at random: a grid has as many trials as it "
            "has points"
        )
    axes: list[Axis] = []
    for name, values in space.items():
        if name not in drawn:
            axes.append(_settings(values) if name == SETTING else _grid(name, values))
        elif all(axis.name != TRIAL for axis in axes):
            axes.append(_draws(drawn, trials, draw_seed))
    _check_once(axes)
    for name in ("loss", "metric"):
        if any(name in setting for axis in axes for setting in axis.settings):
            raise ValueError(
                f"{name} cannot be swept, as a table has one: give Config({name}=…) or --{name}"
            )
    count = math.prod(len(axis.labels) for axis in axes)
    if count > MOST:
        raise ValueError(f"the space has {count:,} trials: give one of at most {MOST:,}")
    return from_axes(axes, Trial(config, hyper if hyper is not None else Hyperparams(), seed))


def from_axes(axes: Sequence[Axis], base: Trial) -> Space:
    """The product of some axes, on top of what is not swept."""
    points = itertools.product(*(axis.settings for axis in axes))
    trials = tuple(_apply(base, point) for point in points)
    mixed = any(trial.config.augmentation == "mixup" for trial in trials)
    if len({float(trial.hyper.mixup_alpha) for trial in trials}) > 1 and not mixed:
        raise ValueError("mixup_alpha changes nothing without augmentation: set it to mixup")
    return Space(tuple(axes), trials, base)


def describe(space: Space) -> dict[str, Any]:
    """A space as JSON takes it."""
    hyper = {name: float(value) for name, value in space.base.hyper._asdict().items()}
    return {
        "space": [(axis.name, axis.labels, [*map(dict, axis.settings)]) for axis in space.axes],
        "settings": {**asdict(space.base.config), **hyper, SEED: space.base.seed},
    }


def label(name: str, value: Any) -> Any:
    """A value as a coordinate: widths as text such as 128-64, numbers and names as they are."""
    if name == "hidden":
        return "-".join(map(str, value)) or "none"
    return value.item() if hasattr(value, "item") else value


def _grid(name: str, values: Any) -> Axis:
    check_name(name)
    found = tuple(_plain(name, value) for value in _listed(name, values))
    _check_distinct(name, found)
    return Axis(
        name, tuple(label(name, each) for each in found), tuple({name: each} for each in found)
    )


def _draws(drawn: Mapping[str, Draw], trials: Any, draw_seed: int) -> Axis:
    check_integer("trials", trials, least=1)
    for name in drawn:
        check_name(name)
    rng = np.random.default_rng(draw_seed)
    settings = tuple(
        {name: _plain(name, _rounded(name, draw.sample(rng))) for name, draw in drawn.items()}
        for _ in range(trials)
    )
    return Axis(TRIAL, tuple(range(trials)), settings)


def _rounded(name: str, value: Any) -> Any:
    """A number that was drawn, or a single width, as an integer where the field takes one."""
    integer = name in (*INTEGERS, "hidden") and isinstance(value, float)
    return round(value) if integer else value


def _settings(values: Any) -> Axis:
    settings, labels = [], []
    for number, each in enumerate(_listed(SETTING, values)):
        if not isinstance(each, Mapping):
            raise ValueError(
                f"setting {number} is a {type(each).__name__}: give a dict of fields, such as "
                "{'optimizer': 'sgd', 'momentum': 0.9}"
            )
        fields_ = {name: value for name, value in each.items() if name != "name"}
        for name in fields_:
            check_name(name)
        plain = {name: _plain(name, value) for name, value in fields_.items()}
        if plain in settings:
            raise ValueError(f"setting holds {plain} twice: give every setting once")
        name = str(each.get("name", described(plain)))
        if not name.isprintable():  # it is shown in terminals, files and reports
            raise ValueError(f"a setting has the name {name!r}: give one that can be printed")
        labels.append(name)
        settings.append(plain)
    _check_distinct(SETTING, labels)
    return Axis(SETTING, tuple(labels), tuple(settings))


def described(setting: Mapping[str, Any]) -> str:
    """The name of a setting that has none."""
    fields_ = (f"{name}={label(name, value)}" for name, value in setting.items())
    return ", ".join(fields_) or "as given"


def _listed(name: str, values: Any) -> tuple[Any, ...]:
    """The values of an axis, at least one, each once."""
    values = values.tolist() if isinstance(values, np.ndarray) else values
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise ValueError(f"{name} is {values!r}: give a list of values, such as [{values!r}]")
    found = tuple(values)
    if not found:
        raise ValueError(f"{name} is an empty list: give at least one value")
    if not all(isinstance(each, Mapping) for each in found):
        _check_distinct(name, found)
    return found


def _check_distinct(name: str, values: Iterable[Any]) -> None:
    seen: dict[Any, Any] = {}
    for value in values:
        with np.errstate(over="ignore"):
            key = repr(np.float32(value)) if name in TRACED and is_number(value) else repr(value)
        if key in seen and seen[key] == value:
            raise ValueError(f"{name} holds {value!r} twice: give every value once")
        if key in seen:
            same = f"{seen[key]!r} and {value!r}, which float32 does not tell apart"
            raise ValueError(f"{name} holds {same}: give one of them")
        seen[key] = value


def check_once(name: str, space: Mapping[str, Any]) -> None:
    """Raise ValueError if a field is in a space already."""
    if name in space:
        raise ValueError(f"{name} is given twice: give it once, with all its values")


def check_name(name: Any) -> None:
    """Raise ValueError, with the nearest name, if there is no such field."""
    if name not in NAMES:
        typed = str(name).replace("-", "_").lower()
        near = [each for each in NAMES if typed == "".join(word[0] for word in each.split("_"))]
        near = near or difflib.get_close_matches(typed, NAMES, n=1)
        hint = f": did you mean {near[0]}?" if near else f": give one of {', '.join(NAMES)}"
        raise ValueError(f"unknown field {name!r}{hint}")


def _plain(name: str, value: Any) -> Any:
    """A value as Python's own type, widths as a tuple."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if name == "hidden":
        return tuple(value) if isinstance(value, Iterable) else (value,)
    if name in TRACED and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _check_once(axes: Sequence[Axis]) -> None:
    """Raise ValueError if two axes set the same field."""
    owner: dict[str, str] = {}
    for axis in axes:
        for name in {name for setting in axis.settings for name in setting}:
            if name in owner:
                raise ValueError(f"{name} is set by {owner[name]} and by {axis.name}: give it once")
            owner[name] = axis.name


def _apply(base: Trial, point: Sequence[Mapping[str, Any]]) -> Trial:
    """The trial at a point of the product; every value is checked here."""
    chosen = {name: value for setting in point for name, value in setting.items()}
    config = replace(base.config, **{k: v for k, v in chosen.items() if k in STATIC})
    hyper = base.hyper._replace(**{k: v for k, v in chosen.items() if k in TRACED})
    check_hyperparams(hyper)
    seed = chosen.get(SEED, base.seed)
    check_integer(SEED, seed)
    return Trial(config, hyper, seed)
