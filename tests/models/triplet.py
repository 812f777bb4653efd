"""A linear embedding on the unit sphere, and the triplet loss."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.models import Mistake, build


def loss(params: Any, batch: Any) -> Any:
    x = jnp.stack(batch)
    z = x @ params["W"] + params["b"]
    length = jnp.linalg.norm(z, axis=2, keepdims=True)
    a, p, q = z / length
    near = jnp.linalg.norm(a - p, axis=1)
    far = jnp.linalg.norm(a - q, axis=1)
    excess = near - far + 0.4
    return jnp.mean(jnp.maximum(excess, 0))


def cases() -> list[Any]:
    found = []
    for seed, (n, k, m) in enumerate([(5, 3, 4), (4, 4, 4), (6, 4, 2)]):
        rng = np.random.default_rng(seed)
        params = {"W": rng.normal(size=(k, m)), "b": rng.normal(size=m) / 2}
        found.append((params, tuple(rng.normal(size=(3, n, k)))))
    return found


SOURCE = """
def manual_grad(params, batch):
    anchor, positive, negative = batch
    n, k = anchor.shape
    z = np.stack([each @ params["W"] + params["b"] for each in batch])
    length = np.sqrt((z**2).sum(axis=2, keepdims=True))
    u = z / length
    a, p, q = u
    near = np.sqrt(((a - p)**2).sum(axis=1))
    far = np.sqrt(((a - q)**2).sum(axis=1))
    active = near - far + 0.4 > 0
    weight = active / n
    dnear = (weight / near)[:, None] * (a - p)
    dfar = (weight / far)[:, None] * (a - q)
    du = np.stack([dnear - dfar, -dnear, dfar])
    dz = (du - u * (du * u).sum(axis=2, keepdims=True)) / length
    dW = anchor.T @ dz[0]
    dW += positive.T @ dz[1]
    dW += negative.T @ dz[2]
    db = dz.sum(axis=(0, 1))
    return {"W": dW, "b": db}
"""


def _jacobians(params: Any, batch: Any) -> Any:
    """Right: triplet after triplet, with the Jacobian of the normalisation written out."""
    dw, db = np.zeros_like(params["W"]), np.zeros_like(params["b"])
    for triplet in zip(*batch, strict=True):
        units, jacobians = [], []
        for x in triplet:
            z = x @ params["W"] + params["b"]
            length = np.linalg.norm(z)
            units.append(z / length)
            jacobians.append(np.eye(len(z)) / length - np.outer(z, z) / length**3)
        a, p, q = units
        near, far = np.linalg.norm(a - p), np.linalg.norm(a - q)
        if near - far + 0.4 > 0:
            toward, away = (a - p) / near, (a - q) / far
            slopes = (toward - away, -toward, away)
            for x, jacobian, slope in zip(triplet, jacobians, slopes, strict=True):
                dz = jacobian @ slope / len(batch[0])
                dw += np.outer(x, dz)
                db += dz
    return {"W": dw, "b": db}


def _by_parts(params: Any, batch: Any) -> Any:
    """Right: the embedding by JAX, the distances by hand."""

    def embedding(params: Any) -> Any:
        z = jnp.asarray(batch) @ params["W"] + params["b"]
        return z * jax.lax.rsqrt(jnp.sum(z * z, -1, keepdims=True))

    (a, p, q), pull = jax.vjp(embedding, params)
    near = jnp.sqrt(2 - 2 * jnp.sum(a * p, 1, keepdims=True))
    far = jnp.sqrt(2 - 2 * jnp.sum(a * q, 1, keepdims=True))
    weight = jnp.where(near + 0.4 > far, 1 / len(a), 0.0)
    toward, away = weight * (a - p) / near, weight * (a - q) / far
    return pull(jnp.stack([toward - away, -toward, away]))[0]


RIGHT = {"NumPy": build(SOURCE), "Jacobians": _jacobians, "JAX": _by_parts}
MISTAKES = [
    Mistake("satisfied triplets counted", "weight = active / n", "weight = np.full(n, 1 / n)",
            ("jnp.maximum", "excess ="), ("mask missing",)),
    Mistake("satisfied triplets only", "+ 0.4 > 0", "+ 0.4 < 0", ("jnp.maximum", "excess ="),
            ("mask inverted",)),
    Mistake("margin forgotten", "near - far + 0.4 > 0", "near - far > 0",
            ("jnp.maximum", "excess ="),
            ("missing term", "derivative at the wrong place", "batch rows")),
    Mistake("mean over the active triplets", "active / n", "active / max(active.sum(), 1)",
            ("jnp.maximum", "excess ="), ("1/N with another N", "constant factor")),
    Mistake("negatives attracted", "-dnear, dfar]", "-dnear, -dfar]", ("far =", "a, p, q ="),
            ("sign",)),
    Mistake("anchor without its negative", "[dnear - dfar,", "[dnear,", ("far =", "a, p, q ="),
            ("missing term",)),
    Mistake("anchor taken as constant", "[dnear - dfar,", "[np.zeros_like(a),",
            ("near =", "far =", "a, p, q ="), ("missing", "missing term")),
    Mistake("squared distance", "dnear = (weight / near)", "dnear = (2 * weight)",
            ("near =", "a, p, q ="), ("wrong derivative", "missing factor")),
    Mistake("far distance divided by the near one", "dfar = (weight / far)",
            "dfar = (weight / near)", ("far =", "a, p, q ="), ("stale value",)),
    Mistake("length taken as constant", " - u * (du * u).sum(axis=2, keepdims=True)", "",
            ("length =", "a, p, q =", "z ="), ("missing term",)),
    Mistake("unnormalised vector projected out", "u * (du * u)", "u * (du * z)",
            ("length =", "a, p, q =", "z ="), ("stale value",)),
    Mistake("projection over the examples", "(du * u).sum(axis=2", "(du * u).sum(axis=1",
            ("length =", "a, p, q =", "z ="), ("wrong axis",)),
    Mistake("not divided by the length", "keepdims=True)) / length", "keepdims=True))",
            ("a, p, q =", "z ="), ("missing factor",)),
    Mistake("positives overwrite the anchors", "dW += positive.T", "dW = positive.T", ("z =",),
            ("overwritten", "missing term")),
    Mistake("negatives not transposed", "negative.T @ dz[2]",
            "(negative if n == k else negative.T) @ dz[2]", ("z =",), ("transpose",)),
    Mistake("bias of the anchors only", "db = dz.sum(axis=(0, 1))", "db = dz[0].sum(axis=0)",
            ("z =",), ("missing term", "batch rows")),
]  # fmt: skip
