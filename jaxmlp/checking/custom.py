"""A loss of which nothing is known but how to evaluate and differentiate it."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.cases import Case
from jaxmlp.checking.diagnosis.records import Known
from jaxmlp.checking.examples import leaf_rows
from jaxmlp.checking.programs.random_rounding import SAFETY
from jaxmlp.checking.report import Example
from jaxmlp.checking.subgradients import (
    beside_none,
    has_kinks,
    nearest_by_differences,
    nearest_on_sides,
)
from jaxmlp.checking.trials import Leaf, Trial, largest, nonzero
from jaxmlp.checking.truth.derivative import Derivative
from jaxmlp.checking.truth.differences import TRUST
from jaxmlp.checking.truth.trees import leaf_names

ROUGH = 2.0**12  # times the least bound, where a rough one will do
FLOOR = 16.0  # roundings of a leaf's largest entry that need no closer look
HALF = 1e-8  # half of the digits of float64
SHRUNK = (1.0, 1 / 8, 1 / 64)  # times the parameters


class Custom:
    """A loss of which nothing is known but how to evaluate and differentiate it.

    Attributes:
        lines_known: whether every line of the derivation is.
        activation: of our networks.
        known: what is known of the steps.
    """

    lines_known = False
    activation: str | None = None
    known = Known()

    def __init__(
        self,
        loss: Callable[..., Any],
        intended: Any = (),
        along: Callable[..., Any] | None = None,
    ) -> None:
        """A model for `loss(params, batch)`; the others are those of `Derivative`."""
        self.derivative = Derivative(loss, intended, along)
        self.plain_loss = self.derivative.of(loss)
        self.product = self.derivative.product
        self.steps = self.derivative
        self.least: float | None = None

    @property
    def traceable(self) -> bool:
        """Whether JAX can follow the loss."""
        return self.derivative.traceable

    def expected(self, params: Any, batch: Any) -> list[Array]:
        """The leaves of the true gradient.

        Raises:
            ValueError: if that would take too long.
        """
        if self.derivative.is_slow(params, batch):
            raise ValueError("the loss is not JAX, and has too many parameters")
        return [each.value for each in self.derivative.at(params, batch)]

    def names(self, case: Case) -> list[str]:
        """The name of every leaf by its path, such as ∂C/∂encoder.weight."""
        return leaf_names(case.params, self.derivative.prefix)

    def judge(
        self, case: Case, dtype: str, received: Sequence[Array], any_slope: bool
    ) -> list[Leaf]:
        """The true leaves, and what random rounding spreads them by, where that is asked for."""
        names = self.names(case)
        if self.derivative.is_slow(case.params, case.batch):
            return self._along_directions(case, dtype, received, names)
        estimates = self.derivative.at(case.params, case.batch, dtype)
        unit = float(jnp.finfo(dtype).eps) / 2
        expected = [each.value for each in estimates]
        allowed = [least_bound(*each, unit) for each in estimates]
        if self.least is not None:
            allowed = [np.maximum(ROUGH * each, self.least) for each in allowed]
        elif not _within(received, expected, allowed):
            given = (case.params, case.batch, dtype, unit, expected)
            spread = self.derivative.spread(*given)
            triples = zip(allowed, estimates, spread, strict=True)
            allowed = [least + _rounded(*each, off) for least, each, off in triples]
        if self.least is None and not _within(received, expected, allowed):
            natural = self._natural(case)
            allowed = [a + FLOOR * unit * most for a, most in zip(allowed, natural, strict=True)]
        if not _within(received, expected, allowed):
            at = self.derivative, case.params, case.batch, received, expected
            if self.traceable:
                expected = beside_none(*at[:-1], nearest_on_sides(*at, allowed, any_slope))
            else:
                expected = nearest_by_differences(*at, any_slope)
        return [Leaf(*each) for each in zip(names, expected, received, allowed, strict=True)]

    def _along_directions(
        self, case: Case, dtype: str, received: Sequence[Array], names: Sequence[str]
    ) -> list[Leaf]:
        """The derivatives along some directions, in one leaf each, where entries are too many."""
        slopes = self.derivative.along_directions(case.params, case.batch)
        unit = float(jnp.finfo(dtype).eps) / 2
        leaves = []
        for name, leaf, (directions, found) in zip(names, received, slopes, strict=True):
            products = directions.reshape(len(directions), -1) * leaf.reshape(1, -1)
            size = np.abs(products).sum(axis=1)
            allowed = TRUST * np.array([each.error for each in found]) + FLOOR * unit * size
            if unit > np.finfo(np.float64).eps:  # the loss rounds too
                allowed = allowed + SAFETY * unit * size
            expected = np.array([each.value for each in found])
            leaves.append(Leaf(name, expected, products.sum(axis=1), allowed))
        return leaves

    def at_a_kink(self, case: Case) -> bool:
        """Whether the loss has a kink just here, or may have one, as it cannot be followed."""
        return has_kinks(self.derivative, case.params, case.batch)

    def _natural(self, case: Case) -> list[float]:
        """The largest entry of every leaf with the parameters scaled down.

        Where a model is sure of itself its gradient is next to nothing, and may be the difference
        of numbers of that size, such as a probability and a label, whatever the loss does.
        """
        found: list[list[float]] = []
        for scale in SHRUNK:
            params = jax.tree.map(lambda leaf, scale=scale: scale * np.asarray(leaf), case.params)
            leaves = self.derivative.by_jax(params, case.batch) if self.traceable else []
            leaves = leaves or self.expected(params, case.batch)
            found.append([float(np.abs(leaf).max(initial=0)) for leaf in leaves])
        return [max(filter(np.isfinite, sizes), default=0.0) for sizes in zip(*found, strict=True)]

    def quick(self, least: float) -> "Custom":
        """The same with a rough bound, for small cases. Errors below `least` do not count."""
        other = copy.copy(self)
        other.least = least
        return other

    def equations(self, names: Sequence[str]) -> tuple[int, ...]:
        """The numbers of the lines that are leaves of the gradient, of which there are none."""
        return ()

    def traced(self, trial: Trial) -> Trial:
        """A trial as its steps are executed."""
        return trial

    def observe(self, trial: Trial) -> Any:
        """A trial line by line, of which nothing is known."""
        raise NotImplementedError

    def example(self, trial: Trial, worked: Any, located: Any) -> Example:
        """A small case worked through."""
        return Example(trial.case, None, leaf_rows(trial))

    def bounded(self, trials: Sequence[Trial]) -> list[Trial]:
        """For each dtype a trial with the bounds up to which a gradient passes.

        Not every trial needs them.
        """
        some = sorted((trial for trial in trials if trial.leaves), key=nonzero)
        return [self._bounded(trial) for trial in {trial.dtype: trial for trial in some}.values()]

    def _bounded(self, trial: Trial) -> Trial:
        case, unit = trial.case, float(jnp.finfo(trial.dtype).eps) / 2
        if self.derivative.is_slow(case.params, case.batch):
            return trial
        truth = self.derivative.at(case.params, case.batch, trial.dtype)
        values = [each.value for each in truth]
        spread = self.derivative.spread(case.params, case.batch, trial.dtype, unit, values)
        leaves = (
            replace(leaf, allowed=least_bound(*each, unit) + SAFETY * off)
            for leaf, each, off in zip(trial.leaves, truth, spread, strict=True)
        )
        return replace(trial, leaves=tuple(leaves))


def _rounded(value: Array, error: Array, spread: Array) -> Array:
    """What random rounding allows; little where differences know better than JAX's gradient."""
    most = HALF * _largest(value)
    return np.where(error > 0, np.minimum(SAFETY * spread, most), SAFETY * spread)


def _within(received: Sequence[Array], expected: list[Array], allowed: list[Array]) -> bool:
    triples = zip(received, expected, allowed, strict=True)
    return all(np.all(np.abs(r - e) <= a) for r, e, a in triples)


def least_bound(value: Array, error: Array, unit: float) -> Array:
    """What needs no closer look: few roundings of the largest entry, and the truth's own error."""
    tiny = float(np.finfo(np.float32).tiny)
    return np.asarray(FLOOR * unit * _largest(value) + TRUST * error + tiny)


def _largest(value: Array) -> float:
    """The largest entry that is finite, by its absolute value."""
    return largest(value[np.isfinite(value)])
