"""Sweeps of anybody's training: the contract, what is traced, resuming, and what is refused."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmlp import Config, sweep
from jaxmlp.sweeps import Task, best, choice, ensemble, loguniform, params_at, replay, state_at
from jaxmlp.sweeps.contract import BOUND
from jaxmlp.sweeps.ranking import rows_of
from jaxmlp.sweeps.task_training import task_space
from tests.strategies import tiny_dataset

pytestmark = pytest.mark.usefixtures("as_users_see_it", "as_people_run_it")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)).astype(np.float32)
Y = (X @ np.asarray([1.0, -2.0, 0.5]) + 0.1 * RNG.normal(size=60)).astype(np.float32)
TRAIN, HELD = (X[:40], Y[:40]), (X[40:], Y[40:])


def squared(w, part):
    return jnp.mean((part[0] @ w - part[1]) ** 2)


def init_line(key, hyper, static):
    return hyper.get("scale", 1.0) * jax.random.normal(key, (3,))


def epoch_line(w, hyper, key, epoch, static):
    w = w - hyper["rate"] * jax.grad(squared)(w, TRAIN)
    return w, {"train_loss": squared(w, TRAIN), "validation_loss": squared(w, HELD)}


LINE = Task(init_line, epoch_line)
GRID = {"rate": [0.01, 0.1, 0.3], "seed": range(3)}
OF_LINE = {"epochs": 5, "objective": "validation_loss"}


def init_network(key, hyper, static):
    """A network with dropout, by optax, that keeps its own key, its steps, and a function."""
    shapes = (3, hyper["width"]), (hyper["width"],)
    params = [jax.random.normal(key, shape) for shape in shapes]
    return {
        "params": params,
        "optimizer": optimizer_of(hyper).init(params),
        "key": jax.random.fold_in(key, 7),
        "steps": 0,
        "activation": {"tanh": jnp.tanh, "relu": jax.nn.relu}[hyper["activation"]],
    }


def optimizer_of(hyper):
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(hyper["rate"]))


def epoch_network(state, hyper, key, epoch, static):
    kept = jax.random.bernoulli(jax.random.fold_in(state["key"], epoch), 1 - hyper["drop"], (40, 1))

    def loss(params, part, mask):
        hidden = state["activation"](part[0] @ params[0]) * mask
        return jnp.mean((hidden @ params[1] - part[1]) ** 2)

    value, grads = jax.value_and_grad(loss)(state["params"], TRAIN, kept)
    changes, optimizer = optimizer_of(hyper).update(grads, state["optimizer"], state["params"])
    params = optax.apply_updates(state["params"], changes)
    after = {**state, "params": params, "optimizer": optimizer, "steps": state["steps"] + 1}
    noise = jax.random.normal(key, ())
    return after, {"loss": value, "held": loss(params, HELD, 1.0), "noise": noise}


NETWORK = Task(init_network, epoch_network)
OF_NETWORK = {"rate": 0.01, "width": 4, "activation": "tanh", "drop": 0.1}


def space_of(space, task, *, hyper=None, objective="validation_loss"):
    return task_space(space, task, hyper, 0, 3, objective, "min", trials=None, draw_seed=0)


def by_hand(task, hyper, seed, epochs):
    """A trial as its own loop."""
    root = jax.random.key(seed, impl="threefry2x32")
    state, curves = task.init(jax.random.fold_in(root, 1), hyper, {}), []
    for epoch in range(epochs):
        key = jax.random.fold_in(jax.random.fold_in(root, 2), epoch)
        state, metrics = task.epoch(state, hyper, key, epoch, {})
        curves.append({name: float(value) for name, value in metrics.items()})
    return state, {name: [each[name] for each in curves] for name in curves[0]}


def test_every_trial_is_its_own_loop():
    table = sweep(GRID, LINE, keep="all", **OF_LINE)
    assert {**table.sizes} == {"rate": 3, "seed": 3, "epoch": 5}
    for rate in GRID["rate"]:
        for seed in GRID["seed"]:
            state, curves = by_hand(LINE, {"rate": rate}, seed, 5)
            row = table.sel(rate=rate, seed=seed)
            for name, curve in curves.items():
                np.testing.assert_allclose(row[name].values, curve, rtol=BOUND)
            found = state_at(table, {"rate": rate, "seed": seed}, LINE)
            np.testing.assert_allclose(found, state, rtol=BOUND)
    again = replay(table, {"rate": 0.1, "seed": 1}, LINE)
    assert again.holds
    assert again.metrics.keys() == {"train_loss", "validation_loss"}
    assert str(again).endswith("at the most")


def test_a_network_with_keys_counters_functions_and_an_optimizer():
    space = {"rate": [0.01, 0.1], "activation": ["tanh", "relu"], "width": [4, 6], "seed": [0, 5]}
    table = sweep(space, NETWORK, hyper=OF_NETWORK, epochs=3, objective="held", keep="all")
    for activation in ("tanh", "relu"):
        point = {"rate": 0.1, "activation": activation, "width": 6, "seed": 5}
        hyper = {**OF_NETWORK, **{name: point[name] for name in point if name != "seed"}}
        state, curves = by_hand(NETWORK, hyper, 5, 3)
        row = table.sel(point)
        for name, curve in curves.items():
            np.testing.assert_allclose(row[name].values, curve, rtol=BOUND)
        found = state_at(table, point, NETWORK)
        assert jax.tree.structure(found) == jax.tree.structure(state)
        assert found["activation"] is state["activation"]
        assert (found["key"], int(found["steps"])) == (state["key"], 3)
        for one, other in zip(jax.tree.leaves(found["params"]), state["params"], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3)


def test_numbers_are_traced_unless_they_make_shapes():
    space = {"rate": [0.01, 0.1], "activation": ["tanh", "relu"], "width": [4, 6]}
    found, training = space_of(space, NETWORK, hyper=OF_NETWORK, objective="held")
    assert {*training.reading.traced} == {"rate", "drop"}
    assert {*training.reading.untraced} == {"width"}
    assert "Shapes" in training.reading.untraced["width"]
    configs = {training.config_of(trial) for trial in found.trials}
    assert len(configs) == 4  # of two activations and two widths


def test_whole_numbers_stay_whole():
    def epoch(state, hyper, key, epoch, static):
        assert hyper["power"].dtype == jnp.int32
        assert hyper["rate"].dtype == jnp.float32
        return state + 1, {"value": state**2 + hyper["power"] + hyper["rate"]}

    task = Task(lambda *_: jnp.zeros(()), epoch)
    table = sweep({"power": [1, 2], "rate": [1, 0.5]}, task, epochs=2)
    assert table.value.values[..., 0].tolist() == [[2, 1.5], [3, 2.5]]


class Numbers(NamedTuple):
    rate: float = 0.1
    name: str = "a"


@dataclasses.dataclass(frozen=True)
class Settings:
    rate: float = 0.1
    name: str = "a"


@pytest.mark.parametrize("like", [Numbers(), Settings()])
def test_fields_as_a_record(like):
    def epoch(state, hyper, key, epoch, static):
        assert type(hyper) is type(like)
        assert static == {"name": hyper.name}
        return state + hyper.rate, {"value": state * {"a": 1.0, "b": 2.0}[hyper.name]}

    task = Task(lambda key, hyper, static: jnp.asarray(hyper.rate), epoch)
    table = sweep({"name": ["a", "b"], "rate": [0.5, 1.0]}, task, hyper=like, epochs=2)
    np.testing.assert_allclose(table.value.values[..., 1], [[1.0, 2.0], [2.0, 4.0]])


def test_one_function():
    def train(key, hyper):
        def step(w, _):
            w = w - hyper["rate"] * jax.grad(squared)(w, TRAIN)
            return w, {"loss": squared(w, TRAIN), "held": squared(w, HELD)}

        return jax.lax.scan(step, jax.random.normal(key, (3,)), length=4)[1]

    table = sweep(GRID, train, objective="held")
    assert table.sizes["epoch"] == 4
    for seed in GRID["seed"]:
        root = jax.random.key(seed, impl="threefry2x32")
        curves = train(jax.random.fold_in(root, 1), {"rate": 0.1})
        for name, curve in curves.items():
            np.testing.assert_allclose(
                table[name].sel(rate=0.1, seed=seed).values, curve, rtol=BOUND
            )
    assert best(table).setting == {"rate": 0.3}
    assert replay(table, {"rate": 0.1, "seed": 0}, train).holds
    last = sweep({"rate": [0.1]}, lambda key, hyper: {"loss": hyper["rate"] ** 2})
    assert last.loss.values.tolist() == [[np.float32(0.1) ** 2]]


@pytest.mark.parametrize(("mode", "chosen"), [("min", 0.3), ("max", 0.01)])
def test_the_best_by_any_metric(mode, chosen):
    table = sweep(GRID, LINE, epochs=5, objective="train_loss", mode=mode)
    found = best(table)
    assert found.setting == {"rate": chosen}
    assert str(found).startswith(f"rate={chosen}: train loss ")
    assert state_at(table, {"rate": chosen, "seed": 2}, LINE).shape == (3,)
    with pytest.raises(ValueError, match="does not hold the state"):
        state_at(table, {"rate": 0.1, "seed": 2}, LINE)
    assert rows_of(table)[0].names["rate"] == chosen


def test_draws_and_settings():
    drawn = {"rate": loguniform(1e-3, 0.3), "scale": choice([0.5, 1.0])}
    table = sweep(drawn, LINE, trials=4, **OF_LINE)
    assert {"trial", "rate", "scale"} <= {*table.coords}
    named = sweep([{"rate": 0.1, "name": "slow"}, {"rate": 0.3}], LINE, **OF_LINE)
    assert named.setting.values.tolist() == ["slow", "rate=0.3"]
    long = sweep({"epochs": [2, 4]}, LINE, hyper={"rate": 0.1}, **OF_LINE)
    assert long.trained.values.tolist() == [2, 4]


@given(bad=st.sampled_from([float("nan"), float("inf")]), where=st.integers(0, 3))
def test_a_lane_that_is_not_finite_leaves_the_others_alone(bad, where):
    def epoch(w, hyper, key, epoch, static):
        w, metrics = epoch_line(w, hyper, key, epoch, static)
        poison = jnp.where((hyper["bad"] > 0) & (epoch == 2), bad, 0.0)
        return w + poison, {name: value + poison for name, value in metrics.items()}

    task, spoiled = Task(init_line, epoch), [0.0, 0.0, 0.0, 0.0]
    rates = [0.1, 0.11, 0.12, 0.13]
    spoiled[where] = 1.0
    tables = [
        sweep([{"rate": r, "bad": b} for r, b in zip(rates, each, strict=True)], task, **OF_LINE)
        for each in ([0.0] * 4, spoiled)
    ]
    losses = [table.validation_loss.values for table in tables]
    others = [place for place in range(4) if place != where]
    np.testing.assert_array_equal(losses[0][others], losses[1][others])
    assert tables[1].diverged.values.tolist() == [3 * (place == where) for place in range(4)]
    assert best(tables[1]).fields["bad"] == 0.0


def test_a_table_is_a_file(tmp_path):
    import xarray as xr

    table = sweep(GRID, LINE, **OF_LINE)
    table.to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as read:
        assert str(best(read)) == str(best(table))
        found, state = (state_at(each, {"rate": 0.3, "seed": 0}, LINE) for each in (read, table))
        np.testing.assert_array_equal(found, state)
        assert replay(read, {"rate": 0.3, "seed": 0}, LINE).holds


@pytest.mark.parametrize("halving", [None, 2])
@pytest.mark.parametrize("stop", [0.3, 0.6])
def test_a_sweep_that_was_stopped_goes_on_to_the_byte(tmp_path, halving, stop):
    calls = []

    def interrupt(now):
        calls.append(now)
        if now.share > stop:
            raise KeyboardInterrupt

    space = {"rate": [0.01, 0.1, 0.2, 0.3], "width": [3, 4]}
    settings = {"epochs": 4, "objective": "held", "hyper": OF_NETWORK, "halving": halving}
    whole = sweep(space, NETWORK, at_once=2, **settings)
    with pytest.raises(KeyboardInterrupt):
        sweep(space, NETWORK, at_once=2, out=tmp_path, on_progress=interrupt, **settings)
    again = sweep(space, NETWORK, at_once=2, out=tmp_path, **settings)
    assert whole.identical(again)
    calls.clear()
    done = sweep(space, NETWORK, at_once=2, out=tmp_path, on_progress=calls.append, **settings)
    assert done.identical(whole)
    assert not calls  # nothing is left to do


def test_a_folder_is_for_one_task(tmp_path):
    sweep(GRID, LINE, out=tmp_path, **OF_LINE)
    other = Task(init_line, lambda *given: (epoch_line(*given)[0], {"validation_loss": 1.0}))
    with pytest.raises(ValueError, match="another sweep"):
        sweep(GRID, other, out=tmp_path, **OF_LINE)


def test_arrays_outside_are_arguments():
    """And not constants, which every program would hold again."""
    _, training = space_of(GRID, LINE)
    (program,) = training.reading.programs.values()
    assert sorted({np.shape(each) for each in program.constants[1]}) == [
        (20,),
        (20, 3),
        (40,),
        (40, 3),
    ]


def test_a_state_that_does_not_move_is_said():
    task = Task(init_line, lambda w, *_: (w, {"loss": squared(w, TRAIN)}))
    with pytest.warns(UserWarning, match="returns the state that it was given"):
        sweep(GRID, task, epochs=2)


def test_what_goes_from_trial_to_trial_is_said():
    @jax.custom_batching.custom_vmap
    def leaking(w):
        return w

    @leaking.def_vmap
    def _(size, batched, w):
        del size, batched
        return jnp.broadcast_to(w.mean(axis=0), w.shape), True

    def epoch(w, *given):
        return epoch_line(leaking(w), *given)

    with pytest.warns(UserWarning, match="something goes from trial to trial"):
        sweep(GRID, Task(init_line, epoch), **OF_LINE)


def with_epoch(change: Any) -> Task:
    return Task(init_line, lambda w, *given: change(*epoch_line(w, *given)))


REFUSED: list[tuple[Any, Any, dict[str, Any], str]] = [
    (GRID, LINE, {"epochs": None}, "epochs is None"),
    (GRID, LINE, {"mode": "most"}, "mode is 'most': give one of min, max"),
    (
        GRID,
        LINE,
        {"objective": None},
        "objective is not given: give one of train_loss, val",
    ),
    (GRID, LINE, {"objective": "loss"}, "objective is 'loss': give one of train_loss"),
    (GRID, LINE, {"config": Config()}, "config is for networks"),
    (GRID, LINE, {"hyper": {"rat": 0.1}}, "unknown field 'rate': did you mean rat"),
    (GRID, LINE, {"hyper": 3}, "hyper is a int: give a dict"),
    ({"rate": [float("nan"), 0.1]}, LINE, {}, "rate is nan: give a number"),
    ({"rate": [0.1], "kind": [1, "1"]}, LINE, {}, "kind holds two values that are called '1'"),
    ({"rate": [loguniform(1e-3, 1), 0.1]}, LINE, {}, "rate is a draw among other values"),
    ({"rate": [print]}, LINE, {}, "rate is <built-in function print>: give numbers, text"),
    ({"rate": [0.1], "epoch": [1]}, LINE, {}, "a field epoch, which means something else"),
    ({"a b": [0.1]}, LINE, {}, "a field is called 'a b'"),
    ([{"rate": 0.1}, {"scale": 0.1}], LINE, {}, "scale has no value in some trial"),
    ({"rate": [0.1], "train_loss": [1.0]}, LINE, {}, "train_loss is a metric and a field"),
    (GRID, 3, {}, "dataset is a int: give a jaxmlp.Dataset, a Task, or a function"),
    (GRID, lambda key, hyper: {"a": jnp.zeros(2)}, {}, "epochs is 5, but a function"),
    (GRID, with_epoch(lambda w, m: w), {}, "epoch returns a .*: return .state, metrics."),
    (GRID, with_epoch(lambda w, m: (w, {})), {}, "the metrics are {}: return a dict"),
    (GRID, with_epoch(lambda w, m: (w, {"loss": w})), {}, r"loss has shape \(3,\): return a sca"),
    (GRID, with_epoch(lambda w, m: (w, {"a b": 1.0})), {}, "a metric is called 'a b'"),
    (GRID, with_epoch(lambda w, m: (w, {"seed": 1.0})), {}, "a metric is called seed, which mea"),
    (GRID, with_epoch(lambda w, m: (w, {"c": 1j})), {}, "c has dtype complex64: return a real"),
    (
        GRID,
        with_epoch(lambda w, m: (w[:2], m)),
        {},
        r"float32\[3\] after init, but ",
    ),
    (GRID, with_epoch(lambda w, m: ([w, w], m)), {}, "another tree than init made"),
    (GRID, Task(lambda *_: {}["w"], epoch_line), {}, "init raised KeyError at test_tasks.py, line"),
    (GRID, Task(init_line, lambda *_: 1 / 0), {}, "epoch raised ZeroDivisionError at test_tasks"),
]


@pytest.mark.parametrize(("space", "task", "settings", "message"), REFUSED)
def test_refuses(space, task, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        sweep(space, task, **{**OF_LINE, **settings})
    assert "\n" not in str(caught.value)


def test_tables_of_networks_and_of_tasks_are_told_apart():
    dataset, of_line = tiny_dataset(), sweep({"rate": [0.1]}, LINE, **OF_LINE)
    of_network = sweep({"seed": [0]}, dataset, config=Config(hidden=(3,), epochs=1))
    for use, message in (
        (lambda: state_at(of_network, {"seed": 0}, LINE), "of networks, not of a task"),
        (lambda: replay(of_network, {"seed": 0}, LINE), "of networks, not of a Task"),
        (lambda: replay(of_line, {"rate": 0.1}, dataset), "of a task, not of a Dataset"),
        (lambda: replay(of_line, {"rate": 0.1}, NETWORK), "init raised|another task"),
        (lambda: ensemble(of_line, {"rate": 0.1}, dataset), "of a task"),
        (lambda: params_at(of_line, {"rate": 0.1}), "of a task"),
        (lambda: sweep(GRID, dataset, epochs=3), r"epochs is 3, which is for tasks: give Config\("),
    ):
        with pytest.raises(ValueError, match=message):
            use()


def by_name(*, of_a, of_b):
    """An epoch whose metrics depend on a field that is no number."""

    def epoch(w, hyper, key, epoch, static):
        w, metrics = epoch_line(w, {"rate": 0.1}, key, epoch, static)
        return w, (of_a if hyper["kind"] == "a" else of_b)(metrics)

    return Task(init_line, epoch)


def test_metrics_go_by_name():
    turned = by_name(of_a=dict, of_b=lambda m: dict([*m.items()][::-1]))
    table = sweep({"kind": ["a", "b"]}, turned, **OF_LINE)
    for name in ("train_loss", "validation_loss"):
        np.testing.assert_array_equal(table[name].sel(kind="a"), table[name].sel(kind="b"))
    assert replay(table, {"kind": "b"}, turned).difference < BOUND
    fewer = by_name(of_a=dict, of_b=lambda m: {"validation_loss": m["validation_loss"]})
    with pytest.raises(ValueError, match=r"the metrics .* with kind='.', but .* otherwise"):
        sweep({"kind": ["a", "b"]}, fewer, **OF_LINE)


def test_functions_have_as_many_epochs_in_all_trials():
    def train(key, hyper):
        return {"loss": jnp.arange(hyper["steps"]) * hyper["rate"]}

    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(4,\): return as many epochs"):
        sweep({"steps": [2, 4], "rate": [0.1]}, train)
    with pytest.raises(ValueError, match="epochs is swept, but a function"):
        sweep({"epochs": [2, 4]}, lambda key, hyper: {"loss": jnp.zeros(3)})


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, lambda f: jax.checkpoint(jax.jit(f))])
def test_other_data_and_other_branches_are_other_tasks(tmp_path, wrap):
    def task(factor, of_b=0.5):
        @wrap
        def total(w):
            return jnp.sum((factor * X @ w) ** 2)

        def epoch(w, hyper, key, epoch, static):
            return w * (0.9 if hyper["kind"] == "a" else of_b), {"loss": total(w)}

        return Task(init_line, epoch)

    space = {"kind": ["a", "b"]}
    table = sweep(space, task(1.0), epochs=2, out=tmp_path)
    for other in (task(10.0), task(1.0, of_b=0.1)):
        with pytest.raises(ValueError, match="another sweep"):
            sweep(space, other, epochs=2, out=tmp_path)
        with pytest.raises(ValueError, match="another task, or of other data"):
            state_at(table, {"kind": "b"}, other)
    assert replay(table, {"kind": "b"}, task(1.0)).holds
    assert replay(table.sel(kind=["b"]), {"kind": "b"}, task(1.0)).holds


def test_a_state_with_nan_is_never_the_best():
    def epoch(w, hyper, key, epoch, static):
        w = w * jnp.where(hyper["rate"] > 1, jnp.nan, 0.9)
        return w, {"error": jnp.mean(jnp.argmax(jnp.stack([w, -w]), axis=0))}

    task = Task(lambda *_: -jnp.ones(3), epoch)
    table = sweep({"rate": [0.5, 2.0]}, task, epochs=2)
    assert table.diverged.values.tolist() == [0, 1]
    assert best(table).setting == {"rate": 0.5}


def test_large_whole_numbers_are_kept():
    def train(key, hyper):
        return {"loss": jax.random.uniform(jax.random.fold_in(jax.random.key(0), hyper["salt"]))}

    salts = [3735928559, 3735928560, 5]
    table = sweep({"salt": salts}, train)
    expected = [train(None, {"salt": jnp.uint32(salt)})["loss"] for salt in salts]
    np.testing.assert_array_equal(table.loss.values[:, 0], expected)
    assert sweep({"salt": [123456789, 123456790]}, train).sizes["salt"] == 2
    huge = sweep({"n": [2**40 + 3]}, lambda key, hyper: {"loss": jnp.float32(hyper["n"] % 10)})
    assert huge.loss.item() == (2**40 + 3) % 10


@pytest.mark.parametrize(
    ("first", "later", "message"),
    [
        ({"w": 0.0}, {"v": 0.0}, r"another tree than init made, they differ in \['v'\], \['w'\]"),
        ({"w": "warm"}, {"w": "hot"}, r"state\['w'\] is 'warm' after init, but 'hot' after epoch"),
    ],
)
def test_a_state_of_another_tree(first, later, message):
    task = Task(lambda *_: first, lambda *_: (later, {"loss": 1.0}))
    with pytest.raises(ValueError, match=message):
        sweep({"rate": [0.1]}, task, epochs=1)


@pytest.mark.parametrize("like", [Numbers(), Settings()])
def test_records_are_given_again(like):
    task = Task(init_line, lambda w, h, *rest: epoch_line(w, {"rate": h.rate}, *rest))
    task = task._replace(init=lambda key, hyper, static: jnp.full(3, hyper.rate))
    table = sweep({"rate": [0.1, 0.2]}, task, hyper=like, **OF_LINE)
    with pytest.raises(ValueError, match="as a record: give hyper="):
        replay(table, {"rate": 0.1}, task)
    assert replay(table, {"rate": 0.1}, task, hyper=like).holds
    assert state_at(table, best(table).setting, task, hyper=like).shape == (3,)


def test_values_of_several_kinds(tmp_path):
    import xarray as xr

    def train(key, hyper):
        assert hyper["layers"] in (16, (32, 16), ((3, 4), (5, 6)), None)
        return {"loss": jax.random.uniform(key)}

    table = sweep({"layers": [16, (32, 16), ((3, 4), (5, 6)), None]}, train)
    assert table.layers.values.tolist() == ["16", "32-16", "(3, 4)-(5, 6)", "None"]
    table.to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as read:
        assert best(read).setting == best(table).setting
        for name in table.layers.values:
            assert replay(read, {"layers": name}, train).holds


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float8_e4m3fn, jnp.float8_e5m2, jnp.int4])
def test_states_of_dtypes_that_files_do_not_know(tmp_path, dtype):
    def epoch(w, hyper, key, epoch, static):
        return (w + 1).astype(dtype), {"loss": w.astype(jnp.float32).sum() * hyper["rate"]}

    task = Task(lambda *_: jnp.zeros(2, dtype), epoch)
    for _ in range(2):
        table = sweep({"rate": [0.5, 1.0]}, task, epochs=2, out=tmp_path, keep="all")
        found = state_at(table, {"rate": 1.0}, task)
        assert (found.dtype, found.tolist()) == (dtype, [2, 2])


def test_rates_are_as_weak_as_python_numbers():
    """So that one program serves all, as the state keeps its dtype."""
    task = Task(
        lambda *_: jnp.ones(2, jnp.bfloat16),
        lambda w, hyper, *_: (w - hyper["rate"] * w, {"loss": w.sum()}),
    )
    _, training = space_of({"rate": [0.1, 0.2]}, task, objective="loss")
    assert not training.reading.untraced
    assert len(training.reading.programs) == 1


def test_what_cannot_be_traced_in_some_trials_alone():
    def epoch(w, hyper, key, epoch, static):
        if hyper["kind"] == "clip" and hyper["most"] > 0:
            w = w.clip(-hyper["most"], hyper["most"])
        return epoch_line(w, {"rate": 0.1}, key, epoch, static)

    space = {"kind": ["plain", "clip"], "most": [0.1, 1.0]}
    _, training = space_of(space, Task(init_line, epoch))
    assert {*training.reading.untraced} == {"most"}
    table = sweep(space, Task(init_line, epoch), **OF_LINE)
    assert replay(table, {"kind": "clip", "most": 0.1}, Task(init_line, epoch)).holds


def test_what_fails_for_some_trials_says_for_which():
    def epoch(w, hyper, key, epoch, static):
        if hyper["kind"] == "b":
            raise RuntimeError("boom")
        return epoch_line(w, {"rate": 0.1}, key, epoch, static)

    with pytest.raises(ValueError, match=r"epoch raised RuntimeError .*: boom \(with kind='b'\)"):
        sweep({"kind": ["a", "b"]}, Task(init_line, epoch), **OF_LINE)


def test_an_optimizer_in_the_state_holds_its_rate():
    """Which then makes a program of its own, as it cannot be traced there."""

    def init(key, hyper, static):
        w = jax.random.normal(key, (3,))
        optimizer = optax.adam(hyper["rate"])
        return {"w": w, "update": optimizer.update, "kept": optimizer.init(w)}

    def epoch(state, hyper, key, epoch, static):
        changes, kept = state["update"](jax.grad(squared)(state["w"], TRAIN), state["kept"])
        w = state["w"] + changes
        return {**state, "w": w, "kept": kept}, {"loss": squared(w, TRAIN)}

    _, training = space_of({"rate": [0.1, 0.2]}, Task(init, epoch), objective="loss")
    assert "make the optimizer again in epoch" in training.reading.untraced["rate"]
    assert len(training.reading.programs) == 2


def test_a_field_called_hidden_and_keys_outside():
    key = jax.random.key(7)

    def train(own, hyper):
        return {"accuracy": 100 * jax.random.uniform(key, (2,)) + hyper["hidden"]}

    from jaxmlp.sweeps.pictures import pictures
    from jaxmlp.sweeps.report import report

    table = sweep({"hidden": [8, 4], "scale_factor": [0.5, 2.0]}, train, mode="max")
    assert "accuracy" in report(table, "a title", best(table))
    for _, figure in pictures(table):
        assert "error" not in figure.get_suptitle()
    assert str(best(sweep({"a": [1e-6]}, lambda key, hyper: {"loss": hyper["a"]}))) == (
        "a=1e-06: loss 1e-06"
    )


def test_counters_may_follow_each_other():
    def epoch(state, hyper, key, epoch, static):
        w, now, before = state
        return (w * hyper["rate"], now + 1, now), {"loss": w, "steps": before}

    table = sweep({"rate": [0.5, 1.0]}, Task(lambda *_: (1.0, 0, 0), epoch), epochs=4, mode="max",
                  objective="steps")  # fmt: skip
    assert table.steps.values[0].tolist() == [0, 0, 1, 2]
    assert table.loss.values[0].tolist() == [1, 0.5, 0.25, 0.125]


def test_a_rate_of_nothing_is_no_mistake():
    """Warnings are errors here."""
    assert sweep({"rate": [0.0, 0.1]}, LINE, **OF_LINE).sizes["rate"] == 2


def test_in_double_precision():
    def train(key, hyper):
        return {"loss": jnp.asarray([hyper["rate"] - 0.1])}

    with jax.enable_x64(True):
        table = sweep({"rate": [0.1, 0.1 + 1e-10]}, train)
        assert table.loss.values[1, 0] == pytest.approx(1e-10, rel=1e-3)
        assert replay(table, {"rate": 0.1}, train).holds
