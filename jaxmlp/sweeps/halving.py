"""Successive halving: the best go on, the others stop (Jamieson and Talwalkar 2016)."""

import math
from typing import NamedTuple

import numpy as np

from jaxmlp.bounds import check_integer
from jaxmlp.sweeps.space import REPEATS, Space

ROUNDING = 8 * float(np.finfo(np.float32).eps)  # of means over classes and seeds, relative


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


def means_of(space: Space, decisive: np.ndarray) -> np.ndarray:
    """The means over the seeds of what is decisive, shape (2, settings); NaN if one is NaN.

    Args:
        space: the trials.
        decisive: of every trial, as `decisive_after` gives it; or scores alone, shape (trials,).
    """
    settings, decisive = settings_of(space), np.atleast_2d(decisive)
    return np.stack([np.bincount(settings, each) for each in decisive]) / np.bincount(settings)


def ranks_of(scores: np.ndarray) -> np.ndarray:
    """The rank of every score, of the highest 0; those that rounding error may part share one."""
    values = np.where(np.isnan(scores), -np.inf, scores).tolist()
    ranks, rank, top = np.zeros(len(values), int), 0, max(values)
    for place in sorted(range(len(values)), key=values.__getitem__, reverse=True):
        if top - values[place] > ROUNDING * abs(top):
            rank, top = rank + 1, values[place]
        ranks[place] = rank
    return ranks


def best_first(means: np.ndarray) -> np.ndarray:
    """The places of some settings, the best first; of equal ones, that with the lower loss.

    Args:
        means: of what is decisive, of `means_of`.
    """
    losses = np.where(np.isnan(means[1:]), np.inf, -means[1:])
    return np.lexsort((*losses, ranks_of(means[0])))


def survivors(space: Space, decisive: np.ndarray, number: int) -> set[int]:
    """The trials of the best settings, by what is decisive for every trial."""
    chosen = best_first(means_of(space, decisive))[:number]
    return {int(trial) for trial in np.flatnonzero(np.isin(settings_of(space), chosen))}


def worth_keeping(space: Space, decisive: np.ndarray, unfinished: set[int]) -> set[int]:
    """The trials whose parameters may be wanted: of the best setting, and of unfinished ones.

    Args:
        space: the trials.
        decisive: of every trial after its last epoch; NaN if it has not got there, or diverged.
        unfinished: the trials that are still to be trained to the end.
    """
    settings, means = settings_of(space), means_of(space, decisive)
    wanted = {int(settings[trial]) for trial in unfinished}
    if np.isfinite(means[0]).any():
        wanted.add(int(best_first(means)[0]))
    return {int(trial) for trial in np.flatnonzero(np.isin(settings, list(wanted)))}
