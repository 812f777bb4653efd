"""The first wrong line of a forward pass, read from the gradients of one example."""

from collections.abc import Sequence

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.network.inference import PAIRS, SAME, UNKNOWN, Located, Observation, needed
from jaxmlp.checking.network.reference import Line, evaluate, softmax
from jaxmlp.checking.network.slopes import ACTIVATIONS

WIDE = np.linspace(-100, 100, 2001)
MOSTLY = 0.75  # of the observations, to be believed


def wrong_forward(observations: Sequence[Observation]) -> Located | None:
    """The first wrong line of the forward pass, from problems of one example with biases.

    There ∂C/∂z_l is ∂C/∂b^{l−1} itself, and a weight's gradient is the product of it with the h
    that was used. If that h is the same for two units of the same z, it is a function of z, and
    the mistake in (3), as it is if that h is no value of f at all; else it is in z (2).
    """
    wrong: dict[int, list[bool]] = {}
    sound: list[bool] = []
    kept: list[bool] = []
    beyond = False
    for seen in observations:
        if seen.problem.n > 1 or any(bias is None for bias in seen.problem.biases):
            continue
        used: dict[Line, Array] = {}
        for l in range(seen.problem.depth):
            weight, bias = (seen.received[Line(symbol, l)] for symbol in ("dW", "db"))
            if not np.any(bias):
                break  # nothing is passed on here, nor to the layers before
            h = _factor(weight, bias)
            if h is None:
                return None
            was = evaluate(seen.problem, used)[Line("h", l)] if l else seen.problem.x
            off = np.abs(h - was).max()
            if off > 1e-6 * max(1.0, np.abs(was).max()):
                pairs = l == 1 and h.shape[1] == len(PAIRS)
                alike = pairs and max(abs(h[0, 0] - h[0, 1]), abs(h[0, 2] - h[0, 3])) < SAME * off
                wrong.setdefault(l, []).append(bool(alike))
                sound.append(_passes_on(seen))
                kept.append(_is_kept(seen))
                beyond = beyond or not _in_range(h, seen.problem.activation)
                break
            used[Line("h", l)] = h
    if not wrong or np.mean(sound) < MOSTLY:
        return None
    at = min(wrong)
    line = Line("h" if at == 0 or beyond or all(wrong[at]) else "z", at)
    if line.symbol == "h" and np.mean(kept) < MOSTLY:
        return None  # z (2) is right, then, but not made of this h
    says = f"in the forward pass, {line.name} is the first line that is not what it should be"
    return Located((line,), (line.equation(at + 1),), f"{UNKNOWN}, but {says}")


def _is_kept(seen: Observation) -> bool:
    """Whether p is what it should be for the h that the last weight's gradient was made of."""
    last = seen.problem.depth - 1
    weight, bias = (seen.received[Line(symbol, last)] for symbol in ("dW", "db"))
    if not np.any(bias) or (h := _factor(weight, bias)) is None:
        return False
    p = needed(seen.problem, {Line("dz", last + 1): bias[None]})
    z = h @ seen.problem.weights[last] + seen.problem.biases[last]
    return bool(np.abs(p - softmax(z)).max() < 1e-6)


def _passes_on(seen: Observation) -> bool:
    """Whether p is another one than it should be, as it is after a mistake in the forward pass.

    But probabilities nonetheless: otherwise it is the backward pass that has a mistake.
    """
    depth = seen.problem.depth
    p = needed(seen.problem, {Line("dz", depth): seen.received[Line("db", depth - 1)][None]})
    off = np.abs(p - seen.right[Line("p")]).max()
    return bool(off > 1e-9) and _are_probabilities(p)


def _are_probabilities(p: Array) -> bool:
    return bool(np.all(p > -1e-9) and np.all(np.abs(p.sum(axis=1) - 1) < 1e-9))


def _in_range(h: Array, activation: str) -> bool:
    """Whether an activation takes these values: a ReLU gives nothing below 0."""
    values = ACTIVATIONS[activation][0](WIDE)
    return bool(np.all((h >= values.min() - SAME) & (h <= values.max() + SAME)))


def _factor(weight: Array, bias: Array) -> Array | None:
    """The h of which `weight` is the product hᵀ bias; None if it is no such product."""
    most = int(np.argmax(np.abs(bias)))
    h = weight[:, most] / bias[most]
    if np.abs(np.outer(h, bias) - weight).max() > SAME * np.abs(weight).max():
        return None
    return h[None]
