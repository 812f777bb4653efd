"""The README's examples run as they stand and print what it says they print."""

import re
import tomllib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxmlp.cli import main

FOLDER = Path(__file__).parent.parent
README = (FOLDER / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
NUMBER = r"[-+]?\d+\.?\d*(?:e[-+]\d+)?"


@pytest.fixture(autouse=True)
def as_in_a_shell(as_users_see_it):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def test_examples(capsys):
    """The gradient's entries to all digits shown; the differences only by their size."""
    names: dict[str, Any] = {}
    for code in PYTHON:
        exec(code, names)
    *printed, accuracies, search, table = capsys.readouterr().out.split("\n", 4)
    table, task = table.strip().rsplit("\n", 1)
    (shown,) = (line for line in README.splitlines() if line.startswith(task.split(":")[0]))
    assert re.sub(NUMBER, "", task) == re.sub(NUMBER, "", shown)
    figures = (np.array(re.findall(NUMBER, line), float) for line in (task, shown))
    np.testing.assert_allclose(*figures, rtol=0.01)
    best = re.findall(r"^(\{'mlpclassifier.*) (.*)$", README, re.MULTILINE)[0]
    assert search.rsplit(" ", 1)[0] == best[0]
    assert float(search.split()[-1]) == pytest.approx(float(best[1]), abs=0.005)
    scores = np.sort(names["search"].cv_results_["mean_test_score"])
    assert scores[-1] - scores[-2] > 0.01  # far more than rounding does: no tie
    shown = re.findall(r"^∂C/.* off by .*$", README, re.MULTILINE)
    assert len(printed) == len(shown) == 2
    for ours, theirs in zip(printed, shown, strict=True):
        assert theirs.split(" off by ")[0] == ours.split(" off by ")[0]
        difference = float(re.findall(NUMBER, ours)[-1])
        assert difference < 1e-6
    assert len(re.findall(NUMBER, accuracies)) == 3
    swept = re.search(r"^hidden .*\n(?:.+\n)+?(?=```)", README, re.MULTILINE)
    assert swept
    for ours, theirs in zip(table.splitlines(), swept[0].splitlines(), strict=True):
        assert ours.split()[0] == theirs.split()[0]
        found, quoted = (np.array(row.split()[1:], float) for row in (ours, theirs))
        np.testing.assert_allclose(found, quoted, atol=0.02)
    assert len(PYTHON[0].strip().splitlines()) <= 14


def test_homework(tmp_path, monkeypatch, capsys):
    """The report on the README's homework holds the lines that the README shows."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "homework.py").write_text(next(code for code in PYTHON if "(W0, _)" in code))
    command, shown = re.findall(
        r"`jaxmlp (check [^`]*)` prints.*?```\n(.*?)```", README, re.DOTALL
    )[0]
    assert main(command.split()) == 1
    printed = capsys.readouterr().out
    head, *lines = shown.strip().splitlines()
    assert head.split(",")[0] in printed
    for line in lines:
        assert line in printed


@pytest.mark.skipif(jax.__version__ != "0.10.2", reason="what is shown is wrong in jax 0.10.2")
def test_audit(capfd):
    """An audit finds in jax what the README shows."""
    command, shown = re.findall(
        r"`jaxmlp (audit jax\S*)` prints.*?```\n(.*?)```", README, re.DOTALL
    )[0]
    assert main(command.split()) == 1
    assert shown in capfd.readouterr().out


def test_rules_of_torch():
    """How many wrong rules are refused, by whom, is what the experiment found."""
    wrong, theirs, ours = re.findall(
        r"of (\d+) wrong ones .*? refuses (\d+),\n\[and this (\d+)", README
    )[0]
    found = (FOLDER / "experiments/results/torch_rules.md").read_text(encoding="utf-8")
    assert f"Of {wrong} wrong rules are refused by gradcheck {theirs}, " in found
    assert f"check_rule {ours} " in found


def test_files_that_it_names_exist():
    linked = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    run = re.findall(r"python ((?:experiments|benchmarks)/\S+\.py)", README)
    assert len(run) == 12
    for name in (*linked, *run):
        assert (FOLDER / name.split("#")[0]).exists(), name


def test_every_dependency_has_a_reason():
    """The table names each package of each extra, with what it is for, and no other one."""
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {"none": project["dependencies"]} | project["optional-dependencies"]
    rows = dict(re.findall(r"^\| (none|`[a-z]+`) \| (`.*) \|$", README, re.MULTILINE))
    assert [name.strip("`") for name in rows] == [*extras]
    for row, (extra, needed) in zip(rows.values(), extras.items(), strict=True):
        names = {re.split(r"[\[<>=]", each)[0] for each in needed} - {"jaxmlp"}
        if extra == "experiments":  # which has all of `sweeps`
            names -= {re.split(r"[\[<>=]", each)[0] for each in extras["sweeps"]}
        assert names == {*re.findall(r"`([^`]+)`", row)} - {"sweeps"}, extra
