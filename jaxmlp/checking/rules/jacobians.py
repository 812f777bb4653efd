"""The derivative of a function as JAX has it: entry by entry while small, else along directions."""

from collections.abc import Sequence

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.rules.domains import Domain
from jaxmlp.checking.rules.function import Function

MOST = 24  # numbers in an argument or a result that are looked at one by one
DRAWN = 6  # random directions, where there are more
MODES = ("forward", "reverse")


class Jacobian:
    """Products of the Jacobian of a function, by parts of its arguments.

    Attributes:
        function: the function.
        directions: for every part, those along which it moves (k, size).
        weights: of the outputs (l, m).
    """

    def __init__(
        self, function: Function, domains: Sequence[Domain], row: Array, seed: int
    ) -> None:
        """Choose the directions, and the weights at a row at which the function has values."""
        self.function = function
        rng = np.random.default_rng(seed)
        self.directions = []
        for part in function.parts:
            size = part.stop - part.start
            if domains[part.argument].form:
                self.directions.append(_symmetric(part.shape))
            else:
                drawn = rng.normal(size=(DRAWN, size)) if size > MOST else np.eye(size)
                self.directions.append(drawn)
        outputs = len(function.one(row))
        drawn = outputs > MOST
        self.weights = rng.normal(size=(DRAWN, outputs)) if drawn else np.eye(outputs)

    def of(self, function: Function) -> "Jacobian":
        """The same of another function of the same arguments and results."""
        other = object.__new__(Jacobian)
        other.function, other.directions, other.weights = function, self.directions, self.weights
        return other

    def products(self, mode: str, row: Array, part: int) -> tuple[Array, Array]:
        """The outputs, and the derivatives (k, l) of weighed outputs along directions of a part."""
        directions = self.directions[part]
        with np.errstate(all="ignore"):
            if mode == "forward":
                primal, found = self.function.forward(row, part, directions)
                return primal, found if self.whole else found @ self.weights.T
            primal, found = self.function.reverse(row, part, self.weights)
            return primal, found.T if is_unit(directions) else directions @ found.T

    @property
    def whole(self) -> bool:
        """Whether every output is looked at by itself."""
        return is_unit(self.weights)

    def along(self, part: int) -> Array:
        """The directions of a part as directions (k, n) of the whole row."""
        place = self.function.parts[part]
        rows = np.zeros((len(self.directions[part]), self.function.size))
        rows[:, place.start : place.stop] = self.directions[part]
        return rows

    def entry(self, part: int, direction: int) -> str:
        """The name of what moves along a direction."""
        place = self.function.parts[part]
        unit = is_unit(self.directions[part])
        return place.entry(place.start + direction) if unit else place.name


def is_unit(rows: Array) -> bool:
    """Whether each row is one number by itself."""
    return rows.shape[0] == rows.shape[1] and np.array_equal(rows, np.eye(len(rows)))


def _symmetric(shape: tuple[int, ...]) -> Array:
    """Directions that leave a matrix symmetric."""
    n = shape[-1]
    pairs = [(i, j) for i in range(n) for j in range(i + 1)]
    each = np.zeros((len(pairs), *shape))
    for k, (i, j) in enumerate(pairs):
        each[k, ..., i, j] = each[k, ..., j, i] = 1.0
    return each.reshape(len(pairs), -1)
