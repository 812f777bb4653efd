"""How low does the test error on MNIST go, with one hidden layer and with two?

    python experiments/mnist.py --data mnist          # or a folder with the four IDX files

For each of two shapes, a few candidate settings are trained and the one with the lowest error
on the 6,000 validation images is chosen. Only then is the test part looked at, once for each
of five seeds of the chosen settings. Results: mnist.json and mnist.png in `experiments/results`.
What mnist.json holds already is not trained again, so that an interrupted search goes on.
"""

import argparse
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

import jaxmlp
from jaxmlp import Config, Hyperparams
from jaxmlp.cli.common import load_data
from jaxmlp.evaluation import evaluate
from jaxmlp.plots import save

SEEDS = range(5)


class Candidate(NamedTuple):
    """Settings that might be chosen, under a name that says what is special about them."""

    name: str
    config: Config
    hyper: Hyperparams


def candidate(name: str, *, smoothing: float, decay: float = 0.0, **config: Any) -> Candidate:
    """AdamW with a cosine schedule; what differs between candidates is given."""
    settings: dict[str, Any] = {"optimizer": "adamw", "batch_size": 128, "epochs": 40} | config
    hyper = Hyperparams(learning_rate=1e-3, weight_decay=decay, label_smoothing=smoothing)
    return Candidate(name, Config(**settings), hyper)


def one_layer(name: str, **settings: Any) -> Candidate:
    """A candidate for the classical shape."""
    return candidate(name, hidden=(800,), **settings)


def two_layers(name: str, **settings: Any) -> Candidate:
    """A candidate for the best network within reach of a laptop."""
    return candidate(
        name, hidden=(1024, 1024), activation="gelu", batch_size=256, epochs=30, **settings
    )


RECIPES = {
    "784-800-10": [
        one_layer("ReLU, smoothing 0.1", smoothing=0.1),
        one_layer("ReLU, smoothing 0.1, mixup", smoothing=0.1, augmentation="mixup"),
        one_layer("ReLU, smoothing 0.2, decay 0.1", smoothing=0.2, decay=0.1),
        one_layer("GELU, smoothing 0.2", smoothing=0.2, activation="gelu"),
        one_layer("GELU, smoothing 0.2, decay 0.1", smoothing=0.2, decay=0.1, activation="gelu"),
    ],
    "784-1024-1024-10": [
        two_layers("smoothing 0.2, decay 0.1", smoothing=0.2, decay=0.1),
        two_layers("smoothing 0.3, decay 0.3", smoothing=0.3, decay=0.3),
        two_layers("mixup, decay 0.1", smoothing=0.0, decay=0.1, augmentation="mixup"),
    ],
}


def main() -> None:
    """Search, choose, test, write down, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", default="mnist", help="mnist, or a folder of IDX files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    dataset = load_data(arguments.data)
    path = arguments.out / "mnist.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for shape, candidates in RECIPES.items():
        entry = results.setdefault(shape, {"validation_error_percent": {}})
        tried = entry["validation_error_percent"]
        for each in candidates:
            if each.name not in tried:
                tried[each.name] = validation_error(each, dataset)
                write(path, results)
        best = min(candidates, key=lambda each: tried[each.name])
        if entry.get("chosen") != best.name:
            entry["chosen"] = best.name
            entry["config"], entry["hyperparams"] = asdict(best.config), best.hyper._asdict()
            entry["test_error_percent"] = []
        errors = entry["test_error_percent"]
        for seed in SEEDS[len(errors) :]:
            errors.append(test_error(best, dataset, seed))
            entry["mean"] = float(np.mean(errors))
            entry["deviation"] = float(np.std(errors, ddof=min(1, len(errors) - 1)))
            write(path, results)
        print(f"{shape}: {best.name}: test error {entry['mean']:.3f} % ± {entry['deviation']:.3f}")
    save(draw(results), arguments.out / "mnist.png")


def validation_error(each: Candidate, dataset: jaxmlp.Dataset) -> float:
    """Percent of the validation images that a network with seed 0 gets wrong at the end."""
    start = time.perf_counter()
    result = jaxmlp.train(jax.random.key(0), each.hyper, dataset, config=each.config)
    error = 100 * (1 - float(result.metrics.validation_accuracy[-1]))
    print(
        f"{each.name}: validation error {error:.3f} %, {time.perf_counter() - start:.0f} s",
        flush=True,
    )
    return error


def test_error(best: Candidate, dataset: jaxmlp.Dataset, seed: int) -> float:
    """Percent of the test images that a network with this seed gets wrong."""
    result = jaxmlp.train(jax.random.key(seed), best.hyper, dataset, config=best.config)
    accuracy = evaluate(result.params, dataset, dataset.test, best.config).score
    print(f"{best.name}, seed {seed}: test error {100 * (1 - accuracy):.2f} %", flush=True)
    return round(100 * (1 - accuracy), 4)


def write(path: Path, results: dict[str, Any]) -> None:
    """Write the results so far aside, then in their place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".partial")
    aside.write_text(json.dumps(results, indent=2) + "\n")
    os.replace(aside, path)


# Test errors in percent of networks of the same shape, trained with cross-entropy.
PUBLISHED = {
    "784-800-10": {"Simard et al. 2003": 1.6, "Hinton 2005": 1.53},
    "784-1024-1024-10": {},
}


def draw(results: dict[str, Any]) -> Figure:
    """For each shape: what the candidates reached on validation, and the test errors of seeds."""
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    axes = figure.subplots(2, 2, width_ratios=(3, 2), sharex="col")
    for row, (shape, entry) in zip(axes, results.items(), strict=True):
        tried, chosen = entry["validation_error_percent"], entry["chosen"]
        names = sorted(tried, key=tried.get, reverse=True)
        colours = ["#0072b2" if name == chosen else "#b8b8b8" for name in names]
        bars = row[0].barh(names, [tried[name] for name in names], color=colours, height=0.65)
        row[0].bar_label(bars, fmt="%.2f", padding=4, color="#444444")
        row[0].set_title(shape, loc="left", fontweight="bold")
        row[1].plot(entry["test_error_percent"], [0] * len(SEEDS), "o", color="#0072b2", alpha=0.6)
        row[1].axvline(entry["mean"], color="#0072b2")
        row[1].annotate(
            f"{entry['mean']:.2f} % ± {entry['deviation']:.2f}", (entry["mean"], 0.35), (6, 0),
            textcoords="offset points", color="#0072b2", fontweight="bold",
        )  # fmt: skip
        for number, (source, error) in enumerate(PUBLISHED[shape].items()):
            row[1].axvline(error, color="#d55e00", linestyle=":")
            row[1].annotate(
                source, (error, -0.45 + 0.2 * number), (-5, 0), textcoords="offset points",
                ha="right", color="#d55e00", fontsize=9,
                bbox={"fc": "white", "ec": "none", "pad": 1},
            )  # fmt: skip
        row[1].set(yticks=[], ylim=(-0.6, 0.6))
        for axis in row:
            axis.spines[["top", "right"]].set_visible(False)
    axes[1, 0].set_xlabel("validation error of each candidate, % (the chosen one in blue)")
    axes[1, 1].set_xlabel(f"test error of the chosen one, %, {len(SEEDS)} seeds")
    axes[1, 0].set_xlim(left=0)
    return figure


if __name__ == "__main__":
    main()
