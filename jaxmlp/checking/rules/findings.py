"""What is wrong with a derivative rule, by kind: three numbers side by side, and where."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.rules.points import Point

WRONG = "wrong"
SIGN = "wrong sign"
MISSING = "missing"
CHANGED = "value changed by differentiation"
INFINITE = "NaN or infinite where the derivative is finite"
OVERFLOW = "overflow at tiny or huge numbers"
RAISES = "rule missing or raising"
MODES = "modes disagree"
BATCHES = "another result under a transformation"
SECOND = "second order wrong"
LOST = "precision lost"
KINK = "convention at a kink"
INTENDED = "on purpose"
NUMBERS = (WRONG, SIGN, MISSING, LOST)  # of which one cause may look like several
NOTES = (KINK, INTENDED, OVERFLOW)  # that do not fail

WITHIN = 1e100  # numbers that are neither huge nor, as their inverses, tiny
COARSE = 2e-2  # relative error up to which it may be rounding, to as few digits as bfloat16 has
UNEVEN = 0.3  # of the largest such error, by which they have to differ


@dataclass(frozen=True)
class Found:
    """One finding.

    Attributes:
        kind: one of those above.
        output, argument: the names of what is differentiated, and of what by.
        point: the floating numbers of the arguments, and a few words about them.
        dtype: of the arguments.
        mode: in which the derivative was taken: forward, reverse, jit, vmap, …
        received: what the rule gives.
        expected: what differences of the values give.
        error: how far off that may be.
        without: what the program without its rules gives; NaN if there is nothing to say.
        says: more in a sentence.
        repeat: a line of Python with this derivative, in float64 if JAX is told of that.
    """

    kind: str
    output: str
    argument: str
    point: Point
    dtype: str
    mode: str
    received: float = np.nan
    expected: float = np.nan
    error: float = np.nan
    without: float = np.nan
    says: str = ""
    repeat: str = ""

    @property
    def fails(self) -> bool:
        """Whether a rule with this finding is wrong."""
        return self.kind not in NOTES

    @property
    def derivative(self) -> str:
        """Such as ∂f/∂x."""
        return f"∂{self.output}/∂{self.argument}"

    def __str__(self) -> str:
        """One line, or two."""
        numbers = ""
        if not np.isnan(self.expected):
            numbers = (
                f": the rule gives {self.received:.6g}, differences give {self.expected:.6g}"
                f" ± {self.error:.0e}"
            )
            if not np.isnan(self.without):
                numbers += f", the program without the rule {self.without:.6g}"
        elif not np.isnan(self.received):
            numbers = f": it gives {self.received:.6g}"
        more = f"; {self.says}" if self.says else ""
        more += f"; {self.repeat}" if self.repeat else ""
        where = f"at {self.point.about} ({self.mode}, {self.dtype})"
        return f"{self.kind}: {self.derivative} {where}{numbers}{more}"


def plainness(row: Array) -> tuple[int, float]:
    """The smaller, the plainer are some numbers."""
    texts = sum(len(f"{each:.12g}") for each in row)
    return texts, float(np.abs(row).sum())


def told(found: Sequence[Found]) -> list[Found]:
    """What is to be told of all findings: one for each cause, at the plainest numbers.

    A factor that is wrong everywhere is 0 at one point and has another sign at another. So what is
    wrong at ordinary points is told by these alone. What is wrong with the first derivative makes
    the second wrong, too.
    """
    groups: dict[tuple[str, str], list[Found]] = {}
    for each in found:
        numbers = each.kind in NUMBERS
        name = each.argument.partition("[")[0]
        group = "numbers" if numbers else f"{each.kind} {each.mode.partition(' under ')[2]}"
        groups.setdefault((name, group), []).append(each)
    best: list[Found] = []
    for (_, group), some in groups.items():
        if group == "numbers":
            some = [each for each in some if each.point.ordinary] or some
            kinds = {each.kind for each in some}
            wrong = next(kind for kind in NUMBERS if kind in kinds)
            some = [each for each in some if each.kind == wrong]
            if wrong == WRONG and _is_coarse(some):
                some = [replace(each, kind=LOST) for each in some]
        best.append(min(some, key=lambda each: plainness(each.point.row)))
    first = {each.argument.partition("[")[0] for each in best if each.fails and each.kind != SECOND}
    best = [each for each in best if each.kind != SECOND or not first]
    return sorted(best, key=lambda each: (not each.fails, each.kind))


def _is_coarse(some: Sequence[Found]) -> bool:
    """Whether small errors look like rounding: another factor at every point."""
    off = np.array([each.received / each.expected - 1 for each in some if each.expected])
    return bool(
        len(off) > 2 and np.abs(off).max() < COARSE and np.ptp(off) > UNEVEN * np.abs(off).max()
    )
