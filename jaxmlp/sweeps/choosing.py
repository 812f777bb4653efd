"""What a table says: its best setting, its ensembles, and any trial of it run again alone."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import xlogy

from jaxmlp.data import Dataset
from jaxmlp.evaluation import evaluate
from jaxmlp.losses import label_rows
from jaxmlp.params import Params
from jaxmlp.settings import Config, Hyperparams
from jaxmlp.sweeps.halving import scores
from jaxmlp.sweeps.parameters import params_of
from jaxmlp.sweeps.space import SEED, STATIC, Axis, Space, Trial, from_axes
from jaxmlp.sweeps.table import Columns, accuracies_after
from jaxmlp.training import Metrics, train

CONFIDENCE = 0.95
LEAST = 5e-5  # of accuracy: what is less is not worth saying
GROUPS = 15  # of predictions, by the probability of the predicted class


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
        tested: how it does on the test part, if that was asked for.
    """

    setting: dict[str, Any]
    trial: Trial
    accuracy: float
    interval: tuple[float, float]
    settings: int
    optimism: float
    tested: "Ensemble | None" = None

    def __str__(self) -> str:
        """Such as learning_rate=0.004, hidden=32: validation accuracy 0.9720."""
        names = ", ".join(f"{name}={value}" for name, value in self.setting.items())
        low, high = self.interval
        spread = f" (95 % interval {low:.4f} to {high:.4f})" if np.isfinite(low) else ""
        chosen = f"best of {self.settings}"
        if self.optimism < LEAST:
            chosen += ", and just as good when other seeds choose it"
        elif np.isfinite(self.optimism):
            chosen += f", which makes it look {self.optimism:.4f} better than it is"
        return f"{names or 'as given'}: validation accuracy {self.accuracy:.4f}{spread}, {chosen}"


def best(table: Any, dataset: Dataset | None = None) -> Best:
    """The best setting of a sweep, by its validation part alone.

    Args:
        table: of `sweep`. Its seeds are repetitions of the same setting.
        dataset: that of the sweep, on whose test part the best setting is to be tested, and no
            other.

    Raises:
        ValueError: if every trial diverged.
    """
    space = space_of(table)
    last = last_accuracies(table)
    seeds = [axis.name for axis in space.axes].index(SEED) if SEED in table.dims else None
    runs = np.moveaxis(last, seeds, -1) if seeds is not None else last[..., None]
    means = scores(space, last.ravel()).reshape(runs.shape[:-1])
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
        tested=None if dataset is None else ensemble(table, setting, dataset),
    )


def last_accuracies(table: Any) -> np.ndarray:
    """The validation accuracy of every trial after its own last epoch.

    NaN if it diverged, or was stopped before by successive halving.
    """
    trials = space_of(table).trials
    curves = np.stack([table[name].values.reshape(len(trials), -1) for name in Metrics._fields])
    columns = Columns(curves, table.trained.values.ravel())
    lengths = np.asarray([trial.config.epochs for trial in trials])
    return accuracies_after(columns, lengths).reshape(table.trained.shape)


class Ensemble(NamedTuple):
    """The networks of a setting's seeds on the test part, alone and together.

    Together, their probabilities are averaged (Lakshminarayanan et al. 2017).

    Attributes:
        accuracies: of each alone.
        interval: a 95 % confidence interval of their mean (Student's t); NaN for one seed.
        loss: the mean of their cross-entropies, in nats.
        calibration: the mean of their expected calibration errors (Guo et al. 2017): how far
            the probability of the predicted class is from the share of right predictions, on
            average over 15 classes of that probability.
        accuracy_together, loss_together, calibration_together: of the averaged probabilities.
    """

    accuracies: tuple[float, ...]
    interval: tuple[float, float]
    loss: float
    calibration: float
    accuracy_together: float
    loss_together: float
    calibration_together: float

    def __str__(self) -> str:
        """Such as test accuracy 0.9722; and of several networks, what they do together."""
        low, high = self.interval
        alone = f"test accuracy {np.mean(self.accuracies):.4f}"
        if len(self.accuracies) == 1:
            return f"{alone}, calibration error {self.calibration:.4f}"
        return (
            f"{alone} (95 % interval {low:.4f} to {high:.4f}), calibration error "
            f"{self.calibration:.4f}; the {len(self.accuracies)} networks together: "
            f"{self.accuracy_together:.4f}, calibration error {self.calibration_together:.4f}"
        )


def ensemble(table: Any, point: Mapping[str, Any], dataset: Dataset) -> Ensemble:
    """Test the networks of a setting, one for each seed, alone and as an ensemble.

    Args:
        table: of `sweep`, which holds their parameters.
        point: a coordinate for every dimension but the seed and the epoch.
        dataset: that of the sweep.

    Raises:
        ValueError: if the point is none of the table's, or it does not hold the parameters.
    """
    space = space_of(table)
    trials = _trials_at(space, point, [axis.name for axis in space.axes if axis.name != SEED])
    networks = [params_of(table, space, trial) for trial in trials]
    config = space.trials[trials[0]].config
    each = [evaluate(params, dataset, dataset.test, config.activation) for params in networks]
    labels = each[0].labels
    together = np.mean([one.probabilities for one in each], axis=0)
    rows = label_rows(jnp.asarray(dataset.test.labels), dataset.n_out, jnp.float32)
    accuracies = np.asarray([one.accuracy for one in each])
    return Ensemble(
        accuracies=tuple(accuracies.tolist()),
        interval=_interval(accuracies),
        loss=float(np.mean([one.loss for one in each])),
        calibration=float(np.mean([_miscalibration(one.probabilities, labels) for one in each])),
        accuracy_together=float(np.mean(together.argmax(axis=1) == labels)),
        loss_together=-float(np.mean(np.sum(xlogy(rows, together), axis=1))),
        calibration_together=_miscalibration(together, labels),
    )


def _miscalibration(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The expected calibration error, equation (3) of Guo et al. 2017."""
    surest, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    group = np.minimum((surest * GROUPS).astype(int), GROUPS - 1)
    return float(np.abs(np.bincount(group, right - surest)).sum() / len(labels))


def params_at(table: Any, point: Mapping[str, Any]) -> Params:
    """The parameters of a trial after its last epoch.

    Args:
        table: of `sweep`.
        point: a coordinate for every dimension but the epoch.

    Raises:
        ValueError: if the point is none of the table's, or it does not hold the parameters.
    """
    space = space_of(table)
    (trial,) = _trials_at(space, point, [axis.name for axis in space.axes])
    return params_of(table, space, trial)


def _interval(values: np.ndarray) -> tuple[float, float]:
    """Of the mean of some shares, Student's t, cut at 0 and 1."""
    from scipy.stats import t

    if len(values) < 2:
        return np.nan, np.nan
    half = t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return max(0.0, float(values.mean() - half)), min(1.0, float(values.mean() + half))


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
    (number,) = _trials_at(space, point, [axis.name for axis in space.axes])
    trial = space.trials[number]
    alone = train(jax.random.key(trial.seed), trial.hyper, dataset, config=trial.config)
    row = table.sel(dict(point))
    epochs = slice(int(row.trained))
    off = [
        np.abs(np.asarray(values)[epochs] / row[name].values[epochs] - 1).max()
        for name, values in alone.metrics._asdict().items()
        if name.endswith("loss")
    ]
    return Replay(trial, alone.metrics, float(max(off)))


def _trials_at(space: Space, point: Mapping[str, Any], names: Sequence[str]) -> list[int]:
    """The places of the trials at a point, which has to name these axes."""
    if set(point) != set(names):
        raise ValueError(f"the point names {sorted(point)}: give one value each of {list(names)}")
    hits = np.flatnonzero(_matches(space, point)).tolist()
    if not hits:
        known = {axis.name: list(axis.labels) for axis in space.axes if axis.name in names}
        raise ValueError(f"{dict(point)} is no point of the table: its coordinates are {known}")
    return hits


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
