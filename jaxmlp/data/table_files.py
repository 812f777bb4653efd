"""Readers of tables, CSV and Parquet: named columns of text as it stands there, or of numbers."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from jaxmlp.data.tables import code
from jaxmlp.files import check_regular, free_memory

ENDINGS = (".csv", ".tsv", ".parquet")
SEPARATORS = ";\t|,"
CONVERT = "convert it, as by iconv -f {} -t UTF-8, or save it as CSV UTF-8"
SHARE = 64  # of the free memory: how much smaller a table has to be, as text takes more in memory
BYTES_EACH = 8  # of an entry of a Parquet file
LONGEST = 1000  # characters of a text
# what pandas.read_csv takes for missing, so that a table is the same in both
SAY_NOTHING = {
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
}  # fmt: skip


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its name."""
    return path.suffix.lower() in ENDINGS


def read_table(path: Path) -> Any:
    """A pandas DataFrame of a file, CSV (or .tsv) or Parquet: text as it stands there, or numbers.

    What is missing is None. Of a CSV all is text, so that the same text is the same everywhere,
    whatever else its column holds. Of a Parquet file, whose texts are known as such, none but the
    empty one says that something is missing; its categories are texts, and `attrs["categorical"]`
    names their columns; what is neither a number nor text is left as it is.

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
    """A table in text, with commas between its columns, or in a .tsv file tabs."""
    import pandas as pd

    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    begun = 1  # the line with the beginning of the row that is read
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = file.readline(), file.readline()
            file.seek(0)
            rows = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
            header = [name.strip() for name in next(rows, [])]
            _check_header(header, separator, *lines)
            begun = rows.line_num + 1
            columns: list[list[str | None]] = [[] for _ in header]
            for row in rows:
                begun = rows.line_num + 1
                if not row:
                    continue
                if len(row) != len(header):
                    raise ValueError(
                        f"line {rows.line_num} has {len(row)} fields, but the header "
                        f"{len(header)}: give every column a name and every row a field for it"
                    )
                for column, text in zip(columns, row, strict=True):
                    column.append(_text(text))
    except UnicodeDecodeError as error:
        raise ValueError(_not_utf8(path, error.object[error.start])) from error
    except csv.Error as error:
        raise ValueError(
            f"{error}, in the row that begins in line {begun}: is a quote there not closed?"
        ) from error
    found = {
        name: pd.Series(column, dtype=object) for name, column in zip(header, columns, strict=True)
    }
    return pd.DataFrame(found)


def _check_header(header: list[str], separator: str, line: str, second: str) -> None:
    """Raise ValueError if the names of columns are not separated so, or one is there twice.

    Args:
        header: the names that were found in a line.
        separator: by which they were.
        line, second: the first two lines.
    """
    if "\0" in "".join(header):
        raise ValueError(f"it is UTF-16, not UTF-8: {CONVERT.format('UTF-16')}")
    counts = {each: line.count(each) for each in SEPARATORS if each != separator}
    others = [each for each, count in counts.items() if count and len(header) == 1]
    # a comma in a name, as in a;b,c;y, divides it too, and what is right is in each line as often
    others += [each for each, n in counts.items() if n >= len(header) and second.count(each) == n]
    if header and others:
        remedy = "write it with commas between columns, and points in numbers"
        remedy = {"\t": "name it .tsv", ",": "name it .csv"}.get(others[0], remedy)
        raise ValueError(f"its columns are separated by {others[0]!r}: {remedy}")
    if twice := [name for name in header if header.count(name) > 1]:
        raise ValueError(f"it has the column {twice[0]!r} twice: give each a name of its own")


def _not_utf8(path: Path, byte: int) -> str:
    """What a file is that is not UTF-8 text, and what to do."""
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"it is UTF-16, not UTF-8: {CONVERT.format('UTF-16')}"
    packed = {b"\x1f\x8b": "gzip", b"PK": "ZIP (as .xlsx are)", b"PAR1": "Parquet"}
    for begins, name in packed.items():
        if head.startswith(begins):
            return f"it is {name}, not text: give a CSV file, or a Parquet file named .parquet"
    return (
        f"it is not UTF-8, as it holds the byte {byte:#04x}, but perhaps Latin-1: "
        f"{CONVERT.format('LATIN1')}"
    )


def _read_parquet(path: Path) -> Any:
    import pandas as pd
    from pyarrow.parquet import read_schema

    frame = pd.read_parquet(path, engine="pyarrow")
    kept = (read_schema(path).pandas_metadata or {}).get("columns", ())
    of_categories = {each["name"] for each in kept if each["pandas_type"] == "categorical"}
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    if named:  # columns that pandas keeps as an index, where another program sees columns
        frame = frame.reset_index(level=named)
    frame.columns = [str(name) for name in frame.columns]
    found, categorical = {}, []
    for name in frame.columns:
        column = frame[name]
        # pandas gives categories that are numbers back as plain numbers
        known = name in of_categories or isinstance(column.dtype, pd.CategoricalDtype)
        if column.dtype.kind in "iufb" and not known:
            gaps = isinstance(column.dtype, pd.api.extensions.ExtensionDtype) and column.hasnans
            if gaps and column.dtype.kind == "b":  # as numbers they would have other names
                found[name] = pd.Series(column.to_numpy(object, na_value=None), dtype=object)
            else:
                found[name] = column.to_numpy(float, na_value=np.nan) if gaps else column.to_numpy()
            continue
        values = [None if _is_missing(each) else each for each in column.tolist()]
        if known:
            categorical.append(name)
            values = [None if each is None else code(each) for each in values]
        found[name] = pd.Series(
            [(_stripped(v) or None) if isinstance(v, str) else v for v in values], dtype=object
        )
    table = pd.DataFrame(found)
    table.attrs["categorical"] = categorical
    return table


def _is_missing(value: Any) -> bool:
    """Whether it is one of the ways to say nothing."""
    import pandas as pd

    return value is None or (not isinstance(value, (list, dict, np.ndarray)) and pd.isna(value))


def _text(text: str) -> str | None:
    """A field without spaces around it; None if it says that there is nothing."""
    text = _stripped(text)
    return None if text in SAY_NOTHING else text


def _stripped(text: str) -> str:
    text = text.strip()
    if len(text) > LONGEST:
        raise ValueError(f"it holds a text of {len(text)} characters: at most {LONGEST} are read")
    return text
