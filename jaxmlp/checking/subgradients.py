"""Where a loss has kinks just at the parameters: which of the slopes on their sides is right."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from scipy.optimize import nnls

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.programs.kinks import (
    Choice,
    Kink,
    changed,
    choices,
    grad_by_sides,
    kinks_at,
    places_of,
)
from jaxmlp.checking.programs.rules import without_rules
from jaxmlp.checking.truth.derivative import Derivative
from jaxmlp.checking.truth.differences import TRUST, slope_along
from jaxmlp.checking.truth.trees import as_float64, as_row, ravel

FEW, FAR = 50, 4.0  # entries; times the difference of both sides' slopes
SWEEPS = 3  # over the elements at kinks, which may hang together


def nearest_on_sides(
    derivative: Derivative,
    params: Any,
    batch: Any,
    received: Sequence[Array],
    expected: list[Array],
    allowed: Sequence[Array],
    every: bool,
) -> list[Array]:
    """Of the gradients that are right where the loss has kinks just here, the nearest.

    Args:
        derivative: of the loss, which JAX can follow.
        params, batch: the arguments.
        received: the leaves to be judged.
        expected: the leaves that are right if there are no kinks.
        allowed: what the leaves may differ by.
        every: whether every slope between those on all sides is right; else only what the
            convention says.
    """
    with jax.enable_x64(True):
        params, batch = as_float64((params, batch))
        try:
            loss, kinks = _kinks(derivative, params, batch, every)
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


def nearest_by_differences(
    derivative: Derivative,
    params: Any,
    batch: Any,
    received: Sequence[Array],
    expected: list[Array],
    every: bool,
) -> list[Array]:
    """The same for a loss that is not JAX, whose kinks are those that differences see.

    Right are the slopes on either side, and their mean; or, if every slope will do, what is
    between them. Where several kinks meet there may be others: NaN says that nobody knows.
    """
    found = []
    sides = derivative.sides(params, batch)
    for r, e, (left, right, kink, error) in zip(received, expected, sides, strict=True):
        low, high = np.minimum(left, right), np.maximum(left, right)
        options = np.stack([left, right, (left + right) / 2])
        nearest = np.argmin(np.abs(options - r), axis=0)
        picked = np.clip(r, low, high) if every else np.choose(nearest, options)
        picked = np.where(np.abs(picked - r) <= TRUST * error, r, picked)
        found.append(np.where(kink, picked, e))
    return found


def beside_none(
    derivative: Derivative,
    params: Any,
    batch: Any,
    received: Sequence[Array],
    expected: Sequence[Array],
) -> list[Array]:
    """The right leaves, with a number for NaN where what is received is far from any slope.

    At a kink where JAX's own gradient is NaN, as that of a norm at 0, nobody knows what is right;
    but it is not far beyond the slopes on both sides. Of very many entries some are looked at.
    """
    flat, unravel = ravel(params)
    row, given = as_row(expected).copy(), as_row(received)
    places = np.flatnonzero(np.isnan(row) & np.isfinite(given))[:FEW]
    if not len(places):
        return [*expected]
    value = derivative.value(params, batch)
    for place in places:
        unit = np.zeros_like(flat)
        unit[place] = 1.0
        slope = slope_along(value, flat, unit, quick=True)
        low, high = sorted((slope.left, slope.right))
        nearest = np.clip(given[place], low, high)
        if slope.kink and abs(given[place] - nearest) > FAR * (high - low):
            row[place] = nearest
    return jax.tree.leaves(unravel(row))


def has_kinks(derivative: Derivative, params: Any, batch: Any) -> bool:
    """Whether the loss has a kink just here, or may have one, as it cannot be followed."""
    with jax.enable_x64(True):
        try:
            _, kinks = _kinks(derivative, *as_float64((params, batch)), every=True)
        except Exception:  # it cannot be followed
            return True
        return any(bool(np.any(kink.met)) for kink in kinks)


def _kinks(
    derivative: Derivative, params: Any, batch: Any, every: bool
) -> tuple[Callable[..., Any], list[Kink]]:
    """The loss and its kinks.

    The slope that a rule gives is right, unless every slope is, or rules are wrong.
    """
    loss = derivative.loss
    plain = every or derivative.misled
    meant = () if every else derivative.intended
    loss = derivative.of(without_rules(loss, meant) if plain else loss)
    return loss, kinks_at(lambda params: loss(params, batch), params)


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


def _distance(received: Sequence[Array], expected: Sequence[Array]) -> float:
    """The root of the sum of squares of what all leaves differ by."""
    pairs = zip(received, expected, strict=True)
    return float(np.sqrt(sum(np.sum((r - e) ** 2) for r, e in pairs)))
