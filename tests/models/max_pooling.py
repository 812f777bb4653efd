"""A linear map, its maximum over time, a linear read-out, and a squared error."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.models import Mistake, build


def loss(params: Any, batch: Any) -> Any:
    x, y = batch
    z = x @ params["W"] + params["b"]
    top = jnp.max(z, axis=1)
    p = top @ params["v"] + params["c"]
    error = p - y
    return jnp.mean(error**2)


def cases() -> list[Any]:
    """Rows of x that repeat tie; in binary fractions of ten digits, sums are exact."""
    found = []
    sizes = [(2, 5, 3, 4, 0), (3, 3, 3, 3, 1), (4, 5, 2, 3, 2)]
    for seed, (n, t, k, m, repeated) in enumerate(sizes):
        rng = np.random.default_rng(seed)
        x = np.round(1024 * rng.normal(size=(n, t, k))) / 1024
        x[:, t - repeated :] = x[:, :1]
        params = {
            "W": np.round(1024 * rng.normal(size=(k, m))) / 1024,
            "b": np.round(1024 * rng.normal(size=m)) / 1024,
            "v": rng.normal(size=m), "c": np.array(rng.normal()),
        }  # fmt: skip
        found.append((params, (x, rng.normal(size=n))))
    return found


SOURCE = """
def manual_grad(params, batch):
    x, y = batch
    n, t, k = x.shape
    W, b, v, c = (params[name] for name in "Wbvc")
    z = x @ W + b
    top = z.max(axis=1)
    error = top @ v + c - y
    dp = 2 * error / n
    dv = top.T @ dp
    dc = dp.sum()
    dtop = np.outer(dp, v)
    mask = z == top[:, None]
    share = mask / mask.sum(axis=1, keepdims=True)
    dz = share * dtop[:, None]
    dW = np.einsum("ntk,ntm->km", x, dz)
    db = dz.sum(axis=(0, 1))
    return {"W": dW, "b": db, "v": dv, "c": dc}
"""


def _by_loops(params: Any, batch: Any) -> Any:
    """Right: example after example, output after output, the ties shared."""
    x, y = batch
    found = {name: np.zeros_like(value) for name, value in params.items()}
    for rows, target in zip(x, y, strict=True):
        z = rows @ params["W"] + params["b"]
        error = z.max(axis=0) @ params["v"] + params["c"] - target
        for j in range(z.shape[1]):
            d = 2 * error * params["v"][j] / len(x)
            ties = np.flatnonzero(z[:, j] == z[:, j].max())
            for i in ties:
                found["W"][:, j] += rows[i] * d / len(ties)
                found["b"][j] += d / len(ties)
        found["v"] += 2 * error * z.max(axis=0) / len(x)
        found["c"] += 2 * error / len(x)
    return found


def _by_parts(params: Any, batch: Any) -> Any:
    """Right: the read-out by hand, the pooling by JAX."""
    x, y = batch
    top, pull = jax.vjp(lambda w, b: (x @ w + b).max(axis=1), params["W"], params["b"])
    d = 2 * (top @ params["v"] + params["c"] - y) / len(y)
    dw, db = pull(jnp.outer(d, params["v"]))
    return {"W": dw, "b": db, "v": d @ top, "c": d.sum()}


RIGHT = {"NumPy": build(SOURCE), "loops": _by_loops, "JAX": _by_parts}
MISTAKES = [
    Mistake("ties counted in full", "mask / mask.sum(axis=1, keepdims=True)", "mask",
            ("jnp.max", "z ="), ("wrong derivative", "extra term", "missing factor")),
    Mistake("to every time", "dz = share *", "dz = np.ones_like(z) *", ("jnp.max", "z ="),
            ("mask missing",)),
    Mistake("slope of a mean", "dz = share *", "dz = np.ones_like(z) / t *", ("jnp.max", "z ="),
            ("wrong derivative", "mask missing")),
    Mistake("to all but the largest", "z == top[:, None]", "z != top[:, None]",
            ("jnp.max", "z ="), ("mask inverted",)),
    Mistake("to the largest in size", "z == top[:, None]",
            "np.abs(z) == np.abs(z).max(axis=1, keepdims=True)", ("jnp.max", "z ="),
            ("derivative at the wrong place", "wrong derivative")),
    Mistake("ties counted over the outputs", "mask.sum(axis=1, keepdims=True)",
            "mask.sum(axis=(1, 2), keepdims=True)", ("jnp.max", "z ="),
            ("wrong axis", "1/N with another N", "constant factor")),
    Mistake("the 2 forgotten", "2 * error / n", "error / n", ("error =", "jnp.mean"),
            ("constant factor",)),
    Mistake("1/N missing", "2 * error / n", "2 * error", ("error =", "jnp.mean"),
            ("1/N missing",)),
    Mistake("1/N over all times", "2 * error / n", "2 * error / (n * t)",
            ("error =", "jnp.mean"), ("1/N with another N", "constant factor")),
    Mistake("read-out left out", "np.outer(dp, v)", "np.outer(dp, np.ones_like(v))",
            ("top =", "p = top"), ("missing factor",)),
    Mistake("the last time for the largest", "dv = top.T", "dv = z[:, -1].T", ("p = top",),
            ("stale value",)),
    Mistake("times summed before the product", 'np.einsum("ntk,ntm->km", x, dz)',
            "x.sum(axis=1).T @ dz.sum(axis=1)", ("z =",), ("wrong axis", "extra term")),
    Mistake("dW transposed", '"ntk,ntm->km", x', '"ntk,ntm->mk" if W.shape == (n, n) '
            'else "ntk,ntm->km", x', ("z =",), ("transpose",)),
    Mistake("only the last example", "x, dz)", "x[-1:], dz[-1:])", ("z =",), ("batch rows",)),
    Mistake("bias averaged over time", "dz.sum(axis=(0, 1))", "dz.mean(axis=1).sum(axis=0)",
            ("z =",), ("wrong axis", "1/N with another N")),
    Mistake("bias summed over the outputs", "dz.sum(axis=(0, 1))",
            "dz.sum(axis=(0, 2) if t == len(b) else (0, 1))", ("z =",), ("wrong axis",)),
    Mistake("sign of the read-out's bias", "dc = dp.sum()", "dc = -dp.sum()", ("p = top",),
            ("sign",)),
    Mistake("read-out's bias left out of the forward pass", "top @ v + c", "top @ v",
            ("p = top",), ("missing term",)),
    Mistake("four digits in between", "dtop = np.outer(dp, v)",
            "dtop = np.round(np.outer(dp, v), 4)",
            ("top =", "p = top"), ("precision lost",)),
]  # fmt: skip
