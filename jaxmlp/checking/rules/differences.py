"""Slopes by differences of values, at many points at once, on both sides of each.

At every point and along every direction, steps from 2⁻² down to 2⁻²⁴ are taken, of the size of
the number itself and of size 1. Every three neighbouring steps are extrapolated to step 0
(Richardson); of all triples the one with the smallest bound on its error is taken.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.truth.differences import EPSILON, TRUST

STEPS = 2.0 ** -np.arange(2, 25)
ROUNDED = 8.0  # times the rounding of the values, divided by the step
UNDERFLOW = 1e-290  # what may be lost of a value, whatever its size
ULPS = 4.0  # roundings of a number, by which it is moved
WILD = 1e-6  # of the values, which the rounding of the arguments may change before all is lost
JUDGED = 1e-3  # relative error up to which a slope by differences says something
JUMP = 1e-3  # of the values, that no smooth function changes by at the smallest step
GOOD = 1e-4  # relative error of a triple that counts as good
APART = 1e-6  # relative difference of the slopes on both sides, from which it is a kink


class Slopes(NamedTuple):
    """Slopes at points along directions: arrays (points, directions, outputs).

    Attributes:
        value: the slope; on one side only, where the function ends there; NaN where there is none.
        error: how far off that may be.
        left, right: the slopes on either side.
        kink: whether those differ.
        edge: whether the function has values on one side only.
        size: what a slope is large or small beside: the value over the number that moves, or 1.
    """

    value: Array
    error: Array
    left: Array
    right: Array
    kink: Array
    edge: Array
    size: Array

    def at(self, place: int) -> "Slopes":
        """Those at one point: arrays (directions, outputs)."""
        return Slopes(*(each[place] for each in self))

    @property
    def scale(self) -> float:
        """The largest slope that is known well."""
        sure = np.isfinite(self.value) & (self.error <= JUDGED * np.abs(self.value))
        return float(np.max(np.abs(self.value), initial=0, where=sure))


@np.errstate(all="ignore")
def slopes(value: Callable[[Array], Array], rows: Array, directions: Array) -> Slopes:
    """The slopes of a function of many rows at once.

    Args:
        value: takes (many, n), returns (many, m).
        rows: the points (p, n).
        directions: along which (k, n), each with entries of size about 1.
    """
    count = len(rows)
    sizes = _sizes(rows, directions)
    scales = np.stack([np.ones_like(sizes), _power_of_two(sizes)], axis=-1)  # (p, k, 2)
    steps = scales[..., None] * STEPS  # (p, k, 2, s)
    signs = np.array([1.0, -1.0])
    moves = signs[:, None, None, None, None] * steps  # (2, p, k, 2, s)
    moved = (
        rows[None, :, None, None, None] + moves[..., None] * directions[None, None, :, None, None]
    )
    least = ULPS * EPSILON * sizes[..., None] * directions  # (p, k, n): what rounding moves by
    rounded = rows[None, :, None] + signs[:, None, None, None] * least
    some = [each.reshape(-1, rows.shape[1]) for each in (rounded, moved)]
    found = value(np.concatenate([rows, *some]))
    exact, found = found[:count], found[count:]
    others = found[: rounded[..., 0].size].reshape(*rounded.shape[:-1], -1)
    jitter = np.fmax(*np.abs(others - exact[:, None]))[:, :, None, None]
    middle = exact[:, None, None, None]
    ahead, behind = found[rounded[..., 0].size :].reshape(*moves.shape, -1)
    step = steps[..., None]
    noise = EPSILON * (sizes[..., None, None, None] / step)
    largest_value = np.fmax(np.abs(ahead), np.abs(behind))
    wild = jitter > WILD * np.fmax.reduce(largest_value, axis=(2, 3), keepdims=True)
    largest = np.where(wild, np.inf, largest_value) + (jitter + UNDERFLOW) / (ROUNDED * EPSILON)
    central = _extrapolated((ahead - behind) / (2 * step), 4.0, 16.0, largest / step, noise)
    right, right_error = _extrapolated((ahead - middle) / step, 2.0, 4.0, largest / step, noise)
    left, left_error = _extrapolated((middle - behind) / step, 2.0, 4.0, largest / step, noise)
    size = _beside(exact, sizes)
    jump = np.fmax(np.abs(ahead - middle), np.abs(behind - middle))[..., -1, :].min(axis=2)
    jumps = jump > JUMP * np.fmax.reduce(largest_value, axis=(2, 3))
    jumps &= jump > 2 * np.abs(central[0]) * steps[..., -1].max(axis=2)[..., None]
    jumps = jumps.any(axis=-1, keepdims=True)  # of one output, with which others may turn round
    central = central[0], np.where(jumps, np.inf, central[1])
    return _weighed(central, (left, left_error), (right, right_error), size)


def known(values: Array, rows: Array, directions: Array, slope: Array, error: Array) -> Slopes:
    """Slopes (p, k, m) that need no differences, of a function with the values (p, m)."""
    none = np.zeros(slope.shape, bool)
    size = np.broadcast_to(_beside(values, _sizes(rows, directions)), slope.shape)
    return Slopes(slope, error, slope, slope, none, none, size)


def _sizes(rows: Array, directions: Array) -> Array:
    """The largest number that moves, at each point along each direction: (p, k)."""
    return np.abs(rows[:, None, :] * (directions != 0)[None]).max(axis=-1, initial=0)


def _beside(values: Array, sizes: Array) -> Array:
    """What a slope is large or small beside: (p, k, m)."""
    return np.abs(values[:, None]) / np.maximum(sizes, 1.0)[..., None]


def _power_of_two(sizes: Array) -> Array:
    """The next power of two; 1 for what is near 1, or 0."""
    far = (sizes > 0) & ((sizes < 0.25) | (sizes > 4))
    return np.where(far, 2.0 ** np.floor(np.log2(np.where(far, sizes, 1.0))), 1.0)


def _extrapolated(
    slope: Array, first: float, second: float, rounding: Array, noise: Array
) -> tuple[Array, Array]:
    """The best slope (p, k, m), and its error, of slopes (p, k, 2, s, m) at halved steps."""
    once = (first * slope[..., 1:, :] - slope[..., :-1, :]) / (first - 1)
    twice = (second * once[..., 1:, :] - once[..., :-1, :]) / (second - 1)
    error = np.abs(twice - once[..., 1:, :]) + ROUNDED * EPSILON * rounding[..., 2:, :]
    error = error + 2 * noise[..., 2:, :] * np.abs(twice)
    error = np.where(np.isfinite(error), error, np.inf)
    trusted = np.where(_trusted(twice, error), error, np.inf)
    order = np.argsort(trusted, axis=3)[:, :, :, :2]
    best, next_best = np.moveaxis(np.take_along_axis(twice, order, axis=3), 3, 0)
    least = np.take_along_axis(trusted, order[:, :, :, :1], axis=3)[:, :, :, 0]
    differ = np.abs(best - next_best)
    least = np.where(np.isfinite(differ), np.maximum(least, differ), least)
    smaller = np.arange(error.shape[3])[:, None] > order[:, :, :, :1]
    off = np.abs(twice - best[:, :, :, None])
    denied = (smaller & (off > TRUST * (error + least[:, :, :, None]))).any(axis=3)
    poor = least > GOOD * np.abs(best)
    least = np.where(denied & poor, np.inf, least)  # by smaller steps, which know better
    return _nearer(np.moveaxis(best, 2, 0), np.moveaxis(least, 2, 0))


def _trusted(value: Array, error: Array) -> Array:
    """Which triples (p, k, 2, t, m) count: the longest run of good ones, of equals the last.

    Large steps may miss what happens between, and still agree with each other; and a formula for
    the neighbourhood of one number, taken for the smallest steps only, may be another one.
    """
    good = error <= GOOD * np.abs(value)
    length = longest = end = np.zeros(good[:, :, :, 0].shape, int)
    for place in range(good.shape[3]):
        length = np.where(good[:, :, :, place], length + 1, 0)
        better = (length > 0) & (length >= longest)
        longest, end = np.where(better, length, longest), np.where(better, place, end)
    places = np.arange(good.shape[3])[:, None]
    longest, end = longest[:, :, :, None], end[:, :, :, None]
    return (longest == 0) | ((places > end - longest) & (places <= end))


def _nearer(values: Array, errors: Array) -> tuple[Array, Array]:
    """Of slopes by steps of size 1, and of the number's own size, the latter if they are good."""
    (far, near), (far_error, near_error) = values, errors
    good = near_error <= JUDGED * np.abs(near)
    apart = np.abs(far - near) > TRUST * (far_error + near_error)
    error = np.where(good, near_error, np.where(apart & np.isfinite(near_error), np.inf, far_error))
    return np.where(good, near, far), error


def _weighed(
    central: tuple[Array, Array],
    left: tuple[Array, Array],
    right: tuple[Array, Array],
    natural: Array,
) -> Slopes:
    """What holds where both sides agree, where they do not, and where there is one side only."""
    (value, error), (below, below_error), (above, above_error) = central, left, right
    has_left, has_right = np.isfinite(below_error), np.isfinite(above_error)
    gap = np.abs(above - below)
    size = np.maximum(np.abs(above), np.abs(below))
    sure = np.maximum(below_error, above_error) <= JUDGED * size
    kink = has_left & has_right & sure & (gap > TRUST * (below_error + above_error) + APART * size)
    edge = has_left ^ has_right
    value = np.where(edge, np.where(has_right, above, below), value)
    error = np.where(edge, np.where(has_right, above_error, below_error), error)
    natural = np.broadcast_to(natural, value.shape)
    nothing = ~(has_left | has_right) | ~np.isfinite(error)
    return Slopes(np.where(nothing, np.nan, value), error, below, above, kink, edge, natural)
