"""A derivation of one's own model, line by line: the lines are what its loss names by `tap`."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmlp.checking.agreement import settled, standing
from jaxmlp.checking.arrays import Array
from jaxmlp.checking.calls import Caller, Finding, Refused
from jaxmlp.checking.cases import Case
from jaxmlp.checking.custom import least_bound
from jaxmlp.checking.diagnosis.evidence import alike, evidence_by, tape_of
from jaxmlp.checking.diagnosis.one_value import explain_forward, explain_value
from jaxmlp.checking.diagnosis.records import Known
from jaxmlp.checking.diagnosis.steps import Step
from jaxmlp.checking.leafwise import faults
from jaxmlp.checking.network.naming import as_real
from jaxmlp.checking.programs.execution import Traced
from jaxmlp.checking.programs.kinks import Choice
from jaxmlp.checking.programs.random_rounding import SAFETY, rounding_spread
from jaxmlp.checking.programs.recording import NAME, Operation, Place
from jaxmlp.checking.programs.tape import Tape
from jaxmlp.checking.report import Diagnosis, Example, Row
from jaxmlp.checking.returned import unlike
from jaxmlp.checking.shrinking import smallest_given
from jaxmlp.checking.taps import Lines, choices_at, lines_of, true_lines, with_names
from jaxmlp.checking.trials import Leaf, Trial
from jaxmlp.checking.truth.derivative import Derivative
from jaxmlp.checking.truth.trees import as_float64, leaf_names

UNIT = float(np.finfo(np.float64).eps) / 2
DERIVATIVE = ("∂C/∂{}", "∂L/∂{}", "d{}", "d_{}", "dC_d{}", "dL_d{}", "dC/d{}", "dL/d{}", "grad_{}")


class Seen(NamedTuple):
    """The lines of one case by name, in the order of computation: as received, true, following."""

    case: Case
    leaves: dict[str, Leaf]
    right: Mapping[str, Array]

    def statuses(self) -> dict[str, str]:
        """Whether a line is right, wrong itself, or right given the wrong ones before it."""
        return settled(
            {
                name: standing(leaf.received, leaf.expected, leaf.allowed, self.right[name])
                for name, leaf in self.leaves.items()
            }
        )

    def wrong(self) -> list[str]:
        """The lines that are wrong themselves, the first one first."""
        return [name for name, status in self.statuses().items() if status == "wrong"]

    def left_out(self) -> list[str]:
        """The leaves of the gradient that are not among the lines."""
        return [name for name in leaf_names(self.case.params) if name not in self.leaves]

    def trial(self) -> Trial:
        """What was received beside what follows from the lines before it."""
        return Trial(self.case, "float64", tuple(self.leaves.values()), ())


def see_taps(
    caller: Caller, loss: Callable[..., Any], derivative: Derivative, any_slope: bool, case: Case
) -> Seen:
    """Run a derivation on a case, and its loss with every line moved.

    With `any_slope`, a derivative at a kink may have every slope between those on either side.
    Where differences are against the loss's own rules, the lines are those without them.

    Raises:
        Refused: if it raises, or returns what are no lines.
    """
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        value = caller(case.params, case.batch)
    with contextlib.suppress(ValueError):  # which the lines will tell
        derivative.at(case.params, case.batch)
    plain = derivative.misled
    true = true_lines(loss, case.params, case.batch, plain=plain)
    if both := {f"∂C/∂{name}" for name in true.values} & {*leaf_names(case.params)}:
        name = min(both).removeprefix("∂C/∂")
        raise ValueError(f"a tap and a parameter are both called {name!r}: rename the tap")
    right = dict(_named(true, case.params))
    try:
        received = _received(value, right, case.params)
    except ValueError as error:
        raise Refused(Finding("wrong lines", str(error))) from None
    values = {name: received[name] for name in true.values if name in received}
    derivatives = {
        name: received[f"∂C/∂{name}"] for name in true.derivatives if f"∂C/∂{name}" in received
    }
    allowed = _allowed(lines_of(inspect.unwrap(loss), plain), case, true, received)

    def lines(*claimed: Any, sides: Choice | None = None) -> dict[str, Array]:
        found = true_lines(loss, case.params, case.batch, *claimed, sides=sides, plain=plain)
        return dict(_named(found, case.params))

    def seen(right: Mapping[str, Array], follows: Mapping[str, Array]) -> Seen:
        leaves = {
            name: Leaf(name, follows[name], line, allowed[name]) for name, line in received.items()
        }
        return Seen(case, leaves, right)

    claimed = (values, derivatives)
    found = seen(right, lines(*claimed))
    if found.wrong():
        sides = list(choices_at(loss, case.params, case.batch, every=any_slope))
        others = [(lines(sides=each), lines(*claimed, sides=each)) for each in sides]
        found = min((found, *(seen(*each) for each in others)), key=_off)
        if any_slope and others and found.wrong():
            nearest = (_nearest(received, each) for each in zip(*others, strict=True))
            found = seen(*nearest)
    return found


def _allowed(
    lines: Traced, case: Case, true: Lines, received: Mapping[str, Array]
) -> dict[str, Array]:
    """How far rounding may put each line; a closer look only where one is off."""
    right = dict(_named(true, case.params))
    allowed = {name: least_bound(line, np.zeros_like(line), UNIT) for name, line in right.items()}
    if all(np.all(np.abs(line - right[name]) <= allowed[name]) for name, line in received.items()):
        return allowed
    with jax.enable_x64(True):
        arguments = as_float64((case.params, case.batch, {}, {}))
    program, _ = lines.program(*arguments)
    spread = rounding_spread(program, jax.tree.leaves(arguments), UNIT)
    bounds = jax.tree.unflatten(jax.tree.structure(true), spread)
    for name, bound in _named(bounds, case.params):
        allowed[name] += SAFETY * bound
    return allowed


def _nearest(received: Mapping[str, Array], slopes: Sequence[Mapping[str, Array]]) -> dict:
    """Between the lines with the slopes on all sides of a kink, what is nearest to the received."""
    found = {}
    for name in slopes[0]:
        several = np.stack([each[name] for each in slopes])
        low, high = several.min(axis=0), several.max(axis=0)
        found[name] = np.clip(received[name], low, high) if name in received else low
    return found


def _off(seen: Seen) -> tuple[int, int]:
    """How many lines, and how many entries of all lines, are wrong."""
    return len(seen.wrong()), sum(int(np.sum(leaf.excess > 1)) for leaf in seen.leaves.values())


def _named(lines: Lines, params: Any) -> Iterator[tuple[str, Array]]:
    """Every line by name: values, derivatives from the last tap on, the gradient's leaves."""
    yield from lines.values.items()
    for name in reversed(lines.values):
        yield f"∂C/∂{name}", lines.derivatives[name]
    yield from zip(leaf_names(params), jax.tree.leaves(lines.grad), strict=True)


def _received(value: Any, right: Mapping[str, Array], params: Any) -> dict[str, Array]:
    """The lines that a derivation returned, by our names."""
    items = value._asdict() if hasattr(value, "_asdict") else value
    names = ", ".join(right)
    if not isinstance(items, Mapping):
        says = f"it returns a {type(value).__name__}: return a dict of the lines {names}"
        raise Refused(Finding("wrong lines", says))
    spelled = {
        form.format(name.removeprefix("∂C/∂")): name
        for name in right
        if name.startswith("∂C/∂")
        for form in DERIVATIVE
    } | {name: name for name in right}
    found = {}
    for key, line in items.items():
        if key == "grad":
            if says := unlike(params, line, "grad is"):
                raise Refused(Finding("wrong tree", says))
            pairs = zip(leaf_names(params), jax.tree.leaves(line), strict=True)
            found |= {name: as_real(name, leaf) for name, leaf in pairs}
        elif key in spelled:
            found[spelled[key]] = as_real(str(key), line)
        else:
            says = f"it returns a line called {key!r}: the loss has {names}, named by tap"
            raise Refused(Finding("wrong lines", says))
    if not found:
        raise Refused(Finding("wrong lines", f"it returns no lines: they are {names}"))
    for name, line in found.items():
        if line.shape != right[name].shape:
            says = f"{name} has shape {line.shape}, where {right[name].shape} belongs"
            raise Refused(Finding("wrong shape", says))
    return {name: found[name] for name in right if name in found}


def explain_taps(
    see: Callable[..., Any], seen: Sequence[Seen], loss: Callable[..., Any], cases: Any
) -> tuple[Finding, Diagnosis, Example]:
    """The first wrong line, what is wrong with it, and the smallest case."""
    wrong = [each for each in seen if each.wrong()]
    order = list(wrong[0].leaves)
    name = min((each.wrong()[0] for each in wrong), key=order.index)
    failing = [each for each in wrong if name in each.wrong()]
    failing.sort(key=lambda each: sum(line.size for line in each.right.values()))
    smallest, shown = failing[0], failing[0].statuses()

    def fails(case: Case) -> bool:
        return see(case).statuses() == shown

    if found := smallest_given(cases, [each.case for each in failing], fails):
        smallest = see(found)
    finding = Finding("wrong line", f"{name} is the first wrong line, on {smallest.case.about}")
    trials = [Trial(each.case, "float64", (each.leaves[name],), ()) for each in seen]
    (fault,) = faults(trials, lambda trial, rows: None)
    kind, says = _mistake(loss, trials, name) or (fault.kind, fault.says)
    if step := _step_of(loss, smallest.case, name):
        says += f", at {step.where}"
    statuses = smallest.statuses()
    rows = tuple(
        Row(line, None, "", each, leaf.received, statuses[line])
        if (leaf := smallest.leaves.get(line))
        else Row(line, None, "", each, None, "right")
        for line, each in smallest.right.items()
    )
    diagnosis = Diagnosis((name,), (), kind, says, places=step.sources if step else ())
    return finding, diagnosis, Example(smallest.case, None, rows)


def _mistake(
    loss: Callable[..., Any], trials: Sequence[Trial], name: str
) -> tuple[str, str] | None:
    """What may have been done in the steps from the lines before to the derivative of a name."""
    derivative = Derivative(with_names(loss))
    if not name.startswith("∂C/∂"):
        with np.errstate(all="ignore"), contextlib.suppress(Exception):
            return _forward_mistake(derivative, trials, name)
    evidence, places = [], []
    for trial in trials:
        with contextlib.suppress(Exception):  # a program that is too large, or not known
            tape = tape_of(derivative, trial.case)
            number, places = _value_of(tape, trial.case, name)
            evidence.append(evidence_by(trial.case, tape, (number,), trial.leaves))
    smooth = [each for each in evidence if each.smooth]
    wrong = any(each.wrong for each in smooth)
    return explain_value(alike(smooth), places, Known()) if wrong else None


def _forward_mistake(
    derivative: Derivative, trials: Sequence[Trial], name: str
) -> tuple[str, str] | None:
    """What may have been computed in the place of a tap's value."""
    tapes = [tape_of(derivative, trial.case) for trial in trials]
    made = []
    for tape in tapes:
        tapped = next(op for op in tape.operations if _is_tap(op, name))
        made.append([op for op in tape.operations if op.output == tapped.inputs[0]])
    values = [tape.values for tape in tapes]
    return next(explain_forward(made, values, [trial.leaves[0] for trial in trials]), None)


def _step_of(loss: Callable[..., Any], case: Case, name: str) -> Step | None:
    """The lines of the loss that compute a value, or use that by which a line is the derivative."""
    with contextlib.suppress(Exception):  # a program that is too large, or not known
        tape = tape_of(Derivative(with_names(loss)), case)
        if name.startswith("∂C/∂"):
            number, _ = _value_of(tape, case, name)
            some = [op for op in tape.operations if number in op.inputs.values()]
        else:
            tapped = next(op for op in tape.operations if _is_tap(op, name))
            some = [op for op in tape.operations if op.output == tapped.inputs[0]]
        sources = dict.fromkeys(op.source for op in some if op.source.file)
        return Step(name, tuple(sources)) if sources else None
    return None


def _is_tap(op: Operation, name: str) -> bool:
    return op.name == NAME and op.equation.params["name"] == name


def _value_of(tape: Tape, case: Case, name: str) -> tuple[int, list[Place]]:
    """The number of the value by which a line is the derivative, and its places.

    Raises:
        StopIteration: if there is none.
    """
    leaves = leaf_names(case.params)
    if name in leaves:
        at = leaves.index(name)
        return tape.leaves[at], [tape.leaf_places[at]]
    tapped = next(op for op in tape.operations if _is_tap(op, name.removeprefix("∂C/∂")))
    before = [op.place for op in tape.operations if op.output == tapped.inputs[0]]
    return tapped.output, [tapped.place, *before]
