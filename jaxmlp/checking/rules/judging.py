"""Setting a rule's derivative beside differences of the values, entry by entry."""

from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.rules.differences import JUDGED, Slopes
from jaxmlp.checking.rules.findings import INFINITE, KINK, LOST, MISSING, SIGN, WRONG
from jaxmlp.checking.rules.function import Function

SAME = 1e-6  # relative difference from which a derivative in float64 is another one
NOTHING = 1e-9  # of the largest derivative at a point, below which an entry says nothing
ROUNDED = 1e-4  # relative difference up to which only digits are lost
FLOOR = 1e-5  # of the largest slope at ordinary points, beside which others count
LEAST = 1e-200  # below which nothing is looked at
FEW = 64.0  # roundings, which every formula may make
SHRINKS = 0.75  # of the distance of both sides' slopes, if steps are halved
CONFIRMING = 2.0 ** -np.arange(5, 21)


class Verdict(NamedTuple):
    """One entry that is worth a word: its place (direction, output), the kind, and a sentence."""

    direction: int
    output: int
    kind: str
    says: str = ""


def verdicts(received: Array, truth: Slopes, ordinary: float) -> Iterator[Verdict]:
    """What is to be said of a rule's derivative (k, m).

    Args:
        received: the derivative.
        truth: what differences say at that point.
        ordinary: the largest slope at ordinary points.
    """
    scale = truth.scale
    for direction, output in np.ndindex(received.shape):
        got, at = float(received[direction, output]), (direction, output)
        value, error, size = (float(each[at]) for each in (truth.value, truth.error, truth.size))
        if truth.kink[at]:
            sides = float(truth.left[at]), float(truth.right[at])
            verdict = _at_kink(got, *sides, max(scale, size, FLOOR * ordinary))
        elif not np.isfinite(value):
            continue
        elif not np.isfinite(got):
            known = error <= JUDGED * max(abs(value), scale, ordinary)
            verdict = (INFINITE, "") if known else None
        else:
            known = error <= JUDGED * max(abs(value), size, ordinary)
            verdict = (
                _smooth(got, value, error, max(scale, size, FLOOR * ordinary)) if known else None
            )
        if verdict:
            yield Verdict(direction, output, *verdict)


def _smooth(got: float, value: float, error: float, scale: float) -> tuple[str, str] | None:
    """What is to be said of a finite number, beside what it should be."""
    off, most = abs(got - value), max(abs(got), abs(value))
    if error > JUDGED * most or off <= max(16 * error, SAME * abs(value), NOTHING * scale, LEAST):
        return None
    share = off / most
    if share <= ROUNDED:
        return LOST, f"{max(0, int(-np.log10(share)))} digits are right"
    if abs(got) <= SAME * abs(value):
        return MISSING, ""
    if abs(got + value) <= max(16 * error, ROUNDED * abs(value)):
        return SIGN, ""
    return WRONG, f"{got / value:.6g} times too large" if value else ""


def _at_kink(got: float, left: float, right: float, scale: float) -> tuple[str, str] | None:
    """Between the slopes on both sides everything is a convention, and nothing else is."""
    sides = f"the slopes are {left:.6g} on the left and {right:.6g} on the right"
    if not np.isfinite(got):
        return INFINITE, sides
    low, high = sorted((left, right))
    slack = max(JUDGED * max(abs(low), abs(high)), NOTHING * scale)
    if low - slack <= got <= high + slack:
        names = {"left": left, "right": right, "mean": (left + right) / 2}
        near = [name for name, each in names.items() if abs(got - each) <= slack]
        return KINK, f"{sides}; it is {got:.6g}{f', the {near[0]} one' if near else ''}"
    return WRONG, f"{sides}, and it is between none of these"


def lost(
    received: Array, exact: Array, near: Array, size: Array, dtype: str
) -> Iterator[tuple[tuple[int, int], str, str]]:
    """The entries (k, m) that lose more than half of a dtype's digits.

    Args:
        received: in that dtype.
        exact: in float64, at the same numbers.
        near: by how much it changes where the inputs are rounded.
        size: as in `Slopes`.
        dtype: its name.
    """
    info = jnp.finfo(dtype)
    eps, most, least = float(info.eps), float(info.max), float(info.tiny)
    for at in np.ndindex(received.shape):
        got, true = float(received[at]), float(exact[at])
        if not np.isfinite(true) or not np.isfinite(near[at]) or abs(true) > most / 16:
            continue
        if not np.isfinite(got):
            yield (at[0], at[1]), INFINITE, ""
            continue
        off = abs(got - true)
        allowed = FEW * eps * max(abs(true), float(size[at])) + 8 * float(near[at])
        share = off / max(abs(true), least * FEW)
        if off > allowed + FEW * least and share > eps**0.5:
            ulps = off / (eps * abs(true) + float(near[at]))
            right = max(0, int(-np.log10(share)))
            says = f"{right} digits are right; it is off by {ulps:.1e} times what rounding explains"
            yield (at[0], at[1]), LOST, says


def confirmed(
    function: Function, row: Array, direction: Array, output: int, got: float, value: float
) -> bool:
    """Whether JAX's own values, called one by one, are for the slope, too, and against the rule."""
    scale = max(float(np.abs(row * (direction != 0)).max(initial=0)), 1e-300)
    noise, middle = float(function.noise(row)[output]), float(function.by_itself(row)[output])
    sizes = [1.0, *([scale] if not 0.25 <= scale <= 4 else [])]
    return any(
        _by_steps(function, row, direction, output, got, value, size * CONFIRMING, middle, noise)
        for size in sizes
    )


@np.errstate(all="ignore")
def _by_steps(
    function: Function, row: Array, direction: Array, output: int, got: float, value: float,
    steps: Array, middle: float, noise: float,
) -> bool:  # fmt: skip
    """Whether two of some steps are for the slope, and on both sides alike.

    Where two larger steps are for the rule, the values have a plateau by rounding errors inside.
    """
    near, against, before = 0, 0, np.inf
    for step in steps:
        ahead, behind = (
            float(function.by_itself(row + sign * step * direction)[output]) for sign in (1, -1)
        )
        slope, gap = (ahead - behind) / (2 * step), abs(ahead - 2 * middle + behind) / step
        # the sides come nearer with the step, but where a kink is within the step
        smooth = gap <= max(SHRINKS * before, 0.25 * abs(got - value), 8 * noise / step)
        before = gap
        if 8 * noise > step * abs(got - value):
            continue  # its rounding may be all of the difference
        if np.isfinite(got):
            near += bool(abs(slope - value) <= 0.25 * abs(got - value)) and smooth
            against += bool(abs(slope - got) <= 0.25 * abs(got - value))
            if against > 1:
                return False
        else:
            near += bool(abs(slope - value) <= 1e-2 * abs(value) + 1e-9)
        if near > 1:
            return True
    return False
