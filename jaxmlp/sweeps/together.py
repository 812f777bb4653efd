"""Many networks on several sets of examples, in few programs: what scikit-learn's searches need."""

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from jaxtyping import Float

from jaxmlp.columns import transpose_weights
from jaxmlp.data import Batch
from jaxmlp.params import Layer, Params
from jaxmlp.results import Metrics, last_epoch
from jaxmlp.settings import Config, Hyperparams
from jaxmlp.sweeps.costs import MOMENTS
from jaxmlp.sweeps.networks import epochs_of_all
from jaxmlp.sweeps.plan import CACHED
from jaxmlp.training import TrainState, fresh_state

# of JAX, that may be those of a context, of which other threads know nothing
SETTINGS = (
    "default_matmul_precision",
    "numpy_dtype_promotion",
    "numpy_rank_promotion",
    "enable_x64",
    "default_device",
)


FEW = 8  # networks in a program, of which each takes longer than in a larger one


class Examples(NamedTuple):
    """What networks are trained on; filled up to full batches, so that folds share a program.

    Attributes:
        train: inputs in float32 and labels; the last ones of each batch may only fill up.
        weights: of the training examples: 0 for what fills up.
        batch_size: by which their number can be divided.
        validation: what is measured on after every epoch, if that is wanted.
        n_out: outputs.
    """

    train: Batch
    weights: Float[np.ndarray, " n"]
    batch_size: int
    validation: Batch | None
    n_out: int


class Job(NamedTuple):
    """One network to train.

    Attributes:
        examples: what on.
        config, hyper: as `train` takes them.
        params: the initial ones.
        order: the seed of the order of the examples; None if they stay in the order given.
        state: the leaves of a state to go on from; of a fresh one if there are none.
        first: how many epochs it has behind it.
    """

    examples: Examples
    config: Config
    hyper: Hyperparams
    params: Params
    order: int | None
    state: Sequence[np.ndarray] = ()
    first: int = 0


class Fit(NamedTuple):
    """A trained network.

    Attributes:
        params: that are kept.
        metrics: of every epoch, shape (epochs,).
        state: the leaves of the state that it ends with.
    """

    params: Params
    metrics: Metrics
    state: list[np.ndarray]


def fill_up(batch: Batch, weights: np.ndarray | None, size: int) -> tuple[Batch, np.ndarray, int]:
    """Divide examples into as few batches as ever, of the same size; what is missing counts 0.

    Unless the size divides their number, what a batch holds is rounded up a little, by 3 % at
    most, so that the folds of a cross-validation, which may differ by one, have the same.

    Args:
        batch: of n examples.
        weights: of these, (n,); None if they count alike.
        size: of a batch, at most, but for what fills up.

    Returns:
        The examples in batches, which are filled up with copies of the first one: in the order
        given, no two hold numbers of examples that differ by more than one; their weights; the size
        of a batch.
    """
    n = len(batch.x)
    batches = -(-n // size)
    least = -(-n // batches)
    exact = batches > 1 and n % size == 0
    step = 1 if exact else max(1, 2 ** (least.bit_length() - 6))
    size = -(-least // step) * step
    shares = np.array_split(np.arange(n), batches)
    at = np.concatenate([np.arange(len(each)) + i * size for i, each in enumerate(shares)])
    rows = np.zeros(batches * size, int)
    rows[at] = np.arange(n)
    filled = np.zeros(len(rows), np.float32)
    filled[at] = 1 if weights is None else weights
    return Batch(*(np.asarray(each)[rows] for each in batch)), filled, size


def fit_together(jobs: Sequence[Job]) -> list[Fit]:
    """Train networks; those that differ in numbers only, on the same examples, as one program.

    Programs of the same shapes are compiled once. On a CPU, as many run at a time as it has cores.
    """
    groups: dict[Any, list[int]] = {}
    for number, job in enumerate(jobs):
        groups.setdefault((id(job.examples), job.config, job.order), []).append(number)
    parts = _parts([len(numbers) for numbers in groups.values()], _threads())
    chunks = [chunk for numbers in groups.values() for chunk in _chunks(numbers, jobs, parts)]
    first = {_shapes(chunk, jobs): chunk for chunk in chunks}  # of each program, one
    fits: dict[int, Fit] = {}
    settings = {name: getattr(jax.config, f"jax_{name}") for name in SETTINGS}

    def fit(chunk: list[int], *, compiling: bool = False) -> list[Fit]:
        with ExitStack() as stack:
            for name, value in settings.items():
                if getattr(jax.config, f"jax_{name}") != value:  # else it is compiled once more
                    stack.enter_context(getattr(jax, name)(value))
            return fit_group([jobs[number] for number in chunk], compiling=compiling)

    with ThreadPoolExecutor(_threads()) as pool:
        if len(first) < len(chunks):  # else each chunk compiles its own
            list(pool.map(partial(fit, compiling=True), first.values()))
        for chunk, group in zip(chunks, pool.map(fit, chunks), strict=True):
            fits |= dict(zip(chunk, group, strict=True))
    return [fits[number] for number in range(len(jobs))]


def _threads() -> int:
    if jax.default_backend() != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parts(sizes: Sequence[int], threads: int) -> int:
    """How many parts to make of each large group, so that no thread waits long for the last."""
    large = [size for size in sizes if size >= FEW]
    most = min(4, max(large, default=0) // FEW)
    return min(range(1, most + 1), key=lambda n: -(-len(large) * n // threads) / n, default=1)


def _chunks(numbers: list[int], jobs: Sequence[Job], parts: int) -> list[list[int]]:
    """At least so many parts of nearly the same size, whose states fit in the cache."""
    job = jobs[numbers[0]]
    sizes = (job.examples.train.x.shape[1], *job.config.hidden, job.examples.n_out)
    parameters = sum((a + 1) * b for a, b in itertools.pairwise(sizes))
    at_once = max(1, CACHED // (4 * parameters * (1 + MOMENTS[job.config.optimizer])))
    size = -(-len(numbers) // max(min(parts, len(numbers)), -(-len(numbers) // at_once)))
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def _shapes(chunk: list[int], jobs: Sequence[Job]) -> Any:
    """What a program is compiled for."""
    job = jobs[chunk[0]]
    shapes = tuple(array.shape for array in jax.tree.leaves(job.examples[:4]) if np.ndim(array))
    return len(chunk), job.config, shapes


def fit_group(jobs: Sequence[Job], *, compiling: bool = False) -> list[Fit]:
    """Train jobs that differ in numbers only, on the same examples in the same order.

    Args:
        jobs: at least one.
        compiling: whether their program is compiled, and run for no epoch.
    """
    config, examples, first = replace(jobs[0].config, data_seed=0), jobs[0].examples, jobs[0].first
    like = jax.eval_shape(
        lambda params: fresh_state(params, jobs[0].hyper, config, len(examples.train.x)),
        jobs[0].params,
    )
    each = [_leaves(job, like) for job in jobs]
    states = jax.tree.unflatten(
        jax.tree.structure(like), [np.stack(leaves) for leaves in zip(*each, strict=True)]
    )
    hypers = jax.tree.map(
        lambda *numbers: np.asarray(numbers, np.float32), *[job.hyper for job in jobs]
    )
    n = len(examples.train.x)
    orders = np.stack([_order(n, jobs[0].order, first + epoch) for epoch in range(config.epochs)])
    words = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0))).shape
    noise = np.zeros((len(jobs), *words), np.uint32)  # for an augmentation, of which there is none
    states, metrics = epochs_of_all(
        jax.device_put(transpose_weights(states)), hypers, orders, noise, examples.train,
        examples.validation, examples.weights, 0 if compiling else config.epochs, config=config,
    )  # fmt: skip
    if compiling:
        return []
    states, metrics = jax.device_get((states, metrics))
    states = transpose_weights(states)
    return [_fit_of(number, job, states, metrics) for number, job in enumerate(jobs)]


def _order(n: int, seed: int | None, epoch: int) -> np.ndarray:
    """Which of n examples comes when in an epoch."""
    if seed is None:
        return np.arange(n, dtype=np.int32)
    return np.random.default_rng([seed, epoch]).permutation(n).astype(np.int32)


def _leaves(job: Job, like: TrainState) -> Sequence[np.ndarray]:
    """The leaves of the state that a job begins with: zeros, but for its parameters."""
    if job.state:
        return job.state
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    state = state._replace(params=job.params)
    if state.best is not None:
        lowest = np.full((), -np.inf, np.float32)
        best = state.best._replace(params=job.params, score=(lowest, lowest))
        if best.share is not None:
            best = best._replace(share=np.ones((), np.float32))
        state = state._replace(best=best)
    return jax.tree.leaves(state)


def _fit_of(number: int, job: Job, states: TrainState, metrics: Metrics) -> Fit:
    """One of the networks that were trained together."""
    state = jax.tree.map(lambda leaf: np.array(leaf[number]), states)
    curves = Metrics(*(values[number] for values in metrics))
    if job.config.patience:
        last = last_epoch(curves, job.config, job.hyper)
        curves = Metrics(*(values[:last] for values in curves))
    return Fit(cast(TrainState, state).chosen, curves, jax.tree.leaves(state))


def initial_layers(
    rng: np.random.RandomState, sizes: Sequence[int], activation: str
) -> tuple[Layer, ...]:
    """Initial parameters as scikit-learn draws them, uniform (Glorot and Bengio 2010)."""
    layers: list[Any] = []
    for n_in, n_out in itertools.pairwise(sizes):
        bound = np.sqrt((2 if activation == "sigmoid" else 6) / (n_in + n_out))
        weight = rng.uniform(-bound, bound, (n_in, n_out)).astype(np.float32)
        bias = rng.uniform(-bound, bound, n_out).astype(np.float32)
        layers.append(Layer(cast(Any, weight), cast(Any, bias)))
    return tuple(layers)
