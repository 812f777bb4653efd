"""How far do a trial in a sweep and the same trial alone lie apart?

    python experiments/contract.py

Random learning rates, from far too small to far too large, for three activations, two optimizers
and two schedules, of a 64-32-10 network on digits. Every trial is run again alone by `replay`, and
the largest relative difference of a loss is set against its learning rate. Results: contract.json
and contract.png in `experiments/results`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import jaxmlp
from jaxmlp.plots import GREY, new_figure, open_axes, save
from jaxmlp.sweeps import loguniform, replay, sweep
from jaxmlp.sweeps.contract import BOUND
from jaxmlp.sweeps.pictures import COLOURS
from jaxmlp.sweeps.reading import names_at, view

RATES = {"sgd": loguniform(0.01, 3), "adam": loguniform(0.001, 0.4)}
ACTIVATIONS = ("relu", "tanh", "gelu")
SCHEDULES = ("cosine", "constant")


def measured(optimizer: str, trials: int) -> list[dict[str, Any]]:
    """Some random trials of every activation and schedule, each beside itself alone."""
    dataset = jaxmlp.load_digits(uint8=True)
    config = jaxmlp.Config(hidden=(32,), optimizer=optimizer, epochs=10)  # pyright: ignore[reportArgumentType]
    space = {
        "activation": ACTIVATIONS,
        "schedule": SCHEDULES,
        "learning_rate": RATES[optimizer],
    }
    table = sweep(space, dataset, config=config, trials=trials)
    seen, found = view(table), []
    for number, place in enumerate(np.ndindex(seen.space.shape)):
        point = {axis.name: axis.labels[i] for axis, i in zip(seen.space.axes, place, strict=True)}
        again, names = replay(table, point, dataset), names_at(seen.space, number)
        found.append(
            {
                "optimizer": optimizer,
                **{name: names[name] for name in space},
                "accuracy": float(table.validation_accuracy.sel(point)[-1]),
                "difference": again.difference,
                "accuracies differ by": again.accuracy,
                "holds": again.holds,
            }
        )
        print(f"{point}: {again}", flush=True)
    return found


def picture(found: list[dict[str, Any]]) -> Any:
    """The difference of every trial against its learning rate."""
    figure = new_figure(9.0, 4.2, "A trial in a sweep and alone: the largest difference of a loss")
    panels = figure.subplots(1, len(RATES), sharey=True)
    for axes, optimizer in zip(panels, RATES, strict=True):
        for activation, colour in zip(ACTIVATIONS, COLOURS, strict=False):
            some = [
                (each["learning_rate"], max(each["difference"], 1e-8))
                for each in found
                if (each["optimizer"], each["activation"]) == (optimizer, activation)
            ]
            axes.scatter(*zip(*some, strict=True), s=9, color=colour, label=activation)
        axes.set(xscale="log", yscale="log", xlabel="learning rate", title=optimizer)
        axes.axhline(BOUND, color=GREY, lw=1, ls="--")
        open_axes(axes)
    panels[0].set(ylabel="relative difference")
    panels[0].legend(frameon=False)
    return figure


def main() -> None:
    """Measure, write down, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trials", type=int, default=50, help="of each kind")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    found = [each for optimizer in RATES for each in measured(optimizer, arguments.trials)]
    differences = np.asarray([each["difference"] for each in found])
    print(f"{len(found)} trials; median difference {np.median(differences):.1e}")
    print(f"{np.mean(differences <= BOUND):.1%} within {BOUND:g}")
    print(f"{np.mean([each['holds'] for each in found]):.1%} within the bound")
    text = "[\n" + ",\n".join(map(json.dumps, found)) + "\n]\n"
    (arguments.out / "contract.json").write_text(text, encoding="utf-8")
    save(picture(found), arguments.out / "contract.png")


if __name__ == "__main__":
    main()
