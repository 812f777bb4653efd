"""Mistakes in the forward pass that a gradient makes for itself."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import expit

from jaxmlp.checking.diagnosis.records import is_diagonal
from jaxmlp.checking.programs.tape import Operation
from jaxmlp.checking.reference import Array

Forward = Callable[[Sequence[Any], Array], Any]  # of the arguments and the value of an operation
SUMS = ("add", "sub", "add_any")
PRODUCTS = ("mul", "div")
FUNCTIONS: list[tuple[str, Callable[[Array], Any]]] = [
    ("it is left out", lambda z: z),
    ("relu is applied", lambda z: np.maximum(z, 0)),
    ("a leaky relu is applied (slope 0.01 below 0)",
     lambda z: np.where(z > 0, z, 0.01 * z)),
    ("relu6 is applied", lambda z: np.clip(z, 0, 6)),
    ("tanh is applied", np.tanh),
    ("a sigmoid is applied", expit),
]  # fmt: skip


def forward_mistakes(op: Operation) -> Iterator[tuple[str, str, Forward]]:
    """What may be computed in the place of an operation's value: kind, sentence, function."""
    if op.name in (*SUMS, *PRODUCTS) and len(op.given) == 2:
        for i in (0, 1):
            yield (
                "forward",
                "an operand is left out",
                lambda given, value, i=i: np.broadcast_to(given[i], value.shape),
            )
        if op.name == "add":
            yield "forward", "an operand is subtracted", lambda given, value: given[0] - given[1]
    if op.name == "dot_general":
        yield (
            "forward",
            "an operand is transposed",
            lambda given, value: np.reshape(given[0] @ given[1].T, value.shape),
        )
    arrays = [i for i, each in enumerate(op.given) if np.ndim(each)]
    if len(arrays) == 1 and is_diagonal(next(iter(op.jacobians.values()))):
        for says, of in FUNCTIONS:
            yield "forward", says, lambda given, value, of=of, i=arrays[0]: of(given[i])
    for dtype in (np.float32, np.float16):
        says = f"it is rounded to {np.dtype(dtype).name}"
        yield "precision lost", says, lambda given, value, dtype=dtype: value.astype(dtype)
