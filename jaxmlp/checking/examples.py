"""A small case worked through: every line of it, expected and received."""

from typing import Any

import numpy as np

from jaxmlp.checking.diagnosis.equations import Worked
from jaxmlp.checking.locating import Located, infer
from jaxmlp.checking.models import Network
from jaxmlp.checking.report import Example, Row
from jaxmlp.checking.trials import Trial


def work_through(
    model: Any, trial: Trial, worked: Worked | None = None, located: Located | None = None
) -> Example:
    """Every line of a small case, expected and received, or inferred from what is known."""
    if not isinstance(model, Network):
        rows = tuple(
            Row(
                leaf.name,
                None,
                "",
                leaf.expected,
                leaf.received,
                "right" if leaf.right else "wrong",
            )
            for leaf in trial.leaves
        )
        return Example(trial.case, None, rows)
    observation = model.observe(trial)
    depth = observation.problem.depth
    predicted, mistaken = None, set()
    if worked:
        predicted, mistaken = worked
    elif located and located.places and (freed := infer(observation, located.places)):
        predicted, mistaken = freed.explained(located.lines)
    elif located:  # in the forward pass, of which nothing was returned
        here = {*located.lines} & {*observation.right}
        alike = {line.symbol for line in located.lines}
        mistaken = here or {line for line in observation.right if line.symbol in alike}
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
        formula = line.formula(observation.problem)
        rows.append(
            Row(
                line.name,
                line.equation(depth),
                formula,
                expected,
                received,
                status,
                inferred and received is not None,
            )
        )
    return Example(trial.case, model.activation, tuple(rows))
