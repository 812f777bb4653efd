"""Executing a traced program with NumPy, operation by operation.

Nothing is compiled, so that a program of some hundred operations takes milliseconds, in any shape.
What NumPy has no operation for is done by JAX.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from jaxmlp.checking.programs.interpreter import (
    bound,
    evaluated,
    inside,
    is_stopped,
    opened,
    scan_counts,
)
from jaxmlp.checking.programs.numpy_operations import KNOWN, OTHERS, PLAIN, REDUCTIONS

DRAWN: dict[Any, list[Any]] = {}  # what has been drawn at random, by the keys
MOST_DRAWN = 1_000


def _bits(value: Any) -> bytes:
    is_key = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(value) if is_key else value).tobytes()


class Machine:
    """Executes programs. Subclasses do something else with some operations.

    Args:
        wide: whether numbers of fewer digits are computed with in float64, and the results too.
    """

    def __init__(self, wide: bool = False) -> None:
        """Get ready."""
        self.wide = wide

    def __call__(self, program: ClosedJaxpr, *arguments: Any) -> list[Any]:
        """The results of a program for leaves, of which floating ones get its precision."""
        with np.errstate(all="ignore"), jax.enable_x64(True):
            dtypes = [each.dtype for each in program.in_avals]
            pairs = zip(map(self.taken, arguments), dtypes, strict=True)
            return self.run(program, [self.fitting(*pair) for pair in pairs])

    def fitting(self, value: Any, dtype: Any) -> Any:
        """A value in the dtype that a program was traced for."""
        if self.wide or not jnp.issubdtype(dtype, jnp.floating):
            return value
        return value.astype(dtype)

    def run(self, program: Any, values: list[Any]) -> list[Any]:
        """The same inside another program."""
        jaxpr, consts = opened(program)
        consts = [self.taken(each) for each in consts]
        return [self.taken(each) for each in evaluated(jaxpr, consts, values, self.step)]

    def step(self, equation: Any, values: list[Any]) -> list[Any]:
        """One operation; calls, loops and branches are followed inside."""
        name, params = equation.primitive.name, equation.params
        values = [self.taken(each) for each in values]
        if name == "scan":
            return self.scan(params, values)
        if name == "while":
            return self.repeat(params, values)
        if name == "cond":
            index, *given = values
            branches = params["branches"]
            return self.run(branches[int(np.clip(index, 0, len(branches) - 1))], given)
        if (inner := inside(equation)) is not None:
            return evaluated(inner[0], [self.taken(c) for c in inner[1]], values, self.step)
        return self.operation(equation, values)

    def operation(self, equation: Any, values: list[Any]) -> list[Any]:
        """One operation that is no call."""
        name, params = equation.primitive.name, equation.params
        if all(isinstance(each, (np.ndarray, np.generic)) for each in values) and all(
            each.dtype in KNOWN for each in values
        ):
            if name in PLAIN:
                return [np.asarray(PLAIN[name](*values))]
            if name in REDUCTIONS:
                found = REDUCTIONS[name](values[0], axis=tuple(params["axes"]))
                return [np.asarray(found).astype(values[0].dtype)]  # NumPy sums int32 to int64
            if name in OTHERS and (done := OTHERS[name](*values, **self.told(params))) is not None:
                return done if isinstance(done, list) else [done]
        if not name.startswith(("random_", "threefry")):
            return [self.taken(each) for each in bound(equation, values)]
        key = name, str(params), tuple(_bits(each) for each in values)
        if key not in DRAWN:  # the same again and again, and slow
            if len(DRAWN) >= MOST_DRAWN:
                DRAWN.clear()
            DRAWN[key] = bound(equation, values)
        return [self.taken(each) for each in DRAWN[key]]

    def told(self, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters of an operation, of which some name a dtype."""
        return {
            key: np.dtype(np.float64) if self.wide and _is_dtype(key, value) else value
            for key, value in params.items()
        }

    def taken(self, leaf: Any) -> Any:
        """A value as an array; what is no array of numbers, such as a random key, stays."""
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            return leaf
        array = np.asarray(leaf)
        narrow = self.wide and jnp.issubdtype(array.dtype, jnp.floating)
        return array.astype(np.float64) if narrow and array.dtype != np.float64 else array

    def scan(self, params: Any, values: list[Any]) -> list[Any]:
        """A loop of a fixed length."""
        constants, carries = scan_counts(params)
        fixed, carry = values[:constants], values[constants : constants + carries]
        rounds = range(params["length"])
        outputs: list[Any] = []
        for number in reversed(rounds) if params["reverse"] else rounds:
            slices = [each[number] for each in values[constants + carries :]]
            results = self.run(params["jaxpr"], [*fixed, *carry, *slices])
            carry = results[:carries]
            outputs.append(results[carries:])
        if not outputs:  # no round, so that no shape is known
            shapes: list[Any] = [each.aval for each in opened(params["jaxpr"])[0].outvars[carries:]]
            return [*carry, *(np.zeros((0, *each.shape), each.dtype) for each in shapes)]
        stacked = zip(*(outputs[::-1] if params["reverse"] else outputs), strict=True)
        return [*carry, *(_stacked(each) for each in stacked)]

    def repeat(self, params: Any, values: list[Any]) -> list[Any]:
        """A loop that goes on while a condition holds."""
        condition, body = params["cond_nconsts"], params["body_nconsts"]
        tested, fixed = values[:condition], values[condition : condition + body]
        carry = values[condition + body :]
        while self.run(params["cond_jaxpr"], [*tested, *carry])[0]:
            carry = self.run(params["body_jaxpr"], [*fixed, *carry])
        return carry


def _is_dtype(key: str, value: Any) -> bool:
    return key in ("new_dtype", "dtype", "preferred_element_type") and (
        value is not None and jnp.issubdtype(value, jnp.floating)
    )


def _stacked(slices: Any) -> Any:
    return np.stack(slices) if isinstance(slices[0], np.ndarray) else jnp.stack(slices)


class Frozen(Machine):
    """Executes a loss again and again, with what is stopped as it was the first time.

    So differences are those of what JAX is meant to differentiate: `stop_gradient`, and what is
    built from it, such as a straight-through estimator, has no slope.
    """

    def __init__(self, wide: bool = False) -> None:
        """Record in the first call."""
        super().__init__(wide)
        self.stopped: list[Any] = []
        self.recorded = False
        self.place = 0

    def __call__(self, program: ClosedJaxpr, *arguments: Any) -> list[Any]:
        """The results of the program."""
        self.place = 0
        results = super().__call__(program, *arguments)
        self.recorded = True
        return results

    def operation(self, equation: Any, values: list[Any]) -> list[Any]:
        """The same but for what is stopped."""
        if not is_stopped(equation):
            return super().operation(equation, values)
        if not self.recorded:
            self.stopped.append(values[0])
            return values
        self.place += 1
        return [self.stopped[self.place - 1]]


class Traced:
    """A function that is traced once for all arguments of the same shapes, and run by NumPy."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Trace `function` in float64 when it is called."""
        self.function = function
        self.known: dict[Any, tuple[ClosedJaxpr, Any]] = {}

    def program(self, *arguments: Any) -> tuple[ClosedJaxpr, Any]:
        """What is traced for arguments of these shapes, and the structure of its value."""
        leaves, structure = jax.tree.flatten(arguments)
        key = structure, tuple((np.shape(leaf), str(jnp.result_type(leaf))) for leaf in leaves)
        if key not in self.known:
            with jax.enable_x64(True):
                program, shape = jax.make_jaxpr(self.function, return_shape=True)(*arguments)
            self.known[key] = program, jax.tree.structure(shape)
        return self.known[key]

    def __call__(self, *arguments: Any) -> Any:
        """The value, a tree of NumPy arrays."""
        program, structure = self.program(*arguments)
        return jax.tree.unflatten(structure, Machine()(program, *jax.tree.leaves(arguments)))
