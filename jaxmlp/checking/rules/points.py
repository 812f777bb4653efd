"""The points at which a rule is looked at: ordinary ones, and those at which rules go wrong."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.rules.domains import Domain
from jaxmlp.checking.rules.function import Function
from jaxmlp.checking.rules.parts import Part

ORDINARY = 3  # points drawn for each function
SPECIAL = (
    0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 1.5, 3.0, -3.0, 4.0, 10.0, -10.0, 30.0, -30.0,
    1e-3, -1e-3, 1e-6, -1e-6, 1e-10, -1e-10, 100.0, -100.0, 1e4, -1e4,
)  # fmt: skip
TINY, HUGE = 1e-250, 1e250
BESIDE = (1e-3, 1e-6)  # relative distances from an edge
LARGE = 64  # numbers in a leaf, from which it is only filled, and no single one is set


class Point(NamedTuple):
    """Where to look.

    Attributes:
        row: all floating numbers.
        about: a few words, such as `x = 0`.
        ordinary: whether nothing is special about it.
    """

    row: Array
    about: str
    ordinary: bool = False


def points(function: Function, domains: Sequence[Domain], seed: int = 0) -> Iterator[Point]:
    """The points of a function, the ordinary ones first.

    Args:
        function: with the arguments that were given.
        domains: of each argument.
        seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)
    base = function.row()
    yield Point(base, "the given arguments", True)
    places = [(part, domains[part.argument]) for part in function.parts]
    free = [(part, domain) for part, domain in places if not domain.fixed]
    ordinary = [base]
    for _ in range(ORDINARY if free else 0):
        row = base.copy()
        for part, domain in free:
            _set(row, part, _drawn(domain, rng, row, part))
        ordinary.append(row)
        yield Point(row, "numbers drawn at random", True)
    for part, domain in free:
        for leaf, about in special_leaves(part, domain, ordinary[-1]):
            row = ordinary[len(about) % len(ordinary)].copy()
            _set(row, part, leaf)
            yield Point(row, f"{part.name} {about}")
    if len(free) > 1:
        yield from _together(free, ordinary[-1])


def _together(free: Sequence[tuple[Part, Domain]], base: Array) -> Iterator[Point]:
    """The same special number in every argument that may have it."""
    for number in SPECIAL[:9]:
        row, count = base.copy(), 0
        for part, domain in free:
            if domain.holds(number) and not domain.given and not domain.form:
                row[part.start : part.stop] = number
                count += 1
        if count > 1:
            yield Point(row, f"all = {number:g}")


def _drawn(domain: Domain, rng: np.random.Generator, row: Array, part: Part) -> Array:
    if domain.given:
        return np.asarray(domain.given[rng.integers(len(domain.given))], np.float64)
    return domain.draw(rng, row[part.start : part.stop].reshape(part.shape))


def _set(row: Array, part: Part, leaf: Array) -> None:
    row[part.start : part.stop] = np.broadcast_to(leaf, part.shape).ravel()


def special_leaves(part: Part, domain: Domain, base: Array) -> Iterator[tuple[Array, str]]:
    """What is special for a leaf, with a few words about it."""
    if domain.given:
        for number, value in enumerate(domain.given):
            yield np.asarray(value, np.float64), f"= value {number} of its domain"
        return
    leaf = base[part.start : part.stop].reshape(part.shape)
    if len(part.shape) >= 2 and part.shape[-1] == part.shape[-2] > 1:
        yield from special_matrices(leaf, domain)
    if domain.form:
        return
    numbers = dict.fromkeys(number for number in special_numbers(domain) if domain.holds(number))
    for number in numbers:
        yield np.full(part.shape, number), f"= {number:g}"
    if 1 < leaf.size <= LARGE:
        for number in list(numbers)[:9]:
            for place in dict.fromkeys((0, leaf.size - 1)):
                other = leaf.copy()
                other.flat[place] = number
                yield other, f"with {part.entry(part.start + place)} = {number:g}"
        half = leaf.size // 2
        for rows, which in ((slice(half), "first"), (slice(half, None), "last")):
            other = leaf.copy()
            other.reshape(-1)[rows] = 0.0
            if domain.holds(0.0):
                yield other, f"with its {which} half 0"
        yield np.full(part.shape, leaf.flat[0]), "with equal entries"
        two = leaf.copy()
        two.flat[1] = two.flat[0]
        yield two, "with two equal entries"


def special_numbers(domain: Domain) -> list[float]:
    """Numbers at which rules go wrong: whole and half ones, edges, tiny and huge ones."""
    edges = [end for end in (domain.low, domain.high) if math.isfinite(end)]
    width = domain.high - domain.low if len(edges) == 2 else 1.0
    beside = [
        end + sign * width * distance for end in edges for sign in (1, -1) for distance in BESIDE
    ]
    sizes = [sign * each for each in (TINY, HUGE) for sign in (1, -1)]
    return [*edges, *SPECIAL, *beside, *sizes]


def special_matrices(leaf: Array, domain: Domain) -> Iterator[tuple[Array, str]]:
    """Matrices at which linear algebra goes wrong, in place of an ordinary one."""
    n = leaf.shape[-1]
    steps = np.arange(1.0, n + 1)
    yield _stacked(np.eye(n), leaf), "= the identity"
    yield _stacked(np.diag(steps), leaf), "diagonal"
    yield _stacked(np.diag(np.r_[steps[:1], steps[:-1]]), leaf), "with a repeated eigenvalue"
    if domain.form == "positive definite":
        return
    yield _stacked(np.zeros((n, n)), leaf), "= 0"
    yield _stacked(np.ones((n, n)), leaf), "with all entries 1"
    for place, name in ((0, "first"), (n // 2, "middle"), (n - 1, "last")):
        pivots = steps.copy()
        pivots[place] = 0.0
        yield _stacked(np.diag(pivots), leaf), f"diagonal, singular, its {name} pivot 0"
    if domain.form:
        return
    row, column = leaf.copy(), leaf.copy()
    row[..., 0, :] = 0.0
    column[..., 1] = column[..., 0]
    yield row, "with a row of zeros"
    yield column, "with two equal columns"
    yield _stacked(np.triu(np.ones((n, n)), 1), leaf), "nilpotent"
    yield _stacked(np.eye(n)[::-1], leaf), "a permutation"


def _stacked(matrix: Array, leaf: Array) -> Array:
    return np.broadcast_to(matrix, leaf.shape).copy()
