"""`jaxmlp check`: homework in a file, right, wrong and broken."""

import re
from pathlib import Path

import jax
import pytest

from jaxmlp.checking.files import load, work
from jaxmlp.cli import main
from tests import corpus

HEAD = "import numpy as np\nfrom jaxmlp import Layer\n"
QUICK = ["--layers", "2", "--labels", "rows"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", jax.config.values["jax_compilation_cache_dir"])


def write(source: str, name: str = "homework.py") -> str:
    Path(name).write_text(HEAD + source)
    return name


def test_right_homework(capsys):
    assert main(["check", write(corpus.SOURCE), *QUICK]) == 0
    assert "✓ manual_grad is right: every entry, on " in capsys.readouterr().out


def test_wrong_homework(capsys):
    wrong = corpus.SOURCE.replace(corpus.MASK, "dh")
    target = write(wrong) + ":manual_grad"
    assert main(["check", target, *QUICK, "--report", "out.md"]) == 1
    text = capsys.readouterr().out
    assert "∂C/∂z₁ (16): mask missing: the derivative of the function is left out" in text
    assert "✗  ∂C/∂z₁  (16)  ∂C/∂h₁ ⊙ f'(z₁)" in text
    report = Path("out.md").read_text()
    assert r"| ✗ | ∂C/∂z₁ | (16) | $\frac{\partial C}{\partial h_{1}} \odot f'(z_{1})$" in report


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("import numpi", "", "homework.py line 3: ModuleNotFoundError: No module named 'numpi'"),
        ("def f(:", "", "homework.py line 3: SyntaxError"),
        ("1 / 0", "", "homework.py line 3: ZeroDivisionError"),
        ("def grad(W, x, y): return W", "", "grad(W, x, y) has to take (params, batch)"),
        ("def f(params, batch): pass", "", "which function? (there are: f): name it as"),
        ("def f(params, batch): pass", ":g", "no function g (there are: f)"),
        ("grad = 3", ":grad", "no function grad (there are: none)"),
        ("raise KeyboardInterrupt", "", "homework.py line 3: KeyboardInterrupt: no message"),
    ],
)
def test_what_cannot_be_loaded(source, target, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load(write(source) + target)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "def grad(params, batch):\n    return undefined",
            "it raises NameError: name 'undefined' is not defined (homework.py line 4: return",
        ),
        (
            "def grad(params, batch):\n    while True:\n        pass",
            "stopped after 8 s (--time-limit) (homework.py line ",
        ),
        ("def grad(params, batch):\n    import os; os._exit(3)", "ended the process with code 3"),
    ],
)
def test_what_cannot_be_run(source, message, capsys):
    limit = "8" if "while" in source else "120"  # seconds, of which a busy machine needs some
    assert main(["check", write(source), *QUICK, "--time-limit", limit]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def grad(params, batch):\n    exit(3)", "it raises SystemExit: 3 (homework.py line 4"),
        ("def grad(params, batch):\n    return [[1.0]]", "it returns [a list of 1 numbers], where"),
        ("async def grad(params, batch): pass", "is an async function: give a plain function"),
        (
            "loss = abs\ncases = 3\ndef grad(params, batch): pass",
            "cases is a int: give a list of pairs (params, batch), or a Hypothesis strategy",
        ),
        (
            "def loss(p, batch): return p['w']\ndef grad(p, batch): return p['w']",
            "the file has a loss but no cases, so it was tried on our networks",
        ),
    ],
)
def test_what_cannot_be_compared(source, message):
    """As above, but in this process, which takes a tenth of the time."""
    settings = {"shapes": [((3, 4, 3), False, 1)], "at_kink": "zero"}
    assert message in work(write(source), 60.0, settings)["error"]


CALLABLES = """
import functools


class Gradient:
    def __call__(self, params, batch):
        return manual_grad(params, batch)


by_object = Gradient()
by_partial = functools.partial(manual_grad)
"""


@pytest.mark.parametrize("name", ["by_object", "by_partial"])
def test_what_can_be_called_but_has_no_name(name):
    settings = {"shapes": [((2, 3, 2), False, 1)], "at_kink": "zero"}
    assert work(write(corpus.SOURCE + CALLABLES) + f":{name}", 60.0, settings)["passed"]


def test_a_thread_left_running(capsys):
    left = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
    assert main(["check", write(left + corpus.SOURCE), *QUICK, "--time-limit", "120"]) == 0
    assert "is right" in capsys.readouterr().out


def test_refuses(capsys):
    for arguments, message in (
        (["nothing.py"], "nothing.py: no such file"),
        ([write(corpus.SOURCE), "--report", "."], "report is '.', a folder: give the name of"),
        ([write(corpus.SOURCE), "--report", "no/out.md"], "no/out.md cannot be written"),
        ([write(corpus.SOURCE), "--layers", "9"], "layers is 9: the networks tried have [1, 2, 3]"),
        ([write(corpus.SOURCE), "--time-limit", "0"], "time_limit is 0.0: give seconds above 0"),
    ):
        assert main(["check", *arguments]) == 2
        assert message in capsys.readouterr().err


LINES = """
def my_lines(params, batch):
    (W0, b0), (W1, b1) = params
    z1 = batch.x @ W0 + b0
    h1 = np.maximum(z1, 0)
    z2 = h1 @ W1 + b1
    dz2 = (np.exp(z2) / np.exp(z2).sum(axis=1, keepdims=True) - batch.labels) / len(z2)
    return {"z1": z1, "h1": h1, "z2": z2, "dz2": dz2}
"""


def test_a_file_beside_it_has_the_name_of_a_module(capsys):
    Path("types.py").write_text("1 / 0")
    source = "from helper import grad_of\n\ndef baselines_grad(params, batch):\n    grad_of(params)"
    Path("helper.py").write_text("def grad_of(params):\n    return undefined")
    assert main(["check", write(source), *QUICK]) == 2
    assert "NameError: name 'undefined' is not defined (helper.py line 2" in capsys.readouterr().err


def test_lines_in_a_file(capsys):
    """Homework that shows its lines, with exp z not shifted and label sums taken for 1."""
    target = write(LINES)
    assert main(["check", target, *QUICK, "--bias", "with"]) == 1
    assert "∂C/∂z₂ (12) is the first wrong line" in capsys.readouterr().out


def test_on_a_terminal(capsys, monkeypatch):
    """The table of lines folds into the width that there is."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    target = write(corpus.SOURCE.replace(corpus.BIAS, "dz.mean(axis=0)"))
    assert main(["check", target, *QUICK, "--bias", "with"]) == 1
    said = re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out)
    lines = said[said.index("formula") :].splitlines()
    assert [line for line in lines if line.startswith(" ✗")]
    assert max(map(len, lines)) <= 60


def test_at_kink(capsys):
    target = write(corpus.SOURCE.replace(corpus.MASK, corpus.MASK.replace(">", ">=")))
    assert main(["check", target, *QUICK, "--at-kink", "any"]) == 0
    assert "is right" in capsys.readouterr().out


OWN = """
import jax.numpy as jnp


def loss(params, batch):
    return jnp.mean((jnp.tanh(batch["x"] @ params["w"]) - batch["y"]) ** 2)


def grad(params, batch):
    h = np.tanh(batch["x"] @ params["w"])
    return {"w": batch["x"].T @ (2 * (h - batch["y"])) / len(h)}


cases = [({"w": np.ones(2)}, {"x": np.ones((3, 2)), "y": np.zeros(3)})]
"""


def test_a_model_of_ones_own_in_a_file(capsys):
    assert main(["check", write(OWN), "--report", "shown.md"]) == 1
    said = capsys.readouterr().out
    assert (
        "∂C/∂w: mask missing: the derivative of the function is left out, at homework.py line"
        in said
    )
    assert Path("shown.md").read_text().startswith("# grad: wrong\n")


def test_the_function_may_be_made_by_another():
    write("import jax, jaxmlp\nmanual_grad = jax.grad(jaxmlp.loss)\nclass Gradient: ...\n")
    function, module = load("homework.py")
    assert function is module.manual_grad


def test_a_file_with_the_name_of_a_module():
    with pytest.raises(ValueError, match=r"numpy\.py: a module of this name is needed itself"):
        load(write(corpus.SOURCE, "numpy.py"))
