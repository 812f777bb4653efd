"""`jaxmlp check`: check a hand-written gradient in a file, or grade a folder of homework."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxmlp.bounds import check_integer, check_tolerances
from jaxmlp.checking.files import Outcome, examine_file, make_template
from jaxmlp.checking.network.shapes import FORMS, SHAPES
from jaxmlp.cli import printable
from jaxmlp.files import check_writable, write_text

ALONE, EACH = 120.0, 30.0  # seconds, for one file, and for each of those that are graded
COLOURS = {"✓": "green", "✗": "bold red", "↳": "yellow"}


@dataclass(frozen=True)
class Check:
    """Check a gradient written by hand: which line is wrong, why, and on what smallest network.

    Of a folder, or several files, every one is graded, in a process of its own.
    Exit code 0 if all is right, 1 if something is wrong, 2 if it could not be run.

    Attributes:
        targets: FILE.py or FILE.ipynb: a network in NumPy as people write it, a class or functions.
            Or a file with a function, FILE.py:function, which takes (params, batch) and returns a
            tree like params; one with `lines` in its name returns the lines of a derivation by
            name, to be checked one by one. A `loss` in the file replaces ours; `cases`, a
            Hypothesis strategy of pairs (params, batch), replaces our networks; `intended`, a list
            of functions in the loss, declares that their derivative rules are meant.
        activation: of our networks.
        layers: only networks of that many layers.
        bias: networks with biases, without, or both.
        labels: only labels of that form.
        loss: what the loss of homework is, where more than one fits: a mean or a sum over the
            examples, squared, or one of a sigmoid or a softmax.
        columns: the examples of homework are columns.
        init: write FILE_check.py beside homework that is not understood: what calls its functions,
            in its own names, to be completed and then checked.
        at_kink: the slope of a ReLU at 0 has to be zero, as ours is, or any between 0 and 1.
        rtol: errors accepted beyond rounding, relative to a leaf's largest entry.
        atol: the same, absolutely.
        seed: of the numbers.
        report: write the report to this file, as Markdown.
        time_limit: seconds after which the check is stopped; in grading, 30 for each file.
        json: write the grades to this file; with --resume, go on from it.
        csv: write a row for each file.
        junit: write them as JUnit's XML.
        gradescope: write the grade of the only file as Gradescope's results.json.
        page: write a page for the browser, with the most common mistakes.
        rubric: a TOML file with what the assignment asks for, and what each line is worth.
        memory: megabytes that a file may take in grading.
        resume: leave out what --json has already, if neither file nor rubric has changed.
    """

    targets: Annotated[tuple[str, ...], tyro.conf.Positional]
    activation: Literal["relu", "tanh", "sigmoid", "gelu", "identity"] = "relu"
    layers: int | None = None
    bias: Literal["with", "without", "both"] = "both"
    labels: Literal["classes", "rows", "both"] = "both"
    loss: Literal["mean", "sum", "squared", "sigmoid", "softmax"] | None = None
    columns: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    init: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    at_kink: Literal["zero", "any"] = "zero"
    rtol: float = 0.0
    atol: float = 0.0
    seed: int = 0
    report: Path | None = None
    time_limit: float | None = None
    json: Path | None = None
    csv: Path | None = None
    junit: Path | None = None
    gradescope: Path | None = None
    page: Path | None = None
    rubric: Path | None = None
    memory: int = 2048
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False

    def run(self) -> int:
        """Check, print, write; the exit code."""
        check_integer("seed", self.seed)
        check_tolerances(rtol=self.rtol, atol=self.atol)
        if self.time_limit is not None and not 0 < self.time_limit < 1e6:
            raise ValueError(f"time_limit is {self.time_limit}: give seconds above 0")
        if not self.targets:
            raise ValueError("nothing to check is named: give FILE.py, FILE.ipynb or a folder")
        if self.init:
            return self._started()
        if self._grades():
            return self._graded()
        (target,) = self.targets
        if self.report and (not self.report.name or self.report.is_dir()):
            raise ValueError(f"report is {str(self.report)!r}, a folder: give the name of a file")
        if self.report:
            check_writable(self.report)
        shapes = [
            replace(shape, bias=shape.bias if self.bias == "both" else self.bias == "with")
            for shape in SHAPES
            if self.layers in (None, shape.depth)
        ]
        if not shapes:
            depths = sorted({shape.depth for shape in SHAPES})
            raise ValueError(f"layers is {self.layers}: the networks tried have {depths}")
        console = Console(highlight=False, soft_wrap=True)
        with console.status(f"checking {escape(printable(target))}"):
            outcome = examine_file(
                target,
                self.time_limit or ALONE,
                activation=self.activation,
                shapes=[(shape.sizes, shape.bias, shape.n) for shape in shapes],
                labels=FORMS if self.labels == "both" else (self.labels,),
                at_kink=self.at_kink,
                rtol=self.rtol,
                atol=self.atol,
                seed=self.seed,
                flags=self._given(),
                choice=self._choice(),
            )
        _show(console, outcome)
        if self.report:
            write_text(self.report, outcome.markdown)
            console.print(f"report written to {self.report}", markup=False)
        return 0 if outcome.passed else 1

    def _grades(self) -> bool:
        """Whether files are graded, not one of them checked."""
        written = (self.json, self.csv, self.junit, self.gradescope, self.page, self.rubric)
        several = len(self.targets) > 1 or any(Path(each).is_dir() for each in self.targets)
        return several or any(written) or self.resume

    def _started(self) -> int:
        """Write a template for the file that is named; the exit code."""
        path = Path(self.targets[0] if len(self.targets) == 1 else "")
        if path.suffix.lower() not in (".py", ".ipynb"):
            raise ValueError(
                f"--init is for one file of homework, FILE.py or FILE.ipynb, and not "
                f"{' '.join(self.targets)}"
            )
        others = [*self._given(), *["report"] * bool(self.report), *["grades"] * self._grades()]
        if others:
            raise ValueError(f"--init only writes a template: leave out what is for {others[0]}")
        written = path.with_name(f"{path.stem}_check.py")
        if written.exists():
            raise ValueError(f"{written} is there already: remove it, or complete it")
        check_writable(written)
        text = make_template(path, self.time_limit or ALONE)
        write_text(written, text)
        todo = sum("# TODO" in line for line in text.splitlines())
        print(f"{written} written: complete its lines with TODO ({todo}), then check that file")
        return 0

    def _graded(self) -> int:
        """Grade every file that is named; the exit code."""
        from jaxmlp.checking.grading.containment import Limits
        from jaxmlp.checking.grading.rubric import Rubric, read_rubric
        from jaxmlp.cli.grading import Files, grade_all, submissions

        if flags := [*self._given(), *["report"] * bool(self.report)]:
            raise ValueError(f"--{flags[0]} is for one file alone: for grading, give a rubric")
        if not 64 <= self.memory < 1e6:
            raise ValueError(f"memory is {self.memory}: give megabytes, 64 or more")
        if self.resume and not self.json:
            raise ValueError("--resume goes on from the grades in --json: give both")
        rubric = read_rubric(self.rubric) if self.rubric else Rubric()
        paths = submissions(self.targets)
        if self.gradescope and len(paths) > 1:
            raise ValueError(f"--gradescope is for one file, and these are {len(paths)}")
        title = f"Grades of {', '.join(self.targets)}"
        files = Files(self.json, self.csv, self.junit, self.page, self.gradescope)
        for file in filter(None, files):
            if not file.name or file.is_dir():
                raise ValueError(f"{str(file)!r} is a folder: give the name of a file")
        for file in filter(None, files):
            check_writable(file)
        limits = Limits(self.time_limit or EACH, self.memory)
        return grade_all(paths, rubric, limits, files, title, self.resume)

    def _choice(self) -> dict[str, Any]:
        """What homework is said to mean."""
        said = {name: getattr(self, name) for name in ("loss", "labels", "columns", "layers")}
        return {name: value for name, value in said.items() if value not in (None, False, "both")}

    def _given(self) -> list[str]:
        """The flags about our networks that are not as by default."""
        names = (
            "activation", "layers", "bias", "labels", "loss", "columns", "at_kink", "rtol", "atol",
        )  # fmt: skip
        changed = (name for name in names if getattr(self, name) != getattr(Check, name))
        return [name.replace("_", "-") for name in changed]


def _show(console: Console, outcome: Outcome) -> None:
    """A report; on a terminal with marks in colour, and a table that fits its width."""
    if not console.is_terminal:
        console.print(outcome.text, markup=False)
        return
    for line in outcome.summary.splitlines():
        console.print(line, style=COLOURS.get(line.strip()[:1]), markup=False)
    head, *rows = outcome.table or [[]]
    grid = Table(*map(escape, head), box=None, padding=(0, 1), header_style="dim")
    for row in rows:
        grid.add_row(*map(escape, row), style=COLOURS.get(row[0]) if row[0] != "✓" else None)
    console.print(*[grid] * bool(rows), *map(escape, outcome.foot), sep="\n")
