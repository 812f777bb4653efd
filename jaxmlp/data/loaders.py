"""Where data sets come from: scikit-learn, OpenML, IDX files, .npz files and arrays."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack

import numpy as np

from jaxmlp.data.arrays import as_numbers
from jaxmlp.data.dataset import Batch, Dataset, check_counts, check_weights
from jaxmlp.data.families import read_archive, read_family
from jaxmlp.data.labels import KINDS, encode_labels, encode_rows
from jaxmlp.data.preprocessing import Preprocessing, as_bytes, fit, fit_targets, fits_in_8_bits
from jaxmlp.data.tables import (
    Schema,
    check_known,
    fit_schema,
    labels_of,
    numbers_of,
    read_table,
    targets_of,
)
from jaxmlp.settings import check_integer

TEST_SHARE = 0.2  # of a table without a file for testing


class Fitted(NamedTuple):
    """What was found in the training examples of a network: see `Dataset`."""

    preprocessing: Preprocessing
    classes: tuple[str, ...]
    schema: Schema | None = None
    targets: Preprocessing = Preprocessing()


class LoadOptions(TypedDict, total=False):
    """The keywords that every loader takes.

    data_seed: chooses the training examples that are held out for validation (default 0).
    validation_size: how many are held out (default: a tenth of the training examples).
    uint8: keep 8-bit pixels as they are, with a scale, instead of as float32 (default False).
    inputs: how raw numbers become inputs: "as is", "pixels" (divided by the largest), "standardise"
        or "minmax" by the training examples, or "auto", which chooses by the values (default).
    fitted: what a network was trained with, instead of fitting anew: preprocessing and class names.
    loss: what the labels are for: softmax (classes, default), squared (real targets) or sigmoid
        (several labels at once).
    targets: "as is" (default), or "standardise" for real targets with mean 0 and deviation 1 in the
        training examples; predictions are turned back.
    class_weight: "balanced", for classes that count alike however many examples they have, or a
        weight by the name of the class; None for examples that count alike (default).
    """

    data_seed: int
    validation_size: int
    uint8: bool
    inputs: str
    fitted: "Fitted | None"
    loss: str
    targets: str
    class_weight: "str | Mapping[Any, int | float] | None"


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
    return split_dataset(*read_family(Path(directory)), **options)


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
    **options: Unpack[LoadOptions],
) -> Dataset:
    """A data set in a CSV or Parquet file with one example a row and named columns.

    Columns of text become a column of 0 and 1 for each text. What is drawn from the file for
    testing and for validation holds each class in its share, if every class has two examples.

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
    frames = {name: read_table(file) for name, file in files.items()}
    targets = (target,) if isinstance(target, str) else tuple(target)
    loss = options.get("loss", "softmax")
    labels = {name: _labels_of(frame, files[name], targets, loss) for name, frame in frames.items()}
    rows = {name: np.arange(len(frame)) for name, frame in frames.items()}
    size = options.pop("validation_size", None)
    if test is None:
        n = len(rows["train"])
        held = max(1, round(test_share * n))
        rows["train"], rows["test"] = _stratified(rows["train"], labels["train"], held, 0)
    if validation is None:
        held, seed = _validation_size(len(rows["train"]), size), options.get("data_seed", 0)
        rows["train"], rows["validation"] = _stratified(rows["train"], labels["train"], held, seed)
    fitted = options.get("fitted")
    schema = fitted.schema if fitted else None
    if schema is None:
        schema = fit_schema(frames["train"], rows["train"], files["train"], targets, missing, drop)
    x = {name: numbers_of(frame, files[name], schema) for name, frame in frames.items()}
    known, kind = {*labels["train"][rows["train"]].ravel()}, np.float64
    if loss == "softmax":
        whole = all(text.lstrip("-").isdecimal() and str(int(text)) == text for text in known)
        kind = np.int64 if whole else str
    given: dict[str, Any] = {}
    for name, part in rows.items():
        source = name if name in frames else "train"
        if loss == "softmax":
            check_known(labels[source], part, known, files[source], targets[0])
        found = labels[source][part].astype(kind)
        given |= {f"x_{name}": x[source][part], f"y_{name}": found}
    dataset = split_dataset(**given, **options, schema=schema)
    return dataset if loss == "softmax" else replace(dataset, class_names=targets)


def _labels_of(frame: Any, path: Path, targets: tuple[str, ...], loss: str) -> np.ndarray:
    """The labels of a table: classes (n,) as text, or rows of numbers (n, n_out)."""
    if loss != "softmax":
        return targets_of(frame, path, targets)
    if len(targets) != 1:
        raise ValueError(
            f"--target names {len(targets)} columns: classes are in one; for several labels at "
            "once give --loss sigmoid, for numbers --loss squared"
        )
    return labels_of(frame, path, targets[0])


def _stratified(
    rows: np.ndarray, labels: np.ndarray, held: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Some rows without, and the rows of, a held out part; each class in its share if it can be.

    Raises:
        ValueError: if there are too few.
    """
    from sklearn.model_selection import train_test_split

    classes = labels[rows]
    if classes.ndim == 2:  # numbers, which have no classes to keep in their shares
        classes = np.zeros(len(rows))
    _, counts = np.unique(classes, return_counts=True)
    fits = counts.min() > 1 and len(counts) <= min(held, len(rows) - held)
    try:
        stay, out = train_test_split(
            rows, test_size=held, random_state=seed, stratify=classes if fits else None
        )
    except ValueError as error:
        raise ValueError(f"{len(rows)} examples are too few to hold out {held}") from error
    return np.asarray(stay), np.asarray(out)


def split_dataset(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    *,
    x_validation: Any = None,
    y_validation: Any = None,
    schema: Schema | None = None,
    inputs: str = "auto",
    fitted: Fitted | None = None,
    pixel_max: int | None = None,
    data_seed: int = 0,
    validation_size: int | None = None,
    uint8: bool = False,
    loss: str = "softmax",
    targets: str = "as is",
    class_weight: str | Mapping[Any, int | float] | None = None,
    sample_weight: Any = None,
    unlabelled: bool = False,
) -> Dataset:
    """A `Dataset` from arrays of one's own: images are flattened and a validation part split off.

    Args:
        x_train, x_test: shape (n, …): booleans, integers or real numbers; arrays of any dtype,
            sparse or masked ones, or tables of pandas. What is masked or missing is refused.
        y_train, y_test: classes as integers or text, (n,) or (n, 1), or real rows (n, n_out); for
            the other losses, numbers (n,) or (n, n_out).
        x_validation, y_validation: likewise; by default a part of the training examples.
        schema: of the table that the numbers come from, if they do: then they are no pixels.
        inputs: how raw numbers become inputs, see `LoadOptions`; fitted on the training examples
            without the validation part, and applied to all parts.
        pixel_max: the number that pixels are divided by: 255, or 65535 for images of 16 bits.
        data_seed, validation_size, uint8, fitted, loss, targets, class_weight: see `LoadOptions`.
        sample_weight: of the training examples, shape (n,), beside their classes' weight.
        unlabelled: whether rows of zeros in y_train are examples without a label.

    Raises:
        ValueError: as `Dataset`, or if an entry cannot be used, by its row and column, or if the
            validation part would leave nothing to train on.
    """
    if pixel_max is not None:
        check_integer("pixel_max", pixel_max, least=1)
    if loss not in KINDS:
        raise ValueError(f"loss is {loss!r}: give one of {', '.join(KINDS)}")
    check_integer("data_seed", data_seed)
    given = {"train": (x_train, y_train), "test": (x_test, y_test)}
    if x_validation is not None:
        given["validation"] = (x_validation, y_validation)
    _check_columns({f"x_{name}": part for name, (part, _) in given.items()})
    x = {name: as_numbers(f"x_{name}", part) for name, (part, _) in given.items()}
    n = len(x["train"])
    held = 0 if x_validation is not None else _validation_size(n, validation_size)
    y = {f"y_{name}": part for name, (_, part) in given.items()}
    if loss == "softmax":
        labels, names = encode_labels(y, fitted.classes if fitted else (), unlabelled)
    else:
        labels, names = encode_rows(y, loss)
        names = fitted.classes if fitted else names
    if sample_weight is not None:
        check_weights("sample_weight", sample_weight, n)
    for name, part in x.items():
        if part.shape[1:] != x["train"].shape[1:]:
            raise ValueError(
                f"x_{name} has shape {part.shape}, but x_train {x['train'].shape}: give examples "
                "of one shape"
            )
        check_counts(name, part, labels[f"y_{name}"])  # before the split takes rows of both
    if x_validation is None:
        rows = np.random.default_rng(data_seed).permutation(n)
        x["validation"], labels["y_validation"] = (
            part[rows[:held]] for part in (x["train"], labels["y_train"])
        )
        rows = rows[held:]
        x["train"], labels["y_train"] = (part[rows] for part in (x["train"], labels["y_train"]))
        sample_weight = None if sample_weight is None else np.asarray(sample_weight)[rows]
    preprocessing = (
        fitted.preprocessing
        if fitted
        else fit(x["train"], inputs, pixel_max, table=schema is not None)
    )
    turned = fitted.targets if fitted else fit_targets(labels["y_train"], targets, loss)
    if loss == "squared":
        labels = {name: turned(part) for name, part in labels.items()}
    kept = uint8 and all(fits_in_8_bits(part, preprocessing) for part in x.values())
    parts: dict[str, Any] = {
        name: Batch(as_bytes(part) if kept else preprocessing(part), labels[f"y_{name}"])
        for name, part in x.items()
    }
    return Dataset(
        **parts,
        image_shape=(1, schema.n_in) if schema else _image_shape(x["train"].shape),
        scale=float(preprocessing.scale) if kept else 1.0,
        preprocessing=preprocessing,
        class_names=names,
        schema=schema,
        loss=loss,
        targets=turned,
        weights=weights_of(labels["y_train"], names, class_weight, sample_weight),
    )


def weights_of(
    labels: np.ndarray,
    names: tuple[str, ...],
    class_weight: str | Mapping[Any, int | float] | None,
    sample_weight: Any,
) -> np.ndarray | None:
    """The weights (n,) of training examples, in float32; None if they count alike.

    Args:
        labels: classes from 0, or rows.
        names: what the classes are called.
        class_weight: "balanced", for n / (classes · examples of the class), as scikit-learn has
            it, or a weight by a class's name, 1 for the others; or None.
        sample_weight: shape (n,), or None.

    Raises:
        ValueError: if there are no classes, or no such class.
    """
    weights = None if sample_weight is None else np.asarray(sample_weight, np.float32)
    if class_weight is None:
        return weights
    if labels.ndim != 1:
        raise ValueError("class_weight is for classes as integers or text, not for rows of numbers")
    counts = np.bincount(labels)
    if class_weight == "balanced":
        each = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    elif isinstance(class_weight, Mapping):
        known = names or tuple(map(str, range(len(counts))))
        given = {str(name): weight for name, weight in class_weight.items()}
        if strange := [name for name in given if name not in known]:
            raise ValueError(
                f"class_weight names {strange[0]!r}, but the classes are {', '.join(known[:20])}"
            )
        each = np.asarray([given.get(name, 1.0) for name in known], float)
    else:
        raise ValueError(
            f"class_weight is {class_weight!r}: give 'balanced', or a dict of weights by class"
        )
    return ((1 if weights is None else weights) * each[labels]).astype(np.float32)


def _check_columns(parts: dict[str, Any]) -> None:
    """Raise ValueError unless the tables among some parts have the same columns in one order."""
    columns = {name: list(part.columns) for name, part in parts.items() if hasattr(part, "columns")}
    for name, found in columns.items():
        if found != next(iter(columns.values())):
            raise ValueError(
                f"{name} has the columns {found[:10]}, but {next(iter(columns))} "
                f"{next(iter(columns.values()))[:10]}: give the same in the same order"
            )


def _validation_size(n: int, asked: Any) -> int:
    """How many of n training examples are held out."""
    if isinstance(asked, float) and 0 < asked < 1:
        raise ValueError(
            f"validation_size is {asked}: it is how many examples are held out, such as "
            f"{max(1, round(asked * n))} for that share of {n}"
        )
    held = max(1, n // 10) if asked is None else asked
    if n < 2:
        raise ValueError(f"there is {n} training example: give at least 2, one is for validation")
    whole = isinstance(held, (int, np.integer)) and not isinstance(held, bool)
    if not whole or not 1 <= held < n:
        raise ValueError(
            f"validation_size is {held!r}, but there are {n} training examples: hold out "
            f"at least 1 and at most {n - 1}"
        )
    return int(held)


def _image_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of one example; a flat one of 784, say, is taken for a 28 × 28 image."""
    if len(shape) == 3:
        return shape[1], shape[2]
    n_in = int(np.prod(shape[1:]))
    side = int(n_in**0.5)
    return (side, side) if side * side == n_in else (1, n_in)
