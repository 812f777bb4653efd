"""Pictures of a sweep: a heat map, the best curves, and the metric against a number."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxmlp.lettering import drawable
from jaxmlp.plots import GREY, INK, new_figure, open_axes
from jaxmlp.sweeps.ranking import Row, are_numbers, is_logarithmic, rows_of, varied
from jaxmlp.sweeps.ranking import figure as figure_of
from jaxmlp.sweeps.space import TRIAL

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MOST_CELLS = 12  # in a row or column: with more, numbers in them cannot be read


def pictures(table: Any) -> Iterator[tuple[str, Figure]]:
    """The pictures that suit what was swept, with a name each.

    Args:
        table: of `sweep`.
    """
    rows = rows_of(table)
    names = {name: values for name, values in varied(rows).items() if name != TRIAL}
    if len(names) >= 2 and all(len(values) < len(rows) for values in names.values()):
        yield "heat_map", heat_map(rows, *sorted(names, key=lambda name: -len(names[name]))[:2])
    yield "curves", curves(rows)
    numbers = [name for name, values in names.items() if are_numbers(values)]
    if numbers and any(row.diverged == 0 for row in rows):
        first = "learning_rate" if "learning_rate" in numbers else numbers[0]
        others = [name for name in names if name != first and len(names[name]) <= len(COLOURS)]
        picture = score_against(rows, first, others[0] if others else None)
        yield f"{rows[0].objective.metric}_{first}", picture


def heat_map(rows: list[Row], across: str, down: str) -> Figure:
    """The metric over two swept fields: mean over the seeds, the best of all other fields.

    Args:
        rows: of `rows_of`.
        across, down: the fields.
    """
    names = varied(rows)
    cells = np.full((len(names[down]), len(names[across])), np.nan)

    def cell(row: Row) -> tuple[int, ...]:
        return tuple(names[name].index(row.names[name]) for name in (down, across))

    for row in reversed(rows):  # so that the best comes last
        if np.isfinite(row.score):
            cells[cell(row)] = row.score
    more = " (the best of all other fields)" if len(names) > 2 else ""
    height, width = cells.shape
    across_inches = float(np.clip(0.75 * width + 2.2, 5, 13))
    down_inches = float(np.clip(0.45 * height + 1.8, 3, 9))
    figure = new_figure(across_inches, down_inches, f"{_title(rows)}{more}")
    axes = figure.subplots()
    known = cells[np.isfinite(cells)]
    low = 0.0
    if len(known):  # a few that failed must not make all the others look alike
        best = known.max()
        low = max(known.min(), best - max(0.1, 2 * (best - np.median(known))))
    worse = "below" if rows[0].objective.higher else "above"
    darkest = f"{figure_of(rows[0], low):.2f} and {worse} in the darkest shade"
    notes = [darkest] * bool(len(known) and known.min() < low)
    notes += ["–: stopped or diverged"] * (len(known) < cells.size)
    axes.set_title("; ".join(notes), loc="left", size=9)
    shades = axes.imshow(cells, cmap="viridis", aspect="auto", vmin=low)
    axes.set_xticks(range(width), [_short(value) for value in names[across]])
    axes.set_yticks(range(height), [_short(value) for value in names[down]])
    axes.tick_params(length=0, axis="both")
    axes.tick_params(axis="x", rotation=45 if width > 8 else 0)
    axes.set(xlabel=_words(across), ylabel=_words(down))
    axes.spines[:].set_visible(False)
    digits = 3 if np.nanmax(cells, initial=0) - low > 0.02 else 4
    if max(width, height) > MOST_CELLS:
        figure.colorbar(shades, ax=axes, shrink=0.8, extend="min")
    else:
        chosen = cell(rows[0]) if np.isfinite(rows[0].score) else None
        for place, value in np.ndenumerate(cells):
            text = f"{figure_of(rows[0], value):.{digits}f}" if np.isfinite(value) else "–"
            weight = "bold" if place == chosen else "normal"
            colour = "white" if not value > (low + np.nanmax(cells)) / 2 else INK
            colour = GREY if np.isnan(value) else colour
            axes.text(
                place[1], place[0], text, ha="center", va="center", color=colour, weight=weight
            )
    return figure


def curves(rows: list[Row]) -> Figure:
    """The metric of the best settings, with a band of one deviation over the seeds.

    Of an accuracy, it is the error that is shown.

    Args:
        rows: of `rows_of`.
    """
    shown = rows[: len(COLOURS) - 1]
    of = f"the best {len(shown)} of {len(rows)} settings" if len(rows) > 1 else "the setting"
    objective = rows[0].objective
    share = objective.metric == "accuracy" and objective.limits == (0, 1)
    what = "validation error" if share else _measured(rows)
    figure = new_figure(11.0, 4.6, f"{what[0].upper()}{what[1:]}: {of}")
    axes = figure.subplots()
    for row, colour in zip(shown, COLOURS, strict=False):
        epochs = np.arange(1, row.trained + 1)
        values = 100 * (1 - row.scores) if share else figure_of(row, row.scores)
        name = ", ".join(f"{_words(k)} {_short(v)}" for k, v in row.names.items() if k != TRIAL)
        axes.plot(epochs, values, color=colour, label=name or "all seeds", linewidth=2)
        band = (100 if share else 1) * row.spread
        axes.fill_between(epochs, values - band, values + band, color=colour, alpha=0.15, lw=0)
    open_axes(axes)
    axes.set(xlabel="epoch", ylabel=f"{what}{' (%)' * share}{_over(rows)}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    finals = [100 * (1 - row.scores[-1]) for row in shown if share and len(row.scores)]
    if finals and np.isfinite(finals).any():  # the first epochs may be too bad to be shown
        most = max(100 * float(np.nanmax(1 - row.scores)) for row in shown)
        axes.set_ylim(0, min(4 * float(np.nanmax(finals)) + 0.1, 1.1 * most or 0.1, 100))
    ends = [row.scores[-1] for row in shown if len(row.scores) and np.isfinite(row.scores[-1])]
    if ends and not share:  # the same, of a metric whose first epochs may be far from the last
        best, far = max(ends), max(ends) - 4 * max(max(ends) - min(ends), 0.05 * abs(max(ends)))
        limits = sorted(figure_of(shown[0], end) for end in (far, best))
        low, high = axes.get_ylim()
        if shown[0].objective.higher:
            axes.set_ylim(max(low, limits[0]), high)
        else:
            axes.set_ylim(low, min(high, limits[1]))
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def score_against(rows: list[Row], name: str, by: str | None = None) -> Figure:
    """The metric against a number, with a line for every value of another field.

    The bars are one deviation over the seeds. Of several settings at one place, the best is shown;
    of those that were stopped, what they had then, as hollow points.

    Args:
        rows: of `rows_of`.
        name: the number.
        by: the other field, if there is one.
    """
    figure = new_figure(9.0, 4.6, f"{_title(rows)} against {_words(name)}")
    axes = figure.subplots()
    names, drawn = varied(rows), TRIAL in rows[0].names  # what was drawn makes no line
    for value, colour in zip(names[by] if by else [None], COLOURS, strict=False):
        best: dict[Any, Row] = {}
        for row in rows:
            if (by is None or row.names[by] == value) and np.isfinite(row.score):
                best.setdefault(row.names[name], row)
        stopped = [
            row for row in rows
            if (by is None or row.names[by] == value) and row.diverged == 0
            and np.isnan(row.score)
        ]  # fmt: skip
        axes.plot(
            [row.names[name] for row in stopped],
            [figure_of(row, row.scores[-1]) for row in stopped],
            linewidth=0, marker="o", markersize=4, fillstyle="none", color=colour,
            label=f"{_words(by)} {_short(value)}" if by and stopped and not best else None,
        )  # fmt: skip
        if stopped:
            axes.set_title("hollow: stopped before the end", loc="left", size=9)
        if not best:
            continue
        some = [best[x] for x in sorted(best)]
        axes.errorbar(
            sorted(best),
            [figure_of(row, row.score) for row in some],
            [np.nan_to_num(row.deviation) for row in some],
            color=colour,
            marker="o",
            markersize=4,
            linewidth=0 if drawn or len(best) > MOST_CELLS * 2 else 2,
            elinewidth=1,
            label=f"{_words(by)} {_short(value)}" if by else None,
        )
    if is_logarithmic(names[name]):
        axes.set_xscale("log")
    open_axes(axes)
    axes.set(xlabel=_words(name), ylabel=f"{_measured(rows)}{_over(rows)}")
    if by:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _measured(rows: list[Row]) -> str:
    """By what the settings are chosen, in words."""
    return rows[0].objective.spoken


def _title(rows: list[Row]) -> str:
    return f"{_measured(rows)[0].upper()}{_measured(rows)[1:]}"


def _over(rows: list[Row]) -> str:
    """What a point stands for, where a setting was run several times."""
    return f", mean ± deviation over {rows[0].seeds} seeds" if rows[0].seeds > 1 else ""


def _words(name: str) -> str:
    return name.replace("_", " ")


def _short(value: Any) -> str:
    """A value; the dollars in it are no formula."""
    return f"{value:.3g}" if isinstance(value, float) else drawable(str(value)).replace("$", r"\$")
