"""How fast is it on this device: epochs, sweeps, one gradient over widths, and a profile."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from contestants import arrays_of, ours, plain_jax, prepare, pytorch
from measuring import (
    PRECISIONS,
    Measure,
    Record,
    in_precision,
    in_turn,
    seconds_of_products,
    timed,
    times_as_long,
)
from sweep_contestants import BATCH, config_of, memory, torch_vmap, trials_of

import jaxmlp
from jaxmlp import Batch
from jaxmlp.sweeps.costs import multiplications
from jaxmlp.sweeps.networks import NetworkTraining
from jaxmlp.sweeps.run import train_together

OURS, EAGER, GRAPHS = "jaxmlp", "PyTorch, eager", "PyTorch, compiled"
PRODUCTS = "bare matrix products"


class Sizes(NamedTuple):
    """What is measured: networks with their batch sizes, widths and numbers of trials, rounds."""

    networks: dict[tuple[int, ...], int]
    widths: tuple[int, ...]
    trials: tuple[int, ...]
    gradients: tuple[int, ...]
    examples: int
    rounds: int


FULL = Sizes(
    networks={(784, 128, 10): 128, (784, 1024, 1024, 10): 1024},
    widths=(32, 128),
    trials=(1, 64, 1024, 4096),
    gradients=(32, 128, 512, 2048, 8192),
    examples=60_000,
    rounds=7,
)
SMALL = Sizes(
    networks={(784, 16, 10): 128, (784, 16, 16, 10): 256},
    widths=(8,),
    trials=(1, 4),
    gradients=(16, 64),
    examples=2_000,
    rounds=2,
)


def data_of(folder: Path | None, sizes: Sizes) -> jaxmlp.Dataset:
    """MNIST, or random 8-bit pixels of its shape, which a network can learn to tell apart."""
    if folder:
        return jaxmlp.load_idx(folder, uint8=True)
    rng = np.random.default_rng(0)
    means = rng.integers(0, 256, (10, 784))

    def part(n: int) -> Batch:
        labels = rng.integers(0, 10, n).astype(np.int32)
        noise = rng.integers(-64, 64, (n, 784), np.int16)
        return Batch(np.clip(means[labels] // 2 + 64 + noise, 0, 255).astype(np.uint8), labels)

    n = sizes.examples
    return jaxmlp.Dataset(part(n - n // 10), part(n // 10), part(100), (28, 28), 1 / 255)


def epochs(record: Record, small: bool, folder: Path | None) -> None:
    """An epoch of training and validation, by us and by others, in turn."""
    sizes = SMALL if small else FULL
    dataset = data_of(folder, sizes)
    data = arrays_of(dataset)
    for network, batch in sizes.networks.items():
        name = "-".join(map(str, network))
        makers: dict[str, Callable[[], Any]] = {
            OURS: lambda n=network, b=batch: ours(prepare(n, b, dataset)),
            "jaxmlp, jax.grad": lambda n=network, b=batch: ours(prepare(n, b, dataset, "autodiff")),
            "a jitted step in a loop": lambda n=network, b=batch: plain_jax(
                n, b, data, on_device=True
            ),
            EAGER: lambda n=network, b=batch: pytorch(n, b, data, compiled=False),
            GRAPHS: lambda n=network, b=batch: pytorch(n, b, data, compiled=True),
        }
        measures = {}
        for precision in ("float32", "TF32"):
            for method, make in makers.items():
                if precision == "float32" or method in (OURS, EAGER):
                    called = method if precision == "float32" else f"{method}, {precision}"
                    with record.attempt(f"an epoch of {name}, {called}"):
                        measures[called] = in_precision(precision, partial(timed, make()))
        config = prepare(network, batch, dataset).config
        work = multiplications(config, dataset) / config.epochs
        products = seconds_of_products(work, side=512 if small else 8192)
        measures[PRODUCTS] = in_precision("float32", products)
        in_turn(
            measures, sizes.rounds, record.attempt,
            lambda seconds, name=name, batch=batch: record.add(
                name, {"batch": batch, "seconds": seconds}
            ),
        )  # fmt: skip


def sweeps(record: Record, small: bool, folder: Path | None) -> None:
    """A trial and epoch of a sweep, over numbers of trials and precisions, beside others.

    What is most wanted comes first: all numbers of trials in float32, then PyTorch, which computes
    in float32 throughout, then the other precisions.
    """
    sizes = SMALL if small else FULL
    dataset = data_of(folder, sizes)
    training, arrays = NetworkTraining(dataset), arrays_of(dataset)
    found: dict[str, dict[str, list[float]]] = {f"784-{width}-10": {} for width in sizes.widths}

    def add(width: int, called: str, measure: Callable[[], list[float]]) -> None:
        name = f"784-{width}-10"
        with record.attempt(f"{name}, {called}"):
            found[name][called] = measure()
            record.add(name, {"seconds": found[name]})

    for precision in PRECISIONS:
        with jax.default_matmul_precision(PRECISIONS[precision]):
            for width in sizes.widths:
                work = multiplications(config_of(width), dataset)
                products = seconds_of_products(work, side=512 if small else 8192)
                add(width, f"{PRODUCTS}, {precision}", partial(repeat, products, sizes.rounds))
                for count in sizes.trials:
                    epochs = 4 if count < 4096 and precision == "float32" else 3
                    called = f"{count} trials, {precision}"
                    add(width, called, partial(per_trial, width, training, count, epochs))
        if precision != "float32":
            continue
        for width in sizes.widths:
            for count in sizes.trials[1:]:
                measure = partial(torch_vmap, width, arrays, count, steps=2 if small else 20)
                add(width, f"torch.func.vmap, {count} trials", lambda m=measure: repeat(m(), 3))
            eager = partial(pytorch, (784, width, 10), BATCH, arrays, compiled=False)
            add(width, "PyTorch in a loop", lambda e=eager: repeat(partial(timed, e()), 5))
            with record.attempt(f"memory of a trial of 784-{width}-10"):
                record.add(f"memory, 784-{width}-10", memory(width, training))


def repeat(measure: Measure, times: int) -> list[float]:
    """Seconds of a measure, again and again; the first time, which compiles, is left out."""
    return [measure() for _ in range(1 + times)][1:]


def per_trial(width: int, training: NetworkTraining, count: int, epochs: int) -> list[float]:
    """Seconds of each epoch of a sweep but the first, which compiles, for one of its trials."""
    config = config_of(width, epochs)
    trials = trials_of(width, count, epochs)
    ends: list[float] = []
    train_together(
        trials, config, training, len(trials), shared=True,
        on_epoch=lambda *_: ends.append(time.perf_counter()),
    )  # fmt: skip
    return [(after - before) / len(trials) for before, after in pairwise(ends)]


def widths(record: Record, small: bool, _: Path | None) -> None:
    """One gradient by hand and by JAX, over widths; the widest first, where a GPU is for."""
    from benchmark import gradients  # which needs more packages than the other parts

    sizes = SMALL if small else FULL
    for width in reversed(sizes.gradients):
        cases: list[Any] = []
        for n in (16,) if small else (4096, 128, 1):
            with (
                record.attempt(f"one gradient of width {width}, {n} examples"),
                jax.default_matmul_precision("highest"),
            ):
                cases += gradients(1, [(width, 2, n, "relu")])
                record.add(str(width), cases)


def profile(record: Record, small: bool, folder: Path | None) -> None:
    """The kernels of a small epoch: how many, how long they take, and the gaps between them."""
    sizes = SMALL if small else FULL
    network, batch = next(iter(sizes.networks.items()))
    prepared = prepare(network, batch, data_of(folder, sizes))
    with record.attempt("the profile"), jax.default_matmul_precision("highest"):
        epoch = ours(prepared)
        timed(epoch)
        with tempfile.TemporaryDirectory() as into:
            with jax.profiler.trace(into):
                wall = timed(epoch)
            (path,) = Path(into).glob("**/*.xplane.pb")
            found = kernels(jax.profiler.ProfileData.from_file(str(path)))
        steps = -(-len(prepared.parts[0].x) // batch)
        record.add("-".join(map(str, network)), found | {"wall": wall, "steps": steps})


def kernels(data: Any) -> dict[str, Any]:
    """What a device was busy with: seconds, kernels, gaps between them, and the longest in sum.

    On a GPU the events of its streams; on a CPU those that name an operation of the program.
    """
    planes = list(data.planes)
    on_gpu = [plane for plane in planes if plane.name.startswith("/device:GPU")]
    spans: list[tuple[float, float, str]] = []
    for plane in on_gpu or planes:
        for line in plane.lines:
            if on_gpu and not line.name.startswith("Stream"):
                continue
            for event in line.events:
                if on_gpu or "hlo_op" in dict(event.stats):
                    spans.append((event.start_ns, event.start_ns + event.duration_ns, event.name))
    if not spans:
        raise ValueError("the profiler has seen no kernels")
    spans.sort()
    busy, gaps, end, spent = 0.0, [], spans[0][0], {}
    for start, stop, name in spans:
        if start > end:
            gaps.append(start - end)
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
        spent[name] = spent.get(name, 0.0) + (stop - start)
    longest = sorted(spent.items(), key=lambda each: -each[1])[:8]
    return {
        "kernels": len(spans),
        "busy": busy / 1e9,
        "gaps": sum(gaps) / 1e9,
        "median gap": statistics.median(gaps) / 1e9 if gaps else 0.0,
        "longest": {name[:80]: each / 1e9 for name, each in longest},
    }


def headlines(parts: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The figures to remember: names with what is measured and in which unit."""
    for name, part in parts.get("epochs", {}).items():
        seconds = part["seconds"]
        if seconds.get(OURS):
            yield f"an epoch of {name}, seconds", statistics.median(seconds[OURS])
            for other in (EAGER, GRAPHS):
                if seconds.get(other):
                    ratio = times_as_long(seconds[other], seconds[OURS])
                    yield f"an epoch of {name}: {other}, times as long as ours", ratio
    for name, part in parts.get("sweeps", {}).items():
        for called, seconds in part.get("seconds", {}).items():
            if "trials, float32" in called:
                median = statistics.median(seconds)
                yield f"a trial and epoch of {name} among {called}, seconds", median
