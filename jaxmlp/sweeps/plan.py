"""What a sweep will do: which trials run in one program, how many fit in memory, how much work."""

from typing import Any, NamedTuple

import jax

from jaxmlp.files import free_memory as machine_memory
from jaxmlp.sweeps.halving import Rung, make_rungs, settings_of
from jaxmlp.sweeps.run import Training
from jaxmlp.sweeps.space import Space

SHARE = 0.5  # of the memory that is free, which a chunk may fill
# Of a state, such as parameters and what the optimizer keeps, that a core works on at a time: what
# is larger has to come from memory in every step, which takes longer than the products
# (`benchmark_sweeps.py`).
CACHED = 4 * 2**20


class Bucket(NamedTuple):
    """Trials that one program can run, since they differ in numbers only.

    Attributes:
        config: static settings of the program; of our networks, `hidden` holds the largest width
            of every layer.
        trials: places in the space.
        shared: whether all see the same minibatches in the same order.
        bytes_each: memory that one trial takes while it trains.
        at_once: how many are trained at once.
    """

    config: Any
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
        padded: whether trials of different configs, such as widths, share a program.
        halving: η of successive halving, if it was asked for.
        rungs: the stages, of which there is one without successive halving.
        work: of the whole sweep, padding included; of our networks, multiplications and additions.
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
    training: Training,
    at_once: int | None = None,
    *,
    halving: int | None = None,
    memory: int | None = None,
) -> Plan:
    """Sort the trials of a space into buckets.

    Args:
        space: of `make_space`.
        training: of what the trials are.
        at_once: how many trials to train at once at the most; by default, what fits in memory,
            or on a CPU in its cache.
        halving: η of successive halving, if there is any.
        memory: bytes that are free on all devices together; by default, as they are now.
    """
    groups: dict[Any, list[int]] = {}
    for number, trial in enumerate(space.trials):
        groups.setdefault(training.config_of(trial), []).append(number)
    merged, settings = training.merged(groups), settings_of(space)
    buckets = []
    for config, numbers in merged.items():
        shared = training.shares_order(space.trials[number] for number in numbers)
        each = training.bytes_each(config, shared)
        fits = max(1, int(SHARE * (free_memory() if memory is None else memory) / each))
        if at_once is None and jax.default_backend() == "cpu":
            cached = CACHED // max(1, training.bytes_of_state(config))
            fits = min(fits, jax.device_count() * max(1, cached))
        most = min(len(numbers), fits, at_once or fits)
        numbers.sort(key=lambda number: settings[number])  # so that few are incomplete at a time
        buckets.append(Bucket(config, tuple(numbers), shared, each, most))
    work = sum(training.work(bucket.config) * len(bucket.trials) for bucket in buckets)
    useful = sum(training.work(config) * len(numbers) for config, numbers in groups.items())
    rungs = make_rungs(space, halving)
    run = sum(rung.settings * (rung.last - rung.first) for rung in rungs)
    share = run / (rungs[0].settings * rungs[-1].last)
    return Plan(
        space=space,
        buckets=tuple(buckets),
        split_by=_split_by([training.fields_of(bucket.config) for bucket in buckets]),
        padded=len(merged) < len(groups),
        halving=halving,
        rungs=rungs,
        work=work * share,
        saved=1 - share,
        padding=1 - useful / work,
    )


def free_memory() -> int:
    """Bytes that all devices together have to spare; on a CPU, this machine."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return jax.device_count() * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return machine_memory()


def _split_by(programs: list[dict[str, Any]]) -> tuple[str, ...]:
    """The fields in which programs differ."""
    return tuple(name for name in programs[0] if len({fields[name] for fields in programs}) > 1)
