"""Derivatives that a user knows: by a formula, or for a sampler by its distribution function."""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.rules.differences import slopes
from jaxmlp.checking.rules.function import Function

Formula = Callable[[Array], list[Array]]  # of a row: for every part (outputs, size of the part)


def by_formula(function: Function, truth: Callable[..., Any]) -> Formula:
    """The derivatives that `truth(*arguments)` returns: one, or a tuple with one for each part.

    Each has the shape of the outputs, then that of the argument; mpmath's numbers will do.

    Raises:
        ValueError: of the formula's, if it returns another number of derivatives, or other shapes.
    """

    def derivatives(row: Array) -> list[Array]:
        found = truth(*_plain(function.arguments(row)))
        several = found if isinstance(found, (tuple, list)) else (found,)
        if len(several) != len(function.parts):
            names = ", ".join(part.name for part in function.parts)
            raise ValueError(
                f"truth returns {len(several)} derivatives: return one for each of {names}"
            )
        pairs = zip(several, function.parts, strict=True)
        return [_as_matrix(each, part.stop - part.start, part.name) for each, part in pairs]

    return derivatives


def _plain(arguments: Any) -> list[Any]:
    """Numbers as Python's, which every library takes."""
    return [
        float(each) if np.ndim(each) == 0 and np.asarray(each).dtype.kind == "f" else each
        for each in arguments
    ]


def _as_matrix(derivative: Any, size: int, name: str) -> Array:
    array = np.asarray(derivative)
    flat = np.array([float(each) for each in array.ravel()])
    if flat.size % size:
        raise ValueError(
            f"truth's derivative by {name} has shape {array.shape}: return the shape of the "
            f"outputs, then that of {name}, which has {size} numbers"
        )
    return flat.reshape(-1, size)


def by_distribution(function: Function, cdf: Callable[..., Any]) -> Formula:
    """The pathwise derivative of samples x(θ) with a distribution function F(x, θ).

    At a fixed probability F is fixed, so that dx/dθ = −(∂F/∂θ)/(∂F/∂x).

    Raises:
        ValueError: of the formula's, if a parameter is an array: its samples are told apart by
            numbers alone.
    """
    if any(part.shape for part in function.parts):
        raise ValueError("cdf= takes a sampler of numbers: give every parameter as a float")
    moving = [part.argument for part in function.parts]

    def value(rows: Array) -> Array:
        return np.array([[float(cdf(*row))] for row in rows])

    def derivatives(row: Array) -> list[Array]:
        samples = function.one(row)
        rows = np.array([[sample, *row] for sample in samples])
        found = slopes(value, rows, np.eye(len(moving) + 1))
        sure = found.error <= 1e-4 * np.abs(found.value)
        by = np.where(sure, found.value, np.nan)[..., 0]  # (samples, 1 + parameters)
        return list((-by[:, 1:] / by[:, :1]).T[..., None])

    return derivatives
