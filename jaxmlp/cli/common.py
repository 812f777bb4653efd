"""What the commands share: finding the data, and figures on a part of it."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.data import Batch, Dataset
from jaxmlp.loaders import load_digits, load_idx, load_mnist, load_npz
from jaxmlp.losses import classes, cross_entropy
from jaxmlp.network import forward
from jaxmlp.params import Params

CHUNK = 10_000  # examples per forward pass: bounds the memory for large data sets


def load_data(source: str, data_seed: int = 0) -> Dataset:
    """The data set that `--data` names, pixels kept as 8 bits.

    Raises:
        ValueError: if it is no known name, folder or .npz file, or its content is unsound.
    """
    path = Path(source)
    if source == "digits":
        return load_digits(data_seed=data_seed, uint8=True)
    if source == "mnist":
        return load_mnist(data_seed=data_seed, uint8=True)
    if path.suffix == ".npz":
        return load_npz(path, data_seed=data_seed, uint8=True)
    if path.is_dir():
        return load_idx(path, data_seed=data_seed, uint8=True)
    raise ValueError(
        f"unknown data {source!r}: give digits, mnist, a folder with MNIST's four IDX files, or "
        "a file that ends in .npz"
    )


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
