"""Arrays as people have them, made into plain NumPy arrays, or refused in their own names."""

from typing import Any

import numpy as np

LARGEST = float(np.finfo(np.float32).max)
MISSING = ("nan", "None", "<NA>", "NaT")


def as_numbers(name: str, x: Any) -> np.ndarray:
    """Inputs as an array of booleans, integers or real numbers, every one of them finite.

    Args:
        name: what the user calls them, for messages: x_train, say.
        x: an array, a masked or a sparse one, a table of pandas with nullable columns, or lists;
            in any byte order.

    Raises:
        ValueError: if an entry is masked, missing, not finite or no number, with its row and
            column; or if there are none.
    """
    columns = [str(each) for each in getattr(x, "columns", [])]
    if isinstance(x, np.ma.MaskedArray):
        refuse_first(name, np.ma.getmaskarray(x), columns, "is masked", "fill it, or leave it out")
        x = x.data
    array = _native(plain(name, x))
    if array.dtype == object or array.dtype.kind in "US":
        array = _parsed(name, array, columns)
    if array.dtype.kind not in "buif":
        raise ValueError(f"{name} has dtype {array.dtype}: give real numbers")
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}: give (n, …) with at least one example")
    if array.dtype.kind == "f":
        wrong = ~(np.abs(array.astype(np.float64)) <= LARGEST)
        refuse_first(name, wrong, columns, "is {}", "give finite numbers below 3.4e38", array)
    return array


def plain(name: str, values: Any) -> np.ndarray:
    """The NumPy array of anything that is or has one, sparse ones too.

    Raises:
        ValueError: if rows have different lengths.
    """
    if hasattr(values, "toarray"):
        return values.toarray()
    try:
        return values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    except ValueError as error:
        lengths = {np.size(row) for row in values}
        raise ValueError(
            f"{name} has rows of different lengths, such as {min(lengths)} and {max(lengths)}: "
            "give all the same"
            if len(lengths) > 1
            else f"{name} is no array: {error}"
        ) from error


def refuse_first(
    name: str,
    wrong: np.ndarray,
    columns: list[str],
    what: str,
    remedy: str,
    array: Any = None,
    first: int = 0,
) -> None:
    """Raise ValueError for the first entry that is wrong, with its row and column, if one is.

    Args:
        name: of the array.
        wrong: which entries are.
        columns: their names, if they have some.
        what: is wrong, with {} in the place of the entry.
        remedy: what to do.
        array: of the entries.
        first: the number of the first row.
    """
    places = np.argwhere(wrong)
    if not len(places):
        return
    place = tuple(int(index) for index in places[0])
    where = f"row {place[0] + first}"
    if len(place) == 2:
        where += f", column {columns[place[1]]!r}" if columns else f", column {place[1]}"
    elif len(place) > 2:
        where += f", at {list(place[1:])}"
    if array is not None:
        value = array[place]
        what = what.format(value.item() if hasattr(value, "item") else value)
    others = f" ({len(places)} such in all)" if len(places) > 1 else ""
    raise ValueError(f"{name}, {where}: it {what}{others}; {remedy}")


def _native(array: np.ndarray) -> np.ndarray:
    """The same numbers in this machine's byte order."""
    return array.astype(array.dtype.newbyteorder("=")) if array.dtype.kind in "iufc" else array


def _parsed(name: str, array: np.ndarray, columns: list[str]) -> np.ndarray:
    """Python objects and text as numbers."""
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        wrong = np.reshape([not _is_number(each) for each in array.ravel()], array.shape)
    text = np.reshape([str(each) in MISSING for each in array.ravel()], array.shape)
    refuse_first(name, wrong & text, columns, "is missing", "fill it, or leave the row out")
    refuse_first(name, wrong, columns, "is {!r}, no number", "turn text into numbers first", array)
    raise ValueError(f"{name} has dtype {array.dtype}: give real numbers")


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True
