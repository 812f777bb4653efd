"""The result of a sweep: one labelled table."""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.data import Dataset
from jaxmlp.sweeps.networks import NetworkTraining
from jaxmlp.sweeps.space import Axis, Space, describe, labels_of
from jaxmlp.version import __version__


class Chunk(NamedTuple):
    """What some trials left.

    Attributes:
        trials: their places in the space.
        first: the epoch, from 0, that their curves begin with.
        metrics: of the names that `Objective.saved` says, shapes (len(trials), epochs).
        kept: of which of them there are leaves.
        leaves: of their parameters, or, where training goes on, of all that it goes on from;
            with a first axis of len(kept).
    """

    trials: tuple[int, ...]
    first: int
    metrics: tuple[Any, ...]
    kept: tuple[int, ...] = ()
    leaves: Sequence[np.ndarray] = ()


def check_installed() -> None:
    """Raise ModuleNotFoundError, before any work is done, if there can be no table."""
    if importlib.util.find_spec("xarray") is None:
        says = "a sweep needs the package xarray: pip install 'jaxmlp[sweeps]'"
        raise ModuleNotFoundError(says, name="xarray")


class Columns(NamedTuple):
    """The curves of all trials.

    Attributes:
        metrics: shape (metrics, trials, epochs), as `Objective` names them; NaN where there are
            none.
        ends: how many epochs every trial has been trained for.
        finished: which of them are trained to their end, or have stopped by themselves.
    """

    metrics: np.ndarray
    ends: np.ndarray
    finished: np.ndarray


def columns_of(space: Space, chunks: Sequence[Chunk]) -> Columns:
    """Put together what the chunks have."""
    epochs = max(trial.config.epochs for trial in space.trials)
    shape = len(space.objective.names), len(space.trials), epochs
    columns = np.full(shape, np.nan, np.float32)
    ends = np.zeros(len(space.trials), int)
    for chunk in chunks:
        rows, last = np.asarray(chunk.trials), chunk.first + chunk.metrics[0].shape[1]
        for column, values in zip(columns, chunk.metrics, strict=True):
            column[rows, chunk.first : last] = values
        ends[rows] = np.maximum(ends[rows], last)
    return stop(space, columns, ends)


def stop(space: Space, metrics: np.ndarray, ends: np.ndarray) -> Columns:
    """End the curves of every trial where its patience is over."""
    metrics, ends = metrics.copy(), ends.copy()
    finished = ends == [trial.config.epochs for trial in space.trials]
    for number, trial in enumerate(space.trials):
        if last := space.schema.last_epoch(trial, metrics[:, number, : ends[number]]):
            metrics[:, number, last:], ends[number], finished[number] = np.nan, last, True
    return Columns(metrics, ends, finished)


def decisive_after(space: Space, columns: Columns, epochs: int | np.ndarray) -> np.ndarray:
    """By what every trial is chosen after an epoch, the larger, the better.

    With patience, that of its best epoch so far. NaN if it diverged or was stopped before by
    successive halving.

    Args:
        space: the trials.
        columns: of all trials.
        epochs: one number, or one for each trial.

    Returns:
        Shape (2, trials): the metric by which they are chosen, less it if less of it is better;
        and less the one that decides between trials that are equal in it.
    """
    last = np.broadcast_to(epochs, columns.ends.shape)
    objective, wild = space.objective, first_wild(space, columns)
    metrics = columns.metrics.astype(float)
    score, tie = metrics[objective.column], metrics[objective.tie]
    curves = np.stack([score if objective.higher else -score, -tie])
    found = np.take_along_axis(curves, last[None, :, None] - 1, axis=2)[..., 0]
    sound = ((wild == 0) | (wild > last)) & (columns.ends >= last)
    for number, trial in enumerate(space.trials):
        if trial.config.patience:
            length = min(last[number], columns.ends[number])
            best = space.schema.best_epoch(trial, columns.metrics[:, number, :length])
            found[:, number] = curves[:, number, best - 1] if best else np.nan
            sound[number] = not 0 < wild[number] <= last[number] and (
                columns.finished[number] or length == last[number]
            )
    return np.where(sound, found, np.nan)


def first_wild(space: Space, columns: Columns) -> np.ndarray:
    """The first epoch, from 1, in which a trial is not finite any more; 0 if there is none."""
    wild = ~np.isfinite(columns.metrics[[*space.objective.finite]]).all(axis=0)
    wild &= np.arange(columns.metrics.shape[-1]) < columns.ends[:, None]
    return np.where(wild.any(axis=1), wild.argmax(axis=1) + 1, 0)


def make_table(
    space: Space,
    chunks: Sequence[Chunk],
    dataset: Dataset,
    held: Mapping[int, Sequence[np.ndarray]],
    data: str,
) -> Any:
    """The table of a sweep of our networks.

    Args:
        space, chunks: as `table_of` takes them.
        dataset: whose sizes the networks have.
        held: the leaves of the parameters of some trials; layers may be padded.
        data: the fingerprint of the data set.
    """
    found = NetworkTraining(dataset).attributes(space.trials, held)
    return table_of(space, chunks, {"data": data, **found})


def table_of(space: Space, chunks: Sequence[Chunk], attributes: Mapping[str, Any]) -> Any:
    """The curves of all trials as an `xarray.Dataset`.

    Args:
        space: the trials.
        chunks: the curves of some trials each.
        attributes: what else the table says of them.

    Returns:
        One dimension for each axis of the space, then `epoch`, from 1. What is measured is NaN
        where a trial had no such epoch; `diverged` is the first epoch in which a loss was not
        finite, 0 if there was none; `trained` is how many epochs there were. What an axis of draws
        or settings sets is a coordinate along it.
    """
    import xarray as xr

    columns = columns_of(space, chunks)
    epochs = columns.metrics.shape[-1]
    dims = tuple(axis.name for axis in space.axes)
    shape = space.shape
    diverged = first_wild(space, columns).astype(np.int32)
    return xr.Dataset(
        {
            **{
                name: ((*dims, "epoch"), column.reshape(*shape, epochs))
                for name, column in zip(space.objective.names, columns.metrics, strict=True)
            },
            "diverged": (dims, diverged.reshape(shape)),
            "trained": (dims, columns.ends.astype(np.int32).reshape(shape)),
        },
        coords={
            **{axis.name: list(axis.labels) for axis in space.axes},
            **{
                name: (axis.name, values)
                for axis in space.axes
                for name, values in set_by(axis, space)
            },
            "epoch": np.arange(1, epochs + 1),
        },
        attrs={
            "version": __version__,
            **{name: json.dumps(value) for name, value in describe(space).items()},
            **attributes,
        },
    )


def set_by(axis: Axis, space: Space) -> list[tuple[str, list[Any]]]:
    """The fields that an axis of draws or of settings sets, with their values along it.

    What a setting leaves open has the value that is not swept.
    """
    names = dict.fromkeys(name for setting in axis.settings for name in setting)
    given = space.schema.settings(space.base)
    return [
        (name, [*labels_of({**given, **setting}[name] for setting in axis.settings)])
        for name in names
        if name != axis.name
    ]
