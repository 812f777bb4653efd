"""A report as Markdown with formulas, and as a script that shows the smallest example."""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxmlp.checking.calls import as_array
from jaxmlp.checking.naming import parse
from jaxmlp.checking.reference import DIGITS
from jaxmlp.checking.report import MARKS, Example, Report, given, table

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
        lines += ["", "```python", script(report).rstrip(), "```"]
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


def script(report: Report) -> str:
    """Python that computes every line of the smallest example, beside what was received."""
    example = report.example
    if example is None:
        return f"# {report.subject} is right: there is nothing to show\n"
    imports: set[str] = set()
    try:
        given = [_literal(tree, imports) for tree in (example.case.params, example.case.batch)]
    except ValueError as error:
        return f"# {error}: the numbers are in the report\n"
    rows, truth = example.rows, ""
    if example.activation is not None:
        imports |= {"from jaxmlp import loss", "from jaxmlp.gradient import derivation_lines"}
        setting = f"(params, batch, activation={example.activation!r})"
        truth = f"lines = derivation_lines{setting}\ngrad = jax.grad(loss){setting}\n"
        truths = [_truth(row.name) for row in rows]
    elif report.loss:
        imports |= {f"from {report.loss[0]} import {report.loss[1]}"}
        truth = f"grad = jax.tree.leaves(jax.grad({report.loss[1]})(params, batch))\n"
        truths = [f"grad[{place}]" for place in range(len(rows))]
    else:
        truths = [_literal(row.expected, imports) for row in rows]
    expected = _lines("{", map("{0.name!r}: {1}".format, rows, truths), "}")
    received = _lines(
        "{",
        (
            f"{row.name!r}: ({MARKS[row.status]!r}, {_literal(row.received, imports)})"
            for row in rows
            if row.received is not None
        ),
        "}",
    )
    return f'''"""The smallest case on which {report.subject} is wrong, line by line."""

{_paths(imports)}import jax
from numpy import array, asarray, inf, nan

{"".join(f"{line}{chr(10)}" for line in sorted(imports))}
jax.config.update("jax_enable_x64", True)
params = {given[0]}
batch = {given[1]}
params, batch = jax.tree.map(jax.numpy.asarray, (params, batch))
{truth}expected = {expected}
# ✓ right, ✗ wrong itself, ↳ right given the lines above it
received = {received}

for name, right in expected.items():
    mark, was = received.get(name, (" ", None))
    but = "" if was is None or mark == "✓" else f", but was {{was.tolist()}}"
    print(f"{{mark}} {{name}} should be {{(asarray(right) + 0.0).tolist()}}{{but}}")
'''


def _paths(imports: set[str]) -> str:
    """What makes the files importable that the script needs, such as that of the loss."""
    modules = [sys.modules.get(line.split()[1]) for line in imports if "." not in line.split()[1]]
    files = [getattr(each, "__file__", None) for each in modules if not hasattr(each, "__path__")]
    folders = sorted({str(Path(file).resolve().parent) for file in files if file})
    lines = [f"sys.path.insert(0, {folder!r})" for folder in folders]
    return "\n".join(["import sys", "", *lines, "", ""]) if folders else ""


def _truth(name: str) -> str:
    """Where a line's true value is, among the lines of the derivation and the gradient."""
    symbol, index = parse(name)
    return {
        "z": f"lines.z[{index - 1}]",
        "h": f"lines.h[{index}]",
        "p": "lines.p",
        "C": "lines.loss",
        "dz": f"lines.dz[{index - 1}]",
        "dh": f"lines.dh[{index - 1}]",
        "dW": f"grad[{index}].weight",
        "db": f"grad[{index}].bias",
    }[symbol]


def _lines(start: str, entries: Iterable[str], end: str) -> str:
    """Entries of a list or dict, one in a line."""
    return "".join([f"{start}\n", *(f"    {entry},\n" for entry in entries), end])


def _literal(tree: Any, imports: set[str]) -> str:
    """A tree of arrays as Python, which needs some imports.

    Raises:
        ValueError: if it holds what has no such form.
    """
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        imports.add(f"from {type(tree).__module__} import {type(tree).__qualname__}")
        inside = ", ".join(_literal(leaf, imports) for leaf in tree)
        return f"{type(tree).__qualname__}({inside})"
    if isinstance(tree, (tuple, list)):
        inside = ", ".join(_literal(leaf, imports) for leaf in tree)
        return f"[{inside}]" if isinstance(tree, list) else f"({inside}{',' * (len(tree) == 1)})"
    if isinstance(tree, dict):
        pairs = (f"{key!r}: {_literal(value, imports)}" for key, value in tree.items())
        return "{" + ", ".join(pairs) + "}"
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return repr(tree)
    if not isinstance(as_array(tree), np.ndarray):
        raise ValueError(f"a {type(tree).__name__} cannot be written down as Python")
    values = np.asarray(tree)
    plain = values.dtype in (np.float64, np.int64, np.bool_)
    return f"array({values.tolist()}{'' if plain else f', {str(values.dtype)!r}'})"
