"""What is found of a submission."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STATUSES = (
    "right", "wrong", "not understood", "crashed", "timed out", "out of memory", "refused",
)  # fmt: skip
EARNING = ("right", "follows")  # lines that are worth their points


@dataclass(frozen=True)
class Grade:
    """What was found of a submission.

    Attributes:
        path: of the file.
        status: one of `STATUSES`.
        says: a line of feedback.
        understood: how it was read, in a line; empty if it was not.
        lines: right, wrong, follows or unknown, for every line of the backward pass.
        points: for the lines that are right, or right given those before.
        of: the points that there are.
        report: the whole report.
        seconds: that it took.
        left: what could not be contained.
    """

    path: str
    status: str
    says: str
    understood: str = ""
    lines: Mapping[str, str] | None = None
    points: float = 0.0
    of: float = 0.0
    report: str = ""
    seconds: float = 0.0
    left: tuple[str, ...] = ()


class Ended(Exception):  # noqa: N818 (it is no error)
    """A submission's process gives no answer; the status and a sentence."""


def plain(text: Any) -> str:
    """One line without what would move a cursor."""
    marked = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return marked[:2000]
