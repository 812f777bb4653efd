"""Our networks' derivation line by line."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp import activations
from jaxmlp.checking.agreement import settled, standing
from jaxmlp.checking.arrays import Array
from jaxmlp.checking.calls import Caller, Finding, Refused
from jaxmlp.checking.cases import Case
from jaxmlp.checking.leafwise import UNEXPLAINED, faults
from jaxmlp.checking.network.model import Network
from jaxmlp.checking.network.naming import named_lines
from jaxmlp.checking.network.one_line import Claim, explain_line
from jaxmlp.checking.network.reference import (
    Line,
    Problem,
    Values,
    all_lines,
    as_problem,
    evaluate,
    formula,
    gradient_lines,
)
from jaxmlp.checking.network.rounding import Precision, rounding_bounds
from jaxmlp.checking.report import Diagnosis, Example, Row
from jaxmlp.checking.shrinking import PLAINEST, smallest_network
from jaxmlp.checking.taps import tap, true_lines
from jaxmlp.checking.trials import Leaf, Trial
from jaxmlp.losses import cross_entropy


class Seen(NamedTuple):
    """The lines of one case: as received, as they should be, and as they follow."""

    case: Case
    problem: Problem
    received: dict[Line, Array]
    right: dict[Line, Array]
    follows: dict[Line, Array]
    allowed: dict[Line, Array]

    def statuses(self) -> dict[Line, str]:
        """Whether a line is right, wrong itself, or right given the wrong ones before it."""
        return settled(
            {
                line: standing(value, self.follows[line], self.allowed[line], self.right[line])
                for line, value in self.received.items()
            }
        )

    def wrong(self) -> list[Line]:
        """The lines that are wrong themselves, the first one first."""
        return [line for line, status in self.statuses().items() if status == "wrong"]

    def left_out(self) -> list[str]:
        """The leaves of the gradient that are not among the lines."""
        leaves = gradient_lines(self.problem)
        return [line.name for line in leaves if line not in self.received]

    def trial(self) -> Trial:
        """What was received beside what should have been."""
        leaves = (
            Leaf(line.name, self.right[line], received, self.allowed[line])
            for line, received in self.received.items()
        )
        return Trial(self.case, "float64", tuple(leaves), ())


def _first(seen: Seen) -> str | None:
    """The symbol of the first line that is wrong itself."""
    return next((line.symbol for line in seen.wrong()), None)


def _shown(seen: Seen) -> set[tuple[Line, str]]:
    """The lines that are not right, each with what it is."""
    return {(line, status) for line, status in seen.statuses().items() if status != "right"}


def _shrunk(quick: Callable[..., Seen], failing: Sequence[Case], like: Seen) -> Seen | None:
    """The smallest network that shows as much: which lines are wrong, and which follow."""

    def see(case: Case) -> Seen | None:
        try:
            return quick(case, quick=True)
        except Refused:
            return None

    first, shown = _first(like), _shown(like)

    def fails(case: Case) -> bool:
        seen = see(case)
        return seen is not None and _first(seen) == first and _shown(seen) >= shown

    kind = min((case.kind for case in failing), key=PLAINEST.index)
    found = smallest_network(failing, kind, fails)
    return see(found) if found else None


def explain_network(
    see: Callable[..., Any], seen: Sequence[Any], activation: str
) -> tuple[Finding, Diagnosis, Example]:
    """The first wrong line of our networks' derivation, why, and the smallest case."""
    symbol = next(line for each in seen for line in each.wrong()).symbol
    first = [each for each in seen if _first(each) == symbol]
    smallest = min(first, key=lambda each: sum(each.problem.sizes) + each.problem.n)
    if found := _shrunk(see, [each.case for each in first], smallest):
        smallest = found
    line = smallest.wrong()[0]
    says = f"{line.name} ({line.equation(smallest.problem.depth)}) is the first wrong line"
    finding = Finding("wrong line", f"{says}, on {smallest.case.about}")
    model = Network(activation)
    claims = list(_claims(seen, model, line))
    kind, says = (
        explain_line(model.steps, claims, model.known)
        or _fault(claims)
        or (UNEXPLAINED, "none of the known mistakes explains it")
    )
    diagnosis = Diagnosis((line.name,), (line.equation(smallest.problem.depth),), kind, says)
    return finding, diagnosis, Example(smallest.case, activation, tuple(_rows(smallest)))


def see_network(
    caller: Caller, activation: str, any_slope: bool, case: Case, quick: bool = False
) -> Seen:
    """Run a derivation on a case; `quick`, with the reference as the truth: nothing is compiled.

    Raises:
        Refused: if it raises, or returns what are no lines.
    """
    problem = as_problem(case.params, case.batch, activation)
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        value = caller(case.params, case.batch)
        try:
            received = named_lines(value, problem)
        except ValueError as error:
            raise Refused(Finding("wrong lines", str(error))) from None
    right = evaluate(problem) if quick else _true(case, activation)
    known: dict[Line, Array] = {}
    follows: dict[Line, Array] = {}
    values = Values(problem, known)
    for line in all_lines(problem):
        follows[line] = np.asarray(formula(line, problem.depth)(values, line.index))
        known[line] = received.get(line, follows[line])
        if known[line].shape != follows[line].shape:
            says = f"{line.name} has shape {known[line].shape}, where {follows[line].shape} belongs"
            raise Refused(Finding("wrong shape", says))
    allowed = rounding_bounds(problem, Precision.of("float64"), any_slope=any_slope)
    return Seen(case, problem, received, right, follows, allowed)


def _true(case: Case, activation: str) -> dict[Line, Array]:
    """Every line, by perturbing the forward pass of our network where the line belongs."""

    def loss(params: Any, batch: Any) -> Any:
        f, h = activations.get_activation(activation).value, batch.x
        z: Any = None
        for index, (weight, bias) in enumerate(params):
            if index:
                h = tap(f"h{index}", f(z))
            z = tap(f"z{index + 1}", h @ weight + (0.0 if bias is None else bias[None, :]))
        tap("p", jax.nn.softmax(z, axis=1))
        return tap("C", jnp.mean(cross_entropy(z, batch.labels)))

    values, derivatives, grad = true_lines(loss, case.params, case.batch)
    named = {
        **values,
        **{f"d{name}": each for name, each in derivatives.items() if name[0] in "zh"},
    }
    return named_lines({**named, "grad": grad}, as_problem(case.params, case.batch, activation))


def _claims(seen: Sequence[Seen], model: Network, wrong: Line) -> Iterator[Claim]:
    """Of every case that shows it the first wrong line, if it is one like that in question."""
    for each in seen:
        at = each.wrong()[:1]
        last = wrong == Line("dz", each.problem.depth)
        if at and at[0].symbol == wrong.symbol and (at[0] == wrong or not last):
            line = at[0]
            values = (lines[line] for lines in (each.right, each.received, each.allowed))
            yield Claim(model.traced(each.trial()).case, line, Leaf(line.name, *values))


def _fault(claims: Sequence[Claim]) -> tuple[str, str] | None:
    """The mistake in a line, whatever was computed before it."""
    trials = [Trial(each.case, "float64", (replace(each.leaf, name=""),), ()) for each in claims]
    found = faults(trials, lambda trial, rows: None)
    return (found[0].kind, found[0].says) if found else None


def _rows(seen: Seen) -> list[Row]:
    """Every line of a case with its status."""
    rows, statuses = [], seen.statuses()
    for line in all_lines(seen.problem):
        received = seen.received.get(line)
        rows.append(
            Row(
                line.name,
                line.equation(seen.problem.depth),
                line.formula(seen.problem),
                seen.right[line],
                received,
                statuses.get(line, "unknown"),
            )
        )
    return rows
