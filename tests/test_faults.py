"""What goes wrong around a run: each time one line says so, and the last good state is there."""

import os
import re
import resource
import shutil
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxmlp.cli import main
from jaxmlp.files import write_bytes
from jaxmlp.runs import load_run
from tests import durability
from tests.durability import PowerFailureError, files, power_fails, train
from tests.strategies import LONG

pytestmark = pytest.mark.usefixtures("as_in_a_shell")
SWEEP = ["sweep", "--set", "seed=0:4", "--hidden", "4", "--epochs", "2", "--at-once", "1", "--out"]
NOBODY = 65534  # the user who owns nothing


def error_of(capsys) -> str:
    """The one line that a command left on standard error."""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jaxmlp: error: ")
    return line


@contextmanager
def files_up_to(size):
    """No file can get larger, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk(stopped, whole, capsys):
    """Checkpoints grow by an epoch's metrics, so that there is room for the fourth only."""
    size = (stopped / "checkpoint-000004.safetensors").stat().st_size
    with files_up_to(size):
        train("--out", "run", "--resume", code=2)
    line = error_of(capsys)
    assert "checkpoint-000005.safetensors cannot be written: File too large" in line
    assert load_run(stopped).epoch == 4
    assert not [name for name in os.listdir(stopped) if name.endswith(".partial")]
    train("--out", "run", "--resume")
    assert files("run") == files(whole)


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """And its name too, before anything else is done."""
    done = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: (done.append(kind(number)), sync(number)))
    monkeypatch.setattr(Path, "replace", lambda *paths: (done.append("named"), replace(*paths)))

    def kind(number):
        return "folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file"

    write_bytes(tmp_path / "a", b"content")
    assert done == ["file", "named", "folder"]
    assert (tmp_path / "a").read_bytes() == b"content"


@pytest.mark.parametrize(
    "arguments",
    [("evaluate", "{}"), ("train", "--help"), ("sweep", "--set", "seed=0:2", "--dry-run")]
    if LONG
    else [("evaluate", "{}")],
)
def test_output_on_a_full_disk(whole, arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "jaxmlp", *(each.format(whole) for each in arguments)],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_lock_that_is_a_link(capsys):
    """Into somebody else's files, by who made the folder."""
    Path("thesis").write_text("years of work")
    Path("run").mkdir()
    Path("run/.lock").symlink_to("../thesis")
    train("--out", "run", "--resume", code=2)
    assert "run cannot be written" in error_of(capsys)
    assert Path("thesis").read_text() == "years of work"


def test_a_report_takes_no_place_of_a_pipe_or_a_link(capsys):
    """Nor of a device, which root could replace."""
    os.mkfifo("pipe")
    Path("link").symlink_to("elsewhere")
    for name in ("pipe", "link"):
        assert main(["check", "homework.py", "--report", name]) == 2
        assert f"{name} is a link, or no regular file" in error_of(capsys)
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    assert os.readlink("link") == "elsewhere"


@pytest.mark.skipif(not LONG or os.geteuid() != 0, reason="the long form, by one who may mount")
def test_a_small_disk(whole, tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be made here: {mounted.stderr.decode()}")
    try:
        train("--out", disk / "run", code=2)
        assert "cannot be written: No space left on device" in error_of(capsys)
        kept = load_run(disk / "run").epoch
        assert kept is not None
        subprocess.run(["mount", "-o", "remount,size=9m", disk], check=True)
        train("--out", disk / "run", "--resume")
        assert f"going on after epoch {kept} of 6" in capsys.readouterr().out
        assert files(disk / "run") == files(whole)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_that_cannot_be_written_any_more(before_epoch, whole, capsys):
    """From one epoch to the next; root, whom no permission stops, is somebody else meanwhile."""
    root = os.geteuid() == 0

    def lock(folder):
        folder.chmod(0o555)
        if root:
            os.seteuid(NOBODY)

    before_epoch({5}, lock)
    try:
        train("--out", "run", code=2)
    finally:
        if root:
            os.seteuid(0)
        Path("run").chmod(0o755)
    assert "checkpoint-000005.safetensors cannot be written: Permission denied" in error_of(capsys)
    assert load_run(Path("run")).epoch == 4
    before_epoch((), None)
    train("--out", "run", "--resume")
    assert files("run") == files(whole)


def test_a_run_folder_that_vanishes(before_epoch, capsys):
    before_epoch({3}, shutil.rmtree)
    train("--out", "run", code=2)
    line = error_of(capsys)
    assert "checkpoint-000003.safetensors cannot be written: No such file or directory" in line
    assert not Path("run").exists()


def vanish(folder):
    (folder / "checkpoint-000003.safetensors").unlink()


def vanish_settings(folder):
    (folder / "config.json").unlink()


def cut(folder):
    os.truncate(folder / "checkpoint-000003.safetensors", 100)


def empty_settings(folder):
    os.truncate(folder / "config.json", 0)


@pytest.mark.parametrize("what", [vanish, vanish_settings, cut, empty_settings])
def test_files_that_vanish_or_are_cut_while_it_runs(what, before_epoch, whole, capsys):
    """The run has what it needs, and writes it again."""
    before_epoch({4}, what)
    train("--out", "run")
    assert files("run") == files(whole)
    assert main(["evaluate", "run"]) == 0


@pytest.mark.parametrize(
    "content", [None, "", "[]", '{"seed": 0}', "\0" * 99] if LONG else [None, '{"seed": 0}']
)
def test_damaged_settings(stopped, whole, content, capsys):
    """The checkpoints say whether they are of the run that the command describes."""
    if content is None:
        (stopped / "config.json").unlink()
    else:
        (stopped / "config.json").write_text(content)
    before = {path.name: path.read_bytes() for path in stopped.iterdir()}
    train("--out", "run", "--resume", "--seed", "1", code=2)
    assert "run" in error_of(capsys)
    assert {path.name: path.read_bytes() for path in stopped.iterdir()} == before
    train("--out", "run", "--resume")
    assert "going on after epoch 4 of 6" in capsys.readouterr().out
    assert files("run") == files(whole)


def test_no_sound_checkpoint(stopped, whole, capsys):
    """Nothing is left to go on from, so it begins again, and says why."""
    for path in stopped.glob("checkpoint-*"):
        path.write_bytes(path.read_bytes()[:-1])
    train("--out", "run", "--resume")
    out, err = capsys.readouterr()
    assert err.count("is damaged") == 2
    assert "going on" not in out
    assert files("run") == files(whole)


def test_a_clock_that_goes_backwards(stopped, whole, monkeypatch, capsys):
    """Neither the order of the checkpoints nor anything else is told by the time of day."""
    for age, path in enumerate(sorted(stopped.glob("checkpoint-*"))):
        os.utime(path, (2e9 - 1e6 * age,) * 2)
    now = iter(np.arange(1e9, 0, -60))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    train("--out", "run", "--resume")
    assert "going on after epoch 4" in capsys.readouterr().out
    assert files("run") == files(whole)


def test_runs_that_begin_in_one_second(monkeypatch, capsys):
    """As when the clock is put back, or a loop starts many."""
    from jaxmlp.cli import train as command

    class Stopped(command.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr(command, "datetime", Stopped)
    for _ in range(2):
        train()
    names = ["digits-20260102-030405", "digits-20260102-030405-2"]
    assert sorted(os.listdir("runs")) == names


def write_data(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(size=(70, 6)), np.arange(70) % 2
    np.savez("data.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])


def test_a_data_file_that_is_cut_or_changed(before_epoch, capsys):
    """While it runs, nothing happens: the data are in memory. A run that goes on needs them."""
    settings = ["--data", "data.npz", "--batch-size", "32", "--out", "run"]

    def cut_both(folder):
        os.truncate("data.npz", 300)
        power_fails(folder)

    write_data(0)
    before_epoch({3}, lambda _: os.truncate("data.npz", 300))
    train(*settings)
    shutil.rmtree("run")
    write_data(0)
    before_epoch({4}, cut_both)
    with pytest.raises(PowerFailureError):
        train(*settings)
    before_epoch((), None)
    capsys.readouterr()
    train(*settings, "--resume", code=2)
    assert "data.npz cannot be read" in error_of(capsys)
    write_data(1)
    train(*settings, "--resume", code=2)
    assert "its data set is another one" in error_of(capsys)
    write_data(0)
    train(*settings, "--resume")
    assert "going on after epoch 3 of 6" in capsys.readouterr().out


def test_a_sweep_on_a_full_disk(capsys):
    """What it has finished is kept, and the same command goes on."""
    assert main([*SWEEP, "whole"]) == 0
    Path("small").mkdir()
    for name in ("sweep.json", ".lock"):
        shutil.copy(f"whole/{name}", "small")
    (first,) = Path("whole").glob("chunk-00000-000000-*")
    shutil.copy(first, "small")
    capsys.readouterr()
    with files_up_to(first.stat().st_size - 1):
        assert main([*SWEEP, "small"]) == 2
    assert re.search(r"unfinished\S+ cannot be written: File too large", error_of(capsys))
    assert len([*Path("small").glob("chunk-*")]) == 1
    os.truncate(Path("small") / first.name, 50)
    assert main([*SWEEP, "small"]) == 0
    assert "is damaged or of another sweep, and not used" in capsys.readouterr().err
    for name in ("table.nc", "table.csv"):
        assert (Path("small") / name).read_bytes() == (Path("whole") / name).read_bytes()


def test_a_sweep_of_other_data(capsys):
    write_data(0)
    command = [*SWEEP, "out", "--data", "data.npz", "--batch-size", "32"]
    assert main(command) == 0
    write_data(1)
    capsys.readouterr()
    assert main(command) == 2
    assert "its data set is another one" in error_of(capsys)


def test_long_work_in_short(before_epoch, caplog):
    """From the tenth epoch on, nothing is compiled, no file stays open, and memory stays."""
    seen = []

    def look(_):
        compiled = sum("Finished XLA compilation" in record.message for record in caplog.records)
        seen.append((*durability.resources(os.getpid()), compiled))

    with jax.log_compiles():
        before_epoch({10, 40}, look)
        train("--epochs", "40", "--out", "run")
    (memory, handles, compiled), after = seen
    assert compiled > 0
    assert after[0] <= 1.05 * memory
    assert after[1:] == (handles, compiled)
