"""What does a sweep of somebody's own task cost, beside the same functions mapped by hand?

    python benchmarks/benchmark_tasks.py

A network 64-32-10 on scikit-learn's digits by optax's Adam, in minibatches, 32 trials. By hand is
`jax.jit(jax.vmap(epoch))` with donated states, which fetches its metrics after every epoch, as a
sweep does. Both are timed from the second epoch on, in turn. Result: `benchmark_tasks.json` in
`experiments/results`; it takes half a minute.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import history
import jax
import jax.numpy as jnp
import numpy as np
import optax
from measuring import in_turn, machine, middle, times_as_long

import jaxmlp
from jaxmlp.files import write_text
from jaxmlp.sweeps import Task

TRIALS = 32
EPOCHS = 8
ROUNDS = 9
BATCH = 64
OURS, BY_HAND = "sweep of a task", "jit(vmap) by hand"


def main() -> None:
    """Time both, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    results = Path(__file__).parent.parent / "experiments/results"
    parser.add_argument("--out", type=Path, default=results)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    task = make_task()
    rates = np.geomspace(1e-4, 1e-2, TRIALS).tolist()
    times = in_turn(
        {OURS: lambda: of_sweep(task, rates), BY_HAND: lambda: by_hand(task, rates)},
        arguments.rounds,
    )
    ratio = times_as_long(times[OURS], times[BY_HAND])
    for name, seconds in times.items():
        print(f"{name}: {middle(seconds)} ms an epoch of {TRIALS} trials")
    print(f"the sweep takes {ratio:.2f} times as long")
    found = machine("optax") | {"seconds": times, "ratio": ratio}
    write_text(arguments.out / "benchmark_tasks.json", json.dumps(found, indent=1) + "\n")
    headline = {"a sweep of a task, times as long as by hand": ratio}
    history.append("benchmark_tasks.py", headline, found, arguments.out)


def make_task() -> Task:
    """A network on digits, by optax."""
    train = jaxmlp.load_digits().train
    x, y = jnp.asarray(train.x, jnp.float32), jnp.asarray(train.labels)
    steps = len(x) // BATCH

    def loss(params: Any, rows: Any) -> Any:
        z = jax.nn.relu(x[rows] @ params[0]) @ params[1]
        return optax.softmax_cross_entropy_with_integer_labels(z, y[rows]).mean()

    def init(key: Any, hyper: Any, static: Any) -> Any:
        del static
        one, two = jax.random.split(key)
        params = [0.2 * jax.random.normal(one, (64, 32)), 0.2 * jax.random.normal(two, (32, 10))]
        return params, optax.adam(hyper["rate"]).init(params)

    def epoch(state: Any, hyper: Any, key: Any, epoch: Any, static: Any) -> Any:
        del epoch, static

        def step(state: Any, rows: Any) -> Any:
            params, kept = state
            value, grads = jax.value_and_grad(loss)(params, rows)
            changes, kept = optax.adam(hyper["rate"]).update(grads, kept)
            return (optax.apply_updates(params, changes), kept), value

        order = jax.random.permutation(key, len(x))[: steps * BATCH].reshape(steps, BATCH)
        state, values = jax.lax.scan(step, state, order)
        return state, {"loss": values.mean()}

    return Task(init, epoch)


def of_sweep(task: Task, rates: list[float]) -> float:
    """Seconds of an epoch of all trials, in a sweep."""
    ends: list[float] = []
    jaxmlp.sweep(
        {"rate": rates}, task, epochs=EPOCHS, on_progress=lambda _: ends.append(time.perf_counter())
    )
    return statistics.median(np.diff(ends[:-1]))  # the last one ends the sweep


def by_hand(task: Task, rates: list[float]) -> float:
    """The same without a sweep."""

    def init(rate: Any) -> Any:
        return task.init(jax.random.key(0), {"rate": rate}, {})

    def epoch(state: Any, rate: Any, number: Any) -> Any:  # all trials have one order, as there
        key = jax.random.fold_in(jax.random.key(0), number)
        return task.epoch(state, {"rate": rate}, key, number, {})

    numbers = jnp.asarray(rates, jnp.float32)
    states = jax.jit(jax.vmap(init))(numbers)
    run = jax.jit(jax.vmap(epoch, (0, 0, None)), donate_argnums=0)
    ends, curves = [], []
    for number in range(EPOCHS):
        states, metrics = run(states, numbers, number)
        curves.append(jax.device_get(metrics))
        ends.append(time.perf_counter())
    return statistics.median(np.diff(ends))


if __name__ == "__main__":
    main()
