"""A layer with batch normalisation, and a squared error."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.models import Mistake, build


def loss(params: Any, batch: Any) -> Any:
    x, y = batch
    z = x @ params["W"] + params["b"]
    centred = z - z.mean(axis=0)
    variance = jnp.mean(centred**2, axis=0)
    u = centred / jnp.sqrt(variance + 1e-5)
    a = params["g"] * u + params["c"]
    h = jnp.maximum(a, 0)
    error = h @ params["v"] - y
    return jnp.mean(error**2)


def cases() -> list[Any]:
    found = []
    for seed, (n, k, m) in enumerate([(5, 3, 4), (4, 4, 4), (7, 2, 3)]):
        rng = np.random.default_rng(seed)
        params = {
            "W": rng.normal(size=(k, m)), "b": rng.normal(size=m), "g": rng.normal(size=m) + 1.5,
            "c": rng.normal(size=m), "v": rng.normal(size=m),
        }  # fmt: skip
        found.append((params, (rng.normal(size=(n, k)), rng.normal(size=n))))
    return found


SOURCE = """
def manual_grad(params, batch):
    x, y = batch
    n = len(x)
    z = x @ params["W"] + params["b"]
    centred = z - z.mean(axis=0)
    s = 1 / np.sqrt(np.mean(centred**2, axis=0) + 1e-5)
    u = centred * s
    a = params["g"] * u + params["c"]
    h = np.maximum(a, 0)
    error = h @ params["v"] - y
    d = 2 * error / n
    dv = h.T @ d
    dh = np.outer(d, params["v"])
    da = dh * (a > 0)
    dg = (da * u).sum(axis=0)
    dc = da.sum(axis=0)
    du = da * params["g"]
    dz = s * (du - du.mean(axis=0) - u * (du * u).mean(axis=0))
    dW = x.T @ dz
    db = dz.sum(axis=0)
    return {"W": dW, "b": db, "g": dg, "c": dc, "v": dv}
"""


def _by_parts(params: Any, batch: Any) -> Any:
    """Right: the last layer by itself, the rest by JAX."""
    x, y = batch

    def features(params: Any) -> Any:
        z = x @ params["W"] + params["b"]
        u = (z - jnp.mean(z, 0)) * jax.lax.rsqrt(jnp.var(z, 0) + 1e-5)
        return jax.nn.relu(params["g"] * u + params["c"])

    h, pull = jax.vjp(features, params)
    d = 2 * (h @ params["v"] - y) / len(y)
    return {**pull(jnp.outer(d, params["v"]))[0], "v": h.T @ d}


RIGHT = {"NumPy": build(SOURCE), "JAX": _by_parts}
MISTAKES = [
    Mistake("the 2 forgotten", "2 * error / n", "error / n", ("error**2", "error ="),
            ("constant factor",)),
    Mistake("1/N missing", "2 * error / n", "2 * error", ("jnp.mean(error", "error ="),
            ("1/N missing",)),
    Mistake("mask forgotten", "dh * (a > 0)", "dh", ("jnp.maximum", "a ="), ("mask missing",)),
    Mistake("mask inverted", "(a > 0)", "(a < 0)", ("jnp.maximum", "a ="), ("mask inverted",)),
    Mistake("variance taken as constant", " - u * (du * u).mean(axis=0)", "",
            ("variance =", "u ="), ("missing term",)),
    Mistake("mean taken as constant", " - du.mean(axis=0)", "", ("centred =",), ("missing term",)),
    Mistake("mean and variance taken as constants",
            "(du - du.mean(axis=0) - u * (du * u).mean(axis=0))", "du",
            ("centred =", "variance =", "u ="), ("missing term",)),
    Mistake("scale forgotten", "du = da * params[\"g\"]", "du = da", ("a =", "u ="),
            ("mask missing", "stale value", "missing factor")),
    Mistake("bias averaged", "db = dz.sum(axis=0)", "db = da.mean(axis=0)", ("z =",),
            ("wrong axis", "stale value")),
    Mistake("sum over the features", "dc = da.sum(axis=0)",
            "dc = da.sum(axis=1) if n == len(s) else da.sum(axis=0)", ("a =",), ("wrong axis",)),
    Mistake("z for u", "(da * u)", "(da * z)", ("a =",), ("stale value",)),
]  # fmt: skip
