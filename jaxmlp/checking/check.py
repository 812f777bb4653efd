"""`check_gradient`: any gradient of any loss, on cases of all kinds, with a reason for a fault."""

import functools
import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxmlp
from jaxmlp.bounds import check_tolerances
from jaxmlp.checking.calls import RANDOM, Caller, Finding, Refused
from jaxmlp.checking.cases import FORMS, Case, cast, check_settings, drawn, network_cases
from jaxmlp.checking.custom import Custom
from jaxmlp.checking.explaining import Known, explain
from jaxmlp.checking.models import recognise
from jaxmlp.checking.network.shapes import SHAPES, Shape
from jaxmlp.checking.oracles import oracles
from jaxmlp.checking.report import Diagnosis, Report, demanding
from jaxmlp.checking.trials import Trial, run
from jaxmlp.checking.verdict import (
    AT_A_KINK,
    ONLY_THERE,
    all_zero,
    coarse,
    limits,
    merged,
    smallest_seen,
    wrong_numbers,
)

DTYPES = ("float64", "float32")
PATIENCE = 20.0  # seconds for the cases of a loss that is not JAX, after which one will do
ADDS = "each call adds to what the call before returned: start from zeros in every call"
ROUNDINGS = 8  # of a sum to which a call adds
NO_REASON = (
    "the loss takes too long to look for the mistake by calling it again: give smaller cases"
)


def examine(
    manual_grad: Callable[..., Any],
    loss: Callable[..., Any] = jaxmlp.loss,
    *,
    cases: Any = None,
    activation: str = "relu",
    shapes: Sequence[Shape] = SHAPES,
    labels: Sequence[str] = FORMS,
    dtypes: Sequence[str] | None = None,
    at_kink: str = "zero",
    examples: int = 30,
    seed: int = 0,
    intended: Any = (),
    rtol: float = 0.0,
    atol: float = 0.0,
    known: Known | None = None,
    along: Callable[..., Any] | None = None,
) -> Report:
    """Check a gradient, entry by entry of every leaf, against JAX's own in float64.

    By default it is tried on our networks: with and without hidden layers and biases, on dense
    numbers, exact kinks, zeros and huge logits, with every kind of label.

    Args:
        manual_grad: takes (params, batch) and returns a tree like params. NumPy or JAX. Or a
            class of homework, such as NeuralNetwork, which is read as `jaxmlp check` reads a file.
        loss: takes the same and returns a scalar.
        cases: for another model, a Hypothesis strategy of pairs (params, batch), or a list.
        activation: of our networks; handed to either function if it has such a keyword.
        shapes: of our networks.
        labels: of our networks: classes, rows or both.
        dtypes: of the parameters: float64, float32, bfloat16, float16. By default float64, and
            float32 on a few shapes, where NumPy code that computes in float64 throughout is let
            off.
        at_kink: where the loss has a kink: "zero" wants the slope 0 if one side is flat, as at a
            ReLU's 0, else that of either side, or 0 for |x|, or anyway what `jax.grad` has there;
            "any" allows every slope between those on either side.
        examples: how many cases to draw from a strategy.
        seed: of all numbers.
        intended: functions in the loss, or their names, whose derivative rule is meant to be
            something else than the derivative, as that of a straight-through estimator.
        rtol, atol: errors that are accepted beyond rounding: relative to a leaf's largest entry,
            and absolute. The report says so.
        known: functions of (params, batch) that might have been computed by mistake, by name.
        along: makes of a loss the function whose gradient is checked, if it is another one.

    Returns:
        The report; `examine` gives it back whether the gradient is right or wrong.

    Raises:
        GradientMismatch: from `check_gradient`, if the gradient is wrong, with the report.
    """
    if inspect.isclass(manual_grad):
        return _of_class(manual_grad, loss, cases)
    start = time.perf_counter()
    check_settings(activation, shapes, labels, dtypes, at_kink)
    check_tolerances(rtol=rtol, atol=atol)
    caller = Caller(with_activation(manual_grad, activation))
    loss = with_activation(loss, activation)
    given = None if cases is None else list(drawn(cases, examples, seed))
    model = Custom(loss, intended, along) if along else recognise(loss, given, intended)
    settings = {"strict": False, "any_slope": at_kink == "any", "accepted": (rtol, atol)}
    attempt = functools.partial(run, caller, **settings)
    trials: list[Trial] = []
    left = 0

    def late() -> bool:
        return not model.traceable and time.perf_counter() - start > PATIENCE

    for dtype in dtypes or DTYPES:
        some = _some(shapes if given is None else given, dtype, dtypes)
        tried = network_cases(some, dtype, seed, labels) if given is None else _cast(some, dtype)
        for number, case in enumerate(tried):
            if late() and (number or any(trial.leaves for trial in trials)):
                left += 1
            else:
                trials.append(attempt(model, case, dtype, strict=dtypes is not None))
    # what is kept from call to call would be tracers
    caller.twice, caller.quick = False, RANDOM not in caller.findings
    findings = [*caller.findings.values(), *merged(trials), *limits(trials)]
    _check_compared(trials, findings)
    findings += [*model.derivative.findings.values(), *coarse(model, trials)]
    diagnosis = example = None
    if wrong := [trial for trial in trials if trial.wrong]:
        findings += wrong_numbers(model, wrong, trials, attempt)
    if wrong and late():
        findings.append(Finding("no reason", NO_REASON, fails=False))
    elif wrong and RANDOM in caller.findings:  # of which there is one reason that is known
        diagnosis = _accumulated(caller, model, wrong)
    elif wrong:
        diagnosis, example = explain(attempt, model, trials, wrong, cases, known or {})
        if diagnosis and AT_A_KINK in findings and diagnosis.kind != AT_A_KINK.kind:
            diagnosis = replace(diagnosis, kind=AT_A_KINK.kind, says=ONLY_THERE)
    if diagnosis:  # which may be one of the findings, or explain it
        told = (diagnosis.says, caller.findings[RANDOM].says if RANDOM in caller.findings else "")
        findings = [finding for finding in findings if finding.says not in told]
    findings += [*all_zero(trials), *_accepted(rtol, atol), *_left(left, len(trials))]
    return Report(
        subject=getattr(manual_grad, "__name__", "the gradient"),
        findings=tuple(findings),
        diagnosis=diagnosis,
        example=example,
        cases=len(trials),
        compared=sum(bool(trial.leaves) for trial in trials),
        dtypes=tuple(dict.fromkeys(trial.dtype for trial in trials)),
        missed=smallest_seen(model.bounded(trials), (rtol, atol)),
        oracles=tuple(oracles(model, trials)),
        seconds=time.perf_counter() - start,
    )


check_gradient = demanding(examine, "check_gradient")


def _of_class(cls: type, loss: Callable[..., Any], cases: Any) -> Report:
    """The report on a class of homework, which says itself what its loss is."""
    from jaxmlp.checking.homework.check import examine_class

    if loss is not jaxmlp.loss or cases is not None:
        raise ValueError(
            f"{cls.__name__} is a class: its own loss is taken, so leave out loss and cases, or "
            "give a function of (params, batch)"
        )
    return examine_class(cls)


def _accumulated(caller: Caller, model: Any, wrong: Sequence[Trial]) -> Diagnosis | None:
    """Whether each call adds the right gradient to what the call before returned."""
    trial = wrong[0]
    try:
        calls = [caller(trial.case.params, trial.case.batch) for _ in range(2)]
        before, after = ([np.asarray(leaf, float) for leaf in jax.tree.leaves(c)] for c in calls)
    except (Refused, TypeError, ValueError):
        return None
    rounded = ROUNDINGS * float(jnp.finfo(trial.dtype).eps)
    for leaf, one, other in zip(trial.leaves, before, after, strict=True):
        allowed = leaf.allowed + rounded * np.abs(other)
        if not np.all(np.abs(other - one - leaf.expected) <= allowed):
            return None
    names = tuple(dict.fromkeys(name for each in wrong for name in each.wrong))
    return Diagnosis(names, model.equations(names), "accumulated", ADDS)


def _check_compared(trials: Sequence[Trial], findings: Sequence[Finding]) -> None:
    """Raise ValueError if nothing was compared, and no finding says why."""
    if not any(trial.leaves for trial in trials) and not any(each.fails for each in findings):
        raise ValueError(
            "on no case has the loss a finite gradient that rounding leaves in place: there is "
            "nothing to compare"
        )


def _accepted(rtol: float, atol: float) -> list[Finding]:
    """A note on what is accepted beyond rounding, if anything is."""
    of = [f"{rtol:g} of a leaf's largest entry"] * bool(rtol) + [f"{atol:g}"] * bool(atol)
    says = f"beyond rounding, errors up to {' and '.join(of)} are accepted, as asked for"
    return [Finding("accepted", says, fails=False)] if of else []


def _left(left: int, tried: int) -> list[Finding]:
    """A note on cases for which there was no time, if there are any."""
    says = (
        f"{left} of {left + tried} cases are not looked at: the loss is not JAX, and takes longer "
        f"than {PATIENCE:g} s; give smaller cases"
    )
    return [Finding("time", says, fails=False)] if left else []


def _cast(cases: Sequence[Case], dtype: str) -> Iterator[Case]:
    return (cast(case, dtype) for case in cases)


def _some(cases: Sequence[Any], dtype: str, asked: Sequence[str] | None) -> Sequence[Any]:
    """All of them; where no dtypes were asked for, every third one in all but the first dtype."""
    return cases if asked or dtype == DTYPES[0] else cases[1::3] or cases


def with_activation(function: Callable[..., Any], activation: str) -> Callable[..., Any]:
    """The function with its keyword `activation` bound, if it has one that is still free."""
    try:
        free = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return function
    bound = getattr(function, "keywords", {})
    if (
        "activation" not in free
        or "activation" in bound
        or free["activation"].default == activation
    ):
        return function
    return functools.update_wrapper(functools.partial(function, activation=activation), function)
