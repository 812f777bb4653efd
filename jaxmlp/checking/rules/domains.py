"""Where a function is to be looked at: what each of its arguments may be."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxmlp.checking.arrays import Array

NAMED = {
    "real": (-math.inf, math.inf),
    "positive": (0.0, math.inf),  # without 0
    "nonnegative": (0.0, math.inf),
    "unit": (0.0, 1.0),
    "fixed": None,
}
MATRICES = ("symmetric", "positive definite")
DRAWS = 3  # of a Hypothesis strategy


@dataclass(frozen=True)
class Domain:
    """What an argument may be.

    Attributes:
        low, high: its numbers are between these, both included where the function has a value.
        above: whether the lowest is not included.
        form: "", "symmetric" or "positive definite", for square matrices.
        given: arrays that are looked at, and no others.
        fixed: whether it stays as it is.
    """

    low: float = -math.inf
    high: float = math.inf
    form: str = ""
    given: tuple[Any, ...] = ()
    fixed: bool = False
    above: bool = False

    def holds(self, number: float) -> bool:
        """Whether a number is inside, or at the edge."""
        return self.low <= number <= self.high and not (self.above and number == self.low)

    def draw(self, rng: np.random.Generator, like: Array) -> Array:
        """Dense ordinary numbers of the shape of an array."""
        low, high = self.low, self.high
        if math.isfinite(low) and math.isfinite(high):
            numbers = rng.uniform(0.9 * low + 0.1 * high, 0.1 * low + 0.9 * high, like.shape)
            return np.asarray(numbers)
        numbers = rng.normal(size=like.shape)
        if self.form == "positive definite":
            return numbers @ numbers.T + len(numbers) * np.eye(len(numbers))
        if self.form:
            return (numbers + numbers.T) / 2
        if math.isfinite(low):
            return np.asarray(low + np.exp(numbers))
        if math.isfinite(high):
            return np.asarray(high - np.exp(numbers))
        return np.asarray(2 * numbers)


def domain_of(given: Any) -> Domain:
    """What a user wrote for one argument.

    Args:
        given: None or "real"; "positive", "nonnegative", "unit", "fixed", "symmetric",
            "positive definite"; a pair (low, high); a list of values; a Hypothesis strategy; or a
            Domain.

    Raises:
        ValueError: if it is none of these.
    """
    if given is None or isinstance(given, Domain):
        return given or Domain()
    if isinstance(given, str):
        if given in MATRICES:
            return Domain(form=given)
        if given not in NAMED:
            options = ", ".join([*NAMED, *MATRICES])
            raise ValueError(f"domain {given!r} is none of {options}, or a pair (low, high)")
        ends = NAMED[given]
        return Domain(*ends, above=given == "positive") if ends else Domain(fixed=True)
    if hasattr(given, "example") and hasattr(given, "filter"):  # a strategy
        return Domain(given=tuple(_drawn(given)))
    if _is_pair(given):
        low, high = (-math.inf if given[0] is None else given[0]), given[1]
        high = math.inf if high is None else high
        if not low < high:
            raise ValueError(f"domain {given} holds no numbers: give (low, high) with low < high")
        return Domain(float(low), float(high))
    if isinstance(given, list) and given:
        return Domain(given=tuple(given))
    raise ValueError(
        f"domain {given!r} is no domain: give (low, high), a list of values, a Hypothesis "
        f"strategy, or one of {', '.join([*NAMED, *MATRICES])}"
    )


def _is_pair(given: Any) -> bool:
    return isinstance(given, tuple) and len(given) == 2 and all(map(_is_end, given))


def _is_end(end: Any) -> bool:
    return end is None or (isinstance(end, (int, float)) and not math.isnan(end))


def _drawn(strategy: Any) -> list[Any]:
    """A few values of a strategy, the same ones every time."""
    import hypothesis

    found: list[Any] = []

    @hypothesis.seed(0)
    @hypothesis.settings(
        max_examples=4 * DRAWS,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=[*hypothesis.HealthCheck],  # pyright: ignore[reportArgumentType]
    )
    @hypothesis.given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


def domains_of(given: Any, names: Sequence[str]) -> list[Domain]:
    """A domain for every argument.

    Args:
        given: None; one domain for all arguments; a dict by the arguments' names; or a list with
            one for each.
        names: of the arguments.

    Raises:
        ValueError: if a name is none of the function's, or their number is another.
    """
    if given is None:
        return [Domain()] * len(names)
    if isinstance(given, dict):
        if unknown := set(given) - set(names):
            raise ValueError(
                f"domain has {min(unknown)!r}, which is no argument: they are {', '.join(names)}"
            )
        return [domain_of(given.get(name)) for name in names]
    if len(names) == 1 or isinstance(given, (str, Domain)) or _is_pair(given):
        return [domain_of(given)] * len(names)
    if isinstance(given, Iterable) and len(each := list(given)) == len(names):
        return [domain_of(one) for one in each]
    raise ValueError(
        f"domain {given!r} is not for {len(names)} arguments: give a dict by the names "
        f"{', '.join(names)}, or a list with one for each"
    )
