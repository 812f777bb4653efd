"""`sweep`: train every trial of a space, and return one labelled table."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxmlp.data import Dataset
from jaxmlp.settings import Config, Hyperparams
from jaxmlp.sweeps.plan import Plan, make_plan, multiplications
from jaxmlp.sweeps.run import Chunk, train_together
from jaxmlp.sweeps.space import Space, make_space
from jaxmlp.sweeps.table import check_installed, make_table


class Progress(NamedTuple):
    """How far a sweep is.

    Attributes:
        share: of the whole work that is done.
        finished: trials that are finished.
        trials: all of them.
    """

    share: float
    finished: int
    trials: int


def sweep(
    space: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    dataset: Dataset,
    *,
    config: Config | None = None,
    hyper: Hyperparams | None = None,
    seed: int = 0,
    trials: int | None = None,
    draw_seed: int = 0,
    out: str | Path | None = None,
    at_once: int | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Any:
    """Train every setting of a space.

    Trials that differ in numbers only are trained together in one compiled program, and see the
    same minibatches in the same order; so are networks of different widths, padded with zeros,
    where that costs less than another compilation.

    Args:
        space: what to sweep: names of fields of `Config` and `Hyperparams`, or `seed`, each with
            a list of values, which make a grid, such as
            {"learning_rate": [0.001, 0.01], "hidden": [(32,), (64,)], "seed": range(8)}; or
            with `uniform`, `loguniform` or `choice`, which are drawn `trials` times; or
            `setting` with a list of dicts, which set several fields together.
        dataset: the training and validation parts are used, the test part is not.
        config, hyper, seed: what is not swept. Sweeping `data_seed` gives each trial an order of
            its own; the validation part is the data set's, whatever the seed.
        trials, draw_seed: of the fields that are drawn at random.
        out: a folder for finished chunks; a sweep that was stopped goes on from there.
        at_once: how many trials to train at once at the most; by default, what fits in memory.
        on_progress: called after every epoch.

    Returns:
        An `xarray.Dataset`: one dimension per swept name, in the order given, then epoch;
        variables train_loss, validation_loss, validation_accuracy and diverged, which is the
        epoch in which a trial's loss became NaN or infinite, or 0.

    Raises:
        ValueError: if the space or a setting is unsound, or `out` holds another sweep.
        ModuleNotFoundError: if xarray is not installed.
    """
    check_installed()
    found = make_space(
        space, config or Config(), hyper, seed=seed, trials=trials, draw_seed=draw_seed
    )
    plan = make_plan(found, dataset, at_once)
    chunks = _folder(Path(out), found, dataset) if out is not None else None
    finished = list(chunks.load()) if chunks else []
    for chunk in _remaining(plan, finished, dataset, on_progress):
        if chunks:
            chunks.save(chunk)
        finished.append(chunk)
    return make_table(found, finished)


def _folder(path: Path, space: Space, dataset: Dataset) -> Any:
    """The folder for finished chunks; its format needs a package that is imported only here."""
    from jaxmlp.sweeps.chunks import Chunks, record_of

    return Chunks(path, record_of(space, dataset))


def _remaining(
    plan: Plan,
    finished: Sequence[Chunk],
    dataset: Dataset,
    on_progress: Callable[[Progress], None],
) -> Iterator[Chunk]:
    """Train what is not finished, chunk by chunk; a chunk for which memory is short, by halves."""
    trials = plan.space.trials
    done = {number for chunk in finished for number in chunk.trials}
    work = 0.0
    for bucket in plan.buckets:
        each = multiplications(bucket.config, dataset)
        todo = [number for number in bucket.trials if number not in done]
        work += each * (len(bucket.trials) - len(todo))
        size = bucket.at_once
        while todo:
            some = tuple(todo[:size])
            share = each * len(some) / bucket.config.epochs
            on_epoch = functools.partial(
                _tell, on_progress, work / plan.work, share / plan.work, len(done), len(trials)
            )
            try:
                curves = train_together(
                    [trials[number] for number in some], bucket.config, dataset, on_epoch
                )
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error) or size == 1:
                    raise
                size = -(-size // 2)
                continue
            yield Chunk(some, curves.metrics)
            done.update(some)
            todo, work = todo[len(some) :], work + each * len(some)


def _tell(
    on_progress: Callable[[Progress], None],
    before: float,
    each: float,
    finished: int,
    trials: int,
    epoch: int,
) -> None:
    on_progress(Progress(before + each * epoch, finished, trials))
