"""When two arrays agree: the one comparator of all that looks for reasons."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from jaxmlp.checking.arrays import Array

Key = TypeVar("Key")
SLACK = 64.0  # a wrong gradient may be rounded worse than the right one
COARSEST = 1e-6  # relative rounding granted to a wrong gradient, whatever the right one's is
LEFT = 1e-2  # of an error, which an explanation may leave unexplained


def agree(
    received: Array, predicted: Array, allowed: Array, right: Array, *, apart: bool = False
) -> bool:
    """Whether two arrays are equal, where finite, up to the rounding allowed for their size.

    Args:
        received: what was returned.
        predicted: what it may be.
        allowed: how far rounding may put the right one from the truth.
        right: the true one.
        apart: whether each entry has its own rounding, so that one that may be on or off at a kink
            says nothing of the others; else all of them have that of the worst.
    """
    if received.shape != np.shape(predicted):
        return False
    if not received.size:
        return True
    finite = np.isfinite(received) & np.isfinite(predicted)
    size = np.max(np.abs(right), initial=0, where=np.isfinite(right))
    share = min(allowed.max() / size, COARSEST) if size > 0 else COARSEST
    largest = np.max(np.abs(predicted), initial=0, where=finite)
    worst = allowed if apart else allowed.max()
    granted = np.maximum(worst, share * max(size if apart else 0.0, largest))
    with np.errstate(all="ignore"):
        near = np.abs(np.where(finite, received - predicted, 0.0))
        return bool(np.all(near <= SLACK * granted))


def explained(received: Array, predicted: Array, allowed: Array, right: Array) -> bool:
    """Whether they agree, and next to nothing is left of the error, if there is one."""
    if not agree(received, predicted, allowed, right):
        return False
    with np.errstate(all="ignore"):
        error, left = np.abs(received - right), np.abs(received - predicted)
    if not received.size or np.all(error <= allowed) or not np.isfinite(error.max()):
        return True
    return not np.nanmax(left) > max(LEFT * error.max(), allowed.max())


def standing(received: Array, follows: Array, allowed: Array, right: Array) -> str:
    """Whether a line is right, wrong itself, or right given the wrong ones before it."""
    if np.all(np.abs(received - right) <= allowed):
        return "right"
    if not np.array_equal(np.isfinite(received), np.isfinite(follows)):
        return "wrong"
    return "follows" if agree(received, follows, allowed, right, apart=True) else "wrong"


def settled(standings: Mapping[Key, str]) -> dict[Key, str]:
    """What every line is, in their order; what follows from right lines is right.

    So where no line is wrong itself, but one is not right, the first such line is the wrong one.
    """
    found = dict(standings)
    if "wrong" not in found.values():
        found |= dict.fromkeys([k for k, each in found.items() if each != "right"][:1], "wrong")
    return found
