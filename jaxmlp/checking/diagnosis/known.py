"""What is known to go wrong at a step with a name: whole formulas, and multiples of terms."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.diagnosis.evidence import Evidence
from jaxmlp.checking.diagnosis.explanation import (
    Explanation,
    Faults,
    explains,
    explanation_by,
    multiple,
)
from jaxmlp.checking.diagnosis.records import Known, Term
from jaxmlp.checking.factors import VARYING, name_factor
from jaxmlp.checking.programs.recording import Place
from jaxmlp.checking.programs.tape import Change, Spot, Tape

LEAST = 1e-3  # of a term
SAME = 1e-4  # relative difference of amounts that are the same


def known_at(
    evidence: Sequence[Evidence],
    places: Iterable[tuple[Place, int]],
    names: dict[Place, str],
    known: Known,
) -> Iterator[Explanation]:
    """What is known to go wrong at some places, and explains all cases."""
    for place, rank in places:
        spot, name = Spot(place), names.get(place, "")
        for mistake in known.mistakes.get(name, ()):
            if explains(evidence, [spot], mistake.change):
                yield explanation_by((spot,), mistake, rank)
        for term in known.terms.get(name, ()) if evidence[0].finite else ():
            if told := _told(evidence, spot, term):
                yield Explanation((spot,), *told, rank, functools.partial(_by_term, spot, term))


def _told(evidence: Sequence[Evidence], spot: Spot, term: Term) -> tuple[str, str] | None:
    """What a multiple of a term that explains all cases says: a kind and a sentence."""
    amounts = []
    for each in evidence:
        amount = _amount(each, spot, term)
        change = _plus(term, 0.0 if np.isnan(amount) else amount)
        if not each.fits(each.predicted({spot: change})):
            return None
        amounts.append(amount)
    measured = [(a, each.sizes) for a, each in zip(amounts, evidence, strict=True) if a == a]
    numbers = [a for a, _ in measured]
    if not numbers or max(map(abs, numbers)) < LEAST:
        return None
    if term.part:
        kind, says = name_factor([1 + a for a in numbers], [sizes for _, sizes in measured])
        return None if kind == VARYING else (kind, f"{term.says}: {says}")
    if not np.allclose(numbers, numbers[0], rtol=SAME):
        return None
    return "extra term", f"{numbers[0]:.6g} times {term.says} too much"


def _amount(each: Evidence, spot: Spot, term: Term) -> float:
    """How many times a term seems added; NaN where that cannot be measured."""
    return multiple(each, each.predicted({spot: _plus(term, 1.0)}) - each.expected)


def _plus(term: Term, amount: float) -> Change:
    def change(tape: Tape, op: Any, argument: Any, error: Array) -> Array:
        return error + amount * np.asarray(term.of(tape, op, argument, error))

    return change


def _by_term(spot: Spot, term: Term, each: Evidence) -> Faults:
    return {spot: _plus(term, float(np.nan_to_num(_amount(each, spot, term))))}
