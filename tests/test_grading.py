"""Grading: the right status for each submission of a folder, whatever it does."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from jaxmlp.checking.grading.grades import Grade
from jaxmlp.checking.grading.page import as_page
from jaxmlp.checking.grading.results import as_csv, as_gradescope, as_junit
from jaxmlp.cli import main
from tests.homework_mistakes import MISTAKES
from tests.test_homework import FILES

pytestmark = [
    pytest.mark.usefixtures("as_in_a_shell"),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are contained on Linux"),
]
TRAIN_STEP = next(path for path in FILES if path.name == "train_step.py").read_text("utf-8")
EMPTY = "import numpy as np\ndef backward(X, y):\n    return np.zeros(3)\n"
ESCAPE = "\x1b[2J\x1b[31m"
# what a submission does that is none, and the statuses that are right for it
HOSTILE = {
    "endless.py": ("def f():\n    while True:\n        pass\nx = f()\n", {"timed out"}),
    "deaf.py": (
        "import signal\nx = signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\n"
        "def f():\n    while True:\n        pass\ny = f()\n",
        {"timed out"},
    ),
    "large.py": (f"{EMPTY}big = np.ones((40000, 40000))\n", {"out of memory"}),
    "exits.py": (f"{EMPTY}import os\nx = os._exit(0)\n", {"crashed"}),
    "leaves.py": (f"{EMPTY}import sys\nx = sys.exit(0)\n", {"not understood"}),
    "threads.py": (
        f"{TRAIN_STEP}\nimport threading, time\n"
        "t = threading.Thread(target=time.sleep, args=(60,))\nstarted = t.start()\n",
        {"right"},
    ),
    "forks.py": (f"{TRAIN_STEP}\nimport os, time\nx = os.fork() or time.sleep(60)\n", {"right"}),
    "writes.py": (f"{EMPTY}f = open('big', 'wb').write(b'0' * 10**9)\n", {"not understood"}),
    "asks.py": (f"{EMPTY}n = input('? ')\n", {"not understood"}),
    "prints.py": (f"{TRAIN_STEP}\nx = print({ESCAPE!r} + 'all right')\n", {"right"}),
    "says.py": (f"x = 1 / 0  # {ESCAPE}\ndef backward(X, y):\n    return 0\n", {"not understood"}),
    "imports.py": ("import torch\ndef backward(X, y):\n    return 0\n", {"refused"}),
    "differentiates.py": ("from jax import grad\ndef backward(X, y):\n    pass\n", {"refused"}),
    "hides.py": ("t = __import__('to' + 'rch')\ndef backward(X, y):\n    pass\n", {"refused"}),
    "broken.py": ("def f(:\n", {"refused"}),
    "empty.py": ("", {"refused"}),
    "empty.ipynb": ('{"cells": []}', {"refused"}),
    "nested.py": (f"x = {'(' * 10_000}1{')' * 10_000}\n", {"refused"}),
    "huge.py": ("x = 1\n" * 3_000_000, {"refused"}),
    "binary.py": ("\x00\x01", {"refused"}),
    "needs.py": (f"{EMPTY}x = np.load('mnist.npz')\n", {"not understood"}),
    "shows.py": ("import tkinter\nroot = tkinter.Tk()\n", {"not understood"}),
    "judges.py": (
        f"{EMPTY}import jaxmlp_ as j\ndef loss(X, y):\n    return 0.0\n", {"not understood"},
    ),
}  # fmt: skip
# a wrong homework that would like to be taken for a right one
WRONG = next(each for each in MISTAKES if each.file == "train_step.py")
DISGUISED = {
    "loss_of_its_own.py": "\ndef loss(*arguments):\n    return 0.0\n",
    "compares.py": "\nnp.array_equal = np.allclose = lambda *a, **k: True\n",
    "replaces.py": '\nimport json, sys\njson.dumps = lambda *a, **k: \'{"failed": "right"}\'\n',
    "patches.py": (
        "\nimport sys\nchecks = [m for n, m in sys.modules.items() if n.endswith('problems')]\n"
        "checks[0].close = lambda *a: True\nchecks[0].differing = lambda *a: ()\n"
    ),
    "answers.py": (
        "\nimport gc\nfrom multiprocessing.connection import Connection\n"
        "sent = [c.send_bytes(b'{\"gradients\": [{}, {}, {}]}') for c in gc.get_objects()"
        " if isinstance(c, Connection) and c.writable]\n"
    ),
}


def submit(folder="class"):
    """Sixty submissions and more: right ones, wrong ones, and what nobody wants."""
    Path(folder).mkdir()
    for path in FILES:
        Path(folder, path.name).write_bytes(path.read_bytes())
    for number, each in enumerate(MISTAKES):
        text = next(path for path in FILES if path.name == each.file).read_text("utf-8")
        old, new = each.old, each.new
        if each.file.endswith(".ipynb"):
            old, new = (json.dumps(line)[1:-1] for line in (old, new))
        Path(folder, f"wrong{number:02}_{each.file}").write_text(text.replace(old, new, 1), "utf-8")
    for name, (text, _) in HOSTILE.items():
        Path(folder, name).write_text(text, "utf-8")


def graded(*arguments):
    code = main(["check", *arguments, "--json", "grades.json"])
    record = json.loads(Path("grades.json").read_text("utf-8"))
    return code, {Path(each["path"]).name: each for each in record["submissions"]}


def test_a_folder_of_submissions(capsys):
    submit()
    begun = time.time()
    code, grades = graded("class", "--time-limit", "10", "--csv", "g.csv", "--junit", "g.xml",
                          "--page", "g.html")  # fmt: skip
    assert code == 1
    assert len(grades) == len([*Path("class").iterdir()]) >= 60
    for name in (path.name for path in FILES):
        assert grades[name]["status"] == "right", grades[name]
        assert grades[name]["points"] == grades[name]["of"] > 0
    for number, each in enumerate(MISTAKES):
        grade = grades[f"wrong{number:02}_{each.file}"]
        if each.kinds == ("penalty",):  # whose coefficient is 0 there
            assert grade["status"] == "right", grade
            assert "not graded: ∂C/∂" in grade["says"]
            continue
        assert grade["status"] == "wrong", grade
        assert 0 <= grade["points"] < grade["of"]
        assert any(kind in grade["says"] for kind in each.kinds), grade["says"]
        assert each.line in grade["says"]
    for name, (_, statuses) in HOSTILE.items():
        assert grades[name]["status"] in statuses, grades[name]
    assert not Path("class", "big").exists()
    texts = [Path(name).read_text("utf-8") for name in ("grades.json", "g.csv", "g.xml", "g.html")]
    assert not any("\x1b" in text for text in (*texts, capsys.readouterr().out))
    rows = [*csv.DictReader(io.StringIO(texts[1]))]
    assert [row["status"] for row in rows] == [each["status"] for each in grades.values()]
    suite = ElementTree.parse("g.xml").getroot()[0]
    assert int(suite.attrib["tests"]) == len(grades)
    assert int(suite.attrib["failures"]) == sum(g["status"] == "wrong" for g in grades.values())
    assert time.time() - begun < 300  # nothing is left to wait for


@pytest.mark.parametrize("allowed", [False, True])
def test_no_disguise_makes_a_wrong_submission_right(allowed):
    """Nor where it may import everything, and reach into its own process."""
    Path("c").mkdir()
    for name, more in DISGUISED.items():
        Path("c", name).write_text(TRAIN_STEP.replace(WRONG.old, WRONG.new, 1) + more, "utf-8")
    Path("r.toml").write_text(f"autodiff = {str(allowed).lower()}\n", "utf-8")
    code, grades = graded("c", "--rubric", "r.toml")
    assert code == 1
    for grade in grades.values():
        assert grade["status"] not in ("right", "timed out"), grade
        assert "is right" not in grade["says"]
    reaching = ("patches.py", "answers.py")
    statuses = {name: grade["status"] for name, grade in grades.items()}
    assert all((statuses[name] == "refused") or allowed for name in reaching)
    assert statuses["loss_of_its_own.py"] == "wrong"


def test_a_second_run_goes_on(capsys):
    Path("c").mkdir()
    for path in FILES[:2]:
        Path("c", path.name).write_bytes(path.read_bytes())
    assert graded("c")[0] == 0
    first = {name: grade["seconds"] for name, grade in graded("c", "--resume")[1].items()}
    Path("c", "new.py").write_text("def f(:\n", "utf-8")
    Path("c", FILES[0].name).write_bytes(FILES[0].read_bytes() + b"\n# changed\n")
    code, again = graded("c", "--resume")
    assert code == 1
    assert Counter(grade["status"] for grade in again.values()) == {"right": 2, "refused": 1}
    assert again[FILES[1].name]["seconds"] == first[FILES[1].name]
    assert again[FILES[0].name]["seconds"] != first[FILES[0].name]
    Path("grades.json").write_text("{}", "utf-8")
    capsys.readouterr()
    assert main(["check", "c", "--json", "grades.json", "--resume"]) == 2
    assert "grades.json holds no grades to go on from" in capsys.readouterr().err


def test_a_rubric_says_what_is_asked_for():
    Path("c").mkdir()
    Path("c", "right.py").write_text(TRAIN_STEP, "utf-8")
    Path("c", "wrong.py").write_text(TRAIN_STEP.replace(WRONG.old, WRONG.new, 1), "utf-8")
    understood = graded("c")[1]["right.py"]["understood"]
    loss = next(name for name in ("binary cross-entropy", "cross-entropy") if name in understood)
    Path("r.toml").write_text(f'loss = "{loss}"\nlayers = 2\n[weights]\ndW1 = 3\n', "utf-8")
    code, grades = graded("c", "--rubric", "r.toml")
    assert code == 1
    assert grades["right.py"]["status"] == "right"
    assert grades["right.py"]["of"] == len(grades["right.py"]["lines"]) + 2
    assert 0 < grades["wrong.py"]["points"] < grades["wrong.py"]["of"]
    Path("r.toml").write_text('loss = "squared error"\n', "utf-8")
    grade = graded("c", "--rubric", "r.toml")[1]["right.py"]
    assert grade["status"] == "wrong"
    assert grade["says"] == f"its loss is {loss}, and the assignment asks for squared error"


def test_one_file_for_gradescope():
    Path("h.py").write_text(TRAIN_STEP.replace(WRONG.old, WRONG.new, 1), "utf-8")
    assert main(["check", "h.py", "--gradescope", "results.json"]) == 1
    record = json.loads(Path("results.json").read_text("utf-8"))
    assert 0 < record["score"] < record["max_score"] == len(record["tests"])
    assert {test["status"] for test in record["tests"]} == {"passed", "failed"}
    assert record["output"].startswith("wrong: ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["empty"], "empty: no .py file or notebook is in there"),
        (["c", "--layers", "2"], "--layers is for one file alone: for grading, give a rubric"),
        (["c", "--report", "r.md"], "--report is for one file alone"),
        (["c", "--memory", "1"], "memory is 1: give megabytes, 64 or more"),
        (["c", "--resume"], "--resume goes on from the grades in --json: give both"),
        (["c", "--gradescope", "r.json"], "--gradescope is for one file, and these are 2"),
        (["c", "--rubric", "none.toml"], "none.toml cannot be read"),
        (["c", "--rubric", "bad.toml"], "bad.toml is no TOML"),
        (["c", "--rubric", "odd.toml"], "odd.toml has 'los': its keys are loss, mean"),
        (["c", "--rubric", "loss.toml"], "loss.toml: loss is 'hinge': give one of cross-entropy"),
        (["c", "--rubric", "worth.toml"], "worth.toml: weights: dW1 is -1: give a number"),
        (["c", "--json", "nowhere/r.json"], "nowhere"),
        (["c", "--page", "empty"], "'empty' is a folder: give the name of a file"),
        ([], "nothing to check is named"),
    ],
)
def test_what_cannot_be_graded(arguments, says, capsys):
    Path("empty").mkdir()
    Path("c").mkdir()
    for name in ("a.py", "b.py"):
        Path("c", name).write_text(TRAIN_STEP, "utf-8")
    Path("bad.toml").write_text("a = [", "utf-8")
    Path("odd.toml").write_text('los = "squared error"', "utf-8")
    Path("loss.toml").write_text('loss = "hinge"', "utf-8")
    Path("worth.toml").write_text("[weights]\ndW1 = -1", "utf-8")
    before = {*Path().rglob("*")}
    several = ["nowhere", "a"] if arguments[:1] == ["nowhere"] else arguments
    assert main(["check", *several]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert {*Path().rglob("*")} == before


SOME = [
    Grade("a.py", "right", "every gradient is right", "class A", {"dz1": "right"}, 1.0, 1.0),
    Grade("<b>.py", "wrong", "=∂C/∂z1: sign: <i>the sign</i>, at b.py line 3: dz = y - p",
          "functions", {"dz1": "wrong"}, 0.0, 1.0, "report & all", 1.5, ("network",)),
    Grade("c.py", "timed out", "it takes longer than its time"),
]  # fmt: skip


def test_what_is_written_is_escaped():
    assert "'=∂C/∂z1" in as_csv(SOME)
    assert "<i>" not in as_junit(SOME)
    assert json.loads(as_gradescope(SOME[1]))["score"] == 0
    page = as_page(SOME, "Grades <1>")
    assert "<i>" not in page
    assert not re.search(r"(src|href)\s*=", page)


@pytest.mark.xdist_group("browser")
def test_the_page_in_a_browser(browser):
    Path("g.html").write_text(as_page(SOME, "Grades <1>"), "utf-8")
    browser.get(Path("g.html").resolve().as_uri())
    assert browser.find_element("tag name", "h1").text == "Grades <1>"
    rows = browser.find_elements("css selector", "tbody tr")
    assert [row.find_element("class name", "status").text for row in rows] == [
        grade.status for grade in SOME
    ]
    assert "3 submissions: 1 right, 1 wrong, 1 timed out" in browser.page_source
    assert "Not contained here: network" in browser.page_source
    details = browser.find_element("tag name", "details")
    assert not details.find_element("tag name", "pre").is_displayed()
    details.find_element("tag name", "summary").click()
    assert details.find_element("tag name", "pre").text == "report & all"
    heads = [each.text for each in browser.find_elements("tag name", "h3")]
    assert heads == ["=∂C/∂z1: sign 1 ×"]
    assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


def test_what_a_submission_starts_ends_with_it():
    """Also what leaves its group, where the kernel has namespaces of processes."""
    Path("c").mkdir()
    mark = f"jaxmlp-{os.getpid()}"
    run = f"import os, time\nx = os.fork() or os.execvp('sleep', ['{mark}', '60'])\n"
    Path("c", "a.py").write_text(f"{TRAIN_STEP}\n{run}", "utf-8")
    Path("c", "b.py").write_text(TRAIN_STEP, "utf-8")
    assert graded("c")[1]["a.py"]["status"] == "right"
    commands = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not any(mark.encode() in each for each in commands)


def test_without_namespaces_it_is_said_what_is_open():
    """And the resources are limited all the same."""
    code = (
        "import ctypes, json, pathlib, resource\n"
        "from jaxmlp.checking.grading.containment import Limits, contain\n"
        "class Kernel:\n    def unshare(self, flags):\n        return -1\n"
        "ctypes.CDLL = lambda *arguments, **named: Kernel()\n"
        "left = contain(Limits(5.0, 100, 1), pathlib.Path('inside').resolve())\n"
        "kinds = resource.RLIMIT_CPU, resource.RLIMIT_FSIZE\n"
        "limits = [resource.getrlimit(kind)[0] for kind in kinds]\n"
        "pathlib.Path('found.json').write_text(json.dumps([left, limits]))\n"
    )
    Path("inside").mkdir()
    subprocess.run([sys.executable, "-c", code], check=True)
    left, limits = json.loads(Path("inside", "found.json").read_text("utf-8"))
    assert left == ["network", "files", *["processes"] * (os.getuid() == 0)]
    assert limits == [6, 2**20]
