"""Which mistake, in which line, explains the gradient that was received?

Every suspect, at every place, predicts a whole gradient: the derivation with that line
replaced. The mistake is the one whose prediction agrees with everything that was received.
"""

import functools
import itertools
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from jaxmlp.checking.factors import factor_between
from jaxmlp.checking.reference import (
    INPUTS,
    LABELS,
    Array,
    Formula,
    Line,
    Problem,
    Values,
    all_lines,
    evaluate,
    formula,
    held,
)
from jaxmlp.checking.suspects import Suspect, suspects, without_layers
from jaxmlp.checking.terms import Term, terms

Key = TypeVar("Key")
SLACK = 64.0  # a wrong gradient may be rounded worse than the right one
COARSEST = 1e-6  # relative rounding granted to a wrong gradient, whatever the right one's is
FEW = 4  # observations that are enough to see which mistakes explain a part
ATTEMPTS = 1_500  # pairs of mistakes that are tried
LEAST = 1e-3  # of a term, beside another mistake
BEAM = 12  # mistakes that are tried together with every other one


class Observation(NamedTuple):
    """What a gradient gave for one problem.

    Attributes:
        problem: the network and batch.
        received: the gradient's leaves, and any other line that is known.
        allowed: rounding bounds on all lines of the right gradient.
        right: all lines of the right derivation.
        given: lines that are taken as they were received, right or wrong.
    """

    problem: Problem
    received: Mapping[Line, Array]
    allowed: Mapping[Line, Array]
    right: Mapping[Line, Array]
    given: Mapping[Line, Array] = {}

    def agrees(self, predicted: Mapping[Line, Array], only: Sequence[Line] = ()) -> bool:
        """Whether the received leaves are those predicted, up to rounding.

        How far a NaN spreads depends on how products with zeros are compiled. So where one is
        received, one has to be predicted, but not in the same entries.
        """
        lines = [line for line in self.received if not only or line in only]
        wild = [_wild(arrays[line] for line in lines) for arrays in (predicted, self.received)]
        if wild[0] != wild[1]:
            return False
        return all(
            agree(self.received[line], predicted[line], self.allowed[line], self.right[line])
            for line in lines
        )


def _wild(arrays: Iterable[Array]) -> bool:
    """Whether anything is NaN or infinite."""
    return not all(np.isfinite(array).all() for array in arrays)


def agree(
    received: Array, predicted: Array, allowed: Array, right: Array, *, apart: bool = False
) -> bool:
    """Whether two arrays are equal, where finite, up to the rounding allowed for their size.

    `apart` allows each entry its own rounding, so that one that may be on or off at a kink says
    nothing of the others; else all of them have that of the worst.
    """
    if received.shape != np.shape(predicted):
        return False
    finite = np.isfinite(received) & np.isfinite(predicted)
    size = np.max(np.abs(right), initial=0, where=np.isfinite(right))
    share = min(allowed.max() / size, COARSEST) if size > 0 else COARSEST
    largest = np.max(np.abs(predicted), initial=0, where=finite)
    worst = allowed if apart else allowed.max()
    granted = np.maximum(worst, share * max(size if apart else 0.0, largest))
    with np.errstate(all="ignore"):
        near = np.abs(np.where(finite, received - predicted, 0.0))
        return bool(np.all(near <= SLACK * granted))


GIVEN = {"x": INPUTS, "y": LABELS}


def settled(standings: Mapping[Key, str]) -> dict[Key, str]:
    """What every line is, in their order; what follows from right lines is right.

    So where no line is wrong itself, but one is not right, the first such line is the wrong one.
    """
    found = dict(standings)
    if "wrong" not in found.values():
        found |= dict.fromkeys([k for k, each in found.items() if each != "right"][:1], "wrong")
    return found


def standing(received: Array, follows: Array, allowed: Array, right: Array) -> str:
    """Whether a line is right, wrong itself, or right given the wrong ones before it."""
    if np.all(np.abs(received - right) <= allowed):
        return "right"
    if not np.array_equal(np.isfinite(received), np.isfinite(follows)):
        return "wrong"
    return "follows" if agree(received, follows, allowed, right, apart=True) else "wrong"


class Place(NamedTuple):
    """Which lines of a symbol: every one, or one counted from the input or the output."""

    symbol: str
    end: str
    number: int = 0

    def lines(self, problem: Problem) -> list[Line]:
        """The lines meant, in a problem of any depth."""
        if self.symbol in GIVEN:
            return [GIVEN[self.symbol]]
        last = self.symbol == "dzL"
        symbol = "dz" if last else self.symbol
        hits = [line for line in all_lines(problem) if line.symbol == symbol]
        if symbol == "dz":
            hits = [line for line in hits if (line.index == problem.depth) == last]
        hits.sort(key=lambda line: line.index, reverse=self.end == "output")
        return hits if self.end == "every" else hits[self.number : self.number + 1]


TERM = "term: "  # how the keys of terms begin
WHOLE = "the line"  # the term that is the line itself


class Mistake(NamedTuple):
    """A suspect or a term, by its key, at a place."""

    place: Place
    key: str

    @property
    def measured(self) -> bool:
        """Whether it is a term, of which there is an amount."""
        return self.key.startswith(TERM)


class Explanation(NamedTuple):
    """Mistakes that together explain everything.

    Attributes:
        mistakes: one, or two of them.
        amounts: how many times a term was added, for each observation, if one of them is a term;
            NaN where that could not be measured.
    """

    mistakes: tuple[Mistake, ...]
    amounts: tuple[float, ...] = ()


def places(problem: Problem) -> Iterator[Place]:
    """Every place there is in a problem, the most general first."""
    for symbol in ("p", "dzL", "dz", "dh", "dW", "db", "h", "z", "x", "y"):
        count = len(Place(symbol, "every").lines(problem))
        if count:
            yield Place(symbol, "every")
        if count > 1:
            for end, number in itertools.product(("input", "output"), range(min(count, 2))):
                yield Place(symbol, end, number)


def _where_it_fits(wrong: Formula, right: Formula, v: Values, l: int) -> Array:
    """A mistake that can be made only where the shapes happen to fit."""
    expected = right(v, l)
    try:
        value = np.asarray(wrong(v, l))
    except (ValueError, IndexError):
        return expected
    return value if value.shape == expected.shape else expected


# What is suspected of a line in every network of the same form (`Problem.form`), by key.
SUSPECTS: dict[tuple[tuple[bool, ...], str, Line], dict[str, Suspect]] = {}
TERMS: dict[tuple[tuple[bool, ...], str, Line], dict[str, Term]] = {}


class Bench:
    """The observations, with what has been worked out about them."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        """Work on `observations`, of which the first ones should refute most."""
        self.observations = observations

    def suspects(self, number: int, line: Line) -> dict[str, Suspect]:
        """The suspects for a line of an observation's problem, by key."""
        problem = self.observations[number].problem
        if (where := (*problem.form, line)) not in SUSPECTS:
            SUSPECTS[where] = {each.key: each for each in suspects(line, problem)}
        return SUSPECTS[where]

    def terms(self, number: int, line: Line) -> dict[str, Term]:
        """The terms that a line may have too much or too little of, by key."""
        problem = self.observations[number].problem
        if (where := (*problem.form, line)) not in TERMS:
            whole = Term(WHOLE, formula(line, problem.depth), True)
            backward = line.symbol.startswith("d")
            known = (whole, *terms(line, problem)) if backward else ()
            TERMS[where] = {TERM + without_layers(each.says): each for each in known}
        return TERMS[where]

    def predict(
        self, number: int, mistakes: Sequence[Mistake], amount: float = 0.0
    ) -> dict[Line, Array]:
        """All lines under some mistakes; an amount that is not known counts as none."""
        times = amount if np.isfinite(amount) else 0.0
        problem, given = self.observations[number].problem, self.observations[number].given
        replaced = held(given)
        for place, key in mistakes:
            for line in place.lines(problem):
                if line in given:
                    continue
                right = replaced.get(line) or formula(line, problem.depth)
                if known := self.terms(number, line).get(key):
                    # a multiple of the whole line is one of the line as it already is
                    of = right if known.says == WHOLE else known.formula
                    replaced[line] = lambda v, l, right=right, of=of: right(v, l) + times * of(v, l)
                elif known := self.suspects(number, line).get(key):
                    replaced[line] = functools.partial(_where_it_fits, known.formula, right)
        right = self.observations[number].right
        return evaluate(problem, replaced, without=[Line("C")], right=right)

    def amount(self, number: int, mistakes: Sequence[Mistake]) -> float:
        """How many times a term seems to be added, by the first line that it touches."""
        observation = self.observations[number]
        none, once = (self.predict(number, mistakes, by) for by in (0.0, 1.0))
        for line in all_lines(observation.problem):
            if line not in observation.received or np.array_equal(none[line], once[line]):
                continue
            received = observation.received[line]
            with np.errstate(all="ignore"):
                found = factor_between(once[line] - none[line], received - none[line])
            if not np.isnan(found):
                return found
        return np.nan  # it touches nothing here

    def explains(self, mistakes: Sequence[Mistake]) -> Explanation | None:
        """The explanation that these mistakes make, if they fit every observation."""
        measured = [mistake for mistake in mistakes if mistake.measured]
        amounts = []
        for number, observation in enumerate(self.observations):
            amount = 0.0
            if measured:
                amount = self.amount(number, mistakes)
                amounts.append(amount)
            if not observation.agrees(self.predict(number, mistakes, amount)):
                return None
        if measured and not self._natural(measured[0], amounts):
            return None
        if measured and len(mistakes) > 1 and np.nanmax(np.abs(amounts), initial=0) < LEAST:
            # too little to be a mistake: the other one all but explains everything
            return Explanation(tuple(each for each in mistakes if not each.measured))
        return Explanation(tuple(mistakes), tuple(amounts))

    def _natural(self, mistake: Mistake, amounts: Sequence[float]) -> bool:
        """Whether a term that does not belong is added to the same amount everywhere."""
        found = (
            terms[mistake.key]
            for number, observation in enumerate(self.observations)
            for line in mistake.place.lines(observation.problem)[:1]
            if mistake.key in (terms := self.terms(number, line))
        )
        if (first := next(found, None)) is None:
            return True  # there is no such line here, such as that of a bias
        known = [amount for amount in amounts if np.isfinite(amount)]
        return first.part or bool(known and known[0] and np.allclose(known, known[0], rtol=1e-4))

    def score(self, mistake: Mistake | None) -> int:
        """How many leaves a mistake explains, over all observations."""
        mistakes, count = [mistake] if mistake else [], 0
        for number, observation in enumerate(self.observations):
            amount = 0.0
            if mistake and mistake.measured:
                amount = self.amount(number, mistakes)
            predicted = self.predict(number, mistakes, amount)
            count += sum(observation.agrees(predicted, [line]) for line in observation.received)
        return count

    def single(self) -> list[Mistake]:
        """Every mistake that can be made once in these problems."""
        seen: dict[Mistake, None] = {}
        for number, observation in enumerate(self.observations):
            for place in places(observation.problem):
                for line in place.lines(observation.problem):
                    for key in (*self.suspects(number, line), *self.terms(number, line)):
                        seen[Mistake(place, key)] = None
        return list(seen)


def explain(observations: Sequence[Observation]) -> list[Explanation]:
    """Every single mistake that explains all observations."""
    bench = Bench(observations)
    return [each for mistake in bench.single() if (each := bench.explains([mistake]))]


def explain_twice(
    observations: Sequence[Observation], symbols: Container[str] = ()
) -> list[Explanation]:
    """The first pair of mistakes found that explains all observations.

    Args:
        observations: what was received.
        symbols: of the places where both have to be; everywhere, if there are none.
    """
    bench, few = Bench(observations), Bench(observations[:FEW])
    mistakes = [each for each in bench.single() if not symbols or each.place.symbol in symbols]
    base = few.score(None)
    scores = {mistake: few.score(mistake) for mistake in mistakes}
    better = [mistake for mistake in mistakes if scores[mistake] > base]
    firsts = sorted(better, key=lambda mistake: -scores[mistake])[:BEAM]
    for one, two in itertools.islice(itertools.product(firsts, mistakes), ATTEMPTS):
        if one == two or (one.measured and two.measured):
            continue
        if each := bench.explains([one, two]):
            return [each]
    return []
