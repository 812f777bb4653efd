"""Does every hand-written line of the derivation agree with automatic differentiation?

The network of the note that jaxmlp started from (3 inputs, 4 ReLU units, 3 outputs, no bias, one
example), in numbers small enough to follow with a pencil. The forward lines are compared with
NumPy. Each backward line is compared with JAX's derivative by an offset added at that very place
of a forward pass written here, so that nothing is shared with the library.

Run `python experiments/derivation.py`. It writes derivation.txt and derivation.png, and exits
with 1 if a line disagrees. Numbers in parentheses are equations of `jaxmlp/derivation.md`.

With `--entry "W0[0, 1]" --network 2-2-2` it prints instead what the code computes for an entry of
the gradient, in LaTeX: the program that JAX runs, executed on symbols.
"""

import argparse
import math
import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from rich import box
from rich.console import Console
from rich.table import Table

from jaxmlp.activations import ACTIVATIONS
from jaxmlp.data import Batch
from jaxmlp.gradient import Lines, derivation_lines
from jaxmlp.params import Layer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.formal.symbolic import Symbolic, symbols

X = np.array([[1.0, 0.5, -1.0]])
W0 = np.array([[0.5, -0.5, 1.0, -0.5], [1.0, 0.0, 1.0, 1.0], [0.0, 0.5, -0.5, -0.5]])
W1 = np.array([[0.5, -1.0, 0.5], [0.5, 1.0, -1.0], [0.5, 0.5, -0.5], [-1.0, -2.0, 1.0]])
Y = np.array([[0.0, 0.0, 1.0]])
COLOURS = "RdBu_r"
TOLERANCE = 1e-6  # of the largest entry; float64 rounding is far below it

Arrays = dict[str, np.ndarray]


class Line(NamedTuple):
    """One line of the derivation: the number of its equation, its name and its formula."""

    equation: str
    name: str
    formula: str


LINES = (
    Line("(2)", "z₁", "x W⁰"),
    Line("(3)", "h₁", "ReLU(z₁)"),
    Line("(2)", "z₂", "h₁ W¹"),
    Line("(4)", "p", "softmax(z₂)"),
    Line("(6)", "C", "−Σ y log p"),
    Line("(12)", "∂C/∂z₂", "p Σy − y"),
    Line("(13)", "∂C/∂W¹", "h₁ᵀ ∂C/∂z₂"),
    Line("(15)", "∂C/∂h₁", "∂C/∂z₂ W¹ᵀ"),
    Line("(16)", "∂C/∂z₁", "∂C/∂h₁ ⊙ 1[z₁>0]"),
    Line("(13)", "∂C/∂W⁰", "xᵀ ∂C/∂z₁"),
)


def written_by_hand() -> Arrays:
    """Every line as the library computes it."""
    params = (Layer(jnp.asarray(W0), None), Layer(jnp.asarray(W1), None))
    lines = derivation_lines(params, Batch(jnp.asarray(X), jnp.asarray(Y)))
    values = [lines.z[0], lines.h[1], lines.z[1], lines.p, lines.loss]
    values += [lines.dz[1], lines.grad[1].weight, lines.dh[0], lines.dz[0], lines.grad[0].weight]
    return {line.name: np.asarray(value) for line, value in zip(LINES, values, strict=True)}


def cost(offsets: dict[str, jax.Array]) -> jax.Array:
    """C of the network with an offset added to every weight and every intermediate."""
    z1 = X @ (W0 + offsets["∂C/∂W⁰"]) + offsets["∂C/∂z₁"]
    h1 = jax.nn.relu(z1) + offsets["∂C/∂h₁"]
    z2 = h1 @ (W1 + offsets["∂C/∂W¹"]) + offsets["∂C/∂z₂"]
    return jnp.sum(Y) * jax.nn.logsumexp(z2) - jnp.sum(Y * z2)


def checked_independently() -> Arrays:
    """The forward lines by NumPy, the backward lines by automatic differentiation."""
    z1 = X @ W0
    h1 = np.maximum(z1, 0)
    z2 = h1 @ W1
    p = np.exp(z2) / np.exp(z2).sum()
    forward = {"z₁": z1, "h₁": h1, "z₂": z2, "p": p, "C": -np.sum(Y * np.log(p))}
    shapes = {"z₁": z1, "h₁": h1, "z₂": z2, "W⁰": W0, "W¹": W1}
    zeros = {f"∂C/∂{name}": jnp.zeros(value.shape) for name, value in shapes.items()}
    backward = jax.grad(cost)(zeros)
    return forward | {name: np.asarray(value) for name, value in backward.items()}


def disagreement(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, relative to the largest entry of b; infinite for NaN or shapes."""
    if np.shape(a) != np.shape(b):
        return math.inf
    difference = float(np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 1e-300))
    return math.inf if math.isnan(difference) else difference


def bound(difference: float) -> str:
    """`difference` as the power of ten above it, so that the last bits do not show."""
    powers = (power for power in range(-12, 300) if difference < 10.0**power)
    return f"< 1e{power}" if (power := next(powers, None)) is not None else "differs"


def text(values: np.ndarray) -> str:
    """A matrix as aligned numbers of four decimals, one row a line."""
    rows = np.round(np.atleast_2d(values), 4) + 0.0  # no negative zero
    return "\n".join(" ".join(f"{value:7.4f}" for value in row) for row in rows)


def table_of(hand: Arrays, check: Arrays) -> Table:
    """All lines, in the order in which they are computed."""
    table = Table(box=box.SIMPLE, padding=0)
    for heading in ("", "line", " written by hand", " checked independently", "differ by"):
        table.add_column(heading, no_wrap=True)
    for line in LINES:
        a, b = hand[line.name], check[line.name]
        formula = f"{line.name}\n= {line.formula}"
        table.add_row(line.equation, formula, text(a), text(b), bound(disagreement(a, b)))
        table.add_row()
    return table


INTRODUCTION = """\
The derivation in numbers: 3 inputs, 4 ReLU units, 3 outputs, no bias, one example.
Equations are those of jaxmlp/derivation.md. Checked independently: the forward lines by NumPy,
the backward lines by automatic differentiation. The last column bounds the largest difference,
relative to the largest entry of the line.
"""


def report(console: Console, hand: Arrays, check: Arrays) -> None:
    """Print the network, then the table."""
    console.print(INTRODUCTION)
    for name, values in {"x": X, "W⁰": W0, "W¹": W1, "y": Y}.items():
        rows = text(values).splitlines()
        console.print("\n".join(f"{name if i == 0 else '':3}{row}" for i, row in enumerate(rows)))
    console.print(table_of(hand, check))


FORWARD, BACKWARD = 10.4, 3.6  # heights of the middles of the two rows of matrices
PLACES = {
    "x": (0.3, FORWARD, "$x$  (1)", "input"),
    "W⁰": (4.2, FORWARD, "$W^0$", "weight"),
    "z₁": (9.1, FORWARD, "$z_1$  (2)", r"$= x\,W^0$"),
    "h₁": (14.0, FORWARD, "$h_1$  (3)", r"$= \mathrm{ReLU}(z_1)$"),
    "W¹": (18.9, FORWARD, "$W^1$", "weight"),
    "z₂": (22.8, FORWARD, "$z_2$  (2)", "$= h_1 W^1$"),
    "p": (26.8, FORWARD, "$p$  (4)", r"$= \mathrm{softmax}(z_2)$"),
    "C": (31.6, FORWARD, "$C$  (6)", r"$= -\Sigma_j\, y_j \log p_j$"),
    "∂C/∂W⁰": (4.2, BACKWARD, r"$\partial C/\partial W^0$  (13)", r"$= x^\mathsf{T} J_1$"),
    "∂C/∂z₁": (
        9.1,
        BACKWARD,
        r"$\partial C/\partial z_1 = J_1$  (16)",
        r"$= \partial C/\partial h_1 \odot \mathbf{1}[z_1 > 0]$",
    ),
    "∂C/∂h₁": (14.0, BACKWARD, r"$\partial C/\partial h_1$  (15)", r"$= J_2\, (W^1)^\mathsf{T}$"),
    "∂C/∂W¹": (18.9, BACKWARD, r"$\partial C/\partial W^1$  (13)", r"$= h_1^\mathsf{T} J_2$"),
    "∂C/∂z₂": (
        22.8,
        BACKWARD,
        r"$\partial C/\partial z_2 = J_2$  (12)",
        r"$= p\,\Sigma_j y_j - y$",
    ),
    "y": (26.8, BACKWARD, "$y$  (8)", "label"),
}  # name: left edge, middle, title, formula


def draw(hand: Arrays, path: Path) -> None:
    """The forward values from left to right, and beneath each its derivative."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure, axes = plt.subplots(figsize=(17, 7.8))
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.01)
    axes.set(xlim=(0, 33.8), ylim=(0, 15.5), aspect="equal")
    axes.axis("off")
    values = {"x": X, "W⁰": W0, "W¹": W1, "y": Y} | hand
    for name, (left, middle, title, formula) in PLACES.items():
        matrix = np.atleast_2d(values[name])
        _draw_matrix(axes, matrix, left, middle)
        centre, top = left + matrix.shape[1] / 2, middle + matrix.shape[0] / 2
        axes.text(centre, top + 0.95, title, ha="center", va="bottom", fontsize=15)
        axes.text(centre, top + 0.3, formula, ha="center", va="bottom", fontsize=12, color="0.25")
    _draw_flow(axes)
    _mark_inactive(axes)
    scale = axes.inset_axes((30.9, 3.45, 2.4, 0.3), transform=axes.transData)
    colours = ScalarMappable(Normalize(-2, 2), COLOURS)
    figure.colorbar(colours, cax=scale, orientation="horizontal", ticks=[-2, -1, 0, 1, 2])
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _draw_matrix(axes: Any, matrix: np.ndarray, left: float, middle: float) -> None:
    """One matrix of square cells with its numbers: halves as they are, others to two decimals."""
    rows, columns = matrix.shape
    bottom, top = middle - rows / 2, middle + rows / 2
    extent = (left, left + columns, bottom, top)
    axes.imshow(matrix, cmap=COLOURS, vmin=-2, vmax=2, extent=extent, zorder=2)
    for i, j in np.ndindex(rows, columns):
        value = float(matrix[i, j]) + 0.0  # no negative zero
        number = f"{value:g}" if value * 2 == round(value * 2) else f"{value:.2f}"
        axes.text(
            left + j + 0.5,
            top - i - 0.5,
            number.replace("-", "−"),
            ha="center",
            va="center",
            fontsize=10,
            color="white" if abs(value) > 1.2 else "black",
        )
    axes.hlines(np.arange(bottom, top + 1), left, left + columns, color="white", lw=1.5, zorder=3)
    axes.vlines(np.arange(left, left + columns + 1), bottom, top, color="white", lw=1.5, zorder=3)


def _draw_flow(axes: Any) -> None:
    """The two directions in which the numbers are computed."""
    style = {"arrowstyle": "-|>", "lw": 2, "color": "0.45", "mutation_scale": 22}
    for height, start, end, words in (
        (FORWARD + 4.5, 0.3, 33.5, "forward: from the input to the cost"),
        (BACKWARD - 2.9, 25.8, 4.2, "backward: the derivative of the cost by the quantity above"),
    ):
        axes.annotate("", (end, height), (start, height), arrowprops=style)
        axes.text(
            (start + end) / 2,
            height,
            words,
            ha="center",
            va="center",
            fontsize=14,
            color="0.25",
            bbox={"fc": "white", "ec": "none", "pad": 6},
        )


def _mark_inactive(axes: Any) -> None:
    """Frame the unit that ReLU switches off, where its sign decides and what it stops."""
    from matplotlib.patches import Rectangle

    unit = int(np.argmin(X @ W0))
    for name in ("z₁", "h₁", "∂C/∂h₁", "∂C/∂z₁"):
        left, middle, _, _ = PLACES[name]
        corner = (left + unit, middle - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, ec="black", lw=2.2, zorder=4))
    axes.text(
        (PLACES["z₁"][0] + PLACES["h₁"][0] + 4) / 2,
        (FORWARD + BACKWARD) / 2 + 1.4,
        "framed: this unit is off, so no derivative passes it",
        ha="center",
        fontsize=11.5,
        color="0.25",
    )


def in_latex(entry: str, network: str, activation: str, bias: bool) -> str:
    """What the code computes for an entry of the gradient by one example, by z, h and p.

    Args:
        entry: such as W0[0, 1] or b1[2]; indices start at 0.
        network: the widths from input to output, such as 2-2-2.
        activation, bias: of the network.

    Raises:
        ValueError: if there is no such network or no such entry.
    """
    if not re.fullmatch(r"[1-9][0-9]?(-[1-9][0-9]?)+", network):
        raise ValueError(f"the network is {network!r}: give widths below 100, such as 2-2-2")
    sizes = tuple(map(int, network.split("-")))
    array: Any = symbols
    params = tuple(
        Layer(array(f"W{number}", pair), array(f"b{number}", pair[1:]) if bias else None)
        for number, pair in enumerate(pairwise(sizes))
    )
    batch = Batch(array("x", (1, sizes[0])), array("y", (1, sizes[-1])))
    numbers = range(1, len(sizes) - 1)  # of the hidden layers
    line: Any = Lines
    names = line(
        h=("", *(f"h{number}" for number in numbers)),
        z=(*(f"z{number}" for number in numbers), ""),
        p="p", loss="", dz=("",) * len(params), dh=("",) * len(numbers),
        grad=jax.tree.map(lambda _: "", params),
    )  # fmt: skip
    written: dict[Any, str] = {}

    def above(expression: Any) -> Any:
        """What is asked is whether an h or a z is above 0; the answer is a symbol."""
        mask = sp.Symbol(f"mask {expression}", real=True)
        written[mask] = rf"\mathbf 1[{_in_brackets(str(expression))} > 0]"
        return mask

    run = Symbolic(above)
    lines = run(lambda p, b: derivation_lines(p, b, activation), params, batch, names=names)
    value = _entry_of(lines, entry)
    written |= {each: _in_brackets(each.name) for each in value.free_symbols - {*written}}
    formula = sp.latex(value, symbol_names=written)
    return rf"\frac{{\partial \mathcal L}}{{\partial {_in_brackets(entry)}}} = {formula}"


def _entry_of(lines: Lines, entry: str) -> Any:
    """The expression of an entry of the gradient."""
    leaves = {
        f"{kind}{number}": leaf
        for number, layer in enumerate(lines.grad)
        for kind, leaf in zip("Wb", layer, strict=True)
        if leaf is not None
    }
    found = re.fullmatch(r"([Wb][0-9]+)\[([0-9]+(?:, ?[0-9]+)?)\]", entry)
    name, place = (found[1], tuple(map(int, found[2].split(",")))) if found else (entry, ())
    shape = leaves[name].shape if name in leaves else ()
    if not shape or place not in np.ndindex(shape):
        last = (f"{name}{[n - 1 for n in leaf.shape]}" for name, leaf in leaves.items())
        raise ValueError(f"there is no entry {entry}: the last ones are {', '.join(last)}")
    return leaves[name][place]


def _in_brackets(name: str) -> str:
    """W0[0, 1] as the derivation writes it, with the layer above the weights and biases."""
    kind, number, place = re.findall(r"([a-zA-Z])([0-9]*)(\[.*\])", name)[0]
    layer = (f"^{{{number}}}" if kind in "Wb" else f"_{{{number}}}") if number else ""
    return f"{kind}{layer}{place}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, write both files; return 1 if a line disagrees, else 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    here = Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=here, metavar="FOLDER", help="for the results")
    parser.add_argument("--entry", metavar="W0[0,1]", help="print what the code computes for it")
    parser.add_argument("--network", default="2-2-2", metavar="WIDTHS", help="of the entry")
    parser.add_argument("--activation", default="relu", choices=[*ACTIVATIONS], help="likewise")
    parser.add_argument("--bias", action="store_true", help="likewise")
    given = parser.parse_args(arguments)
    if given.entry is not None:
        try:
            print(in_latex(given.entry, given.network, given.activation, given.bias))
        except ValueError as error:
            print(f"derivation.py: error: {error}", file=sys.stderr)
            return 2
        return 0
    folder: Path = given.out
    folder.mkdir(parents=True, exist_ok=True)
    with jax.enable_x64(True):
        hand, check = written_by_hand(), checked_independently()
    console = Console(width=100, markup=False, record=True, highlight=False)
    report(console, hand, check)
    printed = console.export_text().splitlines()
    content = "\n".join(row.rstrip() for row in printed).rstrip() + "\n"
    (folder / "derivation.txt").write_text(content, encoding="utf-8")
    draw(hand, folder / "derivation.png")
    wrong = [n.name for n in LINES if not disagreement(hand[n.name], check[n.name]) <= TOLERANCE]
    if wrong:
        print(f"these lines disagree by more than {TOLERANCE}: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
