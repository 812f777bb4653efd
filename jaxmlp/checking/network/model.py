"""Our own networks under our own loss, for a check."""

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import jaxmlp
from jaxmlp.checking.arrays import Array
from jaxmlp.checking.cases import Case
from jaxmlp.checking.examples import line_rows
from jaxmlp.checking.network.equations import Worked
from jaxmlp.checking.network.inference import Located, Observation
from jaxmlp.checking.network.loss import known, network_loss
from jaxmlp.checking.network.reference import Line, Problem, as_problem, evaluate, gradient_lines
from jaxmlp.checking.network.rounding import Precision, gradient_bounds, rounding_bounds
from jaxmlp.checking.report import Example
from jaxmlp.checking.trials import Leaf, Trial
from jaxmlp.checking.truth.derivative import Derivative


class Network:
    """Our own networks under our own loss, of which every line is known."""

    lines_known = traceable = True
    product = False

    def __init__(self, activation: str) -> None:
        """Networks whose hidden layers have this activation."""
        self.activation = activation
        self.least = 0.0
        self.derivative = Derivative(_our_loss(activation))
        self.steps = Derivative(network_loss(activation))
        self.known = known(activation)
        self.expected: Callable[..., list[Array]] = self._by_programs

    def names(self, case: Case) -> list[str]:
        """The name of every leaf, such as ∂C/∂W⁰."""
        return [line.name for line in gradient_lines(self.problem(case))]

    def judge(
        self, case: Case, dtype: str, received: Sequence[Array], any_slope: bool
    ) -> list[Leaf]:
        """The true leaves with their rounding bounds."""
        bounds = gradient_bounds(self.problem(case), Precision.of(dtype), any_slope)
        allowed = [np.maximum(bound, self.least) for bound in bounds]
        expected = self.expected(case.params, case.batch)
        columns = zip(self.names(case), expected, received, allowed, strict=True)
        return [Leaf(*each) for each in columns]

    def equations(self, names: Sequence[str]) -> tuple[int, ...]:
        """The numbers of the lines that are leaves of the gradient."""
        return tuple(dict.fromkeys(13 if "W" in name else 14 for name in names))

    def bounded(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """The trials, which all have the bounds up to which a gradient passes."""
        return trials

    def example(self, trial: Trial, worked: Worked | None, located: Located | None) -> Example:
        """A small case worked through, line by line."""
        rows = line_rows(self.observe(trial), worked, located)
        return Example(trial.case, self.activation, rows)

    def traced(self, trial: Trial) -> Trial:
        """A trial as its steps are executed: its labels are rows."""
        case = trial.case
        batch = case.batch._replace(labels=self.problem(case).y)
        return replace(trial, case=replace(case, batch=batch))

    def at_a_kink(self, case: Case) -> bool:
        """Whether some hidden unit of a network sits exactly at 0."""
        problem = self.problem(case)
        lines = evaluate(problem)
        return any((lines[Line("z", l)] == 0).any() for l in range(1, problem.depth))

    def problem(self, case: Case) -> Problem:
        """The network and batch of a case."""
        return as_problem(case.params, case.batch, self.activation)

    def plain_loss(self, params: Any, batch: Any) -> Any:
        """The loss in NumPy, of real or complex parameters."""
        return evaluate(self.problem(Case(params, batch, "")), last=Line("C"))[Line("C")]

    def _by_programs(self, params: Any, batch: Any) -> list[Array]:
        return self.derivative.by_jax(params, batch)

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
