"""The parameters of a multilayer perceptron: a tuple of layers, one affine map each."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key, Scalar


class Layer(NamedTuple):
    """One affine map z = h W + b, equation (2) of `derivation.md`.

    Attributes:
        weight: W, shape (n_in, n_out); column j holds the weights into unit j.
        bias: b, shape (n_out,), or None for a layer without a bias.
    """

    weight: Float[Array, "n_in n_out"]
    bias: Float[Array, " n_out"] | None


Params = tuple[Layer, ...]


def init_params(
    key: Key[Array, ""],
    sizes: Sequence[int],
    *,
    bias: bool = True,
    scale: float | Float[Scalar, ""] = 1.0,
    dtype: DTypeLike = jnp.float32,
) -> Params:
    """Random initial parameters: W ~ Normal(0, scale² · 2 / n_in), b = 0.

    The variance 2 / n_in keeps the size of the activations constant from layer to layer in
    a ReLU network (He et al. 2015, "Delving Deep into Rectifiers").

    Args:
        key: a JAX key; layer l draws from its own split of it.
        sizes: widths from input to output, such as (784, 128, 10); at least two, each ≥ 1.
        bias: whether the layers have a bias.
        scale: multiplies the standard deviation; may be traced.
        dtype: a floating dtype of the parameters.

    Raises:
        ValueError: if `sizes` is too short or not positive integers, or `dtype` is not floating.
    """
    sizes = check_sizes(sizes)
    if not _is_floating(dtype):
        raise ValueError(
            f"dtype is {dtype!r}: parameters are real, so choose a floating dtype, as jnp.float32"
        )
    pairs = itertools.pairwise(sizes)
    keys = jax.random.split(key, len(sizes) - 1)
    scale = jnp.asarray(scale, dtype)
    return tuple(
        Layer(
            weight=scale * (2 / n_in) ** 0.5 * jax.random.normal(layer_key, (n_in, n_out), dtype),
            bias=jnp.zeros((n_out,), dtype) if bias else None,
        )
        for layer_key, (n_in, n_out) in zip(keys, pairs, strict=True)
    )


def pad_params(params: Params, sizes: Sequence[int]) -> Params:
    """The same network with wider layers: zero columns into each new unit, zero rows out of it.

    Where the activation is 0 at 0, the new units stay 0, the logits are those of `params`, and
    so are the gradient's entries; all its other entries are 0 (25), (31).

    Args:
        params: layers of any widths.
        sizes: the new widths from input to output, none of them smaller.

    Raises:
        ValueError: if a width would shrink, or their number differs.
    """
    own = (params[0].weight.shape[0], *(layer.weight.shape[1] for layer in params))
    if len(own) != len(sizes) or any(a > b for a, b in zip(own, sizes, strict=True)):
        raise ValueError(f"widths {own} cannot be padded to {tuple(sizes)}: give widths as large")
    new = [b - a for a, b in zip(own, sizes, strict=True)]
    return tuple(
        Layer(
            jnp.pad(weight, ((0, n_in), (0, n_out))),
            None if bias is None else jnp.pad(bias, (0, n_out)),
        )
        for (weight, bias), (n_in, n_out) in zip(params, itertools.pairwise(new), strict=True)
    )


def _is_floating(dtype: Any) -> bool:
    """Whether `dtype` names a type of real numbers."""
    try:
        return jnp.issubdtype(dtype, jnp.floating)
    except TypeError:
        return False


def check_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return `sizes` as a tuple of ints, or raise ValueError if they describe no network."""
    try:
        widths = tuple(size.__index__() for size in sizes)
    except (AttributeError, TypeError):
        raise ValueError(f"sizes are {sizes!r}: give integers, such as (784, 128, 10)") from None
    if len(widths) < 2:
        raise ValueError(f"sizes are {widths}: give at least an input and an output width")
    if not 1 <= min(widths) <= max(widths) < 2**31:
        raise ValueError(f"sizes are {widths}: every width must be at least 1 and below 2³¹")
    return widths
