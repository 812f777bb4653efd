"""The mistakes that people make in one step of a derivation.

A change takes the derivative that comes back to an operation and gives what was made of it. Whether
it is the mistake is a question of numbers: it has to explain every entry, on every case.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.special import expit

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.diagnosis.changes import ANYWHERE
from jaxmlp.checking.diagnosis.operands import (
    BILINEAR,
    error_mistakes,
    factor_mistakes,
    operand_mistakes,
)
from jaxmlp.checking.diagnosis.records import MOVES, Mistake, is_diagonal, is_selection
from jaxmlp.checking.diagnosis.slopes import EXTREMES, mask_mistakes, slope_mistakes
from jaxmlp.checking.diagnosis.sums import sum_mistakes
from jaxmlp.checking.programs.recording import Operation, Place
from jaxmlp.checking.programs.tape import Tape

PRODUCTS = (*BILINEAR, "div")
EXTRA = {  # slopes that are multiplied in, though there is no such function
    "relu": lambda z: z > 0,
    "a sigmoid": lambda z: expit(z) * expit(-z),
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
}


def at_value(tape: Tape, place: Place, names: dict[Place, str]) -> Iterator[Mistake]:
    """What may be made of the whole derivative by a value.

    Args:
        tape: that holds the value.
        place: of the value.
        names: of the values at some places, for a sentence.
    """
    for kind, says, of in ANYWHERE:

        def change(tape: Tape, op: Any, argument: Any, error: Array, of: Any = of) -> Array:
            return _made(of, error)

        yield Mistake(kind, says, change)
    if place[0] == "input":
        return
    for name, slope in EXTRA.items():
        yield Mistake(
            "extra factor",
            f"the slope of {name} is multiplied in",
            lambda t, op, i, error, slope=slope: error * slope(t.values[op.output]),
        )
    yield from factor_mistakes(tape, place, names)


def _made(of: Callable[[Array], Any], error: Array) -> Array:
    """What is made of an array.

    Raises:
        ValueError: if it has another shape.
    """
    if np.shape(found := of(error)) != error.shape:
        raise ValueError("it cannot be made of an array of this shape")
    return found


def at_argument(
    tape: Tape, op: Operation, argument: int, names: dict[Place, str]
) -> Iterator[Mistake]:
    """What may be made of the part of a derivative that comes back from one operation.

    Args:
        tape: that holds the operation.
        op: the operation.
        argument: by whose position the part goes.
        names: of the values at some places, for a sentence.
    """
    matrix = op.jacobians[argument]
    if op.equation is None:
        return
    if is_diagonal(matrix) and op.name not in MOVES:
        yield from slope_mistakes(tape, op, names)
    elif is_selection(matrix):
        yield from sum_mistakes(tape, op, argument)
    elif op.name in EXTREMES:
        yield from mask_mistakes(op)
    elif matrix.shape[0] == matrix.shape[1]:
        says = "only the diagonal of its Jacobian is used"
        yield Mistake("missing term", says, _by_diagonal)
    if op.name in PRODUCTS or (is_diagonal(matrix) and op.name not in MOVES):
        yield from operand_mistakes(tape, op, argument, names)
    yield from _by_rounds(op)
    yield from _by_rows()
    yield from error_mistakes(tape, op, names)


def _by_diagonal(tape: Tape, op: Operation, argument: int, error: Array) -> Array:
    return error.reshape(-1) * np.diagonal(op.jacobians[argument])


def _by_rounds(op: Operation) -> Iterator[Mistake]:
    """Parts of some rounds of a loop that are left out, or overwritten by another round's."""
    for kind, says, kept in (
        ("overwritten", "only the part of the first round is kept", lambda n, count: n == 0),
        ("overwritten", "only the part of the last round is kept", lambda n, count: n == count - 1),
        (
            "missing term",
            "only the last two rounds are gone through",
            lambda n, count: n > count - 2,
        ),
        (
            "missing term",
            "only the last three rounds are gone through",
            lambda n, count: n > count - 3,
        ),
    ):

        def change(t: Tape, op: Operation, i: int, error: Array, kept: Any = kept) -> Array:
            count = len(t.at[op.place])
            if count == 1:
                raise ValueError("there is no loop here")
            return kept(op.round, count) * (error.reshape(-1) @ op.jacobians[i])

        yield Mistake(kind, says, change)


def _by_rows() -> Iterator[Mistake]:
    """What befalls a derivative on its way into one of several places where it is used."""
    for kind, says, of in ANYWHERE:
        if kind in ("batch rows", "transpose", "precision lost", "missing term"):

            def change(t: Tape, op: Operation, i: int, error: Array, of: Any = of) -> Array:
                return _made(of, error).reshape(-1) @ op.jacobians[i]

            yield Mistake(kind, f"of what comes back to it, {says}", change)
