"""What the commands share: finding data and runs, and stopping where the user asks for it."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jaxmlp.data import Dataset
from jaxmlp.data.loaders import load_digits, load_idx, load_mnist, load_npz
from jaxmlp.runs import Run, load_run

SHOW_CURSOR = b"\x1b[?25h"
FINISHING = b"jaxmlp: finishing the epoch; again to stop at once\n"


def load_data(source: str, data_seed: int = 0) -> Dataset:
    """The data set that `--data` names, pixels kept as 8 bits.

    Raises:
        ValueError: if it is no known name, folder or .npz file, or its content is unsound.
    """
    path = Path(source)
    if source == "digits":
        return load_digits(data_seed=data_seed, uint8=True)
    if source == "mnist":
        return load_mnist(data_seed=data_seed, uint8=True)
    if path.suffix == ".npz":
        return load_npz(path, data_seed=data_seed, uint8=True)
    if path.is_dir():
        return load_idx(path, data_seed=data_seed, uint8=True)
    raise ValueError(
        f"unknown data {source!r}: give digits, mnist, a folder with MNIST's four IDX files, or "
        "a file that ends in .npz"
    )


def trained(folder: Path) -> Run:
    """The run in a folder, as `load_run` reads it; says so if it is not finished."""
    run = load_run(folder)
    if run.epoch is not None:
        print(f"not finished: the parameters of epoch {run.epoch} of {run.config.epochs}")
    return run


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """While it is open, Ctrl-C is a request, which the function says; a second one is an order.

    Nothing is lost by the order: files are renamed to their names when they are whole. Where a
    shell has Ctrl-C ignored, as for what runs behind it, it stays ignored.
    """
    asked: list[bool] = []

    def on_interrupt(*_: Any) -> None:
        # past Python's streams, into which somebody may be writing just now
        if asked:
            if os.isatty(1):
                os.write(1, SHOW_CURSOR)  # which a progress bar hides
            os._exit(128 + signal.SIGINT)
        asked.append(True)
        with suppress(OSError):
            os.write(2, FINISHING)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: bool(asked)
    finally:
        if not asked:  # else the next one is still an order, while the process ends
            signal.signal(signal.SIGINT, before)
