"""A loss as a tape: its operations in the order of computation, each with its own derivative.

Reverse mode goes back through the tape, and a mistake in one place of it predicts a whole gradient.
Loops of a fixed length are unrolled; all rounds of an operation in a loop are one place.
"""

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.programs.execution import Machine
from jaxmlp.checking.programs.interpreter import (
    Source,
)
from jaxmlp.checking.programs.jacobians import jacobian_program
from jaxmlp.checking.programs.recording import Operation, Place, Recorder

LARGEST_TOGETHER = 8_000_000  # of all steps, in all parameters


class Spot(NamedTuple):
    """Where a derivative may be wrong: at a value, or in what one operation adds to it.

    Attributes:
        place: of the operation whose value it is.
        argument: the position of the argument; None for the whole derivative by the value.
    """

    place: Place
    argument: int | None = None


Change = Callable[["Tape", Any, Any, Array], Array]  # of an operation, an argument, an error


class Tape(Recorder):
    """A recorded execution, and its derivatives: right ones, and with mistakes."""

    @functools.cached_property
    def jacobians(self) -> dict[Place, Array]:
        """Of every place, all its rounds one above the other, in all parameters.

        Raises:
            ValueError: if they would be too large.
        """
        sizes = [self.values[each].size for each in self.leaves]
        total, ends = sum(sizes), np.cumsum(sizes)
        if total * sum(each.size for each in self.values) > LARGEST_TOGETHER:
            raise ValueError("the Jacobians of all steps are too large: use a smaller case")
        known: dict[int, Array] = {}
        found: dict[Place, list[Array]] = {}
        for leaf, (number, size, end) in enumerate(zip(self.leaves, sizes, ends, strict=True)):
            known[number] = np.eye(total)[end - size : end]
            found.setdefault(self.leaf_places[leaf], []).append(known[number])
        with np.errstate(all="ignore"):
            for each in self.operations:
                parts = [matrix @ known[each.inputs[i]] for i, matrix in each.jacobians.items()]
                known[each.output] = functools.reduce(np.add, parts)
                found.setdefault(each.place, []).append(known[each.output])
        return {place: np.concatenate(parts) for place, parts in found.items()}

    @np.errstate(all="ignore")
    def backward(self, faults: Mapping[Spot, Change] = {}) -> dict[int, Array]:
        """The derivatives by all values, flat, with mistakes at some spots or without one.

        Where a mistake cannot be made, since no shape fits it, there is none.
        """
        found: dict[int, Array] = {self.output[1]: np.ones(1)}
        self.current = _Errors(self, found)
        for each in reversed(self.operations):
            error = found.get(each.output)
            if error is None:
                continue
            shape = self.values[each.output].shape
            if change := faults.get(Spot(each.place)):
                error = self._changed(change, each, None, error.reshape(shape), error)
                found[each.output] = error
            for i, matrix in each.jacobians.items():
                part = error @ matrix
                if change := faults.get(Spot(each.place, i)):
                    part = self._changed(change, each, i, error.reshape(shape), part)
                number = each.inputs[i]
                found[number] = found[number] + part if number in found else part
        for place, number in zip(self.leaf_places, self.leaves, strict=True):
            value = self.values[number]
            error = found.get(number, np.zeros(value.size))
            if change := faults.get(Spot(place)):
                error = self._changed(change, None, None, error.reshape(value.shape), error)
            found[number] = error
        return found

    def arguments(self, place: Place, argument: int) -> list[Array]:
        """What the operation of a place was given, in every round."""
        return [np.asarray(op.given[argument]) for op in self.operations if op.place == place]

    def _changed(self, change: Change, op: Any, argument: Any, error: Array, right: Array) -> Array:
        """What a mistake makes of a derivative, flat; the right one where it cannot be made."""
        try:
            row = np.ravel(np.asarray(change(self, op, argument, error), float))
        except (ValueError, IndexError, TypeError, KeyError):
            return right
        return row if row.shape == right.shape else right

    @property
    def rows(self) -> int:
        """The number of rows of the first array of the batch that has any."""
        arrays = [each[0] for place, each in self.at.items() if place[0] == "batch"]
        return next((len(each) for each in arrays if each.ndim), 1)

    @functools.cached_property
    def right(self) -> dict[int, Array]:
        """The derivatives by all values without a mistake, by their numbers."""
        return self.backward()

    @functools.cached_property
    def errors(self) -> dict[Place, list[Array]]:
        """The right derivative by every value, by its place."""
        before = self.current  # of a pass in which these are asked for
        by_number = self.backward()
        self.current = before
        found: dict[Place, list[Array]] = {}
        for leaf, number in enumerate(self.leaves):
            shaped = by_number[number].reshape(self.values[number].shape)
            found.setdefault(self.leaf_places[leaf], []).append(shaped)
        for each in self.operations:
            value = self.values[each.output]
            error = by_number.get(each.output, np.zeros(value.size))
            found.setdefault(each.place, []).append(error.reshape(value.shape))
        return found

    @functools.cached_property
    def numbers(self) -> dict[Place, list[int]]:
        """The numbers of the values that depend on the parameters, by place."""
        found: dict[Place, list[int]] = {}
        for place, number in zip(self.leaf_places, self.leaves, strict=True):
            found.setdefault(place, []).append(number)
        for each in self.operations:
            found.setdefault(each.place, []).append(each.output)
        return found

    @property
    def places(self) -> dict[int, Place]:
        """Where each value that depends on the parameters comes from, by its number."""
        return {number: place for place, several in self.numbers.items() for number in several}

    def by_lines(self, leaves: Sequence[str]) -> "Tape":
        """The same with one place for all passes of a line that Python runs in a loop.

        So the layers of a network that is written as a loop are rounds of one layer.

        Args:
            leaves: names of the parameters' leaves, the same for those of all layers.
        """
        other = copy.copy(self)
        for cached in ("errors", "numbers", "jacobians"):
            other.__dict__.pop(cached, None)
        other.leaf_places = [("input", name) for name in leaves]
        order = {each.output: number for number, each in enumerate(self.operations)}
        by_source: dict[Source, list[Operation]] = {}
        for each in self.operations:
            by_source.setdefault(each.source, []).append(each)
        moved: dict[int, Operation] = {}
        other.origins = {}
        for line, several in by_source.items():
            period = _period([each.name for each in several])
            if not _is_loop(several, period, order):
                period = len(several)
            for i, each in enumerate(several if line.file else ()):
                place = ("line", *line, i % period)
                moved[each.output] = each._replace(place=place, round=i // period)
                other.origins.setdefault(place, []).append(each.place)
        other.operations = [moved.get(each.output, each) for each in self.operations]
        other.at = {place: arrays for place, arrays in self.at.items() if place[0] == "batch"}
        numbers = [*zip(other.leaf_places, self.leaves, strict=True)]
        for place, number in (*numbers, *((op.place, op.output) for op in other.operations)):
            other.at.setdefault(place, []).append(self.values[number])
        return other


def _period(names: Sequence[str]) -> int:
    """After how many of some names they repeat."""
    for period in range(1, len(names)):
        repeated = all(name == names[i % period] for i, name in enumerate(names))
        if len(names) % period == 0 and repeated:
            return period
    return len(names)


def _is_loop(several: Sequence[Operation], period: int, order: Mapping[int, int]) -> bool:
    """Whether operations of a line that repeat are passes of a loop, and not in it side by side.

    Those of `a, b = exp(x), exp(y)` follow each other at once, and none needs the one before.
    """
    for start in range(period, len(several), period):
        before, now = several[start - period : start], several[start : start + period]
        at_once = order[now[0].output] == order[before[-1].output] + 1
        made = {each.output for each in before}
        if at_once and not any(made & {*each.inputs.values()} for each in now):
            return False
    return True


class _Errors(Mapping[Place, list[Array]]):
    """The derivatives by all values as a backward pass has them so far, else the right ones."""

    def __init__(self, tape: Tape, found: Mapping[int, Array]) -> None:
        self.tape, self.found = tape, found

    def __getitem__(self, place: Place) -> list[Array]:
        right = self.tape.errors[place]
        numbers = self.tape.numbers.get(place, [])
        return [
            self.found[number].reshape(each.shape) if number in self.found else each
            for each, number in zip(right, numbers, strict=True)
        ]

    def __iter__(self) -> Iterator[Place]:
        return iter(self.tape.errors)

    def __len__(self) -> int:
        return len(self.tape.errors)


def local_jacobian(op: Operation, given: Sequence[Any], argument: int, plain: bool) -> Array:
    """An operation's derivative by one argument, at other arguments than its own."""
    program = jacobian_program(op.equation, given, tuple(op.inputs), plain)
    slot = op.place[-1]
    assert isinstance(slot, int)
    with np.errstate(all="ignore"), jax.enable_x64(True):
        found = Machine()(program, *given)
    matrix = found[slot * len(op.inputs) + [*op.inputs].index(argument)]
    return np.reshape(matrix, (-1, np.size(given[argument]))).astype(float)
