"""How a network does on a part of a data set."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmlp import metrics
from jaxmlp.data import Batch, Dataset
from jaxmlp.losses import classes, get_loss
from jaxmlp.network import forward_pass
from jaxmlp.params import Params
from jaxmlp.settings import Config

CHUNK = 10_000  # examples at a time, so that the activations fit in memory


class Evaluation(NamedTuple):
    """How a network does on some examples.

    Attributes:
        predictions: shape (n, n_out): probabilities, or real targets as they are trained on.
        labels: the true classes, shape (n,), or the true rows (n, n_out).
        loss: the mean of the costs; for classes, in nats.
        score: the metric that is measured; by default the accuracy, the share of examples whose
            most probable class is the true one.
    """

    predictions: np.ndarray
    labels: np.ndarray
    loss: float
    score: float


def evaluate(params: Params, dataset: Dataset, part: Batch, config: Config) -> Evaluation:
    """Evaluate a network on one part of a data set, in chunks.

    Args:
        params: of the network.
        dataset: of which the examples are a part.
        part: the examples.
        config: of the network.
    """
    chunks = (
        dataset.inputs(Batch(*(array[start : start + CHUNK] for array in part)))
        for start in range(0, len(part.x), CHUNK)
    )
    z = np.concatenate([_logits(params, chunk.x, config.activation) for chunk in chunks])
    loss, found = figures(z, part.labels, config=config)
    labels = classes(part.labels) if config.loss == "softmax" else part.labels
    predictions = get_loss(config.loss).predicted(jnp.asarray(z))
    return Evaluation(np.asarray(predictions), np.asarray(labels), float(loss), float(found))


figures = jax.jit(metrics.figures, static_argnames="config")


@partial(jax.jit, static_argnames="activation")
def _logits(params: Params, x: Float[Array, "n n_in"], activation: str) -> Array:
    return forward_pass(params, x, activation).z[-1]
