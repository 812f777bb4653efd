"""What a line of the derivation must have been, if it is wrong and all others are right."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxmlp.checking.agreement import agree
from jaxmlp.checking.arrays import Array
from jaxmlp.checking.network.reference import Line, Problem, all_lines, evaluate
from jaxmlp.checking.network.slopes import ACTIVATIONS

PAIRS = np.array([0.7, 0.7, -0.4, -0.4])  # z of the first layer, for one example


class Observation(NamedTuple):
    """What a gradient gave for one problem.

    Attributes:
        problem: the network and batch.
        received: the gradient's leaves.
        allowed: rounding bounds on all lines of the right gradient.
        right: all lines of the right derivation.
    """

    problem: Problem
    received: Mapping[Line, Array]
    allowed: Mapping[Line, Array]
    right: Mapping[Line, Array]


class LineSet(NamedTuple):
    """Lines of a symbol: every one, or the first or the last; dzL is ∂C/∂z_L, dz all others."""

    symbol: str
    end: str

    def lines(self, problem: Problem) -> list[Line]:
        """The lines meant, in a problem of any depth."""
        last = self.symbol == "dzL"
        symbol = "dz" if last else self.symbol
        hits = [line for line in all_lines(problem) if line.symbol == symbol]
        if symbol == "dz":
            hits = [line for line in hits if (line.index == problem.depth) == last]
        hits.sort(key=lambda line: line.index, reverse=self.end == "output")
        return hits if self.end == "every" else hits[:1]


class Inferred(NamedTuple):
    """What the freed lines of an observation must have been.

    Attributes:
        observation: that was looked at.
        lines: the freed ones, with their values.
        unique: whether only those values will do.
        spare: how many numbers of the gradient could have refuted it.
    """

    observation: Observation
    lines: dict[Line, Array]
    unique: bool
    spare: int

    def explained(self, wrong: Sequence[Line]) -> tuple[dict[Line, Array], set[Line]]:
        """All lines as they follow from the freed ones, and those that are wrong themselves.

        What is wrong may be the line before the freed one, which then is what it has to be.
        """
        problem = self.observation.problem
        lines, symbols = evaluate(problem, self.lines), {line.symbol for line in wrong}
        mistaken = set()
        for line, value in self.lines.items():
            if line == Line("dz", problem.depth) and symbols & {"p", "z"}:
                lines[Line("p")] = p = needed(problem, self.lines)
                before = Line("p")
                if "z" in symbols:  # up to a constant, which p does not show
                    before = Line("z", problem.depth)
                    z = np.log(np.maximum(p, np.finfo(float).tiny))
                    lines[before] = z - z.mean() + lines[before].mean()
                del lines[Line("C")]  # follows from a line that is not what it should be
            elif line.symbol == "dz" and "dh" in symbols:
                before = Line("dh", line.index)
                slope = ACTIVATIONS[problem.activation][1](lines[Line("z", line.index)])
                known = np.where(slope == 0, 1, slope)
                lines[before] = np.where(slope == 0, lines[before], value / known)
            else:
                before = line
            mistaken.add(before)
        return lines, mistaken


def needed(problem: Problem, lines: Mapping[Line, Array]) -> Array:
    """The p that (12) needs for what ∂C/∂z_L is."""
    dz = lines[Line("dz", problem.depth)]
    return (problem.n * dz + problem.y) / problem.y.sum(axis=1, keepdims=True)


def infer(seen: Observation, places: Sequence[LineSet]) -> Inferred | None:
    """What the lines at some places must be if all others are right; None if those are not."""
    free = [line for place in places for line in place.lines(seen.problem)]
    ends = [line for line in free if line.symbol in ("dW", "db")]
    bound = [line for line in seen.received if line not in ends]
    inner = [line for line in free if line not in ends]
    base, columns = _linear(seen, inner, bound)
    wanted = np.concatenate([np.ravel(seen.received[line]) for line in bound] or [np.zeros(0)])
    ends_at = np.cumsum([seen.right[line].size for line in bound])[:-1]
    parts = np.split(columns, ends_at) if bound else []
    roundings = [  # of the leaves, and of what is said of them here
        np.maximum(seen.allowed[line], np.abs(part).max(initial=0) * np.finfo(float).eps)
        for line, part in zip(bound, parts, strict=True)
    ]
    shift = np.zeros(columns.shape[1])
    rank = 0
    if inner and bound:  # alike in all rows of a leaf, and tiny leaves count as much as others
        scale = np.concatenate([np.full(each.size, 1 / each.max()) for each in roundings])
        scaled = scale[:, None] * columns
        shift, _, rank, _ = np.linalg.lstsq(scaled, scale * (wanted - base), rcond=1e-13)
    predicted = np.split(base + columns @ shift, ends_at) if bound else []
    for line, part, rounding in zip(bound, predicted, roundings, strict=True):
        right = seen.right[line]
        if not agree(seen.received[line], part.reshape(right.shape), rounding, right):
            return None
    lines = {line: seen.received[line] for line in ends}
    start = 0
    for line in inner:
        right = seen.right[line]
        lines[line] = right + shift[start : start + right.size].reshape(right.shape)
        start += right.size
    return Inferred(seen, lines, rank == columns.shape[1], len(wanted) - int(rank))


def _linear(seen: Observation, free: Sequence[Line], bound: Sequence[Line]) -> tuple[Array, Array]:
    """The bound leaves as they follow from the freed lines: with those right, and by each entry."""

    def leaves(values: dict[Line, Array]) -> Array:
        lines = evaluate(seen.problem, values)
        return np.concatenate([np.ravel(lines[line]) for line in bound] or [np.zeros(0)])

    right = {line: seen.right[line] for line in free}
    base, columns = leaves(right), []
    for line in free:
        for place in np.ndindex(seen.right[line].shape):
            moved = right[line].copy()
            moved[place] += 1
            columns.append(leaves({**right, line: moved}) - base)
    return base, np.stack(columns, axis=1) if columns else np.zeros((len(base), 0))


LARGEST = 200  # numbers in a line that is freed
SAME = 1e-3  # of a deviation: two inferred lines that differ by less are the same
UNKNOWN = "none of the known mistakes explains the numbers"
ALIKE = {
    "p": {"p", "dzL", "y"}, "dz": {"dz", "dh", "y"}, "dh": {"dz", "dh"}, "dW": {"dW"},
    "db": {"db"}, "h": {"h", "z", "x"}, "z": {"h", "z", "x"},
}  # fmt: skip


class Located(NamedTuple):
    """Where the mistake is.

    Attributes:
        lines: that are wrong, in the deepest problem.
        equations: their numbers.
        says: how that is known.
        places: that were freed to find it out; none for a line of the forward pass.
    """

    lines: tuple[Line, ...]
    equations: tuple[int, ...]
    says: str
    places: tuple[LineSet, ...] = ()

    @property
    def at_ends(self) -> bool:
        """Whether the lines are leaves of the gradient, with no other line to blame."""
        return all(line.symbol in ("dW", "db") for line in self.lines)

    def holds(self, observations: Sequence[Observation]) -> bool:
        """Whether the lines that were freed explain what other cases gave too."""
        small = [seen for seen in observations if size_of(seen) <= LARGEST and is_finite(seen)]
        return not self.places or bool(fitting(small, self.places)) or not small

    @property
    def symbols(self) -> set[str]:
        """Of the places where a mistake could be to the same effect."""
        return {symbol for line in self.lines for symbol in ALIKE[line.symbol]} | {
            "dzL" for place in self.places if place.symbol == "dzL"
        }


def fitting(observations: Sequence[Observation], places: Sequence[LineSet]) -> list[Inferred]:
    """What is inferred for all observations, or nothing if a hypothesis is refuted by one."""
    found = []
    for seen in observations:
        inferred = infer(seen, places)
        if inferred is None:
            return []
        found.append(inferred)
    return found


def size_of(seen: Observation) -> int:
    """How many numbers the largest line has."""
    return max(np.size(value) for value in seen.right.values())


def is_finite(seen: Observation) -> bool:
    """Whether nothing that was received is NaN or infinite."""
    return all(np.isfinite(value).all() for value in seen.received.values())
