"""Training on real targets, on several labels at once, with weights, and with patience."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmlp
from jaxmlp import Batch, Config, Dataset, Hyperparams
from jaxmlp.cli import main
from jaxmlp.data.preprocessing import undone
from jaxmlp.evaluation import evaluate
from jaxmlp.results import decisive
from jaxmlp.sweeps import best, params_at, replay
from jaxmlp.training import each_epoch
from tests.strategies import tiny_dataset

KEY = jax.random.key(0)
CONFIG = Config(hidden=(8,), epochs=4, batch_size=16)


@pytest.fixture(autouse=True)
def optax_promotes():
    """optax raises a traced β₁ to an integer power, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def arrays(n=120):
    """Inputs, two targets of different sizes, and two labels."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(n, 5))
    y = np.stack([x[:, 0] - x[:, 1], 1000 + 50 * x[:, 2]], axis=1)
    return x, y, (x[:, :2] > 0.5).astype(int)


def real(**options):
    x, y, _ = arrays()
    return jaxmlp.split_dataset(x[:90], y[:90], x[90:], y[90:], loss="squared", **options)


def labelled():
    x, _, y = arrays()
    return jaxmlp.split_dataset(x[:90], y[:90], x[90:], y[90:], loss="sigmoid")


def test_real_targets_are_learnt_and_turned_back():
    dataset = real(targets="standardise")
    config = replace(CONFIG, loss="squared", epochs=60)
    result = jaxmlp.train(KEY, Hyperparams(learning_rate=0.02), dataset, config=config)
    test = evaluate(result.params, dataset, dataset.test, config)
    assert test.score > 0.9  # R²
    _, y, _ = arrays()
    np.testing.assert_allclose(undone(dataset.targets, test.labels), y[90:], rtol=1e-4, atol=1e-4)
    found = undone(dataset.targets, test.predictions)
    assert np.abs(found - y[90:])[:, 1].mean() < 10
    assert dataset.n_out == 2


def test_one_target_is_a_column():
    x, y, _ = arrays()
    shapes = [(y[:, 0], y[:, :1]), (y[:, :1], y[:, 0])]
    for train, test in shapes:
        dataset = jaxmlp.split_dataset(x, train, x, test, loss="squared")
        assert dataset.train.labels.shape[1:] == dataset.test.labels.shape[1:] == (1,)


def test_several_labels_are_learnt():
    dataset, config = labelled(), replace(CONFIG, loss="sigmoid", epochs=60)
    result = jaxmlp.train(KEY, Hyperparams(learning_rate=0.02), dataset, config=config)
    test = evaluate(result.params, dataset, dataset.test, config)
    assert test.score > 0.7  # both labels right
    assert np.all((test.predictions > 0) & (test.predictions < 1))


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("made", "config", "message"),
    [
        (real, CONFIG, "loss is 'softmax', but the data set has real targets: give Config"),
        (labelled, replace(CONFIG, loss="squared"), "the data set has several labels at once"),
        (tiny_dataset, replace(CONFIG, loss="sigmoid"), "the data set has classes"),
    ],
)
def test_a_loss_that_is_not_the_labels(made, config, message):
    with pytest.raises(ValueError, match=message):
        jaxmlp.train(KEY, Hyperparams(), made(), config=config)
    with pytest.raises(ValueError, match=message):
        jaxmlp.sweep({"seed": [0]}, made(), config=config)


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("squared", np.asarray(["a"] * 120), "y_train, row 0, column 0: it is 'a', no number"),
        ("squared", np.full(120, np.nan), "y_train, row 0, column 0: it is nan"),
        ("sigmoid", np.arange(120), "y_train, row 2, column 0: it is 2.0"),
        ("sigmoid", np.zeros((120, 2, 2)), "y_train has shape .*: give"),
        ("hinge", np.zeros(120), "loss is 'hinge': give one of softmax, squared, sigmoid"),
    ],
)
def test_targets_that_do_not_suit(loss, y, message):
    x, _, _ = arrays()
    with pytest.raises(ValueError, match=message):
        jaxmlp.split_dataset(x, y, x, y, loss=loss)


@pytest.mark.usefixtures("as_users_see_it")
def test_settings_that_do_not_suit():
    with pytest.raises(ValueError, match="metric is 'r2', but with the softmax loss"):
        Config(metric="r2")
    hyper, config = Hyperparams(label_smoothing=0.1), replace(CONFIG, loss="squared")
    with pytest.raises(ValueError, match=r"label_smoothing is 0\.1: real targets have"):
        jaxmlp.train(KEY, hyper, real(), config=config)
    x, _, y = arrays()
    with pytest.raises(ValueError, match="targets is 'standardise', which is for the loss squared"):
        jaxmlp.split_dataset(x, y, x, y, loss="sigmoid", targets="standardise")
    with pytest.raises(ValueError, match="metric cannot be swept"):
        jaxmlp.sweep({"metric": ["auc", "loss"]}, tiny_dataset(), config=CONFIG)


# --- weights ---


def weighted(weights):
    return replace(tiny_dataset(), weights=weights)


def test_weights_scale_nothing_but_count():
    """All alike is as none; a weight of 0 is as if the example were not there."""
    config = replace(CONFIG, batch_size=35, optimizer="sgd", schedule="constant")
    plain = jaxmlp.train(KEY, Hyperparams(0.1), tiny_dataset(), config=config)
    alike = jaxmlp.train(KEY, Hyperparams(0.1), weighted(np.full(35, 7.0, "f4")), config=config)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), plain, alike)
    kept = np.arange(35) % 3 > 0
    some = jaxmlp.train(KEY, Hyperparams(0.1), weighted(kept.astype("f4")), config=config)
    few = replace(tiny_dataset(), train=Batch(*(a[kept] for a in tiny_dataset().train)))
    alone = jaxmlp.train(
        KEY, Hyperparams(0.1), few, config=replace(config, batch_size=int(kept.sum()))
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        some.params,
        alone.params,
    )


def test_balanced_classes():
    rng = np.random.default_rng(0)
    y = np.asarray(["rare"] * 10 + ["usual"] * 90)
    x = rng.normal(size=(100, 2))
    options = {"x_validation": x, "y_validation": y}
    found = jaxmlp.split_dataset(x, y, x, y, class_weight="balanced", **options)
    np.testing.assert_allclose(np.unique(np.asarray(found.weights)), [100 / 180, 5])
    named = jaxmlp.split_dataset(
        x, y, x, y, class_weight={"rare": 3}, sample_weight=np.full(100, 2.0), **options
    )
    np.testing.assert_allclose(np.asarray(named.weights), [6] * 10 + [2] * 90)


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weight": "even"}, "class_weight is 'even': give 'balanced', or a dict"),
        ({"class_weight": {"c": 1}}, "class_weight names 'c', but the classes are a, b"),
        ({"class_weight": {"b": -2}}, "class_weight is -2 for the class 'b': give a finite number"),
        ({"class_weight": {"b": "1"}}, "class_weight is '1' for the class 'b': give a finite"),
        ({"class_weight": {"b": np.nan}}, "class_weight is nan for the class 'b': give a finite"),
        ({"class_weight": {"b": None}}, "class_weight is None for the class 'b'"),
        ({"sample_weight": [1, 2]}, r"sample_weight has shape \(2,\), but there are 20 examples"),
        (
            {"sample_weight": ["a"] * 20},
            "sample_weight has dtype <U1, such as .*'a'.*: give numbers",
        ),
        ({"sample_weight": [None] * 20}, "sample_weight has dtype object, such as None"),
        ({"sample_weight": [-1.0] * 20}, "sample_weight, row 0: it is -1.0"),
        ({"sample_weight": [0] * 20}, "sample_weight is 0 for every example"),
    ],
)
def test_weights_that_cannot_be(options, message):
    x, y = np.zeros((20, 2)), np.asarray(["a", "b"] * 10)
    with pytest.raises(ValueError, match=message):
        jaxmlp.split_dataset(x, y, x, y, **options)


@pytest.mark.usefixtures("as_users_see_it")
def test_mixup_knows_no_weights():
    config, dataset = replace(CONFIG, augmentation="mixup"), weighted(np.ones(35, "f4"))
    with pytest.raises(ValueError, match="mixup mixes examples, so it knows no weights"):
        jaxmlp.train(KEY, Hyperparams(), dataset, config=config)


def test_rows_without_a_label():
    x, y = np.zeros((20, 2)), np.eye(3)[np.arange(20) % 3]
    y[3] = 0
    with pytest.raises(ValueError, match="y_train, row 3: it has weight 0 for every class"):
        jaxmlp.split_dataset(x, y, x, y)
    with pytest.raises(ValueError, match="y_test, row 3: it has weight 0 for every class"):
        jaxmlp.split_dataset(x, y, x, y, unlabelled=True)
    whole = np.eye(3)[np.arange(20) % 3]
    assert jaxmlp.split_dataset(x, y, x, whole, unlabelled=True).n_out == 3


# --- patience ---

PATIENT = Config(hidden=(4,), epochs=30, batch_size=8, patience=2, schedule="constant")


def by_hand(curve, patience, tolerance=0.0):
    """The best epoch, and the one after which training stops, from 1."""
    highest, since, found = np.full(2, -np.inf, np.float32), 0, 0
    pairs = np.asarray(curve, np.float32).T
    for epoch, now in enumerate(pairs, 1):
        more = highest + np.float32(tolerance)
        equal = now[0] == highest[0]
        since = 0 if now[0] > more[0] or (equal and now[1] > more[1]) else since + 1
        if tuple(now) > tuple(highest):
            highest, found = now, epoch
        if since >= patience:
            return found, epoch
    return found, len(pairs)


@pytest.mark.parametrize(
    "settings", [{}, {"metric": "loss"}, {"monitor": "score"}, {"monitor": "training"}]
)
def test_patience_keeps_the_best_epoch(settings):
    """The curves are those of a run without patience, the parameters those of its best epoch."""
    dataset, hyper = tiny_dataset(), Hyperparams(learning_rate=0.05, tolerance=0.02)
    config = replace(PATIENT, **settings)
    found = jaxmlp.train(KEY, hyper, dataset, config=config)
    whole = jaxmlp.train(KEY, hyper, dataset, config=replace(config, patience=0))
    assert whole.best_epoch is None
    chosen, last = by_hand(decisive(whole.metrics, config), 2, 0.02)
    assert (found.best_epoch, len(found.metrics.train_loss)) == (chosen, last)
    assert last < 30
    np.testing.assert_allclose(
        found.metrics.validation_loss, whole.metrics.validation_loss[:last], rtol=1e-5
    )
    short = jaxmlp.train(KEY, hyper, dataset, config=replace(config, patience=0, epochs=chosen))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        found.params,
        short.params,
    )


def test_the_loss_decides_between_epochs_of_the_same_score():
    """Else training stops where a small validation part is answered rightly for the first time."""
    x = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
    dataset = jaxmlp.split_dataset(x, (x[:, 0] > 0).astype(int), x, (x[:, 0] > 0).astype(int))
    hyper = Hyperparams(learning_rate=0.05)
    found, first = (
        jaxmlp.train(KEY, hyper, dataset, config=replace(PATIENT, monitor=each))
        for each in ("validation", "score")
    )
    losses, scores = map(np.asarray, found.metrics[1:])
    highest = np.flatnonzero(scores == scores.max())
    assert len(highest) > 20
    assert first.best_epoch == highest[0] + 1
    assert found.best_epoch == highest[losses[highest].argmin()] + 1 != first.best_epoch


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [("constant", [0.001, 0.05, 0.3]), ("adaptive", [1e-6, 4e-6, 0.05, 0.3])],
)
def test_a_sweep_has_patience(schedule, rates):
    """Every trial stops for itself, though they train together, and the table holds its best."""
    dataset = tiny_dataset()
    space, config = {"learning_rate": rates, "seed": range(2)}, replace(PATIENT, schedule=schedule)
    table = jaxmlp.sweep(space, dataset, config=config, keep="all")
    assert len(np.unique(table.trained)) > 1
    for rate in rates:
        point = {"learning_rate": rate, "seed": 1}
        row = table.sel(point)
        hyper = Hyperparams(learning_rate=rate)
        alone = jaxmlp.train(jax.random.key(1), hyper, dataset, config=config)
        assert int(row.trained) == len(alone.metrics.train_loss)
        assert np.isnan(row.validation_loss[int(row.trained) :]).all()
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
            params_at(table, point),
            alone.params,
        )
    found = best(table, dataset)
    curves = table.validation_accuracy.max("epoch").mean("seed")
    assert found.score == pytest.approx(float(curves.max()))
    assert replay(table, {"learning_rate": 0.05, "seed": 1}, dataset).holds


def test_an_adaptive_learning_rate_falls():
    """Where nothing improves enough: by 5 after every two epochs, at last from 10⁻⁶ on."""
    dataset, config = tiny_dataset(), replace(PATIENT, schedule="adaptive")
    hyper = Hyperparams(learning_rate=2e-5, tolerance=9.0)
    states = [state for state, _ in each_epoch(KEY, hyper, dataset, config=config)]
    # the first epoch always improves
    shares: Any = [state.best and state.best.share for state in states]
    np.testing.assert_allclose(shares, [1, 1, 0.2, 0.2, 0.04, 0.04, 0.04], rtol=1e-6)
    with pytest.raises(ValueError, match="schedule is 'adaptive', but with patience 0 the learn"):
        replace(config, patience=0)


@pytest.mark.parametrize("schedule", ["constant", "adaptive"])
def test_a_patient_sweep_with_halving_goes_on(tmp_path, schedule):
    dataset = tiny_dataset()
    space = {"learning_rate": [0.001, 0.01, 0.05, 0.3]}
    told = {"config": replace(PATIENT, epochs=8, schedule=schedule), "halving": 2}
    whole = jaxmlp.sweep(space, dataset, **told)

    def stop(progress):
        if progress.share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jaxmlp.sweep(space, dataset, **told, out=tmp_path / "sweep", on_progress=stop)
    again = jaxmlp.sweep(space, dataset, **told, out=tmp_path / "sweep")
    for name in ("validation_loss", "trained"):
        np.testing.assert_allclose(whole[name], again[name], rtol=1e-5)


@pytest.mark.usefixtures("as_users_see_it")
def test_patience_needs_values():
    rates = jnp.asarray([0.1, 0.2])
    with pytest.raises(ValueError, match="patience is 2: when to stop is decided by values"):
        jax.vmap(lambda rate: jaxmlp.train(KEY, Hyperparams(rate), tiny_dataset(), config=PATIENT))(
            rates
        )


def test_sweeps_of_other_losses():
    for dataset, loss, name in ((real(), "squared", "r2"), (labelled(), "sigmoid", "accuracy")):
        config = replace(CONFIG, loss=loss)
        table = jaxmlp.sweep({"learning_rate": [0.01, 0.02]}, dataset, config=config)
        assert f"validation_{name}" in table
        assert replay(table, {"learning_rate": 0.01}, dataset).holds
        assert str(best(table, dataset).tested).startswith("test ")


def test_a_metric_decides(tmp_path):
    dataset = tiny_dataset()
    for metric in ("auc", "f1_macro", "balanced_accuracy", "loss"):
        config = replace(CONFIG, metric=metric)
        table = jaxmlp.sweep({"learning_rate": [0.001, 0.05]}, dataset, config=config)
        measured = f"validation_{config.chosen_by}"
        last, losses = (table[name].isel(epoch=-1).values for name in (measured, "validation_loss"))
        found = best(table, dataset)
        place = int(np.lexsort((losses, last if metric == "loss" else -last))[0])
        assert found.setting["learning_rate"] == [0.001, 0.05][place]
        words = {"f1_macro": "macro F1", "auc": "AUC", "balanced_accuracy": "balanced accuracy"}
        assert f"validation {words.get(metric, metric)} {last[place]:.4f}" in str(found)


def test_a_dataset_of_rows():
    part = Batch(np.zeros((4, 2), "f4"), np.zeros((4, 1), "f4"))
    assert Dataset(part, part, part, (1, 2), loss="squared").n_out == 1
    wrong = part._replace(labels=np.full((4, 1), 3, "f4"))
    with pytest.raises(ValueError, match="labels run from 3 to 3"):
        Dataset(wrong, part, part, (1, 2), loss="sigmoid")


@pytest.mark.usefixtures("as_users_see_it")
def test_auc_of_one_class():
    """It is no divergence that it is not defined."""
    dataset = tiny_dataset()
    few = dataset.validation._replace(labels=np.zeros(10, np.int32))
    dataset, config = replace(dataset, validation=few), replace(CONFIG, metric="auc")
    with pytest.raises(ValueError, match="metric is 'auc', but all examples of the validation"):
        jaxmlp.train(KEY, Hyperparams(), dataset, config=config)


# --- rows of numbers that may be no weights ---


@pytest.mark.usefixtures("as_users_see_it")
def test_negative_rows_are_no_weights():
    x, y, _ = arrays()
    message = r"y_train, row \d+, column 0: it is -0\.\d+ \(.*weights of classes, 0 or more: to "
    with pytest.raises(
        ValueError,
        match=f"{message}predict numbers, give the loss squared \\(--loss squared\\), for",
    ):
        jaxmlp.split_dataset(x, y, x, y)
    with pytest.raises(ValueError, match="y_test, row 0, column 0: it is -1"):
        jaxmlp.split_dataset(x, abs(y), x, -np.ones_like(y, int))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.eye(3)[np.arange(40) % 3], "rows of weights of 3 classes, one-hot\n"),
        (np.asarray([[1, 1, 0], [0, 0, 1]] * 20),
         "3 classes, though 18 of 36 hold more than one 1: for several labels at once, give "
         "--loss sigmoid\n"),
        (np.asarray([[0.5, 0.25, 0.25]] * 40), "rows of weights of 3 classes: to predict numbers, "
         "give --loss squared; several labels at once, --loss sigmoid\n"),
        (np.asarray([[1.5, 200], [3, 4]] * 20),
         "2 classes, with sums from 7 to 202: to predict numbers, give --loss squared"),
    ],
)  # fmt: skip
def test_rows_are_said_to_be_weights(rows, said, as_in_a_shell, capsys):
    x = np.random.default_rng(0).normal(size=(40, 3))
    np.savez("a.npz", x_train=x, y_train=rows, x_test=x, y_test=rows)
    quick = ["--data", "a.npz", "--epochs", "1", "--hidden", "4", "--batch-size", "36"]
    assert main(["train", *quick, "--out", "r"]) == 0
    assert said in capsys.readouterr().out


def test_predictions_of_large_targets_have_enough_digits(as_in_a_shell, capsys):
    """A million, give or take ten: the R² of what is written is the one that is printed."""
    pd = pytest.importorskip("pandas")
    x, _, _ = arrays()
    y = 1e6 + 10 * (x[:, 0] - x[:, 1])
    frame = pd.DataFrame(x, columns=[*"abcde"]).assign(y=y.round(2))
    frame.to_csv("t.csv", index=False)
    flags = ["--target", "y", "--loss", "squared", "--targets", "standardise", "--epochs", "9"]
    assert main(["train", "--data", "t.csv", *flags, "--hidden", "8", "--out", "r"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "r", "--data", "t.csv"]) == 0
    score = float(capsys.readouterr().out.split()[-1])
    assert main(["predict", "r", "t.csv", "--out", "said.csv"]) == 0
    off = pd.read_csv("said.csv")["y"] - frame["y"]
    assert 1 - (off**2).mean() / frame["y"].var(ddof=0) == pytest.approx(score, abs=1e-3)


@pytest.mark.usefixtures("as_in_a_shell")
@pytest.mark.parametrize(
    ("size", "given", "told"),
    [(300, [], True), (0.01, [], True), (2, [], False), (300, ["--targets", "standardise"], False)],
)
def test_targets_of_another_size_are_told_of(size, given, told, capsys):
    x = np.random.default_rng(0).normal(size=(60, 2))
    table = ["a,b,y", *(f"{a},{b},{size * np.tanh(a + b)}" for a, b in x)]
    Path("data.csv").write_text("\n".join(table))
    words = ["train", "--data", "data.csv", "--target", "y", "--loss", "squared", "--epochs", "1"]
    assert main([*words, *given, "--out", "run"]) == 0
    assert ("give --targets standardise" in capsys.readouterr().out) == told
