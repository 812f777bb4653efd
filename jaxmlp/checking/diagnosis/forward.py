"""Mistakes in the forward pass that a gradient makes for itself."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import expit

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.diagnosis.changes import ANYWHERE
from jaxmlp.checking.diagnosis.evidence import Evidence
from jaxmlp.checking.diagnosis.explanation import Explanation, all_numbers
from jaxmlp.checking.diagnosis.records import is_diagonal
from jaxmlp.checking.programs.recording import Operation, Place
from jaxmlp.checking.programs.tape import Spot, Tape

Value = Callable[[Sequence[Any], Array], Any]  # of the arguments and the value of an operation
SUMS = ("add", "sub", "add_any")
PRODUCTS = ("mul", "div")
INPUTS = ("precision lost", "transpose", "wrong order", "absolute value")  # what befalls inputs
FUNCTIONS: list[tuple[str, str, Callable[[Array], Any]]] = [
    ("missing function", "it is left out", lambda z: z),
    ("wrong function", "relu is applied", lambda z: np.maximum(z, 0)),
    ("wrong function", "a leaky relu is applied (slope 0.01 below 0)",
     lambda z: np.where(z > 0, z, 0.01 * z)),
    ("wrong function", "relu6 is applied", lambda z: np.clip(z, 0, 6)),
    ("wrong function", "tanh is applied", np.tanh),
    ("wrong function", "a sigmoid is applied", expit),
]  # fmt: skip


def forward_mistakes(op: Operation) -> Iterator[tuple[str, str, Value]]:
    """What may be computed in the place of an operation's value: kind, sentence, function."""
    if op.name in (*SUMS, *PRODUCTS) and len(op.given) == 2:
        kind = "missing term" if op.name in SUMS else "missing factor"
        for i in (0, 1):
            yield (
                kind,
                "an operand is left out",
                lambda given, value, i=i: np.broadcast_to(given[1 - i], value.shape),
            )
        if op.name == "add":
            yield "sign", "an operand is subtracted", lambda given, value: given[0] - given[1]
    if op.name == "dot_general":
        yield (
            "transpose",
            "an operand is transposed",
            lambda given, value: np.reshape(given[0] @ given[1].T, value.shape),
        )
    if len(op.inputs) == 1 and is_diagonal(next(iter(op.jacobians.values()))):
        (only,) = op.inputs
        for kind, says, of in FUNCTIONS:
            yield kind, says, lambda given, value, of=of: of(given[only])
    for dtype in (np.float32, np.float16):
        says = f"it is rounded to {np.dtype(dtype).name}"
        yield "precision lost", says, lambda given, value, dtype=dtype: value.astype(dtype)


def input_mistakes() -> Iterator[tuple[str, str, Value]]:
    """What may befall an input on its way into the loss."""
    for kind, says, of in ANYWHERE:
        if kind not in INPUTS:
            continue
        yield kind, says, lambda given, value, of=of: of(value)


def forward_explanations(
    evidence: Sequence[Evidence], names: dict[Place, str], again: Callable[..., Tape]
) -> Iterator[Explanation]:
    """Mistakes in the gradient's own forward pass.

    Args:
        evidence: cases.
        names: of values, by place.
        again: executes the loss of some evidence with values replaced: (evidence, forward).
    """
    tape = evidence[0].tape
    steps = [(op.place, forward_mistakes(op)) for op in tape.operations if op.equation]
    given = [place for place in tape.at if place[0] == "batch"]
    steps += [(place, input_mistakes()) for place in given]
    for place, mistakes in steps:
        for kind, says, of in mistakes:
            forward = {place: _where_it_fits(of)}
            if all(each.fits(each.read(again(each, forward).right)) for each in evidence):
                of_it = f"of {names[place]} " if place[0] == "batch" else ""
                says = f"in its own forward pass {of_it}{says}"
                yield Explanation(
                    (Spot(place),), kind, says, all_numbers(evidence), forward=forward
                )


def _where_it_fits(of: Value) -> Value:
    """The mistake where it can be made; else the right value."""

    def changed(given: Sequence[Any], value: Array) -> Array:
        try:
            other = np.asarray(of(given, value), float)
        except (ValueError, IndexError, TypeError):
            return value
        return other if other.shape == value.shape else value

    return changed
