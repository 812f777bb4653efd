"""Which mistake in one line of the backward pass makes of all gradients what a file gives?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.homework.problems import Problem, close, differing
from jaxmlp.checking.homework.reference import HIDDEN, OUTPUTS, Function
from jaxmlp.checking.homework.understanding import Meaning

N = "the number of examples"


class Mistake(NamedTuple):
    """What was done in a line, and what follows.

    Attributes:
        line: dz2, dW2, db2, dh1, dz1 and so on.
        kind: such as `sign`.
        says: a sentence.
        value: of that line, with the mistake.
    """

    line: str
    kind: str
    says: str
    value: Array


def explained(problem: Problem, meaning: Meaning, received: Mapping[str, Array]) -> list[Mistake]:
    """Every mistake of the table that explains all gradients, in the order of computation.

    A mistake in a loop over the layers is made in each of them.
    """
    right = meaning.expected(problem)
    found, alike = [], {}
    for line in (each for each in right if each.startswith("d")):
        for mistake in _mistakes(line, right, problem, meaning):
            if mistake.value.shape != right[line].shape or close(mistake.value, right[line]):
                continue
            alike.setdefault((line[1], mistake.kind, mistake.says), []).append(mistake)
            if _explains([mistake], problem, meaning, received):
                found.append(mistake)
    loops = (some for some in alike.values() if len(some) > 1)
    return found or [some[0] for some in loops if _explains(some, problem, meaning, received)]


def _explains(
    some: Sequence[Mistake], problem: Problem, meaning: Meaning, received: Mapping[str, Array]
) -> bool:
    """Whether some mistakes together make the gradients that were received."""
    wrong = meaning.expected(problem, {each.line: each.value for each in some})
    return not differing(received, wrong, meaning.scale)


def _mistakes(
    line: str, right: Mapping[str, Array], problem: Problem, meaning: Meaning
) -> Iterator[Mistake]:
    number, value = int(line[2:]), right[line]
    last = number == len(problem.weights)
    h = right[f"h{number - 1}"] if number > 1 else problem.x
    n, k = len(problem.x), problem.t.shape[1]
    of = {"W": "dW", "b": "db", "z": "dz", "h": "dh"}[line[1]]
    if of == "dz" and last:
        made = _of_the_output(right[f"z{number}"], right["p"], problem, meaning)
    elif of == "dz":
        made = _of_slopes(right[f"z{number}"], right[f"h{number}"], right[f"dh{number}"], meaning)
    elif of == "dh":
        made = _of_errors_before(number, right, problem, meaning)
    elif of == "dW":
        made = _of_weights(number, h, right, problem)
    else:
        made = _of_biases(right[f"dz{number}"], n)
    for kind, says, array in made:
        yield Mistake(line, kind, says, np.asarray(array, float))
    for kind, says, factor in (
        ("sign", "it has the opposite sign", -1.0),
        ("sum for mean", f"it is not divided by {N}", float(n) if meaning.mean else 1.0),
        ("mean for sum", f"it is divided by {N}", 1.0 if meaning.mean else 1 / n),
        ("divided twice", f"it is divided by {N} twice", 1 / n if meaning.mean else 1 / n**2),
        ("factor", "it is doubled", 2.0),
        ("factor", "it is halved", 0.5),
        ("factor", "it is multiplied by the number of outputs", float(k)),
        ("factor", "it is divided by the number of outputs", 1 / k),
    ):  # fmt: skip
        if factor != 1:
            yield Mistake(line, kind, says, factor * value)


Made = Iterator[tuple[str, str, Array]]


def _of_the_output(z: Array, p: Array, problem: Problem, meaning: Meaning) -> Made:
    """∂C/∂z of the last layer."""
    t, n = problem.t, len(problem.x) if meaning.mean else 1
    squared = meaning.kind == "squared error"
    g: Function = OUTPUTS[meaning.network.output]
    slope = g.slope(z, p)
    name = meaning.network.output
    first = meaning.loss.first(z, p, t, g) / n
    if not np.isnan(slope).any():
        with np.errstate(all="ignore"):
            bare = first / slope
        if squared:
            yield "missing slope", f"the derivative of the {name} at the output is left out", bare
            yield "slope twice", f"the derivative of the {name} is taken twice", first * slope
            yield "half of the slope", "it is multiplied by 1 − p alone", bare * (1 - p)
            yield "half of the slope", "it is multiplied by p alone", bare * p
            for other, f in HIDDEN.items():
                yield (
                    "wrong slope",
                    f"the derivative of {other} in the place of that of {name}",
                    bare * f.slope(z, p),
                )
            yield (
                "slope of a value",
                f"the derivative of the {name} is taken of its value, not of z",
                bare * g.slope(p, g.value(p)),
            )
        else:
            yield (
                "extra slope",
                f"it is multiplied by the derivative of the {name}, which the loss cancels",
                first * slope,
            )
    bare = meaning.loss.first(z, p, 0 * t, g) if squared else p
    yield "labels left out", "the labels are not subtracted", bare / n
    yield "z for p", "the logits are in the place of the probabilities", (z - t) / n
    yield "labels for outputs", "it is p (1 − p), without the labels", p * (1 - p) / n


def _of_slopes(z: Array, h: Array, dh: Array, meaning: Meaning) -> Made:
    """∂C/∂z of a hidden layer."""
    name = meaning.network.hidden
    f = HIDDEN[name]
    yield "mask missing", f"the derivative of {name} is left out", dh
    for other, g in HIDDEN.items():
        if other != name:
            yield (
                "wrong slope",
                f"it has the derivative of {other}, but the layer is {name}",
                dh * g.slope(z, h),
            )
    yield "slope twice", f"the derivative of {name} is taken twice", dh * f.slope(z, h) ** 2
    yield (
        "slope of a value",
        f"the derivative of {name} is taken of its value h, not of z",
        dh * f.slope(h, f.value(h)),
    )
    yield (
        "slope of a value",
        f"the derivative of {name} is written for its value, but given z",
        dh * f.slope(z, z),
    )
    yield "mask inverted", f"the derivative of {name} is taken where z is below 0", dh * (z < 0)
    yield "mask of the error", "it is cut where the error is below 0, not where z is", dh * (dh > 0)
    yield "value for slope", f"it is multiplied by {name} of z, not by its derivative", dh * h
    yield "half of the slope", "it is multiplied by 1 − h alone", dh * (1 - h)
    yield "replaced", "it is the derivative alone, without what comes back", f.slope(z, h)


def _of_errors_before(
    number: int, right: Mapping[str, Array], problem: Problem, meaning: Meaning
) -> Made:
    """∂C/∂h of a hidden layer: what comes back through the next layer's weights."""
    weight, dz = problem.weights[number][0], right[f"dz{number + 1}"]
    moved = weight - (meaning.scale or 1.0) * right[f"dW{number + 1}"]
    yield (
        "updated too early",
        "the next layer's weights are already updated when they are used",
        dz @ moved.T,
    )
    error = (right["p"] - problem.t) / (len(problem.x) if meaning.mean else 1)
    if error.shape[1] == weight.shape[1]:
        yield (
            "stale value",
            "the error p − y comes back, without the derivative at the output",
            error @ weight.T,
        )
        yield (
            "stale value",
            "the output comes back in the place of the error",
            right["p"] @ weight.T,
        )
    if weight.shape[0] == weight.shape[1]:
        yield "transpose", "the weights are not transposed", dz @ weight


def _of_weights(number: int, h: Array, right: Mapping[str, Array], problem: Problem) -> Made:
    """∂C/∂W."""
    dz = right[f"dz{number}"]
    if number > 1:
        yield "z for h", "it has z in the place of h", right[f"z{number - 1}"].T @ dz
    error = right["p"] - problem.t
    if error.shape == dz.shape:
        if not close(error / len(error), dz):  # else it is not divided
            yield "stale value", "it has the error p − y in the place of ∂C/∂z", h.T @ error
        yield "stale value", "it has the output in the place of ∂C/∂z", h.T @ right["p"]
    dh = right.get(f"dh{number}")
    if dh is not None:
        yield "stale value", "it has ∂C/∂h in the place of ∂C/∂z", h.T @ dh
    yield "overwritten", "it is that of the last example alone", h[-1:].T @ dz[-1:]
    yield "overwritten", "it is that of the first example alone", h[:1].T @ dz[:1]
    yield "left out", "it is 0", 0 * (h.T @ dz)


def _of_biases(dz: Array, n: int) -> Made:
    """∂C/∂b."""
    ones = np.ones(dz.shape[1])
    yield "wrong axis", "it is summed over everything, not over the examples", dz.sum() * ones
    yield (
        "wrong axis",
        "it is a mean over everything, not a sum over the examples",
        dz.mean() * ones,
    )
    yield (
        "mean for sum",
        "it is the mean over the examples of what is a mean already",
        dz.mean(axis=0),
    )
    yield "overwritten", "it is that of the last example alone", dz[-1]
    yield "overwritten", "it is that of the first example alone", dz[0]
    yield "left out", "it is 0", 0 * ones
