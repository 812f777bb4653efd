"""Poisson regression of several counts, with a softplus rate, an exposure and a penalty."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from tests.models import Mistake, build


def loss(params: Any, batch: Any) -> Any:
    x, y, exposure = batch
    z = x @ params["W"] + params["b"]
    h = jax.nn.softplus(z)
    rate = exposure[:, None] * h
    expected = y * jnp.log(rate) - rate
    likelihood = jnp.sum(expected - gammaln(y + 1), axis=1)
    penalty = 0.05 * jnp.sum(params["W"] ** 2)
    return penalty - jnp.mean(likelihood)


def cases() -> list[Any]:
    found = []
    for seed, (n, k, m) in enumerate([(6, 3, 2), (4, 4, 4), (5, 2, 3)]):
        rng = np.random.default_rng(seed)
        params = {"W": rng.normal(size=(k, m)), "b": rng.normal(size=m)}
        exposure = rng.uniform(0.5, 2.5, size=n)
        counts = rng.poisson(2.0 * exposure[:, None], size=(n, m)).astype(np.float64)
        found.append((params, (rng.normal(size=(n, k)), counts, exposure)))
    return found


SOURCE = """
def manual_grad(params, batch):
    x, y, exposure = batch
    n, k = x.shape
    z = x @ params["W"] + params["b"]
    h = np.logaddexp(z, 0)
    rate = exposure[:, None] * h
    drate = (1 - y / rate) / n
    dh = drate * exposure[:, None]
    dz = dh * special.expit(z)
    dW = x.T @ dz
    dW += 2 * 0.05 * params["W"]
    db = dz.sum(axis=0)
    return {"W": dW, "b": db}
"""


def _einsum(params: Any, batch: Any) -> Any:
    """Right: the logarithm's slope by itself, and sums by einsum."""
    x, y, exposure = batch
    z = np.einsum("nk,km->nm", x, params["W"]) + params["b"]
    slope = 1 / (1 + np.exp(-z))
    d = (np.einsum("n,nm->nm", exposure, slope) - y * slope / np.log1p(np.exp(z))) / len(x)
    return {"W": np.einsum("nk,nm->km", x, d) + params["W"] / 10, "b": np.einsum("nm->m", d)}


def _forward(params: Any, batch: Any) -> Any:
    """Right: forward mode, in the direction of one number after the other."""
    x, y, exposure = batch

    def value(w: Any, b: Any) -> Any:
        rate = jnp.logaddexp(x @ w + b, 0.0) * exposure[:, None]
        return 0.05 * jnp.sum(w * w) + jnp.sum(rate - y * jnp.log(rate)) / len(y)

    at = (params["W"], params["b"])
    grads = [np.zeros_like(each) for each in at]
    slope = jax.jit(lambda tangents: jax.jvp(value, at, tangents)[1])
    for i, each in enumerate(at):
        for place in np.ndindex(each.shape):
            tangents = [np.zeros_like(each) for each in at]
            tangents[i][place] = 1
            grads[i][place] = slope(tuple(tangents))
    return {"W": grads[0], "b": grads[1]}


RIGHT = {"NumPy": build(SOURCE), "einsum": _einsum, "forward mode": _forward}
MISTAKES = [
    Mistake("sign", "(1 - y / rate)", "(y / rate - 1)",
            ("expected =", "rate =", "jnp.mean(likelihood"), ("sign",)),
    Mistake("rate itself forgotten", "(1 - y / rate)", "(-y / rate)", ("expected =", "rate ="),
            ("missing term",)),
    Mistake("logarithm's slope forgotten", "(1 - y / rate)", "(1 - y)", ("expected =", "rate ="),
            ("mask missing", "missing factor", "wrong derivative")),
    Mistake("as if the rate were an exponential", "dz = dh * special.expit(z)",
            "dz = (rate - y) / n", ("h =", "z ="), ("wrong derivative", "stale value")),
    Mistake("slope of the softplus forgotten", "dh * special.expit(z)", "dh", ("h =", "z ="),
            ("mask missing",)),
    Mistake("sigmoid of -z", "special.expit(z)", "special.expit(-z)", ("h =", "z ="),
            ("wrong derivative", "mask inverted", "sign")),
    Mistake("slope of a ReLU", "special.expit(z)", "(z > 0)", ("h =", "z ="),
            ("wrong derivative",)),
    Mistake("sigmoid at h", "special.expit(z)", "special.expit(h)", ("h =", "z ="),
            ("stale value", "derivative at the wrong place")),
    Mistake("exposure forgotten", "drate * exposure[:, None]", "drate", ("rate =", "h ="),
            ("missing factor",)),
    Mistake("exposure along the counts", "drate * exposure[:, None]",
            "drate * (exposure if n == y.shape[1] else exposure[:, None])", ("rate =", "h ="),
            ("transpose", "wrong axis")),
    Mistake("exposure left out of the rate", "rate = exposure[:, None] * h", "rate = h",
            ("rate =", "expected ="), ("missing factor", "stale value")),
    Mistake("mean over the counts too", "(1 - y / rate) / n", "(1 - y / rate) / y.size",
            ("likelihood =", "jnp.mean(likelihood", "expected =", "rate ="),
            ("1/N with another N", "constant factor")),
    Mistake("bias left out", "z = x @ params[\"W\"] + params[\"b\"]", "z = x @ params[\"W\"]",
            ("z =",), ("missing term",)),
    Mistake("input not transposed", "dW = x.T @ dz", "dW = (x if n == k else x.T) @ dz",
            ("z =",), ("transpose",)),
    Mistake("penalty overwrites", "dW += 2", "dW = 2", ("z =",), ("overwritten", "missing term")),
    Mistake("2 of the penalty forgotten", "2 * 0.05", "0.05", ("penalty =",),
            ("constant factor",)),
    Mistake("biases over the examples", "db = dz.sum(axis=0)",
            "db = dz.sum(axis=1 if n == y.shape[1] else 0)", ("z =",), ("wrong axis",)),
    Mistake("derivative clipped", "dz = dh * special.expit(z)",
            "dz = np.clip(dh * special.expit(z), -0.1, 0.1)", ("z =", "h ="), ("clipped",)),
]  # fmt: skip
