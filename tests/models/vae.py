"""A variational autoencoder with a linear encoder and decoder, its noise drawn by a key."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.models import Mistake, build


def loss(params: Any, batch: Any) -> Any:
    x, key = batch
    mean = x @ params["M"] + params["m"]
    logvar = x @ params["S"] + params["s"]
    noise = jax.random.normal(key, mean.shape)
    deviation = jnp.exp(logvar / 2)
    z = mean + deviation * noise
    error = z @ params["D"] + params["d"] - x
    likelihood = jnp.sum(error**2, axis=1) / 2
    variance = jnp.exp(logvar)
    divergence = variance + mean**2 - logvar
    kl = jnp.sum(divergence - 1, axis=1) / 2
    return jnp.mean(likelihood + kl)


def cases() -> list[Any]:
    found = []
    for seed, (n, k, m) in enumerate([(5, 4, 2), (3, 3, 3), (6, 3, 2)]):
        rng = np.random.default_rng(seed)
        params = {
            "M": rng.normal(size=(k, m)), "m": rng.normal(size=m),
            "S": rng.normal(size=(k, m)) / 2, "s": rng.normal(size=m) / 2,
            "D": rng.normal(size=(m, k)), "d": rng.normal(size=k),
        }  # fmt: skip
        key = np.array([seed, 17], np.uint32)
        found.append((params, (rng.normal(size=(n, k)), key)))
    return found


SOURCE = """
import jax

def manual_grad(params, batch):
    x, key = batch
    n, k = x.shape
    mean = x @ params["M"] + params["m"]
    logvar = x @ params["S"] + params["s"]
    noise = np.asarray(jax.random.normal(key, mean.shape))
    std = np.exp(logvar / 2)
    z = mean + std * noise
    error = z @ params["D"] + params["d"] - x
    derror = error / n
    dD = z.T @ derror
    dd = derror.sum(axis=0)
    dz = derror @ params["D"].T
    # the reconstruction, then the divergence
    dmean = dz.copy()
    dlogvar = 0.5 * dz * noise * std
    dmean += mean / n
    dlogvar += 0.5 * (std**2 - 1) / n
    dM = x.T @ dmean
    dm = dmean.sum(axis=0)
    dS = x.T @ dlogvar
    ds = dlogvar.sum(axis=0)
    return {"M": dM, "m": dm, "S": dS, "s": ds, "D": dD, "d": dd}
"""


def _by_parts(params: Any, batch: Any) -> Any:
    """Right: the encoder by JAX, the rest by hand."""
    x, key = batch
    n = len(x)

    def encoder(p: Any) -> Any:
        return x @ p["M"] + p["m"], x @ p["S"] + p["s"]

    (mean, logvar), pull = jax.vjp(encoder, {name: params[name] for name in "MmSs"})
    spread = jnp.exp(logvar / 2) * jax.random.normal(key, mean.shape)
    z = mean + spread
    d = (z @ params["D"] + params["d"] - x) / n
    dz = d @ params["D"].T
    encoded = pull((dz + mean / n, (dz * spread + jnp.expm1(logvar) / n) / 2))[0]
    return {**encoded, "D": z.T @ d, "d": d.sum(0)}


def _loops(params: Any, batch: Any) -> Any:
    """Right: one example and one latent variable after the other."""
    x, key = batch
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    noise = np.asarray(jax.random.normal(key, (len(x), len(params["m"]))))
    for row, e in zip(x, noise, strict=True):
        mean = row @ params["M"] + params["m"]
        std = np.exp((row @ params["S"] + params["s"]) / 2)
        z = mean + std * e
        d = (z @ params["D"] + params["d"] - row) / len(x)
        grads["d"] += d
        for j in range(len(z)):
            pulled = params["D"][j] @ d
            dmean = pulled + mean[j] / len(x)
            dlogvar = pulled * e[j] * std[j] / 2 + (std[j] ** 2 - 1) / (2 * len(x))
            grads["D"][j] += z[j] * d
            grads["M"][:, j] += row * dmean
            grads["m"][j] += dmean
            grads["S"][:, j] += row * dlogvar
            grads["s"][j] += dlogvar
    return grads


RIGHT = {"NumPy": build(SOURCE), "JAX": _by_parts, "loops": _loops}
MISTAKES = [
    Mistake("noise left out", "0.5 * dz * noise * std", "0.5 * dz * std", ("z =", "deviation ="),
            ("missing factor",)),
    Mistake("half of the exponent forgotten", "0.5 * dz * noise * std", "dz * noise * std",
            ("deviation =", "logvar ="), ("constant factor",)),
    Mistake("log-variance taken for the deviation", "0.5 * dz * noise * std", "0.5 * dz * noise",
            ("deviation =", "logvar ="), ("mask missing", "missing factor", "wrong derivative")),
    Mistake("noise taken as detached from the log-variance", "0.5 * dz * noise * std",
            "np.zeros_like(dz)", ("deviation =", "z =", "logvar ="), ("missing", "missing term")),
    Mistake("divergence overwrites the mean", "dmean += mean / n", "dmean = mean / n",
            ("z =", "mean ="), ("overwritten", "missing term")),
    Mistake("divergence forgotten in the mean", "    dmean += mean / n\n", "",
            ("divergence =", "mean ="), ("missing term",)),
    Mistake("sign of the log-variance", "(std**2 - 1)", "(std**2 + 1)",
            ("divergence =", "logvar ="), ("sign",)),
    Mistake("deviation for the variance", "(std**2 - 1)", "(std - 1)", ("variance =", "logvar ="),
            ("stale value", "wrong derivative")),
    Mistake("1/N of the divergence missing", "0.5 * (std**2 - 1) / n", "0.5 * (std**2 - 1)",
            ("divergence =", "logvar =", "jnp.mean(likelihood"), ("1/N missing",)),
    Mistake("error averaged over the features", "derror = error / n", "derror = error / (n * k)",
            ("error =", "likelihood =", "jnp.mean(likelihood"),
            ("1/N with another N", "constant factor")),
    Mistake("decoder not transposed", "params[\"D\"].T",
            "(params[\"D\"] if k == len(params[\"m\"]) else params[\"D\"].T)", ("error =", "z ="),
            ("transpose",)),
    Mistake("mean in the place of z", "dD = z.T @ derror", "dD = mean.T @ derror", ("error =",),
            ("stale value",)),
    Mistake("noise of another key", "jax.random.normal(key,",
            "jax.random.normal(jax.random.split(key)[0],", ("noise =", "z ="), ("stale value",)),
    Mistake("bias averaged", "dm = dmean.sum(axis=0)", "dm = dmean.mean(axis=0)", ("mean =",),
            ("wrong axis", "extra 1/N")),
]  # fmt: skip
