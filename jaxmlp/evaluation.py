"""How a network does on a part of a data set."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxmlp.data import Batch, Dataset
from jaxmlp.losses import classes, cross_entropy, softmax
from jaxmlp.network import forward_pass
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
    chunks = (
        dataset.inputs(Batch(*(array[start : start + CHUNK] for array in part)))
        for start in range(0, len(part.x), CHUNK)
    )
    found = [_by_example(params, chunk, activation) for chunk in chunks]
    probabilities, costs, right = (np.concatenate(each) for each in zip(*found, strict=True))
    labels = np.asarray(classes(part.labels))
    return Evaluation(probabilities, labels, loss=float(costs.mean()), accuracy=float(right.mean()))


@partial(jax.jit, static_argnames="activation")
def _by_example(params: Params, batch: Batch, activation: str) -> tuple[Array, Array, Array]:
    """Probabilities, cross-entropy and whether the largest logit is at the label, row by row."""
    z = forward_pass(params, batch.x, activation).z[-1]
    right = jnp.argmax(z, axis=1) == classes(batch.labels)
    return softmax(z), cross_entropy(z, batch.labels), right
