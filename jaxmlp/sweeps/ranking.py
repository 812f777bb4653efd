"""The settings of a table as rows, the best first: what pictures, reports and rankings show."""

import re
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.sweeps.halving import best_first, means_of, ranks_of, settings_of
from jaxmlp.sweeps.reading import names_at, view
from jaxmlp.sweeps.schema import Objective
from jaxmlp.sweeps.space import is_number


class Row(NamedTuple):
    """One setting.

    Attributes:
        place: among the settings of the table, in its order.
        names: its coordinates, those along an axis of draws or settings included.
        objective: by what it is chosen, for the words beside the figures.
        score: by which it is chosen, mean over the seeds; NaN if one of them diverged, or it was
            stopped.
        deviation: of the score over the seeds; NaN for one seed.
        scores, ties: of every epoch, mean over the seeds: the score, and what decides between
            settings that are equal in it.
        spread: the deviation of the scores over the seeds, of every epoch.
        trained: how many epochs it had.
        seeds: how many repetitions there are.
        diverged: how many of them diverged.
        wild: the first epoch in which one did, or 0.
    """

    place: int
    names: dict[str, Any]
    objective: Objective
    score: float
    deviation: float
    scores: np.ndarray
    ties: np.ndarray
    spread: np.ndarray
    trained: int
    seeds: int
    diverged: int
    wild: int


def rows_of(table: Any) -> list[Row]:
    """The settings of a table, the best first.

    Then come those that were stopped, the later the better, and last those that diverged.
    """
    space, _, _, table = seen = view(table)
    count, groups = len(space.trials), settings_of(space)
    decisive = seen.decisive().reshape(2, count)
    last, means = decisive[0], means_of(space, decisive)
    objective = space.objective
    ties, curves = (
        table[objective.names[column]].values.reshape(count, -1)
        for column in (objective.tie, objective.column)
    )
    if not objective.higher:
        curves = -curves
    diverged, trained = table.diverged.values.ravel(), table.trained.values.ravel()
    rows = []
    for number, mean in enumerate(means[0]):
        runs = np.flatnonzero(groups == number)
        many, ran = len(runs) > 1, slice(int(trained[runs].min()))
        wild = diverged[runs][diverged[runs] > 0]
        rows.append(
            Row(
                place=number,
                names=names_at(space, int(runs[0])),
                objective=objective,
                score=float(mean),
                deviation=float(last[runs].std(ddof=1)) if many else np.nan,
                scores=curves[runs, ran].mean(axis=0),
                ties=ties[runs, ran].mean(axis=0),
                spread=curves[runs, ran].std(axis=0, ddof=1 if many else 0),
                trained=ran.stop,
                seeds=len(runs),
                diverged=len(wild),
                wild=int(wild.min(initial=table.sizes["epoch"])) if len(wild) else 0,
            )
        )
    places = np.argsort(best_first(means))
    lasts = ranks_of(np.asarray([row.scores[-1] for row in rows]))
    return sorted(rows, key=lambda row: _rank(row, int(places[row.place]), int(lasts[row.place])))


def figure(row: Row, score: Any) -> Any:
    """A score, or some, as people read them, without the sign by which it is chosen."""
    return score if row.objective.higher else -score


def _rank(row: Row, place: int, last: int) -> tuple[int, bool, int, int, float]:
    """What a row is sorted by; those with a score are in the order of `best_first`."""
    if np.isfinite(row.score):
        return 0, False, 0, place, 0.0
    tie = float(row.ties[-1])
    return 1, row.diverged > 0, -row.trained, last, tie if np.isfinite(tie) else np.inf


def varied(rows: list[Row]) -> dict[str, list[Any]]:
    """The coordinates that differ between the settings, with their values, in the table's order."""
    rows = sorted(rows, key=lambda row: row.place)
    values = {name: list(dict.fromkeys(row.names[name] for row in rows)) for name in rows[0].names}
    found = {name: each for name, each in values.items() if len(each) > 1}
    return {name: _in_order(each) for name, each in found.items()}


def _in_order(values: list[Any]) -> list[Any]:
    """Numbers by size, widths by the sizes of the layers, and names as they came."""
    if all(isinstance(each, str) and re.fullmatch(r"none|\d+(-\d+)*", each) for each in values):
        return sorted(values, key=lambda text: [*map(int, re.findall(r"\d+", text))])
    return sorted(values) if are_numbers(values) else values


def are_numbers(values: list[Any]) -> bool:
    """Whether all of some coordinates are numbers."""
    return all(map(is_number, values))


def is_logarithmic(values: list[Any]) -> bool:
    """Whether some numbers are spread more evenly on a logarithmic scale."""
    if not are_numbers(values) or min(values) <= 0 or len({*values}) < 3:
        return False
    even = np.linspace(0, 1, len(values))

    def uneven(places: np.ndarray) -> float:
        return float(np.abs((places - places[0]) / (places[-1] - places[0]) - even).mean())

    ordered = np.sort(np.asarray(values, float))
    return uneven(np.log(ordered)) < uneven(ordered)
