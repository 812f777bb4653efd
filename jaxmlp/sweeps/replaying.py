"""The contract of a sweep: any trial of it, run again alone, has the same curves, within a bound.

Another program rounds otherwise. While training is stable, the curves then differ in the last
digits of float32; where it is not, such as at the largest learning rates, any change grows, and
no bound can be promised but this: not much more than a change in the last digit of a setting.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmlp.data import Dataset
from jaxmlp.settings import Hyperparams
from jaxmlp.sweeps.reading import check_data, trials_at, view
from jaxmlp.sweeps.space import Trial
from jaxmlp.training import Metrics, train

BOUND = 1e-4  # of what the losses of a trial in a sweep and alone may differ by, relatively
TIMES = 10  # of what a change in the last digit does, where that is more
TINY = 1e-30  # a loss that is smaller counts as that


class Replay(NamedTuple):
    """A trial of a sweep, run again by `train`.

    Attributes:
        trial: what it was told.
        metrics: its curves, alone.
        difference: the largest difference of a loss from the table's, relative to the loss;
            where both are NaN or infinite there is none, where one is, it is infinite.
        accuracy: the largest difference of the validation accuracy.
        beyond: the first epoch in which a loss differs by more than 10⁻⁴; 0 if there is none.
        rounding: if there is one, how far the losses of the trial alone are driven apart by a
            change in the last digit of its learning rate and of its initial weights; else NaN.
        holds: whether the contract of `sweep` does: up to every epoch, the losses differ by no
            more than 10⁻⁴, or than ten times what that change does.
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
            f"alone, by {self.rounding:.1e}, if its learning rate and initial weights are changed "
            "in the last digit"
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
    together = Metrics(*(row[name].values[: int(row.trained)] for name in Metrics._fields))
    alone = _alone(trial, trial.hyper, dataset)
    apart = _apart(alone, together)
    beyond, rounding = np.flatnonzero(apart > BOUND), np.zeros_like(apart)
    if len(beyond):
        rounding = _apart(_alone(trial, _nudged(trial.hyper), dataset), alone)[: len(apart)]
    return Replay(
        trial,
        alone,
        difference=float(apart[-1]),
        accuracy=float(np.abs(_cut(alone, together)[-1] - together[-1]).max()),
        beyond=int(beyond[0]) + 1 if len(beyond) else 0,
        rounding=float(rounding[-1]) if len(beyond) else np.nan,
        holds=bool(np.all(apart <= np.maximum(BOUND, TIMES * rounding))),
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


def _nudged(hyper: Hyperparams) -> Hyperparams:
    """With a learning rate and a scale of the initial weights that are the next in float32."""
    up = {
        name: float(np.nextafter(np.float32(getattr(hyper, name)), np.float32(np.inf)))
        for name in ("learning_rate", "init_scale")
    }
    return hyper._replace(**up)
