"""A report as Markdown with formulas."""

import re
from collections.abc import Iterator

from jaxmlp.checking.network.reference import DIGITS
from jaxmlp.checking.report import Example, Report, given, table

SIGNS = {
    "Σₙ": r"\sum_n",
    "Σ": r"\sum ",
    "⊙": r"\odot",
    "−": "-",
    "ᵀ": r"^\top",
    "softmax": r"\mathrm{softmax}",
    "mean of": r"\mathrm{mean\ of}",
    "log": r"\log",
}


def latex(text: str) -> str:
    """A formula of ours in LaTeX, as it stands in `derivation.md`."""
    for sign, command in SIGNS.items():
        text = text.replace(sign, command)
    text = re.sub("[₀-₉]+", lambda digits: f"_{{{digits[0].translate(DIGITS)}}}", text)
    text = re.sub("([⁰¹²³⁴-⁹]+)(\\^\\\\top)?", _power, text)
    return re.sub(r"∂C/∂(\S+)", r"\\frac{\\partial C}{\\partial \1}", text)


def _power(found: re.Match[str]) -> str:
    """W¹ and its transpose: two powers at once need brackets."""
    return f"^{{{found[1].translate(DIGITS)}{' ' + chr(92) + 'top' if found[2] else ''}}}"


def markdown(report: Report) -> str:
    """The report, with the worked example as a table of formulas."""
    lines = [f"# {report.subject}: {'right' if report.passed else 'wrong'}", ""]
    lines += [f"{report.cases} cases in {' and '.join(report.dtypes)}, {report.seconds:.1f} s.", ""]
    if report.diagnosis:
        names, rest = str(report.diagnosis).split(": ", 1)
        lines += [f"**{names}**: {rest}", ""]
        lines += [f"* or {other}" for other in report.diagnosis.also]
    lines += [f"* {line.strip()}" for line in report.remarks()]
    if report.example:
        head, *numbers = given(report.example)
        lines += ["", f"## The {head.rstrip(':')}", "", *(f"* {line.strip()}" for line in numbers)]
        lines += ["", *_table(report.example)]
        lines += [
            "",
            "✗ is wrong itself, ↳ is right given the lines above it, \\* was not returned but",
        ]
        lines += ["follows from the diagnosis."]
    return "\n".join(lines) + "\n"


def _table(example: Example) -> Iterator[str]:
    """The lines of an example, with formulas."""
    head, *rows = table(example)
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        cells = [
            f"${latex(cell)}$" if name == "formula" and cell else cell.replace("*", r"\*")
            for name, cell in zip(head, row, strict=True)
        ]
        yield f"| {' | '.join(cells)} |"
