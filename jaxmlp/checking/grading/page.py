"""All grades on one page for the teacher's browser; nothing is loaded from elsewhere."""

from collections import Counter
from collections.abc import Sequence
from html import escape

from jaxmlp.checking.grading.grades import Grade

MOST = 5  # mistakes that are shown
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
  color: #1b1b1b; background: #fff }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid #ddd }
th, td { vertical-align: top }
td.number { text-align: right; white-space: nowrap }
.status { white-space: nowrap; font-weight: 600 }
.right { color: #00632b } .wrong { color: #a1260d } .other { color: #6b4e00 }
pre { overflow-x: auto; background: #f5f5f5; padding: .8rem; font-size: 13px }
summary { cursor: pointer }
.quiet { color: #555; font-size: 14px }
@media (prefers-color-scheme: dark) {
  body { color: #e8e8e8; background: #161616 } pre { background: #242424 }
  th, td { border-color: #3a3a3a } .quiet { color: #aaa }
  .right { color: #6fd08c } .wrong { color: #ff9580 } .other { color: #e0c068 }
}
"""


def as_page(grades: Sequence[Grade], title: str) -> str:
    """The page as HTML: a table, and the most common mistakes with a worked example of each."""
    counts = Counter(grade.status for grade in grades)
    told = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    rows = "".join(map(_row, grades))
    left = sorted({each for grade in grades for each in grade.left})
    open_ = f"<p class=quiet>Not contained here: {escape(', '.join(left))}.</p>" if left else ""
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>{len(grades)} submissions: {escape(told)}.</p>"
        "<table><thead><tr><th>Submission</th><th>Status</th><th>Points</th><th>Feedback</th></tr>"
        f"</thead><tbody>{rows}</tbody></table>{_mistakes(grades)}{open_}</body></html>\n"
    )


def _row(grade: Grade) -> str:
    kind = grade.status if grade.status in ("right", "wrong") else "other"
    points = f"{grade.points:g} of {grade.of:g}" if grade.of else ""
    read = f"<div class=quiet>{escape(grade.understood)}</div>" if grade.understood else ""
    report = (
        f"<details><summary>report</summary><pre>{escape(grade.report)}</pre></details>"
        if grade.report and grade.status == "wrong"
        else ""
    )
    return (
        f"<tr><td>{escape(grade.path)}</td><td class='status {kind}'>{escape(grade.status)}</td>"
        f"<td class=number>{points}</td><td>{escape(grade.says)}{read}{report}</td></tr>"
    )


def kind_of(grade: Grade) -> str:
    """The mistake without the place in the file, such as ∂C/∂z1: mask."""
    return ":".join(grade.says.split(":")[:2]).partition(" (")[0] if grade.lines else ""


def _mistakes(grades: Sequence[Grade]) -> str:
    """The most common mistakes, each with the report of the first submission that makes it."""
    wrong = [grade for grade in grades if grade.status == "wrong"]
    counts = Counter(map(kind_of, wrong))
    parts = []
    for kind, count in counts.most_common(MOST):
        first = next(grade for grade in wrong if kind_of(grade) == kind)
        parts.append(
            f"<h3>{escape(kind or first.says)} <span class=quiet>{count} ×</span></h3>"
            f"<p>{escape(first.says)}</p><pre>{escape(first.report)}</pre>"
        )
    return f"<h2>Most common mistakes</h2>{''.join(parts)}" if parts else ""
