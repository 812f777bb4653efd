"""Labels as people have them: classes by any names, or rows of weights."""

from typing import Any, NamedTuple

import numpy as np

from jaxmlp.data.arrays import MISSING, refuse_first

MAX_CLASSES = 1_000  # more different labels than these are no classes


class Encoded(NamedTuple):
    """Labels of both parts.

    Attributes:
        train, test: classes 0 … K − 1 of shape (n,), int32, or real rows (n, n_out), float32.
        names: of the classes, in their order; empty for rows, and for classes that are called
            0 … K − 1 already.
    """

    train: np.ndarray
    test: np.ndarray
    names: tuple[str, ...]


def encode_labels(y_train: Any, y_test: Any) -> Encoded:
    """Number the classes of the training part in sorted order; rows stay rows.

    Args:
        y_train, y_test: classes as integers, booleans or text, of shape (n,) or (n, 1); or rows
            of real numbers or integers (n, n_out).

    Raises:
        ValueError: if a label is missing, or none of the training part's, or they are of a kind
            that makes no classes.
    """
    parts = _as_array("y_train", y_train), _as_array("y_test", y_test)
    for name, part in zip(("y_train", "y_test"), parts, strict=True):
        if part.ndim != parts[0].ndim:
            raise ValueError(
                f"{name} has shape {part.shape}, but y_train {parts[0].shape}: give the same kind"
            )
        if (part.dtype.kind in "US") != (parts[0].dtype.kind in "US"):
            raise ValueError(
                f"{name} has dtype {part.dtype}, but y_train {parts[0].dtype}: give the same kind"
            )
    if parts[0].ndim == 2:
        return Encoded(*map(_as_row_dtype, parts), ())
    known, numbers = np.unique(parts[0], return_inverse=True)
    if len(known) > MAX_CLASSES:
        raise ValueError(
            f"y_train holds {len(known)} different labels: at most {MAX_CLASSES} make classes"
        )
    if len(known) < 2:
        raise ValueError(f"y_train holds one class, {known[0]}: there is nothing to tell apart")
    if known.dtype.kind in "iu" and np.array_equal(known, np.arange(len(known))):
        return Encoded(*(_as_int32(name, part) for name, part in
                         zip(("y_train", "y_test"), parts, strict=True)), ())  # fmt: skip
    places = np.searchsorted(known, parts[1])
    strange = known[np.minimum(places, len(known) - 1)] != parts[1]
    remedy = "give a test part of the same classes"
    refuse_first("y_test", strange, [], "is {!r}, which no training example is", remedy, parts[1])
    names = tuple(str(each) for each in known)
    return Encoded(numbers.astype(np.int32), places.astype(np.int32), names)


def _as_array(name: str, labels: Any) -> np.ndarray:
    """Classes of shape (n,), integers or text, or rows of numbers."""
    if isinstance(labels, np.ma.MaskedArray):
        refuse_first(name, np.ma.getmaskarray(labels), [], "is masked", "leave the row out")
    array = labels.to_numpy() if hasattr(labels, "to_numpy") else np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2) or not len(array):
        raise ValueError(f"{name} has shape {array.shape}: give (n,) classes or (n, n_out) rows")
    if array.dtype == object:
        array = _of_objects(name, array)
    kind = array.dtype.kind
    if kind in "iuf":
        array = array.astype(array.dtype.newbyteorder("="))
    if kind == "f":
        wrong = ~np.isfinite(array)
        refuse_first(name, wrong, [], "is {}", "every label must be finite", array)
    if array.ndim == 1 and kind == "f":
        raise ValueError(
            f"{name} holds real numbers, such as {array[0]:g}: for classes give integers or text, "
            "for weights rows of shape (n, n_out)"
        )
    if kind not in ("iufb" if array.ndim == 2 else "iubUS"):
        raise ValueError(
            f"{name} has dtype {array.dtype} and shape {array.shape}: give classes as integers or "
            "text of shape (n,), or rows of real numbers (n, n_out)"
        )
    if kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    return array.astype(np.int32) if kind == "b" and array.ndim == 2 else array


def _of_objects(name: str, array: np.ndarray) -> np.ndarray:
    """Python objects that are all integers, all real numbers, or all text."""
    missing = np.reshape([str(each) in MISSING for each in array.ravel()], array.shape)
    refuse_first(name, missing, [], "is missing", "leave the row out")
    kinds = {type(each) for each in array.ravel()}
    if all(issubclass(kind, (bool, np.bool_)) for kind in kinds):
        return array.astype(bool)
    if all(issubclass(kind, (int, np.integer)) for kind in kinds):
        return array.astype(np.int64)
    if all(issubclass(kind, (int, float, np.integer, np.floating)) for kind in kinds):
        return array.astype(np.float64)
    if all(issubclass(kind, str) for kind in kinds):
        return array.astype(str)
    found = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise ValueError(f"{name} holds objects of type {found}: give integers, or text")


def _as_int32(name: str, classes: np.ndarray) -> np.ndarray:
    """Classes in the type that JAX takes; what is too large for it becomes one that is refused."""
    wrong = (classes < 0) | (classes >= MAX_CLASSES)
    remedy = "give a test part of the same classes"
    refuse_first(name, wrong, [], "is {!r}, which no training example is", remedy, classes)
    return classes.astype(np.int32)


def _as_row_dtype(rows: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what becomes infinite is refused with the infinities
        return rows.astype(np.float32) if rows.dtype.kind == "f" else rows.astype(np.int32)
