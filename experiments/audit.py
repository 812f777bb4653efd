"""What does `jaxmlp audit` find in released libraries?

    pip install -r experiments/audit_requirements.txt
    python experiments/audit.py               # half an hour on two cores
    python experiments/audit.py quadax numpyro.distributions

What an earlier run found is taken over, if nothing has changed. What is known of a finding is in
`audit_notes.toml`, by function.
Results: audit.md and audit.html in `experiments/results`, if everything is audited.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import io
import json
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxmlp.checking.audit import table
from jaxmlp.checking.audit.discovery import rules_in
from jaxmlp.cli.audit import Audit
from jaxmlp.files import write_text

HERE = Path(__file__).parent
RESULTS = HERE / "results"
LIMIT = 30.0  # seconds for a function
DISTRIBUTIONS = {  # of packages, by the names of their modules
    "jax": "jax", "tensorflow_probability": "tfp-nightly", "ott": "ott-jax",
}  # fmt: skip
TARGETS = (
    "jax.nn", "jax.scipy.special", "jax.scipy.stats", "jax.numpy.linalg", "jax.random", "optax",
    "quadax", "interpax", "lineax", "optimistix", "jaxlie", "ott.math", "jaxopt", "rlax",
    "distrax",
)  # fmt: skip


def audited(target: str) -> list[dict[str, Any]]:
    """The rows of one package or module."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "rows.json"
        with contextlib.redirect_stdout(io.StringIO()) as said:
            Audit(target, report=report, time_limit=LIMIT).run()
        print(said.getvalue().strip().splitlines()[-2], flush=True)
        return json.loads(report.read_text(encoding="utf-8"))["functions"]


def version(target: str) -> str:
    """The distribution that has a module, with its version."""
    package = target.partition(".")[0]
    name = DISTRIBUTIONS.get(package, package)
    return f"{name} {importlib.metadata.version(name)}"


def rules_reached(target: str, rows: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """How many of the rules that a module holds are checked or met, and how many it holds."""
    held = {each.name for each in rules_in(importlib.import_module(target)).values()}
    reached = {rule for row in rows for rule in row.get("rules", ())}
    reached |= {row["name"] for row in rows if "uncovered" not in row}
    return len(held & reached), len(held)


def _failing(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The findings of a row without the notes, which are on the page."""
    return [each for each in row["findings"] if each["fails"]]


def main() -> None:
    """Audit everything; print the yield, and write the table and the page."""
    parser = argparse.ArgumentParser(description="What does `jaxmlp audit` find in libraries?")
    parser.add_argument("targets", nargs="*", default=TARGETS)
    given = parser.parse_args().targets
    notes = tomllib.loads((HERE / "audit_notes.toml").read_text(encoding="utf-8"))
    heads = ["module", "version", "functions", "checked", "with findings", "not covered"]
    heads += ["rules met", "rules covered of those it holds"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    every = []
    for target in given:
        rows = audited(target)
        uncovered = sum("uncovered" in row for row in rows)
        rules = {rule for row in rows for rule in row.get("rules", ())}
        counts = [len(rows), len(rows) - uncovered, len(table.new(rows)), uncovered, len(rules)]
        cells = [target, version(target), *map(str, counts)]
        cells.append(" of ".join(map(str, rules_reached(target, rows))))
        lines.append(f"| {' | '.join(cells)} |")
        for row in rows:
            if note := notes.get(f"{row['module']}:{row['name']}"):
                for each in row["findings"]:
                    each["says"] += f" ({note})"
        every += rows
    if tuple(given) == TARGETS:
        found = [row | {"findings": _failing(row)} for row in table.new(every)]
        covered = ["# What an audit of released libraries covers", "", *lines, "", ""]
        text = table.markdown("released libraries", every, found)
        RESULTS.mkdir(exist_ok=True)
        write_text(RESULTS / "audit.md", "\n".join(covered) + text)
        write_text(RESULTS / "audit.html", table.page("released libraries", every))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
