"""A trial of a sweep, by us and by others: the same network, batches, optimizer and data.

Networks with one hidden layer, in batches of 128, by stochastic gradient descent with momentum.
Each function returns what measures the seconds of one trial and epoch.
"""

import importlib
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contestants import Arrays, torch_device
from measuring import Measure, timed

import jaxmlp
from jaxmlp import Config, Hyperparams
from jaxmlp.sweeps.networks import Data, NetworkTraining, sharded_epoch
from jaxmlp.sweeps.plan import make_plan
from jaxmlp.sweeps.run import SPREAD, mesh, train_together
from jaxmlp.sweeps.space import Space, make_space
from jaxmlp.training import initial_state, run_epoch

TRIALS = 64
BATCH = 128


def config_of(width: int, epochs: int = 1) -> Config:
    """The settings that all of them share."""
    return Config(
        hidden=(width,), optimizer="sgd", schedule="constant", batch_size=BATCH, epochs=epochs
    )


def trials_of(width: int, count: int, epochs: int = 1) -> Any:
    """Trials that differ in their learning rate and seed."""
    return space_of(width, count, epochs).trials


def space_of(width: int, count: int, epochs: int) -> Space:
    """Learning rates and up to four seeds."""
    rates = [float(rate) for rate in np.geomspace(1e-3, 0.3, max(1, count // 4))]
    space = {"learning_rate": rates, "seed": range(min(4, count))}
    return make_space(space, config_of(width, epochs), Hyperparams(label_smoothing=0.0))


def ours(width: int, training: NetworkTraining, count: int = TRIALS) -> Measure:
    """Our sweep, in its chunks: the second of two epochs each, in which nothing is compiled."""
    trials, config = trials_of(width, count, 2), config_of(width, 2)
    plan = make_plan(space_of(width, count, 2), training)
    size = min(count, plan.buckets[0].at_once)

    def measure() -> float:
        total = 0.0
        for first in range(0, count, size):
            ends: list[float] = []
            train_together(
                trials[first : first + size], config, training, size, shared=True,
                on_epoch=lambda *_, ends=ends: ends.append(time.perf_counter()),
            )  # fmt: skip
            total += ends[1] - ends[0]
        return total / count

    return measure


def loop(width: int, dataset: jaxmlp.Dataset) -> Measure:
    """Our own `train`, one trial after another."""
    trial, config = trials_of(width, 1)[0], config_of(width, 2)

    def measure() -> float:
        ends: list[float] = []

        def on_epoch(_: int, metrics: Any) -> None:
            jax.block_until_ready(metrics)
            ends.append(time.perf_counter())

        jaxmlp.train(jax.random.key(0), trial.hyper, dataset, config=config, on_epoch=on_epoch)
        return ends[1] - ends[0]

    return measure


def one_epoch(config: Config, data: Data) -> Callable[..., Any]:
    """A trial's first epoch as a function of learning rate and key, for other people's loops."""

    def train(rate: Any, key: Any) -> Any:
        hyper = Hyperparams(learning_rate=rate, label_smoothing=0.0)
        state = initial_state(key, hyper, config, data.n_in, data.n, data.n_out)
        order = jax.random.key(0)
        _, metrics = run_epoch(
            state, hyper, order, key, data.train, data.validation, data.scale, config=config
        )
        return metrics.validation_loss

    return train


def mapped(width: int, data: Data, count: int = 8) -> Measure:
    """`lax.map` over the trials."""
    train = one_epoch(config_of(width), data)
    program = jax.jit(lambda rates, keys: jax.lax.map(lambda pair: train(*pair), (rates, keys)))
    arguments = jnp.full(count, 0.1), jax.random.split(jax.random.key(0), count)
    return lambda: timed(lambda: program(*arguments)) / count


def hyperoptax(width: int, data: Data) -> Measure:
    """Its grid search around our epoch, all trials at once."""
    peer: Any = importlib.import_module("hyperoptax")
    train = one_epoch(config_of(width), data)
    rates = peer.DiscreteSpace(tuple(np.geomspace(1e-3, 0.3, TRIALS).tolist()))
    state, optimizer = peer.GridSearch.init({"rate": rates}, n_parallel=TRIALS)

    def objective(key: Any, params: Any) -> Any:
        del key  # of a trial's own kind; ours are typed
        return train(params["rate"], jax.random.key(0))

    program = jax.jit(
        lambda state, key: optimizer.optimize_scan(state, key, objective, n_iterations=1)[1][1]
    )
    key = jax.random.PRNGKey(0)
    return lambda: timed(lambda: program(state, key)) / TRIALS


def torch_vmap(width: int, data: Arrays, count: int = TRIALS, steps: int = 40) -> Measure:
    """`torch.func`: all trials in one vmapped step, on the same batches; a part of an epoch."""
    torch: Any = importlib.import_module("torch")
    device = torch_device()
    inputs = torch.tensor(data.x, device=device)
    labels = torch.tensor(data.y, dtype=torch.long, device=device)
    sizes = (data.x.shape[1], width), (width,), (width, 10), (10,)
    rates = torch.logspace(-3, -0.5, count, device=device)

    def cost(params: Any, x: Any, y: Any) -> Any:
        w0, b0, w1, b1 = params
        return torch.nn.functional.cross_entropy(torch.relu(x @ w0 + b0) @ w1 + b1, y)

    gradient = torch.func.vmap(torch.func.grad(cost), in_dims=(0, None, None))

    def measure() -> float:
        params = [0.05 * torch.randn(count, *size, device=device) for size in sizes]
        momenta = [torch.zeros_like(leaf) for leaf in params]
        batches = torch.randperm(len(inputs), device=device).split(BATCH)[:steps]

        def part() -> None:
            nonlocal params, momenta
            with torch.no_grad():
                for rows in batches:
                    grads = gradient(params, inputs[rows], labels[rows])
                    momenta = [0.9 * m + g for m, g in zip(momenta, grads, strict=True)]
                    params = [
                        p - rates.reshape(-1, *[1] * (p.ndim - 1)) * m
                        for p, m in zip(params, momenta, strict=True)
                    ]
            if device == "cuda":
                torch.cuda.synchronize()

        return timed(part) * -(-len(inputs) // BATCH) / len(batches) / count

    return measure


def sklearn(width: int, x: np.ndarray, y: np.ndarray) -> Measure:
    """scikit-learn's network, as many at once by joblib as there are cores."""
    joblib: Any = importlib.import_module("joblib")
    network: Any = importlib.import_module("sklearn.neural_network")
    cores = os.cpu_count() or 1

    def fit(seed: int) -> None:
        with warnings.catch_warnings(action="ignore"):  # that one epoch is too little
            network.MLPClassifier(
                (width,),
                solver="sgd",
                batch_size=BATCH,
                max_iter=1,
                alpha=0,
                random_state=seed,
                learning_rate_init=0.1,
            ).fit(x, y)

    def measure() -> float:
        fits = [joblib.delayed(fit)(seed) for seed in range(cores)]
        return timed(lambda: joblib.Parallel(cores)(fits)) / cores

    return measure


def memory(width: int, training: NetworkTraining) -> dict[str, float]:
    """Bytes of one of the trials beside parameters, optimizer state and its share of the batch."""
    config = config_of(width)
    sizes, like = training.data.sizes(config), training.like(config)
    state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(like))
    used = []
    for count in (16, 32):
        stats = lower(width, training, count).compile().memory_analysis()
        used.append(stats.temp_size_in_bytes + stats.argument_size_in_bytes)
    batch = 4 * config.batch_size * sum(sizes[1:])  # its activations; the inputs are shared
    each = (used[1] - used[0]) / 16 * mesh().size  # what is counted is one device's
    return {"bytes": each, "state": state, "batch": batch}


def lower(width: int, training: NetworkTraining, count: int) -> Any:
    """The program of an epoch of some trials, before it is compiled."""
    config, data = config_of(width), training.data
    one = jax.eval_shape(training.turned, training.like(config))
    sharding = jax.sharding.NamedSharding(mesh(), SPREAD)

    def many(leaf: Any) -> Any:
        return jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype, sharding=sharding)

    numbers = jax.tree.map(lambda _: jax.ShapeDtypeStruct((count,), jnp.float32), Hyperparams())
    words = many(jax.ShapeDtypeStruct((2,), jnp.uint32))
    order = jax.random.key_data(jax.random.key(0))
    return sharded_epoch(mesh()).lower(
        jax.tree.map(many, one), numbers, order, 0, words, data.train,
        data.validation, data.scale, config=config,
    )  # fmt: skip
