"""Minibatches as the network sees them: 8-bit pixels made real, labels made soft."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key, Scalar

from jaxmlp.data import Batch
from jaxmlp.losses import label_rows
from jaxmlp.settings import Config, Hyperparams


def training_batch(
    key: Key[Array, ""],
    hyper: Hyperparams,
    part: Batch,
    rows: Integer[Array, " size"],
    scale: float | Float[Scalar, ""],
    n_out: int,
    config: Config,
) -> Batch:
    """Some rows of the training part as the network sees them: real inputs and soft labels.

    Labels are smoothed: classes towards the mean of the row, each of several labels at once towards
    a half, and real targets not at all. With mixup, each example is then mixed with its neighbour
    in `rows`, which the shuffling makes a random other one. 8-bit pixels become real numbers only
    here.
    """
    x = jnp.asarray(part.x)[rows]
    if x.dtype == jnp.uint8:
        x = x.astype(jnp.float32) * scale
    y = label_rows(jnp.asarray(part.labels)[rows], n_out, x.dtype)
    smoothing = hyper.label_smoothing
    if config.loss == "softmax":
        y = (1 - smoothing) * y + smoothing * jnp.mean(y, axis=1, keepdims=True)
    elif config.loss == "sigmoid":
        y = (1 - smoothing) * y + smoothing / 2
    if config.augmentation == "mixup":
        share = jax.random.beta(key, hyper.mixup_alpha, hyper.mixup_alpha, (len(x), 1))
        x, y = (share * a + (1 - share) * jnp.roll(a, 1, axis=0) for a in (x, y))
    return Batch(x, y)
