"""Hypothesis strategies: networks and batches, with the special cases drawn on purpose.

Shapes come from a short list, and each goes with one dtype of labels for every activation,
because every new program compiles; numbers come from a drawn seed, because Hypothesis fills arrays
with constants, which would hide transposes.
"""

import itertools
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from hypothesis import strategies as st

import jaxmlp
from jaxmlp import Batch, Dataset
from jaxmlp.activations import ACTIVATIONS

# (widths, bias, rows): the note's own network; one layer; width one; one class; one row;
# depth up to four. The long profile draws freely instead.
SHAPES = [
    ((3, 4, 3), False, 1),
    ((3, 2), True, 7),
    ((5, 4, 6, 3), True, 2),
    ((2, 1, 2), True, 3),
    ((4, 3, 1), False, 2),
    ((1, 5, 2, 4, 2), False, 5),
]
DTYPES = {"float32": np.float32, "float64": np.float64, "bfloat16": ml_dtypes.bfloat16}
LABELS = (("integer",), ("integer rows",), ("one-hot", "soft", "any sum", "signed"))  # by dtype
# what the numbers look like
NUMBERS = ("dense", "zero weights", "zero inputs", "small integers", "huge logits", "tied rows")


LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"


def free_shapes():
    """Any depth from one to five layers, widths and rows from one to nine."""
    widths = st.lists(st.integers(1, 9), min_size=2, max_size=6).map(tuple)
    return st.tuples(widths, st.booleans(), st.integers(1, 9))


class Case(NamedTuple):
    params: jaxmlp.Params
    batch: jaxmlp.Batch
    activation: str
    dtype: str

    @property
    def x64(self) -> bool:
        return self.dtype == "float64"


@st.composite
def cases(draw, dtypes=tuple(DTYPES), activations=tuple(ACTIVATIONS), numbers=NUMBERS) -> Case:
    """A network of NumPy arrays, a batch for it, and an activation."""
    dtype, activation = draw(st.sampled_from(dtypes)), draw(st.sampled_from(activations))
    if LONG:
        (sizes, bias, n), form = draw(free_shapes()), draw(st.sampled_from(LABELS))
    else:
        place = draw(st.integers(0, len(SHAPES) - 1))
        sizes, bias, n = SHAPES[place]
        form = LABELS[(place + list(ACTIVATIONS).index(activation)) % len(LABELS)]
    kind, labels = draw(st.sampled_from(numbers)), draw(st.sampled_from(form))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = _numbers(rng, kind, (n, sizes[0])) * (kind != "zero inputs")
    if kind == "tied rows":
        x = np.repeat(x[:1], n, axis=0)
    layers = []
    for n_in, n_out in itertools.pairwise(sizes):
        weight = _numbers(rng, kind, (n_in, n_out)) * (kind != "zero weights")
        b = _numbers(rng, kind, (n_out,)) * (kind not in ("zero weights", "zero inputs"))
        layers.append(
            jaxmlp.Layer(weight.astype(DTYPES[dtype]), b.astype(DTYPES[dtype]) if bias else None)
        )
    if kind == "huge logits":
        layers[-1] = layers[-1]._replace(weight=layers[-1].weight * np.asarray(1e4, DTYPES[dtype]))
    x = x.astype(np.float64 if dtype == "float64" else np.float32)
    batch = jaxmlp.Batch(x, draw_labels(rng, labels, n, sizes[-1]))
    return Case(tuple(layers), batch, activation, dtype)


def _numbers(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Any:
    """Dense numbers, or integers from −1 to 1, whose sums hit zero exactly: kinks."""
    if kind == "small integers":
        return rng.integers(-1, 2, shape).astype(float)
    return rng.normal(size=shape)


def draw_labels(rng: np.random.Generator, kind: str, n: int, n_out: int) -> np.ndarray:
    """Labels of a kind; soft ones hold exact zeros, as do those of any sum."""
    classes = rng.integers(0, n_out, n).astype(np.int32)
    if kind == "integer":
        return classes
    if kind == "one-hot":
        return np.eye(n_out, dtype=np.float32)[classes]
    if kind == "integer rows":
        return rng.integers(0, 3, (n, n_out)).astype(np.int32)
    rows = rng.exponential(size=(n, n_out)) * rng.integers(0, 2, (n, n_out))
    rows[np.arange(n), classes] += 0.1
    if kind == "signed":  # any sum: positive, zero, negative
        rows *= rng.choice([-1.0, 1.0], size=rows.shape)
        rows[0] -= rows[0].sum() / n_out
    if kind == "soft":
        rows /= rows.sum(axis=1, keepdims=True)
    return rows.astype(np.float32)


def as_arrays(tree: Any) -> Any:
    """JAX arrays of the dtypes that the case asks for; float64 needs the x64 mode."""
    return jax.tree.map(jnp.asarray, tree)


def tiny_dataset() -> Dataset:
    """Five numbers between 0 and 1; the class says whether the first two are the larger ones."""
    rng = np.random.default_rng(0)

    def part(n: int) -> Batch:
        x = rng.uniform(size=(n, 5)).astype(np.float32)
        return Batch(x, (x[:, 0] + x[:, 1] > x[:, 2] + x[:, 3]).astype(np.int32))

    return Dataset(part(35), part(10), part(10), (1, 5))
