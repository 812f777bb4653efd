"""The run folder: what `jaxmlp train` leaves behind, and what the other commands read."""

import csv
import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checkpoints import (
    check_epoch,
    check_written,
    checkpoints_in,
    decisive,
    params_of,
    remove_checkpoints,
    tensors,
)
from jaxmlp.data import Batch, Dataset, described_inputs, fingerprint, preprocessing, tables
from jaxmlp.data.preprocessing import Preprocessing
from jaxmlp.data.tables import Schema
from jaxmlp.files import (
    LOCK,
    check_owned,
    environment,
    explained,
    keep_record,
    locked,
    read_json,
    read_tensors,
    remove_partial,
    restore_record,
    write_json,
    write_tensors,
    write_text,
)
from jaxmlp.ink import Framing, framing
from jaxmlp.network import check_network
from jaxmlp.params import Params
from jaxmlp.results import Metrics, metric_names
from jaxmlp.settings import Config, Hyperparams, check_hyperparams

SETTINGS = "config.json"
PARAMETERS = "params.safetensors"
BEST = "best"  # in the folder of a sweep, the run of its best network
LARGEST = 2**31  # of the numbers that say how images are framed
LONGEST = 4096  # pixels in an image's height or width
AS_WRITTEN = "as `jaxmlp train` writes it"
FRAMED = 10_000  # training images that are enough to measure how they are framed


class Run(NamedTuple):
    """A run folder, read back and checked.

    Attributes:
        config, hyper, seed: what `train` was told.
        data: where the data came from, as `--data` takes it.
        options: how they were read: the other flags for data.
        fingerprint: of the data.
        preprocessing: what made inputs of raw numbers.
        classes: what the classes are called.
        schema: of the table that it was trained on, if it was.
        targets: what made the real targets that it was trained on, if they were standardised.
        framing: how the training images lie in their frame.
        params: the trained parameters.
        epoch: after which they are, if the run is not finished.
    """

    config: Config
    hyper: Hyperparams
    seed: int
    data: str
    options: dict[str, Any]
    fingerprint: str
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    schema: Schema | None
    targets: Preprocessing
    framing: Framing
    params: Params
    epoch: int | None


@contextmanager
def run_folder(path: Path, record: dict[str, Any], resume: bool) -> Iterator[Path]:
    """The folder of the run that `record` describes, for this process alone.

    A new one is removed again if nothing has been trained when it is left.

    Raises:
        ValueError: if there is one and it is not to be resumed, or it is in use, is no run folder
            or another run's, or cannot be written.
    """
    whole = Path(os.path.realpath(path))
    settings = whole / SETTINGS
    with explained(path):
        if os.path.lexists(whole) and not resume:
            raise ValueError(
                f"{path} exists already: choose another, remove it first, or go on with --resume"
            )
        made = [folder for folder in (whole, *whole.parents) if not folder.exists()]
    if resume and not made:
        restore_record(settings, record, decisive(record), checkpoints_in(whole).values())
    check_owned(path, settings, "run")
    try:
        with explained(path):
            whole.mkdir(parents=True, exist_ok=True)
        with locked(whole, "run"):
            remove_partial(whole)
            keep_record(settings, record, decisive(record), "run")
            try:
                yield path
            finally:
                with suppress(OSError):  # of a folder that is not to be touched any more
                    if made and not any(
                        each.endswith(".safetensors") for each in os.listdir(whole)
                    ):
                        settings.unlink(missing_ok=True)
                        (whole / LOCK).unlink(missing_ok=True)
    finally:
        for folder in made:  # those that hold nothing, because nothing came of it
            with suppress(OSError):
                folder.rmdir()


def describe(
    config: Config,
    hyper: Hyperparams,
    seed: int,
    data: str,
    dataset: Dataset,
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What config.json says of a run from its beginning on."""
    some = dataset.inputs(Batch(*(array[:FRAMED] for array in dataset.train)))
    brightness = dataset.preprocessing.brightness(np.asarray(some.x))
    if brightness is None:  # inputs are no pictures
        brightness = np.zeros((1, dataset.n_in), np.float32)
    return {
        "data": data,
        "options": options or {},
        **described_inputs(dataset),
        "fingerprint": fingerprint(dataset),
        "seed": seed,
        "config": asdict(config),
        "hyperparams": {name: float(value) for name, value in hyper._asdict().items()},
        "framing": framing(brightness, dataset.image_shape)._asdict(),
        **environment(),
    }


def finish(
    folder: Path, record: dict[str, Any], params: Params, metrics: Metrics, result: dict[str, Any]
) -> None:
    """Write params.safetensors, metrics.csv and at last config.json, with the result in it."""
    write_tensors(folder / PARAMETERS, decisive(record), tensors(params))
    table = io.StringIO(newline="")
    rows = csv.writer(table)
    rows.writerow(("epoch", *metric_names(Config(**_with_tuple(record["config"])))))
    columns = (np.asarray(values).tolist() for values in metrics)
    rows.writerows((epoch, *row) for epoch, row in enumerate(zip(*columns, strict=True), 1))
    write_text(folder / "metrics.csv", table.getvalue())
    write_json(folder / SETTINGS, record | {"result": result})
    remove_checkpoints(folder)


def score_of(folder: Path) -> float | None:
    """How a run that is finished does on the test part, by its metric.

    Raises:
        ValueError: if it is said to be finished, but its parameters are gone.
    """
    path = folder / SETTINGS
    found = read_json(path, AS_WRITTEN).get("result")
    if found is None:
        return None
    figures = found.values() if isinstance(found, dict) else ()
    score = next(iter(figures), None)
    if not isinstance(score, float):
        raise ValueError(f"{path} is not {AS_WRITTEN}: its result is {found!r}")
    if not (folder / PARAMETERS).exists():
        raise ValueError(f"{folder} is finished, but has no {PARAMETERS}: remove it, train again")
    remove_checkpoints(folder)  # if it was killed before it had done so
    return score


def load_run(folder: Path) -> Run:
    """Read a run folder, or of a sweep its best network's.

    Of a run that is not finished, it is the last sound checkpoint.

    Raises:
        ValueError: if it is no run folder, or its files are damaged or do not fit each other.
    """
    path = folder / SETTINGS
    if not path.exists() and (folder / BEST / SETTINGS).exists():
        return load_run(folder / BEST)
    if not path.exists():
        raise ValueError(f"{folder} is no run folder: there is no {path}")
    record = read_json(path, AS_WRITTEN)
    try:
        decisive(record)  # for the digest
        config, framing = record["config"], record["framing"]
        inputs = record["preprocessing"]
        run = Run(
            config=Config(**_with_tuple(config)),
            hyper=Hyperparams(**record["hyperparams"]),
            seed=int(record["seed"]),
            data=str(record["data"]),
            options=dict(record["options"]),
            fingerprint=str(record["fingerprint"]),
            preprocessing=Preprocessing(),
            classes=tuple(map(str, record["classes"])),
            schema=record["schema"] and tables.from_record(record["schema"]),
            targets=preprocessing.from_record(record["targets"], len(record["classes"])),
            framing=Framing(
                _image_shape(framing["image_shape"]),
                *(_pair(framing[name], float, int) for name in ("box", "centre")),
                dark=bool(framing.get("dark")),  # of which older versions knew nothing
                paper=bool(framing.get("paper", True)),
            ),
            params=(),
            epoch=None,
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path} is not {AS_WRITTEN}: {error!r}") from error
    check_hyperparams(run.hyper)
    paths = {None: folder / PARAMETERS} if "result" in record else checkpoints_in(folder)
    if not paths:
        raise ValueError(f"{folder} holds no parameters yet: train it with --resume")
    errors = []
    for epoch, path in paths.items():
        try:
            arrays, written = read_tensors(path)
            params = params_of(path, arrays)
            found = run._replace(
                params=params,
                epoch=epoch,
                preprocessing=preprocessing.from_record(inputs, params[0].weight.shape[0]),
            )
            _check_params(folder, found)
            check_written(path, record, arrays, written)
            if epoch is not None:
                check_epoch(path, epoch, record, arrays)
        except ValueError as error:
            errors.append(str(error))
            continue
        return found
    raise ValueError(errors[0])


def _with_tuple(config: dict[str, Any]) -> Any:
    """The fields of `Config` from JSON, which knows no tuples."""
    return config | {"hidden": tuple(config["hidden"])}


def _image_shape(value: Any) -> tuple[int, ...]:
    """(height, width), or one size more for colours and volumes."""
    first, *others = value
    pairs = [_pair((first, other), int) for other in others]
    if len(pairs) not in (1, 2):
        raise TypeError(f"{value!r} is no shape of images")
    return (first, *(pair[1] for pair in pairs))


def _pair(value: Any, *types: type) -> tuple[Any, Any]:
    first, second = value
    if not all(type(each) in types and abs(each) < LARGEST for each in value):
        raise TypeError(f"{value!r} is no pair of numbers")
    return first, second


def _check_params(folder: Path, run: Run) -> None:
    """Raise ValueError unless parameters, settings and framing describe one network."""
    shape = run.framing.image_shape
    if min(*shape, *run.framing.box) < 1 or (shape[0] > 1 and max(shape) > LONGEST):
        raise ValueError(f"{folder}: config.json has the impossible framing {run.framing}")
    n_in, n_out = math.prod(shape), len(run.classes)
    check_network(run.params, np.broadcast_to(np.float32(0), (1, n_in)))  # takes no memory
    if run.schema and run.schema.n_in != n_in:
        raise ValueError(f"{folder}: the columns make {run.schema.n_in} inputs, not {n_in}")
    if run.params[-1].weight.shape[1] != n_out:
        raise ValueError(
            f"{folder}: the network has {run.params[-1].weight.shape[1]} outputs, but config.json "
            f"names {n_out} classes"
        )
    hidden = tuple(layer.weight.shape[1] for layer in run.params[:-1])
    if hidden != run.config.hidden:
        raise ValueError(
            f"{folder}: the parameters have hidden widths {hidden}, config.json says "
            f"{run.config.hidden}"
        )
