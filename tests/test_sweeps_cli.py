"""`jaxmlp sweep`: what is typed, what is printed, what is written, what is refused."""

import json

import pytest

from jaxmlp.cli import main
from jaxmlp.sweeps import choice, loguniform
from jaxmlp.sweeps.syntax import parse_space

pytestmark = pytest.mark.usefixtures("as_people_run_it")
QUICK = ["--epochs", "2", "--hidden", "8", "--batch-size", "256"]


def test_a_sweep(tmp_path, capsys):
    import xarray as xr

    out = tmp_path / "sweep"
    command = ["sweep", "--set", "learning_rate=0.0001,0.1", "seed=0:2", *QUICK, "--out", str(out)]
    assert main([*command, "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert planned.startswith(
        "examples    1,294 train, 143 validation, 360 test\n"
        "inputs      pixels, divided by 16: images of whole numbers up to 16\ntrials      4\n"
    )
    assert "programs    1, inside: learning_rate, seed\n" in planned
    assert not out.exists()
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(planned)
    assert printed.index(" 0.1 ") < printed.index(" 0.0001 ")
    assert "best: learning_rate=0.1: validation accuracy 0." in printed
    with xr.open_dataset(out / "table.nc") as table:
        assert dict(table.sizes) == {"learning_rate": 2, "seed": 2, "epoch": 2}
    assert (out / "table.csv").read_text().startswith("learning_rate,seed,epoch,train_loss")
    assert {path.name for path in out.glob("*.*")} >= {"report.html", "curves.png"}
    assert "test accuracy 0." in printed
    assert main(["evaluate", str(out)]) == 0  # the network of the first seed
    assert "test accuracy 0." in capsys.readouterr().out
    assert main(["export", str(out), "--to", "stablehlo", "--out", str(tmp_path / "net")]) == 0
    capsys.readouterr()
    assert main([*command, "--momentum", "0.5"]) == 2
    assert "holds another sweep: its momentum is 0.9, not 0.5" in capsys.readouterr().err


TASK = """
import jax.numpy as jnp
from jaxmlp.sweeps import Task

hyper = {"rate": 0.1, "width": 2, "name": "a"}


def init(key, hyper, static):
    return jnp.zeros(hyper["width"])


def epoch(state, hyper, key, epoch, static):
    return state + hyper["rate"], {"loss": state.sum(), "other": 1.0}


def wrong(state, hyper, key, epoch, static):
    return state + missing, {}


task, broken = Task(init, epoch), Task(init, wrong)
number = 3


def whole(key, hyper):
    return {"loss": hyper["rate"] * jnp.arange(4.0)}
"""


def test_a_sweep_of_a_task(tmp_path, capsys, monkeypatch):
    import xarray as xr

    monkeypatch.chdir(tmp_path)
    (tmp_path / "some_task.py").write_text(TASK)
    swept = ["sweep", "some_task.py:task", "--set", "rate=0.1:0.3:3", "width=2,4", "name=a,b"]
    assert main([*swept, "--epochs", "3", "--objective", "loss", "--mode", "max"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        "not traced  width: init raised TypeError at some_task.py, line 9: Sh"
    )
    assert "programs    4, inside: rate; split by: width, name\n" in printed
    assert "best: rate=0.3, width=4, name=a: loss 2.4000, best of 12" in printed
    with xr.open_dataset("runs/sweep/table.nc") as table:
        assert dict(table.sizes) == {"rate": 3, "width": 2, "name": 2, "epoch": 3}
        assert table.loss.sel(rate=0.2, width=4, name="b").values.tolist() == pytest.approx(
            [0, 0.8, 1.6]
        )
    assert main(["sweep", "some_task.py:whole", "--set", "rate=1,2", "--out", "new"]) == 0
    assert "best: rate=1: loss 3.0000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.py:task", "--set", "rate=1"], "nothing.py:task: give FILE.py:NAME of a Task"),
        (["some_task.py", "--set", "rate=1"], "some_task.py: give FILE.py:NAME of a Task"),
        (["some_task.py:number", "--set", "rate=1"], "is a int: give a jaxmlp.sweeps.Task, or"),
        (["some_task.py:nothing", "--set", "rate=1"], "some_task.py has no nothing: give a jax"),
        (["some_task.py:whole", "--set", "rate=1", "--epochs", "4"], "epochs is 4, but a functio"),
        (["some_task.py:task", "--set", "rate=1"], "objective is not given: give one of loss, o"),
        (["some_task.py:task", "--set", "rat=1"], "unknown field 'rat': did you mean rate?"),
        (["some_task.py:task", "--set", "rate=1", "--hidden", "3"], "hidden is (3,), which is fo"),
        (["some_task.py:task", "--set", "rate=1", "--data", "mnist"], "data is 'mnist', which is"),
        (["some_task.py:broken", "--set", "rate=1"], "epoch raised NameError at some_task.py, li"),
        (["--set", "seed=0:2", "--objective", "loss"], "objective and mode are for tasks: for ne"),
    ],
)
def test_refuses_tasks(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some_task.py").write_text(TASK)
    assert main(["sweep", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir() if path.suffix] == ["some_task.py"]


def test_a_random_search_that_is_halved(tmp_path, capsys):
    drawn = ["--set", "learning_rate=loguniform:0.0001:0.1", "--set", "momentum=uniform:0:0.9"]
    command = ["sweep", *drawn, "--trials", "4", "--halving", "2", *QUICK, "--out", str(tmp_path)]
    assert main([*command, "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert "trials      4\n" in planned
    assert "settings: 4 to epoch 1, 2 to epoch 2; 25% of the work saved" in planned


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("seed=0:3", [0, 1, 2]),
        ("batch_size=8:32:3:log", [8, 16, 32]),
        ("learning_rate=0.001:1:4:log", [0.001, 0.01, 0.1, 1.0]),
        ("momentum=0:1:3", [0.0, 0.5, 1.0]),
        ("hidden=32,64-16,none", [(32,), (64, 16), ()]),
        ("bias=true,false", [True, False]),
        ("optimizer=sgd, adam", ["sgd", "adam"]),
        ("learning-rate=0.1", [0.1]),
        ("hidden=choice:32,64-16", choice([(32,), (64, 16)])),
        ("batch_size=loguniform:8:64", loguniform(8, 64)),
    ],
)
def test_values(text, values):
    (found,) = parse_space([text]).values()
    assert found == values


def test_an_interrupt(tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxmlp.sweeps.sweep", interrupted)
    assert main(["sweep", "--set", "seed=0:2", *QUICK, "--out", str(tmp_path)]) == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"jaxmlp: interrupted; what is done is in {tmp_path}: the same")


def test_a_damaged_chunk_is_said_in_one_line(tmp_path, capsys):
    swept = ["learning_rate=0.0001,0.1", "seed=0:2"]  # as many as above, so the same program
    command = ["sweep", "--set", *swept, *QUICK, "--out", str(tmp_path)]
    assert main(command) == 0
    (chunk,) = tmp_path.glob("chunk-*")
    chunk.write_bytes(b"")
    capsys.readouterr()
    assert main(command) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"jaxmlp: warning: {chunk} is damaged or of another sweep, and not used: "
    )


def test_the_plan_tells_programs_apart(capsys):
    swept = ["batch_size=32,64", "hidden=8,16", "seed=0:2"]
    assert main(["sweep", "--set", *swept, "--dry-run"]) == 0
    assert "4 × up to 16, batch_size 64, " in capsys.readouterr().out
    assert main(["sweep", "--set", "seed=0:2", "--halving", "2", "--dry-run"]) == 0
    assert "halving     none: there are too few settings" in capsys.readouterr().out


def test_settings():
    given = [["optimizer=sgd", "hidden=8-4", "name=slow"], ["optimizer=adam"]]
    assert parse_space([], given) == {
        "setting": [{"optimizer": "sgd", "hidden": (8, 4), "name": "slow"}, {"optimizer": "adam"}]
    }


def test_a_sweep_in_which_all_diverges(tmp_path, capsys):
    command = ["sweep", "--set", "learning_rate=1e20,1e25", "seed=0:2", *QUICK]
    assert main([*command, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "2 of 2 seeds diverged, in epoch 1" in printed
    assert "without diverging for some seed: none is the best" in printed
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["seed"], "--set 'seed' gives no values: write such as"),
        (["sed=1"], "unknown field 'sed': did you mean seed?"),
        (["seed=1", "seed=2"], "seed is given twice"),
        (["seed=a"], "--set seed=a: 'a' is no integer"),
        (["seed=0:8:2"], "--set seed=0:8:2: integers are first:end (the end left out)"),
        (["optimizer=uniform:0:1"], "give uniform:low:high for numbers, or choice:a,b,c"),
        (["lr=1"], "unknown field 'lr': did you mean learning_rate?"),
        (["seed=1", "--setting", "bias"], "--setting 'bias' gives no values: write such as opt"),
        (["seed=1", "--setting", "momentum=a"], "--setting momentum=a: 'a' is no number"),
        (["seed=5:5"], "--set seed=5:5: that makes 0 values"),
        (["seed=0:1000000000"], "that makes 1000000000 values: give 1 to 100,000"),
        (["momentum=0:1:9999999999"], "that makes 100001 values"),
        (["learning_rate=0:1"], "give first:last:number or first:last:number:log"),
        (["learning_rate=-1:1:3:log"], "a logarithmic scale needs positive numbers"),
        (["bias=maybe"], "'maybe' is neither true nor false"),
        (["learning_rate=0.1", "batch_size=0"], "batch_size is 0: give an integer ≥ 1"),
        (["seed=0:20000"], "20,000 trials are many: add --yes"),
        (["momentum=uniform:0"], "--set momentum=uniform:0: give uniform:low:high for numbers"),
        (["momentum=loguniform:0:1"], "the interval is 0.0 to 1.0: give two positive numbers"),
        (["momentum=uniform:0:0.9"], "momentum is drawn at random: say how often by trials"),
        (["seed=1", "--trials", "3"], "trials is 3, but nothing is drawn at random"),
        (["seed=1", "--seed", "3"], "seed is swept by --set: leave out --seed 3"),
        (["bias=true", "--draw-seed", "3"], "draw_seed is 3, but nothing is drawn: leave it out"),
        (["seed=1", "--halving", "1"], "halving is 1: give an integer ≥ 2"),
        (["seed=1", "--at-once", "0"], "at_once is 0: give an integer ≥ 1"),
        (["seed=1", "--devices", "0"], "devices is 0: give an integer ≥ 1"),
        (["seed=1", "--devices", "77"], "devices is 77: JAX runs on 1 already"),
        (["seed=1", "--coordinator", "a:1"], "processes is None and coordinator a:1: give all of"),
        (
            ["seed=1", "--coordinator", "a:1", "--processes", "2", "--process", "2"],
            "process is 2: give a number from 0 to 1",
        ),
        (
            ["seed=1", "--coordinator", "a", "--processes", "2", "--process", "1"],
            "coordinator is 'a': give HOST:PORT",
        ),
    ],
)
def test_refuses(settings, message, tmp_path, capsys):
    assert main(["sweep", "--set", *settings, "--out", str(tmp_path / "no")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "no").exists()


def test_names_of_settings_are_text(tmp_path, capsys):
    """Neither markup for a terminal nor what moves its cursor."""
    command = ["sweep", "--setting", "name=[/x]", "learning_rate=0.01"]
    command += ["--setting", "name=[red]a[/red]", "learning_rate=0.02", *QUICK]
    assert main([*command, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "[/x]" in printed
    assert "[red]a[/red]" in printed
    assert main(["sweep", "--setting", "name=a\x1b[2J", "learning_rate=0.01", *QUICK]) == 2
    assert "give one that can be printed" in capsys.readouterr().err


def test_going_on_with_other_versions(tmp_path, capsys):
    command = ["sweep", "--set", "seed=0:2", *QUICK, "--out", str(tmp_path)]
    assert main(command) == 0
    record = json.loads((tmp_path / "sweep.json").read_text())
    record["versions"]["jax"] = "0.0.1"
    (tmp_path / "sweep.json").write_text(json.dumps(record))
    assert main(command) == 0
    assert "began otherwise: jax is 0.0.1, not " in capsys.readouterr().err
