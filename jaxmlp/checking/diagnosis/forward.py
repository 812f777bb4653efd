"""Mistakes in the forward pass that a gradient makes for itself."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import expit

from jaxmlp.checking.diagnosis.changes import ANYWHERE
from jaxmlp.checking.diagnosis.records import is_diagonal
from jaxmlp.checking.programs.tape import Operation
from jaxmlp.checking.reference import Array

Value = Callable[[Sequence[Any], Array], Any]  # of the arguments and the value of an operation
SUMS = ("add", "sub", "add_any")
PRODUCTS = ("mul", "div")
INPUTS = ("precision lost", "wrong order", "absolute value")  # what befalls inputs
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
        for kind, says, of in FUNCTIONS:
            yield kind, says, lambda given, value, of=of, i=next(iter(op.inputs)): of(given[i])
    for dtype in (np.float32, np.float16):
        says = f"it is rounded to {np.dtype(dtype).name}"
        yield "precision lost", says, lambda given, value, dtype=dtype: value.astype(dtype)


def input_mistakes() -> Iterator[tuple[str, str, Value]]:
    """What may befall an input on its way into the loss."""
    for kind, says, of in ANYWHERE:
        if kind not in INPUTS:
            continue
        yield kind, says, lambda given, value, of=of: of(value)
