"""The steps of a loss: what it computes on its way, and how each depends on the parameters.

A wrong gradient whose mistake is in one step's derivative differs from the right one by Jᵀd, where
J is the Jacobian of that step in the parameters and d is what the derivative at the step is off by:
all that follows from there is linear in it. So a step can be to blame only if the error is in the
range of its Jᵀ; and the lower the rank of J, the more that says.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.programs.execution import Machine
from jaxmlp.checking.programs.interpreter import (
    RULES,
    Source,
    bound,
    called,
    evaluated,
    inside,
    is_of_a_library,
    source,
)
from jaxmlp.checking.reference import Array

LARGEST = 4_000_000  # entries of all Jacobians together
ROUNDED = 1e-14  # of the largest error, up to which any entry may be rounded
SLACK = 64.0  # a wrong gradient may be rounded worse than the right one


class Step(NamedTuple):
    """One operation of a loss.

    Attributes:
        source: the line of the user's file from which it comes.
        jacobian: of what it computes in all parameters, shape (size, parameters).
    """

    source: Source
    jacobian: Array


class _Watched:
    """Follows a program and keeps every value that depends on the parameters."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.sources: list[Source] = []
        self.caller: Source | None = None  # of a function of a library

    def __call__(self, program: Any, params: Sequence[Any], others: Sequence[Any]) -> None:
        consts = [(each, False) for each in program.consts]
        given = [(each, True) for each in params] + [(each, False) for each in others]
        evaluated(program.jaxpr, consts, given, self._step)

    def _step(self, equation: Any, given: list[Any]) -> list[Any]:
        given = [each if isinstance(each, tuple) else (each, False) for each in given]
        values, live = [each[0] for each in given], any(each[1] for each in given)
        name = equation.primitive.name
        if (inner := inside(equation)) and name not in RULES:
            before = self.caller
            if before is None and is_of_a_library(equation):
                self.caller = source(equation)
            consts = [(each, False) for each in inner[1]]
            found = evaluated(inner[0], consts, given, self._step)
            self.caller = before
            return found
        results = called(equation, values) if name in RULES else bound(equation, values)
        live = live and name != "stop_gradient"
        for result in results if live else ():
            if jnp.issubdtype(jnp.result_type(result), jnp.floating):
                self.values.append(result)
                self.sources.append(self.caller or source(equation))
        return [(result, live) for result in results]


def steps_of(loss: Callable[..., Any], params: Any, batch: Any) -> list[Step]:
    """Every step of a loss that depends on the parameters, in the order of computation.

    Raises:
        ValueError: if the Jacobians would be too large.
    """
    with jax.enable_x64(True):
        program = jax.make_jaxpr(loss)(params, batch)
        leaves = jax.tree.leaves(params)
        others = jax.tree.leaves(batch)
        watched = [_Watched()]

        def values(*leaves: Any) -> list[Any]:
            watched[0] = _Watched()
            watched[0](program, leaves, others)
            return watched[0].values

        shapes = jax.eval_shape(values, *leaves)
        count = sum(np.size(leaf) for leaf in leaves)
        if count * sum(int(np.prod(each.shape)) for each in shapes) > LARGEST:
            raise ValueError("the Jacobians of all steps are too large: give a smaller case")
        jacobian = jax.jacfwd(values, argnums=tuple(range(len(leaves))))
        found = Machine()(jax.make_jaxpr(jacobian)(*leaves), *leaves)
    steps, each = [], len(leaves)
    for place, where in enumerate(watched[0].sources):
        parts = found[place * each : (place + 1) * each]
        size = max(1, int(np.prod(shapes[place].shape)))
        rows = np.concatenate([np.reshape(part, (size, -1)) for part in parts], axis=1)
        steps.append(Step(where, rows))
    return steps


def blamed(steps: Sequence[Step], error: Array, allowed: Array) -> dict[int, int]:
    """The steps in whose derivative a mistake could explain the error of a gradient.

    Args:
        steps: of the loss at a case.
        error: received minus right, all parameters in a row.
        allowed: how far rounding may put each entry.

    Returns:
        For the place of each, in the order of computation, how many numbers of the gradient the
        step can change, which are not all.
    """
    found = {}
    allowed = np.maximum(allowed, ROUNDED * np.abs(error).max(initial=0))
    for place, step in enumerate(steps):
        scaled = step.jacobian.T / allowed[:, None]
        shift, _, rank, _ = np.linalg.lstsq(scaled, error / allowed, rcond=1e-12)
        left = np.abs(step.jacobian.T @ shift - error)
        if np.all(left <= SLACK * allowed) and rank < len(error):
            found[place] = int(rank)
    return found


def wrong_lines(
    loss: Callable[..., Any], errors: Sequence[tuple[Any, Any, Array, Array]]
) -> list[Source]:
    """The lines of a loss of which one holds a step whose wrong derivative explains all errors.

    Args:
        loss: of (params, batch).
        errors: for each case its parameters and batch in float64, and what `blamed` takes.

    Returns:
        Those that could change the fewest numbers of the gradient; none if no step explains all.
    """
    common: dict[int, int] | None = None
    steps: list[Step] = []
    for params, batch, error, allowed in errors:
        steps = steps_of(loss, params, batch)
        found = blamed(steps, error, allowed)
        common = found if common is None else {k: r for k, r in found.items() if k in common}
    least = min((common or {}).values(), default=0)
    lines = (steps[place].source for place, rank in (common or {}).items() if rank == least)
    return list(dict.fromkeys(line for line in lines if line.file))
