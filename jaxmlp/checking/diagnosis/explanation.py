"""A mistake that explains what was received, as a record, and whether it does."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.diagnosis.evidence import Evidence
from jaxmlp.checking.diagnosis.records import Mistake
from jaxmlp.checking.programs.recording import Forward
from jaxmlp.checking.programs.tape import Change, Spot, Tape

Faults = Mapping[Spot, Change]
CLEAR = 1e3  # times what rounding may do, for a factor to be read from it
FACTORS = {
    -1.0: ("sign", "the sign is wrong"),
    0.0: ("missing term", "it is left out"),
    2.0: ("constant factor", "it is doubled"),
    0.5: ("constant factor", "it is halved"),
}


def times(factor: float) -> Change:
    """The derivative times a number, as a change."""

    def change(tape: Tape, op: Any, argument: Any, error: Array) -> Array:
        return factor * (error if argument is None else error.reshape(-1) @ op.jacobians[argument])

    return change


FACTORED = [Mistake(*named, times(factor)) for factor, named in FACTORS.items()] + [
    Mistake("extra 1/N", "1/N is there once too often",
            lambda t, op, i, e: times(1 / t.rows)(t, op, i, e)),
    Mistake("1/N missing", "the 1/N of the mean is missing",
            lambda t, op, i, e: times(t.rows)(t, op, i, e)),
]  # fmt: skip


class Explanation(NamedTuple):
    """A mistake that explains everything received.

    Attributes:
        spots: where it is; more than one only for parts that are left out together.
        kind: in a few words.
        says: what was done.
        rank: how many numbers of the gradients a mistake in that place can change.
        faults: what is done at which spot, in each case.
        forward: what it makes of values in the forward pass, by place.
        line: the line of a derivation that is wrong, if the mistake names it.
    """

    spots: tuple[Spot, ...]
    kind: str
    says: str
    rank: int
    faults: Callable[[Evidence], Faults] | None = None
    forward: Forward | None = None
    line: str = ""


def explanation_by(spots: tuple[Spot, ...], mistake: Mistake, rank: int) -> Explanation:
    """The explanation that a mistake at some spots is."""
    faults = dict.fromkeys(spots, mistake.change)
    about = spots, mistake.kind, mistake.says, rank
    return Explanation(*about, lambda each: faults, line=mistake.line)


def explains(evidence: Sequence[Evidence], spots: Sequence[Spot], change: Change) -> bool:
    """Whether a mistake explains all cases."""
    faults = dict.fromkeys(spots, change)
    return all(each.fits(each.predicted(faults)) for each in evidence)


def none(tape: Tape, op: Any, argument: Any, error: Array) -> Array:
    """No derivative at all, as a change."""
    return np.zeros_like(error if argument is None else op.jacobians[argument][0])


def multiple(each: Evidence, effect: Array) -> float:
    """How many times an effect on the gradient seems to be its error; NaN where that is unknown."""
    effect = effect / each.allowed
    square = float(effect @ effect)
    if not (0 < square < np.inf and np.abs(effect).max() > CLEAR):
        return np.nan
    return float(effect @ (each.error / each.allowed)) / square


def all_numbers(evidence: Sequence[Evidence]) -> int:
    """How many numbers the gradients have."""
    return sum(len(each.expected) for each in evidence)
