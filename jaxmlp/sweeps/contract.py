"""The contract of a sweep: any trial of it, run again alone, has the same curves, within a bound.

Another program rounds otherwise. While training is stable, the curves then differ in the last
digits of float32; where it is not, such as at the largest learning rates, any change grows, and
the bound is how far changes in the last digit of a setting drive the trial alone apart. That is a
sample of what rounding can do: now and then, one rounding does more than all that were tried.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

BOUND = 1e-4  # of what the losses of a trial in a sweep and alone may differ by, relatively
TIMES = 10  # of what changes in the last digit do, where that is more
NUDGES = ((1, 1), (-1, -1), (1, 0), (0, 1), (-1, 0), (0, -1), (1, -1), (-1, 1))
TINY = 1e-30  # a loss that is smaller counts as that


class Agreement(NamedTuple):
    """How far a trial in a sweep is from the same trial alone.

    Attributes:
        apart: the largest relative difference up to every epoch.
        rounding: the same of what changes in the last digit do to the trial alone.
        holds: whether the contract does in every epoch.
    """

    apart: np.ndarray
    rounding: np.ndarray
    holds: bool


def agreement(
    together: np.ndarray,
    alone: np.ndarray,
    again: Callable[[tuple[int, int]], np.ndarray],
    losses: Sequence[int],
) -> Agreement:
    """Compare curves, and try as many changes in the last digit as it takes.

    Args:
        together: of a trial in a sweep, shape (metrics, epochs).
        alone: of the same trial alone, which may have more epochs.
        again: the curves of the trial alone with the last digits of its numbers changed.
        losses: the metrics that are compared.
    """
    apart = distance(alone, together, losses)
    rounding = np.zeros_like(apart)
    holds = bool(np.all(apart <= BOUND))
    for nudge in NUDGES:
        if holds:
            break
        changed = distance(again(nudge), alone, losses)[: len(apart)]
        rounding = np.maximum(rounding, changed)
        holds = bool(np.all(apart <= np.maximum(BOUND, TIMES * rounding)))
    return Agreement(apart, rounding, holds)


def distance(one: np.ndarray, other: np.ndarray, losses: Sequence[int]) -> np.ndarray:
    """The largest relative difference of a loss up to every epoch that both have."""
    epochs = min(one.shape[1], other.shape[1])
    pairs = [curves[[*losses], :epochs].astype(float) for curves in (one, other)]
    sound = [np.isfinite(curves) for curves in pairs]
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.abs(pairs[0] - pairs[1]) / np.maximum(np.abs(pairs[1]), TINY)
    off = np.where(sound[0] & sound[1], off, np.where(sound[0] == sound[1], 0.0, np.inf))
    return np.maximum.accumulate(off.max(axis=0))
