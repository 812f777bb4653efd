"""Independent ways to the true gradient, all in float64, to be compared with one another."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.reference import Array

Loss = Callable[[Any, Any], Any]


class Autodiff:
    """`jax.grad` of the loss in float64; central differences for a loss that JAX cannot trace."""

    def __init__(self, loss: Loss) -> None:
        """An oracle for `loss(params, batch)`."""
        self.loss = loss
        self._grad = _compiled(loss)
        self.traceable = True

    def __call__(self, params: Any, batch: Any) -> list[Array]:
        """The leaves of the gradient at parameters of any float dtype.

        Raises:
            Refused: if the loss cannot be evaluated.
        """
        with jax.enable_x64(True):
            params, batch = as_float64((params, batch))
            if self.traceable:
                try:
                    leaves = jax.tree.leaves(self._grad(params, batch))
                    return [np.asarray(leaf, np.float64) for leaf in leaves]
                except (jax.errors.JAXTypeError, TypeError):
                    self.traceable = False
            return [each.value for each in central_differences(self.loss, params, batch)]


@functools.lru_cache(maxsize=64)
def _compiled(loss: Loss) -> Callable[..., Any]:
    """One jitted gradient for each loss, so that the next check need not compile it again."""
    return jax.jit(jax.grad(loss))


def as_float64(tree: Any) -> Any:
    """The same tree with every floating leaf as a float64 array; needs the x64 mode."""

    def cast(leaf: Any) -> Any:
        leaf = np.asarray(leaf)
        return jnp.asarray(leaf, jnp.float64 if jnp.issubdtype(leaf.dtype, jnp.floating) else None)

    return jax.tree.map(cast, tree)


class Estimate(NamedTuple):
    """A derivative by finite differences, and how far off it may be."""

    value: Array
    error: Array


STEPS = 2.0 ** -np.arange(7, 10)


def central_differences(loss: Loss, params: Any, batch: Any) -> list[Estimate]:
    """Every partial derivative by central differences of three steps, extrapolated to step 0.

    Extrapolation (Richardson) removes the errors of order step² and step⁴. What the last
    extrapolation changed, and the rounding of the loss divided by the step, bound the rest.
    """
    flat, unravel = _ravel(params)
    steps = STEPS * max(1.0, float(np.abs(flat).max(initial=0)) ** 0.5)
    shifts = np.concatenate([sign * step * np.eye(len(flat)) for step in steps for sign in (1, -1)])
    values = _values(loss, unravel, flat + shifts, batch).reshape(len(steps), 2, len(flat))
    slopes = (values[:, 0] - values[:, 1]) / (2 * steps[:, None])
    once = (4 * slopes[1:] - slopes[:-1]) / 3
    twice = (16 * once[1] - once[0]) / 15
    rounding = 8 * np.finfo(float).eps * np.abs(values).max(initial=0) / steps[-1]
    error = np.abs(twice - once[1]) + rounding
    return [
        Estimate(np.asarray(value), np.asarray(off))
        for value, off in zip(*map(jax.tree.leaves, map(unravel, (twice, error))), strict=True)
    ]


def _ravel(params: Any) -> tuple[Array, Callable[[Array], Any]]:
    """A flat float64 vector, and the way back to a tree of NumPy arrays."""
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, params))
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def unravel(flat: Array) -> Any:
        parts = zip(np.split(flat, ends), leaves, strict=True)
        return jax.tree.unflatten(structure, [part.reshape(leaf.shape) for part, leaf in parts])

    return np.concatenate([np.ravel(leaf) for leaf in leaves]).astype(float), unravel


def _values(loss: Loss, unravel: Callable[[Array], Any], points: Array, batch: Any) -> Array:
    """The loss at every row of `points`, in float64."""
    with jax.enable_x64(True):
        arrays = jax.tree.map(np.asarray, batch)
        return np.asarray([float(loss(unravel(point), arrays)) for point in points])
