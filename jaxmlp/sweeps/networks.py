"""Our networks in a sweep: the epochs of many at once, as one program."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float, Integer, Key, Scalar, UInt32

from jaxmlp.columns import transpose_weights
from jaxmlp.data import Batch, Dataset, described_inputs, fingerprint
from jaxmlp.params import init_params, pad_params
from jaxmlp.results import Metrics
from jaxmlp.settings import Config, Hyperparams
from jaxmlp.shuffling import permutation
from jaxmlp.sweeps import costs
from jaxmlp.sweeps.parameters import as_attributes
from jaxmlp.sweeps.run import EVERYWHERE, SPREAD, Epoch, everywhere, mesh, put
from jaxmlp.sweeps.schema import Trial
from jaxmlp.training import (
    TrainState,
    fallen,
    fresh_state,
    keep_best,
    make_gradient,
    measure,
    over_batches,
    run_keys,
    train,
    update,
)


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


def place(dataset: Dataset) -> Data:
    """The training and the validation part on every device."""
    parts = (dataset.train, dataset.weights, dataset.inputs(dataset.validation))
    n_in, n_out, n = dataset.n_in, dataset.n_out, len(dataset.train.x)
    train, weights, validation = put(parts, EVERYWHERE)
    return Data(train, weights, validation, dataset.scale, n_in, n_out, n)


class NetworkTraining:
    """Networks on a data set, as `run.Training` describes it.

    The config of a program is that of its trials, with the largest width of every layer.
    While they train, weights are transposed (`columns.py`), and layers may be padded.
    """

    def __init__(self, dataset: Dataset) -> None:
        """Get ready to train on a data set."""
        self.dataset = dataset

    @cached_property
    def data(self) -> Data:
        """The data set on the devices, when it is needed."""
        return place(self.dataset)

    def fingerprint(self) -> str:
        """Of the data set."""
        return fingerprint(self.dataset)

    def config_of(self, trial: Trial) -> Config:
        """Its own, whatever the order of the examples."""
        return replace(trial.config, data_seed=0)

    def merged(self, groups: Mapping[Config, list[int]]) -> dict[Config, list[int]]:
        """Widths share a program where padding costs less than compiling."""
        return costs.merge_widths(groups, self.dataset)

    def fields_of(self, config: Config) -> dict[str, Any]:
        """Those of `Config`."""
        return asdict(config)

    def shares_order(self, trials: Iterable[Trial]) -> bool:
        """Whether they have one order of the examples, which comes from `data_seed`."""
        return len({trial.config.data_seed for trial in trials}) == 1

    def work(self, config: Config) -> float:
        """Multiplications in the matrix products."""
        return costs.multiplications(config, self.dataset)

    def bytes_each(self, config: Config, shared: bool) -> int:
        """Memory of one trial while it trains."""
        return costs.bytes_each(config, self.dataset, shared)

    def bytes_of_state(self, config: Config) -> int:
        """Memory of its parameters and the optimizer's state."""
        return costs.bytes_of_state(config, self.dataset)

    def like(self, config: Config) -> TrainState:
        """The state of one trial of a program, in shapes and dtypes alone."""
        key, hyper, data = jax.random.key(0), Hyperparams(), self.dataset
        sizes, n = costs.sizes_of(config, data), len(data.train.x)
        return jax.eval_shape(
            lambda key: fresh_state(init_params(key, sizes, bias=config.bias), hyper, config, n),
            key,
        )

    def start(self, trials: Sequence[Trial], config: Config) -> TrainState:
        """Every trial's own initial weights, padded to the program's widths."""
        return _start(trials, *_numbers(trials), config, self.data)

    def epochs(self, trials: Sequence[Trial], mine: slice, config: Config, shared: bool) -> Epoch:
        """All trials in one order of the examples, or each in its own."""
        keys, hypers = _numbers(trials[mine])
        noise = jax.random.key_data(jax.vmap(lambda key: run_keys(key, config).noise)(keys))
        seeds = [trial.config.data_seed for trial in trials]
        orders = np.stack([jax.random.key_data(jax.random.key(seed)) for seed in seeds])
        orders = put(orders[0], EVERYWHERE) if shared else put(orders[mine], SPREAD)
        hypers, noise = put((hypers, noise), SPREAD)
        program, data = replace(config, data_seed=0), self.data

        def run_epoch(states: TrainState, epoch: int) -> tuple[TrainState, Metrics]:
            return sharded_epoch(mesh())(
                states, hypers, orders, epoch, noise, data.train, data.validation, data.scale,
                data.weights, config=program,
            )  # fmt: skip

        return run_epoch

    def ended(self, states: TrainState, config: Config) -> bool:
        """Whether the patience of all is over."""
        return bool(states.best and np.all(everywhere(states.best.since) >= config.patience))

    def turned(self, states: Any) -> Any:
        """Weights transposed."""
        return transpose_weights(states)

    def chosen(self, states: TrainState) -> Any:
        """The parameters that a run ends with."""
        return states.chosen

    def alone(self, trial: Trial) -> np.ndarray:
        """The curves of `train`."""
        key = jax.random.key(trial.seed)
        result = train(key, trial.hyper, self.dataset, config=trial.config)
        return np.stack(jax.device_get(result.metrics))

    def named(self, curves: np.ndarray) -> Metrics:
        """What a result of `train` has."""
        return Metrics(*curves)

    def nudged(self, trial: Trial, ulps: tuple[int, int]) -> Trial:
        """The learning rate and the scale of the initial weights."""
        hyper = trial.hyper
        numbers = np.asarray([hyper.learning_rate, hyper.init_scale], np.float32)
        towards = np.where(np.asarray(ulps) > 0, np.inf, -np.inf).astype(np.float32)
        rate, scale = np.where(ulps, np.nextafter(numbers, towards), numbers).tolist()
        changed = hyper._replace(learning_rate=max(rate, 0.0), init_scale=max(scale, 0.0))
        return trial._replace(hyper=changed)

    def compare(self, trial: Trial, curves: Sequence[np.ndarray]) -> None:
        """Nothing: the tests do it for all networks."""

    def attributes(self, trials: Sequence[Trial], held: Mapping[int, Any]) -> dict[str, Any]:
        """The parameters, and how inputs became numbers."""
        inputs = json.dumps(described_inputs(self.dataset))
        return {"inputs": inputs, **as_attributes(trials, held, self.dataset)}


def _numbers(trials: Sequence[Trial]) -> tuple[Any, Hyperparams]:
    """The keys and the hyperparameters of trials, with a first axis of trials."""
    keys = jax.vmap(jax.random.key)(np.asarray([trial.seed for trial in trials], np.int32))
    hypers = [trial.hyper for trial in trials]
    return keys, jax.tree.map(lambda *each: np.asarray(each, np.float32), *hypers)


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
        out_shardings=(NamedSharding(everyone, SPREAD), NamedSharding(everyone, EVERYWHERE)),
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
