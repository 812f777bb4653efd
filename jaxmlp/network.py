"""The forward pass. Numbers in parentheses are equations of `derivation.md`."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from jaxmlp.activations import get_activation
from jaxmlp.data import AnyArray
from jaxmlp.params import Layer, Params


class Intermediates(NamedTuple):
    """What the forward pass computes on its way, as the backward pass needs it.

    Attributes:
        h: the inputs of the layers, h[0] = x to h[L−1]; h[l] has shape (n, width of layer l).
        z: the outputs of the affine maps; z[l] is z of equation (2) for layer l, which the
            derivation writes z_{l+1}. The last one holds the logits.
    """

    h: tuple[Float[Array, "n _"], ...]
    z: tuple[Float[Array, "n _"], ...]


@partial(jax.jit, static_argnames="activation")
def forward(
    params: Params, x: Float[Array, "n n_in"], *, activation: str = "relu"
) -> Float[Array, "n n_out"]:
    """The logits of a batch, equations (1) to (3).

    Args:
        params: layers as made by `init_params`, at least one.
        x: inputs, one row an example; cast to the dtype of the parameters.
        activation: relu, tanh, sigmoid, gelu or identity; not applied to the last layer.

    Returns:
        Logits in the dtype of the parameters, or float32 where that is narrower.

    Raises:
        ValueError: if the shapes of params and x do not fit, x is not real, has no rows or
            is not of rank 2, or the activation is unknown.
    """
    return forward_pass(params, x, activation).z[-1]


def forward_pass(
    params: Params, x: Float[AnyArray, "n n_in"], activation: str = "relu"
) -> Intermediates:
    """Like `forward`, keeping every intermediate."""
    check_network(params, x)
    f = get_activation(activation).value
    h, z = [jnp.asarray(x)], []  # (1)
    for weight, bias in params:
        if z:
            h.append(f(z[-1]))  # (3)
        z.append(matmul(h[-1], weight, weight.dtype))  # (2)
        if bias is not None:
            z[-1] += bias.astype(z[-1].dtype)[None, :]
    return Intermediates(tuple(h), tuple(z))


def matmul(
    a: Float[Array, "rows inner"], b: Float[Array, "inner columns"], dtype: DTypeLike
) -> Float[Array, "rows columns"]:
    """a b with the factors in `dtype` and sums in at least float32, which bounds its error (28)."""
    a, b = a.astype(dtype), b.astype(dtype)
    if jnp.finfo(dtype).bits >= 32:
        return jnp.matmul(a, b)
    # XLA's CPU backend lacks some narrow products with sums in float32, as that of shared inputs
    # with many networks' ∂C/∂z (jaxlib 0.10.2 and 0.12.0.1); their factors are exact in float32.
    return jax.lax.platform_dependent(
        a, b,
        cpu=lambda a, b: jnp.matmul(a.astype(jnp.float32), b.astype(jnp.float32)),
        default=partial(jnp.matmul, preferred_element_type=jnp.float32),
    )  # fmt: skip


def check_network(params: Params, x: Any) -> None:
    """Raise ValueError unless `params` is a chain of layers that takes `x`: static facts only."""
    if not isinstance(params, tuple) or not params:
        kind = "an empty tuple" if params == () else f"a {type(params).__name__}"
        raise ValueError(f"params is {kind}: give a tuple of Layer, as init_params makes it")
    _check_real("x", x)
    if x.ndim != 2 or x.shape[0] == 0:
        raise ValueError(f"x has shape {x.shape}: give (n, n_in) with n ≥ 1, images flattened")
    width = x.shape[1]
    for number, layer in enumerate(params):
        if not isinstance(layer, Layer):
            raise ValueError(f"layer {number} is a {type(layer).__name__}: give a jaxmlp.Layer")
        weight, bias = layer
        _check_real(f"the weight of layer {number}", weight)
        if weight.ndim != 2 or weight.shape[0] != width:
            source = "x" if number == 0 else f"layer {number - 1}"
            raise ValueError(
                f"the weight of layer {number} has shape {weight.shape}, but {source} gives it "
                f"{width} columns: it must have shape ({width}, n_out)"
            )
        width = weight.shape[1]
        if bias is not None:
            _check_bias(f"the bias of layer {number}", bias, weight)


def _check_bias(name: str, bias: Any, weight: Any) -> None:
    """Raise ValueError unless `bias` is a row that fits `weight`."""
    _check_real(name, bias)
    if bias.shape != weight.shape[1:]:
        raise ValueError(
            f"{name} has shape {bias.shape}, but its weight has shape {weight.shape}: it must "
            f"have shape {weight.shape[1:]}"
        )


def _check_real(name: str, array: Any) -> None:
    """Raise ValueError unless `array` is an array of a floating dtype."""
    if not hasattr(array, "dtype"):
        raise ValueError(f"{name} is a {type(array).__name__}: give an array (jnp.asarray)")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(
            f"{name} has dtype {array.dtype}: give real numbers, such as x.astype('float32')"
        )
