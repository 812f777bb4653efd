"""Mistakes in the forward pass that a gradient makes for itself."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.diagnosis.changes import ANYWHERE
from jaxmlp.checking.diagnosis.evidence import Evidence
from jaxmlp.checking.diagnosis.explanation import Explanation, all_numbers
from jaxmlp.checking.diagnosis.records import is_diagonal
from jaxmlp.checking.programs.recording import Operation, Place
from jaxmlp.checking.programs.tape import Change, Spot, Tape

Value = Callable[[Sequence[Any], Array], Any]  # of the arguments and the value of an operation
SUMS = ("add", "sub", "add_any")
PRODUCTS = ("mul", "div")
SMALL = 0.01  # what is added to a value and no larger may be an ε
EPSILONS = tuple(10.0**-k for k in range(2, 16))
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


class Slip(NamedTuple):
    """A mistake in a forward pass.

    Attributes:
        kind: in a few words.
        says: what was done.
        value: the same as a function.
        passes: the argument that stands for the operation, in the backward pass as well; None if
            that has the right derivative, at the wrong numbers.
    """

    kind: str
    says: str
    value: Value
    passes: int | None = None


def forward_mistakes(op: Operation) -> Iterator[Slip]:
    """What may be computed in the place of an operation's value."""
    if op.name in (*SUMS, *PRODUCTS) and len(op.given) == 2:
        kind = "missing term" if op.name in SUMS else "missing factor"
        for i in (0, 1):
            yield Slip(
                kind,
                "an operand is left out",
                lambda given, value, i=i: np.broadcast_to(given[1 - i], value.shape),
            )
        if op.name == "add":
            yield Slip("sign", "an operand is subtracted", lambda given, _: given[0] - given[1])
            yield from _other_epsilons(op)
    if op.name in PRODUCTS and len(op.given) == 2:
        yield from _left_out_of_both(op, "missing factor", "an operand is left out, and its slope")
    if op.name == "dot_general":
        yield Slip(
            "transpose",
            "an operand is transposed",
            lambda given, value: np.reshape(given[0] @ given[1].T, value.shape),
        )
    if len(op.inputs) == 1 and is_diagonal(next(iter(op.jacobians.values()))):
        (only,) = op.inputs
        for kind, says, of in FUNCTIONS:
            yield Slip(kind, says, lambda given, _, of=of: of(given[only]))
    if op.name == "select_n" and len(op.given) == 3:
        masked = len(op.inputs) == 1
        says = "a mask is left out" if masked else "one of two values is taken everywhere"
        yield from _left_out_of_both(op, "mask missing", says)
    for dtype in (np.float32, np.float16):
        says = f"it is rounded to {np.dtype(dtype).name}"
        yield Slip("precision lost", says, lambda _, value, dtype=dtype: value.astype(dtype))


def _other_epsilons(op: Operation) -> Iterator[Slip]:
    """Another small constant in the place of one that is added."""
    for i in {0, 1} - {*op.inputs}:
        numbers = np.unique(op.given[i])
        if len(numbers) != 1 or not 0 < numbers[0] <= SMALL:
            continue
        for other in EPSILONS:
            says = f"{other:g} stands for the ε of {numbers[0]:g}"
            yield Slip("another ε", says, lambda given, _, i=i, other=other: given[1 - i] + other)


def _left_out_of_both(op: Operation, kind: str, says: str) -> Iterator[Slip]:
    """One of the arguments in the place of an operation, forward and backward."""
    for i in op.inputs:
        if np.shape(op.given[i]) == op.equation.outvars[0].aval.shape:
            yield Slip(kind, says, lambda given, _, i=i: given[i], i)


def _passing(op: Operation, only: int) -> dict[Spot, Change]:
    """What comes back, for one argument alone, as if the operation were that."""
    return {
        Spot(op.place, i): lambda tape, op, argument, error: (
            error.reshape(-1) if argument == only else np.zeros(np.size(op.given[argument]))
        )
        for i in op.inputs
    }


def input_mistakes() -> Iterator[Slip]:
    """What may befall an input on its way into the loss."""
    for kind, says, of in ANYWHERE:
        if kind not in INPUTS:
            continue
        yield Slip(kind, says, lambda _, value, of=of: of(value))


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
    steps: list[tuple[Place, Any, Iterator[Slip]]] = [
        (op.place, op, forward_mistakes(op)) for op in tape.operations if op.equation
    ]
    given = [place for place in tape.at if place[0] == "batch"]
    steps += [(place, None, input_mistakes()) for place in given]
    for place, op, mistakes in steps:
        for slip in mistakes:
            forward = {place: _where_it_fits(slip.value)}
            faults = {} if slip.passes is None else _passing(op, slip.passes)
            if all(
                each.fits(each.read(again(each, forward).backward(faults))) for each in evidence
            ):
                of_it = f"of {names[place]} " if place[0] == "batch" else ""
                says = f"in its own forward pass {of_it}{slip.says}"
                yield Explanation(
                    (Spot(place),), slip.kind, says, all_numbers(evidence),
                    lambda each, faults=faults: faults, forward,
                )  # fmt: skip


def _where_it_fits(of: Value) -> Value:
    """The mistake where it can be made; else the right value."""

    def changed(given: Sequence[Any], value: Array) -> Array:
        try:
            other = np.asarray(of(given, value), float)
        except (ValueError, IndexError, TypeError):
            return value
        return other if other.shape == value.shape else value

    return changed
