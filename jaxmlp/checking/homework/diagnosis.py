"""What is wrong with homework, in its own names, with its lines."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxmlp.checking.calls import Finding
from jaxmlp.checking.cases import Case
from jaxmlp.checking.homework.lines import lines_of, symbol_of
from jaxmlp.checking.homework.mistakes import Mistake
from jaxmlp.checking.homework.penalty import Penalty
from jaxmlp.checking.homework.places import line_of_gradient, place_of
from jaxmlp.checking.homework.problems import Problem, named
from jaxmlp.checking.homework.running import CHANGE, Ran
from jaxmlp.checking.homework.source import Source
from jaxmlp.checking.homework.understanding import Reading
from jaxmlp.checking.report import Diagnosis, Example, Row

ALSO = 3  # other mistakes that are named


class Tried(NamedTuple):
    """What a file gave on one problem."""

    problem: Problem
    ran: Ran
    wrong: tuple[str, ...]


def understood(reading: Reading) -> str:
    """In one line, how a file was read."""
    meaning, layout = reading.meaning, reading.layout
    names = " ".join(slot.place.name for slot in layout.slots.values())
    shape = "n_out × n_in" if layout.weights[0].flipped else "n_in × n_out"
    inputs = {
        "rows": "one example a row", "columns": "one example a column", "vector": "a single example"
    }[reading.form.inputs]  # fmt: skip
    of = "" if reading.n == 1 else "mean " if meaning.mean else "sum of "
    rate = f"{meaning.scale:.4g}"
    rate = "" if rate == "1" else f", a learning rate of {rate}"
    hidden = f"{meaning.network.hidden} hidden, " if len(layout.weights) > 1 else ""
    return (
        f"{reading.style.about}, weights {names} ({shape}), {inputs}, labels "
        f"{reading.form.labels}, {hidden}{meaning.network.output} output, {of}{meaning.loss.name}; "
        f"gradients: {reading.ran.by}, by {reading.goal}{rate}"
    )


def convention(reading: Reading, readings: Sequence[Reading]) -> list[Finding]:
    """A note where the gradients are a multiple of those of the file's own loss."""
    told = {(each.meaning.loss.name, each.meaning.mean) for each in readings if each.meaning.told}
    used = reading.meaning
    if not told or reading.n == 1 or (used.loss.name, used.mean) in told:
        return []
    name, mean = sorted(told)[0]
    says = (
        f"the file's own loss is the {'mean' if mean else 'sum of'} {name}, and its gradients are "
        f"those of the {'mean' if used.mean else 'sum of'} {used.loss.name}: a multiple"
    )
    return [Finding("another factor", says, fails=False)]


def of_penalty(source: Source, reading: Reading, penalty: Penalty) -> Diagnosis:
    """The mistake in the slope of a penalty, in the line of the first gradient that has it."""
    own = [_called(reading, name) for name in penalty.wrong]
    if penalty.at and penalty.at.name:
        own[0] = penalty.at.name
    names = tuple(f"∂C/∂{name} ({each})" for name, each in zip(penalty.wrong, own, strict=True))
    first = penalty.wrong[0]
    line = penalty.at.line if penalty.at else line_of_gradient(source, reading, first)
    where = f", at {source.where(line)}: {source.text(line)}" if line else ""
    return Diagnosis(names, (), "penalty", f"{penalty.says}{where}")


def worst(reading: Reading, shown: Tried) -> Finding:
    """The entry that is farthest off."""
    right = reading.meaning.expected(shown.problem)
    name = shown.wrong[0]
    received, expected = shown.ran.gradients[name], reading.meaning.scale * right[f"d{name}"]
    at = np.unravel_index(int(np.argmax(np.abs(received - expected))), expected.shape)
    place = f"[{', '.join(map(str, at))}]"
    called = _called(reading, name)
    says = f"{called}{place} is {received[at]:.6g} and should be {expected[at]:.6g}"
    return Finding("wrong numbers", says)


def _called(reading: Reading, name: str) -> str:
    """What the homework calls a gradient: by its own name, or as the change of a weight."""
    own = reading.ran.names[name]
    return f"the change of {own}" if reading.ran.by == CHANGE else own


def diagnosis_of(
    source: Source,
    reading: Reading,
    shown: Tried,
    wrong: Sequence[str],
    mistakes: Sequence[Mistake],
) -> Diagnosis:
    """The likeliest mistake, with the line of the file that makes it, and others that fit."""
    names = tuple(_called(reading, name) for name in wrong)
    if shown.ran.unsummed:
        name, shape = next(iter(shown.ran.unsummed.items()))
        line = line_of_gradient(source, reading, name)
        at = f", at {source.where(line)}: {source.text(line)}" if line else ""
        says = f"it has shape {shape}: the sum over the examples is left out{at}"
        return Diagnosis((f"∂C/∂{name} ({_called(reading, name)})",), (), "sum left out", says)
    if not mistakes:
        line = line_of_gradient(source, reading, wrong[-1])
        where = f", such as at {source.where(line)}: {source.text(line)}" if line else ""
        return Diagnosis(names, (), "unknown mistake", f"no known mistake explains it{where}")
    first = mistakes[0]
    symbol = symbol_of(first.line)
    name, line = place_of(source, reading, shown.problem, first)
    own = f" ({name})" if name else ""
    where = f", at {source.where(line)}: {source.text(line)}" if line else ""
    others = dict.fromkeys(
        f"{symbol_of(each.line)}: {each.kind}: {each.says}" for each in mistakes[1:]
    )
    return Diagnosis(
        (f"{symbol}{own}",), (), first.kind, f"{first.says}{where}", tuple(others)[:ALSO]
    )


def example_of(reading: Reading, shown: Tried, mistakes: Sequence[Mistake]) -> Example:
    """Every line with its right numbers, and the gradients as they were received."""
    problem = shown.problem
    lines = lines_of(problem, reading.meaning, shown.ran.gradients, mistakes)
    rows = (
        Row(symbol_of(line.name), None, "", line.expected, line.value, line.status, line.inferred)
        for line in lines
    )
    slots = reading.layout.slots
    params = {slots[name].place.name: array for name, array in named(problem.weights).items()}
    case = Case(params, {"X": problem.x, "y": problem.t}, "the numbers that were tried")
    return Example(case, None, tuple(rows))
