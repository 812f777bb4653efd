"""What a check of a rule found, as text."""

from dataclasses import dataclass
from typing import Any

from jaxmlp.checking.rules.findings import Found


@dataclass(frozen=True)
class RuleReport:
    """Everything that a check of a rule found.

    Attributes:
        subject: the name of the function.
        findings: the smallest of each kind, those that fail first.
        points: at how many points it was looked at.
        refused: how many more the function has no value at.
        rules: the names of the rules that it meets.
        remarks: what else is worth knowing.
        seconds: how long it took.
    """

    subject: str
    findings: tuple[Found, ...]
    points: int
    refused: int
    rules: tuple[str, ...]
    remarks: tuple[str, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not any(each.fails for each in self.findings)

    @property
    def kinds(self) -> list[str]:
        """The kinds of what is wrong."""
        return list(dict.fromkeys(each.kind for each in self.findings if each.fails))

    def __str__(self) -> str:
        """The findings, one below the other."""
        mark = "✓" if self.passed else "✗"
        met = f"rules met: {', '.join(self.rules)}" if self.rules else "no rule of its own"
        head = f"{mark} {self.subject}: {self.points} points, {met}"
        return "\n".join([head, *(f"  {each}" for each in (*self.findings, *self.remarks))])

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        """In notebooks, the same."""
        printer.text(str(self))


class RuleMismatch(AssertionError):  # noqa: N818
    """A rule is wrong; the report says how."""

    def __init__(self, report: RuleReport) -> None:
        """Carry the report."""
        super().__init__(f"\n{report}")
        self.report = report
