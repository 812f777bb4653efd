"""What is to be said of all trials together: who fails, how far, where, and what went unseen."""

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jaxmlp.checking.calls import Finding
from jaxmlp.checking.cases import Case, cast, moved
from jaxmlp.checking.factors import CLOSE, factor_between
from jaxmlp.checking.trials import Leaf, Model, Trial
from jaxmlp.checking.truth.witnesses import BESIDE

AT_A_KINK = Finding(
    "kink",
    "it is wrong only where the loss has a kink, and within the slopes on either side: it has to "
    "be 0 where one side is flat, as at a ReLU's 0, else that of either side, or 0 for |x|, or "
    'what jax.grad has; at_kink="any" lets every one pass',
)
ONLY_THERE = "it differs at a kink only"


def merged(trials: Sequence[Trial]) -> list[Finding]:
    """Findings that are the same but for numbers become one, with the cases it was made on."""
    found: dict[tuple[str, str], list[tuple[Finding, Trial]]] = {}
    for trial in trials:
        for finding in trial.findings:
            says = "" if finding.kind == "wrong tree" else re.sub(r"\d+", "", finding.says)
            like = (finding.kind, says)
            found.setdefault(like, []).append((finding, trial))
    every = []
    for each in found.values():
        finding, first = each[0]
        tried = len({id(trial) for _, trial in each})  # of which several leaves may say the same
        says = f"{finding.says}; on {tried} of {len(trials)} cases, such as {first.about}"
        every.append(Finding(finding.kind, says, any(other.fails for other, _ in each)))
    return every


def limits(trials: Sequence[Trial]) -> list[Finding]:
    """What the networks that it can take have in common, if it cannot take them all."""
    takes = {
        "layers": lambda case: case.shape.depth,
        "bias": lambda case: "with" if case.shape.bias else "without",
        "labels": lambda case: "classes" if np.ndim(case.batch.labels) == 1 else "rows",
    }
    cases = [
        (trial.case, bool(trial.leaves) and not any(each.fails for each in trial.findings))
        for trial in trials
        if trial.case.shape
    ]
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


def wrong_numbers(
    model: Model, wrong: Sequence[Trial], trials: Sequence[Trial], attempt: Callable[..., Trial]
) -> Iterator[Finding]:
    """What is to be said of wrong numbers: NaN, kinks, and the entry that is farthest off.

    Args:
        model: of the loss.
        wrong: the trials with wrong numbers.
        trials: all of them.
        attempt: runs the gradient on another case: (model, case, dtype).
    """
    wild = [trial for trial in wrong if not trial.finite]
    if wild:
        says = (
            f"on {len(wild)} of {len(trials)} cases, {_all_of(wild, trials)}such as {wild[0].about}"
        )
        yield Finding("NaN", f"it holds NaN or infinity {says}, where the gradient is finite")
    sharp = [
        trial
        for trial in wrong
        if within_a_kink(model, trial, functools.partial(attempt, model, dtype=trial.dtype))
    ]
    if len(sharp) == len(wrong):
        yield AT_A_KINK
    plain = [trial for trial in wrong if trial not in wild and trial not in sharp]
    dense = [trial for trial in plain if trial.case.kind == "dense"]
    if rest := dense or plain or sharp:
        yield _worst(rest, len(wrong), len(trials))


def _all_of(some: Sequence[Trial], trials: Sequence[Trial]) -> str:
    """What sets some cases apart from all others, if their kind does."""
    kinds = {trial.case.kind for trial in some}
    others = {trial.case.kind for trial in trials} - kinds
    return f"all with {' or '.join(sorted(kinds))}, " if others else ""


def within_a_kink(model: Model, trial: Trial, attempt: Callable[[Case], Trial]) -> bool:
    """Whether a wrong gradient is within the slopes of a kink, and right a little beside it."""
    received = [leaf.received for leaf in trial.leaves]
    if trial.along:
        return False
    beside = replace(trial.case, params=moved(trial.case.params, 0, BESIDE, BESIDE))
    if attempt(cast(beside, trial.dtype)).wrong:  # which is the cheaper question
        return False
    return all(leaf.right for leaf in model.judge(trial.case, trial.dtype, received, True))


def _worst(some: Sequence[Trial], wrong: int, count: int) -> Finding:
    """The entry that is farthest off, in units of what rounding may do."""
    trial, leaf = max(
        ((trial, leaf) for trial in some for leaf in trial.leaves if leaf.received.size),
        key=lambda pair: np.max(pair[1].excess),
    )
    place = np.unravel_index(np.argmax(leaf.excess), leaf.excess.shape)
    at = f"{leaf.name}{[int(i) for i in place]}" if place else leaf.name
    if trial.along:
        at = f"{leaf.name} along random direction {int(place[0])}"
    digits = 6 if f"{leaf.received[place]:.6g}" != f"{leaf.expected[place]:.6g}" else 17
    says = (
        f"{at} is {leaf.received[place]:.{digits}g} and should be "
        f"{leaf.expected[place] + 0.0:.{digits}g}, give or "
        f"take {leaf.allowed[place]:.0e} ({trial.about}); wrong on {wrong} of {count} cases"
    )
    return Finding("wrong numbers", says)


def clipped(wrong: Sequence[Trial]) -> tuple[str, str] | None:
    """The kind and a sentence, if every wrong gradient is the right one scaled to the same norm."""
    norms = []
    for trial in wrong:
        expected, received = (
            np.concatenate([np.ravel(getattr(leaf, part)) for leaf in trial.leaves])
            for part in ("expected", "received")
        )
        factor = factor_between(expected, received)
        norms.append(float(np.linalg.norm(received)))
        off = np.abs(received - factor * expected)
        if not (factor > 0 and np.all(off <= CLOSE * norms[-1])):
            return None
    if len(norms) < 2 or not np.allclose(norms, norms[0], CLOSE):
        return None
    return "clipped", f"the norm of the whole gradient is {norms[0]:.6g} wherever it is wrong"


def exchanged(wrong: Sequence[Trial]) -> tuple[tuple[str, ...], str] | None:
    """The names and a sentence, if every wrong leaf is the true gradient of another parameter."""
    names: dict[str, None] = {}
    told: list[str] = []
    for trial in wrong:
        says = []
        for leaf in trial.leaves:
            if leaf.right:
                continue
            same = [other for other in trial.leaves if other is not leaf and _is(leaf, other)]
            if not same:
                return None
            names[leaf.name] = None
            says += [f"{leaf.name} is {same[0].name}"] * bool(np.any(leaf.received))
        told = max(told, says, key=len)
    return (tuple(names), "; ".join(told)) if told else None


def _is(leaf: Leaf, other: Leaf) -> bool:
    """Whether what was received of one leaf is what another one should be."""
    return leaf.received.shape == other.expected.shape and bool(
        np.all(np.abs(leaf.received - other.expected) <= other.allowed)
    )


def smallest_seen(
    trials: Sequence[Trial], accepted: tuple[float, float] = (0.0, 0.0)
) -> dict[str, float]:
    """For every dtype, the relative error of an entry above which it is sure to be seen.

    Relative to the largest entry of its leaf; in the leaf where that is largest, on the case
    of its shape where it is smallest. What a user accepts is not seen either. A dtype in which
    the gradient is 0 everywhere is left out.
    """
    shares: dict[tuple[object, ...], float] = {}
    for trial in trials:
        for leaf in trial.leaves:
            if np.any(leaf.expected):
                key = (trial.dtype, trial.case.shape, leaf.name, leaf.expected.shape)
                size = float(np.max(np.abs(leaf.expected)))
                share = max(float(np.max(leaf.allowed)), accepted[0] * size + accepted[1]) / size
                shares[key] = min(share, shares.get(key, np.inf))
    dtypes = dict.fromkeys(key[0] for key in shares)
    return {
        str(dtype): max(share for key, share in shares.items() if key[0] == dtype)
        for dtype in dtypes
    }


def all_zero(trials: Sequence[Trial]) -> list[Finding]:
    """A note, if the true gradient is 0 on every case."""
    leaves = [leaf for trial in trials for leaf in trial.leaves]
    if not leaves or any(np.any(leaf.expected) for leaf in leaves):
        return []
    most = max(float(np.max(leaf.allowed, initial=0)) for leaf in leaves)
    says = (
        f"the true gradient is 0 on every case, up to {most:.0e}: no factor or sign can be seen; "
        "give cases on which it is not"
    )
    return [Finding("all zero", says, fails=False)]


def coarse(model: Any, trials: Sequence[Trial]) -> list[Finding]:
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
