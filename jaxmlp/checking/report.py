"""What a check found, and how it reads as text."""

import functools
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec

import jax
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.calls import ALONG, NOT_COMPARED, Finding, as_array
from jaxmlp.checking.cases import Case
from jaxmlp.checking.oracles import Oracle
from jaxmlp.checking.programs.interpreter import Source

Given = ParamSpec("Given")
MUCH = 0.01  # of a leaf's largest entry, to go unseen
MANY = 40  # numbers in an array that is not shown in full
MARKS = {"right": "✓", "wrong": "✗", "follows": "↳", "unknown": " "}
NOTES = {"wrong": "← wrong"}


@dataclass(frozen=True)
class Row:
    """One line of the worked example.

    Attributes:
        name: such as ∂C/∂W¹.
        equation: its number in `derivation.md`, or None for a model of one's own.
        formula: its right side, as text.
        expected: what it should be.
        received: what it is; None if unknown.
        status: right; wrong; follows: right, given the lines before it, one of which is wrong;
            or unknown, since it was not returned.
        inferred: whether `received` was not returned but follows from the diagnosis.
    """

    name: str
    equation: int | None
    formula: str
    expected: Array
    received: Array | None
    status: str
    inferred: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """The mistake that explains every number that was received.

    Attributes:
        lines: the lines that are wrong themselves, by name.
        equations: their numbers in `derivation.md`.
        kind: what sort of mistake, in a few words.
        says: the mistake in a sentence.
        also: other mistakes that explain the same numbers.
        places: the lines of the user's loss, of which one holds the step that is wrong.
    """

    lines: tuple[str, ...]
    equations: tuple[int, ...]
    kind: str
    says: str
    also: tuple[str, ...] = ()
    places: tuple[Source, ...] = ()

    def __str__(self) -> str:
        """One sentence."""
        numbers = ", ".join(f"({number})" for number in self.equations)
        where = f"{', '.join(self.lines)} {numbers}".rstrip()
        return f"{where}: {self.kind}: {self.says}"


@dataclass(frozen=True)
class Example:
    """The smallest case on which it goes wrong, worked through.

    Attributes:
        case: parameters and batch.
        activation: of the hidden layers of our networks; None for another model.
        rows: every line that is known, in the order of computation.
    """

    case: Case
    activation: str | None
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Report:
    """Everything that a check found.

    Attributes:
        subject: the name of what was checked.
        findings: what is wrong, and what is only worth knowing.
        diagnosis: the mistake that explains the numbers, if one of the known ones does.
        example: the smallest network on which it goes wrong.
        cases: how many cases were tried.
        compared: on how many of them it gave something that could be compared.
        dtypes: in which dtypes.
        missed: for every dtype, the error of an entry, relative to the largest one of its leaf,
            above which it is sure to be seen.
        seconds: how long it took.
        oracles: how other ways to the true gradient compare with `jax.grad`.
    """

    subject: str
    findings: tuple[Finding, ...]
    diagnosis: Diagnosis | None
    example: Example | None
    cases: int
    compared: int
    dtypes: tuple[str, ...]
    missed: dict[str, float]
    seconds: float
    oracles: tuple[Oracle, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the gradient is right."""
        return not any(finding.fails for finding in self.findings)

    def __str__(self) -> str:
        """The report as plain text."""
        if self.example is None:
            return self.summary()
        return "\n".join([self.summary(), "", *_aligned(table(self.example)), *self.foot()])

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        """In notebooks, the same."""
        printer.text(str(self))

    def summary(self) -> str:
        """The report without the table of lines."""
        some = f", {self.compared} of them comparable" if self.compared < self.cases else ""
        dtypes = " and ".join(self.dtypes)
        tried = f"{self.cases} cases in {dtypes}{some}, {self.seconds:.1f} s"
        if self.passed:
            kinds = {finding.kind for finding in self.findings}
            what = "every entry" + " that can be compared" * bool(kinds & NOT_COMPARED)
            what = "each leaf along random directions" if ALONG in kinds else what
            head = f"✓ {self.subject} is right: {what}, on {tried}"
            return "\n".join([head, *self.remarks()])
        parts = [f"✗ {self.subject} is wrong ({tried})"]
        if self.diagnosis:
            parts.append(f"  {self.diagnosis}")
            parts += [f"  or: {other}" for other in self.diagnosis.also]
        parts += self.remarks()
        if self.example:
            parts += ["", *given(self.example)]
        return "\n".join(parts)

    def foot(self) -> list[str]:
        """What a mark in the table of lines means, if it is there."""
        rows = self.example.rows if self.example else ()
        follows = any(row.status == "follows" for row in rows)
        inferred = any(row.inferred for row in rows)
        return [
            *["  ↳ right, given the lines above it"] * follows,
            *["  * not returned: it follows from the diagnosis"] * inferred,
        ]

    def remarks(self) -> list[str]:
        """What fails, what could be missed, how the truth is known, and notes, a line each."""
        wrong, notes = (
            [f"  {finding}" for finding in self.findings if finding.fails == fails]
            for fails in (True, False)
        )
        return [*wrong, *self._limit(), *self._truth(), *notes]

    def _limit(self) -> list[str]:
        """The line on the smallest error that would have been seen."""
        if not self.missed:
            return []
        limits = " and ".join(
            f"below {share:.0e} in {dtype}" if np.isfinite(share) else f"of any size in {dtype}"
            for dtype, share in self.missed.items()
        )
        mark = "⚠ " * any(share > MUCH for share in self.missed.values())
        return [f"  {mark}what could have gone unseen: errors {limits}, of a leaf's largest entry"]

    def _truth(self) -> list[str]:
        """The line on the oracles."""
        if not self.oracles:
            return []
        agree = all(oracle.agrees for oracle in self.oracles)
        ways = ", ".join(map(str, self.oracles))
        head = "the truth, jax.grad in float64, against"
        doubt = "" if agree else " (✗: jax.grad may not be the derivative of this loss there)"
        return [f"  {head} {ways}{doubt}"]


class GradientMismatch(AssertionError):  # noqa: N818
    """A gradient is wrong; `report` says what, where and why."""

    def __init__(self, report: Report) -> None:
        """Show the report as the message."""
        super().__init__(str(report))
        self.report = report


def demanding(examine: Callable[Given, Report], name: str) -> Callable[Given, Report]:
    """The same function under another name, which raises GradientMismatch for a wrong report."""

    @functools.wraps(examine)
    def check(*args: Given.args, **kwargs: Given.kwargs) -> Report:
        __tracebackhide__ = True  # pytest then shows the line that called, and the report
        report = examine(*args, **kwargs)
        if not report.passed:
            raise GradientMismatch(report)
        return report

    check.__name__ = check.__qualname__ = name
    return check


def numbers(array: Array, digits: int = 4) -> str:
    """An array in one line, such as [[1, -0.5]]; of a large one its corners and its shape."""
    values = as_array(array)
    if not isinstance(values, np.ndarray):
        return textwrap.shorten(repr(values), MANY, placeholder=" …")  # a random key, an object
    text = np.array2string(
        values + 0.0,  # no −0
        separator=", ",
        max_line_width=10_000,
        threshold=MANY,
        edgeitems=1,
        formatter={"float_kind": lambda value: f"{value:.{digits}g}"},
    ).replace("\n", "")
    return text if np.size(array) <= MANY else f"{text} of shape {np.shape(array)}"


def table(example: Example) -> list[tuple[str, ...]]:
    """The lines of an example in words: mark, line, equation, formula, expected, received.

    Equations and formulas are left out where no line has any.
    """
    cells = [("", "line", "eq.", "formula", "expected", "received")]
    for row in example.rows:
        alike = row.received is not None and numbers(row.received) == numbers(row.expected)
        digits = 17 if alike and row.status == "wrong" else 4
        received = "" if row.received is None else numbers(row.received, digits)
        received += "*" * row.inferred
        equation = f"({row.equation})" if row.equation else ""
        received = "  ".join(filter(None, (received, NOTES.get(row.status))))
        mark = MARKS[row.status]
        expected = numbers(row.expected, digits)
        cells.append((mark, row.name, equation, row.formula, expected, received))
    columns = zip(*cells, strict=True)
    return list(zip(*(each for each in columns if any(each[1:])), strict=True))


def _aligned(cells: list[tuple[str, ...]]) -> list[str]:
    """Rows of cells as text in columns."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = ("  ".join(map(str.ljust, row, widths)) for row in cells)
    return [f"  {row}".rstrip() for row in rows]


def _keys(path: Sequence[object]) -> list[str]:
    return [jax.tree_util.keystr((key,), simple=True) for key in path]


def given(example: Example) -> list[str]:
    """The parameters and the batch of an example, a line each after the first."""
    case = example.case
    if example.activation is None:
        leaves = [
            f"  {'.'.join((what, *_keys(path)))} = {numbers(leaf)}"
            for what, tree in (("params", case.params), ("batch", case.batch))
            for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
        ]
        return ["smallest example:", *leaves]
    lines = [f"smallest example: {case.about}, {example.activation}"]
    for index, (weight, bias) in enumerate(case.params):
        line = f"  W{index} = {numbers(weight)}"
        lines.append(line + ("" if bias is None else f"   b{index} = {numbers(bias)}"))
    return [*lines, f"  x = {numbers(case.batch.x)}   labels = {numbers(case.batch.labels)}"]
