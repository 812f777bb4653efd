"""A constant factor and the size that it equals."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.cases import Case

Sizes = Mapping[str, int]
N = "the batch size N"
VARYING = "varying factor"
CLOSE = 1e-5  # relative difference up to which a measured factor equals another number

POWERS: dict[str, Callable[[float], float]] = {
    "it is multiplied by {}": lambda size: size,
    "it is divided by {}": lambda size: 1 / size,
    "it is multiplied by the square root of {}": lambda size: size**0.5,
    "it is divided by the square root of {}": lambda size: size**-0.5,
    "it is multiplied by the square of {}": lambda size: size**2,
    "it is divided by the square of {}": lambda size: size**-2,
    "it is multiplied by twice {}": lambda size: 2 * size,
    "it is divided by twice {}": lambda size: 0.5 / size,
}


def sizes_of(case: Case) -> Sizes:
    """The sizes that a factor may equal, the most likely first: the lengths of axes, by name."""
    if case.shape:
        widths = case.shape.sizes
        return {
            N: case.shape.n,
            "the number of outputs": widths[-1],
            "the number of inputs": widths[0],
            "the width of the first hidden layer": widths[1],
            "the width of the last hidden layer": widths[-2],
            "the number of layers": case.shape.depth,
        }
    sizes: dict[str, int] = {}
    if rows := rows_of(case):
        sizes[N] = rows
    for what, tree in (("batch", case.batch), ("params", case.params)):
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            where = jax.tree_util.keystr(path, simple=True, separator=".")
            for axis, length in enumerate(np.shape(leaf)):
                sizes.setdefault(f"the length of axis {axis} of {what}.{where}".rstrip("."), length)
    return sizes


def rows_of(case: Case) -> int:
    """How many examples a batch has, if its leaves agree on that; else 0."""
    lengths = {np.shape(leaf)[0] for leaf in jax.tree.leaves(case.batch) if np.ndim(leaf)}
    return lengths.pop() if len(lengths) == 1 else 0


def factor_between(expected: Array, received: Array) -> float:
    """By what number an array seems multiplied, by least squares; NaN where that is unknown."""
    with np.errstate(all="ignore"):
        square = float(np.sum(expected**2))
        if not 0 < square < np.inf:
            return np.nan
        return float(np.sum(expected * received)) / square


def name_factor(factors: Sequence[float], sizes: Sequence[Sizes]) -> tuple[str, str]:
    """The kind of mistake that a factor is, and a sentence that says what it equals.

    Args:
        factors: one for each case; NaN where none could be measured.
        sizes: the sizes of each case, by name.
    """
    known = [(f, each) for f, each in zip(factors, sizes, strict=True) if np.isfinite(f)]

    def equals(value: Callable[[Sizes], float]) -> bool:
        return all(np.isclose(factor, value(each), rtol=CLOSE) for factor, each in known)

    if equals(lambda each: -1):
        return "sign", "the sign is wrong"
    if equals(lambda each: 0):
        return "missing", "it is zero: the line is missing"
    for sign, but in ((1, ""), (-1, ", and the sign is wrong")):
        if found := _sized(lambda value, sign=sign: equals(lambda each: sign * value(each)), known):
            return found[0], found[1] + but
    constant = known[0][0]
    if equals(lambda each: constant):
        says = {2: "it is doubled", 0.5: "it is halved"}.get(round(constant, 9))
        digits = 6 if f"{constant:.6g}" != "1" else 15
        says = says or f"it is multiplied by {constant:.{digits}g}"
        return "constant factor", says + _same_everywhere(constant, [each for _, each in known])
    wrong = [pair for pair in zip(factors, sizes, strict=True) if not np.isclose(pair[0], 1, CLOSE)]
    if 1 < len([pair for pair in wrong if np.isfinite(pair[0])]) < len(known):
        kind, says = name_factor(*zip(*wrong, strict=True))
        if kind != VARYING:
            return kind, f"on some cases {says}"
    return VARYING, "it is multiplied by a number that differs from case to case"


def _same_everywhere(constant: float, sizes: Sequence[Sizes]) -> str:
    """What a constant may come from: a size that is the same in all cases."""
    telling = constant > 0 and constant not in (1, 2, 0.5)
    for name in sizes[0] if telling else ():
        for value, by in {
            constant: "",
            1 / constant: "1 / ",
            constant**2: "the square root of ",
            constant**-2: "1 / the square root of ",
        }.items():
            if all(name in each and np.isclose(each[name], value, CLOSE) for each in sizes):
                return f", which is {by}{name}{' in all cases' * (len(sizes) > 1)}"
    return ""


def _sized(
    equals: Callable[[Callable[[Sizes], float]], bool], known: Sequence[tuple[float, Sizes]]
) -> tuple[str, str] | None:
    """A factor made of sizes, if it is one and those sizes differ from case to case."""
    shared = [name for name in known[0][1] if all(name in each for _, each in known)]
    columns = {name: tuple(each[name] for _, each in known) for name in shared}
    varied = {column: name for name, column in reversed(columns.items()) if len(set(column)) > 1}
    names = list(varied.values())[::-1]  # of a size that is always the same a constant says more
    if N in names:
        if equals(lambda each: each[N]):
            return "1/N missing", "it is N times too large: the 1/N of the mean is missing"
        if equals(lambda each: 1 / each[N]):
            return "extra 1/N", "it is N times too small: 1/N is there once too often"
        for by, other in (("N − 1", -1), ("N + 1", 1)):
            if equals(lambda each, other=other: each[N] / max(each[N] + other, 1)):
                return "1/N with another N", f"it is divided by {by} where N belongs"
    for name in names:
        for says, power in POWERS.items():
            if equals(lambda each, name=name, power=power: power(each[name])):
                return "constant factor", says.format(name)
    for one, two in itertools.permutations(names, 2):
        if equals(lambda each, one=one, two=two: each[one] / each[two]):
            if one == N:
                return "1/N with another N", f"it is divided by {two}, where {N} belongs"
            return "constant factor", f"it is multiplied by {one} and divided by {two}"
    for one, two in itertools.combinations(names, 2):
        for sign, how in ((1, "multiplied"), (-1, "divided")):
            if equals(lambda each, one=one, two=two, s=sign: (each[one] * each[two]) ** s):
                return "constant factor", f"it is {how} by {one} and by {two}"
    return None
