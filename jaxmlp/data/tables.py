"""Tables with named columns, as CSV or Parquet: text becomes 0 and 1, and is kept with the run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.data.arrays import refuse_first
from jaxmlp.files import check_regular, free_memory

ENDINGS = (".csv", ".parquet")
MOST = 100  # different texts in a column that become columns of their own
SHARE = 64  # of the free memory: how much smaller a table has to be, as text takes more in memory
BYTES_EACH = 8  # of an entry of a Parquet file
ABSENT = "missing"  # the category of what is missing, where that is imputed
IMPUTE = ("refuse", "impute")


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
        target: the name of the column with the labels.
        missing: refuse, or impute.
    """

    columns: tuple[Column, ...]
    target: str
    missing: str

    @property
    def n_in(self) -> int:
        """How many numbers an example becomes."""
        return sum(len(column.categories) or 1 for column in self.columns)


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its name."""
    return path.suffix.lower() in ENDINGS


def read_table(path: Path) -> Any:
    """A pandas DataFrame of a CSV or a Parquet file.

    Raises:
        ValueError: if it cannot be read, is empty, too large, or has a column name twice.
    """
    import pandas as pd

    try:
        size = check_regular(path).st_size
        if path.suffix.lower() == ".parquet":
            from pyarrow.parquet import read_metadata

            found = read_metadata(path)  # of few bytes, it may be of many rows
            size = max(size, found.num_rows * found.num_columns * BYTES_EACH)
        if size > (limit := free_memory() // SHARE):
            raise ValueError(f"it has {size} bytes: memory allows {limit}")
        if path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path, engine="pyarrow")
        else:
            frame = pd.read_csv(path, skipinitialspace=True, low_memory=False)
        for name, dtype in zip(frame.columns, frame.dtypes, strict=True):
            if dtype.kind not in "iufbMmc":  # text that is damaged shows only now
                frame[name] = frame[name].astype(object)
    except (MemoryError, ModuleNotFoundError):
        raise
    except Exception as error:  # pandas' and pyarrow's own, of many types
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} cannot be read as a table: {reason}") from error
    frame.columns = [str(name) for name in frame.columns]
    if frame.empty:
        raise ValueError(f"{path} has no rows, or no columns: give a table with a header line")
    if twice := [name for name in frame.columns if (frame.columns == name).sum() > 1]:
        raise ValueError(f"{path} has the column {twice[0]!r} twice: give each a name of its own")
    return frame


def labels_of(frame: Any, path: Path, target: str) -> np.ndarray:
    """The labels of a table: integers, or text.

    Raises:
        ValueError: if there is no such column, or a label is missing or a real number.
    """
    if target not in frame.columns:
        raise ValueError(
            f"{path} has no column {target!r}: --target names one of {_listed(frame.columns)}"
        )
    column = frame[target]
    missing = column.isna().to_numpy()[:, None]
    _refuse_first(path, missing, [target], "is missing", "leave the row out")
    kind = column.dtype.kind
    if kind == "f":
        raise ValueError(
            f"{path}, column {target!r} holds real numbers, such as {column.iloc[0]:g}: classes "
            "are integers or text"
        )
    return column.to_numpy() if kind in "iub" else column.astype(str).to_numpy().astype(str)


def fit_schema(
    frame: Any,
    rows: np.ndarray,
    path: Path,
    target: str,
    missing: str = "refuse",
    drop: Sequence[str] = (),
) -> Schema:
    """The schema of a table: all texts that it holds, and the medians of its training examples.

    Args:
        frame: the table.
        rows: of the training examples in it.
        path, target, missing, drop: as `load_table` takes them.

    Raises:
        ValueError: if a column to drop is not there, or one can be no input.
    """
    if missing not in IMPUTE:
        raise ValueError(f"missing is {missing!r}: give one of {', '.join(IMPUTE)}")
    for name in drop:
        if name not in frame.columns:
            raise ValueError(f"{path} has no column {name!r}, which --drop names")
    columns = []
    for name in frame.columns:
        if name == target or name in drop:
            continue
        column, categories, fill = frame[name], (), None
        if column.isna().all():
            raise ValueError(f"{path}, column {name!r} is empty: leave it out with --drop")
        if column.dtype.kind in "iufb":
            median = column.iloc[rows].astype(float).median()
            fill = float(np.nan_to_num(median)) if missing == "impute" else None
        elif column.dtype.kind in "Mmc":
            raise ValueError(
                f"{path}, column {name!r} has dtype {column.dtype}: give numbers, or text, or "
                "leave it out with --drop"
            )
        else:
            texts = column.dropna().astype(str)
            if missing == "impute" and column.isna().any():
                texts = [*texts, ABSENT]
            categories = tuple(sorted({*texts}))
            if len(categories) > MOST:
                raise ValueError(
                    f"{path}, column {name!r} holds {len(categories)} different texts, such as "
                    f"{categories[0]!r}: at most {MOST} become inputs; leave it out with --drop"
                )
        columns.append(Column(name, categories, fill))
    if not columns:
        raise ValueError(f"{path} has no column beside {target!r}: there are no inputs")
    return Schema(tuple(columns), target, missing)


def numbers_of(frame: Any, path: Path, schema: Schema) -> np.ndarray:
    """The raw numbers (n, n_in) of a table, by the schema of the training examples.

    Raises:
        ValueError: if a column is not there, or an entry is missing, not a number where the
            training examples have numbers, or a text that none of them has.
    """
    parts = []
    for name, categories, fill in schema.columns:
        if name not in frame.columns:
            raise ValueError(f"{path} has no column {name!r}, which the training examples have")
        column = frame[name]
        absent = column.isna().to_numpy()[:, None]
        if schema.missing == "refuse" or (categories and ABSENT not in categories):
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
    texts = column.astype(str).where(column.notna(), ABSENT).to_numpy().astype(str)
    found = texts[:, None] == np.asarray(categories)[None, :]
    strange = ~found.any(axis=1, keepdims=True)
    says, remedy = "is {!r}, which no training example has", "correct it, or train with it"
    _refuse_first(path, strange, [name], says, remedy, texts[:, None])
    return found.astype(float)


def _as_float(column: Any, path: Path, name: str, fill: float | None) -> np.ndarray:
    """A column of numbers."""
    import pandas as pd

    numeric: Any = pd.to_numeric(column, errors="coerce")
    numbers = numeric.to_numpy(float, na_value=np.nan)
    wrong = (np.isnan(numbers) & column.notna().to_numpy())[:, None]
    values = column.to_numpy(object)[:, None]
    _refuse_first(path, wrong, [name], "is {!r}, no number", "correct it", values)
    return numbers if fill is None else np.where(np.isnan(numbers), fill, numbers)


def _refuse_first(path: Path, *arguments: Any) -> None:
    """Rows of a table are counted from 1, below its header."""
    refuse_first(str(path), *arguments, first=1)


def as_record(schema: Schema) -> dict[str, Any]:
    """What a run folder says of a schema, for `from_record`."""
    columns = [list(column) for column in schema.columns]
    return {"columns": columns, "target": schema.target, "missing": schema.missing}


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
        schema = Schema(columns, str(record["target"]), str(record["missing"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the schema {str(record)[:100]} is none: {error!r}") from error
    if not columns or schema.missing not in IMPUTE:
        raise ValueError(f"the schema {str(record)[:100]} is none")
    return schema


def _listed(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(map(repr, names[:most])) + (" …" if len(names) > most else "")
