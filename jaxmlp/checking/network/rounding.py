"""How far rounding alone may put a right gradient from the exact one, entry by entry."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.network.reference import (
    Line,
    Problem,
    Values,
    all_lines,
    evaluate,
    gradient_lines,
    softmax,
)

FEW = 8.0  # roundings in one evaluation of exp, tanh, erfc and the like
STEEPEST = 1.2  # no activation here has a larger |f'| or |f''|


class Precision(NamedTuple):
    """How exactly the checked gradient computes.

    Attributes:
        factors: relative error of a factor of a matrix product, and of a gradient returned.
        sums: relative error of one addition within a sum.
        stored: relative error of what is stored between the lines.
        least: the smallest number that can be stored.
    """

    factors: float
    sums: float
    stored: float
    least: float

    @classmethod
    def of(cls, dtype: DTypeLike) -> "Precision":
        """Of a floating dtype, whose sums are kept in at least float32."""
        unit = float(jnp.finfo(dtype).eps) / 2
        least = float(jnp.finfo(dtype).smallest_subnormal)
        return cls(unit, min(unit, 2.0**-24), unit, least)


def rounding_bounds(
    problem: Problem,
    precision: Precision,
    lines: dict[Line, Array] | None = None,
    any_slope: bool = False,
) -> dict[Line, Array]:
    """A bound on the rounding error of every line, by running error analysis.

    Each line passes on the errors of those before it, through the absolute values of what they
    are multiplied with, and adds its own: relative to `size`, which is the line computed on
    absolute values, so that it knows what may have cancelled. In a matrix product over k terms
    that own error is k roundings of sums and three of factors and result (28).

    A ReLU whose argument is closer to 0 than that argument's own error may be on or off. Whole
    numbers are exempt: their sums are exact, and so is what they say at a kink. With `any_slope`
    every slope between 0 and 1 is allowed there too.
    """
    lines = lines or evaluate(problem)
    v = Values(problem, lines)
    bounds = {**_forward(v, precision)}
    size = {}
    unit, depth = precision.stored, problem.depth
    for line in all_lines(problem):
        at = line.index
        if line == Line("dz", depth):
            total = np.abs(v.y).sum(axis=1, keepdims=True)
            size[line] = (v.p * total + np.abs(v.y)) / v.n
            rounded = FEW * unit * size[line] + precision.least
            bounds[line] = bounds[Line("p")] * total / v.n + rounded
        elif line.symbol == "dh":
            above, weight = Line("dz", at + 1), np.abs(v.W(at))
            size[line] = size[above] @ weight.T
            bounds[line] = (
                bounds[above] @ weight.T + _product(precision, weight.shape[1]) * size[line]
            )
        elif line.symbol == "dz":
            after, slope = Line("dh", at), np.abs(v.slope(v.z(at)))
            error = _slope_error(v, at, bounds[Line("z", at)], unit, any_slope)
            size[line] = size[after] * (slope + error)
            bounds[line] = bounds[after] * (slope + error) + size[after] * error + unit * size[line]
        elif line.symbol == "dW":
            above, h = Line("dz", at + 1), np.abs(v.h(at))
            error = bounds[Line("h", at)]
            bounds[line] = (
                h.T @ bounds[above]
                + error.T @ (size[above] + bounds[above])
                + _product(precision, v.n) * (h.T @ size[above])
            )
        elif line.symbol == "db":
            above = Line("dz", at + 1)
            bounds[line] = (bounds[above] + _product(precision, v.n) * size[above]).sum(axis=0)
    del bounds[Line("h", 0)]
    tiny = max(float(np.finfo(np.float32).tiny), 2 * precision.least)  # what may underflow
    return {line: np.asarray(bound + tiny) for line, bound in bounds.items()}


def gradient_bounds(problem: Problem, precision: Precision, any_slope: bool = False) -> list[Array]:
    """The bounds on the leaves of the gradient, in the order of the parameters' leaves."""
    bounds = rounding_bounds(problem, precision, any_slope=any_slope)
    return [bounds[line] for line in gradient_lines(problem)]


def _product(precision: Precision, terms: int) -> float:
    """Relative error of a sum of products over `terms` terms."""
    return 3 * precision.factors + (terms + 1) * precision.sums


def _forward(v: Values, precision: Precision) -> dict[Line, Array]:
    """Bounds on z, h, p and the loss."""
    unit, problem = precision.stored, v.problem
    bounds = {Line("h", 0): precision.factors * np.abs(v.x) * (precision.factors > precision.sums)}
    for l in range(1, v.depth + 1):
        h, weight, error = np.abs(v.h(l - 1)), np.abs(v.W(l - 1)), bounds[Line("h", l - 1)]
        size = h @ weight + np.abs(v.b(l - 1))
        if not error.any() and size.max() < _finest(v, l) / precision.factors:
            bounds[Line("z", l)] = np.zeros_like(size)
        else:
            bounds[Line("z", l)] = error @ weight + _product(precision, len(weight)) * size
        if l < v.depth:
            exact = problem.activation in ("relu", "identity")
            own = 0 if exact else FEW * unit * (1 + np.abs(v.h(l)))
            passed = STEEPEST * bounds[Line("z", l)]
            if problem.activation == "relu":  # what is surely off is exactly 0
                passed = np.where(v.z(l) < -bounds[Line("z", l)], 0.0, passed)
            bounds[Line("h", l)] = passed + own
    z, error = v.z(v.depth), bounds[Line("z", v.depth)]
    largest = np.abs(z).max(axis=1, keepdims=True)
    error = error + unit * (FEW + z.shape[1] + np.abs(z) + largest)  # of the exponent
    p = softmax(z)
    # pⱼ changes by pⱼ (eⱼ − Σ pₖ eₖ): in a saturated row, by next to nothing
    spread = (1 - p) * error + (p * error).sum(axis=1, keepdims=True) - p * error
    # and exp(z − log Σ exp z), which is right too, rounds a number as large as z before exp
    own = unit * (FEW + 2 * largest)
    bounds[Line("p")] = p * (spread * np.exp(2 * np.minimum(error, 1)) + own) + precision.least
    cost = (np.abs(v.y) * (error + unit * (1 + 2 * largest))).sum() / v.n
    bounds[Line("C")] = cost + FEW * unit * np.abs(v.y).sum() * (1 + largest.max())
    return bounds


def _finest(v: Values, l: int) -> float:
    """Of what number z_l and its parts are whole multiples."""
    h, weight, bias = (_grid(array) for array in (v.h(l - 1), v.W(l - 1), v.b(l - 1)))
    return min(h * weight, bias)


def _grid(array: Array) -> float:
    """The largest power of two of which all entries are whole multiples; infinite if all are 0."""
    mantissas, exponents = np.frexp(array[array != 0])
    whole = np.abs(mantissas * 2.0**53).astype(np.int64)
    return float(np.min(np.ldexp((whole & -whole) + 0.0, exponents - 53), initial=np.inf))


def _slope_error(v: Values, l: int, error: Array, unit: float, any_slope: bool) -> Array:
    """How far off the slope f'(z) may be where z may be off by `error`."""
    if v.problem.activation == "identity":
        return np.zeros_like(error)
    z = v.z(l)
    if v.problem.activation == "relu":
        return (np.abs(z) <= error if any_slope else np.abs(z) < error).astype(float)
    return np.minimum(error, 1) * STEEPEST + FEW * unit
