"""Training: a run is a pure function, and an epoch of it one compiled program."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Integer, Key, Scalar

from jaxmlp.augmentation import training_batch
from jaxmlp.columns import forward_columns, transpose_weights, value_and_grad_columns
from jaxmlp.data import Batch, Dataset
from jaxmlp.data.labels import KINDS
from jaxmlp.gradient import manual_value_and_grad
from jaxmlp.losses import Weights, loss
from jaxmlp.metrics import figures
from jaxmlp.network import forward_pass
from jaxmlp.optimizers import make_optimizer
from jaxmlp.params import Params, init_params
from jaxmlp.results import (
    FALL,
    SMALLEST,
    Metrics,
    Result,
    best_epoch_of,
    decisive,
    exceeds,
    names_of,
)
from jaxmlp.settings import Config, Hyperparams, check_hyperparams
from jaxmlp.shuffling import permutation

SOON = 0.25  # seconds that Ctrl-C can wait
TINY = 1e-30  # a sum of weights that is smaller counts as that


class Best(NamedTuple):
    """The best epoch so far, for `Config.patience`.

    Attributes:
        params: after it.
        score: of it: what decides, and what decides between epochs that are equal in that
            (`decisive`).
        since: how many epochs there were without an improvement; it counts no further than
            the patience.
        share: of the learning rate that is left, for `schedule="adaptive"`.
    """

    params: Params
    score: tuple[Float[Scalar, ""], Float[Scalar, ""]]
    since: Integer[Scalar, ""]
    share: Float[Scalar, ""] | None = None


class TrainState(NamedTuple):
    """What one step hands to the next: parameters, optax's state, steps taken, the best epoch."""

    params: Params
    opt_state: Any
    step: Integer[Scalar, ""]
    best: Best | None = None

    @property
    def chosen(self) -> Params:
        """The parameters that a run ends with."""
        return self.params if self.best is None else self.best.params


def train(
    key: Key[Array, ""],
    hyper: Hyperparams,
    dataset: Dataset,
    *,
    config: Config,
    on_epoch: Callable[[int, Metrics], None] | None = None,
) -> Result:
    """Train a network. Pure: the same arguments give the same result.

    Every epoch visits each training example exactly once, in a fresh order that comes from
    `config.data_seed` alone; where the batch size does not divide their number, the epoch's
    last step takes the remaining few.

    Args:
        key: draws the initial weights and the augmentation; runs that differ only in it see
            the same batches. May be traced, as may every field of `hyper`.
        hyper: the numbers.
        dataset: the training and validation parts are used, the test part is not.
        config: the static settings.
        on_epoch: called with the epoch's number, from 1, and its metrics after each epoch:
            scalars on the device, which `float` waits for; traced under `jax.vmap`. What it
            raises ends the run. `jaxmlp.progress.show_progress` makes one that shows progress,
            and one that logs to a TensorBoard writer is
            `lambda epoch, now: writer.add_scalar("train_loss", float(now.train_loss), epoch)`.

    Raises:
        ValueError: if a hyperparameter is out of range, `key` is no key, or the loss does not fit
            the labels.
    """
    params: Params = ()
    history: list[Metrics] = []
    for state, metrics in each_epoch(key, hyper, dataset, config=config):
        params = state.chosen
        history.append(metrics)
        if on_epoch:
            on_epoch(len(history), metrics)
    metrics = jax.tree.map(lambda *values: jnp.stack(values), *history)
    return Result(params, metrics, best_epoch_of(metrics, config), names_of(hyper, config))


def each_epoch(
    key: Key[Array, ""],
    hyper: Hyperparams,
    dataset: Dataset,
    *,
    config: Config,
    state: TrainState | None = None,
    done: int = 0,
) -> Iterator[tuple[TrainState, Metrics]]:
    """The epochs of `train` one by one: what each leaves to the next one, and its metrics.

    Args:
        key, hyper, dataset, config: as `train` takes them.
        state: what an earlier run left after `done` epochs: then only the others follow, with
            the very numbers that they would have had in that run.
        done: the number of epochs that `state` has behind it.
    """
    check_run(key, hyper, dataset, config)
    n = len(dataset.train.x)
    hyper = _as_arrays(hyper)
    parts = dataset.train, dataset.inputs(dataset.validation), dataset.scale, dataset.weights
    parts = jax.device_put(parts)
    keys = run_keys(key, config)
    sizes = dataset.n_in, n, dataset.n_out
    now = initial_state(keys.init, hyper, config, *sizes) if state is None else state
    program = replace(config, data_seed=0)  # which is an argument, so no reason to recompile
    for epoch in range(done, config.epochs):
        if ended(now, config):
            return
        epoch_key = jax.random.fold_in(keys.order, epoch)
        now, metrics = run_epoch(now, hyper, epoch_key, keys.noise, *parts, config=program)
        yield now, metrics


def ended(state: TrainState, config: Config) -> bool:
    """Whether the patience is over."""
    best = state.best
    if best is None:
        return False
    if isinstance(best.since, jax.core.Tracer):
        raise ValueError(
            f"patience is {config.patience}: when to stop is decided by values, which there are "
            "none of under jax.vmap or jax.jit; use jaxmlp.sweep, or patience 0"
        )
    return int(best.since) >= config.patience


def check_run(key: Any, hyper: Any, dataset: Any, config: Any) -> None:
    """Raise ValueError if `train` cannot work with these arguments."""
    check_hyperparams(hyper)
    for name, value, kind in (("dataset", dataset, Dataset), ("config", config, Config)):
        if not isinstance(value, kind):
            raise ValueError(f"{name} is a {type(value).__name__}: give a jaxmlp.{kind.__name__}")
    check_loss(hyper, dataset, config)
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise ValueError(f"key is a {type(key).__name__}: give jax.random.key(seed)")


def check_loss(hyper: Hyperparams, dataset: Dataset, config: Config) -> None:
    """Raise ValueError unless the loss is that of the labels, and the other settings suit it."""
    if config.loss != dataset.loss:
        raise ValueError(
            f"loss is {config.loss!r}, but the data set has {KINDS[dataset.loss]}: give Config("
            f"loss={dataset.loss!r}), or the loader of the data loss={config.loss!r}"
        )
    if config.measured == "auc":
        _check_for_auc(dataset)
    smoothing = hyper.label_smoothing
    if config.loss == "squared" and not isinstance(smoothing, jax.core.Tracer) and smoothing:
        raise ValueError(f"label_smoothing is {smoothing}: real targets have none, give 0")
    if config.augmentation == "mixup" and dataset.weights is not None:
        raise ValueError("mixup mixes examples, so it knows no weights: leave out one of the two")


def _check_for_auc(dataset: Dataset) -> None:
    """Raise ValueError unless some label is there and not there in the validation part."""
    labels = np.asarray(dataset.validation.labels)
    if labels.ndim == 2 and dataset.loss == "softmax":
        labels = labels.argmax(axis=1)
    several = labels if labels.ndim == 2 else labels[:, None]
    if (several == several[:1]).all():
        raise ValueError(
            "metric is 'auc', but all examples of the validation part have the same label: give "
            "another metric, or a larger validation part"
        )


@partial(jax.jit, static_argnums=(2, 3, 4, 5))
def initial_state(
    key: Key[Array, ""], hyper: Hyperparams, config: Config, n_in: int, n: int, n_out: int
) -> TrainState:
    """Random parameters and a fresh optimizer state for `n` training examples."""
    sizes = (n_in, *config.hidden, n_out)
    params = init_params(key, sizes, bias=config.bias, scale=hyper.init_scale)
    return fresh_state(params, hyper, config, n)


def fresh_state(params: Params, hyper: Hyperparams, config: Config, n: int) -> TrainState:
    """Given parameters and a fresh optimizer state for `n` training examples."""
    opt_state = make_optimizer(hyper, config, n).init(cast(Any, params))
    step = jnp.zeros((), jnp.int32)
    share = jnp.ones((), jnp.float32) if config.schedule == "adaptive" else None
    lowest = jnp.full((), -jnp.inf, jnp.float32)
    best = Best(params, (lowest, lowest), step, share) if config.patience else None
    return TrainState(params, opt_state, step, best)


@partial(jax.jit, static_argnames="config")
def run_epoch(
    state: TrainState,
    hyper: Hyperparams,
    order_key: Key[Array, ""],
    noise_key: Key[Array, ""],
    train_part: Batch,
    validation_part: Batch,
    scale: Float[Scalar, ""],
    weights: Weights = None,
    *,
    config: Config,
) -> tuple[TrainState, Metrics]:
    """One pass over the training part, then the validation part: one compiled program."""
    gradient, current = make_gradient(train_part, scale, config), fallen(state, hyper)

    def step(
        state: TrainState, rows: Integer[Array, " size"]
    ) -> tuple[TrainState, Float[Scalar, ""]]:
        value, grad = gradient(state.params, state.step, hyper, noise_key, weights, rows)
        return update(state, grad, current, config, len(train_part.x)), value

    order = permutation(order_key, len(train_part.x))
    state, train_loss = over_batches(step, state, order, config.batch_size)
    metrics = Metrics(train_loss, *measure(state.params, validation_part, config))
    return keep_best(state, metrics, hyper, config), metrics


def make_gradient(
    train_part: Batch, scale: float | Float[Scalar, ""], config: Config, *, columns: bool = False
) -> Callable[..., tuple[Float[Scalar, ""], Params]]:
    """Of (params, step, hyper, noise key, weights, rows): the loss on some rows, its gradient.

    With `columns`, the weights of the parameters and of the gradient are transposed.
    Where the examples have weights, the mean divides by their sum over the rows, as scikit-learn's
    does: an example with weight 0 is left out, and what is left is the mean over the others (38).
    """
    if config.gradient == "manual":
        gradient = value_and_grad_columns if columns else manual_value_and_grad
    else:
        gradient = jax.value_and_grad(_loss_of_columns if columns else loss)

    def at(params: Any, step: Any, hyper: Any, noise_key: Any, weights: Any, rows: Any) -> Any:
        key = jax.random.fold_in(noise_key, step)
        n_out = params[-1].weight.shape[0 if columns else 1]
        batch = training_batch(key, hyper, train_part, rows, scale, n_out, config)
        if weights is not None:
            some = weights[rows]
            weights = some * (len(rows) / jnp.maximum(jnp.sum(some), TINY))
        settings = {"activation": config.activation, "loss": config.loss}
        return gradient(params, batch, weights=weights, **settings)

    return at


def _loss_of_columns(params: Params, batch: Batch, **settings: Any) -> Float[Scalar, ""]:
    return loss(transpose_weights(params), batch, **settings)


def update(state: TrainState, grad: Any, hyper: Hyperparams, config: Config, n: int) -> TrainState:
    """One step of the optimizer, in a run over `n` examples."""
    params: Any = state.params  # optax's own type of a tree knows no None, the missing bias
    optimizer = make_optimizer(hyper, config, n)
    changes, opt_state = optimizer.update(grad, state.opt_state, params)
    params = optax.apply_updates(params, changes)
    return state._replace(params=params, opt_state=opt_state, step=state.step + 1)


def fallen(state: TrainState, hyper: Hyperparams) -> Hyperparams:
    """The numbers of the next epoch: by then the learning rate may be smaller."""
    if state.best is None or state.best.share is None:
        return hyper
    return hyper._replace(learning_rate=hyper.learning_rate * state.best.share)


def keep_best(
    state: TrainState, metrics: Metrics, hyper: Hyperparams, config: Config
) -> TrainState:
    """The state after an epoch, which may be the best one so far; not once the patience is over."""
    if state.best is None:
        return state
    params, highest, since, share = state.best
    now = [jnp.asarray(each, jnp.float32) for each in decisive(metrics, config)]
    going = since < config.patience
    better, enough = (going & exceeds(now, highest, by) for by in (0, hyper.tolerance))
    params = jax.tree.map(lambda new, old: jnp.where(better, new, old), state.params, params)
    since = jnp.where(enough, 0, jnp.minimum(since + 1, config.patience))
    if share is not None:  # a smaller learning rate has the patience anew
        again = (since == config.patience) & (hyper.learning_rate * share > SMALLEST)
        since, share = jnp.where(again, 0, since), jnp.where(again, share / FALL, share)
    score, tie = (jnp.where(better, *each) for each in zip(now, highest, strict=True))
    return state._replace(best=Best(params, (score, tie), since, share))


def over_batches(
    step: Callable[[Any, Any], tuple[Any, Array]],
    state: Any,
    order: Integer[Array, "n ..."],
    size: int,
) -> tuple[Any, Float[Array, "..."]]:
    """Hand `size` rows after another to a step, the remaining few last: the epoch's mean loss."""
    n = len(order)
    size = min(size, n)
    full = n // size * size
    state, values = jax.lax.scan(step, state, order[:full].reshape(-1, size, *order.shape[1:]))
    total = size * jnp.sum(values, axis=0)
    if full < n:
        state, value = step(state, order[full:])
        total += (n - full) * value
    return state, total / n


def measure(
    params: Params, part: Batch, config: Config, *, columns: bool = False
) -> tuple[Float[Scalar, ""], Float[Scalar, ""]]:
    """The loss and the metric on a part: its layers take no more memory than a step of training.

    With `columns`, the weights are transposed.
    """
    n = len(part.x)
    size = min(n, config.batch_size)

    def some(z: Array, first: Array) -> tuple[Array, None]:
        x = jax.lax.dynamic_slice_in_dim(jnp.asarray(part.x), first, size)  # faster than gathering
        if columns:
            new = forward_columns(params, x, config.activation)[1][-1].T
        else:
            new = forward_pass(params, x, config.activation).z[-1]
        return jax.lax.dynamic_update_slice_in_dim(z, new, first, axis=0), None

    firsts = jnp.minimum(jnp.arange(0, n, size), n - size)  # the last one may overlap
    empty = jnp.zeros((n, params[-1].weight.shape[0 if columns else 1]), jnp.float32)
    z, _ = jax.lax.scan(some, empty, firsts)
    return figures(z, part.labels, config)


def first_batch(
    key: Key[Array, ""], hyper: Hyperparams, dataset: Dataset, config: Config
) -> tuple[Params, Batch]:
    """The initial parameters of a run and the very batch that its first step sees."""
    hyper, keys = _as_arrays(hyper), run_keys(key, config)
    n, n_in, n_out = len(dataset.train.x), dataset.n_in, dataset.n_out
    params = initial_state(keys.init, hyper, config, n_in, n, n_out).params
    noise_key = jax.random.fold_in(keys.noise, 0)
    order_key = jax.random.fold_in(keys.order, 0)
    train_part = jax.device_put(dataset.train)
    batch = _batch_of(order_key, noise_key, hyper, train_part, dataset.scale, n_out, config)
    return params, batch


def _as_arrays(hyper: Hyperparams) -> Hyperparams:
    """The same numbers in float32: other types of numbers would be other programs."""
    return jax.tree.map(lambda number: jnp.asarray(number, jnp.float32), hyper)


@partial(jax.jit, static_argnums=(5, 6))
def _batch_of(
    order_key: Any, noise_key: Any, hyper: Any, part: Batch, scale: Any, n_out: int, config: Config
) -> Batch:
    """The first batch of an epoch."""
    rows = permutation(order_key, len(part.x))[: config.batch_size]
    return training_batch(noise_key, hyper, part, rows, scale, n_out, config)


class Keys(NamedTuple):
    """The keys of a run: initial weights, augmentation, order of the examples."""

    init: Key[Array, ""]
    noise: Key[Array, ""]
    order: Key[Array, ""]


def run_keys(key: Key[Array, ""], config: Config) -> Keys:
    """One key per consumer; the order of the examples does not depend on `key`."""
    init_key, noise_key = jax.random.split(key)
    return Keys(init_key, noise_key, jax.random.key(config.data_seed))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that an array found no room, as Python and XLA say it."""
    said = ("RESOURCE_EXHAUSTED", "Out of memory")  # before a program runs, and while it does
    return isinstance(error, MemoryError) or any(words in str(error) for words in said)


def wait(arrays: Any, expected: float = math.inf) -> float:
    """Wait for arrays, and listen to Ctrl-C meanwhile, as `jax.block_until_ready` does not.

    It sleeps for a fiftieth of what it has waited, so that it adds no more than that. Looking takes
    time from the computation, so it does not if it need not wait for long.

    Args:
        arrays: a tree.
        expected: seconds that it may take, such as what the epoch before took.

    Returns:
        The seconds that it took.
    """
    start = time.perf_counter()
    while expected > SOON and not all(array.is_ready() for array in jax.tree.leaves(arrays)):
        time.sleep(min(0.05, (time.perf_counter() - start) / 50))
    jax.block_until_ready(arrays)  # raises where there is not enough memory
    return time.perf_counter() - start
