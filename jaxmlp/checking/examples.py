"""A small case worked through: every line of it, expected and received."""

import jax
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.network.equations import Worked
from jaxmlp.checking.network.inference import Located, Observation, infer
from jaxmlp.checking.network.reference import Line
from jaxmlp.checking.report import Row
from jaxmlp.checking.trials import Trial


def leaf_rows(trial: Trial) -> tuple[Row, ...]:
    """The leaves of a gradient, or what they are along some directions."""
    rows = []
    for each, parameter in zip(trial.leaves, jax.tree.leaves(trial.case.params), strict=True):
        name = each.name + " along directions" * (each.expected.shape != np.shape(parameter))
        status = "right" if each.right else "wrong"
        rows.append(Row(name, None, "", each.expected, each.received, status))
    return tuple(rows)


def line_rows(
    observation: Observation, worked: Worked | None, located: Located | None
) -> tuple[Row, ...]:
    """Every line of the derivation, as received, or as it follows from what is known."""
    predicted, mistaken = _known(observation, worked, located)
    depth = observation.problem.depth
    rows = []
    for line, expected in observation.right.items():
        received = observation.received.get(line)
        inferred = received is None and predicted is not None
        if inferred and predicted:
            received = predicted.get(line)
        off = np.inf if received is None else np.abs(received - expected)
        if np.all(off <= observation.allowed[line]):
            status = "right"
        elif line in mistaken or not (mistaken or received is None):
            status = "wrong"
        else:
            status = "unknown" if received is None else "follows"
        formula, inferred = line.formula(observation.problem), inferred and received is not None
        about = line.name, line.equation(depth), formula
        rows.append(Row(*about, expected, received, status, inferred))
    return tuple(rows)


def _known(
    observation: Observation, worked: Worked | None, located: Located | None
) -> tuple[dict[Line, Array] | None, set[Line]]:
    """All lines as they must be, if that is known, and those that are wrong themselves."""
    if worked:
        return worked
    if located and located.places:
        freed = infer(observation, located.places)
        return freed.explained(located.lines) if freed else (None, set())
    if not located:
        return None, set()
    # in the forward pass, of which nothing was returned
    here = {*located.lines} & {*observation.right}
    alike = {line.symbol for line in located.lines}
    return None, here or {line for line in observation.right if line.symbol in alike}
