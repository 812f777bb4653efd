"""The network and its gradient with an example in each column: faster for many networks at a time.

Every line is that of `gradient.py`, transposed: with columns h and z, and weights W of the shape
(n_out, n_in), equation (2) is z = W h + b. Products of narrow layers are faster so, and the first
layers of networks that see the same examples lie one below the other, so that their products with
the inputs are one. Numbers in parentheses are equations of `derivation.md`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from jaxmlp.activations import get_activation
from jaxmlp.data import AnyArray, Batch
from jaxmlp.losses import Weights, get_loss, label_rows, mean_cost
from jaxmlp.network import matmul
from jaxmlp.params import Layer, Params

Columns = Float[Array, "_ n"]


def transpose_weights(tree: Any) -> Any:
    """Layers, or any tree of such, as an optimizer's state, with their weights transposed.

    The last two axes of every weight are exchanged; there may be others before them.
    """

    def transposed(path: Any, leaf: Any) -> Any:
        return leaf.swapaxes(-1, -2) if jax.tree_util.keystr(path).endswith(".weight") else leaf

    return jax.tree_util.tree_map_with_path(transposed, tree)


def forward_columns(
    params: Params, x: Float[AnyArray, "n n_in"], activation: str
) -> tuple[list[Columns], list[Columns]]:
    """The forward pass (1) to (3), transposed.

    Args:
        params: layers whose weights have the shape (n_out, n_in).
        x: the inputs, one row an example.
        activation: of the hidden layers, by name.

    Returns:
        h and z of every layer, as in `network.Intermediates`, shapes (width, n).
    """
    f = get_activation(activation).value
    h, z = [jnp.asarray(x).T], []  # (1)
    for weight, bias in params:
        if z:
            h.append(f(z[-1]))  # (3)
        z.append(matmul(weight, h[-1], weight.dtype))  # (2)
        if bias is not None:
            z[-1] += bias.astype(z[-1].dtype)[:, None]
    return h, z


def value_and_grad_columns(
    params: Params,
    batch: Batch,
    *,
    activation: str = "relu",
    loss: str = "softmax",
    weights: Weights = None,
) -> tuple[Float[Scalar, ""], Params]:
    """The loss and its gradient, as `manual_value_and_grad` gives them, of transposed weights."""
    derivative, (cost, predicted) = get_activation(activation).derivative, get_loss(loss)
    h, z = forward_columns(params, batch.x, activation)
    n, last = len(batch.x), len(params) - 1
    y = label_rows(batch.labels, len(z[last]), z[last].dtype).T  # (8)
    p = predicted(z[last], axis=0)  # (4), (5), or z or σ(z)
    mean = mean_cost(cost(z[last], y, axis=0), weights)  # (6), (7)

    if loss == "softmax":  # noqa: SIM108  (each line is an equation)
        dz = (p * jnp.sum(y, axis=0, keepdims=True) - y) / n  # (12)
    else:
        dz = (p - y) / n  # (37)
    if weights is not None:
        dz *= jnp.asarray(weights, dz.dtype)[None, :]  # (38)
    grad = [_layer_gradient(params[last], h[last], dz)]
    for layer in reversed(range(last)):
        weight = params[layer + 1].weight
        dh = matmul(weight.T, dz, weight.dtype).astype(z[layer].dtype)  # (15)
        dz = dh * derivative(z[layer], h[layer + 1])  # (16)
        grad.insert(0, _layer_gradient(params[layer], h[layer], dz))
    return mean, tuple(grad)


def _layer_gradient(layer: Layer, h: Columns, dz: Columns) -> Layer:
    """The gradients of one layer's weight and bias, in their own dtypes."""
    weight, bias = layer
    return Layer(
        weight=matmul(dz, h.T, weight.dtype).astype(weight.dtype),  # (13)
        bias=None if bias is None else jnp.sum(dz, axis=1).astype(bias.dtype),  # (14)
    )
