"""Which mistake, in which line, explains the gradient that was received?

Every suspect, at every place, predicts a whole gradient: the derivation with that line
replaced. The mistake is the one whose prediction agrees with everything that was received.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxmlp.checking.factors import factor_between
from jaxmlp.checking.reference import (
    Array,
    Formula,
    Line,
    Problem,
    Values,
    all_lines,
    evaluate,
    formula,
)
from jaxmlp.checking.suspects import Suspect, suspects

SLACK = 64.0  # a wrong gradient may be rounded worse than the right one
COARSEST = 1e-6  # relative rounding granted to a wrong gradient, whatever the right one's is
FEW = 4  # observations that are enough to see which mistakes explain a part
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


def agree(received: Array, predicted: Array, allowed: Array, right: Array) -> bool:
    """Whether two arrays are equal, where finite, up to the rounding allowed for their size."""
    if received.shape != np.shape(predicted):
        return False
    finite = np.isfinite(received) & np.isfinite(predicted)
    size = np.max(np.abs(right), initial=0, where=np.isfinite(right))
    share = min(allowed.max() / size, COARSEST) if size > 0 else COARSEST
    largest = np.max(np.abs(predicted), initial=0, where=finite)
    with np.errstate(all="ignore"):
        near = np.abs(np.where(finite, received - predicted, 0.0))
        return bool(np.all(near <= SLACK * max(allowed.max(), share * largest)))


class Place(NamedTuple):
    """Which lines of a symbol: every one, or one counted from the input or the output."""

    symbol: str
    end: str
    number: int = 0

    def lines(self, problem: Problem) -> list[Line]:
        """The lines meant, in a problem of any depth."""
        last = self.symbol == "dzL"
        symbol = "dz" if last else self.symbol
        hits = [line for line in all_lines(problem) if line.symbol == symbol]
        if symbol == "dz":
            hits = [line for line in hits if (line.index == problem.depth) == last]
        hits.sort(key=lambda line: line.index, reverse=self.end == "output")
        return hits if self.end == "every" else hits[self.number : self.number + 1]


class Mistake(NamedTuple):
    """A suspect at a place; without a key, the line is off by a constant factor."""

    place: Place
    key: str | None


class Explanation(NamedTuple):
    """Mistakes that together explain everything.

    Attributes:
        mistakes: one, or two of them.
        factors: for a mistake without a key, the factor found for each observation.
    """

    mistakes: tuple[Mistake, ...]
    factors: tuple[float, ...] = ()


def places(problem: Problem) -> Iterator[Place]:
    """Every place there is in a problem, the most general first."""
    for symbol in ("p", "dzL", "dz", "dh", "dW", "db", "h", "z"):
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
    except ValueError:
        return expected
    return value if value.shape == expected.shape else expected


class Bench:
    """The observations, with what has been worked out about them."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        """Put those first that tell most hypotheses apart."""
        self.observations = observations
        self._known: dict[tuple[int, Line], dict[str, Suspect]] = {}

    def suspects(self, number: int, line: Line) -> dict[str, Suspect]:
        """The suspects for a line of an observation's problem, by key."""
        if (number, line) not in self._known:
            problem = self.observations[number].problem
            self._known[number, line] = {each.key: each for each in suspects(line, problem)}
        return self._known[number, line]

    def predict(
        self, number: int, mistakes: Sequence[Mistake], factor: float = 1.0
    ) -> dict[Line, Array]:
        """All lines under some mistakes; a factor that is not known counts as 1."""
        by = factor if np.isfinite(factor) else 1.0
        problem, given = self.observations[number].problem, self.observations[number].given
        replaced: dict[Line, Formula] = {
            line: lambda v, l, value=value: value for line, value in given.items()
        }
        for place, key in mistakes:
            for line in place.lines(problem):
                if line in given:
                    continue
                right = replaced.get(line) or formula(line, problem.depth)
                if key is None:
                    replaced[line] = lambda v, l, right=right: by * right(v, l)
                elif key in (known := self.suspects(number, line)):
                    replaced[line] = functools.partial(_where_it_fits, known[key].formula, right)
        return evaluate(problem, replaced)

    def factor(self, number: int, mistake: Mistake, others: Sequence[Mistake]) -> float:
        """By what number the first line that a mistake touches seems to be multiplied."""
        observation = self.observations[number]
        once, twice = (self.predict(number, [*others, mistake], by) for by in (1.0, 2.0))
        for line in all_lines(observation.problem):
            if line not in observation.received or np.array_equal(once[line], twice[line]):
                continue
            found = factor_between(once[line], observation.received[line])
            if not np.isnan(found):
                return found
        return np.nan  # it touches nothing here

    def explains(self, mistakes: Sequence[Mistake]) -> Explanation | None:
        """The explanation that these mistakes make, if they fit every observation."""
        factors = []
        scaled = [mistake for mistake in mistakes if mistake.key is None]
        for number, observation in enumerate(self.observations):
            factor = 1.0
            if scaled:
                others = [mistake for mistake in mistakes if mistake.key is not None]
                factor = self.factor(number, scaled[0], others)
                factors.append(factor)
            predicted = self.predict(number, mistakes, factor)
            if not observation.agrees(predicted):
                return None
        return Explanation(tuple(mistakes), tuple(factors))

    def score(self, mistakes: Sequence[Mistake]) -> int:
        """How many leaves these mistakes explain, over all observations."""
        count = 0
        for number, observation in enumerate(self.observations):
            factor = 1.0
            if mistakes and mistakes[0].key is None:
                factor = self.factor(number, mistakes[0], ())
            predicted = self.predict(number, mistakes, factor)
            count += sum(observation.agrees(predicted, [line]) for line in observation.received)
        return count

    def single(self) -> list[Mistake]:
        """Every mistake that can be made once in these problems."""
        seen: dict[Mistake, None] = {}
        for number, observation in enumerate(self.observations):
            for place in places(observation.problem):
                for line in place.lines(observation.problem):
                    for key in self.suspects(number, line):
                        seen[Mistake(place, key)] = None
                if place.symbol.startswith("d"):
                    seen[Mistake(place, None)] = None
        return list(seen)


def explain(observations: Sequence[Observation]) -> list[Explanation]:
    """Every single mistake that explains all observations; if there is none, every pair."""
    bench = Bench(observations)
    mistakes = bench.single()
    found = [each for mistake in mistakes if (each := bench.explains([mistake]))]
    if found:
        return found
    few = Bench(observations[:FEW])
    base = few.score([])
    scores = {mistake: few.score([mistake]) for mistake in mistakes}
    better = [mistake for mistake in mistakes if scores[mistake] > base]
    better.sort(key=lambda mistake: -scores[mistake])
    pairs = ((one, two) for one in better[:BEAM] for two in mistakes if one.place != two.place)
    for pair in pairs:
        if each := bench.explains(pair):
            return [each]
    return []
