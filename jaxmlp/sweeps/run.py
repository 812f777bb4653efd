"""Training the trials of a chunk together: one program, whatever their number."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Integer, Key, Scalar, UInt32

from jaxmlp.columns import transpose_weights
from jaxmlp.data import Batch, Dataset
from jaxmlp.params import init_params, pad_params
from jaxmlp.results import Metrics
from jaxmlp.settings import Config, Hyperparams
from jaxmlp.shuffling import permutation
from jaxmlp.sweeps.space import Trial
from jaxmlp.training import (
    TrainState,
    fallen,
    fresh_state,
    keep_best,
    make_gradient,
    measure,
    over_batches,
    run_keys,
    update,
    wait,
)

SPREAD = PartitionSpec("trial")  # every device has some of the trials, which are on the first axis


class Data(NamedTuple):
    """What the trials are trained on, on every device.

    Attributes:
        train, validation: the parts; the inputs of `train` are multiplied by `scale` in use.
        weights: of the training examples; none if they count alike.
        n_in, n_out, n: numbers of inputs, outputs and training examples.
    """

    train: Batch
    weights: Any
    validation: Batch
    scale: Any
    n_in: int
    n_out: int
    n: int

    def sizes(self, config: Config) -> tuple[int, ...]:
        """The widths of a network from input to output."""
        return (self.n_in, *config.hidden, self.n_out)


class Curves(NamedTuple):
    """What some epochs gave.

    Attributes:
        metrics: shapes (trials, epochs).
        states: as the last of them left them, spread over the devices; their first axis, that of
            trials, may be longer, layers may be padded, and weights are transposed (`columns.py`).
    """

    metrics: Metrics
    states: TrainState


def mesh() -> Mesh:
    """All devices of all processes, in a row."""
    return Mesh(np.asarray(jax.devices()), ("trial",))


def place(dataset: Dataset) -> Data:
    """The training and the validation part on every device."""
    parts = (dataset.train, dataset.weights, dataset.inputs(dataset.validation))
    n_in, n_out, n = dataset.n_in, dataset.n_out, len(dataset.train.x)
    train, weights, validation = _put(parts, PartitionSpec())
    return Data(train, weights, validation, dataset.scale, n_in, n_out, n)


def train_together(
    trials: Sequence[Trial],
    config: Config,
    data: Data,
    size: int,
    *,
    shared: bool,
    states: Any = None,
    first: int = 0,
    last: int | None = None,
    on_epoch: Callable[[int, TrainState, list[Metrics]], None] = lambda *_: None,
) -> Curves:
    """Train trials that differ in numbers and widths only.

    Args:
        trials: at least one.
        config: of the program: the trials' own, with the largest width of every layer.
        data: of `place`.
        size: of the program: the number of trials, filled up by repeating the last one, so that
            chunks of nearly the same size share a program.
        shared: whether all trials of the program see the same minibatches in the same order; if
            not, each has its own.
        states: to go on from, with a first axis of trials; fresh ones if there are none.
        first, last: the epochs, from 0, the last one left out; by default all of them.
        on_epoch: called with the number of epochs that are finished, the states, and the metrics
            of each epoch.
    """
    everyone = mesh()
    size += -size % everyone.size
    filled = [*trials, *[trials[-1]] * (size - len(trials))]
    mine = _block(everyone, len(filled))  # of the trials, for this process to bring
    own = filled[mine]
    keys = jax.vmap(jax.random.key)(np.asarray([trial.seed for trial in own], np.int32))
    hypers = jax.tree.map(lambda *each: np.asarray(each, np.float32), *[t.hyper for t in own])
    if states is None:
        states = _start(own, keys, hypers, config, data)
    else:
        rows = np.minimum(np.arange(len(filled)), len(trials) - 1)[mine]
        states = transpose_weights(jax.tree.map(lambda leaf: leaf[rows], states))
    noise = jax.random.key_data(jax.vmap(lambda key: run_keys(key, config).noise)(keys))
    seeds = [trial.config.data_seed for trial in filled]
    orders = np.stack([jax.random.key_data(jax.random.key(seed)) for seed in seeds])
    orders = _put(orders[0], PartitionSpec()) if shared else _put(orders[mine], SPREAD)
    states, hypers, noise = _put((states, hypers, noise), SPREAD)
    run_epoch, program = sharded_epoch(everyone), replace(config, data_seed=0)
    history = []
    for epoch in range(first, config.epochs if last is None else last):
        states, metrics = run_epoch(
            states, hypers, orders, epoch, noise, data.train, data.validation, data.scale,
            data.weights, config=program,
        )  # fmt: skip
        wait(metrics)
        history.append(jax.device_get(metrics))
        on_epoch(epoch + 1 - first, states, history)
        if states.best and np.all(_everywhere(states.best.since) >= config.patience):
            break
    return Curves(curves_of(history, len(trials)), states)


def _everywhere(array: Any) -> np.ndarray:
    """An array that is spread over the devices of all processes."""
    return np.asarray(jax.device_get(_pick(mesh())([array], np.arange(len(array)))[0]))


def curves_of(history: list[Metrics], count: int) -> Metrics:
    """What was measured epoch by epoch, shapes (count, epochs), without what only fills up."""
    return jax.tree.map(lambda *each: np.stack(each, axis=1)[:count], *history)


def fetch(tree: Any, rows: Sequence[int]) -> list[np.ndarray]:
    """The leaves of some trials' states, or parts of them, as NumPy arrays, on every process.

    Their weights have the shape that a network's have.
    """
    return jax.device_get(_pick(mesh())(tree, np.asarray(rows, np.int32)))


def fetch_states(states: TrainState, count: int) -> list[np.ndarray]:
    """The same of the first states, in a sweep of one process."""
    states = transpose_weights(jax.device_get(states))
    return [leaf[:count] for leaf in jax.tree.leaves(states)]


@cache
def _pick(everyone: Mesh) -> Any:
    def pick(tree: Any, rows: Any) -> Any:
        return [leaf[rows] for leaf in jax.tree.leaves(transpose_weights(tree))]

    return jax.jit(pick, out_shardings=NamedSharding(everyone, PartitionSpec()))


def _block(everyone: Mesh, count: int) -> slice:
    """Which of the trials lie on the devices of this process."""
    each = count // everyone.size
    mine = [
        place
        for place, device in enumerate(everyone.devices.flat)
        if device.process_index == jax.process_index()
    ]
    return slice(mine[0] * each, (mine[-1] + 1) * each)


def _put(tree: Any, spec: PartitionSpec) -> Any:
    """What this process brings of some arrays, as arrays that span all processes."""
    sharding = NamedSharding(mesh(), spec)
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree
    )


def epoch_of_all(
    states: TrainState,
    hypers: Hyperparams,
    orders: UInt32[Array, "..."],
    epoch: int | Integer[Scalar, ""],
    noise: UInt32[Array, "trials words"],
    train_part: Batch,
    validation_part: Batch | None,
    scale: float | Float[Scalar, ""],
    weights: Any = None,
    *,
    config: Config,
) -> tuple[TrainState, Metrics]:
    """One epoch of every trial, in one order for all, or in one for each."""
    n = len(train_part.x)
    keys = jax.random.wrap_key_data(orders)

    def order(key: Any) -> Any:
        return permutation(jax.random.fold_in(key, epoch), n)

    rows = order(keys) if orders.ndim == 1 else jax.vmap(order, out_axes=1)(keys)
    return epoch_in_order(
        states, hypers, rows, noise, train_part, validation_part, scale, weights, config=config
    )


def epoch_in_order(
    states: TrainState,
    hypers: Hyperparams,
    order: Integer[Array, "n *trials"],
    noise: UInt32[Array, "trials words"],
    train_part: Batch,
    validation_part: Batch | None,
    scale: float | Float[Scalar, ""],
    weights: Any = None,
    *,
    config: Config,
) -> tuple[TrainState, Metrics]:
    """One epoch of every trial in a given order; what no validation part can say is NaN.

    With one order for all, the inputs of a batch are shared, and the first layer of all trials is
    one product of two matrices.
    """
    n = len(train_part.x)
    gradient = jax.vmap(
        make_gradient(train_part, scale, config, columns=True),
        in_axes=(0, 0, 0, 0, None, None if order.ndim == 1 else 1),
    )
    change = jax.vmap(partial(update, config=config, n=n))
    keys, current = jax.random.wrap_key_data(noise), fallen(states, hypers)

    def step(states: TrainState, rows: Any) -> tuple[TrainState, Any]:
        values, grads = gradient(states.params, states.step, hypers, keys, weights, rows)
        return change(states, grads, current), values

    trained, train_loss = over_batches(step, states._replace(best=None), order, config.batch_size)
    states = trained._replace(best=states.best)
    if validation_part is None:
        unknown = jnp.full_like(train_loss, jnp.nan)
        metrics = Metrics(train_loss, unknown, unknown)
    else:
        measure_all = jax.vmap(partial(measure, part=validation_part, config=config, columns=True))
        metrics = Metrics(train_loss, *measure_all(states.params))
    if not config.patience:
        return states, metrics
    keep_all = jax.vmap(partial(keep_best, config=config))
    return keep_all(states, metrics, hypers), metrics


@partial(jax.jit, static_argnames="config", donate_argnames="states")
def epochs_of_all(
    states: TrainState,
    hypers: Hyperparams,
    orders: Integer[Array, "epochs n"],
    noise: UInt32[Array, "trials words"],
    train_part: Batch,
    validation_part: Batch | None,
    weights: Any,
    last: int | Integer[Scalar, ""],
    *,
    config: Config,
) -> tuple[TrainState, Metrics]:
    """The epochs of every trial up to the last one, in the same given orders, as one program.

    It ends before if the patience of all is over. The metrics have shapes (trials, epochs), with
    NaN where there was no epoch. Orders that are made elsewhere take no time to compile.
    """
    count = jax.tree.leaves(hypers)[0].shape[0]
    nothing = jnp.full((count, config.epochs), jnp.nan, jnp.float32)

    def going(carry: Any) -> Any:
        epoch, states, _ = carry
        more = epoch < last
        return more & jnp.any(states.best.since < config.patience) if states.best else more

    def one(carry: Any) -> Any:
        epoch, states, history = carry
        states, metrics = epoch_in_order(
            states, hypers, jnp.asarray(orders)[epoch], noise, train_part, validation_part, 1.0,
            weights, config=config,
        )  # fmt: skip
        history = jax.tree.map(lambda all_, now: all_.at[:, epoch].set(now), history, metrics)
        return epoch + 1, states, history

    start = jnp.zeros((), jnp.int32), states, Metrics(nothing, nothing, nothing)
    _, states, history = jax.lax.while_loop(going, one, start)
    return states, history


@cache
def sharded_epoch(everyone: Mesh) -> Any:
    """`epoch_of_all`, jitted, with the trials spread over some devices; the metrics are on all."""
    return jax.jit(
        epoch_of_all,
        static_argnames="config",
        donate_argnames="states",
        out_shardings=(NamedSharding(everyone, SPREAD), NamedSharding(everyone, PartitionSpec())),
    )


def _start(
    trials: Sequence[Trial], keys: Any, hypers: Hyperparams, config: Config, data: Data
) -> TrainState:
    """The first state of every trial: its own initial weights, padded to the program's widths."""
    places: dict[Config, list[int]] = {}
    for number, trial in enumerate(trials):
        places.setdefault(replace(trial.config, data_seed=0), []).append(number)
    parts, order = [], []
    for own, numbers in places.items():
        rows = np.asarray(numbers)
        few = jax.tree.map(lambda leaf, rows=rows: leaf[rows], (keys, hypers))
        parts.append(_start_alike(*few, data.sizes(own), data.sizes(config), config, data.n))
        order += numbers
    if len(parts) == 1:  # which then stays on its device
        return parts[0]
    back = np.argsort(order)
    return jax.tree.map(lambda *each: np.concatenate(each)[back], *parts)


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
        return transpose_weights(fresh_state(pad_params(params, padded), hyper, config, n))

    return jax.lax.map(one, (keys, hypers))  # one after another: compiled in half the time


def state_like(config: Config, data: Data) -> TrainState:
    """The state of one trial of a program, in shapes and dtypes alone."""
    key, hyper = jax.random.key(0), Hyperparams()
    sizes = data.sizes(config)
    return jax.eval_shape(
        lambda key: fresh_state(init_params(key, sizes, bias=config.bias), hyper, config, data.n),
        key,
    )
