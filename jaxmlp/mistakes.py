"""Pictures of what a network of classes gets wrong: its confusions, and its surest mistakes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxmlp.lettering import all_shortened, set_fonts, shortened
from jaxmlp.plots import BLUE, GREY, INK, PALE, Picture, new_figure

MOST_ANNOTATED = 30  # classes: with more, numbers in the cells cannot be read
MOST_NAMED = 100  # classes: with more, only some of their names are beside the cells
MOST_COLUMNS = 8  # of a table: with more, their names cannot be read below the bars
PANEL = 1.4  # inches from one mistake to the next


def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, names: Sequence[str], title: str
) -> Picture:
    """Which classes are taken for which: mistakes in colour, right answers muted.

    Args:
        labels, predictions: classes from 0 to n_out − 1, (n,), n ≥ 1.
        names: what the classes are called, n_out of them.
        title: of what; the accuracy is added.
    """
    n_out = len(names)
    few = n_out <= MOST_ANNOTATED
    counts = np.zeros((n_out, n_out), int)
    np.add.at(counts, (labels, predictions), 1)
    mistakes = counts * (1 - np.eye(n_out, dtype=int))
    side = float(np.clip(0.36 * n_out + 2, 5, 12) if few else np.clip(0.2 * n_out + 4, 12, 24))
    figure = new_figure(side, side, f"{title}: accuracy {np.trace(counts) / counts.sum():.2%}")
    axes = figure.subplots()
    diagonal = np.ma.masked_where(~np.eye(n_out, dtype=bool), np.ones_like(counts))
    shades = axes.imshow(
        np.ma.masked_equal(mistakes, 0), cmap="Oranges", vmin=0, vmax=max(1, mistakes.max())
    )
    axes.imshow(diagonal, cmap="Greys", vmin=0, vmax=8)
    axes.set(xlabel="predicted", ylabel="true")
    axes.spines[:].set_color(PALE)
    axes.tick_params(length=0)
    _name_cells(axes, all_shortened(names, 14 if few else 24), few)
    if not few:
        figure.colorbar(
            shades, ax=axes, label="mistakes", shrink=0.7, ticks=MaxNLocator(integer=True)
        )
        return figure
    _annotate(axes, counts, dark=mistakes > 0.6 * mistakes.max())
    note = "grey: right answers, with their share of the true class"
    axes.set_title(f"{note}\norange: mistakes, counted", fontsize=9, color=GREY, loc="left")
    return figure


def _name_cells(axes: Axes, names: Sequence[str], few: bool) -> None:
    """Write the classes beside their rows and columns; of very many, some."""
    across = "vertical" if max(map(len, names)) > 3 or not few else "horizontal"
    ticks = range(0, len(names), -(-len(names) // MOST_NAMED))
    size = 10 if few else 8
    some = [names[tick] for tick in ticks]
    axes.set_xticks(ticks, some, rotation=across, parse_math=False, size=size)
    axes.set_yticks(ticks, some, parse_math=False, size=size)


def _annotate(axes: Axes, counts: np.ndarray, dark: np.ndarray) -> None:
    """Write a number in every cell that is not empty: mistakes, or on the diagonal the recall."""
    size = float(np.clip(90 / len(counts), 7, 11))
    for true, predicted in np.argwhere(counts):
        count, text = counts[true, predicted], f"{counts[true, predicted]}"
        if true == predicted:
            text = f"{100 * count / counts[true].sum():.0f}%"
        colour = GREY if true == predicted else "white" if dark[true, predicted] else INK
        axes.text(predicted, true, text, ha="center", va="center", size=size, color=colour)


def confident_mistakes(
    x: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    image_shape: tuple[int, ...],
    title: str,
    names: Sequence[str],
    count: int = 24,
    columns: Sequence[str] = (),
) -> Picture:
    """The wrong answers that were given with the most confidence.

    Args:
        x: inputs (n, n_in); bright ink is drawn dark on white.
        labels: true classes (n,).
        probabilities: predicted ones (n, n_out).
        image_shape: (height, width), (height, width, 3) of colours, or three sizes of a volume,
            of which the middle slice is drawn; with (1, n_in) inputs are drawn as profiles.
        title: of what; the number of mistakes is added.
        names: what the classes are called.
        count: how many are shown at most.
        columns: what the inputs are called, if they come from a table.
    """
    predictions = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    shown = wrong[np.argsort(-probabilities[wrong, predictions[wrong]], kind="stable")][:count]
    number = f"{len(wrong):,} of {len(labels):,} wrong"
    if not len(shown):
        figure = new_figure(6.0, 2.0, f"{title}: {number}")
        figure.text(0.5, 0.4, "no mistakes to show", ha="center", va="center", color=GREY)
        return figure
    named = [shortened(name, 10) for name in columns] if len(columns) <= MOST_COLUMNS else []
    across = min(8, len(shown))
    down = -(-len(shown) // across)
    height = 1 + (2.2 if named else 1.65) * down
    figure = new_figure(max(6.0, PANEL * across), height, f"{title}: {number}")
    note = "true → predicted, and the probability given to it"
    note += "; of each volume the middle slice" if _is_volume(image_shape) else ""
    figure.supxlabel(note, color=GREY, fontsize=10)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    limits, short = (float(x[shown].min()), float(x[shown].max())), all_shortened(names)
    for axes, index in zip(grid, shown, strict=False):
        _draw_example(axes, x[index].reshape(image_shape), limits, named)
        answers = [short[int(each[index])] for each in (labels, predictions)]
        text, size = " → ".join(answers), 13
        if len(text) >= 12:
            text, size = "\n→ ".join(answers), 8
        axes.set_title(text, fontsize=size, color=INK, pad=3, parse_math=False)
        axes.set_xlabel(
            _percent(float(probabilities[index, predictions[index]])), color=GREY, labelpad=3
        )
    _fit_titles(figure)
    return figure


def _fit_titles(figure: Figure) -> None:
    """Make titles smaller that are wider than what they stand above."""
    set_fonts(figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    most = 0.9 * PANEL * figure.dpi
    for axes in figure.axes:
        width = axes.title.get_window_extent(renderer).width
        size = float(axes.title.get_fontsize())
        axes.title.set_fontsize(size * min(1.0, most / max(width, 1)))


def _is_volume(image_shape: tuple[int, ...]) -> bool:
    """Whether it is none of an image, in grey or in colours, nor of inputs that are no image."""
    return len(image_shape) == 3 and image_shape[2] != 3


def _draw_example(
    axes: Axes, image: np.ndarray, limits: tuple[float, float], names: Sequence[str]
) -> None:
    """An image, dark on white or in colours, or the profile of an input that is none.

    There are no ticks, except the names of columns that are drawn.
    """
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("#BBBBBB")
    if _is_volume(image.shape):
        image = image[len(image) // 2]
    if image.ndim == 3:
        axes.imshow((image - limits[0]) / ((limits[1] - limits[0]) or 1.0))
        return
    if len(image) > 1:
        axes.imshow(image, cmap="gray_r", vmin=limits[0], vmax=limits[1])
        return
    axes.stairs(image[0], fill=True, color=BLUE)
    margin = 0.05 * (limits[1] - limits[0]) or 1.0
    axes.set_ylim(min(0.0, limits[0]) - margin, max(0.0, limits[1]) + margin)
    axes.set_box_aspect(0.8)
    if names:
        middles = np.arange(len(names)) + 0.5
        axes.set_xticks(middles, names, rotation="vertical", size=7, parse_math=False)
        axes.tick_params(length=0, pad=1)


def _percent(probability: float) -> str:
    """A probability to one decimal; never 100 %, since no softmax is that sure."""
    return f"{100 * probability:.1f} %" if probability < 0.9995 else "> 99.9 %"
