"""What is lost when things go wrong: kills, faults, strangers' files, long work, old versions.

    python experiments/faults.py               # everything, about an hour on two cores
    python experiments/faults.py --parts kills --kills 500
    python experiments/faults.py --parts files --inputs 1000000

These are the long forms of the tests, which have the short ones. Needs the extras `test` and `dev`;
where atheris is installed, it guides the fuzzing. Results: faults.json and .md in
`experiments/results`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from measuring import machine  # noqa: E402

from tests import durability, fuzzing  # noqa: E402

PARTS = ("kills", "faults", "files", "long", "devices", "versions")
MODULES = ("faults", "resume", "flags")  # of the tests, in their long forms
OTHERS = {  # processors that this one can stand for: flags of XLA, and cores
    "a processor with AVX2 only": ("--xla_cpu_max_isa=AVX2", None),
    "a processor with SSE4.2 only": ("--xla_cpu_max_isa=SSE4_2", None),
    "a processor with one core": ("", {0}),
}
HEADINGS = {
    "kills": "killed at random moments, and started again",
    "faults": "disks, folders, files and clocks",
    "resume": "stopping and going on",
    "flags": "the command line, with wrong values",
    "files": "files from a stranger: read or refused in a line, within bounds of memory and time",
    "long": "long work: memory within 5 %, no file left open, nothing compiled again",
    "devices": "another processor, whose numbers are not promised to be the same",
    "versions": "the whole suite, with the oldest and the newest versions",
}
README = "tests/test_experiments.py::test_faults"  # which says what was found the last time
OLDEST, NEWEST = "lowest-direct", "highest"  # as uv calls them
# what old packages use of newer ones, which they need
DEPRECATED = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")
PACKAGES = (
    "jax", "jaxlib", "optax", "numpy", "safetensors", "scikit-learn", "xarray", "hypothesis", "tyro"
)  # fmt: skip
BOUND = 1e-4  # relative difference of the losses of the first epoch on another device


@dataclass(frozen=True)
class Row:
    """What became of one kind of fault.

    Attributes:
        part, what: where it belongs, and what was done.
        tried: how often.
        survived: how often what ought to happen did.
        lost: how often not.
        note: in words.
    """

    part: str
    what: str
    tried: int
    survived: int
    lost: int
    note: str


Work = Callable[[], list[Row]]


def kills(what: str, kill: Callable[..., durability.Kills], count: int) -> list[Row]:
    """Processes killed by kill -9 at random moments, and started again."""
    with tempfile.TemporaryDirectory() as folder:
        found = kill(Path(folder), count, seed=0)
    lost = found.lost + found.runs - found.same
    note = (
        f"{found.lost} of {found.kept:,} finished epochs lost; {found.same} of {found.runs} "
        f"ended with the same bytes; {found.writing} killed while a file was written"
    )
    return [Row("kills", what, found.tried, found.tried - min(lost, found.tried), lost, note)]


def tests(module: str) -> list[Row]:
    """A module of tests in its long form: a row for each of its functions."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", f"tests/test_{module}.py", f"--junitxml={path}"],
            cwd=ROOT, env=os.environ | {"HYPOTHESIS_PROFILE": "long"}, check=False,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        cases = [*ElementTree.parse(path).getroot().iter("testcase")]
    rows: dict[str, list[int]] = {}
    for case in cases:
        name = case.attrib["name"].split("[")[0].removeprefix("test_").replace("_", " ")
        skipped = case.find("skipped") is not None
        wrong = case.find("failure") is not None or case.find("error") is not None
        counts = rows.setdefault(name, [0, 0, 0])
        for place, more in enumerate((not skipped, not (skipped or wrong), wrong)):
            counts[place] += more
    return [
        Row(module, name, tried, survived, lost, "")
        for name, (tried, survived, lost) in rows.items()
    ]


def files(name: str, inputs: int) -> list[Row]:
    """Changed files for one reader."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzzing", name, "--inputs", str(inputs)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        told = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return [Row("files", name, inputs, 0, inputs, f"the process ended: {done.stderr[-300:]}")]
    wrong = "".join(f"; {what}" for what in told["wrong"])
    guided = ", half of them changed by atheris" * told["guided"]
    note = f"{told['read']:,} read, {told['refused']:,} refused{guided}{wrong}"
    survived, tried = told["read"] + told["refused"], inputs * (1 + told["guided"])
    return [Row("files", name, tried, survived, tried - survived, note)]


def long(what: str, watch: Callable[..., durability.Watched], steps: int) -> list[Row]:
    """Memory, open files and compilations of much work."""
    with tempfile.TemporaryDirectory() as folder:
        found = watch(Path(folder), steps)
    before, after = (size / 2**20 for size in found.memory)
    note = (
        f"{before:.0f} MiB after the tenth, {after:.0f} at the end; {found.handles[0]} and "
        f"{found.handles[1]} files open; {found.compilations} compilations after the tenth"
    )
    flat = found.is_flat()
    return [Row("long", what, steps, steps if flat else 0, 0 if flat else steps, note)]


def devices(settings: tuple[str, ...] = ("train", "--epochs", "10", "--out")) -> list[Row]:
    """What is not promised: the same numbers from another processor."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        durability.finished(*settings, "here", folder=folder)
        own = _losses(folder / "here")
        for number, (what, (flags, cores)) in enumerate(OTHERS.items()):
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, cores or before)  # which the process inherits
            try:
                environment = {"XLA_FLAGS": flags, "XDG_CACHE_HOME": str(folder / what)}
                durability.finished(*settings, str(number), folder=folder, **environment)
            finally:
                os.sched_setaffinity(0, before)
            off = np.abs(_losses(folder / str(number)) / own - 1).max(axis=1)
            sound = bool(off[0] <= BOUND)
            note = f"losses differ by {off[0]:.0e} in the first epoch, {off[-1]:.0e} in the tenth"
            rows.append(Row("devices", what, 1, int(sound), int(not sound), note))
    return rows


def _losses(run: Path) -> np.ndarray:
    """Both losses of every epoch."""
    return np.loadtxt(run / "metrics.csv", delimiter=",", skiprows=1)[:, 1:3]


def versions(which: str) -> list[Row]:
    """The whole suite with the oldest, or the newest, versions that may be installed."""
    with tempfile.TemporaryDirectory() as name:
        python, results = str(Path(name) / "bin" / "python"), Path(name) / "results.xml"
        install = f"uv pip install -q --python {python} --resolution {which} -e .[test]"
        pytest = f"{python} -m pytest -q -n auto --junitxml={results} --deselect={README}"
        if which == OLDEST:
            pytest += "".join(f" -W ignore::{warning}" for warning in DEPRECATED)
        make = f"uv venv -q --clear --python {sys.executable} {name}"
        for step in (make, install, pytest):
            done = subprocess.run(
                step.split(), cwd=ROOT, capture_output=True, text=True, check=False
            )
            if done.returncode and step != pytest:
                return [Row("versions", which, 1, 0, 1, done.stderr[-300:])]
        suite = ElementTree.parse(results).getroot()[0]
        listed = subprocess.run(
            ["uv", "pip", "list", "--python", python, "--format", "json"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    tried = int(suite.attrib["tests"]) - int(suite.attrib["skipped"])
    wrong = [
        case.attrib["name"]
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    found = {each["name"]: each["version"] for each in json.loads(listed)}
    note = ", ".join([f"{package} {found[package]}" for package in PACKAGES] + wrong[:5])
    return [Row("versions", which, tried, tried - len(wrong), len(wrong), note)]


def page(rows: list[Row], on: dict[str, object]) -> str:
    """All of it as a table in Markdown."""
    lines = [
        "# What is lost when things go wrong",
        "",
        "By `python experiments/faults.py`, on "
        f"{on['processor']}, {on['cores']} cores. Survived: what ought to happen did.",
        "",
        "| | tried | survived | lost | |",
        "|---|---:|---:|---:|---|",
    ]
    part = ""
    for row in rows:
        if row.part != part:
            part = row.part
            lines.append(f"| **{HEADINGS[part]}** | | | | |")
        counts = f"{row.tried:,} | {row.survived:,} | {row.lost:,}"
        lines.append(f"| {row.what} | {counts} | {row.note.replace('|', '/')} |")
    tried, lost = (sum(getattr(row, name) for row in rows) for name in ("tried", "lost"))
    return "\n".join([*lines, "", f"In all: {tried:,} tried, {lost:,} lost.", ""])


def main() -> None:
    """Run some parts, a few at once; write them down beside those of before."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--kills", type=int, default=100, help="of trainings, and of sweeps")
    parser.add_argument("--inputs", type=int, default=100_000, help="changed files for each reader")
    parser.add_argument("--epochs", type=int, default=1000, help="of the long training")
    parser.add_argument("--chunks", type=int, default=2000, help="of the long sweep")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how much at once")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        names = [*fuzzing.readers(Path(folder))]
    works: dict[str, list[Work]] = {
        "kills": [
            partial(kills, "kill -9 of `jaxmlp train`", durability.kill_training, given.kills),
            partial(kills, "kill -9 of `jaxmlp sweep`", durability.kill_sweeps, given.kills),
        ],
        "faults": [partial(tests, module) for module in MODULES],
        "files": [partial(files, name, given.inputs) for name in names],
        "long": [
            partial(long, "epochs of one training", durability.watch_training, given.epochs),
            partial(long, "chunks of one sweep", durability.watch_sweep, given.chunks),
        ],
        "devices": [devices],
        "versions": [partial(versions, OLDEST), partial(versions, NEWEST)],
    }
    path = given.out / "faults.json"
    on = machine("jaxmlp", "atheris")
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": []}
    again = {*given.parts, *MODULES} if "faults" in given.parts else {*given.parts}
    new = [Row(**row) for row in old["rows"] if row["part"] not in again]
    if new and old["machine"] != on:
        parser.error(f"{path} is of another machine or other versions: give all parts or --out")
    with ThreadPoolExecutor(given.jobs) as pool:
        todo = {pool.submit(work): part for part in given.parts for work in works[part]}
        for done in as_completed(todo):
            try:
                rows = done.result()
            except Exception as error:  # which is a loss too, and the others go on
                rows = [Row(todo[done], "what could not be done", 1, 0, 1, repr(error)[:300])]
            for row in rows:
                print(f"{row.what}: {row.tried:,} tried, {row.lost:,} lost. {row.note}", flush=True)
            new = sorted([*new, *rows], key=lambda row: ([*HEADINGS].index(row.part), row.what))
            text = json.dumps({"machine": on, "rows": [asdict(row) for row in new]}, indent=1)
            path.write_text(text + "\n", encoding="utf-8")
            path.with_suffix(".md").write_text(page(new, on), encoding="utf-8")
    print(page(new, on))
    sys.exit(any(row.lost for row in new))


if __name__ == "__main__":
    main()
