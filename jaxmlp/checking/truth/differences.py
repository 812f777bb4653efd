"""Derivatives by differences of values alone, each with how far off it may be."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array

Value = Callable[[Array], float]  # of a loss, by all its parameters as one row
STARTS = (2, 5, 8, 11, 14, 18, 22)  # the first step of a triple is 2 to the power of minus this
EPSILON = float(np.finfo(float).eps)
TRUST = 4.0  # times the error that differences themselves state
SIDES = (2.0**-10, 2.0**-14)  # steps to either side of a point, to see whether it has a slope
BESIDE, TINY, POINTS = 2.0**-9, 2.0**-19, 16  # where and with which steps noise is measured
POINTS_THERE, NEARBY, FINE = 6, 2.0**-13, 2.0**-20  # beside a kink, and the steps there
SAME_SLOPE = 0.1  # of the difference of slopes on both sides
JUMP = 8.0  # times the difference at the larger step, more than which no kink makes
KINK = 0.3  # of a difference of slopes on both sides that has to be left at the smaller step


class Slope(NamedTuple):
    """The derivative along a direction.

    Attributes:
        value: by central differences.
        error: how far off that may be.
        left, right: the slopes on either side, which differ at a kink.
        kink: whether they do.
        side_error: how far off these may be, at a kink.
    """

    value: float
    error: float
    left: float
    right: float
    kink: bool
    side_error: float

    def refutes(self, other: float) -> bool:
        """Whether another number cannot be the derivative."""
        if self.kink or not np.isfinite(self.value):
            return False
        return not abs(other - self.value) <= TRUST * self.error


@np.errstate(all="ignore")  # of a loss that is infinite
def slope_along(
    value: Value, at: Array, direction: Array, quick: bool = False, noise: float = 0.0
) -> Slope:
    """The derivative of a function along a direction, by the steps that suit it best.

    Three steps, each half of the one before, are extrapolated to step 0 (Richardson), which
    removes the errors of order step² and step⁴. What the last extrapolation changed, and the
    rounding of the function divided by the step, bound the rest. Of several such triples the one
    with the smallest bound is taken: large steps round less, small ones miss the kinks nearby. By
    how much the next best one differs from it counts as error too.

    Args:
        value: the function of a row of parameters.
        at: where.
        direction: like `at`, of any length.
        quick: whether the first two triples will do that are good enough.
        noise: of the values, beyond the rounding of float64 (`noise_of`).
    """
    scale = max(1.0, float(np.abs(at).max(initial=0)) ** 0.5)
    known: dict[float, float] = {}

    def at_step(step: float) -> float:
        if step not in known:
            known[step] = float(value(at + step * scale * direction))
        return known[step]

    tried = []
    for start in STARTS:
        steps = 2.0 ** -np.arange(start, start + 3)
        ahead = np.array([at_step(step) for step in steps])
        behind = np.array([at_step(-step) for step in steps])
        slopes = (ahead - behind) / (2 * steps * scale)
        once = (4 * slopes[1:] - slopes[:-1]) / 3
        twice = (16 * once[1] - once[0]) / 15
        largest = max(np.abs(ahead).max(), np.abs(behind).max())
        error = abs(twice - once[1]) + 8 * max(EPSILON * largest, noise) / (steps[-1] * scale)
        tried.append((float(error) if np.isfinite(error) else np.inf, float(twice)))
        if quick and sum(each <= 1e-9 * abs(slope) for each, slope in tried) > 1:
            break
    (least, best), (_, second) = sorted(tried, key=lambda each: each[0])[:2]
    if np.isfinite(second):
        least = max(least, abs(best - second))
    middle, sides = at_step(0.0), []
    for step in SIDES:
        left = (middle - at_step(-step)) / (step * scale)
        right = (at_step(step) - middle) / (step * scale)
        sides.append((left, right))
    gaps = [abs(right - left) for left, right in sides]
    rounding = max(EPSILON * max(map(abs, known.values())), noise)
    kink = not gaps[1] <= KINK * gaps[0] + 64 * rounding / (SIDES[1] * scale)
    if gaps[1] > JUMP * gaps[0]:  # rounding of the value here, or a jump, in which nothing agrees
        kink = False
    if not kink:
        left, right = sides[1]
        return Slope(best, least, left, right, kink, np.inf)
    steps = [2.0 ** -np.arange(start, start + 3) for start in STARTS[: len(tried)]]
    (left, before), (right, after) = (
        min((_one_sided(at_step, sign, scale, each, rounding) for each in steps),
            key=lambda pair: pair[1])
        for sign in (-1, 1)
    )  # fmt: skip
    return Slope(best, least, left, right, kink, max(before, after))


def _one_sided(
    at_step: Callable[[float], float], sign: int, scale: float, steps: Array, rounding: float
) -> tuple[float, float]:
    """The slope on one side, extrapolated to step 0, and how far off that may be."""
    ahead = np.array([at_step(sign * step) for step in steps]) - at_step(0.0)
    slopes = sign * ahead / (steps * scale)
    once = 2 * slopes[1:] - slopes[:-1]
    twice = float((4 * once[1] - once[0]) / 3)
    error = float(abs(twice - once[1]) + 16 * rounding / (steps[-1] * scale))
    return twice, error if np.isfinite(error) else np.inf


@np.errstate(all="ignore")
def noise_of(value: Value, at: Array) -> float:
    """How far roundings put the values of a function, as of a loss that computes in float32.

    Fourth differences over tiny steps are nothing but that: of independent errors they are some 8
    times as large. They are taken a little beside the point, where the function may have a kink.
    """
    direction = np.random.default_rng(0).normal(size=at.shape)
    direction /= np.linalg.norm(direction) or 1.0
    steps = BESIDE + TINY * np.arange(POINTS)
    fourth = np.diff([value(at + step * direction) for step in steps], 4)
    largest = float(np.abs(fourth).max()) / 70**0.5
    return largest if np.isfinite(largest) else 0.0


@np.errstate(all="ignore")
def is_met_by_others(
    value: Value, at: Array, place: int, sides: Sequence[float], noise: float
) -> bool:
    """Whether a kink along one entry is met by others, so that beside it there are more slopes.

    Args:
        value, at, noise: as `slope_along` has them.
        place: of the entry.
        sides: the two slopes, the smaller one first.
    """
    low, high = sides
    near = SAME_SLOPE * (high - low)
    rng, found = np.random.default_rng(0), []
    for _ in range(POINTS_THERE):
        direction = rng.normal(size=at.shape)
        point = at + NEARBY * direction / np.linalg.norm(direction)
        ahead, behind = point.copy(), point.copy()
        ahead[place] += FINE
        behind[place] -= FINE
        found.append((value(ahead) - value(behind)) / (2 * FINE))
    near = max(near, 4 * noise / FINE)
    return any(min(abs(each - low), abs(each - high)) > near for each in found)


@np.errstate(all="ignore")
def taylor_order(value: Value, at: Array, gradient: Array, direction: Array) -> float:
    """The order at which f(θ + tv) − f(θ) − t g·v vanishes with t: 2 if g is the gradient.

    Infinite if the remainder is nothing but rounding, as for a loss that is linear along v.
    """
    t = 2.0 ** -np.arange(6, 14)
    values = np.array([value(at + step * direction) for step in (0.0, *t)])
    remainder = np.abs(values[1:] - values[0] - t * float(gradient @ direction))
    clear = remainder > 100 * EPSILON * np.abs(values).max()
    if clear.sum() < 2:
        return np.inf
    return float(np.polyfit(np.log(t[clear]), np.log(remainder[clear]), 1)[0])


class Estimate(NamedTuple):
    """A derivative, and how far off it may be."""

    value: Array
    error: Array
