"""Labels as people have them: classes by any names, or rows of weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxmlp.data.arrays import MISSING, plain, refuse_first

MAX_CLASSES = 1_000  # more different labels than these are no classes


def encode_labels(
    given: Mapping[str, Any], classes: tuple[str, ...] = ()
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Number the classes of the training part in sorted order; rows stay rows.

    Args:
        given: labels by the user's own name of them, those of the training part first: classes as
            integers, booleans or text, of shape (n,) or (n, 1); or rows of real numbers or
            integers (n, n_out).
        classes: what they are called, if that is known: other labels are refused.

    Returns:
        Classes 0 … K − 1 of shape (n,), int32, or rows in float32 or int32; and what the classes
        are called: nothing for rows, and for classes that are called 0 … K − 1 already.

    Raises:
        ValueError: if a label is missing, or none of the training part's, or they are of a kind
            that makes no classes.
    """
    parts = {name: _as_array(name, labels) for name, labels in given.items()}
    own, train = next(iter(parts.items()))
    for name, part in parts.items():
        if part.ndim != train.ndim:
            raise ValueError(
                f"{name} has shape {part.shape}, but {own} {train.shape}: give the same kind"
            )
        if (part.dtype.kind in "US") != (train.dtype.kind in "US"):
            raise ValueError(
                f"{name} has dtype {part.dtype}, but {own} {train.dtype}: give the same kind"
            )
    if train.ndim == 2:
        for name, part in parts.items():
            says, remedy = "has weight 0 for every class", "leave it out"
            empty = np.asarray([not row.any() for row in part])
            refuse_first(name, empty, [], says, remedy)
        return {name: _as_row_dtype(part) for name, part in parts.items()}, ()
    known = _known(own, train, classes)
    encoded = {}
    for name, part in parts.items():
        if classes:
            part = part.astype(str)  # as names are
        order = np.argsort(known)
        places = order[np.minimum(np.searchsorted(known, part, sorter=order), len(known) - 1)]
        says, remedy = "is {!r}, which no training example is", "leave it out, or train with it"
        refuse_first(name, known[places] != part, [], says, remedy, part)
        encoded[name] = places.astype(np.int32)
    counted = np.array_equal(known.astype(str), np.arange(len(known)).astype(str))
    return encoded, () if counted else tuple(str(each) for each in known)


def _known(own: str, train: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """The classes of the training part, in the order of their numbers."""
    if classes:
        return np.asarray(classes)
    known = np.unique(train)
    if len(known) > MAX_CLASSES:
        raise ValueError(
            f"{own} holds {len(known)} different labels: at most {MAX_CLASSES} make classes"
        )
    if len(known) < 2:
        raise ValueError(f"{own} holds one class, {known[0]}: there is nothing to tell apart")
    return known


def _as_array(name: str, labels: Any) -> np.ndarray:
    """Classes of shape (n,), integers or text, or rows of numbers."""
    if isinstance(labels, np.ma.MaskedArray):
        refuse_first(name, np.ma.getmaskarray(labels), [], "is masked", "leave the row out")
    array = plain(labels)
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


def _as_row_dtype(rows: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what becomes infinite is refused with the infinities
        return rows.astype(np.float32) if rows.dtype.kind == "f" else rows.astype(np.int32)
