"""What became faster or slower from one checkout to another?

    tools/compare OLD [NEW]      # commits, branches, or folders; NEW is this folder by default

Both run side by side on this machine, and are measured in turn: in each of several starts there is
a fresh process for each, which is asked for one measure after the other, in a new order in every
round, old and new directly one after the other. The ratio of a start is the median of its rounds;
the interval is Student's, over the logarithms of the starts' ratios, since a process keeps its own
layout of memory. It is as wide as it takes for all measures together to be right in 95 % of
comparisons (Bonferroni). It takes some three minutes, on a machine that does nothing else.
"""

import argparse
import io
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from scipy import stats

ROOT = Path(__file__).resolve().parent.parent
WORKLOAD = Path(__file__).with_name("workload.py")
START = "import jaxmlp"
ERROR = 0.05  # of all intervals together


class Comparison(NamedTuple):
    """A measure of both: median seconds, and the ratio new to old with its interval."""

    name: str
    old: float
    new: float
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Faster or slower, where the interval leaves no doubt."""
        if self.low <= 1 <= self.high:
            return "no difference seen"
        return "faster" if self.ratio < 1 else "slower"


def compare(name: str, starts: Sequence[Sequence[tuple[float, float]]], error: float) -> Comparison:
    """The ratio of a measure.

    Args:
        name: of the measure.
        starts: of each start, the seconds of old and new in each round; at least two starts.
        error: the probability that the interval misses the ratio.
    """
    logs = [statistics.median(math.log(new / old) for old, new in rounds) for rounds in starts]
    mean = statistics.mean(logs)
    deviation = statistics.stdev(logs) / math.sqrt(len(logs))
    half = float(stats.t.ppf(1 - error / 2, len(logs) - 1)) * deviation
    old, new = (statistics.median(pair[i] for rounds in starts for pair in rounds) for i in (0, 1))
    return Comparison(name, old, new, *map(math.exp, (mean, mean - half, mean + half)))


@contextmanager
def checkout(what: str) -> Iterator[Path]:
    """The folder of a checkout: the one that is named, or a commit's files in a temporary one.

    Raises:
        ValueError: if it is neither a folder with the package nor a commit.
    """
    if Path(what).is_dir():
        if not (Path(what) / "jaxmlp" / "__init__.py").exists():
            raise ValueError(f"{what} has no package jaxmlp in it: name a checkout, or a commit")
        yield Path(what).resolve()
        return
    command = ["git", "archive", f"{what}^{{commit}}", "jaxmlp"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        says = f"{what!r} is neither a folder nor a commit with the package jaxmlp"
        raise ValueError(says) from error
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


class Workload:
    """A process that measures a checkout on request; see `workload.py`.

    Attributes:
        names: of what it can measure.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        settings = {
            "PYTHONPATH": str(folder),
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        self.folder, self.errors = folder, tempfile.TemporaryFile("w+")  # noqa: SIM115 (a pipe may fill)
        self.process: Any = subprocess.Popen(
            [sys.executable, str(WORKLOAD)], env=os.environ | settings, text=True, cwd=folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
        )  # fmt: skip
        self.names: list[str] = json.loads(self._answer())

    def seconds(self, name: str) -> float:
        """How long a measure takes.

        Raises:
            ValueError: if it cannot be measured in this checkout.
        """
        with suppress(BrokenPipeError):  # it has ended, and the answer says why
            self.process.stdin.write(name + "\n")
            self.process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            said = self.errors.read().strip().splitlines() or ["it ended"]
            raise ValueError(f"{self.folder} cannot be measured: {said[-1]}")
        return line

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        with suppress(BrokenPipeError):
            self.process.communicate()
        self.errors.close()


def measure(
    folders: Sequence[Path], only: Sequence[str] | None, starts: int, rounds: int
) -> dict[str, list[list[tuple[float, float]]]]:
    """By measure and start, the seconds of old and new in each round.

    Raises:
        ValueError: if one cannot be measured, or `only` names no measure.
    """
    found: dict[str, list[list[tuple[float, float]]]] = {}
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as caches:
        for start in range(starts):
            with ExitStack() as stack:
                pair: list[Workload] = []
                for number, folder in enumerate(folders):
                    pair.append(Workload(folder, Path(caches) / str(number)))
                    stack.callback(pair[-1].close)
                names = chosen(pair[1].names, only)
                for name in names:
                    found.setdefault(name, []).append([])
                for turn in range(rounds):
                    progress = f"start {start + 1} of {starts}, round {turn + 1} of {rounds}"
                    print(f"\r{progress} ", end="", flush=True, file=sys.stderr)
                    for name in rng.sample(names, len(names)):
                        if name == START and turn:  # measured once, as the process starts
                            continue
                        seconds = {which: pair[which].seconds(name)
                                   for which in rng.sample((0, 1), 2)}  # fmt: skip
                        found[name][-1].append((seconds[0], seconds[1]))
    print(file=sys.stderr)
    return found


def chosen(names: list[str], only: Sequence[str] | None) -> list[str]:
    """The measures whose names hold one of some words; all of them, if there are none.

    Raises:
        ValueError: if a word is in none.
    """
    for word in only or ():
        if not any(word in name for name in names):
            raise ValueError(f"--only {word!r} is in no name: give words of {'; '.join(names)}")
    return [name for name in names if only is None or any(word in name for word in only)]


def table(comparisons: Sequence[Comparison]) -> str:
    """A line for each measure."""
    width = max(len(each.name) for each in comparisons)
    lines = [f"{'':{width}}   old, ms   new, ms   new / old (interval)"]
    for each in comparisons:
        lines.append(
            f"{each.name:{width}}  {1e3 * each.old:8.4g}  {1e3 * each.new:8.4g}   "
            f"{each.ratio:.3f} ({each.low:.3f} to {each.high:.3f})  {each.verdict}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure both, print the table."""
    parser = argparse.ArgumentParser(
        prog="compare", description=(__doc__ or "").split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )  # fmt: skip
    parser.add_argument("old", help="a commit, a branch, or a folder")
    parser.add_argument("new", nargs="?", default=str(ROOT), help="likewise")
    parser.add_argument("--starts", type=int, default=8, help="of a process for each, 2 or more")
    parser.add_argument("--rounds", type=int, default=5, help="in each start, 1 or more")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="measures with it in their name")
    given = parser.parse_args()
    if given.starts < 2 or given.rounds < 1:
        parser.error(f"--starts {given.starts} --rounds {given.rounds}: give at least 2 and 1")
    try:
        with checkout(given.old) as old, checkout(given.new) as new:
            found = measure((old, new), given.only, given.starts, given.rounds)
    except ValueError as error:
        parser.error(str(error))
    each = ERROR / len(found)
    print(table([compare(name, starts, each) for name, starts in found.items()]))


if __name__ == "__main__":
    main()
