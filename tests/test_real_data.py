"""Real data end to end: from the command line, and in a Pipeline."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import jaxmlp
from jaxmlp.cli import main
from jaxmlp.sklearn import MLPClassifier, MLPRegressor
from jaxmlp.sweeps.reading import view
from tests.test_families import FASHION

pytestmark = [
    pytest.mark.usefixtures("as_in_a_shell", "as_people_run_it"),
    pytest.mark.filterwarnings("ignore:max_iter is:sklearn.exceptions.ConvergenceWarning"),
]


def write(name, bunch, target):
    """A table of scikit-learn's as a CSV with names for its classes."""
    table = bunch.data.copy()
    names = getattr(bunch, "target_names", None)
    table[target] = bunch.target if names is None else np.asarray(names)[bunch.target]
    table.to_csv(name, index=False)


def figure(capsys):
    """The number in the last line that a command printed."""
    return float(capsys.readouterr().out.split()[-1])


def command(*arguments):
    assert main(arguments) == 0


@pytest.mark.parametrize(("load", "least"), [(load_wine, 0.95), (load_breast_cancer, 0.93)])
def test_classes_of_a_table(load, least, capsys):
    write("table.csv", load(as_frame=True), "kind")
    told = ["--target", "kind", "--hidden", "32", "--epochs", "30", "--patience", "10"]
    told += ["--metric", "loss"]  # which tells epochs apart where all of few examples are right
    command("train", "--data", "table.csv", *told, "--out", "run")
    score = figure(capsys)
    assert score >= least
    command("evaluate", "run")
    assert figure(capsys) == score
    command("predict", "run", "table.csv", "--out", "answers.csv")
    with Path("answers.csv").open() as file:
        answers = [row["class"] for row in csv.DictReader(file)]
    with Path("table.csv").open() as file:
        truth = [row["kind"] for row in csv.DictReader(file)]
    assert np.mean(np.asarray(answers) == truth) >= least
    x, y = load(return_X_y=True)
    network = MLPClassifier((32,), max_iter=60, learning_rate_init=0.005, random_state=0)
    pipe = make_pipeline(StandardScaler(), network)
    assert cross_val_score(pipe, x, y, cv=3).mean() >= least


def test_numbers_of_a_table(capsys):
    """Diabetes, in the units of the file; a sweep of it keeps what its inputs were made by."""
    bunch: Any = load_diabetes(as_frame=True, scaled=False)
    write("table.csv", bunch, "progression")
    told = ["--data", "table.csv", "--target", "progression", "--loss", "squared"]
    told += ["--targets", "standardise", "--epochs", "30", "--batch-size", "32"]
    command("train", *told, "--hidden", "16", "--patience", "8", "--out", "run")
    assert figure(capsys) > 0.3
    command("predict", "run", "table.csv", "--out", "answers.csv")
    with Path("answers.csv").open() as file:
        answers = np.asarray([float(row["progression"]) for row in csv.DictReader(file)])
    off = answers - bunch.target.to_numpy()
    assert np.sqrt((off**2).mean()) < 65  # of a deviation of 77
    assert {path.name for path in Path("run").iterdir()} >= {"curves.png", "predictions.png"}
    command("sweep", *told, "--set", "hidden=8,16", "--out", "sweep")
    import xarray as xr

    table = xr.load_dataset("sweep/table.nc")
    assert "progression" in table.attrs["inputs"]
    assert view(table).decisive()[0].max() > 0.2
    x, y = load_diabetes(return_X_y=True)
    pipe = make_pipeline(
        StandardScaler(), MLPRegressor(hidden_layer_sizes=(16,), max_iter=150, random_state=0)
    )
    assert cross_val_score(pipe, x, np.asarray(y) / 77, cv=3).mean() > 0.3


def images(n, seed):
    """Images of three shapes in noise, and which they are."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.integers(0, 60, (n, 8, 8))
    for number, which in enumerate(y):
        x[number, 2 * which + 1 : 2 * which + 3] += 150
    return x.astype(np.uint8), y


@pytest.mark.parametrize("form", ["MedMNIST", "KMNIST"])
def test_archives(form, capsys):
    """Arrays by MedMNIST's names with its (n, 1) labels, and KMNIST's four files of `arr_0`."""
    parts = {name: images(n, n) for name, n in (("train", 300), ("val", 60), ("test", 90))}
    if form == "MedMNIST":
        arrays = {f"{name}_images": x for name, (x, _) in parts.items()}
        np.savez("data.npz", **arrays, **{f"{n}_labels": y[:, None] for n, (_, y) in parts.items()})
    else:
        Path("data").mkdir()
        for name, ours in (("train", "train"), ("test", "test")):
            x, y = parts[ours]
            np.savez(f"data/kmnist-{name}-imgs.npz", x)
            np.savez(f"data/kmnist-{name}-labels.npz", y.astype(np.uint8))
    place = "data.npz" if form == "MedMNIST" else "data"
    command("train", "--data", place, "--hidden", "16", "--epochs", "8", "--out", "run")
    assert figure(capsys) > 0.9
    command("evaluate", "run")
    assert figure(capsys) > 0.9
    (x, y), (xt, yt) = parts["train"], parts["test"]
    pipe = make_pipeline(MinMaxScaler(), MLPClassifier((16,), max_iter=30, random_state=0))
    assert pipe.fit(x.reshape(len(x), -1), y).score(xt.reshape(len(xt), -1), yt) > 0.9


@pytest.mark.skipif(not FASHION.exists(), reason="needs Debian's package dataset-fashion-mnist")
def test_fashion_mnist_in_a_pipeline():
    """From the command line, `test_families` trains on its files."""
    dataset = jaxmlp.load_idx(FASHION)
    x, y = np.asarray(dataset.train.x[:3000]), np.asarray(dataset.train.labels[:3000])
    model = MLPClassifier((64,), max_iter=15, random_state=0).fit(x, y)
    assert model.score(dataset.test.x[:2000], dataset.test.labels[:2000]) > 0.75
