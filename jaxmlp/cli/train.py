"""`jaxmlp train`: train a network, and leave a run folder."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, make_dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from jaxmlp.cli.common import load_data
from jaxmlp.data import Batch, Dataset
from jaxmlp.evaluation import Evaluation, evaluate
from jaxmlp.gradient import manual_grad
from jaxmlp.ink import framing
from jaxmlp.losses import loss
from jaxmlp.runs import Run, new_folder, save_run
from jaxmlp.settings import Config, Hyperparams, check_integer
from jaxmlp.training import Metrics, check_run, first_batch, train

FRAMED = 10_000  # training images that are enough to measure how they are framed

# On the command line a hyperparameter is always a number, in Python it may be a traced array.
Numbers = make_dataclass(
    "Numbers",
    [(name, float, value) for name, value in Hyperparams._field_defaults.items()],
    namespace={"__doc__": Hyperparams.__doc__},
    frozen=True,
)


@dataclass(frozen=True)
class Train:
    """Train a network and write a run folder: settings, numbers, parameters, pictures.

    Attributes:
        data: digits, mnist, a folder with MNIST's four IDX files, or an .npz file with
            x_train, y_train, x_test and y_test.
        out: the run folder to make; by default runs/ with the data's name and the time.
        seed: of the initial weights and the augmentation.
    """

    data: str = "digits"
    out: Path | None = None
    seed: int = 0
    config: Config = field(default_factory=Config)
    numbers: Annotated[Any, tyro.conf.arg(name="")] = field(default_factory=Numbers)

    def run(self) -> None:
        """Train, report, save."""
        start = time.perf_counter()
        hyper = Hyperparams(**vars(self.numbers))
        check_integer("seed", self.seed)
        out = self.out or Path("runs") / f"{_name(self.data)}-{datetime.now():%Y%m%d-%H%M%S}"
        with new_folder(out) as folder:  # first of all, so that no training is in vain
            test = self._train(folder, hyper)
        print(f"run folder {out}: settings, metrics, parameters and pictures")
        print(f"{time.perf_counter() - start:.1f} s in all")
        print(f"test accuracy {test.accuracy:.4f}")

    def _train(self, folder: Path, hyper: Hyperparams) -> Evaluation:
        """Fill the run folder; return how the network does on the test part."""
        dataset = load_data(self.data, self.config.data_seed)
        key = jax.random.key(self.seed)
        check_run(key, hyper, dataset, self.config)
        _describe(dataset, self.config)
        _report_agreement(key, hyper, dataset, self.config)
        with _progress(self.config.epochs) as on_epoch:
            result = train(key, hyper, dataset, config=self.config, on_epoch=on_epoch)
        test = evaluate(result.params, dataset, dataset.test, self.config.activation)
        some = dataset.inputs(Batch(*(array[:FRAMED] for array in dataset.train)))
        frame = framing(np.asarray(some.x), dataset.image_shape)
        run = Run(self.config, hyper, self.seed, self.data, frame, result.params)
        summary = {"test_accuracy": test.accuracy, "test_loss": test.loss}
        save_run(folder, run, result.metrics, summary)
        _save_pictures(folder, run, dataset, result.metrics, test)
        return test


def _name(data: str) -> str:
    """A short name for what `--data` names."""
    return Path(data).name.removesuffix(".npz") or "data"


def _shape(dataset: Dataset, config: Config) -> str:
    """The network in short, such as 64-256-10 relu."""
    widths = (dataset.n_in, *config.hidden, dataset.n_out)
    return f"{'-'.join(map(str, widths))} {config.activation}"


def _describe(dataset: Dataset, config: Config) -> None:
    examples = ", ".join(
        f"{len(getattr(dataset, part).x):,} {part}" for part in ("train", "validation", "test")
    )
    device = jax.devices()[0]
    print(f"examples    {examples}")
    print(f"network     {_shape(dataset, config)}, on {device.device_kind}")


def _report_agreement(key: Any, hyper: Hyperparams, dataset: Dataset, config: Config) -> None:
    """Say how closely the hand-written gradient and JAX's agree, where training begins."""
    params, batch = first_batch(key, hyper, dataset, config)
    manual = manual_grad(params, batch, activation=config.activation)
    by_jax = jax.jit(jax.grad(loss), static_argnames="activation")
    autodiff = by_jax(params, batch, activation=config.activation)
    pairs = [
        [np.asarray(leaf) for leaf in leaves]
        for leaves in zip(jax.tree.leaves(manual), jax.tree.leaves(autodiff), strict=True)
    ]
    difference = max(np.max(np.abs(ours - theirs)) for ours, theirs in pairs)
    largest = max(np.max(np.abs(theirs)) for _, theirs in pairs)
    print(
        f"gradient    manual − autodiff ≤ {difference:.1e} on the first batch "
        f"(entries ≤ {largest:.1e})"
    )


@contextmanager
def _progress(epochs: int) -> Iterator[Callable[[int, Metrics], None]]:
    """A progress bar on a terminal, a line an epoch elsewhere; stops a run that diverges."""
    numbers = "loss {:.4f} train {:.4f} validation  accuracy {:.4f}"
    console = Console(file=sys.stdout)
    columns = (
        TextColumn("epoch {task.completed}/{task.total}"),
        BarColumn(bar_width=8),  # what 80 columns leave
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("compiling", total=epochs)

        def on_epoch(epoch: int, metrics: Metrics) -> None:
            values = [float(value) for value in metrics]
            if not np.isfinite(values).all():
                raise ValueError(
                    f"training diverged: in epoch {epoch} the train loss became {values[0]}; "
                    "try a smaller --learning-rate"
                )
            line = numbers.format(*values)
            bar.update(task, completed=epoch, description=line)
            if not console.is_terminal:
                print(f"epoch {epoch}/{epochs}  {line}", flush=True)

        yield on_epoch


def _save_pictures(
    folder: Path, run: Run, dataset: Dataset, metrics: Metrics, test: Evaluation
) -> None:
    from jaxmlp import plots  # Matplotlib takes a while, and most commands need no picture

    curves = [np.asarray(values) for values in metrics]
    epochs = np.arange(1, len(curves[0]) + 1)
    softened = run.hyper.label_smoothing > 0 or run.config.augmentation != "none"
    pictures = {
        "curves.png": plots.learning_curves(
            epochs,
            *curves,
            title=f"{_name(run.data)}, {_shape(dataset, run.config)}, seed {run.seed}",
            training="training, soft labels" if softened else "training",
        ),
        "confusion.png": plots.confusion_matrix(
            test.labels, test.probabilities.argmax(axis=1), dataset.n_out, title="Test part"
        ),
        "mistakes.png": plots.confident_mistakes(
            np.asarray(dataset.inputs(dataset.test).x),
            test.labels,
            test.probabilities,
            dataset.image_shape,
            title="The most confident mistakes of the test part",
        ),
    }
    for name, figure in pictures.items():
        plots.save(figure, folder / name)
