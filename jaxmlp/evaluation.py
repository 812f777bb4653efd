"""How a network does on a part of a data set."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.data import Batch, Dataset
from jaxmlp.losses import classes, cross_entropy
from jaxmlp.network import forward
from jaxmlp.params import Params

CHUNK = 10_000  # examples at a time, so that the activations fit in memory


class Evaluation(NamedTuple):
    """How a network does on some examples.

    Attributes:
        probabilities: softmax outputs, shape (n, n_out).
        labels: the true classes, shape (n,).
        loss: mean cross-entropy in nats.
        accuracy: share of examples whose most probable class is the true one.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    loss: float
    accuracy: float


def evaluate(params: Params, dataset: Dataset, part: Batch, activation: str) -> Evaluation:
    """Evaluate a network on one part of a data set, in chunks."""
    logits = np.concatenate(
        [
            np.asarray(forward(params, dataset.inputs(chunk).x, activation=activation))
            for start in range(0, len(part.x), CHUNK)
            for chunk in [Batch(*(array[start : start + CHUNK] for array in part))]
        ]
    )
    labels = np.asarray(classes(part.labels))
    return Evaluation(
        probabilities=np.asarray(jax.nn.softmax(logits, axis=1)),
        labels=labels,
        loss=float(jnp.mean(cross_entropy(jnp.asarray(logits), part.labels))),
        accuracy=float(np.mean(logits.argmax(axis=1) == labels)),
    )
