"""The history of the headline figures: one line for each, with its commit, machine and date."""

import json
import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jaxmlp.files import write_text

ROOT = Path(__file__).resolve().parent.parent
HISTORY = Path(__file__).with_name("history.jsonl")
RESULTS = ROOT / "experiments" / "results"


def append(
    benchmark: str, figures: Mapping[str, float], machine: Mapping[str, Any], out: Path
) -> Path:
    """Add the headline figures of a benchmark to the history.

    Args:
        benchmark: the name of its script.
        figures: by name; a name says what is measured, and in which unit.
        machine: of `measuring.machine`.
        out: the folder of the results. Where it is not the repository's own, the lines go to a
            file `history.jsonl` in it, so that a trial run leaves the history alone.

    Returns:
        The file with the history.
    """
    path = HISTORY if out.resolve() == RESULTS else out / HISTORY.name
    line = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit(),
        "machine": name_of(machine),
        "jax": machine["versions"]["jax"],
        "benchmark": benchmark,
    }
    lines = [line | {"figure": name, "value": float(f"{value:.4g}")}
             for name, value in figures.items()]  # fmt: skip
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    write_text(
        path, before + "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in lines)
    )
    return path


def name_of(machine: Mapping[str, Any]) -> str:
    """Such as AMD EPYC, 2 cores, or the name of the accelerator."""
    if machine["device"] != "cpu":
        return machine["device"]
    return f"{machine['processor']}, {machine['cores']} cores"


def commit() -> str:
    """The commit that is checked out, with a + if code has changed since.

    A copy without Git's folder takes it from the environment variable JAXMLP_COMMIT.
    """
    code = ["jaxmlp", "benchmarks/*.py"]
    try:
        head = _git("rev-parse", "--short=10", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--", *code) else "")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("JAXMLP_COMMIT", "unknown")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
