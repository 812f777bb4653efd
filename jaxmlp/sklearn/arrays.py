"""What needs no JAX: examples as arrays, and a fitted network's outputs for them."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.model_selection import train_test_split


def forward(
    weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], activation: str, x: np.ndarray
) -> Float[np.ndarray, "n n_out"]:
    """The logits of examples x (n, n_in), by scikit-learn's name of the activation."""
    values = {
        "relu": lambda z: np.maximum(z, 0),
        "tanh": np.tanh,
        "logistic": sigmoid,
        "gelu": _gelu,
        "identity": lambda z: z,
    }
    h, last = x.astype(np.float64), len(weights) - 1  # so that one example is as many are
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        h = h @ weight.astype(np.float64) + bias
        h = values[activation](h) if layer < last else h
    return h


def hold_out(n: int, share: float, seed: int, classes: Any) -> tuple[np.ndarray, np.ndarray]:
    """The rows that stay, and those that early stopping looks at; each class in its share.

    Raises:
        ValueError: if there are too few.
    """
    held = max(2, round(share * n))
    try:
        stay, out = train_test_split(
            np.arange(n), test_size=held, random_state=seed, stratify=classes
        )
    except ValueError as error:
        raise ValueError(
            f"early_stopping cannot hold out {held} of {n} examples, each class in its share: give "
            "more examples of each class, another validation_fraction, or early_stopping=False"
        ) from error
    return np.asarray(stay), np.asarray(out)


def digest_of(X: Any, y: Any, sample_weight: Any) -> Any:
    """A hash of examples, to be told of more."""
    found = hashlib.sha256()  # for which processors have an instruction
    for array in map(np.asarray, (dense(X), dense(y), sample_weight)):
        plain = array.astype(str) if array.dtype == object else array
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(plain).data.cast("B") if plain.size else b"")
    return found


def dense(x: Any) -> np.ndarray:
    """An array of what may be a sparse matrix."""
    return x.toarray() if hasattr(x, "toarray") else x


def sigmoid(z: np.ndarray) -> np.ndarray:
    """σ of every entry, without overflow."""
    from scipy.special import expit

    return expit(z)


def _gelu(z: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    return z * ndtr(z)
