"""The judge: asks the process of a submission, and believes none of its numbers but gradients.

What is right is computed here, where no submission runs, on numbers that none of them knows before.
"""

import json
import multiprocessing
import os
import secrets
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from jaxmlp.checking.grading.autodiff import autodiff_in
from jaxmlp.checking.grading.containment import Limits
from jaxmlp.checking.grading.grades import EARNING, STATUSES, Ended, Grade, plain
from jaxmlp.checking.grading.rubric import Rubric
from jaxmlp.checking.grading.verdict import feedback, judged, meaning_of, unlike
from jaxmlp.checking.grading.worker import work
from jaxmlp.checking.homework.problems import drawn
from jaxmlp.checking.homework.source import read
from jaxmlp.importing import first_line

ASKED = 3  # problems for a verdict
LARGEST = 2**24  # bytes of a file, and of an answer


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
        if path.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST / 2**20:.0f} MB")
        source = read(path)
        if says := "" if rubric.autodiff else autodiff_in(source):
            found = Grade(str(path), "refused", plain(says))
        else:
            found = _asked(path, rubric, limits, processes)
    except (RecursionError, MemoryError):
        found = Grade(str(path), "refused", "too deeply nested for Python's own parser")
    except (ValueError, OSError) as error:  # no Python, or no notebook
        says = str(error).removeprefix(str(path)).lstrip(" :").removeprefix("is ")
        found = Grade(str(path), "refused", plain(says))
    worth = {line: rubric.worth(line) for line in found.lines or ()}
    earned = [worth[line] for line, status in (found.lines or {}).items() if status in EARNING]
    points = sum(earned) if found.status == "wrong" else sum(worth.values())
    seconds = time.perf_counter() - began
    return replace(found, points=points, of=sum(worth.values()), seconds=seconds)


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
        return Grade(path, status, plain(said.get("says", "")), left=left)
    try:
        meaning, shape = meaning_of(said)
    except (KeyError, TypeError, ValueError) as error:
        raise Ended("refused", f"its process gives a strange answer: {first_line(error)}") from None
    told = {"understood": plain(said.get("understood", "")), "left": left}
    if other := unlike(rubric, meaning, shape):
        return Grade(path, "wrong", other, **told)
    seeds = [secrets.randbelow(2**31) for _ in range(ASKED)]
    connection.send_bytes(json.dumps(seeds).encode())
    given = _answer(connection, last).get("gradients")
    problems = [drawn(*shape, seed) for seed in seeds]
    verdict = judged(problems, meaning, given)
    report = "\n".join(map(plain, str(said.get("report", "")).splitlines()))
    says = feedback(verdict, plain(said.get("diagnosis", "")))
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
