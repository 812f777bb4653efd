"""Mistakes of any line: numbers changed on the way, and terms scaled, left out or added.

A suspect of `suspects.py` is one formula. Here are those that can befall any array of numbers, and
those with a free number in them: a part of a line that is multiplied by something, or something
that is added. That number is found by least squares, and then named.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.reference import Array, Formula, Line, Problem, Values

Change = Callable[[Array], Array]


class Term(NamedTuple):
    """Something of which a multiple may have got into a line.

    Attributes:
        says: what it is.
        formula: its value.
        part: whether it is a part of the line, which may be scaled; else it does not belong there.
    """

    says: str
    formula: Formula
    part: bool = False


def terms(line: Line, problem: Problem) -> Iterator[Term]:
    """What a backward line may hold too much or too little of."""
    at = line.index
    if line == Line("dz", problem.depth):
        yield Term("the part of p", lambda v, l: v.p * v.total / v.n, True)
        yield Term("the part of y", lambda v, l: -v.y / v.n, True)
        yield Term(
            "labels smoothed towards 1 / (number of outputs)",
            lambda v, l: (v.y - v.total / v.y.shape[1]) / v.n,
        )
        yield Term("p", lambda v, l: v.p / v.n)
        yield Term("a constant", lambda v, l: np.ones_like(v.p) / v.n)
        yield Term(Line("z", at).name, lambda v, l: v.z(l) / v.n)
    elif line.symbol == "dW":
        name = Line("W", at).name
        yield Term(f"{name}, as by weight decay,", lambda v, l: v.W(l))
        yield Term(f"{name}, as by weight decay, over N,", lambda v, l: v.W(l) / v.n)
        yield Term(f"the sign of {name}, as by an L1 penalty,", lambda v, l: np.sign(v.W(l)))
        yield Term("a constant", lambda v, l: np.ones_like(v.W(l)))
    elif line.symbol == "db":
        name = Line("b", at).name
        yield Term(f"{name}, as by weight decay,", lambda v, l: v.b(l))
        yield Term(f"the sign of {name}, as by an L1 penalty,", lambda v, l: np.sign(v.b(l)))
        yield Term("a constant", lambda v, l: np.ones_like(v.b(l)))
    elif line.symbol in ("dh", "dz"):
        yield Term(
            f"{Line('dz', at + 1).name}, as by a skip connection,", lambda v, l: _fitting(v, l)
        )
        yield Term(f"{Line('h', at).name}, as by an activity penalty,", lambda v, l: v.h(l) / v.n)
        yield Term("a constant", lambda v, l: np.ones_like(v.h(l)))


def _fitting(v: Values, l: int) -> Array:
    """∂C/∂z_{l+1} where it has the shape of h_l, else nothing."""
    error = v.dz(l + 1)
    return error if error.shape == v.h(l).shape else np.zeros_like(v.h(l))


def changes() -> Iterator[tuple[str, str, Change]]:
    """What may befall an array: the kind, a sentence, and the change."""
    for dtype in ("float32", "float16", "bfloat16"):
        exact = jnp.dtype(dtype)
        yield "precision lost", f"it is rounded to {dtype}", lambda a, t=exact: a.astype(t)
    yield "precision lost", "it is cut to whole numbers", np.trunc
    for digits in range(9):
        says = f"it is rounded to {digits} decimal{'s' * (digits != 1)}"
        yield "precision lost", says, lambda a, d=digits: np.round(a, d)
    for limit in (0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 6.0, 10.0, 20.0, 30.0, 50.0, 100.0, 500.0):
        says = f"it is clipped to ±{limit:g}"
        yield "clipped", says, lambda a, c=limit: np.clip(a, -c, c)
    yield "clipped", "it is clipped to 0 to 1", lambda a: np.clip(a, 0, 1)
    for power in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12):
        low = 10.0**-power
        says = f"entries below {low:g} are set to 0"
        yield "small entries lost", says, lambda a, c=low: np.where(np.abs(a) < c, 0, a)
    yield "signs", "negative entries are lost", lambda a: np.maximum(a, 0)
    yield "signs", "positive entries are lost", lambda a: np.minimum(a, 0)
    yield "absolute value", "the signs are lost", np.abs
    yield "sign only", "only the signs are left", np.sign
    yield "squared", "it is squared", np.square
    yield "transpose", "it is transposed", lambda a: a.T.reshape(a.shape)
    yield "wrong order", "the examples or rows are in reverse order", lambda a: a[::-1]
    yield "wrong order", "the columns are in reverse order", lambda a: a[..., ::-1]
    yield "wrong order", "the first two axes are in reverse order", lambda a: a[::-1, ::-1]
    yield (
        "wrong order",
        "it is reshaped in the other (Fortran) order",
        lambda a: np.reshape(a.reshape(-1), a.shape, order="F"),
    )
    yield "symmetrised", "it is averaged with its transpose", lambda a: (a + a.T) / 2
    yield "running sum", "it is a running sum along axis 0", lambda a: np.cumsum(a, axis=0)
    yield "running sum", "it is a running sum along the last axis", lambda a: np.cumsum(a, axis=-1)
    yield "mean subtracted", "the mean over axis 0 is subtracted", lambda a: a - a.mean(axis=0)
    yield (
        "mean subtracted",
        "the mean of every row is subtracted",
        lambda a: a - a.mean(axis=-1, keepdims=True),
    )
    yield "normalised", "it is divided by its norm", lambda a: a / np.linalg.norm(a)
    yield "normalised", "it is divided by its largest entry", lambda a: a / np.abs(a).max()
    yield (
        "normalised",
        "every row is divided by its norm",
        lambda a: a / np.linalg.norm(a, axis=-1, keepdims=True),
    )
    yield (
        "normalised",
        "every row is divided by its sum",
        lambda a: a / a.sum(axis=-1, keepdims=True),
    )
    for limit in (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0):
        says = f"its norm is clipped to {limit:g}"
        yield "clipped", says, lambda a, c=limit: a * min(1.0, c / np.linalg.norm(a))
        says = f"the norm of every row is clipped to {limit:g}"
        yield (
            "clipped",
            says,
            lambda a, c=limit: a * np.minimum(1.0, c / np.linalg.norm(a, axis=-1, keepdims=True)),
        )
