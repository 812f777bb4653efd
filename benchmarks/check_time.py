"""How long does the check of a gradient take, from a cold and from a warm compilation cache?

    python benchmarks/check_time.py

Each in a process of its own, several times in turn: our own gradient, and a two-layer homework in
NumPy and in jax.numpy, not jitted, of which every operation is compiled for every shape. Counted
is the call of `check_gradient` with its default settings (for the homework, on two layers), and
beside it the whole of `jaxmlp check`, which starts Python and JAX twice. Result: check_time.json
in `experiments/results`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import history
from measuring import machine

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 3
SETTINGS = ["--layers", "2", "--bias", "with"]
HOMEWORK = """
import numpy as np
from jaxmlp import Layer


def manual_grad(params, batch):
    (W0, b0), (W1, b1) = params
    x, labels = batch
    z1 = x @ W0 + b0
    h = np.maximum(z1, 0)
    z2 = h @ W1 + b1
    e = np.exp(z2 - z2.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    y = labels if labels.ndim == 2 else np.eye(z2.shape[1], dtype=x.dtype)[labels]
    J2 = (p * y.sum(axis=1, keepdims=True) - y) / len(x)
    J1 = (J2 @ W1.T) * (z1 > 0)
    return (Layer(x.T @ J1, J1.sum(axis=0)), Layer(h.T @ J2, J2.sum(axis=0)))
"""
CALL = """
import time
import jaxmlp
from jaxmlp.checking import check_gradient
from jaxmlp.checking.cases import SHAPES
{definition}
start = time.perf_counter()
check_gradient({gradient})
print(time.perf_counter() - start)
"""
TWO = "manual_grad, shapes=[each for each in SHAPES if each.depth == 2 and each.bias]"


def main() -> None:
    """Measure in turn, write down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=history.RESULTS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    in_jax = HOMEWORK.replace("import numpy as np", "import jax.numpy as np")
    subjects = {
        "ours": CALL.format(definition="", gradient="jaxmlp.manual_grad"),
        "homework in NumPy": CALL.format(definition=HOMEWORK, gradient=TWO),
        "homework in jax.numpy": CALL.format(definition=in_jax, gradient=TWO),
    }
    seconds: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        homework = Path(folder) / "homework.py"
        homework.write_text(HOMEWORK, encoding="utf-8")
        for turn in range(ROUNDS):
            for name, code in subjects.items():
                cache = Path(folder) / f"{name}-{turn}"
                for state in ("cold", "warm"):
                    found = run([sys.executable, "-c", code], cache)
                    times = seconds.setdefault(name, {}).setdefault(state, [])
                    times.append(float(found.split()[-1]))
            cache = Path(folder) / f"command-{turn}"
            for state in ("cold", "warm"):
                start = time.perf_counter()
                run([sys.executable, "-m", "jaxmlp", "check", str(homework), *SETTINGS], cache)
                times = seconds.setdefault("jaxmlp check, all of it", {}).setdefault(state, [])
                times.append(time.perf_counter() - start)
    medians = {
        name: {state: round(statistics.median(times), 1) for state, times in states.items()}
        for name, states in seconds.items()
    }
    result = {"cores": os.cpu_count(), "seconds": medians, "all": seconds}
    text = json.dumps(result, indent=1) + "\n"
    (given.out / "check_time.json").write_text(text, encoding="utf-8")
    print(json.dumps(medians, indent=1))
    figures = {
        f"a check of a gradient: {name}, {state}, seconds": value
        for name, states in medians.items()
        for state, value in states.items()
    }
    history.append("check_time.py", figures, machine(), given.out)


def run(command: list[str], cache: Path) -> str:
    """What a command prints, with a compilation cache of its own."""
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    ended = subprocess.run(
        command, env=os.environ | settings, capture_output=True, text=True, check=True, cwd=ROOT
    )
    return ended.stdout


if __name__ == "__main__":
    main()
