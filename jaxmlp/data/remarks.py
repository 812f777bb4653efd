"""What is worth saying of a table: what has become of its texts, and of what is missing."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxmlp.data.tables import ABSENT, LIKE_A_NUMBER, WRITTEN, Column, Schema, entries_as_numbers

MOST = 10  # columns that are listed
LONGEST = 40  # characters of a name or a text
FEWEST = 10  # rows that are counted on purpose
MOSTLY = 0.5  # of the texts of a column: if more of them look like numbers, they may be meant so


def remarks_on(frame: Any, rows: np.ndarray, schema: Schema) -> tuple[tuple[str, str], ...]:
    """Which columns became 0 and 1, which were imputed, and which texts look like numbers.

    Args:
        frame: the table with the training examples.
        rows: of the training examples in it.
        schema: of them.

    Returns:
        Pairs of a word and what there is to say.
    """
    texts = [column for column in schema.columns if column.categories]
    found = []
    if texts:
        counts = [f"{_cut(name)} ({_count(names)})" for name, names, _ in texts]
        found.append(("texts", f"a column of 0 and 1 for each: {_listed(counts)}"))
    if schema.missing == "impute":
        absent = [frame[column.name].iloc[rows].isna().sum() for column in schema.columns]
        filled = [
            f"{_cut(column.name)} ({count:,} of {len(rows):,}) {_filling(column)}"
            for column, count in zip(schema.columns, absent, strict=True)
            if count
        ]
        found.append(("imputed", _listed(filled) or "nothing is missing in the training examples"))
    remarks = [_on_numbers(column, frame[column.name].iloc[rows]) for column in texts]
    remarks += [_on_counting(column, frame) for column in schema.columns if not column.categories]
    return (*found, *(("note", remark) for remark in remarks if remark))


def _on_counting(column: Column, frame: Any) -> str | None:
    """What to say of a column that counts the rows, such as an index."""
    numbers = entries_as_numbers(frame[column.name])
    if len(numbers) < FEWEST or not np.all(np.diff(numbers) == 1):
        return None
    flag = column.name or '""'
    remedy = f"if it tells nothing, leave it out by --drop {flag}"
    return f"column {column.name!r} counts the rows: {remedy}"


def _on_numbers(column: Column, entries: Any) -> str | None:
    """What to say of a column of texts if most of them look like numbers."""
    counts = Counter(str(each) for each in entries[entries.notna()])
    plain = {text for text in counts if _is_number(text)}
    alike = {text for text in counts if LIKE_A_NUMBER.fullmatch(text)} - plain
    n, name = counts.total(), f"column {_cut(column.name)!r}: "
    others = Counter({text: count for text, count in counts.items() if text not in plain})
    of_plain, of_alike = (sum(counts[text] for text in some) for some in (plain, alike))
    if of_plain + of_alike <= MOSTLY * n or not others:
        return None
    if of_plain > MOSTLY * n and not alike:
        return (
            f"{name}{of_plain:,} of {n:,} are numbers, and {_most(others)} is not: it is taken as "
            "text; for numbers, correct that, or leave it empty and give --missing impute"
        )
    such = _most(others, alike)
    return (
        f"{name}{of_plain + of_alike:,} of {n:,} look like numbers, such as {such}: it is taken as "
        f"text; for numbers, {WRITTEN}"
    )


def _most(counts: Counter, among: set[str] | None = None) -> str:
    """The most frequent text, quoted."""
    text = next(text for text, _ in counts.most_common() if among is None or text in among)
    return repr(_cut(text))


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _filling(column: Column) -> str:
    return "as a text of its own" if column.categories else f"by the median {column.fill:.6g}"


def _count(categories: Sequence[str]) -> str:
    return f"{len([text for text in categories if text != ABSENT])}"


def _listed(names: Sequence[str]) -> str:
    more = f", … {len(names)} in all" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
