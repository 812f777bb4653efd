"""The same network, weights and batch in PyTorch and scikit-learn: the same loss and gradient."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmlp
from jaxmlp import Batch, Layer
from tests.tolerances import assert_close, gradient_bound

pytestmark = pytest.mark.peers

SIZES = (5, 7, 6, 4)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def case(bias: bool = True) -> tuple[jaxmlp.Params, Batch]:
    """A network in float64 with biases that are not zero, and nine examples."""
    params = jaxmlp.init_params(jax.random.key(0), SIZES, bias=bias, dtype=jnp.float64)
    shift = 0.3 if bias else 0.0
    params = jax.tree.map(lambda leaf: leaf + shift * jnp.cos(jnp.arange(leaf.shape[-1])), params)
    x = jax.random.normal(jax.random.key(1), (9, SIZES[0]), jnp.float64)
    return params, Batch(x, jnp.arange(9) % SIZES[-1])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu", "identity"])
def test_pytorch(activation, bias, soft):
    torch: Any = pytest.importorskip("torch", reason="PyTorch comes with the extra `peers`")
    with jax.numpy_rank_promotion("allow"):
        params, batch = case(bias)
    if soft:
        batch = batch._replace(labels=jax.random.dirichlet(jax.random.key(2), jnp.ones(4), (9,)))
    activations = {
        "relu": torch.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "gelu": torch.nn.functional.gelu,
        "identity": lambda z: z,
    }
    leaves, structure = jax.tree.flatten(params)
    tensors = [torch.tensor(np.asarray(leaf), requires_grad=True) for leaf in leaves]
    *hidden, last = jax.tree.unflatten(structure, tensors)
    h = torch.tensor(np.asarray(batch.x))
    for weight, b in hidden:
        h = activations[activation](h @ weight + (0 if b is None else b))
    z = h @ last.weight + (0 if last.bias is None else last.bias)
    loss = torch.nn.functional.cross_entropy(z, torch.tensor(np.asarray(batch.labels)))
    loss.backward()

    value, grad = jaxmlp.manual_value_and_grad(params, batch, activation=activation)
    np.testing.assert_allclose(value, loss.item(), rtol=1e-12)
    expected = jax.tree.unflatten(structure, [jnp.asarray(each.grad.numpy()) for each in tensors])
    assert_close(grad, expected, gradient_bound(params, batch, activation, np.float64))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("activation", "theirs"),
    [("relu", "relu"), ("tanh", "tanh"), ("sigmoid", "logistic"), ("identity", "identity")],
)
def test_scikit_learn(activation, theirs):
    """One full-batch step of plain gradient descent moves MLPClassifier along our gradient."""
    neural = pytest.importorskip("sklearn.neural_network", reason="comes with `experiments`")
    with jax.numpy_rank_promotion("allow"):
        params, batch = case()
    x, labels = np.asarray(batch.x), np.asarray(batch.labels)
    model = neural.MLPClassifier(
        hidden_layer_sizes=SIZES[1:-1], activation=theirs, solver="sgd", alpha=0.0, momentum=0.0,
        learning_rate_init=1.0, batch_size=len(x), shuffle=False, max_iter=1,
    )  # fmt: skip
    model.partial_fit(x, labels, classes=np.arange(SIZES[-1]))
    for layer, coefs, intercepts in zip(params, model.coefs_, model.intercepts_, strict=True):
        coefs[...], intercepts[...] = layer.weight, layer.bias
    model.partial_fit(x, labels)
    moved = tuple(
        Layer(
            layer.weight - jnp.asarray(coefs), cast(jax.Array, layer.bias) - jnp.asarray(intercepts)
        )
        for layer, coefs, intercepts in zip(params, model.coefs_, model.intercepts_, strict=True)
    )
    grad = jaxmlp.manual_grad(params, batch, activation=activation)
    bound = gradient_bound(params, batch, activation, np.float64)
    # their gradient is the difference of two weights, each rounded to its own size
    bound = jax.tree.map(lambda b, leaf: b + 2.0**-52 * (1 + np.abs(leaf)), bound, params)
    assert_close(grad, moved, bound)
