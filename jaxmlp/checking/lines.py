"""`check_lines`: a derivation line by line, each given the lines before it as they are.

The truth about a line is found by perturbing the forward pass there (`taps`). A line that is
not true may still be right: it follows from a wrong one before it. So every line is also
computed from the lines before it as the derivation under test has them.
"""

import functools
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from jaxmlp.checking.calls import Caller, Finding, Refused
from jaxmlp.checking.cases import FORMS, Case, check_settings, drawn, network_cases
from jaxmlp.checking.leafwise import UNEXPLAINED
from jaxmlp.checking.network.lines import explain_network, see_network
from jaxmlp.checking.network.shapes import SHAPES, Shape
from jaxmlp.checking.report import Report, demanding
from jaxmlp.checking.tapped import explain_taps, see_taps
from jaxmlp.checking.truth.derivative import Derivative
from jaxmlp.checking.verdict import AT_A_KINK, ONLY_THERE, smallest_seen


def examine_lines(
    lines: Callable[..., Any],
    loss: Callable[..., Any] | None = None,
    *,
    cases: Any = None,
    activation: str = "relu",
    shapes: Sequence[Shape] = SHAPES,
    labels: Sequence[str] = FORMS,
    at_kink: str = "zero",
    intended: Any = (),
    examples: int = 30,
    seed: int = 0,
) -> Report:
    """Check a derivation line by line, in float64: by default that of our networks' gradient.

    Args:
        lines: takes (params, batch) and returns the intermediates by name, as a dict or a
            NamedTuple: z1, h1, p, dz2, dW1, db1, … or ∂C/∂z₂ and so on, numbered as in
            `derivation.md`; or tuples of them under z, h, dz, dh; and the gradient under grad.
            For a loss of one's own, the names are those of its taps.
        loss: for another model, takes (params, batch), returns a scalar, and names what it goes
            through by `tap`.
        cases: for another model, a Hypothesis strategy of pairs (params, batch), or a list.
        activation: of our networks' hidden layers.
        shapes: widths, biases and batch sizes of our networks.
        labels: of our networks: classes, rows or both.
        at_kink: as in `check_gradient`.
        intended: as in `check_gradient`, for a loss of one's own.
        examples: how many cases to draw from a strategy.
        seed: of the numbers.

    Returns:
        The report; `examine_lines` gives it back whether every line is right or not.

    Raises:
        GradientMismatch: from `check_lines`, with the first wrong line, if one is wrong.
        ValueError: if a loss is given without cases, or cases without a loss.
    """
    if (loss is None) != (cases is None):
        raise ValueError("a model of your own needs both: its loss, and cases for it")
    check_settings(activation, shapes, labels, at_kink=at_kink)
    start = time.perf_counter()
    caller = Caller(lines)
    any_slope, witness = at_kink == "any", Derivative(loss or _none, intended)
    if loss is None:
        look = functools.partial(see_network, caller, activation)
        explain = functools.partial(explain_network, activation=activation)
    else:
        look = functools.partial(see_taps, caller, loss, witness)
        explain = functools.partial(explain_taps, loss=loss, cases=cases)
    see = functools.partial(look, any_slope)
    given = cases is not None
    some = drawn(cases, examples, seed) if given else network_cases(shapes, float, seed, labels)
    tried = list(some)
    seen, findings = _looked_at(see, tried)
    diagnosis = example = None
    if wrong := [each.case for each in seen if each.wrong()]:
        findings["first"], diagnosis, example = explain(see, seen)
        if not any_slope and not any(look(True, case).wrong() for case in wrong):
            findings["kink"] = AT_A_KINK
            if diagnosis.kind == UNEXPLAINED:
                diagnosis = replace(diagnosis, kind=AT_A_KINK.kind, says=ONLY_THERE)
    return Report(
        subject=getattr(lines, "__name__", "the derivation"),
        findings=(*caller.findings.values(), *witness.findings.values(), *findings.values()),
        diagnosis=diagnosis,
        example=example,
        cases=len(tried),
        compared=len(seen),
        dtypes=("float64",),
        missed=smallest_seen([each.trial() for each in seen]),
        seconds=time.perf_counter() - start,
    )


check_lines = demanding(examine_lines, "check_lines")


def _none(params: Any, batch: Any) -> float:
    """No loss of one's own, and so nothing that could be wrong with it."""
    return 0.0


def _looked_at(
    see: Callable[[Case], Any], tried: Sequence[Case]
) -> tuple[list[Any], dict[str, Finding]]:
    """The cases that have lines, and what is to be said of the others, and of what is missing."""
    seen: list[Any] = []
    findings: dict[str, Finding] = {}
    for case in tried:
        try:
            seen.append(see(case))
        except Refused as refused:
            findings.setdefault(re.sub(r"\d+", "", refused.finding.says), refused.finding)
    if left_out := next((found for each in seen if (found := each.left_out())), None):
        says = f"of the gradient {', '.join(left_out)} is not among the lines: add it, under grad"
        findings["gradient"] = Finding("not compared", says, fails=False)
    return seen, findings
