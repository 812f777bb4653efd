"""Is the core right on this device: gradients, the checker, a training, a sweep, the tests."""

import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from measuring import Record

import jaxmlp
from jaxmlp import Batch
from jaxmlp.activations import ACTIVATIONS
from jaxmlp.checking import check_gradient
from jaxmlp.checking.check import examine
from jaxmlp.checking.network.shapes import SHAPES
from jaxmlp.checking.programs.random_rounding import SAFETY
from jaxmlp.sweeps import replay

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = 3  # with other weights, that are trained side by side under vmap
LABELS = ("classes", "soft rows", "rows of any sum")
CORE = ("activations", "losses", "params", "network", "gradient", "training")  # modules of tests


class Mode(NamedTuple):
    """How gradients are computed.

    Attributes:
        dtype: of the parameters.
        products: JAX's name for the precision of matrix products.
        unit: relative error of a factor of a product. Of TF32, which has 10 binary digits behind
            the point, we let the next ones be cut off rather than rounded.
        safety: how many times as far off as in samples an entry may be. A gradient organised in
            another way may lose more, and in bfloat16 many units are on one side of 0 or the other.
        wrong: a factor that one entry of the gradient must not have.
    """

    dtype: Any
    products: str
    unit: float
    safety: float
    wrong: float


MODES = {
    "float32, highest": Mode(jnp.float32, "highest", 2.0**-24, SAFETY, 1.001),
    "float32, default": Mode(jnp.float32, "default", 2.0**-10, SAFETY / 4, 1.25),
    "bfloat16": Mode(jnp.bfloat16, "default", 2.0**-9, SAFETY, -1.0),
}
SAMPLES = 16


class Cases(NamedTuple):
    """Networks side by side, with and without biases, and a batch for each kind of labels."""

    params: dict[str, jaxmlp.Params]
    batches: dict[str, Batch]


def gradients(record: Record, small: bool, _: Path | None) -> None:
    """The gradient by hand, and JAX's, against float64 on the CPU, entry by entry."""
    sizes, n = ((24, 16, 5), 12) if small else ((128, 64, 32, 10), 64)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # compilation is what takes the time
        tasks = {
            pool.submit(compare, mode, activation, sizes, n): f"{mode}, {activation}"
            for mode, activation in itertools.product(MODES, ACTIVATIONS)
        }
        for task in as_completed(tasks):
            with record.attempt(f"gradients, {tasks[task]}"):
                record.add(tasks[task], task.result())


def compare(mode: str, activation: str, sizes: tuple[int, ...], n: int) -> dict[str, Any]:
    """How far off gradients are, in units of what rounding may do there, at the worst entry.

    Returns:
        "by hand" and "jax.grad" against float64, "each other", each as the largest error over the
        bound of its entry; "relative": the largest error by hand over the largest entry;
        "refused": whether one wrong entry would be seen; "gradients": how many were compared.
    """
    dtype, products, unit, safety, factor = MODES[mode]
    cases = made(sizes, n, dtype)
    worst: dict[str, float] = dict.fromkeys(("by hand", "jax.grad", "each other", "relative"), 0.0)
    with jax.default_matmul_precision(products):
        programs = {
            name: jax.jit(partial(every_gradient, partial(of, activation=activation)))
            for name, of in (("by hand", jaxmlp.manual_grad), ("jax.grad", jax.grad(jaxmlp.loss)))
        }
        got = {name: jax.device_get(program(cases)) for name, program in programs.items()}
    truths, bounds = truths_of(cases, activation, unit, safety)
    refused, count = True, 0
    for place, truth in truths.items():
        for form in got["by hand"]:
            own, other = ([as_float(leaf) for leaf in jax.tree.leaves(got[name][form][place])]
                          for name in ("by hand", "jax.grad"))  # fmt: skip
            bound, largest = bounds[place], max(np.abs(leaf).max() for leaf in truth)
            for name, off in (
                ("by hand", ratio(own, truth, bound)),
                ("jax.grad", ratio(other, truth, bound)),
                ("each other", ratio(own, other, bound) / 2),
                ("relative", ratio(own, truth, [largest] * len(bound))),
            ):
                worst[name] = max(worst[name], off)
            refused &= ratio(with_wrong_entry(own, factor), truth, bound) > 1
            count += 1
    return worst | {"refused": bool(refused), "gradients": count}


def made(sizes: tuple[int, ...], n: int, dtype: Any) -> Cases:
    """Dense numbers, three networks side by side."""
    keys = jax.random.split(jax.random.key(0), NETWORKS)
    rng, n_out = np.random.default_rng(0), sizes[-1]
    x = jnp.asarray(rng.normal(size=(n, sizes[0])), jnp.float32)
    rows = rng.dirichlet(np.ones(n_out), n)
    labels = dict(zip(LABELS, (rng.integers(0, n_out, n), rows, rng.normal(size=(n, n_out))),
                      strict=True))  # fmt: skip
    dtypes = {"classes": jnp.int32}
    params = {}
    for bias in ("with bias", "without bias"):
        init = partial(jaxmlp.init_params, sizes=sizes, bias=bias == "with bias", dtype=dtype)
        layers = jax.vmap(init)(keys)
        params[bias] = jax.tree.map(  # biases that are not 0
            lambda leaf: leaf + jnp.asarray(0.1 * rng.normal(size=leaf.shape), dtype), layers
        )
    return Cases(params, {name: Batch(x, jnp.asarray(each, dtypes.get(name, jnp.float32)))
                          for name, each in labels.items()})  # fmt: skip


def every_gradient(of: Callable[..., Any], cases: Cases) -> dict[str, dict[str, Any]]:
    """The gradient of every case: of the first network alone, and of all of them under vmap."""
    alone, together = {}, {}
    for bias, params in cases.params.items():
        one = jax.tree.map(lambda leaf: leaf[0], params)
        for label, batch in cases.batches.items():
            alone[f"{bias}, {label}"] = of(one, batch)
            all_of_them = jax.vmap(of, in_axes=(0, None))(params, batch)
            together[f"{bias}, {label}"] = jax.tree.map(lambda leaf: leaf[0], all_of_them)
    return {"alone": alone, "vmapped": together}


def truths_of(cases: Cases, activation: str, unit: float, safety: float) -> tuple[Any, Any]:
    """`jax.grad` in float64 on the CPU, and what rounding may add to it.

    Bounds for the worst case, as the checker has them, say nothing of TF32 and bfloat16: they grow
    with the width of every layer, to more than the gradient itself. So it is found by sampling.
    """
    truths, allowed = {}, {}
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        for bias, params in cases.params.items():
            one = jax.tree.map(lambda leaf: jnp.asarray(as_float(leaf[0])), params)
            for label, batch in cases.batches.items():
                rows = np.asarray(batch.labels)
                if label == "classes":  # as rows they are the same labels, and the same program
                    rows = np.eye(one[-1].weight.shape[1])[rows]
                exact = Batch(jnp.asarray(as_float(batch.x)), jnp.asarray(as_float(rows)))
                found = jax.device_get(truth_of(one, exact, unit, safety, activation))
                place = f"{bias}, {label}"
                truths[place], allowed[place] = map(jax.tree.leaves, found)
    return truths, allowed


@partial(jax.jit, static_argnames="activation")
def truth_of(
    params: Any, batch: Batch, unit: float, safety: float, activation: str
) -> tuple[Any, Any]:
    """The gradient, and how far it may move.

    The second is how far it does when parameters and inputs are off by random relative errors of
    the size `unit`, at most in 16 draws, and what rounding the result adds, times `safety`.
    """
    leaves, tree = jax.tree.flatten((params, batch.x))

    def changed(key: Any, unit: Any) -> Any:
        keys = jax.random.split(key, len(leaves))
        moved = [leaf * (1 + unit * jax.random.uniform(each, leaf.shape, minval=-1, maxval=1))
                 for leaf, each in zip(leaves, keys, strict=True)]  # fmt: skip
        others, x = jax.tree.unflatten(tree, moved)
        return jax.grad(jaxmlp.loss)(others, batch._replace(x=x), activation=activation)

    keys = jax.random.split(jax.random.key(0), 1 + SAMPLES)
    some = jax.vmap(changed)(keys, jnp.full(1 + SAMPLES, unit).at[0].set(0))

    def may_move(some: Any) -> Any:
        spread = jnp.abs(some - some[:1]).max(axis=0)
        return safety * (spread + unit * jnp.abs(some[0])) + float(jnp.finfo(jnp.float32).tiny)

    return jax.tree.map(lambda each: each[0], some), jax.tree.map(may_move, some)


def as_float(leaf: Any) -> np.ndarray:
    """In float64, on the host."""
    return np.asarray(jax.device_get(leaf)).astype(np.float64)


def ratio(got: Any, wanted: Any, bound: Any) -> float:
    """The largest difference of an entry over what is allowed there; NaN counts as infinite."""
    return max(
        float(np.nan_to_num(np.abs(a - b) / allowed, nan=np.inf).max())
        for a, b, allowed in zip(got, wanted, bound, strict=True)
    )


def with_wrong_entry(leaves: list[np.ndarray], factor: float) -> list[np.ndarray]:
    """The largest entry of the last leaf multiplied by a factor."""
    last = leaves[-1].copy()
    last.flat[np.abs(last).argmax()] *= factor
    return [*leaves[:-1], last]


def checker(record: Record, small: bool, _: Path | None) -> None:
    """`check_gradient` passes our gradient, and names the mistake of a wrong one."""
    shapes = SHAPES[:2] if small else SHAPES
    with record.attempt("the checker, on our gradient"):
        start = time.perf_counter()
        report = check_gradient(jaxmlp.manual_grad, shapes=shapes)
        seconds = round(time.perf_counter() - start, 1)
        record.add("ours", {"passed": report.passed, "cases": report.cases, "seconds": seconds})
    with record.attempt("the checker, on a wrong gradient"):
        report = examine(
            jax.jit(without_mask), shapes=[each for each in SHAPES[:2] if each.depth == 2]
        )
        kind = report.diagnosis.kind if report.diagnosis else ""
        record.add("a mask is missing", {"passed": report.passed, "kind": kind})


def without_mask(params: Any, batch: Any) -> Any:
    """A homework of two layers that forgets the derivative of the ReLU."""
    (w0, b0), (w1, b1) = params
    x, labels = batch
    h = jnp.maximum(x @ w0 + (0 if b0 is None else b0), 0)
    p = jax.nn.softmax(h @ w1 + (0 if b1 is None else b1))
    y = labels if labels.ndim == 2 else jnp.eye(p.shape[1])[labels]
    dz1 = (p * y.sum(axis=1, keepdims=True) - y) / len(x)
    dz0 = dz1 @ w1.T
    return tuple(
        jaxmlp.Layer(rows.T @ dz, None if bias is None else dz.sum(axis=0))
        for rows, dz, bias in ((x, dz0, b0), (h, dz1, b1))
    )


def training(record: Record, small: bool, _: Path | None) -> None:
    """A training learns, twice the same; its first epoch is a CPU's; a sweep keeps its contract."""
    dataset = jaxmlp.load_digits(uint8=True)
    config = jaxmlp.Config(hidden=(32,), epochs=2 if small else 10)

    def run() -> Any:
        key, hyper = jax.random.key(0), jaxmlp.Hyperparams()
        return jax.device_get(jaxmlp.train(key, hyper, dataset, config=config))

    for products in ("highest", "default"):
        with record.attempt(f"training, {products}"), jax.default_matmul_precision(products):
            first, again = run(), run()
            with jax.default_device(jax.devices("cpu")[0]):
                on_cpu = run().metrics
            same = jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), first, again))
            off = np.abs(first.metrics.train_loss - on_cpu.train_loss) / on_cpu.train_loss
            found = {
                "validation accuracy": round(float(first.metrics.validation_accuracy[-1]), 4),
                "the same bits twice": same,
                "first epoch from a CPU's": float(off[0]),
            }
            record.add(f"train, {products}", found)
    space = {"learning_rate": [0.002, 0.02], "hidden": [(16,), (32,)], "seed": range(2)}
    for products in ("highest",) if small else ("highest", "default"):
        with record.attempt(f"sweep, {products}"), jax.default_matmul_precision(products):
            table = jaxmlp.sweep(space, dataset, config=config)
            points = [{"learning_rate": 0.02, "hidden": width, "seed": 1} for width in ("16", "32")]
            replays = [replay(table, point, dataset) for point in points]
            found = {
                "the contract holds": all(each.holds for each in replays),
                "largest difference of a loss": max(each.difference for each in replays),
            }
            record.add(f"sweep, {products}", found)


def tests(record: Record, small: bool, _: Path | None) -> None:
    """The tests of the core, as many as run in time, by what pytest prints of each."""
    limit = 12 if small else 85
    modules = [f"tests/test_{name}.py" for name in CORE]
    # without plugins that a machine may have, which warn, and so would stop the suite
    settings = ["-v", "-p", "no:cacheprovider", "-p", "no:benchmark", "-o", "addopts="]
    command = [sys.executable, "-m", "pytest", *settings, "--tb=line", *modules]
    with record.attempt("the tests of the core"), tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()  # or it would go on beside what is timed next
            process.wait()
        output.seek(0)
        printed = output.read()
        found = re.findall(r"^(\S+::.*) (PASSED|FAILED|ERROR|SKIPPED)\b", printed, re.MULTILINE)
        if not found:
            raise RuntimeError((printed.strip().splitlines() or ["pytest has printed nothing"])[-1])
        counts = Counter(result.lower() for _, result in found)
        wrong = [name for name, result in found if result in ("FAILED", "ERROR")]
        record.add("tests", dict(counts) | {"failures": wrong})
