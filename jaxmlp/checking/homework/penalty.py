"""The penalty λ Σ W² on the weights: is its slope that of the file's own loss?

A reading is found with λ = 0. What the gradients and the loss change by with another λ is the
penalty's: a·λ Σ W² in the loss has the slope 2a·λ W.
"""

import ast
import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.homework.calling import Assigned, Assignments
from jaxmlp.checking.homework.names import STRENGTH, Role, is_penalty, roles_of
from jaxmlp.checking.homework.problems import CLOSE, alike, close, named
from jaxmlp.checking.homework.running import Ran
from jaxmlp.checking.homework.source import Source, nodes_of
from jaxmlp.checking.homework.understanding import Reading

LARGE = 0.7  # the λ that is tried
PLAIN = {1: "", -1: "−", 2: "2 ", -2: "−2 ", 0.5: "½ ", -0.5: "−½ "}
MULTIPLES = {True: "n times", False: "an n-th of"}
ALIKE = 3  # of what a penalty may be of, in which all weights are treated alike
FACTORS = (0.5, 1.0)  # a, or so many by the number of examples


class Penalty(NamedTuple):
    """What the slope of a penalty is.

    Attributes:
        says: what the file has, and what would be right.
        wrong: the gradients, by W1, b1 and so on, with another slope.
        at: where the first of these gets its value; None if that is not seen.
    """

    says: str
    wrong: tuple[str, ...] = ()
    at: Assigned | None = None


def penalty_of(source: Source, reading: Reading) -> Penalty | None:
    """What is to be said of a penalty; None if there is no coefficient."""
    if not _is_there(source):
        return None
    try:
        ran, assigned = _with(source, reading, LARGE)
    except Exception:  # whatever the file does with a coefficient
        return Penalty("its coefficient was 0 throughout: its slope is not checked")
    weights = named(reading.problem.weights)
    scale = LARGE * reading.meaning.scale
    slopes = {name: (ran.gradients[name] - reading.ran.gradients[name]) / scale for name in weights}
    by_loss, multiple = _by_loss(reading, ran)
    if not by_loss and not any(np.any(slope) for slope in slopes.values()):
        return Penalty("its coefficient changes neither the gradients nor the loss")
    found = by_loss or _common(slopes, weights)
    if found is None:
        return Penalty("its slope is another multiple of every weight, and no loss says which")
    factor, penalised = found
    right = {name: factor * array for name, array in penalised.items()}
    wrong = tuple(name for name in weights if not close(slopes[name], right[name]))
    by = "as the file's own loss has it" if by_loss else "as most weights have it"
    if not wrong:
        return Penalty(f"its slope is {_told(factor, 'W', reading)}, {by}")
    first = wrong[0]
    whole = penalised[first] if np.any(penalised[first]) else weights[first]
    received = _received(slopes[first], whole, first[0], reading)
    wanted = _told(factor, first[0], reading) if np.any(right[first]) else "0"
    if all(close(multiple * slopes[name], right[name]) for name in weights):
        by += f", for the gradients are {MULTIPLES[multiple > 1]} those of that loss without it"
    value = ran.gradients[first]
    at = next((each for each in assigned if alike(value, each.value)), None)
    says = f"the penalty's slope is {received}, and not {wanted}, {by}"
    return Penalty(says, wrong, at) if by_loss else Penalty(f"{says}; no loss says what is meant")


def _is_there(source: Source) -> bool:
    """Whether there is a coefficient of a penalty: an argument, an attribute or a global name."""
    arguments = [node.args for node in nodes_of(source.tree).values()]
    taken = [each.arg for a in arguments for each in (*a.args, *a.kwonlyargs)]
    assigned = [
        each.id if isinstance(each, ast.Name) else each.attr
        for each in ast.walk(source.tree)
        if isinstance(each, (ast.Name, ast.Attribute)) and isinstance(each.ctx, ast.Store)
    ]
    by_name = any(roles_of(name)[:1] == [Role.PENALTY] for name in taken)
    return by_name or any(map(is_penalty, assigned))


def _with(source: Source, reading: Reading, strength: float) -> tuple[Ran, list[Assigned]]:
    """What the file gives with a coefficient, and what its lines assign."""
    token = STRENGTH.set(strength)
    try:
        ran = reading.call(source, reading.problem)
        with Assignments(str(source.path)) as assigned:
            reading.call(source, reading.problem, losses=False)
        return ran, assigned
    finally:
        STRENGTH.reset(token)


def _by_loss(reading: Reading, ran: Ran) -> tuple[tuple[float, dict[str, Array]] | None, float]:
    """2a, and of what the penalty is, if a value of the file's loss tells; and a multiple.

    That is n where the gradients are those of a sum over n examples and the loss is a mean, and
    1 / n in the reverse.
    """
    problem, meaning = reading.problem, reading.meaning
    lines = meaning.expected(problem)
    n, value = len(problem.x), float(np.sum(meaning.loss.each(lines["p"], problem.t)))
    numbers = [each for each in ran.seen if isinstance(each, float)]
    kinds = [*_penalised(named(problem.weights))]
    for a, by, share, penalised in itertools.product(FACTORS, (1, n), (1, n), kinds):
        total = sum(float(np.sum(array**2)) for array in penalised.values())
        whole = value / share + a / by * LARGE * total
        if any(math.isclose(each, whole, rel_tol=CLOSE) for each in numbers):
            multiple = share if not meaning.mean else share / n
            return (2 * a / by * multiple, penalised), multiple
    return None, 1.0


def _penalised(weights: dict[str, Array]) -> Iterator[dict[str, Array]]:
    """What a penalty may be of: weights, also biases, no first row, an intercept, or one weight."""
    kinds = {name: name[0] == "W" for name in weights}
    yield {name: array * kinds[name] for name, array in weights.items()}
    yield weights
    row = {name: np.arange(len(array)) > 0 for name, array in weights.items()}
    yield {
        name: array * (row[name][:, None] if kinds[name] else False)
        for name, array in weights.items()
    }
    for one in (name for name in weights if kinds[name]):
        yield {name: array * (name == one) for name, array in weights.items()}


def _common(
    slopes: dict[str, Array], weights: dict[str, Array]
) -> tuple[float, dict[str, Array]] | None:
    """The multiple that most of the slopes are, and of what; None if there is none."""
    best: tuple[int, float, dict[str, Array]] | None = None
    for penalised in itertools.islice(_penalised(weights), ALIKE):
        found = [_multiple(slopes[name], array) for name, array in penalised.items()]
        known = [round(each, 9) for each in found if each]
        if known:
            factor = max(known, key=known.count)
            fits = sum(close(slopes[name], factor * penalised[name]) for name in weights)
            if best is None or fits > best[0]:
                best = fits, factor, penalised
    return best[1:] if best else None


def _multiple(slope: Array, weight: Array) -> float | None:
    """By what a weight is multiplied in a slope; None if by nothing."""
    factor = float(np.sum(slope * weight) / (np.sum(weight**2) or 1.0))
    return factor if close(slope, factor * weight) else None


def _told(factor: float, weight: str, reading: Reading) -> str:
    """A multiple of λ times a weight as people write it, with the number of examples n."""
    n = len(reading.problem.x)
    for times, before, after in ((1, "", ""), (n, "", " / n"), (1 / n, "n ", "")):
        for plain, number in PLAIN.items():
            if math.isclose(factor * times, plain, rel_tol=1e-6):
                return f"{number}{before}λ {weight}{after}"
    return f"{factor:.4g} λ {weight}"


def _received(slope: Array, weight: Array, letter: str, reading: Reading) -> str:
    """What the slope of a weight is."""
    factor = _multiple(slope, weight)
    if factor is None:
        return f"no multiple of {letter}"
    return "left out" if abs(factor) < CLOSE else _told(factor, letter, reading)
