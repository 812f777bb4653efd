"""The contract of a sweep: any trial of it, run again alone, has the same curves, within a bound.

Another program rounds otherwise. While training is stable, the curves then differ in the last
digits of float32; where it is not, such as at the largest learning rates, any change grows, and
the bound is how far changes in the last digit of a setting drive the trial alone apart. That is a
sample of what rounding can do: now and then, one rounding does more than all that were tried.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmlp.data import Dataset
from jaxmlp.results import Metrics, metric_names
from jaxmlp.settings import Hyperparams
from jaxmlp.sweeps.reading import check_data, trials_at, view
from jaxmlp.sweeps.space import Trial
from jaxmlp.training import train

BOUND = 1e-4  # of what the losses of a trial in a sweep and alone may differ by, relatively
TIMES = 10  # of what changes in the last digit do, where that is more
NUDGES = ((1, 1), (-1, -1), (1, 0), (0, 1), (-1, 0), (0, -1), (1, -1), (-1, 1))
TINY = 1e-30  # a loss that is smaller counts as that


class Replay(NamedTuple):
    """A trial of a sweep, run again by `train`.

    Attributes:
        trial: what it was told.
        metrics: its curves, alone.
        difference: the largest difference of a loss from the table's, relative to the loss;
            where both are NaN or infinite there is none, where one is, it is infinite.
        accuracy: the largest difference of the validation accuracy, or the other metric.
        beyond: the first epoch in which a loss differs by more than 10⁻⁴; 0 if there is none.
        rounding: if there is one, how far the losses of the trial alone are driven apart by
            changes in the last digit of its learning rate and of its initial weights, of which up
            to eight are tried; else NaN.
        holds: whether the contract of `sweep` does: up to every epoch, the losses differ by no
            more than 10⁻⁴, or than ten times what those changes do.
    """

    trial: Trial
    metrics: Metrics
    difference: float
    accuracy: float
    beyond: int
    rounding: float
    holds: bool

    def __str__(self) -> str:
        """Such as losses differ by 2.4e-07 at the most, accuracies by 0."""
        text = f"losses differ by {self.difference:.1e} at the most, accuracies by "
        text += f"{self.accuracy:.1e}" if self.accuracy else "0"
        if not self.beyond:
            return text
        same = "so" if self.holds else "but not so"
        return (
            f"{text}, by more than {BOUND:g} from epoch {self.beyond} on: {same} does the trial "
            f"alone, by {self.rounding:.1e}, if the last digit of its learning rate or initial "
            "weights is changed"
        )


def replay(table: Any, point: Mapping[str, Any], dataset: Dataset) -> Replay:
    """Run one trial of a sweep alone, and say by how much its curves differ.

    Args:
        table: of `sweep`.
        point: a coordinate for every dimension but the epoch, such as
            {"learning_rate": 0.01, "hidden": "32", "seed": 3}.
        dataset: that of the sweep.

    Raises:
        ValueError: if the point is none of the table's, or the data set is another one.
    """
    space, _, _, table = view(table)
    check_data(table, dataset)
    (number,) = trials_at(space, point, [axis.name for axis in space.axes])
    trial, row = space.trials[number], table.sel(dict(point))
    names = metric_names(trial.config)
    together = Metrics(*(row[name].values[: int(row.trained)] for name in names))
    alone = _alone(trial, trial.hyper, dataset)
    apart = _apart(alone, together)
    beyond, rounding = np.flatnonzero(apart > BOUND), np.zeros_like(apart)
    holds = False
    for nudge in (None, *NUDGES):  # as many as it takes
        if nudge:
            changed = _alone(trial, _nudged(trial.hyper, nudge), dataset)
            rounding = np.maximum(rounding, _apart(changed, alone)[: len(apart)])
        if holds := bool(np.all(apart <= np.maximum(BOUND, TIMES * rounding))):
            break
    return Replay(
        trial,
        alone,
        difference=float(apart[-1]),
        accuracy=float(np.abs(_cut(alone, together)[-1] - together[-1]).max()),
        beyond=int(beyond[0]) + 1 if len(beyond) else 0,
        rounding=float(rounding[-1]) if len(beyond) else np.nan,
        holds=holds,
    )


def _alone(trial: Trial, hyper: Hyperparams, dataset: Dataset) -> Metrics:
    result = train(jax.random.key(trial.seed), hyper, dataset, config=trial.config)
    return jax.tree.map(np.asarray, result.metrics)


def _cut(one: Metrics, other: Metrics) -> Metrics:
    """The epochs that the other has too."""
    return Metrics(*(values[: len(other[0])] for values in one))


def _apart(one: Metrics, other: Metrics) -> np.ndarray:
    """The largest relative difference of a loss up to every epoch that both have."""
    pairs = [np.stack(metrics[:-1]).astype(float) for metrics in (_cut(one, other), other)]
    sound = [np.isfinite(losses) for losses in pairs]
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.abs(pairs[0] - pairs[1]) / np.maximum(np.abs(pairs[1]), TINY)
    off = np.where(sound[0] & sound[1], off, np.where(sound[0] == sound[1], 0.0, np.inf))
    return np.maximum.accumulate(off.max(axis=0))


def _nudged(hyper: Hyperparams, ulps: tuple[int, int]) -> Hyperparams:
    """The learning rate and the scale of the initial weights, so many float32 numbers further."""
    numbers = np.asarray([hyper.learning_rate, hyper.init_scale], np.float32)
    towards = np.where(np.asarray(ulps) > 0, np.inf, -np.inf).astype(np.float32)
    rate, scale = np.where(ulps, np.nextafter(numbers, towards), numbers).tolist()
    return hyper._replace(learning_rate=max(rate, 0.0), init_scale=max(scale, 0.0))
