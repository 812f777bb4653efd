"""The penalty λ Σ W² on the weights: is its slope that of the file's own loss?

A reading is found with λ = 0. What the gradients and the loss change by with another λ is the
penalty's: a·λ Σ W² in the loss has the slope 2a·λ W.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.homework.calling import Assigned, Assignments
from jaxmlp.checking.homework.names import STRENGTH, Role, roles_of
from jaxmlp.checking.homework.problems import CLOSE, alike, close, named
from jaxmlp.checking.homework.running import Ran, run
from jaxmlp.checking.homework.source import Source, nodes_of
from jaxmlp.checking.homework.understanding import Reading

LARGE = 0.7  # the λ that is tried
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
    """What is to be said of a penalty; None if no function takes its coefficient."""
    if not _is_taken(source):
        return None
    try:
        ran, assigned = _with(source, reading, LARGE)
    except Exception:  # whatever the file does with a coefficient
        return Penalty("its coefficient was 0 throughout: its slope is not checked")
    weights = named(reading.problem.weights)
    scale = LARGE * reading.meaning.scale
    slopes = {name: (ran.gradients[name] - reading.ran.gradients[name]) / scale for name in weights}
    kinds = [[name for name in weights if name[0] == letter] for letter in "Wb"]
    by_loss = _by_loss(reading, ran)
    factor, biased = by_loss or (_common(slopes, weights, kinds[0]), None)
    if not np.any([np.any(slope) for slope in slopes.values()]) and not by_loss:
        return Penalty("its coefficient changes neither the gradients nor the loss")
    if factor is None:
        return Penalty("its slope is a different multiple of every weight, and no loss says which")
    if biased is None:
        biased = any(np.any(slopes[name]) for name in kinds[1])
    right = {name: factor * weights[name] * (name[0] == "W" or biased) for name in weights}
    wrong = tuple(name for name in weights if not close(slopes[name], right[name]))
    by = "as the file's own loss has it" if by_loss else "as most weights have it"
    if not wrong:
        return Penalty(f"its slope is {_told(factor, 'W', reading)}, {by}")
    says = f"the penalty's slope is {_received(slopes, weights, wrong[0], reading)}"
    some = np.any(right[wrong[0]])
    wanted = _told(factor, wrong[0][0], reading) if some else "0"
    value = ran.gradients[wrong[0]]
    at = next((each for each in assigned if alike(value, each.value)), None)
    return Penalty(f"{says}, and not {wanted}, {by}", wrong, at)


def _is_taken(source: Source) -> bool:
    """Whether some function takes the coefficient of a penalty on the weights."""
    arguments = [node.args for node in nodes_of(source.tree).values()]
    taken = [each.arg for a in arguments for each in (*a.args, *a.kwonlyargs)]
    return any(roles_of(name)[:1] == [Role.PENALTY] for name in taken)


def _with(source: Source, reading: Reading, strength: float) -> tuple[Ran, list[Assigned]]:
    """What the file gives with a coefficient, and what its lines assign."""
    token = STRENGTH.set(strength)
    try:
        given = reading.style, reading.layout, reading.form, reading.goal, reading.sizes
        ran = run(source, *given, reading.problem)
        with Assignments(str(source.path)) as assigned:
            run(source, *given, reading.problem, losses=False)
        return ran, assigned
    finally:
        STRENGTH.reset(token)


def _by_loss(reading: Reading, ran: Ran) -> tuple[float, bool] | None:
    """2a, and whether biases are penalised, if a value of the file's loss tells."""
    problem, meaning = reading.problem, reading.meaning
    lines = meaning.expected(problem)
    n, value = len(problem.x), float(np.sum(meaning.loss.each(lines["p"], problem.t)))
    sums = {False: 0.0, True: 0.0}
    for name, array in named(problem.weights).items():
        square = float(np.sum(array**2))
        sums = {biased: total + square * (biased or name[0] == "W")
                for biased, total in sums.items()}  # fmt: skip
    numbers = [each for each in ran.seen if isinstance(each, float)]
    for a, by, share, (biased, total) in itertools.product(FACTORS, (1, n), (1, n), sums.items()):
        whole = value / share + a / by * LARGE * total
        if any(math.isclose(each, whole, rel_tol=CLOSE) for each in numbers):
            # where the gradients are those of a sum and the loss is a mean, or the reverse
            multiple = share if not meaning.mean else share / n
            return 2 * a / by * multiple, biased
    return None


def _common(slopes: dict[str, Array], weights: dict[str, Array], names: list[str]) -> float | None:
    """The multiple of the weights that most of their slopes are; None if there is none."""
    found = [_multiple(slopes[name], weights[name]) for name in names]
    known = [round(each, 9) for each in found if each]
    return max(known, key=known.count) if known else None


def _multiple(slope: Array, weight: Array) -> float | None:
    """By what a weight is multiplied in a slope; None if by nothing."""
    factor = float(np.sum(slope * weight) / (np.sum(weight**2) or 1.0))
    return factor if close(slope, factor * weight) else None


def _told(factor: float, weight: str, reading: Reading) -> str:
    """A multiple of λ times a weight as people write it, with the number of examples n."""
    n = len(reading.problem.x)
    for times, before, after in ((1, "", ""), (n, "", " / n"), (1 / n, "n ", "")):
        if math.isclose(factor * times, round(2 * factor * times) / 2, rel_tol=1e-6):
            number = f"{factor * times:g} "
            number = {"1 ": "", "-1 ": "−"}.get(number, number)
            return f"{number}{before}λ {weight}{after}"
    return f"{factor:.4g} λ {weight}"


def _received(
    slopes: dict[str, Array], weights: dict[str, Array], name: str, reading: Reading
) -> str:
    """What the slope of a weight is."""
    factor = _multiple(slopes[name], weights[name])
    if factor is None:
        return f"no multiple of {name[0]}"
    return "left out" if abs(factor) < CLOSE else _told(factor, name[0], reading)
