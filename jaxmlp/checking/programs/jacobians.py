"""The Jacobians of single operations."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from jaxmlp.checking.programs.interpreter import RULES, bound, called, evaluated, inside

KNOWN: dict[Any, tuple[ClosedJaxpr, Any]] = {}
MOST = 2_000  # programs that are kept


def jacobian_program(
    equation: Any, values: Sequence[Any], live: tuple[int, ...], plain: bool
) -> ClosedJaxpr:
    """What computes the Jacobians of an operation by some of its arguments."""
    name = equation.primitive.name
    shapes = tuple((np.shape(each), str(getattr(each, "dtype", ""))) for each in values)
    what = id(equation) if inside(equation) or name in ("while", "scan") else str(equation.params)
    key = name, what, shapes, live, plain
    if key in KNOWN:
        return KNOWN[key][0]

    def results(*values: Any) -> list[Any]:
        if name not in RULES:
            return bound(equation, list(values))
        if not plain:
            return called(equation, list(values))
        jaxpr, consts = inside(equation) or (None, None)
        assert jaxpr is not None
        return evaluated(jaxpr, consts, values, bound)

    def floating(*values: Any) -> list[Any]:
        return [
            each if jnp.issubdtype(jnp.result_type(each), jnp.floating) else jnp.zeros(each.shape)
            for each in results(*values)
        ]

    forward = name in ("while", "scan")
    jacobian = (jax.jacfwd if forward else jax.jacrev)(floating, argnums=live)
    with jax.enable_x64(True):
        program = jax.make_jaxpr(jacobian)(*values)
    if len(KNOWN) >= MOST:
        KNOWN.clear()
    KNOWN[key] = program, equation  # whose id stays its own as long as it is kept
    return program
