"""A diagnosis in words, and a small case worked through."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxmlp.checking.explanations import WHOLE, Bench, Explanation, Mistake, Observation
from jaxmlp.checking.factors import Sizes, name_factor, sizes_of
from jaxmlp.checking.locating import Located, infer
from jaxmlp.checking.models import Network
from jaxmlp.checking.reference import Line, Problem
from jaxmlp.checking.report import Diagnosis, Example, Row
from jaxmlp.checking.terms import Term
from jaxmlp.checking.trials import Trial


def diagnose(explanations: Sequence[Explanation], seen: Sequence[Observation]) -> Diagnosis:
    """The first explanation in words; the others as alternatives."""
    bench = Bench(seen)
    sentences = []
    for explanation in explanations:
        lines: dict[Line, int] = {}
        kinds, says = [], []
        for mistake in explanation.mistakes:
            kind, sentence, where = _describe(bench, mistake, explanation)
            kinds.append(kind)
            says.append(sentence)
            lines |= where
        sentences.append((lines, " and ".join(dict.fromkeys(kinds)), "; and ".join(says)))
    sentences.sort(key=lambda each: "varying" in each[1])  # the least telling ones last
    lines, kind, sentence = sentences[0]
    others = {why: names for names, _, why in reversed(sentences[1:]) if why != sentence}
    also = tuple(f"{', '.join(line.name for line in others[why])}: {why}" for why in others)[:3]
    numbers = tuple(dict.fromkeys(lines.values()))
    return Diagnosis(tuple(line.name for line in lines), numbers, kind, sentence, also)


def _describe(
    bench: Bench, mistake: Mistake, explanation: Explanation
) -> tuple[str, str, dict[Line, int]]:
    """The kind of a mistake, a sentence, and its lines with their equations."""
    count = len(bench.observations)
    deepest = max(range(count), key=lambda i: bench.observations[i].problem.depth)
    for number in (deepest, *range(count)):
        problem = bench.observations[number].problem
        lines = mistake.place.lines(problem)
        where = {line: line.equation(problem.depth) for line in _ever_wrong(bench, lines, problem)}
        for line in lines:
            if term := bench.terms(number, line).get(mistake.key):
                sizes = [sizes_of(each.problem) for each in bench.observations]
                return *_describe_term(term, explanation.amounts, sizes), where
            if suspect := bench.suspects(number, line).get(mistake.key):
                return suspect.kind, suspect.says, where
    raise AssertionError("a mistake has a place")


def _ever_wrong(bench: Bench, lines: Sequence[Line], problem: Problem) -> Sequence[Line]:
    """Those of some leaves that are not always right in networks of this depth."""
    seen = [each for each in bench.observations if each.problem.depth == problem.depth]
    wrong = [
        line
        for line in lines
        if any(
            np.any(np.abs(each.received[line] - each.right[line]) > each.allowed[line])
            for each in seen
            if line in each.received
        )
    ]
    return wrong or lines


def _describe_term(term: Term, amounts: Sequence[float], sizes: Sequence[Sizes]) -> tuple[str, str]:
    """What the amount says of a term."""
    if term.part:
        kind, says = name_factor([1 + amount for amount in amounts], sizes)
        return kind, says if term.says == WHOLE else f"{term.says}: {says}"
    amount = next(each for each in amounts if np.isfinite(each))
    return "extra term", f"{amount:.6g} times {term.says} too much"


def work_through(
    model: Any, trial: Trial, explanations: Sequence[Explanation], located: Located | None = None
) -> Example:
    """Every line of a small case, expected and received, or inferred from what is known."""
    if not isinstance(model, Network):
        rows = tuple(
            Row(
                leaf.name,
                None,
                "",
                leaf.expected,
                leaf.received,
                "right" if leaf.right else "wrong",
            )
            for leaf in trial.leaves
        )
        return Example(trial.case, None, rows)
    observation = model.observe(trial)
    depth = observation.problem.depth
    predicted, mistaken = None, set()
    if explanations:
        bench = Bench([observation])
        if found := bench.explains(explanations[0].mistakes):
            predicted = bench.predict(0, found.mistakes, *found.amounts)
            for mistake in found.mistakes:
                mistaken |= set(mistake.place.lines(observation.problem))
    elif located and located.places and (freed := infer(observation, located.places)):
        predicted, mistaken = freed.explained(located.lines)
    elif located:  # in the forward pass, of which nothing was returned
        here = {*located.lines} & {*observation.right}
        alike = {line.symbol for line in located.lines}
        mistaken = here or {line for line in observation.right if line.symbol in alike}
    rows = []
    for line, expected in observation.right.items():
        received = observation.received.get(line)
        inferred = received is None and predicted is not None
        if inferred and predicted:
            received = predicted.get(line)
        off = np.inf if received is None else np.abs(received - expected)
        if np.all(off <= observation.allowed[line]):
            status = "right"
        elif line in mistaken or not (mistaken or received is None):
            status = "wrong"
        else:
            status = "unknown" if received is None else "follows"
        formula = line.formula(observation.problem)
        rows.append(
            Row(
                line.name,
                line.equation(depth),
                formula,
                expected,
                received,
                status,
                inferred and received is not None,
            )
        )
    return Example(trial.case, model.activation, tuple(rows))
