"""What a check knows about a loss: our own networks, line by line; or nothing but the loss."""

import copy
import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxmlp
from jaxmlp.checking.cases import SHAPES, Case, moved, network_cases
from jaxmlp.checking.diagnosis import Observation
from jaxmlp.checking.jitter import SAFETY, rounding_spread
from jaxmlp.checking.kinks import Choice, changed, choices, grad_by_sides, kinks_at, places_of
from jaxmlp.checking.oracles import Truth, as_float64
from jaxmlp.checking.reference import (
    ACTIVATIONS,
    Array,
    Line,
    Problem,
    as_problem,
    evaluate,
    gradient_lines,
)
from jaxmlp.checking.rounding import Precision, gradient_bounds, rounding_bounds
from jaxmlp.checking.trials import Trial

FLOOR = 16.0  # roundings of a leaf's largest entry that need no closer look
ROUGH = 2.0**12  # times that, where a rough bound will do
FAR = 1e-3  # of a leaf's largest entry: a mistake, not a rounding
CANCELLING = ("huge logits", "confident")  # cases in which nearly all of a gradient cancels
NEAR = 1e-7  # how far from a point to look for the other slopes of a kink
LOOKS = 16
SWEEPS = 3  # over the elements at kinks, which may hang together
DERIVATIVE = "∂C/∂"
SHRUNK = (1.0, 1 / 8, 1 / 64)  # times the parameters


class Custom:
    """A loss of which nothing is known but how to evaluate and differentiate it."""

    def __init__(self, loss: Callable[..., Any]) -> None:
        """A model for `loss(params, batch)`."""
        self.truth = Truth(loss)
        self._grad = jax.grad(loss)
        self.least: float | None = None
        self.refuted = False

    def expected(self, params: Any, batch: Any) -> list[Array]:
        """The leaves of the true gradient."""
        return [each.value for each in self.truth(params, batch)]

    def names(self, case: Case) -> list[str]:
        """The name of every leaf by its path, such as ∂C/∂encoder.weight."""
        return leaf_names(case.params, getattr(self.truth.loss, "prefix", DERIVATIVE))

    @property
    def product(self) -> bool:
        """Whether it is no gradient that is checked but a Hessian-vector product."""
        return hasattr(self.truth.loss, "prefix")

    def judge(
        self, case: Case, dtype: str, received: Sequence[Array], any_slope: bool
    ) -> list[tuple[Array, Array]]:
        """The true leaves, and what random rounding spreads them by.

        That takes a while, so gradients that are right up to a few roundings are let off. And once
        one is wrong beyond all rounding, what is as far off elsewhere is wrong without it.
        """
        truth, unit = self.truth(case.params, case.batch), float(jnp.finfo(dtype).eps) / 2
        expected = [each.value for each in truth]
        allowed = [least_bound(*each, unit) for each in truth]
        right = _within(received, expected, allowed)
        tame = self.refuted and case.kind not in CANCELLING
        if self.least is not None:
            allowed = [np.maximum(ROUGH * each, self.least) for each in allowed]
        elif not right and tame and _settled(received, expected, allowed):
            allowed = [
                each * (ROUGH if _far(r, e) else 1)
                for r, e, each in zip(received, expected, allowed, strict=True)
            ]
        elif not right:
            spread = self._spread(case, expected, unit)
            allowed = [least + SAFETY * off for least, off in zip(allowed, spread, strict=True)]
            if not _within(received, expected, allowed):
                natural = self._natural(case)
                allowed = [
                    a + FLOOR * unit * most for a, most in zip(allowed, natural, strict=True)
                ]
            if not _within(received, expected, allowed):
                self.refuted = self.refuted or any(map(_far, received, expected))
        if not _within(received, expected, allowed) and self.truth.traceable:
            expected = self._on_nearest_sides(case, received, expected, allowed, any_slope)
        if any_slope and not _within(received, expected, allowed):
            slopes = self._slopes_nearby(case, expected)
            allowed = [each + slope for each, slope in zip(allowed, slopes, strict=True)]
        return list(zip(expected, allowed, strict=True))

    def _on_nearest_sides(
        self,
        case: Case,
        received: Sequence[Array],
        expected: list[Array],
        allowed: Sequence[Array],
        every: bool,
    ) -> list[Array]:
        """Of the gradients that are right where the loss has kinks just here, the nearest.

        Right is what the convention says, or the slope of any side, if every one will do.
        """
        loss = self.truth.loss
        with jax.enable_x64(True):
            params, batch = as_float64((case.params, case.batch))
            kinks = kinks_at(lambda params: loss(params, batch), params)

            def on(choice: Choice) -> tuple[float, Choice, list[Array]]:
                leaves = _leaves(grad_by_sides(loss)(choice, params, batch))
                return _distance(received, leaves), choice, leaves

            found = min(map(on, choices(kinks, every)), key=lambda each: each[0], default=None)
            if found is None:
                return expected
            close = sum(float(np.sum(each)) for each in allowed)
            for _ in range(SWEEPS):  # one element after another, where elements differ
                if found[0] <= close:
                    break
                for place in places_of(kinks):
                    others = map(on, changed(kinks, found[1], place))
                    found = min((found, *others), key=lambda each: each[0])
        return found[2] if found[0] < _distance(received, expected) else expected

    def _spread(self, case: Case, expected: list[Array], unit: float) -> list[Array]:
        """What rounding may change of the true leaves."""
        if self.truth.traceable:
            return rounding_spread(self._grad, (case.params, case.batch), unit)
        if unit < np.finfo(np.float32).eps:
            return [np.zeros_like(leaf) for leaf in expected]  # the differences' error is larger
        arguments = (case.params, case.batch)
        others = (self.expected(*moved(arguments, seed, unit, 0.0)) for seed in range(4))
        return _largest_change(expected, others)

    def _natural(self, case: Case) -> list[float]:
        """The largest entry of every leaf with the parameters scaled down.

        Where a model is sure of itself its gradient is next to nothing, and may be the difference
        of numbers of that size, such as a probability and a label, whatever the loss does.
        """
        found: list[list[float]] = []
        for scale in SHRUNK:
            params = jax.tree.map(lambda leaf, scale=scale: scale * np.asarray(leaf), case.params)
            leaves = self.expected(params, case.batch)
            found.append([float(np.abs(leaf).max(initial=0)) for leaf in leaves])
        return [max(filter(np.isfinite, sizes), default=0.0) for sizes in zip(*found, strict=True)]

    def _slopes_nearby(self, case: Case, expected: list[Array]) -> list[Array]:
        """How far the gradient jumps around a point: 0 in the entries that only bend there.

        What is smooth changes a sixteenth as much at a sixteenth of the distance; a jump stays.
        """

        def change(step: float) -> list[Array]:
            nearby = (moved(case.params, seed, step, step) for seed in range(LOOKS))
            return _largest_change(expected, (self.expected(each, case.batch) for each in nearby))

        far, near = change(NEAR), change(NEAR / 16)
        # What they differ by is the smooth part, by which the jump may be larger than both.
        return [
            np.where(n > f / 4, np.maximum(n, f) + np.abs(f - n), 0.0)
            for n, f in zip(near, far, strict=True)
        ]

    def quick(self, least: float) -> "Custom":
        """The same with a rough bound: for small cases that none should wait for.

        Errors below `least` do not count.
        """
        other = copy.copy(self)
        other.least = least
        return other

    def bounded(self, trial: Trial) -> Trial:
        """A trial with the bounds up to which a gradient passes, which not every one needs."""
        case, unit = trial.case, float(jnp.finfo(trial.dtype).eps) / 2
        truth = self.truth(case.params, case.batch)
        spread = self._spread(case, [each.value for each in truth], unit)
        leaves = (
            replace(leaf, allowed=least_bound(*each, unit) + SAFETY * off)
            for leaf, each, off in zip(trial.leaves, truth, spread, strict=True)
        )
        return replace(trial, leaves=tuple(leaves))


def leaf_names(params: Any, prefix: str = DERIVATIVE) -> list[str]:
    """The name of the derivative by every leaf, from its path."""
    paths, _ = jax.tree_util.tree_flatten_with_path(params)
    return [
        f"{prefix}{jax.tree_util.keystr(path, simple=True, separator='.') or 'params'}"
        for path, _ in paths
    ]


def _within(received: Sequence[Array], expected: list[Array], allowed: list[Array]) -> bool:
    triples = zip(received, expected, allowed, strict=True)
    return all(np.all(np.abs(r - e) <= a) for r, e, a in triples)


def least_bound(value: Array, error: Array, unit: float) -> Array:
    """What needs no closer look: few roundings of the largest entry, and the truth's own error."""
    tiny = float(np.finfo(np.float32).tiny)
    return np.asarray(FLOOR * unit * np.abs(value).max(initial=0) + SAFETY * error + tiny)


def _leaves(tree: Any) -> list[Array]:
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]


def _distance(received: Sequence[Array], expected: Sequence[Array]) -> float:
    """The root of the sum of squares of what all leaves differ by."""
    pairs = zip(received, expected, strict=True)
    return float(np.sqrt(sum(np.sum((r - e) ** 2) for r, e in pairs)))


def _far(received: Array, expected: Array) -> bool:
    """Whether a leaf is off by more than a thousandth of its largest entry."""
    return not np.all(np.abs(received - expected) <= FAR * np.abs(expected).max(initial=0))


def _settled(received: Sequence[Array], expected: list[Array], allowed: list[Array]) -> bool:
    """Whether every leaf is right beyond doubt or wrong beyond doubt."""
    return all(
        _far(r, e) or _within([r], [e], [a])
        for r, e, a in zip(received, expected, allowed, strict=True)
    )


def _largest_change(leaves: list[Array], others: Iterable[list[Array]]) -> list[Array]:
    """How far the leaves of some gradients are from those of one, entry by entry."""
    columns = zip(leaves, *others, strict=True)
    return [np.abs(np.stack(each) - leaf[None]).max(axis=0) for leaf, *each in columns]


class Network:
    """Our own networks under our own loss, of which every line is known."""

    def __init__(self, activation: str) -> None:
        """Networks whose hidden layers have this activation."""
        self.activation = activation
        self.least = 0.0
        truth = Truth(_our_loss(activation))
        self.expected: Callable[..., list[Array]] = lambda params, batch: [
            each.value for each in truth(params, batch)
        ]

    def names(self, case: Case) -> list[str]:
        """The name of every leaf, such as ∂C/∂W⁰."""
        return [line.name for line in gradient_lines(self.problem(case))]

    def judge(
        self, case: Case, dtype: str, received: Sequence[Array], any_slope: bool
    ) -> list[tuple[Array, Array]]:
        """The true leaves with their rounding bounds."""
        bounds = gradient_bounds(self.problem(case), Precision.of(dtype), any_slope)
        allowed = (np.maximum(bound, self.least) for bound in bounds)
        return list(zip(self.expected(case.params, case.batch), allowed, strict=True))

    def problem(self, case: Case) -> Problem:
        """The network and batch of a case."""
        return as_problem(case.params, case.batch, self.activation)

    def plain_loss(self, params: Any, batch: Any) -> Any:
        """The loss in NumPy, of real or complex parameters."""
        return evaluate(self.problem(Case(params, batch, "")), last=Line("C"))[Line("C")]

    def quick(self, least: float = 0.0) -> "Network":
        """The same with the derivation as the truth: for small cases that none should wait for.

        Errors below `least` do not count.
        """
        other = copy.copy(self)
        other.expected, other.least = self._by_reference, least
        return other

    def _by_reference(self, params: Any, batch: Any) -> list[Array]:
        problem = as_problem(params, batch, self.activation)
        lines = evaluate(problem)
        return [lines[line] for line in gradient_lines(problem)]

    def observe(self, trial: Trial) -> Observation:
        """A trial as the diagnosis looks at it."""
        problem = self.problem(trial.case)
        right, lines = evaluate(problem), gradient_lines(problem)
        received = {line: leaf.received for line, leaf in zip(lines, trial.leaves, strict=True)}
        bounds = rounding_bounds(problem, Precision.of(trial.dtype), right)
        return Observation(problem, received, bounds, right)


@functools.cache
def _our_loss(activation: str) -> Callable[..., Any]:
    return functools.partial(jaxmlp.loss, activation=activation)


def _same_slopes(loss: Callable[..., Any], cases: Sequence[Case], activation: str) -> bool:
    """Whether a loss with our values has our derivative too, unlike one with `stop_gradient`."""
    theirs, ours = Custom(loss), Network(activation).quick()
    dense = [(case.params, case.batch) for case in cases if case.kind == "dense"]
    return all(
        not theirs.truth.traceable or np.allclose(one, other)
        for case in dense
        for one, other in zip(theirs.expected(*case), ours.expected(*case), strict=True)
    )


def recognise(loss: Callable[..., Any], cases: Sequence[Case] | None) -> Network | Custom:
    """What is known of a loss: it is ours if it has our values, whoever wrote it."""
    bound = getattr(loss, "keywords", {})
    if getattr(loss, "func", loss) is jaxmlp.loss and set(bound) <= {"activation"}:
        return Network(bound.get("activation", "relu"))
    try:
        if cases is None:
            cases = list(itertools.islice(network_cases(SHAPES, np.float64, 0), 12))
        with jax.enable_x64(True):
            values = [float(loss(*as_float64((case.params, case.batch)))) for case in cases]
        for activation in ACTIVATIONS:
            ours = [
                float(evaluate(as_problem(case.params, case.batch, activation))[Line("C")])
                for case in cases
            ]
            alike = np.allclose(values, ours, rtol=1e-9, atol=1e-12)
            if alike and _same_slopes(loss, cases, activation):
                return Network(activation)
    except Exception:  # whatever a foreign loss or a foreign tree raises: it is not ours
        pass
    return Custom(loss)
