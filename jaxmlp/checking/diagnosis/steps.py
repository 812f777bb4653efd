"""A diagnosis for any loss that JAX can trace: the step, in the user's file, and the mistake."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmlp.checking.cases import Case
from jaxmlp.checking.diagnosis.search import (
    Evidence,
    Explanation,
    explanations,
    forward_explanations,
    located,
    value_names,
)
from jaxmlp.checking.leafwise import sizes_of
from jaxmlp.checking.programs.interpreter import Source
from jaxmlp.checking.programs.tape import Place, Tape
from jaxmlp.checking.trials import Trial
from jaxmlp.checking.truth.derivative import Derivative, leaf_names

WRONG, RIGHT = 6, 2  # cases that are looked at, on which it is wrong and right
FORWARD = 80  # steps of a loss whose forward pass is tried with mistakes
MOST_PLACES = 3  # lines that are named


class Step(NamedTuple):
    """Where the mistake is, and what it is.

    Attributes:
        name: of the value whose derivative is wrong, such as ∂C/∂h; empty if it has none.
        sources: lines of the user's file, of which one is to blame.
        kind: of the mistake; empty if only the place is known.
        says: what was done.
        also: other explanations.
    """

    name: str
    sources: tuple[Source, ...]
    kind: str = ""
    says: str = ""
    also: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """The lines, with their text."""
        shown = [f"{line}: {line.text}" for line in self.sources[:MOST_PLACES]]
        more = len(self.sources) - len(shown)
        return " or ".join(shown) + (f", or {more} more lines" if more > 0 else "")


def find_step(derivative: Derivative, trials: Sequence[Trial]) -> Step | None:
    """The step of a loss whose wrong derivative explains everything received, if there is one."""
    evidence = _evidence(derivative, trials)
    if not evidence:
        return None
    alike = _alike(evidence)
    views = [(alike, leaf_names(alike[0].case.params, ""))]
    if looped := _by_lines(evidence):
        views.append((looped, [str(place[1]) for place in looped[0].tape.leaf_places]))
        views.sort(key=lambda view: -len(view[0]))
    named = [
        (each, value_names(each[0].tape, leaves, leaf_names(each[0].case.batch, "")))
        for each, leaves in views
    ]
    for each, names in named:
        if found := explanations(each, names):
            return _explained(each[0].tape, found, names)

    for each, names in named:

        def again(number: int, forward: Any, each: Sequence[Evidence] = each) -> Tape:
            return _tape(derivative, each[number].case, forward)

        tape = each[0].tape
        if len(tape.operations) <= FORWARD and (found := [*forward_explanations(each, again)]):
            return _explained(tape, found, names)
    for each, names in named:
        ranks = located(each)
        least = min(ranks.values(), default=0)
        if 0 < least < sum(len(one.expected) for one in each if one.wrong):
            places = [place for place, rank in ranks.items() if rank == least]
            return Step(_name(names, places[0]), _sources(each[0].tape, places))
    return None


def _by_lines(evidence: Sequence[Evidence]) -> list[Evidence]:
    """The same with all passes of a line in one place; nothing if no line is passed twice."""
    found = []
    for each in evidence:
        leaves = [re.sub(r"\d+\.?", "", name) for name in leaf_names(each.case.params, "")]
        found.append(each._replace(tape=each.tape.by_lines(leaves)))
    looped = any(op.round for each in found for op in each.tape.operations)
    return _alike(found) if looped else []


def _alike(evidence: Sequence[Evidence]) -> list[Evidence]:
    """As many cases as there are whose loss has the same steps, at best many steps."""
    steps = [frozenset(op.place for op in each.tape.operations) for each in evidence]
    wrong = [places for places, each in zip(steps, evidence, strict=True) if each.wrong]
    best = max(wrong, key=lambda places: (wrong.count(places), len(places)))
    return [each for places, each in zip(steps, evidence, strict=True) if places == best]


def _evidence(derivative: Derivative, trials: Sequence[Trial]) -> list[Evidence]:
    """Small cases, those first on which the gradient is wrong."""
    wrong = [trial for trial in trials if trial.wrong and trial.finite]
    right = [trial for trial in trials if trial.leaves and not trial.wrong]
    found = []
    for some, most in ((wrong, WRONG), (right, RIGHT)):
        for trial in _of_all_shapes(some)[:most]:
            try:
                found.append(_one(derivative, trial))
            except Exception:  # a program that cannot be followed, or is too large
                continue
    return found if any(each.wrong for each in found) else []


def _of_all_shapes(trials: Sequence[Trial]) -> list[Trial]:
    """Small ones first, and of every shape one before a second."""
    ordered = sorted(trials, key=lambda trial: sum(map(np.size, _arrays(trial))))
    count: dict[Any, int] = {}
    ranks = []
    for trial in ordered:
        shape = tuple(map(np.shape, _arrays(trial)))
        count[shape] = count.get(shape, 0) + 1
        ranks.append(count[shape])
    pairs = sorted(zip(ranks, range(len(ordered)), strict=True))
    return [ordered[place] for _, place in pairs]


def _arrays(trial: Trial) -> list[Any]:
    return jax.tree.leaves((trial.case.params, trial.case.batch))


def _tape(derivative: Derivative, case: Case, forward: Any = None) -> Tape:
    """An execution of the loss on a case.

    Raises:
        ValueError: if JAX cannot trace it, or a Jacobian is too large.
    """
    params, batch = case.params, case.batch
    program = derivative.program("loss", params, batch)
    if program is None:
        raise ValueError("JAX cannot trace the loss")
    leaves, others = jax.tree.leaves(params), jax.tree.leaves(batch)
    return Tape(program, leaves, others, forward, plain=derivative.misled)


def _one(derivative: Derivative, trial: Trial) -> Evidence:
    tape = _tape(derivative, trial.case)
    _ = tape.jacobians  # which may be too large
    expected, received, allowed = (
        np.concatenate([np.ravel(np.asarray(getattr(leaf, part), float)) for leaf in trial.leaves])
        for part in ("expected", "received", "allowed")
    )
    return Evidence(trial.case, tape, expected, received, allowed, sizes_of(trial))


def _explained(tape: Tape, found: Sequence[Explanation], names: dict[Place, str]) -> Step:
    """The plainest explanation, in the place of the lowest rank, and all that say the same."""
    first = found[0]
    same = [each for each in found if (each.kind, each.says) == (first.kind, first.says)]
    others = [each for each in found if each not in same and each.rank == first.rank]
    sources = dict.fromkeys(line for each in same for line in _lines(tape, each))
    also = dict.fromkeys(f"{each.kind}: {each.says}" for each in others[:MOST_PLACES])
    name = _name(names, _at(tape, first))
    return Step(name, tuple(sources), first.kind, first.says, tuple(also))


def _at(tape: Tape, explanation: Explanation) -> Place:
    """The place of the value whose derivative an explanation says is wrong."""
    spot = explanation.spots[0]
    if spot.argument is None:
        return spot.place
    number = next(
        op.inputs[spot.argument]
        for op in tape.operations
        if op.place == spot.place and spot.argument in op.inputs
    )
    leaves = dict(zip(tape.leaves, tape.leaf_places, strict=True))
    made = {op.output: op.place for op in tape.operations}
    return leaves[number] if number in leaves else made[number]


def _lines(tape: Tape, explanation: Explanation) -> list[Source]:
    """The line of an operation, or those where a leaf of the parameters is used."""
    return [line for spot in explanation.spots for line in _sources(tape, [spot.place])]


def _sources(tape: Tape, places: Sequence[Place]) -> tuple[Source, ...]:
    """The lines of the values at some places; of parameters, those where they are used."""
    found: dict[Source, None] = {}
    for place in places:
        leaves = {n for at, n in zip(tape.leaf_places, tape.leaves, strict=True) if at == place}
        for op in tape.operations:
            if (op.place == place or leaves & {*op.inputs.values()}) and op.source.file:
                found[op.source] = None
    return tuple(found)


def _name(names: dict[Place, str], place: Place) -> str:
    return f"∂C/∂{names[place]}" if place in names else ""
