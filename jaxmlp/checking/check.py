"""`check_gradient`: any gradient of any loss, on cases of all kinds, with a reason for a fault."""

import functools
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

import jaxmlp
from jaxmlp.checking.calls import RANDOM, Caller, Finding
from jaxmlp.checking.cases import (
    FORMS,
    SHAPES,
    Case,
    Shape,
    cast,
    check_settings,
    drawn,
    moved,
    network_cases,
)
from jaxmlp.checking.diagnosis.equations import Worked, diagnose, work
from jaxmlp.checking.diagnosis.evidence import evidence_of
from jaxmlp.checking.diagnosis.steps import Found, Step, find, find_step, find_two
from jaxmlp.checking.examples import work_through
from jaxmlp.checking.factors import CLOSE, VARYING
from jaxmlp.checking.leafwise import UNEXPLAINED, faults
from jaxmlp.checking.locating import Observation, locate
from jaxmlp.checking.models import Custom, Network, recognise
from jaxmlp.checking.oracles import Oracle, compare
from jaxmlp.checking.reference import Array
from jaxmlp.checking.report import Diagnosis, Example, Report, demanding
from jaxmlp.checking.shrinking import find_smallest
from jaxmlp.checking.trials import Trial, largest, run
from jaxmlp.checking.truth.derivative import BESIDE, as_float64
from jaxmlp.checking.verdict import (
    AT_A_KINK,
    ONLY_THERE,
    clipped,
    exchanged,
    limits,
    merged,
    smallest_seen,
    wrong_numbers,
)

Known = Mapping[str, Callable[..., Any]]
LOOSE = ("stale value", "derivative at the wrong place", "missing term", "extra term")
DTYPES = ("float64", "float32")
VAGUE = (UNEXPLAINED, VARYING, "precision lost")  # not what it is, but what it looks like
PROBES = 3  # cases on which the oracles are compared, until they agree
TINY_ERROR = 1e-5  # of the largest entry: a mistake may be an ε, or lost digits
NEARBY = 1e-4  # relative move of parameters, with which a smooth error hardly changes
HINT = "; to find the line, name what the loss goes through by `tap`, and use check_lines"
VISIBLE = 1e-4  # of the largest error, that the smallest example has to show
ENOUGH = 100  # parameters of the networks and models on which they are


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
    intended: Sequence[Any] = (),
    rtol: float = 0.0,
    atol: float = 0.0,
    known: Known | None = None,
    along: Callable[..., Any] | None = None,
) -> Report:
    """Check a gradient, entry by entry of every leaf, against JAX's own in float64.

    By default it is tried on our networks: with and without hidden layers and biases, on dense
    numbers, exact kinks, zeros and huge logits, with every kind of label.

    Args:
        manual_grad: takes (params, batch) and returns a tree like params. NumPy or JAX.
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
    start = time.perf_counter()
    check_settings(activation, shapes, labels, dtypes, at_kink)
    check_tolerances(rtol=rtol, atol=atol)
    caller = Caller(with_activation(manual_grad, activation))
    loss = with_activation(loss, activation)
    given = None if cases is None else list(drawn(cases, examples, seed))
    model = Custom(loss, intended, along) if along else recognise(loss, given, intended)
    every, accepted = at_kink == "any", (rtol, atol)
    attempt = functools.partial(run, caller, strict=False, any_slope=every, accepted=accepted)
    trials = [
        attempt(model, case, dtype, strict=dtypes is not None)
        for dtype in dtypes or DTYPES
        for case in (
            network_cases(_some(shapes, dtype, dtypes), dtype, seed, labels)
            if given is None
            else (cast(case, dtype) for case in _some(given, dtype, dtypes))
        )
    ]
    caller.twice = False
    caller.quick = True
    findings = [*caller.findings.values(), *merged(trials), *limits(trials)]
    if not any(trial.leaves for trial in trials) and not any(each.fails for each in findings):
        raise ValueError(
            "on no case has the loss a finite gradient that rounding leaves in place: there is "
            "nothing to compare"
        )
    if isinstance(model, Custom):
        findings += [*model.derivative.findings.values(), *_coarse(model, trials)]
    oracles = _oracles(model, trials)
    wrong = [trial for trial in trials if trial.wrong]
    diagnosis = example = None
    if wrong:
        findings += wrong_numbers(model, wrong, trials, attempt)
    if wrong and RANDOM not in caller.findings:  # what changes from call to call has no reason
        with np.errstate(all="ignore"):  # wrong numbers may overflow
            diagnosis, example = _explain(attempt, model, trials, wrong, cases, known or {})
        vague = isinstance(model, Custom) or (diagnosis and not _told(diagnosis))
        if diagnosis and vague and AT_A_KINK in findings:
            diagnosis = replace(diagnosis, kind=AT_A_KINK.kind, says=ONLY_THERE)
        elif diagnosis and isinstance(model, Custom):
            diagnosis = _by_its_size(diagnosis, wrong, functools.partial(attempt, model))
            diagnosis = _by_its_rule(diagnosis, wrong, model)
    if diagnosis:  # which may be one of the findings
        findings = [finding for finding in findings if finding.says != diagnosis.says]
    if rtol or atol:
        of = [f"{rtol:g} of a leaf's largest entry"] * bool(rtol) + [f"{atol:g}"] * bool(atol)
        says = f"beyond rounding, errors up to {' and '.join(of)} are accepted, as asked for"
        findings.append(Finding("accepted", says, fails=False))
    return Report(
        subject=getattr(manual_grad, "__name__", "the gradient"),
        findings=tuple(findings),
        diagnosis=diagnosis,
        example=example,
        cases=len(trials),
        compared=sum(bool(trial.leaves) for trial in trials),
        dtypes=tuple(dtypes or DTYPES),
        missed=smallest_seen(_bounded(model, trials)),
        oracles=tuple(oracles),
        seconds=time.perf_counter() - start,
    )


check_gradient = demanding(examine, "check_gradient")


def check_tolerances(**tolerances: float) -> None:
    """Raise ValueError if one of some tolerances is none."""
    for name, value in tolerances.items():
        if not 0 <= value < np.inf:
            raise ValueError(f"{name} is {value}: give a number from 0 on")


def _by_its_size(
    diagnosis: Diagnosis, wrong: Sequence[Trial], attempt: Callable[..., Trial]
) -> Diagnosis:
    """The diagnosis, or that tiny errors are no rounding: they hardly change with the parameters.

    What an ε that is added in a loss does is smooth; what rounding does is not.
    """
    trial = wrong[0]
    share = max(
        largest(leaf.received - leaf.expected) / (largest(leaf.expected) or 1.0)
        for leaf in trial.leaves
    )
    loose = diagnosis.kind in LOOSE or not _told(diagnosis) or "multiplied by 1" in diagnosis.says
    if not (loose and share < TINY_ERROR and trial.dtype == "float64" and trial.finite):
        return diagnosis
    beside = replace(trial.case, params=moved(trial.case.params, 1, NEARBY, 0.0))
    other = attempt(cast(beside, trial.dtype), trial.dtype)
    for one, two in zip(trial.leaves, other.leaves, strict=False):
        error, changed = (each.received - each.expected for each in (one, two))
        if largest(changed - error) > 0.1 * largest(error) + 4 * float(np.max(one.allowed)):
            return diagnosis
    says = (
        f"off by {share:.0e} of the largest entry, as if an ε in the loss, or in the gradient, "
        f"were left out; rtol={2 * share:.0e} accepts that"
    )
    also = () if diagnosis.kind in VAGUE else (f"{diagnosis.kind}: {diagnosis.says}",)
    return replace(diagnosis, kind="ε", says=says, also=also)


def _by_its_rule(diagnosis: Diagnosis, wrong: Sequence[Trial], model: Custom) -> Diagnosis:
    """The diagnosis, or that the gradient is that of JAX, which a wrong rule has misled."""
    rule = model.derivative.findings.get("wrong rule")
    for trial in wrong if rule else ():
        misled = model.derivative.by_jax(trial.case.params, trial.case.batch)
        for leaf, other in zip(trial.leaves, misled, strict=True):
            near = leaf.allowed + CLOSE * largest(leaf.expected)
            if not np.all(np.abs(leaf.received - other) <= near):
                return diagnosis
    return replace(diagnosis, kind=rule.kind, says=rule.says, also=()) if rule else diagnosis


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


def _coarse(model: Custom, trials: Sequence[Trial]) -> list[Finding]:
    """A note, if the loss has fewer digits than it is given."""
    some = next((trial.case for trial in trials if trial.leaves), None)
    if some is None or not model.traceable:
        return []
    if not (narrow := model.derivative.coarse(some.params, some.batch)):
        return []
    says = (
        f"the loss computes in {narrow} in places, even for numbers in float64: what a gradient "
        "has beyond those digits cannot be checked"
    )
    return [Finding("coarse loss", says, fails=False)]


def _bounded(model: Network | Custom, trials: Sequence[Trial]) -> Sequence[Trial]:
    """Trials with the bounds up to which a gradient passes; of a model, one for each dtype."""
    if isinstance(model, Network):
        return trials
    some = sorted((trial for trial in trials if trial.leaves), key=_nonzero)
    return [model.bounded(trial) for trial in {trial.dtype: trial for trial in some}.values()]


def _oracles(model: Network | Custom, trials: Sequence[Trial]) -> list[Oracle]:
    """Independent ways to the gradient, on a case where they agree, or a little beside one."""
    if isinstance(model, Custom) and not model.traceable:
        return []
    smooth = [t for t in trials if t.leaves and t.case.kind == "dense" and _size(t) < ENOUGH]
    found: list[Oracle] = []
    for trial in sorted(smooth, key=_nonzero, reverse=True)[:PROBES]:
        params, batch = trial.case.params, trial.case.batch
        for _ in range(2):
            truth = model.expected(params, batch)
            found = compare(model.derivative, params, batch, truth, model.plain_loss)
            if all(oracle.agrees for oracle in found):
                return found
            params = moved(params, 0, BESIDE, BESIDE)  # no kink is likely to be there
    return found


def _size(trial: Trial) -> int:
    return sum(leaf.expected.size for leaf in trial.leaves)


def _largest_error(trial: Trial) -> float:
    """The largest error of an entry, NaN and infinity aside."""
    with np.errstate(all="ignore"):
        errors = [np.abs(leaf.received - leaf.expected) for leaf in trial.leaves]
    return max(float(np.max(each, initial=0, where=np.isfinite(each))) for each in errors)


def _nonzero(trial: Trial) -> int:
    """How many entries of the true gradient say something."""
    return sum(int(np.count_nonzero(leaf.expected)) for leaf in trial.leaves)


def _explain(
    attempt: Callable[..., Trial],
    model: Network | Custom,
    trials: Sequence[Trial],
    wrong: Sequence[Trial],
    cases: Any,
    known: Known,
) -> tuple[Diagnosis | None, Example]:
    """The mistake, and the smallest case that shows it."""
    if wrong[0].dtype != "float64":  # which tells mistakes apart best, if they are made there too
        wide = [attempt(model, cast(trial.case, "float64"), "float64") for trial in trials]
        if off := [trial for trial in wide if trial.wrong]:
            trials, wrong = wide, off
    dtype = wrong[0].dtype
    tried = [trial for trial in trials if trial.leaves and trial.dtype == dtype]
    quick = model.quick(VISIBLE * min(map(_largest_error, wrong)))
    small = find_smallest(
        lambda case: attempt(quick, cast(case, dtype), dtype), model, wrong, cases
    )
    alike = [trial for trial in wrong if trial.dtype == dtype]
    if scaled := clipped(alike):
        names = tuple(dict.fromkeys(leaf.name for trial in wrong for leaf in trial.leaves))
        return Diagnosis(names, _equations(model, names), *scaled), work_through(model, small)
    swapped = exchanged(alike)
    if isinstance(model, Custom):
        again = attempt(model, small.case, dtype)  # which may have other sizes than all others
        sizes = [*tried, again] if again.leaves else tried
        diagnosis = _exchange(model, swapped) if swapped else _by_leaves(model, sizes, known)
        return diagnosis, work_through(model, small)
    ever = {name for trial in wrong for name in trial.wrong}
    found = find(model.steps, [model.with_rows(trial) for trial in tried], model.known)
    if found and found.explanations:
        return diagnose(found, ever), work_through(model, small, _worked(model, found, small))
    if swapped:
        return _exchange(model, swapped), work_through(model, small)

    def ask(case: Case) -> Observation | None:
        trial = attempt(quick, cast(case, dtype), dtype)
        return model.observe(trial) if trial.leaves else None

    pairs = [(trial.case, model.observe(trial)) for trial in alike]
    biased = any(trial.case.shape.bias for trial in tried if trial.case.shape)
    depths = {len(trial.case.params) for trial in tried}
    located = locate(ask, pairs, biased, depths)
    whole = located is not None and located.holds([seen for _, seen in pairs])
    diagnosis = _by_leaves(model, tried, known)
    if not (_told(diagnosis) or (located and whole)) and (
        found := find_two(model.steps, [model.with_rows(trial) for trial in tried], model.known)
    ):
        return diagnose(found, ever), work_through(model, small, _worked(model, found, small))
    if located and not (_told(diagnosis) and located.at_ends):
        leaves = {leaf.name for trial in tried for leaf in trial.leaves}
        lines = [line.name for line in located.lines]
        names = tuple(name for name in lines if name in ever or name not in leaves) or tuple(lines)
        told = _told(diagnosis) and ";" not in diagnosis.says  # one sentence for all leaves
        kind, says = (diagnosis.kind, diagnosis.says) if told else (UNEXPLAINED, located.says)
        if not whole:
            says += ", on dense numbers; on others that alone does not explain all"
        diagnosis = Diagnosis(names, located.equations, kind, says)
    return diagnosis, work_through(model, small, None, located)


def _worked(model: Network, found: Found, small: Trial) -> Worked | None:
    """The lines of a small case with a mistake; nothing if it does not explain that."""
    return work(found, evidence_of(model.steps, model.with_rows(small)), model.steps)


def _told(diagnosis: Diagnosis) -> bool:
    """Whether it is said what the mistake is, and not only what it looks like."""
    return not any(vague in diagnosis.kind for vague in VAGUE)


def _by_leaves(model: Network | Custom, tried: Sequence[Trial], known: Known) -> Diagnosis:
    """What is wrong with each leaf, whatever was computed before it."""
    others = {name: functools.partial(_leaves_of, function) for name, function in known.items()}
    found = faults(tried, functools.partial(_row_gradient, model), others)
    names = tuple(name for fault in found for name in fault.names)
    kinds = tuple(dict.fromkeys(fault.kind for fault in found))
    kind = UNEXPLAINED if UNEXPLAINED in kinds else " and ".join(kinds)
    says = "; ".join(f"{', '.join(fault.names)}: {fault.says}" for fault in found)
    if len(found) == 1:
        says = found[0].says
    diagnosis = Diagnosis(names, _equations(model, names), kind, says)
    if isinstance(model, Custom) and model.traceable and not model.product:
        return _at_a_step(diagnosis, find_step(model.derivative, tried), tried)
    if isinstance(model, Custom) and kind == UNEXPLAINED:
        return replace(diagnosis, says=says + HINT)
    return diagnosis


def _at_a_step(diagnosis: Diagnosis, step: Step | None, tried: Sequence[Trial]) -> Diagnosis:
    """The diagnosis, with the step of the loss to which it comes down."""
    vague = not _told(diagnosis) or ";" in diagnosis.says
    if step is None:
        return replace(diagnosis, says=diagnosis.says + HINT) if vague else diagnosis
    leaves = {leaf.name for trial in tried for leaf in trial.leaves}
    names = (step.name,) if step.name else diagnosis.lines
    at_leaf = step.name in leaves
    if not step.kind:
        if not vague:
            return replace(diagnosis, places=step.sources)
        says = f"a wrong derivative at one step explains all of it, that of {step.where}"
        return replace(diagnosis, says=f"{diagnosis.says}; {says}", places=step.sources)
    if at_leaf and not vague:
        return replace(diagnosis, places=step.sources)
    says = f"{step.says}, at {step.where}"
    return Diagnosis(names, (), step.kind, says, step.also, step.sources)


def _exchange(model: Network | Custom, swapped: tuple[tuple[str, ...], str]) -> Diagnosis:
    names, says = swapped
    return Diagnosis(names, _equations(model, names), "exchanged", says)


def _equations(model: Network | Custom, names: Sequence[str]) -> tuple[int, ...]:
    """The numbers of the lines that are the leaves of our networks' gradient."""
    ours = isinstance(model, Network)
    return tuple(dict.fromkeys(13 if "W" in name else 14 for name in names if ours))


def _leaves_of(function: Callable[..., Any], trial: Trial) -> list[Array]:
    """The leaves of a function's value on a case, in float64."""
    with jax.enable_x64(True):
        arguments = as_float64((trial.case.params, trial.case.batch))
        return [np.asarray(leaf) for leaf in jax.tree.leaves(function(*arguments))]


def _row_gradient(model: Any, trial: Trial, rows: slice) -> Any:
    """The true gradient on some rows of a batch, or None if it has no rows."""
    batch = trial.case.batch
    if any(np.ndim(leaf) == 0 for leaf in jax.tree.leaves(batch)):
        return None
    try:
        return model.expected(trial.case.params, jax.tree.map(lambda leaf: leaf[rows], batch))
    except ValueError:
        return None  # a batch that cannot be cut, or a loss that wants all of it
