"""Training the trials of a chunk together: one program, whatever their number."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxmlp.sweeps.schema import Trial
from jaxmlp.training import wait

SPREAD = PartitionSpec("trial")  # every device has some of the trials, which are on the first axis
EVERYWHERE = PartitionSpec()

Epoch = Callable[[Any, int], tuple[Any, Any]]  # of states and its number: states and metrics


class Training(Protocol):
    """What sweeps ask of whatever they train.

    A config is what a program is compiled for: static settings that its trials share.
    """

    def fingerprint(self) -> str:
        """Of all that trials are trained on or with, and settings do not say."""
        ...

    def config_of(self, trial: Trial) -> Any:
        """The config of the smallest program that can train a trial."""
        ...

    def merged(self, groups: Mapping[Any, list[int]]) -> dict[Any, list[int]]:
        """The trials of each config, where one program may serve several configs."""
        ...

    def fields_of(self, config: Any) -> dict[str, Any]:
        """The static settings of a config by name."""
        ...

    def shares_order(self, trials: Iterable[Trial]) -> bool:
        """Whether trials see the same minibatches in the same order, which saves work."""
        ...

    def work(self, config: Any) -> float:
        """Of one trial, all its epochs, in any unit."""
        ...

    def bytes_each(self, config: Any, shared: bool) -> int:
        """Memory of one trial while it trains."""
        ...

    def bytes_of_state(self, config: Any) -> int:
        """Memory of what one trial hands from a step to the next one."""
        ...

    def like(self, config: Any) -> Any:
        """The state of one trial, in shapes and dtypes alone."""
        ...

    def start(self, trials: Sequence[Trial], config: Any) -> Any:
        """The first states of trials, with a first axis of trials."""
        ...

    def epochs(self, trials: Sequence[Trial], mine: slice, config: Any, shared: bool) -> Epoch:
        """The epochs of trials, of which this process brings some."""
        ...

    def ended(self, states: Any, config: Any) -> bool:
        """Whether no trial trains any more."""
        ...

    def turned(self, states: Any) -> Any:
        """States as they are kept, from how they are trained, and back."""
        ...

    def chosen(self, states: Any) -> Any:
        """What is kept of trials that are finished."""
        ...

    def alone(self, trial: Trial) -> np.ndarray:
        """The curves of a trial without any other, shape (metrics, epochs)."""
        ...

    def named(self, curves: np.ndarray) -> Any:
        """Curves as users know them."""
        ...

    def nudged(self, trial: Trial, ulps: tuple[int, int]) -> Trial:
        """A trial with two numbers, or all, changed by so many of their last digits."""
        ...

    def compare(self, trial: Trial, curves: Sequence[np.ndarray]) -> None:
        """Warn if a trial has other curves than alone."""
        ...

    def attributes(self, trials: Sequence[Trial], held: Mapping[int, Any]) -> dict[str, Any]:
        """What a table keeps of some trials' leaves, and what else it says of the training."""
        ...


class Curves(NamedTuple):
    """What some epochs gave.

    Attributes:
        metrics: shapes (trials, epochs).
        states: as the last of them left them, spread over the devices; their first axis, that of
            trials, may be longer.
    """

    metrics: Any
    states: Any


def mesh() -> Mesh:
    """All devices of all processes, in a row."""
    return Mesh(np.asarray(jax.devices()), ("trial",))


def train_together(
    trials: Sequence[Trial],
    config: Any,
    training: Training,
    size: int,
    *,
    shared: bool,
    states: Any = None,
    first: int = 0,
    last: int | None = None,
    on_epoch: Callable[[int, Any, list[Any]], None] = lambda *_: None,
) -> Curves:
    """Train trials that differ in numbers and widths only.

    Args:
        trials: at least one.
        config: of the program.
        training: of what they are trials.
        size: of the program: the number of trials, filled up by repeating the last one, so that
            chunks of nearly the same size share a program.
        shared: whether all trials of the program see the same minibatches in the same order; if
            not, each has its own.
        states: to go on from, with a first axis of trials; fresh ones if there are none.
        first, last: the epochs, from 0, the last one left out; by default all of them.
        on_epoch: called with the number of epochs that are finished, the states, and the metrics
            of each epoch.
    """
    everyone = mesh()
    size += -size % everyone.size
    filled = [*trials, *[trials[-1]] * (size - len(trials))]
    mine = _block(everyone, len(filled))  # of the trials, for this process to bring
    if states is None:
        states = training.start(filled[mine], config)
    else:
        rows = np.minimum(np.arange(len(filled)), len(trials) - 1)[mine]
        states = training.turned(jax.tree.map(lambda leaf: leaf[rows], states))
    states, run_epoch = put(states, SPREAD), training.epochs(filled, mine, config, shared)
    history, seconds = [], math.inf
    for epoch in range(first, config.epochs if last is None else last):
        states, metrics = run_epoch(states, epoch)
        seconds = wait(metrics, seconds)
        history.append(jax.device_get(metrics))
        on_epoch(epoch + 1 - first, states, history)
        if training.ended(states, config):
            break
    return Curves(curves_of(history, len(trials)), states)


def curves_of(history: list[Any], count: int) -> Any:
    """What was measured epoch by epoch, shapes (count, epochs), without what only fills up."""
    return jax.tree.map(lambda *each: np.stack(each, axis=1)[:count], *history)


def fetch(tree: Any, rows: Sequence[int]) -> Any:
    """Some trials' states, or parts of them, as NumPy arrays, on every process."""
    return jax.device_get(_pick(mesh())(tree, np.asarray(rows, np.int32)))


def everywhere(array: Any) -> np.ndarray:
    """An array that is spread over the devices of all processes."""
    return np.asarray(fetch(array, range(len(array))))


@cache
def _pick(everyone: Mesh) -> Any:
    def pick(tree: Any, rows: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[rows], tree)

    return jax.jit(pick, out_shardings=NamedSharding(everyone, EVERYWHERE))


def _block(everyone: Mesh, count: int) -> slice:
    """Which of the trials lie on the devices of this process."""
    each = count // everyone.size
    mine = [
        place
        for place, device in enumerate(everyone.devices.flat)
        if device.process_index == jax.process_index()
    ]
    return slice(mine[0] * each, (mine[-1] + 1) * each)


def put(tree: Any, spec: PartitionSpec) -> Any:
    """What this process brings of some arrays, as arrays that span all processes."""
    sharding = NamedSharding(mesh(), spec)
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree
    )
