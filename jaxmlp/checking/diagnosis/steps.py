"""A diagnosis for any loss that JAX can trace: the step, in the user's file, and the mistake."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

from jaxmlp.checking.diagnosis.evidence import Evidence, again, alike, by_lines, gather
from jaxmlp.checking.diagnosis.explanation import Explanation
from jaxmlp.checking.diagnosis.forward import forward_explanations
from jaxmlp.checking.diagnosis.pairs import explained_by_two
from jaxmlp.checking.diagnosis.records import Known
from jaxmlp.checking.diagnosis.search import explanations, located
from jaxmlp.checking.diagnosis.value_names import value_names
from jaxmlp.checking.programs.interpreter import Source
from jaxmlp.checking.programs.recording import Place
from jaxmlp.checking.programs.tape import Tape
from jaxmlp.checking.trials import Trial
from jaxmlp.checking.truth.derivative import Derivative
from jaxmlp.checking.truth.trees import leaf_names

FORWARD = 80  # steps of a loss whose forward pass is tried with mistakes
MOST_PLACES = 3  # lines that are named
LOSSES = ("precision lost", "small entries lost")
NOTHING = Known()


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


class Found(NamedTuple):
    """What a search found, and in which evidence.

    Attributes:
        evidence: cases whose loss has the same steps.
        names: of values, by place.
        explanations: mistakes that explain everything, the best one first.
        places: those of the lowest rank that may be wrong, where there is no explanation.
    """

    evidence: Sequence[Evidence]
    names: dict[Place, str]
    explanations: Sequence[Explanation] = ()
    places: Sequence[Place] = ()

    @property
    def tape(self) -> Tape:
        """Of the first case."""
        return self.evidence[0].tape


def find(derivative: Derivative, trials: Sequence[Trial], known: Known = NOTHING) -> Found | None:
    """The mistake that explains everything received, or at least the places where it may be."""
    views = _views(derivative, trials, known)
    for view in views:
        if found := explanations(view.evidence, view.names, known):
            return view._replace(explanations=found)

    mistaken = functools.partial(again, derivative)
    for view in views:
        few = len(view.tape.operations) <= FORWARD
        if few and (found := [*forward_explanations(view.evidence, view.names, mistaken)]):
            return view._replace(explanations=found)
    for view in views:
        ranks = located(view.evidence)
        least = min(ranks.values(), default=0)
        if 0 < least < sum(len(one.expected) for one in view.evidence if one.wrong):
            return view._replace(places=[place for place, rank in ranks.items() if rank == least])
    return None


def find_two(
    derivative: Derivative, trials: Sequence[Trial], known: Known = NOTHING
) -> Found | None:
    """Two mistakes that together explain everything received."""
    for view in _views(derivative, trials, known):
        if found := explained_by_two(view.evidence, view.names, known):
            return view._replace(explanations=[found])
    return None


def _views(derivative: Derivative, trials: Sequence[Trial], known: Known) -> list[Found]:
    """The evidence step by step, and with the passes of a loop as one; that of most cases first."""
    evidence = gather(derivative, trials)
    if not evidence:
        return []
    views = [named(each, known) for each in (by_lines(evidence), alike(evidence)) if each]
    return sorted(views, key=lambda view: -len(view.evidence))


def named(evidence: Sequence[Evidence], known: Known) -> Found:
    """Evidence, with the names of its values."""
    tape, case = evidence[0].tape, evidence[0].case
    by_path = leaf_names(case.params, "")
    leaves = [str(place[1]) for place in tape.leaf_places] if tape.origins else by_path
    of_batch = [f"batch[{n}]" if n.isdigit() else n for n in leaf_names(case.batch, "")]
    return Found(evidence, value_names(tape, leaves, of_batch, known.names))


def find_step(derivative: Derivative, trials: Sequence[Trial]) -> Step | None:
    """The step of a loss whose wrong derivative explains everything received, if there is one."""
    found = find(derivative, trials)
    if found and found.explanations:
        return _explained(found.tape, found.explanations, found.names)
    if found:
        return Step(_name(found.names, found.places[0]), _sources(found.tape, found.places))
    return None


def _explained(tape: Tape, found: Sequence[Explanation], names: dict[Place, str]) -> Step:
    """The plainest explanation, in the place of the lowest rank, and all that say the same."""
    first = found[0]
    same = [each for each in found if (each.kind, each.says) == (first.kind, first.says)]
    others = [each for each in found if each not in same and each.rank == first.rank]
    if first.kind.startswith("missing"):  # of which losing every digit is another name
        others = [each for each in others if each.kind not in LOSSES]
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
    return tape.places[number]


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
    return f"∂C/∂{names[place]}" if names.get(place) else ""  # a leaf may be a number alone
