"""The negative log marginal likelihood of a Gaussian process with an RBF kernel."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from tests.models import Mistake, build


def loss(params: Any, batch: Any) -> Any:
    x, y = batch
    residual = y - params["mean"]
    difference = (x[:, None] - x) / jnp.exp(params["scale"])
    distance = jnp.sum(difference**2, axis=2)
    signal = jnp.exp(2 * params["signal"])
    k = signal * jnp.exp(-distance / 2)
    noise = jnp.exp(2 * params["noise"])
    covariance = k + noise * jnp.eye(len(y))
    factor = jnp.linalg.cholesky(covariance)
    u = solve_triangular(factor, residual, lower=True)
    fit = jnp.sum(u**2) / 2
    determinant = jnp.sum(jnp.log(jnp.diagonal(factor)))
    return fit + determinant + len(y) * np.log(2 * np.pi) / 2


def cases() -> list[Any]:
    found = []
    for seed, (n, k) in enumerate([(6, 2), (4, 4), (5, 1)]):
        rng = np.random.default_rng(seed)
        params = {
            "scale": rng.normal(size=k) / 3 + 0.7, "signal": np.array(0.3 * rng.normal() + 0.2),
            "noise": np.array(0.2 * rng.normal() - 2.5), "mean": np.array(rng.normal()),
        }  # fmt: skip
        found.append((params, (rng.normal(size=(n, k)), rng.normal(size=n))))
    return found


SOURCE = """
def manual_grad(params, batch):
    x, y = batch
    n, d = x.shape
    scale = np.exp(params["scale"])
    noise = np.exp(2 * params["noise"])
    residual = y - params["mean"]
    difference = (x[:, None, :] - x[None, :, :]) / scale
    k = np.exp(2 * params["signal"] - (difference**2).sum(axis=2) / 2)
    L = np.linalg.cholesky(k + noise * np.eye(n))
    half = linalg.solve_triangular(L, residual, lower=True)
    alpha = linalg.solve_triangular(L, half, lower=True, trans=1)
    inverse = linalg.cho_solve((L, True), np.eye(n))
    dK = (inverse - np.outer(alpha, alpha)) / 2
    dk = dK * k
    dsignal = 2 * dk.sum()
    dnoise = 2 * noise * np.trace(dK)
    dscale = (dk[:, :, None] * difference**2).sum(axis=(0, 1))
    dmean = -alpha.sum()
    return {"scale": dscale, "signal": dsignal, "noise": dnoise, "mean": dmean}
"""


def _by_matrices(params: Any, batch: Any) -> Any:
    """Right: the covariance's derivative by every parameter, as in the textbook."""
    x, y = batch
    scale = np.exp(params["scale"])
    squares = [np.subtract.outer(c, c) ** 2 for c in (x / scale).T]
    k = np.exp(2 * params["signal"]) * np.exp(-sum(squares) / 2)
    noise = np.exp(2 * params["noise"]) * np.eye(len(y))
    inverse = np.linalg.inv(k + noise)
    alpha = inverse @ (y - params["mean"])

    def slope(dk: Any) -> Any:
        return (np.trace(inverse @ dk) - alpha @ dk @ alpha) / 2

    return {
        "scale": np.array([slope(k * square) for square in squares]),
        "signal": slope(2 * k), "noise": slope(2 * noise), "mean": -alpha.sum(),
    }  # fmt: skip


def _by_parts(params: Any, batch: Any) -> Any:
    """Right: the kernel by JAX, the rest by hand."""
    x, y = batch

    def kernel(p: Any) -> Any:
        z = x / jnp.exp(p["scale"])
        k = jnp.exp(2 * p["signal"] - jnp.sum((z[:, None] - z) ** 2, 2) / 2)
        return k + jnp.diag(jnp.full(len(y), jnp.exp(2 * p["noise"])))

    k, pull = jax.vjp(kernel, {name: params[name] for name in ("scale", "signal", "noise")})
    alpha = jnp.linalg.solve(k, y - params["mean"])
    return {**pull((jnp.linalg.inv(k) - jnp.outer(alpha, alpha)) / 2)[0], "mean": -alpha.sum()}


RIGHT = {"NumPy": build(SOURCE), "matrices": _by_matrices, "JAX": _by_parts}
MISTAKES = [
    Mistake("sign of the fit", "inverse - np.outer", "inverse + np.outer",
            ("u =", "factor =", "covariance ="), ("sign",)),
    Mistake("determinant forgotten", "(inverse - np.outer(alpha, alpha))",
            "-np.outer(alpha, alpha)", ("determinant =", "factor =", "covariance ="),
            ("missing term",)),
    Mistake("half of the determinant forgotten", "(inverse - np.outer(alpha, alpha)) / 2",
            "inverse - np.outer(alpha, alpha) / 2", ("determinant =", "factor =", "covariance ="),
            ("constant factor",)),
    Mistake("fit taken as constant", "inverse - np.outer(alpha, alpha)", "inverse",
            ("u =", "factor =", "covariance ="), ("missing term",)),
    Mistake("second factor not transposed", "half, lower=True, trans=1", "half, lower=True",
            ("u =", "residual =", "factor ="), ("transpose",)),
    Mistake("solved by one factor only", "linalg.solve_triangular(L, half, lower=True, trans=1)",
            "half", ("u =", "residual =", "factor ="), ("missing factor", "stale value")),
    Mistake("residual in the place of alpha", "np.outer(alpha, alpha)", "np.outer(residual, alpha)",
            ("u =", "factor =", "covariance ="), ("stale value",)),
    Mistake("by the noise, not its logarithm", "2 * noise * np.trace", "2 * np.trace",
            ("noise =",), ("mask missing", "missing factor", "wrong derivative")),
    Mistake("2 of the noise forgotten", "2 * noise * np.trace", "noise * np.trace", ("noise =",),
            ("constant factor",)),
    Mistake("noise off the diagonal", "np.trace(dK)", "dK.sum()", ("covariance =", "noise ="),
            ("wrong axis", "extra term", "missing factor")),
    Mistake("by the length, not its logarithm", ".sum(axis=(0, 1))", ".sum(axis=(0, 1)) / scale",
            ("difference =",), ("mask missing", "missing factor", "wrong derivative")),
    Mistake("every pair once", "(dk[:, :, None]", "(np.triu(dk)[:, :, None]",
            ("distance =", "difference ="), ("constant factor", "batch rows")),
    Mistake("sum over the inputs", ".sum(axis=(0, 1))", ".sum(axis=(0, 2) if n == d else (0, 1))",
            ("difference =", "distance ="), ("wrong axis",)),
    Mistake("sign of the lengths", "dscale = (dk", "dscale = -(dk",
            ("difference =", "distance =", "k ="), ("sign",)),
    Mistake("kernel left out", "dsignal = 2 * dk.sum()", "dsignal = 2 * dK.sum()",
            ("signal =", "k ="), ("missing factor", "mask missing")),
    Mistake("noise in the kernel's slope", "dk = dK * k", "dk = dK * (L @ L.T)",
            ("k =", "signal ="), ("stale value", "extra term")),
    Mistake("jitter in the gradient's covariance", "noise * np.eye(n)",
            "(noise + 1e-4) * np.eye(n)", ("covariance =", "factor ="), ("extra term",)),
    Mistake("kernel in single precision", ".sum(axis=2) / 2)",
            ".sum(axis=2) / 2).astype(np.float32).astype(np.float64)",
            ("k =", "covariance =", "factor =", "u ="), ("precision lost",)),
]  # fmt: skip
