"""Several processes that run one sweep: who writes, and what they have to agree on.

All of them run the same programs in the same order, so what decides about that has to be the
same everywhere. Alone, none of this does anything.
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

HEARTBEAT = 60  # seconds without a sign of life, after which a process counts as lost


class LostProcessError(RuntimeError):
    """Another process of the sweep has ended, or cannot be reached."""


def start(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Join the processes of a sweep; without arguments, as SLURM or a cloud's machines say.

    Raises:
        ValueError: if they cannot be joined.
    """
    for name, value in (("processes", processes), ("process", process)):
        if (value is None) != (coordinator is None):
            raise ValueError(
                f"{name} is {value} and coordinator {coordinator}: give all of coordinator, "
                "processes and process, or none"
            )
    if processes is not None and process is not None and not 0 <= process < processes:
        raise ValueError(f"process is {process}: give a number from 0 to {processes - 1}")
    port = (coordinator or ":1").rpartition(":")[2]
    if not (port.isdigit() and 0 < int(port) < 2**16):
        raise ValueError(f"coordinator is {coordinator!r}: give HOST:PORT, the same everywhere")
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            initialization_timeout=HEARTBEAT,
            heartbeat_timeout_seconds=HEARTBEAT,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"the processes of the sweep cannot be joined: {reason}") from error


@contextmanager
def together() -> Iterator[None]:
    """What JAX raises when a process is lost becomes a LostProcessError."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        reason = str(error).splitlines()[0]
        raise LostProcessError(
            f"process {jax.process_index()} of {jax.process_count()} has lost another one, which "
            f"has ended or cannot be reached ({reason}): start all of them again, and the sweep "
            "goes on after its last finished chunk"
        ) from error


def is_first() -> bool:
    """Whether this is process 0, the only one that writes."""
    return jax.process_index() == 0


def on_first(action: Callable[[], None]) -> None:
    """Do something on process 0 alone, before any process goes on.

    Raises:
        ValueError, OSError: what it raises there; and then a ValueError on all other processes.
    """
    failure = None
    if is_first():
        try:
            action()
        except (ValueError, OSError) as error:
            failure = error
    well = smallest(0 if failure else 1)
    if failure:
        raise failure
    if not well:
        raise ValueError("process 0 cannot go on, and says why")


def smallest(number: int) -> int:
    """The smallest of the numbers that the processes have."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.process_allgather(np.asarray(float(number))).min())


def check_same(what: str, values: Any) -> None:
    """Raise ValueError on every process unless all have the same values of a kind."""
    if jax.process_count() == 1:
        return
    number = zlib.crc32(repr(values).encode())
    found = multihost_utils.process_allgather(np.asarray(number, np.uint32))
    if len({*found.tolist()}) > 1:
        raise ValueError(
            f"the processes do not have the same {what}: start all with the same command, and "
            "give a folder that all of them see"
        )
