"""The contract of a sweep: any trial of it, run again alone, has the same curves, within a bound.

Another program rounds otherwise. While training is stable, the curves then differ in the last
digits of float32; where it is not, such as at the largest learning rates, any change grows, and
the bound is how far changes in the last digit of a setting drive the trial alone apart. That is a
sample of what rounding can do: now and then, one rounding does more than all that were tried.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.sweeps.reading import trials_at, view
from jaxmlp.sweeps.schema import Trial
from jaxmlp.sweeps.trainings import training_of

BOUND = 1e-4  # of what the losses of a trial in a sweep and alone may differ by, relatively
TIMES = 10  # of what changes in the last digit do, where that is more
NUDGES = ((1, 1), (-1, -1), (1, 0), (0, 1), (-1, 0), (0, -1), (1, -1), (-1, 1))
TINY = 1e-30  # a loss that is smaller counts as that


class Replay(NamedTuple):
    """A trial of a sweep, run again alone.

    Attributes:
        trial: what it was told.
        metrics: its curves, alone: of our networks the `Metrics` of `train`; of a task a dict.
        difference: the largest difference of a loss, or of any metric of a task, from the table's,
            relative to it; where both are NaN or infinite there is none, where one is, it is
            infinite.
        accuracy: the largest difference of the validation accuracy, or the other metric of a
            network; of a task 0.
        beyond: the first epoch in which a loss differs by more than 10⁻⁴; 0 if there is none.
        rounding: if there is one, how far the losses of the trial alone are driven apart by
            changes in the last digit of its learning rate and of its initial weights, of which up
            to eight are tried; else NaN.
        holds: whether the contract of `sweep` does: up to every epoch, the losses differ by no
            more than 10⁻⁴, or than ten times what those changes do.
    """

    trial: Trial
    metrics: Any
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


def replay(table: Any, point: Mapping[str, Any], dataset: Any) -> Replay:
    """Run one trial of a sweep alone, and say by how much its curves differ.

    Args:
        table: of `sweep`.
        point: a coordinate for every dimension but the epoch, such as
            {"learning_rate": 0.01, "hidden": "32", "seed": 3}.
        dataset: that of the sweep, or its task.

    Raises:
        ValueError: if the point is none of the table's, or the data set or task is another one.
    """
    space, _, _, table = view(table)
    training = training_of(table, space, dataset)
    (number,) = trials_at(space, point, [axis.name for axis in space.axes])
    trial, row = space.trials[number], table.sel(dict(point))
    objective = space.objective
    together = np.stack([row[name].values[: int(row.trained)] for name in objective.names])
    alone = training.alone(trial)
    losses, others = objective.finite, {*range(len(alone))} - {*objective.finite}
    apart = _apart(alone, together, losses)
    beyond, rounding = np.flatnonzero(apart > BOUND), np.zeros_like(apart)
    holds = False
    for nudge in (None, *NUDGES):  # as many as it takes
        if nudge:
            changed = training.alone(training.nudged(trial, nudge))
            rounding = np.maximum(rounding, _apart(changed, alone, losses)[: len(apart)])
        if holds := bool(np.all(apart <= np.maximum(BOUND, TIMES * rounding))):
            break
    return Replay(
        trial,
        training.named(alone),
        difference=float(apart[-1]),
        accuracy=max((_off(alone[other], together[other]) for other in others), default=0.0),
        beyond=int(beyond[0]) + 1 if len(beyond) else 0,
        rounding=float(rounding[-1]) if len(beyond) else np.nan,
        holds=holds,
    )


def _off(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference in the epochs that the other curve has too."""
    return float(np.abs(one[: len(other)] - other).max())


def _apart(one: np.ndarray, other: np.ndarray, losses: Sequence[int]) -> np.ndarray:
    """The largest relative difference of a loss up to every epoch that both have."""
    pairs = [curves[[*losses], : other.shape[1]].astype(float) for curves in (one, other)]
    sound = [np.isfinite(curves) for curves in pairs]
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.abs(pairs[0] - pairs[1]) / np.maximum(np.abs(pairs[1]), TINY)
    off = np.where(sound[0] & sound[1], off, np.where(sound[0] == sound[1], 0.0, np.inf))
    return np.maximum.accumulate(off.max(axis=0))
