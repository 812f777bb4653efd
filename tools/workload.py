"""What `compare` times in a checkout, by public names that old and new ones share.

A process of its own for each checkout, which has to be first on the path. It reads names of
measures, one a line, and answers each with the seconds it took; its first line names all that it
knows. What has not been measured before is first run once, so that nothing is compiled while the
clock runs.
"""

import json
import os
import sys
import time

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what else is printed must not be taken for an answer
BEGAN = time.perf_counter()

from collections.abc import Callable  # noqa: E402
from itertools import pairwise  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import jaxmlp  # noqa: E402

IMPORT = time.perf_counter() - BEGAN
Measure = Callable[[], float]


def gradient(sizes: tuple[int, ...], n: int, repeats: int) -> Measure:
    """One gradient with its loss."""
    params = jaxmlp.init_params(jax.random.key(0), sizes)
    batch = jaxmlp.Batch(jnp.ones((n, sizes[0])), jnp.arange(n) % sizes[-1])

    def measure() -> float:
        start = time.perf_counter()
        jax.block_until_ready([jaxmlp.manual_value_and_grad(params, batch) for _ in range(repeats)])
        return (time.perf_counter() - start) / repeats

    return measure


def epoch() -> Measure:
    """An epoch of 784-128-10 on 12,000 examples with 8-bit pixels, by `train`."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (13_500, 28, 28), np.uint8)
    labels = rng.integers(0, 10, 13_500).astype(np.int32)
    dataset = jaxmlp.split_dataset(
        x[:13_400], labels[:13_400], x[13_400:], labels[13_400:], validation_size=1400, uint8=True
    )
    config = jaxmlp.Config(hidden=(128,), batch_size=128, epochs=4)

    def measure() -> float:
        ends: list[float] = []

        def on_epoch(_: int, metrics: Any) -> None:
            jax.block_until_ready(metrics)
            ends.append(time.perf_counter())

        hyper = jaxmlp.Hyperparams()
        jaxmlp.train(jax.random.key(0), hyper, dataset, config=config, on_epoch=on_epoch)
        return min(after - before for before, after in pairwise(ends))

    return measure


def sweep() -> Measure:
    """A sweep of 16 trials of 64-32-10 on digits, all of the call."""
    dataset = jaxmlp.load_digits(uint8=True)
    config = jaxmlp.Config(hidden=(32,), batch_size=64, epochs=10)
    space = {"learning_rate": [0.001, 0.003, 0.01, 0.03], "seed": range(4)}
    return _timed(lambda: jaxmlp.sweep(space, dataset, config=config))


def check() -> Measure:
    """A check of our own gradient, all of the call."""
    from jaxmlp.checking import check_gradient

    return _timed(lambda: check_gradient(jaxmlp.manual_grad))


def _timed(action: Callable[[], Any]) -> Measure:
    def measure() -> float:
        start = time.perf_counter()
        action()
        return time.perf_counter() - start

    return measure


MEASURES: dict[str, Callable[[], Measure]] = {
    "one gradient of 784-128-10, 128 examples": lambda: gradient((784, 128, 10), 128, 100),
    "one gradient of 8-16-3, one example": lambda: gradient((8, 16, 3), 1, 2000),
    "an epoch of 784-128-10, 12,000 examples": epoch,
    "a sweep of 16 trials on digits": sweep,
    "a check of our gradient": check,
}
START = "import jaxmlp"  # measured once, as the process starts


def main() -> None:
    """Answer until there is nobody who asks."""
    if not Path(jaxmlp.__file__).is_relative_to(Path.cwd()):
        sys.exit(f"jaxmlp is imported from {jaxmlp.__file__}, not from {Path.cwd()}")
    ready: dict[str, Measure] = {START: lambda: IMPORT}
    print(json.dumps([START, *MEASURES]), file=ANSWERS, flush=True)
    for line in sys.stdin:
        name = line.strip()
        if name not in ready:
            ready[name] = MEASURES[name]()
            ready[name]()
        print(ready[name](), file=ANSWERS, flush=True)


if __name__ == "__main__":
    main()
