"""`jaxmlp sweep`: train every setting of a grid, and rank them."""

import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from jaxmlp import sweeps
from jaxmlp.bounds import check_integer
from jaxmlp.cli import fail, interrupted, printable, say
from jaxmlp.cli.common import DataOptions, default_config, load_data, stoppable
from jaxmlp.cli.describing import lines_about
from jaxmlp.cli.train import Numbers
from jaxmlp.data import Dataset
from jaxmlp.evaluation import evaluate
from jaxmlp.files import write_bytes, write_text
from jaxmlp.importing import import_file
from jaxmlp.results import Metrics, metric_names
from jaxmlp.runs import BEST, describe, finish
from jaxmlp.settings import Config, Hyperparams
from jaxmlp.sweeps import processes
from jaxmlp.sweeps.choosing import NO_BEST, figured, shown
from jaxmlp.sweeps.networks import NetworkTraining
from jaxmlp.sweeps.plan import Plan, free_memory, make_plan
from jaxmlp.sweeps.ranking import Row, figure, rows_of, varied
from jaxmlp.sweeps.run import Training
from jaxmlp.sweeps.space import REPEATS, SETTING, TRIAL, Draw, Space, make_space
from jaxmlp.sweeps.syntax import EXAMPLES, parse_space
from jaxmlp.sweeps.task_training import task_space

SANE = 10_000  # trials, beyond which --yes is wanted
SHOWN = 10  # settings of the ranked table
TOLD = 0.1  # of the work, after which there is a line where no bar can be shown


@dataclass(frozen=True)
class Sweep:
    """Train every setting of a grid together, rank them, and write table, pictures and report.

    A grid, 4 seeds each: --set learning_rate=1e-3:1e-1:5:log hidden=32,64,128-64 seed=0:4

    Random draws: --set learning_rate=loguniform:1e-4:1 batch_size=choice:32,128 --trials 50

    Fields in step: --setting optimizer=sgd learning_rate=0.1 --setting optimizer=adam

    A training of your own: jaxmlp sweep mine.py:task --set rate=0.01,0.1 --objective held_out

    Attributes:
        training: FILE.py:NAME of a jaxmlp.sweeps.Task, or of a function (key, hyper) -> metrics, to
            sweep instead of our networks. `hyper` in the file gives the fields that are not swept;
            of all other flags for networks only --epochs counts.
        set: fields with their values: `a,b,c`; `first:last:number` or `first:last:number:log`
            for evenly spaced numbers; `first:end` for integers, the end left out;
            `uniform:low:high`, `loguniform:low:high` or `choice:a,b,c` to draw --trials times.
            May be repeated. Sweeping data_seed changes the order of the examples alone, while
            --data-seed also decides which of them are for validation.
        setting: fields that are set together, with one value each, and maybe a name=…; repeated
            for every such setting.
        data: digits, mnist, a folder with MNIST's four IDX files or those of Fashion-MNIST,
            EMNIST, QMNIST, KMNIST or K49, an .npz file, or a table, FILE.csv, .tsv or .parquet.
        out: a folder for the results (table.nc, table.csv, report.html, PNGs) and for what is
            done; the same command goes on where it was stopped.
        seed: of the initial weights and the augmentation, if it is not swept.
        trials: how many random draws.
        draw_seed: of the random draws.
        objective: of a task, the metric by which a setting is the best.
        mode: whether the least or the most of it is.
        halving: η of successive halving: after every rung only the best 1/η of the settings go on.
        keep: whose parameters the table holds.
        at_once: how many trials to train at once at the most, if not as many as fit in memory,
            or in the cache of a CPU.
        dry_run: show the plan only.
        yes: train even a very large grid.
        devices: into how many devices JAX divides the CPU; by default one for each core.
        coordinator: HOST:PORT of process 0, if several processes, on any machines, run one sweep.
            Start each with the same command, but for --process.
        processes: how many there are.
        process: which of them this is, from 0.
        distributed: the same, but all of it as SLURM or a cloud's machines tell JAX.
    """

    training: Annotated[
        str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[FILE.py:TASK]")
    ] = None
    set: Annotated[
        tuple[tuple[str, ...], ...],
        tyro.conf.arg(metavar="FIELD=VALUES"),
        tyro.conf.UseAppendAction,
    ] = ()
    setting: Annotated[
        tuple[tuple[str, ...], ...],
        tyro.conf.arg(metavar="FIELD=VALUE"),
        tyro.conf.UseAppendAction,
    ] = ()
    data: str = "digits"
    out: Path = Path("runs/sweep")
    seed: int = 0
    trials: int | None = None
    draw_seed: int = 0
    objective: str | None = None
    mode: Literal["min", "max"] = "min"
    halving: int | None = None
    keep: Literal["best", "all"] = "best"
    at_once: int | None = None
    dry_run: bool = False
    yes: bool = False
    devices: int | None = None
    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None
    distributed: bool = False
    options: DataOptions = field(default_factory=DataOptions)
    config: Config = field(default_factory=Config)
    numbers: Annotated[Any, tyro.conf.arg(name="")] = field(default_factory=Numbers)

    def run(self) -> None:
        """Plan, train, rank, save."""
        space = self._space()
        self._divide_cpu()
        told = (self.coordinator, self.processes, self.process)
        if self.distributed or any(each is not None for each in told):
            processes.start(self.coordinator, self.processes, self.process)
        with _last_words(), warnings.catch_warnings():
            warnings.showwarning = _warn
            warnings.simplefilter("always", UserWarning)
            self._sweep(space)

    def _space(self) -> dict[str, list[Any] | Draw]:
        """The space, as far as it can be judged without data."""
        if not any((*self.set, *self.setting)):
            raise ValueError(f"nothing is swept: give --set with values, such as {EXAMPLES}")
        check_integer("seed", self.seed)
        for name in ("trials", "at_once", "devices", "processes"):
            if (value := getattr(self, name)) is not None:
                check_integer(name, value, least=1)
        task = self.training is not None
        texts = [text for some in self.set for text in some]
        space = parse_space(texts, self.setting, task=task)
        self._check_flags(space)
        if task:
            self._check_for_task()
        elif self.objective or self.mode != "min":
            raise ValueError("objective and mode are for tasks: for networks, give --metric")
        lists = [values for values in space.values() if not isinstance(values, Draw)]
        count = math.prod(map(len, lists)) * (self.trials or 1)
        if count > SANE and not self.yes:
            raise ValueError(f"{count:,} trials are many: add --yes if they are meant")
        return space

    def _check_flags(self, space: dict[str, list[Any] | Draw]) -> None:
        """Raise ValueError if a flag would be ignored."""
        plain, drawn = type(self)(), any(isinstance(values, Draw) for values in space.values())
        config = default_config(self.data)
        pairs = (self, plain), (self.config, config), (self.numbers, plain.numbers)
        for part, default in pairs:
            for name in {*space}.intersection(vars(part)) - {SETTING}:
                if (value := getattr(part, name)) != getattr(default, name):
                    flag = f"--{name.replace('_', '-')} {value}"
                    raise ValueError(f"{name} is swept by --set: leave out {flag}")
        if self.draw_seed and not drawn:
            raise ValueError(f"draw_seed is {self.draw_seed}, but nothing is drawn: leave it out")

    def _check_for_task(self) -> None:
        """Raise ValueError if a flag for networks is given."""
        config = replace(self.config, epochs=default_config(self.data).epochs)
        pairs = (
            (vars(self.options), vars(DataOptions())),
            (vars(config), vars(default_config(self.data))),
            (vars(self.numbers), vars(Numbers())),
            ({"data": self.data}, {"data": "digits"}),
        )
        for given, default in pairs:
            for name, value in given.items():
                if value != default[name]:
                    raise ValueError(
                        f"{name} is {value!r}, which is for networks: {self.training} has fields "
                        "of its own, which --set gives"
                    )

    def _divide_cpu(self) -> None:
        """One device a core: that is faster than one that spreads every product over all cores."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        try:
            jax.config.update("jax_num_cpu_devices", self.devices or cores or 1)
        except RuntimeError as error:  # JAX is at work already in this process
            if self.devices not in (None, jax.local_device_count()):
                reason = f"JAX runs on {jax.local_device_count()} already"
                raise ValueError(f"devices is {self.devices}: {reason}") from error

    def _of_networks(self, space: dict[str, list[Any] | Draw]) -> "_Swept":
        """Networks on a data set."""
        hyper, config = Hyperparams(**vars(self.numbers)), self.config
        dataset = load_data(self.data, config.data_seed, self.options, loss=config.loss)
        drawn = {"seed": self.seed, "trials": self.trials, "draw_seed": self.draw_seed}
        found = make_space(space, config, hyper, **drawn)
        told = {"config": config, "hyper": hyper, **drawn}
        return _Swept(dataset, told, found, NetworkTraining(dataset), lines_about(dataset))

    def _of_task(self, space: dict[str, list[Any] | Draw], target: str) -> "_Swept":
        """Somebody's own training."""
        path, _, name = target.partition(".py:")
        if not name or not Path(f"{path}.py").is_file():
            raise ValueError(f"{target}: give FILE.py:NAME of a Task, or of a function")
        module = import_file(Path(f"{path}.py"))
        task, hyper = getattr(module, name, None), getattr(module, "hyper", None)
        if not (isinstance(task, sweeps.Task) or callable(task)):
            what = (
                f"{target} is a {type(task).__name__}"
                if hasattr(module, name)
                else (f"{path}.py has no {name}")
            )
            raise ValueError(f"{what}: give a jaxmlp.sweeps.Task, or a function")
        given = isinstance(task, sweeps.Task) or self.config.epochs != Config().epochs
        epochs = self.config.epochs if given else None
        told = {"hyper": hyper, "seed": self.seed, "epochs": epochs, "mode": self.mode}
        told |= {"objective": self.objective}
        drawn = {"trials": self.trials, "draw_seed": self.draw_seed}
        found, training = task_space(space, task, **told, **drawn)
        why = training.reading.untraced.items()
        lines = [f"not traced  {field}: {reason}" for field, reason in why]
        return _Swept(task, told | drawn, found, training, lines)

    def _sweep(self, space: dict[str, list[Any] | Draw]) -> None:
        first = processes.is_first()
        swept = self._of_task(space, self.training) if self.training else self._of_networks(space)
        plan = make_plan(
            swept.space, swept.training, self.at_once,
            halving=self.halving, memory=processes.smallest(free_memory()),
        )  # fmt: skip
        if first:
            print("\n".join([*swept.lines, *_plan_lines(plan, swept.training)]), flush=True)
        if self.dry_run:
            return
        # several processes would wait for the one that stops: Ctrl-C ends them at once
        stopping = nullcontext(lambda: False) if jax.process_count() > 1 else stoppable()
        try:
            with stopping as asked, _progress(Console(file=sys.stdout), quiet=not first) as show:

                def on_progress(now: sweeps.Progress) -> None:
                    show(now)
                    if asked() and now.finished < now.trials:
                        raise KeyboardInterrupt

                table = sweeps.sweep(
                    space,
                    swept.trained,
                    **swept.told,
                    out=self.out,
                    at_once=self.at_once,
                    keep=self.keep,
                    halving=self.halving,
                    on_progress=on_progress,
                )
            if first:
                self._write(table, swept.trained)
        except KeyboardInterrupt:
            kept = f"what is done is in {self.out}: the same command goes on from there"
            raise KeyboardInterrupt(kept) from None

    def _write(self, table: Any, trained: Any) -> None:
        """Rank, and write everything."""
        from jaxmlp.plots import png  # Matplotlib and Plotly take a while
        from jaxmlp.sweeps.pictures import pictures
        from jaxmlp.sweeps.report import report

        write_bytes(self.out / "table.nc", bytes(table.to_netcdf()))
        write_text(self.out / "table.csv", table.to_dataframe().to_csv())
        rows = rows_of(table)
        Console(file=sys.stdout).print(_ranked(rows))
        wild = int((table.diverged > 0).sum())
        if wild:
            print(f"{wild} of {table.diverged.size} trials diverged: see `diverged` in the table")
        found = None
        if math.isfinite(rows[0].score):
            found = sweeps.best(table, None if self.training else trained)
        names = " × ".join(str(name).replace("_", " ") for name in table.diverged.dims)
        of = f"of {self.training}" if self.training else f"on {Path(self.data).name}"
        title = f"{names} {printable(of)}"
        write_text(self.out / "report.html", report(table, title, found))
        drawn = {f"{name}.png": picture for name, picture in pictures(table)}
        for name, picture in drawn.items():
            write_bytes(self.out / name, png(picture))
        if found and not self.training:
            self._write_best(table, found, trained)
        best = [f"{BEST}/"] * bool(found and not self.training)
        names = ", ".join(["report.html", *drawn, "table.nc, table.csv", *best])
        print(f"written to {printable(str(self.out))}: {names}")
        print(f"best: {found}" if found else NO_BEST)
        if found and found.tested:
            print(found.tested)

    def _write_best(self, table: Any, found: sweeps.Best, dataset: Dataset) -> None:
        """The best setting's network of the first seed as a run, for evaluate, predict, export."""
        point = found.setting | {
            name: table[name].values[0].item() for name in REPEATS if name in table.dims
        }
        row, folder = table.sel(point), self.out / BEST
        config = replace(found.trial.config, data_seed=self.config.data_seed)  # that of the parts
        hyper, seed = found.trial.hyper, found.trial.seed
        record = describe(config, hyper, seed, self.data, dataset, asdict(self.options))
        params, epochs = sweeps.params_at(table, point), int(row.trained)
        metrics = Metrics(*(row[name].values[:epochs] for name in metric_names(config)))
        test = evaluate(params, dataset, dataset.test, config)
        loss = test.loss if math.isfinite(test.loss) else None
        folder.mkdir(exist_ok=True)
        result = {f"test_{config.measured}": test.score, "test_loss": loss}
        finish(folder, record, params, metrics, result)


class _Swept(NamedTuple):
    """What is swept.

    Attributes:
        trained: the data set or the task.
        told: what `sweep` is told of it.
        space: the trials.
        training: how they are trained.
        lines: what the plan begins with.
    """

    trained: Any
    told: dict[str, Any]
    space: Space
    training: Training
    lines: Sequence[str]


@contextmanager
def _last_words() -> Iterator[None]:
    """One of several processes that cannot go on says why, and does not wait for the others."""
    try:
        yield
    except (ValueError, OSError, processes.LostProcessError) as error:
        if jax.process_count() == 1:
            raise
        os._exit(fail(str(error)))
    except KeyboardInterrupt as interrupt:
        if jax.process_count() == 1:
            raise
        os._exit(interrupted(interrupt))


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as one line."""
    say(f"warning: {message}")


@contextmanager
def _progress(console: Console, quiet: bool) -> Iterator[Callable[[sweeps.Progress], None]]:
    """A bar with the time that is left; where there is no terminal, a line now and then."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(),
    )
    live = console.is_terminal and not quiet
    started, told = time.perf_counter(), TOLD
    with Progress(*columns, console=console, disable=not live) as bar:
        task = bar.add_task("compiling", total=1.0)

        def on_progress(now: sweeps.Progress) -> None:
            nonlocal told
            done = f"{now.finished}/{now.trials} trials"
            bar.update(task, completed=now.share, description=done)
            if not (live or quiet) and now.share >= told:
                told = now.share + TOLD
                left = (time.perf_counter() - started) * (1 / now.share - 1)
                print(f"{now.share:.0%} done, {left:.0f} s left", flush=True)

        yield on_progress


def _plan_lines(plan: Plan, training: Training) -> list[str]:
    buckets, trials = plan.buckets, len(plan.space.trials)
    swept: dict[str, set[str]] = {}
    for setting in (each for axis in plan.space.axes for each in axis.settings):
        for name, value in setting.items():
            swept.setdefault(name, set()).add(repr(value))
    inside = [name for name, values in swept.items() if len(values) > 1]
    inside = [name for name in inside if name not in plan.split_by]
    padding = f", {plan.padding:.0%} of it padding" if plan.padded else ""
    count = len(buckets) * len(plan.rungs)
    lines = [
        f"trials      {trials:,}",
        f"programs    {'up to ' * (len(plan.rungs) > 1)}{count}, "
        f"inside: {', '.join(inside) or 'nothing'}"
        + f"; split by: {', '.join(plan.split_by)}"
        * bool(plan.split_by),
    ]
    if isinstance(training, NetworkTraining):
        lines.append(f"work        {plan.work:.1e} multiplications{padding}")
    if len(plan.rungs) > 1:
        stages = (f"{rung.settings} to epoch {rung.last}" for rung in plan.rungs)
        lines.append(
            f"halving     settings: {', '.join(stages)}; {plan.saved:.0%} of the work saved"
        )
    elif plan.halving:
        lines.append("halving     none: there are too few settings or epochs to stop any")
    for bucket in buckets:
        fields, names = training.fields_of(bucket.config), list(plan.split_by)
        what = []
        if isinstance(training, NetworkTraining):
            own = {plan.space.trials[trial].config.hidden for trial in bucket.trials}
            widths = "-".join(map(str, bucket.config.hidden)) or "no hidden layer"
            what = [f"{'up to ' * (len(own) > 1)}{widths}"]
            names = [name for name in names if name != "hidden"]
        what += [f"{name} {fields[name]}" for name in names]
        lines.append(
            f"  {len(bucket.trials):,} × {', '.join(what) or 'one program'}, "
            f"{bucket.bytes_each / 2**20:.2g} MiB each, "
            f"{bucket.at_once:,} at once on {jax.device_count()} "
            f"device{'s' * (jax.device_count() > 1)}"
        )
    return lines


def _ranked(rows: list[Row]) -> Table:
    """The best settings, with the mean and the deviation over the seeds."""
    names = [name for name in varied(rows) if name != TRIAL]
    grid = Table("", *names, rows[0].objective.spoken, box=None, header_style="dim")
    for rank, row in enumerate(rows[:SHOWN], start=1):
        deviation = "" if math.isnan(row.deviation) else f" ± {figured(row.deviation)}"
        score = f"{figured(figure(row, row.score))}{deviation}"
        if row.diverged:
            of = f"{row.diverged} of {row.seeds} seeds " if row.seeds > 1 else ""
            score = f"{of}diverged, in epoch {row.wild}"
        elif math.isnan(row.score):
            score = f"stopped after epoch {row.trained}"
        grid.add_row(str(rank), *(escape(shown(row.names[name])) for name in names), score)
    if len(rows) > SHOWN:
        grid.caption = f"and {len(rows) - SHOWN:,} more, in the report"
    return grid
