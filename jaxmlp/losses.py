"""The losses, on logits. Numbers in parentheses are equations of `derivation.md`."""

import functools
from collections.abc import Callable
from inspect import signature
from typing import Any, NamedTuple, TypeVar

import jax
import jax.core
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Integer, Real, Scalar

from jaxmlp.data import AnyArray, Batch, check_classes
from jaxmlp.network import check_network, forward_pass
from jaxmlp.params import Params

Labels = Integer[AnyArray, " n"] | Real[AnyArray, "n n_out"]
Weights = Float[AnyArray, " n"] | None
Logits = Float[Array, "_ _"]  # (n, n_out), or (n_out, n) with axis=0
Costs = Float[Array, " _"]
Result = TypeVar("Result")


def jit_on_batch(function: Callable[..., Result]) -> Callable[..., Result]:
    """Turn f(params, batch, *, activation, …) into a public, jitted function of a batch.

    Shapes and dtypes are checked while tracing, so they cost nothing later. Whether an integer
    label names a class is a question of values: it is asked before the jit, where the labels
    are known, because compiled code cannot raise; on an accelerator that waits for them.
    """
    parameters = signature(function).parameters
    usual = {
        name: parameters[name].default for name in ("activation", "loss") if name in parameters
    }
    compiled = jax.jit(function, static_argnames=[*usual])

    @functools.wraps(function)
    def on_batch(params: Params, batch: Batch, **settings: Any) -> Result:
        if not isinstance(getattr(batch, "labels", None), jax.core.Tracer):
            check_batch(params, batch)
            check_classes(batch.labels, params[-1].weight.shape[1])
        return compiled(params, batch, **usual | settings)

    return on_batch


@jit_on_batch
def loss(
    params: Params,
    batch: Batch,
    *,
    activation: str = "relu",
    loss: str = "softmax",
    weights: Weights = None,
) -> Float[Scalar, ""]:
    """The mean over the batch of −Σⱼ yⱼ log pⱼ with p = softmax(logits), equations (1) to (8).

    Args:
        params: layers as made by `init_params`.
        batch: inputs and labels; integer classes, or rows of real weights with any sum.
        activation: the name of the hidden layers' activation.
        loss: softmax; or squared, Σⱼ (zⱼ − yⱼ)² / 2 (33), for real targets; or sigmoid,
            −Σⱼ yⱼ log σ(zⱼ) + (1 − yⱼ) log(1 − σ(zⱼ)) (35), for several labels at once.
        weights: by which the costs of the examples are multiplied, before the mean over all n
            of them is taken (38); by default 1.

    Returns:
        A scalar, in nats but for squared, in the dtype of the parameters, or float32 where that
        is narrower.

    Raises:
        ValueError: if shapes or dtypes of params, x and labels do not fit, the loss is unknown,
            or a label names no class. Under a trace, where labels have no values yet, such a
            label counts as a row of zeros. Label rows are not searched for NaN: it makes the
            loss NaN.
    """
    check_batch(params, batch, weights)
    z = forward_pass(params, batch.x, activation).z[-1]
    return mean_cost(get_loss(loss).cost(z, batch.labels), weights)


def mean_cost(costs: Float[Array, " n"], weights: Weights) -> Float[Scalar, ""]:
    """The mean over the batch of the costs (7), or of the weighted costs (38)."""
    return jnp.mean(costs if weights is None else jnp.asarray(weights, costs.dtype) * costs)


def cross_entropy(z: Logits, labels: Labels, axis: int = 1) -> Costs:
    """−Σⱼ yⱼ log pⱼ of every row (6)."""
    y = label_rows(labels, z.shape[axis], z.dtype)
    return -jnp.sum(y * jax.nn.log_softmax(z, axis=axis), axis=axis)


def squared_error(z: Logits, labels: Labels, axis: int = 1) -> Costs:
    """Σⱼ (zⱼ − yⱼ)² / 2 of every row (33)."""
    y = label_rows(labels, z.shape[axis], z.dtype)
    return jnp.sum((z - y) ** 2, axis=axis) / 2


def sigmoid_cross_entropy(z: Logits, labels: Labels, axis: int = 1) -> Costs:
    """−Σⱼ yⱼ log σ(zⱼ) + (1 − yⱼ) log(1 − σ(zⱼ)) of every row (35).

    The sigmoid is the softmax of the two logits 0 and z. Taken so, the cost is finite for all z,
    and JAX's own derivative is right at z = 0, where that of max(z, 0) + log(1 + exp(−|z|)) is not:
    in jax 0.10.2 the slope of |z| at 0 is 1.
    """
    y = label_rows(labels, z.shape[axis], z.dtype)
    both = jax.nn.log_softmax(jnp.stack([jnp.zeros_like(z), z]), axis=0)
    log_no, log_yes = (jax.lax.index_in_dim(both, place, keepdims=False) for place in (0, 1))
    return -jnp.sum(y * log_yes + (1 - y) * log_no, axis=axis)


def softmax(z: Logits, axis: int = 1) -> Logits:
    """exp zⱼ / Σₖ exp zₖ of every row (4), shifted by the largest logit against overflow (5)."""
    exponentials = jnp.exp(z - jnp.max(z, axis=axis, keepdims=True))
    return exponentials / jnp.sum(exponentials, axis=axis, keepdims=True)


def sigmoid(z: Logits, axis: int = 1) -> Logits:
    """σ(z) of every entry: the p of (35)."""
    return jax.lax.logistic(z)


def unchanged(z: Logits, axis: int = 1) -> Logits:
    """z itself: the p of (33)."""
    return z


class Loss(NamedTuple):
    """A loss by the cost of every row, and p, what the network predicts, a function of the logits.

    With it, ∂C/∂z = p Σy − y for softmax (11), and p − y for the others (34), (36). Both take
    axis=0 for columns, with labels that are columns too.
    """

    cost: Callable[..., Array]
    predicted: Callable[..., Array]


LOSSES = {
    "softmax": Loss(cross_entropy, softmax),
    "squared": Loss(squared_error, unchanged),
    "sigmoid": Loss(sigmoid_cross_entropy, sigmoid),
}


def get_loss(name: str) -> Loss:
    """The loss called `name`, or a ValueError that lists the names there are."""
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}: choose one of {', '.join(LOSSES)}")
    return LOSSES[name]


def label_rows(labels: Labels, n_out: int, dtype: DTypeLike) -> Float[Array, "n n_out"]:
    """Labels as rows y of shape (n, n_out); class c becomes the unit vector e_c (8)."""
    labels = jnp.asarray(labels)
    if labels.ndim == 2:
        return labels.astype(dtype)
    return jax.nn.one_hot(labels, n_out, dtype=dtype)


@jit_on_batch
def accuracy(params: Params, batch: Batch, *, activation: str = "relu") -> Float[Scalar, ""]:
    """The share of examples, in [0, 1], whose largest logit is at the (largest) label."""
    check_batch(params, batch)
    z = forward_pass(params, batch.x, activation).z[-1]
    return jnp.mean(jnp.argmax(z, axis=1) == classes(batch.labels), dtype=z.dtype)


def classes(labels: Labels) -> Integer[Array, " n"]:
    """Integer classes: the labels themselves, or the position of each row's largest entry."""
    return jnp.asarray(labels) if labels.ndim == 1 else jnp.argmax(labels, axis=1)


def check_batch(params: Params, batch: Batch, weights: Any = None) -> None:
    """Raise ValueError unless `params` takes `batch`: shapes and dtypes only."""
    if not isinstance(batch, Batch):
        raise ValueError(f"batch is a {type(batch).__name__}: give jaxmlp.Batch(x, labels)")
    check_network(params, batch.x)
    labels: Any = batch.labels
    n, n_out = batch.x.shape[0], params[-1].weight.shape[1]
    if not hasattr(labels, "dtype"):
        raise ValueError(f"labels is a {type(labels).__name__}: give an array (jnp.asarray)")
    integer = jnp.issubdtype(labels.dtype, jnp.integer)
    real = integer or jnp.issubdtype(labels.dtype, jnp.floating)
    fits = (labels.shape == (n,) and integer) or (labels.shape == (n, n_out) and real)
    if not fits:
        raise ValueError(
            f"labels have dtype {labels.dtype} and shape {labels.shape}, x has shape "
            f"{batch.x.shape} and the network has {n_out} outputs: give integer classes of "
            f"shape ({n},) or real rows of shape ({n}, {n_out})"
        )
    if weights is not None and jnp.shape(weights) != (n,):
        raise ValueError(
            f"weights have shape {jnp.shape(weights)}, but there are {n} examples: give one each"
        )
