"""How fast are one gradient, one epoch and a cold start, beside others and beside the floor?

    python experiments/benchmark.py --data mnist    # or a folder with the four IDX files

Everything of a part is measured in one run, in turn, several times over; what is quoted are ratios.
The floor is the time that the matrix products of an epoch alone take, at the rate of a product of
two large matrices that is measured in the same turn, on all cores. Needs the extra `peers`.
Results: benchmark.json, .md and .png in `experiments/results`.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
from cold import cold_starts
from contestants import HYPER, config_of, epochs_of, ours
from measuring import in_turn, machine, middle, seconds_of_products, timed, times_as_long

import jaxmlp
from jaxmlp import Batch, Layer
from jaxmlp.cli.common import load_data
from jaxmlp.gradient import manual_value_and_grad
from jaxmlp.losses import loss
from jaxmlp.plots import GREY, INK, PALE, new_figure, save
from jaxmlp.sweeps.pictures import COLOURS
from jaxmlp.sweeps.plan import multiplications
from jaxmlp.training import (
    TrainState,
    by_batches,
    initial_state,
    make_gradient,
    measure,
    over_batches,
    run_epoch,
    run_keys,
    update,
)

ROUNDS = 7
NETWORKS = {"784-128-10": 128, "784-1024-1024-10": 1024}  # with their batch sizes
GRID = ((32, 256, 2048), (1, 3, 6), (1, 64, 4096))  # widths, hidden layers, batches
SIZES = (1.0, 10.0, 100.0, 1e3, 1e4)  # of logits
PARTS = ("gradient", "accuracy", "epoch", "growth", "cold")


def gradients(rounds: int) -> list[dict[str, Any]]:
    """The gradient by hand beside `jax.value_and_grad`: time, and temporary memory."""
    found = []
    by_jax = jax.jit(jax.value_and_grad(loss))
    for width, depth, n in product(*GRID):
        params = jaxmlp.init_params(jax.random.key(0), (width, *[width] * depth, 10))
        batch = Batch(jax.random.normal(jax.random.key(1), (n, width)), jnp.arange(n) % 10)
        programs = {
            name: jax.jit(function).lower(params, batch).compile()
            for name, function in (("by hand", manual_value_and_grad), ("jax.grad", by_jax))
        }
        work = 3 * n * sum(leaf.size for leaf in jax.tree.leaves(params))
        repeats = max(1, int(2e8 / work))

        def run(program: Any, repeats: int = repeats, params: Any = params, batch: Any = batch):
            return timed(lambda: [program(params, batch) for _ in range(repeats)]) / repeats

        print(f"width {width}, {depth} hidden layers, {n} examples", flush=True)
        times = in_turn({name: partial(run, each) for name, each in programs.items()}, rounds)
        memory = {name: temporary(each) for name, each in programs.items()}
        found.append({"width": width, "depth": depth, "n": n, "seconds": times, "bytes": memory})
    return found


def accuracies(draws: int = 200) -> list[dict[str, Any]]:
    """Errors of both in float32, for large logits, beside 50 digits; of the largest entry."""
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
        found.append({"logits": size} | {name: max(each) for name, each in errors.items()})
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


def floor(sizes: Sequence[int], batch: int, dataset: jaxmlp.Dataset) -> Any:
    """The products of an epoch, at the measured rate of one large product."""
    config = config_of(sizes, batch)
    return seconds_of_products(multiplications(config, dataset) / config.epochs)


def everybody(dataset: jaxmlp.Dataset, rounds: int) -> dict[str, Any]:
    """An epoch of MNIST, by us and by others, and what ours is made of."""
    found = {}
    for name, batch in NETWORKS.items():
        sizes = tuple(map(int, name.split("-")))
        print(f"an epoch of {name}, batches of {batch}", flush=True)
        epochs = epochs_of(sizes, batch, dataset)
        methods = {name: partial(timed, epoch) for name, epoch in epochs.items()}
        methods["floor"] = floor(sizes, batch, dataset)
        found[name] = {"seconds": in_turn(methods, rounds)}
        print(f"the parts of ours: {name}", flush=True)
        rungs = {name: partial(timed, rung) for name, rung in ladder(sizes, batch, dataset).items()}
        rungs["floor"] = methods["floor"]
        found[name]["parts"] = in_turn(rungs, rounds)
    return found


def ladder(sizes: Sequence[int], batch: int, dataset: jaxmlp.Dataset) -> dict[str, Any]:
    """Programs of which each does one thing more than the one before it; the last is an epoch."""
    config, n = config_of(sizes, batch), len(dataset.train.x)
    keys = run_keys(jax.random.key(0), config)
    hyper = jax.tree.map(jnp.float32, HYPER)
    state = initial_state(keys.init, hyper, config, dataset.n_in, n, dataset.n_out)
    train, validation = jax.device_put((dataset.train, dataset.inputs(dataset.validation)))
    real = jax.device_put(dataset.inputs(dataset.train))
    weights = [layer.weight for layer in state.params]

    def products(x: Any) -> Any:
        def step(total: Any, x: Any) -> Any:
            h = [x]
            for weight in weights:
                h.append(h[-1] @ weight)
            grads, dz = [], h[-1]
            for weight, below in zip(reversed(weights), reversed(h[:-1]), strict=True):
                grads.append(below.T @ dz)
                dz = dz @ weight.T if below is not x else dz
            return jax.tree.map(jnp.add, total, grads), ()

        full = n // batch * batch
        start = [jnp.zeros_like(weight) for weight in reversed(weights)]
        return jax.lax.scan(step, start, x[:full].reshape(-1, batch, x.shape[1]))[0]

    def gradient_only(state: TrainState, part: Batch, order: Any, scale: Any) -> Any:
        gradient = make_gradient(part, scale, config)

        def step(total: Any, rows: Any) -> Any:  # which the compiler cannot leave out
            value, grad = gradient(state.params, state.step, hyper, keys.noise, rows)
            return jax.tree.map(jnp.add, total, grad), value

        return over_batches(step, state.params, order, batch)

    def steps(state: TrainState, part: Batch, order: Any, scale: Any) -> Any:
        gradient = make_gradient(part, scale, config)

        def step(state: Any, rows: Any) -> Any:
            value, grad = gradient(state.params, state.step, hyper, keys.noise, rows)
            return update(state, grad, hyper, config, n), value

        return over_batches(step, state, order, batch)

    def shuffled(state: TrainState, part: Batch, key: Any, scale: Any) -> Any:
        return steps(state, part, jax.random.permutation(key, n), scale)

    def validated(state: TrainState) -> Any:
        return by_batches(partial(measure, state.params, config=config), validation, config)

    programs = [jax.jit(each) for each in (products, gradient_only, steps, shuffled, validated)]
    order, key = jnp.arange(n), keys.order
    epoch = ours(sizes, batch, dataset, "manual")
    return {
        "the products, in batches": lambda: programs[0](real.x),
        "+ the rest of the gradient, and gathering": lambda: programs[1](state, real, order, 1.0),
        "+ the optimizer": lambda: programs[2](state, real, order, 1.0),
        "+ conversion of 8-bit pixels": lambda: programs[2](state, train, order, dataset.scale),
        "+ shuffling": lambda: programs[3](state, train, key, dataset.scale),
        "+ validation": epoch,
    }


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
            part = jaxmlp.Dataset(
                train, dataset.validation, dataset.test, dataset.image_shape, dataset.scale
            )
            epoch = ours(sizes, batch, part, "manual")
            epoch()
            seconds = statistics.median(timed(epoch) for _ in range(rounds))
            config = config_of(sizes, batch)
            least = floor(sizes, batch, part)()
            memory = _bytes(config, part)
            found[axis].append({"at": value, "seconds": seconds, "floor": least, "bytes": memory})
            print(axis, found[axis][-1], flush=True)
    return found


def _bytes(config: jaxmlp.Config, dataset: jaxmlp.Dataset) -> int:
    """What the program of an epoch takes beside its arguments, the data among them."""
    n = len(dataset.train.x)
    keys, hyper = run_keys(jax.random.key(0), config), jax.tree.map(jnp.float32, HYPER)
    state = initial_state(keys.init, hyper, config, dataset.n_in, n, dataset.n_out)
    parts = dataset.train, dataset.inputs(dataset.validation)
    lowered = run_epoch.lower(
        state, hyper, keys.order, keys.noise, *parts, jnp.float32(dataset.scale), config=config
    )
    return temporary(lowered.compile())


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
    lines = [f"{about['processor']}, {about['cores']} cores; {versions}. Milliseconds: median "
             "(fastest to slowest)."]  # fmt: skip
    for name, part in found.get("epoch", {}).items():
        times = part["seconds"]
        title = f"An epoch of MNIST, {name}, batches of {NETWORKS[name]}"
        lines += heading(title, "", "milliseconds", "times as long as ours")
        for other, seconds in times.items():
            ratio = times_as_long(seconds, times["jaxmlp"])
            lines.append(f"| {other} | {middle(seconds)} | {ratio:.2f} |")
        lines += ["", "| what ours is made of | milliseconds | share |", "|---|---|---|"]
        rungs = {k: statistics.median(v) for k, v in part["parts"].items() if k != "floor"}
        least, whole = statistics.median(part["parts"]["floor"]), [*rungs.values()][-1]
        lines.append(f"| the floor | {1e3 * least:.3g} | {least / whole:.0%} |")
        for (_, before), (rung, after) in pairwise([("", least), *rungs.items()]):
            own = after - before
            lines.append(f"| {rung} | {1e3 * own:.3g} | {own / whole:.0%} |")
    if "gradient" in found:
        title = "One gradient, `jax.value_and_grad` beside the one by hand"
        lines += heading(
            title, "width", "hidden layers", "examples", "times as long", "times the memory"
        )
        for each in found["gradient"]:
            hand, other = (each["seconds"][name] for name in ("by hand", "jax.grad"))
            memory = each["bytes"]["jax.grad"] / max(each["bytes"]["by hand"], 1)
            lines.append(
                f"| {each['width']} | {each['depth']} | {each['n']} | "
                f"{times_as_long(other, hand):.2f} | {memory:.2f} |"
            )
    if "accuracy" in found:
        title = "Largest errors in float32, of the largest entry, beside 50 digits"
        lines += heading(title, "logits up to", "by hand", "`jax.grad`")
        for each in found["accuracy"]:
            lines.append(f"| {each['logits']:g} | {each['by hand']:.1e} | {each['jax.grad']:.1e} |")
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
    parser.add_argument("--data", default="mnist", help="mnist, or a folder of IDX files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    given = parser.parse_args()
    path = given.out / "benchmark.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    dataset = load_data(given.data)
    found["machine"] = machine("torch", "scikit-learn", "flax", "equinox", "keras")
    parts = {
        "gradient": lambda: gradients(given.rounds),
        "accuracy": accuracies,
        "epoch": lambda: everybody(dataset, given.rounds),
        "growth": lambda: growth(dataset, given.rounds),
        "cold": lambda: cold_starts(given.data, given.rounds),
    }
    for name in given.parts:
        found[name] = parts[name]()
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (given.out / "benchmark.md").write_text(table(found), encoding="utf-8")
    if "epoch" in found:
        save(picture(found), given.out / "benchmark.png")


if __name__ == "__main__":
    main()
