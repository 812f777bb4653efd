"""Numbers for networks: dense, on and beside kinks, zeros, huge logits, sure of their labels."""

import itertools
from typing import NamedTuple

import jax
import numpy as np

from jaxmlp.checking.network.shapes import Shape
from jaxmlp.params import Layer, Params


class Range(NamedTuple):
    """Numbers that a floating dtype can tell apart.

    Attributes:
        near: exact beside 1.
        tiny: the scale of the first layer's z, whose sums are exact at any scale.
        huge: the scale of the last layer's weights, with which the logits stay finite.
    """

    near: float
    tiny: float = 2.0**-100
    huge: float = 1e4


RANGES = {
    "float64": Range(2.0**-40),
    "float32": Range(2.0**-10),
    "bfloat16": Range(2.0**-4),
    "float16": Range(2.0**-7, 2.0**-8, 256.0),
}
LEAD = 12.0  # of a logit before all others: then the gradient is of the order of 1e-5


def numbers(
    rng: np.random.Generator, shape: Shape, kind: str, scales: Range
) -> tuple[Params, np.ndarray]:
    """Parameters and inputs: dense, whole numbers with exact zeros in z, or with special parts."""

    def draw(*size: int) -> np.ndarray:
        if kind.endswith("kinks"):
            return rng.integers(-1, 2, size).astype(float)
        return rng.normal(size=size)

    layers = []
    for n_in, n_out in itertools.pairwise(shape.sizes):
        weight = draw(n_in, n_out)
        bias = draw(n_out) if shape.bias else None
        if kind == "dense":
            weight /= max(1, n_in / 4) ** 0.5  # keeps the logits of order one
        if kind == "zeros":
            weight[:, ::2] = 0
            bias = None if bias is None else 0 * bias
        layers.append((weight, bias))
    x = draw(shape.n, shape.sizes[0])
    if kind == "zeros":
        x[::2] = 0
    if kind == "near kinks":  # in the first layer's bias, or in what takes its place
        first = x if (bias := layers[0][1]) is None else bias
        first += scales.near * rng.integers(-1, 2, first.shape)
    if kind == "tiny kinks":
        layers[0] = tuple(None if leaf is None else scales.tiny * leaf for leaf in layers[0])
    if kind == "huge logits":
        weight, bias = layers[-1]
        layers[-1] = (scales.huge * weight, bias)
    return tuple(Layer(*layer) for layer in layers), x


def alive(numbers: tuple[Params, np.ndarray]) -> float:
    """How much there is to see: the hidden units that are on for some examples, off for others.

    In the layer where they are fewest, since a layer that is off hides all that is before it.
    """
    params, x = numbers
    shares = [1.0]
    for z in _affine(params, x)[:-1]:
        on, off = (z > 0).any(axis=0), (z < 0).any(axis=0)
        shares.append(float(np.mean(on) + np.mean(on & off)))
    return min(shares)


def _affine(params: Params, x: np.ndarray) -> list[np.ndarray]:
    """Every layer's z, with ReLUs between."""
    h, zs = x, []
    for weight, bias in params:
        zs.append(h @ weight + (0 if bias is None else bias))
        h = np.maximum(zs[-1], 0)
    return zs


def foreseen(params: Params, x: np.ndarray, form: str) -> tuple[Params, np.ndarray]:
    """Labels that a network is sure of: the last layer is scaled until every one leads by LEAD."""
    z = _affine(params, x)[-1]
    classes = z.argmax(axis=1).astype(np.int32)
    if z.shape[1] > 1:
        leads = np.diff(np.sort(z, axis=1)[:, -2:])
        scale = LEAD / max(leads.min(), 1e-3)
        params = (*params[:-1], jax.tree.map(lambda leaf: scale * leaf, params[-1]))
    return params, classes if form == "classes" else np.eye(z.shape[1])[classes]


def make_labels(rng: np.random.Generator, kind: str, n: int, n_out: int) -> np.ndarray:
    """Classes, or all of them but the first; or rows, soft with exact zeros or of any sum."""
    classes = rng.integers(kind == "later classes" and n_out > 1, n_out, n).astype(np.int32)
    if "classes" in kind:
        return classes
    if kind == "any sum":
        return rng.normal(size=(n, n_out)) + 0.5
    if kind == "one-hot":
        return np.eye(n_out)[classes]
    rows = rng.exponential(size=(n, n_out)) * rng.integers(0, 2, (n, n_out))
    rows[np.arange(n), classes] += 0.1
    rows /= rows.sum(axis=1, keepdims=True)
    if n > 2:
        rows[-1] = 0  # an example without a label
    return rows
