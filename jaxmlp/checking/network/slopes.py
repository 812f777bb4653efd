"""Each activation and its derivative in NumPy, independent of those under test."""

from collections.abc import Callable

import numpy as np
from scipy.special import expit, ndtr

from jaxmlp.checking.arrays import Array

# Each activation and its derivative, independent of those under test; the former take complex
# numbers too.
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "relu": (lambda z: np.where(z <= 0, 0.0, z), lambda z: (z > 0).astype(z.dtype)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (
        lambda z: expit(z) if np.isrealobj(z) else (1 + np.tanh(z / 2)) / 2,
        lambda z: expit(z) * expit(-z),
    ),
    "gelu": (
        lambda z: z * ndtr(z),
        lambda z: ndtr(z) + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi),
    ),
    "identity": (lambda z: z, np.ones_like),
}
