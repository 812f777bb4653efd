"""A linear model of several outputs, Huber's loss, and an L1 penalty on the weights."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.models import Mistake, build


def loss(params: Any, batch: Any) -> Any:
    x, y = batch
    p = x @ params["W"] + params["b"]
    error = p - y
    size = jnp.abs(error)
    small = error**2 / 2
    large = 0.7 * (size - 0.35)
    losses = jnp.where(size <= 0.7, small, large)
    penalty = jnp.sum(jnp.abs(params["W"]))
    return jnp.mean(losses) + 0.1 * penalty


def cases() -> list[Any]:
    found = []
    for seed, (n, k, m) in enumerate([(6, 4, 3), (4, 4, 4), (7, 2, 5)]):
        rng = np.random.default_rng(seed)
        params = {"W": rng.normal(size=(k, m)), "b": rng.normal(size=m)}
        found.append((params, (rng.normal(size=(n, k)), rng.normal(size=(n, m)))))
    return found


SOURCE = """
def manual_grad(params, batch):
    x, y = batch
    W, b = params["W"], params["b"]
    error = x @ W + b - y
    slope = np.where(np.abs(error) <= 0.7, error, 0.7 * np.sign(error))
    dp = slope / error.size
    dW = x.T @ dp + 0.1 * np.sign(W)
    db = dp.sum(axis=0)
    return {"W": dW, "b": db}
"""


def _clipped(params: Any, batch: Any) -> Any:
    """Right: the slope is the error cut off at the threshold."""
    x, y = batch
    error = np.einsum("nk,km->nm", x, params["W"]) + params["b"] - y
    d = np.clip(error, -0.7, 0.7) / error.size
    signs = params["W"] / np.abs(params["W"])
    return {"W": np.einsum("nk,nm->km", x, d) + 0.1 * signs, "b": np.einsum("nm->m", d)}


def _by_loops(params: Any, batch: Any) -> Any:
    """Right: entry after entry, the loss's own slope forwards by JAX."""
    x, y = batch
    found = {"W": 0.1 * np.sign(params["W"]), "b": np.zeros_like(params["b"])}
    for i, j in np.ndindex(y.shape):
        error = x[i] @ params["W"][:, j] + params["b"][j] - y[i, j]
        _, d = jax.jvp(
            lambda r: jnp.where(abs(r) <= 0.7, r * r / 2, 0.7 * abs(r) - 0.245), (error,), (1.0,)
        )
        found["W"][:, j] += x[i] * d / y.size
        found["b"][j] += d / y.size
    return found


RIGHT = {"NumPy": build(SOURCE), "einsum": _clipped, "loops": _by_loops}
MISTAKES = [
    Mistake("slope of the square throughout",
            "np.where(np.abs(error) <= 0.7, error, 0.7 * np.sign(error))", "error",
            ("losses =", "large =", "size =", "error ="), ("wrong derivative", "mask missing")),
    Mistake("branches exchanged", "np.abs(error) <= 0.7", "np.abs(error) > 0.7",
            ("losses =", "error ="), ("mask inverted",)),
    Mistake("threshold without the size", "np.abs(error) <= 0.7", "error <= 0.7",
            ("losses =", "size =", "error ="),
            ("derivative at the wrong place", "wrong derivative", "mask missing")),
    Mistake("threshold of 1", "np.abs(error) <= 0.7", "np.abs(error) <= 1",
            ("losses =", "error ="), ("derivative at the wrong place", "wrong derivative")),
    Mistake("threshold's factor forgotten", "0.7 * np.sign(error)", "np.sign(error)",
            ("large =", "size ="), ("constant factor", "missing factor")),
    Mistake("sign of large errors forgotten", "0.7 * np.sign(error)", "0.7",
            ("size =", "large =", "error ="), ("mask missing", "sign", "wrong derivative")),
    Mistake("large errors left out", "0.7 * np.sign(error)", "0",
            ("losses =", "large =", "size ="), ("missing term", "missing")),
    Mistake("error times the factor", "0.7 * np.sign(error)", "0.7 * error",
            ("size =", "large =", "error ="), ("wrong derivative", "stale value")),
    Mistake("a 2 too many", "<= 0.7, error,", "<= 0.7, 2 * error,", ("small =", "error ="),
            ("constant factor",)),
    Mistake("mean over the examples alone", "slope / error.size", "slope / len(x)",
            ("jnp.mean(losses)", "losses =", "error ="), ("1/N with another N", "constant factor")),
    Mistake("target less output", "dp = slope /", "dp = -slope /", ("p = x", "error ="),
            ("sign",)),
    Mistake("penalty forgotten", " + 0.1 * np.sign(W)", "", ("penalty =", "0.1 * penalty"),
            ("missing term",)),
    Mistake("penalty of squares", "0.1 * np.sign(W)", "0.1 * 2 * W", ("penalty =",),
            ("wrong derivative",)),
    Mistake("penalty's sign", "+ 0.1 * np.sign(W)", "- 0.1 * np.sign(W)",
            ("penalty =", "0.1 * penalty"), ("sign",)),
    Mistake("penalty's factor forgotten", "0.1 * np.sign(W)", "np.sign(W)",
            ("0.1 * penalty", "penalty ="), ("constant factor", "missing factor")),
    Mistake("penalty averaged", "0.1 * np.sign(W)", "0.1 * np.sign(W) / W.size", ("penalty =",),
            ("wrong axis", "extra 1/N", "1/N with another N")),
    Mistake("penalty on the bias too", "dp.sum(axis=0)", "dp.sum(axis=0) + 0.1 * np.sign(b)",
            ("p = x", "penalty ="), ("extra term",)),
    Mistake("penalty overwrites the fit", "x.T @ dp + 0.1", "0.1",
            ("p = x", "penalty ="), ("overwritten", "missing term")),
    Mistake("dW transposed", "x.T @ dp", "(dp.T @ x if len(x) == len(b) else x.T @ dp)", ("p = x",),
            ("transpose",)),
    Mistake("bias summed over the outputs", "dp.sum(axis=0)",
            "dp.sum(axis=1 if len(x) == len(b) else 0)", ("p = x",), ("wrong axis",)),
    Mistake("bias of the last example", "dp.sum(axis=0)", "dp[-1]", ("p = x",),
            ("batch rows",)),
    Mistake("bias left out of the forward pass", "x @ W + b - y", "x @ W - y", ("p = x",),
            ("missing term",)),
    Mistake("float16 in between", "slope / error.size",
            "(slope / error.size).astype(np.float16).astype(np.float64)",
            ("error =", "losses =", "p = x"), ("precision lost",)),
]  # fmt: skip
