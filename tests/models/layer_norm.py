"""A linear layer with layer normalisation, a linear read-out, and a squared error."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.models import Mistake, build


def loss(params: Any, batch: Any) -> Any:
    x, y = batch
    z = x @ params["W"]
    centred = z - z.mean(axis=1, keepdims=True)
    variance = jnp.mean(centred**2, axis=1, keepdims=True)
    u = centred / jnp.sqrt(variance + 1e-5)
    h = params["g"] * u + params["c"]
    error = h @ params["V"] - y
    each = 0.5 * jnp.sum(error**2, axis=1)
    return jnp.mean(each)


def cases() -> list[Any]:
    found = []
    for seed, (n, k, m, o) in enumerate([(5, 3, 4, 2), (4, 4, 4, 4), (3, 2, 6, 3)]):
        rng = np.random.default_rng(seed)
        params = {
            "W": rng.normal(size=(k, m)), "g": rng.normal(size=m) + 1.5,
            "c": rng.normal(size=m), "V": rng.normal(size=(m, o)),
        }  # fmt: skip
        found.append((params, (rng.normal(size=(n, k)), rng.normal(size=(n, o)))))
    return found


SOURCE = """
def manual_grad(params, batch):
    x, y = batch
    g, c, V = params["g"], params["c"], params["V"]
    n, m, o = len(x), *V.shape
    z = x @ params["W"]
    centred = z - z.mean(axis=1, keepdims=True)
    s = np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + 1e-5)
    u = centred / s
    h = g * u + c
    d = (h @ V - y) / n
    dV = h.T @ d
    dh = d @ V.T
    dg = (dh * u).sum(axis=0)
    dc = dh.sum(axis=0)
    du = dh * g
    along = (du * u).sum(axis=1, keepdims=True)
    dz = (m * du - du.sum(axis=1, keepdims=True) - u * along) / (m * s)
    dW = x.T @ dz
    return {"W": dW, "g": dg, "c": dc, "V": dV}
"""


def _jacobians(params: Any, batch: Any) -> Any:
    """Right: example by example, with the Jacobian of the normalisation."""
    found = {name: np.zeros_like(leaf) for name, leaf in params.items()}
    m = len(params["g"])
    for x, y in zip(*batch, strict=True):
        z = x @ params["W"]
        s = np.sqrt(z.var() + 1e-5)
        u = (z - z.mean()) / s
        h = params["g"] * u + params["c"]
        d = h @ params["V"] - y
        slope = (np.eye(m) - 1 / m - np.outer(u, u) / m) / s
        dh = params["V"] @ d
        found["V"] += np.outer(h, d)
        found["g"] += dh * u
        found["c"] += dh
        found["W"] += np.outer(x, slope @ (dh * params["g"]))
    return {name: leaf / len(batch[0]) for name, leaf in found.items()}


def _by_parts(params: Any, batch: Any) -> Any:
    """Right: the normalisation by JAX, the rest by hand."""
    x, y = batch
    u, pull = jax.vjp(lambda z: jax.nn.standardize(z, axis=1, epsilon=1e-5), x @ params["W"])
    h = params["g"] * u + params["c"]
    d = (h @ params["V"] - y) / len(x)
    dh = jnp.einsum("no,mo->nm", d, params["V"])
    (dz,) = pull(dh * params["g"])
    return {"W": x.T @ dz, "g": jnp.einsum("nm,nm->m", dh, u), "c": dh.sum(0), "V": h.T @ d}


RIGHT = {"NumPy": build(SOURCE), "Jacobians": _jacobians, "JAX": _by_parts}
MISTAKES = [
    Mistake("a 2 too many", "(h @ V - y) / n", "2 * (h @ V - y) / n", ("each =", "error ="),
            ("constant factor",)),
    Mistake("divided by all entries", "(h @ V - y) / n", "(h @ V - y) / y.size",
            ("return", "each =", "error ="), ("1/N with another N", "extra 1/N")),
    Mistake("mean over the batch", "du.sum(axis=1, keepdims=True)", "du.sum(axis=0)",
            ("centred =", "z ="), ("wrong axis",)),
    Mistake("mean taken as constant", " - du.sum(axis=1, keepdims=True)", "", ("centred =", "z ="),
            ("missing term",)),
    Mistake("variance taken as constant", " - u * along", "", ("variance =", "u ="),
            ("missing term",)),
    Mistake("variance's sign", " - u * along", " + u * along", ("variance =", "u ="), ("sign",)),
    Mistake("a row's sum for its mean", "- u * along", "- m * u * along", ("variance =", "u ="),
            ("constant factor", "1/N missing", "wrong axis")),
    Mistake("centred for u", "- u * along", "- centred * along", ("variance =", "u ="),
            ("stale value",)),
    Mistake("variance for its root", "/ (m * s)", "/ (m * s**2)", ("u =", "centred =", "z ="),
            ("wrong derivative", "stale value")),
    Mistake("n - 1 in the variance", "np.mean(centred**2, axis=1, keepdims=True)",
            "centred.var(axis=1, ddof=1, keepdims=True)", ("variance =",),
            ("1/N with another N", "constant factor")),
    Mistake("gain left out", "du = dh * g", "du = dh", ("h =", "u ="), ("missing factor",)),
    Mistake("gain's features summed", "(dh * u).sum(axis=0)",
            "(dh * u).sum(axis=1 if n == m else 0)", ("h =",), ("wrong axis",)),
    Mistake("gain as if not normalised", "(dh * u)", "(dh * centred)", ("h =",), ("stale value",)),
    Mistake("u for h", "dV = h.T @ d", "dV = u.T @ d", ("error =",), ("stale value",)),
    Mistake("read-out not transposed", "d @ V.T", "d @ (V if m == o else V.T)", ("error =", "h ="),
            ("transpose",)),
    Mistake("half precision", "z = x @ params[\"W\"]",
            "z = (x @ params[\"W\"]).astype(np.float16).astype(np.float64)", ("z =", "centred ="),
            ("precision lost",)),
]  # fmt: skip
