"""The settings of a table as rows, the best first: what pictures, reports and rankings show."""

from typing import Any, NamedTuple

import numpy as np

from jaxmlp.sweeps.choosing import last_accuracies, space_of
from jaxmlp.sweeps.halving import scores
from jaxmlp.sweeps.space import SEED


class Row(NamedTuple):
    """One setting.

    Attributes:
        place: among the settings of the table, in its order.
        names: its coordinates, those along an axis of draws or settings included.
        accuracy: on the validation part after the last epoch, mean over the seeds; NaN if one
            of them diverged, or it was stopped.
        deviation: of the accuracy over the seeds; NaN for one seed.
        accuracies, losses: of every epoch on the validation part, mean over the seeds.
        spread: the deviation of the accuracies over the seeds, of every epoch.
        trained: how many epochs it had.
        diverged: how many of its seeds diverged.
    """

    place: int
    names: dict[str, Any]
    accuracy: float
    deviation: float
    accuracies: np.ndarray
    losses: np.ndarray
    spread: np.ndarray
    trained: int
    diverged: int


def rows_of(table: Any) -> list[Row]:
    """The settings of a table, the best first; those without an accuracy last."""
    last = table.diverged.copy(data=last_accuracies(table))
    flat = table.assign(last=last).drop_attrs()
    flat = flat if SEED in table.dims else flat.expand_dims(SEED)
    dims = [name for name in last.dims if name != SEED]
    # a dimension for the settings even if nothing but the seed is swept
    flat = flat.stack(place=dims, create_index=False) if dims else flat.expand_dims("place")
    flat = flat.transpose("place", SEED, "epoch")
    names = {k: v.values.tolist() for k, v in flat.coords.items() if v.dims == ("place",)}
    many = flat.sizes[SEED] > 1
    means = scores(space_of(table), last.values.ravel())
    rows = []
    for number, accuracies in enumerate(flat.validation_accuracy.values):
        trained = int(flat.trained.values[number].min())
        final = flat["last"].values[number]
        rows.append(
            Row(
                place=number,
                names={name: values[number] for name, values in names.items()},
                accuracy=float(means[number]),
                deviation=float(final.std(ddof=1)) if many else np.nan,
                accuracies=accuracies.mean(axis=0)[:trained],
                losses=flat.validation_loss.values[number].mean(axis=0)[:trained],
                spread=accuracies.std(axis=0, ddof=1)[:trained] if many else np.zeros(trained),
                trained=trained,
                diverged=int((flat.diverged.values[number] > 0).sum()),
            )
        )
    return sorted(rows, key=lambda row: -np.nan_to_num(row.accuracy, nan=-1.0))


def varied(rows: list[Row]) -> dict[str, list[Any]]:
    """The coordinates that differ between the settings, with their values, in the table's order."""
    rows = sorted(rows, key=lambda row: row.place)
    values = {name: list(dict.fromkeys(row.names[name] for row in rows)) for name in rows[0].names}
    found = {name: each for name, each in values.items() if len(each) > 1}
    return {name: sorted(each) if is_number(each) else each for name, each in found.items()}


def is_number(values: list[Any]) -> bool:
    """Whether all of some coordinates are numbers."""
    return all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in values)


def is_logarithmic(values: list[Any]) -> bool:
    """Whether some numbers, in order, are spread more evenly on a logarithmic scale."""
    if not is_number(values) or min(values) <= 0 or len(values) < 3:
        return False
    middle = sorted(values)[len(values) // 2]
    low, high = min(values), max(values)
    return bool(abs(np.log(middle / (low * high) ** 0.5)) < abs(np.log(2 * middle / (low + high))))
