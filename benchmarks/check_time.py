"""How long does the check of a gradient take, from a cold and from a warm compilation cache?

    python benchmarks/check_time.py

Each in a process of its own, several times in turn: our own gradient, and a two-layer homework in
NumPy and in jax.numpy, not jitted, of which every operation is compiled for every shape. Counted
is the call of `check_gradient` with its default settings (for the homework, on two layers), and
beside it the whole of `jaxmlp check`, which starts Python and JAX twice. Then the commands that
people wait for, in turn with `python -c "import jax"`, from a warm cache: as how many times that.
Result: check_time.json in `experiments/results`.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import history
from measuring import in_turn, machine

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 3
RATIOS = 7  # rounds of the commands
FEW, MANY = 2, 12  # files of a folder; what one more takes is found from their difference
JAX = "python -c 'import jax'"
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
from jaxmlp.checking.network.shapes import SHAPES
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
        ratios = commands(Path(folder))
    medians = {
        name: {state: round(statistics.median(times), 1) for state, times in states.items()}
        for name, states in seconds.items()
    }
    result = {"cores": os.cpu_count(), "seconds": medians, "all": seconds, "ratios": ratios}
    text = json.dumps(result, indent=1) + "\n"
    (given.out / "check_time.json").write_text(text, encoding="utf-8")
    print(json.dumps({"seconds": medians, "ratios": ratios}, indent=1))
    figures = {
        f"a check of a gradient: {name}, {state}, seconds": value
        for name, states in medians.items()
        for state, value in states.items()
    }
    figures |= {f"{name} / {JAX}": each["median"] for name, each in ratios.items()}
    history.append("check_time.py", figures, machine(), given.out)


def commands(folder: Path) -> dict[str, Any]:
    """What commands take, as multiples of JAX's import in the same round: median and quartiles."""
    write_homework(folder)
    flags = ["--layers", "2", "--bias", "without", "--labels", "classes"]

    def timed(*command: str | Path) -> Callable[[], float]:
        def measure() -> float:
            start = time.perf_counter()
            run([sys.executable, *map(str, command)], folder / "commands", codes=(0, 1))
            return time.perf_counter() - start

        return measure

    ours = ("-m", "jaxmlp")
    times = in_turn(
        {
            JAX: timed("-c", "import jax"),
            "jaxmlp --help": timed(*ours, "--help"),
            "jaxmlp check, right": timed(*ours, "check", folder / "right.py", *flags),
            "jaxmlp check, wrong": timed(*ours, "check", folder / "wrong.py", *flags),
            "few": timed(*ours, "check", folder / "few"),
            "many": timed(*ours, "check", folder / "many"),
        },
        RATIOS,
    )
    few, many, unit = (times.pop(name) for name in ("few", "many", JAX))
    more = [(b - a) / (MANY - FEW) for a, b in zip(few, many, strict=True)]
    times["jaxmlp check, each further file of a folder"] = more
    found = {}
    for name, each in times.items():
        low, median, high = statistics.quantiles(
            [a / b for a, b in zip(each, unit, strict=True)], n=4
        )
        quartiles = [round(low, 2), round(high, 2)]
        found[name] = {"median": round(median, 2), "quartiles": quartiles}
    return found


def write_homework(folder: Path) -> None:
    """README's homework, wrong as it is and mended, and two folders of another, which is right."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    wrong = next(each for each in blocks if "def manual_grad(params, batch)" in each)
    right = wrong.replace("J1 = J2 @ W1.T", "J1 = (J2 @ W1.T) * (z1 > 0)")
    assert right != wrong
    (folder / "wrong.py").write_text(wrong, encoding="utf-8")
    (folder / "right.py").write_text(right, encoding="utf-8")
    text = (ROOT / "tests" / "homework" / "gradients_in_attributes.py").read_text("utf-8")
    for name, count in (("few", FEW), ("many", MANY)):
        (folder / name).mkdir()
        for number in range(count):
            (folder / name / f"{number}.py").write_text(text, encoding="utf-8")


def run(command: list[str], cache: Path, codes: tuple[int, ...] = (0,)) -> str:
    """What a command prints, with a compilation cache of its own; it has to end with a code."""
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    ended = subprocess.run(
        command, env=os.environ | settings, capture_output=True, text=True, check=False, cwd=ROOT
    )
    if ended.returncode not in codes:
        raise SystemExit(f"{command} ended with {ended.returncode}: {ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    main()
