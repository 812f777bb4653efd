"""Auditing a package: what is found, what is not covered and why, and what its authors declare."""

import json
import os
import subprocess
import sys

import pytest

from jaxmlp.checking.audit import table
from jaxmlp.checking.audit.discovery import targets
from jaxmlp.checking.audit.samplers import Sample, sample
from jaxmlp.checking.audit.settings import read

PACKAGE = """
import time
import jax
import jax.numpy as jnp

@jax.custom_jvp
def right(x):
    return jnp.sin(x)
right.defjvps(lambda t, ans, x: t * jnp.cos(x))

@jax.custom_jvp
def wrong(x):
    return jnp.sin(x)
wrong.defjvps(lambda t, ans, x: -t * jnp.cos(x))

@jax.jit
def scaled(x, scale):
    return jnp.where(scale == 0.5, x * 0.25, x * scale**2)

def endless(x):
    while True:
        time.sleep(1)

def exits(x):
    raise SystemExit(3)

def by_words(text: str):
    return text.upper()

def nothing():
    return 1.0

class Power:
    # its density is b x^(b-1) on (0, 1)

    def __init__(self, power, scale=1.0, name="power"):
        self.power, self.scale = power, scale

    def log_prob(self, value):
        density = jnp.log(self.power) + (self.power - 1) * jnp.log(value)
        return jnp.where(self.power == 1, 0.0, density)

    @property
    def mean(self):
        return self.power / (self.power + 1)

    @classmethod
    def from_odds(cls, odds):
        return odds / (1 + odds)

    def quantile(self, p):
        raise NotImplementedError

    def sample(self, seed):
        return jax.random.uniform(seed) ** (1 / self.power)
"""
INNER = """
import jax

@jax.custom_vjp
def _hidden(x):
    return x * x
_hidden.defvjp(lambda x: (x * x, x), lambda x, g: (g * x,))
"""


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "waves"
    folder.mkdir()
    (folder / "__init__.py").write_text(PACKAGE)
    (folder / "inner.py").write_text(INNER)
    (folder / "broken.py").write_text("import nothing_of_that_name\n")
    return tmp_path


def audit(package, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(package), "COLUMNS": "200"}
    environment["XDG_CACHE_HOME"] = str(package / "cache")
    command = [sys.executable, "-c", "from jaxmlp.cli import run; run()", "audit", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=package, check=False
    )


def test_a_package_from_the_command_line(package):
    limits = ("--time-limit", "15", "--processes", "2")
    ended = audit(package, "waves", "--report", "out.json", *limits)
    assert ended.returncode == 1, ended.stderr
    assert "✗ waves:wrong" in ended.stdout
    rows = {row["name"]: row for row in json.loads((package / "out.json").read_text())["functions"]}
    assert rows["right"]["findings"] == []
    kinds = {name: [each["kind"] for each in row["findings"]] for name, row in rows.items()}
    assert kinds["wrong"] == ["wrong sign"]
    assert kinds["_hidden"] == ["wrong"]
    assert kinds["scaled"] == ["missing"]
    assert "stopped after 15 s" in rows["endless"]["uncovered"]
    assert "SystemExit" in rows["exits"]["uncovered"]
    assert "no sample of its arguments" in rows["by_words"]["uncovered"]
    assert rows["nothing"]["uncovered"] == "it takes no arguments"
    assert kinds["Power.mean"] == []
    assert kinds["Power.from_odds"] == []
    assert kinds["Power.log_prob"] == ["missing"]  # at power 1, where a fit may start
    assert rows["Power.quantile"]["uncovered"] == "it is not implemented"


def test_what_authors_declare(package):
    (package / "audit.toml").write_text(
        '["waves:wrong"]\nknown = ["wrong sign"]\n'
        '["waves:scaled"]\narguments = [0.7, 1.3]\ndomain = {scale = [0.6, 2.0]}\n'
        '["waves:Power.log_prob"]\nskip = "a special case"\n'
        '["waves:endless"]\nskip = "it never ends"\n'
        '["waves.inner:_hidden"]\nintended = ["_hidden"]\n'
    )
    ended = audit(package, "waves", "--settings", "audit.toml", "--report", "out.md")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    text = (package / "out.md").read_text()
    assert "not covered: it never ends" in text
    assert "| waves:wrong | wrong |" in text
    assert "note: on purpose: " in text


def test_what_has_not_changed_is_not_checked_again(package):
    limits = ("--time-limit", "15", "--report", "out.json")

    def row():
        assert audit(package, "waves:wrong", *limits).returncode == 1
        return json.loads((package / "out.json").read_text())["functions"][0]

    seconds = row()["seconds"]
    (kept,) = (package / "cache/jaxmlp/audits").rglob("*.json")
    kept.write_text(kept.read_text().replace('"wrong sign"', '"as it was"'))
    assert row()["findings"][0]["kind"] == "as it was"
    assert audit(package, "waves:wrong", *limits, "--no-cache").returncode == 1
    assert "as it was" not in (package / "out.json").read_text()
    (package / "waves/inner.py").write_text(INNER + "# changed\n")
    assert row()["findings"][0]["kind"] == "wrong sign"
    assert len([*(package / "cache/jaxmlp/audits").rglob("*.json")]) == 1
    kept = next((package / "cache/jaxmlp/audits").rglob("*.json"))
    kept.write_text("[")  # damaged
    assert row()["findings"][0]["kind"] == "wrong sign"
    assert seconds > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("no_such_package",), "no_such_package is not installed: install it beside jaxmlp"),
        (("waves.broken",), "waves.broken needs nothing_of_that_name"),
        (("waves:sine",), "waves has no function 'sine'"),
        (("waves:jax",), "waves:jax is a module: give a function"),
        (("waves", "--report", "out.txt"), "its name ends with .md, .html, .json"),
        (("waves", "--settings", "none.toml"), "none.toml cannot be read"),
        (("waves", "--time-limit", "0"), "time_limit is 0.0: give seconds above 0"),
    ],
)
def test_bad_input_is_one_line(package, arguments, says):
    ended = audit(package, *arguments)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[a", "cannot be read"),
        ("a = 1", "a is no table"),
        ('["a:b"]\nargument = 1', "has 'argument': its keys are"),
    ],
)
def test_settings_that_are_none(tmp_path, text, says):
    path = tmp_path / "audit.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        read(path)


def test_samples_by_names():
    def given(function):
        found = sample(function)
        assert isinstance(found, Sample)
        return found

    assert given(lambda x, scale: x / scale).domain == {"x": "real", "scale": "positive"}
    assert given(lambda key, p: p * 2.0).domain == {"key": "fixed", "p": "unit"}
    assert given(lambda a: a @ a.T).arguments[0].shape == (3,)
    assert sample(lambda a, b, c, d, e: a) == "it takes 5 arguments: give a domain in audit.toml"


def test_what_jax_has():
    names = {target.name for target in targets("jax.nn")}
    assert {"relu", "gelu", "softmax"} <= names
    assert "Array" not in names


def test_tables():
    finding = {"fails": True, "says": "wrong: ∂f/∂x < 0 | 1"}
    rows = [
        {"module": "m", "name": "f", "findings": [finding], "rules": ["f"], "points": 3},
        {"module": "m", "name": "g", "findings": [], "uncovered": "no sample"},
    ]
    assert table.summary("m", rows).startswith("m: 1 of 2 functions checked, with 1 rules")
    assert "∂f/∂x &lt; 0 \\| 1" in table.markdown("m", rows)
    assert "&lt; 0 | 1</td>" in table.page("m", rows)
    assert table.annotations(rows) == ["::error title=m:f::wrong: ∂f/∂x < 0 | 1"]
