"""A loss as a tape: its operations in the order of computation, each with its own derivative.

Reverse mode goes back through the tape, and a mistake in one place of it predicts a whole gradient.
Loops of a fixed length are unrolled; all rounds of an operation in a loop are one place.
"""

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from jaxmlp.checking.programs.execution import Machine
from jaxmlp.checking.programs.interpreter import (
    RULES,
    Source,
    bound,
    called,
    evaluated,
    inside,
    is_of_a_library,
    opened,
    rule_name,
    scan_counts,
    source,
)
from jaxmlp.checking.reference import Array

Place = tuple[int | str, ...]  # of an operation: its number in its program, in a call, and so on
LARGEST = 400_000  # entries of a Jacobian
LARGEST_TOGETHER = 8_000_000  # of all steps, in all parameters
LONGEST = 60  # rounds of a loop that is unrolled
NAME = "name"  # the primitive by which a tap shows in a program


class Operation(NamedTuple):
    """One operation, as it was done.

    Attributes:
        place: where it is in the program.
        round: how often that place was come by before.
        name: of the primitive, or of the function that has a rule of its own.
        source: the line of the user's file from which it comes.
        inputs: numbers of those of its arguments that depend on the parameters, by position.
        output: the number of its value.
        jacobians: of its value by these arguments, of shape (size of value, size of argument).
        given: all arguments.
        equation: of the program; None for the parts of a loop.
    """

    place: Place
    round: int
    name: str
    source: Source
    inputs: Mapping[int, int]
    output: int
    jacobians: Mapping[int, Array]
    given: Sequence[Any]
    equation: Any


class Spot(NamedTuple):
    """Where a derivative may be wrong: at a value, or in what one operation adds to it.

    Attributes:
        place: of the operation whose value it is.
        argument: the position of the argument; None for the whole derivative by the value.
    """

    place: Place
    argument: int | None = None


# What is made of the arguments and the value of some places instead of that value.
Forward = Mapping[Place, Callable[[Sequence[Any], Array], Any]]
Change = Callable[["Tape", Any, Any, Array], Array]  # of an operation, an argument, an error


class Tape:
    """One execution of a loss.

    Attributes:
        operations: those that depend on the parameters, in the order in which they were done.
        values: that depend on the parameters, by number.
        leaves: the numbers of the parameters' leaves.
        at: every array of the program by its place, one for each round.
        origins: the places in the program that are one place here, where there are several.
    """

    def __init__(
        self,
        program: ClosedJaxpr,
        params: Sequence[Any],
        others: Sequence[Any],
        forward: Forward | None = None,
        plain: bool = False,
    ) -> None:
        """Execute a program of (params, others), in float64.

        Args:
            program: whose value is one number.
            params: leaves by which derivatives are taken.
            others: all other leaves.
            forward: makes of the arguments and the value of some places another value, of the
                same shape.
            plain: whether the rules in the program are disregarded.

        Raises:
            ValueError: if a Jacobian would be too large.
        """
        self.operations: list[Operation] = []
        self.values: list[Array] = []
        self.at: dict[Place, list[Array]] = {}
        self.current: Mapping[Place, list[Array]] = {}
        self.origins: dict[Place, list[Place]] = {}
        self._machine, self._forward, self.plain = Machine(), forward or {}, plain
        self._caller: Source | None = None
        with np.errstate(all="ignore"), jax.enable_x64(True):
            self.leaves = [self._number(self._machine.taken(each)) for each in params]
            self.leaf_places: list[Place] = [("input", i) for i in range(len(params))]
            given: list[Any] = [(self.values[each], each) for each in self.leaves]
            for i, each in enumerate(others):
                value = self._machine.taken(each)
                if ("batch", i) in self._forward:
                    value = self._forward["batch", i]([], value)
                given.append((value, None))
            places = [*self.leaf_places, *(("batch", i) for i in range(len(others)))]
            for place, (value, _) in zip(places, given, strict=True):
                self._keep(place, value)
            (self.output,) = self._run(program, given, ())

    def _keep(self, place: Place, value: Any) -> None:
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind == "f":
            self.at.setdefault(place, []).append(np.asarray(value))

    def _number(self, value: Array) -> int:
        self.values.append(np.asarray(value))
        return len(self.values) - 1

    def _run(self, program: Any, given: Sequence[Any], path: Place) -> list[Any]:
        jaxpr, consts = opened(program)
        numbered = {id(equation): place for place, equation in enumerate(jaxpr.eqns)}

        def step(equation: Any, values: list[Any]) -> list[Any]:
            pairs = [each if isinstance(each, tuple) else (each, None) for each in values]
            pairs = [(self._machine.taken(value), number) for value, number in pairs]
            return self._step(equation, pairs, (*path, numbered[id(equation)]))

        found = evaluated(jaxpr, [(each, None) for each in consts], given, step)
        return [each if isinstance(each, tuple) else (each, None) for each in found]

    def _step(self, equation: Any, given: list[Any], place: Place) -> list[Any]:
        """One operation; calls, loops of a fixed length and branches are followed inside."""
        name, params = equation.primitive.name, equation.params
        values = [value for value, _ in given]
        if all(number is None for _, number in given) or name == "stop_gradient":
            results = self._machine.step(equation, values)
            for slot, each in enumerate(results):
                self._keep((*place, slot), each)
            return [(each, None) for each in results]
        if name == "cond":
            branch = int(np.clip(values[0], 0, len(params["branches"]) - 1))
            return self._run(params["branches"][branch], given[1:], (*place, branch))
        if name == "scan" and params["length"] <= LONGEST:
            return self._scan(equation, given, place)
        if (inner := inside(equation)) and name not in RULES:
            before = self._caller
            if before is None and is_of_a_library(equation):
                self._caller = source(equation)
            found = self._run(ClosedJaxpr(*inner), given, place)
            self._caller = before
            return found
        results = [np.asarray(each) for each in self._machine.step(equation, values)]
        matrices = self._jacobians(equation, given)
        if name in RULES:
            name = rule_name(equation)[0]
        return [
            (result, None)
            if not jnp.issubdtype(result.dtype, jnp.floating)
            else self._kept((*place, slot), name, given, result, each, equation)
            for slot, (result, each) in enumerate(zip(results, matrices, strict=True))
        ]

    def _kept(
        self, place: Place, name: str, given: Any, value: Array, jacobians: Any, equation: Any
    ) -> tuple[Array, int]:
        arguments = [each for each, _ in given]
        if place in self._forward:
            value = self._forward[place](arguments, value)
        inputs = {i: given[i][1] for i in jacobians}
        where = self._caller or (source(equation) if equation else Source())
        number, count = self._number(value), len(self.at.get(place, ()))
        self._keep(place, value)
        kept = Operation(place, count, name, where, inputs, number, jacobians, arguments, equation)
        self.operations.append(kept)
        return value, number

    def _jacobians(self, equation: Any, given: Sequence[Any]) -> list[dict[int, Array]]:
        """For every result, its derivative by every argument that depends on the parameters."""
        live = [i for i, (_, number) in enumerate(given) if number is not None]
        values = [value for value, _ in given]
        sizes = [max(1, int(np.prod(v.aval.shape))) for v in equation.outvars]
        if max(sizes) * max(np.size(values[i]) for i in live) > LARGEST:
            raise ValueError("the Jacobian of a step is too large: use a smaller case")
        program = _jacobian_program(equation, values, tuple(live), self.plain)
        found = iter(self._machine(program, *values))
        return [
            {i: np.reshape(next(found), (size, -1)).astype(float) for i in live} for size in sizes
        ]

    def _scan(self, equation: Any, given: list[Any], place: Place) -> list[Any]:
        """A loop of a fixed length, round by round."""
        params = equation.params
        constants, carries = scan_counts(params)
        fixed, carry = given[:constants], given[constants : constants + carries]
        rounds = range(params["length"])
        outputs: list[Any] = []
        for number in reversed(rounds) if params["reverse"] else rounds:
            slices = [
                self._part(each, number, (*place, "in", i), equation)
                for i, each in enumerate(given[constants + carries :])
            ]
            results = self._run(params["jaxpr"], [*fixed, *carry, *slices], place)
            carry = results[:carries]
            outputs.append(results[carries:])
        columns = zip(*(outputs[::-1] if params["reverse"] else outputs), strict=True)
        stacked = [
            self._stacked(each, (*place, "out", i), equation) for i, each in enumerate(columns)
        ]
        return [*carry, *stacked]

    def _part(self, whole: Any, row: int, place: Place, equation: Any) -> Any:
        """One row of an argument of a loop."""
        value, number = whole
        part = np.asarray(value[row])
        if number is None:
            self._keep(place, part)
            return part, None
        rows = np.arange(value.size).reshape(value.shape)[row].reshape(-1)
        return self._kept(place, "slice", [whole], part, {0: np.eye(value.size)[rows]}, equation)

    def _stacked(self, rows: Sequence[Any], place: Place, equation: Any) -> Any:
        """The values of all rounds of a loop, one above the other."""
        value = np.stack([each for each, _ in rows])
        if all(number is None for _, number in rows):
            return value, None
        size = rows[0][0].size
        blocks = {
            i: np.eye(value.size)[:, i * size : (i + 1) * size]
            for i, (_, number) in enumerate(rows)
            if number is not None
        }
        return self._kept(place, "concatenate", rows, value, blocks, equation)

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
        by_source: dict[Source, list[Operation]] = {}
        for each in self.operations:
            by_source.setdefault(each.source, []).append(each)
        moved: dict[int, Operation] = {}
        other.origins = {}
        for line, several in by_source.items():
            period = _period([each.name for each in several])
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
    program = _jacobian_program(op.equation, given, tuple(op.inputs), plain)
    slot = op.place[-1]
    assert isinstance(slot, int)
    with np.errstate(all="ignore"), jax.enable_x64(True):
        found = Machine()(program, *given)
    matrix = found[slot * len(op.inputs) + [*op.inputs].index(argument)]
    return np.reshape(matrix, (-1, np.size(given[argument]))).astype(float)


KNOWN: dict[Any, tuple[ClosedJaxpr, Any]] = {}
MOST = 2_000  # programs that are kept


def _jacobian_program(
    equation: Any, values: Sequence[Any], live: tuple[int, ...], plain: bool
) -> ClosedJaxpr:
    """What computes the Jacobians of an operation by some of its arguments."""
    name = equation.primitive.name
    shapes = tuple((np.shape(each), str(getattr(each, "dtype", ""))) for each in values)
    what = id(equation) if inside(equation) or name in ("while", "scan") else str(equation.params)
    key = name, what, shapes, live, plain
    if key in KNOWN:
        return KNOWN[key][0]

    def results(*values: Any) -> list[Any]:
        if name not in RULES:
            return bound(equation, list(values))
        if not plain:
            return called(equation, list(values))
        jaxpr, consts = inside(equation) or (None, None)
        assert jaxpr is not None
        return evaluated(jaxpr, consts, values, bound)

    def floating(*values: Any) -> list[Any]:
        return [
            each if jnp.issubdtype(jnp.result_type(each), jnp.floating) else jnp.zeros(each.shape)
            for each in results(*values)
        ]

    forward = name in ("while", "scan")
    jacobian = (jax.jacfwd if forward else jax.jacrev)(floating, argnums=live)
    with jax.enable_x64(True):
        program = jax.make_jaxpr(jacobian)(*values)
    if len(KNOWN) >= MOST:
        KNOWN.clear()
    KNOWN[key] = program, equation  # whose id stays its own as long as it is kept
    return program
