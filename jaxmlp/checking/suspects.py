"""The usual suspects: the mistakes that people make in each line of the derivation.

A suspect is a formula for a line as someone would get it wrong. Whether it is the mistake is
then a question of numbers: it has to explain every entry that was received, on every case.
"""

import functools
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import expit, log_softmax

from jaxmlp.checking import reference
from jaxmlp.checking.reference import INPUTS, LABELS, Array, Formula, Line, Problem, Values, softmax
from jaxmlp.checking.terms import changes

LAYER = r"[₀-₉]+|(?<=[Wb])[⁰¹²³⁴-⁹]+"  # the numbers of layers in a sentence


class Suspect(NamedTuple):
    """A mistake in one line.

    Attributes:
        kind: what sort of mistake, in a few words.
        says: what was done, to follow the name of the line and a colon.
        formula: the line as this mistake has it.
        offset: where another layer is involved, how far off that layer is.
    """

    kind: str
    says: str
    formula: Formula
    offset: int = 0

    @property
    def key(self) -> str:
        """The same for the same mistake in another layer, or in another network."""
        return f"{self.kind}: {without_layers(self.says)} {self.offset:+d}"


@functools.cache
def without_layers(says: str) -> str:
    """A sentence without the numbers of layers in it."""
    return re.sub(LAYER, "", says)


def suspects(line: Line, problem: Problem) -> Iterator[Suspect]:
    """What may be wrong with a line, the plainest mistakes first."""
    right = reference.formula(line, problem.depth)
    if line.symbol == "C":
        return
    if line not in (INPUTS, LABELS):
        yield from _known(line, problem, right)
    for kind, says, change in changes():
        yield Suspect(kind, says, lambda v, l, change=change: change(right(v, l)))


def _known(line: Line, problem: Problem, right: Formula) -> Iterator[Suspect]:
    """What goes wrong with that line, and not with others."""
    if line.symbol in ("z", "h", "p"):
        yield from {"z": _affine, "h": _activated, "p": _probabilities}[line.symbol](line, problem)
        return
    if line == Line("dz", problem.depth):
        yield from _logit_gradient(right)
    else:
        by = {"dW": _weight_gradient, "db": _bias_gradient, "dh": _unit_gradient}
        yield from by.get(line.symbol, _preactivation_gradient)(line, problem)
    if line.symbol in ("dW", "db"):
        yield from _batch_sum(right)
    else:
        yield from _rows(right)


def _others(symbol: str, right: int, problem: Problem) -> Iterator[int]:
    """The other indices of a symbol that are known by then, the nearest first."""
    known = range(right, problem.depth + 1) if symbol == "dz" else range(problem.depth)
    yield from sorted({*known} - {right}, key=lambda other: abs(other - right))


def _affine(line: Line, problem: Problem) -> Iterator[Suspect]:
    """Mistakes in z = h W + b (2)."""
    at = line.index
    if problem.biases[at - 1] is not None:
        yield Suspect(
            "bias forgotten", "the bias is left out", lambda v, l: v.h(l - 1) @ v.W(l - 1)
        )
        yield Suspect(
            "bias sign", "the bias is subtracted", lambda v, l: v.h(l - 1) @ v.W(l - 1) - v.b(l - 1)
        )
    yield Suspect(
        "weight transposed",
        "the weight is transposed",
        lambda v, l: v.h(l - 1) @ v.W(l - 1).T + v.b(l - 1),
    )
    if at > 1:
        yield Suspect(
            "stale activations",
            f"{Line('z', at - 1).name} is used where {Line('h', at - 1).name} belongs",
            lambda v, l: v.z(l - 1) @ v.W(l - 1) + v.b(l - 1),
        )
    for other in _others("h", at - 1, problem):
        if other < at:
            yield Suspect(
                "stale activations",
                f"{_h(other)} is used where {_h(at - 1)} belongs",
                lambda v, l, other=other: v.h(other) @ v.W(l - 1) + v.b(l - 1),
                other - at + 1,
            )
    for other in _others("W", at - 1, problem):
        yield Suspect(
            "weight of the wrong layer",
            f"{Line('W', other).name} is used where {Line('W', at - 1).name} belongs",
            lambda v, l, other=other: v.h(l - 1) @ v.W(other) + v.b(l - 1),
            other - at + 1,
        )


def _h(index: int) -> str:
    return Line("h", index).name if index else "x"


def _activated(line: Line, problem: Problem) -> Iterator[Suspect]:
    """Mistakes in h = f(z) (3)."""
    for name, (f, _) in reference.ACTIVATIONS.items():
        if name != problem.activation:
            kind = "activation missing" if name == "identity" else "wrong activation"
            says = "the activation is left out" if name == "identity" else f"{name} is applied"
            yield Suspect(kind, says, lambda v, l, f=f: f(v.z(l)))
    yield Suspect(
        "wrong activation",
        "a leaky ReLU is applied (slope 0.01 below 0)",
        lambda v, l: np.where(v.z(l) > 0, v.z(l), 0.01 * v.z(l)),
    )
    yield Suspect("wrong activation", "ReLU6 is applied", lambda v, l: np.clip(v.z(l), 0, 6))


def _of_logits(kind: str, says: str, function: Callable[[Array], Array]) -> Suspect:
    """Another function of the logits in the place of softmax."""
    return Suspect(kind, says, lambda v, l: function(v.z(v.depth)))


def _normalised(e: Array) -> Array:
    return e / e.sum(axis=1, keepdims=True)


def _probabilities(line: Line, problem: Problem) -> Iterator[Suspect]:
    """Mistakes in p = softmax(z) (4), (5)."""
    yield _of_logits(
        "softmax axis",
        "the softmax runs over the examples, not over the classes (the wrong axis)",
        lambda z: softmax(z, axis=0),
    )
    yield _of_logits(
        "softmax axis",
        "the softmax runs over the whole array, not row by row",
        lambda z: softmax(z, None),
    )
    yield _of_logits("softmax missing", "the logits are used as they are", lambda z: z)
    yield _of_logits("softmax not normalised", "exp z is not divided by its sum", np.exp)
    yield _of_logits(
        "softmax not normalised",
        "exp(z − max z) is not divided by its sum",
        lambda z: np.exp(z - z.max(axis=1, keepdims=True)),
    )
    yield _of_logits(
        "overflow",
        "exp z overflows for large logits: subtract the largest one first (5)",
        lambda z: _normalised(np.exp(z)),
    )
    yield _of_logits(
        "overflow",
        "one shift for the whole batch lets the other rows underflow: shift each row by its "
        "own largest logit (5)",
        lambda z: _normalised(np.exp(z - z.max())),
    )
    yield _of_logits(
        "overflow",
        "logits that are all very negative underflow: subtract the largest one, even below 0 (5)",
        lambda z: _normalised(np.exp(z - np.maximum(z.max(axis=1, keepdims=True), 0))),
    )
    yield _of_logits("wrong probabilities", "a sigmoid of each logit is used instead", expit)
    yield _of_logits(
        "wrong probabilities", "log p is used instead of p", lambda z: log_softmax(z, axis=1)
    )
    yield _of_logits(
        "wrong probabilities",
        "the logarithm of p is used instead of p",
        lambda z: np.log(softmax(z)),
    )
    yield _of_logits("wrong probabilities", "softmax of −z", lambda z: softmax(-z))
    yield _of_logits(
        "wrong probabilities",
        "the softmax is applied twice",
        lambda z: softmax(softmax(z)),
    )
    yield Suspect(
        "activation on the logits",
        "the activation is applied to the logits too",
        lambda v, l: softmax(v.f(v.z(v.depth))),
    )


def _logit_gradient(right: Formula) -> Iterator[Suspect]:
    """Mistakes in (p Σy − y) / N (12)."""
    yield Suspect(
        "label sum assumed to be 1",
        "p − y is used, but the labels of a row need not sum to 1: p Σy − y",
        lambda v, l: (v.p - v.y) / v.n,
    )
    yield Suspect(
        "label and prediction swapped",
        "label and prediction are swapped: y − p where p − y belongs",
        lambda v, l: (v.y - v.p) / v.n,
    )
    yield Suspect(
        "label and prediction swapped",
        "label and prediction are swapped: y Σp − p where p Σy − y belongs",
        lambda v, l: (v.y * v.total - v.p) / v.n,
    )
    yield Suspect(
        "label sum",
        "the labels are summed over the examples, not over the classes",
        lambda v, l: (v.p * v.y.sum(axis=0) - v.y) / v.n,
    )
    yield Suspect(
        "label sum",
        "the labels are summed over the whole batch, not row by row",
        lambda v, l: (v.p * v.y.sum() - v.y) / v.n,
    )
    yield Suspect(
        "label sum",
        "y is multiplied by its sum too",
        lambda v, l: (v.p - v.y) * v.total / v.n,
    )
    jacobian = "softmax Jacobian"
    yield Suspect(
        jacobian,
        "only the diagonal p(1 − p) of the softmax Jacobian is used; −pᵢ pⱼ is forgotten (9)",
        lambda v, l: -v.y * (1 - v.p) / v.n,
    )
    yield Suspect(
        jacobian,
        "p(1 − p) is multiplied in once more: (12) holds the softmax Jacobian already",
        lambda v, l: right(v, l) * v.p * (1 - v.p),
    )
    yield Suspect(
        jacobian,
        "the softmax Jacobian is multiplied in once more: (12) holds it already",
        lambda v, l: _through_softmax(v.p, right(v, l)),
    )
    yield Suspect(
        jacobian,
        "∂C/∂p = −y / p is used: the softmax Jacobian (9) is missing",
        lambda v, l: -v.y / v.p / v.n,
    )
    yield Suspect(
        "overflow",
        "y / p is 0 / 0 where a probability underflows: use p Σy − y",
        lambda v, l: _through_softmax(v.p, -v.y / v.p / v.n),
    )
    yield Suspect("labels missing", "the labels are left out", lambda v, l: v.p * v.total / v.n)
    yield Suspect("labels missing", "only the labels are left", lambda v, l: -v.y / v.n)
    yield Suspect(
        "label and prediction added",
        "label and prediction are added, not subtracted",
        lambda v, l: (v.p * v.total + v.y) / v.n,
    )
    yield Suspect(
        "true class only",
        "only the entries of the true class are filled in",
        lambda v, l: right(v, l) * (v.y != 0),
    )
    for step, way in ((1, "up"), (-1, "down")):
        yield Suspect(
            "labels off by one",
            f"the labels are shifted {way} by one class",
            lambda v, l, step=step: (v.p * v.total - np.roll(v.y, step, axis=1)) / v.n,
        )
    yield Suspect(
        "hard labels",
        "soft labels are rounded to the largest one",
        lambda v, l: (v.p - np.eye(v.y.shape[1])[v.y.argmax(axis=1)]) / v.n,
    )
    yield Suspect(
        "another loss",
        "z − y: the gradient of a squared error on the logits",
        lambda v, l: (v.z(v.depth) - v.y) / v.n,
    )
    yield Suspect(
        "another loss",
        "the gradient of a squared error ½ Σ(p − y)²",
        lambda v, l: _through_softmax(v.p, v.p - v.y) / v.n,
    )
    yield Suspect(
        "activation on the logits",
        "f'(z) is multiplied in, but no activation is applied to the logits",
        lambda v, l: right(v, l) * v.slope(v.z(v.depth)),
    )


def _through_softmax(p: Array, dp: Array) -> Array:
    """∂C/∂z from ∂C/∂p by the softmax Jacobian (9)."""
    return p * (dp - np.sum(p * dp, axis=1, keepdims=True))


def _weight_gradient(line: Line, problem: Problem) -> Iterator[Suspect]:
    """Mistakes in h_lᵀ J_{l+1} (13)."""
    at = line.index
    if at:
        yield Suspect(
            "stale activations",
            f"{Line('z', at).name} is used where {_h(at)} belongs",
            lambda v, l: v.z(l).T @ v.dz(l + 1),
        )
    for other in _others("h", at, problem):
        yield Suspect(
            "stale activations",
            f"{_h(other)} is used where {_h(at)} belongs",
            lambda v, l, other=other: v.h(other).T @ v.dz(l + 1),
            other - at,
        )
    yield from _of_error(line, problem, lambda v, l, error: v.h(l).T @ error)
    yield Suspect(
        "mean of a product",
        "the product of the means is used, not the mean of the products",
        lambda v, l: np.outer(v.h(l).mean(axis=0), v.dz(l + 1).sum(axis=0)),
    )


def _of_error(
    line: Line, problem: Problem, product: Callable[[Values, int, Array], Array]
) -> Iterator[Suspect]:
    """A product with another error than J_{l+1}: before the mask, or of another layer."""
    right = line.index + 1
    belongs = f"is used where {Line('dz', right).name} belongs"
    if right < problem.depth:
        yield Suspect(
            "mask missing",
            f"{Line('dh', right).name} {belongs}: the derivative of the activation is missing",
            lambda v, l: product(v, l, v.dh(l + 1)),
        )
    for other in _others("dz", right, problem):
        yield Suspect(
            "error of the wrong layer",
            f"{Line('dz', other).name} {belongs}",
            lambda v, l, other=other: product(v, l, v.dz(other)),
            other - right,
        )


def _bias_gradient(line: Line, problem: Problem) -> Iterator[Suspect]:
    """Mistakes in Σₙ J_{l+1}[n] (14)."""
    yield Suspect(
        "bias sum",
        "summed over the units instead of the examples (the wrong axis)",
        lambda v, l: v.dz(l + 1).sum(axis=1),
    )
    yield Suspect(
        "bias sum",
        "summed over everything and spread over the units",
        lambda v, l: np.full(v.dz(l + 1).shape[1], v.dz(l + 1).sum()),
    )
    yield Suspect(
        "bias sum",
        "averaged over everything and spread over the units",
        lambda v, l: np.full(v.dz(l + 1).shape[1], v.dz(l + 1).mean()),
    )
    yield Suspect(
        "bias sum",
        "the bias itself is multiplied in",
        lambda v, l: v.dz(l + 1).sum(axis=0) * v.b(l),
    )
    yield Suspect(
        "bias sum", "the largest entry is taken, not the sum", lambda v, l: v.dz(l + 1).max(axis=0)
    )
    yield from _of_error(line, problem, lambda v, l, error: error.sum(axis=0))


def _unit_gradient(line: Line, problem: Problem) -> Iterator[Suspect]:
    """Mistakes in J_{l+1} (W^l)ᵀ (15)."""
    at = line.index
    yield Suspect(
        "transpose",
        f"{Line('W', at).name} is used where its transpose belongs",
        lambda v, l: v.dz(l + 1) @ v.W(l),
    )
    for other in _others("W", at, problem):
        kind, says = "weight of the wrong layer", f"is used where {Line('W', at).name} belongs"
        name = Line("W", other).name
        yield Suspect(
            kind,
            f"{name} {says}",
            lambda v, l, other=other: v.dz(l + 1) @ v.W(other).T,
            other - at,
        )
        yield Suspect(
            kind,
            f"{name}, untransposed, {says}",
            lambda v, l, other=other: v.dz(l + 1) @ v.W(other),
            other - at,
        )
    yield from _of_error(line, problem, lambda v, l, error: error @ v.W(l).T)
    yield Suspect(
        "error not passed back",
        "summed over the outputs without their weights",
        lambda v, l: np.repeat(v.dz(l + 1).sum(axis=1, keepdims=True), len(v.W(l)), axis=1),
    )
    yield Suspect(
        "absolute weights",
        "the weights' signs are lost",
        lambda v, l: v.dz(l + 1) @ np.abs(v.W(l)).T,
    )


def _masked(kind: str, says: str, slope: Callable[[Values, int], Array]) -> Suspect:
    """Another factor in the place of f'(z)."""
    return Suspect(kind, says, lambda v, l: v.dh(l) * slope(v, l))


def _preactivation_gradient(line: Line, problem: Problem) -> Iterator[Suspect]:
    """Mistakes in ∂C/∂h_l ⊙ f'(z_l) (16)."""
    at = line.index

    z, h = Line("z", at).name, Line("h", at).name
    if problem.activation != "identity":
        yield _masked(
            "mask missing",
            "the derivative of the activation is missing",
            lambda v, l: np.ones_like(v.z(l)),
        )
    if problem.activation == "relu":
        yield _masked("mask inverted", f"the mask is 1[{z} < 0]", lambda v, l: v.z(l) < 0)
        yield _masked("mask inverted", f"the mask is 1[{z} ≤ 0]", lambda v, l: v.z(l) <= 0)
        yield _masked(
            "kink",
            f"the mask is 1[{z} ≥ 0]: at a kink it gives 1, where 1[{z} > 0] gives 0",
            lambda v, l: v.z(l) >= 0,
        )
        yield _masked(
            "kink",
            "the mask is ½ at a kink, where the convention is 0",
            lambda v, l: np.where(v.z(l) == 0, 0.5, v.z(l) > 0),
        )
        powers = (*range(1, 13), 14, 15, 16, 20, 30)
        for threshold in (*(10.0**-power for power in powers), np.finfo(float).eps, 0.5):
            for says, low in ((f"{threshold:g}", threshold), (f"−{threshold:g}", -threshold)):
                yield _masked(
                    "mask threshold",
                    f"the mask is 1[{z} > {says}] where 1[{z} > 0] belongs",
                    lambda v, l, low=low: v.z(l) > low,
                )
        yield _masked(
            "mask of the error",
            f"the mask is taken from the sign of {Line('dh', at).name}, not of {z}",
            lambda v, l: v.dh(l) > 0,
        )
        yield _masked(
            "mask of the error",
            f"the mask is taken from the signs of {Line('dh', at).name} and {z} together",
            lambda v, l: (v.dh(l) > 0) & (v.z(l) > 0),
        )
    else:
        yield _masked("mask inverted", "1 − f'(z) is used", lambda v, l: 1 - v.slope(v.z(l)))
    for name, (_, slope) in reference.ACTIVATIONS.items():
        if name not in (problem.activation, "identity"):
            yield _masked(
                "derivative of the wrong activation",
                f"the derivative is that of {name}, not of {problem.activation}",
                lambda v, l, slope=slope: slope(v.z(l)),
            )
    yield _masked(
        "derivative of the wrong activation",
        "the derivative is that of a leaky ReLU (0.01 below 0)",
        lambda v, l: np.where(v.z(l) > 0, 1, 0.01),
    )
    yield _masked(
        "derivative of the wrong activation",
        "the derivative is that of ReLU6",
        lambda v, l: (v.z(l) > 0) & (v.z(l) < 6),
    )
    yield _masked(
        "derivative at the wrong place",
        f"the derivative is taken at {h}, not at {z}",
        lambda v, l: v.slope(v.h(l)),
    )
    if problem.biases[at - 1] is not None:
        yield _masked(
            "derivative at the wrong place",
            f"the derivative is taken at {z} without its bias",
            lambda v, l: v.slope(v.z(l) - v.b(l - 1)[None, :]),
        )
    for other in range(1, problem.depth + 1):
        if other != at:
            yield _masked(
                "mask of the wrong layer",
                f"the derivative is taken at {Line('z', other).name}, not at {z}",
                lambda v, l, other=other: v.slope(v.z(other)),
            )._replace(offset=other - at)
    yield _masked(
        "mask of the wrong layer", f"the derivative is taken at x, not at {z}",
        lambda v, l: v.slope(v.x),
    )  # fmt: skip
    for says, function in {
        f"{h} is multiplied in, not the derivative f'({z})": lambda v, l: v.h(l),
        f"{z} is multiplied in, not the derivative f'({z})": lambda v, l: v.z(l),
        f"1 − {z}² is multiplied in where 1 − {h}² belongs": lambda v, l: 1 - v.z(l) ** 2,
        f"{z}(1 − {z}) is multiplied in where {h}(1 − {h}) belongs": (
            lambda v, l: v.z(l) * (1 - v.z(l))
        ),
        f"1 − {h} is multiplied in": lambda v, l: 1 - v.h(l),
        f"1 − {h}² is multiplied in": lambda v, l: 1 - v.h(l) ** 2,
        f"1 + {h}² is multiplied in": lambda v, l: 1 + v.h(l) ** 2,
        f"{h}(1 − {h}) is multiplied in": lambda v, l: v.h(l) * (1 - v.h(l)),
        "the derivative is squared": lambda v, l: v.slope(v.z(l)) ** 2,
    }.items():
        yield _masked("wrong derivative", says, function)
    yield _masked(
        "mask of another row",
        "the first example's derivative is used for all",
        lambda v, l: v.slope(v.z(l)[:1]),
    )
    yield _masked(
        "mask of another row",
        "the last example's derivative is used for all",
        lambda v, l: v.slope(v.z(l)[-1:]),
    )
    yield _masked(
        "mask of another row",
        "the derivative is taken at the mean over the batch",
        lambda v, l: v.slope(v.z(l).mean(axis=0, keepdims=True)),
    )


def _rows(right: Formula) -> Iterator[Suspect]:
    """A line of which only some examples are filled in."""
    for says, rows in (("last", slice(-1, None)), ("first", slice(1))):
        yield Suspect(
            "batch rows",
            f"only the {says} example is used",
            lambda v, l, rows=rows: _only(right(v, l), rows),
        )


def _batch_sum(right: Formula) -> Iterator[Suspect]:
    """A sum over examples that runs over some of them."""
    for says, rows in {
        "only the last example is used": slice(-1, None),
        "only the first example is used": slice(1),
        "the last example is left out": slice(-1),
        "the first example is left out": slice(1, None),
    }.items():
        yield Suspect(
            "batch rows",
            says,
            lambda v, l, rows=rows: right(
                Values(v.problem, {**v.lines, Line("dz", l + 1): _only(v.dz(l + 1), rows)}), l
            ),
        )


def _only(array: Array, rows: slice) -> Array:
    """The array with zeros in all other rows."""
    part = np.zeros_like(array)
    part[rows] = array[rows]
    return part
