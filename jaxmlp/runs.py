"""The run folder: what `jaxmlp train` leaves behind, and what the other commands read."""

import csv
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from jaxmlp.ink import Framing
from jaxmlp.network import check_network
from jaxmlp.params import Layer, Params
from jaxmlp.settings import Config, Hyperparams, check_hyperparams
from jaxmlp.training import Metrics

PACKAGES = ("jaxmlp", "jax", "jaxlib", "optax", "numpy")


class Run(NamedTuple):
    """A run folder, read back and checked.

    Attributes:
        config, hyper, seed: what `train` was told.
        data: where the data came from, as `--data` takes it.
        framing: how the training images lie in their frame.
        params: the trained parameters.
    """

    config: Config
    hyper: Hyperparams
    seed: int
    data: str
    framing: Framing
    params: Params


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that appears at `path` once it is whole, and not at all on an error.

    Raises:
        ValueError: if `path` exists already or cannot be made.
    """
    whole = Path(os.path.abspath(path))
    aside = _aside(whole)
    made = []
    try:
        with explained(path):
            if whole.exists() or whole.is_symlink():
                raise ValueError(f"{path} exists already: choose another, or remove it first")
            made = [folder for folder in whole.parents if not folder.exists()]
            aside.mkdir(parents=True)
        yield aside
        with explained(path):
            aside.rename(whole)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        for folder in made:  # those that hold nothing, because nothing came of it
            with suppress(OSError):
                folder.rmdir()


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file aside and rename it, so that it is whole or as it was.

    Raises:
        ValueError: if it cannot be written.
    """
    aside = _aside(path)
    with explained(path):
        try:
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # or a crash could leave a name without the content
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raise ValueError if `write_bytes` could not write a file, before the work for it is done."""
    with explained(path):
        _aside(path).touch()
        _aside(path).unlink()


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What the system refuses becomes a ValueError that names `path`."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}") from error


def save_run(folder: Path, run: Run, metrics: Metrics, result: dict[str, Any]) -> None:
    """Write config.json, metrics.csv and params.safetensors into an existing folder."""
    device = jax.devices()[0]
    record = {
        "data": run.data,
        "seed": run.seed,
        "config": asdict(run.config),
        "hyperparams": {name: float(value) for name, value in run.hyper._asdict().items()},
        "framing": run.framing._asdict(),
        "result": result,
        "device": {"platform": device.platform, "kind": device.device_kind},
        "versions": {name: version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
    }
    (folder / "config.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    with (folder / "metrics.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("epoch", *metrics._fields))
        columns = (np.asarray(values).tolist() for values in metrics)
        rows.writerows((epoch, *row) for epoch, row in enumerate(zip(*columns, strict=True), 1))
    tensors = {
        f"layer{number}.{name}": np.asarray(array)
        for number, layer in enumerate(run.params)
        for name, array in layer._asdict().items()
        if array is not None
    }
    (folder / "params.safetensors").write_bytes(save(tensors))


def load_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        ValueError: if it is no run folder, or its files are damaged or do not fit each other.
    """
    path = folder / "config.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        config, framing = record["config"], record["framing"]
        run = Run(
            config=Config(**config | {"hidden": tuple(config["hidden"])}),
            hyper=Hyperparams(**record["hyperparams"]),
            seed=int(record["seed"]),
            data=str(record["data"]),
            framing=Framing(**{name: tuple(pair) for name, pair in framing.items()}),
            params=_load_params(folder / "params.safetensors"),
        )
    except OSError as error:
        raise ValueError(f"{folder} is no run folder: {path}: {error.strerror}") from error
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not as `jaxmlp train` writes it: {error!r}") from error
    check_hyperparams(run.hyper)
    _check_params(folder, run)
    return run


def _load_params(path: Path) -> Params:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    layers = []
    while (weight := tensors.pop(f"layer{len(layers)}.weight", None)) is not None:
        bias = tensors.pop(f"layer{len(layers)}.bias", None)
        layers.append(Layer(jnp.asarray(weight), None if bias is None else jnp.asarray(bias)))
    if tensors or not layers:
        raise ValueError(f"{path} holds no layers, or more than layers: {sorted(tensors)}")
    return tuple(layers)


def _check_params(folder: Path, run: Run) -> None:
    """Raise ValueError unless parameters, settings and framing describe one network."""
    height, width = run.framing.image_shape
    if min(height, width, *run.framing.box) <= 0:
        raise ValueError(f"{folder}: config.json has the impossible framing {run.framing}")
    n_in = height * width
    check_network(run.params, np.zeros((1, n_in), np.float32))
    hidden = tuple(layer.weight.shape[1] for layer in run.params[:-1])
    if hidden != run.config.hidden:
        raise ValueError(
            f"{folder}: the parameters have hidden widths {hidden}, config.json says "
            f"{run.config.hidden}"
        )
