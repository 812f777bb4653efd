"""Rounding error of any JAX program, by randomly rounding every operation of it.

Where no derivation is at hand there is no running error analysis either. So the program is run
several times with every result, every factor and term of a sum, and every matrix that is
factorized, off by a random relative error of the size of a rounding. What its values then spread
by is how well conditioned it is (Monte Carlo arithmetic: Parker, Pierce and Eggert 2000).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, Literal

from jaxmlp.checking.oracles import as_float64
from jaxmlp.checking.reference import Array

Step = Callable[[Any, list[Any]], list[Any]]
Round = Callable[[Any, list[Any]], tuple[list[Any], Any]]
SAMPLES = 16
SCALED = 2.0**-43  # large enough for float64 to be exact beside it
# Between the largest spread seen and what is allowed: a gradient that is organised in another way
# may well lose ten times as much as `jax.grad`, as the forward and backward passes of a hidden
# Markov model do that work with logarithms of probabilities.
SAFETY = 64.0
POOL = np.random.default_rng(0).uniform(-1, 1, (SAMPLES, 4096))  # drawing inside would be slow
STRIDE = 977  # from where one operation reads its random numbers to where the next one does
TURN = 331  # from where one round of a loop does to where the next one does
CALLS = {
    "jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2", "custom_jvp_call",
    "custom_vjp_call", "custom_vjp_call_jaxpr",
}  # fmt: skip
INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # where they keep the program that they call
SUMS = {
    "dot_general", "conv_general_dilated", "reduce_sum", "cumsum", "reduce_prod", "cumprod",
    "lu", "cholesky", "triangular_solve", "eigh", "eig", "svd", "geqrf", "custom_linear_solve",
}  # fmt: skip
PLAIN = {"add", "sub", "mul", "dot_general", "reduce_sum", "add_any", "integer_pow", "cumsum"}
EXACT = {
    "broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "slice", "dynamic_slice",
    "concatenate", "pad", "rev", "select_n", "neg", "abs", "sign", "max", "min", "gather", "sort",
    "reduce_max", "reduce_min", "stop_gradient", "copy", "convert_element_type", "argmax", "argmin",
    "floor", "ceil", "round", "clamp", "split", "copy_p", "real", "imag", "iota",
}  # fmt: skip


def rounding_spread(function: Callable[..., Any], arguments: Any, unit: float) -> list[Array]:
    """The largest change of every leaf of `function(*arguments)` under roundings of size `unit`.

    Roundings of float64's own size would themselves be rounded. So larger ones are tried too,
    and their effect scaled down; but only the small ones say what flips at a kink nearby.
    """
    with jax.enable_x64(True):
        arguments = as_float64(arguments)
        enough = max(unit, SCALED)
        near, far = (_spread(function)(POOL, size, arguments) for size in (unit, enough))
        pairs = zip(near, far, strict=True)
        return [np.asarray(np.maximum(one, other * unit / enough)) for one, other in pairs]


@functools.lru_cache(maxsize=64)
def _spread(function: Callable[..., Any]) -> Callable[..., list[Any]]:
    """The spread of a function as one program for all numbers of the same shapes."""

    # Level 0 would compile faster, but XLA's code is not always right there.
    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 1})
    def spread(pool: Any, size: Any, arguments: Any) -> list[Any]:
        closed = jax.make_jaxpr(function)(*arguments)

        def sample(numbers: Any) -> list[Any]:
            noise = _Noise(numbers, size)
            return _run(closed.jaxpr, closed.consts, jax.tree.leaves(arguments), noise)

        exact = sample(jnp.zeros_like(pool[0]))
        rounded = jax.vmap(sample)(pool)
        return [jnp.abs(r - e[None]).max(axis=0) for r, e in zip(rounded, exact, strict=True)]

    return spread


class _Noise:
    """Rounds by numbers from a pool; every call reads it from another place.

    What the program itself computes in fewer digits is rounded as those are.
    """

    def __init__(self, numbers: Any, size: Any) -> None:
        self.numbers, self.size, self.calls = numbers, size, 0

    def __call__(self, value: Any, exact: Any = False) -> Any:
        if not jnp.issubdtype(dtype := jnp.result_type(value), jnp.floating):
            return value
        self.calls += 1
        start = STRIDE * self.calls % len(self.numbers)
        size = jnp.maximum(self.size, 0.0 if dtype == jnp.float64 else jnp.finfo(dtype).eps)
        numbers = size * jnp.resize(self.numbers[start:], jnp.shape(value))
        return value * (1 + jnp.where(exact, 0, numbers).astype(dtype))

    def turned(self, round_: Any) -> "_Noise":
        """The same with the pool read from elsewhere in every round of a loop."""
        return _Noise(jnp.roll(self.numbers, TURN * round_), self.size)


def _plain(values: list[Any]) -> Any:
    """Whether all numbers are whole sixteenths: then their sums and products are exact."""
    floating = [each for each in values if jnp.issubdtype(jnp.result_type(each), jnp.floating)]
    whole = [jnp.all(16 * each == jnp.rint(16 * each)) for each in floating]
    return functools.reduce(jnp.logical_and, whole, True)


def evaluated(jaxpr: Jaxpr, consts: Any, arguments: Any, step: Step) -> list[Any]:
    """The results of a program whose every operation is done by `step(equation, values)`."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))
    for equation in jaxpr.eqns:
        values = [v.val if isinstance(v, Literal) else known[v] for v in equation.invars]
        for variable, result in zip(equation.outvars, step(equation, values), strict=True):
            known[variable] = result
    return [v.val if isinstance(v, Literal) else known[v] for v in jaxpr.outvars]


def _run(jaxpr: Jaxpr, consts: Any, arguments: Any, noise: _Noise) -> list[Any]:
    """Evaluate a program, rounding as it goes."""
    return evaluated(jaxpr, consts, arguments, functools.partial(_step, noise=noise))


def inside(equation: Any) -> tuple[Jaxpr, Any] | None:
    """The program that an operation calls, and its constants, if it is a call."""
    if equation.primitive.name not in CALLS:
        return None
    inner = next(equation.params[key] for key in INNER if key in equation.params)
    return (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, [])


def _step(equation: Any, values: list[Any], noise: _Noise) -> list[Any]:
    """One operation; calls and loops are followed inside."""
    name, params = equation.primitive.name, equation.params
    if name == "scan":
        return _scan(params, values, noise)
    if (inner := inside(equation)) is not None:
        return _run(*inner, values, noise)
    exact = _plain(values) if name in PLAIN else False
    if name in SUMS:
        values = [noise(value, exact) for value in values]
    results = equation.primitive.bind(*values, **params)
    results = results if equation.primitive.multiple_results else [results]
    return list(results) if name in EXACT else [noise(result, exact) for result in results]


def _scan(params: Any, values: list[Any], noise: _Noise) -> list[Any]:
    """A loop, in which every round has its own roundings."""
    body = params["jaxpr"]
    results, _ = looped(
        params,
        values,
        lambda number, given: (_run(body.jaxpr, body.consts, given, noise.turned(number)), ()),
    )
    noise.calls += 1
    return results


def looped(params: Any, values: list[Any], round_: Round) -> tuple[list[Any], Any]:
    """The results of a loop of a fixed length, and what its rounds gave besides.

    Args:
        params: of the operation `scan`.
        values: what it is given.
        round_: does one round by its number, from 1, and what that is given.
    """
    constants, carries = _counts(params)
    fixed, carry = values[:constants], values[constants : constants + carries]

    def step(carry: list[Any], given: tuple[Any, list[Any]]) -> tuple[list[Any], Any]:
        number, slices = given
        results, besides = round_(number, [*fixed, *carry, *slices])
        return results[:carries], (results[carries:], besides)

    numbers = jnp.arange(1, params["length"] + 1)
    given = (numbers, values[constants + carries :])
    carry, (outputs, besides) = jax.lax.scan(
        step, carry, given, params["length"], params["reverse"]
    )
    return [*carry, *outputs], besides


def _counts(params: Any) -> tuple[int, int]:
    """How many arguments of a `scan` are constants, and how many are carried on."""
    if "ft_in" in params:  # from jax 0.11 on
        constants, carries, _ = map(len, params["ft_in"].unpack())
        return constants, carries
    return params["num_consts"], params["num_carry"]
