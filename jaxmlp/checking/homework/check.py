"""Checking homework as it is written: is it right, and if not, which line of the file is wrong?"""

import contextlib
import io
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmlp.checking.calls import Finding
from jaxmlp.checking.cases import Case
from jaxmlp.checking.homework.lines import lines_of, symbol_of
from jaxmlp.checking.homework.mistakes import Mistake, explained
from jaxmlp.checking.homework.names import goals
from jaxmlp.checking.homework.penalty import Penalty, penalty_of
from jaxmlp.checking.homework.places import line_of_gradient, place_of
from jaxmlp.checking.homework.problems import (
    MANY,
    Problem,
    differing,
    drawn,
    named,
    of_whole_numbers,
)
from jaxmlp.checking.homework.running import CHANGE, Ran, run
from jaxmlp.checking.homework.source import Definitions, Source, define, nodes_of, read
from jaxmlp.checking.homework.understanding import ANY, Choice, Reading, understand
from jaxmlp.checking.report import Diagnosis, Example, Report, Row

SEEDS = range(2, 6)  # of the problems on which a reading is tried
ALSO = 3  # other mistakes that are named
DRAWS = 3  # of small whole numbers for a network
LIKELY = 12  # readings of which the mistakes are looked for


class Understood(NamedTuple):
    """What a file is understood as, and the report on it.

    Attributes:
        source: the file.
        reading: the way to call it.
        report: what is right and wrong.
        text: the reading in one line.
    """

    source: Source
    reading: Reading
    report: Report
    text: str


class Tried(NamedTuple):
    """What a file gave on one problem."""

    problem: Problem
    ran: Ran
    wrong: tuple[str, ...]


def examine_homework(path: Path, choice: Choice = ANY) -> Report:
    """Check what a file computes against the derivative of the loss that it means.

    Args:
        path: a .py file or a notebook with a network of NumPy.
        choice: what it is said to mean.

    Raises:
        ValueError: if it cannot be read, or is not understood, with the reason.
    """
    return examined(path, choice).report


def examined(path: Path, choice: Choice = ANY) -> Understood:
    """The same, with the way in which the file was called."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return _examined(path, choice)


def _examined(path: Path, choice: Choice) -> Understood:
    start = time.perf_counter()
    source = read(path)
    found = define(source)
    readings = understand(source, found, choice)
    if not readings and (others := understand(source, found)):
        raise ValueError(
            f"{path} is not what was asked for: it is understood as: {understood(others[0])}"
        )
    if not readings:
        raise ValueError(f"{path} is not understood: {_why(source, found)}")
    reading, tried, mistakes = _best(source, readings)
    wrong = tuple(dict.fromkeys(name for each in tried for name in each.wrong))
    text = understood(reading)
    findings = [Finding("understood as", text, fails=False)]
    findings += _convention(reading, readings)
    findings += [Finding("left out", each, fails=False) for each in found.skipped[:2]]
    diagnosis = example = None
    if penalty := penalty_of(source, reading):
        findings.append(Finding("penalty", penalty.says, bool(penalty.wrong)))
        if penalty.wrong and not wrong:
            diagnosis = _of_penalty(source, reading, penalty)
    if wrong:
        shown = next(each for each in tried if each.wrong)
        findings.insert(0, _worst(reading, shown))
        diagnosis = _diagnosis(source, reading, shown, wrong, mistakes)
        example = _example(reading, *_smallest(source, reading, shown, mistakes))
    report = Report(
        path.name, tuple(findings), diagnosis, example, len(tried), len(tried), ("float64",), {},
        time.perf_counter() - start,
    )  # fmt: skip
    return Understood(source, reading, report, text)


def _why(source: Source, found: Definitions) -> str:
    """Why a file has no reading, and what to do."""
    names = [name.rpartition(".")[2] for name in nodes_of(source.tree)]
    if not goals(names):
        return (
            "no function in it is called backward, gradients, train or the like: put the forward "
            "and the backward pass into functions, or into a class"
        )
    skipped = "".join(f"; {each}" for each in found.skipped[:2])
    return (
        "no function gives gradients of a network whose activations and loss are known here"
        f"{skipped}; write manual_grad(params, batch), as in README"
    )


def _best(
    source: Source, readings: Sequence[Reading]
) -> tuple[Reading, list[Tried], list[Mistake]]:
    """The likeliest reading; where something is wrong, rather one that a mistake explains."""
    every = []
    for reading in readings[: LIKELY if readings[0].meaning.wrong else 1]:
        tried = _tried(source, reading)
        every.append(tried)
        shown = next((each for each in tried if each.wrong), None)
        if shown and (mistakes := _mistakes(reading, shown)):
            return reading, tried, mistakes
    return readings[0], every[0], []


def _mistakes(reading: Reading, shown: Tried) -> list[Mistake]:
    return explained(shown.problem, reading.meaning, shown.ran.gradients)


def _tried(source: Source, reading: Reading) -> list[Tried]:
    """The reading on more problems, with other numbers of examples where there may be several."""
    found = [Tried(reading.problem, reading.ran, reading.meaning.wrong)]
    sizes, biased = reading.layout.sizes, reading.layout.biased
    for seed in SEEDS:
        n = reading.n + seed % 3 if reading.n == MANY else reading.n
        # it takes other numbers of examples, perhaps, but not this one
        with contextlib.suppress(Exception):
            found.append(_on(source, reading, reading.sizes, drawn(sizes, biased, n, seed)))
    return found


def _on(source: Source, reading: Reading, sizes: Sequence[int], problem: Problem) -> Tried:
    """The reading on a problem, with a network of some sizes."""
    ran = on(source, reading, sizes, problem)
    right, scale = reading.meaning.expected(problem), reading.meaning.scale
    return Tried(problem, ran, differing(ran.gradients, right, scale))


def on(source: Source, reading: Reading, sizes: Sequence[int], problem: Problem) -> Ran:
    """What the file gives on a problem, with a network of some sizes."""
    return run(source, reading.style, reading.layout, reading.form, reading.goal, sizes, problem)


def _smallest(
    source: Source, reading: Reading, shown: Tried, mistakes: Sequence[Mistake]
) -> tuple[Tried, Sequence[Mistake]]:
    """The fewest whole numbers on which the same mistake shows, if there are such."""
    own = reading.layout.sizes
    small = [(*(min(size, 2) for size in own[:-1]), n_out) for n_out in (min(own[-1], 2), own[-1])]
    told = [(each.line, each.kind, each.says) for each in mistakes[:1]]
    for sizes, n, seed in itertools.product(dict.fromkeys((*small, own)), (1, 2), range(DRAWS)):
        problem = of_whole_numbers(sizes, reading.layout.biased, n, seed)
        with contextlib.suppress(Exception):  # not every network has any size
            tried = _on(source, reading, sizes, problem)
            same = [m for m in _mistakes(reading, tried) if (m.line, m.kind, m.says) in told]
            lines = reading.meaning.expected(problem)
            kinks = any(np.any(lines[name] == 0) for name in lines if name[0] == "z")
            if tried.wrong and not kinks and len(same) == len(told):
                return tried, same
    return shown, mistakes


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


def _convention(reading: Reading, readings: Sequence[Reading]) -> list[Finding]:
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


def _of_penalty(source: Source, reading: Reading, penalty: Penalty) -> Diagnosis:
    """The mistake in the slope of a penalty, in the line of the first gradient that has it."""
    own = [_called(reading, name) for name in penalty.wrong]
    if penalty.at and penalty.at.name:
        own[0] = penalty.at.name
    names = tuple(f"∂C/∂{name} ({each})" for name, each in zip(penalty.wrong, own, strict=True))
    first = penalty.wrong[0]
    line = penalty.at.line if penalty.at else line_of_gradient(source, reading, first)
    where = f", at {source.where(line)}: {source.text(line)}" if line else ""
    return Diagnosis(names, (), "penalty", f"{penalty.says}{where}")


def _worst(reading: Reading, shown: Tried) -> Finding:
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


def _diagnosis(
    source: Source,
    reading: Reading,
    shown: Tried,
    wrong: Sequence[str],
    mistakes: Sequence[Mistake],
) -> Diagnosis:
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


def _example(reading: Reading, shown: Tried, mistakes: Sequence[Mistake]) -> Example:
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
