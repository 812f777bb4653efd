"""What the commands share: finding data and runs, and stopping where the user asks for it."""

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from jaxmlp.data import Batch, Dataset
from jaxmlp.data.labels import encode_labels, encode_rows
from jaxmlp.data.loaders import TEST_SHARE, load_digits, load_idx, load_mnist, load_npz, load_table
from jaxmlp.data.splitting import Fitted
from jaxmlp.data.table_files import is_table, read_table
from jaxmlp.data.tables import check_known, labels_of, numbers_of, targets_of
from jaxmlp.runs import Run, load_run
from jaxmlp.settings import Config

TABLE_OPTIONS = ("target", "test", "test_share", "validation", "missing", "drop", "categorical")
PACKED = (".gz", ".zip", ".bz2", ".xz", ".zst")
SHEETS = (".xlsx", ".xls", ".ods")
FOR_TABLES = Config(hidden=(64,), batch_size=32)
SHOW_CURSOR = b"\x1b[?25h"
FINISHING = b"jaxmlp: finishing the epoch; again to stop at once\n"


def with_defaults(command: type, arguments: Sequence[str]) -> Any:
    """A command that trains, with a smaller network and batch if it is given a table."""
    values = itertools.pairwise((*itertools.chain(*(each.split("=", 1) for each in arguments)), ""))
    data = next((value for name, value in [*values][::-1] if name == "--data"), "")
    default = command(config=default_config(data))
    return Annotated[command, tyro.conf.subcommand(command.__name__.lower(), default=default)]


def default_config(data: str) -> Config:
    """The settings of a training on what `--data` names, if no others are given."""
    return FOR_TABLES if is_table(Path(data)) else Config()


@dataclass(frozen=True)
class DataOptions:
    """How the data are read.

    Attributes:
        inputs: how raw numbers become inputs: as they are; pixels, divided by the largest; with
            mean 0 and deviation 1 in every column of the training examples, or from 0 to 1 there;
            auto chooses by the values, and says so.
        target: of a table: the column with the classes; with other losses, one or more columns
            of numbers.
        test: of a table: a file with the examples for testing.
        test_share: of a table without one: the share of its examples that are for testing.
        validation: of a table: a file with the examples for validation.
        missing: of a table: refuse what is missing, or impute the median of its column, and in
            columns of text a text of its own.
        drop: of a table: columns that are no inputs.
        categorical: of a table: columns of numbers that are names, such as codes; they are treated
            as text.
        targets: real targets as they are, or with mean 0 and deviation 1 in the training examples.
        class_weight: balanced lets all classes count alike, however many examples they have.
    """

    inputs: Literal["auto", "as is", "pixels", "standardise", "minmax"] = "auto"
    target: tuple[str, ...] = ()
    test: str | None = None
    test_share: float = TEST_SHARE
    validation: str | None = None
    missing: Literal["refuse", "impute"] = "refuse"
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    targets: Literal["as is", "standardise"] = "as is"
    class_weight: Literal["none", "balanced"] = "none"


def load_data(
    source: str,
    data_seed: int = 0,
    options: DataOptions = DataOptions(),
    fitted: Fitted | None = None,
    loss: str = "softmax",
) -> Dataset:
    """The data set that `--data` names, pixels kept as 8 bits.

    Raises:
        ValueError: if it is no known name, folder, table or .npz file, or its content is unsound.
    """
    path = Path(source)
    usual: Any = {
        "data_seed": data_seed,
        "inputs": options.inputs,
        "uint8": True,
        "fitted": fitted,
        "loss": loss,
        "targets": options.targets,
        "class_weight": None if options.class_weight == "none" else options.class_weight,
    }
    if is_table(path):
        return _load_table(path, options, usual)
    for name in TABLE_OPTIONS:
        if getattr(options, name) != getattr(DataOptions, name):
            flag = name.replace("_", "-")
            raise ValueError(
                f"--{flag} is for a CSV or Parquet file, but --data is {source!r}{_instead(path)}"
            )
    if source == "digits":
        return load_digits(**usual)
    if source == "mnist":
        return load_mnist(**usual)
    if path.suffix == ".npz":
        return load_npz(path, **usual)
    if path.is_dir() or (path.parent.is_dir() and [*path.parent.glob(f"{path.name}-*")]):
        return load_idx(path, **usual)
    raise ValueError(
        f"unknown data {source!r}: give digits, mnist, a folder with MNIST's four IDX files, or "
        f"a file that ends in .npz, .csv, .tsv or .parquet{_instead(path)}"
    )


def _instead(path: Path) -> str:
    """What to do about a place that may be meant for a table, and is none by its name."""
    if path.is_dir():
        tables = sorted(each for each in path.iterdir() if is_table(each))
        return f", a folder: name a file in it{f', such as {tables[0]}' if tables else ''}"
    if not path.is_file():
        return ""
    if "idx" in path.name:
        return f": give the folder with the four IDX files, {path.parent}"
    ending = path.suffix.lower()
    if ending in PACKED:
        return ": unpack the file first"
    if ending in SHEETS:
        return ": save the sheet as CSV"
    return ": rename the file, if it is a table with commas (.csv) or tabs (.tsv) between columns"


def _load_table(path: Path, options: DataOptions, usual: dict[str, Any]) -> Dataset:
    if not options.target:
        names = ", ".join(map(repr, read_table(path).columns[:20]))
        raise ValueError(f"{path} is a table: name the column with the labels by --target: {names}")
    table = {name: getattr(options, name) for name in TABLE_OPTIONS}
    return load_table(path, **table, **usual)


def trained(folder: Path, to_stdout: bool = True) -> Run:
    """The run in a folder, as `load_run` reads it; says so if it is not finished."""
    run = load_run(folder)
    if run.epoch is not None:
        text = f"not finished: the parameters of epoch {run.epoch} of {run.config.epochs}"
        print(text, file=sys.stdout if to_stdout else sys.stderr)
    return run


def options_of(run: Run) -> DataOptions:
    """How the data of a run were read.

    Raises:
        ValueError: if its record tells of no such options.
    """
    try:
        several = {
            name: tuple(run.options.get(name, ())) for name in ("drop", "categorical", "target")
        }
        options: Any = run.options | several
        return DataOptions(**options)
    except TypeError as error:
        raise ValueError(f"the options for data {run.options} are none: {error}") from error


def table_for(run: Run, path: Path) -> Dataset:
    """The rows of a table as a network takes them that was trained on another one; all for testing.

    Raises:
        ValueError: if the table lacks a column, or an entry cannot be used.
    """
    assert run.schema
    frame = read_table(path)
    x = run.preprocessing(numbers_of(frame, path, run.schema))
    targets, loss = run.schema.targets, run.config.loss
    if loss == "softmax":
        found = labels_of(frame, path, targets[0])
        check_known(found, np.arange(len(found)), {*run.classes}, path, targets[0])
        labels, _ = encode_labels({str(path): found.astype(str)}, run.classes)
    else:
        labels, _ = encode_rows(
            {str(path): targets_of(frame, path, targets, labels=loss == "sigmoid")}, loss
        )
    rows = labels[str(path)]
    part = Batch(x, run.targets(rows) if loss == "squared" else rows)
    settings: Any = {"class_names": run.classes, "loss": loss, "targets": run.targets}
    return Dataset(part, part, part, (1, x.shape[1]), **settings)


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """While it is open, Ctrl-C is a request, which the function says; a second one is an order.

    Nothing is lost by the order: files are renamed to their names when they are whole. Where a
    shell has Ctrl-C ignored, as for what runs behind it, it stays ignored.
    """
    asked: list[bool] = []

    def on_interrupt(*_: Any) -> None:
        # past Python's streams, into which somebody may be writing just now
        if asked:
            if os.isatty(1):
                os.write(1, SHOW_CURSOR)  # which a progress bar hides
            os._exit(128 + signal.SIGINT)
        asked.append(True)
        with suppress(OSError):
            os.write(2, FINISHING)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: bool(asked)
    finally:
        if not asked:  # else the next one is still an order, while the process ends
            signal.signal(signal.SIGINT, before)
