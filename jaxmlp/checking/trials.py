"""Trying a gradient on cases: what it returned, beside what it should have returned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.calls import Caller, Finding, Refused
from jaxmlp.checking.cases import Case, cast, moved
from jaxmlp.checking.returned import read_leaves

MOVES = 4  # of the parameters, by a few roundings
ROUNDINGS = 4.0  # that each parameter is moved by, at most
OWN = 4.0  # times the largest change of an error that was seen


@dataclass(frozen=True)
class Leaf:
    """One leaf of a gradient on one case.

    Attributes:
        name: such as ∂C/∂W⁰.
        expected: the true gradient, in float64.
        received: what the checked function returned, in float64.
        allowed: how far rounding may put a right entry from the true one.
    """

    name: str
    expected: Array
    received: Array
    allowed: Array

    @property
    def excess(self) -> Array:
        """The difference, in units of what is allowed; infinite where it is NaN."""
        with np.errstate(all="ignore"):
            difference = np.abs(self.received - self.expected) / self.allowed
        return np.asarray(np.nan_to_num(difference, nan=np.inf))

    @property
    def right(self) -> bool:
        """Whether every entry is within what is allowed."""
        return bool(np.all(self.excess <= 1))


def largest(array: Array) -> float:
    """The largest entry by its absolute value."""
    return float(np.max(np.abs(array), initial=0))


@dataclass(frozen=True, eq=False)
class Trial:
    """What a gradient did on one case in one dtype.

    Attributes:
        case: parameters and batch, in that dtype.
        leaves: the comparison, empty if the shapes did not allow one.
        findings: what was found besides numbers.
    """

    case: Case
    dtype: str
    leaves: tuple[Leaf, ...]
    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """The names of the leaves that are not right."""
        return tuple(leaf.name for leaf in self.leaves if not leaf.right)

    @property
    def finite(self) -> bool:
        """Whether nothing that was received is NaN or infinite."""
        return all(np.isfinite(leaf.received).all() for leaf in self.leaves)

    @property
    def along(self) -> bool:
        """Whether the leaves are derivatives along directions, not by every parameter."""
        shapes = map(np.shape, jax.tree.leaves(self.case.params))
        return [leaf.expected.shape for leaf in self.leaves] != [*shapes]

    @property
    def about(self) -> str:
        """The case and the dtype in a few words."""
        return f"{self.case.about}, {self.dtype}"


def nonzero(trial: Trial) -> int:
    """How many entries of the true gradient say something."""
    return sum(int(np.count_nonzero(leaf.expected)) for leaf in trial.leaves)


@runtime_checkable
class Model(Protocol):
    """What a check knows about the loss.

    Attributes:
        lines_known: whether the bounds hold for every right way to compute the gradient.
    """

    lines_known: bool

    def names(self, case: Case) -> list[str]:
        """A name for every leaf of the gradient."""
        ...

    def expected(self, params: Any, batch: Any) -> list[Array]:
        """The leaves of the true gradient."""
        ...

    def judge(
        self, case: Case, dtype: str, received: Sequence[Array], any_slope: bool
    ) -> list[Leaf]:
        """The received leaves beside the true ones, and how far rounding may put them apart.

        Args:
            case: parameters and batch.
            dtype: of the parameters.
            received: the leaves to be judged, for which a smaller bound may be enough.
            any_slope: whether every slope at a kink is allowed.
        """
        ...


def run(
    caller: Caller,
    model: Model,
    case: Case,
    dtype: str,
    strict: bool,
    any_slope: bool = False,
    accepted: tuple[float, float] = (0.0, 0.0),
) -> Trial:
    """Call the gradient on one case and compare every entry of every leaf.

    Args:
        caller: of the function that is checked.
        model: of the loss.
        case: in the dtype.
        dtype: the floating dtype of the parameters.
        strict: whether a NumPy function may not compute in float64 when asked for less.
        any_slope: whether every slope at a kink will do, not only the loss's own.
        accepted: what a user accepts beyond rounding: relative to a leaf's largest entry, and
            absolutely.
    """
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        try:
            value = caller(case.params, case.batch)
        except Refused as refused:
            return Trial(case, dtype, (), (refused.finding,))
        names = model.names(case)
        received, findings = read_leaves(value, case.params, names, strict)
    if received is None:
        return Trial(case, dtype, (), tuple(findings))
    leaves = tuple(model.judge(case, dtype, received, any_slope))
    for part, kind, says in (
        (
            "expected",
            "undefined",
            "not compared where the loss has no finite gradient, or no single one is known",
        ),
        (
            "allowed",
            "ill-conditioned",
            "not compared where rounding alone may change the true gradient by any amount",
        ),
    ):
        there = [np.isfinite(getattr(leaf, part)) for leaf in leaves]
        if not all(each.all() for each in there):
            findings.append(Finding(kind, says, fails=False))
            if not any(each.any() for each in there):
                return Trial(case, dtype, (), tuple(findings))
            leaves = tuple(map(_only, leaves, there))
    leaves = tuple(
        replace(leaf, allowed=leaf.allowed + accepted[0] * largest(leaf.expected) + accepted[1])
        for leaf in leaves
    )
    if not model.lines_known:
        with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
            leaves = _with_own_rounding(caller, model, case, dtype, leaves)
    return Trial(case, dtype, leaves, tuple(findings))


def _only(leaf: Leaf, there: Array) -> Leaf:
    """A leaf that counts as right wherever nothing can be compared."""
    received = np.where(there | np.isfinite(leaf.received), leaf.received, 0.0)
    expected = np.where(there, leaf.expected, received)
    return Leaf(leaf.name, expected, received, np.where(there, leaf.allowed, 1.0))


def _with_own_rounding(
    caller: Caller, model: Model, case: Case, dtype: str, leaves: tuple[Leaf, ...]
) -> tuple[Leaf, ...]:
    """The leaves with what the checked function's own formula loses to rounding allowed for.

    A right formula may lose more digits than the loss does, such as √(2 − 2a·p) for |a − p|. Where
    the parameters are moved by a few roundings, the error of such a formula becomes another, and
    that of a mistake remains. At most half of the digits may be lost.
    """
    unit = float(jnp.finfo(dtype).eps) / 2
    most = [unit**0.5 * largest(leaf.expected) for leaf in leaves]
    errors = [leaf.received - leaf.expected for leaf in leaves]
    small = all(largest(error) <= each for error, each in zip(errors, most, strict=True))
    if not small or all(leaf.right for leaf in leaves):
        return leaves
    changes = [np.zeros_like(error) for error in errors]
    for seed in range(MOVES):
        params = moved(case.params, seed, ROUNDINGS * unit, 0.0)
        other = cast(replace(case, params=params), dtype)
        try:
            value = caller(other.params, other.batch)
        except Refused:
            return leaves
        received = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(value)]
        judged = model.judge(other, dtype, received, any_slope=False)
        for i, leaf in enumerate(judged):
            change = np.abs(leaf.received - leaf.expected - errors[i])
            changes[i] = np.maximum(changes[i], change)
    triples = zip(leaves, changes, most, strict=True)
    return tuple(
        replace(leaf, allowed=np.maximum(leaf.allowed, np.minimum(OWN * change, least)))
        for leaf, change, least in triples
    )
