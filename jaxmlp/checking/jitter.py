"""Rounding error of any JAX program, by randomly rounding every operation of it.

Where no derivation is at hand there is no running error analysis either. So the program is run
several times with every result, and every factor and term of a sum, off by a random relative
error of the size of a rounding. What its values then spread by is how well conditioned it is
(Monte Carlo arithmetic: Parker, Pierce and Eggert 2000).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, Literal

from jaxmlp.checking.oracles import as_float64
from jaxmlp.checking.reference import Array

SAMPLES = 16
SAFETY = 8.0  # between the largest spread seen and what is allowed
INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # where calls keep the program that they call
SUMS = {"dot_general", "conv_general_dilated", "reduce_sum", "cumsum", "reduce_prod", "cumprod"}
EXACT = {
    "broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "slice", "dynamic_slice",
    "concatenate", "pad", "rev", "select_n", "neg", "abs", "sign", "max", "min", "gather", "sort",
    "reduce_max", "reduce_min", "stop_gradient", "copy", "convert_element_type", "argmax", "argmin",
    "floor", "ceil", "round", "clamp", "split", "copy_p", "real", "imag", "iota",
}  # fmt: skip


def rounding_spread(function: Callable[..., Any], arguments: Any, unit: float) -> list[Array]:
    """The largest change of every leaf of `function(*arguments)` under roundings of size `unit`."""
    with jax.enable_x64(True):
        arguments = as_float64(arguments)
        closed = jax.make_jaxpr(function)(*arguments)
        flat = jax.tree.leaves(arguments)

        def sample(key: Any) -> list[Any]:
            return _run(closed.jaxpr, closed.consts, flat, _Noise(key, unit))

        exact = jax.jit(lambda: _run(closed.jaxpr, closed.consts, flat, _Noise(None, 0.0)))()
        rounded = jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(0), SAMPLES))
        return [
            np.abs(np.asarray(each) - np.asarray(value)[None]).max(axis=0)
            for each, value in zip(rounded, exact, strict=True)
        ]


class _Noise:
    """Rounds at random; every call draws anew."""

    def __init__(self, key: Any, unit: float) -> None:
        self.key, self.unit, self.calls = key, unit, 0

    def __call__(self, value: Any) -> Any:
        if self.key is None or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
            return value
        self.calls += 1
        key = jax.random.fold_in(self.key, self.calls)
        return value * (1 + self.unit * jax.random.uniform(key, jnp.shape(value), minval=-1))


def _run(jaxpr: Jaxpr, consts: Any, arguments: Any, noise: _Noise) -> list[Any]:
    """Evaluate a program, rounding as it goes."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))
    for equation in jaxpr.eqns:
        values = [v.val if isinstance(v, Literal) else known[v] for v in equation.invars]
        for variable, result in zip(equation.outvars, _step(equation, values, noise), strict=True):
            known[variable] = result
    return [v.val if isinstance(v, Literal) else known[v] for v in jaxpr.outvars]


def _step(equation: Any, values: list[Any], noise: _Noise) -> list[Any]:
    """One operation; calls and loops are followed inside."""
    name, params = equation.primitive.name, equation.params
    if name == "scan":
        return _scan(params, values, noise)
    inner = next((params[key] for key in INNER if key in params and name != "while"), None)
    if inner is not None:
        jaxpr, consts = (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, [])
        return _run(jaxpr, consts, values, noise)
    if name in SUMS:
        values = [noise(value) for value in values]
    results = equation.primitive.bind(*values, **params)
    results = results if equation.primitive.multiple_results else [results]
    return list(results) if name in EXACT else [noise(result) for result in results]


def _scan(params: Any, values: list[Any], noise: _Noise) -> list[Any]:
    """A loop, unrolled, so that every round has its own roundings."""
    constants, carries = params["num_consts"], params["num_carry"]
    fixed, carry = values[:constants], values[constants : constants + carries]
    slices, body = values[constants + carries :], params["jaxpr"]
    rounds = range(params["length"])
    outputs: list[list[Any]] = []
    for number in reversed(rounds) if params["reverse"] else rounds:
        given = [*fixed, *carry, *(each[number] for each in slices)]
        results = _run(body.jaxpr, body.consts, given, noise)
        carry = results[:carries]
        outputs.append(results[carries:])
    if params["reverse"]:
        outputs.reverse()
    return [*carry, *(jnp.stack(each) for each in zip(*outputs, strict=True))]
