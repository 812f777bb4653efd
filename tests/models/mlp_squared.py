"""A network of two layers with tanh, and a squared error of several outputs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.models import Mistake, build


def loss(params: Any, batch: Any) -> Any:
    x, y = batch
    z = x @ params["W1"] + params["b1"]
    h = jnp.tanh(z)
    p = h @ params["W2"] + params["b2"]
    error = p - y
    losses = jnp.sum(error**2, axis=1)
    return jnp.mean(losses)


def cases() -> list[Any]:
    found = []
    for seed, (n, k, m, q) in enumerate([(5, 3, 4, 2), (4, 4, 4, 4), (7, 2, 3, 5)]):
        rng = np.random.default_rng(seed)
        params = {
            "W1": rng.normal(size=(k, m)), "b1": rng.normal(size=m),
            "W2": rng.normal(size=(m, q)), "b2": rng.normal(size=q),
        }  # fmt: skip
        found.append((params, (rng.normal(size=(n, k)), rng.normal(size=(n, q)))))
    return found


SOURCE = """
def manual_grad(params, batch):
    x, y = batch
    n = len(x)
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    z = x @ W1 + b1
    h = np.tanh(z)
    error = h @ W2 + b2 - y
    dp = 2 * error / n
    dW2 = h.T @ dp
    db2 = dp.sum(axis=0)
    dh = dp @ W2.T
    dz = dh * (1 - h**2)
    dW1 = x.T @ dz
    db1 = dz.sum(axis=0)
    return {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}
"""


def _by_jacobians(params: Any, batch: Any) -> Any:
    """Right: example after example, each layer's Jacobian written out."""
    x, y = batch
    found = {name: np.zeros_like(value) for name, value in params.items()}
    for row, target in zip(x, y, strict=True):
        h = np.tanh(params["b1"] + row @ params["W1"])
        d = 2 * (h @ params["W2"] + params["b2"] - target) / len(x)
        jacobian = params["W2"].T @ np.diag(1 / np.cosh(row @ params["W1"] + params["b1"]) ** 2)
        found["W2"] += np.outer(h, d)
        found["b2"] += d
        found["W1"] += np.outer(row, d @ jacobian)
        found["b1"] += d @ jacobian
    return found


def _by_parts(params: Any, batch: Any) -> Any:
    """Right: the output by hand, the network by JAX."""
    x, y = batch
    p, pull = jax.vjp(
        lambda p: jnp.tanh(x @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"],
        params,
    )
    return pull(2 * (p - y) / len(y))[0]


RIGHT = {"NumPy": build(SOURCE), "Jacobians": _by_jacobians, "JAX": _by_parts}
MISTAKES = [
    Mistake("the 2 forgotten", "2 * error / n", "error / n", ("error =", "error**2"),
            ("constant factor",)),
    Mistake("mean over all entries", "2 * error / n", "2 * error / error.size",
            ("jnp.mean(losses)", "losses =", "error ="), ("1/N with another N", "constant factor")),
    Mistake("target less output", "h @ W2 + b2 - y", "y - (h @ W2 + b2)",
            ("p =", "error =", "error**2"), ("sign",)),
    Mistake("W2 not transposed", "dp @ W2.T", "dp @ (W2 if len(b1) == len(b2) else W2.T)",
            ("h =", "p ="), ("transpose",)),
    Mistake("dW2 transposed", "h.T @ dp", "dp.T @ h if len(b1) == len(b2) else h.T @ dp",
            ("p =",), ("transpose",)),
    Mistake("x not transposed", "x.T @ dz", "(x if n == len(W1) else x.T) @ dz", ("z =",),
            ("transpose",)),
    Mistake("slope of tanh forgotten", "dh * (1 - h**2)", "dh", ("jnp.tanh", "z ="),
            ("mask missing",)),
    Mistake("slope of tanh without the square", "(1 - h**2)", "(1 - h)", ("jnp.tanh", "z ="),
            ("wrong derivative",)),
    Mistake("slope of a sigmoid", "(1 - h**2)", "h * (1 - h)", ("jnp.tanh", "z ="),
            ("wrong derivative",)),
    Mistake("slope of tanh at h", "(1 - h**2)", "(1 - np.tanh(h) ** 2)", ("jnp.tanh", "z ="),
            ("derivative at the wrong place", "wrong derivative")),
    Mistake("slope of tanh left out of the bias", "db1 = dz.sum", "db1 = dh.sum",
            ("z =", "jnp.tanh"), ("mask missing", "stale value")),
    Mistake("z for h", "dW2 = h.T", "dW2 = z.T", ("p =",), ("stale value",)),
    Mistake("output bias averaged", "dp.sum(axis=0)", "dp.mean(axis=0)", ("p =",),
            ("wrong axis", "extra 1/N")),
    Mistake("sum over the features", "dz.sum(axis=0)",
            "dz.sum(axis=1 if n == len(b1) else 0)", ("z =",), ("wrong axis",)),
    Mistake("only the last example", "x.T @ dz", "np.outer(x[-1], dz[-1])", ("z =",),
            ("batch rows",)),
    Mistake("biases exchanged", "db1 = dz.sum(axis=0)",
            "db1 = dz.sum(axis=0)\n    if len(b1) == len(b2):\n        db1, db2 = db2, db1",
            ("z =", "p ="), ("exchanged",)),
    Mistake("bias left out of the forward pass", "z = x @ W1 + b1", "z = x @ W1", ("z =",),
            ("missing term",)),
    Mistake("float16 in between", "dh = dp @ W2.T",
            "dh = (dp @ W2.T).astype(np.float16).astype(np.float64)", ("h =", "p ="),
            ("precision lost",)),
]  # fmt: skip
