"""Checking homework as it is written: is it right, and if not, which line of the file is wrong?"""

import contextlib
import itertools
import re
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmlp.checking.calls import Finding
from jaxmlp.checking.homework.diagnosis import (
    Tried,
    convention,
    diagnosis_of,
    example_of,
    of_penalty,
    understood,
    worst,
)
from jaxmlp.checking.homework.mistakes import Mistake, explained
from jaxmlp.checking.homework.names import UPDATE, goals
from jaxmlp.checking.homework.penalty import penalty_of
from jaxmlp.checking.homework.problems import (
    MANY,
    Problem,
    close,
    differing,
    drawn,
    of_whole_numbers,
)
from jaxmlp.checking.homework.running import CHANGE, penalties_kept, run, started
from jaxmlp.checking.homework.source import (
    Definitions,
    Source,
    define,
    nodes_of,
    quiet,
    read,
    source_of,
)
from jaxmlp.checking.homework.understanding import ANY, Choice, Reading, understand
from jaxmlp.checking.report import Report

SEEDS = range(2, 6)  # of the problems on which a reading is tried
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
    with quiet():
        start = time.perf_counter()
        source = read(path)
        return _examined(source, define(source), choice, start)


def examine_class(cls: type) -> Report:
    """Check what a class computes that somebody has defined, in a file or in a notebook.

    Raises:
        ValueError: if its code is not at hand, or not understood, with the reason.
    """
    with quiet(), penalties_kept(cls):
        start = time.perf_counter()
        source, found = source_of(cls)
        return _examined(source, found, Choice(style=f"class {cls.__name__}"), start).report


def _examined(source: Source, found: Definitions, choice: Choice, start: float) -> Understood:
    path = source.title or source.path
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
    findings += convention(reading, readings)
    findings += [Finding("left out", each, fails=False) for each in found.skipped[:2]]
    diagnosis = example = None
    if penalty := penalty_of(source, reading):
        findings.append(Finding("penalty", penalty.says, bool(penalty.wrong)))
        if penalty.wrong and not wrong:
            diagnosis = of_penalty(source, reading, penalty)
    if wrong:
        shown = next(each for each in tried if each.wrong)
        findings.insert(0, worst(reading, shown))
        diagnosis = diagnosis_of(source, reading, shown, wrong, mistakes)
        example = example_of(reading, *_smallest(source, reading, shown, mistakes))
    elif name := _ascending(source, reading):
        says = f"{name} moves the weights up the loss: the sign of its step is wrong"
        findings.insert(0, Finding("update", says))
    report = Report(
        source.name, tuple(findings), diagnosis, example, len(tried), len(tried), ("float64",), {},
        time.perf_counter() - start,
    )  # fmt: skip
    return Understood(source, reading, report, text)


def _ascending(source: Source, reading: Reading) -> str:
    """The first function that moves all weights up the right gradients; empty if none does."""
    given = reading.style, reading.layout, reading.form
    right = reading.meaning.expected(reading.problem)
    _, caller = started(*given, reading.sizes, reading.problem)
    for name in caller.functions:
        if name != reading.goal and re.search(UPDATE, name, re.I):
            with contextlib.suppress(Exception):  # not every one is such a function
                ran = run(source, *given, name, reading.sizes, reading.problem)
                slopes = [(array, right[f"d{key}"]) for key, array in ran.gradients.items()]
                rates = [np.vdot(moved, slope) / np.vdot(slope, slope) for moved, slope in slopes]
                pairs = zip(slopes, rates, strict=True)
                if ran.by == CHANGE and all(r < 0 and close(m, r * s) for (m, s), r in pairs):
                    return name
    return ""


def _why(source: Source, found: Definitions) -> str:
    """Why a file has no reading, and what to do."""
    names = [name.rpartition(".")[2] for name in nodes_of(source.tree)]
    path = shlex.quote(str(source.path))
    start = "" if source.title else f"; or let jaxmlp check --init {path} write a template for it"
    if not goals(names):
        return (
            "no function in it is called backward, gradients, train or the like: put the forward "
            f"and the backward pass into functions, or into a class{start}"
        )
    skipped = "".join(f"; {each}" for each in found.skipped[:2])
    return (
        "no function gives gradients of a network whose activations and loss are known here"
        f"{skipped}{start}"
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
    ran = reading.call(source, problem, sizes)
    right, scale = reading.meaning.expected(problem), reading.meaning.scale
    return Tried(problem, ran, differing(ran.gradients, right, scale))


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
