"""The page and the picture of what `benchmark.py` measured."""

import statistics
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from measuring import middle, times_as_long
from rates import BACKWARD, FORWARD, LARGE

from jaxmlp.plots import GREY, INK, new_figure, open_axes
from jaxmlp.sweeps.pictures import COLOURS

GOALS = {  # of an epoch: how many times as long as ours it takes, at least; the floor is a share
    "784-128-10": {"PyTorch, eager": 3.0, "scikit-learn": 3.0, "floor": 0.7},
    "784-1024-1024-10": {"PyTorch, eager": 1.8, "floor": 0.85},
}
TRIED = """
Products of 128 rows run slower than large ones, by XLA as by PyTorch, on two cores more so than on
one (below: rates): in the small network, that is most of what lies between the floor and an epoch.
The rest is the optimizer, validation, a fresh order, gathering and many small operations. Tried
against it, without gain: XLA's options for its libraries of products (YNNPACK, oneDNN), inputs and
weights in every other layout, products cut in halves (a quarter slower), hidden units spread over
two devices with a sum of logits in every step (7 % slower), pixels gathered for the whole epoch.
Not kept: XLA's scheduler that saves memory, which is 6 % faster at width 128 and 3 % slower at
256, and would have to be set for all that a user compiles; a gradient of the last layer as a
transposed product, which is 3 % faster, but with jax 0.10.2 XLA aborts when it compiles it for
many networks at once. With gain: orders without sorting, 8-bit pixels, slices for validation. Not
to be had: XLA fuses no two outputs on CPU, so that momentum and weights are two passes; inside
the loop they are updated in place, so there is nothing to donate; validation beside training
would take its cores. The gradient by hand has no more operations than JAX's in XLA's counts, but
for Σy, and mostly one fusion more; we do not know what else could make it slower where it is.
Where XLA divides by multiplying with a reciprocal, it has one rounding more; the largest of 2,000
errors is that of one draw, and goes either way. `jaxmlp train` also compares gradients, writes a
checkpoint an epoch and draws pictures.
"""


def page(found: dict[str, Any]) -> str:
    """All of it in Markdown."""
    about = found["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    threads = ", ".join(f"{name} {number}" for name, number in about["threads"].items())
    lines = [
        f"{about['device']}; {about['processor']}, {about['cores']} cores (threads: {threads}); "
        f"{versions}. Times are medians (fastest to slowest)."
    ]
    if about["device"] == "cpu":
        lines += _table("Goals", ("", "goal", "got", ""), goals(found))
        lines += ["", *_at_best(found), TRIED.strip()]
    for name, part in found.get("epoch", {}).items():
        lines += _epoch(name, part)
    if "rates" in found:
        lines += _rates(found["rates"])
    lines += _gradients("", found.get("gradient", []))
    lines += _accuracy(found.get("accuracy", []))
    lines += _growth(found.get("growth", {}))
    for name, part in found.get("precision", {}).items():
        lines += _precision(name, part)
    lines += _cold(found.get("cold", {}))
    return "\n".join(lines) + "\n"


def _at_best(found: dict[str, Any]) -> Iterator[str]:
    """How far the goals beside PyTorch could be reached at all."""
    for network, part in found.get("epoch", {}).items():
        if "PyTorch, eager" in part["seconds"]:
            ratio = times_as_long(part["seconds"]["PyTorch, eager"], part["seconds"]["floor"])
            yield f"{network}: for PyTorch, the floor itself would be {ratio:.1f} times as fast.\n"


def _table(title: str, columns: tuple[str, ...], rows: Any) -> list[str]:
    """A part of the page, if it has any rows."""
    cells = [f"| {' | '.join(map(str, row))} |" for row in rows]
    head = ["", f"## {title}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return head + cells if cells else []


def goals(found: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Every goal that has been measured: what, the goal, what came out, and if that is enough."""
    for what, goal, got in _ratios(found):
        met = "met" if got >= goal else f"missed by {1 - got / goal:.0%}"
        yield what, f"{goal:g}", f"{got:.2f}", met


def _ratios(found: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    for network, wanted in GOALS.items() if "epoch" in found else ():
        times = found["epoch"][network]["seconds"]
        for name, goal in wanted.items():
            if name in times:
                ratio = times_as_long(times[name], times["jaxmlp"])
                yield f"{network}: {name}, times as long as ours", goal, ratio
    if cases := found.get("gradient"):
        worst = min(_times(case) for case in cases)
        yield "gradient: `jax.grad`, times as long as by hand, at worst", 1.0, worst
        worst = min(case["bytes"]["jax.grad"] / max(case["bytes"]["by hand"], 1) for case in cases)
        yield "gradient: `jax.grad`, times the memory, at worst", 1.0, worst
    if cases := found.get("accuracy"):
        worst = min(case["jax.grad"][0] / case["by hand"][0] for case in cases)
        yield "gradient: `jax.grad`, times the mean error, at worst", 1.0, worst
        worst = min(case["jax.grad"][1] / case["by hand"][1] for case in cases)
        yield "gradient: `jax.grad`, times the largest error of 2,000, at worst", 1.0, worst
    if runs := found.get("cold"):
        taken = {name: statistics.median(_seconds(each)) for name, each in runs.items()}
        best = min(seconds for name, seconds in taken.items() if not name.startswith("jaxmlp"))
        for name, seconds in taken.items():
            if name.startswith("jaxmlp"):
                yield (
                    f"to 98 %: the best of the others, times as long as {name}",
                    1.0,
                    best / seconds,
                )


def _times(case: dict[str, Any]) -> float:
    return times_as_long(case["seconds"]["jax.grad"], case["seconds"]["by hand"])


def _seconds(runs: list[dict[str, float]]) -> list[float]:
    return [run["seconds"] for run in runs]


def _epoch(name: str, part: dict[str, Any]) -> list[str]:
    """Everybody's epoch, and what ours is made of."""
    times = part["seconds"]
    rows = [
        (other, middle(seconds), f"{times_as_long(seconds, times['jaxmlp']):.2f}")
        for other, seconds in times.items()
    ]
    columns = ("", "milliseconds", "times as long as ours")
    lines = _table(f"An epoch of MNIST, {name}, batches of {part['batch']}", columns, rows)
    rungs = dict(part["parts"])
    empty, whole = rungs.pop("an empty loop"), rungs["validation"]
    least = [(1 - part["validation"]) * each for each in rungs.pop("floor")]
    rows = [("the floor, but for validation", *_own([0.0] * len(least), least, whole))]
    for (_, before), (rung, after) in pairwise([("", least), *rungs.items()]):
        rows.append((f"+ {rung}", *_own(before, after, whole)))
    lines += _table(f"What ours is made of, {name}", ("", "milliseconds", "share"), rows)
    spent = "; ".join(f"{what} {1e3 * each:.3g}" for what, each in part["profile"].items())
    return [
        *lines, "",
        f"An empty loop of as many steps takes {middle(empty)} ms, "
        f"{statistics.median(empty) / statistics.median(whole):.1%} of the epoch. One fused "
        f"operation gathers and converts pixels. What takes longest, in ms, by "
        f"JAX's profiler, which counts a product that runs beside another one only until it has "
        f"begun: {spent}.",
    ]  # fmt: skip


def _own(before: list[float], after: list[float], whole: list[float]) -> tuple[str, str]:
    """What a rung adds: the median of the differences, their middle half, and the share."""
    low, own, high = np.percentile(np.subtract(after, before), [25, 50, 75])
    text = f"{1e3 * own:.3g} (half of the rounds: {1e3 * low:.3g} to {1e3 * high:.3g})"
    return text, f"{own / statistics.median(whole):.0%}"


def _rates(found: dict[str, Any]) -> list[str]:
    """Products of few rows, beside large ones."""
    rows = [
        (who, *(f"{statistics.median(rates[name]):.0f}" for name in (FORWARD, BACKWARD, LARGE)))
        for who, rates in found.items()
    ]
    title = "10⁹ multiplications a second in products of 128 rows, 784-128, and in large ones"
    return _table(title, ("library, cores", FORWARD, BACKWARD, LARGE), rows)


def _gradients(where: str, found: list[dict[str, Any]]) -> list[str]:
    """How much longer the gradient by JAX takes, and how much more memory."""
    columns = (
        "width", "hidden layers", "examples", "activation", "by hand, ms",
        "times as long (half of the rounds)", "times the memory",
    )  # fmt: skip
    rows = [
        (
            each["width"], each["depth"], each["n"], each["activation"],
            middle(each["seconds"]["by hand"]), _spread(each),
            f"{each['bytes']['jax.grad'] / max(each['bytes']['by hand'], 1):.2f}",
        )
        for each in found
    ]  # fmt: skip
    title = f"One gradient, `jax.value_and_grad` beside the one by hand{where}"
    return _table(title, columns, rows)


def _spread(case: dict[str, Any]) -> str:
    """The median ratio of the times, and its middle half."""
    ratios = np.divide(case["seconds"]["jax.grad"], case["seconds"]["by hand"])
    low, own, high = np.percentile(ratios, [25, 50, 75])
    return f"{own:.2f} ({low:.2f} to {high:.2f})"


def _accuracy(found: list[dict[str, Any]]) -> list[str]:
    rows = [
        (
            each["network"],
            f"{each['logits']:g}",
            *("{:.2e} ({:.1e})".format(*each[name]) for name in ("by hand", "jax.grad")),
        )
        for each in found
    ]
    title = "Errors in float32, relative to the largest entry: mean (largest)"
    return _table(title, ("network", "logits up to", "by hand", "`jax.grad`"), rows)


def _growth(found: dict[str, Any]) -> list[str]:
    rows = []
    for axis, points in found.items():
        seconds = [statistics.median(each) for each in points["seconds"]]
        memory = [each / 2**20 for each in points["bytes"]]
        row = [f"{axis} {', '.join(map(str, points['at']))}"]
        for values in (seconds, memory):
            row += [
                ", ".join(f"{value:.3g}" for value in values),
                f"{_slope(points['at'], values):.2f}",
            ]
        rows.append(row)
    columns = ("with", "seconds", "slope", "MiB beside the data", "slope")
    return _table("How an epoch grows, from 784-128-10, or 784-256-… for the layers", columns, rows)


def _slope(at: list[float], values: list[float]) -> float:
    """The power with which something grows: the straight line through all points, log by log."""
    return float(np.polyfit(np.log(at), np.log(values), 1)[0])


def _precision(name: str, part: dict[str, Any]) -> list[str]:
    networks = [each for each in part["epoch"] if not each.startswith("floor")]
    rows = [
        (
            network,
            middle(part["epoch"][network]),
            f"{times_as_long(part['epoch'][f'floor of {network}'], part['epoch'][network]):.2f}",
        )
        for network in networks
    ]
    lines = _table(f"Products in {name}", ("an epoch of", "milliseconds", "the floor"), rows)
    return lines + _gradients(f", products in {name}", part["gradient"])


def _cold(found: dict[str, Any]) -> list[str]:
    rows = [
        (
            name,
            "{:.1f} ({:.1f} to {:.1f})".format(
                *(of(_seconds(runs)) for of in (statistics.median, min, max))
            ),
            ", ".join(f"{run['accuracy']:.4f}" for run in runs),
        )
        for name, runs in found.items()
    ]
    columns = ("", "seconds", "accuracy")
    return _table("From a cold process to 98 % of MNIST's test part", columns, rows)


def picture(found: dict[str, Any]) -> Any:
    """Everybody's epoch, in units of the floor."""
    figure = new_figure(
        10.0, 4.4, "An epoch of MNIST with validation, in units of its matrix products alone"
    )
    panels = figure.subplots(1, len(found["epoch"]))
    for axes, (name, part) in zip(panels, found["epoch"].items(), strict=True):
        times = part["seconds"]
        names = [each for each in times if each != "floor"]
        ratios = [times_as_long(times[each], times["floor"]) for each in names]
        colours = [COLOURS[0] if each.startswith("jaxmlp") else GREY for each in names]
        axes.barh(names, ratios, color=colours)
        axes.axvline(1, color=INK, lw=1, ls="--")
        for row, ratio in enumerate(ratios):
            axes.text(ratio, row, f" {ratio:.1f}", va="center", size=9)
        axes.set(title=name, xlim=(0, 1.15 * max(ratios)))
        axes.invert_yaxis()
        open_axes(axes, "x")
    panels[-1].set_yticklabels([])
    return figure
