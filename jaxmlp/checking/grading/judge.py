"""The judge: asks the process of a submission, and believes none of its numbers but gradients.

What is right is computed here, where no submission runs, on numbers that none of them knows before.
"""

import ast
import json
import multiprocessing
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.calls import first_line
from jaxmlp.checking.grading.containment import Limits
from jaxmlp.checking.grading.rubric import Rubric
from jaxmlp.checking.grading.worker import work
from jaxmlp.checking.homework.check import symbol_of
from jaxmlp.checking.homework.mistakes import Mistake, explained
from jaxmlp.checking.homework.problems import Problem, close, differing, drawn, named
from jaxmlp.checking.homework.reference import HIDDEN, LOSSES, OUTPUTS, Network
from jaxmlp.checking.homework.source import read
from jaxmlp.checking.homework.understanding import Meaning

STATUSES = (
    "right", "wrong", "not understood", "crashed", "timed out", "out of memory", "refused",
)  # fmt: skip
AUTODIFF = {
    "jax", "jaxmlp", "torch", "tensorflow", "keras", "autograd", "theano", "mxnet", "tinygrad",
    "chainer", "paddle", "mindspore", "flax", "equinox", "casadi", "sympy",
}  # fmt: skip
HIDING = {"importlib", "gc", "ctypes", "__import__", "exec", "eval", "sys.modules"}  # imports
ASKED = 3  # problems for a verdict
LARGEST = 2**24  # bytes of an answer
SCALES = (1e-6, 1e6)  # of gradients, as the change of weights by an unknown learning rate
MOST = 64  # units of a layer, and examples, of a submission


@dataclass(frozen=True)
class Grade:
    """What was found of a submission.

    Attributes:
        path: of the file.
        status: one of `STATUSES`.
        says: a line of feedback.
        understood: how it was read, in a line; empty if it was not.
        lines: right, wrong, follows or unknown, for every line of the backward pass.
        points: for the lines that are right, or right given those before.
        of: the points that there are.
        report: the whole report.
        seconds: that it took.
        left: what could not be contained.
    """

    path: str
    status: str
    says: str
    understood: str = ""
    lines: Mapping[str, str] | None = None
    points: float = 0.0
    of: float = 0.0
    report: str = ""
    seconds: float = 0.0
    left: tuple[str, ...] = ()


class Verdict(NamedTuple):
    """What gradients are worth.

    Attributes:
        wrong: the names of those that are wrong.
        mistakes: which explain them.
        lines: the status of every line.
    """

    wrong: tuple[str, ...]
    mistakes: list[Mistake]
    lines: dict[str, str]


class Ended(Exception):  # noqa: N818 (it is no error)
    """A submission's process gives no answer; the status and a sentence."""


def start() -> Any:
    """What makes processes that have imported everything once."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["jaxmlp.checking.grading.worker"])
    return made


def grade(path: Path, rubric: Rubric, limits: Limits, processes: Any) -> Grade:
    """Grade one file, whatever it does.

    Args:
        path: of a .py file or notebook.
        rubric: of the assignment.
        limits: of its process.
        processes: of `start`.
    """
    began = time.perf_counter()
    try:
        found = _checked(path, rubric) or _asked(path, rubric, limits, processes)
    except ValueError as error:  # no Python, or no notebook
        says = str(error).removeprefix(str(path)).lstrip(" :").removeprefix("is ")
        found = Grade(str(path), "refused", _plain(says))
    worth = {line: rubric.worth(line) for line in found.lines or ()}
    earned = [worth[line] for line, status in (found.lines or {}).items() if status in _EARNING]
    points = sum(earned) if found.status == "wrong" else sum(worth.values())
    seconds = time.perf_counter() - began
    return _replaced(found, points=points, of=sum(worth.values()), seconds=seconds)


_EARNING = ("right", "follows")


def _replaced(grade: Grade, **changes: Any) -> Grade:
    return Grade(**(vars(grade) | changes))


def _checked(path: Path, rubric: Rubric) -> Grade | None:
    """A grade if the file is refused as it stands."""
    source = read(path)
    if rubric.autodiff:
        return None
    for node in ast.walk(source.tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, (ast.Name, ast.Attribute)):
            names = [ast.unparse(node)]
        parts = {part for name in names for part in (name, name.partition(".")[0])}
        if parts & (HIDING if isinstance(node, (ast.Name, ast.Attribute)) else AUTODIFF | HIDING):
            line = getattr(node, "lineno", 1)
            what = "uses autodiff" if parts & AUTODIFF else "may hide what it uses"
            says = f"{what}: {source.where(line)}: {source.text(line)}"
            return Grade(str(path), "refused", _plain(says))
    return None


def _asked(path: Path, rubric: Rubric, limits: Limits, processes: Any) -> Grade:
    """A grade by what a submission's process answers."""
    ours, theirs = processes.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        child = processes.Process(
            target=work, args=(path.resolve(), Path(folder), limits, theirs), daemon=True
        )
        child.start()
        theirs.close()
        last = time.monotonic() + limits.seconds
        try:
            return _talk(str(path), rubric, ours, last)
        except Ended as ended:
            status, says = ended.args
            return Grade(str(path), status, says)
        finally:
            ours.close()
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.kill()
            child.join()


def _talk(path: str, rubric: Rubric, connection: Connection, last: float) -> Grade:
    left = tuple(map(str, _answer(connection, last).get("left", ())))
    said = _answer(connection, last)
    if failed := said.get("failed"):
        status = failed if failed in STATUSES and failed not in ("right", "wrong") else "crashed"
        return Grade(path, status, _plain(said.get("says", "")), left=left)
    try:
        meaning, shape = _meaning(said)
    except (KeyError, TypeError, ValueError) as error:
        raise Ended("refused", f"its process gives a strange answer: {first_line(error)}") from None
    told = {"understood": _plain(said.get("understood", "")), "left": left}
    if unlike := _unlike(rubric, meaning, shape):
        return Grade(path, "wrong", unlike, **told)
    seeds = [secrets.randbelow(2**31) for _ in range(ASKED)]
    connection.send_bytes(json.dumps(seeds).encode())
    given = _answer(connection, last).get("gradients")
    problems = [drawn(*shape, seed) for seed in seeds]
    verdict = _judged(problems, meaning, given)
    report = "\n".join(map(_plain, str(said.get("report", "")).splitlines()))
    says = _feedback(verdict, _plain(said.get("diagnosis", "")))
    status = "wrong" if verdict.wrong else "right"
    return Grade(path, status, says, lines=verdict.lines, report=report, **told)


def _answer(connection: Connection, last: float) -> dict[str, Any]:
    """What a submission's process says next.

    Raises:
        Ended: if it says nothing, or nothing that can be read.
    """
    try:
        if not connection.poll(max(0.0, last - time.monotonic())):
            raise Ended("timed out", "it takes longer than its time: is there an endless loop?")
        found = json.loads(connection.recv_bytes(LARGEST))
    except (EOFError, OSError):
        raise Ended("crashed", "its process ended without an answer") from None
    except ValueError:
        raise Ended("refused", "its process gives an answer that is none") from None
    if not isinstance(found, dict):
        raise Ended("refused", "its process gives an answer that is none")
    return found


def _meaning(said: Mapping[str, Any]) -> tuple[Meaning, tuple[list[int], list[bool], int]]:
    """What a submission claims to compute, in our own words."""
    network = Network(*map(str, said["network"]))
    loss = next(each for each in LOSSES if each.name == said["loss"])
    if network.hidden not in HIDDEN or network.output not in OUTPUTS:
        raise ValueError("an unknown activation")
    scale = float(said["scale"])
    if not SCALES[0] <= scale <= SCALES[1]:
        raise ValueError("its gradients have no size")
    sizes, biased = [int(each) for each in said["sizes"]], [bool(each) for each in said["biased"]]
    n = int(said["n"])
    if not all(1 <= each <= MOST for each in (*sizes, n)) or len(biased) != len(sizes) - 1:
        raise ValueError("layers of no size")
    return Meaning(network, loss, bool(said["mean"]), scale, (), False), (sizes, biased, n)


def _unlike(rubric: Rubric, meaning: Meaning, shape: tuple[list[int], list[bool], int]) -> str:
    """What is not as the assignment has it; empty if everything is."""
    mean = meaning.mean if shape[2] > 1 else None  # of one example both are the same
    for name, asked, found in (
        ("loss", rubric.loss, meaning.loss.name),
        ("hidden activation", rubric.hidden, meaning.network.hidden),
        ("output", rubric.output, meaning.network.output),
        ("number of layers", rubric.layers, len(shape[0]) - 1),
    ):
        if asked is not None and asked != found:
            return f"its {name} is {found}, and the assignment asks for {asked}"
    if rubric.mean is not None and mean is not None and rubric.mean != mean:
        found, asked = ("mean", "sum")[:: 1 if mean else -1]
        return f"it takes the {found} over the examples, and the assignment asks for the {asked}"
    return ""


def _judged(problems: Sequence[Problem], meaning: Meaning, given: Any) -> Verdict:
    """The gradients that a submission gave, beside the right ones.

    Raises:
        Ended: if they are none.
    """
    if not isinstance(given, list) or len(given) != len(problems):
        raise Ended("refused", "its process gives no gradients")
    worst = None
    for problem, some in zip(problems, given, strict=True):
        received = _arrays(some, problem)
        right = meaning.expected(problem)
        wrong = differing(received, right, meaning.scale)
        lines = [name for name in right if name.startswith("d")]
        if not wrong and worst is None:
            worst = Verdict((), [], dict.fromkeys(lines, "right"))
        if wrong and (worst is None or not worst.wrong):
            with np.errstate(all="ignore"):
                mistakes = explained(problem, meaning, received)
            worst = Verdict(wrong, mistakes, _statuses(problem, meaning, received, mistakes))
    if worst is None:
        raise Ended("refused", "its process gives no gradients")
    return worst


def _arrays(some: Any, problem: Problem) -> dict[str, Array]:
    """Gradients as arrays of the right shapes."""
    like = named(problem.weights)
    if not isinstance(some, dict) or {*some} != {*like}:
        raise Ended("crashed", "it gives no gradients on other numbers of the same shapes")
    try:
        found = {name: np.asarray(some[name], float) for name in like}
    except (TypeError, ValueError):
        raise Ended("refused", "its gradients are no numbers") from None
    for name, array in found.items():
        if array.shape != like[name].shape:
            raise Ended("refused", f"its gradient by {name} has shape {array.shape}")
    return {name: np.nan_to_num(array, nan=np.inf) for name, array in found.items()}


def _statuses(
    problem: Problem, meaning: Meaning, received: Mapping[str, Array], mistakes: Sequence[Mistake]
) -> dict[str, str]:
    """Right, wrong, follows or unknown, line by line."""
    right = meaning.expected(problem)
    made = meaning.expected(problem, {mistakes[0].line: mistakes[0].value}) if mistakes else {}
    found = {}
    for line, expected in right.items():
        if not line.startswith("d"):
            continue
        value = received[line[1:]] / meaning.scale if line[1:] in received else made.get(line)
        if value is None:
            found[line] = "unknown"
        elif close(value, expected):
            found[line] = "right"
        else:
            found[line] = "wrong" if not mistakes or line == mistakes[0].line else "follows"
    return found


def _feedback(verdict: Verdict, diagnosis: str) -> str:
    """A sentence that says what to change; where in the file is what its own process says."""
    if not verdict.wrong:
        return "every gradient is right, on numbers that it had not seen"
    if not verdict.mistakes:
        lines = ", ".join(f"∂C/∂{name}" for name in verdict.wrong)
        return f"{lines}: wrong, by no known mistake{f'; {diagnosis}' if diagnosis else ''}"
    first = verdict.mistakes[0]
    same = diagnosis if first.kind in diagnosis else ""
    return same or f"{symbol_of(first.line)}: {first.kind}: {first.says}"


def _plain(text: Any) -> str:
    """One line without what would move a cursor."""
    marked = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return marked[:2000]
