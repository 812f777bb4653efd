"""The parameters that a table holds: as attributes, since they are no curves.

A variable would have dimensions of its own, along which `to_dataframe` would repeat every curve.
So there is one vector, in which the networks that were kept follow each other, with their own
widths: W⁰, b⁰ if there are biases, W¹ and so on, row by row.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxmlp.data import Dataset
from jaxmlp.params import Layer, Params
from jaxmlp.settings import Config
from jaxmlp.sweeps.schema import Trial
from jaxmlp.sweeps.space import Space


def as_attributes(
    trials: Sequence[Trial], held: Mapping[int, Sequence[np.ndarray]], dataset: Dataset
) -> dict[str, Any]:
    """The leaves of some trials' parameters, which may be padded, as attributes of a table."""
    parts = [np.zeros(0, np.float32)]
    ends = [dataset.n_in, dataset.n_out]
    for trial, leaves in sorted(held.items()):
        shapes = _shapes(trials[trial].config, *ends)
        for leaf, shape in zip(leaves, shapes, strict=True):
            parts.append(leaf[tuple(map(slice, shape))].ravel())
    return {
        "ends": json.dumps(ends),
        "kept": json.dumps(sorted(held)),
        "parameters": np.concatenate(parts),
    }


def params_of(table: Any, space: Space, trial: int) -> Params:
    """The parameters of a trial.

    Args:
        table: of `sweep`.
        space: of the table.
        trial: its place in the space.

    Raises:
        ValueError: if the table does not hold them.
    """
    try:
        ends, kept = (json.loads(table.attrs[name]) for name in ("ends", "kept"))
        vector = np.asarray(table.attrs["parameters"], np.float32)  # whatever their byte order
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the table holds no parameters: {error!r}") from error
    if trial not in kept:
        raise ValueError(
            f"the table does not hold the parameters of trial {trial}: it holds those of the best "
            "setting, unless the sweep is told keep='all'"
        )
    shapes = {number: _shapes(space.trials[number].config, *ends) for number in kept}
    before = sum(_count(shapes[number]) for number in kept if number < trial)
    if vector.shape != (total := sum(map(_count, shapes.values())),):
        raise ValueError(f"the table holds {vector.size} parameters of {total}: it is damaged")
    numbers = vector[before : before + _count(shapes[trial])]
    cuts = np.cumsum([math.prod(shape) for shape in shapes[trial]])[:-1]
    leaves: list[Any] = [
        part.reshape(shape)
        for part, shape in zip(np.split(numbers, cuts), shapes[trial], strict=True)
    ]
    if not space.trials[trial].config.bias:
        return tuple(Layer(weight, None) for weight in leaves)
    return tuple(map(Layer, leaves[::2], leaves[1::2]))


def _count(shapes: Sequence[tuple[int, ...]]) -> int:
    return sum(map(math.prod, shapes))


def _shapes(config: Config, n_in: int, n_out: int) -> list[tuple[int, ...]]:
    """The shapes of a network's parameters, in their order."""
    pairs = itertools.pairwise((n_in, *config.hidden, n_out))
    leaves = slice(2 if config.bias else 1)
    return [shape for pair in pairs for shape in (pair, pair[1:])[leaves]]
