"""The gradient of the loss, written out by hand.

Numbers in parentheses are equations of `derivation.md`, which derives every line. Nothing
here, nor anything that it calls, uses JAX's automatic differentiation.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from jaxmlp.activations import get_activation
from jaxmlp.data import Batch
from jaxmlp.losses import Weights, check_batch, get_loss, jit_on_batch, label_rows, mean_cost
from jaxmlp.network import forward_pass, matmul
from jaxmlp.params import Layer, Params


class Lines(NamedTuple):
    """Every line of the derivation, in the order in which it is computed.

    Attributes:
        h, z: the forward pass, as in `network.Intermediates`.
        p: what is predicted, shape (n, n_out): softmax probabilities (5), z (33) or σ(z) (35).
        loss: the mean of the costs, a scalar (7).
        dz: ∂loss/∂z for every layer, shapes of `z`; the note's J (12), (16).
        dh: ∂loss/∂h for every layer but the first, shapes of `h[1:]` (15).
        grad: ∂loss/∂W and ∂loss/∂b in the tree of the parameters (13), (14).
    """

    h: tuple[Float[Array, "n _"], ...]
    z: tuple[Float[Array, "n _"], ...]
    p: Float[Array, "n n_out"]
    loss: Float[Scalar, ""]
    dz: tuple[Float[Array, "n _"], ...]
    dh: tuple[Float[Array, "n _"], ...]
    grad: Params


def derivation_lines(
    params: Params,
    batch: Batch,
    activation: str = "relu",
    loss: str = "softmax",
    weights: Weights = None,
) -> Lines:
    """Evaluate the whole derivation, forward and backward, and keep every line of it.

    For the note's network these are its own lines (29), (30).
    """
    check_batch(params, batch, weights)
    derivative, (cost, predicted) = get_activation(activation).derivative, get_loss(loss)
    h, z = forward_pass(params, batch.x, activation)  # (1)–(3)
    n, last = batch.x.shape[0], len(params) - 1
    y = label_rows(batch.labels, z[last].shape[1], z[last].dtype)  # (8)
    p = predicted(z[last])  # (4), (5), or z or σ(z)
    mean = mean_cost(cost(z[last], batch.labels), weights)  # (6), (7)

    if loss == "softmax":  # noqa: SIM108  (each line is an equation)
        dz = [(p * jnp.sum(y, axis=1, keepdims=True) - y) / n]  # (12)
    else:
        dz = [(p - y) / n]  # (37)
    if weights is not None:
        dz[0] *= jnp.asarray(weights, dz[0].dtype)[:, None]  # (38)
    dh: list[Array] = []
    grad = [_layer_gradient(params[last], h[last], dz[0])]
    for layer in reversed(range(last)):
        weight = params[layer + 1].weight
        dh.insert(0, matmul(dz[0], weight.T, weight.dtype).astype(z[layer].dtype))  # (15)
        dz.insert(0, dh[0] * derivative(z[layer], h[layer + 1]))  # (16)
        grad.insert(0, _layer_gradient(params[layer], h[layer], dz[0]))
    return Lines(h, z, p, mean, tuple(dz), tuple(dh), tuple(grad))


def _layer_gradient(layer: Layer, h: Float[Array, "n n_in"], dz: Float[Array, "n n_out"]) -> Layer:
    """The gradients of one layer's weight and bias, in their own dtypes."""
    weight, bias = layer
    return Layer(
        weight=matmul(h.T, dz, weight.dtype).astype(weight.dtype),  # (13)
        bias=None if bias is None else jnp.sum(dz, axis=0).astype(bias.dtype),  # (14)
    )


@jit_on_batch
def manual_grad(
    params: Params,
    batch: Batch,
    *,
    activation: str = "relu",
    loss: str = "softmax",
    weights: Weights = None,
) -> Params:
    """The gradient of `loss` with respect to `params` (32): a drop-in for `jax.grad(loss)`.

    Args:
        params: layers as made by `init_params`.
        batch: inputs and labels, as `loss` takes them.
        activation: the name of the hidden layers' activation.
        loss: softmax, squared or sigmoid, as `loss` takes it.
        weights: of the examples, as `loss` takes them.

    Returns:
        A tree like `params`, with the same shapes and dtypes, in nats per unit of parameter.

    Raises:
        ValueError: as `loss` does.
    """
    return derivation_lines(params, batch, activation, loss, weights).grad


@jit_on_batch
def manual_value_and_grad(
    params: Params,
    batch: Batch,
    *,
    activation: str = "relu",
    loss: str = "softmax",
    weights: Weights = None,
) -> tuple[Float[Scalar, ""], Params]:
    """The loss and its gradient: a drop-in for `jax.value_and_grad(loss)`.

    Takes and raises what `manual_grad` does; the forward pass is computed once.
    """
    lines = derivation_lines(params, batch, activation, loss, weights)
    return lines.loss, lines.grad
