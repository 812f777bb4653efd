"""How fast are one gradient, one epoch and a cold start, beside others and beside the floor?

    python experiments/benchmark.py --data FOLDER    # with MNIST's four IDX files

Everything of a part is measured in one run, in turn, several times over; what is quoted are ratios.
The floor is the time that the matrix products of an epoch alone take, at the rate of a product of
two large matrices that is measured in the same turn, on all cores. Needs the extra `peers`.
Results: benchmark.json, .md and .png in `experiments/results`; where JAX finds an accelerator, its
name is part of theirs.
"""

import argparse
import json
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
from cold import cold_starts
from contestants import Prepared, epochs_of, ours, prepare
from measuring import (
    Measure,
    in_turn,
    machine,
    middle,
    seconds_of_products,
    timed,
    times_as_long,
)

import jaxmlp
from jaxmlp import Batch, Layer
from jaxmlp.activations import ACTIVATIONS
from jaxmlp.cli.common import load_data
from jaxmlp.gradient import manual_value_and_grad
from jaxmlp.losses import loss
from jaxmlp.plots import GREY, INK, PALE, new_figure, save
from jaxmlp.shuffling import permutation
from jaxmlp.sweeps.pictures import COLOURS
from jaxmlp.sweeps.plan import multiplications
from jaxmlp.training import TrainState, make_gradient, over_batches, run_epoch, update

ROUNDS = 5
NETWORKS = {"784-128-10": 128, "784-1024-1024-10": 1024}  # with their batch sizes
GRID = ((32, 256, 2048), (1, 3, 6), (1, 64, 4096), ("relu",))  # widths, hidden layers, batches
LIKE = ((256,), (3,), (1024,), tuple(ACTIVATIONS))  # one of them for every activation
SIZES = (1.0, 10.0, 100.0, 1e3, 1e4)  # of logits
GOALS = {  # how many times as long as ours, at least; and the share of the floor
    "784-128-10": {"PyTorch, eager": 3.0, "scikit-learn": 3.0, "floor": 0.7},
    "784-1024-1024-10": {"PyTorch, eager": 1.8, "floor": 0.85},
}
TRIED = """
Where two cores compute one product of 128 rows, a core does 0.75 of what it does alone, in
PyTorch as in XLA: that is most of what lies between the floor and an epoch of 784-128-10. Tried
against it, without gain: XLA's options for its libraries of products (YNNPACK, oneDNN) and its
scheduler (the one that saves memory: 6 % faster at width 128, 3 % slower at 256), inputs and
weights in every other layout, products cut in halves (a quarter slower), hidden units spread over
two devices with a sum of logits in every step (7 % slower). A gradient of the last layer as a
transposed product is 3 % faster, but XLA aborts when it compiles it for many networks at once.
Pixels gathered for the whole epoch take longer than batch by batch. With gain: orders without
sorting, 8-bit pixels, slices for validation.
"""
PRECISIONS = {"float32": "highest", "TF32": "tensorfloat32", "bfloat16": "bfloat16"}  # of products
PARTS = ("gradient", "accuracy", "epoch", "growth", "cold")
ON_GPU = ("gradient", "accuracy", "epoch", "precision")


def gradients(rounds: int, cases: Iterable[Any] = (*product(*GRID), *product(*LIKE))) -> list[Any]:
    """The gradient by hand beside `jax.value_and_grad`: time, and temporary memory."""
    found = []
    for width, depth, n, activation in cases:
        params = jaxmlp.init_params(jax.random.key(0), (width, *[width] * depth, 10))
        batch = Batch(jax.random.normal(jax.random.key(1), (n, width)), jnp.arange(n) % 10)
        programs = {
            name: jax.jit(partial(function, activation=activation)).lower(params, batch).compile()
            for name, function in (
                ("by hand", manual_value_and_grad),
                ("jax.grad", jax.value_and_grad(loss)),
            )
        }
        work = 3 * n * sum(leaf.size for leaf in jax.tree.leaves(params))
        repeats = max(1, int(2e8 / work))

        def run(program: Any, repeats: int = repeats, params: Any = params, batch: Any = batch):
            return timed(lambda: [program(params, batch) for _ in range(repeats)]) / repeats

        print(f"width {width}, {depth} hidden layers, {n} examples, {activation}", flush=True)
        times = in_turn({name: partial(run, each) for name, each in programs.items()}, rounds)
        memory = {name: temporary(each) for name, each in programs.items()}
        case = {"width": width, "depth": depth, "n": n, "activation": activation}
        found.append(case | {"seconds": times, "bytes": memory})
    return found


def accuracies(draws: int = 2000) -> list[dict[str, Any]]:
    """Errors of both in float32 beside 50 digits, in units of the largest entry: mean, largest."""
    by_jax = jax.jit(jax.grad(loss))
    found = []
    for size in SIZES:
        errors: dict[str, list[float]] = {"by hand": [], "jax.grad": []}
        for draw in range(draws):
            rng = np.random.default_rng(draw)
            weight = rng.normal(size=(3, 4)).astype(np.float32)
            weight *= np.float32(size) / np.abs(weight).max()
            labels = rng.uniform(size=(1, 4)).astype(np.float32)
            truth = _in_many_digits(weight[0], labels[0])
            one = jnp.asarray([[1.0, 0.0, 0.0]])  # so that the logits are exact
            given = (Layer(jnp.asarray(weight), None),), Batch(one, jnp.asarray(labels))
            for name, function in (("by hand", jaxmlp.manual_grad), ("jax.grad", by_jax)):
                off = np.abs(np.asarray(function(*given)[0].weight[0], float) - truth).max()
                errors[name].append(float(off / np.abs(truth).max()))
        found.append(
            {"logits": size}
            | {name: [statistics.mean(each), max(each)] for name, each in errors.items()}
        )
    return found


def _in_many_digits(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Equation (11), p Σy − y, with 50 digits."""
    with mpmath.workdps(50):
        powers = [mpmath.exp(mpmath.mpf(float(z)) - float(max(logits))) for z in logits]
        y = [mpmath.mpf(float(each)) for each in labels]
        total = sum(powers)
        return np.asarray(
            [float(e / total * sum(y) - own) for e, own in zip(powers, y, strict=True)]
        )


def floor(prepared: Prepared, dataset: jaxmlp.Dataset) -> Measure:
    """The products of an epoch, at the measured rate of one large product."""
    config = prepared.config
    return seconds_of_products(multiplications(config, dataset) / config.epochs)


def everybody(dataset: jaxmlp.Dataset, rounds: int) -> dict[str, Any]:
    """An epoch of MNIST, by us and by others, and what ours is made of."""
    found = {}
    for name, batch in NETWORKS.items():
        sizes = tuple(map(int, name.split("-")))
        print(f"an epoch of {name}, batches of {batch}", flush=True)
        prepared = prepare(sizes, batch, dataset)
        least = floor(prepared, dataset)
        epochs = epochs_of(sizes, batch, dataset)
        methods = {other: partial(timed, epoch) for other, epoch in epochs.items()}
        enough = rounds if max(sizes[1:]) > 256 else 5 * rounds  # short times are easily disturbed
        times = in_turn(methods | {"floor": least}, enough)
        print(f"the parts of ours: {name}", flush=True)
        rungs = {rung: partial(timed, program) for rung, program in ladder(prepared).items()}
        parts = in_turn(rungs | {"floor": least}, enough)
        found[name] = {"seconds": times, "parts": parts, "profile": profile(epochs["jaxmlp"])}
    return found


def ladder(prepared: Prepared) -> dict[str, Callable[[], Any]]:
    """Programs of which each does one thing more than the one before it; the last is an epoch.

    The first is apart: a loop of as many steps, none of which does anything. The next two take one
    batch again and again, of which a pixel is changed. Before there is an optimizer, the largest
    entry of every row of the gradient is found. Otherwise the compiler would leave things out.
    """
    config, hyper, keys, state = prepared.config, prepared.hyper, prepared.keys, prepared.state
    train, n = prepared.parts[0], len(prepared.parts[0].x)
    order, key = jnp.arange(n)[::-1], jax.random.fold_in(keys.order, 0)
    first = Batch(*(array[: config.batch_size] for array in train))
    first = first._replace(x=first.x * jnp.float32(prepared.scale))
    gradient = make_gradient(train, prepared.scale, config)
    lowest = jax.tree.map(lambda leaf: jnp.full(leaf.shape[:-1], -jnp.inf), state.params)

    def in_batches(step: Callable[[Any, Any], Any], start: Any, order: Any) -> Any:
        return over_batches(step, start, order, config.batch_size)

    def largest(so_far: Any, grad: Any) -> Any:
        return jax.tree.map(lambda old, new: jnp.maximum(old, jnp.max(new, axis=-1)), so_far, grad)

    def again(gradient: Callable[[Any, Batch], Any], params: Any, batch: Batch, order: Any) -> Any:
        def step(so_far: tuple[Any, Any], rows: Any) -> Any:
            x = so_far[1].at[0, 0].set(rows[0])
            grad = gradient(params, Batch(x[: len(rows)], batch.labels[: len(rows)]))
            return (largest(so_far[0], grad), x), jnp.float32(0)

        return in_batches(step, (lowest, batch.x), order)

    def products(params: Any, batch: Batch) -> Any:
        h: list[Any] = [batch.x]
        for weight, _ in params:
            h.append(h[-1] @ weight)
        grads: list[Layer] = []
        dz = h.pop()
        for (weight, bias), below in zip(reversed(params), reversed(h), strict=True):
            grads.insert(0, Layer(below.T @ dz, bias))
            dz = dz @ weight.T if below is not batch.x else dz
        return tuple(grads)

    def by_hand(params: Any, batch: Batch) -> Any:
        return manual_value_and_grad(params, batch)[1]

    def gathered(state: TrainState, order: Any) -> Any:
        def step(so_far: Any, rows: Any) -> Any:
            value, grad = gradient(state.params, state.step, hyper, keys.noise, rows)
            return largest(so_far, grad), value

        return in_batches(step, lowest, order)

    def trained(state: TrainState, order: Any) -> Any:
        def step(state: TrainState, rows: Any) -> Any:
            value, grad = gradient(state.params, state.step, hyper, keys.noise, rows)
            return update(state, grad, hyper, config, n), value

        return in_batches(step, state, order)

    rungs: dict[str, Callable[[Any], Any]] = {
        "an empty loop": lambda order: in_batches(lambda _, rows: (rows[0], rows[1]), 0, order),
        "the products, batch by batch": lambda order: again(products, state.params, first, order),
        "the rest of the gradient": lambda order: again(by_hand, state.params, first, order),
        "gathering and conversion of pixels": lambda order: gathered(state, order),
        "optimizer": lambda order: trained(state, order),
    }
    programs = {rung: partial(jax.jit(function), order) for rung, function in rungs.items()}
    shuffled = jax.jit(lambda key: trained(state, permutation(key, n)))
    return programs | {"a fresh order": partial(shuffled, key), "validation": ours(prepared)}


def profile(epoch: Callable[[], Any], most: int = 8) -> dict[str, float]:
    """The operations on which XLA spends most of an epoch, in seconds, by JAX's profiler.

    A product that runs beside others is counted only until it has been begun.
    """
    jax.block_until_ready(epoch())
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(epoch())
        (path,) = Path(folder).glob("**/*.xplane.pb")
        planes = jax.profiler.ProfileData.from_file(str(path)).planes
        spent: Counter[str] = Counter()
        for event in (e for plane in planes for line in plane.lines for e in line.events):
            if "hlo_op" in dict(event.stats):
                spent[event.name] += event.duration_ns / 1e9
    return dict(spent.most_common(most))


def growth(dataset: jaxmlp.Dataset, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Our epoch against width, depth, batch size and number of examples; and its memory."""
    axes = {
        "width": [((784, width, 10), 128, 1) for width in (64, 128, 256, 512, 1024)],
        "hidden layers": [((784, *[256] * depth, 10), 128, 1) for depth in (1, 2, 3, 4, 6)],
        "batch size": [((784, 128, 10), batch, 1) for batch in (32, 128, 512, 2048, 8192)],
        "copies of MNIST": [((784, 128, 10), 128, copies) for copies in (1, 2, 5, 10)],
    }
    found: dict[str, list[dict[str, float]]] = {}
    for axis, points in axes.items():
        found[axis] = []
        for sizes, batch, copies in points:
            value = {
                "width": sizes[1], "hidden layers": len(sizes) - 2, "batch size": batch,
                "copies of MNIST": copies,
            }[axis]  # fmt: skip
            train = Batch(*(np.concatenate([array] * copies) for array in dataset.train))
            part = replace(dataset, train=train)
            prepared = prepare(sizes, batch, part)
            program = run_epoch.lower(*prepared.arguments(), config=prepared.config).compile()
            epoch = ours(prepared)
            epoch()
            found[axis].append(
                {
                    "at": value,
                    "seconds": statistics.median(timed(epoch) for _ in range(rounds)),
                    "floor": floor(prepared, part)(),
                    "bytes": temporary(program),
                }
            )
            print(axis, found[axis][-1], flush=True)
    return found


def precisions(dataset: jaxmlp.Dataset, rounds: int) -> dict[str, Any]:
    """Epochs, floors and some gradients with each precision that products may have on a GPU."""
    found = {}
    for name, precision in PRECISIONS.items():
        with jax.default_matmul_precision(precision):
            methods: dict[str, Measure] = {}
            for network, batch in NETWORKS.items():
                prepared = prepare(tuple(map(int, network.split("-"))), batch, dataset)
                methods[network] = partial(timed, ours(prepared))
                methods[f"floor of {network}"] = floor(prepared, dataset)
            print(f"products in {name}", flush=True)
            some = product((256, 2048), (3,), (64, 4096), ("relu",))
            found[name] = {"epoch": in_turn(methods, rounds), "gradient": gradients(rounds, some)}
    return found


def temporary(program: Any) -> int:
    """Bytes that a compiled program takes beside its arguments and results."""
    return program.memory_analysis().temp_size_in_bytes


def slope(points: list[dict[str, float]], name: str = "seconds") -> float:
    """The power of the last doubling or so: the slope between the last two points, log by log."""
    (a, b) = points[-2:]
    return float(np.log(b[name] / a[name]) / np.log(b["at"] / a["at"]))


def heading(title: str, *columns: str) -> list[str]:
    """What a part of the page and its table begin with."""
    return ["", f"## {title}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def table(found: dict[str, Any]) -> str:
    """All of it in Markdown."""
    about = found["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    threads = ", ".join(f"{name} {number}" for name, number in about["threads"].items())
    lines = [f"{about['processor']}, {about['cores']} cores (threads: {threads}); {versions}. "
             "Milliseconds: median (fastest to slowest)."]  # fmt: skip
    for name, part in found.get("epoch", {}).items():
        times = part["seconds"]
        title = f"An epoch of MNIST, {name}, batches of {NETWORKS[name]}"
        lines += heading(title, "", "milliseconds", "times as long as ours")
        for other, seconds in times.items():
            ratio = times_as_long(seconds, times["jaxmlp"])
            lines.append(f"| {other} | {middle(seconds)} | {ratio:.2f} |")
        rungs = {k: statistics.median(v) for k, v in part["parts"].items()}
        least, empty, whole = rungs.pop("floor"), rungs.pop("an empty loop"), rungs["validation"]
        lines += ["", "| what ours is made of | milliseconds | share |", "|---|---|---|"]
        lines.append(f"| the floor | {1e3 * least:.3g} | {least / whole:.0%} |")
        for (_, before), (rung, after) in pairwise([("", least), *rungs.items()]):
            own = after - before
            lines.append(f"| + {rung} | {1e3 * own:.3g} | {own / whole:.0%} |")
        spent = ", ".join(f"`{name}` {1e3 * each:.3g}" for name, each in part["profile"].items())
        lines += ["", f"An empty loop of as many steps takes {1e3 * empty:.2g} ms. Where XLA spends"
                  f" most, in ms, by its profiler: {spent}."]  # fmt: skip
    if "epoch" in found:
        lines += heading("Goals", "", "times as long as ours", "goal", "got")
        for network, goals in GOALS.items():
            times = found["epoch"][network]["seconds"]
            for name, goal in goals.items():
                ratio = times_as_long(times[name], times["jaxmlp"])
                lines.append(f"| {network} | {name} | {goal:g} | {ratio:.2f} |")
        lines.append(TRIED.rstrip())
    if "gradient" in found:
        lines += table_of_gradients("", found["gradient"])
    if "accuracy" in found:
        title = "Errors in float32 beside 50 digits, relative to the largest entry: mean (largest)"
        lines += heading(title, "logits up to", "by hand", "`jax.grad`")
        for each in found["accuracy"]:
            errors = ("{:.2e} ({:.1e})".format(*each[name]) for name in ("by hand", "jax.grad"))
            lines.append(f"| {each['logits']:g} | {' | '.join(errors)} |")
    if "growth" in found:
        title = "How an epoch of 784-128-10 grows, by the last two points of each"
        lines += heading(title, "with", "seconds", "slope", "MiB beside the data", "slope")
        for axis, points in found["growth"].items():
            seconds, memory = (
                ", ".join(f"{scale * point[name]:.3g}" for point in points)
                for name, scale in (("seconds", 1), ("bytes", 2**-20))
            )
            at = ", ".join(f"{point['at']:g}" for point in points)
            lines.append(
                f"| {axis} {at} | {seconds} | {slope(points):.2f} | {memory} | "
                f"{slope(points, 'bytes'):.2f} |"
            )
    for name, part in found.get("precision", {}).items():
        lines += heading(f"Products in {name}", "an epoch of", "milliseconds", "the floor")
        for network in NETWORKS:
            own, least = (part["epoch"][f"{of}{network}"] for of in ("", "floor of "))
            lines.append(f"| {network} | {middle(own)} | {times_as_long(least, own):.2f} |")
        lines += table_of_gradients(f", products in {name}", part["gradient"])
    if "cold" in found:
        title = "From a cold process to 98 % of MNIST's test part"
        lines += heading(title, "", "seconds", "accuracy")
        for name, runs in found["cold"].items():
            seconds = [run["seconds"] for run in runs]
            accuracy = ", ".join(f"{run['accuracy']:.4f}" for run in runs)
            lines.append(
                f"| {name} | {statistics.median(seconds):.1f} ({min(seconds):.1f} to "
                f"{max(seconds):.1f}) | {accuracy} |"
            )
    return "\n".join(lines) + "\n"


def table_of_gradients(where: str, found: list[dict[str, Any]]) -> list[str]:
    """How much longer the gradient by JAX takes, and how much more memory."""
    lines = heading(
        f"One gradient, `jax.value_and_grad` beside the one by hand{where}",
        "width", "hidden layers", "examples", "activation", "times as long", "times the memory",
    )  # fmt: skip
    for each in found:
        hand, other = (each["seconds"][name] for name in ("by hand", "jax.grad"))
        memory = each["bytes"]["jax.grad"] / max(each["bytes"]["by hand"], 1)
        lines.append(
            f"| {each['width']} | {each['depth']} | {each['n']} | {each['activation']} | "
            f"{times_as_long(other, hand):.2f} | {memory:.2f} |"
        )
    return lines


def picture(found: dict[str, Any]) -> Any:
    """Everybody's epoch, in units of the floor."""
    figure = new_figure(10.0, 4.4, "An epoch of MNIST, in units of its matrix products alone")
    panels = figure.subplots(1, len(NETWORKS))
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
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color=PALE)
        axes.set_axisbelow(True)
    panels[-1].set_yticklabels([])
    return figure


def main() -> None:
    """Measure some parts, write them down beside those of before, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", required=True, help="a folder with MNIST's IDX files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    device = jax.devices()[0]
    usual = PARTS if device.platform == "cpu" else ON_GPU
    every = tuple(dict.fromkeys(PARTS + ON_GPU))
    parser.add_argument("--parts", nargs="*", default=usual, choices=every)
    given = parser.parse_args()
    on = "" if device.platform == "cpu" else "-" + device.device_kind.replace(" ", "-")
    path = given.out / f"benchmark{on}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    dataset = load_data(given.data)
    found["machine"] = machine("torch", "scikit-learn", "flax", "equinox", "keras")
    parts = {
        "gradient": lambda: gradients(given.rounds),
        "accuracy": accuracies,
        "epoch": lambda: everybody(dataset, given.rounds),
        "growth": lambda: growth(dataset, given.rounds),
        "precision": lambda: precisions(dataset, given.rounds),
        "cold": lambda: cold_starts(given.data, given.rounds),
    }
    for name in given.parts:
        found[name] = parts[name]()
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(table(found), encoding="utf-8")
    if "epoch" in found:
        save(picture(found), path.with_suffix(".png"))


if __name__ == "__main__":
    main()
