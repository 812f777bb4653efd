"""One sweep by several processes over Gloo: the same table; and what happens when one is lost."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxmlp
from tests.strategies import LONG

long = pytest.mark.skipif(not LONG, reason="takes long: set HYPOTHESIS_PROFILE=long")
pytestmark = pytest.mark.usefixtures("as_people_run_it")
EPOCHS = 150  # long enough to be killed in
SPACE = ["--set", "learning_rate=0.001,0.01,0.1", "seed=0:2"]
SMALL = ["--hidden", "8", "--batch-size", "512", "--at-once", "4", "--epochs", str(EPOCHS)]
PATIENCE = 120  # seconds; far more than any of this takes


def start(folder, *arguments):
    command = [sys.executable, "-m", "jaxmlp", "sweep", *SPACE, *SMALL, "--out", str(folder)]
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parent.parent / ".jax_cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        [*command, *arguments],
        env={**os.environ, **cache},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_all(folder, count):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    joined = ["--devices", "2", "--coordinator", f"localhost:{port}", "--processes", str(count)]
    return [start(folder, *joined, "--process", str(i)) for i in range(count)]


def table_in(folder):
    import xarray as xr

    return xr.load_dataset(folder / "table.nc")


@pytest.fixture(scope="module")
def alone():
    """The same sweep in this process."""
    return sweep_here()


def sweep_here(**settings):
    with jax.numpy_dtype_promotion("standard"):
        return jaxmlp.sweep(
            {"learning_rate": [0.001, 0.01, 0.1], "seed": [0, 1]},
            jaxmlp.load_digits(uint8=True),
            config=jaxmlp.Config(hidden=(8,), batch_size=512, epochs=EPOCHS),
            **settings,
        )


def assert_same(table, other):
    for name in ("train_loss", "validation_loss"):
        np.testing.assert_allclose(table[name], other[name], rtol=1e-4)


@long
@pytest.mark.parametrize("count", [2, 4])
def test_the_same_table(alone, tmp_path, count):
    every = start_all(tmp_path, count)
    said = [each.communicate(timeout=PATIENCE) for each in every]
    assert [each.returncode for each in every] == [0] * count, said
    assert_same(table_in(tmp_path), alone)
    assert "best: learning_rate=0." in said[0][0]
    assert all("best" not in printed for printed, _ in said[1:])


@pytest.mark.parametrize("lost", [1, pytest.param(0, marks=long)])
def test_a_process_that_dies_ends_the_others_and_the_sweep_resumes(alone, tmp_path, lost):
    """Killed in the second chunk: the first one is on disk, and is not run again, here by one."""
    every = start_all(tmp_path, 2)
    wait_for_chunk(tmp_path, every)
    every[lost].send_signal(signal.SIGKILL)
    _, error = every[1 - lost].communicate(timeout=PATIENCE)
    every[lost].communicate(timeout=PATIENCE)
    if every[1 - lost].returncode == -signal.SIGABRT:  # it noticed by a missing sign of life alone
        assert error.strip()  # as JAX says it, before it ends the process
    else:
        assert every[1 - lost].returncode == 2, error
        (line,) = [line for line in error.splitlines() if line.startswith("jaxmlp: error")]
        assert f"process {1 - lost} of 2 has lost another one, which has ended" in line
    (first,) = tmp_path.glob("chunk-*")
    before = first.stat().st_mtime_ns
    table = sweep_here(out=tmp_path)
    assert first.stat().st_mtime_ns == before
    assert_same(table, alone)


@long
def test_an_interrupt_of_one_process_ends_both_at_once(tmp_path):
    every = start_all(tmp_path, 2)
    wait_for_chunk(tmp_path, every)
    every[1].send_signal(signal.SIGINT)
    said = [each.communicate(timeout=PATIENCE) for each in every]
    assert [each.returncode for each in every] == [2, 130]
    assert "has lost another one" in said[0][1]
    assert "interrupted; what is done is in" in said[1][1]


def wait_for_chunk(folder: Path, every):
    end = time.monotonic() + PATIENCE
    while not list(folder.glob("chunk-*")):
        assert all(each.poll() is None for each in every), [each.communicate() for each in every]
        assert time.monotonic() < end
        time.sleep(0.02)
