"""What a submission's gradients are worth, beside the right ones."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.grading.grades import Ended
from jaxmlp.checking.grading.rubric import Rubric
from jaxmlp.checking.homework.lines import lines_of, symbol_of
from jaxmlp.checking.homework.mistakes import Mistake, explained
from jaxmlp.checking.homework.problems import Problem, differing, named
from jaxmlp.checking.homework.reference import HIDDEN, LOSSES, OUTPUTS, Network
from jaxmlp.checking.homework.understanding import Meaning

SCALES = (1e-6, 1e6)  # of gradients, as the change of weights by an unknown learning rate
MOST = 64  # units of a layer, and examples, of a submission

Sizes = tuple[list[int], list[bool], int]


class Verdict(NamedTuple):
    """What gradients are worth.

    Attributes:
        wrong: the names of those that are wrong.
        mistakes: which explain them.
        lines: the status of every line.
    """

    wrong: tuple[str, ...]
    mistakes: list[Mistake]
    lines: dict[str, str]


def meaning_of(said: Mapping[str, Any]) -> tuple[Meaning, Sizes]:
    """What a submission claims to compute, in our own words."""
    network = Network(*map(str, said["network"]))
    loss = next(each for each in LOSSES if each.name == said["loss"])
    if network.hidden not in HIDDEN or network.output not in OUTPUTS:
        raise ValueError("an unknown activation")
    scale = float(said["scale"])
    if not SCALES[0] <= scale <= SCALES[1]:
        raise ValueError("its gradients have no size")
    sizes, biased = [int(each) for each in said["sizes"]], [bool(each) for each in said["biased"]]
    n = int(said["n"])
    if not all(1 <= each <= MOST for each in (*sizes, n)) or len(biased) != len(sizes) - 1:
        raise ValueError("layers of no size")
    return Meaning(network, loss, bool(said["mean"]), scale, (), False), (sizes, biased, n)


def unlike(rubric: Rubric, meaning: Meaning, shape: Sizes) -> str:
    """What is not as the assignment has it; empty if everything is."""
    mean = meaning.mean if shape[2] > 1 else None  # of one example both are the same
    for name, asked, found in (
        ("loss", rubric.loss, meaning.loss.name),
        ("hidden activation", rubric.hidden, meaning.network.hidden),
        ("output", rubric.output, meaning.network.output),
        ("number of layers", rubric.layers, len(shape[0]) - 1),
    ):
        if asked is not None and asked != found:
            return f"its {name} is {found}, and the assignment asks for {asked}"
    if rubric.mean is not None and mean is not None and rubric.mean != mean:
        found, asked = ("mean", "sum")[:: 1 if mean else -1]
        return f"it takes the {found} over the examples, and the assignment asks for the {asked}"
    return ""


def judged(problems: Sequence[Problem], meaning: Meaning, given: Any) -> Verdict:
    """The gradients that a submission gave, beside the right ones.

    Raises:
        Ended: if they are none.
    """
    if not isinstance(given, list) or len(given) != len(problems):
        raise Ended("refused", "its process gives no gradients")
    received = [_arrays(some, problem) for problem, some in zip(problems, given, strict=True)]
    for problem, gradients in zip(problems, received, strict=True):
        wrong = differing(gradients, meaning.expected(problem), meaning.scale)
        if wrong:
            with np.errstate(all="ignore"):
                mistakes = explained(problem, meaning, gradients)
            return Verdict(wrong, mistakes, _statuses(problem, meaning, gradients, mistakes))
    lines = (name for name in meaning.expected(problems[0]) if name.startswith("d"))
    return Verdict((), [], dict.fromkeys(lines, "right"))


def _statuses(
    problem: Problem, meaning: Meaning, gradients: Mapping[str, Array], mistakes: Sequence[Mistake]
) -> dict[str, str]:
    """Of every line of the backward pass."""
    lines = lines_of(problem, meaning, gradients, mistakes)
    return {line.name: line.status for line in lines if line.name.startswith("d")}


def _arrays(some: Any, problem: Problem) -> dict[str, Array]:
    """Gradients as arrays of the right shapes."""
    like = named(problem.weights)
    if not isinstance(some, dict) or {*some} != {*like}:
        raise Ended("crashed", "it gives no gradients on other numbers of the same shapes")
    try:
        found = {name: np.asarray(some[name], float) for name in like}
    except (TypeError, ValueError):
        raise Ended("refused", "its gradients are no numbers") from None
    for name, array in found.items():
        if array.shape != like[name].shape:
            raise Ended("refused", f"its gradient by {name} has shape {array.shape}")
    return {name: np.nan_to_num(array, nan=np.inf) for name, array in found.items()}


def feedback(verdict: Verdict, diagnosis: str) -> str:
    """A sentence that says what to change; where in the file is what its own process says."""
    if not verdict.wrong:
        says = "every gradient is right, on numbers that it had not seen"
        return f"{says}; not graded: {diagnosis}" if diagnosis else says  # such as of a penalty
    if not verdict.mistakes:
        lines = ", ".join(f"∂C/∂{name}" for name in verdict.wrong)
        return f"{lines}: wrong, by no known mistake{f'; {diagnosis}' if diagnosis else ''}"
    first = verdict.mistakes[0]
    same = diagnosis if first.kind in diagnosis else ""
    return same or f"{symbol_of(first.line)}: {first.kind}: {first.says}"
