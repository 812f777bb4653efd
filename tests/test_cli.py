"""The command line as a user types it: what it prints, leaves behind and refuses."""

import csv
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import jaxmlp
from jaxmlp.cli import COMMANDS, main
from jaxmlp.compilation import keep_programs
from jaxmlp.runs import load_run

pytestmark = [
    pytest.mark.usefixtures("as_in_a_shell"),
    pytest.mark.xdist_group("cli"),  # so that there is one trained run
]
PICTURES = ["confusion.png", "curves.png", "mistakes.png"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder made by the command as the README has it, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    command = [sys.executable, "-m", "jaxmlp", "train", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def npz(path="small.npz", n_in=6, classes=2, n=40):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(n, n_in)), np.arange(n) % classes
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    return str(path)


def test_training_on_digits(trained):
    """The job of the README's first command: 97 % at least, and everything in the folder."""
    folder, printed = trained
    lines = printed.splitlines()
    accuracy = float(re.findall(r"^test accuracy (0\.\d{4})$", lines[-1])[0])
    assert accuracy >= 0.97
    assert sum(line.startswith("epoch ") for line in lines) == 40
    agreement = next(line for line in lines if line.startswith("gradient"))
    difference, largest = map(float, re.findall(r"\d\.\de[-+]\d\d", agreement))
    assert 0 < difference < 1e-5 * largest
    record = json.loads((folder / "config.json").read_text())
    assert record["versions"]["jax"] == jax.__version__
    assert record["device"]["platform"] == "cpu"
    assert (record["seed"], record["data"]) == (0, "digits")
    assert record["config"]["hidden"] == [256]
    assert record["hyperparams"]["momentum"] == 0.9
    assert abs(record["result"]["test_accuracy"] - accuracy) < 1e-4
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(1, 41)]
    assert float(rows[-1]["validation_accuracy"]) > 0.9
    assert sorted(path.name for path in folder.glob("*.png")) == PICTURES
    for name in PICTURES:
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 300


def test_evaluate(trained, capsys):
    folder, printed = trained
    assert main(["evaluate", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == printed.splitlines()[-1]


def test_predict_photograph_and_array(trained, digits, capsys, tmp_path):
    """Ten test digits enlarged, as dark ink on a page lit from one side; and one as an array."""
    folder, _ = trained
    names = []
    for number in range(10):
        digit = digits.test.x[number].reshape(8, 8)
        large = np.asarray(Image.fromarray(digit).resize((120, 120), Image.Resampling.BICUBIC))
        page = np.full((200, 300), 0.85) - 0.15 * np.linspace(0, 1, 300)[None, :]
        page[40:160, 90:210] -= 0.6 * large.clip(0, 1)
        names.append(f"photo{number}.png")
        Image.fromarray((255 * page.clip(0, 1)).astype(np.uint8)).save(names[-1])
    np.save("digit.npy", digits.test.x[0])
    assert main(["predict", str(folder), *names, "digit.npy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    seen = [
        int(digit)
        for line in lines
        for digit in re.findall(r"^\S+: (\d) with probability [01]\.\d{3}, then \d", line)
    ]
    assert len(seen) == 11
    assert sum(np.asarray(seen[:10]) == digits.test.labels[:10]) >= 9
    assert seen[10] == digits.test.labels[0]


def test_settings_reach_the_run(capsys):
    data = npz()
    flags = "--hidden 5 4 --activation tanh --no-bias --optimizer sgd --schedule constant "
    flags += "--batch-size 7 --epochs 2 --augmentation mixup --gradient autodiff --data-seed 3 "
    flags += "--seed 2 --learning-rate 0.01 --momentum 0.5 --weight-decay 1e-4 --init-scale 0.5 "
    flags += "--label-smoothing 0.05 --mixup-alpha 0.3 --beta2 0.9 --epsilon 1e-3 --power 0.2"
    assert main(["train", "--data", data, "--out", "run", *flags.split()]) == 0
    run = load_run(Path("run"))
    assert run.config == jaxmlp.Config(
        hidden=(5, 4), activation="tanh", bias=False, optimizer="sgd", schedule="constant",
        batch_size=7, epochs=2, augmentation="mixup", gradient="autodiff", data_seed=3,
    )  # fmt: skip
    assert run.hyper == jaxmlp.Hyperparams(0.01, 0.5, 1e-4, 0.5, 0.05, 0.3, 0, 0.9, 1e-3, 0.2)
    assert (run.seed, run.data) == (2, data)
    assert [layer.weight.shape for layer in run.params] == [(6, 5), (5, 4), (4, 2)]
    result = jaxmlp.train(
        jax.random.key(2), run.hyper, jaxmlp.load_npz(data, data_seed=3), config=run.config
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        result.params,
        run.params,
    )


def test_default_folder_carries_the_name_of_the_data(capsys):
    assert main(["train", "--data", npz(), "--epochs", "1", "--batch-size", "9", "--hidden"]) == 0
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("small-20")


def refused(arguments, capsys, code=2) -> str:
    """Run a command that must fail: one line on standard error, and nothing new on disk."""
    before = sorted(Path(".").rglob("*"))
    assert main([str(argument) for argument in arguments]) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert sorted(Path(".").rglob("*")) == before
    assert lines[0].startswith("jaxmlp: error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "cifar"], "unknown data 'cifar': give digits, mnist, a folder"),
        (["--data", "nothing.npz"], "nothing.npz cannot be read as .npz"),
        (["--data", "."], "has no file train-images-idx3-ubyte"),
        (["--epochs", "0"], "epochs is 0: give an integer ≥ 1"),
        (["--epochs", "many"], "--epochs: invalid literal.*'many'"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--hidden", "8", "0"], r"hidden is \(8, 0\): give integers ≥ 1"),
        (["--hidden", "a"], r"--hidden: .*\['a'\]; give --hidden \[INT"),
        (["--learning-rate", "-1"], "learning_rate is -1.0: give a number at least 0"),
        (["--learning-rate", "nan"], "learning_rate is nan"),
        (["--label-smoothing", "2"], "label_smoothing is 2.0: give a number from 0 to 1"),
        (["--activation", "swish"], "'swish'.*--activation.*'relu', 'tanh'"),
        (["--optimizer", "lion"], "'lion'.*--optimizer"),
        (["--seed", "-1"], "seed is -1: give an integer ≥ 0"),
        (["--data-seed", "-1"], "data_seed is -1"),
        (["--seed", "9" * 20], "seed is 9999.* below"),
        (["--data-seed", "9" * 20], "data_seed is 9999"),
        (["--data", "x" * 300], "File name too long"),
        (["--out", "x" * 300], "x cannot be written: File name too long"),
        (["--out", "new/.."], r"new/\.\. exists already"),
        (["--out", "/proc/nothing/run"], "/proc/nothing/run cannot be written"),
        (["--colour", "red"], "Unrecognized options: --colour"),
        (
            ["--learning-rate", "1e38", "--optimizer", "sgd"],
            "diverged: in epoch 1 .* --learning-ra",
        ),
    ],
)
def test_train_refuses(arguments, message, capsys):
    line = refused(["train", *arguments], capsys)
    assert re.search(message, line), line


def test_train_refuses_a_folder_that_exists(capsys):
    Path("taken").mkdir()
    assert "taken exists already" in refused(["train", "--out", "taken"], capsys)
    Path("file").write_text("")
    assert "file exists already" in refused(["train", "--out", "file"], capsys)
    data = npz()
    flags = ["--epochs", "1", "--batch-size", "9", "--out", "file/run"]
    line = refused(["train", "--data", data, *flags], capsys)
    assert "cannot be written" in line


def test_a_folder_that_fails_leaves_no_parents(capsys):
    refused(["train", "--out", "one/two/run", "--loss", "sigmoid"], capsys)


def test_nobody_reads_the_output():
    """As before `| head -1`: the run stops, says so by its code, and leaves nothing."""
    command = f"{sys.executable} -m jaxmlp train --out run | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")
    assert not list(Path(".").iterdir())


@pytest.mark.parametrize(
    "arguments", [[], ["grow"], ["train", "more"], ["evaluate"], ["predict"], ["export"]]
)
def test_refuses_what_is_no_command(arguments, capsys):
    refused(arguments, capsys)


def test_help_tells_every_setting(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    fields = (*jaxmlp.Config.__dataclass_fields__, *jaxmlp.Hyperparams._fields)
    for name in fields:
        assert f"--{name.replace('_', '-')}" in text
    for each in ("adamw", "EMNIST, QMNIST, KMNIST", "a text of its own"):
        assert each in " ".join(text.replace("│", " ").split())


def copy_run(trained, **files):
    """A copy of the trained run with some files replaced; None removes one."""
    shutil.copytree(trained[0], "copy")
    for name, content in files.items():
        path = Path("copy") / name.replace("__", ".")
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    return "copy"


def changed(trained, **changes) -> bytes:
    record = json.loads((trained[0] / "config.json").read_text())
    for place, value in changes.items():
        *path, last = place.split("__")
        inner = record
        for step in path:
            inner = inner[step]
        inner[last] = value
    return json.dumps(record).encode()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config__json", None, "copy is no run folder"),
        ("config__json", b"{", "config.json is not as"),
        ("config__json", b"\xff\xfe", "config.json is not as"),
        ("config__json", b"[]", "config.json is not as"),
        ("config__json", {"config__hidden": [255]}, r"hidden widths \(256,\), config.json says"),
        ("config__json", {"config__hidden": 3}, "config.json is not as"),
        ("config__json", {"config__activation": "swish"}, "unknown activation 'swish'"),
        ("config__json", {"config__colour": "red"}, "config.json is not as"),
        ("config__json", {"hyperparams__momentum": "much"}, "momentum is much"),
        ("config__json", {"framing__image_shape": [8, 9]}, "x gives it 72 columns"),
        ("config__json", {"framing__image_shape": [-8, -8]}, "impossible framing"),
        ("config__json", {"framing__box": None}, "config.json is not as"),
        ("params__safetensors", None, "params.safetensors cannot be read"),
        ("params__safetensors", b"", "params.safetensors cannot be read"),
        ("params__safetensors", b"\xff" * 64, "params.safetensors cannot be read"),
    ],
)
def test_damaged_run_folder(trained, name, content, message, capsys):
    content = changed(trained, **content) if isinstance(content, dict) else content
    folder = copy_run(trained, **{name: content})
    line = refused(["evaluate", folder], capsys)
    assert re.search(message, line), line
    refused(["predict", folder, "any.png"], capsys)


def test_evaluate_refuses_other_shapes(trained, capsys):
    line = refused(["evaluate", trained[0], "--data", npz()], capsys)
    assert "64 inputs and 10 outputs, but small.npz has 6 inputs and 2 outputs" in line


def test_predict_refuses(trained, capsys):
    Path("text.png").write_text("no picture")
    for name in ("missing.png", "text.png", "."):
        assert refused(["predict", trained[0], name], capsys).split(": ", 2)[2].startswith(name)
    refused(["predict", trained[0]], capsys)


@pytest.mark.mnist
def test_mnist_folder_end_to_end(mnist_directory, capsys):
    """Four epochs of a small network, by folder: 97 % at least; then by evaluate."""
    flags = ["--data", str(mnist_directory), "--epochs", "4", "--hidden", "64", "--out", "mnist"]
    assert main(["train", *flags, "--batch-size", "128", "--label-smoothing", "0.1"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert float(last.split()[-1]) >= 0.97
    assert main(["evaluate", "mnist"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_import_is_light():
    """`import jaxmlp` brings in nothing that only the command line or the tests need."""
    heavy = ["matplotlib", "sklearn", "hypothesis", "xarray", "pandas", "PIL", "rich", "tyro"]
    heavy += ["onnx", "skops", "torch"]
    code = f"import sys, jaxmlp; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"


def test_help_needs_no_jax():
    """Nor does the process that only starts the one in which a file is checked."""
    for arguments, last in ((["--help"], "SystemExit"), (["check", "none.py"], "2")):
        code = (
            "import sys\nfrom jaxmlp.cli import main\ntry:\n"
            f"    code = main({arguments})\nexcept SystemExit:\n    code = 'SystemExit'\n"
            "print([m for m in ('jax', 'scipy', 'pandas') if m in sys.modules], code)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == f"[] {last}"


def test_every_command_says_what_its_help_does():
    for name, says in COMMANDS.items():
        command = getattr(importlib.import_module(f"jaxmlp.cli.{name}"), name.capitalize())
        assert command.__doc__.splitlines()[0] == says


def test_without_the_extra(monkeypatch, capsys):
    """Only the core is installed: the command says what to install."""
    for name in [name for name in sys.modules if name.startswith("jaxmlp.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tyro", None)
    assert "needs the package tyro: pip install" in refused(["train"], capsys)


def no_home():
    raise RuntimeError("Could not determine home directory.")


def test_compiled_programs_are_kept(tmp_path, monkeypatch):
    """In the user's cache, unless JAX is told where; a cache that cannot be is done without."""
    names = (
        "jax_compilation_cache_dir",
        "jax_compilation_cache_max_size",
        "jax_persistent_cache_min_compile_time_secs",
    )
    config: Any = jax.config
    before = {name: getattr(config, name) for name in names}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        keep_programs()
        assert config.jax_compilation_cache_dir == before[names[0]]
        config.update(names[0], None)
        (tmp_path / "jaxmlp").touch()
        keep_programs()
        assert config.jax_compilation_cache_dir is None
        (tmp_path / "jaxmlp").unlink()
        with monkeypatch.context() as patch:
            patch.delenv("XDG_CACHE_HOME")
            patch.setattr(Path, "home", no_home)
            keep_programs()
        assert config.jax_compilation_cache_dir is None
        keep_programs()
        assert Path(getattr(config, names[0])).parent == tmp_path / "jaxmlp"
    finally:
        for name, value in before.items():
            config.update(name, value)
