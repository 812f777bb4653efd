"""Runs that are stopped, by whatever, and what is left of them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxmlp.checkpoints import (
    DECISIVE,
    Checkpoint,
    decisive,
    load_checkpoint,
    save_checkpoint,
)
from jaxmlp.cli import main
from jaxmlp.cli.common import stoppable
from jaxmlp.files import locked, read_tensors, write_tensors
from jaxmlp.params import Layer
from jaxmlp.results import Metrics
from jaxmlp.runs import load_run
from jaxmlp.training import TrainState
from tests import durability
from tests.durability import SMALL, SWEEP, files, jaxmlp, kill_sweeps, kill_training, train
from tests.strategies import LONG

pytestmark = pytest.mark.usefixtures("as_in_a_shell")
DIVERGING = ("--optimizer", "sgd", "--momentum", "0", "--learning-rate", "1e19", "--activation",
             "identity", "--out", "run")  # fmt: skip
ENDLESS = (*SMALL, "--hidden", "64", "--epochs", "100000")


def test_killed_at_random_moments(tmp_path, whole):
    """No epoch that was said to be done is lost, and the end is the same, bit for bit.

    Also in other processes, which have another order of sets. The long form, with 100 kills, is in
    `experiments/faults.py`.
    """
    found = kill_training(tmp_path, kills=1, seed=4, arguments=SMALL, alone=whole)
    assert found.tried == 1
    assert found.lost == 0
    assert found.same == found.runs


def test_sweeps_killed_at_random_moments(tmp_path):
    """No epoch of a chunk is lost or trained again, and the tables are the same, bit for bit."""
    fewer = ("--set", "seed=0:4", "--at-once", "2")  # on one device, as there is in this process
    command = ("sweep", *fewer, *SWEEP[4:-2], "--devices", "1")
    assert main([*command, "--out", "alone"]) == 0
    found = kill_sweeps(tmp_path, 1, seed=4, arguments=command, alone=tmp_path / "alone")
    assert found.tried == 1
    assert found.lost == 0
    assert found.same == found.runs


def test_resumed_bit_for_bit(stopped, whole, capsys):
    train("--out", "run", "--resume")
    assert "going on after epoch 4 of 6" in capsys.readouterr().out
    assert files("run") == files(whole)
    assert sorted(os.listdir("run")) == sorted(os.listdir(whole))


def test_what_is_not_finished_can_be_used(stopped, capsys):
    assert load_run(stopped).epoch == 4
    assert main(["evaluate", "run"]) == 0
    printed = capsys.readouterr().out
    assert "not finished: the parameters of epoch 4 of 6" in printed
    assert re.search(r"test accuracy 0\.\d{4}", printed)


def test_a_finished_run_has_nothing_left_to_do(capsys):
    train("--out", "run", "--resume")  # there is none yet, so it begins
    accuracy, before = capsys.readouterr().out.splitlines()[-1], files("run")
    train("--out", "run", "--resume")
    printed = capsys.readouterr().out
    assert "the run is finished: there is nothing to go on with" in printed
    assert printed.splitlines()[-1] == accuracy
    assert files("run") == before


@pytest.mark.parametrize(
    "place", [0, 0.01, 0.5, 0.999, "short", "empty"] if LONG else [0.01, 0.5, "short"]
)
def test_a_damaged_checkpoint_costs_an_epoch(stopped, whole, capsys, place):
    """Whatever is wrong with it, the one before it is there, and the end is the same."""
    path = stopped / "checkpoint-000004.safetensors"
    content = bytearray(path.read_bytes())
    if isinstance(place, str):
        content = content[: {"short": len(content) // 2, "empty": 0}[place]]
    else:
        content[int(place * len(content))] ^= 0x10
    path.write_bytes(bytes(content))
    train("--out", "run", "--resume")
    out, err = capsys.readouterr()
    assert "going on after epoch 3 of 6" in out
    assert "checkpoint-000004.safetensors is damaged" in err
    assert files("run") == files(whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "7"], "run holds another run: its epochs is 6, not 7"),
        (["--learning-rate", "0.5"], "its learning_rate is 0.004, not 0.5"),
        (["--seed", "1"], "its seed is 0, not 1"),
    ],
)
def test_other_settings_are_refused(stopped, capsys, arguments, message):
    before = {path: path.read_bytes() for path in stopped.iterdir()}
    train("--out", "run", "--resume", *arguments, code=2)
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in stopped.iterdir()} == before


def test_other_data_are_refused(capsys):
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.uniform(size=(70, 6)), "y_train": np.arange(70) % 2}
    arrays |= {"x_test": rng.uniform(size=(9, 6)), "y_test": np.arange(9) % 2}
    np.savez("data.npz", **arrays)
    train("--data", "data.npz", "--out", "run", "--batch-size", "32")
    Path("run/config.json").write_text(
        json.dumps(json.loads(Path("run/config.json").read_text()) | {"result": None})
    )
    arrays["x_train"][3, 3] += 0.25
    np.savez("data.npz", **arrays)
    train("--data", "data.npz", "--out", "run", "--batch-size", "32", "--resume", code=2)
    assert "its data set is another one" in capsys.readouterr().err


def test_what_is_no_run_folder_is_refused(capsys):
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("years of work")
    train("--out", "mine", "--resume", code=2)
    assert "mine is no run folder, it holds thesis.tex" in capsys.readouterr().err
    train("--resume", code=2)
    assert "name it with --out" in capsys.readouterr().err
    assert os.listdir("mine") == ["thesis.tex"]


def test_two_runs_in_one_folder(stopped, capsys):
    with locked(stopped, "run"):
        train("--out", "run", "--resume", code=2)
    assert "is in use by another run" in capsys.readouterr().err
    assert load_run(stopped).epoch == 4


def test_diverging_keeps_the_last_good_parameters(capsys):
    train(*DIVERGING, code=2)
    error = capsys.readouterr().err
    assert "training diverged: in epoch 1" in error
    assert not Path("run").exists()
    train(*DIVERGING, "--keep-going")
    assert "test accuracy" in capsys.readouterr().out


def test_going_on_with_what_has_diverged(monkeypatch, capsys):
    """Only where the user asks for it: no parameters of it are good."""
    from jaxmlp.cli import train as command

    with monkeypatch.context() as patch:
        patch.setattr(command, "_save_pictures", interrupt)
        train(*DIVERGING, "--keep-going", code=130)
    train(*DIVERGING, "--resume", code=2)
    assert "run has diverged: only --keep-going goes on with it" in capsys.readouterr().err
    train(*DIVERGING, "--resume", "--keep-going")
    settings = json.loads(Path("run/config.json").read_text(), parse_constant=pytest.fail)
    assert settings["result"]["test_loss"] is None


def test_going_on_with_other_versions(stopped, whole, capsys):
    path = stopped / "config.json"
    settings = json.loads(path.read_text())
    settings["versions"]["jax"] = "0.0.1"
    path.write_text(json.dumps(settings))
    train("--out", "run", "--resume")
    assert "warning: run began otherwise: jax is 0.0.1, not " in capsys.readouterr().err
    assert files("run") == files(whole)


def test_diverging_later(monkeypatch, capsys):
    from jaxmlp.cli import train as command

    whole = command.each_epoch

    def diverging(*args, **kwargs):
        for epoch, (state, metrics) in enumerate(whole(*args, **kwargs), 1):
            yield (
                state,
                metrics._replace(train_loss=metrics.train_loss * (1 if epoch < 4 else np.nan)),
            )

    monkeypatch.setattr(command, "each_epoch", diverging)
    train("--out", "run", code=2)
    error = capsys.readouterr().err
    assert "in epoch 4 the train loss became nan; run keeps the parameters of epoch 3" in error
    assert load_run(Path("run")).epoch == 3


def interrupt(*_):
    raise KeyboardInterrupt


def interrupted(times, folder, command=ENDLESS, sign="epoch 3/"):
    """The exit code and the output of a command that gets Ctrl-C, once or twice, after a sign."""
    with jaxmlp(*command, "--out", "run", folder=folder) as process:
        assert process.stdout
        printed = ""
        for line in process.stdout:
            printed += line
            if sign in line:
                break
        for number in range(times):
            time.sleep(0.0005 * number)
            process.send_signal(signal.SIGINT)
        for line in process.stdout:
            printed += line
            if "interrupted" in line:  # by one who is impatient, while the process ends
                process.send_signal(signal.SIGINT)
    return process.returncode, printed


def test_interrupted_once(tmp_path):
    code, printed = interrupted(1, tmp_path)
    assert code == 130
    last = int(re.findall(r"^epoch (\d+)/", printed, re.MULTILINE)[-1])
    assert "jaxmlp: finishing the epoch; again to stop at once" in printed
    assert f"run keeps {last} of 100000 epochs: to go on, add --resume" in printed
    assert load_run(tmp_path / "run").epoch == last


def test_interrupted_while_pictures_are_drawn(monkeypatch, whole, capsys):
    """All epochs are kept by then, and what is left is done by --resume."""
    from jaxmlp.cli import train as command

    with monkeypatch.context() as patch:
        patch.setattr(command, "_save_pictures", interrupt)
        train("--out", "run", code=130)
    assert "interrupted; run keeps 6 of 6 epochs: to go on, add --resume" in capsys.readouterr().err
    train("--out", "run", "--resume")
    assert files("run") == files(whole)


def test_an_ignored_interrupt_stays_ignored():
    """As of what a shell runs in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable() as asked:
            signal.raise_signal(signal.SIGINT)
            assert not asked()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_interrupted_twice(tmp_path):
    code, _ = interrupted(2, tmp_path)
    assert code == 130
    assert (load_run(tmp_path / "run").epoch or 0) >= 3


@pytest.mark.parametrize("times", [1, 2] if LONG else [1])
def test_an_interrupted_sweep(tmp_path, times):
    """In the middle of its only chunk; the same command goes on there."""
    command = ("sweep", "--set", "seed=0:2", "--hidden", "64", "--epochs", "500")
    code, printed = interrupted(times, tmp_path, command, sign="% done")
    assert code == 130, printed
    if times == 1:
        assert "jaxmlp: finishing the epoch; again to stop at once" in printed
        assert "what is done is in run: the same command goes on from there" in printed
        assert (tmp_path / "run" / "unfinished.safetensors").exists()


def test_no_room_for_the_arrays(capsys):
    """In a process of its own, which may take little, whatever the machine has."""
    limits = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (60 * 2**30,) * 2); "
    command = limits + "from jaxmlp.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["train", "--hidden", "2000000000", "--out", "run"]
    done = subprocess.run(
        [sys.executable, "-c", command, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("jaxmlp: error: there is not enough memory for it")
    assert done.stderr.count("\n") == 1
    assert not Path("run").exists()


def test_only_sound_checkpoints_are_read(stopped, capsys):
    """Nor by `evaluate`: what was changed is not what was trained."""
    path = stopped / "checkpoint-000004.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(bytes(content))
    assert load_run(stopped).epoch == 3
    assert main(["evaluate", "run"]) == 0
    assert "the parameters of epoch 3 of 6" in capsys.readouterr().out


def test_parameters_that_were_changed_are_refused(whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "copy")
    path = Path("copy/params.safetensors")
    content = bytearray(path.read_bytes())
    content[-5] ^= 0x40
    path.write_bytes(bytes(content))
    assert main(["evaluate", "copy"]) == 2
    assert "params.safetensors is not as this run wrote it" in capsys.readouterr().err


def test_what_is_no_checkpoint_of_ours_stays(stopped, whole):
    """Damaged ones make room for new ones; what somebody else has put there is left alone."""
    for path in stopped.glob("checkpoint-*"):
        path.rename(path.with_name(path.name.replace("0000", "9990")))  # later ones, by name
    mine = stopped / "checkpoint-best.safetensors"
    mine.write_bytes(b"mine")
    train("--out", "run", "--resume")
    assert files("run") == files(whole)
    assert sorted(path.name for path in stopped.glob("checkpoint-*")) == [mine.name]


@pytest.mark.parametrize("change", ["state", "metrics", "no metrics", "epochs"])
def test_arrays_that_a_run_cannot_have_left(stopped, whole, change, capsys):
    """With the right digest, which anybody can write."""
    path = stopped / "checkpoint-000004.safetensors"
    arrays, _ = read_tensors(path)
    curves = {name: arrays[name] for name in Metrics._fields}
    arrays |= {
        "state": {"rest000000": np.zeros((7, 3), np.float32)},
        "metrics": {"train_loss": np.float32(1)},
        "no metrics": {name: values[:0] for name, values in curves.items()},
        "epochs": {name: np.tile(values, 9) for name, values in curves.items()},
    }[change]
    write_tensors(path, decisive(json.loads((stopped / "config.json").read_text())), arrays)
    train("--out", "run", "--resume")
    assert "checkpoint-000004.safetensors is damaged" in capsys.readouterr().err
    assert files("run") == files(whole)


def test_states_of_many_arrays(tmp_path):
    """Of a deep network, whose arrays have numbers of four digits."""
    layer = Layer(np.ones((2, 2), np.float32), None)
    many = TrainState((layer,), [np.full(2, i, np.float32) for i in range(1100)], np.int32(0))
    curves = [np.ones(1, np.float32)] * 3
    record: dict = dict.fromkeys(DECISIVE) | {"config": {"epochs": 6}}
    save_checkpoint(tmp_path, record, Checkpoint(many, Metrics(*curves)))
    found, wrong = load_checkpoint(tmp_path, record, many)
    assert wrong == []
    assert found
    for ours, theirs in zip(jax.tree.leaves(found.state), jax.tree.leaves(many), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("result", [{}, {"test_accuracy": None}, [1], "done"])
def test_a_result_that_is_none(whole, result, capsys):
    shutil.copytree(whole, "copy")
    path = Path("copy/config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"result": result}))
    train("--out", "copy", "--resume", code=2)
    assert "its result is" in capsys.readouterr().err


def test_a_finished_run_without_parameters(whole, capsys):
    shutil.copytree(whole, "copy")
    Path("copy/params.safetensors").unlink()
    train("--out", "copy", "--resume", code=2)
    assert "is finished, but has no params.safetensors" in capsys.readouterr().err


@pytest.mark.skipif(not LONG, reason="takes long: set HYPOTHESIS_PROFILE=long")
def test_what_is_lost_is_counted(tmp_path, whole, monkeypatch):
    """By the harness itself: where every checkpoint is taken away before every start."""
    start = durability.jaxmlp

    def forgetful(*arguments, folder, **settings):
        for path in folder.glob("run*/checkpoint-*"):
            path.unlink()
        return start(*arguments, folder=folder, **settings)

    monkeypatch.setattr(durability, "jaxmlp", forgetful)
    assert kill_training(tmp_path, kills=2, seed=1, arguments=SMALL, alone=whole).lost > 0
