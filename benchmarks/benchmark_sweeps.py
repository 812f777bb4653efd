"""How long does a trial of a sweep take, beside what people use elsewhere?

    python benchmarks/benchmark_sweeps.py --data mnist    # or a folder with the four IDX files

Everything is measured in one run, in turn, several times over: 64 trials of 784-128-10 and of
784-32-10 with batches of 128 and stochastic gradient descent with momentum, in seconds per trial
and epoch. What trains one network after another is measured on a few of the 64; torch.func on a
part of an epoch. The bare matrix products count as many multiplications as a trial has, at the
rate of a product of two large matrices on all cores. On a GPU, the sweep and the products are also
measured in TF32 and bfloat16. Needs the extra `peers` and hyperoptax.
Results: benchmark_sweeps.json, .md and .png in `experiments/results`.
"""

import argparse
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import history
import jax
import numpy as np
from contestants import arrays_of, pytorch
from measuring import (
    PRECISIONS,
    Measure,
    in_precision,
    in_turn,
    machine,
    middle,
    of_device,
    seconds_of_products,
    timed,
    times_as_long,
)
from sweep_contestants import (
    BATCH,
    config_of,
    hyperoptax,
    loop,
    mapped,
    memory,
    ours,
    sklearn,
    torch_vmap,
)

from jaxmlp.cli.common import load_data
from jaxmlp.plots import new_figure, open_axes, save
from jaxmlp.sweeps.costs import multiplications
from jaxmlp.sweeps.networks import NetworkTraining
from jaxmlp.sweeps.pictures import COLOURS

ROUNDS = 5
GROWTH = (1, 4, 16, 64, 256, 1024)
OURS, PRODUCTS = "sweep", "bare matrix products"


def main() -> None:
    """Measure in turn, write down, draw."""
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", default="mnist", help="mnist, or a folder of IDX files")
    parser.add_argument("--out", type=Path, default=history.RESULTS)
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
    training = NetworkTraining(dataset)
    data = training.data
    arrays = arrays_of(dataset)
    found: dict[str, Any] = machine("torch", "scikit-learn", "hyperoptax")
    for width in (128, 32):
        methods: dict[str, Measure] = {
            OURS: ours(width, training),
            "train in a loop": loop(width, dataset),
            "lax.map": mapped(width, data),
            "PyTorch eager": partial(
                timed, pytorch((784, width, 10), BATCH, arrays, compiled=False)
            ),
            "torch.func vmap": torch_vmap(width, arrays),
            "scikit-learn, joblib": sklearn(width, arrays.x, arrays.y),
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
            "memory": memory(width, training),
        }
    found["growth"] = {}
    for count in GROWTH:
        found["growth"][count] = ours(32, training, count)()
        print(f"{count} trials: {found['growth'][count]:.4f}", flush=True)
    text = json.dumps(found, indent=1) + "\n"
    path = arguments.out / f"benchmark_sweeps{of_device()}.json"
    path.write_text(text, encoding="utf-8")
    path.with_suffix(".md").write_text(table(found), encoding="utf-8")
    save(growth(found["growth"]), path.with_suffix(".png"))
    history.append("benchmark_sweeps.py", dict(headlines(found)), found, arguments.out)


def headlines(found: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """How many times as long as the sweep others take."""
    for width in ("128", "32"):
        seconds = found[width]["seconds"]
        for name in seconds:
            if name != OURS:
                ratio = times_as_long(seconds[name], seconds[OURS])
                yield f"a trial of 784-{width}-10: {name}, times as long as the sweep", ratio


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
    open_axes(axes, "both")
    axes.minorticks_off()
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
