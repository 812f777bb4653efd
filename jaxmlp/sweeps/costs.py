"""What training our networks costs: multiplications, memory, and when widths share a program."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace

import jax

from jaxmlp.activations import ACTIVATIONS
from jaxmlp.data import Dataset
from jaxmlp.settings import Config

# Zero-padding a layer is exact where f(0) = 0: then the padding's units, and all that would be
# learnt by its weights, stay 0 (`derivation.md`, equation (31)).
PADDABLE = tuple(name for name in ACTIVATIONS if name != "sigmoid")
# Rough figures, that decide nothing but whether widths share a program.
COMPILING = 2.0  # seconds for one more program
RATES = {"cpu": 1e11}  # multiplications and additions per second
RATE = 1e13  # on an accelerator
ORDER = 21  # bytes for each example: 4 of its place, and 17 while places are encrypted
MOMENTS = {
    "sgd": 1,
    "nesterov": 1,
    "adam": 2,
    "adamw": 2,
}  # arrays like the parameters in optax's state


def merge_widths(groups: Mapping[Config, list[int]], dataset: Dataset) -> dict[Config, list[int]]:
    """Groups that differ in widths only become one, where padding costs less than compiling."""
    merged = dict(groups)
    while pairs := {
        (one, two): saving
        for one, two in itertools.combinations(merged, 2)
        if (saving := _saving(one, two, merged, dataset)) > 0
    }:
        one, two = max(pairs, key=lambda pair: pairs[pair])
        numbers = sorted(merged.pop(one) + merged.pop(two))
        merged.setdefault(_widest(one, two), []).extend(numbers)
    return merged


def _widest(one: Config, two: Config) -> Config:
    return replace(one, hidden=tuple(map(max, one.hidden, two.hidden)))


def _saving(
    one: Config, two: Config, groups: Mapping[Config, list[int]], dataset: Dataset
) -> float:
    """Seconds that one program instead of two saves; negative if they cannot be one."""
    alike = replace(one, hidden=()) == replace(two, hidden=())
    if not alike or len(one.hidden) != len(two.hidden) or one.activation not in PADDABLE:
        return -math.inf
    both = multiplications(_widest(one, two), dataset)
    waste = sum(
        (both - multiplications(config, dataset)) * len(groups[config]) for config in (one, two)
    )
    return COMPILING - waste / RATES.get(jax.default_backend(), RATE)


def sizes_of(config: Config, dataset: Dataset) -> tuple[int, ...]:
    """The widths from input to output."""
    return (dataset.n_in, *config.hidden, dataset.n_out)


def multiplications(config: Config, dataset: Dataset) -> float:
    """Multiplications in the matrix products of one run: forward, and twice as many backward.

    The first layer has no gradient of its inputs.
    """
    products = [a * b for a, b in itertools.pairwise(sizes_of(config, dataset))]
    training = (3 * sum(products) - products[0]) * len(dataset.train.x)
    return float(config.epochs * (training + sum(products) * len(dataset.validation.x)))


def bytes_each(config: Config, dataset: Dataset, shared: bool) -> int:
    """Memory of one trial: parameters, their gradient, optax's state, activations of a batch.

    Where the trials do not see the same inputs, there is also its own batch, as stored and as real
    numbers, and its own order, with what makes it.
    """
    gradient, x = _count(config, dataset), dataset.train.x
    activations = 2 * config.batch_size * sum(sizes_of(config, dataset)[1:])
    logits = 2 * len(dataset.validation.x) * dataset.n_out
    found = bytes_of_state(config, dataset) + 4 * (gradient + activations + logits)
    if not shared or config.augmentation != "none":
        found += config.batch_size * x.shape[1] * (4 + x.dtype.itemsize)
    return found if shared else found + ORDER * len(x)


def bytes_of_state(config: Config, dataset: Dataset) -> int:
    """Bytes of the parameters, of optax's state and of the best epoch's parameters."""
    copies = 1 + MOMENTS[config.optimizer] + (config.patience > 0)
    return 4 * _count(config, dataset) * copies


def _count(config: Config, dataset: Dataset) -> int:
    """How many parameters there are."""
    pairs = itertools.pairwise(sizes_of(config, dataset))
    return sum(a * b + config.bias * b for a, b in pairs)
