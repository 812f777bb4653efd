"""A recurrent network with tanh, the last state read out, and a squared error."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.models import Mistake, build


def loss(params: Any, batch: Any) -> Any:
    x, y = batch

    def step(h: Any, now: Any) -> Any:
        a = now @ params["W"] + params["b"]
        z = a + h @ params["U"]
        return jnp.tanh(z), None

    start = jnp.zeros((len(x), len(params["b"])))
    last, _ = jax.lax.scan(step, start, jnp.swapaxes(x, 0, 1))
    p = last @ params["V"] + params["c"]
    error = p - y
    return jnp.mean(error**2)


def cases() -> list[Any]:
    found = []
    sizes = [(2, 4, 3, 5, 6), (3, 3, 3, 3, 3), (4, 5, 2, 3, 1)]
    for seed, (n, t, k, m, q) in enumerate(sizes):
        rng = np.random.default_rng(seed)
        params = {
            "W": rng.normal(size=(k, m)), "U": rng.normal(size=(m, m)) / 2,
            "b": rng.normal(size=m), "V": rng.normal(size=(m, q)), "c": rng.normal(size=q),
        }  # fmt: skip
        found.append((params, (rng.normal(size=(n, t, k)), rng.normal(size=(n, q)))))
    return found


SOURCE = """
def manual_grad(params, batch):
    x, y = batch
    W, U, b, V, c = (params[name] for name in "WUbVc")
    steps = x.shape[1]
    states = [np.zeros((len(x), len(b)))]
    for t in range(steps):
        states.append(np.tanh(x[:, t] @ W + b + states[t] @ U))
    error = states[-1] @ V + c - y
    dp = 2 * error / error.size
    dV = states[-1].T @ dp
    dc = dp.sum(axis=0)
    dW, dU, db = np.zeros_like(W), np.zeros_like(U), np.zeros_like(b)
    dh = dp @ V.T
    for t in reversed(range(steps)):
        dz = dh * (1 - states[t + 1] ** 2)
        dW += x[:, t].T @ dz
        dU += states[t].T @ dz
        db += dz.sum(axis=0)
        dh = dz @ U.T
    return {"W": dW, "U": dU, "b": db, "V": dV, "c": dc}
"""


def _by_steps(params: Any, batch: Any) -> Any:
    """Right: the steps unrolled, each of them by JAX, the rest by hand."""
    x, y = batch
    last, pulls = np.zeros((len(x), len(params["b"]))), []
    for t in range(x.shape[1]):
        last, pull = jax.vjp(
            lambda w, u, b, h, t=t: jnp.tanh(x[:, t] @ w + h @ u + b),
            params["W"], params["U"], params["b"], last,
        )  # fmt: skip
        pulls.append(pull)
    d = 2 * (last @ params["V"] + params["c"] - y) / y.size
    dh, parts = d @ params["V"].T, []
    for pull in reversed(pulls):
        *part, dh = pull(dh)
        parts.append(part)
    found = dict(zip("WUb", map(sum, zip(*parts, strict=True)), strict=True))
    return {**found, "V": last.T @ d, "c": d.sum(axis=0)}


def _forward(params: Any, batch: Any) -> Any:
    """Right: entry after entry, forwards."""
    found = {}
    for name, value in params.items():
        found[name] = np.zeros_like(value)
        for index in np.ndindex(value.shape):
            move = {key: np.zeros_like(each) for key, each in params.items()}
            move[name][index] = 1
            found[name][index] = jax.jvp(lambda p: loss(p, batch), (params,), (move,))[1]
    return found


RIGHT = {"NumPy": build(SOURCE), "JAX": _by_steps, "forward mode": _forward}
MISTAKES = [
    Mistake("only the first step's dW", "dW += x", "dW = x", ("a =",), ("overwritten",)),
    Mistake("state after the step", "states[t].T @ dz", "states[t + 1].T @ dz", ("z =",),
            ("stale value",)),
    Mistake("slope at the state before", "states[t + 1] ** 2", "states[t] ** 2",
            ("jnp.tanh", "z ="), ("derivative at the wrong place", "stale value")),
    Mistake("slope forgotten", "dh * (1 - states[t + 1] ** 2)", "dh", ("jnp.tanh", "z ="),
            ("mask missing",)),
    Mistake("slope left out of the way back", "dh = dz @ U.T", "dh = dh @ U.T",
            ("jnp.tanh", "z ="), ("mask missing", "stale value")),
    Mistake("U not transposed", "dz @ U.T", "dz @ U", ("z =", "jax.lax.scan"), ("transpose",)),
    Mistake("only the last step", "dh = dz @ U.T", "dh = np.zeros_like(dh)",
            ("z =", "jax.lax.scan"), ("missing term",)),
    Mistake("truncated after two steps", "reversed(range(steps))",
            "reversed(range(steps - 2, steps))", ("a =", "z =", "jax.lax.scan"),
            ("missing term",)),
    Mistake("steps not reversed", "reversed(range(steps))", "range(steps)",
            ("a =", "z =", "jnp.tanh", "jax.lax.scan"),
            ("stale value", "derivative at the wrong place")),
    Mistake("dh added to the step's own", "dh = dz @ U.T", "dh = dh + dz @ U.T",
            ("z =", "jax.lax.scan"), ("extra term",)),
    Mistake("the last input at every step", "x[:, t].T", "x[:, -1].T", ("a =",),
            ("stale value",)),
    Mistake("mean over the examples alone", "2 * error / error.size", "2 * error / len(x)",
            ("jnp.mean", "error ="), ("1/N with another N", "constant factor")),
    Mistake("V not transposed", "dp @ V.T", "dp @ (V if len(V) == len(c) else V.T)",
            ("p =", "jax.lax.scan"), ("transpose",)),
    Mistake("bias averaged", "dz.sum(axis=0)", "dz.mean(axis=0)", ("a =",),
            ("wrong axis", "extra 1/N")),
    Mistake("dU clipped", '"U": dU', '"U": np.clip(dU, -0.05, 0.05)', ("z =",), ("clipped",)),
    Mistake("bias left out of the forward pass", "@ W + b +", "@ W +", ("a =",), ("missing term",)),
    Mistake("rounded between the steps", "dh = dz @ U.T",
            "dh = np.round(dz @ U.T, 3)", ("z =", "jax.lax.scan"),
            ("precision lost",)),
]  # fmt: skip
