"""Pictures of a training run: its curves, its confusions, its mistakes and its predictions."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from jaxmlp.lettering import drawable, set_fonts, shortened
from jaxmlp.settings import spoken

BLUE, ORANGE, INK, GREY, PALE = "#0072B2", "#D55E00", "#222222", "#666666", "#E8E8E8"


class Picture(Figure):
    """A figure that a notebook shows, which without pyplot it would not, in any script."""

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """As Matplotlib's, in fonts that have the letters."""
        set_fonts(self)
        super().savefig(*arguments, **options)

    def _repr_png_(self) -> bytes:
        return png(self)


def save(figure: Figure, path: str | Path) -> None:
    """Write `figure` as a PNG file at 150 dots per inch.

    Raises:
        OSError: if the file cannot be written.
    """
    Path(path).write_bytes(png(figure))


def png(figure: Figure) -> bytes:
    """`figure` as PNG at 150 dots per inch."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    return content.getvalue()


def learning_curves(
    epochs: np.ndarray,
    train_loss: np.ndarray,
    validation_loss: np.ndarray,
    validation_score: np.ndarray,
    title: str,
    training: str = "training",
    metric: str = "accuracy",
    loss: str = "softmax",
) -> Picture:
    """The losses, and the metric with its best epoch, of an accuracy the error.

    Args:
        epochs: epoch numbers (n,), n ≥ 1.
        train_loss, validation_loss: mean losses (n,). Where a run diverged they are
            not finite and the lines end.
        validation_score: the metric (n,); of an accuracy, a share in [0, 1].
        title: what was trained.
        training: the name of the first curve; a loss on softened labels is another quantity
            than the validation loss, and the picture should say so.
        metric, loss: which they are.
    """
    figure = new_figure(10.0, 4.0, title)
    left, right = figure.subplots(1, 2)
    of = "half the squared error" if loss == "squared" else "mean cross-entropy, nats"
    share = metric == "accuracy"
    second = "validation error (%)" if share else f"validation {spoken(metric)}"
    for axes, name in ((left, f"loss ({of})"), (right, second)):
        axes.set_title(name, loc="left", color=GREY, fontsize=11)
        axes.set_xlabel("epoch")
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        open_axes(axes)
    losses = np.array([train_loss, validation_loss], float)
    finite = losses[np.isfinite(losses)]
    if finite.size and finite.min() > 0 and finite.max() > 10 * finite.min():
        left.set_yscale("log")
    left.margins(y=0.08)
    ends = [_line(left, epochs, losses[0], BLUE), _line(left, epochs, losses[1], ORANGE)]
    upper = int(ends[1][1] > ends[0][1])  # its name stands above its end, the other's below
    for which, name in enumerate((training, "validation")):
        _name_end(left, ends[which], name, (BLUE, ORANGE)[which], above=which == upper)
    score = np.asarray(validation_score, float)
    shown = 100 * (1 - score) if share else score
    _line(right, epochs, shown, ORANGE)
    if np.isfinite(score).any():
        if share:
            right.set_ylim(0, 1.15 * max(np.nanmax(shown), 0.01))
        best = int(np.nanargmax(score))
        text = f"{shown[best]:.2f} %" if share else f"{shown[best]:.4f}"
        _mark_best(right, int(epochs[best]), float(shown[best]), text)
    return figure


def _line(axes: Axes, epochs: np.ndarray, values: np.ndarray, colour: str) -> tuple[float, float]:
    """Draw one curve (a dot, where there is just one epoch); returns its last finite point."""
    axes.plot(epochs, values, color=colour, linewidth=2, marker="o" if len(epochs) == 1 else "")
    finite = np.flatnonzero(np.isfinite(values))
    if not finite.size:
        return float(epochs[-1]), 0.0
    return float(epochs[finite[-1]]), float(values[finite[-1]])


def _name_end(axes: Axes, end: tuple[float, float], name: str, colour: str, *, above: bool) -> None:
    """Write a curve's name at its end, in the margin."""
    axes.annotate(
        name,
        end,
        xytext=(6, 1 if above else -1),
        textcoords="offset points",
        va="bottom" if above else "top",
        color=colour,
        annotation_clip=False,
    )


def _mark_best(axes: Axes, epoch: int, value: float, text: str) -> None:
    """A ring around the best epoch, with its value."""
    axes.plot(epoch, value, "o", color=INK, markersize=8, fillstyle="none")
    # in the margin: inside, it would cover a line somewhere
    axes.set_title(f"best: {text} at epoch {epoch}", loc="right", color=INK, fontsize=11)


def predictions(
    true: np.ndarray,
    predicted: np.ndarray,
    names: Sequence[str],
    title: str,
    probabilities: bool = False,
    most: int = 6,
) -> Picture:
    """What was predicted against what is true, for each of the first few outputs.

    Args:
        true, predicted: rows (n, n_out), of real targets; or labels 0 and 1, and probabilities.
        names: what the outputs are called.
        title: of what.
        probabilities: whether they are: then there is a histogram for the examples that have the
            label, and one for those without it.
        most: outputs that are shown.
    """
    count = min(most, true.shape[1])
    columns = min(3, count)
    more = f" (the first {count} of {true.shape[1]} outputs)" if count < true.shape[1] else ""
    height = 4.3 * -(-count // columns) + 0.6
    figure = new_figure(max(6.0, 4.4 * columns), height, f"{title}: predictions{more}")
    grid = figure.subplots(-(-count // columns), columns, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.set_axis_off()
    for axes, y, p, name in zip(grid, true.T, predicted.T, names, strict=False):
        axes.set_title(shortened(name, 40), loc="left", color=GREY, fontsize=11, parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
        if probabilities:
            kinds = ((y > 0.5, ORANGE, "with the label"), (y <= 0.5, BLUE, "without it"))
            for which, colour, label in kinds:
                bins = np.linspace(0, 1, 21).tolist()
                axes.hist(p[which], bins, color=colour, alpha=0.6, label=label)
            axes.set(xlabel="probability", ylabel="examples")
            axes.legend(frameon=False)
            continue
        ends = [float(min(y.min(), p.min())), float(max(y.max(), p.max()))]
        axes.plot(ends, ends, color=GREY, linewidth=1, zorder=1)
        axes.scatter(y, p, s=12, color=BLUE, alpha=0.5, linewidths=0)
        axes.set(xlabel="true", ylabel="predicted")
        axes.set_aspect("equal", adjustable="box")
    return figure


def open_axes(axes: Axes, lines: Literal["x", "y", "both"] = "y") -> None:
    """Take the upper and right borders away, and draw pale lines behind what is drawn."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=lines, color=PALE)
    axes.set_axisbelow(True)


def new_figure(width: float, height: float, title: str) -> Picture:
    """An empty figure, sizes in inches, that is laid out without overlaps."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    figure = Picture(figsize=(width, height), layout=layout)
    title = "\n".join(map(drawable, title.split("\n")))  # names of files are in it
    figure.suptitle(title, fontsize=14, color=INK, parse_math=False)
    return figure
