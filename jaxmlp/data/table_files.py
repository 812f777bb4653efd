"""Readers of tables, CSV and Parquet: named columns of text as it stands there, or of numbers."""

import csv
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from jaxmlp.files import check_regular, free_memory

ENDINGS = (".csv", ".parquet")
SHARE = 64  # of the free memory: how much smaller a table has to be, as text takes more in memory
BYTES_EACH = 8  # of an entry of a Parquet file
LONGEST = 1000  # characters of a text
SAY_NOTHING = {"", "NA", "N/A", "NaN", "nan", "NULL", "null"}


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its name."""
    return path.suffix.lower() in ENDINGS


def read_table(path: Path) -> Any:
    """A pandas DataFrame of a CSV or a Parquet file: text as it stands in the file, or numbers.

    What is missing is None. Of a CSV all is text, so that the same text is the same everywhere,
    whatever else its column holds.

    Raises:
        ValueError: if it cannot be read, is empty or too large, has a column name twice, or a row
            of another number of fields than the header.
    """
    try:
        size = check_regular(path).st_size
        parquet = path.suffix.lower() == ".parquet"
        if parquet:
            from pyarrow.parquet import read_metadata

            found = read_metadata(path)  # of few bytes, it may be of many rows
            size = max(size, found.num_rows * found.num_columns * BYTES_EACH)
        if size > (limit := free_memory() // SHARE):
            raise ValueError(f"it has {size} bytes: memory allows {limit}")
        frame = _read_parquet(path) if parquet else _read_csv(path)
    except (MemoryError, ModuleNotFoundError):
        raise
    except Exception as error:  # pandas' and pyarrow's own, of many types
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} cannot be read as a table: {reason}") from error
    if frame.empty:
        raise ValueError(f"{path} has no rows, or no columns: give a table with a header line")
    return frame


def _read_csv(path: Path) -> Any:
    import pandas as pd

    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, skipinitialspace=True, strict=True)
        header = [name.strip() for name in next(rows, [])]
        if len(header) == 1 and (other := next((c for c in ";\t" if c in header[0]), None)):
            raise ValueError(f"its columns are separated by {other!r}: write it with commas")
        if twice := [name for name in header if header.count(name) > 1]:
            raise ValueError(f"it has the column {twice[0]!r} twice: give each a name of its own")
        columns: list[list[str | None]] = [[] for _ in header]
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise ValueError(
                    f"line {rows.line_num} has {len(row)} fields, but the header {len(header)}: "
                    "give every column a name and every row a field for it"
                )
            for column, text in zip(columns, row, strict=True):
                column.append(_text(text))
    found = {
        name: pd.Series(column, dtype=object) for name, column in zip(header, columns, strict=True)
    }
    return pd.DataFrame(found)


def _read_parquet(path: Path) -> Any:
    import pandas as pd

    frame = pd.read_parquet(path, engine="pyarrow")
    frame.columns = [str(name) for name in frame.columns]
    found = {}
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind in "iufb":
            found[name] = column.to_numpy()
            continue
        values = [None if _is_missing(each) else each for each in column.tolist()]
        kinds = {type(each) for each in values if each is not None}
        if not kinds <= {str, bool, int, float, Decimal}:
            strange = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise ValueError(f"its column {name!r} holds {strange}: give numbers or text")
        found[name] = pd.Series(
            [_text(v) if isinstance(v, str) else v for v in values], dtype=object
        )
    return pd.DataFrame(found)


def _is_missing(value: Any) -> bool:
    """Whether it is one of the ways to say nothing."""
    import pandas as pd

    return value is None or (not isinstance(value, (list, dict, np.ndarray)) and pd.isna(value))


def _text(text: str) -> str | None:
    """A field without spaces around it; None if it says that there is nothing."""
    text = text.strip()
    if len(text) > LONGEST:
        raise ValueError(f"it holds a text of {len(text)} characters: at most {LONGEST} are read")
    return None if text in SAY_NOTHING else text
