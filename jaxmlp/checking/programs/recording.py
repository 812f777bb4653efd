"""Executing a loss once, and recording every operation with its own derivative."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.programs.execution import Machine
from jaxmlp.checking.programs.interpreter import (
    RULES,
    Source,
    evaluated,
    inside,
    is_of_a_library,
    opened,
    rule_name,
    scan_counts,
    source,
)
from jaxmlp.checking.programs.jacobians import jacobian_program

Place = tuple[int | str, ...]  # of an operation: its number in its program, in a call, and so on
LARGEST = 400_000  # entries of a Jacobian
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


# What is made of the arguments and the value of some places instead of that value.
Forward = Mapping[Place, Callable[[Sequence[Any], Array], Any]]


class Recorder:
    """One execution of a loss, operation by operation.

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
        intended: Collection[str] = (),
    ) -> None:
        """Execute a program of (params, others), in float64.

        Args:
            program: whose value is one number.
            params: leaves by which derivatives are taken.
            others: all other leaves.
            forward: makes of the arguments and the value of some places another value, of the
                same shape.
            plain: whether the rules in the program are disregarded.
            intended: the names of functions whose rules are not.

        Raises:
            ValueError: if a Jacobian would be too large.
        """
        self.operations: list[Operation] = []
        self.values: list[Array] = []
        self.at: dict[Place, list[Array]] = {}
        self.current: Mapping[Place, list[Array]] = {}
        self.origins: dict[Place, list[Place]] = {}
        self._machine, self._forward, self.plain = Machine(), forward or {}, plain
        self.intended = intended
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
        meant = equation.primitive.name in RULES and rule_name(equation)[0] in self.intended
        program = jacobian_program(equation, values, tuple(live), self.plain and not meant)
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
