"""How far two correct gradients may lie apart: one rule for the whole suite."""

from typing import Any

import jax
import ml_dtypes
import numpy as np
from scipy.special import expit, softmax
from scipy.stats import norm

import jaxmlp

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
    """An entry-wise bound on the rounding error of the gradient, by running error analysis.

    Two quantities go backward side by side. `size` is the backward pass on absolute values:
    what was added up in each entry, with nothing cancelled. `error` bounds the rounding error:
    each line adds a few roundings of its own, relative to `size`, and passes on the rest.
    Factors of a product are rounded to `dtype`; sums, z and p are kept in `wide`, at least
    float32. A logit that is off by d changes p by at most 2 d p (1 − p), which saturation
    makes small.
    """
    narrow = float(ml_dtypes.finfo(dtype).eps) / 2
    wide = min(narrow, 2.0**-24)
    step = 3 * narrow + 16 * wide  # two factors and a result rounded; a short sum of products
    f, slope = NUMPY_ACTIVATIONS[activation]
    exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    h, z = [np.asarray(batch.x, np.float64)], []
    for weight, bias in exact:
        z.append(h[-1] @ weight + (0 if bias is None else bias))
        h.append(f(z[-1]))
    off = 16 * wide * (1 + max(float(np.abs(value).max()) for value in z))
    labels, n_out = np.asarray(batch.labels), params[-1].weight.shape[1]
    y = np.eye(n_out)[labels] if labels.ndim == 1 else np.abs(labels.astype(float))
    p, total = softmax(z[-1], axis=1), y.sum(axis=1, keepdims=True) / len(y)
    size = p * total + y / len(y)
    error = 16 * wide * size + 2 * off * p * (1 - p) * total
    grad = []
    for layer in reversed(range(len(exact))):
        weight, bias = exact[layer]
        below = np.abs(h[layer]).T @ (error + step * size)
        bias = None if bias is None else (error + step * size).sum(axis=0)
        grad.insert(0, jaxmlp.Layer(below, bias))
        if layer:
            error = (error + step * size) @ np.abs(weight).T
            size = size @ np.abs(weight).T
            steepness = np.abs(slope(z[layer - 1]))
            # relu' and identity' do not feel a rounding of z; the others' slopes change by it
            bend = 0 if activation in ("relu", "identity") else off
            error, size = error * (steepness + bend) + bend * size, size * steepness
    return jax.tree.map(lambda entry: entry + 1e-44, tuple(grad))


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
