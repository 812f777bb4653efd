"""How long do a search, a fit and a cross-validation take, beside scikit-learn's own networks?

    python benchmarks/benchmark_sklearn.py    # some ten minutes on two cores

Everything is measured in turn, several times over, each time in a fresh process, on all cores for
everyone: scikit-learn's search and cross-validation run as many processes as there are cores. The
first call in a process is cold: it compiles, or with a kept cache of compiled programs reads them,
and scikit-learn starts its processes; the second call is warm. Importing is left out. The scores
are compared too, for a faster search is none if it finds less.
Results: benchmark_sklearn.json and .md in `experiments/results`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import history
import numpy as np
from measuring import machine, times_as_long

from jaxmlp.files import write_json, write_text

ROUNDS = 5
SEARCH = {
    "learning_rate_init": np.geomspace(1e-3, 1e-2, 6).tolist(),
    "alpha": [1e-5, 1e-4, 1e-3],
}
OURS, THEIRS = "jaxmlp", "scikit-learn"
# of each: which call counts, whether compiled programs of an earlier process are there, the goal
TASKS = {
    "search on digits, cold": ("digits", 0, False, 4.0),
    "search on digits, warm": ("digits", 1, False, 10.0),
    "search on a table of 20,000 × 50, cold": ("table", 0, False, 3.0),
    "one fit on digits, second call": ("fit", 1, False, 1.5),
    "cross-validation on digits, cold process": ("folds", 0, False, 1.0),
    "cross-validation on digits, cold process, kept programs": ("folds", 0, True, 1.0),
}
WHAT = {
    "digits": "18 settings × 5 folds, 64 hidden units, 30 epochs",
    "table": "18 settings × 5 folds, 64-64 hidden units, 5 epochs",
    "fit": "64 hidden units, 30 epochs",
    "folds": "5 folds, 64 hidden units, 30 epochs",
}


def main() -> None:
    """Measure in turn and write down; or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=history.RESULTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--worker", nargs=2, metavar=("TASK", "WHOSE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(work(*arguments.worker)))
        return
    found: dict[str, Any] = machine("scikit-learn", "numpy") | {"tasks": {}}
    with tempfile.TemporaryDirectory() as kept:
        times = measure(arguments.rounds, Path(kept))
    for name, (task, call, keeps, goal) in TASKS.items():
        runs = times[task, keeps]
        ours, theirs = ([run["seconds"][call] for run in runs[who]] for who in (OURS, THEIRS))
        found["tasks"][name] = {
            "what": WHAT[task],
            OURS: ours,
            THEIRS: theirs,
            "ratio": times_as_long(theirs, ours),
            "ratios": [b / a for a, b in zip(ours, theirs, strict=True)],
            "goal": goal,
            "scores": {who: runs[who][0]["score"] for who in (OURS, THEIRS)},
        }
    write_json(arguments.out / "benchmark_sklearn.json", found)
    page = written(found)
    write_text(arguments.out / "benchmark_sklearn.md", page)
    ratios = {
        f"scikit-learn / ours: {name}": each["ratio"] for name, each in found["tasks"].items()
    }
    history.append("benchmark_sklearn", ratios, found, arguments.out)
    print(page)


def measure(rounds: int, kept: Path) -> dict[Any, dict[str, list[dict[str, Any]]]]:
    """Run every task in turn; the table, which takes long, twice only."""
    pairs = list(dict.fromkeys((task, keeps) for task, _, keeps, _ in TASKS.values()))
    times: dict[Any, Any] = {pair: {OURS: [], THEIRS: []} for pair in pairs}
    run("folds", OURS, kept)  # fills the cache
    for turn in range(rounds):
        for task, keeps in pairs:
            if task == "table" and turn > 1:
                continue
            for who in (OURS, THEIRS) if turn % 2 else (THEIRS, OURS):
                result = run(task, who, kept if keeps else None)
                seconds = ", ".join(f"{each:.2f}" for each in result["seconds"])
                print(f"round {turn}, {task}, {who}: {seconds} s", flush=True)
                times[task, keeps][who].append(result)
    return times


def run(task: str, who: str, kept: Path | None) -> dict[str, Any]:
    """One process, which says how long its calls took."""
    cache = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    if kept:
        cache = {"XDG_CACHE_HOME": str(kept)}
    command = [sys.executable, __file__, "--worker", task, who]
    done = subprocess.run(
        command, env=os.environ | cache, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def work(task: str, who: str) -> dict[str, Any]:
    """The seconds of two calls, the second of which is warm, and the score."""
    from sklearn.datasets import load_digits, make_classification
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.neural_network import MLPClassifier as TheirClassifier

    from jaxmlp.sklearn import MLPClassifier, SweepSearchCV

    warnings.simplefilter("ignore")
    if task == "table":
        x, y = make_classification(20_000, 50, n_informative=20, n_classes=4, random_state=0)
    else:
        x, y = load_digits(return_X_y=True)
        x = x / 16
    hidden, epochs = ((64, 64), 5) if task == "table" else ((64,), 30)
    told: Any = {"max_iter": epochs, "tol": 0, "n_iter_no_change": 1000, "random_state": 0}
    network: Any = (MLPClassifier if who == OURS else TheirClassifier)(hidden, **told)

    def action() -> float:
        if task == "fit":
            return network.fit(x, y).loss_
        if task == "folds":
            jobs = None if who == OURS else -1
            return float(cross_val_score(network, x, y, cv=5, n_jobs=jobs).mean())
        search: Any = SweepSearchCV if who == OURS else GridSearchCV
        return float(search(network, SEARCH, cv=5, n_jobs=-1).fit(x, y).best_score_)

    seconds, score = [], 0.0
    for _ in range(1 if task == "table" else 2):
        start = time.perf_counter()
        score = action()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "score": score}


def written(found: dict[str, Any]) -> str:
    """The table as Markdown."""
    lines = [
        "# Beside scikit-learn",
        "",
        f"On {history.name_of(found)}, by `python benchmarks/benchmark_sklearn.py`: medians, and",
        "the fastest and the slowest run, in seconds. How many times as long scikit-learn takes:",
        "the median of the ratios of runs that followed each other, the smallest and the largest.",
        "",
        "The score is the accuracy, in a search and a cross-validation that of the parts left out;",
        "of the one fit it is the training loss, scikit-learn's with the penalty of alpha, ours",
        "without it.",
        "",
        "| task | jaxmlp | scikit-learn | times as long | goal | score, ours and theirs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, each in found["tasks"].items():
        low, high = min(each["ratios"]), max(each["ratios"])
        scores = " / ".join(f"{each['scores'][who]:.4f}" for who in (OURS, THEIRS))
        lines.append(
            f"| {name}: {each['what']} | {_seconds(each[OURS])} | {_seconds(each[THEIRS])} | "
            f"{each['ratio']:.1f} ({low:.1f} to {high:.1f}) | {each['goal']:g} | {scores} |"
        )
    return "\n".join([*lines, ""])


def _seconds(times: list[float]) -> str:
    middle, low, high = (of(times) for of in (np.median, min, max))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
