"""`jaxmlp sweep`: train every setting of a grid, and rank them."""

import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from jaxmlp import sweeps
from jaxmlp.cli.common import load_data
from jaxmlp.cli.train import Numbers
from jaxmlp.runs import write_bytes, write_text
from jaxmlp.settings import Config, Hyperparams, check_integer
from jaxmlp.sweeps.choosing import last_accuracies
from jaxmlp.sweeps.plan import Plan, make_plan
from jaxmlp.sweeps.space import SEED, make_space
from jaxmlp.sweeps.syntax import EXAMPLES, parse_space

SANE = 10_000  # trials, beyond which --yes is wanted
SHOWN = 10  # settings of the ranked table


@dataclass(frozen=True)
class Sweep:
    """Train every setting of a grid together, rank them, and write the table.

    For instance: jaxmlp sweep --set learning_rate=1e-3:1e-1:5:log hidden=32,64,128-64 seed=0:4

    Attributes:
        set: fields with their values: `a,b,c`; `first:last:number` or `first:last:number:log`
            for evenly spaced numbers; `first:end` for integers, the end left out.
        data: digits, mnist, a folder with MNIST's four IDX files, or an .npz file.
        out: a folder for the table (table.nc, table.csv) and for finished chunks; the same command
            goes on where it was stopped.
        seed: of the initial weights and the augmentation, if it is not swept.
        dry_run: show the plan only.
        yes: train even a very large grid.
    """

    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FIELD=VALUES")]
    data: str = "digits"
    out: Path = Path("runs/sweep")
    seed: int = 0
    dry_run: bool = False
    yes: bool = False
    config: Config = field(default_factory=Config)
    numbers: Annotated[Any, tyro.conf.arg(name="")] = field(default_factory=Numbers)

    def run(self) -> None:
        """Plan, train, rank, save."""
        if not self.set:
            raise ValueError(f"nothing is swept: give --set, such as {EXAMPLES}")
        check_integer("seed", self.seed)
        space, hyper = parse_space(self.set), Hyperparams(**vars(self.numbers))
        count = math.prod(map(len, space.values()))
        if count > SANE and not self.yes:
            raise ValueError(f"{count:,} trials are many: add --yes if they are meant")
        dataset = load_data(self.data, self.config.data_seed)
        found = make_space(space, self.config, hyper, seed=self.seed)
        plan = make_plan(found, dataset)
        for line in _plan_lines(plan):
            print(line)
        if self.dry_run:
            return
        console = Console(file=sys.stdout)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:.0f} %"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("compiling", total=1.0)
            table = sweeps.sweep(
                space,
                dataset,
                config=self.config,
                hyper=hyper,
                seed=self.seed,
                out=self.out,
                on_progress=lambda p: bar.update(
                    task, completed=p.share, description=f"{p.finished}/{p.trials} trials"
                ),
            )
        write_bytes(self.out / "table.nc", bytes(table.to_netcdf()))
        write_text(self.out / "table.csv", table.to_dataframe().to_csv())
        console.print(_ranked(table))
        print(f"table written to {self.out}: table.nc, table.csv")
        print(f"best: {sweeps.best(table)}")


def _plan_lines(plan: Plan) -> list[str]:
    trials, buckets = len(plan.space.trials), plan.buckets
    split = f", split by {', '.join(plan.split_by)}" if plan.split_by else ""
    padding = f", {plan.padding:.0%} of it padding" if plan.padded else ""
    lines = [
        f"trials      {trials:,}, in {len(buckets)} program{'s' * (len(buckets) > 1)}{split}",
        f"work        {plan.work:.1e} multiplications{padding}",
    ]
    for bucket in buckets:
        widths = "-".join(map(str, bucket.config.hidden)) or "no hidden layer"
        lines.append(
            f"  {len(bucket.trials):,} × {widths}, {bucket.bytes_each / 2**20:.1f} MiB each, "
            f"{bucket.at_once:,} at once"
        )
    return lines


def _ranked(table: Any) -> Table:
    """The best settings, with the mean and the deviation over the seeds."""
    accuracy = table.diverged.copy(data=last_accuracies(table))
    mean = accuracy.mean(SEED) if SEED in accuracy.dims else accuracy
    spread = accuracy.std(SEED, ddof=1) if SEED in accuracy.dims else None
    order = mean.stack(setting=[...]) if mean.dims else mean.expand_dims("setting")
    order = order.sortby(-order)
    grid = Table(*map(str, mean.dims), "validation accuracy", box=None, header_style="dim")
    for place in range(min(SHOWN, order.size)):
        row = order[place]
        names = {name: row[name].item() for name in mean.dims}
        deviation = "" if spread is None else f" ± {float(spread.sel(names)):.4f}"
        grid.add_row(*map(str, names.values()), f"{float(row):.4f}{deviation}")
    return grid
