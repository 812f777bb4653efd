"""The process of one submission: what it is understood as, and its gradients of given numbers.

It is not believed: it only answers the judge's questions, as JSON.
"""

import json
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from jaxmlp.checking.grading.containment import Limits, contain
from jaxmlp.checking.homework.check import Understood, examined
from jaxmlp.checking.homework.problems import drawn
from jaxmlp.importing import first_line

Answer = dict[str, Any]


def work(path: Path, folder: Path, limits: Limits, connection: Connection) -> None:
    """Answer the judge, in a process of its own."""
    _say(connection, {"left": contain(limits, folder)})
    answer, understood = _understood(path)
    _say(connection, answer)
    if understood:
        seeds = json.loads(connection.recv_bytes())
        _say(connection, {"gradients": [_gradients(understood, seed) for seed in seeds]})


def _say(connection: Connection, answer: Answer) -> None:
    connection.send_bytes(json.dumps(answer).encode())


def _understood(path: Path) -> tuple[Answer, Understood | None]:
    """What a submission is understood as, or why it is not."""
    try:
        understood = examined(path)
    except ValueError as error:
        says = str(error).removeprefix(f"{path} is not understood: ")
        failed = "out of memory" if "MemoryError" in says else "not understood"
        return {"failed": failed, "says": says}, None
    except BaseException as error:  # whatever a submission raises
        failed = "out of memory" if isinstance(error, MemoryError) else "crashed"
        return {"failed": failed, "says": f"{type(error).__name__}: {first_line(error)}"}, None
    return _described(understood), understood


def _described(understood: Understood) -> Answer:
    """What a submission is understood as, and why it is wrong, if it is."""
    reading, report = understood.reading, understood.report
    meaning, layout = reading.meaning, reading.layout
    return {
        "sizes": layout.sizes,
        "biased": layout.biased,
        "n": reading.n,
        "network": meaning.network,
        "loss": meaning.loss.name,
        "mean": meaning.mean,
        "scale": meaning.scale,
        "names": reading.ran.names,
        "understood": understood.text,
        "report": str(report),
        "diagnosis": str(report.diagnosis or ""),
    }


def _gradients(understood: Understood, seed: int) -> dict[str, Any] | None:
    """The gradients of the numbers that a seed draws; None if there are none."""
    reading = understood.reading
    layout = reading.layout
    try:
        problem = drawn(layout.sizes, layout.biased, reading.n, seed)
        ran = reading.call(understood.source, problem)
    except Exception:  # of a submission
        return None
    return {name: np.asarray(array, float).tolist() for name, array in ran.gradients.items()}
