"""Sweeps: spaces, plans, the contract with `train`, resuming, and what is refused."""

import dataclasses
import errno
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmlp
from jaxmlp import Batch, Config
from jaxmlp.activations import ACTIVATIONS
from jaxmlp.data import fingerprint
from jaxmlp.files import environment, read_tensors, write_tensors
from jaxmlp.params import pad_params
from jaxmlp.results import Metrics, metric_names
from jaxmlp.sweeps import (
    best,
    choice,
    choosing,
    ensemble,
    loguniform,
    params_at,
    replay,
    sweeping,
    uniform,
)
from jaxmlp.sweeps.chunks import Chunks, record_of
from jaxmlp.sweeps.costs import PADDABLE
from jaxmlp.sweeps.halving import best_first, make_rungs, ranks_of, survivors, worth_keeping
from jaxmlp.sweeps.networks import NetworkTraining, sharded_epoch
from jaxmlp.sweeps.plan import CACHED, make_plan
from jaxmlp.sweeps.ranking import rows_of
from jaxmlp.sweeps.reading import space_of, view
from jaxmlp.sweeps.run import mesh
from jaxmlp.sweeps.space import describe, make_space
from jaxmlp.sweeps.table import Chunk, make_table
from tests.strategies import LONG, tiny_dataset

CONFIG = Config(hidden=(6,), epochs=4, batch_size=8)
BOUND = 1e-4  # relative; a trial alone and among others may differ in the last bits of float32


def sweep(*space, **settings):
    """With few sizes of chunks, since each is another program to compile."""
    return jaxmlp.sweep(*space, **{"at_once": 4} | settings)


@pytest.fixture(autouse=True)
def optax_promotes():
    """optax raises a traced β₁ to an integer power, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def dataset():
    return tiny_dataset()


def assert_contract(table, space, dataset, **point):
    """A trial of a sweep has the curves of `train` with the same settings."""
    trial = space.trials[0]
    alone = jaxmlp.train(jax.random.key(trial.seed), trial.hyper, dataset, config=trial.config)
    for name, values in zip(metric_names(trial.config), alone.metrics, strict=True):
        together = table[name].sel(point).values[: trial.config.epochs]
        np.testing.assert_allclose(together, values, rtol=BOUND, atol=1e-6, err_msg=name)


def test_a_grid(dataset):
    table = sweep(
        {"learning_rate": [0.001, 0.1], "hidden": [(3,), (6,)], "seed": range(3)},
        dataset,
        config=CONFIG,
    )
    assert table.train_loss.dims == ("learning_rate", "hidden", "seed", "epoch")
    assert table.train_loss.shape == (2, 2, 3, 4)
    assert list(table.hidden.values) == ["3", "6"]
    assert table.mean("seed").validation_accuracy.shape == (2, 2, 4)
    assert len(table.to_dataframe()) == 48
    assert not table.diverged.any()
    again = replay(table, {"learning_rate": 0.1, "hidden": "3", "seed": 1}, dataset)
    assert again.trial.config.hidden == (3,)
    assert again.difference < BOUND
    with pytest.raises(ValueError, match="the point names"):
        replay(table, {"seed": 1}, dataset)
    with pytest.raises(ValueError, match="is no point of the table: its coordinates are"):
        replay(table, {"learning_rate": 0.2, "hidden": "3", "seed": 1}, dataset)
    for rate, width, seed in ((0.001, 3, 0), (0.1, 3, 2), (0.1, 6, 1)):
        space = make_space({"learning_rate": [rate], "hidden": [(width,)], "seed": [seed]}, CONFIG)
        assert_contract(table, space, dataset, learning_rate=rate, hidden=str(width), seed=seed)


def test_what_is_traced_and_padded_keeps_the_contract(dataset):
    """Weight decay, smoothing and momentum differ, widths are padded, and chunks are uneven."""
    config = Config(hidden=(4, 3), epochs=2, batch_size=8, optimizer="adamw", activation="tanh")
    settings = [
        {"name": "a", "weight_decay": 0.1, "hidden": (4, 3), "label_smoothing": 0.0},
        {"name": "b", "momentum": 0.5, "hidden": (2, 5), "init_scale": 2.0},
        {"name": "c", "hidden": (3, 3)},
    ]
    space = {"setting": settings, "data_seed": [0, 4]}
    table = sweep(space, dataset, config=config, at_once=2)
    plan = make_plan(make_space(space, config), NetworkTraining(dataset), 2)
    assert [bucket.config.hidden for bucket in plan.buckets] == [(4, 5)]
    for setting in settings[1:]:
        one = make_space({"setting": [setting], "data_seed": [4]}, config)
        assert_contract(table, one, dataset, setting=setting["name"], data_seed=4)


@pytest.mark.skipif(not LONG, reason="takes long: set HYPOTHESIS_PROFILE=long")
def test_mixup_has_its_own_noise_in_every_trial(dataset):
    config = Config(hidden=(), epochs=1, batch_size=20, optimizer="sgd", augmentation="mixup")
    space = {"mixup_alpha": [0.2, 1.0]}
    table = sweep(space, dataset, config=config)
    assert_contract(table, make_space({"mixup_alpha": [1.0]}, config), dataset, mixup_alpha=1.0)


def test_static_fields_make_buckets(dataset):
    space = make_space(
        {"batch_size": [5, 8], "epochs": [1, 3], "activation": ["relu", "sigmoid"]}, CONFIG
    )
    plan = make_plan(space, NetworkTraining(dataset))
    assert len(plan.buckets) == 8
    assert set(plan.split_by) == {"batch_size", "epochs", "activation"}
    table = sweep({"epochs": [1, 3], "hidden": [(2,), (4,)]}, dataset, config=Config(batch_size=8))
    assert np.isnan(table.train_loss.sel(epochs=1, epoch=[2, 3])).all()
    assert np.isfinite(table.train_loss.sel(epochs=3)).all()
    assert not table.diverged.any()


def test_widths_share_a_program_where_padding_is_exact(dataset):
    space = {"hidden": [(2,), (5,), (3, 2), ()]}
    for activation in ACTIVATIONS:
        plan = make_plan(
            make_space(space, Config(activation=activation, batch_size=8)), NetworkTraining(dataset)
        )
        found = {bucket.config.hidden for bucket in plan.buckets}
        shared = {(5,), (3, 2), ()}
        assert found == (shared if activation in PADDABLE else shared | {(2,)})
    assert 0 < make_plan(make_space(space, CONFIG), NetworkTraining(dataset)).padding < 1


def test_what_is_trained_at_once_fits_in_the_cache(dataset):
    """On a CPU, unless more is asked for; always at least one trial on each device."""
    space = make_space({"seed": range(1000)}, Config(hidden=(2000,), batch_size=8))
    (bucket,) = make_plan(space, NetworkTraining(dataset)).buckets
    state = 4 * 3 * (5 * 2000 + 2000 + 2000 * 2 + 2)  # of adam
    assert bucket.at_once == jax.device_count() * (CACHED // state)
    (bucket,) = make_plan(space, NetworkTraining(dataset), 900).buckets
    assert bucket.at_once == 900
    wide = make_space({"seed": range(9)}, Config(hidden=(10**6,), batch_size=8))
    assert make_plan(wide, NetworkTraining(dataset)).buckets[0].at_once == jax.device_count()
    (bucket,) = make_plan(space, NetworkTraining(dataset), 900, memory=10 * 2**20).buckets
    assert bucket.at_once == 5 * 2**20 // bucket.bytes_each


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_padding_changes_nothing(activation, bias):
    """The loss and the gradient are those of the network, and the padding's own are 0 (31)."""
    key = jax.random.key(0)
    params = jaxmlp.init_params(key, (3, 2, 4, 2), bias=bias)
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    batch = Batch(jax.random.normal(key, (5, 3)), jnp.asarray([0, 1, 1, 0, 1]))
    padded = pad_params(params, (3, 4, 5, 2))
    gradient = jaxmlp.manual_grad(padded, batch, activation=activation)
    wanted = pad_params(jaxmlp.manual_grad(params, batch, activation=activation), (3, 4, 5, 2))
    close = [
        np.allclose(a, b, rtol=1e-5, atol=1e-6)
        for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(wanted), strict=True)
    ]
    assert all(close) == (activation in PADDABLE)
    np.testing.assert_allclose(
        jaxmlp.loss(padded, batch, activation=activation),
        jaxmlp.loss(params, batch, activation=activation),
        rtol=1e-6,
    )
    with pytest.raises(ValueError, match=r"\(3, 2, 4, 2\) cannot be padded to \(3, 1, 4, 2\)"):
        pad_params(params, (3, 1, 4, 2))


def test_random_search(dataset):
    space = {
        "learning_rate": loguniform(1e-4, 1e-1),
        "momentum": uniform(0.1, 0.9),
        "weight_decay": choice([0.0, 0.1]),
        "seed": [0, 1],
    }
    table = sweep(space, dataset, config=CONFIG, trials=5)
    assert table.train_loss.dims == ("trial", "seed", "epoch")
    rates = table.learning_rate.values
    assert rates.shape == (5,)
    assert ((rates > 1e-4) & (rates < 1e-1)).all()
    assert set(table.weight_decay.values) <= {0.0, 0.1}
    again = make_space(space, CONFIG, trials=5)
    assert [trial.hyper.learning_rate for trial in again.trials[::2]] == list(rates)
    other = make_space(space, CONFIG, trials=5, draw_seed=1)
    assert other.trials[0].hyper.learning_rate != again.trials[0].hyper.learning_rate


def test_one_program_for_all_trials(dataset):
    program = sharded_epoch(mesh())
    program.clear_cache()
    sweep({"learning_rate": [0.001, 0.01, 0.1], "seed": [0, 1]}, dataset, config=CONFIG)
    assert program._cache_size() == 1  # for two chunks
    sweep({"seed": range(7)}, dataset, config=CONFIG, at_once=3)  # 3, 3 and 1, filled up
    assert program._cache_size() == 1


def test_a_trial_that_diverges_leaves_the_others_alone(dataset):
    config = Config(hidden=(6,), epochs=2, batch_size=8, optimizer="sgd")
    table = sweep({"learning_rate": [0.1, 1e30]}, dataset, config=config)
    assert table.diverged.values.tolist() == [0, 1]
    space = make_space({"learning_rate": [0.1]}, config)
    assert_contract(table, space, dataset, learning_rate=0.1)


def test_a_table_is_a_file_that_xarray_opens(dataset, tmp_path):
    import xarray as xr

    table = sweep({"hidden": [(3,), (6,)], "learning_rate": [0.01]}, dataset, config=CONFIG)
    table.to_netcdf(tmp_path / "table.nc")
    with xr.open_dataset(tmp_path / "table.nc") as found:
        xr.testing.assert_equal(found.load(), table)
        assert best(found, dataset) == best(table, dataset)


def table_of(accuracies):
    """A table as `sweep` makes it, with given accuracies of learning rates and seeds."""
    import xarray as xr

    rates, seeds = np.shape(accuracies)
    names = ["learning_rate", "seed"]
    sizes = {"learning_rate": [*map(float, range(rates))], "seed": range(seeds)}
    about = describe(make_space(sizes, Config(epochs=2)))
    curves = (*names, "epoch"), np.stack([np.zeros((rates, seeds)), accuracies], axis=-1)
    return xr.Dataset(
        {
            "train_loss": curves,
            "validation_loss": curves,
            "validation_accuracy": curves,
            "trained": (names, np.full((rates, seeds), 2)),
            "diverged": (names, np.zeros((rates, seeds), int)),
        },
        coords={**{name: list(values) for name, values in sizes.items()}, "epoch": [1, 2]},
        attrs={"version": "0", **{name: json.dumps(value) for name, value in about.items()}},
    )


def test_best():
    found = best(table_of([[0.5, 0.7, 0.6], [0.8, 0.9, 0.7], [0.85, 0.5, 0.6]]))
    assert found.setting == {"learning_rate": 1.0}
    assert found.trial.hyper.learning_rate == 1.0
    assert found.score == pytest.approx(0.8)
    # t of 2 degrees of freedom at 97.5 % is 4.303, the deviation 0.1
    half = 4.303 * 0.1 / 3**0.5
    assert found.interval == pytest.approx((0.8 - half, 1), abs=1e-4)  # no share is above 1
    assert found.settings == 3
    assert found.optimism == pytest.approx(0, abs=1e-12)  # it is the best by any two seeds
    assert str(found).startswith("learning_rate=1: validation accuracy 0.8000 (95 % interval 0.")


def test_the_best_is_the_setting_whose_parameters_are_kept():
    """Also of settings that are equal but for the order in which their seeds are added up."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        accuracies = rng.permuted(np.tile(rng.integers(120, 144, 9) / 144, (12, 1)), axis=1)
        table = table_of(accuracies.astype(np.float32))
        space, decisive = space_of(table), view(table).decisive()
        kept = worth_keeping(space, decisive.reshape(2, -1), set())
        found = best(table)
        assert {space.trials[trial].hyper for trial in kept} == {found.trial.hyper}
        assert rows_of(table)[0].names == found.setting


def test_of_equal_settings_the_one_with_the_lower_loss_is_the_best():
    table = table_of([[0.5, 0.5], [0.8, 0.9], [0.9, 0.8], [0.85, 0.85]])
    losses = np.asarray([0.1, 0.5, 0.3, 0.4])
    table["validation_loss"] = table.validation_loss * 0 + losses[:, None, None]
    found = best(table)
    assert found.setting == {"learning_rate": 2.0}
    assert found.equal == 3
    assert "best of 4 (3 are equal, it has the lowest loss), " in str(found)
    assert [row.place for row in rows_of(table)] == [2, 3, 1, 0]
    space, decisive = space_of(table), view(table).decisive().reshape(2, -1)
    assert worth_keeping(space, decisive, set()) == {4, 5}
    assert survivors(space, decisive, 2) == {4, 5, 6, 7}


def test_equal_are_scores_that_rounding_error_parts_and_no_others():
    near = 318.0, 319.0, 317.0, 320.0  # both settings have 637 right, on the edge of a digit
    for n in (320, 640, 16_000):
        accuracies = np.float32(near).reshape(2, 2) / np.float32(n)
        table = table_of(accuracies)
        table["validation_loss"] = table.validation_loss * 0 + np.asarray([0.1, 0.9])[:, None, None]
        found = best(table)
        assert (found.setting, found.equal) == ({"learning_rate": 0.0}, 2)
        assert rows_of(table)[0].names == found.setting
    assert ranks_of(np.asarray([0.1234564, 0.1234566, 0.5, np.nan, -np.inf])).tolist() == [
        2,
        1,
        0,
        3,
        3,
    ]
    assert ranks_of(-np.asarray([3e-8, 1e-8, 2e-8])).tolist() == [2, 0, 1]
    assert best_first(np.asarray([[-np.inf, -5.0], [-1e30, -5.0]])).tolist() == [1, 0]


def test_the_best_of_many_is_not_so_good():
    """Among settings that differ by chance alone, the best looks better than it is."""
    rng = np.random.default_rng(0)
    tables = [rng.normal(0.9, 0.01, (30, 4)) for _ in range(20)]
    found = [best(table_of(accuracies)) for accuracies in tables]
    excess = np.mean([each.score - 0.9 for each in found])
    assert excess > 0.005
    assert np.mean([each.optimism for each in found]) == pytest.approx(excess, abs=0.003)
    assert np.isnan(best(table_of(tables[0][:, :1])).optimism)
    with pytest.raises(ValueError, match="this is no table of `sweep`"):
        best(3)


@pytest.mark.parametrize("shape", [(4, 5), (10, 4), (3, 3)])
@pytest.mark.parametrize("spread", [(1, 0, 0.1), (1, 1, 0.5), (0.3, 1, 0.1)])
def test_repetitions_that_share_seeds_are_not_independent(shape, spread):
    """A 95 % interval holds the true mean in at least 93 % of made-up tables (it is cautious)."""
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(2000 if LONG else 400):
        rows, columns, rest = (
            deviation * rng.normal(size=size)
            for deviation, size in zip(spread, ((shape[0], 1), (1, shape[1]), shape), strict=True)
        )
        low, high = choosing._interval(rows + columns + rest, (-np.inf, np.inf))
        hits.append(low <= 0 <= high)
    assert np.mean(hits) > (0.93 if LONG else 0.91)
    if LONG and spread[2] < 0.5:
        assert np.mean(hits) < 0.98


def test_the_luck_of_seeds_that_are_crossed():
    """Settings alike, chosen by 4 seeds × 5 orders of which the seeds matter most."""
    rng = np.random.default_rng(0)
    said, true = [], []
    for _ in range(60):
        by_seed, rest = rng.normal(size=(20, 4, 1)), rng.normal(size=(20, 4, 5))
        runs = 0.9 + 0.01 * by_seed + 0.001 * rest
        chosen = runs.mean(axis=(1, 2)).max()
        said.append(chosen - choosing._honest(np.stack([runs, runs])))
        true.append(chosen - 0.9)
    assert np.mean(said) == pytest.approx(np.mean(true), rel=0.15)


def test_a_part_of_a_table(dataset):
    """Whatever the order, the setting is the one that the coordinates name."""
    accuracies = [[0.5, 0.7, 0.6], [0.8, 0.9, 0.7], [0.85, 0.5, 0.6]]
    table = table_of(accuracies)
    turned = table.sortby("learning_rate", ascending=False).transpose("epoch", ...)
    assert best(turned) == best(table)
    few = best(table.sel(learning_rate=[2.0, 0.0], seed=[0]))
    assert few.setting == {"learning_rate": 2.0}
    assert (few.score, few.settings) == (0.85, 2)
    assert str(few).endswith("best of 2, which flatters it by an unknown amount")
    one = best(table.sel(learning_rate=1.0))
    assert one.score == best(table).score
    assert "best of" not in str(one)
    whole = sweep({"learning_rate": [0.1, 0.01], "seed": [0, 1]}, dataset, config=CONFIG)
    point = {"learning_rate": 0.1, "seed": 1}
    part = whole.sel(seed=[1]).sortby("learning_rate")
    kept = [params_at(each, point) for each in (whole, part)]
    jax.tree.map(np.testing.assert_array_equal, *kept)
    for wrong, message in [
        (table.mean("seed", keep_attrs=True), "the table has no coordinate seed"),
        (table.isel(epoch=-1), "the table does not have all 2 epochs"),
        (table.isel(seed=[0, 1, 0]), "seed has a value twice"),
        (table.where(table.seed > 0), "the table has holes"),
        (table[["validation_accuracy"]], "the table has no diverged, train_loss, trained, vali"),
        (table.assign_coords(learning_rate=[0.0, 1.0, 5.0]), "learning_rate 5.0 is none of the"),
    ]:
        with pytest.raises(ValueError, match=message):
            best(wrong)


def test_parameters_that_are_lost(dataset):
    table = sweep({"seed": [0, 1]}, dataset, config=CONFIG)
    table.attrs["parameters"] = table.attrs["parameters"][:10]
    with pytest.raises(ValueError, match="the table holds 10 parameters of 100: it is damaged"):
        params_at(table, {"seed": 1})
    del table.attrs["parameters"]
    with pytest.raises(ValueError, match="the table holds no parameters: KeyError"):
        params_at(table, {"seed": 1})


def test_the_names_of_settings(dataset):
    """What a setting leaves open has the value of all; without a name, its fields say it all."""
    for name in ({}, {"name": "slow"}):
        settings = [{"optimizer": "sgd", "momentum": 0.5, **name}, {"optimizer": "adam"}]
        table = sweep(settings, dataset, config=CONFIG)
        assert table.momentum.values.tolist() == [0.5, 0.9]
        names = rows_of(table.isel(setting=0))[0].names
        assert names == {"optimizer": "sgd", "momentum": 0.5} | (
            {"setting": "slow"} if name else {}
        )


def test_tables_of_other_versions_and_data(dataset):
    table = sweep({"seed": [0]}, dataset, config=CONFIG)
    settings = json.loads(table.attrs["settings"])
    table.attrs["settings"] = json.dumps({**settings, "dropout": 0.5})
    with pytest.raises(ValueError, match=r"was made by jaxmlp .*unknown settings dropout.*run the"):
        best(table)
    table.attrs["settings"] = json.dumps(settings)
    train = dataset.train._replace(x=dataset.train.x + 1e-6)
    for use in (lambda data: replay(table, {"seed": 0}, data), lambda data: best(table, data)):
        use(dataset)
        with pytest.raises(ValueError, match="the table is of other data"):
            use(dataclasses.replace(dataset, train=train))


def test_orders_of_the_data_are_repetitions(dataset):
    space = {"learning_rate": [0.001, 0.1], "data_seed": [0, 1], "seed": [0, 1, 2]}
    table = sweep(space, dataset, config=CONFIG, at_once=12)
    found = best(table, dataset)
    assert found.setting == {"learning_rate": 0.1}
    assert found.settings == 2
    assert found.tested is not None
    assert len(found.tested.scores) == 6
    (first, second) = rows_of(table)
    assert (first.seeds, second.seeds) == (6, 6)
    assert first.score == pytest.approx(found.score)


def test_a_replay(dataset):
    table = sweep({"learning_rate": [0.01, 1e30], "seed": [0, 1]}, dataset, config=CONFIG)
    found = replay(table, {"learning_rate": 0.01, "seed": 1}, dataset)
    assert 0 <= found.difference <= BOUND
    assert (found.accuracy, found.beyond, found.holds) == (0, 0, True)
    assert str(found).endswith("at the most, accuracies by 0")
    wild = replay(table, {"learning_rate": 1e30, "seed": 1}, dataset)
    assert (wild.difference, wild.beyond, wild.holds) == (0, 0, True)  # it diverges alone too
    curves = table.train_loss.values
    curves[0, 1, 2] *= 1.01
    off = replay(table, {"learning_rate": 0.01, "seed": 1}, dataset)
    assert off.difference == pytest.approx(0.01, rel=0.02)
    assert (off.beyond, off.holds) == (3, False)
    assert "from epoch 3 on: but not so does the trial alone" in str(off)


@pytest.mark.skipif(not LONG, reason="takes long: set HYPOTHESIS_PROFILE=long")
def test_unstable_training_makes_rounding_grow():
    """Then the bound is what a change in the last digit does."""
    digits = jaxmlp.load_digits(uint8=True)
    config = Config(hidden=(32,), epochs=16, optimizer="sgd", schedule="constant")
    table = sweep({"learning_rate": [1.0], "seed": [0, 1]}, digits, config=config)
    for seed in (0, 1):
        found = replay(table, {"learning_rate": 1.0, "seed": seed}, digits)
        assert found.difference > 100 * BOUND
        assert found.holds
        assert found.beyond > 2


def test_a_validation_loss_that_is_not_finite_is_divergence_too(dataset):
    space = make_space({"seed": [0, 1, 2]}, Config(epochs=3))
    metrics = np.ones((3, 3, 3), np.float32)
    metrics[1, 0, 2] = np.nan
    metrics[0, 1, 1] = np.inf
    table = make_table(space, [Chunk((0, 1, 2), 0, Metrics(*metrics))], dataset, {}, "data")
    assert table.diverged.values.tolist() == [3, 2, 0]
    assert np.isnan(view(table).decisive()[0]).tolist() == [True, True, False]


class StoppedError(Exception):
    pass


def stop_after(trials):
    def on_progress(progress):
        if progress.finished >= trials:
            raise StoppedError

    return on_progress


def test_a_sweep_that_was_stopped_goes_on(dataset, tmp_path, recwarn):
    space, folder = {"seed": range(6)}, tmp_path / "sweep"
    whole = sweep(space, dataset, config=CONFIG, at_once=2)
    with pytest.raises(StoppedError):
        sweep(space, dataset, config=CONFIG, at_once=2, out=folder, on_progress=stop_after(4))
    assert len(list(folder.glob("chunk-*"))) == 2
    shares = []
    table = sweep(space, dataset, config=CONFIG, at_once=3, out=folder,
                  on_progress=lambda progress: shares.append(progress.share))  # fmt: skip
    np.testing.assert_allclose(shares, [9 / 12, 10 / 12, 11 / 12, 1])
    np.testing.assert_allclose(table.train_loss, whole.train_loss, rtol=BOUND)
    sweep(space, dataset, config=CONFIG, out=folder, on_progress=stop_after(0))  # nothing left


def interrupt_in(calls):
    """Ctrl-C at the end of an epoch, counted over all chunks."""
    left = iter(range(calls))

    def on_progress(_):
        if next(left, None) is None:
            raise KeyboardInterrupt

    return on_progress


@pytest.mark.parametrize("halving", [None, 2])
@pytest.mark.parametrize("calls", [0, 2, 4] if LONG else [2, 4])
def test_a_chunk_goes_on_where_it_was_stopped(dataset, tmp_path, halving, calls):
    """No epoch is trained again, and the numbers are the same, bit for bit."""
    settings = {"config": CONFIG, "halving": halving, "at_once": 4}
    space = {"learning_rate": [0.01, 0.02, 0.1, 0.2], "seed": range(2)}
    told = []
    whole = sweep(space, dataset, **settings, on_progress=told.append)
    with pytest.raises(KeyboardInterrupt):
        sweep(space, dataset, **settings, out=tmp_path, on_progress=interrupt_in(calls))
    again = []
    table = sweep(space, dataset, **settings, out=tmp_path, on_progress=again.append)
    assert again == told[calls + 1 :]
    assert bytes(table.to_netcdf()) == bytes(whole.to_netcdf())
    assert not (tmp_path / "unfinished.safetensors").exists()


@pytest.mark.parametrize("again", [1, 8])
def test_a_chunk_that_was_stopped_with_another_number_at_once(dataset, tmp_path, again):
    space = {"learning_rate": [0.01, 0.02, 0.1, 0.2], "seed": range(2)}
    whole = sweep(space, dataset, config=CONFIG, at_once=8)
    with pytest.raises(KeyboardInterrupt):
        sweep(space, dataset, config=CONFIG, at_once=4, out=tmp_path, on_progress=interrupt_in(1))
    told = []
    table = sweep(space, dataset, config=CONFIG, at_once=again, out=tmp_path,
                  on_progress=told.append)  # fmt: skip
    assert len(told) == {1: 4 * 2 + 4 * 4, 8: 2 + 4}[again]  # two epochs of four are behind them
    np.testing.assert_allclose(table.train_loss, whole.train_loss, rtol=BOUND)


def test_a_chunk_that_was_stopped_after_one_that_is_lost(dataset, tmp_path):
    space, settings = {"seed": range(8)}, {"config": CONFIG, "at_once": 4}
    whole = sweep(space, dataset, **settings)
    with pytest.raises(KeyboardInterrupt):
        sweep(space, dataset, **settings, out=tmp_path, on_progress=interrupt_in(5))
    (first,) = tmp_path.glob("chunk-*")
    first.unlink()
    told = []
    table = sweep(space, dataset, **settings, out=tmp_path, on_progress=told.append)
    assert len(told) == 4 + 2
    assert bytes(table.to_netcdf()) == bytes(whole.to_netcdf())


@pytest.mark.parametrize("lost", range(4))
@pytest.mark.parametrize("finished", [False, True] if LONG else [False])
def test_halving_without_one_of_its_chunks(dataset, tmp_path, lost, finished):
    """It is trained again from what the rung before it left, and the end is the same."""
    settings = {"config": CONFIG, "halving": 2, "at_once": 4, "out": tmp_path}
    space = {"learning_rate": [0.01, 0.02, 0.1, 0.2], "seed": range(2)}
    whole = sweep(space, dataset, **settings)
    chunks = sorted(tmp_path.glob("chunk-*"))
    assert len(chunks) == 4
    chunks[lost].unlink()
    if not finished:
        chunks[-1].unlink(missing_ok=True)
    assert bytes(sweep(space, dataset, **settings).to_netcdf()) == bytes(whole.to_netcdf())


def test_damaged_chunks_are_run_again(dataset, tmp_path):
    space = {"seed": range(3)}
    whole = sweep(space, dataset, config=CONFIG, at_once=1, out=tmp_path)
    first, second, _ = sorted(tmp_path.glob("chunk-*"))
    first.write_bytes(first.read_bytes()[:100])
    second.write_bytes(b"")
    with pytest.warns(UserWarning, match="is damaged or of another sweep"):
        table = sweep(space, dataset, config=CONFIG, out=tmp_path)
    np.testing.assert_allclose(table.train_loss, whole.train_loss, rtol=BOUND)


def test_chunks_that_are_not_as_this_sweep_wrote_them_are_run_again(dataset, tmp_path):
    """One bit of a number is another, or it is of another sweep with as many trials."""
    folder, other = tmp_path / "one", tmp_path / "other"
    whole = sweep({"seed": range(3)}, dataset, config=CONFIG, at_once=1, out=folder)
    sweep({"seed": range(3, 6)}, dataset, config=CONFIG, at_once=1, out=other)
    first, second, third = sorted(folder.glob("chunk-*"))
    flipped = bytearray(first.read_bytes())
    flipped[-3] ^= 1
    first.write_bytes(flipped)
    second.write_bytes((other / second.name).read_bytes())
    before = third.stat().st_mtime_ns
    with pytest.warns(UserWarning, match="not used: it is not as this sweep wrote it") as warned:
        table = sweep({"seed": range(3)}, dataset, config=CONFIG, out=folder)
    assert len(warned) == 2
    assert third.stat().st_mtime_ns == before
    np.testing.assert_allclose(table.train_loss, whole.train_loss, rtol=BOUND)


def test_a_folder_is_for_one_sweep(dataset, tmp_path):
    sweep({"seed": [0]}, dataset, config=CONFIG, out=tmp_path)
    with pytest.raises(ValueError, match="another sweep: its epochs is 4, not 5: give another"):
        sweep({"seed": [0]}, dataset, config=Config(hidden=(6,), epochs=5, batch_size=8),
              out=tmp_path)  # fmt: skip
    with pytest.raises(ValueError, match=r"its seed is \[0\], not \[1\]"):
        sweep({"seed": [1]}, dataset, config=CONFIG, out=tmp_path)
    record = json.loads((tmp_path / "sweep.json").read_text())
    assert record["settings"]["batch_size"] == 8
    (tmp_path / "sweep.json").write_text("[]")
    with pytest.raises(ValueError, match=r"sweep.json is not as a sweep writes it"):
        sweep({"seed": [1]}, dataset, config=CONFIG, out=tmp_path)


@pytest.mark.parametrize("content", [None, "{"])
def test_a_record_that_is_lost(dataset, tmp_path, content):
    """The chunks say whether they are of the same sweep."""
    sweep({"seed": [0]}, dataset, config=CONFIG, out=tmp_path)
    path = tmp_path / "sweep.json"
    before = path.read_bytes()
    path.unlink()
    if content:
        path.write_text(content)
    with pytest.raises(ValueError, match=r"is no sweep folder|is not as a sweep writes it"):
        sweep({"seed": [1]}, dataset, config=CONFIG, out=tmp_path)
    told = []
    sweep({"seed": [0]}, dataset, config=CONFIG, out=tmp_path, on_progress=told.append)
    assert told == []
    assert path.read_bytes() == before


def test_a_chunk_with_the_name_of_a_later_one(dataset, tmp_path):
    settings = {"config": CONFIG, "halving": 2, "at_once": 2, "out": tmp_path}
    space = {"learning_rate": [0.01, 0.02, 0.1, 0.2]}
    whole = sweep(space, dataset, **settings)
    first, *_, last = sorted(tmp_path.glob("chunk-*"))
    last.write_bytes(first.read_bytes())
    with pytest.warns(UserWarning, match=f"it should be called {first.name}"):
        table = sweep(space, dataset, **settings)
    assert bytes(table.to_netcdf()) == bytes(whole.to_netcdf())


def worsen(folder, space, point):
    """Let the first chunk of a learning rate say that all was wrong, with the right digest."""
    record = json.loads((folder / "sweep.json").read_text())
    decisive = {name: record[name] for name in record if name not in environment()}
    place = space["learning_rate"].index(point.fields["learning_rate"])
    (path,) = folder.glob(f"chunk-00000-{place:06d}-1.safetensors")
    arrays, _ = read_tensors(path)
    nothing = np.zeros_like(arrays["validation_score"])
    write_tensors(path, decisive, arrays | {"validation_score": nothing})


@pytest.mark.parametrize("halving", [None, 2])
def test_another_setting_is_the_best_after_a_restart(dataset, tmp_path, halving):
    """Its parameters were not kept, or it was not even trained to the end: now it is."""
    settings = {"config": CONFIG, "at_once": 1, "halving": halving, "out": tmp_path}
    space = {"learning_rate": [0.2, 0.1, 0.02, 0.01]}
    before = best(sweep(space, dataset, **settings), dataset)
    worsen(tmp_path, space, before)
    table = sweep(space, dataset, **settings)
    assert best(table, dataset).fields != before.fields
    trained = table.trained.sel(learning_rate=before.fields["learning_rate"])
    assert trained == (1 if halving else 4)


def test_two_sweeps_on_one_folder(dataset, tmp_path):
    space = make_space({"seed": [0, 1]}, CONFIG)
    with (
        Chunks(tmp_path, record_of(space, fingerprint(dataset), "best", None), Metrics._fields),
        pytest.raises(ValueError, match="is in use by another sweep: wait for it, or give"),
    ):
        sweep({"seed": [0, 1]}, dataset, config=CONFIG, out=tmp_path)
    sweep({"seed": [0, 1]}, dataset, config=CONFIG, out=tmp_path)


def test_a_folder_of_another_version(dataset, tmp_path):
    sweep({"seed": [0]}, dataset, config=CONFIG, out=tmp_path)
    record = json.loads((tmp_path / "sweep.json").read_text())
    (tmp_path / "sweep.json").write_text(json.dumps({**record, "version": "0.0.1"}))
    with pytest.raises(ValueError, match=r"holds another sweep: its version is 0.0.1, not 0"):
        sweep({"seed": [0]}, dataset, config=CONFIG, out=tmp_path)


def test_no_space_left(dataset, tmp_path, monkeypatch):
    """A chunk that cannot be written leaves nothing of itself; the finished ones stay."""
    full = False

    def fsync(_):
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def on_progress(progress):
        nonlocal full
        full = progress.finished >= 2

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ValueError, match="cannot be written: No space left on device"):
        sweep({"seed": range(4)}, dataset, config=CONFIG, at_once=2, out=tmp_path,
              on_progress=on_progress)  # fmt: skip
    full = False
    assert [path.name for path in tmp_path.glob("*chunk*")] == ["chunk-00000-000000-2.safetensors"]
    table = sweep({"seed": range(4)}, dataset, config=CONFIG, at_once=2, out=tmp_path)
    assert np.isfinite(table.train_loss).all()


def test_a_chunk_for_which_memory_is_short_is_halved(dataset, monkeypatch):
    real, sizes = sweeping.train_together, []

    def short(trials, *others, **settings):
        sizes.append(len(trials))
        if len(trials) > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return real(trials, *others, **settings)

    monkeypatch.setattr(sweeping, "train_together", short)
    table = sweep({"seed": range(5)}, dataset, config=CONFIG, at_once=None)
    assert sizes == [5, 3, 2, 2, 1]
    assert np.isfinite(table.train_loss).all()


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("space", "settings", "message"),
    [
        ({"learning_rte": [1]}, {}, "unknown field 'learning_rte': did you mean learning_rate?"),
        ({"seed": []}, {}, "seed is an empty list: give at least one value"),
        ({"seed": [1, 2, 1]}, {}, "seed holds 1 twice"),
        ({"seed": 3}, {}, r"seed is 3: give a list of values, such as \[3\]"),
        ({"seed": [-1]}, {}, "seed is -1: give an integer ≥ 0"),
        ({"learning_rate": [-0.1]}, {}, "learning_rate is -0.1: give a number at least 0"),
        ({"learning_rate": ["a"]}, {}, "learning_rate is a: give a number"),
        ({"optimizer": ["sdg"]}, {}, "unknown optimizer 'sdg': choose one of"),
        ({"hidden": [(0,)]}, {}, r"hidden is \(0,\): give integers ≥ 1"),
        ({}, {}, "the space is empty"),
        ([{"setting": 1}], {}, "unknown field 'setting'"),
        ([3], {}, "setting 0 is a int: give a dict of fields"),
        ([{"bias": True, "name": "a"}, {"name": "a"}], {}, "setting holds 'a' twice"),
        ({"bias": [True], "setting": [{"bias": True}]}, {}, "bias is set by bias and by setting"),
        ([{"seed": 1}, {"seed": 2}], {}, "seed is part of a setting: seeds are repetitions of a"),
        ({"seed": choice(range(9))}, {"trials": 3}, "seed is drawn: seeds are repetitions of a"),
        ({"data_seed": uniform(0, 9)}, {"trials": 3}, "data_seed is drawn: seeds are repetitions"),
        ([{"momentum": uniform(0, 0.9)}], {}, "momentum of setting 0 is a draw: give a number"),
        ([{"momentum": uniform(0, 1)}], {"trials": 3}, "momentum of setting 0 is a draw: give a"),
        ({"alpha": [1e-4]}, {}, "unknown field 'alpha': did you mean weight_decay?"),
        ({"momentum": uniform(0, 0.9)}, {}, "momentum is drawn at random: say how often by trials"),
        ({"seed": [1]}, {"trials": 3}, "trials is 3, but nothing is drawn at random"),
        ({"momentum": uniform(0, 0.9)}, {"trials": 0}, "trials is 0: give an integer ≥ 1"),
        ({"learning_rate": [1, 1.0]}, {}, "learning_rate holds 1.0 twice"),
        ({"learning_rate": [0.1, 0.1 + 1e-12]}, {}, "which float32 does not tell apart"),
        ({"learning_rate": [1e39]}, {}, r"1e\+39: give a number from 0 to 3.40282e\+38"),
        ({"learning_rate": [True]}, {}, "learning_rate is True: give a number"),
        ({"learning_rate": [[1, 2]]}, {}, r"learning_rate has shape \(2,\): give a number"),
        ({"hidden": [8, (8,)]}, {}, r"hidden holds \(8,\) twice"),
        ({"hidden": [None]}, {}, r"hidden is \(None,\): give integers"),
        ({"seed": range(10**4), "data_seed": range(200)}, {}, "2,000,000 trials: give one of at"),
        ({"seed": [0]}, {"at_once": 0}, "at_once is 0: give an integer ≥ 1"),
        ({"seed": [0]}, {"at_once": "2"}, "at_once is '2': give an integer ≥ 1"),
        ({"seed": [0]}, {"draw_seed": -1}, "draw_seed is -1: give an integer"),
        ({"seed": [0]}, {"seed": "a"}, "seed is 'a': give an integer"),
        ({"seed": [0]}, {"hyper": {}}, "hyper is a dict: give jaxmlp.Hyperparams"),
        ({"seed": [0]}, {"config": {}}, "config is a dict: give a jaxmlp.Config"),
        ({"lr": [0.1]}, {}, "unknown field 'lr': did you mean learning_rate?"),
        ({"learning_rate": np.array(0.1)}, {}, "learning_rate is 0.1: give a list of values"),
        ([{"bias": True, "name": "a"}, {"bias": True, "name": "b"}], {}, "True} twice: give every"),
        ({"mixup_alpha": [0.1, 0.2]}, {}, "mixup_alpha changes nothing without augmentation"),
        ({"seed": [0]}, {"out": 5}, "out is 5: give a folder's path"),
    ],
)
def test_refuses(dataset, space, settings, message):
    with pytest.raises(ValueError, match=message):
        sweep(space, dataset, **{"config": CONFIG} | settings)


def test_what_is_drawn_for_an_integer_is_rounded():
    space = {"batch_size": loguniform(8, 32), "hidden": uniform(2, 9)}
    for trial in make_space(space, CONFIG, trials=5).trials:
        assert 8 <= trial.config.batch_size <= 32
        assert 2 <= trial.config.hidden[0] <= 9


def test_integers_are_drawn_with_equal_probability():
    rng = np.random.default_rng(0)
    counts = np.bincount([uniform(1, 4).sample(rng, integer=True) for _ in range(4000)])
    assert counts[0] == 0
    assert (abs(counts[1:] - 1000) < 5 * (1000 * 0.75) ** 0.5).all()  # five deviations


def test_every_setting_is_drawn_once():
    space = {"activation": choice(["relu", "tanh"]), "optimizer": choice(["sgd", "adam"])}
    with pytest.warns(UserWarning, match="only 4 settings can be drawn, so there are not 20 trial"):
        found = make_space(space, CONFIG, trials=20)
    kinds = {(trial.config.activation, trial.config.optimizer) for trial in found.trials}
    assert (len(found.trials), len(kinds)) == (4, 4)
    assert len({trial.config for trial in make_space(space, CONFIG, trials=3).trials}) == 3


def test_draws_in_draws_and_those_of_scipy():
    import scipy.stats

    space = {
        "weight_decay": choice([0, loguniform(1e-4, 1)]),
        "learning_rate": scipy.stats.loguniform(1e-4, 1e-2),
        "hidden": scipy.stats.randint(3, 9),
    }
    trials = make_space(space, CONFIG, trials=40).trials
    decays = np.asarray([trial.hyper.weight_decay for trial in trials])
    assert 5 < (decays == 0).sum() < 35
    assert ((decays == 0) | ((decays >= 1e-4) & (decays <= 1))).all()
    assert all(1e-4 <= trial.hyper.learning_rate <= 1e-2 for trial in trials)
    assert {trial.config.hidden for trial in trials} == {(width,) for width in range(3, 9)}


@pytest.mark.usefixtures("as_users_see_it")
def test_refuses_intervals():
    with pytest.raises(ValueError, match="the interval is 'a' to 'b': give two finite numbers"):
        uniform("a", "b")
    with pytest.raises(ValueError, match="the interval is 0 to 1: give two positive numbers"):
        loguniform(0, 1)
    with pytest.raises(ValueError, match="the interval is 2 to 1"):
        uniform(2, 1)
    with pytest.raises(ValueError, match="choice holds 'a' twice"):
        choice(["a", "a"])


def test_without_hidden_layers_and_bias(dataset):
    config = Config(hidden=(), bias=False, epochs=2, batch_size=8)
    table = sweep({"hidden": [()]}, dataset, config=config)
    assert list(table.hidden.values) == ["none"]
    assert_contract(table, make_space({"hidden": [()]}, config), dataset, hidden="none")


def test_parameters_of_the_best_setting(dataset):
    """Those of its seeds, with their own widths, whatever the chunks; or of all trials."""
    space = {"hidden": [(3,), (6,)], "learning_rate": [0.001, 0.1], "seed": [0, 1]}
    table = sweep(space, dataset, config=CONFIG, at_once=3)
    found = best(table, dataset)
    for seed in (0, 1):
        point = {**found.setting, "seed": seed}
        params = params_at(table, point)
        alone = train_at(table, point, dataset)
        assert jax.tree.structure(params) == jax.tree.structure(alone.params)
        for one, other in zip(*map(jax.tree.leaves, (params, alone.params)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    other = {**found.setting, "seed": 0, "learning_rate": 0.001}
    assert found.setting["learning_rate"] == 0.1
    with pytest.raises(ValueError, match="it holds those of the best setting, unless"):
        params_at(table, other)
    whole = sweep(space, dataset, config=CONFIG, keep="all")
    assert params_at(whole, other)[0].weight.shape[1] == int(other["hidden"])
    with pytest.raises(ValueError, match="keep is 'some': give one of best, all"):
        sweep(space, dataset, config=CONFIG, keep="some")


def train_at(table, point, dataset):
    trial = replay(table, point, dataset).trial
    return jaxmlp.train(jax.random.key(trial.seed), trial.hyper, dataset, config=trial.config)


def test_an_ensemble(dataset):
    table = sweep({"seed": range(3)}, dataset, config=CONFIG)
    found = ensemble(table, {}, dataset)
    networks = [params_at(table, {"seed": seed}) for seed in range(3)]
    p = [jax.nn.softmax(jaxmlp.forward(each, dataset.test.x)) for each in networks]
    labels = dataset.test.labels
    alone = [np.mean(np.argmax(each, axis=1) == labels) for each in p]
    np.testing.assert_allclose(found.scores, alone)
    mean = np.mean(p, axis=0)
    assert found.score_together == pytest.approx(np.mean(np.argmax(mean, axis=1) == labels))
    cost = -np.mean(np.log(mean[np.arange(10), labels]))
    assert found.loss_together == pytest.approx(cost, rel=1e-5)
    assert found.loss_together <= found.loss  # −log is convex
    assert best(table, dataset).tested == found
    assert "the 3 networks together" in str(found)
    assert repr(found) == f"Ensemble({found})"
    chosen = best(table, dataset)
    assert repr(chosen) == f"Best({chosen}; {found})"  # a line for a notebook, without the settings
    assert repr(best(table)) == f"Best({chosen})"
    assert len(repr(chosen).splitlines()) == 1
    assert "Config" not in repr(chosen)


def test_the_calibration_error():
    """Sure to 0.9 and right half the time, and sure to 0.6 and always right: worked by hand."""
    surest = np.asarray([0.9, 0.9, 0.6, 0.6])
    probabilities = np.stack([surest, 1 - surest], axis=1)
    found = choosing._miscalibration(probabilities, np.asarray([0, 1, 0, 0]))
    assert found == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)


def test_halving_stops_the_worse_and_leaves_the_others_as_they_are(dataset):
    space = {"learning_rate": [1e-4, 1e-3, 0.01, 0.1], "hidden": [(3,), (6,)], "seed": [0, 1]}
    whole = sweep(space, dataset, config=CONFIG)
    shares = []
    table = sweep(
        space, dataset, config=CONFIG, halving=2,
        on_progress=lambda progress: shares.append(progress.share),
    )  # fmt: skip
    trained = table.trained.values
    assert sorted({*trained.ravel().tolist()}) == [1, 2, 4]
    assert [(trained >= epochs).sum() for epochs in (1, 2, 4)] == [16, 8, 4]
    assert (trained[..., 0] == trained[..., 1]).all()  # the seeds of a setting stay together
    for name in ("train_loss", "validation_loss"):
        ran = np.isfinite(table[name].values)
        assert (ran.sum(axis=-1) == trained).all()
        np.testing.assert_allclose(table[name].values[ran], whole[name].values[ran], rtol=BOUND)
    first = whole.validation_accuracy.sel(epoch=1).mean("seed")
    kept = trained[..., 0] > 1
    assert first.values[kept].min() >= first.values[~kept].max()
    assert not table.diverged.any()
    found = best(table)
    assert (table.trained.sel(found.setting) == 4).all()
    assert np.isnan(found.optimism)  # most settings were stopped, so it cannot be told
    with pytest.raises(ValueError, match="no setting was trained to its end without diverging"):
        best(table.isel(learning_rate=[0]))
    assert shares[-1] == pytest.approx(1, abs=0.1)
    assert replay(table, {"learning_rate": 1e-4, "hidden": "3", "seed": 0}, dataset).difference < 1


def test_a_halved_sweep_that_was_stopped_goes_on(dataset, tmp_path):
    space = {"learning_rate": [1e-4, 1e-3, 0.01, 0.1]}
    settings: dict = {"config": CONFIG, "halving": 2, "at_once": 1}
    whole = sweep(space, dataset, **settings)
    with pytest.raises(StoppedError):
        sweep(space, dataset, **settings, out=tmp_path, on_progress=stop_after(3))
    table = sweep(space, dataset, **settings, out=tmp_path)
    np.testing.assert_allclose(table.train_loss, whole.train_loss, rtol=BOUND)
    assert best(table, dataset).score == best(whole).score


@pytest.mark.parametrize("keep", ["best", "all"])
def test_a_finished_halved_sweep_has_nothing_left_to_do(dataset, tmp_path, keep):
    """Whoever lost the last rung has left what it went on from, which is not what it ended with."""
    space = {"learning_rate": [*np.geomspace(0.001, 0.1, 6)]}
    settings: dict = {"config": CONFIG, "halving": 2, "keep": keep, "out": tmp_path}
    whole = sweep(space, dataset, **settings)
    assert (whole.trained == CONFIG.epochs).sum() == 2
    table = sweep(space, dataset, **settings, on_progress=stop_after(0))
    assert table.identical(whole)


def test_rungs():
    def rungs(settings, epochs, halving):
        space = make_space({"momentum": list(np.linspace(0, 0.9, settings))}, Config(epochs=epochs))
        return [tuple(rung) for rung in make_rungs(space, halving)]

    assert rungs(9, 27, 3) == [(0, 3, 9), (3, 9, 3), (9, 27, 1)]
    assert rungs(100, 5, 2) == [(0, 2, 100), (2, 3, 50), (3, 5, 25)]
    assert rungs(1, 5, 2) == [(0, 5, 1)]
    with pytest.raises(ValueError, match="halving is 1: give an integer ≥ 2"):
        rungs(4, 4, 1)
    space = make_space({"epochs": [2, 4]}, Config())
    with pytest.raises(ValueError, match=r"epochs takes the values \[2, 4\], and halving needs"):
        make_rungs(space, 2)
