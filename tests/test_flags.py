"""Every flag of every command with values that are wrong, alone and among others."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxmlp.cli import main
from tests.fuzzing import make_runs
from tests.strategies import LONG

INTEGERS = ["-1", "x", str(2**31), "1.5", "", "9" * 20, "1e3"]
POSITIVE = ["0", *INTEGERS]
NUMBERS = ["-1", "x", "nan", "inf", "1e39", "", "1,5"]
NAMES = ["x", "", "RELU"]
DATA = ["cifar", "nothing.npz", ".", "", "x" * 300, "\0", "notes.npz", "/dev/null"]
NOTHING = ["3"]  # what a flag without a value cannot take
# a folder of somebody else, a file, and what cannot be made
WRITTEN = [".", "/proc/nothing/file", "x" * 300, ""]
OUT = [".", "notes.npz", "/proc/nothing/run", "x" * 300]

SETTINGS = {
    "--hidden": ["0", "-1", "x", "1.5", str(10**30), ""],
    "--activation": NAMES,
    "--bias": NOTHING,
    "--no-bias": NOTHING,
    "--loss": NAMES,
    "--metric": ["r2", *NAMES],
    "--patience": INTEGERS,
    "--monitor": NAMES,
    "--optimizer": NAMES,
    "--schedule": NAMES,
    "--batch-size": POSITIVE,
    "--epochs": POSITIVE,
    "--augmentation": NAMES,
    "--gradient": NAMES,
    "--data-seed": INTEGERS,
    "--learning-rate": NUMBERS,
    "--momentum": ["1", *NUMBERS],
    "--weight-decay": NUMBERS,
    "--init-scale": NUMBERS,
    "--label-smoothing": ["1.01", *NUMBERS],
    "--mixup-alpha": ["0", *NUMBERS],
    "--tolerance": NUMBERS,
    "--beta2": ["1", *NUMBERS],
    "--epsilon": ["0", *NUMBERS],
    "--power": NUMBERS,
    "--data": DATA,
    "--inputs": NAMES,
    "--target": ["label", ""],  # the data are no table
    "--test": ["test.csv", ""],
    "--test-share": ["0", "1", "0.3", *NUMBERS],
    "--validation": ["other.csv", ""],
    "--missing": ["impute", *NAMES],
    "--drop": ["name", ""],
    "--categorical": ["name", ""],
    "--targets": ["standardise", *NAMES],
    "--class-weight": NAMES,
    "--out": OUT,
    "--seed": INTEGERS,
}
RIGHT = {
    "--hidden": "4", "--activation": "tanh", "--optimizer": "sgd", "--schedule": "constant",
    "--batch-size": "32", "--epochs": "2", "--augmentation": "mixup", "--gradient": "autodiff",
    "--data-seed": "3", "--learning-rate": "0.1", "--momentum": "0.5", "--weight-decay": "1e-3",
    "--init-scale": "2", "--label-smoothing": "0", "--mixup-alpha": "1", "--data": "digits",
    "--inputs": "minmax", "--metric": "auc", "--patience": "2", "--monitor": "training",
    "--tolerance": "1e-4", "--class-weight": "balanced", "--out": "new", "--seed": "1",
    "--halving": "3", "--keep": "all", "--at-once": "2", "--layers": "2", "--labels": "both",
    "--at-kink": "any", "--rtol": "1e-6", "--atol": "0", "--report": "report.md",
    "--time-limit": "9", "--beta2": "0.99", "--epsilon": "1e-6", "--power": "0.3",
}  # fmt: skip
COMMANDS = {
    "train": [],
    "sweep": ["--set", "momentum=0,0.5"],
    "check": ["nothing.py"],
    "evaluate": ["run"],
    "predict": ["run"],
    "export": ["run", "--to", "stablehlo"],
}
FLAGS = {
    "train": SETTINGS | {"--resume": NOTHING, "--keep-going": NOTHING},
    "sweep": SETTINGS
    | {
        "--set": ["seed", "sed=1", "seed=a", "seed=", "", "=", "seed=5:5", "hidden=0", "bias=2"],
        "--setting": ["seed", "sed=1", "seed=a", "", "bias=2", "hidden=0"],
        "--trials": ["3", *POSITIVE],  # as nothing is drawn
        "--draw-seed": ["3", *INTEGERS[:-1]],
        "--halving": ["1", *POSITIVE],
        "--objective": ["loss", "x"],  # which are for tasks
        "--mode": ["max", *NAMES],
        "--keep": NAMES,
        "--at-once": POSITIVE,
        "--dry-run": NOTHING,
        "--no-dry-run": NOTHING,
        "--yes": NOTHING,
        "--no-yes": NOTHING,
        "--devices": ["77", *POSITIVE],
        "--coordinator": ["x", "", ":1", "host:", "host:x"],
        "--processes": ["2", *POSITIVE],
        "--process": ["0", *INTEGERS],
        "--distributed": NOTHING,
        "--no-distributed": NOTHING,
    },
    "check": {
        "--activation": NAMES,
        "--layers": ["9", *POSITIVE],
        "--bias": NAMES,
        "--labels": NAMES,
        "--loss": NAMES,
        "--columns": NOTHING,
        "--init": NOTHING,
        "--at-kink": NAMES,
        "--rtol": NUMBERS,
        "--atol": NUMBERS,
        "--seed": INTEGERS,
        "--report": [".", "/proc/nothing/report.md", "x" * 300, ""],
        "--time-limit": ["0", *NUMBERS],
        **dict.fromkeys(("--json", "--csv", "--junit", "--gradescope", "--page"), WRITTEN),
        "--rubric": ["nothing.toml", ".", "notes.npz", ""],
        "--memory": ["63", *POSITIVE],
        "--resume": NOTHING,
    },
    "evaluate": {"--data": DATA},
    "predict": {"--out": ["new.csv", *OUT]},
    "export": {"--to": NAMES, "--out": [".", "/proc/nothing/a.onnx", "x" * 300, "run/a.onnx", ""]},
}
MANY = {
    "--drop",
    "--categorical",
    "--target",
    "--hidden",
    "--set",
    "--setting",
}  # values; no layer is a network too
CASES = [
    pytest.param(command, flag, values, id=f"{command} {flag}")
    for command, flags in FLAGS.items()
    for flag, values in flags.items()
]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with a run, and a file that is no data set."""
    folder = tmp_path_factory.mktemp("flags")
    make_runs(folder)
    (folder / "settings").rename(folder / "run")
    (folder / "notes.npz").write_text("years of work")
    return folder


@pytest.fixture(autouse=True)
def in_it(workplace, as_users_see_it, as_people_run_it, monkeypatch):
    monkeypatch.chdir(workplace)


def refused(capsys, *arguments):
    """Run a command that must fail: one line on standard error, and nothing new on disk."""
    before = sorted(Path(".").rglob("*"))
    try:
        code = main(arguments)
    except SystemExit as exit_:
        pytest.fail(f"{arguments} ends the process: {exit_.code}")
    out, err = capsys.readouterr()
    assert code == 2, (arguments, out, err)
    assert re.fullmatch(r"jaxmlp: error: [^\n]+\n", err), (arguments, err)
    assert sorted(Path(".").rglob("*")) == before, arguments


def arguments_of(command, *pairs):
    """The arguments of a command with some flags."""
    flags = [each for flag, value in pairs for each in (flag, value) if each is not None]
    return [command, *COMMANDS[command], *flags]


@pytest.mark.parametrize("command", FLAGS)
def test_every_flag_is_here(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    pairs = re.findall(r"^[│ ] (--[a-z][a-z0-9-]*)(?:, (--[a-z][a-z0-9-]*))?", text, re.MULTILINE)
    assert {flag for pair in pairs for flag in pair if flag} == {*FLAGS[command]}


@pytest.mark.parametrize(("command", "flag", "values"), CASES)
def test_wrong_values(command, flag, values, capsys):
    for value in values if LONG else values[:3]:
        refused(capsys, *arguments_of(command, (flag, value)))
    if values != NOTHING and flag not in MANY:
        refused(capsys, *arguments_of(command, (flag, None)))


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--resume"],
        ["train", "--data", "digits", "more"],
        ["train", "--colour", "red"],
        ["sweep"],
        ["sweep", "--dry-run"],
        ["check"],
        ["check", "nothing.py"],
        ["check", "notes.npz"],
        ["check", "."],
        ["check", ""],
        ["evaluate"],
        ["evaluate", "nothing"],
        ["evaluate", "notes.npz"],
        ["evaluate", ""],
        ["evaluate", "run", "run"],
        ["predict", "run"],
        ["predict", "nothing", "picture.png"],
        ["predict", "run", "nothing.png"],
        ["predict", "run", "notes.npz", "--data", "digits"],
        ["export"],
        ["export", "run"],
        ["export", "nothing", "--to", "onnx"],
        ["export", "run", "run", "--to", "onnx"],
    ],
    ids=" ".join,
)
def test_wrong_arguments(arguments, capsys):
    refused(capsys, *arguments)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_wrong_value_among_others(capsys, data):
    """Whatever else is right or wrong, and in whatever order."""
    command = data.draw(st.sampled_from([name for name in FLAGS if FLAGS[name]]))
    flags = {flag: values for flag, values in FLAGS[command].items() if flag != "--resume"}
    wrong = data.draw(st.sampled_from([*flags]))
    others = data.draw(st.lists(st.sampled_from([*flags]), unique=True, max_size=5))
    pairs = [(wrong, data.draw(st.sampled_from(flags[wrong])))]
    for flag in others:
        right = RIGHT.get(flag) if command != "check" or flag != "--bias" else "both"
        if flag != wrong and right:
            pairs.append((flag, right))
    refused(capsys, *arguments_of(command, *data.draw(st.permutations(pairs))))
