"""Data sets from arrays: inputs become numbers, labels classes, and some examples are held out."""

import sys
from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple, TypedDict, cast

import numpy as np

from jaxmlp.bounds import check_integer
from jaxmlp.data.arrays import as_numbers
from jaxmlp.data.dataset import Batch, Dataset, check_counts, check_weights
from jaxmlp.data.labels import KINDS, encode_labels, encode_rows
from jaxmlp.data.preprocessing import Preprocessing, as_bytes, fit, fit_targets, fits_in_8_bits
from jaxmlp.data.tables import Schema


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


def stratified(
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
            sparse or masked ones, or tables of pandas, whose columns, if they have names, are never
            taken for pixels by "auto". What is masked or missing is refused.
        y_train, y_test: classes as integers or text, (n,) or (n, 1), or rows of weights ≥ 0
            (n, n_out); for the other losses, numbers (n,) or (n, n_out).
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
    table = schema is not None or _is_table(x_train)
    _check_columns({f"x_{name}": part for name, (part, _) in given.items()})
    x = {name: as_numbers(f"x_{name}", part) for name, (part, _) in given.items()}
    n = len(x["train"])
    held = 0 if x_validation is not None else validation_size_of(n, validation_size)
    y = {f"y_{name}": part for name, (_, part) in given.items()}
    for name, part in x.items():  # before classes are missed for want of labels
        labels = y[f"y_{name}"]
        if not hasattr(labels, "shape") and hasattr(labels, "__len__"):
            labels = np.empty(len(labels))
        if np.ndim(labels):
            check_counts(f"x_{name}", part, f"y_{name}", labels)
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
        # once more, before the split takes rows of both
        check_counts(f"x_{name}", part, f"y_{name}", labels[f"y_{name}"])
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
        else fit(x["train"], inputs, pixel_max, schema.names if schema else (), table)
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
        image_shape=_image_shape(x["train"].shape, table and preprocessing.kind != "pixels"),
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
        raise ValueError("class_weight balances classes, but the labels are numbers: leave it out")
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
        check_class_weight(class_weight)
        each = np.asarray([given.get(name, 1.0) for name in known], float)
    else:
        raise ValueError(
            f"class_weight is {class_weight!r}: give 'balanced', or a dict of weights by class"
        )
    return ((1 if weights is None else weights) * each[labels]).astype(np.float32)


def check_class_weight(class_weight: Mapping[Any, Any]) -> None:
    """Raise ValueError unless all weights of some classes are finite, and none is negative."""
    for name, weight in class_weight.items():
        if not (isinstance(weight, Real) and 0 <= cast(Any, weight) <= sys.float_info.max):
            raise ValueError(
                f"class_weight is {weight!r} for the class {name!r}: give a finite number, 0 "
                "or more"
            )


def _check_columns(parts: dict[str, Any]) -> None:
    """Raise ValueError unless the tables among some parts have the same columns in one order."""
    columns = {name: list(part.columns) for name, part in parts.items() if hasattr(part, "columns")}
    for name, found in columns.items():
        if found != next(iter(columns.values())):
            raise ValueError(
                f"{name} has the columns {found[:10]}, but {next(iter(columns))} "
                f"{next(iter(columns.values()))[:10]}: give the same in the same order"
            )


def validation_size_of(n: int, asked: Any) -> int:
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


def _is_table(x: Any) -> bool:
    """Whether some examples are a table of pandas, say, whose columns have names."""
    names = [*getattr(x, "columns", [])]
    return bool(names) and all(isinstance(name, str) for name in names)


def _image_shape(shape: tuple[int, ...], table: bool) -> tuple[int, ...]:
    """Height and width of one example; a flat one of 784, say, is taken for a 28 × 28 image.

    A row of a table is none. Of colours (…, 3) and of volumes there are three sizes.
    """
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    colours_or_volume = len(shape) == 4 and (shape[3] == 3 or min(shape[1:]) > 4)
    if len(shape) == 3 or (colours_or_volume and shape[1] > 1):
        return shape[1:]
    n_in = int(np.prod(shape[1:]))
    side = int(n_in**0.5)
    return (side, side) if side * side == n_in and not table else (1, n_in)
