"""Where data sets come from: scikit-learn, OpenML, IDX files, .npz files and arrays."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from jaxmlp.data.dataset import Dataset
from jaxmlp.data.families import read_archive, read_family
from jaxmlp.data.labels import is_integer
from jaxmlp.data.remarks import remarks_on
from jaxmlp.data.splitting import LoadOptions, split_dataset, stratified, validation_size_of
from jaxmlp.data.table_files import read_table
from jaxmlp.data.tables import (
    check_known,
    fit_schema,
    labels_of,
    listed,
    numbers_of,
    targets_of,
)

TEST_SHARE = 0.2  # of a table without a file for testing


def load_digits(**options: Unpack[LoadOptions]) -> Dataset:
    """The 1,797 handwritten digits of 8 × 8 pixels that come with scikit-learn.

    A fifth of them (360) is the test part, the same whatever the options say.

    Returns:
        Inputs in [0, 1], classes 0 to 9.

    Raises:
        ValueError: if an option is out of range.
    """
    from sklearn.datasets import load_digits as sklearn_digits

    bunch: Any = sklearn_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    x, labels = bunch.images[order].astype(np.uint8), bunch.target[order].astype(np.int32)
    settings: Any = {"inputs": "pixels", "pixel_max": 16, **options}
    return split_dataset(x[360:], labels[360:], x[:360], labels[:360], **settings)


def load_mnist(cache: Path | None = None, **options: Unpack[LoadOptions]) -> Dataset:
    """MNIST from OpenML through scikit-learn, which keeps it in `cache` from the first time on.

    Args:
        cache: a folder; by default scikit-learn's own (see `sklearn.datasets.get_data_home`).
        options: see `LoadOptions`.

    Returns:
        The usual 60,000 training images, less the validation part, and 10,000 test images.

    Raises:
        ValueError: if it is neither in the cache nor to be had over the network.
    """
    from sklearn.datasets import fetch_openml

    try:
        with warnings.catch_warnings(action="ignore"):  # of its retries: the error says enough
            bunch: Any = fetch_openml("mnist_784", version=1, data_home=cache, as_frame=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"MNIST cannot be fetched from OpenML ({error}): check the network, or name a folder "
            "with its four IDX files"
        ) from error
    x, labels = bunch.data, bunch.target
    split = len(x) * 6 // 7  # OpenML keeps the original order: the test images come last
    x, labels = x.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.int32)
    return split_dataset(x[:split], labels[:split], x[split:], labels[split:], **options)


def load_idx(directory: str | Path, **options: Unpack[LoadOptions]) -> Dataset:
    """A data set in MNIST's four IDX files, each gzipped or not, or in one of its family's forms.

    Args:
        directory: the folder; where it holds several sets, as EMNIST's does, the folder with the
            beginning of the names of one, such as emnist/emnist-letters.
        options: see `LoadOptions`.

    Raises:
        ValueError: if a file is missing, truncated, corrupt or of the wrong kind, or the
            numbers of images and labels differ.
    """
    *arrays, turned = read_family(Path(directory))
    dataset = split_dataset(*arrays, **options)
    if turned:
        remark = f"EMNIST, by {turned}: its images lie on their side, and were turned upright"
        dataset = replace(dataset, remarks=(("note", remark),))
    return dataset


def load_npz(path: str | Path, **options: Unpack[LoadOptions]) -> Dataset:
    """A data set in one .npz file: x_train, y_train, x_test, y_test, or MedMNIST's names.

    How the numbers become inputs is chosen as `LoadOptions` says. Nothing is ever unpickled.

    Raises:
        ValueError: if the file is missing, corrupt, lacks an array or holds objects,
            or their shapes or values do not make a data set.
    """
    arrays: dict[str, Any] = {**read_archive(Path(path))}
    return split_dataset(**arrays, **options)


def load_table(
    path: str | Path,
    target: str | Sequence[str],
    *,
    test: str | Path | None = None,
    test_share: float = TEST_SHARE,
    validation: str | Path | None = None,
    missing: str = "refuse",
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    **options: Unpack[LoadOptions],
) -> Dataset:
    """A data set in a CSV or Parquet file with one example a row and named columns.

    Columns of text become a column of 0 and 1 for each text of the training examples. What is
    drawn from the file for testing and for validation holds each class in its share, if every
    class has two examples.

    Args:
        path: the file with the training examples.
        target: the column with the classes, integers or text; for the other losses, one or more
            columns of numbers.
        test, validation: files with the same columns; by default a part of the first file.
        test_share: of the examples for testing, where there is no file for it; the same whatever
            the data seed.
        missing: "refuse" what is missing, or "impute" the training examples' median of a column,
            and in columns of text a category of its own.
        drop: columns that are no inputs.
        categorical: columns of numbers that are names, such as codes: they are treated as text, as
            those are that a Parquet file says are categories.
        options: see `LoadOptions`.

    Raises:
        ValueError: if a file cannot be read or used, with its row and column.
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test_share is {test_share}: give a share between 0 and 1")
    if test is not None and test_share != TEST_SHARE:
        raise ValueError(f"test_share is {test_share}, but {test} holds the test part: give one")
    files = {"train": Path(path)}
    files |= {name: Path(file) for name, file in (("test", test), ("validation", validation))
              if file is not None}  # fmt: skip
    for name in ("test", "validation"):
        if name in files and files[name].resolve() == files["train"].resolve():
            raise ValueError(f"--{name} is {files[name]}, which holds the training examples")
    frames = {name: read_table(file) for name, file in files.items()}
    several = isinstance(target, Sequence) and not isinstance(target, str)
    targets: Any = tuple(target) if several else (target,)
    if not all(isinstance(name, str) for name in targets):
        raise ValueError(f"target is {target!r}: give the name of a column, or several")
    loss = options.get("loss", "softmax")
    if twice := [name for name in targets if targets.count(name) > 1]:
        raise ValueError(f"--target names {twice[0]!r} twice: name each column once")
    if strange := [name for name in targets if name not in frames["train"].columns]:
        names = listed(frames["train"].columns)
        raise ValueError(f"{path} has no column {strange[0]!r}: --target names one of {names}")
    _check_length(files, len(frames["train"]), test_share)
    labels = {name: _labels_of(frame, files[name], targets, loss) for name, frame in frames.items()}
    rows = {name: np.arange(len(frame)) for name, frame in frames.items()}
    size = options.pop("validation_size", None)
    if test is None:
        n = len(rows["train"])
        held = max(1, round(test_share * n))
        rows["train"], rows["test"] = stratified(rows["train"], labels["train"], held, 0)
    if validation is None:
        held, seed = validation_size_of(len(rows["train"]), size), options.get("data_seed", 0)
        rows["train"], rows["validation"] = stratified(rows["train"], labels["train"], held, seed)
    fitted = options.get("fitted")
    schema = fitted.schema if fitted else None
    if schema is None:
        schema = fit_schema(
            frames["train"], rows["train"], files["train"], targets, missing, drop, categorical
        )
    x = {name: numbers_of(frame, files[name], schema) for name, frame in frames.items()}
    known, kind = {*labels["train"][rows["train"]].ravel()}, np.float64
    if loss == "softmax" and len(known) < 2:
        raise ValueError(
            f"{path}, column {targets[0]!r} holds one class, {min(known)}, in the training part: "
            "there is nothing to tell apart"
        )
    if loss == "softmax":
        kind = np.int64 if all(map(is_integer, known)) else str
    given: dict[str, Any] = {}
    for name, part in rows.items():
        source = name if name in frames else "train"
        if loss == "softmax":
            check_known(labels[source], part, known, files[source], targets[0])
        found = labels[source][part].astype(kind)
        given |= {f"x_{name}": x[source][part], f"y_{name}": found}
    dataset = split_dataset(**given, **options, schema=schema)
    names = dataset.class_names if loss == "softmax" else targets
    remarks = remarks_on(frames["train"], rows["train"], schema)
    return replace(dataset, class_names=names, remarks=remarks)


def _check_length(files: Mapping[str, Path], n: int, test_share: float) -> None:
    """Raise ValueError if a table is too short for its parts: two training examples, one each."""
    drawn = [name for name in ("test", "validation") if name not in files]
    least = 2 + len(drawn)
    left = n - max(1, round(test_share * n)) if "test" in drawn else n
    if n >= least and left >= 2 + ("validation" in drawn):
        return
    count = f"{files['train']} has {n} example{'s' * (n > 1)}"
    if n >= least:
        raise ValueError(f"{count}, of which test_share {test_share} leaves {left}: give less")
    others = "".join(f", 1 for {name}{'ing' * (name == 'test')}" for name in drawn)
    flags = " and ".join(f"--{name}" for name in drawn)
    remedy = f"; or give {flags}" if drawn else ""
    raise ValueError(f"{count}: at least {least} are needed, 2 to train on{others}{remedy}")


def _labels_of(frame: Any, path: Path, targets: tuple[str, ...], loss: str) -> np.ndarray:
    """The labels of a table: classes (n,) as text, or rows of numbers (n, n_out)."""
    if loss != "softmax":
        return targets_of(frame, path, targets, labels=loss == "sigmoid")
    if len(targets) != 1:
        raise ValueError(
            f"--target names {len(targets)} columns: classes are in one; for several labels at "
            "once give --loss sigmoid, for numbers --loss squared"
        )
    return labels_of(frame, path, targets[0])
