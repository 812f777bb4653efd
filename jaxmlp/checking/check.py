"""`check_gradient`: any gradient of any loss, on cases of all kinds, with a reason for a fault."""

import functools
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

import jaxmlp
from jaxmlp.checking.calls import Caller, Finding
from jaxmlp.checking.cases import FORMS, SHAPES, Case, Shape, cast, drawn, network_cases
from jaxmlp.checking.diagnosis import Observation, explain, explain_twice
from jaxmlp.checking.examples import diagnose, work_through
from jaxmlp.checking.factors import VARYING
from jaxmlp.checking.leafwise import UNEXPLAINED, faults
from jaxmlp.checking.locating import locate
from jaxmlp.checking.models import Custom, Network, recognise
from jaxmlp.checking.oracles import Oracle, as_float64, compare_oracles
from jaxmlp.checking.reference import Array
from jaxmlp.checking.report import Diagnosis, Example, Report, demanding
from jaxmlp.checking.shrinking import find_smallest
from jaxmlp.checking.trials import Trial, run

Known = Mapping[str, Callable[..., Any]]
DTYPES = ("float64", "float32")
AT_KINK = ("zero", "any")
VAGUE = (UNEXPLAINED, VARYING, "precision lost")  # not what it is, but what it looks like
PROBES = 3  # cases on which the oracles are compared, until they agree
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
    known: Known | None = None,
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
        dtypes: of the parameters: float64, float32, bfloat16. By default float64, and float32
            on a few shapes, where NumPy code that computes in float64 throughout is let off.
        at_kink: where the loss has a kink, such as a ReLU at 0: "zero" wants what `jax.grad` has
            there, which is the slope 0 for a ReLU; "any" allows every slope between those on
            either side.
        examples: how many cases to draw from a strategy.
        seed: of all numbers.
        known: functions of (params, batch) that might have been computed by mistake, by name.

    Returns:
        The report; `examine` gives it back whether the gradient is right or wrong.

    Raises:
        GradientMismatch: from `check_gradient`, if the gradient is wrong, with the report.
    """
    start = time.perf_counter()
    if at_kink not in AT_KINK:
        raise ValueError(f"at_kink is {at_kink!r}: give one of {', '.join(AT_KINK)}")
    caller = Caller(with_activation(manual_grad, activation))
    loss = with_activation(loss, activation)
    given = None if cases is None else list(drawn(cases, examples, seed))
    model = recognise(loss, given)
    trials = [
        run(caller, model, case, dtype, strict=dtypes is not None, any_slope=at_kink == "any")
        for dtype in dtypes or DTYPES
        for case in (
            network_cases(_some(shapes, dtype, dtypes), dtype, seed, labels)
            if given is None
            else (cast(case, dtype) for case in _some(given, dtype, dtypes))
        )
    ]
    caller.twice = False
    findings = [*caller.findings.values(), *_merge(trials), *_limits(trials)]
    oracles = _oracles(model, loss, trials)
    wrong = [trial for trial in trials if not all(leaf.right for leaf in trial.leaves)]
    diagnosis = example = None
    if wrong:
        findings += _wrong(model, wrong, trials)
        with np.errstate(all="ignore"):  # wrong numbers may overflow
            diagnosis, example = _explain(caller, model, trials, wrong, cases, known or {})
    return Report(
        subject=getattr(manual_grad, "__name__", "the gradient"),
        findings=tuple(findings),
        diagnosis=diagnosis,
        example=example,
        cases=len(trials),
        compared=sum(bool(trial.leaves) for trial in trials),
        dtypes=tuple(dtypes or DTYPES),
        missed=_missed(trials),
        oracles=tuple(oracles),
        seconds=time.perf_counter() - start,
    )


check_gradient = demanding(examine, "check_gradient")


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


def _merge(trials: Sequence[Trial]) -> list[Finding]:
    """Each finding once, with the cases on which it was made."""
    found: dict[Finding, list[Trial]] = {}
    for trial in trials:
        for finding in trial.findings:
            found.setdefault(finding, []).append(trial)
    merged = []
    for finding, where in found.items():
        says = f"{finding.says}; on {len(where)} of {len(trials)} cases, such as {where[0].about}"
        merged.append(Finding(finding.kind, says, finding.fails))
    return merged


def _limits(trials: Sequence[Trial]) -> list[Finding]:
    """What the networks that it can take have in common, if it cannot take them all."""
    takes = {
        "layers": lambda case: case.shape.depth,
        "bias": lambda case: "with" if case.shape.bias else "without",
        "labels": lambda case: "classes" if np.ndim(case.batch.labels) == 1 else "rows",
    }
    cases = [(trial.case, bool(trial.leaves)) for trial in trials if trial.case.shape]
    ran, failed = ([case for case, went in cases if went == ok] for ok in (True, False))
    common = {
        name: values.pop()
        for name, of in takes.items()
        if len(values := {of(case) for case in ran}) == 1
    }
    beyond = [name for name in common if any(takes[name](case) != common[name] for case in failed)]
    if not beyond:
        return []
    flags = " ".join(f"--{name} {common[name]}" for name in beyond)
    says = f"it works on some networks only; if that is all it is meant for, check it with {flags}"
    return [Finding("partial", says, fails=False)]


def _oracles(model: Network | Custom, loss: Any, trials: Sequence[Trial]) -> list[Oracle]:
    """Independent ways to the gradient, on a case where they agree, if there is one nearby."""
    if isinstance(model, Custom) and not model.truth.traceable:
        return []
    smooth = [t for t in trials if t.leaves and t.case.kind == "dense" and _size(t) < ENOUGH]
    found: list[Oracle] = []
    for trial in sorted(smooth, key=_nonzero, reverse=True)[:PROBES]:
        plain = model.plain_loss if isinstance(model, Network) else None
        found = compare_oracles(loss, trial.case.params, trial.case.batch, plain)
        if all(oracle.agrees for oracle in found):
            break
    return found


def _size(trial: Trial) -> int:
    return sum(leaf.expected.size for leaf in trial.leaves)


def _nonzero(trial: Trial) -> int:
    """How many entries of the true gradient say something."""
    return sum(int(np.count_nonzero(leaf.expected)) for leaf in trial.leaves)


def _wrong(
    model: Network | Custom, wrong: Sequence[Trial], trials: Sequence[Trial]
) -> Iterator[Finding]:
    """What is to be said of wrong numbers: NaN, kinks, and the entry that is farthest off."""
    wild = [t for t in wrong if not all(np.isfinite(leaf.received).all() for leaf in t.leaves)]
    if wild:
        says = (
            f"on {len(wild)} of {len(trials)} cases, {_all_of(wild, trials)}such as {wild[0].about}"
        )
        yield Finding("NaN", f"it holds NaN or infinity {says}, where the gradient is finite")
    sharp = [trial for trial in wrong if _within_a_kink(model, trial)]
    if len(sharp) == len(wrong):
        says = (
            "it is wrong only where the loss has a kink, and within the slopes on either side: "
            'jax.grad takes 0 there for a ReLU; at_kink="any" lets every slope pass'
        )
        yield Finding("kink", says)
    plain = [trial for trial in wrong if trial not in wild and trial not in sharp]
    if rest := plain or sharp:
        yield _worst(rest, len(wrong), len(trials))


def _all_of(some: Sequence[Trial], trials: Sequence[Trial]) -> str:
    """What sets some cases apart from all others, if their kind does."""
    kinds = {trial.case.kind for trial in some}
    others = {trial.case.kind for trial in trials} - kinds
    return f"all with {' or '.join(sorted(kinds))}, " if others else ""


def _within_a_kink(model: Network | Custom, trial: Trial) -> bool:
    """Whether a wrong gradient is one that `at_kink="any"` would let pass."""
    received = [leaf.received for leaf in trial.leaves]
    judged = model.judge(trial.case, trial.dtype, received, True)
    return all(
        replace(leaf, expected=expected, allowed=allowed).right
        for leaf, (expected, allowed) in zip(trial.leaves, judged, strict=True)
    )


def _worst(some: Sequence[Trial], wrong: int, count: int) -> Finding:
    """The entry that is farthest off, in units of what rounding may do."""
    trial, leaf = max(
        ((trial, leaf) for trial in some for leaf in trial.leaves if leaf.received.size),
        key=lambda pair: np.max(pair[1].excess),
    )
    place = np.unravel_index(np.argmax(leaf.excess), leaf.excess.shape)
    at = f"{leaf.name}{[int(i) for i in place]}" if place else leaf.name
    says = (
        f"{at} is {leaf.received[place]:.6g} and should be {leaf.expected[place]:.6g}, give or "
        f"take {leaf.allowed[place]:.0e} ({trial.about}); wrong on {wrong} of {count} cases"
    )
    return Finding("wrong numbers", says)


def _missed(trials: Sequence[Trial]) -> dict[str, float]:
    """For every dtype, the relative error of an entry above which it is sure to be seen.

    Relative to the largest entry of its leaf; in the leaf where that is largest, on the case
    of its shape where it is smallest.
    """
    shares: dict[tuple[Any, ...], float] = {}
    for trial in trials:
        for leaf in trial.leaves:
            if np.any(leaf.expected):
                key = (trial.dtype, trial.case.shape, leaf.name, leaf.expected.shape)
                share = float(np.max(leaf.allowed) / np.max(np.abs(leaf.expected)))
                shares[key] = min(share, shares.get(key, np.inf))
    dtypes = dict.fromkeys(trial.dtype for trial in trials)
    return {
        dtype: max((share for key, share in shares.items() if key[0] == dtype), default=np.inf)
        for dtype in dtypes
    }


def _explain(
    caller: Caller,
    model: Network | Custom,
    trials: Sequence[Trial],
    wrong: Sequence[Trial],
    cases: Any,
    known: Known,
) -> tuple[Diagnosis | None, Example]:
    """The mistake, and the smallest case that shows it."""
    dtype = wrong[0].dtype  # float64 if wrong there: it tells mistakes apart best
    tried = [trial for trial in trials if trial.leaves and trial.dtype == dtype]
    quick = model.quick()
    small = find_smallest(
        lambda case: run(caller, quick, cast(case, dtype), dtype, strict=False), model, wrong, cases
    )
    if isinstance(model, Custom):
        return _by_leaves(model, tried, known), work_through(model, small, [])
    tried.sort(key=lambda trial: (trial not in wrong, _unlike(trial)))  # that refute most first
    observed = {trial: model.observe(trial) for trial in tried}
    seen = list(observed.values())
    if explanations := explain(seen):
        return diagnose(explanations, seen), work_through(model, small, explanations)

    def ask(case: Case) -> Observation | None:
        trial = run(caller, quick, cast(case, dtype), dtype, strict=False)
        return model.observe(trial) if trial.leaves else None

    pairs = [(trial.case, observed[trial]) for trial in wrong if trial.dtype == dtype]
    biased = any(trial.case.shape.bias for trial in tried if trial.case.shape)
    located = locate(ask, pairs, biased)
    diagnosis = _by_leaves(model, tried, known)
    if diagnosis.kind in VAGUE and (
        explanations := explain_twice(seen, located.symbols if located else ())
    ):
        return diagnose(explanations, seen), work_through(model, small, explanations)
    if located:
        names = tuple(line.name for line in located.lines)
        says = located.says if diagnosis.kind in VAGUE else diagnosis.says
        diagnosis = Diagnosis(names, located.equations, diagnosis.kind, says)
    return diagnosis, work_through(model, small, [], located)


def _unlike(trial: Trial) -> bool:
    """Whether a network has widths that differ, so that less fits."""
    return trial.case.shape is not None and len(set(trial.case.shape.sizes)) > 1


def _by_leaves(model: Network | Custom, tried: Sequence[Trial], known: Known) -> Diagnosis:
    """What is wrong with each leaf, whatever was computed before it."""
    others = {name: functools.partial(_leaves_of, function) for name, function in known.items()}
    found = faults(tried, functools.partial(_row_gradient, model), others)
    names = tuple(name for fault in found for name in fault.names)
    kinds = tuple(dict.fromkeys(fault.kind for fault in found))
    kind = UNEXPLAINED if UNEXPLAINED in kinds else " and ".join(kinds)
    says = "; ".join(f"{', '.join(fault.names)}: {fault.says}" for fault in found)
    ours = isinstance(model, Network)
    numbers = tuple(dict.fromkeys(13 if "W" in name else 14 for name in names)) if ours else ()
    return Diagnosis(names, numbers, kind, says)


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
    return model.expected(trial.case.params, jax.tree.map(lambda leaf: leaf[rows], batch))
