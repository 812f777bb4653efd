"""What a check knows about a loss: our own networks, line by line; or nothing but the loss."""

import copy
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxmlp
from jaxmlp.checking.cases import SHAPES, Case, network_cases
from jaxmlp.checking.diagnosis import Observation
from jaxmlp.checking.jitter import SAFETY, rounding_spread
from jaxmlp.checking.oracles import Autodiff, as_float64
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


class Custom:
    """A loss of which nothing is known but how to evaluate and differentiate it."""

    def __init__(self, loss: Callable[..., Any]) -> None:
        """A model for `loss(params, batch)`."""
        self.loss = loss
        self.expected = Autodiff(loss)

    def names(self, case: Case) -> list[str]:
        """The name of every leaf by its path, such as ∂C/∂encoder.weight."""
        paths, _ = jax.tree_util.tree_flatten_with_path(case.params)
        return [
            f"∂C/∂{jax.tree_util.keystr(path, simple=True, separator='.')}" for path, _ in paths
        ]

    def allowed(self, case: Case, dtype: str, expected: list[Array]) -> list[Array]:
        """What random rounding spreads the leaves by, and a few roundings of the largest entry."""
        unit = float(jnp.finfo(dtype).eps) / 2
        if not self.expected.traceable:
            return [1e-6 * (np.abs(leaf) + np.abs(leaf).max(initial=0)) + 1e-9 for leaf in expected]
        spread = rounding_spread(jax.grad(self.loss), (case.params, case.batch), unit)
        return [
            SAFETY * off + 4 * unit * np.abs(leaf).max(initial=0) + np.finfo(np.float32).tiny
            for off, leaf in zip(spread, expected, strict=True)
        ]


class Network:
    """Our own networks under our own loss, of which every line is known."""

    def __init__(self, activation: str) -> None:
        """Networks whose hidden layers have this activation."""
        self.activation = activation
        self.expected: Callable[..., list[Array]] = Autodiff(_our_loss(activation))

    def names(self, case: Case) -> list[str]:
        """The name of every leaf, such as ∂C/∂W⁰."""
        return [line.name for line in gradient_lines(self.problem(case))]

    def allowed(self, case: Case, dtype: str, expected: list[Array]) -> list[Array]:
        """Rounding bounds on the leaves."""
        return gradient_bounds(self.problem(case), Precision.of(dtype))

    def problem(self, case: Case) -> Problem:
        """The network and batch of a case."""
        return as_problem(case.params, case.batch, self.activation)

    def worked_out(self) -> "Network":
        """The same with the derivation as the truth: for small cases that none should wait for."""
        quick = copy.copy(self)
        quick.expected = self._by_reference
        return quick

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
            if np.allclose(values, ours, rtol=1e-9, atol=1e-12):
                return Network(activation)
    except Exception:  # whatever a foreign loss or a foreign tree raises: it is not ours
        pass
    return Custom(loss)
