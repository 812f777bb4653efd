"""`jaxmlp evaluate`: a trained network on the test part of a data set."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from jaxmlp.cli.common import load_data
from jaxmlp.evaluation import evaluate
from jaxmlp.runs import load_run


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a trained network on the test part of a data set.

    Attributes:
        run_folder: a folder that `jaxmlp train` made.
        data: as for train; by default the data that the network was trained on.
    """

    run_folder: tyro.conf.Positional[Path]
    data: str | None = None

    def run(self) -> None:
        """Load, evaluate, print."""
        run = load_run(self.run_folder)
        source = self.data or run.data
        dataset = load_data(source, run.config.data_seed)
        shapes = dataset.n_in, dataset.n_out
        trained = run.params[0].weight.shape[0], run.params[-1].weight.shape[1]
        if shapes != trained:
            raise ValueError(
                f"{self.run_folder} is a network of {trained[0]} inputs and {trained[1]} classes, "
                f"but {source} has {shapes[0]} inputs and {shapes[1]} classes: give --data of the "
                "same kind"
            )
        if run.epoch is not None:
            print(f"not finished: the parameters of epoch {run.epoch} of {run.config.epochs}")
        test = evaluate(run.params, dataset, dataset.test, run.config.activation)
        wrong = round((1 - test.accuracy) * len(test.labels))
        print(f"{wrong} of {len(test.labels):,} test examples of {source} are wrong")
        print(f"test loss {test.loss:.4f}")
        print(f"test accuracy {test.accuracy:.4f}")
