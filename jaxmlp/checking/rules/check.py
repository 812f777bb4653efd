"""`check_rule`: a derivative rule from all sides, at the points at which rules go wrong."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.rules import findings as kinds
from jaxmlp.checking.rules.domains import Domain, domains_of
from jaxmlp.checking.rules.findings import Found, told
from jaxmlp.checking.rules.formulas import Formula, by_distribution, by_formula
from jaxmlp.checking.rules.function import Function
from jaxmlp.checking.rules.jacobians import MODES, Jacobian
from jaxmlp.checking.rules.judging import lost
from jaxmlp.checking.rules.names import argument_names, name_of
from jaxmlp.checking.rules.order import ABSENT, Order
from jaxmlp.checking.rules.points import Point, points
from jaxmlp.checking.rules.report import RuleMismatch, RuleReport
from jaxmlp.checking.rules.switches import switch_points
from jaxmlp.checking.rules.torch_function import TorchFunction, is_of_torch, signature_of
from jaxmlp.checking.rules.transforms import Difference, differences
from jaxmlp.checking.truth.programs import rule_names
from jaxmlp.importing import first_line

INFINITE = 16  # points at which a value is infinite that are looked at
FEW = 4  # points at which values are taken in a batch and singly
ALIKE = 0.05  # of the largest value, by which those in fewer digits differ at the most
CHANGED = 1e-9  # relative difference from which a value is another one
TWICE = 10  # points at which the second order is looked at
DTYPES = ("float64", "float32")
GIVEN = "the given arguments"
RIGHT = "a point where it is right in float64"
FIRST = "a point where the first derivative is right"


def examine_rule(
    function: Callable[..., Any],
    *arguments: Any,
    domain: Any = None,
    truth: Callable[..., Any] | None = None,
    cdf: Callable[..., Any] | None = None,
    intended: Any = (),
    dtypes: Sequence[str] = DTYPES,
    seed: int = 0,
) -> RuleReport:
    """Check every derivative of a function, and so the rules that it meets.

    Args:
        function: takes the arguments; with a rule of its own, made of such, or without any.
        arguments: an example of each; floats and arrays of floats move, all else stays.
        domain: where to look: "real", "positive", "nonnegative", "unit", "symmetric",
            "positive definite", "fixed", a pair (low, high), a list of values or a Hypothesis
            strategy; for several arguments a dict of such by their names, or a list. Points that
            the function refuses by NaN or infinity are left out.
        truth: a formula for the derivatives, in the place of differences: takes the arguments,
            and returns the derivative by each that moves (a tuple, if there are several), of the
            outputs' shape and then the argument's; mpmath's numbers will do.
        cdf: of a function that draws samples, the distribution function F(x, parameters) of one
            sample: its derivatives tell how samples move at a fixed probability.
        intended: functions, or their names, whose rules are not meant to be derivatives.
        dtypes: of the arguments.
        seed: of the random numbers.

    Returns:
        The report; `examine_rule` gives it back whether the rule is right or not.

    Raises:
        RuleMismatch: from `check_rule`, with the findings.
        ValueError: if nothing moves, the function does not take the arguments, or a domain or
            dtype is none.
    """
    start = time.perf_counter()
    of_torch = is_of_torch(function, arguments)
    names = argument_names(signature_of(function) if of_torch else function, arguments)
    whole: Function
    changes: Callable[..., Iterator[Difference]]
    if of_torch:
        whole = TorchFunction(function, arguments, names)
        changes = whole.differences
    else:
        whole = Function(function, arguments, names)
        changes = partial(differences, whole)
    _check(whole, function, dtypes)
    check = _Check(whole, changes, domains_of(domain, names), seed)
    if truth and cdf:
        raise ValueError("truth and cdf are both given: one of them tells the derivative")
    formula = by_formula(whole, truth) if truth else by_distribution(whole, cdf) if cdf else None
    meant = {*rule_names(intended)} & {*check.rules}
    found = told(list(check.findings(dtypes, formula)))
    if meant:
        found = [replace(each, kind=kinds.INTENDED) for each in found]
    elif whole.stops:
        found = [_stopped(each) if each.kind in kinds.NUMBERS else each for each in found]
    return RuleReport(
        subject=name_of(function),
        findings=tuple(found),
        points=len(check.looked),
        refused=check.refused,
        rules=tuple(check.rules),
        remarks=tuple(dict.fromkeys(check.remarks)),
        seconds=time.perf_counter() - start,
    )


def _stopped(found: Found) -> Found:
    """A finding about a function that stops gradients, which may be what is meant."""
    return replace(found, says=f"{found.says}{'; ' * bool(found.says)}the function stops gradients")


def check_rule(function: Callable[..., Any], *arguments: Any, **settings: Any) -> RuleReport:
    """As `examine_rule`, but a wrong rule raises RuleMismatch."""
    report = examine_rule(function, *arguments, **settings)
    if not report.passed:
        raise RuleMismatch(report)
    return report


def _check(whole: Function, function: Any, dtypes: Sequence[str]) -> None:
    """Raise ValueError unless the function takes the arguments and gives floating numbers."""
    name = name_of(function)
    for dtype in dtypes:
        if dtype not in ("float64", "float32", "bfloat16", "float16"):
            raise ValueError(f"dtype {dtype!r} is none of float64, float32, bfloat16, float16")
    if not whole.size:
        raise ValueError(
            f"no argument of {name} moves: give floats or arrays of floats, such as 2.0 for 2"
        )
    try:
        outputs = whole.one(whole.row())
    except Exception as error:
        says = f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(f"{name} does not take the arguments: {says}") from error
    if not outputs.size:
        raise ValueError(f"{name} returns no floating numbers: there is nothing to differentiate")


class _Check:
    """One check on its way."""

    def __init__(
        self,
        whole: Function,
        changes: Callable[..., Iterator[Difference]],
        domains: list[Domain],
        seed: int,
    ) -> None:
        self.whole, self.changes, self.domains, self.seed = whole, changes, domains, seed
        self.remarks: list[str] = []
        rules = whole.rules()
        if rules is None:
            self.remarks.append("it cannot be traced: it is called point by point")
        self.rules = rules or []
        self.looked, self.refused = self._points()
        if not self.looked:
            raise ValueError(
                f"{name_of(whole.function)} has no finite value at any point of its domain: give "
                "arguments, or a domain, at which it has"
            )
        self.jacobian = Jacobian(whole, domains, self.looked[0].row, seed)

    def _points(self) -> tuple[list[Point], int]:
        """The points at which the function has values, and how many others there are."""
        every = list(points(self.whole, self.domains, self.seed))
        bases = [each.row for each in every if each.ordinary][:2]
        every += switch_points(self.whole, self.domains, bases)
        distinct = list({each.row.tobytes(): each for each in reversed(every)}.values())[::-1]
        values = self.whole.value(np.stack([each.row for each in distinct]))
        finite = np.isfinite(values).all(axis=1)
        infinite = np.isinf(values).any(axis=1) & ~np.isnan(values).any(axis=1)
        self.infinite = [distinct[i] for i in np.flatnonzero(infinite)][:INFINITE]
        looked = [distinct[i] for i in np.flatnonzero(finite)]
        return looked, len(distinct) - len(looked)

    def findings(self, dtypes: Sequence[str], formula: Formula | None) -> Iterator[Found]:
        """Every finding: first order, transformations, second order, fewer digits."""
        without = self.whole.without_rules() if self.rules else None
        name = self.whole.name
        batched = list(self._batched())
        first = Order(self.jacobian, without, self.looked, name, formula)
        yield from (first.found(self.looked[0], *each) for each in batched)
        yield from first.findings()
        yield from first.changed(self.infinite)
        self.remarks += first.remarks
        right = first.right
        yield from self._transformed(first, right or [each.row for each in self.looked])
        if ordinary := [row for row in right if _is_ordinary(row)][:TWICE]:
            yield from self._second_order(ordinary, name)
        for dtype in dtypes:
            if dtype != "float64" and not self.whole.draws:
                yield from self._in_fewer_digits(first, dtype)

    def _batched(self) -> Iterator[tuple[Any, ...]]:
        """Whether values are others in a batch; then they are not taken in batches."""
        some = self.looked[:FEW]
        many = self.whole.value(np.stack([each.row for each in some]))
        for point, batched in zip(some, many, strict=True):
            alone = self.whole.one(point.row)
            if not np.allclose(batched, alone, rtol=CHANGED, atol=0, equal_nan=True):
                at = int(np.argmax(np.abs(batched - alone)))
                says = f"its value is {batched[at]:.6g}, but {alone[at]:.6g} by itself"
                self.whole.batches = False
                yield kinds.BATCHES, 0, 0, "value under vmap", np.nan, np.nan, np.nan, np.nan, says
                return

    def _transformed(self, first: Order, rows: Sequence[Array]) -> Iterator[Found]:
        """What changes under jit, vmap, scan, cond and remat."""
        point = Point(rows[0], GIVEN)
        for mode in MODES:
            try:
                pairs = (rows[0], rows[-1], self.jacobian.weights, mode == "forward")
                every = list(self.changes(*pairs))
            except Exception:  # which the first order tells
                continue
            for each in every:
                if any(absent in each.says for absent in ABSENT):
                    continue
                kind = kinds.RAISES if each.says else kinds.BATCHES
                says = each.says or f"{each.received:.6g}, but {each.expected:.6g} without it"
                yield first.found(point, kind, 0, 0, f"{mode} under {each.mode}", says=says)

    def _second_order(self, rows: Sequence[Array], name: str) -> Iterator[Found]:
        """The derivative of the first derivative, in both nestings."""
        looked = [Point(row, FIRST, True) for row in rows]
        weights = np.random.default_rng(self.seed).normal(size=len(self.whole.one(rows[0])))
        firsts = self.whole.first_derivatives(weights, self.seed)
        for inner_mode, first in firsts.items():
            inner = self.whole.with_function(first)
            try:
                jacobian = Jacobian(inner, self.domains, rows[0], self.seed)
            except Exception:  # it has no such mode
                continue
            second = Order(jacobian, None, looked, f"²{name}")
            for each in second.findings():
                mode = f"{each.mode} over {inner_mode}"
                if each.kind == kinds.RAISES:
                    by = f"by {each.argument} ({mode})"
                    self.remarks.append(f"it has no second derivative {by}: {each.says}")
                elif each.fails:
                    says = f"{each.kind}{'; ' * bool(each.says)}{each.says}"
                    yield replace(each, kind=kinds.SECOND, mode=mode, says=says)

    def _in_fewer_digits(self, first: Order, dtype: str) -> Iterator[Found]:
        """What is lost in a dtype, more than the rounding of its inputs explains."""
        narrow, eps = self.jacobian.of(self.whole.in_dtype(dtype)), float(jnp.finfo(dtype).eps)
        right = {row.tobytes() for row in first.right}
        for place, point in enumerate(self.looked):
            row = narrow.function.rounded(point.row)
            near = np.allclose(row, point.row, rtol=16 * eps, atol=0)
            if point.row.tobytes() not in right or not near:
                continue  # wrong anyway, or out of the dtype's range
            value, wide = narrow.function.one(row), self.whole.one(row)
            size = np.abs(wide).max(initial=0)
            # else it is another function, as samplers draw other numbers in another dtype
            if np.isfinite(value).all() and np.abs(value - wide).max(initial=0) <= ALIKE * size:
                for part in range(len(first.truths)):
                    for mode in MODES:
                        with contextlib.suppress(Exception):  # which the first order tells
                            yield from self._in_one(first, narrow, row, place, mode, part)

    def _in_one(
        self, first: Order, narrow: Jacobian, row: Array, place: int, mode: str, part: int
    ) -> Iterator[Found]:
        """What one mode loses in one part at one point."""
        dtype = narrow.function.dtype
        eps = float(jnp.finfo(dtype).eps)
        rows = [row * (1 + sign * eps) for sign in (0, 1, -1)]
        true, *beside = (self.jacobian.products(mode, each, part)[1] for each in rows)
        _, got = narrow.products(mode, row, part)
        with np.errstate(all="ignore"):
            near = np.abs(np.stack(beside) - true).max(axis=0)
        size = np.maximum(first.truths[part].at(place).size, first.ordinary[part])
        for at, kind, says in lost(got, true, near, size, dtype):
            numbers = float(got[at]), float(true[at])
            point = Point(row, RIGHT)
            yield first.found(point, kind, part, at[0], mode, *numbers, says=says, dtype=dtype)


def _is_ordinary(row: Array) -> bool:
    """Whether no number is tiny or huge."""
    sizes = np.abs(row[row != 0])
    return bool(np.all((sizes > 1e-4) & (sizes < 1e4)))
