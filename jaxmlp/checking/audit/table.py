"""The table of an audit: what was found, what is right, and what is not covered and why."""

import html
import json
from collections.abc import Sequence
from typing import Any

COLUMNS = ("function", "rules", "points", "finding")


def new(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with a finding that fails."""
    return [row for row in rows if any(each["fails"] for each in row["findings"])]


def summary(name: str, rows: Sequence[dict[str, Any]]) -> str:
    """One line."""
    uncovered = sum("uncovered" in row for row in rows)
    covered = len(rows) - uncovered
    rules = {rule for row in rows for rule in row.get("rules", ())}
    return (
        f"{name}: {covered} of {len(rows)} functions checked, with {len(rules)} rules; findings in "
        f"{len(new(rows))}; {uncovered} not covered"
    )


def _cells(row: dict[str, Any]) -> list[list[str]]:
    """A row's lines: one for each finding."""
    where = f"{row['module']}:{row['name']}"
    if "uncovered" in row:
        return [[where, "", "", f"not covered: {row['uncovered']}"]]
    about = [where, ", ".join(row["rules"]), str(row["points"])]
    findings = [f"{'' if each['fails'] else 'note: '}{each['says']}" for each in row["findings"]]
    return [[*about, findings[0] if findings else "right"]] + [
        ["", "", "", each] for each in findings[1:]
    ]


def _ordered(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings first, then what is right, then what is not covered."""
    wrong = {id(row) for row in new(rows)}
    return sorted(
        rows, key=lambda r: (id(r) not in wrong, "uncovered" in r, r["module"], r["name"])
    )


def markdown(
    name: str, rows: Sequence[dict[str, Any]], shown: Sequence[dict[str, Any]] | None = None
) -> str:
    """The table for people who read text; of all rows, or of those to be shown."""
    lines = [f"# Audit of {name}", "", f"{summary(name, rows)}.", ""]
    lines += [f"| {' | '.join(COLUMNS)} |", "|---|---|---|---|"]
    for row in _ordered(rows if shown is None else shown):
        for cells in _cells(row):
            escaped = (cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells)
            lines.append(f"| {' | '.join(escaped)} |")
    return "\n".join(lines) + "\n"


def page(name: str, rows: Sequence[dict[str, Any]]) -> str:
    """The table as a page."""
    head = "".join(f"<th>{each}</th>" for each in COLUMNS)
    body = ""
    for row in _ordered(rows):
        kind = "uncovered" if "uncovered" in row else "wrong" if new([row]) else "right"
        for cells in _cells(row):
            body += (
                f"<tr class={kind}>{''.join(f'<td>{html.escape(c)}</td>' for c in cells)}</tr>\n"
            )
    style = (
        "body{font:15px system-ui;margin:2em;max-width:90em}table{border-collapse:collapse}"
        "td,th{padding:.3em .8em;text-align:left;vertical-align:top;border-top:1px solid #ddd}"
        ".wrong td:first-child{color:#b00020;font-weight:600}.uncovered{color:#777}"
    )
    title = html.escape(f"Audit of {name}")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{style}</style><h1>{title}</h1><p>{html.escape(summary(name, rows))}.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></html>\n"
    )


def as_json(name: str, rows: Sequence[dict[str, Any]]) -> str:
    """The table for programs."""
    return json.dumps({"audit": name, "functions": _ordered(rows)}, indent=1) + "\n"


def annotations(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What GitHub shows beside a run."""
    return [
        f"::error title={row['module']}:{row['name']}::{each['says']}"
        for row in new(rows)
        for each in row["findings"]
        if each["fails"]
    ]


WRITERS = {".md": markdown, ".html": page, ".json": as_json}
