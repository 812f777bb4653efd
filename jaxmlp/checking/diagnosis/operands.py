"""Mistakes in what is multiplied: another value, another error, or a transpose."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.diagnosis.records import Mistake, found, others, rounds
from jaxmlp.checking.programs.recording import Operation, Place
from jaxmlp.checking.programs.tape import Tape, local_jacobian

UNNAMED = "another value"
BILINEAR = ("mul", "dot_general", "conv_general_dilated")


def operand_mistakes(
    tape: Tape, op: Operation, argument: int, names: Mapping[Place, str]
) -> Iterator[Mistake]:
    """Another value in the place of one of the arguments by which a derivative is multiplied."""
    single = sum(np.size(each) > 1 for each in op.given) == 1
    kind = "derivative at the wrong place" if single else "stale value"
    for i, given in enumerate(op.given):
        if i == argument and op.name in BILINEAR:
            continue
        if not (isinstance(given, np.ndarray) and given.size > 1 and given.dtype.kind == "f"):
            continue
        if op.name in BILINEAR:
            yield _with(
                i, lambda t, op, a: np.ones_like(a), "missing factor", "an operand is left out"
            )
            says = "the product of the means is used, not the mean of the products"
            yield _with(i, lambda t, op, a: 0 * a + a.mean(axis=0), "mean of a product", says)
        for turn, how in (
            (lambda a: a.T, ""),
            (lambda a: a.swapaxes(-1, -2), ", in its last axes,"),
        ):
            if given.ndim > 1 and turn(given).shape == given.shape:
                says = f"the other operand{how} is transposed in vain, or not where it must be"
                yield _with(i, lambda t, op, a, turn=turn: turn(a), "transpose", says)
        yield _with(i, lambda t, op, a: np.abs(a), "absolute value", "an operand's signs are lost")
        own = tape.arguments(op.place, i)
        for place, away in others(tape, own):
            if any(len(tape.at[place]) > 1 or tape.at[place][0] is not each for each in own):
                yield from _other_value(i, place, away, kind, names, given)


def _other_value(
    i: int, place: Place, away: Any, kind: str, names: Mapping[Place, str], given: Array
) -> Iterator[Mistake]:
    """One other value, as it is and transposed."""

    def value(t: Tape, op: Operation, a: Array) -> Array:
        return found(t.at, place, op.round, away)

    name = f"{names.get(place, UNNAMED)}{rounds(away)}"
    yield _with(i, value, kind, f"{name} is used in it")
    if given.ndim > 1 and given.T.shape == given.shape:
        yield _with(
            i, lambda t, op, a: value(t, op, a).T, kind, f"{name}, transposed, is used in it"
        )


def _with(place: int, of: Callable[..., Array], kind: str, says: str) -> Mistake:
    """The derivative of an operation at another argument."""

    def change(tape: Tape, op: Operation, argument: int, error: Array) -> Array:
        given = list(op.given)
        other = of(tape, op, given[place])
        if np.shape(other) != np.shape(given[place]):
            raise ValueError("it cannot be made with a value of this shape")
        given[place] = other
        return error.reshape(-1) @ local_jacobian(op, given, argument, tape.plain)

    return Mistake(kind, says, change)


def error_mistakes(tape: Tape, op: Operation, names: Mapping[Place, str]) -> Iterator[Mistake]:
    """The derivative by another value in the place of that by the operation's own."""
    for place, away in others(tape, tape.at[op.place]):
        if place not in tape.errors or (place == op.place and not away):
            continue

        def change(
            t: Tape, op: Operation, i: int, error: Array, place: Place = place, away: Any = away
        ) -> Array:
            return found(t.current, place, op.round, away).reshape(-1) @ op.jacobians[i]

        says = f"∂C/∂{names.get(place, UNNAMED)}{rounds(away)} is used in it"
        yield Mistake("stale value", says, change)


def factor_mistakes(tape: Tape, place: Place, names: Mapping[Place, str]) -> Iterator[Mistake]:
    """A derivative that is multiplied or divided by a value of the program."""
    for other, away in others(tape, tape.at[place]):
        for kind, how, power in (
            ("extra factor", "multiplied", 1),
            ("missing factor", "divided", -1),
        ):

            def change(
                t: Tape, op: Any, i: Any, error: Array, other: Place = other, away: Any = away,
                power: int = power,
            ) -> Array:  # fmt: skip
                return error * found(t.at, other, op.round if op else 0, away) ** power

            says = f"it is {how} by {names.get(other, UNNAMED)}{rounds(away)}"
            yield Mistake(kind, says, change)
