"""How fast are one gradient, one epoch and a cold start, beside others and beside the floor?

    python benchmarks/benchmark.py --data FOLDER    # with MNIST's four IDX files

Everything of a part is measured in one run, in turn, several times over; what is quoted are ratios.
The floor is the time that the matrix products of an epoch alone take, at the rate of a product of
two large matrices that is measured in the same turn, on all cores. Needs the extra `peers`.
Results: benchmark.json, .md and .png in `experiments/results`; where JAX finds an accelerator, its
name is part of theirs.
"""

import argparse
import json
import re
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import history
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
from benchmark_page import goals, page, picture
from cold import cold_starts
from contestants import Prepared, epochs_of, ours, prepare
from measuring import (
    PRECISIONS,
    Measure,
    in_turn,
    machine,
    of_device,
    seconds_of_products,
    timed,
)
from rates import all_rates

import jaxmlp
from jaxmlp import Batch, Layer
from jaxmlp.activations import ACTIVATIONS
from jaxmlp.gradient import manual_value_and_grad
from jaxmlp.losses import loss
from jaxmlp.plots import save
from jaxmlp.shuffling import permutation
from jaxmlp.sweeps.costs import multiplications
from jaxmlp.training import TrainState, make_gradient, over_batches, run_epoch, update

ROUNDS = 5
NETWORKS = {"784-128-10": 128, "784-1024-1024-10": 1024}  # with their batch sizes
GRID = ((32, 256, 2048), (1, 3, 6), (1, 64, 4096), ("relu",))  # widths, hidden layers, batches
LIKE = ((256,), (3,), (1024,), tuple(ACTIVATIONS))  # one of them for every activation
SIZES = (1.0, 10.0, 100.0, 1e3, 1e4)  # of logits
BY_JAX = jax.jit(jax.grad(loss))
PARTS = ("gradient", "accuracy", "epoch", "rates", "growth", "cold")
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
        repeats = min(2000, max(1, int(2e8 / work)))

        def run(program: Any, repeats: int = repeats, params: Any = params, batch: Any = batch):
            return timed(lambda: [program(params, batch) for _ in range(repeats)]) / repeats

        print(f"width {width}, {depth} hidden layers, {n} examples, {activation}", flush=True)
        enough = rounds if work > 1e10 else 5 * rounds  # short times are easily disturbed
        times = in_turn({name: partial(run, each) for name, each in programs.items()}, enough)
        memory = {name: temporary(each) for name, each in programs.items()}
        case = {"width": width, "depth": depth, "n": n, "activation": activation}
        found.append(case | {"seconds": times, "bytes": memory})
    return found


def accuracies(draws: int = 2000) -> list[dict[str, Any]]:
    """Errors of both in float32, in units of the largest entry: mean and largest.

    Of a linear network, whose logits are exact, beside 50 digits, and of one with two hidden layers
    and several examples, whose logits are not, beside `jax.grad` in float64.
    """
    found = []
    for size in SIZES:
        for kind, case in (("linear", _linear), ("two hidden layers", _deep)):
            errors: dict[str, list[float]] = {"by hand": [], "jax.grad": []}
            for draw in range(draws):
                params, batch, truth = case(np.random.default_rng(draw), size)
                largest = max(float(np.abs(each).max()) for each in truth)
                for name, function in (("by hand", jaxmlp.manual_grad), ("jax.grad", BY_JAX)):
                    pairs = zip(jax.tree.leaves(function(params, batch)), truth, strict=True)
                    off = max(float(np.abs(np.asarray(own, float) - it).max()) for own, it in pairs)
                    errors[name].append(off / largest)
            values = {name: [statistics.mean(each), max(each)] for name, each in errors.items()}
            found.append({"logits": size, "network": kind} | values)
    return found


def _linear(rng: np.random.Generator, size: float) -> tuple[Any, Batch, list[np.ndarray]]:
    """A network, a batch with the largest logit of a size, and the gradient by 50 digits."""
    logits = rng.normal(size=4).astype(np.float32)
    logits *= np.float32(size) / np.abs(logits).max()
    labels = rng.uniform(size=4).astype(np.float32)
    weight = np.stack([logits, np.ones_like(logits)])
    batch = Batch(jnp.asarray([[1.0, 0.0]]), jnp.asarray(labels[None]))
    row = _in_many_digits(logits, labels)
    return (Layer(jnp.asarray(weight), None),), batch, [np.stack([row, np.zeros_like(row)])]


def _deep(rng: np.random.Generator, size: float) -> tuple[Any, Batch, list[np.ndarray]]:
    """The same with 6-8-8-4, where the last layer is scaled."""
    weights = [rng.normal(size=shape).astype(np.float32) for shape in ((6, 8), (8, 8), (8, 4))]
    x, labels = rng.normal(size=(5, 6)).astype(np.float32), rng.uniform(size=(5, 4))
    h = np.maximum(np.maximum(x @ weights[0], 0) @ weights[1], 0)
    weights[2] *= np.float32(size) / max(np.abs(h @ weights[2]).max(), 1e-3)
    params = tuple(Layer(jnp.asarray(weight), None) for weight in weights)
    batch = Batch(jnp.asarray(x), jnp.asarray(labels, jnp.float32))
    with jax.enable_x64(True):
        exact = jax.tree.map(
            lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), (params, batch)
        )
        truth = [np.asarray(leaf) for leaf in jax.tree.leaves(BY_JAX(*exact))]
    return params, batch, truth


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


def validation_share(prepared: Prepared, dataset: jaxmlp.Dataset) -> float:
    """The part of an epoch's products that belongs to validation, which the ladder adds last."""
    config, forward = prepared.config, sum(layer.weight.size for layer in prepared.state.params)
    every = multiplications(config, dataset) / config.epochs
    return forward * len(dataset.validation.x) / every


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
        found[name] = {
            "batch": batch, "seconds": times, "parts": parts, "profile": profile(prepared),
            "validation": validation_share(prepared, dataset),
        }  # fmt: skip
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

    def again(gradient: Callable[[Any, Batch], Any], order: Any) -> Any:
        def step(so_far: tuple[Any, Any], rows: Any) -> Any:
            x = so_far[1].at[0, 0].set(rows[0])
            grad = gradient(state.params, Batch(x[: len(rows)], first.labels[: len(rows)]))
            return (largest(so_far[0], grad), x), jnp.float32(0)

        return in_batches(step, (lowest, first.x), order)

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

    def gathered(order: Any) -> Any:
        def step(so_far: Any, rows: Any) -> Any:
            value, grad = gradient(state.params, state.step, hyper, keys.noise, rows)
            return largest(so_far, grad), value

        return in_batches(step, lowest, order)

    def trained(order: Any) -> Any:
        def step(state: TrainState, rows: Any) -> Any:
            value, grad = gradient(state.params, state.step, hyper, keys.noise, rows)
            return update(state, grad, hyper, config, n), value

        return in_batches(step, state, order)

    rungs: dict[str, Callable[[Any], Any]] = {
        "an empty loop": lambda order: in_batches(lambda _, rows: (rows[0], rows[1]), 0, order),
        "the products, batch by batch": partial(again, products),
        "the rest of the gradient": partial(again, by_hand),
        "gathering and conversion of pixels": gathered,
        "optimizer": trained,
    }
    programs = {rung: partial(jax.jit(function), order) for rung, function in rungs.items()}
    shuffled = jax.jit(lambda key: trained(permutation(key, n)))
    return programs | {"a fresh order": partial(shuffled, key), "validation": ours(prepared)}


def profile(prepared: Prepared, most: int = 10) -> dict[str, float]:
    """The operations on which XLA spends most of an epoch, in seconds, by JAX's profiler."""
    epoch = ours(prepared)
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
    text = run_epoch.lower(*prepared.arguments(), config=prepared.config).compile().as_text() or ""
    return {_described(name, text): seconds for name, seconds in spent.most_common(most)}


def _described(name: str, text: str) -> str:
    """An operation of a program with the shape that it makes and what it comes from."""
    line = re.search(rf"%{re.escape(name)} = (\w+\[[\d,]*\]).*", text)
    if line is None:
        return f"`{name}`"
    source = re.search(r'op_name="([^"]*)"', line[0])
    origin = "/".join(source[1].split("/")[-2:]) if source else "?"
    return f"`{name}` ({line[1]}, {origin})"


def growth(dataset: jaxmlp.Dataset, rounds: int) -> dict[str, Any]:
    """Our epoch against width, depth, batch size and number of examples; and its memory."""
    axes: dict[str, dict[int, tuple[tuple[int, ...], int, int]]] = {
        "width": {width: ((784, width, 10), 128, 1) for width in (64, 128, 256, 512, 1024)},
        "hidden layers": {depth: ((784, *[256] * depth, 10), 128, 1) for depth in (1, 2, 3, 4, 6)},
        "batch size": {batch: ((784, 128, 10), batch, 1) for batch in (32, 128, 512, 2048, 8192)},
        "copies of MNIST": {copies: ((784, 128, 10), 128, copies) for copies in (1, 2, 5, 10)},
    }
    found: dict[str, Any] = {}
    for axis, points in axes.items():
        methods, memory = {}, []
        for value, (sizes, batch, copies) in points.items():
            train = Batch(*(np.concatenate([array] * copies) for array in dataset.train))
            prepared = prepare(sizes, batch, replace(dataset, train=train))
            program = run_epoch.lower(*prepared.arguments(), config=prepared.config).compile()
            memory.append(temporary(program))
            methods[f"{axis} {value}"] = partial(timed, ours(prepared))
        times = in_turn(methods, rounds)
        found[axis] = {"at": [*points], "seconds": [*times.values()], "bytes": memory}
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


def main() -> None:
    """Measure some parts, write them down beside those of before, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", required=True, help="a folder with MNIST's IDX files")
    parser.add_argument("--out", type=Path, default=history.RESULTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    device = jax.devices()[0]
    usual = PARTS if device.platform == "cpu" else ON_GPU
    every = tuple(dict.fromkeys(PARTS + ON_GPU))
    parser.add_argument(
        "--parts", nargs="*", default=usual, choices=every, help="none: only the page and picture"
    )
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error(f"--rounds is {given.rounds}: give at least 1")
    jax.config.update("jax_default_matmul_precision", "highest")  # as PyTorch's is on a GPU
    path = given.out / f"benchmark{of_device()}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    here = machine("torch", "scikit-learn", "flax", "equinox", "keras")
    if found.get("machine", here) != here and {*found} - {"machine", *given.parts}:
        parser.error(f"{path} is of another machine or other versions: give all parts or --out")
    found["machine"] = here
    try:
        given.out.mkdir(parents=True, exist_ok=True)
        dataset = jaxmlp.load_idx(Path(given.data), uint8=True)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    parts = {
        "gradient": lambda: gradients(given.rounds),
        "accuracy": accuracies,
        "epoch": lambda: everybody(dataset, given.rounds),
        "rates": lambda: all_rates(given.rounds),
        "growth": lambda: growth(dataset, given.rounds),
        "precision": lambda: precisions(dataset, given.rounds),
        "cold": lambda: cold_starts(given.data, given.rounds),
    }
    for name in given.parts:
        found[name] = parts[name]()
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(page(found), encoding="utf-8")
    if "epoch" in found:
        save(picture(found), path.with_suffix(".png"))
    measured = {name: found[name] for name in given.parts}
    figures = {what: float(got) for what, _, got, _ in goals(measured)}
    history.append("benchmark.py", figures, found["machine"], given.out)


if __name__ == "__main__":
    main()
