"""`tools/compare`: what became faster or slower between two checkouts."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "tools" / "compare.py"


@pytest.fixture
def compare(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("compare").compare


def starts(rng, factor, spread=0.02, count=5, rounds=7):
    """Seconds of old and new with a known ratio, where each start has a bias of its own."""
    found = []
    for _ in range(count):
        bias = np.exp(rng.normal(scale=spread))
        old = np.exp(rng.normal(scale=spread, size=rounds))
        new = factor * bias * np.exp(rng.normal(scale=spread, size=rounds))
        found.append(list(zip(old, new, strict=True)))
    return found


@pytest.mark.parametrize(
    ("factor", "verdict"), [(0.8, "faster"), (1.25, "slower"), (1.0, "no difference seen")]
)
def test_verdict(compare, factor, verdict):
    found = compare("x", starts(np.random.default_rng(0), factor), 0.05)
    assert found.verdict == verdict
    assert found.low <= factor <= found.high


def test_intervals_hold_the_ratio_as_often_as_they_say(compare):
    rng = np.random.default_rng(1)
    held = [
        found.low <= 1.1 <= found.high
        for found in (compare("x", starts(rng, 1.1), 0.1) for _ in range(1000))
    ]
    assert 0.87 < np.mean(held) < 0.93


def run(*words):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, words)], capture_output=True, text=True
    )


def test_another_checkout(tmp_path):
    """A table of both; what a checkout prints is no answer, and one that fails says why."""
    shutil.copytree(ROOT / "jaxmlp", tmp_path / "jaxmlp")
    with (tmp_path / "jaxmlp" / "__init__.py").open("a") as file:
        file.write("\nprint('hello')\n")
    done = run(ROOT, tmp_path, "--only", "import", "--starts", 2, "--rounds", 1)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("import jaxmlp")]
    old, new, ratio = map(float, line.split()[2:5])
    assert old > 0
    assert new > 0
    assert ratio > 0
    with (tmp_path / "jaxmlp" / "__init__.py").open("a") as file:
        file.write("\nraise RuntimeError('no luck')\n")
    done = run(ROOT, tmp_path, "--only", "import", "--starts", 2, "--rounds", 1)
    assert done.returncode == 2
    assert "cannot be measured: RuntimeError: no luck" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-such-commit"], "'no-such-commit' is neither a folder nor a commit"),
        ([ROOT / "tests"], "has no package jaxmlp in it"),
        ([ROOT, "--starts", "1"], "give at least 2 and 1"),
        ([ROOT, "--only", "nothing"], "--only 'nothing' is in no name"),
    ],
)
def test_refuses(words, message):
    done = run(*words)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
