"""Three sweeps: learning rate by width, learning rate by batch size, and 1,000 small networks.

    python experiments/sweeps.py --data mnist         # or a folder with the four IDX files

The first two are on MNIST, with stochastic gradient descent and 8 and 4 seeds; the third is a
random search on scikit-learn's digits, in one program. Results: sweeps.json and the pictures
sweep-width.png, sweep-batch.png and sweep-thousand.png in `experiments/results`.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxmlp
from jaxmlp import Config, Hyperparams
from jaxmlp.cli.common import load_data
from jaxmlp.plots import GREY, new_figure, open_axes, save
from jaxmlp.sweeps import best, loguniform, uniform
from jaxmlp.sweeps.pictures import COLOURS
from jaxmlp.sweeps.ranking import Row, rows_of

RATES = [float(f"{rate:.3g}") for rate in np.geomspace(3e-3, 3, 13)]
SGD = Config(optimizer="sgd", schedule="constant", epochs=4, batch_size=128)
PLAIN = Hyperparams(momentum=0.0, label_smoothing=0.0)


def main() -> None:
    """Sweep, write down, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", default="mnist", help="mnist, or a folder of IDX files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", 2)
    mnist = load_data(arguments.data)
    found = {
        "width": by_width(mnist, arguments.out / "sweep-width.png"),
        "batch": by_batch_size(mnist, arguments.out / "sweep-batch.png"),
        "thousand": thousand(arguments.out / "sweep-thousand.png"),
    }
    text = json.dumps(found, indent=1) + "\n"
    (arguments.out / "sweeps.json").write_text(text, encoding="utf-8")


def by_width(mnist: jaxmlp.Dataset, picture: Path) -> dict[str, Any]:
    """How the best learning rate moves with the width."""
    widths = (16, 64, 256)
    space = {"learning_rate": RATES, "hidden": [(n,) for n in widths], "seed": range(8)}
    rows, record = swept(space, mnist, SGD, PLAIN)
    record |= against_rate(rows, "hidden", [str(n) for n in widths], "width", picture)
    return record


def by_batch_size(mnist: jaxmlp.Dataset, picture: Path) -> dict[str, Any]:
    """How the best learning rate moves with the batch size."""
    sizes = [32, 128, 512, 2048]
    space = {"learning_rate": RATES, "batch_size": sizes, "seed": range(4)}
    config = replace(SGD, hidden=(64,))
    rows, record = swept(space, mnist, config, PLAIN)
    record |= against_rate(rows, "batch_size", sizes, "batch size", picture)
    return record


def thousand(picture: Path) -> dict[str, Any]:
    """A random search over four numbers, 1,000 times, in one program."""
    space = {
        "learning_rate": loguniform(1e-4, 1.0),
        "momentum": uniform(0.0, 0.99),
        "weight_decay": loguniform(1e-6, 1.0),
        "label_smoothing": uniform(0.0, 0.5),
    }
    config = Config(hidden=(16,), optimizer="adamw", epochs=20, batch_size=64)
    rows, record = swept(space, jaxmlp.load_digits(uint8=True), config, Hyperparams(), trials=1000)
    figure = new_figure(11.0, 3.4, "1,000 random settings of a 64-16-10 network on digits")
    for axes, name in zip(figure.subplots(1, len(space), sharey=True), space, strict=True):
        x = [row.names[name] for row in rows]
        axes.scatter(x, [row.score for row in rows], s=5, alpha=0.5, color=COLOURS[0])
        axes.plot(rows[0].names[name], rows[0].score, "o", color=COLOURS[1])
        if space[name].kind == "loguniform":
            axes.set_xscale("log")
        axes.set_xlabel(name.replace("_", " "))
        open_axes(axes)
    figure.axes[0].set_ylabel("validation accuracy")
    save(figure, picture)
    top = {name: np.quantile([row.names[name] for row in rows[:50]], (0.1, 0.9)) for name in space}
    ranges = {name: [float(f"{end:.3g}") for end in ends] for name, ends in top.items()}
    return {**record, "best": rows[0].names, "where eight of ten of the best 50 lie": ranges}


def swept(
    space: Any, dataset: jaxmlp.Dataset, config: Config, hyper: Hyperparams, **settings: Any
) -> tuple[list[Row], dict[str, Any]]:
    """A sweep's settings, the best first, and what is worth writing down of it."""
    start = time.perf_counter()
    table = jaxmlp.sweep(
        space, dataset, config=config, hyper=hyper, **settings,
        on_progress=lambda now: print(f"\r{now.share:.0%} ", end="", flush=True),
    )  # fmt: skip
    seconds = time.perf_counter() - start
    found = best(table, dataset)
    print(f"\r{table.diverged.size} trials in {seconds:.0f} s\n{found}\n{found.tested}")
    return rows_of(table), {
        "trials": table.diverged.size,
        "seconds": round(seconds),
        "validation": found.score,
        "optimism": found.optimism if np.isfinite(found.optimism) else None,
        "test": float(np.mean(found.tested.scores)) if found.tested else None,
    }


def against_rate(
    rows: list[Row], by: str, values: list[Any], called: str, picture: Path
) -> dict[str, Any]:
    """Draw the error against the learning rate, a line for every value of another field."""
    figure = new_figure(8.0, 4.8, f"MNIST: validation error by learning rate and {called}")
    axes = figure.subplots()
    chosen = {}
    for value, colour in zip(values, COLOURS, strict=False):
        some = sorted(
            (row for row in rows if row.names[by] == value and np.isfinite(row.score)),
            key=lambda row: row.names["learning_rate"],
        )
        rates = [row.names["learning_rate"] for row in some]
        errors = 100 * (1 - np.asarray([row.score for row in some]))
        spread = 100 * np.asarray([row.deviation for row in some])
        axes.errorbar(rates, errors, spread, color=colour, marker="o", ms=4, lw=2, label=value)
        least = int(np.argmin(errors))
        axes.plot(rates[least], errors[least], "o", color=colour, markersize=11, fillstyle="none")
        chosen[str(value)] = {"learning_rate": rates[least], "error": float(errors[least])}
    axes.set(xscale="log", yscale="log", xlabel="learning rate (SGD, no momentum)")
    axes.set_ylabel("validation error (%)")
    axes.legend(title=called, frameon=False, labelcolor="linecolor")
    axes.set_yticks(ticks := [2, 3, 5, 10, 20, 50, 90], [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_title(
        f"mean ± deviation over seeds after {SGD.epochs} epochs; rings mark the best", loc="left",
        fontsize=10, color=GREY,
    )  # fmt: skip
    open_axes(axes)
    save(figure, picture)
    return {"best": chosen}


if __name__ == "__main__":
    main()
