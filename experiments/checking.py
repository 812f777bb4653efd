"""Which checker catches which mistake, and which one says what the mistake is?

    python experiments/checking.py

Every mistake of `tests/corpus.py` is given to `jaxmlp.checking`, to `jax.test_util.check_grads`
(through its vjp), to PyTorch's gradcheck in slow and in fast mode, and to a comparison with
central differences, all with their default settings. The others see two ordinary problems: two
and three layers, biases, a few examples of dense numbers with one-hot labels. Then the
mistakes of `tests/unseen.py`, which were not made with the checker in mind; and every right
gradient of the corpus, and of other people's models in `tests/models`, with other numbers again
and again: a false alarm is a failure. Result:
`checking.json` and `checking.md` in `experiments/results`; it takes 10 to 25 minutes.
"""

import functools
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jaxmlp.checking.cases import moved, network_cases  # noqa: E402
from jaxmlp.checking.check import examine  # noqa: E402
from jaxmlp.checking.network.shapes import SHAPES  # noqa: E402
from jaxmlp.checking.report import Report  # noqa: E402
from jaxmlp.checking.truth.derivative import Derivative  # noqa: E402
from jaxmlp.checking.truth.trees import as_float64  # noqa: E402
from tests import corpus, models, unseen  # noqa: E402

RUNS = 750  # of right gradients of our networks, and of other models, at least
AWAY = 0.3  # how far the parameters of other models are moved


def main() -> None:
    """Try every mistake and every right gradient; write the table."""
    jax.config.update("jax_enable_x64", True)
    checkers = {"check_grads": by_check_grads, "central differences": by_central_differences}
    checkers |= {"gradcheck": by_torch(fast=False), "gradcheck, fast": by_torch(fast=True)}
    for name, caught in checkers.items():  # who refuses what is right has caught nothing
        for activation in ("relu", "tanh"):
            for each in problems(activation):
                if caught(right_for(activation), *each):
                    raise SystemExit(f"{name} refuses a right gradient")
    rows = []
    for mistake in corpus.MISTAKES:
        report = examine(corpus.build(mistake), activation=mistake.activation)
        found = report.diagnosis
        row: dict[str, Any] = {
            "mistake": mistake.name,
            "equation": mistake.equation,
            "kind": mistake.kind,
            "jaxmlp": not report.passed,
            "right line": bool(found and found.equations == (mistake.equation,)),
            "right kind": bool(found and found.kind == mistake.kind),
        }
        wrong = corpus.build(mistake, jnp)
        for name, caught in checkers.items():
            row[name] = any(caught(wrong, *each) for each in problems(mistake.activation))
        rows.append(row)
        print(", ".join(f"{name}: {value}" for name, value in row.items()), flush=True)
    write(rows, list(checkers), unseen_mistakes(), right_runs())


def unseen_mistakes() -> list[dict[str, Any]]:
    """Whether mistakes that it was not made for are caught, and where they are said to be."""
    rows = []
    for mistake in unseen.MISTAKES:
        report = examine(mistake.grad, activation=mistake.activation)
        said = report.diagnosis.equations if report.diagnosis else ()
        rows.append(
            {
                "mistake": mistake.name.replace("_", " "),
                "kind": mistake.kind,
                "equations": mistake.lines,
                "caught": not report.passed,
                "said": said,
                "right line": said == mistake.lines
                or (len(said) == 1 and said[0] in mistake.lines),
                "as": report.diagnosis.kind if report.diagnosis else "",
            }
        )
        print(rows[-1], flush=True)
    return rows


def right_runs() -> dict[str, Any]:
    """How often a right gradient, written differently, is refused: each with many seeds."""
    ways = [*our_ways(), *other_ways()]
    alarms: list[str] = []
    counts: dict[str, int] = {}
    cases, dtypes = 0, set[str]()
    for name, whose, check in ways:
        seeds = -(-RUNS // sum(other == whose for _, other, _ in ways))
        for seed in range(seeds):
            report = check(seed)
            cases += report.compared
            dtypes |= set(report.dtypes)
            counts[whose] = counts.get(whose, 0) + 1
            if not report.passed:
                alarms.append(f"{name}, seed {seed}")
                print(report, flush=True)
            if whose == "other models" or seed == seeds - 1:
                jax.clear_caches()  # else thousands of programs stay in memory
        print(f"{name}: {seeds} runs, {len(alarms)} false alarms so far", flush=True)
    return {
        "runs": sum(counts.values()),
        "ways": len(ways),
        "by": counts,
        "cases": cases,
        "dtypes": sorted(dtypes),
        "false alarms": alarms,
    }


Way = tuple[str, str, Callable[[int], Report]]  # a name, whose loss it is, a check by a seed


def our_ways() -> Iterator[Way]:
    """The right gradients of our networks."""
    for name, right in corpus.RIGHT.items():
        jitted = jax.jit(right) if name in corpus.JITTABLE else right
        activation = "tanh" if name.startswith("tanh") else "relu"
        check = functools.partial(examine, jitted, activation=activation)
        yield name, "our networks", lambda seed, check=check: check(seed=seed)


def other_ways() -> Iterator[Way]:
    """The right gradients of other people's models, each with its parameters moved by a seed."""
    for model, module in models.models().items():
        for name, right in module.RIGHT.items():

            def check(seed: int, module: Any = module, right: Any = right) -> Report:
                by = (seed, AWAY * bool(seed), AWAY * bool(seed))
                cases = [(moved(params, *by), batch) for params, batch in module.cases()]
                return examine(right, module.loss, cases=cases)

            yield f"{model}, {name}", "other models", check


def right_for(activation: str) -> Callable[..., Any]:
    """The corpus's source as it is right for an activation."""
    same = corpus.Mistake("", "params", "params", 0, "", activation)
    return corpus.build(same._replace(old="return tuple(grads)", new="return tuple(grads)"), jnp)


def problems(activation: str) -> list[tuple[Any, Any, Callable[..., Any]]]:
    """Parameters, batch and loss of the ordinary problems."""
    import jaxmlp

    def loss(params: Any, batch: Any) -> Any:
        return jaxmlp.loss(params, batch, activation=activation)

    chosen = []
    for case in network_cases((SHAPES[1], SHAPES[5]), np.float64, seed=0):
        if case.kind == "dense" and case.batch.labels.ndim == 1:
            labels = np.eye(case.shape.sizes[-1])[case.batch.labels] if case.shape else None
            batch = case.batch._replace(labels=labels)
            chosen.append((*as_float64((case.params, batch)), loss))
    return chosen


def by_check_grads(wrong: Callable[..., Any], params: Any, batch: Any, loss: Any) -> bool:
    """Whether `jax.test_util.check_grads` refuses the gradient as a vjp of the loss."""

    @jax.custom_vjp
    def function(params: Any) -> Any:
        return loss(params, batch)

    def backward(params: Any, cotangent: Any) -> Any:
        return (jax.tree.map(lambda leaf: cotangent * leaf, wrong(params, batch)),)

    function.defvjp(lambda params: (loss(params, batch), params), backward)
    try:
        jax.test_util.check_grads(function, (params,), order=1, modes=["rev"])
    except Exception:  # a mismatch, or code that does not run there
        return True
    return False


def by_central_differences(wrong: Callable[..., Any], params: Any, batch: Any, loss: Any) -> bool:
    """Whether an entry is off by more than the customary 1e-5, relatively, and 1e-7 absolutely."""
    leaves = jax.tree.leaves(wrong(params, batch))
    differences = Derivative(loss).by_differences(params, batch)
    for leaf, (expected, _) in zip(leaves, differences, strict=True):
        if np.shape(leaf) != expected.shape or not np.allclose(leaf, expected, 1e-5, 1e-7):
            return True
    return False


def by_torch(fast: bool) -> Callable[..., bool]:
    """PyTorch's gradcheck of a function whose backward is the gradient."""
    torch: Any = importlib.import_module("torch")  # comes with the extra `peers`

    def caught(wrong: Callable[..., Any], params: Any, batch: Any, loss: Any) -> bool:
        leaves, structure = jax.tree.flatten(params)

        class Function(torch.autograd.Function):
            @staticmethod
            def forward(context: Any, *tensors: Any) -> Any:
                context.save_for_backward(*tensors)
                arrays = [jnp.asarray(tensor.detach().numpy()) for tensor in tensors]
                value = float(loss(jax.tree.unflatten(structure, arrays), batch))
                return torch.tensor(value, dtype=torch.float64)

            @staticmethod
            def backward(context: Any, *cotangents: Any) -> Any:
                arrays = [jnp.asarray(tensor.detach().numpy()) for tensor in context.saved_tensors]
                grad = jax.tree.leaves(wrong(jax.tree.unflatten(structure, arrays), batch))
                return tuple(cotangents[0] * torch.tensor(np.asarray(leaf)) for leaf in grad)

        tensors = [torch.tensor(np.asarray(leaf), requires_grad=True) for leaf in leaves]
        try:
            torch.autograd.gradcheck(Function.apply, tensors, fast_mode=fast)
        except Exception:  # a mismatch, or code that does not run there
            return True
        return False

    return caught


def write(
    rows: list[dict[str, Any]],
    others: list[str],
    strange: list[dict[str, Any]],
    right: dict[str, Any],
) -> None:
    """The table as JSON and as Markdown, with the totals first."""
    folder = ROOT / "experiments/results"
    columns = ["jaxmlp", "right line", "right kind", *others]
    totals = {column: sum(row[column] for row in rows) for column in columns}
    unforeseen = {name: sum(row[name] for row in strange) for name in ("caught", "right line")}
    result = {
        "mistakes": len(rows),
        "totals": totals,
        "right": right,
        "unseen": {"mistakes": len(strange), "totals": unforeseen, "rows": strange},
        "rows": rows,
    }
    (folder / "checking.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    lines = [f"# {len(rows)} mistakes, and who catches them", ""]
    lines += [
        f"And {right['runs']} checks of right gradients, written in {right['ways']} ways, "
        f"{right['by']['other models']} of them of other people's models "
        f"({right['cases']} cases in {' and '.join(right['dtypes'])}): "
        f"{len(right['false alarms'])} false alarms.",
        "",
    ]
    lines += ["| mistake | equation | kind | " + " | ".join(columns) + " |"]
    lines += ["|---" * (len(columns) + 3) + "|"]
    lines += ["| all | | | " + " | ".join(f"{totals[column]}" for column in columns) + " |"]
    for row in rows:
        cells = [row["mistake"], f"({row['equation']})", row["kind"]]
        cells += ["✓" if row[column] else "✗" for column in columns]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", f"# {len(strange)} mistakes that it was not made for", ""]
    lines += [
        f"Caught: {unforeseen['caught']}; the right line: {unforeseen['right line']}. When they "
        "were new, before what they showed was mended: 56 and 50.",
        "",
        "| mistake | what is wrong | equations | caught | said to be in | as |",
        "|---|---|---|---|---|---|",
    ]
    for row in strange:
        wrong, said = (", ".join(f"({n})" for n in row[key]) for key in ("equations", "said"))
        caught = "✓" if row["caught"] else "✗"
        cells = [row["mistake"], row["kind"], wrong, caught, said, row["as"]]
        lines.append("| " + " | ".join(cells) + " |")
    (folder / "checking.md").write_text("\n".join(lines) + "\n")
    print(totals)


if __name__ == "__main__":
    main()
