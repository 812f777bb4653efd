"""Which mistake, at which step of a loss, explains every number of the gradients received?

An error made in the derivative by one value reaches the gradient through that value's Jacobian J
in the parameters: it is Jᵀd for some d, since all that follows is linear in it. So only places
whose Jᵀ has the error in its range, on every case, are searched; the lower the rank of J, the more
that says. What a mistake there does to the whole gradient is then computed, and compared.
"""

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checking.cases import Case
from jaxmlp.checking.diagnosis.forward import forward_mistakes
from jaxmlp.checking.diagnosis.mistakes import at_argument, at_value
from jaxmlp.checking.diagnosis.slopes import branch_mistakes
from jaxmlp.checking.factors import VARYING, N, Sizes, name_factor
from jaxmlp.checking.programs.tape import Operation, Place, Spot, Tape
from jaxmlp.checking.reference import Array

SLACK = 64.0  # a wrong gradient may be rounded worse than the right one
ROUNDED = 1e-14  # of the largest error, up to which any entry may be rounded
COARSEST = 1e-6  # relative rounding error granted to a wrong gradient, whatever the right one's is
LEFT = 1e-2  # of an error, which an explanation may leave unexplained
ONE = 1e-12  # from which a factor differs from 1
CLEAR = 1e3  # times what rounding may do, for a factor to be read from it
ENOUGH = 40  # explanations, after which no more are looked for
FACTORS = {
    -1.0: ("sign", "the sign is wrong"),
    0.0: ("missing term", "it is left out"),
    2.0: ("constant factor", "it is doubled"),
    0.5: ("constant factor", "it is halved"),
}

PLAIN = (  # kinds of mistakes, the plainest first
    "sign", "missing", "missing term", "1/N missing", "1/N twice", "1/N with another N",
    "constant factor", "mask missing", "mask inverted", "missing factor", "transpose",
    "overwritten", "wrong axis", "batch rows", "wrong derivative", "precision lost",
)  # fmt: skip


class Evidence(NamedTuple):
    """What a gradient gave on one case, all parameters in a row.

    Attributes:
        case: parameters and a batch.
        tape: of the loss.
        expected: the right gradient.
        received: the one that is checked.
        allowed: how far rounding may put each entry.
        sizes: of the case, by name.
    """

    case: Case
    tape: Tape
    expected: Array
    received: Array
    allowed: Array
    sizes: Sizes

    @property
    def right(self) -> Array:
        """The gradient by the tape."""
        return self.tape.right

    @property
    def error(self) -> Array:
        """What the gradient is off by."""
        return self.received - self.expected

    @property
    def wrong(self) -> bool:
        """Whether it is off by more than rounding."""
        return not bool(np.all(np.abs(self.error) <= self.allowed))

    def leaves(self) -> Iterator[slice]:
        """Where each leaf of the parameters is in a row."""
        start = 0
        for number in self.tape.leaves:
            size = self.tape.values[number].size
            yield slice(start, start + size)
            start += size

    def fits(self, predicted: Array) -> bool:
        """Whether a gradient is the one that was received, up to rounding."""
        if np.isfinite(predicted).all() != np.isfinite(self.received).all():
            return False
        finite = np.isfinite(predicted) & np.isfinite(self.received)
        off = np.abs(np.where(finite, self.received - predicted, 0.0))
        errors = np.where(np.isfinite(self.error), self.error, 0.0)
        noise = ROUNDED * float(np.abs(errors).max(initial=0))
        for part in self.leaves():
            if part.start == part.stop:
                continue
            size = float(np.abs(self.expected[part]).max())
            worst = max(float(self.allowed[part].max()), noise)
            share = min(worst / size, COARSEST) if size else COARSEST
            largest = float(np.abs(np.where(finite, predicted, 0.0)[part]).max())
            if not off[part].max() <= SLACK * max(worst, share * largest):
                return False
            wrong = np.abs(self.error[part]) > np.maximum(self.allowed[part], noise)
            most = float(np.abs(self.error[part]).max())
            if wrong.any() and np.isfinite(most) and off[part].max() > max(LEFT * most, worst):
                return False
        return True


class Explanation(NamedTuple):
    """A mistake that explains everything received.

    Attributes:
        spots: where it is; more than one only for parts that are left out together.
        kind: in a few words.
        says: what was done.
        rank: how many numbers of the gradients a mistake in that place can change.
    """

    spots: tuple[Spot, ...]
    kind: str
    says: str
    rank: int


def located(evidence: Sequence[Evidence]) -> dict[Place, int]:
    """Places where a wrong derivative could explain every error, with the sums of their ranks."""
    common: dict[Place, int] | None = None
    for each in evidence:
        if not each.wrong or not np.isfinite(each.received).all():
            continue
        allowed = np.maximum(each.allowed, ROUNDED * np.abs(each.error).max(initial=0))
        found: dict[Place, int] = {}
        for place, matrix in each.tape.jacobians.items():
            if common is not None and place not in common:
                continue
            if not np.isfinite(matrix).all():
                continue
            scaled = matrix.T / allowed[:, None]
            shift, _, rank, _ = np.linalg.lstsq(scaled, each.error / allowed, rcond=1e-12)
            if np.all(np.abs(matrix.T @ shift - each.error) <= SLACK * allowed):
                found[place] = int(rank) + (common[place] if common else 0)
        common = found
    return common or {}


def explanations(evidence: Sequence[Evidence], names: dict[Place, str]) -> list[Explanation]:
    """Every mistake that explains all cases, those in places of the lowest rank first.

    Args:
        evidence: cases, of which the first one is wrong.
        names: of values, by place.
    """
    places = sorted(located(evidence).items(), key=lambda pair: pair[1])
    found: list[Explanation] = []
    for place, rank in places:
        for spot in _spots(evidence[0].tape, place):
            for kind, says in (*_factors(evidence, spot), *_changes(evidence, spot, names)):
                found.append(Explanation((spot,), kind, says, rank))
        if len(found) >= ENOUGH:
            break
    found.sort(key=lambda each: (each.rank, PLAIN.index(each.kind) if each.kind in PLAIN else 99))
    return found or [*_in_branches(evidence)] or [*_left_out_together(evidence)]


def _spots(tape: Tape, place: Place) -> Iterator[Spot]:
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
        for argument, number in op.inputs.items():
            if number in numbers:
                found.setdefault((op.place, argument), (op, argument))
    return list(found.values())


def _predicted(each: Evidence, spots: Sequence[Spot], mistake: Any) -> Array:
    """The gradient with a mistake."""
    right = each.right
    off = [each.tape.gradient(spot, mistake) - right for spot in spots]
    return np.asarray(each.expected + functools.reduce(np.add, off))


def _explains(evidence: Sequence[Evidence], spots: Sequence[Spot], change: Any) -> bool:
    """Whether a mistake explains all cases."""
    return all(each.fits(_predicted(each, spots, change)) for each in evidence)


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
                and each.fits(_scaled(each, spot, float(each.sizes[name]) ** power))
                for each in evidence
            ):
                factors = [float(each.sizes[name]) ** power for each in evidence]
                yield name_factor(factors, [each.sizes for each in evidence])
                return
    factors = [_factor(each, spot) for each in evidence]
    if all(abs(factor - 1) < ONE or np.isnan(factor) for factor in factors):
        return
    for each, factor in zip(evidence, factors, strict=True):
        if not each.fits(_scaled(each, spot, float(np.nan_to_num(factor, nan=1.0)))):
            return
    known = [(f, each.sizes) for f, each in zip(factors, evidence, strict=True) if not np.isnan(f)]
    kind, says = name_factor([f for f, _ in known], [sizes for _, sizes in known])
    if kind == "missing" and spot.argument is not None:
        kind, says = "missing term", "it is left out"
    elif kind == "missing" and spot.place[0] != "input":
        kind, says = "missing term", "what goes through it is left out, as if it were a constant"
    if kind != VARYING:
        yield kind, says


def _scaled(each: Evidence, spot: Spot, factor: float) -> Array:
    """The gradient with the derivative at a spot times a number."""
    return _predicted(each, [spot], _times(factor))


def _factor(each: Evidence, spot: Spot) -> float:
    """By what number the derivative at a spot seems multiplied; NaN where that is unknown."""
    effect = (each.expected - _predicted(each, [spot], _none)) / each.allowed
    square = float(effect @ effect)
    if not (0 < square < np.inf and np.abs(effect).max() > CLEAR):
        return np.nan
    return 1 + float(effect @ (each.error / each.allowed)) / square


def _times(factor: float) -> Any:
    def change(tape: Tape, op: Any, argument: Any, error: Array) -> Array:
        return factor * (error if argument is None else error.reshape(-1) @ op.jacobians[argument])

    return change


def _changes(
    evidence: Sequence[Evidence], spot: Spot, names: dict[Place, str]
) -> Iterator[tuple[str, str]]:
    """The mistakes of the tables that explain everything, made at a spot."""
    tape = evidence[0].tape
    if spot.argument is not None:
        op = next(
            each
            for each in tape.operations
            if each.place == spot.place and spot.argument in each.jacobians
        )
        tried = at_argument(tape, op, spot.argument, names)
    elif max(each.size for each in tape.at[spot.place]) > 1:
        tried = at_value(tape, spot.place, names)
    else:  # of a single number there is nothing but a factor
        return
    for mistake in tried:
        if _explains(evidence, [spot], mistake.change):
            yield mistake.kind, mistake.says


def _in_branches(evidence: Sequence[Evidence]) -> Iterator[Explanation]:
    """Mistakes in which branch of a selection gets what comes back."""
    total = sum(len(each.expected) for each in evidence)
    for op in evidence[0].tape.operations:
        if op.name == "select_n" and len(op.given) == 3:
            spots = tuple(Spot(op.place, argument) for argument in op.inputs)
            for mistake in branch_mistakes(op):
                if _explains(evidence, spots, mistake.change):
                    yield Explanation(spots, mistake.kind, mistake.says, total)


def forward_explanations(
    evidence: Sequence[Evidence], again: Callable[..., Tape]
) -> Iterator[Explanation]:
    """Mistakes in the gradient's own forward pass.

    Args:
        evidence: cases.
        again: executes the loss of some evidence with values replaced: (number, forward).
    """
    total = sum(len(each.expected) for each in evidence)
    for op in evidence[0].tape.operations:
        if op.equation is None:
            continue
        for kind, says, of in forward_mistakes(op):
            if all(
                each.fits(_forward_gradient(each, number, op.place, of, again))
                for number, each in enumerate(evidence)
            ):
                yield Explanation((Spot(op.place),), kind, f"in its own forward pass {says}", total)


def _forward_gradient(each: Evidence, number: int, place: Place, of: Any, again: Any) -> Array:
    """The gradient with a mistake in its forward pass; the right one where it cannot be made."""

    def changed(given: Sequence[Any], value: Array) -> Array:
        try:
            other = np.asarray(of(given, value), float)
        except (ValueError, IndexError, TypeError):
            return value
        return other if other.shape == value.shape else value

    return again(number, dict.fromkeys(each.tape.origins.get(place, [place]), changed)).gradient()


def _left_out_together(evidence: Sequence[Evidence]) -> Iterator[Explanation]:
    """Two values that are taken as constants, though they depend on the parameters."""
    places = [*dict.fromkeys(op.place for op in evidence[0].tape.operations)]
    for pair in itertools.combinations(places, 2):
        spots = tuple(map(Spot, pair))
        if _explains(evidence, spots, _none):
            says = "what goes through both is left out, as if they were constants"
            rank = sum(len(each.expected) for each in evidence)
            yield Explanation(spots, "missing term", says, rank)
            return


def value_names(tape: Tape, leaves: Sequence[str], others: Sequence[str]) -> dict[Place, str]:
    """What the user calls the values of a loss: the arguments by path, others as assigned."""
    names: dict[Place, str] = dict(zip(tape.leaf_places, leaves, strict=True))
    names |= {("input", len(leaves) + i): name for i, name in enumerate(others)}
    last = {op.source: op.place for op in tape.operations if op.source.file}
    for line, place in last.items():
        if found := re.match(r"([A-Za-z_]\w*)\s*=[^=]", line.text):
            names[place] = found[1]
    return names
