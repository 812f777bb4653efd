"""Where a program switches: inputs at which a comparison, a clamp or a rounding changes sides.

Formulas for special values of a parameter are often written without the parameter, so that the
derivative there is 0. The program itself says where it compares: what it compares is searched for
zeros along every argument.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.programs.execution import Machine
from jaxmlp.checking.rules.domains import Domain
from jaxmlp.checking.rules.function import Function
from jaxmlp.checking.rules.parts import Part
from jaxmlp.checking.rules.points import Point, special_numbers

COMPARING = ("eq", "ne", "lt", "le", "gt", "ge", "max", "min")
WHOLE = ("floor", "ceil", "round")
BISECTIONS = 60
ROOTS = 16  # of one number
MOST = 60  # points in all
BESIDE = (1e-3, -1e-3, 1e-6, -1e-6)  # relative distances from a switch
FEW = 32  # numbers in a leaf, of which each is moved


class _Watching(Machine):
    """Executes a program, and keeps how far what it compares is from being equal."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.distances: list[Array] = []

    def operation(self, equation: Any, values: list[Any]) -> list[Any]:
        name = equation.primitive.name
        if all(getattr(each, "dtype", np.dtype(bool)).kind == "f" for each in values):
            if name in COMPARING and len(values) == 2:
                self._keep(values[0] - values[1])
            elif name in ("abs", "sign"):
                self._keep(values[0])
            elif name == "clamp":
                self._keep(values[1] - values[0])
                self._keep(values[1] - values[2])
            elif name in WHOLE or (
                name == "convert_element_type"
                and np.dtype(equation.params["new_dtype"]).kind == "i"
            ):
                self._keep(values[0] - np.rint(values[0]))
        return super().operation(equation, values)

    def _keep(self, distance: Any) -> None:
        if np.ndim(distance) and len(distance) == self.rows:
            self.distances.append(np.asarray(distance).reshape(self.rows, -1))


class Switches:
    """What a function compares, for many rows at once."""

    def __init__(self, function: Function) -> None:
        """Get ready; the function has to be one that JAX can trace."""
        self.function = function
        self.programs: dict[int, Any] = {}

    def distances(self, rows: Array) -> Array:
        """How far everything that is compared is from being equal: (rows, comparisons)."""
        leaves, count = self.function.split(rows), len(rows)
        with jax.enable_x64(self.function.wide), np.errstate(all="ignore"):
            if count not in self.programs:
                batched = jax.vmap(self.function.output_row)
                self.programs[count] = jax.make_jaxpr(batched)(*leaves)
            machine = _Watching(count)
            machine(self.programs[count], *leaves)
        return np.concatenate(machine.distances or [np.zeros((count, 0))], axis=1)


def switch_points(
    function: Function, domains: Sequence[Domain], bases: Sequence[Array]
) -> Iterator[Point]:
    """Points on everything that a function compares, and a little beside it.

    Args:
        function: that JAX can trace; for others there are no points.
        domains: of its arguments.
        bases: ordinary rows, of which one number is moved.
    """
    yield from itertools.islice(_every(Switches(function), domains, bases), MOST)


def _every(
    switches: Switches, domains: Sequence[Domain], bases: Sequence[Array]
) -> Iterator[Point]:
    function = switches.function
    for part in function.parts:
        domain = domains[part.argument]
        if domain.fixed or domain.given or domain.form or part.stop - part.start > FEW:
            continue
        for place in range(part.start, part.stop):
            for base in bases:
                try:
                    found = roots(switches, base, place, domain)
                except Exception:  # a function that cannot be traced for many rows
                    return
                for root in found:
                    yield from _around(base, part, place, root, domain)


def _around(base: Array, part: Part, place: int, root: float, domain: Domain) -> Iterator[Point]:
    name = part.entry(place)
    row = base.copy()
    row[place] = root
    yield Point(row, f"{name} = {root:.6g}, where the program switches")
    for distance in BESIDE:
        beside = root + distance * (abs(root) or 1.0)
        if domain.holds(beside):
            row = base.copy()
            row[place] = beside
            yield Point(row, f"{name} = {beside:.9g}, beside a switch")


def roots(switches: Switches, base: Array, place: int, domain: Domain) -> list[float]:
    """The values of one number at which something that is compared is equal."""
    grid = _grid(domain)
    rows = np.repeat(base[None], len(grid), axis=0)
    rows[:, place] = grid
    distances = switches.distances(rows)
    found = [float(grid[i]) for i in range(len(grid)) if _meets(distances, i)]
    signs = np.sign(distances)
    changes = np.argwhere((signs[1:] * signs[:-1]) < 0)
    if len(changes):
        low, high = grid[changes[:, 0]], grid[changes[:, 0] + 1]
        columns, start = changes[:, 1], signs[changes[:, 0], changes[:, 1]]
        found += _bisected(switches, base, place, low[:256], high[:256], columns[:256], start[:256])
    distinct: list[float] = []
    for root in sorted(found, key=lambda each: (len(f"{each:.12g}"), abs(each))):
        if all(abs(root - other) > 1e-9 * (1 + abs(other)) for other in distinct):
            distinct.append(root)
    return distinct[:ROOTS]


def _meets(distances: Array, i: int) -> bool:
    """Whether something compared is equal at one place of a grid, and not all around it."""
    near = [j for j in (i - 1, i + 1) if 0 <= j < len(distances)]
    return bool(np.any((distances[i] == 0) & np.any(distances[near] != 0, axis=0)))


def _bisected(
    switches: Switches, base: Array, place: int, low: Array, high: Array, columns: Array,
    start: Array,
) -> list[float]:  # fmt: skip
    """Between pairs of numbers, where a comparison changes: as exact as floats are."""
    each = np.arange(len(low))
    rows = np.repeat(base[None], len(low), axis=0)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        rows[:, place] = middle
        sign = np.sign(switches.distances(rows)[each, columns])
        low, high = np.where(sign == start, middle, low), np.where(sign == start, high, middle)
    return [_plain(a, b) for a, b in zip(low, high, strict=True)]


def _plain(low: float, high: float) -> float:
    """The plainest number between two that are next to each other, or nearly so."""
    for digits in range(1, 17):
        plain = float(f"{high:.{digits}g}")
        if abs(plain - high) <= 4 * abs(high - low) + 1e-15 * abs(high):
            return plain
    return float(high)


def _grid(domain: Domain) -> Array:
    """Numbers of a domain, in order, among which switches are looked for."""
    some = [each for each in special_numbers(domain) if abs(each) < 1e6 and domain.holds(each)]
    low, high = max(domain.low, -12.0), min(domain.high, 12.0)
    some += list(np.linspace(low, high, 43)[1:-1]) if low < high else []
    return np.unique(some)
