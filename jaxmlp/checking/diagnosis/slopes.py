"""Mistakes in the slope of an elementwise function, and in the masks of maxima and of branches."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.special import expit

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.diagnosis.records import Mistake, found, others, rounds
from jaxmlp.checking.programs.recording import Operation, Place
from jaxmlp.checking.programs.tape import Tape

THRESHOLDS = (*(10.0**-power for power in (*range(1, 17), 20, 30)), float(np.finfo(float).eps), 0.5)
SLOPES: list[tuple[str, str, Callable[[Array, Array, Array], Any]]] = [
    # of an elementwise function, by its slope, its argument and its value
    ("mask missing", "the derivative of the function is left out", lambda s, z, h: np.ones_like(s)),
    ("kink", "at a kink its slope is taken as 1, where it has to be 0",
     lambda s, z, h: np.where(z == 0, 1.0, s)),
    ("kink", "at a kink its slope is taken as ½, where it has to be 0",
     lambda s, z, h: np.where(z == 0, 0.5, s)),
    ("mask inverted", "1 − its slope is used", lambda s, z, h: 1 - s),
    ("mask inverted", "it is on where it has to be off", lambda s, z, h: (s == 0) * 1.0),
    ("mask inverted", "the mask is 1[argument < 0]", lambda s, z, h: (z < 0) * 1.0),
    ("wrong derivative", "its value is multiplied in, not its slope", lambda s, z, h: h),
    ("wrong derivative", "its argument is multiplied in, not its slope", lambda s, z, h: z),
    ("wrong derivative", "its slope is squared", lambda s, z, h: s**2),
    ("wrong derivative", "1 / its slope is multiplied in", lambda s, z, h: 1 / s),
    ("wrong derivative", "the root of its slope is multiplied in", lambda s, z, h: np.sqrt(s)),
    ("wrong derivative", "1 − value² is multiplied in", lambda s, z, h: 1 - h**2),
    ("wrong derivative", "1 − argument² is multiplied in", lambda s, z, h: 1 - z**2),
    ("wrong derivative", "1 − value is multiplied in", lambda s, z, h: 1 - h),
    ("wrong derivative", "1 + value² is multiplied in", lambda s, z, h: 1 + h**2),
    ("wrong derivative", "value (1 − value) is multiplied in", lambda s, z, h: h * (1 - h)),
    ("wrong derivative", "argument (1 − argument) is multiplied in", lambda s, z, h: z * (1 - z)),
    ("wrong derivative", "the slope of relu is used", lambda s, z, h: z > 0),
    ("wrong derivative", "the slope of a leaky relu is used", lambda s, z, h: _leaky(z)),
    ("wrong derivative", "the slope of relu6 is used", lambda s, z, h: (z > 0) & (z < 6)),
    ("wrong derivative", "the slope of tanh is used", lambda s, z, h: 1 - np.tanh(z) ** 2),
    ("wrong derivative", "the slope of a sigmoid is used", lambda s, z, h: expit(z) * expit(-z)),
    ("wrong derivative", "the sign is used", lambda s, z, h: np.sign(z)),
    ("wrong derivative", "the first row's slope is used for all", lambda s, z, h: 0 * s + s[:1]),
    ("wrong derivative", "the last row's slope is used for all", lambda s, z, h: 0 * s + s[-1:]),
    *(("mask threshold", f"the mask is 1[argument > {low:g}]", lambda s, z, h, low=low: z > low)
      for low in (*(sign * size for size in THRESHOLDS for sign in (1, -1)),)),
]  # fmt: skip


def _leaky(z: Array) -> Array:
    return np.where(z > 0, 1, 0.01)


BY_VALUE: dict[str, Callable[[Array], Any]] = {  # slopes, by the value of the function
    "tanh": lambda h: 1 - h**2,
    "logistic": lambda h: h * (1 - h),
    "exp": lambda h: h,
    "sqrt": lambda h: 0.5 / h,
}
EXTREMES = ("reduce_max", "reduce_min")


def slope_mistakes(tape: Tape, op: Operation, names: dict[Place, str]) -> Iterator[Mistake]:
    """Another factor in the place of the slope of an elementwise function."""
    for kind, says, of in SLOPES:
        if op.name in ("mul", "div") and kind == "mask missing":
            kind, says = "missing factor", "the other operand is left out"
        if kind in ("kink", "mask inverted", "mask threshold") and op.name in ("mul", "div"):
            continue

        def change(tape: Tape, op: Operation, argument: int, error: Array, of: Any = of) -> Array:
            slope = np.diagonal(op.jacobians[argument]).reshape(error.shape)
            z = np.broadcast_to(op.given[argument], error.shape)
            return error * of(slope, z, tape.values[op.output])

        yield Mistake(kind, says, change)
    if op.name not in ("mul", "div"):
        yield from _other_masks(tape, op, names)
    if by := BY_VALUE.get(op.name):
        for place, away in others(tape, tape.at[op.place]):

            def elsewhere(
                t: Tape, op: Operation, i: int, e: Array, place: Place = place, away: int = away
            ) -> Array:
                return e * by(found(t.at, place, op.round, away))

            says = f"its slope is taken from {names.get(place, 'another value')}{rounds(away)}"
            yield Mistake("derivative at the wrong place", says, elsewhere)


def _other_masks(tape: Tape, op: Operation, names: dict[Place, str]) -> Iterator[Mistake]:
    """A mask that is taken from the sign of another array than the argument."""
    for place, away in others(tape, tape.at[op.place]):

        def change(
            t: Tape, op: Operation, i: int, error: Array, place: Place = place, away: Any = away
        ) -> Array:
            mask = found(t.at, place, op.round, away) > 0
            if mask.shape != error.shape:
                raise ValueError("a mask of another shape")
            return error * mask

        says = f"the mask is taken from {names.get(place, 'another value')}{rounds(away)}"
        yield Mistake("derivative at the wrong place", says, change)
    says = "the mask is taken from the sign of what comes back"
    yield Mistake("mask of the error", says, lambda t, op, i, error: error * (error > 0))
    says = "the mask is taken from the signs of what comes back and of the argument together"
    yield Mistake(
        "mask of the error",
        says,
        lambda t, op, i, error: error * ((error > 0) & (op.given[i] > 0)),
    )


MASKS: list[tuple[str, str, Callable[[Array, Array], Any]]] = [
    # of what comes back to a maximum: by its Jacobian, and by ones for all that were compared
    ("mask missing", "every entry gets all of it", lambda m, ones: ones),
    ("mask missing", "every entry gets the same share", lambda m, ones: ones / _count(ones)),
    ("mask inverted", "all but the winner get it", lambda m, ones: ones * (m == 0)),
    ("wrong derivative", "each of several winners gets all of it", lambda m, ones: (m != 0) * 1.0),
    ("wrong derivative", "the first of several winners gets all", lambda m, ones: _first(m)),
]


def _count(ones: Array) -> Array:
    return ones.sum(axis=1, keepdims=True)


def mask_mistakes(op: Operation) -> Iterator[Mistake]:
    """Another share of what comes back to a maximum or minimum over some axes."""
    axes = op.equation.params["axes"]
    for kind, says, of in MASKS:

        def change(tape: Tape, op: Operation, i: int, error: Array, of: Any = of) -> Array:
            matrix, shape = op.jacobians[i], np.shape(op.given[i])
            group = np.arange(len(matrix)).reshape(error.shape)
            group = np.broadcast_to(np.expand_dims(group, axes), shape).reshape(-1)
            ones = (group[None, :] == np.arange(len(matrix))[:, None]) * 1.0
            return error.reshape(-1) @ of(matrix, ones)

        yield Mistake(kind, says, change)


def _first(matrix: Array) -> Array:
    """Ones where the first entry of every row is that is not 0."""
    return (np.cumsum(matrix != 0, axis=1) == 1) * (matrix != 0) * 1.0


def branch_mistakes(op: Operation) -> Iterator[Mistake]:
    """Mistakes in which branch of a selection gets what comes back, for all branches at once."""

    def branch(wanted: int) -> Any:
        def change(tape: Tape, op: Operation, argument: int, error: Array) -> Array:
            share = float(argument == wanted)
            return share * np.ones(np.size(op.given[argument])) * error.reshape(-1)

        return change

    for place in (1, 2):
        yield Mistake("mask missing", "the slope of one branch is used everywhere", branch(place))
    yield Mistake(
        "mask inverted",
        "the slopes of the two branches are exchanged",
        lambda tape, op, i, error: error * ((op.given[0] != 0) == (i == 1)),
    )
