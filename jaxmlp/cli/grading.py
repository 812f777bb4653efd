"""`jaxmlp check` of a folder, or of several files: a grade for each submission."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from jaxmlp.checking.grading import judge, results
from jaxmlp.checking.grading.containment import Limits
from jaxmlp.checking.grading.grades import Grade
from jaxmlp.checking.grading.page import as_page
from jaxmlp.checking.grading.rubric import Rubric
from jaxmlp.files import write_text
from jaxmlp.version import __version__

ENDINGS = (".py", ".ipynb")
AT_ONCE = 2
STYLES = {"right": "green", "wrong": "bold red"}


def submissions(targets: Sequence[str]) -> list[Path]:
    """The files that are named, and those in the folders that are, by their names.

    Raises:
        ValueError: if there is none, or something is named that is not there.
    """
    found: list[Path] = []
    for each in map(Path, targets):
        if each.is_dir():
            inside = (p for p in each.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
            found += sorted(p for p in inside if not p.name.startswith("."))
        elif each.is_file():
            found.append(each)
        else:
            raise ValueError(f"{each}: no such file or folder: give .py files, notebooks, folders")
    if not found:
        raise ValueError(f"{', '.join(targets)}: no .py file or notebook is in there")
    templates = {
        each.with_name(f"{each.stem}_check.py") for each in found
    }  # of jaxmlp check --init
    return [each for each in dict.fromkeys(found) if each not in templates]


class Files(NamedTuple):
    """Where grades are written, in which form; None for what is not wanted."""

    json: Path | None
    csv: Path | None
    junit: Path | None
    page: Path | None
    gradescope: Path | None


def _write(files: Files, title: str, grades: Sequence[Grade], keys: Sequence[str]) -> None:
    if files.json:
        write_text(files.json, results.as_json(grades, keys))
    if files.csv:
        write_text(files.csv, results.as_csv(grades))
    if files.junit:
        write_text(files.junit, results.as_junit(grades))
    if files.page:
        write_text(files.page, as_page(grades, title))
    if files.gradescope:
        write_text(files.gradescope, results.as_gradescope(grades[0]))


def grade_all(
    paths: Sequence[Path], rubric: Rubric, limits: Limits, files: Files, title: str, resume: bool
) -> int:
    """Grade files, print a table, write; the exit code: 0 if all are right, else 1."""
    keys = [_key(path, rubric, limits) for path in paths]
    known = results.from_json(files.json) if resume and files.json else {}
    grades = {path: known[key] for path, key in zip(paths, keys, strict=True) if key in known}
    console, processes = Console(highlight=False, soft_wrap=True), judge.start()
    with ThreadPoolExecutor(AT_ONCE) as pool, Progress(console=console, transient=True) as bar:
        task = bar.add_task("grading", total=len(paths), completed=len(grades))
        jobs = {
            pool.submit(judge.grade, path, rubric, limits, processes): path
            for path in paths
            if path not in grades
        }
        for job in as_completed(jobs):
            grades[jobs[job]] = job.result()
            bar.advance(task)
            if files.json:  # from which a later run can go on
                some = [(grades[p], key) for p, key in zip(paths, keys, strict=True) if p in grades]
                write_text(files.json, results.as_json(*zip(*some, strict=True)))
    every = [grades[path] for path in paths]
    _write(files, title, every, keys)
    _show(console, every)
    return 0 if all(grade.status == "right" for grade in every) else 1


def _key(path: Path, rubric: Rubric, limits: Limits) -> str:
    """What a grade depends on, in short."""
    told = f"{__version__} {path} {rubric} {limits}".encode()
    return hashlib.sha256(told + b"\0" + path.read_bytes()).hexdigest()


def _show(console: Console, grades: Sequence[Grade]) -> None:
    """Every grade, on a terminal in a table, and how many there are of each status."""
    if console.is_terminal:
        console.print(_table(grades), soft_wrap=False)
    else:
        for grade in grades:
            points = f" ({grade.points:g} of {grade.of:g})" if grade.of else ""
            line = f"{grade.path}: {grade.status}{points}: {grade.says}"
            console.print(line, markup=False)
    counts = Counter(grade.status for grade in grades).most_common()
    console.print(f"{len(grades)} graded: " + ", ".join(f"{n} {status}" for status, n in counts))
    if left := sorted({each for grade in grades for each in grade.left}):
        console.print(f"not contained on this machine: {', '.join(left)}")


def _table(grades: Sequence[Grade]) -> Table:
    table = Table("submission", "status", "points", "feedback", box=None, padding=(0, 1))
    for grade in grades:
        points = f"{grade.points:g}/{grade.of:g}" if grade.of else ""
        status = f"[{STYLES.get(grade.status, 'yellow')}]{grade.status}[/]"
        table.add_row(escape(grade.path), status, points, escape(grade.says))
    return table
