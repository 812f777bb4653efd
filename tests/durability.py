"""Processes that are killed, and what is left of their work."""

import itertools
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.numpy import load

from jaxmlp.cli import main

SMALL = ("train", "--hidden", "8", "--epochs", "6", "--batch-size", "64")
TRAIN = ("train", "--hidden", "64", "--batch-size", "32", "--epochs", "120")
EPOCHS = 40
SWEEP = ("sweep", "--set", "seed=0:40", "learning_rate=0.002,0.01", "--hidden", "8", "--epochs",
         str(EPOCHS), "--at-once", "8")  # fmt: skip
STARTING = 0.1  # of all kills come before a process has done anything
WRITING = 0.3  # of those of sweeps wait for a file that is being written
HASH_SEEDS = itertools.count(1)


class Kills(NamedTuple):
    """What became of work that was killed again and again.

    Attributes:
        tried: how many times a process was killed.
        kept: how many epochs, of a sweep those of a chunk, were done when it was.
        lost: how many of these were gone, or done again, afterwards.
        runs: how often the work came to its end that way.
        same: how often that left the very files of work that was left alone.
        writing: how many kills came while a file was being written.
    """

    tried: int
    kept: int
    lost: int
    runs: int
    same: int
    writing: int


def jaxmlp(
    *arguments: str, folder: Path, output: Any = subprocess.PIPE, **environment: str
) -> subprocess.Popen[str]:
    """A command, started; each has another order of sets."""
    return subprocess.Popen(
        [sys.executable, "-m", "jaxmlp", *arguments],
        cwd=folder, stdout=output, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"PYTHONHASHSEED": str(next(HASH_SEEDS))} | environment,
    )  # fmt: skip


def train(*arguments: object, code: int = 0) -> None:
    """A small run in this process."""
    assert main([*SMALL, *map(str, arguments)]) == code


def files(folder: str | Path) -> list[bytes]:
    """What a run has in its end, byte for byte."""
    return [(Path(folder) / name).read_bytes() for name in ("params.safetensors", "metrics.csv")]


class PowerFailureError(BaseException):
    """What no command catches."""


def power_fails(_: Path) -> None:
    """Let a run end where it is."""
    raise PowerFailureError


def said(pattern: str, line: str) -> int | None:
    """The number in a line of output."""
    found = re.match(pattern, line)
    return int(found[1]) if found else None


def finished(*arguments: str, folder: Path, **environment: str) -> str:
    """What a command printed that was left alone."""
    with jaxmlp(*arguments, folder=folder, **environment) as process:
        printed, _ = process.communicate()
    assert process.returncode == 0, printed
    return printed


def _left_alone(command: Sequence[str], folder: Path, alone: Path | None) -> Path:
    """Such work that was left alone, done now if there is none yet."""
    if alone is None:
        alone = folder / "alone"
        finished(*command, "--out", str(alone), folder=folder)
    return alone


def _kill_early(process: subprocess.Popen[str], rng: random.Random) -> None:
    """Now and then, before the process has done anything."""
    if rng.random() < STARTING:
        time.sleep(rng.uniform(0, 3))
        process.kill()


def kill_training(
    folder: Path,
    kills: int,
    seed: int,
    arguments: Sequence[str] = TRAIN,
    alone: Path | None = None,
) -> Kills:
    """Kill trainings at random moments between and within epochs, and resume them.

    A run is killed a few times, then comes to its end; then there is another one, until there were
    enough kills.

    Args:
        folder: for the runs.
        kills: how many.
        seed: of the moments.
        arguments: of the command.
        alone: such a run that was left alone, if there is one already.
    """
    rng = random.Random(seed)
    alone = _left_alone(arguments, folder, alone)
    tried = kept = lost = same = runs = writing = 0
    while tried < kills:
        out, done = f"run{runs}", 0
        while True:
            victim = tried < kills and rng.random() < 0.85
            until = done + rng.randrange(1, 20)
            with jaxmlp(*arguments, "--out", out, "--resume", folder=folder) as process:
                assert process.stdout
                first = True
                if victim:
                    _kill_early(process, rng)
                for line in process.stdout:
                    if "is damaged" in line:
                        lost += 1
                    begins = said(r"going on after epoch (\d+)", line)
                    epoch = said(r"epoch (\d+)/", line)
                    if first and (begins is not None or epoch):  # without the former, after none
                        first, start = False, begins or 0
                        lost += max(0, done - start)
                        done = start
                    done = epoch or done
                    if victim and done >= until:
                        time.sleep(rng.uniform(0, 0.03))
                        process.kill()
                        break
                rest = process.stdout.read()  # what it said before it was gone
            done = max([done, *map(int, re.findall(r"^epoch (\d+)/", rest, re.MULTILINE))])
            if process.returncode == 0:
                break
            assert victim, rest
            tried, kept = tried + 1, kept + done
            writing += _half_written(folder / out)
        runs += 1
        same += files(folder / out) == files(alone)
    return Kills(tried, kept, lost, runs, same, writing)


def kill_sweeps(
    folder: Path,
    kills: int,
    seed: int,
    arguments: Sequence[str] = SWEEP,
    alone: Path | None = None,
) -> Kills:
    """The same with sweeps, which are killed between and within chunks.

    An epoch that a chunk in flight has kept is one that is done.
    """
    rng = random.Random(seed)
    alone = _left_alone(arguments, folder, alone)
    tried = kept = lost = same = runs = writing = 0
    while tried < kills:
        out, before, done = f"sweep{runs}", set(), 0
        while True:
            victim = tried < kills and rng.random() < 0.9
            until = done + rng.randrange(1, 3 * EPOCHS)
            in_a_write = rng.random() < WRITING
            with jaxmlp(*arguments, "--out", out, folder=folder) as process:
                if victim:
                    _kill_early(process, rng)
                while victim and process.poll() is None:
                    if _epochs_kept(folder / out) < until:
                        time.sleep(0.002)
                    elif not in_a_write:
                        time.sleep(rng.uniform(0, 0.05))
                        process.kill()
                    elif _half_written(folder / out):
                        process.kill()
                printed, _ = process.communicate()
            now, kept_now = _chunks(folder / out), _epochs_kept(folder / out)
            lost += len(before - now) + max(0, done - kept_now)
            if process.returncode == 0:
                break
            assert victim, printed
            before, done = now, kept_now
            tried, kept = tried + 1, kept + done
            writing += _half_written(folder / out)
        runs += 1
        same += all(
            (folder / out / name).read_bytes() == (alone / name).read_bytes()
            for name in ("table.nc", "table.csv")
        )
    return Kills(tried, kept, lost, runs, same, writing)


def _half_written(folder: Path) -> bool:
    """Whether a file was being written aside."""
    return any(folder.glob(".*.partial"))


def _chunks(folder: Path) -> set[tuple[str, int, int]]:
    """The finished chunks; one that is written again is another one."""
    found = ((path.name, path.stat()) for path in folder.glob("chunk-*"))
    return {(name, stat.st_ino, stat.st_mtime_ns) for name, stat in found}


def _epochs_kept(folder: Path) -> int:
    """Of all chunks that are finished, and of the one in flight."""
    finished = [path.name for path in folder.glob("chunk-*")]
    try:
        flight = load((folder / "unfinished.safetensors").read_bytes())
    except FileNotFoundError:
        return EPOCHS * len(finished)
    name = f"chunk-00000-{flight['trials'][0]:06d}-"
    flies = not any(each.startswith(name) for each in finished)
    return EPOCHS * len(finished) + flies * flight["train_loss"].shape[1]


class Watched(NamedTuple):
    """A long piece of work, near its beginning and at its end.

    Attributes:
        steps: how many epochs, or chunks, it had.
        memory: bytes that were resident after the tenth step, and at the end.
        handles: files that were open then.
        compilations: after the tenth step.
    """

    steps: int
    memory: tuple[int, int]
    handles: tuple[int, int]
    compilations: int

    def is_flat(self) -> bool:
        """Whether it took no more in the end: 5 % of memory, no file, no compilation."""
        before, after = self.memory
        return (
            after <= 1.05 * before and self.handles[1] <= self.handles[0] and not self.compilations
        )


def watch_training(folder: Path, epochs: int) -> Watched:
    """Train a small network on digits for many epochs."""
    arguments = ("train", "--hidden", "8", "--epochs", str(epochs), "--out", "long")
    compilations, seen = 0, []
    with jaxmlp(*arguments, folder=folder, JAX_LOG_COMPILES="1") as process:
        assert process.stdout
        for line in process.stdout:
            if re.match(rf"epoch ({epochs}|10)/", line):
                seen.append(resources(process.pid))
            compilations += len(seen) == 1 and "Finished XLA compilation" in line
    assert process.returncode == 0
    memory, handles = zip(*seen, strict=True)
    return Watched(epochs, memory, handles, compilations)


def watch_sweep(folder: Path, chunks: int) -> Watched:
    """Train many chunks of one network each."""
    arguments = ("sweep", "--set", f"seed=0:{chunks}", "--hidden", "4", "--epochs", "1",
                 "--batch-size", "128", "--at-once", "1", "--out", "long")  # fmt: skip
    seen: list[Any] = []
    done, compiled = 0, (0, 0)
    log = folder / "log"
    with log.open("w") as output, jaxmlp(
        *arguments, folder=folder, output=output, JAX_LOG_COMPILES="1"
    ) as process:  # fmt: skip
        while done < chunks and process.poll() is None:
            done = len([*(folder / "long").glob("chunk-*")])
            if 10 <= done < chunks:  # at the end, pictures are drawn, which takes memory
                now = resources(process.pid)
                number = log.read_text().count("Finished XLA compilation")
                seen, compiled = (
                    ([seen[0], now], (compiled[0], number)) if seen else ([now], (number, 0))
                )
            time.sleep(0.05)
    assert process.returncode == 0, log.read_text()
    memory, handles = zip(*seen, strict=True)
    return Watched(chunks, memory, handles, compiled[1] - compiled[0])


def resources(process: int) -> tuple[int, int]:
    """Bytes that are resident, and how many files are open."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(f"/proc/{process}/fd"))
