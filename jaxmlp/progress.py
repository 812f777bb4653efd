"""Progress of a training run, in a terminal, in a notebook, and in a file."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from jaxmlp.results import Metrics
from jaxmlp.settings import Config, spoken


@contextmanager
def show_progress(config: Config) -> Iterator[Callable[[int, Metrics], None]]:
    """A progress bar in a terminal and in a notebook, a line an epoch elsewhere.

    It gives what `train` takes as `on_epoch`:

        with show_progress(config) as on_epoch:
            result = jaxmlp.train(key, hyper, dataset, config=config, on_epoch=on_epoch)

    A notebook without ipywidgets, which rich draws the bar with, gets the lines.

    Args:
        config: that of the run.
    """
    numbers = f"loss {{:.4f}} train {{:.4f}} validation  {spoken(config.measured)} {{:.4f}}"
    epochs = config.epochs
    console = Console(file=sys.stdout)
    drawn = console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
    columns = (
        TextColumn("epoch {task.completed}/{task.total}"),
        BarColumn(bar_width=8),  # what 80 columns leave
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not drawn) as bar:
        task = bar.add_task("compiling", total=epochs)

        def on_epoch(epoch: int, metrics: Metrics) -> None:
            line = numbers.format(*map(float, metrics))
            bar.update(task, completed=epoch, description=line)
            if not drawn:
                print(f"epoch {epoch}/{epochs}  {line}", flush=True)

        try:
            yield on_epoch
        finally:
            if console.is_jupyter:
                bar.refresh()  # rich does it in a terminal only
