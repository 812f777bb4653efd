"""Several processes that run one sweep: who writes, and what they have to agree on.

All of them run the same programs in the same order, so what decides about that has to be the
same everywhere. Alone, none of this does anything.
"""

from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def is_first() -> bool:
    """Whether this is process 0, the only one that writes."""
    return jax.process_index() == 0


def wait(name: str) -> None:
    """Wait until all processes are here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def smallest(number: int) -> int:
    """The smallest of the numbers that the processes have."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.process_allgather(np.asarray(float(number))).min())


def check_same(what: str, values: Any) -> None:
    """Raise ValueError on every process unless all have the same values of a kind."""
    if jax.process_count() == 1:
        return
    import zlib

    number = zlib.crc32(repr(values).encode())
    found = multihost_utils.process_allgather(np.asarray(number, np.uint32))
    if len({*found.tolist()}) > 1:
        raise ValueError(
            f"the processes do not have the same {what}: start all with the same command, and "
            "give a folder that all of them see"
        )
