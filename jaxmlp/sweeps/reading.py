"""Reading a table of `sweep`, or a part of one: which trial is where, whatever the order."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.data import Dataset, fingerprint
from jaxmlp.sweeps.schema import NETWORKS
from jaxmlp.sweeps.space import REPEATS, SETTING, Axis, Space, described, from_axes
from jaxmlp.sweeps.table import decisive_after, set_by, stop
from jaxmlp.sweeps.tasks import TaskSchema
from jaxmlp.version import __version__


class View(NamedTuple):
    """A table, or what `.sel`, `.isel` or `.sortby` made of one, in the order of its space.

    Attributes:
        space: the trials that are in it.
        whole: all trials of the sweep.
        places: of the trials among all of them.
        table: with a dimension for each axis of the space, in its order, and then the epochs.
    """

    space: Space
    whole: Space
    places: np.ndarray
    table: Any

    def decisive(self) -> np.ndarray:
        """By what every trial is chosen after its own last epoch, as `decisive_after` gives it.

        The shape is (2, *that of the space).
        """
        trials, table = self.space.trials, self.table
        names = self.space.objective.names
        curves = np.stack([table[name].values.reshape(len(trials), -1) for name in names])
        columns = stop(self.space, curves, table.trained.values.ravel())
        lengths = np.asarray([trial.config.epochs for trial in trials])
        return decisive_after(self.space, columns, lengths).reshape(2, *self.space.shape)


def view(table: Any) -> View:
    """Find the trials of a table by its coordinates.

    Raises:
        ValueError: if it is no table of a sweep, or lacks a coordinate or epochs.
    """
    whole = space_of(table)
    remedy = "give the table of `sweep`, or a part of it by .sel or .isel"
    if lacks := {*whole.objective.names, "trained", "diverged"} - {*table.data_vars}:
        raise ValueError(f"the table has no {', '.join(sorted(lacks))}: {remedy}")
    if not np.all(np.isfinite(table.trained.values)):
        raise ValueError(f"the table has holes: {remedy}")
    axes, parts = [], []
    for axis in whole.axes:
        if axis.name not in table.coords:
            raise ValueError(f"the table has no coordinate {axis.name}: {remedy}")
        labels = np.atleast_1d(table[axis.name].values).tolist()
        if len({*labels}) < len(labels):
            raise ValueError(f"{axis.name} has a value twice: {remedy}")
        if strange := [each for each in labels if each not in axis.labels]:
            known = ", ".join(map(str, axis.labels[:10]))
            raise ValueError(f"{axis.name} {strange[0]} is none of the sweep's ({known}): {remedy}")
        places = sorted(axis.labels.index(each) for each in labels)
        axes.append(
            Axis(
                axis.name,
                tuple(axis.labels[place] for place in places),
                tuple(axis.settings[place] for place in places),
            )
        )
        parts.append(places)
        if axis.name not in table.dims:
            table = table.expand_dims(axis.name)
        table = table.isel({axis.name: [labels.index(axis.labels[place]) for place in places]})
    epochs = max(trial.config.epochs for trial in whole.trials)
    if not np.array_equal(np.atleast_1d(table["epoch"].values), np.arange(1, epochs + 1)):
        raise ValueError(f"the table does not have all {epochs} epochs, in order: {remedy}")
    table = table.transpose(*(axis.name for axis in axes), "epoch")
    places = np.ravel_multi_index(np.ix_(*parts), whole.shape).ravel()
    return View(from_axes(axes, whole.base, whole.schema), whole, places, table)


def space_of(table: Any) -> Space:
    """All trials of the sweep that a table is of, from what it says of itself.

    Raises:
        ValueError: if it is no table of a sweep, or one of another version with other settings.
    """
    try:
        axes, rest = json.loads(table.attrs["space"]), json.loads(table.attrs["settings"])
        made_by = table.attrs["version"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is no table of `sweep`: {error!r}") from error
    try:
        task = table.attrs.get("task")
        schema = TaskSchema(**_with_tuples(json.loads(task))) if task else NETWORKS
        base = schema.read(_with_tuples(rest))
        found = [
            Axis(name, tuple(labels), tuple(map(_with_tuples, settings)))
            for name, labels, settings in axes
        ]
        return from_axes(found, base, schema)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"the table was made by jaxmlp {made_by}, and version {__version__} cannot read "
            f"it ({error!r}): use that version, or run the sweep again"
        ) from error


def check_data(table: Any, dataset: Dataset) -> None:
    """Raise ValueError unless a table is of this very data set."""
    now, then = fingerprint(dataset), table.attrs.get("data")
    if now != then:
        raise ValueError(
            f"the table is of other data ({then}) than the data set ({now}): give the one that was "
            "swept, with the same validation part"
        )


def trials_at(space: Space, point: Mapping[str, Any], names: Sequence[str]) -> list[int]:
    """The places of the trials at a point, which has to name these axes.

    Raises:
        ValueError: if it names others, or is none of the table's.
    """
    if set(point) != set(names):
        raise ValueError(f"the point names {sorted(point)}: give one value each of {list(names)}")
    places = np.indices(space.shape).reshape(len(space.axes), -1)
    hits = np.ones(len(space.trials), bool)
    for axis, row in zip(space.axes, places, strict=True):
        if axis.name in point:
            hits &= np.asarray([axis.labels[i] == point[axis.name] for i in row])
    if not hits.any():
        known = {axis.name: list(axis.labels) for axis in space.axes if axis.name in names}
        raise ValueError(f"{dict(point)} is no point of the table: its coordinates are {known}")
    return np.flatnonzero(hits).tolist()


def setting_axes(space: Space) -> list[Axis]:
    """The axes along which settings differ, and not only seeds."""
    return [axis for axis in space.axes if axis.name not in REPEATS]


def names_at(space: Space, trial: int) -> dict[str, Any]:
    """The coordinates of a trial's setting, those along an axis of draws or settings included.

    Settings that have no names of their own go by their fields alone.
    """
    found: dict[str, Any] = {}
    places = np.unravel_index(trial, space.shape)
    for axis, place in zip(space.axes, places, strict=True):
        if axis.name in REPEATS:
            continue
        found |= {name: values[place] for name, values in set_by(axis, space)}
        if axis.name != SETTING or axis.labels != tuple(map(described, axis.settings)):
            found[axis.name] = axis.labels[place]
    return found


def _with_tuples(setting: Mapping[str, Any]) -> dict[str, Any]:
    """Fields from JSON, which knows no tuples."""
    return {name: _as_tuples(value) for name, value in setting.items()}


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value
