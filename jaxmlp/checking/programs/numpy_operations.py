"""JAX's operations in NumPy, for programs that are run once."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special as sp

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
    if a.dtype.kind == "c" and np.dtype(new_dtype).kind == "f":
        a = a.real  # as JAX does, without NumPy's warning
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
