"""What a gradient gave on some cases, beside the tape of the loss on each of them."""

import contextlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmlp.checking.agreement import SLACK, explained
from jaxmlp.checking.arrays import Array
from jaxmlp.checking.cases import Case
from jaxmlp.checking.factors import Sizes, sizes_of
from jaxmlp.checking.programs.recording import Forward
from jaxmlp.checking.programs.tape import Change, Spot, Tape
from jaxmlp.checking.trials import Leaf, Trial
from jaxmlp.checking.truth.derivative import Derivative
from jaxmlp.checking.truth.trees import leaf_names

ROUNDED = 1e-14  # of the largest error, up to which any entry may be rounded
WRONG, RIGHT = 12, 4  # cases that are looked at, on which it is wrong and right
ALIKE = 3  # cases with the same steps that say more than fewer with more steps
TRIED = 24  # cases that are executed, to find those


class Evidence(NamedTuple):
    """What a gradient gave on one case, all that was received in a row.

    Attributes:
        case: parameters and a batch.
        tape: of the loss.
        wanted: the numbers of the tape's values by which the derivatives were received.
        expected: the right derivatives.
        received: those that are checked.
        allowed: how far rounding may put each entry.
        sizes: of the case, by name.
    """

    case: Case
    tape: Tape
    wanted: tuple[int, ...]
    expected: Array
    received: Array
    allowed: Array
    sizes: Sizes

    @property
    def error(self) -> Array:
        """What the gradient is off by."""
        return self.received - self.expected

    @property
    def wrong(self) -> bool:
        """Whether it is off by more than rounding."""
        return not bool(np.all(np.abs(self.error) <= self.allowed))

    @property
    def finite(self) -> bool:
        """Whether nothing that was received is NaN or infinite."""
        return bool(np.isfinite(self.received).all())

    @property
    def smooth(self) -> bool:
        """Whether the tape has the right gradient, as it need not at a kink."""
        right = self.read(self.tape.right)
        return bool(np.all(np.abs(right - self.expected) <= SLACK * self.allowed))

    def read(self, found: Sequence[Array] | dict[int, Array]) -> Array:
        """Of the derivatives by all values those that are wanted."""
        return np.concatenate([np.ravel(found[number]) for number in self.wanted])

    def predicted(self, faults: Mapping[Spot, Change]) -> Array:
        """The gradient with mistakes at some spots."""
        right = self.read(self.tape.right)
        return self.expected + (self.read(self.tape.backward(faults)) - right)

    def leaves(self) -> Iterator[slice]:
        """Where each leaf of the parameters is in a row."""
        start = 0
        for number in self.wanted:
            size = self.tape.values[number].size
            yield slice(start, start + size)
            start += size

    def fits(self, predicted: Array) -> bool:
        """Whether a gradient is the one that was received, up to rounding.

        How far a NaN spreads depends on how products with zeros are compiled. So where one is
        received, one has to be predicted, but not in the same entries.
        """
        if np.isfinite(predicted).all() != self.finite:
            return False
        return all(self._fits_in(part, predicted) for part in self.leaves())

    def leaves_that_fit(self, predicted: Array) -> int:
        """How many leaves are those predicted, and finite."""
        finite = (part for part in self.leaves() if np.isfinite(predicted[part]).all())
        return sum(self._fits_in(part, predicted) for part in finite)

    def _fits_in(self, part: slice, predicted: Array) -> bool:
        """Whether one leaf is the one that was received."""
        errors = np.where(np.isfinite(self.error), self.error, 0.0)
        noise = ROUNDED * float(np.abs(errors).max(initial=0))
        allowed = np.maximum(self.allowed[part], noise)
        return explained(self.received[part], predicted[part], allowed, self.expected[part])


def gather(derivative: Derivative, trials: Sequence[Trial]) -> list[Evidence]:
    """Small cases, those first on which the gradient is wrong.

    At a kink, where the slopes of single operations are one choice and the right gradient another,
    nothing can be read from a case; from one with NaN little.
    """
    wrong = [trial for trial in trials if trial.wrong]
    right = [trial for trial in trials if trial.leaves and not trial.wrong]
    finite = [trial for trial in wrong if trial.finite]
    found: list[Evidence] = []
    for some, most in ((finite or wrong, WRONG), (right, RIGHT if finite else WRONG)):
        smooth = (each for each in _followed(derivative, some) if each.smooth)
        found += itertools.islice(smooth, most)
        if some is not right and not found:
            found += itertools.islice(_followed(derivative, some), most)
    return found if any(each.wrong for each in found) else []


def _followed(derivative: Derivative, trials: Sequence[Trial]) -> Iterator[Evidence]:
    """The first few dozen cases that can be followed, small ones first."""
    for trial in itertools.islice(_of_all_sorts(trials), TRIED):
        with contextlib.suppress(Exception):  # a program that is too large, or not known
            yield evidence_of(derivative, trial)


def evidence_of(derivative: Derivative, trial: Trial) -> Evidence:
    """One case.

    Raises:
        ValueError: if the loss cannot be followed, or is too large.
    """
    tape = tape_of(derivative, trial.case)
    _ = tape.jacobians  # which may be too large
    return evidence_by(trial.case, tape, tuple(tape.leaves), trial.leaves)


def evidence_by(
    case: Case, tape: Tape, wanted: tuple[int, ...], leaves: Sequence[Leaf]
) -> Evidence:
    """What was received of the derivatives by some values of a tape, each in a leaf."""
    expected, received, allowed = (
        np.concatenate([np.ravel(np.asarray(getattr(leaf, part), float)) for leaf in leaves])
        for part in ("expected", "received", "allowed")
    )
    return Evidence(case, tape, wanted, expected, received, allowed, sizes_of(case))


def tape_of(derivative: Derivative, case: Case, forward: Any = None) -> Tape:
    """An execution of a loss on a case, which may have mistakes in its forward pass.

    Raises:
        ValueError: if JAX cannot trace it, or a Jacobian is too large.
    """
    params, batch = case.params, case.batch
    program = derivative.program("loss", params, batch)
    if program is None:
        raise ValueError("JAX cannot trace the loss")
    leaves, others = jax.tree.leaves(params), jax.tree.leaves(batch)
    return Tape(program, leaves, others, forward, derivative.misled, derivative.intended)


def again(derivative: Derivative, each: Evidence, forward: Forward) -> Tape:
    """The tape of a case with mistakes in the forward pass, at places of the tape that it has."""
    tape = each.tape
    executed = tape_of(
        derivative,
        each.case,
        {
            origin: change
            for place, change in forward.items()
            for origin in tape.origins.get(place, [place])
        },
    )
    if not tape.origins:
        return executed
    return executed.by_lines([str(place[1]) for place in tape.leaf_places])


def by_lines(evidence: Sequence[Evidence]) -> list[Evidence]:
    """The same with all passes of a line in one place; nothing if no line is passed twice."""
    found = list(map(in_lines, evidence))
    looped = any(op.round for each in found for op in each.tape.operations)
    return alike(found) if looped else []


def in_lines(each: Evidence) -> Evidence:
    """The same with all passes of a line in one place."""
    leaves = [re.sub(r"\d+\.?", "", name) for name in leaf_names(each.case.params, "")]
    return each._replace(tape=each.tape.by_lines(leaves))


def alike(evidence: Sequence[Evidence]) -> list[Evidence]:
    """As many cases as there are whose loss has the same steps, at best many steps."""
    steps = [frozenset(op.place for op in each.tape.operations) for each in evidence]
    wrong = [places for places, each in zip(steps, evidence, strict=True) if each.wrong]
    best = max(wrong, key=lambda places: (min(wrong.count(places), ALIKE), len(places)))
    return [each for places, each in zip(steps, evidence, strict=True) if places == best]


def _of_all_sorts(trials: Sequence[Trial]) -> Iterator[Trial]:
    """Those first of whose shape, and then of whose kind, there were fewest; then small ones."""
    left = sorted(trials, key=lambda trial: sum(map(np.size, _arrays(trial))))
    sorts = {trial: (_shape(trial), trial.case.kind) for trial in left}
    count = dict.fromkeys((each for pair in sorts.values() for each in pair), 0)
    while left:
        chosen = min(left, key=lambda trial: [count[each] for each in sorts[trial]])
        left.remove(chosen)
        for each in sorts[chosen]:
            count[each] += 1
        yield chosen


def _shape(trial: Trial) -> Any:
    return tuple(map(np.shape, _arrays(trial)))


def _arrays(trial: Trial) -> list[Any]:
    return jax.tree.leaves((trial.case.params, trial.case.batch))
