"""`jaxmlp train`: train a network, and leave a run folder."""

import itertools
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, make_dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from jaxmlp.bounds import check_integer
from jaxmlp.checkpoints import Checkpoint, checkpoints_in, load_checkpoint, save_checkpoint
from jaxmlp.cli import printable, say
from jaxmlp.cli.common import DataOptions, load_data, stoppable
from jaxmlp.cli.describing import lines_about
from jaxmlp.data import Dataset
from jaxmlp.data.preprocessing import undone
from jaxmlp.evaluation import Evaluation, evaluate
from jaxmlp.files import began_otherwise, read_json, write_bytes
from jaxmlp.gradient import manual_grad
from jaxmlp.losses import loss
from jaxmlp.progress import show_progress
from jaxmlp.results import Metrics, best_epoch_of
from jaxmlp.runs import AS_WRITTEN, SETTINGS, describe, finish, run_folder, score_of
from jaxmlp.settings import Config, Hyperparams, spoken
from jaxmlp.training import check_run, each_epoch, ended, first_batch, initial_state, wait

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
        data: digits, mnist, a folder with MNIST's four IDX files or those of Fashion-MNIST,
            EMNIST, QMNIST, KMNIST or K49, an .npz file with x_train, y_train, x_test and y_test
            or with MedMNIST's names, or a table, FILE.csv, .tsv or .parquet.
        out: the run folder to make; by default runs/ with the data's name and the time.
        resume: go on with the run in the folder `out`, after the last epoch that it holds.
        keep_going: do not stop when the loss is no number any more.
        seed: of the initial weights and the augmentation.
    """

    data: str = "digits"
    out: Path | None = None
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    keep_going: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    seed: int = 0
    options: DataOptions = field(default_factory=DataOptions)
    config: Config = field(default_factory=Config)
    numbers: Annotated[Any, tyro.conf.arg(name="")] = field(default_factory=Numbers)

    def run(self) -> None:
        """Train, report, save."""
        start = time.perf_counter()
        hyper = Hyperparams(**vars(self.numbers))
        check_integer("seed", self.seed)
        if self.resume and self.out is None:
            raise ValueError("--resume goes on with the run in a folder: name it with --out")
        config = self.config
        dataset = load_data(self.data, config.data_seed, self.options, loss=config.loss)
        check_run(jax.random.key(self.seed), hyper, dataset, self.config)
        record = describe(self.config, hyper, self.seed, self.data, dataset, asdict(self.options))
        out = self.out or _unused(
            Path("runs") / f"{_name(self.data)}-{datetime.now():%Y%m%d-%H%M%S}"
        )
        with run_folder(out, record, self.resume) as folder:
            score = score_of(folder)
            if score is None:
                with self._kept(folder):
                    score = self._train(folder, record, hyper, dataset)
            else:
                print("the run is finished: there is nothing to go on with")
        print(f"run folder  {printable(str(out))}")
        print(f"{time.perf_counter() - start:.1f} s in all")
        print(f"test {spoken(config.measured)} {score:.4f}")

    def _train(
        self, folder: Path, record: dict[str, Any], hyper: Hyperparams, dataset: Dataset
    ) -> float:
        """Fill the run folder; return how the network does on the test part."""
        key, config = jax.random.key(self.seed), self.config
        _describe(dataset, config)
        sizes = dataset.n_in, len(dataset.train.x), dataset.n_out
        like = jax.eval_shape(lambda: initial_state(key, hyper, config, *sizes))
        last, wrong = load_checkpoint(folder, record, like)
        for each in wrong:
            say(f"warning: {each}")
        if last is None:
            _report_agreement(key, hyper, dataset, config)
        else:
            print(f"going on after epoch {last.epoch} of {config.epochs}")
            if what := began_otherwise(read_json(folder / SETTINGS, AS_WRITTEN)):
                say(f"warning: {folder} began otherwise: {what}")
            if not (self.keep_going or np.isfinite(last.metrics).all()):
                raise ValueError(f"{folder} has diverged: only --keep-going goes on with it")
        last = self._epochs(folder, record, hyper, dataset, last)
        best = best_epoch_of(last.metrics, config)
        if best is not None:
            print(f"epoch {best} of {last.epoch} was the best: its parameters are kept")
        test = evaluate(last.state.chosen, dataset, dataset.test, config)
        title = f"{_name(self.data)}, {_shape(dataset, config)}, seed {self.seed}"
        softened = bool(hyper.label_smoothing > 0) or config.augmentation != "none"
        _save_pictures(folder, title, softened, dataset, config, last.metrics, test)
        test_loss = test.loss if np.isfinite(test.loss) else None  # JSON has no other name
        result = {f"test_{config.measured}": test.score, "test_loss": test_loss}
        result |= {"best_epoch": best} if best else {}
        finish(folder, record, last.state.chosen, last.metrics, result)
        return test.score

    @contextmanager
    def _kept(self, folder: Path) -> Iterator[None]:
        """Say of a run that is interrupted what is kept of it."""
        try:
            yield
        except KeyboardInterrupt:
            if not (kept := max(checkpoints_in(folder), default=0)):
                raise
            said = f"{folder} keeps {kept} of {self.config.epochs} epochs: to go on, add --resume"
            raise KeyboardInterrupt(said) from None

    def _epochs(
        self,
        folder: Path,
        record: dict[str, Any],
        hyper: Hyperparams,
        dataset: Dataset,
        last: Checkpoint | None,
    ) -> Checkpoint:
        """The epochs that are left, each of them kept; stops where the user asks for it."""
        key, config = jax.random.key(self.seed), self.config
        state, done = (last.state, last.epoch) if last else (None, 0)
        nothing: Any = np.empty(0, np.float32)
        with stoppable() as asked, show_progress(config) as show:
            seconds = math.inf
            epochs = each_epoch(key, hyper, dataset, config=config, state=state, done=done)
            for epoch, (now, metrics) in enumerate(epochs, done + 1):
                seconds = wait(metrics, seconds)
                if not (self.keep_going or np.isfinite(metrics).all()):
                    raise ValueError(_diverged(folder, epoch, metrics))
                before = last.metrics if last else Metrics(nothing, nothing, nothing)
                last = Checkpoint(now, jax.tree.map(np.append, before, metrics))
                save_checkpoint(folder, record, last)
                show(epoch, metrics)
                if asked() and epoch < config.epochs and not ended(now, config):
                    raise KeyboardInterrupt
        assert last is not None  # a run has at least one epoch
        return last


def _diverged(folder: Path, epoch: int, metrics: Metrics) -> str:
    """What to say where a loss is no number any more."""
    name, value = next((k, v) for k, v in metrics._asdict().items() if not np.isfinite(v))
    text = f"training diverged: in epoch {epoch} the {name.replace('_', ' ')} became {value}; "
    if epoch > 1:
        text += f"{folder} keeps the parameters of epoch {epoch - 1}; "
    return text + "try a smaller --learning-rate, or --keep-going"


def _name(data: str) -> str:
    """A short name for what `--data` names."""
    return printable(Path(data).name.removesuffix(".npz")) or "data"


def _unused(path: Path) -> Path:
    """The path, or one like it that does not exist: two runs may start in one second."""
    others = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(each for each in itertools.chain([path], others) if not each.exists())


def _shape(dataset: Dataset, config: Config) -> str:
    """The network in short, such as 64-256-10 relu."""
    widths = (dataset.n_in, *config.hidden, dataset.n_out)
    return f"{'-'.join(map(str, widths))} {config.activation}"


def _describe(dataset: Dataset, config: Config) -> None:
    device = jax.devices()[0]
    print("\n".join(lines_about(dataset)))
    print(f"network     {_shape(dataset, config)}, on {device.device_kind}")


def _report_agreement(key: Any, hyper: Hyperparams, dataset: Dataset, config: Config) -> None:
    """Say how closely the hand-written gradient and JAX's agree, where training begins."""
    params, batch = first_batch(key, hyper, dataset, config)
    settings = {"activation": config.activation, "loss": config.loss}
    manual = manual_grad(params, batch, **settings)
    autodiff = jax.jit(jax.grad(loss), static_argnames=[*settings])(params, batch, **settings)
    jax.block_until_ready((manual, autodiff))  # raises where there is not enough memory
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


def _save_pictures(
    folder: Path,
    title: str,
    softened: bool,
    dataset: Dataset,
    config: Config,
    metrics: Metrics,
    test: Evaluation,
) -> None:
    from jaxmlp import plots  # Matplotlib takes a while, and most commands need no picture

    pictures = {
        "curves.png": plots.learning_curves(
            np.arange(1, len(metrics.train_loss) + 1),
            *map(np.asarray, metrics),
            title=title,
            training="training, soft labels" if softened else "training",
            metric=config.measured,
            loss=config.loss,
        ),
    }
    if config.loss == "softmax":
        pictures |= _pictures_of_classes(dataset, test)
    else:
        true, found = (undone(dataset.targets, each) for each in (test.labels, test.predictions))
        pictures["predictions.png"] = plots.predictions(
            true, found, dataset.classes, "Test part", probabilities=config.loss == "sigmoid"
        )
    for name, figure in pictures.items():
        write_bytes(folder / name, plots.png(figure))


def _pictures_of_classes(dataset: Dataset, test: Evaluation) -> dict[str, Any]:
    from jaxmlp import mistakes

    return {
        "confusion.png": mistakes.confusion_matrix(
            test.labels,
            test.predictions.argmax(axis=1),
            dataset.classes,
            title="Test part",
        ),
        "mistakes.png": mistakes.confident_mistakes(
            np.asarray(dataset.inputs(dataset.test).x),
            test.labels,
            test.predictions,
            dataset.image_shape,
            title="The most confident mistakes of the test part",
            names=dataset.classes,
            columns=dataset.schema.titles if dataset.schema else (),
        ),
    }
