"""The derivatives of one function at many points, in both modes, beside differences."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.rules import findings as kinds
from jaxmlp.checking.rules.differences import Slopes, known, slopes
from jaxmlp.checking.rules.findings import Found
from jaxmlp.checking.rules.formulas import Formula
from jaxmlp.checking.rules.function import Function
from jaxmlp.checking.rules.jacobians import MODES, Jacobian
from jaxmlp.checking.rules.judging import Verdict, confirmed, verdicts
from jaxmlp.checking.rules.parts import written
from jaxmlp.checking.rules.points import Point
from jaxmlp.importing import first_line

CHANGED = 1e-9  # relative difference of a value, from which it is another one
NOISE = 1e-12  # relative moves of the arguments, with which rounding errors change
NEAR = 2.0**-20  # from an edge, beyond which a function has no values
FORMULA = 1e-8  # relative error of a formula that is taken for the truth
SAID = 4  # entries of a part at a point, of which something is said
RESOLVED = 1e100  # the largest number at which slopes are compared
TINY = 1e-3  # numbers at which a formula may cancel to exactly 0
MOVES = 3
UNLIKE = 0.05  # of an error, by which it has to change, to be a rounding error
ABSENT = (
    "custom_vjp", "does not support reverse-mode", "while_loop", "fori_loop",
    "must implement the jvp function", "for jvp support", "for linearize support",
)  # fmt: skip


class Order:
    """What a function's derivatives are at some points, and what they should be.

    Attributes:
        right: the rows at which everything is right.
        remarks: what is worth knowing besides.
    """

    def __init__(
        self,
        jacobian: Jacobian,
        plain: Function | None,
        looked: Sequence[Point],
        name: str,
        formula: Formula | None = None,
    ) -> None:
        """Take the differences at all points.

        Args:
            jacobian: of the function.
            plain: the function without its rules, if it has any.
            looked: the points.
            name: of the function.
            formula: what its derivative is known to be, and differences are not asked for.
        """
        self.jacobian, self.looked, self.name, self.formula = jacobian, looked, name, formula
        self.plain = jacobian.of(plain) if plain else None
        self.right: list[Array] = []
        self.remarks: list[str] = []
        rows = np.stack([each.row for each in looked])
        if formula:
            self.truths = self._told(formula, rows)
        else:
            values, parts = jacobian.function.value, range(len(jacobian.directions))
            found = [slopes(values, rows, jacobian.along(part)) for part in parts]
            self.truths = [self._weighed(each) for each in found]
        usual = [i for i, each in enumerate(looked) if each.ordinary]
        self.ordinary = [
            max((truth.at(i).scale for i in usual), default=0.0) for truth in self.truths
        ]

    def _weighed(self, found: Slopes) -> Slopes:
        """The slopes (p, k, l) of weighed outputs; kinks have none."""
        if self.jacobian.whole:
            return found
        weights = self.jacobian.weights
        with np.errstate(all="ignore"):
            value, left, right = (
                each @ weights.T for each in (found.value, found.left, found.right)
            )
            error, size = (each @ np.abs(weights).T for each in (found.error, found.size))
        kink, edge = (each.any(-1, keepdims=True) for each in (found.kink, found.edge))
        none = np.zeros(value.shape, bool)
        return Slopes(
            np.where(kink, np.nan, value), error, left, right, none, none | edge, size
        )  # fmt: skip

    def _told(self, formula: Formula, rows: Array) -> list[Slopes]:
        """What a formula says in the place of differences, where it says something."""
        jacobian, found = self.jacobian, []
        values = np.abs(jacobian.function.value(rows)) @ np.abs(jacobian.weights).T
        for part, matrices in enumerate(zip(*map(formula, rows), strict=True)):
            slope = jacobian.directions[part] @ np.stack(matrices).swapaxes(1, 2)
            slope = slope if jacobian.whole else slope @ jacobian.weights.T
            error = FORMULA * np.abs(slope)
            found.append(known(values, rows, jacobian.along(part), slope, error))
        return found

    def findings(self) -> Iterator[Found]:
        """What is to be said at every point."""
        for i, point in enumerate(self.looked):
            here = list(self._at(i, point))
            yield from here
            if not any(each.fails or each.kind == kinds.KINK for each in here):
                self.right.append(point.row)

    def changed(self, points: Sequence[Point]) -> Iterator[Found]:
        """What differentiation makes of values that are infinite, and so have no derivative."""
        for point in points:
            values = self.jacobian.function.one(point.row)
            for mode in MODES:
                try:
                    primal, _ = self.jacobian.products(mode, point.row, 0)
                except Exception:  # which is told of other points
                    continue
                yield from self._changed(point, 0, mode, values, primal)

    def _at(self, place: int, point: Point) -> Iterator[Found]:
        values = self.jacobian.function.one(point.row)
        for part in range(len(self.truths)):
            for mode in MODES:
                try:
                    primal, received = self.jacobian.products(mode, point.row, part)
                except Exception as error:
                    yield from self._raised(error, point, part, mode)
                    continue
                yield from self._changed(point, part, mode, values, primal)
                said = verdicts(received, self.truths[part].at(place), self.ordinary[part])
                for verdict in itertools.islice(said, SAID):
                    yield from self._entry(place, point, part, mode, verdict, received)

    def _raised(self, error: Exception, point: Point, part: int, mode: str) -> Iterator[Found]:
        """What a mode raises, unless it is not there on purpose."""
        if any(each in str(error) for each in ABSENT):
            self.remarks.append(f"it has no {mode} mode")
        else:
            says = f"{type(error).__name__}: {first_line(error)}"
            yield self.found(point, kinds.RAISES, part, 0, mode, says=says)

    def _changed(
        self, point: Point, part: int, mode: str, values: Array, primal: Array
    ) -> Iterator[Found]:
        """Whether differentiating changes the value."""
        with np.errstate(all="ignore"):
            near = np.abs(primal - values) <= CHANGED * np.abs(values)
            same = (primal == values) | (near & np.isfinite(values))
        wrong = ~(same | (np.isnan(primal) & np.isnan(values)))
        for output in np.flatnonzero(wrong)[:1]:
            was, is_ = values[output], primal[output]
            says = f"the value is {was:.6g}, and {is_:.6g} when it is differentiated"
            yield self.found(point, kinds.CHANGED, part, 0, mode, says=says)

    def _entry(
        self, place: int, point: Point, part: int, mode: str, verdict: Verdict, received: Array
    ) -> Iterator[Found]:
        """A finding about one entry, if JAX's own values confirm it."""
        at = verdict.direction, verdict.output
        truth, kind = self.truths[part].at(place), verdict.kind
        got, value = float(received[at]), float(truth.value[at])
        if kind != kinds.INFINITE and np.abs(point.row).max() > RESOLVED:
            return  # where no differences are small beside what the function does
        if self.jacobian.whole and not (truth.kink[at] or self.formula):
            along = self.jacobian.along(part)[verdict.direction]
            function = self.jacobian.function
            beside = (function.by_itself(point.row + sign * NEAR * along) for sign in (1, -1))
            inside = not truth.edge[at] or all(np.isfinite(e[verdict.output]) for e in beside)
            if inside and not confirmed(function, point.row, along, verdict.output, got, value):
                return
        says = verdict.says
        plain = got == 0 and not np.any((point.row != 0) & (np.abs(point.row) < TINY))
        sizes = np.abs(point.row[point.row != 0])
        if kind == kinds.INFINITE and np.any((sizes > kinds.WITHIN) | (sizes * kinds.WITHIN < 1)):
            kind = kinds.OVERFLOW
        numbers = kind in (kinds.WRONG, kinds.MISSING, kinds.SIGN)
        if numbers and not plain and self._is_noise(point, part, mode, at, got - value):
            kind, says = kinds.LOST, "its error changes with the rounding of the arguments"
        without = self._without(point.row, part, at)
        yield self.found(
            point, kind, part, verdict.direction, mode, got, value, float(truth.error[at]),
            without, says,
        )  # fmt: skip

    def _is_noise(
        self, point: Point, part: int, mode: str, at: tuple[int, int], error: float
    ) -> bool:
        """Whether an error becomes another where the arguments hardly move."""
        rng = np.random.default_rng(0)
        found = []
        for _ in range(MOVES):
            row = point.row * (1 + NOISE * rng.uniform(-1, 1, point.row.shape))
            try:
                found.append(float(self.jacobian.products(mode, row, part)[1][at]))
            except Exception:
                return False
        return bool(np.ptp(found) > UNLIKE * abs(error))

    def _without(self, row: Array, part: int, at: tuple[int, int]) -> float:
        """What the program without its rules gives."""
        if self.plain is None:
            return np.nan
        try:
            return float(self.plain.products("forward", row, part)[1][at])
        except Exception:  # such as a loop that only the rule can differentiate
            return np.nan

    def found(
        self, point: Point, kind: str, part: int, direction: int, mode: str,
        received: float = np.nan, expected: float = np.nan, error: float = np.nan,
        without: float = np.nan, says: str = "", dtype: str = "float64",
    ) -> Found:  # fmt: skip
        """A finding, with what there is to say of where it is."""
        return Found(
            kind, self.name, self.jacobian.entry(part, direction), point, dtype, mode, received,
            expected, error, without, says, self._repeat(point.row, part, mode),
        )  # fmt: skip

    def _repeat(self, row: Array, part: int, mode: str) -> str:
        """A line of Python with the derivative by a part, if it can be written in one."""
        function = self.jacobian.function
        calls = function.CALLS.get(mode)
        texts = [written(each) for each in function.arguments(row)] if calls else [None]
        if not calls or None in texts or not self.name.isidentifier():
            return ""
        return (
            f"{calls}({self.name}, {function.parts[part].argument})({', '.join(map(str, texts))})"
        )
