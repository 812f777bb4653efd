"""From a cold process to 98 % of MNIST's test part: interpreter, import, data, training, test.

    python benchmarks/cold.py jaxmlp FOLDER 0    # or pytorch, or sklearn; with a seed

`benchmark.py` starts each as a process of its own and takes the time. The network is 784-256-10
for all, trained on 54,000 images by Adam for as few epochs as get there with every seed that was
tried: for us, who also validate, and PyTorch three, with batches of 128, label smoothing and a rate
that falls to 0 along a cosine; for scikit-learn, which has neither, 20, with batches of 200, and
that is not enough for every seed.
"""

import importlib
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WIDTH, SIZE, EPOCHS, RATE = 256, 128, 3, 4e-3


def jaxmlp_(folder: str, seed: int) -> float:
    """Ours, as a user writes it."""
    import jax

    import jaxmlp
    from jaxmlp.evaluation import evaluate

    dataset = jaxmlp.load_idx(Path(folder), uint8=True)
    config = jaxmlp.Config(hidden=(WIDTH,), batch_size=SIZE, epochs=EPOCHS)
    hyper = jaxmlp.Hyperparams(learning_rate=RATE, label_smoothing=0.1)
    result = jaxmlp.train(jax.random.key(seed), hyper, dataset, config=config)
    return evaluate(result.params, dataset, dataset.test, config).score


def pytorch(folder: str, seed: int) -> float:
    """PyTorch, with the same schedule and label smoothing as ours."""
    torch: Any = importlib.import_module("torch")
    torch.manual_seed(seed)
    x, y, test_x, test_y = map(torch.tensor, _read(folder))
    net = torch.nn.Sequential(
        torch.nn.Linear(784, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, 10)
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * -(-len(x) // SIZE))
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(SIZE):
            optimizer.zero_grad()
            cost = torch.nn.functional.cross_entropy(net(x[rows]), y[rows], label_smoothing=0.1)
            cost.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        return float((net(test_x).argmax(dim=1) == test_y).float().mean())


def sklearn(folder: str, seed: int) -> float:
    """scikit-learn's MLPClassifier."""
    network: Any = importlib.import_module("sklearn.neural_network")
    x, y, test_x, test_y = _read(folder)
    net = network.MLPClassifier(
        (WIDTH,), alpha=1e-3, batch_size=200, max_iter=20, random_state=seed
    )
    import warnings

    with warnings.catch_warnings(action="ignore"):  # that it has not converged
        net.fit(x, y)
    return float(net.score(test_x, test_y))


def _read(folder: str) -> list[Any]:
    """MNIST's four files as arrays."""
    import gzip

    import numpy as np

    found: list[Any] = []
    for part in ("train", "t10k"):
        for kind, offset in (("images-idx3", 16), ("labels-idx1", 8)):
            content = gzip.decompress((Path(folder) / f"{part}-{kind}-ubyte.gz").read_bytes())
            found.append(np.frombuffer(content, np.uint8, offset=offset))
    x, y, test_x, test_y = found
    rows = [each.reshape(-1, 784).astype(np.float32) / 255 for each in (x, test_x)]
    held = len(y) // 10  # as ours holds back for validation
    return [rows[0][held:], y[held:].astype(np.int64), rows[1], test_y.astype(np.int64)]


CONTESTANTS = {"jaxmlp": jaxmlp_, "pytorch": pytorch, "sklearn": sklearn}


def cold_starts(data: str, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Every contestant as a process of its own; ours also with a compilation cache, and typed."""
    found: dict[str, list[dict[str, float]]] = {}
    for turn in range(rounds):  # each with a seed and an order of its own
        with tempfile.TemporaryDirectory() as cache:
            script = [sys.executable, __file__]
            typed = [sys.executable, "-m", "jaxmlp", "train", "--data", data, "--hidden",
                     str(WIDTH), "--batch-size", str(SIZE), "--epochs", str(EPOCHS),
                     "--learning-rate", str(RATE), "--label-smoothing", "0.1",
                     "--seed", str(turn), "--out"]  # fmt: skip
            own, seed = [*script, "jaxmlp", data], str(turn)
            starts: list[dict[str, list[str]]] = [  # a second start comes after the first
                {"jaxmlp, cold": [*own, seed], "jaxmlp, second start": [*own, seed]},
                {"jaxmlp train": [*typed, f"{cache}/one"],
                 "jaxmlp train, second start": [*typed, f"{cache}/two"]},
                {"PyTorch": [*script, "pytorch", data, seed]},
                {"scikit-learn": [*script, "sklearn", data, seed]},
            ]  # fmt: skip
            random.Random(turn).shuffle(starts)
            for name, command in (start for one in starts for start in one.items()):
                caches = {"XDG_CACHE_HOME": cache} if command[1] == "-m" else {
                    "JAX_COMPILATION_CACHE_DIR": f"{cache}/own",
                    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                }  # fmt: skip
                began = time.perf_counter()
                printed = subprocess.run(
                    command, env={**os.environ, **caches}, capture_output=True, text=True,
                    check=True,
                ).stdout  # fmt: skip
                seconds = time.perf_counter() - began
                accuracy = float(re.findall(r"0\.\d+", printed)[-1])
                found.setdefault(name, []).append({"seconds": seconds, "accuracy": accuracy})
                print(f"round {turn}, {name}: {seconds:.2f} s, {accuracy:.4f}", flush=True)
    return found


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in CONTESTANTS or not sys.argv[3].isdigit():
        sys.exit(f"give one of {', '.join(CONTESTANTS)}, a folder with MNIST's files, and a seed")
    print(CONTESTANTS[sys.argv[1]](sys.argv[2], int(sys.argv[3])))
