"""The derivation once more: in NumPy and float64, line by line, so that any line can be replaced.

The checker needs the derivation as data: to say what each line should be, given the lines
before it, and what the whole gradient would be if one line were wrong in a certain way.
Indices are those of `derivation.md`: z₁ to z_L, h₁ to h_{L−1}, W⁰ to W^{L−1}.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import log_softmax

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.network.slopes import ACTIVATIONS
from jaxmlp.data import Batch
from jaxmlp.params import Params

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
DIGITS = str.maketrans("₀₁₂₃₄₅₆₇₈₉⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789" * 2)  # the way back


@dataclass(frozen=True)
class Line:
    """One line of the derivation: a symbol (z, h, p, C, dz, dh, dW or db) and its index.

    The inputs are h₀, and the labels y: lines that are given, but that may be spoilt.
    """

    symbol: str
    index: int = 0

    @property
    def name(self) -> str:
        """As the derivation writes it, such as ∂C/∂W¹."""
        letter = self.symbol.removeprefix("d")
        if letter in "pCy":
            return letter
        if self == INPUTS:
            return "x"
        number = str(self.index).translate(SUPERSCRIPTS if letter in "Wb" else SUBSCRIPTS)
        return f"∂C/∂{letter}{number}" if self.symbol.startswith("d") else letter + number

    def formula(self, problem: "Problem") -> str:
        """Its right side as text, such as h₁ᵀ ∂C/∂z₂."""
        at, depth = self.index, problem.depth

        def h(index: int) -> str:
            return Line("h", index).name if index else "x"

        above = Line("dz", at + 1).name
        if self == Line("dz", depth):
            return "(p Σy − y) / N"
        if self.symbol == "z":
            bias = "" if problem.biases[at - 1] is None else f" + {Line('b', at - 1).name}"
            return f"{h(at - 1)} {Line('W', at - 1).name}{bias}"
        return {
            "h": f"f({Line('z', at).name})",
            "p": f"softmax({Line('z', depth).name})",
            "C": "mean of −Σ y log p",
            "dW": f"{h(at)}ᵀ {above}",
            "db": f"Σₙ {above}",
            "dh": f"{above} {Line('W', at).name}ᵀ",
            "dz": f"{Line('dh', at).name} ⊙ f'({Line('z', at).name})",
        }[self.symbol]

    def equation(self, depth: int) -> int:
        """Its number in `derivation.md`, for a network of `depth` layers."""
        if self == Line("dz", depth):
            return 12
        if self in (INPUTS, LABELS):
            return 1 if self == INPUTS else 8
        return {"z": 2, "h": 3, "p": 4, "C": 7, "dW": 13, "db": 14, "dh": 15, "dz": 16}[self.symbol]


INPUTS, LABELS = Line("h", 0), Line("y")


class Problem(NamedTuple):
    """A network and a batch in float64, with labels as rows.

    Attributes:
        weights: W⁰ to W^{L−1}.
        biases: b⁰ to b^{L−1}, None where there is none.
        x: inputs, shape (n, n_in).
        y: label rows, shape (n, n_out).
        activation: a key of ACTIVATIONS.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array | None, ...]
    x: Array
    y: Array
    activation: str

    @property
    def depth(self) -> int:
        """L, the number of layers."""
        return len(self.weights)

    @property
    def n(self) -> int:
        """N, the number of examples."""
        return len(self.x)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The widths from input to output."""
        return (len(self.weights[0]), *(weight.shape[1] for weight in self.weights))


def as_problem(params: Params, batch: Batch, activation: str) -> Problem:
    """The problem that parameters, real of any float dtype or complex, and a batch pose."""
    n_out, labels = params[-1].weight.shape[1], np.asarray(batch.labels)
    complexes = np.iscomplexobj(params[0].weight)

    def wide(array: Any) -> Array:
        return np.asarray(array, np.complex128 if complexes else np.float64)

    return Problem(
        weights=tuple(wide(layer.weight) for layer in params),
        biases=tuple(None if layer.bias is None else wide(layer.bias) for layer in params),
        x=np.asarray(batch.x, np.float64),
        y=np.eye(n_out)[labels] if labels.ndim == 1 else labels.astype(np.float64),
        activation=activation,
    )


class Values:
    """A problem, and as many lines as have been computed: what a formula may look at."""

    def __init__(self, problem: Problem, lines: Mapping[Line, Array]) -> None:
        """Look at `lines` without copying them."""
        self.problem, self.lines = problem, lines
        self.x, self.n = problem.x, problem.n
        self.depth = problem.depth
        self.f, self.slope = ACTIVATIONS[problem.activation]

    def W(self, index: int) -> Array:  # noqa: N802
        """W^index."""
        return self.problem.weights[index]

    def b(self, index: int) -> Array:
        """b^index, zeros for a layer without one."""
        bias = self.problem.biases[index]
        return np.zeros(self.W(index).shape[1]) if bias is None else bias

    def h(self, index: int) -> Array:
        """h_index, where h₀ is x."""
        return self.lines[Line("h", index)] if index else self.lines.get(INPUTS, self.x)

    def z(self, index: int) -> Array:
        """z_index, from 1."""
        return self.lines[Line("z", index)]

    def dz(self, index: int) -> Array:
        """∂C/∂z_index, from 1."""
        return self.lines[Line("dz", index)]

    def dh(self, index: int) -> Array:
        """∂C/∂h_index, from 1."""
        return self.lines[Line("dh", index)]

    @property
    def y(self) -> Array:
        """The labels."""
        return self.problem.y

    @property
    def p(self) -> Array:
        """The probabilities."""
        return self.lines[Line("p")]

    @property
    def total(self) -> Array:
        """Σⱼ yⱼ of every row, shape (n, 1)."""
        return self.y.sum(axis=1, keepdims=True)


Formula = Callable[[Values, int], Array]


def affine(v: Values, l: int) -> Array:
    """z_l = h_{l−1} W^{l−1} + b^{l−1} (2)."""
    return v.h(l - 1) @ v.W(l - 1) + v.b(l - 1)


def activated(v: Values, l: int) -> Array:
    """h_l = f(z_l) (3)."""
    return v.f(v.z(l))


def probabilities(v: Values, l: int) -> Array:
    """Softmax of z_L (4), in the form (5)."""
    return softmax(v.z(v.depth))


def softmax(z: Array, axis: int | None = 1) -> Array:
    """exp zⱼ / Σₖ exp zₖ along an axis, or of everything."""
    exponentials = np.exp(z - z.max(axis=axis, keepdims=True))
    return exponentials / exponentials.sum(axis=axis, keepdims=True)


def cost(v: Values, l: int) -> Array:
    """The mean of −Σ y log p (7)."""
    return np.asarray(-np.sum(v.y * log_softmax(v.z(v.depth), axis=1)) / v.n)


def logit_gradient(v: Values, l: int) -> Array:
    """(p Σy − y) / N (12)."""
    return (v.p * v.total - v.y) / v.n


def weight_gradient(v: Values, l: int) -> Array:
    """h_lᵀ J_{l+1} (13)."""
    return v.h(l).T @ v.dz(l + 1)


def bias_gradient(v: Values, l: int) -> Array:
    """Σₙ J_{l+1}[n] (14)."""
    return v.dz(l + 1).sum(axis=0)


def unit_gradient(v: Values, l: int) -> Array:
    """J_{l+1} (W^l)ᵀ (15)."""
    return v.dz(l + 1) @ v.W(l).T


def preactivation_gradient(v: Values, l: int) -> Array:
    """∂C/∂h_l ⊙ f'(z_l) (16)."""
    return v.dh(l) * v.slope(v.z(l))


def formula(line: Line, depth: int) -> Formula:
    """What computes a line from those before it."""
    if line == Line("dz", depth):
        return logit_gradient
    return {
        "z": affine, "h": activated, "p": probabilities, "C": cost, "dW": weight_gradient,
        "db": bias_gradient, "dh": unit_gradient, "dz": preactivation_gradient,
    }[line.symbol]  # fmt: skip


def all_lines(problem: Problem) -> list[Line]:
    """Every line in the order of computation: forward, then backward."""
    return list(_all_lines(tuple(bias is not None for bias in problem.biases)))


@functools.cache
def _all_lines(biased: tuple[bool, ...]) -> tuple[Line, ...]:
    """The same for layers with and without biases."""
    depth = len(biased)
    forward = [Line("z", 1)]
    for index in range(1, depth):
        forward += [Line("h", index), Line("z", index + 1)]
    backward = []
    for index in reversed(range(depth)):
        if index < depth - 1:
            backward.append(Line("dh", index + 1))
        backward += [Line("dz", index + 1), Line("dW", index)]
        if biased[index]:
            backward.append(Line("db", index))
    return (*forward, Line("p"), Line("C"), *backward)


def gradient_lines(problem: Problem) -> list[Line]:
    """The lines that are leaves of the gradient, in the order of the parameters' leaves."""
    return [
        Line(symbol, index)
        for index, bias in enumerate(problem.biases)
        for symbol in (("dW",) if bias is None else ("dW", "db"))
    ]


def evaluate(
    problem: Problem, given: Mapping[Line, Array] = {}, last: Line | None = None
) -> dict[Line, Array]:
    """Every line up to the last one asked for, from those before it; some have given values."""
    lines = {INPUTS: given[INPUTS]} if INPUTS in given else {}
    values = Values(problem, lines)
    with np.errstate(all="ignore"):
        for line in all_lines(problem):
            if line in given:
                lines[line] = given[line]
            else:
                lines[line] = formula(line, problem.depth)(values, line.index)
            if line == last:
                break
    return lines
