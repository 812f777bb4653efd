"""A report as Markdown with formulas, and as a script that shows the smallest example."""

import re
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from jaxmlp.checking.reference import DIGITS
from jaxmlp.checking.report import MARKS, Example, Report, numbers

LEAF = re.compile("∂C/∂[Wb]")
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
        lines += [f"**{report.diagnosis}**", ""]
        lines += [f"* or {other}" for other in report.diagnosis.also]
    lines += [f"* {finding.kind}: {finding.says}" for finding in report.findings]
    if report.example:
        lines += ["", "## The smallest example", "", *_given(report.example), ""]
        lines += [
            "| | line | equation | formula | expected | received |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_cells(row) for row in report.example.rows]
        lines += [
            "",
            "✗ is wrong itself, ↳ is right given the lines above it, \\* was not returned but",
        ]
        lines += ["follows from the diagnosis."]
        lines += ["", "```python", script(report).rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _cells(row: Any) -> str:
    received = "" if row.received is None else numbers(row.received) + "\\*" * row.inferred
    equation = f"({row.equation})" if row.equation else ""
    formula = f"${latex(row.formula)}$" if row.formula else ""
    cells = (MARKS[row.status], row.name, equation, formula, numbers(row.expected), received)
    return "| " + " | ".join(cells) + " |"


def _given(example: Example) -> list[str]:
    leaves = jax.tree_util.tree_flatten_with_path((example.case.params, example.case.batch))[0]
    return [f"* {_name(path)} = {numbers(leaf)}" for path, leaf in leaves]


def _name(path: Any) -> str:
    what = ("params", "batch")[path[0].idx]
    return f"{what}{jax.tree_util.keystr(path[1:])}"


def script(report: Report) -> str:
    """Python that computes the true gradient of the smallest example, beside what was received."""
    example = report.example
    if example is None:
        return f"# {report.subject} is right: there is nothing to show\n"
    rows = [row for row in example.rows if row.received is not None and not row.inferred]
    if example.activation is not None:
        rows = sorted(
            (row for row in rows if LEAF.match(row.name)), key=lambda row: _order(row.name)
        )
    imports: set[str] = set()
    try:
        given = [_literal(tree, imports) for tree in (example.case.params, example.case.batch)]
    except ValueError as error:
        return f"# {error}: the numbers are in the report\n"
    loss = ("jaxmlp", "loss") if example.activation else report.loss
    if loss:
        imports |= {f"from {loss[0]} import {loss[1]}"}
        setting = f", activation={example.activation!r}" if example.activation else ""
        truth = f"jax.tree.leaves(jax.grad({loss[1]})(params, batch{setting}))"
    else:
        truth = _lines("[", (_literal(row.expected, imports) for row in rows), "]")
    received = _lines(
        "{",
        (f"{row.name!r}: {_literal(row.received, imports)}" for row in rows),
        "}",
    )
    return f'''"""The smallest case on which {report.subject} is wrong."""

import jax
from numpy import array, asarray, inf, nan

{"".join(f"{line}{chr(10)}" for line in sorted(imports))}
jax.config.update("jax_enable_x64", True)
params = {given[0]}
batch = {given[1]}
params, batch = jax.tree.map(jax.numpy.asarray, (params, batch))
received = {received}
expected = {truth}

for (name, was), leaf in zip(received.items(), expected, strict=True):
    print(f"{{name}} should be {{(asarray(leaf) + 0.0).tolist()}}, but was {{was.tolist()}}")
'''


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
    if not hasattr(tree, "dtype"):
        raise ValueError(f"a {type(tree).__name__} cannot be written down as Python")
    values = np.asarray(tree)
    plain = values.dtype in (np.float64, np.int64, np.bool_)
    return f"array({values.tolist()}{'' if plain else f', {str(values.dtype)!r}'})"


def _order(name: str) -> tuple[str, bool]:
    """Leaves in the order of the parameters: by layer, the weight before the bias."""
    return name[5:].translate(DIGITS), name[4] == "b"
