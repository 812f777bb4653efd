"""Tables with named columns: text becomes 0 and 1, and is kept with the run."""

import itertools
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.data.arrays import LARGEST, refuse_first

MOST = 100  # different texts in a column that become columns of their own
ABSENT = ""  # the category of what is missing, where that is imputed: no text is empty
NEARLY_ALL = 0.9  # of the entries of a column: if as many are numbers, the others are mistakes
TRUTH = {"true": 1.0, "false": 0.0}
LIKE_A_NUMBER = re.compile(r"[-+]?[$€£]?\s?\d[\d.,'’\s]*([eE][-+]?\d+)?\s?[%$€£]?")
WRITTEN = "write 1234.5, without a comma, a space or a sign"
CODE = re.compile(r"^(-?\d+)\.0+$")
IMPUTE = ("refuse", "impute")
READ = (str, bool, int, float, Decimal)  # what an entry can be


class Column(NamedTuple):
    """A column of a table as inputs see it.

    Attributes:
        name: in the file.
        categories: of a column of text: each becomes a column of 0 and 1; none for numbers.
        fill: the number in the place of a missing one: the training examples' median; None where
            what is missing is refused.
    """

    name: str
    categories: tuple[str, ...]
    fill: float | None


class Schema(NamedTuple):
    """What makes raw numbers of a table.

    Attributes:
        columns: in the order of the inputs.
        targets: the names of the columns with the labels.
        missing: refuse, or impute.
    """

    columns: tuple[Column, ...]
    targets: tuple[str, ...]
    missing: str

    @property
    def n_in(self) -> int:
        """How many numbers an example becomes."""
        return len(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Of which column each of the numbers is."""
        return tuple(
            column.name for column in self.columns for _ in range(len(column.categories) or 1)
        )

    @property
    def titles(self) -> tuple[str, ...]:
        """What each of the numbers is called: see `columns_of`."""
        return tuple(name for column in self.columns for name in columns_of(column))


def columns_of(column: Column) -> list[str]:
    """What a column becomes: itself, or such as colour=red, as pandas.get_dummies would name it."""
    return [f"{column.name}={text}" for text in column.categories] or [column.name]


def labels_of(frame: Any, path: Path, target: str) -> np.ndarray:
    """The labels of a table, as text.

    Raises:
        ValueError: if there is no such column, or a label is missing or a real number.
    """
    column = _target(frame, path, target)
    numbers = entries_as_numbers(column)
    real = np.isfinite(numbers) & (numbers != np.floor(numbers))
    says = "is {}, a real number"
    remedy = "classes are integers or text; to predict numbers, give --loss squared"
    _refuse_first(path, real[:, None], [target], says, remedy, column.to_numpy(object)[:, None])
    return np.asarray([*map(code, column)], object)


def code(value: Any) -> str:
    """The text of a class or a category: 1.0 is the code 1.

    pandas makes real numbers of integers, if something is missing beside them.
    """
    return CODE.sub(r"\1", str(value))


def targets_of(frame: Any, path: Path, targets: Sequence[str], labels: bool = False) -> np.ndarray:
    """Columns of real targets, or of labels of which a row has several, as numbers (n, n_out).

    Raises:
        ValueError: if there is no such column, or an entry is missing or no finite number.
    """
    columns = []
    for name in targets:
        column = _target(frame, path, name)
        if not np.isfinite(entries_as_numbers(column)).any():
            raise ValueError(
                f"{path}, column {name!r} holds text, such as {column.iloc[0]!r}, and no numbers: "
                + ("write 1 or 0 for each label" if labels else "for classes, leave out --loss")
            )
        columns.append(_as_float(column, path, name, None))
        if labels:
            wrong = ~((columns[-1] >= 0) & (columns[-1] <= 1))[:, None]
            says, remedy = "is {}", "several labels at once are 0 or 1 each"
            _refuse_first(path, wrong, [name], says, remedy, columns[-1][:, None])
    return np.column_stack(columns)


def _target(frame: Any, path: Path, target: str) -> Any:
    """A column of labels, in which none is missing."""
    if target not in frame.columns:
        raise ValueError(
            f"{path} has no column {target!r}, the target: its columns are {listed(frame.columns)}"
        )
    column = _column(frame, path, target, "give numbers or text")
    remedy = (
        "leave the row out; texts such as NA, None and null say so too, as in pandas: if one is a "
        "class, write another word"
    )
    _refuse_first(path, column.isna().to_numpy()[:, None], [target], "is missing", remedy)
    return column


def _column(frame: Any, path: Path, name: str, remedy: str) -> Any:
    """A column of numbers or text."""
    column = frame[name]
    if column.dtype.kind not in "iufb":
        kinds = {type(each) for each in column if each is not None}
        if strange := sorted(kind.__name__ for kind in kinds if not issubclass(kind, READ)):
            raise ValueError(f"{path}, column {name!r} holds {', '.join(strange)}: {remedy}")
    return column


def check_known(
    labels: np.ndarray, rows: np.ndarray, known: set[str], path: Path, target: str
) -> None:
    """Raise ValueError for the first of some rows whose label no training example has."""
    wrong = np.zeros((len(labels), 1), bool)
    wrong[rows, 0] = [each not in known for each in labels[rows]]
    says, remedy = "is {!r}, which no training example is", "leave it out, or train with it"
    if all(np.isfinite(_as_number(each)) for each in known):
        remedy += "; to predict numbers, give --loss squared"
    _refuse_first(path, wrong, [target], says, remedy, labels[:, None])


def fit_schema(
    frame: Any,
    rows: np.ndarray,
    path: Path,
    targets: Sequence[str],
    missing: str = "refuse",
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
) -> Schema:
    """The schema of a table: the texts and the medians of its training examples.

    Args:
        frame: the table.
        rows: of the training examples in it.
        path, targets, missing, drop, categorical: as `load_table` takes them.

    Raises:
        ValueError: if a column that is named is not there, or one can be no input.
    """
    if missing not in IMPUTE:
        raise ValueError(f"missing is {missing!r}: give one of {', '.join(IMPUTE)}")
    for flag, names in (("drop", drop), ("categorical", categorical)):
        for name in names:
            if name not in frame.columns:
                raise ValueError(f"{path} has no column {name!r}, which --{flag} names")
            if name in targets or (flag == "categorical" and name in drop):
                other = "target" if name in targets else "drop"
                raise ValueError(f"--{flag} names {name!r}, and so does --{other}: give one")
    of_texts = {*categorical, *frame.attrs.get("categorical", ())}
    columns, of_train = [], np.zeros(len(frame), bool)
    of_train[rows] = True
    for name in frame.columns:
        if name in targets or name in drop:
            continue
        column = _column(frame, path, name, "give numbers or text, or leave it out by --drop")
        categories, fill = (), None
        there = column.notna().to_numpy() & of_train
        if not there.any():
            raise ValueError(
                f"{path}, column {name!r} is empty in all training examples: leave it out by --drop"
            )
        numbers = entries_as_numbers(column)
        number = ~np.isnan(numbers) & there
        if number[there].all() and name not in of_texts:
            _as_float(column, path, name, None)  # which refuses those that are too large
            fill = float(np.median(numbers[there])) if missing == "impute" else None
        else:
            truth = np.asarray([str(each).lower() in TRUTH for each in column])
            mostly = (number & ~truth).sum() > NEARLY_ALL * there.sum()
            if mostly and name not in of_texts:
                wrong = (there & ~number)[:, None]
                says, remedy = "is {!r}, but most others are numbers", "correct it, or use --drop"
                values = column.to_numpy(object)[:, None]
                _refuse_first(path, wrong, [name], says, remedy, values)
            texts = {(code if name in of_texts else str)(each) for each in column[there]}
            if len(texts) > MOST:
                raise ValueError(
                    f"{path}, column {name!r} holds {len(texts)} different texts, such as "
                    f"{min(texts)!r}: at most {MOST} become inputs; leave it out with --drop"
                )
            categories = (*sorted(texts), *([ABSENT] if missing == "impute" else []))
        columns.append(Column(name, categories, fill))
    if not columns:
        raise ValueError(f"{path} has no column beside {listed(targets)}: there are no inputs")
    return Schema(tuple(columns), tuple(targets), missing)


def numbers_of(frame: Any, path: Path, schema: Schema) -> np.ndarray:
    """The raw numbers (n, n_in) of a table, by the schema of the training examples.

    Raises:
        ValueError: if a column is not there, or an entry is missing, not a finite number where
            the training examples have numbers, or a text that none of them has.
    """
    parts = []
    for name, categories, fill in schema.columns:
        if name not in frame.columns:
            raise ValueError(f"{path} has no column {name!r}, which the training examples have")
        column = _column(frame, path, name, "give numbers or text, as the training examples have")
        absent = column.isna().to_numpy()[:, None]
        if schema.missing == "refuse":
            remedy = "fill it, leave the row out, or train with --missing impute"
            _refuse_first(path, absent, [name], "is missing", remedy)
        parts.append(
            _one_hot(column, path, name, categories)
            if categories
            else _as_float(column, path, name, fill)
        )
    return np.column_stack(parts)


def _one_hot(column: Any, path: Path, name: str, categories: tuple[str, ...]) -> np.ndarray:
    """A column of 0 and 1 for each category."""
    places = {text: place for place, text in enumerate(categories)}
    texts = [ABSENT if each is None or each != each else str(each) for each in column]
    found = np.asarray([places.get(text, places.get(code(text), -1)) for text in texts])
    says = "is {!r}, which no training example has"
    remedy = "correct it, leave the row out, or train with it, or without the column by --drop"
    if any(map(LIKE_A_NUMBER.fullmatch, itertools.compress(texts, found < 0))):
        remedy += f"; if it is a number, {WRITTEN}"
    values = np.asarray(texts, object)[:, None]
    _refuse_first(path, found[:, None] < 0, [name], says, remedy, values)
    return np.eye(len(categories))[found]


def _as_float(column: Any, path: Path, name: str, fill: float | None) -> np.ndarray:
    """A column of numbers."""
    numbers = entries_as_numbers(column)
    wrong = (~np.isfinite(numbers) & column.notna().to_numpy())[:, None]
    values = column.to_numpy(object)[:, None]
    _refuse_first(
        path, wrong, [name], "is {!r}, no finite number below 3.4e38", "correct it", values
    )
    return numbers if fill is None else np.where(np.isnan(numbers), fill, numbers)


def entries_as_numbers(column: Any) -> np.ndarray:
    """A column as numbers: true is 1 and false 0; NaN where there is none, or it is no number."""
    if column.dtype.kind in "iufb":
        return column.to_numpy(np.float64)
    return np.asarray([_as_number(each) for each in column])


def _as_number(value: Any) -> float:
    if isinstance(value, str):
        if value.lower() in TRUTH:
            return TRUTH[value.lower()]
        if "_" in value or not value.isascii():  # numbers to Python alone
            return np.nan
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return np.nan
    return number if abs(number) <= LARGEST else np.inf


def _refuse_first(path: Path, *arguments: Any) -> None:
    """Rows of a table are counted from 1, below its header."""
    refuse_first(str(path), *arguments, first=1)


def as_record(schema: Schema) -> dict[str, Any]:
    """What a run folder says of a schema, for `from_record`."""
    columns = [list(column) for column in schema.columns]
    return {"columns": columns, "targets": list(schema.targets), "missing": schema.missing}


def from_record(record: Any) -> Schema:
    """The schema that a record tells of.

    Raises:
        ValueError: if it tells of none.
    """
    try:
        columns = tuple(
            Column(str(name), tuple(map(str, categories)), None if fill is None else float(fill))
            for name, categories, fill in record["columns"]
        )
        schema = Schema(columns, tuple(map(str, record["targets"])), str(record["missing"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the schema {str(record)[:100]} is none: {error!r}") from error
    if not columns or not schema.targets or schema.missing not in IMPUTE:
        raise ValueError(f"the schema {str(record)[:100]} is none")
    return schema


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names in a message: quoted, and not too many."""
    return ", ".join(map(repr, names[:most])) + (" …" if len(names) > most else "")
