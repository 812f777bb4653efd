"""Random numbers for a network, and the forms in which homework takes them."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array

CLOSE = 1e-7  # relative difference of numbers that are the same but for rounding
MANY = 7  # examples, where there may be several
ONE = 1
Weights = list[tuple[Array, Array | None]]


class Problem(NamedTuple):
    """Numbers for a network.

    Attributes:
        weights: of every layer, (n_in, n_out) and (n_out,) or None.
        x: inputs (n, n_in).
        t: targets (n, n_out), one 1 in each row; of one output, 0 or 1.
    """

    weights: Weights
    x: Array
    t: Array


class Form(NamedTuple):
    """How examples are handed over.

    Attributes:
        inputs: rows, columns or vector, of a single example.
        labels: one-hot, classes, or column: classes as a column or row.
    """

    inputs: str
    labels: str

    def given(self, problem: Problem) -> tuple[Any, Any]:
        """The inputs and labels as the file wants them."""
        x, t = problem.x.copy(), problem.t.copy()
        classes = t.argmax(axis=1) if t.shape[1] > 1 else t[:, 0].astype(int)
        if self.inputs == "vector":
            return x[0], classes[0] if self.labels == "classes" else t[0]
        rows = self.inputs == "rows"
        if self.labels == "classes":
            labels = classes
        elif self.labels == "column":
            labels = classes[:, None] if rows else classes[None, :]
        else:
            labels = t if rows else t.T
        return (x if rows else x.T.copy()), labels.copy()


FORMS = [
    (n, Form(inputs, labels))
    for n, kinds in ((MANY, ("rows", "columns")), (ONE, ("columns", "vector", "rows")))
    for inputs, labels in itertools.product(kinds, ("one-hot", "classes", "column"))
]


def drawn(sizes: Sequence[int], biases: Sequence[bool], n: int, seed: int) -> Problem:
    """Random numbers for a network; every class is there, if there are enough examples."""
    rng = np.random.default_rng(seed)
    weights: Weights = [
        (rng.normal(size=(a, b)), rng.normal(size=b) / 2 if bias else None)
        for (a, b), bias in zip(itertools.pairwise(sizes), biases, strict=True)
    ]
    x, k = rng.normal(size=(n, sizes[0])), sizes[-1]
    classes = (np.arange(n) + seed) % max(k, 2)
    t = np.eye(k)[classes] if k > 1 else classes[:, None].astype(float)
    return Problem(weights, x, t)


def of_whole_numbers(sizes: Sequence[int], biases: Sequence[bool], n: int, seed: int) -> Problem:
    """The same with small whole numbers, to be recomputed by hand."""
    problem, rng = drawn(sizes, biases, n, seed), np.random.default_rng(seed)

    def whole(array: Array) -> Array:
        return rng.choice([-2.0, -1.0, 1.0, 2.0], size=array.shape)

    weights = [(whole(w), None if b is None else whole(b)) for w, b in problem.weights]
    return Problem(weights, whole(problem.x), problem.t)


def named(weights: Weights) -> dict[str, Array]:
    """Weights and biases by W1, b1, W2 and so on."""
    pairs = [((f"W{i}", w), (f"b{i}", b)) for i, (w, b) in enumerate(weights, 1)]
    return {name: array for name, array in itertools.chain(*pairs) if array is not None}


def alike(right: Array, seen: Any) -> bool:
    """Whether an array is the same numbers, as rows or as columns."""
    if not isinstance(seen, np.ndarray) or seen.size != right.size:
        return False
    array = np.asarray(seen, float)
    if array.ndim == 2 and array.shape != right.shape and array.shape == right.T.shape:
        return close(array.T, right)
    fits = [n for n in array.shape if n > 1] == [n for n in right.shape if n > 1]
    return (fits and close(array.reshape(right.shape), right)) or (
        array.shape == right.shape[::-1] and close(array.T, right)
    )


def differing(
    received: Mapping[str, Array], right: Mapping[str, Array], scale: float
) -> tuple[str, ...]:
    """The names of gradients that are not a multiple of the right lines dW1, db1 and so on."""
    return tuple(k for k, v in received.items() if not close(v, scale * right[f"d{k}"]))


def close(received: Array, expected: Array) -> bool:
    """Whether numbers are the same but for rounding."""
    size = float(np.max(np.abs(expected), initial=0))
    return bool(np.all(np.abs(received - expected) <= CLOSE * size + 1e-12))
