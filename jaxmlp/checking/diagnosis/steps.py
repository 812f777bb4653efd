"""A diagnosis for any loss that JAX can trace: the step, in the user's file, and the mistake."""

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

WRONG, RIGHT = 4, 2  # cases that are looked at, on which it is wrong and right
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
    tape, case = evidence[0].tape, next(t for t in trials if t.wrong).case
    names = value_names(tape, leaf_names(case.params, ""), leaf_names(case.batch, ""))
    if found := explanations(evidence, names):
        return _explained(tape, found, names)

    def again(number: int, forward: Any) -> Tape:
        return _tape(derivative, evidence[number].case, forward)

    if len(tape.operations) <= FORWARD and (found := [*forward_explanations(evidence, again)]):
        return _explained(tape, found, names)
    ranks = located(evidence)
    least = min(ranks.values(), default=0)
    if not 0 < least < sum(len(each.expected) for each in evidence if each.wrong):
        return None
    places = [place for place, rank in ranks.items() if rank == least]
    return Step(_name(names, places[0]), _sources(tape, places))


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
    return found if found and found[0].wrong else []


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
    leaves = {leaf: ("input", i) for i, leaf in enumerate(tape.leaves)}
    made = {op.output: op.place for op in tape.operations}
    return leaves[number] if number in leaves else made[number]


def _lines(tape: Tape, explanation: Explanation) -> list[Source]:
    """The line of an operation, or those where a leaf of the parameters is used."""
    return [line for spot in explanation.spots for line in _sources(tape, [spot.place])]


def _sources(tape: Tape, places: Sequence[Place]) -> tuple[Source, ...]:
    found: dict[Source, None] = {}
    for place in places:
        for op in tape.operations:
            uses = place[0] == "input" and any(
                tape.leaves[int(place[1])] == number for number in op.inputs.values()
            )
            if (op.place == place or uses) and op.source.file:
                found[op.source] = None
    return tuple(found)


def _name(names: dict[Place, str], place: Place) -> str:
    return f"∂C/∂{names[place]}" if place in names else ""
