"""What a notebook shows of results and data, and what an epoch can tell."""

import re
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import jaxmlp
from jaxmlp import progress
from jaxmlp.progress import show_progress
from jaxmlp.results import Metrics, Result
from tests.strategies import tiny_dataset

KEY = jax.random.key(0)
pytestmark = pytest.mark.usefixtures("as_people_run_it")
CONFIG = jaxmlp.Config(hidden=(5,), batch_size=8, epochs=3)
README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
# of code that is run here, and not by the test of the README
BLOCKS = re.findall(r"```py\n(.*?)```", README, re.DOTALL)


def train(config=CONFIG, **numbers):
    return jaxmlp.train(KEY, jaxmlp.Hyperparams(**numbers), tiny_dataset(), config=config)


def a_result(*losses, **more):
    values = jnp.array(losses)
    return Result((), Metrics(values, values + 1, values / 10), **more)


def test_a_result_is_told_in_a_line():
    assert repr(a_result(1.0, 0.5)) == (
        "Result(2 epochs, at last train loss 0.5000, validation loss 1.5000, "
        "validation accuracy 0.0500)"
    )
    assert repr(a_result(1.0)).startswith("Result(1 epoch, at last train loss 1.0000,")
    assert "2 epochs, the best was epoch 1: train loss 1.0000," in repr(
        a_result(1.0, 2.0, best_epoch=1)
    )
    assert "train loss nan" in repr(a_result(1.0, np.nan))


def test_several_results_are_told_in_a_line():
    text = repr(a_result([3.0, 2.0], [3.0, 1.0], [3.0, np.nan]))
    assert text.startswith("Result(3 runs of 2 epochs, at last train loss 1.0000 to 2.0000, valid")
    assert text.endswith("validation accuracy 0.1000 to 0.2000, 1 diverged)")


def test_a_result_without_values_can_be_told():
    """Under a trace, and where a tree's arrays have become something else."""
    told = []

    def traced(rate):
        found = train(learning_rate=rate)
        told.append(repr(found))
        return found

    found = jax.vmap(traced)(jnp.array([0.1, 0.2]))
    assert told == ["Result(3 epochs)"]
    assert repr(found).startswith("Result(2 runs of 3 epochs, at last")
    assert repr(jax.eval_shape(lambda: found)) == "Result(2 runs of 3 epochs)"
    assert "validation_loss=(2, 3)" in repr(jax.tree.map(jnp.shape, found))


@pytest.mark.parametrize(
    ("config", "numbers", "names"),
    [
        (CONFIG, {}, ("training", "validation error (%)")),
        (replace(CONFIG, metric="f1_macro"), {}, ("training", "validation macro F1")),
        (CONFIG, {"label_smoothing": 0.1}, ("training, soft labels", "validation error (%)")),
    ],
)
def test_a_result_is_plotted_with_its_names(config, numbers, names):
    figure = train(config, **numbers).plot("a title")
    left, right = figure.axes
    assert figure.get_suptitle() == "a title"
    assert left.texts[0].get_text() == names[0]
    assert right.get_title(loc="left") == names[1]
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook asks for


def test_real_targets_are_plotted_with_their_names():
    parts = [
        jaxmlp.Batch(x, np.asarray(x[:, :1])) for x, _ in list(vars(tiny_dataset()).values())[:3]
    ]
    dataset = jaxmlp.Dataset(*parts, image_shape=(1, parts[0].x.shape[1]), loss="squared")
    config = replace(CONFIG, loss="squared", epochs=1)
    result = jaxmlp.train(KEY, jaxmlp.Hyperparams(), dataset, config=config)
    left, right = result.plot().axes
    assert left.get_title(loc="left") == "loss (half the squared error)"
    assert right.get_title(loc="left") == "validation R²"
    assert "validation R² " in repr(result)
    assert "1 targets; loss squared)" in repr(dataset)


def test_diverged_and_several_runs_are_plotted_or_refused():
    assert a_result(1.0, np.nan).plot()._repr_png_()
    several = a_result([3.0, 2.0], [3.0, 1.0])
    with pytest.raises(ValueError, match=r"shape \(2, 2\), which is not one run: choose one, by"):
        several.plot()
    assert jax.tree.map(lambda array: array[0], several).plot()
    with pytest.raises(ValueError, match="no values here: plot outside"):
        jax.vmap(lambda result: result.plot())(several)


def test_names_go_through_transformations():
    """And runs with and without soft labels can be stacked."""
    found = jax.jit(lambda result: result)(train(replace(CONFIG, metric="f1_macro")))
    assert found.names.metric == "f1_macro"
    both = jax.tree.map(lambda *each: jnp.stack(each), train(), train(label_smoothing=0.1))
    assert both.metrics.train_loss.shape == (2, 3)
    smoothed = jax.vmap(lambda much: train(label_smoothing=much))(jnp.array([0.0, 0.1]))
    assert smoothed.names.training == "training, maybe soft labels"


def test_a_data_set_is_told_in_a_line(digits):
    assert repr(digits) == (
        f"Dataset({len(digits.train.x):,} train, {len(digits.validation.x)} validation, 360 test; "
        "64 inputs (8 × 8), pixels, divided by 16: as asked; 10 classes; loss softmax)"
    )
    names = ("a\nb", "c" * 30, *map(str, range(8)))
    weights = np.ones(len(digits.train.x), np.float32)
    text = repr(replace(digits, class_names=names, weights=weights))
    listed = "10 classes: 'a\\nb', '" + "c" * 20 + "', '0', '1', …; loss softmax; weights"
    assert listed in text
    assert "\n" not in text


def test_progress_elsewhere_is_a_line_an_epoch(capsys):
    with show_progress(CONFIG) as on_epoch:
        jaxmlp.train(KEY, jaxmlp.Hyperparams(), tiny_dataset(), config=CONFIG, on_epoch=on_epoch)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert re.search(r"loss \d\.\d{4} train \d\.\d{4} validation  accuracy \d\.\d{4}$", lines[0])


@pytest.mark.parametrize("drawn", [True, False])
def test_progress_in_a_notebook(drawn, monkeypatch, capsys):
    """A bar that is drawn again at the end, or lines where the notebook cannot draw one."""
    refreshed = []
    monkeypatch.setattr(progress, "Console", lambda file: Console(file=file, force_jupyter=True))
    monkeypatch.setattr(progress, "find_spec", lambda name: name if drawn else None)
    monkeypatch.setattr(progress.Progress, "refresh", lambda bar: refreshed.append(bar.tasks[0]))
    monkeypatch.setattr(progress.Progress, "start", lambda bar: None)
    with show_progress(CONFIG) as on_epoch:
        on_epoch(3, Metrics(*map(jnp.float32, (1.0, 2.0, 0.5))))
    printed = "epoch 3/3  loss 1.0000 train 2.0000 validation  accuracy 0.5000"
    assert (printed in capsys.readouterr().out) != drawn
    assert refreshed[-1].completed == 3


def run(code, digits):
    """What a block of the README leaves, by its names."""
    config = replace(CONFIG, hidden=(16,), batch_size=64)
    names = {"jax": jax, "jaxmlp": jaxmlp, "dataset": digits, "config": config, "key": KEY}
    names["hyper"] = jaxmlp.Hyperparams()
    exec(code, names)
    return names


def test_readme(as_in_a_shell, digits, capsys):
    """What it says that a cell shows: the words, and the numbers nearly."""
    names = run(BLOCKS[0], digits)
    assert len(capsys.readouterr().out.splitlines()) == 20
    assert f"\n{digits!r}\n" in README
    shown = re.findall(r"^Result\(.*\)$", README, re.MULTILINE)
    ours, theirs = (re.split(r"(\d\.\d+)", text) for text in (repr(names["result"]), *shown))
    assert ours[::2] == theirs[::2]
    np.testing.assert_allclose(np.float64(ours[1::2]), np.float64(theirs[1::2]), atol=0.02)


@pytest.mark.filterwarnings("ignore")  # of other packages' own
def test_readme_logs_to_tensorboard(as_in_a_shell, digits):
    pytest.importorskip("tensorboardX")
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(BLOCKS[1], digits)
    found = reader.EventAccumulator("logs")
    found.Reload()
    for name in Metrics._fields:
        assert [each.step for each in found.Scalars(name)] == [1, 2, 3]
    expected = run(BLOCKS[0].replace("jaxmlp.Config(hidden=(64,), epochs=20)", "config"), digits)
    values = [each.value for each in found.Scalars("train_loss")]
    np.testing.assert_array_equal(np.float32(values), expected["result"].metrics.train_loss)


@pytest.mark.filterwarnings("ignore")
def test_readme_logs_to_mlflow(as_in_a_shell, digits):
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    run(BLOCKS[2], digits)
    (number,) = mlflow.search_runs()["run_id"]
    history = mlflow.MlflowClient().get_metric_history(number, "train_loss")
    assert [each.step for each in history] == [1, 2, 3]
    assert history[-1].value < history[0].value
