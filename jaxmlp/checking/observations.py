"""What a gradient gave for one of our networks, line by line, and when two arrays agree."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from jaxmlp.checking.reference import INPUTS, LABELS, Array, Line, Problem, all_lines

Key = TypeVar("Key")
SLACK = 64.0  # a wrong gradient may be rounded worse than the right one
COARSEST = 1e-6  # relative rounding granted to a wrong gradient, whatever the right one's is


class Observation(NamedTuple):
    """What a gradient gave for one problem.

    Attributes:
        problem: the network and batch.
        received: the gradient's leaves, and any other line that is known.
        allowed: rounding bounds on all lines of the right gradient.
        right: all lines of the right derivation.
        given: lines that are taken as they were received, right or wrong.
    """

    problem: Problem
    received: Mapping[Line, Array]
    allowed: Mapping[Line, Array]
    right: Mapping[Line, Array]
    given: Mapping[Line, Array] = {}

    def agrees(self, predicted: Mapping[Line, Array], only: Sequence[Line] = ()) -> bool:
        """Whether the received leaves are those predicted, up to rounding.

        How far a NaN spreads depends on how products with zeros are compiled. So where one is
        received, one has to be predicted, but not in the same entries.
        """
        lines = [line for line in self.received if not only or line in only]
        wild = [_wild(arrays[line] for line in lines) for arrays in (predicted, self.received)]
        if wild[0] != wild[1]:
            return False
        return all(
            agree(self.received[line], predicted[line], self.allowed[line], self.right[line])
            for line in lines
        )


def _wild(arrays: Iterable[Array]) -> bool:
    """Whether anything is NaN or infinite."""
    return not all(np.isfinite(array).all() for array in arrays)


def agree(
    received: Array, predicted: Array, allowed: Array, right: Array, *, apart: bool = False
) -> bool:
    """Whether two arrays are equal, where finite, up to the rounding allowed for their size.

    `apart` allows each entry its own rounding, so that one that may be on or off at a kink says
    nothing of the others; else all of them have that of the worst.
    """
    if received.shape != np.shape(predicted):
        return False
    finite = np.isfinite(received) & np.isfinite(predicted)
    size = np.max(np.abs(right), initial=0, where=np.isfinite(right))
    share = min(allowed.max() / size, COARSEST) if size > 0 else COARSEST
    largest = np.max(np.abs(predicted), initial=0, where=finite)
    worst = allowed if apart else allowed.max()
    granted = np.maximum(worst, share * max(size if apart else 0.0, largest))
    with np.errstate(all="ignore"):
        near = np.abs(np.where(finite, received - predicted, 0.0))
        return bool(np.all(near <= SLACK * granted))


GIVEN = {"x": INPUTS, "y": LABELS}


def settled(standings: Mapping[Key, str]) -> dict[Key, str]:
    """What every line is, in their order; what follows from right lines is right.

    So where no line is wrong itself, but one is not right, the first such line is the wrong one.
    """
    found = dict(standings)
    if "wrong" not in found.values():
        found |= dict.fromkeys([k for k, each in found.items() if each != "right"][:1], "wrong")
    return found


def standing(received: Array, follows: Array, allowed: Array, right: Array) -> str:
    """Whether a line is right, wrong itself, or right given the wrong ones before it."""
    if np.all(np.abs(received - right) <= allowed):
        return "right"
    if not np.array_equal(np.isfinite(received), np.isfinite(follows)):
        return "wrong"
    return "follows" if agree(received, follows, allowed, right, apart=True) else "wrong"


class Place(NamedTuple):
    """Which lines of a symbol: every one, or one counted from the input or the output."""

    symbol: str
    end: str
    number: int = 0

    def lines(self, problem: Problem) -> list[Line]:
        """The lines meant, in a problem of any depth."""
        if self.symbol in GIVEN:
            return [GIVEN[self.symbol]]
        last = self.symbol == "dzL"
        symbol = "dz" if last else self.symbol
        hits = [line for line in all_lines(problem) if line.symbol == symbol]
        if symbol == "dz":
            hits = [line for line in hits if (line.index == problem.depth) == last]
        hits.sort(key=lambda line: line.index, reverse=self.end == "output")
        return hits if self.end == "every" else hits[self.number : self.number + 1]
