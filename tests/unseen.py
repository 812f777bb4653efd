"""Gradients by someone who did not know the checker: 60 with one mistake each, and 15 right ones.

When it first saw them, it caught 56, named the right line for 50, and failed on 2 of the others
with an error of its own. What that showed was mended since, so that they are unseen no more.

With every mistake stand the equations of which any is a good answer to which line is wrong.
Some need PyTorch.
"""

import importlib
import math
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.special

from jaxmlp import Layer

torch: Any = importlib.import_module("torch")  # comes with the extra `peers`


class Mistake(NamedTuple):
    name: str
    grad: Callable
    lines: tuple[int, ...]
    kind: str
    activation: str = "relu"


class Right(NamedTuple):
    name: str
    grad: Callable
    activation: str = "relu"


MISTAKES: list[Mistake] = []
RIGHT: list[Right] = []


def _quiet(function):
    """NumPy's overflow warnings belong to some of these; let them not become errors."""

    @wraps(function)
    def silent(params, batch):
        with np.errstate(all="ignore"):
            return function(params, batch)

    return silent


def mistake(lines, kind, activation="relu"):
    def register(function):
        function = _quiet(function)
        MISTAKES.append(Mistake(function.__name__, function, lines, kind, activation))
        return function

    return register


def right(activation="relu"):
    def register(function):
        function = _quiet(function)
        RIGHT.append(Right(function.__name__, function, activation))
        return function

    return register


# ------------------------------------------------------------------ pieces that are right


def _a(array):
    return np.asarray(array).astype(np.float64)


def _inputs(params, batch):
    return np.asarray(batch.x).astype(params[0].weight.dtype).astype(np.float64)


def _rows(batch, n_out):
    labels = np.asarray(batch.labels)
    return labels.astype(np.float64) if labels.ndim == 2 else np.eye(n_out)[labels]


def _softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _affine(h, layer):
    z = h @ _a(layer.weight)
    return z if layer.bias is None else z + _a(layer.bias)


def _forward(params, x):
    hs, zs = [x], []
    for l, layer in enumerate(params):
        zs.append(_affine(hs[-1], layer))
        if l + 1 < len(params):
            hs.append(np.maximum(zs[-1], 0))
    return hs, zs


def _logit_gradient(p, y):
    return (p * y.sum(axis=1, keepdims=True) - y) / len(y)


def _backward(params, hs, zs, J):
    """The rest of the way, given the gradient by the logits."""
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        dws.insert(0, hs[l].T @ J)
        dbs.insert(0, J.sum(axis=0))
        if l:
            J = (J @ _a(params[l].weight).T) * (zs[l - 1] > 0)
    return _pack(params, dws, dbs)


def _pack(params, dws, dbs):
    return tuple(
        Layer(
            np.asarray(dw).astype(weight.dtype),
            None if bias is None else np.asarray(db).astype(bias.dtype),
        )
        for (weight, bias), dw, db in zip(params, dws, dbs, strict=True)
    )


def _wide(params):
    """The dtype of the logits: float64, or float32 for anything narrower."""
    return np.float64 if params[0].weight.dtype == np.float64 else np.float32


def _n_out(params):
    return params[-1].weight.shape[1]


# ------------------------------------------------------------------ (1) the inputs


@mistake((1,), "inputs rescaled as pixels when any exceeds 1")
def pixels_if_above_one(params, batch):
    x = _inputs(params, batch)
    if x.max() > 1:  # uint8 image that was not normalised yet
        x = x / 255
    hs, zs = _forward(params, x)
    return _backward(
        params, hs, zs, _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    )


@mistake((1,), "input buffer takes the dtype of the labels: truncated for integer labels")
def buffer_like_labels(params, batch):
    labels = np.asarray(batch.labels)
    workspace = np.zeros_like(labels, shape=batch.x.shape)
    workspace[...] = np.asarray(batch.x)
    hs, zs = _forward(params, workspace.astype(np.float64))
    return _backward(
        params, hs, zs, _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    )


@mistake((1,), "activation at the top of the loop, so also on the inputs")
def relu_at_top_of_loop(params, batch):
    h, tape = _inputs(params, batch), []
    for layer in params:
        h = np.where(h > 0, h, 0.0)
        tape.append(h)
        h = _affine(h, layer)
    J = _logit_gradient(_softmax(h), _rows(batch, _n_out(params)))
    out = []
    for layer, h in zip(params[::-1], tape[::-1]):
        out.append((h.T @ J, J.sum(0)))
        J = J @ _a(layer.weight).T
        J[h <= 0] = 0
    dws, dbs = zip(*out[::-1])
    return _pack(params, dws, dbs)


@mistake((1,), "inputs transposed, then reshaped back: examples scrambled")
def examples_in_columns(params, batch):
    X = _inputs(params, batch).T  # the other program wants one example per column
    n = batch.x.shape[0]
    hs, zs = _forward(params, X.reshape(n, -1))
    return _backward(
        params, hs, zs, _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    )


# ------------------------------------------------------------------ (2) the affine map


@mistake((2,), "flat weights indexed column-major in the forward pass only (C port)")
def flat_index_column_major(params, batch):
    x = _inputs(params, batch)
    hs, zs = [x], []
    for l, (weight, bias) in enumerate(params):
        n_in, n_out = weight.shape
        w = _a(weight).ravel()
        z = np.empty((len(x), n_out))
        for j in range(n_out):
            z[:, j] = hs[l] @ w[j * n_in : (j + 1) * n_in]
            if bias is not None:
                z[:, j] += float(bias[j])
        zs.append(z)
        hs.append(np.maximum(z, 0))
    return _backward(
        params, hs, zs, _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    )


@mistake((2,), "truth of the layer's number: bias of layer 0 left out of the forward pass")
def if_l_and_bias(params, batch):
    hs, zs = [_inputs(params, batch)], []
    for l, (W, b) in enumerate(params):
        z = np.dot(hs[-1], _a(W))
        if l and b is not None:
            z += _a(b)
        zs.append(z)
        hs.append(z.clip(min=0))
    return _backward(
        params, hs, zs, _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    )


# ------------------------------------------------------------------ (3) the activation


@mistake((3,), "skip connection left in where widths match")
def residual_where_widths_match(params, batch):
    class Block:
        def __init__(self, layer, hidden):
            self.w = _a(layer.weight)
            self.b = 0.0 if layer.bias is None else _a(layer.bias)
            self.hidden = hidden
            self.skip = hidden and self.w.shape[0] == self.w.shape[1]

        def forward(self, h):
            self.h, self.z = h, h @ self.w + self.b
            if not self.hidden:
                return self.z
            return np.maximum(self.z, 0) + (h if self.skip else 0)

        def backward(self, g):
            J = g * (self.z > 0) if self.hidden else g
            self.dw, self.db = self.h.T @ J, J.sum(0)
            return J @ self.w.T + (g if self.skip else 0)

    blocks = [Block(layer, l + 1 < len(params)) for l, layer in enumerate(params)]
    h = _inputs(params, batch)
    for block in blocks:
        h = block.forward(h)
    g = _logit_gradient(_softmax(h), _rows(batch, _n_out(params)))
    for block in reversed(blocks):
        g = block.backward(g)
    return _pack(params, [b.dw for b in blocks], [b.db for b in blocks])


@mistake((3,), "inverted dropout left on")
def dropout_in_eval(params, batch):
    rng, keep = np.random.default_rng(0), 0.8
    h, stack = _inputs(params, batch), []
    for l, layer in enumerate(params):
        z = _affine(h, layer)
        gate = (rng.random(z.shape) < keep) / keep if l + 1 < len(params) else None
        stack.append((h, z, gate))
        h = z if gate is None else np.maximum(z, 0) * gate
    g = _logit_gradient(_softmax(h), _rows(batch, _n_out(params)))
    dws, dbs = [], []
    while stack:
        h, z, gate = stack.pop()
        if gate is not None:
            g = g * gate * (z > 0)
        dws.append(h.T @ g)
        dbs.append(g.sum(0))
        g = g @ _a(params[len(stack)].weight).T
    return _pack(params, dws[::-1], dbs[::-1])


@mistake((3,), "softplus with beta 20 in place of ReLU")
def smooth_relu(params, batch):
    beta = 20.0
    x = _inputs(params, batch)
    hs, zs = [x], []
    for layer in params:
        zs.append(_affine(hs[-1], layer))
        hs.append(np.logaddexp(0, beta * zs[-1]) / beta)
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    dws, dbs = [], []
    for l in range(len(params) - 1, -1, -1):
        dws.insert(0, np.einsum("ni,nj->ij", hs[l], J))
        dbs.insert(0, np.einsum("nj->j", J))
        if l > 0:
            J = np.einsum("nj,ij->ni", J, _a(params[l].weight))
            J = J * scipy.special.expit(beta * zs[l - 1])
    return _pack(params, dws, dbs)


@mistake((3,), "first hidden layer linear (a projection) in networks of three layers or more")
def linear_projection_first(params, batch):
    L = len(params)
    active = [not (l == 0 and L > 2) for l in range(L - 1)]
    hs, zs = [_inputs(params, batch)], []
    for l, layer in enumerate(params):
        zs.append(_affine(hs[-1], layer))
        if l < L - 1:
            hs.append(np.maximum(zs[-1], 0) if active[l] else zs[-1])
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    dws, dbs = [None] * L, [None] * L
    for l in range(L)[::-1]:
        dws[l], dbs[l] = hs[l].T @ J, J.sum(0)
        if l:
            J = J @ _a(params[l].weight).T
            if active[l - 1]:
                J = J * (zs[l - 1] > 0)
    return _pack(params, dws, dbs)


# ------------------------------------------------------------------ (4) softmax


@mistake((4,), "one shift for the whole batch: rows far below it become 0/0")
def global_max_shift(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    z = zs[-1].astype(_wide(params))
    e = np.exp(z - np.max(z))
    p = (e / e.sum(axis=1, keepdims=True)).astype(np.float64)
    return _backward(params, hs, zs, _logit_gradient(p, _rows(batch, _n_out(params))))


@mistake((4,), "powers of 2 without the factor log2(e) (GPU kernel port)")
def exp2_kernel(params, batch):
    ws = [torch.tensor(_a(w)) for w, _ in params]
    bs = [None if b is None else torch.tensor(_a(b)) for _, b in params]
    acts, pre = [torch.tensor(_inputs(params, batch))], []
    for w, b in zip(ws, bs):
        pre.append(acts[-1] @ w if b is None else torch.addmm(b, acts[-1], w))
        acts.append(pre[-1].clamp(min=0))
    z = pre[-1]
    e = torch.exp2(z - z.amax(dim=1, keepdim=True))
    p = e / e.sum(dim=1, keepdim=True)
    y = torch.tensor(_rows(batch, _n_out(params)))
    J = (p * y.sum(1, keepdim=True) - y) / len(z)
    dws, dbs = [], []
    for l in reversed(range(len(ws))):
        dws.insert(0, (acts[l].T @ J).numpy())
        dbs.insert(0, J.sum(0).numpy())
        if l:
            J = torch.nn.functional.linear(J, ws[l]) * (pre[l - 1] > 0)
    return _pack(params, dws, dbs)


@mistake((4,), "distillation temperature 2 where labels are rows")
def temperature_for_soft_labels(params, batch):
    T = 2.0 if np.ndim(batch.labels) == 2 else 1.0
    hs, zs = _forward(params, _inputs(params, batch))
    p = scipy.special.softmax(zs[-1] / T, axis=1)
    return _backward(params, hs, zs, _logit_gradient(p, _rows(batch, _n_out(params))))


@mistake((4,), "two classes: sigmoid of the second logit alone")
def sigmoid_if_binary(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    z = zs[-1]
    if z.shape[1] == 2:
        positive = scipy.special.expit(z[:, 1])
        p = np.stack([1 - positive, positive], axis=1)
    else:
        p = _softmax(z)
    return _backward(params, hs, zs, _logit_gradient(p, _rows(batch, _n_out(params))))


@mistake((4,), "running maximum starts at 0: 0/0 where all logits are very negative")
def running_max_from_zero(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    z = zs[-1].astype(_wide(params))
    p = np.zeros_like(zs[-1])
    for i, row in enumerate(z):
        biggest = z.dtype.type(0)
        for value in row:
            if value > biggest:
                biggest = value
        total = 0.0
        for j, value in enumerate(row):
            p[i, j] = np.exp(value - biggest)
            total += p[i, j]
        p[i] /= total
    return _backward(params, hs, zs, _logit_gradient(p, _rows(batch, _n_out(params))))


# ------------------------------------------------------------------ (8) the labels


@mistake((8, 12), "classes renumbered by those present in the batch (LabelEncoder)")
def label_encoder(params, batch):
    labels, n_out = np.asarray(batch.labels), _n_out(params)
    if labels.ndim == 1:
        _, codes = np.unique(labels, return_inverse=True)
        y = np.eye(n_out)[codes]
    else:
        y = labels.astype(float)
    hs, zs = _forward(params, _inputs(params, batch))
    return _backward(params, hs, zs, _logit_gradient(_softmax(zs[-1]), y))


@mistake((8, 12), "as many examples as classes: vector of classes taken for a row of weights")
def label_rows_by_last_axis(params, batch):
    labels, n_out = np.asarray(batch.labels), _n_out(params)
    hs, zs = _forward(params, _inputs(params, batch))
    if labels.shape[-1] == n_out:  # already rows
        y = np.broadcast_to(labels, zs[-1].shape).astype(float)
    else:
        y = (labels[:, None] == np.arange(n_out)).astype(float)
    return _backward(params, hs, zs, _logit_gradient(_softmax(zs[-1]), y))


@mistake((8, 12), "one-hot built classes by examples and reshaped, not transposed")
def one_hot_reshaped(params, batch):
    labels, n_out = np.asarray(batch.labels), _n_out(params)
    if labels.ndim == 1:
        y = np.zeros((n_out, labels.size))
        y[labels, np.arange(labels.size)] = 1
        y = y.reshape(-1, n_out)
    else:
        y = labels.astype(float)
    hs, zs = _forward(params, _inputs(params, batch))
    return _backward(params, hs, zs, _logit_gradient(_softmax(zs[-1]), y))


@mistake((8, 12), "label rows passed through a softmax, as if a teacher's logits")
def teacher_logits(params, batch):
    y = _rows(batch, _n_out(params))
    if np.ndim(batch.labels) == 2:
        y = _softmax(y)
    hs, zs = _forward(params, _inputs(params, batch))
    return _backward(params, hs, zs, _logit_gradient(_softmax(zs[-1]), y))


# ------------------------------------------------------------------ (12) by the logits


@mistake((12,), "N is the size of the labels: N times classes for label rows")
def n_is_labels_size(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    p, y = _softmax(zs[-1]), _rows(batch, _n_out(params))
    J = (p * y.sum(axis=1, keepdims=True) - y) / np.asarray(batch.labels).size
    return _backward(params, hs, zs, J)


@mistake((12,), "n overwritten by the shape of the last weight")
def n_overwritten_in_loop(params, batch):
    h = _inputs(params, batch)
    n, m = h.shape
    hs, zs = [], []
    for layer in params:
        n, m = layer.weight.shape
        hs.append(h)
        zs.append(_affine(h, layer))
        assert zs[-1].shape[1] == m
        h = np.maximum(zs[-1], 0)
    y = _rows(batch, m)
    J = (_softmax(zs[-1]) * y.sum(axis=1)[:, None] - y) / n
    return _backward(params, hs, zs, J)


@mistake((12,), "mean of the means of chunks of four, the last one shorter")
def mean_of_chunk_means(params, batch):
    x, y = _inputs(params, batch), _rows(batch, _n_out(params))
    parts = []
    for start in range(0, len(x), 4):
        hs, zs = _forward(params, x[start : start + 4])
        J = _logit_gradient(_softmax(zs[-1]), y[start : start + 4])
        parts.append(_backward(params, hs, zs, J))
    return jax.tree.map(
        lambda *g: np.mean(np.stack(g), axis=0, dtype=float).astype(g[0].dtype), *parts
    )


@mistake((12,), "batch padded to a multiple of 8, and the padding counted in N")
def padded_batch_counts(params, batch):
    x, y = _inputs(params, batch), _rows(batch, _n_out(params))
    extra = -len(x) % 8
    x = np.pad(x, ((0, extra), (0, 0)))
    y = np.pad(y, ((0, extra), (0, 0)))  # no label: no gradient
    hs, zs = _forward(params, x)
    return _backward(params, hs, zs, _logit_gradient(_softmax(zs[-1]), y))


@mistake((12,), "sum of the labels over the whole batch: axis forgotten")
def label_sum_without_axis(params, batch):
    dtype = jax.dtypes.canonicalize_dtype(_wide(params))
    ps = [(jnp.asarray(w, dtype), None if b is None else jnp.asarray(b, dtype)) for w, b in params]
    h, hs, zs = jnp.asarray(batch.x, dtype), [], []
    for w, b in ps:
        hs.append(h)
        zs.append(h @ w + (0 if b is None else b))
        h = jax.nn.relu(zs[-1])
    labels = jnp.asarray(batch.labels)
    y = (
        labels.astype(dtype)
        if labels.ndim == 2
        else jax.nn.one_hot(labels, _n_out(params), dtype=dtype)
    )
    J = (jax.nn.softmax(zs[-1]) * jnp.sum(y) - y) / y.shape[0]
    dws, dbs = [], []
    for l in reversed(range(len(ps))):
        dws = [hs[l].T @ J, *dws]
        dbs = [J.sum(0), *dbs]
        if l:
            J = jnp.where(zs[l - 1] > 0, J @ ps[l][0].T, 0)
    return _pack(params, dws, dbs)


@mistake((12,), "sum of label weights taken as their 1-norm: wrong for negative weights")
def label_one_norm(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    y = _rows(batch, _n_out(params))
    s = np.linalg.norm(y, ord=1, axis=1, keepdims=True)
    return _backward(params, hs, zs, (_softmax(zs[-1]) * s - y) / len(y))


@mistake((12,), "through -y/p with p clipped at 1e-7 (Keras): vanishes for improbable labels")
def clipped_probability(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    p, y = _softmax(zs[-1]), _rows(batch, _n_out(params))
    dp = -y / np.clip(p, 1e-7, 1 - 1e-7) / len(y)
    J = p * (dp - np.sum(dp * p, axis=1, keepdims=True))
    return _backward(params, hs, zs, J)


class _Node:
    """A tape of arrays. `accumulate` false is the slip of `tape_overwrites`."""

    def __init__(self, value, tape, back=None):
        self.value, self.tape, self.back, self.grad = value, tape, back, None
        tape.append(self)

    def receive(self, g, accumulate):
        self.grad = g if self.grad is None or not accumulate else self.grad + g


def _by_tape(params, batch, accumulate):
    tape = []
    take = accumulate

    def affine(h, w, b):
        def back(g):
            h.receive(g @ w.value.T, take)
            w.receive(h.value.T @ g, take)
            if b is not None:
                b.receive(g.sum(0), take)

        return _Node(h.value @ w.value + (0 if b is None else b.value), tape, back)

    def relu(z):
        return _Node(np.maximum(z.value, 0), tape, lambda g: z.receive(g * (z.value > 0), take))

    def logsumexp(z):
        value = np.asarray(scipy.special.logsumexp(z.value, axis=1))
        return _Node(
            value, tape, lambda g: z.receive(g[:, None] * np.exp(z.value - value[:, None]), take)
        )

    def score(z, y):
        return _Node((y * z.value).sum(1), tape, lambda g: z.receive(g[:, None] * y, take))

    leaves = [(_Node(_a(w), tape), None if b is None else _Node(_a(b), tape)) for w, b in params]
    h = _Node(_inputs(params, batch), tape)
    for l, (w, b) in enumerate(leaves):
        h = affine(h if l == 0 else relu(h), w, b)
    y = _rows(batch, _n_out(params))
    first, second = logsumexp(h), score(h, y)
    first.grad, second.grad = y.sum(1) / len(y), np.full(len(y), -1 / len(y))
    for node in reversed(tape):
        if node.back is not None:
            node.back(node.grad)
    return _pack(
        params, [w.grad for w, _ in leaves], [None if b is None else b.grad for _, b in leaves]
    )


@mistake((12,), "a tape that overwrites: of the two uses of the logits only one arrives")
def tape_overwrites(params, batch):
    return _by_tape(params, batch, accumulate=False)


@mistake((12,), "the shift by the maximum differentiated in one of its two places")
def max_differentiated_once(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    z, y = zs[-1], _rows(batch, _n_out(params))
    s = y.sum(axis=1, keepdims=True)
    top = np.eye(z.shape[1])[z.argmax(axis=1)]
    e = np.exp(z - z.max(axis=1, keepdims=True))
    d_linear = -(y - s * top)  # of -sum y (z - m)
    d_log_sum = s * e / e.sum(axis=1, keepdims=True)  # of sum(y) log sum exp(z - m)
    return _backward(params, hs, zs, (d_linear + d_log_sum) / len(z))


@mistake((8, 12), "examples weighted by inverse class frequency, for integer labels")
def balanced_class_weights(params, batch):
    labels, n_out = np.asarray(batch.labels), _n_out(params)
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, n_out))
    if labels.ndim == 1:
        present, inverse, count = np.unique(labels, return_inverse=True, return_counts=True)
        J = J * (labels.size / (present.size * count))[inverse][:, None]
    return _backward(params, hs, zs, J)


@mistake((12,), "gradient stored in the integer array of the one-hot labels' kind: all zero")
def integer_logit_gradient(params, batch):
    labels, n_out = np.asarray(batch.labels), _n_out(params)
    y = np.eye(n_out, dtype=int)[labels] if labels.ndim == 1 else labels.astype(float)
    hs, zs = _forward(params, _inputs(params, batch))
    delta = np.empty_like(y)
    delta[:] = (_softmax(zs[-1]) * y.sum(axis=1, keepdims=True) - y) / len(y)
    return _backward(params, hs, zs, delta)


# ------------------------------------------------------------------ (13) the weights


@mistake((13,), "h viewed in the transposed shape instead of transposed")
def view_for_transpose(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    hs, zs = [torch.tensor(h) for h in hs], [torch.tensor(z) for z in zs]
    y = torch.tensor(_rows(batch, _n_out(params)))
    J = (torch.softmax(zs[-1], dim=1) * y.sum(1, keepdim=True) - y) / y.shape[0]
    grads = []
    for l in range(len(params) - 1, -1, -1):
        grads.append((hs[l].view(hs[l].shape[1], -1).mm(J).numpy(), J.sum(0).numpy()))
        if l:
            J = J.mm(torch.tensor(_a(params[l].weight)).t())
            J = J.masked_fill(zs[l - 1] <= 0, 0.0)
    dws, dbs = zip(*reversed(grads))
    return _pack(params, dws, dbs)


@mistake((13,), "unrolled into one vector by columns, rolled up by rows (MATLAB port)")
def unrolled_by_columns(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    pieces = []
    for l in reversed(range(len(params))):
        pieces.insert(0, J.sum(axis=0))
        pieces.insert(0, (hs[l].T @ J).ravel(order="F"))
        if l:
            J = (J @ _a(params[l].weight).T) * (zs[l - 1] > 0)
    theta, at, dws, dbs = np.concatenate(pieces), 0, [], []
    for weight, _ in params:
        dws.append(theta[at : at + weight.size].reshape(weight.shape))
        at += weight.size
        dbs.append(theta[at : at + weight.shape[1]])
        at += weight.shape[1]
    return _pack(params, dws, dbs)


@mistake((13,), "transposes only if shapes do not fit: wrong where N equals the layer's inputs")
def transpose_h_if_needed(params, batch):
    def times(a, b):
        return a @ b if a.shape[1] == b.shape[0] else a.T @ b

    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        dws.append(times(hs[l], J))
        dbs.append(J.sum(axis=0))
        if l:
            J = (J @ _a(params[l].weight).T) * (zs[l - 1] > 0)
    return _pack(params, dws[::-1], dbs[::-1])


@mistake((13,), "gradient centralisation left in: mean over inputs subtracted")
def centralised_gradient(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    grads = _backward(params, hs, zs, J)
    return tuple(
        Layer((_a(w) - _a(w).mean(axis=0, keepdims=True)).astype(w.dtype), b) for w, b in grads
    )


@mistake((13,), "pruned weights kept at zero: no gradient where the weight is exactly 0")
def pruned_weights_stay(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    grads = _backward(params, hs, zs, J)
    return tuple(
        Layer(np.where(np.asarray(layer.weight) != 0, w, np.zeros_like(w)), b)
        for layer, (w, b) in zip(params, grads)
    )


@mistake((3, 13), "hidden units of equal width share one buffer, overwritten by the later layer")
def one_buffer_per_width(params, batch):
    x = _inputs(params, batch)
    pool, hs, masks, z = {}, [x], [], None
    for l, layer in enumerate(params):
        z = _affine(hs[-1], layer)
        if l + 1 < len(params):
            masks.append(z > 0)
            buffer = pool.setdefault(z.shape, np.empty(z.shape))
            hs.append(np.maximum(z, 0, out=buffer))
    J = _logit_gradient(_softmax(z), _rows(batch, _n_out(params)))
    dws, dbs = [], []
    for l in range(len(params))[::-1]:
        dws.insert(0, hs[l].T @ J)
        dbs.insert(0, J.sum(0))
        if l:
            J = masks[l - 1] * (J @ _a(params[l].weight).T)
    return _pack(params, dws, dbs)


@mistake((13,), "accumulators kept by shape: layers of the same shape share one sum")
def accumulator_per_shape(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    total = defaultdict(float)
    dbs = []
    for l in reversed(range(len(params))):
        w = _a(params[l].weight)
        for h_row, j_row in zip(hs[l], J):
            total[w.shape] += np.outer(h_row, j_row)
        dbs.insert(0, J.sum(axis=0))
        if l:
            J = (J @ w.T) * (zs[l - 1] > 0)
    return _pack(params, [total[weight.shape] for weight, _ in params], dbs)


@mistake((13,), "rows of the previous chunk left in a buffer of four when the last is shorter")
def stale_rows_in_last_chunk(params, batch):
    x, y, rows = _inputs(params, batch), _rows(batch, _n_out(params)), 4
    n = len(x)
    dws = [np.zeros(w.shape) for w, _ in params]
    dbs = [np.zeros(w.shape[1]) for w, _ in params]
    h_buffer = [np.zeros((rows, w.shape[0])) for w, _ in params]
    j_buffer = [np.zeros((rows, w.shape[1])) for w, _ in params]
    for start in range(0, n, rows):
        hs, zs = _forward(params, x[start : start + rows])
        k = len(zs[-1])
        part = y[start : start + rows]
        J = (_softmax(zs[-1]) * part.sum(1, keepdims=True) - part) / n
        for l in reversed(range(len(params))):
            h_buffer[l][:k], j_buffer[l][:k] = hs[l], J
            dws[l] += h_buffer[l].T @ j_buffer[l]
            dbs[l] += J.sum(axis=0)
            if l:
                J = (J @ _a(params[l].weight).T) * (zs[l - 1] > 0)
    return _pack(params, dws, dbs)


_HELD: dict = {}


@mistake((13, 14), "zero_grad forgotten: adds to what the last call left (networks of one shape)")
def zero_grad_forgotten(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    held = _HELD.setdefault(
        tuple(w.shape for w, _ in params),
        [[np.zeros(w.shape), np.zeros(w.shape[1])] for w, _ in params],
    )
    for l in reversed(range(len(params))):
        held[l][0] += hs[l].T @ J
        held[l][1] += J.sum(axis=0)
        if l:
            J = (J @ _a(params[l].weight).T) * (zs[l - 1] > 0)
    return _pack(params, [w for w, _ in held], [b for _, b in held])


# ------------------------------------------------------------------ (14) the biases


@mistake((14,), "hidden layers take the mean over the batch once more, the last does not")
def hidden_bias_mean(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    dws, dbs = [hs[-1].T @ J], [J.sum(axis=0)]
    for l in range(len(params) - 2, -1, -1):
        J = (J @ _a(params[l + 1].weight).T) * (zs[l] > 0)
        dws.insert(0, hs[l].T @ J)
        dbs.insert(0, J.mean(axis=0))
    return _pack(params, dws, dbs)


@mistake((14,), "axis found by its length: wrong where the batch is as large as the layer is wide")
def axis_by_length(params, batch):
    def reduce_to(g, length):
        keep = g.shape.index(length)
        return g.sum(axis=1 - keep)

    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        dws.insert(0, hs[l].T @ J)
        dbs.insert(0, reduce_to(J, params[l].weight.shape[1]))
        if l:
            J = (J @ _a(params[l].weight).T) * (zs[l - 1] > 0)
    return _pack(params, dws, dbs)


@mistake((14,), "one example squeezed to a vector: the sum over axis 0 runs over the units")
def squeezed_single_row(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    if len(J) == 1:
        J, hs, zs = J[0], [h[0] for h in hs], [z[0] for z in zs]
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        db = np.empty(params[l].weight.shape[1])
        db[...] = np.sum(J, axis=0)
        dws.insert(0, hs[l].T @ J if J.ndim == 2 else np.multiply.outer(hs[l], J))
        dbs.insert(0, db)
        if l:
            J = (J @ _a(params[l].weight).T) * (zs[l - 1] > 0)
    return _pack(params, dws, dbs)


@mistake((14,), "a bias of zeros counts as no bias and gets no gradient")
def zero_bias_is_no_bias(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        weight, bias = params[l]
        has_bias = bias is not None and np.any(_a(bias))
        dws.insert(0, hs[l].T @ J)
        dbs.insert(0, np.sum(J, axis=0) if has_bias else np.zeros(weight.shape[1]))
        if l:
            J = (J @ _a(weight).T) * (zs[l - 1] > 0)
    return _pack(params, dws, dbs)


# ------------------------------------------------------------------ (15) by the units


@mistake((15,), "ones column appended last, its gradient dropped from the front")
def wrong_end_of_augmented_weight(params, batch):
    def extend(h, bias):
        return h if bias is None else np.hstack([h, np.ones((len(h), 1))])

    augmented = [_a(w) if b is None else np.vstack([_a(w), _a(b)[None, :]]) for w, b in params]
    h, hs = _inputs(params, batch), []
    for l, ((_, bias), A) in enumerate(zip(params, augmented)):
        hs.append(extend(h, bias))
        z = hs[-1] @ A
        h = np.maximum(z, 0)
    J = _logit_gradient(_softmax(z), _rows(batch, _n_out(params)))
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        D = hs[l].T @ J
        bare = params[l].bias is None
        dws.insert(0, D if bare else D[:-1])
        dbs.insert(0, None if bare else D[-1])
        if l:
            g = J @ augmented[l].T
            units = hs[l] if bare else hs[l][:, :-1]
            J = (g if bare else g[:, 1:]) * (units > 0)
    return _pack(params, dws, dbs)


@mistake((15,), "transposes only if shapes do not fit: square weights are not transposed")
def transpose_w_if_needed(params, batch):
    def dot(a, b):
        try:
            return np.dot(a, b)
        except ValueError:
            return np.dot(a, b.T)

    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        dws.insert(0, np.dot(hs[l].T, J))
        dbs.insert(0, J.sum(axis=0))
        if l:
            J = dot(J, _a(params[l].weight)) * (zs[l - 1] > 0)
    return _pack(params, dws, dbs)


@mistake((15,), "einsum orders its implied output i before n; then reshaped to fit")
def implicit_einsum_order(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        dws.insert(0, np.einsum("ni,nk", hs[l], J))
        dbs.insert(0, np.einsum("nk->k", J))
        if l:
            back = np.einsum("nk,ik", J, _a(params[l].weight))
            J = np.where(zs[l - 1] > 0, back.reshape(zs[l - 1].shape), 0)
    return _pack(params, dws, dbs)


@mistake((15,), "multiplies by the weight's gradient, a variable of the same shape")
def gradient_for_weight(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    g = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    grads = []
    for l in reversed(range(len(params))):
        w, b = params[l]
        w, b = hs[l].T @ g, g.sum(axis=0)
        grads.append((w, b))
        if l:
            g = (g @ w.T) * (zs[l - 1] > 0)
    dws, dbs = zip(*grads[::-1])
    return _pack(params, dws, dbs)


@mistake((15, 16), "stops early when the gradient looks small: earlier layers get zero")
def stops_when_small(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    dws = [np.zeros(w.shape) for w, _ in params]
    dbs = [np.zeros(w.shape[1]) for w, _ in params]
    for l in reversed(range(len(params))):
        dws[l], dbs[l] = hs[l].T @ J, J.sum(axis=0)
        if l:
            if np.abs(J).max() < 1e-3:
                break
            J = (J @ _a(params[l].weight).T) * (zs[l - 1] > 0)
    return _pack(params, dws, dbs)


@mistake((15, 16), "truncated backpropagation: nothing reaches beyond the last two layers")
def detached_below_two_layers(params, batch):
    leaves = [
        (
            torch.tensor(_a(w), requires_grad=True),
            None if b is None else torch.tensor(_a(b), requires_grad=True),
        )
        for w, b in params
    ]
    h = torch.tensor(_inputs(params, batch))
    for l, (w, b) in enumerate(leaves):
        if l == len(leaves) - 2:
            h = h.detach()
        h = h @ w if b is None else h @ w + b
        if l < len(leaves) - 1:
            h = torch.relu(h)
    y = torch.tensor(_rows(batch, _n_out(params)))
    (-(y * torch.log_softmax(h, dim=1)).sum(dim=1)).mean().backward()

    def of(leaf):
        if leaf is None:
            return None
        return np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()

    return _pack(params, [of(w) for w, _ in leaves], [of(b) for _, b in leaves])


# ------------------------------------------------------------------ (16) through the activation


@mistake((16,), "checkpointing recomputes z for the mask without the bias")
def recomputed_without_bias(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    del zs  # to save memory
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        dws.insert(0, hs[l].T @ J)
        dbs.insert(0, J.sum(axis=0))
        if l:
            z = hs[l - 1] @ _a(params[l - 1].weight)
            J = (J @ _a(params[l].weight).T) * (z > 0)
    return _pack(params, dws, dbs)


@mistake((16,), "guided backpropagation: negative gradients are cut off too")
def guided_backpropagation(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        dws.insert(0, hs[l].T @ J)
        dbs.insert(0, J.sum(axis=0))
        if l:
            J = np.maximum(J @ _a(params[l].weight).T, 0) * (hs[l] > 0)
    return _pack(params, dws, dbs)


@mistake((16,), "mask by conversion to integers: units below 1 count as off")
def integer_mask(params, batch):
    def back(l, J):
        here = [(hs[l].T @ J, J.sum(axis=0))]
        if l == 0:
            return here
        on = hs[l].astype(int) > 0
        return back(l - 1, (J @ _a(params[l].weight).T) * on) + here

    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    dws, dbs = zip(*back(len(params) - 1, J))
    return _pack(params, dws, dbs)


@mistake((16,), "ReLU in place over the stored z, mask z >= 0 taken afterwards: nothing cut off")
def relu_in_place(params, batch):
    class Affine:
        def __init__(self, w, b):
            self.w, self.b = _a(w), b

        def __call__(self, h):
            self.h = h
            return h @ self.w if self.b is None else h @ self.w + _a(self.b)

        def back(self, g):
            self.grads = self.h.T @ g, g.sum(axis=0)
            return g @ self.w.T

    class ReLU:
        def __call__(self, z):
            self.z = z
            z[z < 0] = 0
            return z

        def back(self, g):
            return np.where(self.z >= 0, g, 0)

    chain = []
    for w, b in params:
        chain += [Affine(w, b), ReLU()]
    chain.pop()
    h = _inputs(params, batch)
    for step in chain:
        h = step(h)
    g = _logit_gradient(_softmax(h), _rows(batch, _n_out(params)))
    for step in reversed(chain):
        g = step.back(g)
    return _pack(params, *zip(*[step.grads for step in chain[::2]]))


@mistake((16,), "PyTorch tutorial: grad[z < 0] = 0, so slope 1 at z = 0")
def tutorial_relu(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = torch.tensor(_logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params))))
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        dws.insert(0, torch.tensor(hs[l]).t().mm(J).numpy())
        dbs.insert(0, J.sum(0).numpy())
        if l:
            J = J.mm(torch.tensor(_a(params[l].weight)).t()).clone()
            J[torch.tensor(zs[l - 1]) < 0] = 0
    return _pack(params, dws, dbs)


@mistake((16,), "slope as h / (z + 1e-4)")
def slope_as_quotient(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        dws.insert(0, hs[l].T @ J)
        dbs.insert(0, J.sum(axis=0))
        if l:
            J = (J @ _a(params[l].weight).T) * (hs[l] / (zs[l - 1] + 1e-4))
    return _pack(params, dws, dbs)


@mistake((16,), "masks kept by width: equally wide layers share the last one's")
def mask_per_width(params, batch):
    x = _inputs(params, batch)
    hs, mask = [x], {}
    for l, layer in enumerate(params):
        z = _affine(hs[l], layer)
        if l + 1 < len(params):
            mask[z.shape[1]] = z > 0
            hs.append(z * mask[z.shape[1]])
    J = _logit_gradient(_softmax(z), _rows(batch, _n_out(params)))
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        dws.insert(0, hs[l].T @ J)
        dbs.insert(0, J.sum(axis=0))
        if l:
            J = J @ _a(params[l].weight).T
            J = J * mask[J.shape[1]]
    return _pack(params, dws, dbs)


@mistake((16,), "the mask is applied to the last hidden layer only (grown from two layers)")
def mask_of_last_hidden_only(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    L = len(params)
    dws, dbs = [hs[L - 1].T @ J], [J.sum(axis=0)]
    if L > 1:
        J = (J @ _a(params[L - 1].weight).T) * (hs[L - 1] > 0)
        dws.insert(0, hs[L - 2].T @ J)
        dbs.insert(0, J.sum(axis=0))
    for l in range(L - 3, -1, -1):
        J = J @ _a(params[l + 1].weight).T
        dws.insert(0, hs[l].T @ J)
        dbs.insert(0, J.sum(axis=0))
    return _pack(params, dws, dbs)


@mistake((15, 16), "sparsity penalty 1e-3 |h| on hidden units left in")
def activity_regulariser(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        dws.insert(0, hs[l].T @ J)
        dbs.insert(0, J.sum(axis=0))
        if l:
            dh = J @ _a(params[l].weight).T + 1e-3 * np.sign(hs[l]) / len(J)
            J = dh * (zs[l - 1] > 0)
    return _pack(params, dws, dbs)


def _smooth(params, batch, f, slope):
    """Another activation: f(z), and slope(z, h)."""
    hs, zs = [_inputs(params, batch)], []
    for layer in params:
        zs.append(_affine(hs[-1], layer))
        hs.append(f(zs[-1]))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        dws.insert(0, hs[l].T @ J)
        dbs.insert(0, J.sum(axis=0))
        if l:
            J = (J @ _a(params[l].weight).T) * slope(zs[l - 1], hs[l])
    return _pack(params, dws, dbs)


@mistake((16,), "Fahlman's 0.1 added to the slope of the sigmoid", "sigmoid")
def flat_spot_elimination(params, batch):
    return _smooth(params, batch, scipy.special.expit, lambda z, h: h * (1 - h) + 0.1)


@mistake((16,), "exact GELU forward, slope of its tanh approximation backward", "gelu")
def gelu_slope_approximate(params, batch):
    c = math.sqrt(2 / math.pi)

    def slope(z, h):
        z = np.clip(z, -1e3, 1e3)
        t = np.tanh(c * (z + 0.044715 * z**3))
        return 0.5 * (1 + t) + 0.5 * z * (1 - t**2) * c * (1 + 3 * 0.044715 * z**2)

    return _smooth(params, batch, lambda z: z * scipy.special.ndtr(z), slope)


# ------------------------------------------------------------------ RIGHT


@right()
def loops_with_exact_sums(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    y = _rows(batch, _n_out(params))
    J = np.array([p * math.fsum(row) - row for p, row in zip(_softmax(zs[-1]), y)]) / len(y)
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        h = hs[l]
        dws.insert(
            0,
            np.array(
                [
                    [math.fsum(h[:, i] * J[:, j]) for j in range(J.shape[1])]
                    for i in range(h.shape[1])
                ]
            ),
        )
        dbs.insert(0, np.array([math.fsum(column) for column in J.T]))
        if l:
            J = (J @ _a(params[l].weight).T) * (zs[l - 1] > 0)
    return _pack(params, dws, dbs)


@right()
def torch_autograd(params, batch):
    leaves: list[list[Any]] = [
        [None if t is None else torch.tensor(_a(t), requires_grad=True) for t in layer]
        for layer in params
    ]
    h = torch.tensor(_inputs(params, batch))
    for l, (w, b) in enumerate(leaves):
        h = torch.nn.functional.linear(torch.relu(h) if l else h, w.T, b)
    labels = np.asarray(batch.labels)
    if labels.ndim == 1:
        cost = torch.nn.functional.cross_entropy(h, torch.tensor(labels.astype(np.int64)))
    else:
        y = torch.tensor(labels.astype(np.float64))
        cost = (y.sum(1) * torch.logsumexp(h, 1) - (y * h).sum(1)).mean()
    cost.backward()
    return _pack(
        params,
        [w.grad.numpy() for w, _ in leaves],
        [None if b is None else b.grad.numpy() for _, b in leaves],
    )


@right()
def columns_are_examples(params, batch):
    """The MATLAB convention throughout, transposed only at the end."""
    W = [_a(w).T for w, _ in params]
    b = [0.0 if bias is None else _a(bias)[:, None] for _, bias in params]
    A, Z = [_inputs(params, batch).T], []
    for l in range(len(W)):
        Z.append(W[l] @ A[l] + b[l])
        A.append(Z[l] * (Z[l] > 0))
    Y = _rows(batch, _n_out(params)).T
    m = Y.shape[1]
    P = scipy.special.softmax(Z[-1], axis=0)
    D = P * Y.sum(axis=0) - Y
    dW, db = [None] * len(W), [None] * len(W)
    for l in range(len(W) - 1, -1, -1):
        dW[l], db[l] = (D @ A[l].T / m).T, D.sum(axis=1) / m
        if l:
            D = (W[l].T @ D) * (A[l] > 0)
    return _pack(params, dW, db)


@right()
def homogeneous_coordinates(params, batch):
    layers = [
        np.vstack([_a(w), np.zeros((1, w.shape[1])) if b is None else _a(b)[None]])
        for w, b in params
    ]
    h, hs = _inputs(params, batch), []
    for A in layers:
        hs.append(np.column_stack([h, np.ones(len(h))]))
        z = hs[-1] @ A
        h = np.maximum(z, 0)
    J, out = _logit_gradient(_softmax(z), _rows(batch, _n_out(params))), []
    for A, h in zip(layers[::-1], hs[::-1]):
        out.append(h.T @ J)
        J = ((J @ A.T) * np.sign(np.maximum(h, 0)))[:, :-1]
    return _pack(params, [D[:-1] for D in out[::-1]], [D[-1] for D in out[::-1]])


@right()
def kronecker_products(params, batch):
    """vec(h^T J) = (I kron h^T) vec(J), and vec(J W^T) = (W kron I) vec(J)."""
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    n, v, dws, dbs = len(J), J.ravel(order="F"), [], []
    for l in reversed(range(len(params))):
        w = _a(params[l].weight)
        eye = scipy.sparse.identity(w.shape[1])
        dws.insert(
            0, (scipy.sparse.kron(eye, hs[l].T, format="csr") @ v).reshape(w.shape, order="F")
        )
        dbs.insert(0, scipy.sparse.kron(eye, np.ones((1, n)), format="csr") @ v)
        if l:
            v = scipy.sparse.kron(w, scipy.sparse.identity(n), format="csr") @ v
            v = np.where(zs[l - 1].ravel(order="F") > 0, v, 0)
    return _pack(params, dws, dbs)


@right()
def pairwise_softmax(params, batch):
    """p_j = 1 / sum_k exp(z_k - z_j): an overflow gives the right 0."""
    hs, zs = _forward(params, _inputs(params, batch))
    z = zs[-1]
    p = 1 / np.exp(z[:, None, :] - z[:, :, None]).sum(axis=2)
    return _backward(params, hs, zs, _logit_gradient(p, _rows(batch, _n_out(params))))


@right()
def sorted_by_class(params, batch):
    """Order of the examples does not matter, if everything is permuted."""
    labels = np.asarray(batch.labels)
    order = np.argsort(labels if labels.ndim == 1 else labels[:, 0].astype(float), kind="stable")
    hs, zs = _forward(params, _inputs(params, batch)[order])
    J = _softmax(zs[-1])
    if labels.ndim == 1:
        J[np.arange(len(order)), labels[order]] -= 1
    else:
        y = labels[order].astype(float)
        J *= y.sum(axis=1, keepdims=True)
        J -= y
    return _backward(params, hs, zs, J / len(order))


@right()
def continuations(params, batch):
    """Each layer returns how to go back; no list is kept."""
    y = _rows(batch, _n_out(params))

    def go(rest, h):
        layer, *others = rest
        z = _affine(h, layer)
        if others:
            g, done = go(others, np.where(z > 0, z, 0))
            J = np.where(z > 0, g, 0)
        else:
            J, done = _logit_gradient(_softmax(z), y), ()
        return J @ _a(layer.weight).T, ((h.T @ J, J.sum(0)), *done)

    return _pack(params, *zip(*go(list(params), _inputs(params, batch))[1]))


@right()
def tape(params, batch):
    return _by_tape(params, batch, accumulate=True)


@right()
def heaviside_and_cumsum(params, batch):
    hs, zs = _forward(params, _inputs(params, batch))
    J = _logit_gradient(_softmax(zs[-1]), _rows(batch, _n_out(params)))
    dws, dbs = [], []
    for l in reversed(range(len(params))):
        per_example = hs[l][:, :, None] * J[:, None, :]
        dws.insert(0, np.cumsum(per_example, axis=0)[-1])
        dbs.insert(0, np.add.reduceat(J, [0], axis=0)[0])
        if l:
            J = np.heaviside(zs[l - 1], 0.0) * np.tensordot(J, _a(params[l].weight), axes=(1, 1))
    return _pack(params, dws, dbs)


@right()
def chunks_weighted_by_size(params, batch):
    x, y = _inputs(params, batch), _rows(batch, _n_out(params))
    dws, dbs = [0.0] * len(params), [0.0] * len(params)
    for rows in np.array_split(np.arange(len(x)), min(3, len(x))):
        hs, zs = _forward(params, x[rows])
        J = _logit_gradient(_softmax(zs[-1]), y[rows]) * (len(rows) / len(x))
        for l in reversed(range(len(params))):
            dws[l], dbs[l] = dws[l] + hs[l].T @ J, dbs[l] + J.sum(0)
            if l:
                J = (J @ _a(params[l].weight).T) * hs[l].astype(bool)
    return _pack(params, dws, dbs)


@right()
def triangular_solve(params, batch):
    """Per example, all J at once: (I - M) J = right-hand side, with M strictly upper triangular."""
    hs, zs = _forward(params, _inputs(params, batch))
    y = _rows(batch, _n_out(params))
    widths = [w.shape[1] for w, _ in params]
    at = np.concatenate([[0], np.cumsum(widths)])
    Js = [np.empty((len(y), width)) for width in widths]
    top = _logit_gradient(_softmax(zs[-1]), y)
    for n in range(len(y)):
        M = np.zeros((at[-1], at[-1]))
        for l in range(len(params) - 1):
            slope = (zs[l][n] > 0).astype(float)[:, None]
            M[at[l] : at[l + 1], at[l + 1] : at[l + 2]] = slope * _a(params[l + 1].weight)
        rhs = np.concatenate([np.zeros(at[-2]), top[n]])
        solved = scipy.linalg.solve_triangular(np.eye(at[-1]) - M, rhs, unit_diagonal=True)
        for l in range(len(params)):
            Js[l][n] = solved[at[l] : at[l + 1]]
    return _pack(params, [h.T @ J for h, J in zip(hs, Js)], [J.sum(0) for J in Js])


@right()
def vmapped_examples(params, batch):
    dtype = jax.dtypes.canonicalize_dtype(_wide(params))
    ps = [
        (
            jnp.asarray(w, dtype),
            jnp.zeros(w.shape[1], dtype) if b is None else jnp.asarray(b, dtype),
        )
        for w, b in params
    ]
    n_out = _n_out(params)
    labels = jnp.asarray(batch.labels)
    y = (
        labels.astype(dtype)
        if labels.ndim == 2
        else jnp.zeros((len(labels), n_out), dtype).at[jnp.arange(len(labels)), labels].add(1)
    )

    def one(x, y):
        hs, h = [], x
        for l, (w, b) in enumerate(ps):
            hs.append(h)
            z = jnp.matmul(h, w, precision="highest") + b
            h = jnp.where(z > 0, z, 0)
        J, out = jax.nn.softmax(z) * y.sum() - y, []
        for l in reversed(range(len(ps))):
            out.insert(0, (jnp.outer(hs[l], J), J))
            if l:
                J = jnp.where(hs[l] > 0, jnp.matmul(ps[l][0], J, precision="highest"), 0)
        return out

    grads = jax.vmap(one)(jnp.asarray(_inputs(params, batch), dtype), y)
    return _pack(params, [w.mean(0) for w, _ in grads], [b.mean(0) for _, b in grads])


@right("tanh")
def tanh_by_cosh(params, batch):
    return _smooth(params, batch, np.tanh, lambda z, h: 1 / np.cosh(z) ** 2)


@right("sigmoid")
def sigmoid_by_symmetry(params, batch):
    sigma = scipy.special.expit
    return _smooth(params, batch, sigma, lambda z, h: sigma(z) * sigma(-z))
