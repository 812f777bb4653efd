"""Which wrong rules of PyTorch does its own gradcheck find, and which does `check_rule`?

    python experiments/torch_rules.py    # needs PyTorch; half a minute

`gradcheck` takes float64 and its default tolerances, with all outputs and in its fast mode;
`gradgradcheck` asks for the second order. Each gets the very arguments that `check_rule` gets.
Results: torch_rules.md in `experiments/results`.
"""

# pyright: reportMissingImports=false
import sys
import warnings
from pathlib import Path

import torch
from torch.autograd import gradcheck, gradgradcheck

from jaxmlp.checking.rules.check import examine_rule
from jaxmlp.files import write_text

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.torch_rules import RULES

RESULTS = Path(__file__).parent / "results"
CHECKS = {
    "gradcheck": lambda f, x: gradcheck(f, x),
    "gradcheck, fast mode": lambda f, x: gradcheck(f, x, fast_mode=True),
    "gradgradcheck": lambda f, x: gradgradcheck(f, x),
}


def finds(check, given) -> bool:
    """Whether a check of PyTorch refuses a rule."""
    function = getattr(given.rule, "apply", given.rule)
    arguments = tuple(each.clone().requires_grad_() for each in given.arguments)
    try:
        check(function, arguments)
    except Exception:
        return True
    return False


def main() -> None:
    """Check every rule in every way; print and write the table."""
    warnings.simplefilter("ignore")
    heads = ["rule", *CHECKS, "check_rule", "what check_rule says"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    found = dict.fromkeys([*CHECKS, "check_rule"], 0)
    for given in RULES:
        report = examine_rule(given.rule, *given.arguments)
        refused = {name: finds(check, given) for name, check in CHECKS.items()}
        refused["check_rule"] = not report.passed
        for name, each in refused.items():
            found[name] += each and bool(given.kinds)
        marks = ["refused" if each else "passed" for each in refused.values()]
        lines.append(f"| {' | '.join([given.name, *marks, ', '.join(report.kinds) or 'right'])} |")
    wrong = sum(bool(given.kinds) for given in RULES)
    counts = ", ".join(f"{name} {count}" for name, count in found.items())
    head = f"Of {wrong} wrong rules are refused by {counts} (torch {torch.__version__})."
    text = "\n".join(["# Rules of PyTorch", "", head, "", *lines]) + "\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    write_text(RESULTS / "torch_rules.md", text)


if __name__ == "__main__":
    main()
