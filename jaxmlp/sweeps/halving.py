"""Successive halving: the best go on, the others stop (Jamieson and Talwalkar 2016)."""

import math
from typing import NamedTuple

import numpy as np

from jaxmlp.bounds import check_integer
from jaxmlp.sweeps.space import REPEATS, Space


class Rung(NamedTuple):
    """A stage of training: epochs from `first`, the `last` one left out, of some settings."""

    first: int
    last: int
    settings: int


def settings_of(space: Space) -> np.ndarray:
    """The setting of every trial, as a number: trials that differ in seeds alone share it."""
    axes = [number for number, axis in enumerate(space.axes) if axis.name not in REPEATS]
    places = np.indices(space.shape).reshape(len(space.axes), -1)[axes]
    shape = [space.shape[number] for number in axes]
    if not axes:
        return np.zeros(places.shape[1], int)
    return np.asarray(np.ravel_multi_index(tuple(places), shape))


def make_rungs(space: Space, halving: int | None) -> tuple[Rung, ...]:
    """The stages of a sweep: one, or, with halving η, as many as settings and epochs allow.

    Every rung is η times as long as the one before it, and has the best 1/η of its settings.

    Raises:
        ValueError: if `halving` is no integer ≥ 2, or the trials have different epochs.
    """
    lengths = sorted({trial.config.epochs for trial in space.trials})
    count = int(settings_of(space).max()) + 1
    if halving is None:
        return (Rung(0, lengths[-1], count),)
    check_integer("halving", halving, least=2)
    if len(lengths) > 1:
        raise ValueError(
            f"epochs takes the values {lengths}, and halving needs one: leave out one of the two"
        )
    epochs = lengths[0]
    number = int(min(math.log(count, halving), math.log(epochs, halving)) + 1e-9)
    ends = [math.ceil(epochs / halving**k) for k in range(number, -1, -1)]
    counts = [math.ceil(count / halving**k) for k in range(number + 1)]
    return tuple(
        Rung(first, last, settings)
        for first, last, settings in zip([0, *ends], ends, counts, strict=False)
    )


def scores(space: Space, accuracies: np.ndarray) -> np.ndarray:
    """The mean accuracy of every setting over its seeds; NaN if one of them is NaN.

    Args:
        space: the trials.
        accuracies: of every trial; NaN if it is unknown or diverged.
    """
    settings = settings_of(space)
    return np.bincount(settings, accuracies) / np.bincount(settings)


def survivors(space: Space, accuracies: np.ndarray, number: int) -> set[int]:
    """The trials of the best settings; of equal ones, of those that come first."""
    order = np.argsort(-np.nan_to_num(scores(space, accuracies), nan=-np.inf), kind="stable")
    return {int(trial) for trial in np.flatnonzero(np.isin(settings_of(space), order[:number]))}


def worth_keeping(space: Space, accuracies: np.ndarray, unfinished: set[int]) -> set[int]:
    """The trials whose parameters may be wanted: of the best setting, and of unfinished ones.

    Args:
        space: the trials.
        accuracies: of every trial after its last epoch; NaN if it has not got there, or diverged.
        unfinished: the trials that are still to be trained to the end.
    """
    settings, found = settings_of(space), scores(space, accuracies)
    wanted = {int(settings[trial]) for trial in unfinished}
    if np.isfinite(found).any():
        wanted.add(int(np.nanargmax(found)))
    return {int(trial) for trial in np.flatnonzero(np.isin(settings, list(wanted)))}
