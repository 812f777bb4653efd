"""The mistake in the derivative by one value, where every derivative after it is right."""

from collections.abc import Iterator, Sequence

import numpy as np

from jaxmlp.checking.agreement import agree
from jaxmlp.checking.arrays import Array
from jaxmlp.checking.diagnosis.evidence import Evidence
from jaxmlp.checking.diagnosis.forward import forward_mistakes
from jaxmlp.checking.diagnosis.known import known_at
from jaxmlp.checking.diagnosis.records import Known, plainness
from jaxmlp.checking.diagnosis.search import at_spots, spots_of
from jaxmlp.checking.diagnosis.steps import named
from jaxmlp.checking.programs.recording import Operation, Place
from jaxmlp.checking.trials import Leaf


def explain_value(
    evidence: Sequence[Evidence], places: Sequence[Place], known: Known
) -> tuple[str, str] | None:
    """The plainest kind of mistake that explains what was received, and a sentence.

    Args:
        evidence: cases of which the derivatives by that value were received.
        places: of the value.
        known: what is known of the loss.
    """
    names, tape = named(evidence, known).names, evidence[0].tape
    if found := list(known_at(evidence, [(place, 0) for place in places], names, known)):
        return found[0].kind, found[0].says
    for place in places:
        found += at_spots(evidence, spots_of(tape, place), names, 0)
    best = min(found, key=lambda each: plainness(each.kind), default=None)
    return (best.kind, best.says) if best else None


def explain_forward(
    made: Sequence[Sequence[Operation]], values: Sequence[Sequence[Array]], leaves: Sequence[Leaf]
) -> Iterator[tuple[str, str]]:
    """What may have been computed in the place of a value of the forward pass.

    Args:
        made: for each case, the operations of which one makes it.
        values: for each case, those of its tape.
        leaves: what was received for that value.
    """
    for place in range(min(map(len, made))):
        several = [list(forward_mistakes(ops[place])) for ops in made]
        for number, slip in enumerate(several[0]):
            predicted = [
                mistakes[number].value(ops[place].given, of[ops[place].output])
                for mistakes, ops, of in zip(several, made, values, strict=True)
                if number < len(mistakes)
            ]
            if len(predicted) == len(leaves) and agree_all(leaves, predicted):
                yield slip.kind, slip.says


def agree_all(leaves: Sequence[Leaf], predicted: Sequence[Array]) -> bool:
    """Whether what is predicted is what was received on every case."""
    return all(
        agree(leaf.received, np.asarray(other, float), leaf.allowed, leaf.expected)
        and np.isfinite(other).all() == np.isfinite(leaf.received).all()
        for leaf, other in zip(leaves, predicted, strict=True)
    )
