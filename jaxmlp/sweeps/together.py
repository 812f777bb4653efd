"""Many networks on several sets of examples, in few programs: what scikit-learn's searches need."""

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from jaxmlp.compilation import keep_programs
from jaxmlp.data import Batch
from jaxmlp.settings import Config, Hyperparams
from jaxmlp.sweeps.plan import CACHED, MOMENTS
from jaxmlp.sweeps.run import axes_of, epochs_of_all, start_alike
from jaxmlp.training import Metrics, TrainState, decisive, last_epoch, run_keys


class Examples(NamedTuple):
    """What networks are trained on; of `padded` length, so that folds share a program.

    Attributes:
        train: inputs in float32 and labels; the last examples may only fill up.
        weights: of the training examples: 0 for what fills up.
        validation: what is measured on after every epoch.
        n_out: outputs.
    """

    train: Batch
    weights: Float[np.ndarray, " n"]
    validation: Batch
    n_out: int


class Job(NamedTuple):
    """One network to train.

    Attributes:
        examples: what on.
        config, hyper, seed: as `train` takes them.
        order: the seed of the order of the examples.
    """

    examples: Examples
    config: Config
    hyper: Hyperparams
    seed: int
    order: int


class Fit(NamedTuple):
    """A trained network.

    Attributes:
        leaves: of the state that it ends with, as `state_like` says.
        params: the parameters that are kept.
        metrics: of every epoch, shape (epochs,).
    """

    leaves: list[np.ndarray]
    params: Any
    metrics: Metrics


def padded(n: int) -> int:
    """The number of examples that n are filled up to, at most 3 % more: folds differ by one."""
    step = max(1, 2 ** (n.bit_length() - 6))
    return -(-n // step) * step


def pad_batch(batch: Batch, weights: np.ndarray | None) -> tuple[Batch, np.ndarray]:
    """Fill up a batch with copies of its first example, which have the weight 0."""
    n = len(batch.x)
    more = padded(n) - n
    whole = np.ones(n, np.float32) if weights is None else np.asarray(weights, np.float32)
    if not more:
        return batch, whole
    x, labels = (np.concatenate([array, np.repeat(array[:1], more, axis=0)]) for array in batch)
    return Batch(x, labels), np.concatenate([whole, np.zeros(more, np.float32)])


def fit_together(jobs: Sequence[Job]) -> list[Fit]:
    """Train networks; those that differ in numbers only, on the same examples, as one program.

    Programs of the same shapes are compiled once, and run on all cores of a CPU.
    """
    keep_programs()
    groups: dict[Any, list[int]] = {}
    for number, job in enumerate(jobs):
        key = (id(job.examples), job.config, job.order)
        groups.setdefault(key, []).append(number)
    chunks = [part for numbers in groups.values() for part in _chunks(numbers, jobs)]
    fits: dict[int, Fit] = {}
    first: dict[Any, list[int]] = {}  # of each program: it compiles it, and the others wait
    for chunk in chunks:
        first.setdefault(_shapes(chunk, jobs), chunk)
    rest = [chunk for chunk in chunks if all(chunk is not each for each in first.values())]
    threads = (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
    with ThreadPoolExecutor(threads) as pool:
        for some in ([*first.values()], rest):
            found = pool.map(lambda chunk: train_group([jobs[i] for i in chunk]), some)
            for chunk, group in zip(some, found, strict=True):
                fits |= dict(zip(chunk, group, strict=True))
    return [fits[number] for number in range(len(jobs))]


def _chunks(numbers: list[int], jobs: Sequence[Job]) -> list[list[int]]:
    """Parts of nearly the same size, whose parameters and optimizers' states fit in the cache."""
    job = jobs[numbers[0]]
    sizes = _sizes(job)
    parameters = sum((a + 1) * b for a, b in itertools.pairwise(sizes))
    bytes_each = 4 * parameters * (1 + MOMENTS[job.config.optimizer])
    at_once = max(1, CACHED // bytes_each)
    size = -(-len(numbers) // -(-len(numbers) // at_once))
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def _shapes(chunk: list[int], jobs: Sequence[Job]) -> Any:
    """What a program is compiled for."""
    job = jobs[chunk[0]]
    parts = (*job.examples.train, *job.examples.validation)
    return len(chunk), job.config, tuple(array.shape for array in parts)


def _sizes(job: Job) -> tuple[int, ...]:
    return (job.examples.train.x.shape[1], *job.config.hidden, job.examples.n_out)


def state_like(job: Job) -> TrainState:
    """The state of a job, in shapes and dtypes alone."""
    states = jax.eval_shape(partial(_start, [job]))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), states)


def _start(jobs: Sequence[Job]) -> TrainState:
    """Fresh states with a first axis of jobs."""
    keys = jax.vmap(jax.random.key)(np.asarray([job.seed for job in jobs], np.int32))
    sizes, config = _sizes(jobs[0]), jobs[0].config
    n = len(jobs[0].examples.train.x)
    return start_alike(keys, _hypers(jobs), sizes, sizes, config, n)


def _hypers(jobs: Sequence[Job]) -> Hyperparams:
    return jax.tree.map(lambda *each: np.asarray(each, np.float32), *[job.hyper for job in jobs])


def train_group(
    jobs: Sequence[Job], state: Sequence[np.ndarray] | None = None, first: int = 0
) -> list[Fit]:
    """Train jobs that differ in numbers and seeds only, as one program.

    Args:
        jobs: on the same examples, in the same order.
        state: the leaves to go on from, of one job; fresh ones if there are none.
        first: how many epochs it has behind it.
    """
    config, examples = replace(jobs[0].config, data_seed=0), jobs[0].examples
    structure = jax.tree.structure(state_like(jobs[0]))
    if state is None:
        states = _start(jobs)
    else:
        states = jax.tree.unflatten(structure, [np.asarray(leaf)[None] for leaf in state])
    axes = axes_of(states)
    states = jax.tree.map(lambda leaf, axis: np.moveaxis(np.asarray(leaf), 0, axis), states, axes)
    keys = [jax.random.key(job.seed) for job in jobs]
    noise = np.stack([jax.random.key_data(run_keys(key, config).noise) for key in keys])
    states, metrics = epochs_of_all(
        jax.device_put(states), _hypers(jobs), jax.random.key_data(jax.random.key(jobs[0].order)),
        first, first + config.epochs, noise, examples.train, examples.validation,
        examples.weights, config=config,
    )  # fmt: skip
    states, metrics = jax.device_get((states, metrics))
    states = jax.tree.map(lambda leaf, axis: np.moveaxis(leaf, axis, 0), states, axes)
    leaves, fits = jax.tree.leaves(states), []
    for number, job in enumerate(jobs):
        own = [leaf[number].copy() for leaf in leaves]
        curves = Metrics(*(values[number] for values in metrics))
        if config.patience:
            deciding = np.asarray(decisive(curves, config))
            last = last_epoch(deciding, config.patience, float(job.hyper.tolerance))
            curves = Metrics(*(values[:last] for values in curves))
        fits.append(Fit(own, jax.tree.unflatten(structure, own).chosen, curves))
    return fits
