"""Gradients as people write them: one right way, and what goes wrong with each line of it.

A mistake is a change of the source below, as someone would have typed it; with it comes what
the checker should say: the equation that is wrong, and the kind of mistake.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

import jaxmlp
from jaxmlp import Batch, Layer

SOURCE = """
def manual_grad(params, batch):
    x, labels = batch
    n = x.shape[0]
    h, z = [x], []
    for W, b in params:
        if z:
            h.append(np.maximum(z[-1], 0))
        z.append(h[-1] @ W + (0 if b is None else b))
    k = z[-1].shape[1]
    y = labels if labels.ndim == 2 else np.eye(k, dtype=x.dtype)[labels]
    e = np.exp(z[-1] - z[-1].max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    dz = (p * y.sum(axis=1, keepdims=True) - y) / n
    grads = []
    for l in reversed(range(len(params))):
        W, b = params[l]
        dW = h[l].T @ dz
        db = None if b is None else dz.sum(axis=0)
        grads.insert(0, Layer(dW, db))
        if l > 0:
            dh = dz @ W.T
            dz = dh * (z[l - 1] > 0)
    return tuple(grads)
"""


class Mistake(NamedTuple):
    """A change of the source, and what should be said of it.

    Attributes:
        name: unique.
        old: what is replaced, once.
        new: by what.
        equation: of the wrong line.
        kind: of the mistake, as the checker calls it.
        activation: of the source; tanh changes it in two places first.
    """

    name: str
    old: str
    new: str
    equation: int
    kind: str
    activation: str = "relu"


LOGITS = "(p * y.sum(axis=1, keepdims=True) - y) / n"
MASK = "dh * (z[l - 1] > 0)"
WEIGHT = "dW = h[l].T @ dz"
BIAS = "dz.sum(axis=0)"
UNIT = "dh = dz @ W.T"
P = "p = e / e.sum(axis=1, keepdims=True)"
TANH = {"np.maximum(z[-1], 0)": "np.tanh(z[-1])", MASK: "dh * (1 - h[l] ** 2)"}

MISTAKES = [
    # (12) ∂C/∂z_L
    Mistake("sign of the logit gradient", LOGITS, f"-{LOGITS}", 12, "sign"),
    Mistake("1/N missing", LOGITS, LOGITS.replace(" / n", ""), 12, "1/N missing"),
    Mistake("extra 1/N", LOGITS, LOGITS + " / n", 12, "extra 1/N"),
    Mistake("mean over all entries", LOGITS, LOGITS + " / k", 12, "constant factor"),
    Mistake("outputs for examples", LOGITS, LOGITS.replace("/ n", "/ k"), 12, "1/N with another N"),
    Mistake("doubled", LOGITS, f"2 * {LOGITS}", 12, "constant factor"),
    Mistake("N − 1", LOGITS, LOGITS.replace("/ n", "/ max(n - 1, 1)"), 12, "1/N with another N"),
    Mistake("label sum 1", LOGITS, "(p - y) / n", 12, "label sum assumed to be 1"),
    Mistake("y − p", LOGITS, "(y - p) / n", 12, "label and prediction swapped"),
    Mistake(
        "y Σy − p", LOGITS, "(y * y.sum(1, keepdims=True) - p) / n", 12,
        "label and prediction swapped",
    ),
    Mistake("label sum over examples", LOGITS, "(p * y.sum(axis=0) - y) / n", 12, "label sum"),
    Mistake("label sum over all", LOGITS, "(p * y.sum() - y) / n", 12, "label sum"),
    Mistake("diagonal Jacobian", LOGITS, "-y * (1 - p) / n", 12, "softmax Jacobian"),
    Mistake("Jacobian's diagonal again", LOGITS, f"p * (1 - p) * {LOGITS}", 12, "softmax Jacobian"),
    Mistake("∂C/∂p for ∂C/∂z", LOGITS, "-y / p / n", 12, "softmax Jacobian"),
    Mistake("labels forgotten", LOGITS, "p * y.sum(axis=1, keepdims=True) / n", 12,
            "labels missing"),
    Mistake("p + y", LOGITS, LOGITS.replace("- y", "+ y"), 12, "label and prediction added"),
    Mistake("true class only", LOGITS, f"{LOGITS} * (y != 0)", 12, "true class only"),
    Mistake("labels off by one", LOGITS, LOGITS.replace("- y", "- np.roll(y, 1, axis=1)"), 12,
            "labels off by one"),
    Mistake("hard labels", LOGITS, "(p - np.eye(k)[y.argmax(axis=1)]) / n", 12, "hard labels"),
    Mistake("squared error on logits", LOGITS, "(z[-1] - y) / n", 12, "another loss"),
    Mistake(
        "squared error on p", LOGITS,
        "(lambda d: p * (d - (p * d).sum(1, keepdims=True)))(p - y) / n", 12, "another loss",
    ),
    Mistake("only the last row", LOGITS, f"{LOGITS} * (np.arange(n) == n - 1)[:, None]", 12,
            "batch rows"),
    Mistake("only the first row", LOGITS, f"{LOGITS} * (np.arange(n) == 0)[:, None]", 12,
            "batch rows"),
    Mistake("relu' on the logits", LOGITS, f"{LOGITS} * (z[-1] > 0)", 12,
            "activation on the logits"),
    Mistake("in float32 on its way", LOGITS, f"({LOGITS}).astype(np.float32).astype(x.dtype)", 12,
            "precision lost"),
    # (4) p
    Mistake("softmax over examples", P,
            "e = np.exp(z[-1] - z[-1].max(0)); p = e / e.sum(axis=0)", 4, "softmax axis"),
    Mistake("softmax over all", P, "e = np.exp(z[-1] - z[-1].max()); p = e / e.sum()", 4,
            "softmax axis"),
    Mistake("softmax forgotten", P, "p = z[-1]", 4, "softmax missing"),
    Mistake("not normalised", P, "p = e", 4, "softmax not normalised"),
    Mistake("sigmoid for softmax", P, "p = 1 / (1 + np.exp(-z[-1]))", 4, "wrong probabilities"),
    Mistake("log p for p", P, "p = np.log(e / e.sum(axis=1, keepdims=True))", 4,
            "wrong probabilities"),
    Mistake("unshifted softmax", P,
            "e = np.exp(z[-1]); p = e / e.sum(axis=1, keepdims=True)", 4, "overflow"),
    Mistake("one shift for all rows", P,
            "e = np.exp(z[-1] - z[-1].max()); p = e / e.sum(axis=1, keepdims=True)", 4, "overflow"),
    Mistake("softmax twice", P,
            "p = e / e.sum(1, keepdims=True); p = np.exp(p) / np.exp(p).sum(1, keepdims=True)", 4,
            "wrong probabilities"),
    # (13) ∂C/∂W
    Mistake("weight gradient's sign", WEIGHT, "dW = -h[l].T @ dz", 13, "sign"),
    Mistake("weight gradient / N", WEIGHT, "dW = h[l].T @ dz / n", 13, "extra 1/N"),
    Mistake("weight gradient × N", WEIGHT, "dW = h[l].T @ dz * n", 13, "1/N missing"),
    Mistake("weight gradient transposed", WEIGHT, "dW = (h[l].T @ dz).T", 13, "transpose"),
    Mistake("transposed and reshaped", WEIGHT, "dW = (dz.T @ h[l]).reshape(W.shape)", 13,
            "transpose"),
    Mistake("z for h", WEIGHT, "dW = (z[l - 1] if l else x).T @ dz", 13, "stale value"),
    Mistake("h of the layer above", WEIGHT,
            "dW = (h[l + 1] if l + 1 < len(h) and h[l + 1].shape == h[l].shape else h[l]).T @ dz",
            13, "stale value"),
    Mistake("x for every h", WEIGHT,
            "dW = (x if x.shape == h[l].shape else h[l]).T @ dz", 13, "stale value"),
    Mistake("last weight gradient zero", WEIGHT, "dW = h[l].T @ dz * (l < len(params) - 1)", 13,
            "missing"),
    Mistake("first weight's sign", WEIGHT, "dW = h[l].T @ dz * (1 if l else -1)", 13, "sign"),
    Mistake("mean times sum", WEIGHT, "dW = np.outer(h[l].mean(0), dz.sum(0))", 13,
            "mean of a product"),
    Mistake("weight: last row", WEIGHT, "dW = h[l][-1:].T @ dz[-1:]", 13, "batch rows"),
    Mistake("weight: first row", WEIGHT, "dW = h[l][:1].T @ dz[:1]", 13, "batch rows"),
    Mistake("weight: loop stops early", WEIGHT, "dW = h[l][:n - 1].T @ dz[:n - 1]", 13,
            "batch rows"),
    Mistake("sign of the gradient", WEIGHT, "dW = np.sign(h[l].T @ dz)", 13, "sign only"),
    Mistake("one entry off by 1e-3", WEIGHT,
            "dW = h[l].T @ dz; first = np.arange(dW.size).reshape(dW.shape) == 0; "
            "dW = np.where(first, dW + dW / 1000, dW)", 13, "constant factor"),
    Mistake("weight gradient in bfloat16", WEIGHT,
            "import ml_dtypes; dW = (h[l].T @ dz).astype(ml_dtypes.bfloat16).astype(x.dtype)", 13,
            "precision lost"),
    Mistake("weight gradients exchanged", "return tuple(grads)",
            "(V, c), (W, b) = grads[0], grads[-1]\n"
            "    if V.shape == W.shape:\n"
            "        grads[0], grads[-1] = Layer(W, c), Layer(V, b)\n"
            "    return tuple(grads)", 13, "exchanged"),
    # (14) ∂C/∂b
    Mistake("small bias gradients lost", BIAS,
            "(lambda db: np.where(np.abs(db) < 0.05 * np.abs(dW).max(), 0, db))(dz.sum(axis=0))",
            14, "unknown mistake"),
    Mistake("bias averaged", BIAS, "dz.mean(axis=0)", 14, "extra 1/N"),
    Mistake("bias zero", BIAS, "0 * b", 14, "missing"),
    Mistake("bias gradient's sign", BIAS, "-dz.sum(axis=0)", 14, "sign"),
    Mistake("bias over the wrong axis", BIAS,
            "dz.sum(axis=1) if n == len(b) else dz.sum(axis=0)", 14, "wrong axis"),
    Mistake("bias summed over all", BIAS, "dz.sum() + 0 * b", 14, "wrong axis"),
    Mistake("bias: first row", BIAS, "dz[0]", 14, "batch rows"),
    Mistake("bias: last row", BIAS, "dz[-1]", 14, "batch rows"),
    Mistake("bias multiplied in", BIAS, "dz.sum(axis=0) * b", 14, "extra factor"),
    Mistake("first bias only halved", BIAS, "dz.sum(axis=0) * (1 if l else 0.5)", 14,
            "constant factor"),
    # (15) ∂C/∂h
    Mistake("weight untransposed", UNIT,
            "dh = dz @ (W if W.shape[0] == W.shape[1] else W.T)", 15, "transpose"),
    Mistake("weight of the layer below", UNIT,
            "V = params[l - 1].weight; dh = dz @ (V if V.shape == W.shape else W).T", 15,
            "stale value"),
    Mistake("absolute weights", UNIT, "dh = dz @ np.abs(W).T", 15, "absolute value"),
    # (16) ∂C/∂z
    Mistake("mask forgotten", MASK, "dh", 16, "mask missing"),
    Mistake("mask inverted", MASK, "dh * (z[l - 1] < 0)", 16, "mask inverted"),
    Mistake("mask inverted with zero", MASK, "dh * (z[l - 1] <= 0)", 16, "mask inverted"),
    Mistake("mask ≥", MASK, "dh * (z[l - 1] >= 0)", 16, "kink"),
    Mistake("mask ½ at 0", MASK, "dh * np.where(z[l - 1] == 0, 0.5, z[l - 1] > 0)", 16, "kink"),
    Mistake("mask of the layer above", MASK,
            "dh * ((z[l] if z[l].shape == dh.shape else z[l - 1]) > 0)", 16,
            "derivative at the wrong place"),
    Mistake("mask of the layer below", MASK,
            "dh * ((z[l - 2] if l > 1 and z[l - 2].shape == dh.shape else z[l - 1]) > 0)", 16,
            "derivative at the wrong place"),
    Mistake("mask of the input", MASK, "dh * ((x if x.shape == dh.shape else z[l - 1]) > 0)", 16,
            "derivative at the wrong place"),
    Mistake("mask of the error", MASK, "dh * (dh > 0)", 16, "mask of the error"),
    Mistake("leaky mask", MASK, "dh * np.where(z[l - 1] > 0, 1, 0.01)", 16,
            "wrong derivative"),
    Mistake("sigmoid' for relu'", MASK,
            "dh * (lambda s: s * (1 - s))(1 / (1 + np.exp(-np.clip(z[l - 1], -500, 500))))", 16,
            "wrong derivative"),
    Mistake("tanh' for relu'", MASK, "dh * (1 - np.tanh(z[l - 1]) ** 2)", 16,
            "wrong derivative"),
    Mistake("h for relu'", MASK, "dh * h[l]", 16, "wrong derivative"),
    Mistake("first row's mask", MASK, "dh * (z[l - 1][:1] > 0)", 16, "wrong derivative"),
    Mistake("error doubled on its way", MASK, f"2 * {MASK}", 16, "constant factor"),
    Mistake("error divided by N at each layer", MASK, f"{MASK} / n", 16, "extra 1/N"),
    # other activations
    Mistake("1 − h", "1 - h[l] ** 2", "1 - h[l]", 16, "wrong derivative", "tanh"),
    Mistake("1 − z²", "1 - h[l] ** 2", "1 - z[l - 1] ** 2", 16, "wrong derivative", "tanh"),
    Mistake("1 + h²", "1 - h[l] ** 2", "1 + h[l] ** 2", 16, "wrong derivative", "tanh"),
    Mistake("relu' for tanh'", "(1 - h[l] ** 2)", "(z[l - 1] > 0)", 16,
            "wrong derivative", "tanh"),
    Mistake("tanh' forgotten", " * (1 - h[l] ** 2)", "", 16, "mask missing", "tanh"),
    Mistake("tanh' of h", "1 - h[l] ** 2", "1 - np.tanh(h[l]) ** 2", 16,
            "derivative at the wrong place", "tanh"),
    Mistake("tanh' squared", "(1 - h[l] ** 2)", "(1 - h[l] ** 2) ** 2", 16, "wrong derivative",
            "tanh"),
    # (2), (3) the forward pass that the gradient makes for itself
    Mistake("bias left out forward", " + (0 if b is None else b)", "", 2, "missing term"),
    Mistake("activation left out forward", "np.maximum(z[-1], 0)", "z[-1]", 3,
            "missing function"),
    Mistake("tanh forward", "np.maximum(z[-1], 0)", "np.tanh(z[-1])", 3, "wrong function"),
    Mistake("leaky forward", "np.maximum(z[-1], 0)", "np.where(z[-1] > 0, z[-1], 0.01 * z[-1])", 3,
            "wrong function"),
]  # fmt: skip


def build(mistake: Mistake | None = None, module: Any = np) -> Callable[..., Any]:
    """The source as a function of NumPy or jax.numpy, with a mistake or without."""
    source = SOURCE
    if mistake is not None:
        if mistake.activation == "tanh":
            for old, new in TANH.items():
                source = source.replace(old, new)
        assert source.count(mistake.old) == 1, mistake
        source = source.replace(mistake.old, mistake.new)
    return define(source, module)


def define(source: str, module: Any = np) -> Callable[..., Any]:
    """The `manual_grad` of some source, in NumPy or jax.numpy."""
    names: dict[str, Any] = {"np": module, "Layer": Layer}
    exec(compile(source, "homework.py", "exec"), names)
    return names["manual_grad"]


def per_example(params: Any, batch: Any) -> Any:
    """Right: one example at a time, summed up."""
    one, n = build(), len(batch.x)
    rows = [Batch(batch.x[i : i + 1], batch.labels[i : i + 1]) for i in range(n)]
    grads = [one(params, row) for row in rows]
    return jax.tree.map(lambda *leaves: sum(leaves) / np.asarray(n, leaves[0].dtype), *grads)


def by_jacobians(params: Any, batch: Any) -> Any:
    """Right: explicit Jacobian matrices of softmax, activation and affine maps, row by row."""
    x, n = np.asarray(batch.x), len(batch.x)
    k = params[-1].weight.shape[1]
    labels = np.asarray(batch.labels)
    y = labels if labels.ndim == 2 else np.eye(k, dtype=x.dtype)[labels]
    grads = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params)
    for row in range(n):
        h, z = [x[row]], []
        for W, b in params:
            if z:
                h.append(np.maximum(z[-1], 0))
            z.append(h[-1] @ np.asarray(W) + (0 if b is None else np.asarray(b)))
        e = np.exp(z[-1] - z[-1].max())
        p = e / e.sum()
        jacobian = np.eye(k, dtype=x.dtype) - p[None, :]  # of log p by z
        dz = -(y[row] @ jacobian) / n
        for l in reversed(range(len(params))):
            W, b = params[l]
            grads[l].weight[...] += np.outer(h[l], dz)
            if b is not None:
                grads[l].bias[...] += dz
            if l:
                dz = np.diag((z[l - 1] > 0).astype(x.dtype)) @ (np.asarray(W) @ dz)
    return grads


def recomputing(params: Any, batch: Any) -> Any:
    """Right: everything is computed again for every layer; the products in another order."""
    x, labels = batch
    n, k = x.shape[0], params[-1].weight.shape[1]
    y = labels if labels.ndim == 2 else jnp.eye(k, dtype=x.dtype)[labels]

    def z(l: int) -> Any:
        h = x if l == 0 else jnp.where(z(l - 1) > 0, z(l - 1), 0)
        b = params[l].bias
        return (params[l].weight.T @ h.T).T + (0 if b is None else b[None, :])

    def dz(l: int) -> Any:
        if l == len(params) - 1:
            log_p = z(l) - jax.scipy.special.logsumexp(z(l), axis=1, keepdims=True)
            return jnp.exp(log_p) * (y.sum(axis=1, keepdims=True) / n) - y / n
        return jnp.where(z(l) > 0, jnp.einsum("nj,ij->ni", dz(l + 1), params[l + 1].weight), 0)

    grads = []
    for l, (_, b) in enumerate(params):
        h = x if l == 0 else jax.nn.relu(z(l - 1))
        dW = jnp.einsum("ni,nj->ij", h, dz(l))
        grads.append(Layer(dW, None if b is None else jnp.einsum("nj->j", dz(l))))
    return tuple(grads)


def in_parts(params: Any, batch: Any) -> Any:
    """Right: the part of p and the part of y go back separately; they cancel only at the end."""
    source = SOURCE.replace(LOGITS, "SIGN")
    total = None
    for part in ("p * y.sum(axis=1, keepdims=True) / n", "-y / n"):
        names: dict[str, Any] = {"np": np, "Layer": Layer}
        exec(compile(source.replace("SIGN", part), "homework.py", "exec"), names)
        grad = names["manual_grad"](params, batch)
        total = grad if total is None else jax.tree.map(lambda a, b: a + b, total, grad)
    return total


def with_vjp(params: Any, batch: Any) -> Any:
    """Right: reverse mode by hand."""
    value, pull = jax.vjp(lambda params: jaxmlp.loss(params, batch), params)
    return pull(jnp.ones_like(value))[0]


def with_jvp(params: Any, batch: Any) -> Any:
    """Right: forward mode, one basis vector at a time."""
    flat, unravel = jax.flatten_util.ravel_pytree(params)

    def along(vector: Any) -> Any:
        return jax.jvp(lambda flat: jaxmlp.loss(unravel(flat), batch), (flat,), (vector,))[1]

    return unravel(jax.lax.map(along, jnp.eye(len(flat), dtype=flat.dtype)))


def fused(params: Any, batch: Any) -> Any:
    """Right: the loss in one line, differentiated by JAX."""
    x, labels = batch
    y = labels if labels.ndim == 2 else jax.nn.one_hot(labels, params[-1].weight.shape[1])

    def loss(params: Any) -> Any:
        h = x
        for l, (W, b) in enumerate(params):
            h = (jax.nn.relu(h) if l else h) @ W + (0 if b is None else b)
        return jnp.mean(y.sum(1) * jax.nn.logsumexp(h, axis=1) - (y * h).sum(1))

    return jax.grad(loss)(params)


RIGHT: dict[str, Callable[..., Any]] = {
    "source, NumPy": build(),
    "source, jax.numpy": build(module=jnp),
    "source, jitted": jax.jit(build(module=jnp)),
    "ours": jaxmlp.manual_grad,
    "ours, with the value": lambda params, batch: jaxmlp.manual_value_and_grad(params, batch)[1],
    "jax.grad": jax.grad(jaxmlp.loss),
    "jax.grad, jitted": jax.jit(jax.grad(jaxmlp.loss)),
    "vjp": with_vjp,
    "jvp": with_jvp,
    "one example at a time": per_example,
    "explicit Jacobians": by_jacobians,
    "recomputing": recomputing,
    "in parts that cancel": in_parts,
    "one loss in one line": fused,
    "tanh, as 1 − h²": build(Mistake("", "1 - h[l] ** 2", "1 - h[l] * h[l]", 0, "", "tanh")),
    "tanh, as 1 / cosh²": build(
        Mistake("", "1 - h[l] ** 2", "np.cosh(np.clip(z[l - 1], -350, 350)) ** -2", 0, "", "tanh")
    ),
    "float64 throughout": lambda params, batch: build()(
        *jax.tree.map(
            lambda leaf: np.asarray(leaf, np.float64 if leaf.dtype.kind == "f" else None),
            (params, batch),
        )
    ),
}

# Those in JAX that are not compiled as they stand: many runs of them are faster jitted.
JITTABLE = {"source, jax.numpy", "jax.grad", "vjp", "jvp", "recomputing", "one loss in one line"}
