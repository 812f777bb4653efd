"""Linear regression on several outputs, with a ridge penalty."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from tests.models import Mistake, build


def loss(params: Any, batch: Any) -> Any:
    x, y = batch
    p = x @ params["W"] + params["b"]
    error = p - y
    fit = jnp.mean(error**2)
    penalty = jnp.sum(params["W"] ** 2)
    return fit + 0.1 * penalty


def cases() -> list[Any]:
    found = []
    for seed, (n, k, m) in enumerate([(5, 3, 2), (4, 4, 4), (7, 2, 3)]):
        rng = np.random.default_rng(seed)
        params = {"W": rng.normal(size=(k, m)), "b": rng.normal(size=m)}
        found.append((params, (rng.normal(size=(n, k)), rng.normal(size=(n, m)))))
    return found


SOURCE = """
def manual_grad(params, batch):
    x, y = batch
    W, b = params["W"], params["b"]
    n, k = x.shape
    error = x @ W + b - y
    d = 2 * error / error.size
    dW = x.T @ d + 0.2 * W
    db = d.sum(axis=0)
    return {"W": dW, "b": db}
"""


def _normal_equations(params: Any, batch: Any) -> Any:
    """Right: from the sums over the examples, with the bias as a last row of the weights."""
    x, y = batch
    x = np.column_stack([x, np.ones(len(x))])
    w = np.vstack([params["W"], params["b"]])
    both = 2 / y.size * (x.T @ x @ w - x.T @ y)
    return {"W": both[:-1] + 0.2 * params["W"], "b": both[-1]}


def _loops(params: Any, batch: Any) -> Any:
    """Right: number by number."""
    x, y = batch
    w, b = params["W"], params["b"]
    dw, db = 0.2 * w, np.zeros_like(b)
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            d = 2 * (sum(x[i] * w[:, j]) + b[j] - y[i, j]) / y.size
            dw[:, j] += d * x[i]
            db[j] += d
    return {"W": dw, "b": db}


RIGHT = {"NumPy": build(SOURCE), "normal equations": _normal_equations, "loops": _loops}
MISTAKES = [
    Mistake("the 2 forgotten", "2 * error /", "error /", ("error**2", "error ="),
            ("constant factor",)),
    Mistake("divided by the examples only", "/ error.size", "/ n", ("error**2", "error ="),
            ("1/N with another N", "constant factor")),
    Mistake("weights divided again", "x.T @ d +", "x.T @ d / n +", ("p =",), ("extra 1/N",)),
    Mistake("target minus prediction", "x @ W + b - y", "y - (x @ W + b)",
            ("error**2", "error =", "p ="), ("sign",)),
    Mistake("bias left out", "x @ W + b - y", "x @ W - y", ("p =", "error**2", "error ="),
            ("derivative at the wrong place", "missing term", "stale value")),
    Mistake("transpose left out", "x.T @ d", "(x if n == k else x.T) @ d", ("p =",),
            ("transpose",)),
    Mistake("bias summed over the outputs", "d.sum(axis=0)",
            "d.sum(axis=1 if d.shape[0] == d.shape[1] else 0)", ("p =",), ("wrong axis",)),
    Mistake("only the last example", "x.T @ d", "np.outer(x[-1], d[-1])", ("p =",),
            ("batch rows",)),
    Mistake("penalty forgotten", " + 0.2 * W", "", ("penalty",), ("missing term",)),
    Mistake("penalty without its 2", "0.2 * W", "0.1 * W", ("penalty",), ("constant factor",)),
    Mistake("penalty subtracted", "+ 0.2 * W", "- 0.2 * W", ("penalty",), ("sign",)),
    Mistake("penalty as if it were L1", "0.2 * W", "0.1 * np.sign(W)", ("penalty =",),
            ("wrong derivative",)),
    Mistake("penalty of the bias", "d.sum(axis=0)", "d.sum(axis=0) + 0.2 * b",
            ("p =", "penalty"), ("extra term",)),
    Mistake("penalty overwrites the fit", "x.T @ d + 0.2 * W", "0.2 * W", ("p =",),
            ("overwritten", "missing term")),
    Mistake("half precision", "2 * error /", "2 * error.astype(np.float16).astype(float) /",
            ("error =", "error**2"), ("precision lost",)),
]  # fmt: skip
