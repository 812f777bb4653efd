"""Data sets: what they are, and every check on their values."""

import hashlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Integer, Real

from jaxmlp.data import preprocessing, tables
from jaxmlp.data.arrays import refuse_first
from jaxmlp.data.labels import KINDS, MAX_CLASSES
from jaxmlp.data.preprocessing import BLOCK, Preprocessing
from jaxmlp.data.tables import Schema

AnyArray = jax.Array | np.ndarray
KINDS_OF_OUTPUTS = {"softmax": "classes", "squared": "targets", "sigmoid": "labels"}


class Batch(NamedTuple):
    """Examples with their labels.

    Attributes:
        x: inputs, shape (n, n_in), one row an example.
        labels: integer classes of shape (n,), or real rows of shape (n, n_out): one-hot,
            soft, or weights with any sum.
    """

    x: Float[AnyArray, "n n_in"]
    labels: Integer[AnyArray, " n"] | Real[AnyArray, "n n_out"]


@dataclass(frozen=True)
class Dataset:
    """The three parts of a data set, checked once, here, so that training need not.

    Attributes:
        train, validation, test: batches in host memory. The validation part guides choices;
            the test part is for the final figure only.
        image_shape: (height, width) of a flattened image, (height, width, 3) of one in colours,
            three sizes of a volume; (1, n_in) where there is none.
        scale: what a stored number is multiplied by to become an input: 1 for real inputs,
            1/255, say, for pixels kept as uint8, which take a quarter of the memory.
        preprocessing: what has made inputs of raw numbers, for others like them.
        class_names: what the outputs, classes, labels or targets, are called; none if they are
            called 0 … n_out − 1.
        schema: of the table that raw numbers were made of, if they were.
        loss: what the labels are for: softmax (classes, or rows of weights), squared (real
            targets, as rows) or sigmoid (several labels at once, as rows from 0 to 1).
        targets: what has made the rows of real targets, if they were standardised.
        weights: of the training examples, shape (n,); none if they count alike.
        remarks: on the files that they come from, pairs of a word and what there is to say.

    Raises:
        ValueError: if a part is empty, shapes do not fit, an input is not finite, a label is not
            finite, names no class of the training part or does not suit the loss, or a weight is
            negative.
    """

    train: Batch
    validation: Batch
    test: Batch
    image_shape: tuple[int, ...]
    scale: float = 1.0
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    class_names: tuple[str, ...] = ()
    schema: Schema | None = None
    loss: str = "softmax"
    targets: Preprocessing = field(default_factory=Preprocessing)
    weights: Float[AnyArray, " n"] | None = None
    remarks: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.loss not in KINDS:
            raise ValueError(f"loss is {self.loss!r}: give one of {', '.join(KINDS)}")
        for name in ("train", "validation", "test"):
            _check_part(name, getattr(self, name), self)
        if self.weights is not None:
            check_weights("weights", self.weights, len(self.train.x))
        if np.prod(self.image_shape) != self.n_in:
            raise ValueError(f"image_shape is {self.image_shape}, but there are {self.n_in} inputs")

    def __repr__(self) -> str:
        """Such as Dataset(1,150 train, …; 64 inputs (8 × 8), as is; 10 classes: 0, 1, …)."""
        parts = ", ".join(
            f"{len(getattr(self, name).x):,} {name}" for name in ("train", "validation", "test")
        )
        sizes = " × ".join(map(str, self.image_shape))
        image = f" ({sizes})" if self.image_shape[0] > 1 else ""
        n_out, what = self.n_out, KINDS_OF_OUTPUTS[self.loss]
        names = [repr(name[:20]) for name in self.class_names[:4]]
        listed = f": {', '.join(names)}{', …' * (n_out > 4)}" if names else ""
        weights = "" if self.weights is None else "; weights of the training examples"
        return (
            f"Dataset({parts}; {self.n_in:,} inputs{image}, {self.preprocessing}; "
            f"{n_out:,} {what}{listed}; loss {self.loss}{weights})"
        )

    @property
    def n_in(self) -> int:
        """Inputs per example."""
        return self.train.x.shape[1]

    @property
    def n_out(self) -> int:
        """Classes: columns of the label rows, or one more than the largest label to train on."""
        return len(self.class_names) or _n_out(self)

    @property
    def classes(self) -> tuple[str, ...]:
        """What each output is called."""
        return self.class_names or tuple(map(str, range(self.n_out)))

    def inputs(self, part: Batch) -> Batch:
        """`part` with its inputs as real numbers, as `loss` and `forward` take them."""
        if part.x.dtype != np.uint8:
            return part
        return part._replace(x=part.x.astype(np.float32) * np.float32(self.scale))


def fingerprint(dataset: Dataset) -> str:
    """A short name for the numbers of a data set, whether pixels are kept as 8 bits or not."""
    digest = hashlib.sha256()
    if dataset.loss != "softmax":
        digest.update(dataset.loss.encode())
    digest.update("\0".join(dataset.class_names).encode())
    if dataset.weights is not None:
        digest.update(np.ascontiguousarray(dataset.weights, np.float32).data)
    for part in (dataset.train, dataset.validation, dataset.test):
        digest.update(f"{part.x.shape}{part.labels.shape}".encode())
        for start in range(0, len(part.x), BLOCK):
            x, labels = dataset.inputs(Batch(*(array[start : start + BLOCK] for array in part)))
            for array in (x, labels):
                digest.update(np.ascontiguousarray(array, np.float64).data)
    return digest.hexdigest()[:16]


def described_inputs(dataset: Dataset) -> dict[str, Any]:
    """What makes inputs and labels of raw ones, as JSON takes it: kept with runs and sweeps."""
    return {
        "preprocessing": preprocessing.as_record(dataset.preprocessing),
        "classes": list(dataset.classes),
        "schema": dataset.schema and tables.as_record(dataset.schema),
        "targets": preprocessing.as_record(dataset.targets),
    }


def _check_part(name: str, part: Batch, dataset: Dataset) -> None:
    """Raise ValueError unless `part` is a sound batch that fits the training part."""
    (x, labels), train = part, dataset.train
    for what, array in part._asdict().items():
        if not hasattr(array, "dtype"):
            raise ValueError(f"{name}.{what} is a {type(array).__name__}: give an array")
    if x.ndim != 2 or 0 in x.shape or x.shape[1] != train.x.shape[1]:
        raise ValueError(
            f"{name}.x has shape {x.shape} and train.x {train.x.shape}: give (n, n_in) with "
            "n ≥ 1 and the same n_in everywhere, images flattened"
        )
    if not (np.issubdtype(x.dtype, np.floating) or x.dtype == np.uint8) or (
        x.dtype != train.x.dtype
    ):
        raise ValueError(
            f"{name}.x has dtype {x.dtype} and train.x {train.x.dtype}: give real numbers, or "
            "uint8 pixels with a scale, the same everywhere"
        )
    _check_finite(f"{name}.x", x)
    check_counts(f"{name}.x", x, f"{name}.labels", labels)
    if dataset.loss == "softmax":
        _check_labels(f"{name}.labels", labels, dataset)
    else:
        _check_rows(f"{name}.labels", labels, dataset)


def _check_labels(name: str, labels: AnyArray, dataset: Dataset) -> None:
    """Raise ValueError unless `labels` are classes, or rows, like those of the training part."""
    integer, real = (np.issubdtype(labels.dtype, kind) for kind in (np.integer, np.floating))
    if integer and labels.shape[1:] == (1,):
        raise ValueError(f"{name} have shape {labels.shape}: give classes as ({len(labels)},)")
    if not ((labels.ndim == 1 and integer) or (labels.ndim == 2 and (integer or real))):
        raise ValueError(
            f"{name} have dtype {labels.dtype} and shape {labels.shape}: give integer classes "
            "of shape (n,) or real rows of shape (n, n_out)"
        )
    _check_finite(name, labels)
    of_train = dataset.train.labels.shape
    if labels.shape[1:] != of_train[1:]:
        raise ValueError(
            f"{name} have shape {labels.shape}, but those of the training part {of_train}: give "
            "the same kind everywhere"
        )
    check_classes(labels, dataset.n_out, name)


def _check_rows(name: str, labels: AnyArray, dataset: Dataset) -> None:
    """Raise ValueError unless `labels` are rows like those of the training part."""
    of_train = dataset.train.labels.shape
    if labels.ndim != 2 or not labels.shape[1] or labels.shape[1:] != of_train[1:]:
        raise ValueError(
            f"{name} have shape {labels.shape}, and those of the training part {of_train}: with "
            f"the loss {dataset.loss!r} give rows of shape (n, n_out), n_out the same everywhere"
        )
    if not np.issubdtype(labels.dtype, np.floating):
        raise ValueError(f"{name} have dtype {labels.dtype}: give real numbers")
    _check_finite(name, labels)
    if dataset.loss == "sigmoid" and not (labels.min() >= 0 and labels.max() <= 1):
        raise ValueError(
            f"{name} run from {labels.min():g} to {labels.max():g}: several labels at once are "
            "0 or 1 each, or shares between them"
        )


def check_weights(name: str, weights: Any, n: int) -> None:
    """Raise ValueError unless there is a weight ≥ 0 for each of n examples, some of them more."""
    if np.shape(weights) != (n,):
        raise ValueError(
            f"{name} has shape {np.shape(weights)}, but there are {n} examples: give one each"
        )
    given = np.asarray(weights)
    if given.dtype.kind not in "buif":
        raise ValueError(f"{name} has dtype {given.dtype}, such as {given[0]!r}: give numbers")
    wrong = ~((given >= 0) & np.isfinite(given))
    refuse_first(name, wrong, [], "is {}", "give a finite number, 0 or more", given)
    if not np.any(weights):
        raise ValueError(f"{name} is 0 for every example: there is nothing to train on")


def _n_out(dataset: Dataset) -> int:
    """Classes; the validation part counts too, as chance may put all of a class there."""
    labels = dataset.train.labels, dataset.validation.labels
    if labels[0].ndim == 2:
        return labels[0].shape[1]
    return min(1 + max(int(np.max(each)) for each in labels), MAX_CLASSES)


def _check_finite(name: str, array: AnyArray) -> None:
    """Raise ValueError at the first NaN or infinity, saying where it stands."""
    if np.issubdtype(array.dtype, np.integer):
        return
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        place = tuple(int(index) for index in wrong[0])
        raise ValueError(
            f"{name} holds {array[place]} at {list(place)} ({len(wrong)} such in all): every "
            "number must be finite"
        )


def check_counts(name: str, x: AnyArray, own: str, labels: AnyArray) -> None:
    """Raise ValueError unless every example has its label."""
    if labels.shape[:1] != x.shape[:1]:
        raise ValueError(
            f"{name} has {len(x)} examples, but {own} has shape {labels.shape}: give a label for "
            "each"
        )


def check_classes(labels: Any, n_out: int, name: str = "labels") -> None:
    """Raise ValueError if an integer label is none of the classes 0 … n_out − 1."""
    if labels.ndim != 1:
        return
    values = np.asarray(labels)
    wrong = np.flatnonzero((values < 0) | (values >= n_out))
    if wrong.size:
        raise ValueError(
            f"{name} holds {values[wrong[0]]} at [{wrong[0]}], which is no class: classes run "
            f"from 0 to {n_out - 1}"
        )
