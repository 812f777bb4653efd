"""What explainers look at, and two causes beside every line: an ε, and a mistake of JAX's own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checking.cases import cast, moved
from jaxmlp.checking.factors import CLOSE, VARYING
from jaxmlp.checking.leafwise import UNEXPLAINED
from jaxmlp.checking.models import AnyModel
from jaxmlp.checking.report import Diagnosis
from jaxmlp.checking.trials import Trial, largest

LOOSE = ("stale value", "derivative at the wrong place", "missing term", "extra term")
VAGUE = (UNEXPLAINED, VARYING, "precision lost")  # not what it is, but what it looks like
MISLED = ("wrong rule", "wrong jax.grad", "precision lost")  # findings about jax.grad itself
TINY_ERROR = 1e-5  # of the largest entry: a mistake may be an ε, or lost digits
NEARBY = 1e-4  # relative move of parameters, with which a smooth error hardly changes

Attempt = Callable[..., Trial]  # of a model, a case and a dtype
Known = Mapping[str, Callable[..., Any]]


class Seen(NamedTuple):
    """What an explainer looks at.

    Attributes:
        model: of the loss.
        attempt: runs the gradient on a case: (model, case, dtype).
        quick: the model with a rough bound, for small cases.
        tried: all trials in one dtype that could be compared.
        wrong: those of them with wrong numbers.
        small: the smallest case that shows it.
        known: what might have been computed by mistake, by name.
    """

    model: AnyModel
    attempt: Attempt
    quick: AnyModel
    tried: Sequence[Trial]
    wrong: Sequence[Trial]
    small: Trial
    known: Known

    @property
    def ever(self) -> set[str]:
        """The names of the leaves that are ever wrong."""
        return {name for trial in self.wrong for name in trial.wrong}

    def diagnosis(self, names: Sequence[str], kind: str, says: str) -> Diagnosis:
        """A diagnosis of some leaves."""
        return Diagnosis(tuple(names), self.model.equations(names), kind, says)


def is_told(diagnosis: Diagnosis) -> bool:
    """Whether it is said what the mistake is, and not only what it looks like."""
    return not any(vague in diagnosis.kind for vague in VAGUE)


def by_its_size(diagnosis: Diagnosis, seen: Seen) -> Diagnosis:
    """The diagnosis, or that tiny errors are no rounding: they hardly change with the parameters.

    What an ε that is added in a loss does is smooth; what rounding does is not.
    """
    trial = seen.wrong[0]
    if not all(
        largest(leaf.expected) for each in seen.wrong for leaf in each.leaves if not leaf.right
    ):
        return diagnosis  # beside 0 nothing is small
    share = max(
        largest(leaf.received - leaf.expected) / (largest(leaf.expected) or 1.0)
        for each in seen.wrong
        for leaf in each.leaves
    )
    loose = diagnosis.kind in LOOSE or not is_told(diagnosis) or "multiplied by 1" in diagnosis.says
    if not (loose and share < TINY_ERROR and trial.dtype == "float64" and trial.finite):
        return diagnosis
    beside = replace(trial.case, params=moved(trial.case.params, 1, NEARBY, 0.0))
    other = seen.attempt(seen.model, cast(beside, trial.dtype), trial.dtype)
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


def by_its_rule(diagnosis: Diagnosis, seen: Seen) -> Diagnosis:
    """The diagnosis, or that the gradient is that of JAX, which is wrong itself."""
    derivative = seen.model.derivative
    found = [derivative.findings[kind] for kind in MISLED if kind in derivative.findings]
    for trial in seen.wrong if found else ():
        misled = derivative.by_jax(trial.case.params, trial.case.batch)
        for leaf, other in zip(trial.leaves, misled, strict=True):
            near = leaf.allowed + CLOSE * largest(leaf.expected)
            if not np.all(np.abs(leaf.received - other) <= near):
                return diagnosis
    if not found:
        return diagnosis
    return replace(diagnosis, kind=found[0].kind, says=found[0].says, also=(), places=())
