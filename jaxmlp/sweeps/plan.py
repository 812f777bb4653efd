"""What a sweep will do: which trials run in one program, how many fit in memory, how much work."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax

from jaxmlp.activations import ACTIVATIONS
from jaxmlp.data import Dataset
from jaxmlp.files import free_memory as machine_memory
from jaxmlp.settings import Config
from jaxmlp.sweeps.halving import Rung, make_rungs, settings_of
from jaxmlp.sweeps.space import Space

# Zero-padding a layer is exact where f(0) = 0: then the padding's units, and all that would be
# learnt by its weights, stay 0 (`derivation.md`, equation (31)).
PADDABLE = tuple(name for name in ACTIVATIONS if name != "sigmoid")
# Rough figures, that decide nothing but whether widths share a program.
COMPILING = 2.0  # seconds for one more program
RATES = {"cpu": 1e11}  # multiplications and additions per second
RATE = 1e13  # on an accelerator
SHARE = 0.5  # of the memory that is free, which a chunk may fill
# Of the parameters and the optimizer's state that a core works on at a time: what is larger has to
# come from memory in every step, which takes longer than the products (`benchmark_sweeps.py`).
CACHED = 4 * 2**20
ORDER = 21  # bytes for each example: 4 of its place, and 17 while places are encrypted
MOMENTS = {
    "sgd": 1,
    "nesterov": 1,
    "adam": 2,
    "adamw": 2,
}  # arrays like the parameters in optax's state


class Bucket(NamedTuple):
    """Trials that one program can run, since they differ in numbers only.

    Attributes:
        config: static settings of the program; `hidden` holds the largest width of every layer.
        trials: places in the space.
        shared: whether all see the same minibatches in the same order.
        bytes_each: memory that one trial takes while it trains.
        at_once: how many are trained at once.
    """

    config: Config
    trials: tuple[int, ...]
    shared: bool
    bytes_each: int
    at_once: int


class Plan(NamedTuple):
    """Everything that is known before anything is compiled.

    Attributes:
        space: the trials.
        buckets: a partition of them.
        split_by: the swept fields that make buckets.
        padded: whether networks of different widths share a program.
        halving: η of successive halving, if it was asked for.
        rungs: the stages, of which there is one without successive halving.
        work: multiplications and additions of the whole sweep, padding included.
        padding: the share of them that is spent on padding.
        saved: the share of the full sweep's work that successive halving saves.
    """

    space: Space
    buckets: tuple[Bucket, ...]
    split_by: tuple[str, ...]
    padded: bool
    halving: int | None
    rungs: tuple[Rung, ...]
    work: float
    padding: float
    saved: float


def make_plan(
    space: Space,
    dataset: Dataset,
    at_once: int | None = None,
    *,
    halving: int | None = None,
    memory: int | None = None,
) -> Plan:
    """Sort the trials of a space into buckets.

    Args:
        space: of `make_space`.
        dataset: whose sizes the plan is for.
        at_once: how many trials to train at once at the most; by default, what fits in memory,
            or on a CPU in its cache.
        halving: η of successive halving, if there is any.
        memory: bytes that are free on all devices together; by default, as they are now.
    """
    groups: dict[Config, list[int]] = {}
    for number, trial in enumerate(space.trials):
        groups.setdefault(replace(trial.config, data_seed=0), []).append(number)
    merged, settings = _merge_widths(groups, dataset), settings_of(space)
    buckets = []
    for config, numbers in merged.items():
        shared = share_order(space, numbers)
        each = bytes_each(config, dataset, shared)
        fits = max(1, int(SHARE * (free_memory() if memory is None else memory) / each))
        if at_once is None and jax.default_backend() == "cpu":
            cached = CACHED // _state_bytes(config, dataset)
            fits = min(fits, jax.device_count() * max(1, cached))
        most = min(len(numbers), fits, at_once or fits)
        numbers.sort(key=lambda number: settings[number])  # so that few are incomplete at a time
        buckets.append(Bucket(config, tuple(numbers), shared, each, most))
    work = sum(multiplications(b.config, dataset) * len(b.trials) for b in buckets)
    useful = sum(multiplications(trial.config, dataset) for trial in space.trials)
    rungs = make_rungs(space, halving)
    run = sum(rung.settings * (rung.last - rung.first) for rung in rungs)
    share = run / (rungs[0].settings * rungs[-1].last)
    return Plan(
        space=space,
        buckets=tuple(buckets),
        split_by=_split_by(buckets),
        padded=len(merged) < len(groups),
        halving=halving,
        rungs=rungs,
        work=work * share,
        saved=1 - share,
        padding=1 - useful / work,
    )


def _merge_widths(groups: dict[Config, list[int]], dataset: Dataset) -> dict[Config, list[int]]:
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


def _saving(one: Config, two: Config, groups: dict[Config, list[int]], dataset: Dataset) -> float:
    """Seconds that one program instead of two saves; negative if they cannot be one."""
    alike = replace(one, hidden=()) == replace(two, hidden=())
    if not alike or len(one.hidden) != len(two.hidden) or one.activation not in PADDABLE:
        return -math.inf
    both = multiplications(_widest(one, two), dataset)
    waste = sum(
        (both - multiplications(config, dataset)) * len(groups[config]) for config in (one, two)
    )
    return COMPILING - waste / RATES.get(jax.default_backend(), RATE)


def share_order(space: Space, numbers: Sequence[int]) -> bool:
    """Whether some trials have one order of the examples, which comes from `data_seed`."""
    return len({space.trials[number].config.data_seed for number in numbers}) == 1


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
    found = _state_bytes(config, dataset) + 4 * (gradient + activations + logits)
    if not shared or config.augmentation != "none":
        found += config.batch_size * x.shape[1] * (4 + x.dtype.itemsize)
    return found if shared else found + ORDER * len(x)


def _state_bytes(config: Config, dataset: Dataset) -> int:
    """Bytes of the parameters, of optax's state and of the best epoch's parameters."""
    copies = 1 + MOMENTS[config.optimizer] + (config.patience > 0)
    return 4 * _count(config, dataset) * copies


def _count(config: Config, dataset: Dataset) -> int:
    """How many parameters there are."""
    pairs = itertools.pairwise(sizes_of(config, dataset))
    return sum(a * b + config.bias * b for a, b in pairs)


def free_memory() -> int:
    """Bytes that all devices together have to spare; on a CPU, this machine."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return jax.device_count() * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return machine_memory()


def _split_by(buckets: Sequence[Bucket]) -> tuple[str, ...]:
    """The fields in which the programs differ."""
    return tuple(
        name
        for name in Config.__dataclass_fields__
        if len({getattr(bucket.config, name) for bucket in buckets}) > 1
    )
