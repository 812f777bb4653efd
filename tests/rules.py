"""Derivative rules, right and wrong: functions with arguments, and the settings of their checks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

Call = Callable[..., Any]
RNG = np.random.default_rng(0)
X = RNG.normal(size=3)
M = RNG.normal(size=(3, 3))
SPD = M @ M.T + 3 * np.eye(3)


class Rule(NamedTuple):
    """A function with a rule, an example of its arguments, and how it is to be checked."""

    name: str
    function: Call
    arguments: tuple[Any, ...]
    domain: Any = None
    kind: str = ""  # of what is wrong
    argument: str = ""  # of which argument


def jvp(f: Call, rule: Call) -> Call:
    """A function with a forward rule of (primals, tangents)."""
    function = jax.custom_jvp(f)
    function.defjvp(rule)
    return function


def slope(f: Call, *slopes: Call | None) -> Call:
    """A function with a forward rule for each argument: slope(tangent, answer, *arguments)."""
    function = jax.custom_jvp(f)
    function.defjvps(*slopes)
    return function


def vjp(f: Call, backward: Call) -> Call:
    """A function with a reverse rule of (arguments, cotangent)."""
    function = jax.custom_vjp(f)
    function.defvjp(lambda *given: (f(*given), given), backward)
    return function


def _log1pexp(x: Any) -> Any:
    return jnp.log1p(jnp.exp(x))


def _sinc(x: Any) -> Any:
    return jnp.where(x == 0, 1.0, jnp.sin(x) / jnp.where(x == 0, 1.0, x))


def _sinc_slope(t: Any, ans: Any, x: Any) -> Any:
    safe = jnp.where(x == 0, 1.0, x)
    near = jnp.abs(x) < 1e-2
    series = -x / 3 + x**3 / 30 - x**5 / 840
    return t * jnp.where(near, series, (jnp.cos(safe) - jnp.sin(safe) / safe) / safe)


def _norm(x: Any) -> Any:
    return jnp.sqrt(jnp.sum(x * x))


def _inverse_rule(primals: Any, tangents: Any) -> Any:
    (a,), (t,) = primals, tangents
    inverse = jnp.linalg.inv(a)
    return inverse, -inverse @ t @ inverse


def _solve_back(given: Any, g: Any) -> Any:
    a, b = given
    w = jnp.linalg.solve(a.T, g)
    return -jnp.outer(w, jnp.linalg.solve(a, b)), w


def _tree_back(given: Any, g: Any) -> Any:
    params, x = given
    return {"w": jnp.outer(x, g), "b": g}, params["w"] @ g


def _affine(params: Any, x: Any) -> Any:
    return x @ params["w"] + params["b"]


def _power(x: Any, n: int) -> Any:
    return x**n


def _static_power() -> Call:
    function = jax.custom_vjp(_power, nondiff_argnums=(1,))
    function.defvjp(lambda x, n: (x**n, x), lambda n, x, g: (g * n * x ** (n - 1),))
    return function


def _scaled(x: Any, n: Any) -> Any:
    return x * n


def _integer_back(given: Any, g: Any) -> Any:
    _, n = given
    return g * n, np.zeros(np.shape(n), jax.dtypes.float0)


def _fixed_point(a: Any) -> Any:
    """The x with x = cos(x) + a, found by Newton's iteration."""
    x = a
    for _ in range(30):
        x = x - (x - jnp.cos(x) - a) / (1 + jnp.sin(x))
    return x


def _symbolic() -> Call:
    function = jax.custom_jvp(lambda x, y: x * y)

    def rule(primals: Any, tangents: Any) -> Any:
        (x, y), (dx, dy) = primals, tangents
        out = 0.0
        if not isinstance(dx, jax.custom_derivatives.SymbolicZero):
            out = out + dx * y
        if not isinstance(dy, jax.custom_derivatives.SymbolicZero):
            out = out + dy * x
        return x * y, jnp.asarray(out, x.dtype)

    function.defjvp(rule, symbolic_zeros=True)
    return function


def _looped(x: Any) -> Any:
    inner = slope(jnp.sin, lambda t, ans, x: t * jnp.cos(x))
    return jax.lax.scan(lambda carry, _: (inner(carry) + x, None), x, None, length=3)[0]


def _batched_square(wrong: float) -> Call:
    function = custom_vmap(lambda x: x * x)
    function.def_vmap(lambda size, batched, x: (wrong * x * x, True))
    return function


RIGHT = [
    Rule("softplus", slope(_log1pexp, lambda t, ans, x: t * jax.nn.sigmoid(x)), (0.3,), (-30, 30)),
    Rule("sinc", slope(_sinc, _sinc_slope), (0.3,), (-30, 30)),
    Rule("relu", slope(lambda x: jnp.maximum(x, 0), lambda t, ans, x: t * (x > 0)), (0.7,)),
    Rule("abs", vjp(jnp.abs, lambda given, g: (g * jnp.sign(given[0]),)), (0.7,)),
    Rule(
        "product",
        slope(jnp.multiply, lambda t, a, x, y: t * y, lambda t, a, x, y: t * x),
        (1.5, 2.5),
    ),
    Rule(
        "norm", vjp(_norm, lambda given, g: (g * given[0] / _norm(given[0]),)), (X,), [X, 2 * X, -X]
    ),
    Rule("inverse", jvp(jnp.linalg.inv, _inverse_rule), (M,)),
    Rule("solve", vjp(jnp.linalg.solve, _solve_back), (M, X)),
    Rule(
        "log det",
        vjp(lambda a: jnp.linalg.slogdet(a)[1], lambda given, g: (g * jnp.linalg.inv(given[0]),)),
        (SPD,),
        "positive definite",
    ),
    Rule("dictionary", vjp(_affine, _tree_back), ({"w": M, "b": X}, X)),
    Rule("static exponent", lambda x: _static_power()(x, 3), (1.3,)),
    Rule("integer argument", vjp(_scaled, _integer_back), (1.3, np.int32(4))),
    Rule("implicit", slope(_fixed_point, lambda t, x, a: t / (1 + jnp.sin(x))), (0.4,), (-1, 1)),
    Rule("symbolic zeros", _symbolic(), (1.3, 0.4)),
    Rule("inside a loop", _looped, (0.3,), (-3, 3)),
    Rule(
        "inside a branch",
        lambda x: jax.lax.cond(x > 1, jnp.log, lambda x: x - 1, x),
        (1.5,),
        "positive",
    ),
    Rule(
        "x log x",
        slope(lambda x: x * jnp.log(x), lambda t, ans, x: t * (jnp.log(x) + 1)),
        (0.5,),
        "positive",
    ),
    Rule(
        "mean",
        vjp(lambda x: jnp.mean(x), lambda given, g: (jnp.full_like(given[0], g / given[0].size),)),
        (X,),
    ),
    Rule(
        "two results",
        jvp(
            lambda x: (jnp.sin(x), jnp.cos(x)),
            lambda p, t: (
                (jnp.sin(p[0]), jnp.cos(p[0])),
                (jnp.cos(p[0]) * t[0], -jnp.sin(p[0]) * t[0]),
            ),
        ),
        (0.4,),
        (-9, 9),
    ),
    Rule("no rule", lambda x: jnp.tanh(x) ** 2, (0.4,)),
    Rule("own batch rule", _batched_square(1.0), (0.4,)),
    Rule(
        "matrix product",
        vjp(jnp.matmul, lambda given, g: (g @ given[1].T, given[0].T @ g)),
        (RNG.normal(size=(2, 3)), RNG.normal(size=(3, 2))),
    ),
]


def _shared(x: Any, k: Any) -> Any:
    """(exp(kx) − 1)/k, and x where k is 0: written there without the k."""
    safe = jnp.where(k == 0, 1.0, k)
    return jnp.where(k == 0, x, jnp.expm1(safe * x) / safe)


def _half(x: Any, q: Any) -> Any:
    """A branch for the special value ½, which is written without the q."""
    return jnp.where(q == 0.5, x * 0.25, x * q * q)


def _oscillator(q: Any) -> Any:
    return jnp.where(q == 0.37, jnp.exp(-0.37), jnp.exp(-q))


def _truncated(wide: Any) -> Any:
    function = jax.custom_jvp(lambda x: jnp.sin(x))
    function.defjvp(
        lambda p, t: (jnp.sin(p[0]), jnp.cos(p[0]).astype(wide).astype(t[0].dtype) * t[0])
    )
    return function


def _changed_value() -> Call:
    function = jax.custom_vjp(jnp.log)
    function.defvjp(lambda x: (jnp.log(jnp.maximum(x, 0.5)), x), lambda x, g: (g / x,))
    return function


def _stopped(t: Any, ans: Any, x: Any) -> Any:
    return t * 3 * jax.lax.stop_gradient(x) ** 2


def _raising(given: Any, g: Any) -> Any:
    raise TypeError("unsupported")


def _nonlinear(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return jnp.sin(x), jnp.cos(x) * jnp.abs(t)


def _by_indices(x: Any) -> Any:
    return jnp.sum(x[jnp.array([0, 1, 5])])  # an index that is out of range


WRONG = [
    Rule(
        "factor", slope(jnp.sin, lambda t, ans, x: 1.001 * t * jnp.cos(x)), (0.7,), (-9, 9), "wrong"
    ),
    Rule(
        "cosine for sine",
        slope(jnp.cos, lambda t, ans, x: t * jnp.sin(x)),
        (0.7,),
        (-9, 9),
        "wrong sign",
    ),
    Rule(
        "squared",
        vjp(lambda x: x**3, lambda given, g: (g * 2 * given[0] ** 2,)),
        (1.3,),
        None,
        "wrong",
    ),
    Rule(
        "second argument left out",
        vjp(lambda x, y: x * y, lambda given, g: (g * given[1], 0.0 * g)),
        (1.5, 2.5),
        None,
        "missing",
        "y",
    ),
    Rule(
        "exchanged arguments",
        slope(
            lambda x, y: x * y * y, lambda t, a, x, y: 2 * t * x * y, lambda t, a, x, y: t * y * y
        ),
        (1.5, 2.5),
        None,
        "wrong",
    ),
    Rule(
        "density for its logarithm",
        slope(lambda x: -x * x / 2, lambda t, ans, x: -t * x * jnp.exp(ans)),
        (0.7,),
        None,
        "wrong",
    ),
    Rule(
        "normalisation's sign",
        vjp(lambda x, a: jnp.log(x) - jnp.log(a), lambda given, g: (g / given[0], g / given[1])),
        (1.5, 2.5),
        "positive",
        "wrong sign",
        "a",
    ),
    Rule(
        "sinc at 0",
        slope(_sinc, lambda t, ans, x: t * (jnp.cos(x) / x - jnp.sin(x) / x**2)),
        (0.3,),
        (-30, 30),
        "NaN or infinite where the derivative is finite",
    ),
    Rule(
        "norm of zeros",
        jvp(
            lambda x: jnp.sum(x * x) ** 1.0,
            lambda p, t: (
                jnp.sum(p[0] * p[0]),
                2 * jnp.vdot(p[0], t[0]) * _norm(p[0]) / _norm(p[0]),
            ),
        ),
        (X,),
        None,
        "NaN or infinite where the derivative is finite",
    ),
    Rule("value clipped", _changed_value(), (1.5,), "positive", "value changed by differentiation"),
    Rule("raises", vjp(jnp.sin, _raising), (0.7,), None, "rule missing or raising"),
    Rule(
        "wrong number of cotangents",
        vjp(lambda x, y: x * y, lambda given, g: (g * given[1],)),
        (1.5, 2.5),
        None,
        "rule missing or raising",
    ),
    Rule(
        "nonlinear in the tangent",
        jvp(jnp.sin, _nonlinear),
        (0.7,),
        None,
        "rule missing or raising",
    ),
    Rule(
        "stopped inside the rule",
        slope(lambda x: x**3, _stopped),
        (0.7,),
        None,
        "second order wrong",
    ),
    Rule("computed in half precision", _truncated(jnp.float16), (0.7,), (-9, 9), "precision lost"),
    Rule(
        "difference of equals",
        slope(
            lambda x: jnp.expm1(x) / x,
            lambda t, ans, x: t * (x * jnp.exp(x) - jnp.exp(x) + 1) / x**2,
        ),
        (0.7,),
        (1e-6, 9),
        "precision lost",
    ),
    Rule(
        "own batch rule",
        _batched_square(2.0),
        (0.4,),
        None,
        "another result under a transformation",
    ),
    Rule("shape 0", _shared, (0.4, 0.7), (-3, 3), "missing", "k"),
    Rule("quality ½", _half, (0.4, 0.7), {"q": "positive"}, "missing", "q"),
    Rule("a switch that nobody would guess", _oscillator, (0.7,), None, "missing"),
    Rule(
        "inside jit",
        jax.jit(lambda x: 2 * slope(jnp.sin, lambda t, ans, x: 2 * t * jnp.cos(x))(x)),
        (0.7,),
        (-9, 9),
        "wrong",
    ),
    Rule(
        "inside scan",
        lambda x: jax.lax.scan(
            lambda c, _: (slope(jnp.sin, lambda t, ans, x: -t * jnp.cos(x))(c), None),
            x,
            None,
            length=3,
        )[0],
        (0.7,),
        (-3, 3),
        "wrong sign",
    ),
    Rule(
        "inside cond",
        lambda x: jax.lax.cond(x > 1, slope(jnp.log, lambda t, ans, x: t), lambda x: x - 1, x),
        (1.5,),
        "positive",
        "wrong",
    ),
    Rule(
        "transposed Jacobian",
        jvp(
            lambda x: jnp.asarray(M) @ x,
            lambda p, t: (jnp.asarray(M) @ p[0], jnp.asarray(M).T @ t[0]),
        ),
        (X,),
        None,
        "wrong",
    ),
    Rule(
        "inverse not transposed",
        vjp(
            jnp.linalg.inv,
            lambda given, g: (-jnp.linalg.inv(given[0]) @ g @ jnp.linalg.inv(given[0]),),
        ),
        (M,),
        None,
        "wrong",
    ),
    Rule(
        "one result of two",
        jvp(
            lambda x: (jnp.sin(x), jnp.cos(x)),
            lambda p, t: (
                (jnp.sin(p[0]), jnp.cos(p[0])),
                (jnp.cos(p[0]) * t[0], jnp.zeros_like(t[0])),
            ),
        ),
        (0.4,),
        (-9, 9),
        "missing",
    ),
    Rule(
        "between no slopes",
        slope(lambda x: jnp.abs(x), lambda t, ans, x: t * jnp.where(x == 0, 2.0, jnp.sign(x))),
        (0.7,),
        None,
        "wrong",
    ),
    Rule(
        "at whole numbers",
        slope(lambda x: x * x, lambda t, ans, x: t * jnp.where(x == jnp.round(x), x, 2 * x)),
        (0.7,),
        None,
        "wrong",
    ),
    Rule(
        "far out",
        slope(
            jnp.tanh,
            lambda t, ans, x: t * 4 / (jnp.exp(x) + jnp.exp(-x)) ** 2 * (x < 20) + t * (x >= 20),
        ),
        (0.7,),
        None,
        "wrong",
    ),
    Rule(
        "bias of a dictionary",
        vjp(
            _affine,
            lambda given, g: (
                {"w": jnp.outer(given[1], g), "b": jnp.zeros_like(g)},
                given[0]["w"] @ g,
            ),
        ),
        ({"w": M, "b": X}, X),
        None,
        "missing",
        "params.b",
    ),
    Rule(
        "equal entries",
        jvp(
            lambda x: jnp.sum(x * x),
            lambda p, t: (
                jnp.sum(p[0] * p[0]),
                jnp.where(jnp.all(p[0] == p[0][0]), 1.0, 2.0) * jnp.vdot(p[0], t[0]),
            ),
        ),
        (X,),
        None,
        "wrong",
    ),
    Rule(
        "edge of the domain",
        slope(lambda x: x * jnp.sqrt(x), lambda t, ans, x: t * 1.5 * x / jnp.sqrt(x)),
        (0.7,),
        "nonnegative",
        "NaN or infinite where the derivative is finite",
    ),
]
