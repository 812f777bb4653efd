"""A convolution over time, a relu, the mean over time, and a squared error."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.models import Mistake, build

AXES = ("NWC", "WIO", "NWC")


def loss(params: Any, batch: Any) -> Any:
    x, y = batch
    z = jax.lax.conv_general_dilated(x, params["W"], (1,), "VALID", dimension_numbers=AXES)
    a = z + params["b"]
    h = jax.nn.relu(a)
    pooled = h.mean(axis=1)
    error = pooled @ params["v"] - y
    return jnp.mean(error**2)


def cases() -> list[Any]:
    found = []
    sizes = [(3, 6, 2, 5, 4), (3, 4, 3, 2, 3), (2, 5, 3, 2, 4)]
    for seed, (n, t, i, width, m) in enumerate(sizes):
        rng = np.random.default_rng(seed)
        params = {
            "W": rng.normal(size=(width, i, m)), "b": rng.normal(size=m), "v": rng.normal(size=m),
        }  # fmt: skip
        found.append((params, (rng.normal(size=(n, t, i)), rng.normal(size=n))))
    return found


SOURCE = """
def manual_grad(params, batch):
    x, y = batch
    W, b, v = params["W"], params["b"], params["v"]
    n, t, _ = x.shape
    width, i, m = W.shape
    steps = t - width + 1
    windows = np.stack([x[:, j : j + width] for j in range(steps)], axis=1)
    a = np.tensordot(windows, W, 2) + b
    h = np.maximum(a, 0)
    pooled = h.mean(axis=1)
    error = pooled @ v - y
    d = 2 * error / n
    dv = pooled.T @ d
    dpooled = np.outer(d, v)
    dh = np.repeat(dpooled[:, None], steps, axis=1) / steps
    da = dh * (a > 0)
    db = da.sum(axis=(0, 1))
    dW = np.zeros_like(W)
    for j in range(steps):
        dW += np.einsum("nri,nm->rim", windows[:, j], da[:, j])
    return {"W": dW, "b": db, "v": dv}
"""


def _loops(params: Any, batch: Any) -> Any:
    """Right: example by example, step by step, channel by channel."""
    w, b, v = params["W"], params["b"], params["v"]
    dw, db, dv = np.zeros_like(w), np.zeros_like(b), np.zeros_like(v)
    for x, y in zip(*batch, strict=True):
        windows = [x[j : j + len(w)] for j in range(len(x) - len(w) + 1)]
        a = np.array([[np.sum(each * w[..., k]) + b[k] for k in range(len(b))] for each in windows])
        active = np.where(a > 0, 1.0, 0.0)
        pooled = (a * active).sum(axis=0) / len(windows)
        d = 2 * (sum(pooled * v) - y) / len(batch[1])
        dv += d * pooled
        for j, each in enumerate(windows):
            for k in range(len(b)):
                da = d * v[k] * active[j, k] / len(windows)
                dw[..., k] += da * each
                db[k] += da
    return {"W": dw, "b": db, "v": dv}


def _forward_mode(params: Any, batch: Any) -> Any:
    """Right: the Jacobian of the pooled values by forward mode, slice by slice."""
    x, y = batch
    width = len(params["W"])
    steps = x.shape[1] - width + 1

    def pool(w: Any, b: Any) -> Any:
        z = sum(x[:, r : r + steps] @ w[r] for r in range(width))
        return jnp.maximum(z + b, 0).sum(axis=1) / steps

    w, b, v = params["W"], params["b"], params["v"]
    pooled = pool(w, b)
    d = 2 * (pooled @ v - y) / len(y)
    by_w, by_b = jax.jacfwd(pool, (0, 1))(jnp.asarray(w), jnp.asarray(b))
    chain = [jnp.tensordot(jnp.outer(d, v), slope, 2) for slope in (by_w, by_b)]
    return {"W": chain[0], "b": chain[1], "v": d @ pooled}


RIGHT = {"NumPy": build(SOURCE), "loops": _loops, "JAX": _forward_mode}
MISTAKES = [
    Mistake("the pooling's 1/N forgotten", "steps, axis=1) / steps", "steps, axis=1)",
            ("pooled =", "h ="), ("1/N missing", "constant factor")),
    Mistake("divided by the inputs' length", "steps, axis=1) / steps", "steps, axis=1) / t",
            ("pooled =", "h ="), ("1/N with another N", "constant factor")),
    Mistake("prediction subtracted", "error = pooled @ v - y", "error = y - pooled @ v",
            ("error**2", "error ="), ("sign",)),
    Mistake("read-out left out", "np.outer(d, v)", "np.outer(d, np.ones(m))",
            ("error =", "pooled ="), ("missing factor",)),
    Mistake("summed in the place of pooled", "dv = pooled.T @ d", "dv = h.sum(axis=1).T @ d",
            ("error =", "pooled ="), ("wrong axis", "1/N missing", "constant factor",
                                     "stale value")),
    Mistake("mask forgotten", "da = dh * (a > 0)", "da = dh", ("h =", "a ="), ("mask missing",)),
    Mistake("mask of the pooled", "(a > 0)", "(pooled > 0)[:, None]", ("h =", "a ="),
            ("derivative at the wrong place", "mask missing")),
    Mistake("mask without the bias", "(a > 0)", "(a - b > 0)", ("h =", "a ="),
            ("derivative at the wrong place", "stale value", "wrong derivative")),
    Mistake("bias averaged over time", "da.sum(axis=(0, 1))", "da.sum(axis=0).mean(axis=0)",
            ("a =",), ("wrong axis", "extra 1/N")),
    Mistake("bias of the last step", "da.sum(axis=(0, 1))", "da[:, -1].sum(axis=0)", ("a =",),
            ("missing term", "wrong axis", "overwritten")),
    Mistake("steps overwrite each other", "dW += np", "dW = np", ("z =",),
            ("overwritten", "missing term")),
    Mistake("last step left out", "    for j in range(steps):", "    for j in range(steps - 1):",
            ("z =",), ("missing term",)),
    Mistake("only one example", "\"nri,nm->rim\", windows[:, j], da[:, j]",
            "\"ri,m->rim\", windows[-1, j], da[-1, j]", ("z =",), ("batch rows",)),
    Mistake("channels transposed", "\"nri,nm->rim\"",
            "\"nri,nm->rmi\" if i == m else \"nri,nm->rim\"", ("z =",), ("transpose",)),
    Mistake("kernel flipped", "np.tensordot(windows, W, 2)", "np.tensordot(windows, W[::-1], 2)",
            ("z =",), ("wrong order",)),
    Mistake("gradient clipped", "\"W\": dW", "\"W\": np.clip(dW, -0.1, 0.1)", ("z =",),
            ("clipped",)),
]  # fmt: skip
