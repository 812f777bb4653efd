"""The mistake in one line of a derivation, where every line before it is right."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxmlp.checking.cases import Case
from jaxmlp.checking.diagnosis.evidence import Evidence, evidence_by, in_lines, tape_of
from jaxmlp.checking.diagnosis.one_value import agree_all, explain_forward, explain_value
from jaxmlp.checking.diagnosis.records import Known
from jaxmlp.checking.network.equations import derivative_by, values_of
from jaxmlp.checking.network.loss import PROBABILITIES
from jaxmlp.checking.network.reference import Line
from jaxmlp.checking.programs.recording import Place
from jaxmlp.checking.programs.tape import Tape
from jaxmlp.checking.trials import Leaf
from jaxmlp.checking.truth.derivative import Derivative

MOST, LARGEST = 16, 200  # claims that are looked at, and parameters of their networks


class Claim(NamedTuple):
    """A line as it was received on a case whose labels are rows, and as it should be."""

    case: Case
    line: Line
    leaf: Leaf


def explain_line(
    derivative: Derivative, claims: Sequence[Claim], known: Known
) -> tuple[str, str] | None:
    """The kind of mistake that explains all claims that are not too large, and a sentence."""
    small = [each for each in claims if _size(each.case) <= LARGEST]
    claims = sorted(small, key=lambda each: len(each.case.params))[-MOST:]
    if not claims:
        return None
    tapes = [tape_of(derivative, each.case) for each in claims]
    if claims[0].line.symbol in ("z", "h", "p"):
        with np.errstate(all="ignore"):
            return next(_forward(claims, tapes), None)
    pairs = zip(claims, tapes, strict=True)
    looped = [in_lines(_evidence(*each)) for each in pairs]
    places = _places(looped[0].tape, claims[0].case, claims[0].line)
    return explain_value(looped, places, known)


def _size(case: Case) -> int:
    return sum(np.size(leaf) for leaf in jax.tree.leaves(case.params))


def _evidence(claim: Claim, tape: Tape) -> Evidence:
    values = values_of(tape, claim.case.params)
    wanted = [number for number, of in values.items() if derivative_by(of) == claim.line][-1:]
    return evidence_by(claim.case, tape, tuple(wanted), [claim.leaf])


def _places(tape: Tape, case: Case, line: Line) -> list[Place]:
    """Where in a tape the values are by which a line is the derivative."""
    values = values_of(tape, case.params)
    numbers = {number for number, of in values.items() if derivative_by(of) == line}
    found = [p for p, n in zip(tape.leaf_places, tape.leaves, strict=True) if n in numbers]
    return [*found, *(op.place for op in tape.operations if op.output in numbers)]


def _forward(claims: Sequence[Claim], tapes: Sequence[Tape]) -> Iterator[tuple[str, str]]:
    """What may have been computed in the place of a line of the forward pass."""
    leaves = [each.leaf for each in claims]
    if claims[0].line == Line("p"):
        for kind, says, of in PROBABILITIES:
            if agree_all(leaves, [of(tape.values[_last(tape)]) for tape in tapes]):
                yield kind, says
        return
    made = []
    for claim, tape in zip(claims, tapes, strict=True):
        values = values_of(tape, claim.case.params)
        made.append([op for op in tape.operations if values[op.output] == claim.line])
    values = [tape.values for tape in tapes]
    yield from explain_forward(made, values, leaves)


def _last(tape: Tape) -> int:
    """The number of the logits."""
    return next(op.inputs[0] for op in tape.operations if op.output == tape.output[1])
