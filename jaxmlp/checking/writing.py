"""A report as Markdown with formulas, and as a script that shows the smallest example."""

import re
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
    if example.activation is None:
        return "# an example of your own model: see the numbers in the report\n"
    layers = "".join(
        f"    Layer(np.array({numbers(weight, 17)}, float), "
        f"{None if bias is None else f'np.array({numbers(bias, 17)}, float)'}),\n"
        for weight, bias in example.case.params
    )
    labels = np.asarray(example.case.batch.labels)
    kind = "int" if labels.ndim == 1 else "float"
    returned = {
        row.name: numbers(row.received, 10)
        for row in example.rows
        if row.received is not None and not row.inferred and LEAF.match(row.name)
    }
    received = {name: returned[name] for name in sorted(returned, key=_order)}
    return f'''"""The smallest network on which {report.subject} is wrong."""

import jax
import numpy as np

from jaxmlp import Batch, Layer, loss

jax.config.update("jax_enable_x64", True)
params = (
{layers})
x = np.array({numbers(example.case.batch.x, 17)}, float)
labels = np.array({numbers(labels, 17)}, {kind})
params, batch = jax.tree.map(jax.numpy.asarray, (params, Batch(x, labels)))
received = {received!r}

grad = jax.grad(loss)(params, batch, activation={example.activation!r})
for (name, was), leaf in zip(received.items(), jax.tree.leaves(grad)):
    print(f"{{name}} should be {{(np.asarray(leaf) + 0.0).tolist()}}, but was {{was}}")
'''


def _order(name: str) -> tuple[str, bool]:
    """Leaves in the order of the parameters: by layer, the weight before the bias."""
    return name[5:].translate(DIGITS), name[4] == "b"
