"""The lines of the forward and backward pass: right, wrong, or following from a mistake."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.homework.mistakes import Mistake
from jaxmlp.checking.homework.problems import Problem, close
from jaxmlp.checking.homework.understanding import Meaning


class Line(NamedTuple):
    """A line as it should be, and as it is.

    Attributes:
        name: such as z1, p or dW2.
        expected: its right numbers.
        value: its numbers; None if they are not known.
        status: right, wrong, follows or unknown, as in `report.Row`.
        inferred: whether the numbers follow from the mistake, and were not received.
    """

    name: str
    expected: Array
    value: Array | None
    status: str
    inferred: bool


def lines_of(
    problem: Problem, meaning: Meaning, gradients: Mapping[str, Array], mistakes: Sequence[Mistake]
) -> Iterator[Line]:
    """Every line, in the order of computation.

    Args:
        problem: the numbers that were tried.
        meaning: what is computed of them.
        gradients: that were received, by W1, b1 and so on.
        mistakes: which explain these, the likeliest first; maybe none.
    """
    made = meaning.expected(problem, {mistakes[0].line: mistakes[0].value}) if mistakes else {}
    for name, expected in meaning.expected(problem).items():
        received = gradients.get(name[1:]) if name.startswith("d") else None
        inferred = received is None and name in made
        value = made.get(name) if received is None else received / meaning.scale
        yield Line(name, expected, value, _status(name, expected, value, mistakes), inferred)


def _status(line: str, expected: Array, value: Array | None, mistakes: Sequence[Mistake]) -> str:
    if value is None:
        return "unknown"
    if close(value, expected):
        return "right"
    return "wrong" if not mistakes or line == mistakes[0].line else "follows"


def symbol_of(line: str) -> str:
    """Such as ∂C/∂z2, of dz2."""
    return f"∂C/∂{line[1:]}" if line.startswith("d") else line
