"""`jaxmlp predict`: what a trained network says of pictures, or of the rows of a table."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import tyro

from jaxmlp.cli import printable
from jaxmlp.cli.common import trained
from jaxmlp.data.preprocessing import undone
from jaxmlp.data.table_files import ENDINGS, is_table, read_table
from jaxmlp.data.tables import numbers_of
from jaxmlp.files import check_writable, write_text
from jaxmlp.images import read_image
from jaxmlp.losses import get_loss
from jaxmlp.network import forward
from jaxmlp.runs import Run


@dataclass(frozen=True)
class Predict:
    """Say what a trained network predicts for pictures of any size, or for the rows of a table.

    Attributes:
        run_folder: a folder that `jaxmlp train` made.
        files: PNG files or .npy arrays: pictures of the training images' size, or of another; ink
            on paper may be dark on light or the reverse; or one table, FILE.csv, .tsv or .parquet,
            with the columns of the training examples.
        out: of a table: the CSV file to write, with class and probabilities, or the
            predicted numbers; by default printed.
    """

    run_folder: tyro.conf.Positional[Path]
    files: tyro.conf.Positional[tuple[Path, ...]]
    out: Path | None = None

    def run(self) -> None:
        """Print a line for each picture, or write a table."""
        if not self.files:
            raise ValueError("no file given: name at least one PNG or .npy file, or a table")
        first, *others = [*self.files]
        tables = [path for path in self.files if is_table(path)]
        if tables and others:
            raise ValueError(f"{tables[0]} is a table: give it alone")
        if self.out and not tables:
            raise ValueError(
                f"--out is {self.out}, but only what is said of a table can be written, and "
                f"{first} is none: tables are {', '.join(ENDINGS)} files, not packed"
            )
        run = trained(self.run_folder, to_stdout=not tables)
        if tables:
            self._table(run, tables[0])
            return
        if run.schema:
            raise ValueError(
                f"{self.run_folder} was trained on a table, and {first} is none: give a "
                f"file ending in {', '.join(ENDINGS)}, not packed"
            )
        seen = [read_image(path, run.framing, run.preprocessing) for path in self.files]
        named = [
            (f"{path}[{number}]" if len(each.inputs) > 1 else f"{path}", each.how)
            for path, each in zip(self.files, seen, strict=True)
            for number in range(len(each.inputs))
        ]
        rows = _predictions(run, np.concatenate([each.inputs for each in seen]))
        for (name, how), row in zip(named, rows, strict=True):
            print(f"{printable(name)}: {_said(run, row)} ({how})")

    def _table(self, run: Run, path: Path) -> None:
        """Write a CSV with a line for each row: the class, and the probability of each class.

        Of several labels at once, the probability of each; of real targets, the numbers.
        """
        if not run.schema:
            raise ValueError(f"{self.run_folder} was trained on no table, but {path} is one")
        if self.out:
            inside = self.out.resolve().is_relative_to(self.run_folder.resolve())
            if inside or self.out.resolve() == path.resolve():
                raise ValueError(f"--out is {self.out}, which is read here: give another file")
            check_writable(self.out)
        frame = read_table(path)
        rows = _predictions(run, run.preprocessing(numbers_of(frame, path, run.schema)))
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        classes = run.config.loss == "softmax"
        what = "" if run.config.loss == "squared" else "probability of "
        writer.writerow([*["class"] * classes, *(f"{what}{name}" for name in run.classes)])
        writer.writerows(
            [*[run.classes[row.argmax()]] * classes, *(_written(value, run) for value in row)]
            for row in rows
        )
        if self.out:
            write_text(self.out, text.getvalue())
        else:
            print(text.getvalue(), end="")


def _said(run: Run, row: np.ndarray) -> str:
    """The class of a picture, how sure, and the runner-up; or the figures for every output."""
    names = [printable(name) for name in run.classes]
    if run.config.loss != "softmax":
        figures = zip(names, row, strict=True)
        return ", ".join(f"{name} {_written(value, run)}" for name, value in figures)
    first, *others = np.argsort(row)[::-1]
    text = f"{names[first]} with probability {row[first]:.3f}"
    if others:
        text += f", then {names[others[0]]} with {row[others[0]]:.3f}"
    return text


def _written(value: float, run: Run) -> str:
    """A probability, or a number in the targets' units, which may be large and differ little."""
    return f"{value:.12g}" if run.config.loss == "squared" else f"{value:.6g}"


def _predictions(run: Run, inputs: np.ndarray) -> np.ndarray:
    """Probabilities, or real targets as they were given, of shape (n, n_out)."""
    logits = forward(run.params, jnp.asarray(inputs), activation=run.config.activation)
    return undone(run.targets, np.asarray(get_loss(run.config.loss).predicted(logits)))
