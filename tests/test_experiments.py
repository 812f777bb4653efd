"""The committed results are those that the README quotes, and were chosen as it says."""

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.corpus import MISTAKES

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("shape", ["784-800-10", "784-1024-1024-10"])
def test_mnist(shape):
    entry = json.loads((RESULTS / "mnist.json").read_text())[shape]
    tried = entry["validation_error_percent"]
    assert entry["chosen"] == min(tried, key=tried.get)
    errors = entry["test_error_percent"]
    assert len(errors) == 5
    np.testing.assert_allclose(entry["mean"], np.mean(errors))
    np.testing.assert_allclose(entry["deviation"], np.std(errors, ddof=1))
    assert f"{entry['mean']:.2f} % ± {entry['deviation']:.2f}" in README
    assert entry["mean"] <= 1.45
    with Image.open(RESULTS / "mnist.png") as picture:
        assert min(picture.size) > 500


def test_mutation():
    results = json.loads((RESULTS / "mutation.json").read_text())
    assert set(results) == {"activations", "gradient", "losses", "network"}
    for module in results.values():
        assert len(module["survivors"]) == module["mutants"] - module["killed"]
        for survivor in module["survivors"]:
            assert survivor["equivalent because"], survivor["change"]
    mutants, killed = (
        sum(module[name] for module in results.values()) for name in ("mutants", "killed")
    )
    assert f"{killed} of {mutants}" in README


def test_checking():
    """Every mistake of the corpus is in the table, caught, and named; nothing right is refused."""
    result = json.loads((RESULTS / "checking.json").read_text())
    assert [row["mistake"] for row in result["rows"]] == [each.name for each in MISTAKES]
    mistakes, totals = len(MISTAKES), result["totals"]
    assert totals["jaxmlp"] == totals["right line"] == totals["right kind"] == mistakes
    assert f"names all {mistakes} mistakes" in README
    assert f"gradcheck catches {totals['gradcheck']} of them" in README
    right, unseen = result["right"], result["unseen"]
    assert right["false alarms"] == []
    assert right["runs"] >= 1_500
    says = f"{right['runs']:,} checks of right gradients, written in {right['ways']} ways"
    assert says in README
    assert f"{unseen['totals']['caught']} of {unseen['mistakes']}" in README
    assert f"the right line for {unseen['totals']['right line']}" in README


def test_check_time():
    result = json.loads((RESULTS / "check_time.json").read_text())
    seconds, text = result["seconds"], " ".join(README.split())
    ratios = {name.split(", ")[-1]: each["median"] for name, each in result["ratios"].items()}
    assert f"`jaxmlp --help` takes {ratios['jaxmlp --help']} times as long" in text
    assert f"{ratios['right']} times where it is right and {ratios['wrong']} times as it is" in text
    more = ratios["each further file of a folder"]
    assert f"each further file of a folder of homework {more} times" in text
    for name in ("ours", "homework in NumPy", "homework in jax.numpy"):
        for state in ("cold", "warm"):
            assert f"{seconds[name][state]} s" in README


def test_sweeps():
    """The best learning rate grows with the width, and with the batch size up to a bound."""
    found = json.loads((RESULTS / "sweeps.json").read_text())
    width, batch = found["width"]["best"], found["batch"]["best"]
    text = " ".join(README.split())
    rates = [width[name]["learning_rate"] for name in ("16", "64", "256")]
    assert rates == sorted(rates)
    assert "from {:.2g} for 16 units to {:.2g} for 64 and {:.2g} for 256".format(*rates) in text
    rates = [batch[name]["learning_rate"] for name in ("32", "128", "512", "2048")]
    assert rates == sorted(rates)
    assert rates[2] == rates[3]
    grows = "from {:.2g} for batches of 32 to {:.2g} for 128 and {:.2g} for 512".format(*rates)
    assert grows in text
    errors = [batch[name]["error"] for name in ("128", "2048")]
    assert "{:.1f} % error with batches of 128, {:.1f} % with 2,048".format(*errors) in text
    low, high = found["thousand"]["where eight of ten of the best 50 lie"]["learning_rate"]
    assert f"between\n{low:.2g} and {high:.2g}" in README
    assert [found[name]["trials"] for name in ("width", "batch", "thousand")] == [312, 208, 1000]
    for name in ("width", "batch", "thousand"):
        with Image.open(RESULTS / f"sweep-{name}.png") as picture:
            assert min(picture.size) > 400


def test_benchmark_of_sweeps():
    result = json.loads((RESULTS / "benchmark_sweeps.json").read_text())

    def factor(width, name):
        seconds = result[width]["seconds"]
        return float(np.median(np.divide(seconds[name], seconds["sweep"])))

    found = [
        factor("32", "PyTorch eager"),
        factor("32", "train in a loop"),
        factor("128", "PyTorch eager"),
        factor("128", "train in a loop"),
    ]
    text = " ".join(README.split())
    eager, loop, wide_eager, wide_loop = (f"{each:.1f}" for each in found)
    assert f"by a factor of {eager}, and less than our own `train` in a loop by {loop};" in text
    assert f"of 784-128-10 by {wide_eager} and {wide_loop}" in text
    assert f"alone take {factor('128', 'bare matrix products'):.2f} of the time" in text
    narrow, wide = (f"{factor(width, 'hyperoptax grid'):.2f}" for width in ("32", "128"))
    assert f"epoch takes {narrow} times as long for 784-32-10, and {wide} times" in text


def test_benchmark(monkeypatch):
    """What the README says of gradients, epochs and cold starts is what was measured."""
    found = json.loads((RESULTS / "benchmark.json").read_text())
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    page = importlib.import_module("benchmark_page")
    assert page.page(found) == (RESULTS / "benchmark.md").read_text(encoding="utf-8")
    got = {what: float(value) for what, _, value, _ in page.goals(found)}
    text = " ".join(README.split())
    small, large = (found["epoch"][name] for name in ("784-128-10", "784-1024-1024-10"))

    def ratio(part, name):
        return float(np.median(np.divide(part["seconds"][name], part["seconds"]["jaxmlp"])))

    parts = {name: np.median(seconds) for name, seconds in small["parts"].items()}
    share = parts["the products, batch by batch"] / parts["validation"]
    assert (
        f"PyTorch's eager loop takes {ratio(small, 'PyTorch, eager'):.2f} times as long as we do, "
        f"scikit-learn {ratio(small, 'scikit-learn'):.2f}, and a jitted step in a Python loop "
        f"{ratio(small, 'a jitted step in a loop'):.2f}. At the large product's rate the "
        f"products would take {ratio(small, 'floor'):.2f} of our time; in batches, those of "
        f"training alone take {share:.0%} of it"
    ) in text
    others = [
        ratio(large, name) for name in large["seconds"] if name[:6] not in ("jaxmlp", "floor")
    ]
    assert (
        f"the products alone would take {ratio(large, 'floor'):.2f} of our time, and the others "
        f"take {min(others):.2f} to {max(others):.2f} times as long"
    ) in text
    cases = [
        (case, float(np.median(np.divide(case["seconds"]["jax.grad"], case["seconds"]["by hand"]))))
        for case in found["gradient"]
    ]
    batches, single = ([time for case, time in cases if (case["n"] > 1) == many] for many in (1, 0))
    assert (
        f"`jax.value_and_grad` takes {min(batches):.2f} to {max(batches):.2f} times as long for "
        f"batches, and {min(single):.2f} to {max(single):.1f} times for single examples"
    ) in text
    memory = [
        case["bytes"]["jax.grad"] / case["bytes"]["by hand"]
        for case, _ in cases
        if case["activation"] == "relu" and case["n"] > 1
    ]
    assert (
        f"with the ReLU it needs {min(memory):.1f} to {max(memory):.1f} times as much temporary "
        "memory for batches"
    ) in text
    for case, _ in cases:
        assert case["bytes"]["by hand"] <= case["bytes"]["jax.grad"]
        if case["activation"] == "relu" and case["n"] > 1:
            assert case["bytes"]["by hand"] < 0.75 * case["bytes"]["jax.grad"]
    for case in found["accuracy"]:  # both lose a few last digits, and neither more than the other
        assert case["by hand"][0] < 1.1 * case["jax.grad"][0]
        assert case["by hand"][0] < 2e-6
    seconds = {
        name: f"{np.median([run['seconds'] for run in runs]):.1f} s"
        for name, runs in found["cold"].items()
    }
    assert (
        f"98 % of the test part right: {seconds['jaxmlp, cold']}, or "
        f"{seconds['jaxmlp, second start']} with a compilation cache; PyTorch "
        f"{seconds['PyTorch']}; scikit-learn, which does not get there with every seed, "
        f"{seconds['scikit-learn']}. `jaxmlp train`, which "
        f"keeps such a cache, checks the gradient and draws pictures too: "
        f"{seconds['jaxmlp train']}, and {seconds['jaxmlp train, second start']} from the second "
        "time on."
    ) in text
    for name, runs in found["cold"].items():
        least = 0.979 if name == "scikit-learn" else 0.98
        assert min(run["accuracy"] for run in runs) >= least, name
    assert got["to 98 %: the best of the others, times as long as jaxmlp, cold"] > 1
    assert got["to 98 %: the best of the others, times as long as jaxmlp, second start"] > 1


def test_faults(monkeypatch):
    """Nothing was lost, in as many tries as the README says."""
    found = json.loads((RESULTS / "faults.json").read_text())
    monkeypatch.syspath_prepend(ROOT / "experiments")
    faults = importlib.import_module("faults")
    rows = [faults.Row(**row) for row in found["rows"]]
    assert faults.page(rows, found["machine"]) == (RESULTS / "faults.md").read_text("utf-8")
    assert {row.part for row in rows} == {*faults.HEADINGS}
    assert [row.what for row in rows if row.lost or row.survived != row.tried] == []
    for part, least in (("kills", 100), ("files", 100_000), ("long", 1000)):
        assert min(row.tried for row in rows if row.part == part) >= least
    text = " ".join(README.split())
    assert f"In {sum(row.tried for row in rows):,} tries, nothing was lost" in text
    differences = [re.findall(r"[\d.]+e[-+]\d+", row.note) for row in rows if row.part == "devices"]
    first, tenth = (max(each, key=float) for each in zip(*differences, strict=True))
    assert f"losses differed by up to {first} in the first epoch and {tenth} in the tenth" in text


def test_beside_scikit_learn():
    """What the README says of the benchmark beside scikit-learn is what was found."""
    tasks = json.loads((RESULTS / "benchmark_sklearn.json").read_text())["tasks"]
    text = README.split("Beside scikit-learn, on two cores")[1].split("`check_estimator`")[0]
    said = re.findall(r"(\d\.\d)\s+times", text)
    assert said == [f"{task['ratio']:.1f}" for task in tasks.values()]
    for name, task in tasks.items():
        if "one fit" not in name:  # whose score is the training loss
            ours, theirs = task["scores"].values()
            assert abs(ours - theirs) < 0.004
