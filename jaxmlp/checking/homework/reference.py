"""The right numbers, line by line, of every network and loss that homework may mean.

The forward pass is z_l = h_{l-1} W_l + b_l, h_l = f(z_l) and p = g(z_L) (equations (2) to (4)); the
derivatives are those of (12) to (16), with another first one for other losses.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array


class Function(NamedTuple):
    """A function of one number, and its slope, by that number and the function's value."""

    value: Callable[[Array], Array]
    slope: Callable[[Array, Array], Array]


def _sigmoid(z: Array) -> Array:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-z))


def softmax(z: Array) -> Array:
    """Probabilities (n, k)."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


LEAKS = {"leaky ReLU": 0.01, "leaky ReLU by 0.1": 0.1, "leaky ReLU by 0.2": 0.2}


def _leaky(slope: float) -> Function:
    return Function(lambda z: np.where(z > 0, z, slope * z), lambda z, h: np.where(z > 0, 1, slope))


HIDDEN = {
    "ReLU": Function(lambda z: np.maximum(z, 0), lambda z, h: (z > 0).astype(float)),
    "sigmoid": Function(_sigmoid, lambda z, h: h * (1 - h)),
    "tanh": Function(np.tanh, lambda z, h: 1 - h**2),
    **{name: _leaky(slope) for name, slope in LEAKS.items()},
    "identity": Function(lambda z: z, lambda z, h: np.ones_like(z)),
}
OUTPUTS = {name: HIDDEN[name] for name in ("sigmoid", "tanh", "identity")} | {
    "softmax": Function(softmax, lambda z, h: np.full_like(z, np.nan))
}


class Loss(NamedTuple):
    """A loss of outputs p (n, k) and targets t (n, k).

    Attributes:
        name: in words.
        outputs: the functions before it.
        each: the loss of every example.
        first: ∂C/∂z of the last layer, by z, p, t and the function before it.
    """

    name: str
    outputs: tuple[str, ...]
    each: Callable[[Array, Array], Array]
    first: Callable[[Array, Array, Array, Function], Array]


def _through_cross_entropy(z: Array, p: Array, t: Array, g: Function) -> Array:
    return p * t.sum(axis=1, keepdims=True) - t


def _through_softmax(p: Array, error: Array) -> Array:
    return p * (error - (error * p).sum(axis=1, keepdims=True))


def _squared(factor: float, mean: bool) -> Loss:
    def scale(t: Array) -> float:
        return factor / (t.shape[1] if mean else 1)

    def first(z: Array, p: Array, t: Array, g: Function) -> Array:
        error = 2 * scale(t) * (p - t)
        slope = g.slope(z, p)
        return _through_softmax(p, error) if np.isnan(slope).any() else error * slope

    half = "½ " if factor == 0.5 else ""
    name = f"{half}squared error" + (", mean over outputs" if mean else "")
    outputs = ("identity", "sigmoid", "tanh", "softmax")
    return Loss(name, outputs, lambda p, t: scale(t) * ((p - t) ** 2).sum(axis=1), first)


def _cross_entropy(p: Array, t: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return -(t * np.log(p)).sum(axis=1)


def _binary(p: Array, t: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum(axis=1)


LOSSES = (
    Loss("cross-entropy", ("softmax",), _cross_entropy, _through_cross_entropy),
    Loss("binary cross-entropy", ("sigmoid",), _binary, lambda z, p, t, g: p - t),
    _squared(0.5, mean=False),
    _squared(1.0, mean=False),
    _squared(0.5, mean=True),
    _squared(1.0, mean=True),
)  # fmt: skip


class Network(NamedTuple):
    """What a file computes.

    Attributes:
        hidden: the activation of the hidden layers, by its name in `HIDDEN`.
        output: that of the last layer, by its name in `OUTPUTS`.
    """

    hidden: str
    output: str


def forward(
    weights: Sequence[tuple[Array, Array | None]], x: Array, network: Network
) -> dict[str, Array]:
    """Every line of the forward pass: z1, h1, …, zL and p, all with examples as rows."""
    lines, h = {}, x
    for number, (weight, bias) in enumerate(weights, 1):
        z = h @ weight + (0 if bias is None else bias[None, :])
        last = number == len(weights)
        h = (OUTPUTS[network.output] if last else HIDDEN[network.hidden]).value(z)
        lines |= {f"z{number}": z, "p" if last else f"h{number}": h}
    return lines


def backward(
    weights: Sequence[tuple[Array, Array | None]], x: Array, t: Array, lines: Mapping[str, Array],
    network: Network, loss: Loss, mean: bool, mistakes: Mapping[str, Array] = {},
) -> dict[str, Array]:  # fmt: skip
    """Every line of the backward pass: dzL, dWL, dbL, dh(L-1), … down to dW1 and db1.

    Some lines may be other numbers by mistake, from which the later ones follow.
    """
    depth = len(weights)
    found: dict[str, Array] = {}

    def keep(name: str, value: Array) -> Array:
        found[name] = mistakes.get(name, value)
        return found[name]

    first = loss.first(lines[f"z{depth}"], lines["p"], t, OUTPUTS[network.output])
    dz = keep(f"dz{depth}", first / (len(x) if mean else 1))
    for number in range(depth, 0, -1):
        h = lines[f"h{number - 1}"] if number > 1 else x
        weight, bias = weights[number - 1]
        keep(f"dW{number}", h.T @ dz)
        if bias is not None:
            keep(f"db{number}", dz.sum(axis=0))
        if number > 1:
            dh = keep(f"dh{number - 1}", dz @ weight.T)
            slope = HIDDEN[network.hidden].slope(lines[f"z{number - 1}"], h)
            dz = keep(f"dz{number - 1}", dh * slope)
    return found
