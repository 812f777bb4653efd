"""Where is the mistake, if it is none of those that are known?

A line that is wrong passes its error on to all that follow from it, and to nothing else. So each
line in turn is freed: may it hold any numbers, and every other line be right? Everything after a
backward line is linear in it, so the numbers that explain the gradient best are a least-squares
solution; the line is the mistake's place if nothing is left over.
"""

import itertools
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace

import jax
import numpy as np

from jaxmlp.checking.cases import FORMS, Case, network_cases
from jaxmlp.checking.network.forward_pass import wrong_forward
from jaxmlp.checking.network.inference import (
    LARGEST,
    PAIRS,
    SAME,
    UNKNOWN,
    Inferred,
    LineSet,
    Located,
    Observation,
    fitting,
    infer,
    is_finite,
    needed,
    size_of,
)
from jaxmlp.checking.network.reference import Line, evaluate
from jaxmlp.checking.network.shapes import Shape
from jaxmlp.checking.network.slopes import ACTIVATIONS
from jaxmlp.params import Layer

# Few examples for their widths: so what is inferred of a line is the only thing possible. With two
# outputs the errors of any two labels would be multiples of each other.
PROBES = (
    Shape((3, 4, 3), True, 1),
    Shape((4, 4, 4, 3), True, 1),
    Shape((4, 5, 3), True, 2),
    Shape((4, 4, 4, 4), True, 2),
)
SEEDS = 4
MOST = 6  # observations that are solved for what is freed

PLACES = (  # the last lines first
    *(LineSet(symbol, end) for end in ("input", "output", "every") for symbol in ("dW", "db")),
    *(LineSet("dz", end) for end in ("input", "output", "every")),
    LineSet("dzL", "every"),
)


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
    chosen = probes or [(case, seen) for case, seen in failing if size_of(seen) <= LARGEST]
    chosen = [pair for pair in chosen if is_finite(pair[1])]
    clear = [pair for pair in chosen if pair[0].kind != "tiny kinks"]  # numbers of one size
    chosen = (clear or chosen)[:MOST]
    if not chosen:
        return None
    observations = [seen for _, seen in chosen]
    singles = {
        place: inferred
        for place in PLACES
        if (inferred := fitting(observations, [place])) and _spare(inferred)
    }
    if singles:
        others = [seen for _, seen in failing if size_of(seen) <= LARGEST and is_finite(seen)]
        place = next((each for each in singles if fitting(others, [each])), next(iter(singles)))
        return _name(ask, [place], chosen, singles[place])
    if found := wrong_forward([seen for _, seen in probes if is_finite(seen)]):
        return found
    pairs = {
        pair: inferred
        for pair in itertools.combinations(PLACES, 2)
        if (inferred := fitting(observations, pair)) and _spare(inferred)
    }
    if not pairs:
        return None
    best = max(pairs, key=lambda pair: _spare(pairs[pair]))
    return _name(ask, best, chosen, pairs[best])


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


def _right(seen: Observation) -> bool:
    return all(
        bool(np.all(np.abs(value - seen.right[line]) <= seen.allowed[line]))
        for line, value in seen.received.items()
    )


def _name(
    ask: Ask,
    places: Sequence[LineSet],
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
    ask: Ask, places: Sequence[LineSet], known: Sequence[tuple[Case, Inferred]]
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
        other = infer(seen, places) if seen and is_finite(seen) else None
        if one.unique and other and other.unique:
            yield one, other


def _depends_on_labels(twins: Sequence[tuple[Inferred, Inferred]]) -> bool | None:
    """Whether p, as (12) would need it for what was received, changes with the labels."""
    changes = []
    for one, other in twins:
        ps = [needed(e.observation.problem, e.lines) for e in (one, other)]
        if ps[0].min() < -SAME:
            return True  # no p: it is what is made of it that is wrong
        off = np.abs(ps[0] - one.observation.right[Line("p")]).max()
        changes.append(bool(np.abs(ps[0] - ps[1]).max() > SAME * off))
    return any(changes) if changes else None


def _depends_on_more(
    ask: Ask, places: Sequence[LineSet], known: Sequence[tuple[Case, Inferred]]
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
        other = infer(seen, places) if seen and is_finite(seen) else None
        if other and other.unique:
            ps = [needed(each.observation.problem, each.lines) for each in (one, other)]
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
