"""Executing a traced program with NumPy, operation by operation.

Nothing is compiled, so that a program of some hundred operations takes milliseconds, in any shape.
What NumPy has no operation for is done by JAX.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special as sp
from jax.extend.core import ClosedJaxpr

from jaxmlp.checking.programs.interpreter import bound, evaluated, inside, opened, scan_counts

PLAIN: dict[str, Callable[..., Any]] = {  # entry by entry
    "add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative,
    "max": np.maximum, "min": np.minimum, "abs": np.abs, "sign": np.sign, "floor": np.floor,
    "ceil": np.ceil, "exp": np.exp, "exp2": np.exp2, "log": np.log, "log1p": np.log1p,
    "expm1": np.expm1, "tanh": np.tanh, "sinh": np.sinh, "cosh": np.cosh, "sin": np.sin,
    "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "atan2": np.arctan2,
    "sqrt": np.sqrt, "cbrt": np.cbrt, "square": np.square, "logistic": sp.expit, "erf": sp.erf,
    "erfc": sp.erfc, "erf_inv": sp.erfinv, "digamma": sp.psi, "is_finite": np.isfinite,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "not": np.invert, "real": np.real, "imag": np.imag, "conj": np.conj, "copy": np.copy,
    "copy_p": np.copy, "stop_gradient": np.asarray, "rsqrt": lambda a: 1 / np.sqrt(a),
}  # fmt: skip
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "reduce_sum": np.sum, "reduce_max": np.max, "reduce_min": np.min, "reduce_prod": np.prod,
    "reduce_and": np.all, "reduce_or": np.any,
}  # fmt: skip
KNOWN = (np.bool_, np.float32, np.float64, np.complex64, np.complex128, np.int32, np.int64)


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
                return [REDUCTIONS[name](values[0], axis=tuple(params["axes"]))]
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


def _dot_general(a: Any, b: Any, dimension_numbers: Any, **_: Any) -> Any:
    (left, right), (batch_left, batch_right) = dimension_numbers
    if not batch_left:
        return np.tensordot(a, b, (left, right))
    names = iter(range(a.ndim + b.ndim))
    of_a = [next(names) for _ in range(a.ndim)]
    shared = dict(zip([*right, *batch_right], [of_a[i] for i in (*left, *batch_left)], strict=True))
    of_b = [shared[i] if i in shared else next(names) for i in range(b.ndim)]
    batch = [of_a[i] for i in batch_left]
    free_a = [of_a[i] for i in range(a.ndim) if i not in (*left, *batch_left)]
    free_b = [of_b[i] for i in range(b.ndim) if i not in shared]
    return np.einsum(a, of_a, b, of_b, [*batch, *free_a, *free_b], optimize=True)


def _broadcast(a: Any, *, shape: Any, broadcast_dimensions: Any, **_: Any) -> Any:
    sizes = [1] * len(shape)
    for axis, place in enumerate(broadcast_dimensions):
        sizes[place] = a.shape[axis]
    return np.broadcast_to(a.reshape(sizes), shape)


def _convert(a: Any, *, new_dtype: Any, **_: Any) -> Any:
    if new_dtype not in KNOWN or (a.dtype.kind == "f" and np.dtype(new_dtype).kind in "iu"):
        return None  # what is rounded, and how, is JAX's to say
    return a.astype(new_dtype)


def _divide(a: Any, b: Any) -> Any:
    return np.true_divide(a, b) if a.dtype.kind in "fc" else None


def _select(which: Any, *cases: Any) -> Any:
    if len(cases) != 2 or which.dtype != np.bool_:
        return None
    return np.where(which, cases[1], cases[0])


def _cumulative(function: Any, a: Any, *, axis: int, reverse: bool) -> Any:
    return np.flip(function(np.flip(a, axis), axis), axis) if reverse else function(a, axis)


def _slice(a: Any, *, start_indices: Any, limit_indices: Any, strides: Any) -> Any:
    steps = strides or [None] * a.ndim
    return a[tuple(map(slice, start_indices, limit_indices, steps))]


def _iota(*, dtype: Any, shape: Any, dimension: int, **_: Any) -> Any:
    sizes = [1] * len(shape)
    sizes[dimension] = shape[dimension]
    return np.broadcast_to(np.arange(shape[dimension], dtype=dtype).reshape(sizes), shape)


def _split(a: Any, *, sizes: Any, axis: int) -> Any:
    return np.split(a, np.cumsum(sizes)[:-1], axis)


def _reshape(a: Any, *, new_sizes: Any, dimensions: Any, **_: Any) -> Any:
    return None if dimensions else a.reshape(new_sizes)


OTHERS: dict[str, Callable[..., Any]] = {
    "dot_general": _dot_general,
    "broadcast_in_dim": _broadcast,
    "convert_element_type": _convert,
    "div": _divide,
    "select_n": _select,
    "pow": lambda a, b: np.power(a, b) if a.dtype.kind == b.dtype.kind == "f" else None,
    "integer_pow": lambda a, *, y: a**y if a.dtype.kind in "fc" else None,
    "clamp": lambda low, a, high: np.minimum(np.maximum(a, low), high),
    "reshape": _reshape,
    "transpose": lambda a, *, permutation: np.transpose(a, permutation),
    "squeeze": lambda a, *, dimensions: np.squeeze(a, tuple(dimensions)),
    "expand_dims": lambda a, *, dimensions: np.expand_dims(a, tuple(dimensions)),
    "concatenate": lambda *each, dimension: np.concatenate(each, dimension),
    "slice": _slice,
    "split": _split,
    "rev": lambda a, *, dimensions: np.flip(a, tuple(dimensions)),
    "iota": _iota,
    "cumsum": functools.partial(_cumulative, np.cumsum),
    "cumprod": functools.partial(_cumulative, np.cumprod),
    "argmax": lambda a, *, axes, index_dtype: np.argmax(a, axes[0]).astype(index_dtype),
    "argmin": lambda a, *, axes, index_dtype: np.argmin(a, axes[0]).astype(index_dtype),
}


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
        if equation.primitive.name != "stop_gradient":
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
