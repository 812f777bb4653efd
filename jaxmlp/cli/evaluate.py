"""`jaxmlp evaluate`: a trained network on the test part of a data set."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from jaxmlp.cli import printable
from jaxmlp.cli.common import DataOptions, load_data, options_of, table_for, trained
from jaxmlp.data import fingerprint
from jaxmlp.data.splitting import Fitted
from jaxmlp.data.table_files import is_table
from jaxmlp.data.tables import listed
from jaxmlp.evaluation import evaluate
from jaxmlp.runs import Run
from jaxmlp.settings import spoken


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a trained network on the test part of a data set.

    Attributes:
        run_folder: a folder that `jaxmlp train` made.
        data: as for train; by default the data that the network was trained on. All rows of a
            table are taken for testing.
    """

    run_folder: tyro.conf.Positional[Path]
    data: str | None = None

    def run(self) -> None:
        """Load, evaluate, print."""
        run = trained(self.run_folder)
        source = self.data or run.data
        shown = printable(source)
        if self.data:
            _check_kind(self.run_folder, run, self.data)
        if self.data and run.schema:
            dataset = table_for(run, Path(source))
        else:
            options = DataOptions() if self.data else options_of(run)
            fitted = Fitted(run.preprocessing, run.classes, run.schema, run.targets)
            config = run.config
            try:
                dataset = load_data(source, config.data_seed, options, fitted, config.loss)
            except ValueError as error:
                raise ValueError(f"{error}{'' if self.data else _where(run, options)}") from error
            if not self.data and run.fingerprint != fingerprint(dataset):
                files = " or ".join(
                    map(printable, filter(None, (source, options.test, options.validation)))
                )
                raise ValueError(
                    f"{files} has changed since the network was trained: give it by --data"
                )
            shown = printable(options.test or source)
        shapes = dataset.n_in, dataset.n_out
        sizes = run.params[0].weight.shape[0], run.params[-1].weight.shape[1]
        if shapes != sizes:
            raise ValueError(
                f"{self.run_folder} is a network of {sizes[0]} inputs and {sizes[1]} outputs, "
                f"but {shown} has {shapes[0]} inputs and {shapes[1]} outputs: give --data of the "
                "same kind"
            )
        test = evaluate(run.params, dataset, dataset.test, run.config)
        if run.config.measured == "accuracy":
            wrong = round((1 - test.score) * len(test.labels))
            print(f"{wrong} of {len(test.labels):,} test examples of {shown} are wrong")
        print(f"test loss {test.loss:.4f}")
        print(f"test {spoken(run.config.measured)} {test.score:.4f}")


def _where(run: Run, options: DataOptions) -> str:
    """What to say of data that are named from another folder than this, if they may be."""
    for source in filter(None, (run.data, options.test, options.validation)):
        path = Path(source)
        here = path.is_absolute() or path.exists() or [*path.parent.glob(f"{path.name}-*")]
        if not here and source not in ("digits", "mnist"):
            return (
                f"; {source} is a path from the folder in which the network was trained: run the "
                "command there, or say where the data are by --data"
            )
    return ""


def _check_kind(folder: Path, run: Run, source: str) -> None:
    """Raise ValueError if one of a run and a source of data is of a table and the other is not."""
    table = is_table(Path(source))
    if run.schema and not table:
        targets = listed(run.schema.targets)
        raise ValueError(
            f"{folder} was trained on a table with the target {targets}, but --data is {source!r}: "
            "give a CSV or Parquet file"
        )
    if table and not run.schema:
        raise ValueError(f"{folder} was trained on no table, but {source} is one")
