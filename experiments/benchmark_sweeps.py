"""How long does a trial of a sweep take, beside what people use elsewhere?

    python experiments/benchmark_sweeps.py --data mnist    # or a folder with the four IDX files

Everything is measured in one run, in turn, several times over: 64 trials of 784-128-10 and of
784-32-10 with batches of 128 and stochastic gradient descent with momentum, in seconds per trial
and epoch. What trains one network after another is measured on a few of the 64; torch.func on a
part of an epoch. The bare matrix products count as many multiplications as a trial has, at the
rate of a product of two large matrices on all cores. On a GPU, the sweep and the products are also
measured in TF32 and bfloat16. Needs the extra `peers` and hyperoptax.
Results: benchmark_sweeps.json, .md and .png in `experiments/results`.
"""

import argparse
import importlib
import json
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contestants import arrays_of, pytorch
from joblib import Parallel, delayed
from measuring import (
    PRECISIONS,
    Measure,
    in_turn,
    machine,
    middle,
    of_device,
    seconds_of_products,
    timed,
    times_as_long,
)
from sklearn.neural_network import MLPClassifier

import jaxmlp
from jaxmlp import Config, Hyperparams
from jaxmlp.cli.common import load_data
from jaxmlp.plots import PALE, new_figure, save
from jaxmlp.sweeps.pictures import COLOURS
from jaxmlp.sweeps.plan import make_plan, multiplications
from jaxmlp.sweeps.run import (
    Data,
    axes_of,
    mesh,
    place,
    sharded_epoch,
    spread,
    state_like,
    train_together,
)
from jaxmlp.sweeps.space import Space, make_space
from jaxmlp.training import initial_state, run_epoch

torch: Any = importlib.import_module("torch")  # by name, since the types are checked without it
peer: Any = importlib.import_module("hyperoptax")
ROUNDS = 5
TRIALS = 64
GROWTH = (1, 4, 16, 64, 256, 1024)
OURS, PRODUCTS = "sweep", "bare matrix products"


def config_of(width: int, epochs: int = 1) -> Config:
    """The settings that all of them share."""
    return Config(
        hidden=(width,), optimizer="sgd", schedule="constant", batch_size=128, epochs=epochs
    )


def trials_of(width: int, count: int, epochs: int = 1) -> Any:
    """Trials that differ in their learning rate and seed."""
    return space_of(width, count, epochs).trials


def space_of(width: int, count: int, epochs: int) -> Space:
    """Learning rates and up to four seeds."""
    rates = [float(rate) for rate in np.geomspace(1e-3, 0.3, max(1, count // 4))]
    space = {"learning_rate": rates, "seed": range(min(4, count))}
    return make_space(space, config_of(width, epochs), Hyperparams(label_smoothing=0.0))


def ours(width: int, dataset: jaxmlp.Dataset, data: Data, count: int = TRIALS) -> Measure:
    """Our sweep, in its chunks: the second of two epochs each, in which nothing is compiled."""
    trials, config = trials_of(width, count, 2), config_of(width, 2)
    plan = make_plan(space_of(width, count, 2), dataset)
    size = min(count, plan.buckets[0].at_once)

    def measure() -> float:
        total = 0.0
        for first in range(0, count, size):
            ends: list[float] = []
            train_together(
                trials[first : first + size], config, data, size, shared=True,
                on_epoch=lambda *_, ends=ends: ends.append(time.perf_counter()),
            )  # fmt: skip
            total += ends[1] - ends[0]
        return total / count

    return measure


def loop(width: int, dataset: jaxmlp.Dataset) -> Measure:
    """Our own `train`, one trial after another."""
    trial, config = trials_of(width, 1)[0], config_of(width, 2)

    def measure() -> float:
        ends: list[float] = []

        def on_epoch(_: int, metrics: Any) -> None:
            jax.block_until_ready(metrics)
            ends.append(time.perf_counter())

        jaxmlp.train(jax.random.key(0), trial.hyper, dataset, config=config, on_epoch=on_epoch)
        return ends[1] - ends[0]

    return measure


def one_epoch(config: Config, data: Data) -> Callable[..., Any]:
    """A trial's first epoch as a function of learning rate and key, for other people's loops."""

    def train(rate: Any, key: Any) -> Any:
        hyper = Hyperparams(learning_rate=rate, label_smoothing=0.0)
        state = initial_state(key, hyper, config, data.n_in, data.n, data.n_out)
        order = jax.random.key(0)
        _, metrics = run_epoch(
            state, hyper, order, key, data.train, data.validation, data.scale, config=config
        )
        return metrics.validation_loss

    return train


def mapped(width: int, data: Data, count: int = 8) -> Measure:
    """`lax.map` over the trials."""
    train = one_epoch(config_of(width), data)
    program = jax.jit(lambda rates, keys: jax.lax.map(lambda pair: train(*pair), (rates, keys)))
    arguments = jnp.full(count, 0.1), jax.random.split(jax.random.key(0), count)
    return lambda: timed(lambda: program(*arguments)) / count


def hyperoptax(width: int, data: Data) -> Measure:
    """Its grid search around our epoch, all trials at once."""
    train = one_epoch(config_of(width), data)
    rates = peer.DiscreteSpace(tuple(np.geomspace(1e-3, 0.3, TRIALS).tolist()))
    state, optimizer = peer.GridSearch.init({"rate": rates}, n_parallel=TRIALS)

    def objective(key: Any, params: Any) -> Any:
        del key  # of a trial's own kind; ours are typed
        return train(params["rate"], jax.random.key(0))

    program = jax.jit(
        lambda state, key: optimizer.optimize_scan(state, key, objective, n_iterations=1)[1][1]
    )
    key = jax.random.PRNGKey(0)
    return lambda: timed(lambda: program(state, key)) / TRIALS


def torch_vmap(width: int, x: np.ndarray, y: np.ndarray, steps: int = 40) -> Measure:
    """`torch.func`: all trials in one vmapped step, on the same batches; a part of an epoch."""
    inputs, labels = torch.tensor(x), torch.tensor(y, dtype=torch.long)
    sizes = (x.shape[1], width), (width,), (width, 10), (10,)
    rates = torch.logspace(-3, -0.5, TRIALS)

    def cost(params: Any, x: Any, y: Any) -> Any:
        w0, b0, w1, b1 = params
        return torch.nn.functional.cross_entropy(torch.relu(x @ w0 + b0) @ w1 + b1, y)

    gradient = torch.func.vmap(torch.func.grad(cost), in_dims=(0, None, None))

    def measure() -> float:
        params = [0.05 * torch.randn(TRIALS, *size) for size in sizes]
        momenta = [torch.zeros_like(leaf) for leaf in params]

        def part() -> None:
            nonlocal params, momenta
            with torch.no_grad():
                for rows in torch.randperm(len(inputs)).split(128)[:steps]:
                    grads = gradient(params, inputs[rows], labels[rows])
                    momenta = [0.9 * m + g for m, g in zip(momenta, grads, strict=True)]
                    params = [
                        p - rates.reshape(-1, *[1] * (p.ndim - 1)) * m
                        for p, m in zip(params, momenta, strict=True)
                    ]

        return timed(part) * -(-len(inputs) // 128) / steps / TRIALS

    return measure


def sklearn(width: int, x: np.ndarray, y: np.ndarray) -> Measure:
    """scikit-learn's network, as many at once by joblib as there are cores."""
    cores = os.cpu_count() or 1

    def fit(seed: int) -> None:
        with warnings.catch_warnings(action="ignore"):  # that one epoch is too little
            MLPClassifier(
                (width,), solver="sgd", batch_size=128,  # pyright: ignore[reportArgumentType]
                max_iter=1, alpha=0, random_state=seed,
                learning_rate_init=0.1,
            ).fit(x, y)  # fmt: skip

    def measure() -> float:
        return timed(lambda: Parallel(cores)(delayed(fit)(seed) for seed in range(cores))) / cores

    return measure


def memory(width: int, data: Data) -> dict[str, float]:
    """Bytes of one of the trials beside parameters, optimizer state and its share of the batch."""
    config = config_of(width)
    sizes = data.sizes(config)
    state = sum(
        leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state_like(config, data))
    )
    used = []
    for count in (16, 32):
        stats = lower(width, data, count).compile().memory_analysis()
        used.append(stats.temp_size_in_bytes + stats.argument_size_in_bytes)
    batch = 4 * config.batch_size * sum(sizes[1:])  # its activations; the inputs are shared
    each = (used[1] - used[0]) / 16 * mesh().size  # what is counted is one device's
    return {"bytes": each, "state": state, "batch": batch}


def lower(width: int, data: Data, count: int) -> Any:
    """The program of an epoch of some trials, before it is compiled."""
    config, one = config_of(width), state_like(config_of(width), data)

    def many(leaf: Any, axis: int) -> Any:
        shape = (*leaf.shape[:axis], count, *leaf.shape[axis:])
        sharding = jax.sharding.NamedSharding(mesh(), spread(axis))
        return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=sharding)

    numbers = jax.tree.map(lambda _: jax.ShapeDtypeStruct((count,), jnp.float32), Hyperparams())
    words = many(jax.ShapeDtypeStruct((2,), jnp.uint32), 0)
    order = jax.random.key_data(jax.random.key(0))
    return sharded_epoch(mesh(), one).lower(
        jax.tree.map(many, one, axes_of(one)), numbers, order, 0, words, data.train,
        data.validation, data.scale, config=config,
    )  # fmt: skip


def in_precision(name: str, measure: Measure) -> Measure:
    """The same with JAX's products of matrices in another precision."""

    def measured() -> float:
        with jax.default_matmul_precision(PRECISIONS[name]):
            return measure()

    return measured


def main() -> None:
    """Measure in turn, write down, draw."""
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", default="mnist", help="mnist, or a folder of IDX files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    most = ["float32"] if jax.devices()[0].platform == "cpu" else [*PRECISIONS]
    parser.add_argument(
        "--precisions", nargs="+", default=most, choices=PRECISIONS, help="of our products"
    )
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"--rounds is {arguments.rounds}: give at least 1")
    jax.config.update("jax_default_matmul_precision", "highest")  # as PyTorch's is on a GPU
    dataset = load_data(arguments.data)
    data = place(dataset)
    arrays = arrays_of(dataset)
    x, y = arrays[:2]
    found: dict[str, Any] = machine("torch", "scikit-learn", "hyperoptax")
    for width in (128, 32):
        methods: dict[str, Measure] = {
            OURS: ours(width, dataset, data),
            "train in a loop": loop(width, dataset),
            "lax.map": mapped(width, data),
            "PyTorch eager": partial(timed, pytorch((784, width, 10), 128, arrays, compiled=False)),
            "torch.func vmap": torch_vmap(width, x, y),
            "scikit-learn, joblib": sklearn(width, x, y),
            "hyperoptax grid": hyperoptax(width, data),
            PRODUCTS: seconds_of_products(multiplications(config_of(width), dataset)),
        }
        for name in arguments.precisions:
            if name != "float32":  # which the others above are in
                for method in (OURS, PRODUCTS):
                    methods[f"{method}, {name}"] = in_precision(name, methods[method])
        print(f"width {width}", flush=True)
        found[str(width)] = {
            "seconds": in_turn(methods, arguments.rounds),
            "memory": memory(width, data),
        }
    found["growth"] = {}
    for count in GROWTH:
        found["growth"][count] = ours(32, dataset, data, count)()
        print(f"{count} trials: {found['growth'][count]:.4f}", flush=True)
    text = json.dumps(found, indent=1) + "\n"
    path = arguments.out / f"benchmark_sweeps{of_device()}.json"
    path.write_text(text, encoding="utf-8")
    path.with_suffix(".md").write_text(table(found), encoding="utf-8")
    save(growth(found["growth"]), path.with_suffix(".png"))


def table(found: dict[str, Any]) -> str:
    """The medians with their spread, and how many times faster the sweep is."""
    lines = [
        f"Milliseconds per trial and epoch of MNIST, median (fastest to slowest round); "
        f"{found['processor']}, {found['cores']} cores.",
        "",
        "| | 784-128-10 | the sweep is faster by | 784-32-10 | the sweep is faster by |",
        "|---|---|---|---|---|",
    ]
    for name in found["128"]["seconds"]:
        cells = []
        for width in ("128", "32"):
            seconds = found[width]["seconds"]
            ratio = times_as_long(seconds[name], seconds[OURS])
            cells += [middle(seconds[name]), f"{ratio:.2f} ×"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append("")
    for width in ("128", "32"):
        used = found[width]["memory"]
        share = used["bytes"] / (used["state"] + used["batch"])
        lines.append(
            f"Memory of a trial of width {width}: {used['bytes'] / 1e6:.2f} MB, {share:.2f} times "
            f"its state ({used['state'] / 1e6:.2f} MB) and share of a batch "
            f"({used['batch'] / 1e6:.2f} MB)."
        )
    return "\n".join(lines) + "\n"


def growth(seconds: dict[int, float]) -> Any:
    """How the time grows with the number of trials."""
    figure = new_figure(7.0, 4.2, "Sweeps of 784-32-10 on MNIST: seconds per epoch")
    axes = figure.subplots()
    counts = np.asarray([*map(int, seconds)])
    total = counts * np.asarray([*seconds.values()])
    axes.loglog(counts, total, "o-", color=COLOURS[0], lw=2, label="one program")
    axes.loglog(counts, counts * total[0], "--", color=COLOURS[1], lw=1, label="one after another")
    axes.set(xlabel="trials", ylabel="seconds per epoch, all trials")
    axes.set_xticks(counts, map(str, counts))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=PALE)
    axes.minorticks_off()
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
