"""What may befall any array of numbers on its way: a table of kinds, sentences and functions."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.arrays import Array

DECIMALS = range(9)
LIMITS = (0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 6.0, 10.0, 20.0, 30.0, 50.0, 100.0, 500.0)
NORMS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0)
LOST = tuple(10.0**-power for power in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12))

ANYWHERE: list[tuple[str, str, Callable[[Array], Any]]] = [  # what may befall any array
    *(
        ("precision lost", f"it is rounded to {dtype}", lambda a, dtype=dtype: a.astype(dtype))
        for dtype in map(jnp.dtype, ("float32", "float16", "bfloat16"))
    ),
    ("precision lost", "it is cut to whole numbers", np.trunc),
    *(
        ("precision lost", f"it is rounded to {d} decimals", lambda a, d=d: np.round(a, d))
        for d in DECIMALS
    ),
    *(("clipped", f"it is clipped to ±{c:g}", lambda a, c=c: np.clip(a, -c, c)) for c in LIMITS),
    ("clipped", "it is clipped to 0 to 1", lambda a: np.clip(a, 0, 1)),
    *(
        ("clipped", f"its norm is clipped to {c:g}", lambda a, c=c: a * min(1, c / _norm(a)))
        for c in NORMS
    ),
    *(
        (
            "clipped",
            f"the norm of every row is clipped to {c:g}",
            lambda a, c=c: a * np.minimum(1, c / _row_norms(a)),
        )
        for c in NORMS
    ),
    *(
        (
            "small entries lost",
            f"entries below {low:g} are set to 0",
            lambda a, low=low: np.where(np.abs(a) < low, 0, a),
        )
        for low in LOST
    ),
    ("signs", "negative entries are lost", lambda a: np.maximum(a, 0)),
    ("signs", "positive entries are lost", lambda a: np.minimum(a, 0)),
    ("absolute value", "the signs are lost", np.abs),
    ("sign only", "only the signs are left", np.sign),
    ("squared", "it is squared", np.square),
    ("transpose", "it is transposed", lambda a: a.T),
    ("transpose", "it is transposed, and reshaped", lambda a: a.T.reshape(a.shape)),
    ("transpose", "the first two axes are exchanged", lambda a: a.swapaxes(0, 1)),
    ("wrong order", "the rows are in reverse order", lambda a: a[::-1]),
    ("wrong order", "the columns are in reverse order", lambda a: a[..., ::-1]),
    ("wrong order", "the first two axes are in reverse order", lambda a: a[::-1, ::-1]),
    (
        "wrong order",
        "it is reshaped in the other (Fortran) order",
        lambda a: np.reshape(a.reshape(-1), a.shape, order="F"),
    ),
    ("symmetrised", "it is averaged with its transpose", lambda a: (a + a.T) / 2),
    ("running sum", "it is a running sum along axis 0", lambda a: np.cumsum(a, axis=0)),
    ("running sum", "it is a running sum along the last axis", lambda a: np.cumsum(a, axis=-1)),
    ("mean subtracted", "the mean over axis 0 is subtracted", lambda a: a - a.mean(axis=0)),
    ("mean subtracted", "the mean of every row is subtracted", lambda a: a - _mean(a)),
    ("normalised", "it is divided by its norm", lambda a: a / _norm(a)),
    ("normalised", "it is divided by its largest entry", lambda a: a / np.abs(a).max()),
    ("normalised", "every row is divided by its norm", lambda a: a / _row_norms(a)),
    ("normalised", "every row is divided by its sum", lambda a: a / a.sum(-1, keepdims=True)),
    ("batch rows", "only the last example is used", lambda a: _only(a, slice(-1, None))),
    ("batch rows", "only the first example is used", lambda a: _only(a, slice(1))),
    ("batch rows", "the last example is left out", lambda a: _only(a, slice(-1))),
    ("batch rows", "the first example is left out", lambda a: _only(a, slice(1, None))),
    ("missing term", "only its first part along axis 1 is used", lambda a: _along_1(a, slice(1))),
    (
        "missing term",
        "only its last part along axis 1 is used",
        lambda a: _along_1(a, slice(-1, None)),
    ),
    ("missing term", "its last part along axis 1 is left out", lambda a: _along_1(a, slice(-1))),
    (
        "missing term",
        "its first part along axis 1 is left out",
        lambda a: _along_1(a, slice(1, None)),
    ),
    ("wrong axis", "its mean over axis 0 is used for all rows", lambda a: 0 * a + a.mean(axis=0)),
    ("wrong axis", "its sum is used for all entries", lambda a: 0 * a + a.sum()),
    ("wrong axis", "its mean is used for all entries", lambda a: 0 * a + a.mean()),
]


def _norm(a: Array) -> Any:
    return np.linalg.norm(a)  # of NumPy's type, by which one may divide even if it is 0


def _row_norms(a: Array) -> Array:
    return np.linalg.norm(a, axis=-1, keepdims=True)


def _mean(a: Array) -> Array:
    return a.mean(axis=-1, keepdims=True)


def _only(a: Array, rows: slice) -> Array:
    """The array with zeros in all other rows."""
    part = np.zeros_like(a)
    part[rows] = a[rows]
    return part


def _along_1(a: Array, part: slice) -> Array:
    return _only(a.swapaxes(0, 1), part).swapaxes(0, 1)
