"""What a sweep varies: a grid, random draws, named settings, or a product of these."""

import difflib
import itertools
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.bounds import check_integer
from jaxmlp.settings import Config, Hyperparams, check_hyperparams
from jaxmlp.sweeps.schema import NETWORKS, SEED, Objective, Schema, Trial

REPEATS = (SEED, "data_seed")  # trials that differ in these alone are repetitions of one setting
SETTING = "setting"  # an axis whose values are dicts: several fields that change together
TRIAL = "trial"  # the axis of random draws
ALIASES = {"alpha": "weight_decay"}  # what scikit-learn calls them
MANY = 10_000  # repeated draws in a row, after which there is no other setting to draw
MOST = 1_000_000  # trials, beyond which a space is a mistake


class Draw(NamedTuple):
    """A distribution to draw a field from: `uniform`, `loguniform`, `choice`, or one of SciPy's."""

    kind: str
    values: tuple[Any, ...]

    def sample(self, rng: np.random.Generator, integer: bool = False) -> Any:
        """One value; an integer, if it is for a field that takes integers and is a number."""
        if self.kind == "choice":
            value = self.values[int(rng.integers(len(self.values)))]
            draw = _as_draw(value)
            return draw.sample(rng, integer) if draw else value
        if self.kind == "SciPy":
            value = np.asarray(self.values[0].rvs(random_state=rng)).item()
        else:
            low, high = self.values
            if self.kind == "loguniform":
                value = float(np.exp(rng.uniform(np.log(low), np.log(high))))
            elif integer and math.ceil(low) <= math.floor(high):  # each as likely as the others
                value = int(rng.integers(math.ceil(low), math.floor(high) + 1))
            else:
                value = float(rng.uniform(low, high))
        return round(value) if integer else value


def uniform(low: int | float, high: int | float) -> Draw:
    """Draw uniformly between two numbers; of the integers there for a field that takes integers."""
    return Draw("uniform", _interval(low, high, -np.inf))


def loguniform(low: int | float, high: int | float) -> Draw:
    """Draw so that the logarithm is uniform between two positive numbers; rounded for integers."""
    return Draw("loguniform", _interval(low, high, 0.0))


def choice(values: Iterable[Any]) -> Draw:
    """Draw one of some values, each as likely as the others; one may be a draw in its turn."""
    return Draw("choice", _listed("choice", values))


def _as_draw(value: Any) -> Draw | None:
    """A draw, or one of SciPy's distributions with its parameters; None for anything else."""
    if isinstance(value, Draw):
        return value
    return Draw("SciPy", (value,)) if hasattr(value, "rvs") and hasattr(value, "dist") else None


def _interval(low: Any, high: Any, above: float) -> tuple[float, float]:
    numbers = all(is_number(end) for end in (low, high))
    if not (numbers and above < low < high < np.inf):
        least = "two finite numbers" if above < 0 else "two positive numbers"
        raise ValueError(f"the interval is {low!r} to {high!r}: give {least}, the smaller first")
    return float(low), float(high)


def is_number(value: Any) -> bool:
    """Whether it is one, Python's or NumPy's, and no bool."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


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
        schema: of the fields.
    """

    axes: tuple[Axis, ...]
    trials: tuple[Trial, ...]
    base: Trial
    schema: Schema = NETWORKS

    @property
    def shape(self) -> tuple[int, ...]:
        """How many positions every axis has."""
        return tuple(len(axis.labels) for axis in self.axes)

    @property
    def objective(self) -> Objective:
        """By what the trials are chosen."""
        return self.schema.objective(self.base)


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
    hyper = Hyperparams() if hyper is None else hyper
    check_hyperparams(hyper)
    base = Trial(config, hyper, seed)
    return space_on(base, NETWORKS, space, trials=trials, draw_seed=draw_seed)


def space_on(
    base: Trial, schema: Schema, space: Any, *, trials: int | None, draw_seed: int
) -> Space:
    """The same on top of what is not swept, with the fields of any schema."""
    check_integer(SEED, base.seed)
    check_integer("draw_seed", draw_seed)
    if not isinstance(space, Mapping):
        space = {SETTING: space}
    if not space:
        raise ValueError("the space is empty: give at least one field with its values")
    drawn = {name: draw for name, value in space.items() if (draw := _as_draw(value))}
    if drawn and trials is None:
        raise ValueError(f"{next(iter(drawn))} is drawn at random: say how often by trials=…")
    axes: list[Axis] = []
    for name, values in space.items():
        if name not in drawn:
            make = _settings if name == SETTING else _grid
            axes.append(make(name, values, schema))
        elif all(axis.name != TRIAL for axis in axes):
            axes.append(_draws(drawn, trials, draw_seed, schema))
    if trials is not None and not drawn:
        raise ValueError(
            f"trials is {trials}, but nothing is drawn at random: a grid has as many trials as it "
            "has points"
        )
    schema.check_swept(_check_once(axes))
    count = math.prod(len(axis.labels) for axis in axes)
    if count > MOST:
        raise ValueError(f"the space has {count:,} trials: give one of at most {MOST:,}")
    return from_axes(axes, base, schema)


def from_axes(axes: Sequence[Axis], base: Trial, schema: Schema) -> Space:
    """The product of some axes, on top of what is not swept."""
    points = itertools.product(*(axis.settings for axis in axes))
    trials = tuple(
        schema.trial(base, {name: value for each in point for name, value in each.items()})
        for point in points
    )
    schema.check_trials(trials)
    return Space(tuple(axes), trials, base, schema)


def describe(space: Space) -> dict[str, Any]:
    """A space as JSON takes it."""
    return {
        "space": [(axis.name, axis.labels, [*map(dict, axis.settings)]) for axis in space.axes],
        "settings": space.schema.settings(space.base),
        **space.schema.about(),
    }


def labels_of(values: Iterable[Any]) -> tuple[Any, ...]:
    """Values as coordinates: of one kind, so as text if they are numbers and something else."""
    found = tuple(map(label, values))
    huge = any(isinstance(each, int) and abs(each) >= 2**63 for each in found)
    numbers = all(map(is_number, found)) and not huge
    alike = numbers or all(isinstance(each, (str, bool)) for each in found)
    alike = alike and len({type(each) is bool for each in found}) == 1
    return found if alike else tuple(map(str, found))


def label(value: Any) -> Any:
    """A value as a coordinate: widths as text such as 128-64, numbers and names as they are."""
    if isinstance(value, tuple):
        return "-".join(map(str, value)) or "none"
    return value.item() if hasattr(value, "item") else value


def _grid(name: str, values: Any, schema: Schema) -> Axis:
    check_name(name, schema)
    found = tuple(_plain(name, value, schema) for value in _listed(name, values))
    _check_distinct(name, found, schema.is_traced(name))
    labels = labels_of(found)
    if len({*labels}) < len(labels):
        twin = next(each for each in labels if labels.count(each) > 1)
        raise ValueError(f"{name} holds two values that are called {twin!r}: give one of them")
    return Axis(name, labels, tuple({name: each} for each in found))


def _draws(drawn: Mapping[str, Draw], trials: Any, draw_seed: int, schema: Schema) -> Axis:
    check_integer("trials", trials, least=1)
    for name in drawn:
        check_name(name, schema)
        _check_no_repeat(name, "drawn")
    rng = np.random.default_rng(draw_seed)
    settings: list[dict[str, Any]] = []
    repeated, seen = 0, set[str]()
    while len(settings) < trials and repeated < MANY:
        setting = {
            name: _plain(name, draw.sample(rng, schema.is_integer(name)), schema)
            for name, draw in drawn.items()
        }
        if (text := repr(setting)) in seen:
            repeated += 1
            continue
        repeated = 0
        settings.append(setting)
        seen.add(text)
    if len(settings) < trials:
        warnings.warn(
            f"only {len(settings)} settings can be drawn, so there are not {trials} trials",
            stacklevel=2,
        )
    return Axis(TRIAL, tuple(range(len(settings))), tuple(settings))


def _check_no_repeat(name: str, how: str) -> None:
    """Raise ValueError for a seed that would be compared with others as a setting."""
    if name in REPEATS:
        raise ValueError(
            f"{name} is {how}: seeds are repetitions of a setting, so give them as a list of their "
            f"own, such as {name}=range(5)"
        )


def _settings(axis: str, values: Any, schema: Schema) -> Axis:
    settings, labels = [], []
    for number, each in enumerate(_listed(axis, values)):
        if not isinstance(each, Mapping):
            raise ValueError(
                f"setting {number} is a {type(each).__name__}: give a dict of fields, such as "
                "{'optimizer': 'sgd', 'momentum': 0.9}"
            )
        fields_ = {name: value for name, value in each.items() if name != "name"}
        for name, value in fields_.items():
            check_name(name, schema)
            _check_no_repeat(name, "part of a setting")
            if _as_draw(value):
                raise ValueError(
                    f"{name} of setting {number} is a draw: give a number, or draw {name} as a "
                    "field of its own"
                )
        plain = {name: _plain(name, value, schema) for name, value in fields_.items()}
        if plain in settings:
            raise ValueError(f"setting holds {plain} twice: give every setting once")
        name = str(each.get("name", described(plain)))
        if not name.isprintable():  # it is shown in terminals, files and reports
            raise ValueError(f"a setting has the name {name!r}: give one that can be printed")
        labels.append(name)
        settings.append(plain)
    _check_distinct(axis, labels)
    return Axis(axis, tuple(labels), tuple(settings))


def described(setting: Mapping[str, Any]) -> str:
    """The name of a setting that has none."""
    fields_ = (f"{name}={label(value)}" for name, value in setting.items())
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


def _check_distinct(name: str, values: Iterable[Any], real: bool = False) -> None:
    seen: dict[Any, Any] = {}
    for value in values:
        with np.errstate(over="ignore"):
            single = real and isinstance(value, (float, np.floating))
            key = repr(np.float32(value)) if single else repr(value)
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


def check_name(name: Any, schema: Schema = NETWORKS) -> None:
    """Raise ValueError, with the nearest name, if there is no such field."""
    names = schema.names
    if name not in names:
        typed = str(name).replace("-", "_").lower()
        near = [each for each in names if typed == "".join(word[0] for word in each.split("_"))]
        near = near or [each for each in names if each == ALIASES.get(typed)]
        near = near or difflib.get_close_matches(typed, names, n=1)
        hint = f": did you mean {near[0]}?" if near else f": give one of {', '.join(names)}"
        raise ValueError(f"unknown field {name!r}{hint}")


def _plain(name: str, value: Any, schema: Schema) -> Any:
    return schema.plain(name, value.tolist() if hasattr(value, "tolist") else value)


def _check_once(axes: Sequence[Axis]) -> Iterable[str]:
    """The fields that the axes set; ValueError if two of them set the same."""
    owner: dict[str, str] = {}
    for axis in axes:
        for name in {name for setting in axis.settings for name in setting}:
            if name in owner:
                raise ValueError(f"{name} is set by {owner[name]} and by {axis.name}: give it once")
            owner[name] = axis.name
    return owner
