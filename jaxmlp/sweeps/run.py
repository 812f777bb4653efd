"""Training the trials of a chunk together: one program, whatever their number."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Integer, Key, Scalar

from jaxmlp.data import Batch, Dataset
from jaxmlp.params import Params, init_params, pad_params
from jaxmlp.settings import Config, Hyperparams
from jaxmlp.sweeps.plan import sizes_of
from jaxmlp.sweeps.space import Trial
from jaxmlp.training import Metrics, TrainState, fresh_state, run_epoch, run_keys

TRIALS = PartitionSpec("trial")  # every device has some of them, and all of the data


class Curves(NamedTuple):
    """What a chunk of K trials gave.

    Attributes:
        metrics: of every epoch, shapes (K, epochs).
        params: as they are after the last epoch, every leaf with a first axis of K; layers may
            be padded.
    """

    metrics: Metrics
    params: Params


class Chunk(NamedTuple):
    """The curves of some trials.

    Attributes:
        trials: their places in the space.
        metrics: shapes (len(trials), epochs).
    """

    trials: tuple[int, ...]
    metrics: Metrics


def local_mesh() -> Mesh:
    """All devices of this process, in a row."""
    return Mesh(np.asarray(jax.local_devices()), ("trial",))


def train_together(
    trials: Sequence[Trial],
    config: Config,
    dataset: Dataset,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Curves:
    """Train trials that differ in numbers and widths only.

    Args:
        trials: at least one.
        config: of the program: the trials' own, with the largest width of every layer.
        dataset: the training and validation parts are used.
        on_epoch: called with the number of every finished epoch.
    """
    mesh = local_mesh()
    apart, everywhere = NamedSharding(mesh, TRIALS), NamedSharding(mesh, PartitionSpec())
    filled = [*trials, *[trials[-1]] * (-len(trials) % mesh.size)]  # a multiple of the devices
    keys = jnp.stack([jax.random.key(trial.seed) for trial in filled])
    hypers = jax.tree.map(lambda *each: jnp.asarray(each, jnp.float32), *[t.hyper for t in filled])
    states = _start(filled, keys, hypers, config, dataset)
    noise = jax.vmap(lambda key: run_keys(key, config).noise)(keys)
    seeds = [trial.config.data_seed for trial in filled]
    shared = len(set(seeds)) == 1
    orders = jax.random.key(seeds[0]) if shared else jnp.stack([*map(jax.random.key, seeds)])
    states, hypers, noise = jax.device_put((states, hypers, noise), apart)
    orders = jax.device_put(orders, everywhere if shared else apart)
    parts = jax.device_put((dataset.train, dataset.inputs(dataset.validation)), everywhere)
    program = replace(config, data_seed=0)
    history = []
    for epoch in range(config.epochs):
        states, metrics = sharded_epoch(mesh)(
            states, hypers, orders, epoch, noise, *parts, dataset.scale, config=program
        )
        history.append(jax.device_get(metrics))
        on_epoch(epoch + 1)
    curves = jax.tree.map(lambda *each: np.stack(each, axis=1)[: len(trials)], *history)
    return Curves(curves, jax.tree.map(lambda leaf: leaf[: len(trials)], states.params))


def epoch_of_all(
    states: TrainState,
    hypers: Hyperparams,
    orders: Key[Array, "..."],
    epoch: int | Integer[Scalar, ""],
    noise: Key[Array, " trials"],
    train_part: Batch,
    validation_part: Batch,
    scale: float | Float[Scalar, ""],
    *,
    config: Config,
) -> tuple[TrainState, Metrics]:
    """One epoch of every trial; with one order for all, the inputs of a batch are shared too."""
    axis = 0 if orders.ndim else None

    def one(state: Any, hyper: Any, order: Any, noise_key: Any) -> tuple[TrainState, Metrics]:
        return run_epoch(
            state, hyper, jax.random.fold_in(order, epoch), noise_key, train_part, validation_part,
            scale, config=config,
        )  # fmt: skip

    return jax.vmap(one, in_axes=(0, 0, axis, 0))(states, hypers, orders, noise)


@cache
def sharded_epoch(mesh: Mesh) -> Any:
    """`epoch_of_all`, jitted, with the trials spread over some devices."""
    return jax.jit(
        epoch_of_all,
        static_argnames="config",
        donate_argnames="states",
        out_shardings=NamedSharding(mesh, TRIALS),
    )


def _start(
    trials: Sequence[Trial], keys: Any, hypers: Hyperparams, config: Config, dataset: Dataset
) -> TrainState:
    """The first state of every trial: its own initial weights, padded to the program's widths."""
    places: dict[Config, list[int]] = {}
    for number, trial in enumerate(trials):
        places.setdefault(replace(trial.config, data_seed=0), []).append(number)
    parts, order = [], []
    for own, numbers in places.items():
        rows = np.asarray(numbers)
        few = jax.tree.map(lambda leaf, rows=rows: leaf[rows], (keys, hypers))
        n = len(dataset.train.x)
        parts.append(
            _start_alike(*few, sizes_of(own, dataset), sizes_of(config, dataset), config, n)
        )
        order += numbers
    back = np.argsort(order)
    return jax.tree.map(lambda *each: jnp.concatenate(each)[back], *parts)


@partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _start_alike(
    keys: Key[Array, " trials"],
    hypers: Hyperparams,
    own: tuple[int, ...],
    padded: tuple[int, ...],
    config: Config,
    n: int,
) -> TrainState:
    """The same for trials of the same widths."""

    def one(trial: tuple[Any, Any]) -> TrainState:
        key, hyper = trial
        key = run_keys(key, config).init
        params = init_params(key, own, bias=config.bias, scale=hyper.init_scale)
        return fresh_state(pad_params(params, padded), hyper, config, n)

    return jax.lax.map(one, (keys, hypers))  # one after another: compiled in half the time
