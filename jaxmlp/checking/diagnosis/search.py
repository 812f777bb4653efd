"""Which mistake, at which step of a loss, explains every number of the gradients received?

An error made in the derivative by one value reaches the gradient through that value's Jacobian J
in the parameters: it is Jᵀd for some d, since all that follows is linear in it. So only places
whose Jᵀ has the error in its range, on every case, are searched; the lower the rank of J, the more
that says. What a mistake there does to the whole gradient is then computed, and compared.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from jaxmlp.checking.agreement import SLACK
from jaxmlp.checking.diagnosis.evidence import ROUNDED, Evidence
from jaxmlp.checking.diagnosis.explanation import (
    FACTORS,
    Explanation,
    Faults,
    all_numbers,
    explains,
    explanation_by,
    multiple,
    none,
    times,
)
from jaxmlp.checking.diagnosis.known import known_at
from jaxmlp.checking.diagnosis.mistakes import at_argument, at_value
from jaxmlp.checking.diagnosis.records import Known, Mistake, plainness
from jaxmlp.checking.diagnosis.slopes import branch_mistakes
from jaxmlp.checking.factors import VARYING, N, name_factor
from jaxmlp.checking.programs.recording import NAME, Operation, Place
from jaxmlp.checking.programs.tape import Spot, Tape

ONE = 1e-12  # from which a factor differs from 1
CUTS = (1e-12, 1e-15)  # of singular values, below which they are rounding errors
ENOUGH = 40  # explanations, after which no more are looked for


def located(evidence: Sequence[Evidence]) -> dict[Place, int]:
    """Places where a wrong derivative could explain every error, with the sums of their ranks."""
    common: dict[Place, int] | None = None
    for each in evidence:
        if not each.wrong or not each.finite:
            continue
        found: dict[Place, int] = {}
        for place in each.tape.jacobians:
            if common is not None and place not in common:
                continue
            if (rank := _rank_at(each, place)) is not None:
                found[place] = rank + (common[place] if common else 0)
        common = found
    return common or {}


def _rank_at(each: Evidence, place: Place) -> int | None:
    """The rank of a place's Jacobian, if a wrong derivative there explains the error; else None."""
    matrix = each.tape.jacobians[place]
    if not np.isfinite(matrix).all():
        return None
    allowed = np.maximum(each.allowed, ROUNDED * np.abs(each.error).max(initial=0))
    scaled = matrix.T / allowed[:, None]
    for cut in CUTS:
        shift, _, rank, values = np.linalg.lstsq(scaled, each.error / allowed, rcond=cut)
        rounded = np.finfo(float).eps * (np.abs(matrix.T) @ np.abs(shift))
        if np.all(np.abs(matrix.T @ shift - each.error) <= SLACK * (allowed + rounded)):
            return int(rank)
        if np.sum(values > CUTS[-1] * values.max(initial=0)) == rank:
            return None  # a finer cut would leave as many
    return None


def explanations(
    evidence: Sequence[Evidence], names: dict[Place, str], known: Known
) -> list[Explanation]:
    """Every mistake that explains all cases, the known ones first, then those of the lowest rank.

    Args:
        evidence: cases, of which the first one is wrong.
        names: of values, by place.
        known: what is known of the loss.
    """
    if not evidence[0].finite:  # of which any place might be the reason
        named = [(place, 0) for place, name in names.items() if name in known.mistakes]
        return [*known_at(evidence, named, names, known)]
    places = sorted(located(evidence).items(), key=lambda pair: pair[1])
    if found := [*known_at(evidence, places, names, known)]:
        return found
    for place, rank in places:
        found += at_spots(evidence, spots_of(evidence[0].tape, place), names, rank)
        if len(found) >= ENOUGH:
            break
    found.sort(key=lambda each: (each.rank, plainness(each.kind)))
    return found or [*_in_branches(evidence)] or [*_left_out_together(evidence)]


def at_spots(
    evidence: Sequence[Evidence], spots: Iterable[Spot], names: dict[Place, str], rank: int
) -> Iterator[Explanation]:
    """Every mistake of the tables that explains all cases, made at one of some spots."""
    for spot in spots:
        for kind, says in _factors(evidence, spot):
            faults = functools.partial(_by_factor, spot)
            yield Explanation((spot,), kind, says, rank, faults)
        for mistake in _changes(evidence, spot, names):
            yield explanation_by((spot,), mistake, rank)


def _by_factor(spot: Spot, each: Evidence) -> Faults:
    return {spot: times(float(np.nan_to_num(_factor(each, spot), nan=1.0)))}


def spots_of(tape: Tape, place: Place) -> Iterator[Spot]:
    """The derivative by a value, and the parts of it, if there are several or they can differ."""
    yield Spot(place)
    for op, argument in _uses(tape, place):
        yield Spot(op.place, argument)


def _uses(tape: Tape, place: Place) -> list[tuple[Operation, int]]:
    """The operations that use the value of a place, in the first round of each."""
    numbers = {*tape.numbers[place]}
    found: dict[tuple[Place, int], tuple[Operation, int]] = {}
    for op in tape.operations:
        if op.name == NAME:
            continue
        for argument, number in op.inputs.items():
            if number in numbers:
                found.setdefault((op.place, argument), (op, argument))
    return list(found.values())


def _factors(evidence: Sequence[Evidence], spot: Spot) -> Iterator[tuple[str, str]]:
    """The derivative there times a number, which is the same on all cases or a size of them."""
    if any(len(each.tape.at.get(spot.place, ())) > 1 for each in evidence):
        for factor, named in FACTORS.items():
            if explains(evidence, [spot], times(factor)):
                yield named
        for name, power in ((N, 1), (N, -1)):
            if all(
                name in each.sizes
                and each.fits(each.predicted({spot: times(float(each.sizes[name]) ** power)}))
                for each in evidence
            ):
                factors = [float(each.sizes[name]) ** power for each in evidence]
                yield name_factor(factors, [each.sizes for each in evidence])
                return
    factors = [_factor(each, spot) for each in evidence]
    if all(abs(factor - 1) < ONE or np.isnan(factor) for factor in factors):
        return
    for each, factor in zip(evidence, factors, strict=True):
        change = times(float(np.nan_to_num(factor, nan=1.0)))
        if not each.fits(each.predicted({spot: change})):
            return
    known = [(f, each.sizes) for f, each in zip(factors, evidence, strict=True) if not np.isnan(f)]
    kind, says = name_factor([f for f, _ in known], [sizes for _, sizes in known])
    if kind == "missing" and spot.argument is not None:
        kind, says = "missing term", "it is left out"
    elif kind == "missing" and spot.place[0] != "input":
        kind, says = "missing term", "what goes through it is left out, as if it were a constant"
    if kind != VARYING:
        yield kind, says


def _factor(each: Evidence, spot: Spot) -> float:
    """By what number the derivative at a spot seems multiplied; NaN where that is unknown."""
    return 1 + multiple(each, each.expected - each.predicted({spot: none}))


def _changes(
    evidence: Sequence[Evidence], spot: Spot, names: dict[Place, str]
) -> Iterator[Mistake]:
    """The mistakes of the tables that explain everything, made at a spot."""
    for mistake in tried_at(evidence[0].tape, spot, names):
        if explains(evidence, [spot], mistake.change):
            yield mistake


def tried_at(tape: Tape, spot: Spot, names: dict[Place, str]) -> Iterator[Mistake]:
    """The mistakes of the tables that could be made at a spot."""
    if spot.argument is not None:
        op = next(
            each
            for each in tape.operations
            if each.place == spot.place and spot.argument in each.jacobians
        )
        yield from at_argument(tape, op, spot.argument, names)
    elif max(each.size for each in tape.at[spot.place]) > 1:
        yield from at_value(tape, spot.place, names)
    # of a single number there is nothing but a factor


def _in_branches(evidence: Sequence[Evidence]) -> Iterator[Explanation]:
    """Mistakes in which branch of a selection gets what comes back."""
    for op in evidence[0].tape.operations:
        if op.name == "select_n" and len(op.given) == 3:
            spots = tuple(Spot(op.place, argument) for argument in op.inputs)
            for mistake in branch_mistakes(op):
                if explains(evidence, spots, mistake.change):
                    yield explanation_by(spots, mistake, all_numbers(evidence))


def _left_out_together(evidence: Sequence[Evidence]) -> Iterator[Explanation]:
    """Two values that are taken as constants, though they depend on the parameters."""
    places = [*dict.fromkeys(op.place for op in evidence[0].tape.operations)]
    for pair in itertools.combinations(places, 2):
        spots = tuple(map(Spot, pair))
        if explains(evidence, spots, none):
            says = "what goes through both is left out, as if they were constants"
            mistake = Mistake("missing term", says, none)
            yield explanation_by(spots, mistake, all_numbers(evidence))
            return
