"""Sweeps of what people train with other libraries: Flax NNX, Equinox, optax."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxmlp import sweep
from jaxmlp.sweeps import Task, best, replay, state_at

nnx: Any = pytest.importorskip("flax.nnx", reason="Flax comes with the extra `peers`")
eqx: Any = pytest.importorskip("equinox", reason="Equinox comes with the extra `peers`")

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("as_users_see_it", "as_people_run_it")]

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(48, 6, 6, 1)).astype(np.float32)
CLASSES = (IMAGES[:, :3].sum(axis=(1, 2, 3)) > IMAGES[:, 3:].sum(axis=(1, 2, 3))).astype(np.int32)
SERIES = RNG.normal(size=(40, 7, 2)).astype(np.float32)
SUMS = SERIES[..., 0].sum(axis=1)
GRID = {"rate": [0.003, 0.01, 0.03], "seed": [0, 1]}


class Convolution(nnx.Module):
    """A convolution, batch norm and dropout, on small images."""

    def __init__(self, rngs):
        self.convolution = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.2, rngs=rngs)
        self.out = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        h = nnx.relu(self.norm(self.convolution(x)))
        return self.out(self.drop(h.mean(axis=(1, 2))))


def image_loss(model, rows):
    logits = model(IMAGES[rows])
    return optax.softmax_cross_entropy_with_integer_labels(logits, CLASSES[rows]).mean()


def init_images(key, hyper, static):
    module, state = nnx.split(Convolution(nnx.Rngs(key)))
    params = nnx.filter_state(state, nnx.Param)
    return module, state, optax.adam(hyper["rate"]).init(params)


def epoch_images(state, hyper, key, epoch, static):
    module, state, kept = state
    model = nnx.merge(module, state)
    value, grads = nnx.value_and_grad(image_loss)(model, slice(36))
    params = nnx.state(model, nnx.Param)
    changes, kept = optax.adam(hyper["rate"]).update(grads, kept, params)
    nnx.update(model, optax.apply_updates(params, changes))
    held = nnx.merge(*nnx.split(model))
    held.eval()
    metrics = {"loss": value, "held": image_loss(held, slice(36, None))}
    return (module, nnx.state(model), kept), metrics


class Recurrent(eqx.Module):
    """A GRU over a series, and a linear layer."""

    cell: Any
    drop: Any
    out: Any

    def __init__(self, width, key):
        one, other = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(2, width, key=one)
        self.drop = eqx.nn.Dropout(0.1)
        self.out = eqx.nn.Linear(width, 1, key=other)

    def __call__(self, series, key):
        start = jnp.zeros(self.cell.hidden_size)
        last, _ = jax.lax.scan(lambda h, x: (self.cell(x, h), None), start, series)
        return self.out(self.drop(last, key=key))[0]


def series_loss(model, rows, key):
    keys = jax.random.split(key, len(SUMS[rows]))
    return jnp.mean((jax.vmap(model)(SERIES[rows], keys) - SUMS[rows]) ** 2)


def init_series(key, hyper, static):
    model = Recurrent(hyper["width"], key)
    return model, optax.adam(hyper["rate"]).init(eqx.filter(model, eqx.is_inexact_array))


def epoch_series(state, hyper, key, epoch, static):
    model, kept = state
    value, grads = eqx.filter_value_and_grad(series_loss)(model, slice(30), key)
    changes, kept = optax.adam(hyper["rate"]).update(grads, kept)
    model = eqx.apply_updates(model, changes)
    held = series_loss(eqx.nn.inference_mode(model), slice(30, None), key)
    return (model, kept), {"loss": value, "held": held}


TASKS = {
    "Flax NNX": (Task(init_images, epoch_images), GRID, None),
    "Equinox": (Task(init_series, epoch_series), {**GRID, "width": [3, 5]}, {"width"}),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_trial_is_what_it_is_alone(name, tmp_path):
    task, space, untraced = TASKS[name]
    settings = {"epochs": 6, "objective": "held", "at_once": 4}
    table = sweep(space, task, **settings)
    assert (untraced or set()) == {*table.attrs["untraced"].split('"')[1:2]} - {""}
    assert np.isfinite(table.held.values).all()
    fast = table.loss.isel(rate=-1)
    assert (fast.isel(epoch=-1) < fast.isel(epoch=0)).all()
    point = {axis: table[axis].values[-1].item() for axis in space}
    found = replay(table, point, task)
    assert found.difference < 1e-3, found
    chosen = {**best(table).setting, "seed": 0}
    state = state_at(table, chosen, task)
    assert jax.tree.structure(state) == jax.tree.structure(state_at(table, chosen, task))

    def interrupt(now):
        if now.share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(space, task, out=tmp_path, on_progress=interrupt, **settings)
    assert sweep(space, task, out=tmp_path, **settings).identical(table)
