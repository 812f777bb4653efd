"""Mistakes in the sum of what comes back to a value that is used for several entries."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.diagnosis.records import Mistake
from jaxmlp.checking.programs.recording import Operation
from jaxmlp.checking.programs.tape import Tape

WAYS: dict[str, tuple[str, Callable[..., Any]]] = {
    "summed": ("wrong axis", np.sum),
    "averaged": ("wrong axis", np.mean),
    "only its last part": ("batch rows", lambda a, axis: np.take(a, -1, axis)),
    "only its first part": ("batch rows", lambda a, axis: np.take(a, 0, axis)),
}
GATHERS = ("gather", "dynamic_slice", "scatter")


def sum_mistakes(tape: Tape, op: Operation, argument: int) -> Iterator[Mistake]:
    """Another way to sum, or a sum over other axes."""
    if op.name in GATHERS:
        yield from (_last_wins(which, step) for which, step in (("last", 1), ("first", -1)))
    yield Mistake("wrong axis", "parts are averaged, where their sum belongs", _averaged)
    dimensions = tape.values[op.output].ndim
    summed = _summed_axes(op, argument, dimensions)
    for ways in itertools.product(WAYS, repeat=len(summed)):
        if any(way != "summed" for way in ways):
            kind = next(WAYS[way][0] for way in ways if way != "summed")
            told = (f"{way} over axis {axis}" for way, axis in zip(ways, summed, strict=True))
            yield Mistake(kind, f"it is {', '.join(told)}", _reduced(summed, ways))
    for count in range(1, dimensions + 1):
        for axes in itertools.combinations(range(dimensions), count):
            if axes != summed:
                where = " and ".join(map(str, axes))
                for way in ("summed", "averaged"):
                    says = f"it is {way} over axis {where}, the wrong one"
                    yield Mistake("wrong axis", says, _reduced(axes, [way] * count))
    for how, of in (("summed", np.sum), ("averaged", np.mean), ("the largest entry", np.max)):
        yield Mistake("wrong axis", f"it is {how} of everything", _everything(of))


def _summed_axes(op: Operation, argument: int, dimensions: int) -> tuple[int, ...]:
    """The axes of a value over which what comes back to an argument is summed."""
    shape = np.shape(op.given[argument])
    if op.name == "broadcast_in_dim":
        kept = op.equation.params["broadcast_dimensions"]
        full = {axis for axis, size in zip(kept, shape, strict=True) if size > 1}
        return tuple(axis for axis in range(dimensions) if axis not in full)
    if len(shape) != dimensions:
        return ()
    return tuple(axis for axis, size in enumerate(shape) if size == 1)


def _reduced(axes: Sequence[int], ways: Sequence[str]) -> Any:
    def change(tape: Tape, op: Operation, argument: int, error: Array) -> Array:
        for axis, way in sorted(zip(axes, ways, strict=True), reverse=True):
            error = WAYS[way][1](error, axis=axis)
        return error

    return change


def _everything(of: Callable[[Array], Any]) -> Any:
    return lambda tape, op, argument, error: np.full(np.size(op.given[argument]), of(error))


def _averaged(tape: Tape, op: Operation, argument: int, error: Array) -> Array:
    matrix = op.jacobians[argument]
    return (error.reshape(-1) @ matrix) / np.maximum((matrix != 0).sum(axis=0), 1)


def _last_wins(which: str, step: int) -> Mistake:
    """Repeated indices that overwrite one another."""

    def change(tape: Tape, op: Operation, argument: int, error: Array) -> Array:
        matrix = op.jacobians[argument]
        found = np.zeros(matrix.shape[1])
        for row, value in zip(matrix[::step], error.reshape(-1)[::step], strict=True):
            found[row != 0] = value
        return found

    says = f"where an index is repeated only the {which} part is kept, not the sum of all"
    return Mistake("overwritten", says, change)
