"""Labels as people have them: classes by any names, or rows of weights."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxmlp.data.arrays import MISSING, as_numbers, plain, refuse_first

EXACT = 2**53  # up to which every integer is a real number of 64 bits
MAX_CLASSES = 1_000  # more different labels than these are no classes
# by the loss that they are for
KINDS = {"softmax": "classes", "squared": "real targets", "sigmoid": "several labels at once"}


def encode_labels(
    given: Mapping[str, Any], classes: tuple[str, ...] = (), unlabelled: bool = False
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Number the classes of the training part in sorted order; rows stay rows.

    Args:
        given: labels by the user's own name of them, those of the training part first: classes as
            integers, booleans or text, of shape (n,) or (n, 1); or rows of weights, real numbers
            or integers, none of them negative (n, n_out).
        classes: what they are called, if that is known: other labels are refused.
        unlabelled: whether rows of zeros in the training part are examples without a label.

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
            says = "has weight 0 for every class"
            remedy = (
                "leave such rows out, or give the loss sigmoid (--loss sigmoid) if several labels "
                "are right at once, or none; in Python unlabelled=True lets them train without one"
            )
            if not (unlabelled and part is train):
                refuse_first(name, np.asarray(~part.any(axis=1)), [], says, remedy)
            remedy = (
                "rows are weights of classes, 0 or more: to predict numbers, give the loss "
                "squared (--loss squared), for several labels at once sigmoid (--loss sigmoid)"
            )
            refuse_first(name, np.asarray(part < 0), [], "is {:g}", remedy, part)
        return {name: _as_row_dtype(part) for name, part in parts.items()}, ()
    if unlabelled:
        raise ValueError(
            f"unlabelled is for rows of weights, of which those of zeros have no label, but {own} "
            "has classes: leave out the examples without one"
        )
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


def encode_rows(
    given: Mapping[str, Any], loss: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Real targets, or several labels at once, as rows (n, n_out) in float32.

    Args:
        given: by the user's own name of them, those of the training part first: shape (n,) or
            (n, n_out), of numbers; for several labels at once, 0 or 1 or shares between them.
        loss: squared or sigmoid.

    Returns:
        The rows, and what the columns are called, if the training part says so.

    Raises:
        ValueError: if an entry is missing, no finite number, or none that suits the loss.
    """
    rows = {}
    own = next(iter(given.values()))
    names = getattr(own, "columns", None)
    if names is None and isinstance(getattr(own, "name", None), str):  # a pandas Series
        names = [own.name]
    for name, labels in given.items():
        if hasattr(labels, "to_frame") and not hasattr(labels, "columns"):
            labels = labels.to_frame()
        elif not hasattr(labels, "toarray") and np.ndim(labels) == 1:
            labels = np.ma.asanyarray(plain(name, labels))[:, None]
        array = as_numbers(name, labels).astype(np.float32)
        if array.ndim != 2 or array.shape[1:] != next(iter(rows.values()), array).shape[1:]:
            raise ValueError(
                f"{name} has shape {np.shape(labels)}: give ({len(array)},) or ({len(array)}, "
                "n_out), n_out the same everywhere"
            )
        if loss == "sigmoid":
            says, remedy = "is {}", "several labels at once are 0 or 1 each"
            refuse_first(name, ~((array >= 0) & (array <= 1)), [], says, remedy, array)
        rows[name] = array
    return rows, tuple(map(str, names)) if names is not None else ()


def is_integer(text: str) -> bool:
    """Whether a text is an integer of 64 bits as Python writes it; another is a class by its text.

    So 007, +7, --7 and 2⁶³ are texts.
    """
    if not re.fullmatch(r"0|-?[1-9][0-9]{0,18}", text):
        return False
    return np.iinfo(np.int64).min <= int(text) <= np.iinfo(np.int64).max


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
    array = plain(name, labels)
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
    if array.ndim == 1 and kind == "f" and np.array_equal(array, np.floor(array)):
        says, remedy = "is {:g}, an integer that is not exact as a real number", "give it as text"
        refuse_first(name, np.abs(array) > EXACT, [], says, remedy, array)
        array, kind = array.astype(np.int64), "i"  # pandas makes 0.0 and 1.0 of integers
    if array.ndim == 1 and kind == "f":
        raise ValueError(
            f"{name} holds real numbers, such as {_real(array):g}: to predict numbers, give the "
            "loss squared (--loss squared); classes are integers or text, weights rows of shape "
            "(n, n_out)"
        )
    if kind not in ("iufb" if array.ndim == 2 else "iubUS"):
        raise ValueError(
            f"{name} has dtype {array.dtype} and shape {array.shape}: give classes as integers or "
            "text of shape (n,), or rows of real numbers (n, n_out)"
        )
    if kind == "S":
        return np.char.decode(array.astype(bytes), "utf-8", "replace")
    return array.astype(np.int32) if kind == "b" and array.ndim == 2 else array


def _real(array: np.ndarray) -> float:
    """One of some numbers, if there is one that is not whole."""
    broken = array[array != np.floor(array)]
    return float(broken[0] if len(broken) else array[0])


def _of_objects(name: str, array: np.ndarray) -> np.ndarray:
    """Python objects that are all integers, all real numbers, or all text."""
    missing = np.reshape([str(each) in MISSING for each in array.ravel()], array.shape)
    refuse_first(name, missing, [], "is missing", "leave the row out")
    kinds = {type(each) for each in array.ravel()}
    if all(issubclass(kind, (bool, np.bool_)) for kind in kinds):
        return array.astype(bool)
    if all(issubclass(kind, (int, np.integer)) for kind in kinds):
        wrong = np.reshape([not is_integer(str(each)) for each in array.ravel()], array.shape)
        says, remedy = "is {}, beyond the integers of 64 bits", "give the classes as text"
        refuse_first(name, wrong, [], says, remedy, array)
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
