"""What a table says: its best setting, its ensembles, its parameters."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmlp.data import Dataset
from jaxmlp.evaluation import evaluate, figures
from jaxmlp.params import Params
from jaxmlp.settings import Config, spoken
from jaxmlp.sweeps.halving import best_first, means_of, ranks_of
from jaxmlp.sweeps.parameters import params_of
from jaxmlp.sweeps.reading import check_data, names_at, setting_axes, trials_at, view
from jaxmlp.sweeps.schema import NetworkSchema, Objective, Trial, limits_of
from jaxmlp.sweeps.space import REPEATS, Space

NO_BEST = "no setting was trained to its end without diverging for some seed: none is the best"
CONFIDENCE = 0.95
LEAST = 5e-5  # of an accuracy: what is less is not worth saying
SMALL = 1e-3  # a metric that is smaller is not said in decimals
GROUPS = 15  # of predictions, by the probability of the predicted class


class Best(NamedTuple):
    """The setting with the highest score on the validation part after its last epoch.

    Attributes:
        setting: the coordinates of the table that name it.
        fields: the same, with what was drawn at random.
        trial: what `train` would be told; with the first of its seeds.
        objective: by what it was chosen.
        score: the mean of that over its seeds; less it, if less of it is better.
        interval: a 95 % confidence interval of that mean: Student's t; where seeds of the weights
            and orders of the data are crossed, by the variance of both. NaN for one seed.
        settings: among how many it is the best.
        equal: how many of them have its score, up to rounding error: it has the lowest loss of
            these on the validation part.
        optimism: by how much the luck of the seeds flatters it for having been chosen by
            `score` itself: what that exceeds the score by that, for every seed, the setting has
            that is best by the other seeds. NaN for one seed, and after successive halving, which
            cannot tell. The luck of the validation examples, which all seeds share, is not in it:
            that shows on the test part alone.
        tested: how it does on the test part, if that was asked for.
    """

    setting: dict[str, Any]
    fields: dict[str, Any]
    trial: Trial
    objective: Objective
    score: float
    interval: tuple[float, float]
    settings: int
    equal: int
    optimism: float
    tested: "Ensemble | None" = None

    @property
    def accuracy(self) -> float:
        """The score by its usual name."""
        return self.score

    def __repr__(self) -> str:
        """Such as Best(hidden=32: validation accuracy 0.9720; test accuracy 0.9667)."""
        return f"Best({self}{f'; {self.tested}' if self.tested else ''})"

    def __str__(self) -> str:
        """Such as learning_rate=0.004, hidden=32: validation accuracy 0.9720."""
        names = ", ".join(f"{name}={shown(value)}" for name, value in self.fields.items())
        sign = 1 if self.objective.higher else -1
        low, high = sorted(sign * end for end in self.interval)
        spread = f" (95 % interval {figured(low)} to {figured(high)})" if np.isfinite(low) else ""
        figure = f"{self.objective.spoken} {figured(sign * self.score)}"
        text = f"{names or 'as given'}: {figure}{spread}"
        if self.settings == 1:
            return text
        tied = self.equal > 1 and self.objective.tie != self.objective.column
        ties = f" ({self.equal} are equal, it has the lowest loss)" if tied else ""
        text += f", best of {self.settings}{ties}, "
        if np.isnan(self.optimism):
            return f"{text}which flatters it by an unknown amount"
        if self.optimism < LEAST:
            return f"{text}and just as good when other seeds choose it"
        return f"{text}where {figured(self.optimism)} is the luck of its seeds"


def figured(value: float) -> str:
    """A metric for people: four decimals, or four digits of what is smaller."""
    return f"{value:.4f}" if value == 0 or abs(value) >= SMALL else f"{value:.4g}"


def shown(value: Any) -> str:
    """A coordinate for people: no more digits than tell settings apart."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def best(table: Any, dataset: Dataset | None = None) -> Best:
    """The best setting of a sweep, by its validation part alone.

    Args:
        table: of `sweep`, or a part of one by `.sel` or `.isel`. Its seeds, of the weights and of
            the data's order, are repetitions of the same setting.
        dataset: that of the sweep, on whose test part the best setting is to be tested, and no
            other.

    Raises:
        ValueError: if every setting diverged for some seed or was stopped, or the data set is
            another one.
    """
    space, _, _, table = seen = view(table)
    decisive = seen.decisive()
    last = decisive[0]
    repeats = [number for number, axis in enumerate(space.axes) if axis.name in REPEATS]
    axes = setting_axes(space)
    shape = [len(axis.labels) for axis in axes]
    crossed = [len(space.axes[number].labels) for number in repeats]
    runs = np.moveaxis(decisive, [n + 1 for n in repeats], range(-len(repeats), 0))
    runs = runs.reshape(2, math.prod(shape), *(crossed or [1]))
    means = means_of(space, decisive.reshape(2, -1))
    if not np.isfinite(means[0]).any():
        raise ValueError(NO_BEST)
    chosen = int(best_first(means)[0])
    place = np.unravel_index(chosen, shape)
    setting = {axis.name: axis.labels[i] for axis, i in zip(axes, place, strict=True)}
    first = trials_at(space, setting, [*setting])[0]
    mean, several = float(means[0, chosen]), any(number > 1 for number in crossed)
    stopped = np.any(np.isnan(last) & (table.diverged.values == 0))
    return Best(
        setting=setting,
        fields=names_at(space, first),
        trial=space.trials[first],
        objective=space.objective,
        score=mean,
        interval=_interval(runs[0, chosen], space.objective.limits),
        settings=means.shape[1],
        equal=int(np.sum(ranks_of(means[0]) == 0)),
        optimism=mean - _honest(runs) if several and not stopped else np.nan,
        tested=None if dataset is None else ensemble(table, setting, dataset),
    )


class Ensemble(NamedTuple):
    """The networks of a setting's seeds on the test part, alone and together.

    Together, their predictions are averaged (Lakshminarayanan et al. 2017).

    Attributes:
        metric: what is measured.
        scores: of each alone.
        interval: a 95 % confidence interval of their mean (Student's t); NaN for one seed.
        loss: the mean of their losses.
        calibration: the mean of their expected calibration errors (Guo et al. 2017): how far
            the probability of the predicted class is from the share of right predictions, on
            average over 15 classes of that probability; NaN where there are no classes.
        score_together, loss_together, calibration_together: of the averaged predictions.
    """

    metric: str
    scores: tuple[float, ...]
    interval: tuple[float, float]
    loss: float
    calibration: float
    score_together: float
    loss_together: float
    calibration_together: float

    def __repr__(self) -> str:
        """Such as Ensemble(test accuracy 0.9722)."""
        return f"Ensemble({self})"

    def __str__(self) -> str:
        """Such as test accuracy 0.9722; and of several networks, what they do together."""
        low, high = self.interval
        alone, together = f"test {spoken(self.metric)} {np.mean(self.scores):.4f}", ""
        calibration = f", calibration error {self.calibration:.4f}"
        if len(self.scores) > 1:
            alone += f" (95 % interval {low:.4f} to {high:.4f})"
            together = f"; the {len(self.scores)} networks together: {self.score_together:.4f}"
        if np.isnan(self.calibration):
            return alone + together
        more = f", calibration error {self.calibration_together:.4f}" if together else ""
        return f"{alone}{calibration}{together}{more}"


def ensemble(table: Any, point: Mapping[str, Any], dataset: Dataset) -> Ensemble:
    """Test the networks of a setting, one for each seed, alone and as an ensemble.

    Args:
        table: of `sweep`, which holds their parameters.
        point: a coordinate for every dimension but the seed and the epoch.
        dataset: that of the sweep.

    Raises:
        ValueError: if the point is none of the table's, or it does not hold the parameters.
    """
    space, whole, places, table = view(table)
    _check_networks(whole)
    check_data(table, dataset)
    trials = trials_at(space, point, [axis.name for axis in setting_axes(space)])
    networks = [params_of(table, whole, int(places[trial])) for trial in trials]
    config = space.trials[trials[0]].config
    each = [evaluate(params, dataset, dataset.test, config) for params in networks]
    together = np.mean([one.predictions for one in each], axis=0)
    loss, found = figures(_logits_of(together, config), dataset.test.labels, config=config)
    scores = np.asarray([one.score for one in each])
    labels = each[0].labels

    def off(predictions: np.ndarray) -> float:
        return _miscalibration(predictions, labels) if config.loss == "softmax" else np.nan

    return Ensemble(
        metric=config.measured,
        scores=tuple(scores.tolist()),
        interval=_interval(scores, limits_of(config.measured)),
        loss=float(np.mean([one.loss for one in each])),
        calibration=float(np.mean([off(one.predictions) for one in each])),
        score_together=float(found),
        loss_together=float(loss),
        calibration_together=off(together),
    )


def _logits_of(predictions: np.ndarray, config: Config) -> Any:
    """Logits that stand for some predictions; those of a probability 0 are as small as can be."""
    if config.loss == "squared":
        return jnp.asarray(predictions)
    tiny = np.finfo(np.float32).tiny
    logs = jnp.log(jnp.maximum(predictions, tiny))
    if config.loss == "softmax":
        return logs
    return logs - jnp.log(jnp.maximum(1 - predictions, tiny))


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
    space, whole, places, table = view(table)
    _check_networks(whole)
    (trial,) = trials_at(space, point, [axis.name for axis in space.axes])
    return params_of(table, whole, int(places[trial]))


def _check_networks(space: Space) -> None:
    """Raise ValueError if a table is of a task."""
    if not isinstance(space.schema, NetworkSchema):
        raise ValueError("the table is of a task, of which there are states alone: use state_at")


def _interval(values: np.ndarray, limits: tuple[float, float]) -> tuple[float, float]:
    """Of the mean of some scores, cut where scores end.

    Args:
        values: of repetitions, shape (seeds,); or (seeds, orders), of which those that share a seed
            or an order are not independent. Then the variance of the mean is
            (MS_rows + MS_columns − MS_rest) / n, of a two-way table with random effects (Searle et
            al. 1992, section 4.6), no less than that of rows or columns alone, with the degrees of
            freedom of Satterthwaite (1946).
        limits: where scores end.
    """
    from scipy.stats import t

    sizes = [size for size in values.shape if size > 1]
    if not sizes:
        return np.nan, np.nan
    values = values.reshape(sizes)
    mean, n = values.mean(), values.size
    if len(sizes) == 1:
        variance, freedom = values.var(ddof=1), n - 1.0
    else:
        effects = [values.mean(axis=axis) - mean for axis in (1, 0)]
        rest = values - mean - effects[0][:, None] - effects[1]
        free = np.asarray([sizes[0] - 1, sizes[1] - 1, (sizes[0] - 1) * (sizes[1] - 1)])
        sums = [n * np.mean(effects[0] ** 2), n * np.mean(effects[1] ** 2), np.sum(rest**2)]
        squares = np.asarray(sums) / free
        variance = max(squares[0] + squares[1] - squares[2], squares[0], squares[1])
        below = np.sum(squares**2 / free)
        freedom = np.clip(variance**2 / below, 1, n - 1) if below else n - 1.0
    half = t.ppf((1 + CONFIDENCE) / 2, freedom) * (variance / n) ** 0.5
    lowest, highest = limits
    return max(lowest, float(mean - half)), min(highest, float(mean + half))


def _honest(runs: np.ndarray) -> float:
    """The mean over the repetitions of the score that the setting has that is best by the others.

    The others share neither a seed nor an order with it. Settings that diverged for some seed are
    left out, as `best` does.

    Args:
        runs: what is decisive, shape (2, settings, *repetitions), of one axis or two.
    """
    sizes = [size for size in runs.shape[2:] if size > 1]
    runs = runs.reshape(2, -1, *sizes)
    runs = runs[:, np.isfinite(runs[0]).reshape(runs.shape[1], -1).all(axis=1)]
    axes, found = tuple(range(2, runs.ndim)), []
    for place in np.ndindex(*sizes):
        others = runs
        for axis, number in zip(axes, place, strict=True):
            others = np.delete(others, number, axis=axis)
        found.append(runs[(0, best_first(others.mean(axis=axes))[0], *place)])
    return float(np.mean(found))
