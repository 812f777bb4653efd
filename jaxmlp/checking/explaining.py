"""From wrong numbers to a reason and the smallest example: the explainers, one after another."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.cases import Case, cast
from jaxmlp.checking.causes import Attempt, Known, Seen, by_its_rule, by_its_size, is_told
from jaxmlp.checking.diagnosis.evidence import evidence_of
from jaxmlp.checking.diagnosis.steps import Found, Step, find, find_step, find_two
from jaxmlp.checking.leafwise import UNEXPLAINED, faults
from jaxmlp.checking.models import AnyModel
from jaxmlp.checking.network.equations import Worked, diagnose, work
from jaxmlp.checking.network.inference import Located, Observation
from jaxmlp.checking.network.locating import locate
from jaxmlp.checking.report import Diagnosis, Example
from jaxmlp.checking.shrinking import find_smallest
from jaxmlp.checking.slicing import sliced
from jaxmlp.checking.trials import Trial
from jaxmlp.checking.truth.trees import as_float64
from jaxmlp.checking.verdict import clipped, exchanged

HINT = "; to find the line, name what the loss goes through by `tap`, and use check_lines"
VISIBLE = 1e-4  # of the largest error, that the smallest example has to show


class Told(NamedTuple):
    """What an explainer found, and what it says of the lines of the smallest example."""

    diagnosis: Diagnosis
    worked: Worked | None = None
    located: Located | None = None


def explain(
    attempt: Attempt, model: AnyModel, trials: Sequence[Trial], wrong: Sequence[Trial], cases: Any,
    known: Known,
) -> tuple[Diagnosis | None, Example]:  # fmt: skip
    """The mistake, and the smallest case that shows it."""
    if wrong[0].dtype != "float64":  # which tells mistakes apart best, if they are made there too
        wide = [attempt(model, cast(trial.case, "float64"), "float64") for trial in trials]
        if off := [trial for trial in wide if trial.wrong]:
            trials, wrong = wide, off
    dtype = wrong[0].dtype
    tried = [trial for trial in trials if trial.leaves and trial.dtype == dtype]
    alike = [trial for trial in wrong if trial.dtype == dtype]
    with np.errstate(all="ignore"):  # wrong numbers may overflow
        quick = model.quick(VISIBLE * min(map(_largest_error, wrong)))
        again = functools.partial(attempt, quick, dtype=dtype)
        small = find_smallest(lambda case: again(cast(case, dtype)), model, wrong, cases)
        if small.along:
            return _along(model, wrong), model.example(small, None, None)
        tried, alike = (
            [each for each in some if not each.along] or [small] for some in (tried, alike)
        )
        seen = Seen(model, attempt, quick, tried, alike, small, known)
        explainers = OF_LINES if model.lines_known else OF_LEAVES
        told = next(told for explainer in explainers if (told := explainer(seen)))
        diagnosis = by_its_rule(by_its_size(told.diagnosis, seen), seen)
        return diagnosis, model.example(small, told.worked, told.located)


def _along(model: AnyModel, wrong: Sequence[Trial]) -> Diagnosis:
    """What is to be said of derivatives along directions, of which the entries are not known."""
    names = tuple(dict.fromkeys(name for trial in wrong for name in trial.wrong))
    says = "it differs along random directions; smaller cases show in which entries, and why"
    return Diagnosis(names, model.equations(names), UNEXPLAINED, says)


def by_norm(seen: Seen) -> Told | None:
    """Whether the whole gradient was clipped."""
    scaled = clipped(seen.wrong)
    names = dict.fromkeys(leaf.name for trial in seen.wrong for leaf in trial.leaves)
    return Told(seen.diagnosis(tuple(names), *scaled)) if scaled else None


def by_exchange(seen: Seen) -> Told | None:
    """Whether leaves are those of other parameters."""
    if not (swapped := exchanged(seen.wrong)):
        return None
    names, says = swapped
    return Told(seen.diagnosis(names, "exchanged", says))


def by_step(seen: Seen) -> Told | None:
    """The mistake in one line of the derivation that explains everything."""
    found = find(seen.model.steps, _traced(seen), seen.model.known)
    return _explained(seen, found) if found and found.explanations else None


def by_line(seen: Seen) -> Told:
    """What is wrong with every leaf; two mistakes; or the line where an unknown one is."""
    leaves = _by_leaves(seen)
    observed = [seen.model.observe(trial) for trial in seen.wrong]
    located = _located(seen, observed)
    whole = located is not None and located.holds(observed)
    if not (is_told(leaves) or (located and whole)) and (
        found := find_two(seen.model.steps, _traced(seen), seen.model.known)
    ):
        return _explained(seen, found)
    if not located or (is_told(leaves) and located.at_ends):
        return Told(leaves, located=located)
    every = {leaf.name for trial in seen.tried for leaf in trial.leaves}
    lines = [line.name for line in located.lines]
    names = [name for name in lines if name in seen.ever or name not in every] or lines
    told = is_told(leaves) and ";" not in leaves.says  # one sentence for all leaves
    kind, says = (leaves.kind, leaves.says) if told else (UNEXPLAINED, located.says)
    if not whole:
        says += ", on dense numbers; on others that alone does not explain all"
    return Told(Diagnosis(tuple(names), located.equations, kind, says), located=located)


def by_leaves(seen: Seen) -> Told:
    """What is wrong with every leaf, or the step of the loss to which it comes down."""
    model, small = seen.model, seen.small
    cases = small.case, *(part for trial in seen.wrong[:1] for part in sliced(trial.case))
    again = [_attempted(seen, cast(case, small.dtype)) for case in cases]
    alike = {(), *(trial.wrong for trial in seen.wrong)}
    same = [each for each in again if each and each.leaves and each.wrong in alike]
    seen = seen._replace(tried=[*seen.tried, *same])  # which may have other sizes
    diagnosis = _by_leaves(seen)
    if model.traceable and not model.product:
        return Told(_at_a_step(diagnosis, find_step(model.steps, seen.tried), seen.tried))
    if diagnosis.kind == UNEXPLAINED:
        diagnosis = replace(diagnosis, says=diagnosis.says + HINT)
    return Told(diagnosis)


def _attempted(seen: Seen, case: Case) -> Trial | None:
    """The gradient on a case, which may be none for the loss."""
    try:
        return seen.attempt(seen.model, case, seen.small.dtype)
    except Exception:  # whatever a loss does with sizes that it was not given
        return None


OF_LINES = (by_norm, by_step, by_exchange, by_line)  # the explainers of a known derivation
OF_LEAVES = (by_norm, by_exchange, by_leaves)


def _traced(seen: Seen) -> list[Trial]:
    return [seen.model.traced(trial) for trial in seen.tried]


def _explained(seen: Seen, found: Found) -> Told:
    """A mistake that was found in steps, and the lines of the smallest example with it."""
    small = evidence_of(seen.model.steps, seen.model.traced(seen.small))
    return Told(diagnose(found, seen.ever), work(found, small, seen.model.steps))


def _located(seen: Seen, observed: Sequence[Observation]) -> Located | None:
    """The line where a mistake is, whatever it is."""
    dtype = seen.small.dtype

    def ask(case: Case) -> Any:
        trial = seen.attempt(seen.quick, cast(case, dtype), dtype)
        return seen.model.observe(trial) if trial.leaves else None

    pairs = list(zip((trial.case for trial in seen.wrong), observed, strict=True))
    biased = any(trial.case.shape.bias for trial in seen.tried if trial.case.shape)
    return locate(ask, pairs, biased, {len(trial.case.params) for trial in seen.tried})


def _by_leaves(seen: Seen) -> Diagnosis:
    """What is wrong with each leaf, whatever was computed before it."""
    others = {name: functools.partial(_leaves_of, of) for name, of in seen.known.items()}
    found = faults(seen.tried, functools.partial(_row_gradient, seen.model), others)
    names = tuple(name for fault in found for name in fault.names)
    kinds = tuple(dict.fromkeys(fault.kind for fault in found))
    kind = UNEXPLAINED if UNEXPLAINED in kinds else " and ".join(kinds)
    says = "; ".join(f"{', '.join(fault.names)}: {fault.says}" for fault in found)
    return seen.diagnosis(names, kind, found[0].says if len(found) == 1 else says)


def _at_a_step(diagnosis: Diagnosis, step: Step | None, tried: Sequence[Trial]) -> Diagnosis:
    """The diagnosis, with the step of the loss to which it comes down."""
    vague = not is_told(diagnosis) or ";" in diagnosis.says
    if step is None:
        return replace(diagnosis, says=diagnosis.says + HINT) if vague else diagnosis
    leaves = {leaf.name for trial in tried for leaf in trial.leaves}
    names = (step.name,) if step.name else diagnosis.lines
    at_leaf = step.name in leaves
    if not step.kind:
        if not vague:
            says = f"{diagnosis.says}, at {step.where}"
            return replace(diagnosis, says=says, places=step.sources)
        says = f"a wrong derivative at one step explains all of it, that of {step.where}"
        return replace(diagnosis, says=f"{diagnosis.says}; {says}", places=step.sources)
    if at_leaf and not vague:
        says = f"{diagnosis.says}, at {step.where}"
        return replace(diagnosis, says=says, places=step.sources)
    says = f"{step.says}{f', at {step.where}' if step.where else ''}"
    return Diagnosis(names, (), step.kind, says, step.also, step.sources)


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


def _largest_error(trial: Trial) -> float:
    """The largest error of an entry, NaN and infinity aside."""
    errors = [np.abs(leaf.received - leaf.expected) for leaf in trial.leaves]
    return max(float(np.max(each, initial=0, where=np.isfinite(each))) for each in errors)
