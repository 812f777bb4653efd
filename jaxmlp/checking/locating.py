"""Where is the mistake, if it is none of those that are known?

A line that is wrong passes its error on to all that follow from it, and to nothing else. So each
line in turn is freed: may it hold any numbers, and every other line be right? Everything after a
backward line is linear in it, so the numbers that explain the gradient best are a least-squares
solution; the line is the mistake's place if nothing is left over.
"""

import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np

from jaxmlp.checking.agreement import agree
from jaxmlp.checking.cases import FORMS, Case, Shape, network_cases
from jaxmlp.checking.reference import (
    ACTIVATIONS,
    Array,
    Line,
    Problem,
    all_lines,
    evaluate,
    softmax,
)
from jaxmlp.params import Layer


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


class Place(NamedTuple):
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


# Few examples for their widths: so what is inferred of a line is the only thing possible. With two
# outputs the errors of any two labels would be multiples of each other.
PROBES = (
    Shape((3, 4, 3), True, 1),
    Shape((4, 4, 4, 3), True, 1),
    Shape((4, 5, 3), True, 2),
    Shape((4, 4, 4, 4), True, 2),
)
PAIRS = np.array([0.7, 0.7, -0.4, -0.4])  # z of the first layer, for one example
SEEDS = 4
MOST = 6  # observations that are solved for what is freed
LARGEST = 200  # numbers in a line that is freed
WIDE = np.linspace(-100, 100, 2001)
MOSTLY = 0.75  # of the observations, to be believed
SAME = 1e-3  # of a deviation: two inferred lines that differ by less are the same

UNKNOWN = "none of the known mistakes explains the numbers"
ALIKE = {
    "p": {"p", "dzL", "y"}, "dz": {"dz", "dh", "y"}, "dh": {"dz", "dh"}, "dW": {"dW"},
    "db": {"db"}, "h": {"h", "z", "x"}, "z": {"h", "z", "x"},
}  # fmt: skip
PLACES = (  # the last lines first
    *(Place(symbol, end) for end in ("input", "output", "every") for symbol in ("dW", "db")),
    *(Place("dz", end) for end in ("input", "output", "every")),
    Place("dzL", "every"),
)


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
    places: tuple[Place, ...] = ()

    @property
    def at_ends(self) -> bool:
        """Whether the lines are leaves of the gradient, with no other line to blame."""
        return all(line.symbol in ("dW", "db") for line in self.lines)

    def holds(self, observations: Sequence[Observation]) -> bool:
        """Whether the lines that were freed explain what other cases gave too."""
        small = [seen for seen in observations if _size(seen) <= LARGEST and _finite(seen)]
        return not self.places or bool(_fits(small, self.places)) or not small

    @property
    def symbols(self) -> set[str]:
        """Of the places where a mistake could be to the same effect."""
        return {symbol for line in self.lines for symbol in ALIKE[line.symbol]} | {
            "dzL" for place in self.places if place.symbol == "dzL"
        }


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
                lines[Line("p")] = p = _needed(problem, self.lines)
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


def _needed(problem: Problem, lines: Mapping[Line, Array]) -> Array:
    """The p that (12) needs for what ∂C/∂z_L is."""
    dz = lines[Line("dz", problem.depth)]
    return (problem.n * dz + problem.y) / problem.y.sum(axis=1, keepdims=True)


Ask = Callable[[Case], Observation | None]


def locate(
    ask: Ask, failing: Sequence[tuple[Case, Observation]], bias: bool, depths: Container[int]
) -> Located | None:
    """The fewest lines that, if they are wrong, explain everything that was received.

    Args:
        ask: what the gradient gives for a case, None if it gives nothing that can be compared.
        failing: cases on which it is wrong.
        bias: whether it can take biases.
        depths: of the networks that it is checked on.
    """
    shapes = [replace(shape, bias=bias) for shape in PROBES if shape.depth in depths]
    probes: list[tuple[Case, Observation]] = []
    for form in FORMS[::-1]:  # some mistakes can be made with classes only
        if not probes:
            tried = [(case, seen) for case in _probes(shapes, form) if (seen := ask(case))]
            probes = [(case, seen) for case, seen in tried if not _right(seen)]
    chosen = probes or [(case, seen) for case, seen in failing if _size(seen) <= LARGEST]
    chosen = [pair for pair in chosen if _finite(pair[1])]
    clear = [pair for pair in chosen if pair[0].kind != "tiny kinks"]  # numbers of one size
    chosen = (clear or chosen)[:MOST]
    if not chosen:
        return None
    observations = [seen for _, seen in chosen]
    singles = {
        place: inferred
        for place in PLACES
        if (inferred := _fits(observations, [place])) and _spare(inferred)
    }
    if singles:
        others = [seen for _, seen in failing if _size(seen) <= LARGEST and _finite(seen)]
        place = next((each for each in singles if _fits(others, [each])), next(iter(singles)))
        return _name(ask, [place], chosen, singles[place])
    if found := _forward([seen for _, seen in probes if _finite(seen)]):
        return found
    pairs = {
        pair: inferred
        for pair in itertools.combinations(PLACES, 2)
        if (inferred := _fits(observations, pair)) and _spare(inferred)
    }
    if not pairs:
        return None
    best = max(pairs, key=lambda pair: _spare(pairs[pair]))
    return _name(ask, best, chosen, pairs[best])


def _fits(observations: Sequence[Observation], places: Sequence[Place]) -> list[Inferred]:
    """What is inferred for all observations, or nothing if a hypothesis is refuted by one."""
    found = []
    for seen in observations:
        inferred = infer(seen, places)
        if inferred is None:
            return []
        found.append(inferred)
    return found


def _spare(inferred: Sequence[Inferred]) -> int:
    """How many numbers could have refuted what was inferred."""
    return sum(each.spare for each in inferred)


def _probes(shapes: Sequence[Shape], form: str) -> Iterator[Case]:
    """Dense cases of few examples; of a single one, with pairs of units that have the same z."""
    for seed in range(SEEDS):
        for case in network_cases(shapes, np.float64, seed, (form,)):
            if case.kind != "dense":
                continue
            if case.shape and case.shape.n == 1 and case.shape.bias:
                weight, _ = case.params[0]
                first = Layer(weight, (1 + seed) * PAIRS - (case.batch.x @ weight)[0])
                case = replace(case, params=(first, *case.params[1:]))
            yield case


def _size(seen: Observation) -> int:
    """How many numbers the largest line has."""
    return max(np.size(value) for value in seen.right.values())


def _finite(seen: Observation) -> bool:
    return all(np.isfinite(value).all() for value in seen.received.values())


def _right(seen: Observation) -> bool:
    return all(
        bool(np.all(np.abs(value - seen.right[line]) <= seen.allowed[line]))
        for line, value in seen.received.items()
    )


def infer(seen: Observation, places: Sequence[Place]) -> Inferred | None:
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


def _name(
    ask: Ask,
    places: Sequence[Place],
    chosen: Sequence[tuple[Case, Observation]],
    inferred: Sequence[Inferred],
) -> Located:
    """The lines meant by places, and which of two neighbours each is."""
    deepest = max(inferred, key=lambda each: each.observation.problem.depth)
    depth = deepest.observation.problem.depth
    lines: list[Line] = list(deepest.lines)
    if any(line.symbol == "dz" for line in lines):
        known = [(case, each) for (case, _), each in zip(chosen, inferred, strict=True)]
        twins = list(_twins(ask, places, known))
        if Line("dz", depth) in lines and _depends_on_labels(twins) is False:
            forward = Line("z", depth) if _depends_on_more(ask, places, known) else Line("p")
            lines[lines.index(Line("dz", depth))] = forward
        if any(line.symbol == "dz" and line.index < depth for line in lines) and _is_product(twins):
            hidden = (line.symbol == "dz" and line.index < depth for line in lines)
            lines = [
                Line("dh", line.index) if inner else line
                for line, inner in zip(lines, hidden, strict=True)
            ]
    numbers = tuple(dict.fromkeys(line.equation(depth) for line in lines))
    alone = "this line is" if len(lines) == 1 else "these lines are"
    says = f"all of them fit if {alone} wrong and every other one is right"
    return Located(tuple(lines), numbers, f"{UNKNOWN}, but {says}", tuple(places))


def _twins(
    ask: Ask, places: Sequence[Place], known: Sequence[tuple[Case, Inferred]]
) -> Iterator[tuple[Inferred, Inferred]]:
    """What was inferred of a case, beside the same for the same network with other labels."""
    for case, one in known:
        labels = np.asarray(case.batch.labels)
        rng = np.random.default_rng(0)
        others = (
            (labels + 1) % one.observation.problem.sizes[-1]
            if labels.ndim == 1
            else labels + rng.normal(size=labels.shape).astype(labels.dtype)
        )
        seen = ask(replace(case, batch=case.batch._replace(labels=others)))
        other = infer(seen, places) if seen and _finite(seen) else None
        if one.unique and other and other.unique:
            yield one, other


def _depends_on_labels(twins: Sequence[tuple[Inferred, Inferred]]) -> bool | None:
    """Whether p, as (12) would need it for what was received, changes with the labels."""
    changes = []
    for one, other in twins:
        ps = [_needed(e.observation.problem, e.lines) for e in (one, other)]
        if ps[0].min() < -SAME:
            return True  # no p: it is what is made of it that is wrong
        off = np.abs(ps[0] - one.observation.right[Line("p")]).max()
        changes.append(bool(np.abs(ps[0] - ps[1]).max() > SAME * off))
    return any(changes) if changes else None


def _depends_on_more(
    ask: Ask, places: Sequence[Place], known: Sequence[tuple[Case, Inferred]]
) -> bool:
    """Whether p changes with the last layer's weights and bias though its z stays the same.

    Then the mistake is in z (2), and not in p (4), which is a function of z alone.
    """
    for case, one in known:
        problem = one.observation.problem
        h = one.observation.right[Line("h", problem.depth - 1)] if problem.depth > 1 else problem.x
        unit = int(np.argmax(np.abs(h[0])))
        if problem.n > 1 or case.params[-1].bias is None or not h[0, unit]:
            continue
        weight, bias = jax.tree.map(np.array, case.params[-1])
        by = np.linspace(0.5, 1.5, len(bias))
        weight[unit] -= by / h[0, unit]
        moved = case.params[-1]._replace(weight=weight, bias=bias + by)
        seen = ask(replace(case, params=(*case.params[:-1], moved)))
        other = infer(seen, places) if seen and _finite(seen) else None
        if other and other.unique:
            ps = [_needed(each.observation.problem, each.lines) for each in (one, other)]
            off = np.abs(ps[0] - one.observation.right[Line("p")]).max()
            if np.abs(ps[0] - ps[1]).max() > SAME * off:
                return True
    return False


def _is_product(twins: Sequence[tuple[Inferred, Inferred]]) -> bool:
    """Whether the mistake is in ∂C/∂h (15) and not in the slope that it is multiplied with (16).

    The slope is a function of z alone: the labels do not change it. And what has passed a ReLU's
    mask is 0 where that is.
    """
    verdicts = []
    for one, other in twins:
        problem = one.observation.problem
        hidden = [line for line in one.lines if line.symbol == "dz" and line.index < problem.depth]
        if not hidden:
            continue
        slopes = []
        for each in (one, other):
            lines = evaluate(each.observation.problem, each.lines)
            slopes.append([each.lines[line] / lines[Line("dh", line.index)] for line in hidden])
        slope = ACTIVATIONS[problem.activation][1]
        right = [slope(one.observation.right[Line("z", line.index)]) for line in hidden]
        off = max(np.abs(a - r).max() for a, r in zip(slopes[0], right, strict=True))
        change = max(np.abs(a - b).max() for a, b in zip(*slopes, strict=True))
        passed = all(
            not np.any(np.abs(a) > SAME, where=r == 0)
            for a, r in zip(slopes[0], right, strict=True)
        )
        verdicts.append(bool(change > SAME * off) and passed)
    return bool(verdicts) and sum(verdicts) > len(verdicts) / 2


def _forward(observations: Sequence[Observation]) -> Located | None:
    """The first wrong line of the forward pass, from problems of one example with biases.

    There ∂C/∂z_l is ∂C/∂b^{l−1} itself, and a weight's gradient is the product of it with the h
    that was used. If that h is the same for two units of the same z, it is a function of z, and
    the mistake in (3), as it is if that h is no value of f at all; else it is in z (2).
    """
    wrong: dict[int, list[bool]] = {}
    sound: list[bool] = []
    kept: list[bool] = []
    beyond = False
    for seen in observations:
        if seen.problem.n > 1 or any(bias is None for bias in seen.problem.biases):
            continue
        used: dict[Line, Array] = {}
        for l in range(seen.problem.depth):
            weight, bias = (seen.received[Line(symbol, l)] for symbol in ("dW", "db"))
            if not np.any(bias):
                break  # nothing is passed on here, nor to the layers before
            h = _factor(weight, bias)
            if h is None:
                return None
            was = evaluate(seen.problem, used)[Line("h", l)] if l else seen.problem.x
            off = np.abs(h - was).max()
            if off > 1e-6 * max(1.0, np.abs(was).max()):
                pairs = l == 1 and h.shape[1] == len(PAIRS)
                alike = pairs and max(abs(h[0, 0] - h[0, 1]), abs(h[0, 2] - h[0, 3])) < SAME * off
                wrong.setdefault(l, []).append(bool(alike))
                sound.append(_passes_on(seen))
                kept.append(_is_kept(seen))
                beyond = beyond or not _in_range(h, seen.problem.activation)
                break
            used[Line("h", l)] = h
    if not wrong or np.mean(sound) < MOSTLY:
        return None
    at = min(wrong)
    line = Line("h" if at == 0 or beyond or all(wrong[at]) else "z", at)
    if line.symbol == "h" and np.mean(kept) < MOSTLY:
        return None  # z (2) is right, then, but not made of this h
    says = f"in the forward pass, {line.name} is the first line that is not what it should be"
    return Located((line,), (line.equation(at + 1),), f"{UNKNOWN}, but {says}")


def _is_kept(seen: Observation) -> bool:
    """Whether p is what it should be for the h that the last weight's gradient was made of."""
    last = seen.problem.depth - 1
    weight, bias = (seen.received[Line(symbol, last)] for symbol in ("dW", "db"))
    if not np.any(bias) or (h := _factor(weight, bias)) is None:
        return False
    p = _needed(seen.problem, {Line("dz", last + 1): bias[None]})
    z = h @ seen.problem.weights[last] + seen.problem.biases[last]
    return bool(np.abs(p - softmax(z)).max() < 1e-6)


def _passes_on(seen: Observation) -> bool:
    """Whether p is another one than it should be, as it is after a mistake in the forward pass.

    But probabilities nonetheless: otherwise it is the backward pass that has a mistake.
    """
    depth = seen.problem.depth
    p = _needed(seen.problem, {Line("dz", depth): seen.received[Line("db", depth - 1)][None]})
    off = np.abs(p - seen.right[Line("p")]).max()
    return bool(off > 1e-9) and _are_probabilities(p)


def _are_probabilities(p: Array) -> bool:
    return bool(np.all(p > -1e-9) and np.all(np.abs(p.sum(axis=1) - 1) < 1e-9))


def _in_range(h: Array, activation: str) -> bool:
    """Whether an activation takes these values: a ReLU gives nothing below 0."""
    values = ACTIVATIONS[activation][0](WIDE)
    return bool(np.all((h >= values.min() - SAME) & (h <= values.max() + SAME)))


def _factor(weight: Array, bias: Array) -> Array | None:
    """The h of which `weight` is the product hᵀ bias; None if it is no such product."""
    most = int(np.argmax(np.abs(bias)))
    h = weight[:, most] / bias[most]
    if np.abs(np.outer(h, bias) - weight).max() > SAME * np.abs(weight).max():
        return None
    return h[None]
