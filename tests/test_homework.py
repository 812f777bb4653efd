"""Homework as people write it: understood without a flag, judged, and the wrong line named."""

import json
import linecache
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlp.checking import GradientMismatch, check_gradient, load_homework
from jaxmlp.checking.grading.autodiff import autodiff_in
from jaxmlp.checking.homework.check import examine_homework
from jaxmlp.checking.homework.problems import drawn
from jaxmlp.checking.homework.reference import HIDDEN, LOSSES, OUTPUTS, Network, backward, forward
from jaxmlp.checking.homework.source import read
from jaxmlp.checking.homework.template import template
from jaxmlp.cli import main
from jaxmlp.cli.grading import submissions
from tests.homework_mistakes import MISTAKES

pytestmark = pytest.mark.usefixtures("as_in_a_shell")
HOMEWORK = sorted((Path(__file__).parent / "homework").glob("*.*"))
FILES = [path for path in HOMEWORK if path.suffix in (".py", ".ipynb")]
FIRST = next(path for path in FILES if path.name == "class_with_data.py")


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_right_homework_passes_whatever_its_style(path):
    report = examine_homework(path)
    assert report.passed, report
    assert "note: understood as: " in str(report)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: f"{each.file}:{each.new[:30]}")
def test_the_wrong_line_is_named(mistake):
    text = next(path for path in FILES if path.name == mistake.file).read_text("utf-8")
    written = [mistake.old, mistake.new]
    if mistake.file.endswith(".ipynb"):
        written = [json.dumps(each)[1:-1] for each in written]
    assert written[0] in text
    Path(mistake.file).write_text(text.replace(*written, 1), "utf-8")
    report = examine_homework(Path(mistake.file))
    assert not report.passed
    assert report.diagnosis is not None
    assert report.diagnosis.kind in mistake.kinds
    assert re.search(rf", at {mistake.file}( cell \d+)? line \d+: ", report.diagnosis.says)
    assert mistake.line in report.diagnosis.says
    if report.diagnosis.kind == "penalty":  # which is in no line of the derivation
        return
    assert report.example is not None
    assert len(report.example.case.batch["X"]) <= 2


PENALISED = "loss_returns_grads.py"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("+ reg * W1", "- reg * W1", "slope is −λ W, and not λ W, as the file's own loss"),
        ("+ reg * W2", "", "slope is left out, and not λ W"),
        ("+ reg * W2", "+ 2 * reg * W2", "slope is 2 λ W, and not λ W"),
        ("+ reg * W1", "+ reg * W1 / len(X)", "slope is λ W / n, and not λ W"),
        ("+ reg * W1", "+ reg * W1**2", "slope is no multiple of W, and not λ W"),
        ("0.5 * reg *", "reg *", "slope is λ W, and not 2 λ W"),
    ],
)
def test_the_slope_of_a_penalty(old, new, says):
    text = next(path for path in FILES if path.name == PENALISED).read_text("utf-8")
    assert text.count(old) == 1
    Path(PENALISED).write_text(text.replace(old, new), "utf-8")
    report = examine_homework(Path(PENALISED))
    assert report.diagnosis is not None
    assert not report.passed
    assert report.diagnosis.kind == "penalty"
    assert says in report.diagnosis.says
    weight = "W2" if "W2" in old else "W1"
    line = rf"at {PENALISED} line \d+: .*{weight}"
    assert re.search(line, report.diagnosis.says)


def test_a_penalty_of_which_no_loss_tells():
    """The slope that most weights have is taken for right, and that is said."""
    text = next(path for path in FILES if path.name == PENALISED).read_text("utf-8")
    penalty = next(line for line in text.splitlines() if "0.5 * reg *" in line)
    Path("h.py").write_text(text.replace(f"{penalty}\n", ""), "utf-8")
    report = examine_homework(Path("h.py"))
    assert "penalty: its slope is λ W, as most weights have it" in str(report)
    Path("h.py").write_text(text.replace(f"{penalty}\n", "").replace("+ reg * W1", ""), "utf-8")
    report = examine_homework(Path("h.py"))
    assert report.passed
    assert "is left out, and not λ W, as most weights have it; no loss says what" in str(report)


def test_a_penalty_on_one_weight_alone():
    text = next(path for path in FILES if path.name == PENALISED).read_text("utf-8")
    changed = text.replace("np.sum(W1 * W1) + ", "").replace("+ reg * W1", "")
    Path("h.py").write_text(changed, "utf-8")
    report = examine_homework(Path("h.py"))
    assert "penalty: its slope is λ W, as the file's own loss has it" in str(report)


def test_there_are_enough_styles_and_mistakes():
    assert len(FILES) >= 15
    assert len(MISTAKES) >= 45


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_the_reference_is_the_derivative(loss):
    """By JAX, of every network and loss that homework may mean."""
    functions = {
        "ReLU": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh,
        "leaky ReLU": jax.nn.leaky_relu, "leaky ReLU by 0.1": lambda z: jax.nn.leaky_relu(z, 0.1),
        "leaky ReLU by 0.2": lambda z: jax.nn.leaky_relu(z, 0.2), "identity": lambda z: z,
        "softmax": jax.nn.softmax,
    }  # fmt: skip
    problem = drawn((4, 5, 3), [True, True], 7, 0)
    for hidden in HIDDEN:
        for output in (name for name in OUTPUTS if name in loss.outputs):

            def value(weights, output=output, hidden=hidden):
                (v, b), (w, c) = weights
                h = functions[hidden](problem.x @ v + b[None, :])
                p = functions[output](h @ w + c[None, :])
                t = problem.t
                if loss.name == "cross-entropy":
                    return -jnp.sum(t * jnp.log(p)) / len(t)
                if loss.name == "binary cross-entropy":
                    return -jnp.sum(t * jnp.log(p) + (1 - t) * jnp.log(1 - p)) / len(t)
                factor = 0.5 if loss.name.startswith("½") else 1.0
                factor /= t.shape[1] if loss.name.endswith("outputs") else 1
                return factor * jnp.sum((p - t) ** 2) / len(t)

            with jax.enable_x64(True):
                expected = jax.grad(value)(problem.weights)
            network = Network(hidden, output)
            lines = forward(problem.weights, problem.x, network)
            found = backward(problem.weights, problem.x, problem.t, lines, network, loss, mean=True)
            for number, layer in enumerate(expected, 1):
                for name, leaf in zip("Wb", layer, strict=True):
                    np.testing.assert_allclose(
                        found[f"d{name}{number}"], leaf, rtol=1e-9, atol=1e-12
                    )


def test_from_the_command_line(capsys):
    assert main(["check", str(FIRST)]) == 0
    assert "✓ class_with_data.py is right" in capsys.readouterr().out
    mistake = MISTAKES[0]
    text = FIRST.read_text("utf-8").replace(mistake.old, mistake.new)
    Path("h.py").write_text(text, "utf-8")
    assert main(["check", "h.py", "--report", "r.md"]) == 1
    assert mistake.line in capsys.readouterr().out
    assert "understood as" in Path("r.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("h.py", "def f(:", r"h.py line 1: SyntaxError"),
        ("h.ipynb", "{}", r"h.ipynb is no notebook"),
        ("h.ipynb", '{"cells": []}', r"h.ipynb is a notebook without code"),
        ("h.py", "class A:\n    def backward(self, X, y):\n        return 1\n", "not understood"),
        ("h.py", "def f(x):\n    return x\n", "no function in it is called backward"),
        ("h.py", "import nowhere\nclass A:\n    def backward(self, X, y):\n        return 1\n",
         "line 1 cannot be run: ModuleNotFoundError"),
        ("h.py", "class A:\n    def __init__(self):\n        input()\n    def train(self, X, y):\n"
         "        while True:\n            pass\n", "not understood|stopped after"),
    ],
)  # fmt: skip
def test_what_is_no_homework(name, text, says, capsys):
    Path(name).write_text(text, "utf-8")
    assert main(["check", name, "--time-limit", "5" if "while" in text else "120"]) == 2
    error = capsys.readouterr().err
    assert re.search(says, error), error
    assert error.count("\n") == 1


def test_flags_that_are_not_for_homework(capsys):
    assert main(["check", str(FIRST), "--rtol", "0.1"]) == 2
    assert "--rtol is for a function of (params, batch): leave it out" in capsys.readouterr().err
    Path("f.py").write_text("def g(params, batch):\n    return params\n", "utf-8")
    assert main(["check", "f.py:g", "--loss", "sum"]) == 2
    assert "--loss is for homework as it is written, and f.py:g is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["--loss", "mean", "--layers", "2", "--labels", "rows"], 0, "is right"),
        (["--loss", "sum"], 1, "mean for sum: it is divided by the number of examples"),
        (["--columns"], 2, "is not what was asked for: it is understood as: weights by"),
        (["--layers", "3"], 2, "is not what was asked for"),
    ],
)
def test_a_choice_wins(flags, code, says, capsys):
    file = next(path for path in FILES if path.name == "functional_update.py")
    assert main(["check", str(file), *flags]) == code
    assert says in "".join(capsys.readouterr())


UNSEEN = Path(__file__).parent / "homework_unseen"
KEY = [
    line.split("\t") for line in (UNSEEN / "key.tsv").read_text("utf-8").splitlines()
    if line.startswith("s")
]  # fmt: skip
ELSEWHERE = {"s04.py": "l1_error = l2_delta.dot(syn1.T)", "s19.py": "self.activation_grad(self.zs"}


@pytest.mark.parametrize("row", KEY, ids=[row[0] for row in KEY])
def test_homework_by_someone_who_had_not_seen_the_checker(row):
    """Where it says so, in the line that uses what is wrong, and not in the one that makes it."""
    name, verdict, line = row[:3]
    report = examine_homework(UNSEEN / name)
    assert report.passed == (verdict == "right"), report
    if not report.passed:
        assert report.diagnosis is not None
        where = {name: line.strip()} | ELSEWHERE
        assert where[name] in report.diagnosis.says


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_a_template_calls_the_file_by_its_own_names(path):
    """Where nothing is left to do, it runs as it is, and gives a gradient by every weight."""
    shutil.copy(path, ".")
    text = template(Path(path.name))
    assert 2 <= text.count("# TODO") <= 10
    Path("h_check.py").write_text(text, "utf-8")
    names: dict[str, Any] = {"__file__": str(Path("h_check.py").absolute())}
    exec(compile(text, "h_check.py", "exec"), names)
    ((params, batch),) = names["cases"]
    gradients = names["manual_grad"](params, batch)
    assert gradients.keys() == params.keys()
    todo = re.findall(r"TODO: the gradient by (\w+)", text)
    assert todo == [name for name, each in gradients.items() if each is ...]
    for name in gradients.keys() - {*todo}:
        assert np.size(gradients[name]) == np.size(params[name])
    if "raise NotImplementedError" in text:
        with pytest.raises(NotImplementedError):
            names["loss"](params, batch)
    else:
        assert np.ndim(names["loss"](params, batch)) == 0


SOFTPLUS = """
import numpy as np
def init_params(n_in, n_hidden, n_out):
    return {"W1": np.random.randn(n_in, n_hidden), "W2": np.random.randn(n_hidden, n_out)}
def forward(params, X):
    Z1 = X @ params["W1"]
    A1 = np.log1p(np.exp(Z1))
    Z2 = A1 @ params["W2"]
    return Z2, (X, Z1, A1)
def mse(pred, Y):
    return np.mean((pred - Y) ** 2)
def backward(params, cache, pred, Y):
    X, Z1, A1 = cache
    dZ2 = 2 * (pred - Y) / Y.size
    dW2 = A1.T @ dZ2
    dZ1 = dZ2 @ params["W2"].T / (1 + np.exp(-Z1))
    return {"W1": X.T @ dZ1, "W2": dW2}
"""


def test_what_is_not_understood_gets_a_template(capsys):
    """Of a function that no table has; the template is complete, and judges as it is."""
    Path("h.py").write_text(SOFTPLUS, "utf-8")
    assert main(["check", "h.py"]) == 2
    assert "let jaxmlp check --init h.py write a template for it" in capsys.readouterr().err
    assert main(["check", "--init", "h.py"]) == 0
    assert "h_check.py written: complete its lines with TODO (2)" in capsys.readouterr().out
    assert main(["check", "h_check.py"]) == 0
    Path("h.py").write_text(SOFTPLUS.replace("np.exp(-Z1))", "np.exp(Z1))"), "utf-8")
    assert main(["check", "h_check.py"]) == 1
    assert "∂C/∂W1" in capsys.readouterr().out
    assert main(["check", "--init", "h.py"]) == 2
    assert "h_check.py is there already" in capsys.readouterr().err


def test_a_template_of_what_cannot_be_called():
    functions = (
        "def vor(x, w1, w2):\n    return x @ w1 @ w2\ndef rueck(x, w1, w2, y):\n    return 0\n"
    )
    Path("h.py").write_text(functions, "utf-8")
    text = template(Path("h.py"))
    assert "call what is needed of homework.vor(x, w1, w2), homework.rueck(x, w1, w2, y)" in text
    assert "'w1': (4, 5), 'w2': (5, 3)" in text
    Path("h.py").write_text("import numpy as np\nW1 = np.ones((3, 1))\n", "utf-8")
    assert "'W1': ...,  # TODO: the gradient by W1" in template(Path("h.py"))
    assert "RNG.normal(size=(7, 3))" in template(Path("h.py"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["h.py", "other.py"], "--init is for one file of homework"),
        (["."], "--init is for one file of homework"),
        (["h.txt"], "--init is for one file of homework"),
        (["nothing.py"], "nothing.py: no such file"),
        (["h.py", "--rtol", "0.1"], "--init only writes a template: leave out what is for rtol"),
        (["h.py", "--json", "r.json"], "leave out what is for grades"),
    ],
)
def test_wrong_uses_of_a_template(arguments, says, capsys):
    Path("h.py").write_text(SOFTPLUS, "utf-8")
    assert main(["check", "--init", *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not [*Path().glob("*_check.py")]


def test_a_class_is_checked_in_python():
    assert check_gradient(load_homework(FIRST).SmallNet).passed
    mistake = MISTAKES[0]
    Path("h.py").write_text(FIRST.read_text("utf-8").replace(mistake.old, mistake.new), "utf-8")
    wrong = load_homework(Path("h.py")).SmallNet
    with pytest.raises(GradientMismatch, match=re.escape(mistake.line)):
        check_gradient(wrong)
    with pytest.raises(ValueError, match="leave out loss and cases"):
        check_gradient(wrong, cases=[])
    with pytest.raises(ValueError, match="the code of int is not at hand"):
        check_gradient(int)


def test_a_class_of_a_notebook_is_checked_in_python(monkeypatch):
    """Its helpers are in another cell, which the module has."""
    text = FIRST.read_text("utf-8")
    cell = text[text.index("class SmallNet") : text.index("if __name__")]
    module = ModuleType("cells")
    monkeypatch.setitem(linecache.cache, "<cell 2>", (1, None, cell.splitlines(True), "<cell 2>"))
    exec(text[: text.index("class SmallNet")], vars(module))
    exec(compile(cell, "<cell 2>", "exec"), vars(module))
    report = check_gradient(vars(module)["SmallNet"])
    assert report.passed
    assert report.subject == "SmallNet"


def test_a_cell_in_which_nbgrader_tests_is_left_out():
    """It calls the checker, which no homework may; its marks are as nbgrader 0.9.6 writes them."""
    text = FIRST.read_text("utf-8")
    marks = {"grade": True, "solution": False, "locked": True, "grade_id": "check", "points": 3}
    tests = "from jaxmlp.checking import check_gradient\ncheck_gradient(SmallNet)"
    cells = [
        {"cell_type": "code", "metadata": {}, "source": text[: text.index("if __name__")]},
        {"cell_type": "code", "metadata": {"nbgrader": marks}, "source": tests},
    ]
    Path("h.ipynb").write_text(json.dumps({"cells": cells}), "utf-8")
    assert examine_homework(Path("h.ipynb")).passed
    assert not autodiff_in(read(Path("h.ipynb")))


def written(text, name="h.py"):
    Path(name).write_text(text, "utf-8")
    return Path(name)


@pytest.mark.parametrize("where", ["self.reg", "LAMBDA", "type(self).reg"])
@pytest.mark.parametrize("slope", ["0.5 * 2", "2"])
def test_a_penalty_whose_coefficient_is_no_argument(where, slope):
    """It is 0 while the file is read, and another number for the slope."""
    text = f"""
import numpy as np
LAMBDA = 0.01
class Net:
    reg = 0.01
    def __init__(self, n_in, n_hidden, n_out):
        self.reg = 0.01
        self.W1, self.W2 = np.random.randn(n_in, n_hidden), np.random.randn(n_hidden, n_out)
    def forward(self, X):
        self.h = np.tanh(X @ self.W1)
        return self.h @ self.W2
    def loss(self, X, y):
        penalty = 0.5 * {where} * (np.sum(self.W1**2) + np.sum(self.W2**2))
        return np.sum((self.forward(X) - y) ** 2) / len(X) + penalty
    def backward(self, X, y):
        d = 2 * (self.forward(X) - y) / len(X)
        dW2 = self.h.T @ d + {where} * self.W2
        dW1 = X.T @ (d @ self.W2.T * (1 - self.h**2)) + {slope} * {where} * self.W1
        return dW1, dW2
"""
    report = examine_homework(written(text.replace("type(self)", "Net")))
    assert report.passed == (slope != "2"), report
    if report.passed:
        assert "penalty: its slope is λ W, as the file's own loss has it" in str(report)
    else:
        assert report.diagnosis is not None
        assert "the penalty's slope is 2 λ W, and not λ W" in report.diagnosis.says
        assert "dW1 = X.T" in report.diagnosis.says


NET = """
import sys
import numpy as np
class Base:
    def __init__(self, n_in, n_hidden, n_out):
        self.W1, self.W2 = np.random.randn(n_in, n_hidden), np.random.randn(n_hidden, n_out)
    def __call__(self, X):
        self.h = np.tanh(X @ self.W1)
        return self.h @ self.W2
class Net(Base):
    def backward(self, X, y):
        d = 2 * (self(X) - y) / len(X)
        return X.T @ (d @ self.W2.T * (1 - self.h**2)), self.h.T @ d
"""


@pytest.mark.parametrize(
    "text",
    [
        NET,
        NET + "options = sys.exit(2)\n",
        NET + "trained = [Net(4, 5, 3).train(10**9) for _ in range(10**9)]\n",
        NET.replace("import sys", "from helper import tanh").replace("np.tanh", "tanh"),
        re.sub("n_(in|hidden|out)", r"of_\1", NET).replace("of_", "nr"),
        NET.replace("class Base:", "class Base:\n    __slots__ = ('W1', 'W2', 'h')").replace(
            "class Net(Base):", "class Net(Base):\n    __slots__ = ()"
        ),
    ],
)  # fmt: skip
def test_styles_of_one_class(text):
    """Inherited, with a program that ends, a training, a helper beside, sizes by order, slots."""
    written("import numpy as np\n\ndef tanh(x):\n    return np.tanh(x)\n", "helper.py")
    report = examine_homework(written(text))
    assert report.passed, report
    assert "class Net, weights W1 W2" in str(report)


@pytest.mark.parametrize(
    "cells",
    [
        ["np.dot?"], ["%%bash\nfor f in *; do echo $f; done"], ["files = !ls"],
        ["%matplotlib inline"],
        ["%%writefile a.txt\nsome text"], ["!pip install \\\n    numpy"], ["%%time\nx = 1"],
        ["x = (7\n     % 3)"], ["%%html\n<b>"],
    ],
)  # fmt: skip
def test_what_only_notebooks_understand_is_left_out(cells):
    every = [{"cell_type": "code", "source": each} for each in (*cells, NET)]
    path = written(json.dumps({"cells": every}), "h.ipynb")
    assert examine_homework(path).passed
    assert len(read(path).lines) == sum(len(each["source"].splitlines()) for each in every)


def test_a_template_has_all_that_has_a_gradient():
    """A scale of the hidden layer, whose gradient has its name; what has none is named."""
    text = NET.replace("        self.W1, self.W2 =", "        self.mean = np.zeros(3)\n        "
                       "self.scale = np.ones(n_hidden)\n        self.W1, self.W2 =")  # fmt: skip
    text = text.replace("np.tanh(X @ self.W1)", "np.sinh(X @ self.W1) * self.scale")
    text = text.replace(
        "        return X.T @", "        self.dscale = 0 * self.scale\n        return X.T @"
    )
    made = template(written(text))
    assert "'scale': made.dscale," in made
    assert "'scale': (5,)}  # without mean" in made


def test_weights_without_influence_are_no_weights():
    """`fit` makes its own: a template that sets others before would be judged by these."""
    text = NET.replace("    def backward(self, X, y):\n", """
    def fit(self, X, y):
        self.W1, self.W2 = np.ones((4, 5)), np.ones((5, 3))
    def slope(self, X, y):
""")  # fmt: skip
    assert "'W1': ...,  # TODO: the gradient by W1" in template(written(text))


def test_the_methods_that_a_class_has_now_are_checked():
    homework = load_homework(written(f"{NET}    reg = 0.3\nLAMBDA = 0.2\n"))
    net = homework.Net
    assert check_gradient(net).passed
    assert (net.reg, homework.LAMBDA) == (0.3, 0.2)  # which were other numbers meanwhile
    net.backward = lambda *_: None
    with pytest.raises(ValueError, match=r"Net\.backward was replaced after the class was made"):
        check_gradient(net)


def test_templates_are_no_submissions():
    Path("class").mkdir()
    shutil.copy(FIRST, "class/h.py")
    assert main(["check", "--init", "class/h.py"]) == 0
    assert submissions(["class"]) == [Path("class/h.py")]


def test_classes_that_are_bases_of_each_other():
    """Which Python refuses, and which would otherwise have no end."""
    text = NET.replace("class Base:", "class Base(Net):") + "class Net(Base):\n    pass\n"
    with pytest.raises(ValueError, match="not understood"):
        examine_homework(written(text))


@pytest.mark.parametrize("sign", ["-", "+"])
def test_a_step_up_the_loss_is_said(sign):
    """Though the gradients are right, which is what is checked first."""
    step = f"""
    def update(self, dW1, dW2, lr=0.1):
        self.W1 = self.W1 {sign} lr * dW1
        self.W2 = self.W2 {sign} lr * dW2
"""
    text = NET.replace("        return X.T @ (d @ self.W2.T * (1 - self.h**2)), self.h.T @ d\n",
                       "        dW1, dW2 = X.T @ (d @ self.W2.T * (1 - self.h**2)), self.h.T @ d\n"
                       "        return dW1, dW2\n")  # fmt: skip
    report = examine_homework(written(text + step))
    assert report.passed == (sign == "-"), report
    assert ("update moves the weights up the loss" in str(report)) == (sign == "+")


def test_a_part_of_a_network_is_no_network():
    """The first layer alone would be one, whose gradients are then wrong."""
    text = """
import numpy as np
W1, W2 = np.random.randn(4, 5), np.random.randn(5, 3)
def forward(X):
    global z, a
    z = X @ W1
    a = np.log(1 + np.exp(z))
    return a @ W2
def backward(X, y):
    e = forward(X) - y
    return X.T @ (e @ W2.T / (1 + np.exp(-z))), a.T @ e
"""
    with pytest.raises(ValueError, match="not understood"):
        examine_homework(written(text))
