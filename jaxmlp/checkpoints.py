"""Checkpoints: a run after some of its epochs, on disk; and how parameters lie in files."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.files import digest, in_order, numbered, read_tensors, write_tensors
from jaxmlp.params import Layer, Params
from jaxmlp.results import Metrics
from jaxmlp.training import TrainState

DECISIVE = ("fingerprint", "seed", "config", "hyperparams")  # about the numbers of a run


class Checkpoint(NamedTuple):
    """A run after some of its epochs.

    Attributes:
        state: all that the next epoch depends on.
        metrics: of every epoch so far, shape (epochs,) each.
    """

    state: TrainState
    metrics: Metrics

    @property
    def epoch(self) -> int:
        """How many epochs it has behind it."""
        return len(self.metrics.train_loss)


def save_checkpoint(folder: Path, record: dict[str, Any], last: Checkpoint) -> None:
    """Write a checkpoint; of the earlier ones, the last stays too, in case this one is damaged."""
    rest = jax.tree.leaves(last.state._replace(params=()))
    arrays = tensors(last.state.params) | last.metrics._asdict()
    arrays |= numbered("rest", rest)
    path = folder / f"checkpoint-{last.epoch:06d}.safetensors"
    write_tensors(path, decisive(record), arrays)
    there = checkpoints_in(folder)
    earlier = max((epoch for epoch in there if epoch < last.epoch), default=None)
    for epoch, path in there.items():  # later ones were damaged, or it would not begin again
        if epoch not in (earlier, last.epoch):
            path.unlink(missing_ok=True)


def load_checkpoint(
    folder: Path, record: dict[str, Any], like: TrainState
) -> tuple[Checkpoint | None, list[str]]:
    """The last sound checkpoint of a run, and what is wrong with those after it.

    Args:
        folder: of the run.
        record: that describes it.
        like: a state with the same tree, shapes and dtypes.
    """
    wrong: list[str] = []
    for epoch, path in checkpoints_in(folder).items():
        try:
            arrays, written = read_tensors(path)
            check_written(path, record, arrays, written)
            check_epoch(path, epoch, record, arrays)
            rest = [jnp.asarray(array) for array in in_order("rest", arrays)]
            structure = jax.tree.structure(like._replace(params=()))
            if len(rest) != structure.num_leaves:
                raise ValueError(
                    f"it holds {len(rest)} arrays beside the parameters, and not "
                    f"{structure.num_leaves}, as this version of jaxmlp writes"
                )
            state = jax.tree.unflatten(structure, rest)._replace(params=params_of(path, arrays))
            metrics = Metrics(*(arrays[name] for name in Metrics._fields))
            if _kinds(state) != _kinds(like):
                raise ValueError("it holds a state of other shapes than the run's")
        except (KeyError, ValueError) as error:
            wrong.append(f"{path} is damaged or of another version: {error}")
            continue
        return Checkpoint(state, metrics), wrong
    return None, wrong


def _kinds(state: TrainState) -> list[Any]:
    """What the leaves are, but for their numbers."""
    return [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)]


def check_epoch(path: Path, epoch: int, record: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Raise ValueError unless a checkpoint has metrics of all the epochs that its name says."""
    curves = [arrays.get(name, np.empty(0)) for name in Metrics._fields]
    found = {(values.shape, values.dtype) for values in curves}
    if found != {((epoch,), np.dtype(np.float32))} or not 0 < epoch <= record["config"]["epochs"]:
        raise ValueError(f"{path} holds metrics of {found}")


def check_written(
    path: Path, record: dict[str, Any], arrays: dict[str, Any], written: str | None
) -> None:
    """Raise ValueError unless a file's digest is that of its arrays and the run's settings."""
    if written != digest(decisive(record), arrays):
        raise ValueError(f"{path} is not as this run wrote it")


def checkpoints_in(folder: Path) -> dict[int, Path]:
    """Those that there are, by epoch, the last one first."""
    names = ((re.fullmatch(r"checkpoint-(\d+)\.safetensors", path.name), path)
             for path in folder.glob("checkpoint-*"))  # fmt: skip
    found = {int(name[1]): path for name, path in names if name}
    return dict(sorted(found.items(), reverse=True))


def decisive(record: dict[str, Any]) -> dict[str, Any]:
    """What decides about the numbers of a run, as JSON holds it."""
    return json.loads(json.dumps({name: record[name] for name in DECISIVE}))


def remove_checkpoints(folder: Path) -> None:
    """Remove those of a run that is finished, the last one last."""
    for path in reversed(checkpoints_in(folder).values()):
        path.unlink(missing_ok=True)


def tensors(params: Params) -> dict[str, Any]:
    """The arrays of all layers, with the names that they have in files."""
    return {
        f"layer{number}.{name}": np.asarray(array)
        for number, layer in enumerate(params)
        for name, array in layer._asdict().items()
        if array is not None
    }


def params_of(path: Path, arrays: dict[str, Any]) -> Params:
    """The layers among the arrays of a file."""
    found = {name: array for name, array in arrays.items() if name.startswith("layer")}
    layers = []
    while (weight := found.pop(f"layer{len(layers)}.weight", None)) is not None:
        bias = found.pop(f"layer{len(layers)}.bias", None)
        layers.append(Layer(jnp.asarray(weight), None if bias is None else jnp.asarray(bias)))
    if found or not layers:
        raise ValueError(f"{path} holds no layers, or more than layers: {sorted(found)}")
    return tuple(layers)
