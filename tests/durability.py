"""Processes that are killed, and what is left of their work."""

import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

TRAIN = ("train", "--hidden", "64", "--batch-size", "32", "--epochs", "120")


class Kills(NamedTuple):
    """What became of runs that were killed again and again.

    Attributes:
        tried: how many times a process was killed.
        lost: how many epochs were gone that a process had said were done.
        runs: how many runs came to their end that way.
        same: how many of these left the very files of a run that was left alone.
    """

    tried: int
    lost: int
    runs: int
    same: int


def jaxmlp(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    """A command, started."""
    return subprocess.Popen(
        [sys.executable, "-m", "jaxmlp", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def said(pattern: str, line: str) -> int | None:
    """The number in a line of output."""
    found = re.match(pattern, line)
    return int(found[1]) if found else None


def kill_training(folder: Path, kills: int, seed: int, arguments: Sequence[str] = TRAIN) -> Kills:
    """Kill trainings at random moments between and within epochs, and resume them.

    A run is killed a few times, then comes to its end; then there is another one, until there were
    enough kills.
    """
    rng = random.Random(seed)
    with jaxmlp(*arguments, "--out", "alone", folder=folder) as alone:
        printed, _ = alone.communicate()
        assert alone.returncode == 0, printed
    tried = lost = same = runs = 0
    while tried < kills:
        out, done = f"run{runs}", 0
        while True:
            victim = tried < kills and rng.random() < 0.85
            until = done + rng.randrange(1, 40)
            with jaxmlp(*arguments, "--out", out, "--resume", folder=folder) as process:
                assert process.stdout
                for line in process.stdout:
                    if (kept := said(r"going on after epoch (\d+)", line)) is not None:
                        lost += max(0, done - kept)
                        done = kept
                    done = said(r"epoch (\d+)/", line) or done
                    if victim and done >= until:
                        time.sleep(rng.uniform(0, 0.03))
                        process.kill()
                        break
                rest = process.stdout.read()  # what it said before it was gone
            done = max([done, *map(int, re.findall(r"^epoch (\d+)/", rest, re.MULTILINE))])
            if process.returncode == 0:
                break
            assert victim, rest
            tried += 1
        runs += 1
        names = ("params.safetensors", "metrics.csv")
        pairs = [[folder / one / name for one in ("alone", out)] for name in names]
        same += all(own.read_bytes() == other.read_bytes() for own, other in pairs)
    return Kills(tried, lost, runs, same)
