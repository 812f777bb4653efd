"""A loss of which nothing is known but how to evaluate and differentiate it."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import nnls

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.cases import Case
from jaxmlp.checking.diagnosis.records import Known
from jaxmlp.checking.examples import leaf_rows
from jaxmlp.checking.programs.kinks import (
    Choice,
    Kink,
    changed,
    choices,
    grad_by_sides,
    kinks_at,
    places_of,
)
from jaxmlp.checking.programs.random_rounding import SAFETY
from jaxmlp.checking.programs.rules import without_rules
from jaxmlp.checking.report import Example
from jaxmlp.checking.trials import Leaf, Trial, largest, nonzero
from jaxmlp.checking.truth.derivative import Derivative
from jaxmlp.checking.truth.differences import TRUST
from jaxmlp.checking.truth.trees import as_float64, as_row, leaf_names, ravel

ROUGH = 2.0**12  # times the least bound, where a rough one will do
FLOOR = 16.0  # roundings of a leaf's largest entry that need no closer look
HALF = 1e-8  # half of the digits of float64
SWEEPS = 3  # over the elements at kinks, which may hang together
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
            if self.traceable:
                expected = self._on_sides(case, received, expected, allowed, any_slope)
            else:
                expected = self._on_either_side(case, received, expected, any_slope)
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

    def _on_sides(
        self,
        case: Case,
        received: Sequence[Array],
        expected: list[Array],
        allowed: Sequence[Array],
        every: bool,
    ) -> list[Array]:
        """Of the gradients that are right where the loss has kinks just here, the nearest.

        Right is what the convention says; or, if every slope will do, what is between the slopes
        on all sides.
        """
        with jax.enable_x64(True):
            params, batch = as_float64((case.params, case.batch))
            try:
                loss, kinks = self._kinks(params, batch, every)
            except Exception:  # a program that cannot be followed so
                return expected
            if not any(np.any(kink.met) for kink in kinks):
                return expected
            leaves = grad_by_sides(loss, kinks, params, batch)

            def on(choice: Choice) -> tuple[float, Choice, list[Array]]:
                found = leaves(choice)
                return _distance(received, found), choice, found

            tried = list(map(on, choices(kinks, every)))
            found = min(tried, key=lambda each: each[0], default=None)
            if found is None:
                return expected
            if every:
                return _between(received, kinks, leaves)
            close = sum(float(np.sum(each)) for each in allowed)
            for _ in range(SWEEPS):  # one element after another, where elements differ
                if found[0] <= close:
                    break
                for place in places_of(kinks):
                    others = map(on, changed(kinks, found[1], place))
                    found = min((found, *others), key=lambda each: each[0])
        return found[2] if found[0] < _distance(received, expected) else expected

    def _kinks(self, params: Any, batch: Any, every: bool) -> tuple[Callable[..., Any], list[Kink]]:
        """The loss and its kinks.

        The slope that a rule gives is right, unless every slope is, or rules are wrong.
        """
        loss = self.derivative.loss
        plain = every or self.derivative.misled
        meant = () if every else self.derivative.intended
        loss = self.derivative.of(without_rules(loss, meant) if plain else loss)
        return loss, kinks_at(lambda params: loss(params, batch), params)

    def at_a_kink(self, case: Case) -> bool:
        """Whether the loss has a kink just here, or may have one, as it cannot be followed."""
        with jax.enable_x64(True):
            try:
                _, kinks = self._kinks(*as_float64((case.params, case.batch)), every=True)
            except Exception:  # it cannot be followed
                return True
            return any(bool(np.any(kink.met)) for kink in kinks)

    def _on_either_side(
        self, case: Case, received: Sequence[Array], expected: list[Array], every: bool
    ) -> list[Array]:
        """The same for a loss that is not JAX, whose kinks are those that differences see.

        Right are the slopes on either side, and their mean; or, if every slope will do, what is
        between them.
        """
        found = []
        sides = self.derivative.sides(case.params, case.batch)
        for r, e, (left, right, kink) in zip(received, expected, sides, strict=True):
            low, high = np.minimum(left, right), np.maximum(left, right)
            options = np.stack([left, right, (left + right) / 2])
            nearest = np.argmin(np.abs(options - r), axis=0)
            picked = np.clip(r, low, high) if every else np.choose(nearest, options)
            found.append(np.where(kink, picked, e))
        return found

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


def _between(
    received: Sequence[Array], kinks: Sequence[Kink], leaves: Callable[[Choice], list[Array]]
) -> list[Array]:
    """What is nearest to the received leaves between the slopes on all sides of some kinks.

    Every element at a kink adds a mean of what its sides add, with weights of its own.
    """
    none = tuple(np.zeros(np.shape(kink.met), int) for kink in kinks)
    base, columns, owners = leaves(none), [], []
    start = as_row(base)
    for number, place in enumerate(places_of(kinks)):
        for side in changed(kinks, none, place, every=True):
            columns.append(as_row(leaves(side)) - start)
            owners.append(number)
    moves = np.stack(columns, axis=1)
    members = np.eye(owners[-1] + 1)[:, owners]  # the weights of each element add up to 1
    heavy = float(np.abs(moves).max(initial=0)) or 1.0  # which they cannot do without
    wanted = np.concatenate([as_row(received) - start, np.full(len(members), heavy)])
    weights, _ = nnls(np.concatenate([moves, heavy * members]), wanted)
    sums = members.T @ (members @ weights)  # not 1 where nothing between the slopes is received
    weights = np.divide(weights, sums, out=np.zeros_like(weights), where=sums > 0)
    _, unravel = ravel(base)
    return jax.tree.leaves(unravel(start + moves @ weights))


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


def _distance(received: Sequence[Array], expected: Sequence[Array]) -> float:
    """The root of the sum of squares of what all leaves differ by."""
    pairs = zip(received, expected, strict=True)
    return float(np.sqrt(sum(np.sum((r - e) ** 2) for r, e in pairs)))
