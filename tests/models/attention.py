"""One head of softmax attention over short sequences, and a squared error."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.models import Mistake, build


def loss(params: Any, batch: Any) -> Any:
    x, y = batch
    q = x @ params["Q"]
    k = x @ params["K"]
    v = x @ params["V"]
    s = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[2])
    a = jax.nn.softmax(s, axis=2)
    h = a @ v
    error = h @ params["O"] - y
    return jnp.mean(error**2)


def cases() -> list[Any]:
    found = []
    sizes = [(2, 3, 5, 4, 6, 1), (3, 3, 3, 3, 3, 3), (4, 2, 3, 2, 4, 3)]
    for seed, (n, t, i, d, m, o) in enumerate(sizes):
        rng = np.random.default_rng(seed)
        params = {
            "Q": rng.normal(size=(i, d)), "K": rng.normal(size=(i, d)),
            "V": rng.normal(size=(i, m)), "O": rng.normal(size=(m, o)),
        }  # fmt: skip
        found.append((params, (rng.normal(size=(n, t, i)), rng.normal(size=(n, t, o)))))
    return found


SOURCE = """
def manual_grad(params, batch):
    Q, K, V, O = (params[name] for name in "QKVO")
    scale = 1 / np.sqrt(Q.shape[1])
    dQ, dK, dV, dO = (np.zeros_like(leaf) for leaf in (Q, K, V, O))
    for x, y in zip(*batch):
        q, k, v = x @ Q, x @ K, x @ V
        a = special.softmax(scale * (q @ k.T), axis=1)
        h = a @ v
        d = 2 * (h @ O - y) / batch[1].size
        dO += h.T @ d
        dh = d @ O.T
        da = dh @ v.T
        ds = a * (da - (da * a).sum(axis=1, keepdims=True))
        dV += x.T @ (a.T @ dh)
        dQ += x.T @ (scale * ds @ k)
        dK += x.T @ (scale * ds.T @ q)
    return {"Q": dQ, "K": dK, "V": dV, "O": dO}
"""


def _jacobians(params: Any, batch: Any) -> Any:
    """Right: all sequences at once, with the Jacobians of the softmax."""
    x, y = batch
    q, k, v = (np.einsum("nti,id->ntd", x, params[name]) for name in "QKV")
    a = np.exp(np.einsum("ntd,nud->ntu", q, k) / np.sqrt(q.shape[2]))
    a /= a.sum(axis=2, keepdims=True)
    h = np.einsum("ntu,num->ntm", a, v)
    d = 2 * (np.einsum("ntm,mo->nto", h, params["O"]) - y) / y.size
    dh = np.einsum("nto,mo->ntm", d, params["O"])
    slope = np.einsum("ntu,uw->ntuw", a, np.eye(len(x[0]))) - np.einsum("ntu,ntw->ntuw", a, a)
    ds = np.einsum("ntm,num,ntuw->ntw", dh, v, slope) / np.sqrt(q.shape[2])
    return {
        "Q": np.einsum("nti,ntu,nud->id", x, ds, k),
        "K": np.einsum("nui,ntu,ntd->id", x, ds, q),
        "V": np.einsum("nui,ntu,ntm->im", x, a, dh),
        "O": np.einsum("ntm,nto->mo", h, d),
    }


def _by_parts(params: Any, batch: Any) -> Any:
    """Right: the heads by JAX, the read-out by hand."""
    x, y = batch

    def heads(params: Any) -> Any:
        q, k, v = (x @ params[name] for name in "QKV")
        return jax.nn.softmax(jnp.einsum("ntd,nud->ntu", q, k) * q.shape[2] ** -0.5) @ v

    h, pull = jax.vjp(heads, params)
    d = 2 * (h @ params["O"] - y) / y.size
    return {**pull(d @ params["O"].T)[0], "O": jnp.einsum("ntm,nto->mo", h, d)}


RIGHT = {"NumPy": build(SOURCE), "Jacobians": _jacobians, "JAX": _by_parts}
MISTAKES = [
    Mistake("divided by one sequence's size", "/ batch[1].size", "/ y.size",
            ("error**2", "error ="), ("1/N with another N", "1/N missing")),
    Mistake("only the last sequence", "dO += h.T @ d", "dO = h.T @ d", ("error =",),
            ("batch rows", "overwritten")),
    Mistake("v for h", "dO += h.T @ d", "dO += v.T @ d", ("error =",),
            ("stale value", "missing factor")),
    Mistake("output weights not transposed", "d @ O.T",
            "d @ (O if O.shape[0] == O.shape[1] else O.T)", ("error =", "h ="), ("transpose",)),
    Mistake("softmax's sum forgotten", "(da - (da * a).sum(axis=1, keepdims=True))", "da",
            ("a =", "s ="), ("missing term", "wrong derivative")),
    Mistake("softmax as if it were a sigmoid", "(da - (da * a).sum(axis=1, keepdims=True))",
            "(1 - a) * da", ("a =", "s ="), ("wrong derivative", "missing term")),
    Mistake("softmax's sum over the queries", "(da * a).sum(axis=1, keepdims=True)",
            "(da * a).sum(axis=0, keepdims=True)", ("a =", "s ="), ("wrong axis",)),
    Mistake("softmax over the queries", "q @ k.T), axis=1)", "q @ k.T), axis=0)", ("a =",),
            ("wrong axis",)),
    Mistake("attention taken as constant", "da = dh @ v.T", "da = np.zeros_like(a)",
            ("h =", "a =", "s ="), ("missing",)),
    Mistake("scale forgotten in the queries", "(scale * ds @ k)", "(ds @ k)", ("s =", "q ="),
            ("constant factor", "missing factor")),
    Mistake("scale squared", "dK += x.T @ (scale *", "dK += x.T @ (scale**2 *", ("s =", "k ="),
            ("constant factor",)),
    Mistake("scores not transposed", "ds.T @ q", "ds @ q", ("s =", "k ="), ("transpose",)),
    Mistake("k for q", "ds.T @ q", "ds.T @ k", ("s =", "k ="), ("stale value",)),
    Mistake("attention left out of the values", "(a.T @ dh)", "dh", ("h =", "v ="),
            ("missing factor",)),
    Mistake("attention not transposed", "(a.T @ dh)", "(a @ dh)", ("h =", "v ="), ("transpose",)),
    Mistake("queries and keys exchanged", "\"Q\": dQ, \"K\": dK", "\"Q\": dK, \"K\": dQ",
            ("q =", "k =", "s ="), ("exchanged",)),
    Mistake("half precision", "special.softmax(scale * (q @ k.T), axis=1)",
            "special.softmax(scale * (q @ k.T), axis=1).astype(np.float16).astype(np.float64)",
            ("a =", "h =", "s ="), ("precision lost",)),
]  # fmt: skip
