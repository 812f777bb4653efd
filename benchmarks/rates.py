"""How fast are products of 128 rows, and large ones, by XLA and PyTorch, on all cores and on one?

    python benchmarks/rates.py xla all    # or torch, or one: prints 10⁹ multiplications a second

`benchmark.py` starts it as a process, since a library keeps the threads that it began with. The
products of 128 rows are the two large ones of a step of 784-128-10.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

FORWARD, BACKWARD, LARGE = "x W⁰", "xᵀ ∂C/∂z₁", "2048³"
STEPS, TAKES = 100, 9
LIBRARIES, CORES = ("xla", "torch"), ("one", "all")


def rates(library: str) -> dict[str, float]:
    """The median rate of each product, a hundred of them one after the other."""
    rng = np.random.default_rng(0)
    shapes = (STEPS, 128, 784), (784, 128), (STEPS, 128, 128), (2048, 2048)
    programs = PROGRAMS[library](*(rng.normal(size=shape).astype(np.float32) for shape in shapes))
    work = {FORWARD: STEPS * 128 * 784 * 128, BACKWARD: STEPS * 128 * 784 * 128, LARGE: 2048**3}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for take in range(TAKES + 1):
        for name, program in programs.items():
            start = time.perf_counter()
            program()
            if take:  # the first one compiles
                times[name].append(time.perf_counter() - start)
    return {name: work[name] / float(np.median(found)) / 1e9 for name, found in times.items()}


def xla(x: Any, weight: Any, dz: Any, large: Any) -> dict[str, Callable[[], Any]]:
    """In one program each, as an epoch of ours has them."""
    import jax
    import jax.numpy as jnp

    def last(product: Callable[..., Any], like: Any, *rows: Any) -> Callable[[], Any]:
        program = jax.jit(
            lambda *rows: jax.lax.scan(lambda _, row: (product(*row), ()), like, rows)[0]
        )
        rows = jax.device_put(rows)
        return lambda: jax.block_until_ready(program(*rows))

    dot, a = jax.jit(jnp.dot), jnp.asarray(large)
    return {
        FORWARD: last(lambda x: x @ weight, jnp.zeros_like(dz[0]), x),
        BACKWARD: last(lambda x, dz: x.T @ dz, jnp.zeros_like(weight), x, dz),
        LARGE: lambda: jax.block_until_ready(dot(a, a)),
    }


def torch(*arrays: Any) -> dict[str, Callable[[], Any]]:
    """In a loop each, as PyTorch's own training has them."""
    x, weight, dz, large = map(importlib.import_module("torch").tensor, arrays)
    return {
        FORWARD: lambda: [row @ weight for row in x],
        BACKWARD: lambda: [row.T @ own for row, own in zip(x, dz, strict=True)],
        LARGE: lambda: large @ large,
    }


PROGRAMS: dict[str, Callable[..., dict[str, Callable[[], Any]]]] = {"xla": xla, "torch": torch}


def all_rates(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Each library on all cores and on one, in turn, each time in a process of its own."""
    found: dict[str, dict[str, list[float]]] = {}
    for turn in range(rounds):
        for library in LIBRARIES:
            for cores in CORES:
                command = [sys.executable, __file__, library, cores]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                print(f"round {turn}, {library}, {cores}: {done.stdout.strip()}", flush=True)
                for name, rate in json.loads(done.stdout).items():
                    found.setdefault(f"{library}, {cores}", {}).setdefault(name, []).append(rate)
    return found


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in LIBRARIES or sys.argv[2] not in CORES:
        sys.exit(f"give one of {', '.join(LIBRARIES)}, and one of {', '.join(CORES)}")
    if sys.argv[2] == "one":
        os.sched_setaffinity(0, {0})  # before a library counts the cores
    print(json.dumps(rates(sys.argv[1])))
