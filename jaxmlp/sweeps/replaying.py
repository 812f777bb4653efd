"""Any trial of a sweep, run again alone."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.sweeps.contract import BOUND, agreement
from jaxmlp.sweeps.reading import trials_at, view
from jaxmlp.sweeps.schema import Trial
from jaxmlp.sweeps.trainings import training_of


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
        task = isinstance(self.metrics, dict)
        text = f"{'metrics' if task else 'losses'} differ by {self.difference:.1e} at the most"
        numbers = "numbers" if task else "learning rate or initial weights"
        if not task:
            text += f", accuracies by {f'{self.accuracy:.1e}' if self.accuracy else 0}"
        if not self.beyond:
            return text
        same = "so" if self.holds else "but not so"
        return (
            f"{text}, by more than {BOUND:g} from epoch {self.beyond} on: {same} does the trial "
            f"alone, by {self.rounding:.1e}, if the last digit of its {numbers} is changed"
        )


def replay(table: Any, point: Mapping[str, Any], dataset: Any, *, hyper: Any = None) -> Replay:
    """Run one trial of a sweep alone, and say by how much its curves differ.

    Args:
        table: of `sweep`.
        point: a coordinate for every dimension but the epoch, such as
            {"learning_rate": 0.01, "hidden": "32", "seed": 3}.
        dataset: that of the sweep, or its task.
        hyper: the record of fields that was swept with the task, if there was one.

    Raises:
        ValueError: if the point is none of the table's, or the data set or task is another one.
    """
    space, whole, _, table = view(table)
    training = training_of(table, whole, dataset, hyper)
    (number,) = trials_at(space, point, [axis.name for axis in space.axes])
    trial, row = space.trials[number], table.sel(dict(point))
    objective = space.objective
    together = np.stack([row[name].values[: int(row.trained)] for name in objective.names])
    alone = training.alone(trial)
    losses, others = objective.finite, {*range(len(alone))} - {*objective.finite}
    found = agreement(
        together, alone, lambda nudge: training.alone(training.nudged(trial, nudge)), losses
    )
    beyond = np.flatnonzero(found.apart > BOUND)
    return Replay(
        trial,
        training.named(alone),
        difference=float(found.apart[-1]),
        accuracy=max((_off(alone[other], together[other]) for other in others), default=0.0),
        beyond=int(beyond[0]) + 1 if len(beyond) else 0,
        rounding=float(found.rounding[-1]) if len(beyond) else np.nan,
        holds=found.holds,
    )


def _off(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference in the epochs that the other curve has too."""
    return float(np.abs(one[: len(other)] - other).max())
