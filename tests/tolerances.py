"""How far two correct gradients may lie apart: one rule for the whole suite."""

from typing import Any

import jax
import ml_dtypes
import numpy as np
from scipy.special import expit
from scipy.stats import norm

import jaxmlp

# How many roundings lie on the longest way from an input to a gradient, generously.
ROUNDINGS = 64

# Each activation and its slope in NumPy: independent of the library under test.
NUMPY_ACTIVATIONS = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (expit, lambda z: expit(z) * expit(-z)),
    "gelu": (lambda z: z * norm.cdf(z), lambda z: norm.cdf(z) + z * norm.pdf(z)),
    "identity": (lambda z: z, np.ones_like),
}


def gradient_bound(
    params: jaxmlp.Params, batch: jaxmlp.Batch, activation: str, dtype: Any
) -> jaxmlp.Params:
    """An entry-wise bound on the rounding error of the gradient.

    The backward pass on absolute values says how much could cancel in each entry: with no
    sign kept, each entry is the sum of the sizes of what was added up. Rounding errors are
    a small multiple of the unit roundoff times that. A rounding in the logits, relative to
    their size, multiplies the error of p, hence the factor 1 + max |z|.
    """
    unit = float(ml_dtypes.finfo(dtype).eps) / 2
    f, slope = NUMPY_ACTIVATIONS[activation]
    exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    h, z = [np.asarray(batch.x, np.float64)], []
    for weight, bias in exact:
        z.append(h[-1] @ weight + (0 if bias is None else bias))
        h.append(f(z[-1]))
    size = 1 + max(float(np.abs(value).max()) for value in z)
    labels = np.asarray(batch.labels)
    n_out = params[-1].weight.shape[1]
    y = np.eye(n_out)[labels] if labels.ndim == 1 else np.abs(labels.astype(float))
    dz = (y.sum(axis=1, keepdims=True) + y) / len(labels)
    grad = []
    for layer in reversed(range(len(exact))):
        weight, bias = exact[layer]
        bias = None if bias is None else dz.sum(axis=0)
        grad.insert(0, jaxmlp.Layer(np.abs(h[layer]).T @ dz, bias))
        if layer:
            dz = (dz @ np.abs(weight).T) * (np.abs(slope(z[layer - 1])) + unit * size)
    return jax.tree.map(lambda entry: ROUNDINGS * unit * size * entry, tuple(grad))


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
