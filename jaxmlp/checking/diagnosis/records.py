"""A mistake as a record, and looking up other values of a program for one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checking.programs.tape import Change, Place, Tape
from jaxmlp.checking.reference import Array

FIRST, LAST = "first", "last"  # of the rounds of a loop


class Mistake(NamedTuple):
    """One mistake.

    Attributes:
        kind: in a few words.
        says: what was done, in a sentence.
        change: the same as a function.
    """

    kind: str
    says: str
    change: Change


def others(tape: Tape, like: Sequence[Array]) -> Iterator[tuple[Place, Any]]:
    """Values of the same shape as some: their places, and in a loop, of which round."""
    shapes = {np.shape(each) for each in like}
    for place, arrays in tape.at.items():
        if any(each.shape in shapes for each in arrays):
            yield from (
                (place, away) for away in ((0, -1, 1, FIRST, LAST) if len(arrays) > 1 else (0,))
            )


def found(arrays: Mapping[Place, Sequence[Any]], place: Place, number: int, away: Any) -> Array:
    """The array of a place, in a round if there are several.

    Raises:
        IndexError: if there is no such round.
    """
    several = arrays[place]
    if len(several) == 1 or away == FIRST:
        return several[0]
    if away == LAST:
        return several[-1]
    if not 0 <= number + away < len(several):
        raise IndexError(f"there is no round {number + away}")
    return several[number + away]


def rounds(away: Any) -> str:
    """Of which round of a loop a value is, to follow its name."""
    return {
        0: "", -1: " of the round before", 1: " of the next round",
        FIRST: " of the first round", LAST: " of the last round",
    }[away]  # fmt: skip


def is_diagonal(matrix: Array) -> bool:
    """Whether an operation works entry by entry."""
    if matrix.shape[0] != matrix.shape[1]:
        return False
    return not np.any(matrix[~np.eye(len(matrix), dtype=bool)])


def is_selection(matrix: Array) -> bool:
    """Whether every entry of a value comes from one entry of the argument."""
    return bool(np.all((matrix != 0).sum(axis=1) <= 1)) and len(matrix) > 1
