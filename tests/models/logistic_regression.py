"""Logistic regression with weighted examples."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.models import Mistake, build


def loss(params: Any, batch: Any) -> Any:
    x, y, c = batch
    z = x @ params["w"] + params["b"]
    margin = (2 * y - 1) * z
    each = jnp.logaddexp(0, -margin)
    total = jnp.sum(c * each)
    return total / jnp.sum(c)


def cases() -> list[Any]:
    found = []
    for seed, (n, k) in enumerate([(7, 3), (5, 5), (6, 4)]):
        rng = np.random.default_rng(seed)
        params = {"w": rng.normal(size=k), "b": np.array(rng.normal())}
        y = rng.permutation(np.arange(n) % 2).astype(float)
        found.append((params, (rng.normal(size=(n, k)), y, rng.uniform(0.5, 2, size=n))))
    return found


SOURCE = """
def manual_grad(params, batch):
    x, y, c = batch
    n, k = x.shape
    z = x @ params["w"] + params["b"]
    p = 1 / (1 + np.exp(-z))
    d = c * (p - y) / c.sum()
    dw = x.T @ d
    db = d.sum()
    return {"w": dw, "b": db}
"""


def _loops(params: Any, batch: Any) -> Any:
    """Right: example by example, one formula for each label."""
    dw, db = np.zeros_like(params["w"]), 0.0
    for x, y, c in zip(*batch, strict=True):
        z = float(np.dot(params["w"], x) + params["b"])
        d = -1 / (1 + np.exp(z)) if y else 1 / (1 + np.exp(-z))
        dw += c * d * x
        db += c * d
    return {"w": dw / sum(batch[2]), "b": np.array(db / sum(batch[2]))}


def _by_example(params: Any, batch: Any) -> Any:
    """Right: the gradient of each example by JAX, their weighted mean by hand."""
    x, y, c = batch

    def one(params: Any, x: Any, y: Any) -> Any:
        z = x @ params["w"] + params["b"]
        return jnp.log1p(jnp.exp(z)) - y * z

    each = jax.vmap(jax.grad(one), (None, 0, 0))(params, x, y)
    return {name: c @ rows / c.sum() for name, rows in each.items()}


RIGHT = {"NumPy": build(SOURCE), "loops": _loops, "JAX": _by_example}
MISTAKES = [
    Mistake("label minus probability", "(p - y)", "(y - p)", ("z =", "margin =", "each ="),
            ("sign",)),
    Mistake("sigmoid of the other sign", "np.exp(-z)", "np.exp(z)", ("z =", "margin =", "each ="),
            ("wrong derivative", "derivative at the wrong place")),
    Mistake("slope of a squared error", "c * (p - y)", "c * (p - y) * p * (1 - p)",
            ("z =", "margin =", "each ="), ("wrong derivative",)),
    Mistake("labels -1 and 1", "(p - y)", "(p - (2 * y - 1))", ("z =", "margin =", "each ="),
            ("wrong derivative", "extra term", "derivative at the wrong place")),
    Mistake("only the positive examples", "(p - y)", "y * (p - y)",
            ("z =", "margin =", "each ="), ("batch rows", "missing term", "wrong derivative")),
    Mistake("the perceptron's rule", "(p - y)", "((p > 0.5) - y)", ("z =", "margin =", "each ="),
            ("wrong derivative",)),
    Mistake("probabilities clipped", "1 / (1 + np.exp(-z))",
            "np.clip(1 / (1 + np.exp(-z)), 0.3, 0.7)", ("z =", "margin =", "each ="),
            ("clipped", "wrong derivative")),
    Mistake("bias left out", "x @ params[\"w\"] + params[\"b\"]", "x @ params[\"w\"]",
            ("z =", "margin =", "each ="),
            ("derivative at the wrong place", "missing term")),
    Mistake("divided by the number of examples", "/ c.sum()", "/ n", ("return", "total ="),
            ("1/N with another N", "constant factor")),
    Mistake("weights forgotten", "c * (p - y)", "(p - y)", ("total =", "each ="),
            ("missing factor",)),
    Mistake("not divided", " / c.sum()", "", ("return", "total ="), ("1/N missing",)),
    Mistake("bias averaged", "d.sum()", "d.mean()", ("z =",), ("wrong axis", "extra 1/N")),
    Mistake("transpose left out", "x.T @ d", "(x if n == k else x.T) @ d", ("z =",),
            ("transpose",)),
    Mistake("first example left out", "x.T @ d", "sum(d[i] * x[i] for i in range(1, n))", ("z =",),
            ("batch rows", "missing term")),
]  # fmt: skip
