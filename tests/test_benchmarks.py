"""The benchmarks' own code: gradients on other devices, failures, pages, the history."""

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from jaxmlp import gradient, network
from tests.strategies import LONG

ROOT = Path(__file__).parent.parent
GPU = ["bash", str(ROOT / "benchmarks" / "gpu.sh")]


@pytest.fixture
def benchmarks(monkeypatch):
    """Imports a module of the benchmarks by name."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield importlib.import_module


def as_tf32(a, b, dtype):
    """A product as a GPU's TF32 has it: of the factors, 10 binary digits behind the point."""
    if dtype == jnp.float32:
        a, b = (jax.lax.reduce_precision(each.astype(dtype), 8, 10) for each in (a, b))
    return jnp.matmul(a, b)


@pytest.mark.usefixtures("as_users_see_it")
def test_gradients_in_tf32(benchmarks, monkeypatch):
    """They pass where TF32 is meant, and are refused where float32 is."""
    core = benchmarks("gpu_core")
    for module in (network, gradient):
        monkeypatch.setattr(module, "matmul", as_tf32)
    jax.clear_caches()
    try:
        for mode, right in (("float32, default", True), ("float32, highest", False)):
            found = core.compare(mode, "tanh", (24, 16, 5), 12)
            assert found["refused"], mode
            assert (found["by hand"] <= 1) == right, mode
            assert (found["jax.grad"] <= 1) == right, mode
    finally:
        jax.clear_caches()


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("mode", ["float32, highest", "bfloat16"][: None if LONG else 1])
def test_a_wrong_gradient_is_refused(benchmarks, monkeypatch, mode):
    core = benchmarks("gpu_core")
    right = core.compare(mode, "relu", (24, 16, 5), 12)
    assert right["by hand"] <= 1
    assert right["each other"] <= 1
    assert right["gradients"] == 12
    assert right["refused"]

    def without_mask(params, batch, activation):
        return core.without_mask(params, batch)

    monkeypatch.setattr(core.jaxmlp, "manual_grad", without_mask)
    wrong = core.compare(mode, "relu", (24, 16, 5), 12)
    assert wrong["by hand"] > 1
    assert wrong["jax.grad"] <= 1


def test_what_fails_becomes_a_line(benchmarks, tmp_path):
    measuring = benchmarks("measuring")
    record = measuring.Record(tmp_path / "part.json")

    def broken():
        raise RuntimeError("out of luck\nand more")

    times = measuring.in_turn({"a": lambda: 1.0, "b": broken}, 3, record.attempt)
    assert times == {"a": [1.0, 1.0, 1.0]}
    with record.attempt("c"):
        importlib.import_module("no_such_package")
    record.add("d", {"x": 1})
    kept = json.loads((tmp_path / "part.json").read_text())
    assert kept["found"] == {"d": {"x": 1}}
    assert [each["what"] for each in kept["failed"]] == ["b", "c"]
    assert kept["failed"][0]["error"] == "RuntimeError: out of luck"
    assert [each["absent"] for each in kept["failed"]] == [None, "no_such_package"]


def test_a_part_that_takes_too_long_is_ended(benchmarks, tmp_path, monkeypatch):
    gpu = benchmarks("gpu")
    given = SimpleNamespace(small=True, data=None, parts=["gradients"])
    path = tmp_path / "gpu.json"
    found = gpu.results({"device": "cpu"}, given, path)
    monkeypatch.setitem(gpu.PARTS, "gradients", gpu.Part("gpu_core", 6))
    monkeypatch.setattr(gpu, "SLOW", 1)
    next(gpu.every_part(found, given, time.monotonic()))
    assert found["failed"][-1]["error"] == "took longer than 6 s"
    assert gpu.run_part("profile", tmp_path / "x", 1.0, given, "cpu") == "no time was left"
    wrong = gpu.run_part("profile", tmp_path / "x", 60.0, given, "another")
    assert wrong == "ended with exit code 1"
    path.write_text(json.dumps(found))
    given.parts = ["profile"]  # of another run, which keeps what there is
    again = gpu.results({"device": "cpu"}, given, path)
    assert again["failed"] == found["failed"]
    assert again["parts"] == {"gradients": {}}
    given.parts = ["gradients"]
    assert gpu.results({"device": "cpu"}, given, path)["failed"] == []


def test_page(benchmarks):
    """A wrong gradient and what failed are seen on the page; the checks say what is not right."""
    page = benchmarks("gpu_page")
    case = {"by hand": 2.0, "jax.grad": 0.1, "each other": 0.1, "relative": 1e-3}
    parts = {
        "gradients": {"float32, highest, relu": case | {"refused": True, "gradients": 12}},
        "tests": {"tests": {"passed": 3, "failed": 1, "failures": ["tests/test_x.py::test_y"]}},
        "epochs": {"784-8-10": {"batch": 128, "seconds": {"jaxmlp": [1.0], "PyTorch": [2.0]}}},
    }
    found = {
        "machine": {"device": "A GPU", "processor": "P", "cores": 2, "versions": {"jax": "1"}},
        "commit": "abc", "small": False, "data": "MNIST", "seconds": {"gradients": 1.0},
        "parts": parts,
        "failed": [{"what": "a part", "error": "too long"},
                   {"what": "b", "error": "No module", "absent": "torch"}],
    }  # fmt: skip
    text = page.page(found)
    assert [right for _, _, right in page.checks(parts, small=False)] == [False, False]
    assert "| gradients by hand | 12; error over what rounding may do 2 at most" in text
    assert "3 passed, 1 failed; `tests/test_x.py::test_y` | **no** |" in text
    assert "| a part | too long |" in text
    assert "Left out, as it is not installed here: torch." in text
    assert "| PyTorch | 2e+03 (2e+03 to 2e+03) | 2.00 |" in text


def test_gaps_between_kernels(benchmarks):
    """Kernels of two streams that overlap, and a gap; what is no stream does not count."""
    kernels = benchmarks("gpu_speed").kernels

    def event(start, duration, name):
        return SimpleNamespace(start_ns=start, duration_ns=duration, name=name, stats=[])

    def line(name, *events):
        return SimpleNamespace(name=name, events=events)

    gpu = SimpleNamespace(
        name="/device:GPU:0",
        lines=[
            line("Stream #1", event(100, 50, "gemm"), event(250, 50, "gemm")),
            line("Stream #2", event(120, 60, "copy")),
            line("XLA Ops", event(0, 999, "all")),
        ],
    )
    host = SimpleNamespace(name="/host:CPU", lines=[line("python", event(0, 999, "call"))])
    found = kernels(SimpleNamespace(planes=[host, gpu]))
    assert found["kernels"] == 3
    assert found["busy"] == pytest.approx(130e-9)
    assert found["gaps"] == pytest.approx(70e-9)
    assert list(found["longest"]) == ["gemm", "copy"]
    with pytest.raises(ValueError, match="no kernels"):
        kernels(SimpleNamespace(planes=[host]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "nowhere"], "nowhere is no folder"),
        (["out"], "JAX finds no GPU here"),
        (["--parts", "none"], "invalid choice"),
        (["--small", "a-file"], "a-file cannot be made"),
    ],
)
def test_gpu_refuses(words, message, tmp_path):
    (tmp_path / "a-file").touch()
    words = [str(tmp_path / word) if word in ("a-file", "out") else word for word in words]
    done = subprocess.run(
        [*GPU, *words], env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert message in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_history(benchmarks, tmp_path):
    history = benchmarks("history")
    machine = {"device": "cpu", "processor": "P", "cores": 2, "versions": {"jax": "0.0"}}
    for value in (1.23456, 2.0):
        path = history.append("x.py", {"a ratio": value}, machine, tmp_path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["value"] for line in lines] == [1.235, 2.0]
    assert {line["machine"] for line in lines} == {"P, 2 cores"}
    committed = history.HISTORY.read_text(encoding="utf-8").splitlines()
    keys = {tuple(json.loads(line)) for line in committed}
    assert keys == {("date", "commit", "machine", "jax", "benchmark", "figure", "value")}


def test_what_is_timed_of_a_check_can_be_run(benchmarks, tmp_path):
    timing = benchmarks("check_time")
    timing.write_homework(tmp_path)
    code = timing.CALL.format(definition=timing.HOMEWORK, gradient=timing.TWO)
    assert float(timing.run([sys.executable, "-c", code], tmp_path / "cache")) > 0
    assert len([*(tmp_path / "many").iterdir()]) == timing.MANY
