"""What people call the lines of a derivation, and which line each name means."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.network.reference import DIGITS, Line, Problem, all_lines

SPELLED = re.compile(
    r"(?P<d>∂[CL]/∂|d[CL]/d|d[CL]_d|∂|d_?|grad_)?(?P<of>[zhaWbpJC]|loss)_?(?P<at>\d*)"
)


def named_lines(value: Any, problem: Problem) -> dict[Line, Array]:
    """The lines that a derivation returned, by what they are.

    Raises:
        ValueError: if a name is no line's, or an array has not the shape of its line.
    """
    items = value._asdict() if hasattr(value, "_asdict") else value
    if not isinstance(items, Mapping):
        raise ValueError(
            f"it returns a {type(value).__name__}: return a dict or a NamedTuple of the lines by "
            "name, such as z1, h1, p, dz2, dW1, db1"
        )
    pairs = [
        (parse(str(name)), array)
        for name, each in items.items()
        for name, array in _flat(name, each, problem)
    ]
    if any(index == problem.depth for (symbol, index), _ in pairs if symbol in ("dW", "db")):
        pairs = [  # whoever counts weights from 1
            ((symbol, index - (symbol in ("dW", "db"))), array) for (symbol, index), array in pairs
        ]
    known = {(line.symbol, line.index): line for line in all_lines(problem)}
    found = {}
    for (symbol, index), array in pairs:
        if (symbol, index) not in known:
            names = ", ".join(line.name for line in known.values())
            raise ValueError(f"it returns a line {symbol}{index}: the lines are {names}")
        line = known[symbol, index]
        found[line] = as_real(line.name, array)
    if not found:
        raise ValueError("it returns no lines: name them as z1, h1, p, C, dz2, dW1, db1, dh1")
    return {line: found[line] for line in all_lines(problem) if line in found}


def as_real(name: str, line: Any) -> Array:
    """A line in float64.

    Raises:
        ValueError: if it is no array of real numbers.
    """
    try:
        array = np.asarray(line)
        if not np.iscomplexobj(array):
            return array.astype(np.float64)
    except (TypeError, ValueError):
        pass
    kind = "complex" if np.iscomplexobj(line) else f"a {type(line).__name__}"
    raise ValueError(f"{name} is {kind}: return an array of real numbers")


def parse(name: str) -> tuple[str, int]:
    """The symbol and the index that a name means: `∂C/∂z₂`, `dz2`, `dC_dz2` and `J2` are dz, 2."""
    spelled = SPELLED.fullmatch(name.translate(DIGITS).replace(" ", ""))
    if spelled is None:
        raise ValueError(
            f"it returns a line called {name!r}: name lines as z1, h1, p, C, dz2, dW1, db1, dh1"
        )
    letter = {"a": "h", "loss": "C"}.get(spelled["of"], spelled["of"])
    if letter == "J":
        letter, derivative = "z", True
    else:
        derivative = spelled["d"] is not None
    return ("d" if derivative else "") + letter, int(spelled["at"] or 0)


def _flat(name: str, value: Any, problem: Problem) -> Iterator[tuple[str, Any]]:
    """One named array, or the arrays of a tuple, numbered as the derivation numbers them."""
    if name == "grad":
        biases = [layer[1] is not None for layer in value]
        if biases != [bias is not None for bias in problem.biases]:
            raise ValueError(
                f"grad has biases {biases}: return a tuple of {problem.depth} layers (weight, "
                "bias) like the parameters"
            )
        for index, (weight, bias) in enumerate(value):
            yield f"dW{index}", weight
            if bias is not None:
                yield f"db{index}", bias
    elif isinstance(value, (tuple, list)):
        first = 0 if name in ("dW", "db") or (name == "h" and len(value) == problem.depth) else 1
        for index, array in enumerate(value, first):
            if not (name == "h" and index == 0):  # h₀ is x
                yield f"{name}{index}", array
    else:
        yield name, value
