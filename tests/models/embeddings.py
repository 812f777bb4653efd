"""Sentences as means of their words' embeddings, a linear read-out, and a logistic loss."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.models import Mistake, build


def loss(params: Any, batch: Any) -> Any:
    ids, y = batch
    words = params["E"][ids]
    h = jnp.mean(words, axis=1)
    s = h @ params["w"] + params["b"]
    softplus = jnp.logaddexp(0, s)
    losses = softplus - y * s
    return jnp.mean(losses)


def cases() -> list[Any]:
    found = []
    for seed, (n, t, v, m) in enumerate([(5, 4, 6, 3), (4, 4, 4, 4), (3, 7, 5, 2)]):
        rng = np.random.default_rng(seed)
        params = {
            "E": rng.normal(size=(v, m)), "w": rng.normal(size=m), "b": np.array(rng.normal()),
        }  # fmt: skip
        found.append((params, (rng.integers(v, size=(n, t)), np.arange(n) % 2.0)))
    return found


SOURCE = """
def manual_grad(params, batch):
    ids, y = batch
    n, t = ids.shape
    E, w, b = params["E"], params["w"], params["b"]
    h = E[ids].mean(axis=1)
    s = h @ w + b
    p = special.expit(s)
    ds = (p - y) / n
    dw = h.T @ ds
    db = ds.sum()
    dh = np.outer(ds, w)
    dwords = np.broadcast_to(dh[:, None] / t, (*ids.shape, len(w)))
    dE = np.zeros_like(E)
    np.add.at(dE, ids, dwords)
    return {"E": dE, "w": dw, "b": db}
"""


def _by_counts(params: Any, batch: Any) -> Any:
    """Right: the words counted, so that all is a product of matrices."""
    ids, y = batch
    shares = (ids[:, :, None] == np.arange(len(params["E"]))).mean(axis=1)
    s = np.einsum("nv,vm,m->n", shares, params["E"], params["w"]) + params["b"]
    d = (1 / (1 + np.exp(-s)) - y) / len(y)
    return {
        "E": np.einsum("n,nv,m->vm", d, shares, params["w"]),
        "w": np.einsum("n,nv,vm->m", d, shares, params["E"]),
        "b": np.sum(d),
    }


def _by_loops(params: Any, batch: Any) -> Any:
    """Right: the score's slope by JAX, sentence after sentence, word after word."""
    ids, y = batch
    found = {name: np.zeros_like(value) for name, value in params.items()}
    for row, label in zip(ids, y, strict=True):
        h = sum(params["E"][i] for i in row) / len(row)
        d = jax.grad(lambda s, label=label: jax.nn.softplus(s) - label * s)(
            h @ params["w"] + params["b"]
        )
        found["w"] += h * d / len(y)
        found["b"] += d / len(y)
        for i in row:
            found["E"][i] += d * params["w"] / ids.size
    return found


RIGHT = {"NumPy": build(SOURCE), "einsum": _by_counts, "loops": _by_loops}
MISTAKES = [
    Mistake("repeated words overwritten", "np.add.at(dE, ids, dwords)", "dE[ids] += dwords",
            ("words =",), ("overwritten",)),
    Mistake("words repeated in a sentence overwritten", "np.add.at(dE, ids, dwords)",
            "for i in range(n):\n        dE[ids[i]] += dwords[i]", ("words =",),
            ("overwritten",)),
    Mistake("only the first words", "np.add.at(dE, ids, dwords)",
            "np.add.at(dE, ids[:, 0], dwords[:, 0])", ("words =", "h ="), ("missing term",)),
    Mistake("only the last sentence", "np.add.at(dE, ids, dwords)",
            "np.add.at(dE, ids[-1], dwords[-1])", ("words =",), ("batch rows",)),
    Mistake("sum over the words", "dh[:, None] / t", "dh[:, None]", ("h =", "words ="),
            ("1/N missing", "wrong axis")),
    Mistake("mean over the dimensions", "dh[:, None] / t", "dh[:, None] / len(w)",
            ("h =", "words ="), ("1/N with another N", "wrong axis")),
    Mistake("sentences and words exchanged", "n, t = ids.shape", "t, n = ids.shape",
            ("jnp.mean(losses)", "losses =", "s = h", "h ="),
            ("1/N with another N", "constant factor")),
    Mistake("1/N missing", "(p - y) / n", "p - y",
            ("jnp.mean(losses)", "losses =", "s = h"), ("1/N missing",)),
    Mistake("label less probability", "(p - y) / n", "(y - p) / n",
            ("losses =", "s = h", "jnp.mean(losses)"), ("sign",)),
    Mistake("labels left out", "(p - y) / n", "p / n", ("losses =", "s = h"),
            ("missing term",)),
    Mistake("slope of a squared error", "(p - y) / n", "(p - y) * p * (1 - p) / n",
            ("softplus =", "losses =", "s = h"), ("wrong derivative",)),
    Mistake("score for probability", "(p - y) / n", "(s - y) / n", ("softplus =", "s = h"),
            ("stale value", "wrong derivative")),
    Mistake("sigmoid of minus the score", "special.expit(s)", "special.expit(-s)",
            ("softplus =", "s = h"), ("derivative at the wrong place", "wrong derivative")),
    Mistake("the last word for the mean", "dw = h.T", "dw = E[ids[:, -1]].T", ("s = h",),
            ("stale value",)),
    Mistake("bias averaged", "ds.sum()", "ds.mean()", ("s = h",), ("wrong axis", "extra 1/N")),
    Mistake("weights left out", "np.outer(ds, w)", "np.outer(ds, np.ones_like(w))",
            ("s = h", "h ="), ("missing factor",)),
    Mistake("dh transposed", "np.outer(ds, w)",
            "np.outer(w, ds) if n == len(w) else np.outer(ds, w)", ("s = h", "h ="),
            ("transpose",)),
    Mistake("bias left out of the forward pass", "s = h @ w + b", "s = h @ w", ("s = h",),
            ("missing term",)),
    Mistake("words in float16", "dE = np.zeros_like(E)",
            "dwords = dwords.astype(np.float16).astype(np.float64)\n    dE = np.zeros_like(E)",
            ("words =", "h ="), ("precision lost",)),
]  # fmt: skip
