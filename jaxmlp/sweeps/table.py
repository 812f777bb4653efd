"""The result of a sweep: one labelled table."""

import importlib.util
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxmlp.sweeps.run import Chunk
from jaxmlp.sweeps.space import Axis, Space, describe, label
from jaxmlp.training import Metrics


def check_installed() -> None:
    """Raise ModuleNotFoundError, before any work is done, if there can be no table."""
    if importlib.util.find_spec("xarray") is None:
        says = "a sweep needs the package xarray: pip install 'jaxmlp[sweeps]'"
        raise ModuleNotFoundError(says, name="xarray")


def make_table(space: Space, chunks: Sequence[Chunk]) -> Any:
    """The curves of all trials as an `xarray.Dataset`.

    Args:
        space: the trials.
        chunks: the curves of some trials each.

    Returns:
        One dimension for each axis of the space, then `epoch`, from 1. The variables of `Metrics`
        are NaN where a trial had no such epoch; `diverged` is the first epoch whose training loss
        was not finite, 0 if there was none. What an axis of draws or settings sets is a
        coordinate along it.
    """
    import xarray as xr

    epochs = max(trial.config.epochs for trial in space.trials)
    columns = np.full((len(Metrics._fields), len(space.trials), epochs), np.nan, np.float32)
    for trials, metrics in chunks:
        for column, values in zip(columns, metrics, strict=True):
            column[np.asarray(trials), : values.shape[1]] = values
    dims = tuple(axis.name for axis in space.axes)
    shape = space.shape
    wild = ~np.isfinite(columns[0]) & _ran(space, epochs)
    diverged = np.where(wild.any(axis=1), wild.argmax(axis=1) + 1, 0).astype(np.int32)
    return xr.Dataset(
        {
            **{
                name: ((*dims, "epoch"), column.reshape(*shape, epochs))
                for name, column in zip(Metrics._fields, columns, strict=True)
            },
            "diverged": (dims, diverged.reshape(shape)),
        },
        coords={
            **{axis.name: list(axis.labels) for axis in space.axes},
            **{name: (axis.name, values) for axis in space.axes for name, values in set_by(axis)},
            "epoch": np.arange(1, epochs + 1),
        },
        attrs={name: json.dumps(value) for name, value in describe(space).items()},
    )


def _ran(space: Space, epochs: int) -> np.ndarray:
    """Which epochs every trial has."""
    ends = np.asarray([trial.config.epochs for trial in space.trials])
    return np.arange(epochs)[None, :] < ends[:, None]


def set_by(axis: Axis) -> list[tuple[str, list[Any]]]:
    """The fields that an axis of draws or of settings sets, with their values along it."""
    names = dict.fromkeys(name for setting in axis.settings for name in setting)
    return [
        (name, [label(name, setting[name]) for setting in axis.settings])
        for name in names
        if name != axis.name and all(name in setting for setting in axis.settings)
    ]
