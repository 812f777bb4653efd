"""Auditing many functions at once, each under a time limit, in processes that may be stopped."""

import json
import os
import queue
import select
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxmlp.checking.audit.discovery import Target

STOPPED, ENDED = "stopped after", "it ended the process"
START = 60.0  # seconds for a process to import what it audits


def rows(
    targets: Sequence[Target], settings: Path | None, time_limit: float, processes: int
) -> Iterator[dict[str, Any]]:
    """The rows of all targets, as they are done.

    Args:
        targets: the functions.
        settings: audit.toml.
        time_limit: seconds for each of them.
        processes: how many work at once.
    """
    waiting: queue.SimpleQueue[Target] = queue.SimpleQueue()
    done: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    for target in targets:
        waiting.put(target)
    given = (waiting, done, settings, time_limit)
    workers = [
        threading.Thread(target=_work, args=given, daemon=True)
        for _ in range(min(processes, len(targets)))
    ]
    for worker in workers:
        worker.start()
    for _ in targets:
        yield done.get()
    for worker in workers:
        worker.join()


def _work(waiting: Any, done: Any, settings: Path | None, time_limit: float) -> None:
    """Hand targets to a process, and start another one if it does not answer in time."""
    process, fresh = _started(settings), True
    while True:
        try:
            target = waiting.get_nowait()
        except queue.Empty:
            break
        row = _asked(process, target, time_limit + START * fresh)
        fresh = row is None
        if row is None:
            ended = process.poll()
            says = f"{STOPPED} {time_limit:g} s" if ended is None else ENDED
            row = {"module": target.module, "name": target.name, "findings": []}
            row |= {"uncovered": says, "seconds": time_limit}
            _end(process)
            process = _started(settings)
        done.put(row)
    _end(process)


def _started(settings: Path | None) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "jaxmlp.checking.audit.worker",
        *([str(settings)] * bool(settings)),
    ]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, env=environment,
    )  # fmt: skip


def _end(process: subprocess.Popen[str]) -> None:
    with process:  # which closes its pipes, and waits
        process.kill()


def _asked(process: Any, target: Target, seconds: float) -> dict[str, Any] | None:
    """The row that a process answers, or None if it does not in time."""
    try:
        process.stdin.write(json.dumps(target) + "\n")
        process.stdin.flush()
    except OSError:
        return None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    line = process.stdout.readline() if ready else ""
    return json.loads(line) if line else None
