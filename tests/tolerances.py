"""How far two correct gradients may lie apart: one rule for the whole suite."""

from typing import Any

import jax
import numpy as np

import jaxmlp
from jaxmlp.checking.network.reference import as_problem
from jaxmlp.checking.network.rounding import Precision, gradient_bounds


def gradient_bound(
    params: jaxmlp.Params, batch: jaxmlp.Batch, activation: str, dtype: Any
) -> jaxmlp.Params:
    """An entry-wise bound on the difference of two gradients, each rounded on its own.

    Both keep what lies between the matrix products in at least float32, as ours does.
    """
    precision = Precision.of(dtype)
    precision = precision._replace(stored=precision.sums)
    bounds = gradient_bounds(as_problem(params, batch, activation), precision)
    return jax.tree.unflatten(jax.tree.structure(params), [2 * bound for bound in bounds])


def assert_close(actual: Any, expected: Any, bound: Any) -> None:
    """Same tree, shapes and dtypes, and every entry within its bound; NaN never is."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    leaves = zip(*map(jax.tree.leaves, (actual, expected, bound)), strict=True)
    for number, (ours, theirs, allowed) in enumerate(leaves):
        assert ours.shape == theirs.shape, f"leaf {number}"
        assert ours.dtype == theirs.dtype, f"leaf {number}"
        difference = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
        excess = np.nan_to_num(difference - allowed, nan=np.inf)
        worst = np.unravel_index(excess.argmax(), excess.shape)
        assert excess[worst] <= 0, (
            f"leaf {number} at {[int(i) for i in worst]}: {np.asarray(ours)[worst]} against "
            f"{np.asarray(theirs)[worst]}, allowed difference {allowed[worst]:.2e}"
        )
