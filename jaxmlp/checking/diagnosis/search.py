"""Which mistake, at which step of a loss, explains every number of the gradients received?

An error made in the derivative by one value reaches the gradient through that value's Jacobian J
in the parameters: it is Jᵀd for some d, since all that follows is linear in it. So only places
whose Jᵀ has the error in its range, on every case, are searched; the lower the rank of J, the more
that says. What a mistake there does to the whole gradient is then computed, and compared.
"""

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checking.diagnosis.evidence import ROUNDED, SLACK, Evidence
from jaxmlp.checking.diagnosis.forward import Value, forward_mistakes, input_mistakes
from jaxmlp.checking.diagnosis.mistakes import at_argument, at_value
from jaxmlp.checking.diagnosis.records import MOVES, Known, Mistake, Term, plainness
from jaxmlp.checking.diagnosis.slopes import branch_mistakes
from jaxmlp.checking.factors import VARYING, N, name_factor
from jaxmlp.checking.programs.tape import NAME, Change, Forward, Operation, Place, Spot, Tape
from jaxmlp.checking.reference import Array

ONE = 1e-12  # from which a factor differs from 1
CLEAR = 1e3  # times what rounding may do, for a factor to be read from it
CUTS = (1e-12, 1e-15)  # of singular values, below which they are rounding errors
LEAST = 1e-3  # of a term
SAME = 1e-4  # relative difference of amounts that are the same
FEW = 4  # cases that are enough to see how much a mistake explains
BEAM, ATTEMPTS = 12, 3_000  # mistakes that are tried together with others, and pairs of them
ENOUGH = 40  # explanations, after which no more are looked for
FACTORS = {
    -1.0: ("sign", "the sign is wrong"),
    0.0: ("missing term", "it is left out"),
    2.0: ("constant factor", "it is doubled"),
    0.5: ("constant factor", "it is halved"),
}

def _times(factor: float) -> Change:
    def change(tape: Tape, op: Any, argument: Any, error: Array) -> Array:
        return factor * (error if argument is None else error.reshape(-1) @ op.jacobians[argument])

    return change


FACTORED = [Mistake(*named, _times(factor)) for factor, named in FACTORS.items()] + [
    Mistake("1/N twice", "1/N is there twice", lambda t, op, i, e: _times(1 / t.rows)(t, op, i, e)),
    Mistake("1/N missing", "the 1/N of the mean is missing",
            lambda t, op, i, e: _times(t.rows)(t, op, i, e)),
]  # fmt: skip


class Explanation(NamedTuple):
    """A mistake that explains everything received.

    Attributes:
        spots: where it is; more than one only for parts that are left out together.
        kind: in a few words.
        says: what was done.
        rank: how many numbers of the gradients a mistake in that place can change.
        change: the mistake as a function, for each case.
        forward: what it makes of values in the forward pass, by place.
        line: the line of a derivation that is wrong, if the mistake names it.
    """

    spots: tuple[Spot, ...]
    kind: str
    says: str
    rank: int
    change: Callable[[Evidence], Change | Mapping[Spot, Change]] | None = None
    forward: Forward | None = None
    line: str = ""

    def faults(self, each: Evidence) -> Mapping[Spot, Change]:
        """What is done at which spot in a case."""
        change = self.change(each) if self.change else None
        if isinstance(change, Mapping):
            return change
        return dict.fromkeys(self.spots, change) if change else {}


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
            if (solved := shift_at(each, place)) is not None:
                found[place] = solved[1] + (common[place] if common else 0)
        common = found
    return common or {}


def shift_at(each: Evidence, place: Place) -> tuple[Array, int] | None:
    """By what the derivative at a place would be off, if that is all, and of what rank that is."""
    matrix = each.tape.jacobians[place]
    if not np.isfinite(matrix).all():
        return None
    allowed = np.maximum(each.allowed, ROUNDED * np.abs(each.error).max(initial=0))
    scaled = matrix.T / allowed[:, None]
    for cut in CUTS:
        shift, _, rank, _ = np.linalg.lstsq(scaled, each.error / allowed, rcond=cut)
        rounded = np.finfo(float).eps * (np.abs(matrix.T) @ np.abs(shift))
        if np.all(np.abs(matrix.T @ shift - each.error) <= SLACK * (allowed + rounded)):
            return shift, int(rank)
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
            change = functools.partial(_by_factor, spot)
            yield Explanation((spot,), kind, says, rank, change)
        for mistake in _changes(evidence, spot, names):
            yield _explanation(spot, mistake, rank)


def _explanation(spot: Spot, mistake: Mistake, rank: int) -> Explanation:
    change = mistake.change
    return Explanation(
        (spot,), mistake.kind, mistake.says, rank, lambda each: change, line=mistake.line
    )


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
            if _explains(evidence, [spot], mistake.change):
                yield _explanation(spot, mistake, rank)
        for term in known.terms.get(name, ()) if evidence[0].finite else ():
            if told := _told(evidence, spot, term):
                change = functools.partial(_by_term, spot, term)
                yield Explanation((spot,), *told, rank, change)


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
    return _multiple(each, each.predicted({spot: _plus(term, 1.0)}) - each.expected)


def _multiple(each: Evidence, effect: Array) -> float:
    """How many times an effect on the gradient seems to be its error; NaN where that is unknown."""
    effect = effect / each.allowed
    square = float(effect @ effect)
    if not (0 < square < np.inf and np.abs(effect).max() > CLEAR):
        return np.nan
    return float(effect @ (each.error / each.allowed)) / square


def _plus(term: Term, amount: float) -> Change:
    def change(tape: Tape, op: Any, argument: Any, error: Array) -> Array:
        return error + amount * np.asarray(term.of(tape, op, argument, error))

    return change


def _by_term(spot: Spot, term: Term, each: Evidence) -> Change:
    return _plus(term, float(np.nan_to_num(_amount(each, spot, term))))


def _by_factor(spot: Spot, each: Evidence) -> Change:
    return _times(float(np.nan_to_num(_factor(each, spot), nan=1.0)))


def spots_of(tape: Tape, place: Place) -> Iterator[Spot]:
    """The derivative by a value, and the parts of it, if there are several or they can differ."""
    yield Spot(place)
    for op, argument in _uses(tape, place):
        yield Spot(op.place, argument)


def _uses(tape: Tape, place: Place) -> list[tuple[Operation, int]]:
    """The operations that use the value of a place, in the first round of each."""
    numbers = {each.output for each in tape.operations if each.place == place}
    pairs = zip(tape.leaf_places, tape.leaves, strict=True)
    numbers |= {number for leaf, number in pairs if leaf == place}
    found: dict[tuple[Place, int], tuple[Operation, int]] = {}
    for op in tape.operations:
        if op.name == NAME:
            continue
        for argument, number in op.inputs.items():
            if number in numbers:
                found.setdefault((op.place, argument), (op, argument))
    return list(found.values())


def _explains(evidence: Sequence[Evidence], spots: Sequence[Spot], change: Change) -> bool:
    """Whether a mistake explains all cases."""
    faults = dict.fromkeys(spots, change)
    return all(each.fits(each.predicted(faults)) for each in evidence)


def _none(tape: Tape, op: Any, argument: Any, error: Array) -> Array:
    return np.zeros_like(error if argument is None else op.jacobians[argument][0])


def _factors(evidence: Sequence[Evidence], spot: Spot) -> Iterator[tuple[str, str]]:
    """The derivative there times a number, which is the same on all cases or a size of them."""
    if any(len(each.tape.at.get(spot.place, ())) > 1 for each in evidence):
        for factor, named in FACTORS.items():
            if _explains(evidence, [spot], _times(factor)):
                yield named
        for name, power in ((N, 1), (N, -1)):
            if all(
                name in each.sizes
                and each.fits(each.predicted({spot: _times(float(each.sizes[name]) ** power)}))
                for each in evidence
            ):
                factors = [float(each.sizes[name]) ** power for each in evidence]
                yield name_factor(factors, [each.sizes for each in evidence])
                return
    factors = [_factor(each, spot) for each in evidence]
    if all(abs(factor - 1) < ONE or np.isnan(factor) for factor in factors):
        return
    for each, factor in zip(evidence, factors, strict=True):
        change = _times(float(np.nan_to_num(factor, nan=1.0)))
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
    return 1 + _multiple(each, each.expected - each.predicted({spot: _none}))


def _changes(
    evidence: Sequence[Evidence], spot: Spot, names: dict[Place, str]
) -> Iterator[Mistake]:
    """The mistakes of the tables that explain everything, made at a spot."""
    for mistake in tried_at(evidence[0].tape, spot, names):
        if _explains(evidence, [spot], mistake.change):
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
                if _explains(evidence, spots, mistake.change):
                    yield _explanation(spots[0], mistake, _all(evidence))._replace(spots=spots)


def _all(evidence: Sequence[Evidence]) -> int:
    """How many numbers the gradients have."""
    return sum(len(each.expected) for each in evidence)


def forward_explanations(
    evidence: Sequence[Evidence], names: dict[Place, str], again: Callable[..., Tape]
) -> Iterator[Explanation]:
    """Mistakes in the gradient's own forward pass.

    Args:
        evidence: cases.
        names: of values, by place.
        again: executes the loss of some evidence with values replaced: (evidence, forward).
    """
    tape = evidence[0].tape
    steps = [(op.place, forward_mistakes(op)) for op in tape.operations if op.equation]
    given = [place for place in tape.at if place[0] == "batch"]
    steps += [(place, input_mistakes()) for place in given]
    for place, mistakes in steps:
        for kind, says, of in mistakes:
            forward = {place: _where_it_fits(of)}
            if all(each.fits(each.read(again(each, forward).right)) for each in evidence):
                of_it = f"of {names[place]} " if place[0] == "batch" else ""
                says = f"in its own forward pass {of_it}{says}"
                yield Explanation((Spot(place),), kind, says, _all(evidence), forward=forward)


def _where_it_fits(of: Value) -> Value:
    """The mistake where it can be made; else the right value."""

    def changed(given: Sequence[Any], value: Array) -> Array:
        try:
            other = np.asarray(of(given, value), float)
        except (ValueError, IndexError, TypeError):
            return value
        return other if other.shape == value.shape else value

    return changed


def _left_out_together(evidence: Sequence[Evidence]) -> Iterator[Explanation]:
    """Two values that are taken as constants, though they depend on the parameters."""
    places = [*dict.fromkeys(op.place for op in evidence[0].tape.operations)]
    for pair in itertools.combinations(places, 2):
        spots = tuple(map(Spot, pair))
        if _explains(evidence, spots, _none):
            says = "what goes through both is left out, as if they were constants"
            yield Explanation(spots, "missing term", says, _all(evidence), lambda each: _none)
            return


def explained_by_two(
    evidence: Sequence[Evidence], names: dict[Place, str], known: Known
) -> Explanation | None:
    """The first two mistakes found that together explain everything."""
    tape = evidence[0].tape
    tried = [
        (spot, mistake)
        for place in tape.jacobians
        for spot in spots_of(tape, place)
        for mistake in (
            *FACTORED,
            *(known.mistakes.get(names.get(place, ""), ()) if spot.argument is None else ()),
            *tried_at(tape, spot, names),
        )
    ]
    few = [each for each in evidence if each.finite][:FEW]

    def score(faults: dict[Spot, Change]) -> int:
        return sum(each.leaves_that_fit(each.predicted(faults)) for each in few)

    base = score({})
    scored = [(score({spot: each.change}), spot, each) for spot, each in tried]
    better = sorted((each for each in scored if each[0] > base), key=lambda each: -each[0])
    pairs = itertools.product(better[:BEAM], scored)
    for (_, one, first), (_, two, second) in itertools.islice(pairs, ATTEMPTS):
        faults = {one: first.change, two: second.change}
        if one != two and all(each.fits(each.predicted(faults)) for each in evidence):
            kind = " and ".join(dict.fromkeys((first.kind, second.kind)))
            says = f"{first.says}; and {second.says}"
            return Explanation((one, two), kind, says, 0, lambda each: faults)
    return None


def value_names(
    tape: Tape, leaves: Sequence[str], others: Sequence[str], renamed: Mapping[str, str]
) -> dict[Place, str]:
    """What the user calls the values of a loss: the arguments by path, others as assigned.

    Args:
        tape: of the loss.
        leaves: of the parameters, by path.
        others: of the batch, by path.
        renamed: other names for some of them.
    """
    names: dict[Place, str] = dict(zip(tape.leaf_places, leaves, strict=True))
    names |= {("batch", i): name for i, name in enumerate(others)}
    last = {op.source: op.place for op in tape.operations if op.source.file}
    for line, place in last.items():
        if found := re.match(r"([A-Za-z_]\w*)\s*=[^=]", line.text):
            names[place] = found[1]
    made = {op.output: op.place for op in tape.operations}
    made |= dict(zip(tape.leaves, tape.leaf_places, strict=True))
    for op in tape.operations:
        if op.name == NAME:  # which gives a name to the value that it is given
            names[op.place] = op.equation.params["name"]
            names.setdefault(made[op.inputs[0]], names[op.place])
        elif op.name in MOVES and len(op.inputs) == 1 and op.place not in names:
            (number,) = op.inputs.values()
            if made[number] in names:
                names[op.place] = names[made[number]]
    return {place: renamed.get(name, name) for place, name in names.items()}
