"""How good predictions are, by scikit-learn's definitions, as pure functions of the logits."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Scalar

from jaxmlp.losses import Labels, classes, get_loss, label_rows, mean_cost
from jaxmlp.settings import Config

Logits = Float[Array, "n n_out"]


def figures(
    z: Logits, labels: Labels, config: Config
) -> tuple[Float[Scalar, ""], Float[Scalar, ""]]:
    """The loss and the metric of some logits, by the settings of their network."""
    cost = mean_cost(get_loss(config.loss).cost(z, labels), None)
    return cost, score(z, labels, metric=config.measured, loss=config.loss)


def score(z: Logits, labels: Labels, *, metric: str, loss: str) -> Float[Scalar, ""]:
    """A metric of some predictions: the larger, the better.

    Args:
        z: the logits.
        labels: classes or rows, as the loss takes them.
        metric: accuracy, balanced_accuracy (the mean over the classes of the share of their
            examples that is right), f1_macro, auc (the area under the ROC curve; of several
            classes, the mean of each against the rest) or r2 (1 − Σ(y − z)² / Σ(y − ȳ)², the mean
            over the targets). A class that no example has is left out of a mean. Of several
            labels at once, an example is right if all of them are.
        loss: that was trained, which says what the logits mean.
    """
    if metric == "r2":
        return _r2(z, label_rows(labels, z.shape[1], z.dtype))
    if loss == "softmax":
        true, found = (
            jax.nn.one_hot(each, z.shape[1], dtype=bool)
            for each in (classes(labels), jnp.argmax(z, axis=1))
        )
        if metric == "accuracy":
            return jnp.mean(jnp.any(true & found, axis=1), dtype=z.dtype)
    else:
        true, found = label_rows(labels, z.shape[1], z.dtype) > 0.5, z > 0
        if metric == "accuracy":
            return jnp.mean(jnp.all(true == found, axis=1), dtype=z.dtype)
    right = jnp.sum(true & found, axis=0, dtype=z.dtype)
    said, there = (jnp.sum(each, axis=0, dtype=z.dtype) for each in (found, true))
    if metric == "balanced_accuracy":
        return _mean_where(there > 0, right, there)
    if metric == "f1_macro":
        both = said + there
        return _mean_where((both > 0) | (loss != "softmax"), 2 * right, both)
    return _auc(get_loss(loss).predicted(z), true)


def _mean_where(counts: Any, over: Array, under: Array) -> Float[Scalar, ""]:
    """The mean of over / under, with 0/0 = 0, of the entries that count."""
    values = over / jnp.maximum(under, 1)
    return jnp.sum(jnp.where(counts, values, 0)) / jnp.maximum(jnp.sum(counts, dtype=over.dtype), 1)


def _r2(z: Logits, y: Float[Array, "n n_out"]) -> Float[Scalar, ""]:
    """1 − Σ(y − z)² / Σ(y − ȳ)² of every target, their mean; of a constant target, 1 or 0."""
    off = jnp.sum((y - z) ** 2, axis=0)
    spread = jnp.sum((y - jnp.mean(y, axis=0, keepdims=True)) ** 2, axis=0)
    constant = jnp.where(off > 0, 0.0, 1.0).astype(z.dtype)
    values = jnp.where(spread > 0, 1 - off / jnp.where(spread > 0, spread, 1), constant)
    return jnp.mean(values)


def _auc(p: Float[Array, "n n_out"], true: Bool[Array, "n n_out"]) -> Float[Scalar, ""]:
    """The mean area under the ROC curves of the columns that have both kinds of examples.

    The area is the share of pairs, of an example with the label and one without, in which the
    first one has the higher p, and half of those in which both have the same.
    """

    def of_column(p: Array, true: Array) -> Array:
        order = jnp.sort(p)
        below = jnp.searchsorted(order, p, side="left", method="sort")
        up_to = jnp.searchsorted(order, p, side="right", method="sort")
        ranks = (below + up_to + 1).astype(p.dtype) / 2
        with_, n = jnp.sum(true, dtype=p.dtype), len(p)
        pairs = with_ * (n - with_)
        area = jnp.sum(jnp.where(true, ranks - (n + 1) / 2, 0)) / jnp.maximum(pairs, 1)
        # mean rank of those with the label, less what it would be by chance
        return jnp.where(pairs > 0, area + 0.5, jnp.nan)

    return jnp.nanmean(jax.vmap(of_column, in_axes=1)(p, true))
