"""What the benchmarks share: times, the rate of matrix products, and on what they were measured."""

import importlib
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxmlp.files import write_text

Measure = Callable[[], float]  # seconds
# Of products. JAX's own name "bfloat16" is its fastest precision, which is TF32 on a GPU; a CPU
# multiplies in float32, whatever is asked for.
PRECISIONS = {"float32": "highest", "TF32": "tensorfloat32", "bfloat16": "BF16_BF16_F32"}


def timed(action: Callable[[], Any]) -> float:
    """Seconds that it takes, until all of JAX's arrays in its result are there."""
    start = time.perf_counter()
    jax.block_until_ready(action())
    return time.perf_counter() - start


def in_turn(
    methods: Mapping[str, Measure],
    rounds: int,
    attempt: Callable[[str], AbstractContextManager[Any]] = nullcontext,
    on_round: Callable[[dict[str, list[float]]], None] = lambda times: None,
) -> dict[str, list[float]]:
    """The times of all methods, measured in turn; a first round, which compiles, is left out.

    Every round has an order of its own, as what comes before may heat the machine or fill a cache.
    What fails once within `attempt`, such as `Record.attempt`, is left out. `on_round` is given
    what there is after every round.
    """
    times: dict[str, list[float]] = {name: [] for name in methods}
    names, rng = [*methods], random.Random(0)
    for turn in range(rounds + 1):
        rng.shuffle(names)
        for name in [*names]:
            with attempt(name):
                seconds = methods[name]()
                print(f"round {turn}, {name}: {seconds:.4f}", flush=True)
                if turn:
                    times[name].append(seconds)
                continue
            names.remove(name)
        if turn:
            on_round({name: each for name, each in times.items() if name in names})
    return {name: each for name, each in times.items() if name in names}


def in_precision(name: str, measure: Measure) -> Measure:
    """The same with float32 products of matrices in a precision, JAX's and PyTorch's."""

    def measured() -> float:
        with jax.default_matmul_precision(PRECISIONS[name]), _torch_precision(name):
            return measure()

    return measured


@contextmanager
def _torch_precision(name: str) -> Iterator[None]:
    """PyTorch's precision while it is open, highest after it; without PyTorch, nothing."""
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError:
        yield
        return
    torch.set_float32_matmul_precision({"TF32": "high", "bfloat16": "medium"}.get(name, "highest"))
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


def seconds_of_products(multiplications: float, side: int = 2048) -> Measure:
    """How long so many multiplications take at the rate of one large product, on all cores."""
    a = jax.random.normal(jax.random.key(0), (side, side), jnp.float32)
    program = jax.jit(jnp.dot)
    each = multiplications / side**3
    return lambda: each * min(timed(lambda: program(a, a)) for _ in range(5))


def middle(times: list[float]) -> str:
    """Median, fastest and slowest, in milliseconds."""
    found = [1e3 * of(times) for of in (statistics.median, min, max)]
    return "{:.3g} ({:.3g} to {:.3g})".format(*found)


def times_as_long(others: list[float], own: list[float]) -> float:
    """The median ratio of what was measured one after the other."""
    return statistics.median(b / a for a, b in zip(own, others, strict=True))


def machine(*packages: str) -> dict[str, Any]:
    """The device, its cores, and the versions of some packages."""
    versions = {"python": platform.python_version()}
    for package in ("jax", *packages):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    cpu = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in cpu.read_text().splitlines()
             if line.startswith("model name")] if cpu.exists() else []  # fmt: skip
    return {
        "device": jax.devices()[0].device_kind,
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": _threads(),
        "versions": versions,
    }


def of_device() -> str:
    """What the names of results end with: the accelerator, if there is one."""
    device = jax.devices()[0]
    return "" if device.platform == "cpu" else "-" + device.device_kind.replace(" ", "-")


def _threads() -> dict[str, int]:
    """How many threads the libraries use for one product of matrices; XLA uses all cores."""
    found = {"XLA": os.cpu_count() or 1}
    with suppress(Exception):  # a broken library is no reason to measure nothing
        found["PyTorch"] = importlib.import_module("torch").get_num_threads()
        pools = importlib.import_module("threadpoolctl").threadpool_info()
        found |= {pool["internal_api"]: pool["num_threads"] for pool in pools}
    return found


class Record:
    """What a part of a benchmark finds, written to a file after each step; failures become lines.

    Attributes:
        found: results by name, as JSON can hold them.
        failed: what went wrong: `what` it was, the `error`, and the package that is `absent`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = {}
        self.failed: list[dict[str, Any]] = []

    def add(self, name: str, value: Any) -> None:
        """Keep a result, and print it."""
        self.found[name] = value
        print(f"{name}: {json.dumps(value, ensure_ascii=False)[:300]}", flush=True)
        self._write()

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Go on after an error in here, which is written down."""
        try:
            yield
        except Exception as error:
            said = (str(error).strip() or "no message").splitlines()[0][:300]
            absent = error.name if type(error) is ModuleNotFoundError else None
            line = {"what": what, "error": f"{type(error).__name__}: {said}", "absent": absent}
            self.failed.append(line)
            print(f"{what} failed: {line['error']}", flush=True)
            self._write()

    def _write(self) -> None:
        text = json.dumps({"found": self.found, "failed": self.failed})
        write_text(self.path, text)
