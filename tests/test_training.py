"""A training run: what it promises about batches, purity, compilation and its optimizers."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmlp
from jaxmlp import Batch, Config, Dataset, Hyperparams
from jaxmlp.augmentation import training_batch
from jaxmlp.optimizers import make_optimizer
from jaxmlp.training import first_batch, run_epoch, train
from tests.strategies import LONG

KEY = jax.random.key(0)
PLAIN = Hyperparams(learning_rate=0.1, label_smoothing=0.0)
CONFIG = Config(hidden=(6,), epochs=3, batch_size=8, optimizer="sgd", schedule="constant")


@pytest.fixture(autouse=True)
def optax_promotes():
    """optax raises a traced β₁ to an integer power, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def make_part(rng, n):
    x = rng.uniform(size=(n, 5)).astype(np.float32)
    return Batch(x, (x[:, 0] + x[:, 1] > x[:, 2] + x[:, 3]).astype(np.int32))


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    return Dataset(make_part(rng, 35), make_part(rng, 10), make_part(rng, 10), (1, 5))


def assert_same(one, two, **close):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), one, two)


@pytest.mark.parametrize("batch_size", [1, 5, 8, 34, 35, 99])
def test_an_epoch_sees_every_example_once(dataset, batch_size):
    """At learning rate 0 the parameters stay, so the mean loss of the batches is the loss."""
    config = replace(CONFIG, batch_size=batch_size, epochs=2)
    result = train(KEY, PLAIN._replace(learning_rate=0.0), dataset, config=config)
    expected = jaxmlp.loss(result.params, dataset.train)
    np.testing.assert_allclose(result.metrics.train_loss, [expected] * 2, rtol=1e-5)


def replay(dataset, config, hyper):
    """Two epochs by hand: the order of each from `data_seed`, the noise from the run's key."""
    init_key, noise_key = jax.random.split(KEY)
    params = jaxmlp.init_params(init_key, (5, *config.hidden, 2))
    steps, orders = 0, []
    make_batch = jax.jit(training_batch, static_argnums=(5, 6))  # op by op it compiles for long
    for epoch in range(config.epochs):
        epoch_key = jax.random.fold_in(jax.random.key(config.data_seed), epoch)
        orders.append(np.asarray(jax.random.permutation(epoch_key, 35)))
        for start in range(0, 35, config.batch_size):
            rows = jnp.asarray(orders[-1][start : start + config.batch_size])
            key = jax.random.fold_in(noise_key, steps)
            batch = make_batch(key, hyper, dataset.train, rows, 1.0, 2, config)
            if steps == 0:
                first = params, batch
            grad = jaxmlp.manual_grad(params, batch)
            params = jax.tree.map(lambda p, g: p - hyper.learning_rate * g, params, grad)
            steps += 1
    assert not np.array_equal(orders[0], orders[1])
    return params, first


@pytest.mark.parametrize("data_seed", [3, 0] if LONG else [3])
def test_a_run_replayed_by_hand(dataset, data_seed):
    """Every epoch has its own order, every step its own noise, and the first batch is the first."""
    config = replace(CONFIG, epochs=2, augmentation="mixup", data_seed=data_seed)
    hyper = PLAIN._replace(momentum=0.0)
    params, first = replay(dataset, config, hyper)
    assert_same(train(KEY, hyper, dataset, config=config).params, params, rtol=1e-4, atol=1e-5)
    assert_same(first_batch(KEY, hyper, dataset, config), first, rtol=1e-6)


def test_keys_share_their_batches(dataset):
    (params, batch), (other_params, other_batch) = (
        first_batch(jax.random.key(seed), PLAIN, dataset, CONFIG) for seed in (0, 1)
    )
    assert_same(batch, other_batch, rtol=0)
    assert not np.array_equal(params[0].weight, other_params[0].weight)
    other = first_batch(KEY, PLAIN, dataset, replace(CONFIG, data_seed=1))[1]
    assert not np.array_equal(batch.x, other.x)


def test_compiles_once(dataset):
    compiled: Any = run_epoch
    compiled.clear_cache()
    train(KEY, PLAIN, dataset, config=CONFIG)
    assert compiled._cache_size() == 1
    train(jax.random.key(7), PLAIN._replace(learning_rate=0.3), dataset, config=CONFIG)
    train(KEY, PLAIN, dataset, config=replace(CONFIG, data_seed=5))
    assert compiled._cache_size() == 1
    train(KEY, PLAIN, dataset, config=replace(CONFIG, activation="tanh"))
    assert compiled._cache_size() == 2


@pytest.mark.parametrize("activation", ["gelu", "relu"] if LONG else ["gelu"])
def test_manual_and_autodiff_train_alike(dataset, activation):
    config = replace(CONFIG, activation=activation, optimizer="adam")
    manual = train(KEY, PLAIN, dataset, config=config)
    autodiff = train(KEY, PLAIN, dataset, config=replace(config, gradient="autodiff"))
    assert_same(manual, autodiff, rtol=1e-3, atol=1e-4)
    assert manual.metrics.train_loss[-1] < manual.metrics.train_loss[0]


def test_vmap_over_keys_and_learning_rates(dataset):
    rates = jnp.asarray([0.05, 0.2])
    keys = jax.random.split(KEY, 2)
    together = jax.vmap(
        lambda key, rate: train(key, PLAIN._replace(learning_rate=rate), dataset, config=CONFIG)
    )(keys, rates)
    for trial in range(2):
        hyper = PLAIN._replace(learning_rate=rates[trial])
        alone = train(keys[trial], hyper, dataset, config=CONFIG)
        row = jax.tree.map(lambda leaf, trial=trial: leaf[trial], together)
        assert_same(row, alone, rtol=1e-4, atol=1e-5)


def test_jit_of_a_whole_run(dataset):
    whole = jax.jit(lambda key: train(key, PLAIN, dataset, config=CONFIG))(KEY)
    assert_same(whole, train(KEY, PLAIN, dataset, config=CONFIG), rtol=1e-4, atol=1e-5)


def test_on_epoch_hears_every_epoch(dataset):
    heard = []
    result = train(KEY, PLAIN, dataset, config=CONFIG, on_epoch=lambda *call: heard.append(call))
    assert [epoch for epoch, _ in heard] == [1, 2, 3]
    assert_same(
        [metrics.validation_loss for _, metrics in heard], list(result.metrics.validation_loss)
    )
    batch = dataset.validation
    np.testing.assert_allclose(
        result.metrics.validation_loss[-1], jaxmlp.loss(result.params, batch), rtol=1e-5
    )
    assert result.metrics.validation_accuracy[-1] == jaxmlp.accuracy(result.params, batch)


def test_eight_bit_pixels_train_like_real_ones():
    rng = np.random.default_rng(1)
    arrays = rng.integers(0, 256, (30, 5)), rng.integers(0, 2, 30)
    runs = [
        train(
            KEY,
            PLAIN,
            jaxmlp.split_dataset(*arrays, *arrays, uint8=uint8),
            config=replace(CONFIG, optimizer="sgd"),
        )
        for uint8 in (True, False)
    ]
    assert_same(*runs, rtol=1e-4, atol=1e-6)


def test_without_hidden_layers_and_without_bias(dataset):
    result = train(KEY, PLAIN, dataset, config=replace(CONFIG, hidden=(), bias=False))
    (layer,) = result.params
    assert layer.weight.shape == (5, 2)
    assert layer.bias is None


STEPS = 5 * 5  # 35 examples in batches of 8, five times
SCHEDULES = {
    "constant": lambda rate: rate,
    "cosine": lambda rate: optax.cosine_decay_schedule(rate, STEPS),
    "invscaling": lambda rate: lambda count: rate / (count // 5 * 35 + 1) ** 0.3,
    "warmup_cosine": lambda rate: optax.warmup_cosine_decay_schedule(rate / 2, rate, 2, STEPS),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam", "adamw"])
def test_optimizers_are_those_of_optax(name, schedule):
    """Weights decay, biases do not; the schedule spans the whole run."""
    hyper = Hyperparams(
        learning_rate=0.1, momentum=0.8, weight_decay=0.01, beta2=0.9, epsilon=0.01, power=0.3
    )
    params = jaxmlp.init_params(KEY, (3, 2))
    params = tuple(layer._replace(bias=jnp.ones(2)) for layer in params)
    rate = SCHEDULES[schedule](0.1)
    theirs = {
        "sgd": optax.sgd(rate, momentum=0.8),
        "nesterov": optax.sgd(rate, momentum=0.8, nesterov=True),
        "adam": optax.adam(rate, b1=0.8, b2=0.9, eps=0.01),
        "adamw": optax.adamw(
            rate,
            b1=0.8,
            b2=0.9,
            eps=0.01,
            weight_decay=0.01,
            mask=lambda p: jax.tree.map(lambda a: a.ndim == 2, p),
        ),
    }[name]
    ours = make_optimizer(hyper, replace(CONFIG, optimizer=name, schedule=schedule, epochs=5), 35)
    our_state, their_state = ours.init(params), theirs.init(params)
    mine = yours = params
    for step in range(STEPS):
        grad = jax.tree.map(lambda leaf, step=step: jnp.cos(leaf + step), mine)
        decayed = grad
        if name != "adamw":
            decayed = jax.tree.map(lambda g, p: g + 0.01 * p * (p.ndim == 2), grad, mine)
        updates, our_state = ours.update(grad, our_state, mine)
        mine = optax.apply_updates(mine, updates)
        updates, their_state = theirs.update(decayed, their_state, yours)
        yours = optax.apply_updates(yours, updates)
        assert_same(mine, yours, rtol=1e-5, atol=1e-6)


PART = Batch(jnp.arange(12, dtype=jnp.float32).reshape(4, 3), jnp.asarray([0, 1, 2, 1]))
ROWS = jnp.asarray([2, 0, 3])


def test_label_smoothing():
    hyper = Hyperparams(label_smoothing=0.3)
    batch = training_batch(KEY, hyper, PART, ROWS, 1.0, 3, CONFIG)
    np.testing.assert_array_equal(batch.x, PART.x[ROWS])
    expected = 0.7 * np.eye(3)[[2, 0, 1]] + 0.1
    np.testing.assert_allclose(batch.labels, expected, rtol=1e-6)
    # rows that do not sum to one keep their sum
    part = PART._replace(labels=jnp.asarray([[2.0, 0, 0]] * 4))
    batch = training_batch(KEY, hyper, part, ROWS, 1.0, 3, CONFIG)
    np.testing.assert_allclose(batch.labels, [[1.6, 0.2, 0.2]] * 3, rtol=1e-6)


def test_mixup_mixes_inputs_and_labels_alike():
    config = replace(CONFIG, augmentation="mixup")
    hyper = Hyperparams(label_smoothing=0.0, mixup_alpha=1.0)
    x, y = training_batch(KEY, hyper, PART, ROWS, 1.0, 3, config)
    own, other = np.asarray([2, 0, 3]), np.asarray([3, 2, 0])
    share = (x - PART.x[other])[:, :1] / (PART.x[own] - PART.x[other])[:, :1]
    assert ((share >= 0) & (share <= 1)).all()
    assert len(np.unique(share)) == 3
    rows = np.eye(3)[PART.labels]
    np.testing.assert_allclose(x, share * PART.x[own] + (1 - share) * PART.x[other], rtol=1e-5)
    np.testing.assert_allclose(y, share * rows[own] + (1 - share) * rows[other], atol=1e-6)
    again = training_batch(jax.random.key(1), hyper, PART, ROWS, 1.0, 3, config)
    assert not np.array_equal(x, again.x)


def test_mixup_with_the_smallest_alpha_is_finite():
    config = replace(CONFIG, augmentation="mixup")
    hyper = Hyperparams(mixup_alpha=1e-3)
    keys = jax.random.split(KEY, 200)
    batches = jax.vmap(lambda key: training_batch(key, hyper, PART, ROWS, 1.0, 3, config))(keys)
    assert jnp.isfinite(batches.x).all()


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"epochs": 3}}, "config is a dict: give a jaxmlp.Config"),
        ({"dataset": None}, "dataset is a NoneType: give a jaxmlp.Dataset"),
        ({"hyper": PLAIN._replace(learning_rate=-1.0)}, "learning_rate is -1.0"),
        ({"key": 0}, "key is a int: give jax.random.key"),
        ({"key": jnp.zeros(2, jnp.uint32)}, "give jax.random.key"),
    ],
)
def test_refuses(dataset, change, message):
    arguments = {"key": KEY, "hyper": PLAIN, "dataset": dataset, "config": CONFIG} | change
    with pytest.raises(ValueError, match=message):
        train(**arguments)
