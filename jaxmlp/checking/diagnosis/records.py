"""Mistakes as records, and looking up other values of a program for one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.programs.recording import Place
from jaxmlp.checking.programs.tape import Change, Tape

MOVES = (  # operations whose slope is 1 wherever an entry goes
    "add", "add_any", "sub", "broadcast_in_dim", "reshape", "transpose", "squeeze", "slice",
    "concatenate", "convert_element_type", "copy", "gather", "reduce_sum",
)  # fmt: skip
PLAIN = (  # kinds of mistakes, the plainest first
    "sign", "missing", "missing term", "1/N missing", "extra 1/N", "1/N with another N",
    "constant factor", "mask missing", "mask inverted", "missing factor", "wrong axis",
    "transpose", "overwritten", "batch rows", "wrong derivative", "precision lost",
    "derivative at the wrong place", "stale value", "mean of a product", "absolute value",
    "mask of the error", "sign only", "extra factor",
)  # fmt: skip
FIRST, LAST = "first", "last"  # of the rounds of a loop


class Mistake(NamedTuple):
    """One mistake.

    Attributes:
        kind: in a few words.
        says: what was done, in a sentence.
        change: the same as a function.
        line: the line of a derivation that is wrong, if it is another one than the place says.
    """

    kind: str
    says: str
    change: Change
    line: str = ""


class Term(NamedTuple):
    """Something of which a multiple may have got into the derivative by a value.

    Attributes:
        says: what it is.
        part: whether it is a part of the derivative, which may be scaled; else it does not belong.
        of: the same as a function.
    """

    says: str
    part: bool
    of: Change


class Known(NamedTuple):
    """What is known of the steps of a loss besides its program; by default nothing.

    Attributes:
        mistakes: those in the derivative by a value, by its name.
        terms: of the derivative by a value, by its name.
        names: how values are called, by the names that they have in the program.
    """

    mistakes: Mapping[str, Sequence[Mistake]] = {}
    terms: Mapping[str, Sequence[Term]] = {}
    names: Mapping[str, str] = {}


def plainness(kind: str) -> int:
    """The place of a kind of mistake among those that are looked for first."""
    return PLAIN.index(kind) if kind in PLAIN else len(PLAIN)


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
