"""A mixture density network: log-weights, means and log-scales linear in the input."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from tests.models import Mistake, build


def loss(params: Any, batch: Any) -> Any:
    x, y = batch
    logits = x @ params["A"] + params["a"]
    mean = x @ params["M"] + params["m"]
    logscale = x @ params["S"] + params["s"]
    logweight = logits - logsumexp(logits, axis=1, keepdims=True)
    scale = jnp.exp(logscale)
    z = (y[:, None] - mean) / scale
    logdensity = -(z**2) / 2 - logscale
    joint = logweight + logdensity
    return -jnp.mean(logsumexp(joint, axis=1))


def cases() -> list[Any]:
    found = []
    for seed, (n, k, c) in enumerate([(5, 4, 2), (3, 3, 3), (6, 2, 3)]):
        rng = np.random.default_rng(seed)
        params = {
            "A": rng.normal(size=(k, c)), "a": rng.normal(size=c),
            "M": rng.normal(size=(k, c)), "m": rng.normal(size=c),
            "S": rng.normal(size=(k, c)) / 3, "s": rng.normal(size=c) / 3,
        }  # fmt: skip
        found.append((params, (rng.normal(size=(n, k)), rng.normal(size=n))))
    return found


SOURCE = """
def manual_grad(params, batch):
    x, y = batch
    n, k = x.shape
    logits = x @ params["A"] + params["a"]
    mean = x @ params["M"] + params["m"]
    logscale = x @ params["S"] + params["s"]
    weight = special.softmax(logits, axis=1)
    scale = np.exp(logscale)
    z = (y[:, None] - mean) / scale
    joint = np.log(weight) - z**2 / 2 - logscale
    r = special.softmax(joint, axis=1)
    dlogits = (weight - r) / n
    dmean = -r * z / scale / n
    dlogscale = r * (1 - z**2) / n
    dA = x.T @ dlogits
    da = np.sum(dlogits, axis=0)
    dM = x.T @ dmean
    dm = np.sum(dmean, axis=0)
    dS = x.T @ dlogscale
    ds = np.sum(dlogscale, axis=0)
    return {"A": dA, "a": da, "M": dM, "m": dm, "S": dS, "s": ds}
"""


def _loops(params: Any, batch: Any) -> Any:
    """Right: by densities, one example and one component after the other."""
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    for x, y in zip(*batch, strict=True):
        weight = np.exp(x @ params["A"] + params["a"])
        weight /= weight.sum()
        scale = np.exp(x @ params["S"] + params["s"])
        z = (y - x @ params["M"] - params["m"]) / scale
        density = np.exp(-(z**2) / 2) / scale
        total = weight @ density
        for j in range(len(z)):
            r = weight[j] * density[j] / total
            slopes = (weight[j] - r, -r * z[j] / scale[j], r - r * z[j] ** 2)
            for name, slope in zip("AMS", slopes, strict=True):
                grads[name][:, j] += x * slope / len(batch[1])
                grads[name.lower()][j] += slope / len(batch[1])
    return grads


def _forward(params: Any, batch: Any) -> Any:
    """Right: the three outputs' derivatives in forward mode, the linear maps by hand."""
    x, y = batch

    def density(logits: Any, mean: Any, logscale: Any) -> Any:
        normal = -(((y[:, None] - mean) * jnp.exp(-logscale)) ** 2) / 2 - logscale
        return -logsumexp(jax.nn.log_softmax(logits) + normal, axis=1)

    outputs = tuple(x @ params[name] + params[name.lower()] for name in "AMS")
    grads = {}
    for i, name in enumerate("AMS"):
        columns = []
        for j in range(outputs[i].shape[1]):
            tangents = [np.zeros_like(each) for each in outputs]
            tangents[i][:, j] = 1 / len(x)
            columns.append(jax.jvp(density, outputs, tuple(tangents))[1])
        grads[name] = x.T @ np.stack(columns, axis=1)
        grads[name.lower()] = np.stack(columns).sum(axis=1)
    return grads


RIGHT = {"NumPy": build(SOURCE), "loops": _loops, "forward mode": _forward}
MISTAKES = [
    Mistake("sign of the mean", "dmean = -r", "dmean = r", ("z =", "mean ="), ("sign",)),
    Mistake("normaliser of the weights forgotten", "(weight - r)", "(-r)",
            ("logweight =", "logits ="), ("missing term",)),
    Mistake("mean not divided by the scale", "-r * z / scale / n", "-r * z / n", ("z =", "mean ="),
            ("missing factor",)),
    Mistake("mean divided by the scale twice", "-r * z / scale / n", "-r * z / scale**2 / n",
            ("z =", "mean ="), ("stale value", "wrong derivative", "extra term")),
    Mistake("log-scale of the density forgotten", "r * (1 - z**2)", "r * (-z**2)",
            ("logdensity =", "logscale ="), ("missing term",)),
    Mistake("2 of the square forgotten", "r * (1 - z**2)", "r * (1 - z**2 / 2)",
            ("z =", "scale = jnp", "logscale ="), ("constant factor",)),
    Mistake("square forgotten", "r * (1 - z**2)", "r * (1 - z)",
            ("z =", "scale = jnp", "logscale ="), ("missing factor", "wrong derivative")),
    Mistake("by the scale, not its logarithm", "r * (1 - z**2) / n", "r * (1 - z**2) / scale / n",
            ("scale = jnp", "logscale ="), ("mask missing", "missing factor", "wrong derivative")),
    Mistake("prior weights as responsibilities", "dlogscale = r *", "dlogscale = weight *",
            ("logdensity =", "logscale =", "logsumexp(joint"), ("stale value",)),
    Mistake("every component responsible", "dmean = -r * z", "dmean = -z",
            ("z =", "mean =", "logsumexp(joint"), ("missing factor", "mask missing")),
    Mistake("best component only", "r = special.softmax(joint, axis=1)",
            "r = (joint == joint.max(axis=1, keepdims=True)) * 1.0",
            ("logsumexp(joint", "joint ="), ("wrong derivative",)),
    Mistake("softmax over the examples", "special.softmax(joint, axis=1)",
            "special.softmax(joint, axis=0)", ("logsumexp(joint", "joint ="), ("wrong axis",)),
    Mistake("responsibilities without the log-scale", "- z**2 / 2 - logscale", "- z**2 / 2",
            ("logdensity =", "joint =", "logsumexp(joint"),
            ("missing term", "derivative at the wrong place")),
    Mistake("extra 1/N", "dA = x.T @ dlogits", "dA = x.T @ dlogits / n", ("logits =",),
            ("extra 1/N",)),
    Mistake("input not transposed", "dS = x.T @", "dS = (x if n == k else x.T) @", ("logscale =",),
            ("transpose",)),
    Mistake("last example only", "dm = np.sum(dmean, axis=0)", "dm = dmean[-1]", ("mean =",),
            ("batch rows", "wrong axis")),
    Mistake("biases exchanged", "\"a\": da, \"M\": dM, \"m\": dm",
            "\"a\": dm, \"M\": dM, \"m\": da", ("logits =", "mean ="), ("exchanged",)),
]  # fmt: skip
