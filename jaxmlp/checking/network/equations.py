"""A diagnosis of our own networks: the lines of the derivation, by the steps of the loss."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.cases import Case
from jaxmlp.checking.diagnosis.evidence import Evidence, again, in_lines
from jaxmlp.checking.diagnosis.explanation import Explanation
from jaxmlp.checking.diagnosis.records import plainness
from jaxmlp.checking.diagnosis.steps import Found
from jaxmlp.checking.network.loss import LOGITS
from jaxmlp.checking.network.reference import INPUTS, LABELS, Line, softmax
from jaxmlp.checking.programs.recording import NAME
from jaxmlp.checking.programs.tape import Spot, Tape
from jaxmlp.checking.report import Diagnosis
from jaxmlp.checking.truth.derivative import Derivative
from jaxmlp.params import Params

PRODUCT = ("transpose", "wrong order", "stale value")  # what befalls a product with a weight


def values_of(tape: Tape, params: Params) -> dict[int, Line]:
    """The lines of the forward pass by the numbers of their values; parameters are lines too.

    Args:
        tape: of a network's loss.
        params: of the network.
    """
    leaves = iter(tape.leaves)
    found: dict[int, Line] = {}
    for index, (_, bias) in enumerate(params):
        for symbol in ("W",) if bias is None else ("W", "b"):
            found[next(leaves)] = Line(symbol, index)
    layer = 0
    for op in tape.operations:
        if op.name == NAME and op.equation.params["name"] == "h":
            found[op.output] = Line("h", layer)
        elif op.name == NAME:
            found[op.output] = Line("z", layer)
        elif op.name == "dot_general":  # of which the first one depends on its weight alone
            found[op.output] = Line("z", layer + 1) if layer else Line("W", 0)
            layer += 1
        elif op.output == tape.output[1]:
            found[op.output] = Line("z", layer)  # by which all is multiplied as by ∂C/∂z_L
        elif op.name in ("add", "reshape", "broadcast_in_dim"):
            of_bias = any(
                found.get(number) == Line("b", layer - 1) for number in op.inputs.values()
            )
            found[op.output] = (
                Line("b", layer - 1) if of_bias and op.name != "add" else Line("z", layer)
            )
        else:
            found[op.output] = Line("h", layer)
    return found


def derivative_by(value: Line) -> Line:
    """The line of the derivative by a value."""
    return Line(f"d{value.symbol}", value.index)


def _numbers(tape: Tape, spot: Spot) -> Iterable[int]:
    """The values by which the derivative at a spot is."""
    if spot.argument is None:
        return tape.numbers[spot.place]
    inputs = (op.inputs for op in tape.operations if op.place == spot.place)
    return [each[spot.argument] for each in inputs if spot.argument in each]


def diagnose(found: Found, wrong: Iterable[str]) -> Diagnosis:
    """The mistake in the words of the derivation.

    Args:
        found: by a search.
        wrong: names of the leaves of the gradient that are ever wrong.
    """
    deepest = max(found.evidence, key=lambda each: len(each.case.params))
    wrong = set(wrong)
    told = [(each, _lines(deepest, each, wrong)) for each in found.explanations]
    depth = len(deepest.case.params)
    first, lines = told[0]
    if _hidden(lines, depth):
        first, lines = min((t for t in told if _hidden(t[1], depth)), key=_order)
    also = tuple(
        f"{', '.join(line.name for line in others)}: {each.kind}: {_in_layers(each.says)}"
        for each, others in told
        if each.rank == first.rank and (each.kind, others) != (first.kind, lines)
    )
    names = tuple(line.name for line in lines)
    numbers = tuple(dict.fromkeys(line.equation(depth) for line in lines))
    also = tuple(dict.fromkeys(also))[:3]
    return Diagnosis(names, numbers, first.kind, _in_layers(first.says), also)


def _in_layers(says: str) -> str:
    """A sentence in the words of networks: the rounds of the loop in their loss are layers."""
    return re.sub(r"\bround\b", "layer", says).replace(LOGITS, "the logits")


def _hidden(lines: Sequence[Line], depth: int) -> bool:
    """Whether lines are derivatives in hidden layers, where one of two may be to blame."""
    return all(line.symbol in ("dz", "dh") and line.index < depth for line in lines)


def _order(told: tuple[Explanation, Sequence[Line]]) -> tuple[int, int]:
    """What to blame for the same numbers: the plainest mistake, in what is multiplied in last."""
    explanation, lines = told
    symbol = "dh" if explanation.kind in PRODUCT else "dz"
    return plainness(explanation.kind), -sum(line.symbol == symbol for line in lines)


def _lines(deepest: Evidence, explanation: Explanation, wrong: set[str]) -> list[Line]:
    """The lines that an explanation says are wrong, in a network of the largest depth."""
    if explanation.line:
        return [Line(explanation.line)]
    if explanation.forward is None:
        spots = explanation.spots
        return list(dict.fromkeys(line for each in spots for line in _at(deepest, each, wrong)))
    (place,) = explanation.forward
    if place[0] == "batch":
        return [INPUTS if place == ("batch", 0) else LABELS]
    values = values_of(deepest.tape, deepest.case.params)
    return [values[op.output] for op in deepest.tape.operations if op.place == place]


class Worked(NamedTuple):
    """A small case as a mistake has it.

    Attributes:
        lines: all of the derivation.
        wrong: those that are wrong themselves.
    """

    lines: dict[Line, Array]
    wrong: set[Line]


def work(found: Found, small: Evidence, derivative: Derivative) -> Worked | None:
    """Every line of a small case with the mistake that was found in others."""
    view = in_lines(small) if found.tape.origins else small
    for explanation in found.explanations:
        tape = view.tape
        if explanation.forward is not None:
            tape = again(derivative, view, explanation.forward)
        by_number = tape.backward(explanation.faults(view) if explanation.faults else {})
        if view.fits(view.expected + view.read(by_number) - view.read(view.tape.right)):
            mistaken = set(_lines(view, explanation, set()))
            return Worked(_all_lines(tape, small.case, by_number, explanation.line), mistaken)
    return None


def _all_lines(
    tape: Tape, case: Case, by_number: Mapping[int, Array], line: str
) -> dict[Line, Array]:
    """The lines of the derivation by a tape and the derivatives by its values."""
    values = values_of(tape, case.params)
    found: dict[Line, Array] = {}
    for number, of in values.items():  # of several values of one line the last one is meant
        if number == tape.output[1] or (of.symbol in "Wb" and number not in tape.leaves):
            continue
        if of.symbol in "zh":
            found[of] = tape.values[number]
        if number in by_number:
            found[derivative_by(of)] = by_number[number].reshape(tape.values[number].shape)
    depth = len(case.params)
    y = np.asarray(case.batch.labels, float)
    found[Line("p")] = softmax(found[Line("z", depth)])
    if line == "p":  # what (12) needs for what ∂C/∂z_L is
        needed = len(y) * found[Line("dz", depth)] + y
        found[Line("p")] = needed / y.sum(axis=1, keepdims=True)
    return found


def _at(deepest: Evidence, spot: Spot, wrong: set[str]) -> list[Line]:
    """The lines of the derivatives at a spot; of leaves, those that are ever wrong."""
    values = values_of(deepest.tape, deepest.case.params)
    lines = {derivative_by(values[number]) for number in _numbers(deepest.tape, spot)}
    found = sorted(lines, key=lambda line: line.index)
    kept = [line for line in found if line.symbol not in ("dW", "db") or line.name in wrong]
    return kept or found
