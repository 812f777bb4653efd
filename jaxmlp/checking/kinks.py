"""A loss in which what bends at 0 has the slope 0 there.

`jax.grad` gives |x| the slope 1 at 0, and either side of `maximum(x, 0)` a half. By hand, people
write sign(x) and 1[x > 0], which are as right. And with a half beside sign(x), kinks that cancel
leave the derivative, as in max(z, 0) − z y + log(1 + exp(−|z|)), where `jax.grad` has none.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

from jaxmlp.checking.jitter import evaluated, inside

BENDING = ("abs", "max", "min")
CONVENTIONS = (BENDING, BENDING[:1])  # those that are flat
OWN_RULES = ("custom_jvp_call", "custom_vjp_call")  # that say what their slope is, as `relu` does


def bends(program: Any) -> bool:
    """Whether a program has an operation with a kink at 0."""
    text = str(program)
    return any(f"= {name} " in text for name in BENDING)


def with_zero_slopes(function: Callable[..., Any], flat: Sequence[str]) -> Callable[..., Any]:
    """A function of the same values, outside of whose loops these operations are flat at 0."""
    step = functools.partial(_step, flat=flat)

    def changed(*arguments: Any) -> Any:
        program, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        leaves = jax.tree.leaves(arguments)
        results = evaluated(program.jaxpr, program.consts, leaves, step)
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return changed


def _step(equation: Any, values: list[Any], flat: Sequence[str]) -> list[Any]:
    """One operation; calls are followed inside."""
    primitive = equation.primitive
    if inner := inside(equation):
        if primitive.name in OWN_RULES:
            return _alone(equation, values, inner[0])
        return evaluated(*inner, values, functools.partial(_step, flat=flat))
    results = primitive.bind(*values, **equation.params)
    if primitive.multiple_results:
        return list(results)
    if primitive.name not in flat or not jnp.issubdtype(results.dtype, jnp.floating):
        return [results]
    kink = jnp.all(jnp.stack([jnp.broadcast_to(each == 0, results.shape) for each in values]), 0)
    return [jnp.where(kink, 0, results)]


def _alone(equation: Any, values: list[Any], inner: Jaxpr) -> list[Any]:
    """A call as JAX does it, with its own rule for its derivative."""
    given = {
        variable: value
        for variable, value in zip(equation.invars, values, strict=True)
        if not isinstance(variable, Literal)
    }
    program = inner.replace(
        constvars=(), invars=list(given), outvars=equation.outvars, eqns=[equation]
    )
    return jaxpr_as_fun(ClosedJaxpr(program, ()))(*given.values())
