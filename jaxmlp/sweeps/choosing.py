"""What a table says: its best setting, and any trial of it run again alone."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmlp.data import Dataset
from jaxmlp.settings import Config, Hyperparams
from jaxmlp.sweeps.space import SEED, STATIC, Axis, Space, Trial, from_axes
from jaxmlp.training import Metrics, train

CONFIDENCE = 0.95


class Best(NamedTuple):
    """The setting with the highest validation accuracy after its last epoch.

    Attributes:
        setting: the coordinates of the table that name it.
        trial: its fields; with the first of its seeds.
        accuracy: the mean over its seeds.
        interval: a 95 % confidence interval of that mean (Student's t); NaN for one seed.
        settings: among how many it is the best.
        optimism: by how much `accuracy` is too high for having been chosen by itself: what it
            exceeds the accuracy by that, for every seed, the setting has that is best by the
            other seeds. NaN for one seed.
    """

    setting: dict[str, Any]
    trial: Trial
    accuracy: float
    interval: tuple[float, float]
    settings: int
    optimism: float

    def __str__(self) -> str:
        """Such as learning_rate=0.004, hidden=32: validation accuracy 0.9720."""
        names = ", ".join(f"{name}={value}" for name, value in self.setting.items())
        low, high = self.interval
        spread = f" (95 % interval {low:.4f} to {high:.4f})" if np.isfinite(low) else ""
        chosen = f"best of {self.settings}"
        if np.isfinite(self.optimism):
            chosen += f", which makes it look {self.optimism:.4f} better than it is"
        return f"{names}: validation accuracy {self.accuracy:.4f}{spread}, {chosen}"


def best(table: Any) -> Best:
    """The best setting of a sweep, by its validation part alone.

    Args:
        table: of `sweep`. Its seeds are repetitions of the same setting.

    Raises:
        ValueError: if every trial diverged.
    """
    space = space_of(table)
    last = last_accuracies(table)
    seeds = [axis.name for axis in space.axes].index(SEED) if SEED in table.dims else None
    runs = np.moveaxis(last, seeds, -1) if seeds is not None else last[..., None]
    means = runs.mean(axis=-1)
    if not np.isfinite(means).any():
        raise ValueError("every setting diverged for some seed: there is no best one")
    place = np.unravel_index(np.nanargmax(means), means.shape)
    axes = [axis for axis in space.axes if axis.name != SEED]
    setting = {axis.name: axis.labels[i] for axis, i in zip(axes, place, strict=True)}
    mean, few = float(means[place]), runs.shape[-1]
    return Best(
        setting=setting,
        trial=space.trials[int(np.argmax(_matches(space, setting)))],
        accuracy=mean,
        interval=_interval(runs[place]),
        settings=means.size,
        optimism=mean - _honest(runs.reshape(-1, few)) if few > 1 else np.nan,
    )


def last_accuracies(table: Any) -> np.ndarray:
    """The validation accuracy of every trial after its own last epoch; NaN if it diverged."""
    values = table.validation_accuracy.values
    ends = np.isfinite(table.train_loss.values).cumsum(axis=-1).argmax(axis=-1)
    last = np.take_along_axis(values, ends[..., None], axis=-1)[..., 0].astype(float)
    return np.where(table.diverged.values > 0, np.nan, last)


def _interval(values: np.ndarray) -> tuple[float, float]:
    from scipy.stats import t

    if len(values) < 2:
        return np.nan, np.nan
    half = t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)


def _honest(runs: np.ndarray) -> float:
    """The mean over the seeds of what the setting has that is best by the other seeds."""
    found = []
    for seed in range(runs.shape[1]):
        others = np.delete(runs, seed, axis=1).mean(axis=1)
        found.append(runs[int(np.nanargmax(others)), seed])
    return float(np.nanmean(found))


class Replay(NamedTuple):
    """A trial of a sweep, run again by `train`.

    Attributes:
        trial: what it was told.
        metrics: its curves, alone.
        difference: the largest difference of a loss from the table's, relative to the loss.
    """

    trial: Trial
    metrics: Metrics
    difference: float


def replay(table: Any, point: Mapping[str, Any], dataset: Dataset) -> Replay:
    """Run one trial of a sweep alone, and say by how much its curves differ.

    Args:
        table: of `sweep`.
        point: a coordinate for every dimension but the epoch, such as
            {"learning_rate": 0.01, "hidden": "32", "seed": 3}.
        dataset: that of the sweep.

    Raises:
        ValueError: if the point is none of the table's.
    """
    space = space_of(table)
    names = [axis.name for axis in space.axes]
    if set(point) != set(names):
        raise ValueError(f"the point names {sorted(point)}: give one value each of {names}")
    hits = np.flatnonzero(_matches(space, point))
    if not hits.size:
        known = {axis.name: list(axis.labels) for axis in space.axes}
        raise ValueError(f"{dict(point)} is no point of the table: its coordinates are {known}")
    trial = space.trials[hits[0]]
    alone = train(jax.random.key(trial.seed), trial.hyper, dataset, config=trial.config)
    row = table.sel(dict(point)).isel(epoch=slice(trial.config.epochs))
    off = [
        np.abs(np.asarray(values) / row[name].values - 1).max()
        for name, values in alone.metrics._asdict().items()
        if name.endswith("loss")
    ]
    return Replay(trial, alone.metrics, float(max(off)))


def _matches(space: Space, point: Mapping[str, Any]) -> np.ndarray:
    """Which trials have these coordinates."""
    places = np.indices(space.shape).reshape(len(space.axes), -1)
    hits = np.ones(len(space.trials), bool)
    for axis, row in zip(space.axes, places, strict=True):
        if axis.name in point:
            value = point[axis.name]
            hits &= np.asarray([axis.labels[i] == value for i in row])
    return hits


def space_of(table: Any) -> Space:
    """The trials of a table, from what it says of itself.

    Raises:
        ValueError: if it is no table of a sweep.
    """
    try:
        axes, rest = json.loads(table.attrs["space"]), json.loads(table.attrs["settings"])
        base = Trial(
            Config(**_with_tuples({name: rest[name] for name in STATIC})),
            Hyperparams(**{name: rest[name] for name in Hyperparams._fields}),
            rest[SEED],
        )
        found = [
            Axis(name, tuple(labels), tuple(map(_with_tuples, settings)))
            for name, labels, settings in axes
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is no table of `sweep`: {error!r}") from error
    return from_axes(found, base)


def _with_tuples(setting: Mapping[str, Any]) -> dict[str, Any]:
    """Fields from JSON, which knows no tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in setting.items()}
