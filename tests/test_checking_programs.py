"""Programs executed by NumPy: they give what JAX gives, and can be executed in other ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmlp.checking.programs.execution import Frozen, Machine, Traced
from jaxmlp.checking.programs.interpreter import is_random
from jaxmlp.checking.programs.random_rounding import SAFETY, rounding_spread
from jaxmlp.checking.programs.rules import has_rules, rules_met, without_rules
from jaxmlp.checking.truth.differences import slope_along, taylor_order

KEY = jax.random.key(0)
FUNCTIONS = {
    "norm": lambda a: (a - a.mean(0)) / jnp.sqrt(a.var(0) + 1e-5),
    "softmax": lambda a: jax.nn.log_softmax(a, axis=1),
    "logsumexp": lambda a: jax.scipy.special.logsumexp(a, axis=0),
    "attention": lambda a: jnp.einsum("ij,kj,kl->il", a, a, a),
    "batched": lambda a: jax.vmap(lambda row: row[None] @ a.T @ a)(a),
    "convolution": lambda a: jnp.convolve(a[0], a[1]),
    "gather": lambda a: a[jnp.array([0, 2, 2])] ** 2,
    "scatter": lambda a: a.at[jnp.array([0, 0])].add(a[1:]),
    "sort": lambda a: jnp.sort(a, axis=1) * jnp.cumsum(a, axis=0)[::-1],
    "scan": lambda a: jax.lax.scan(lambda c, x: (jnp.tanh(c + x), c * x), a[0], a, reverse=True),
    "while": lambda a: jax.lax.fori_loop(0, 3, lambda i, c: jnp.sin(c) + i.astype(a.dtype), a),
    "cond": lambda a: jax.lax.cond(a[0, 0] > 0, jnp.exp, jnp.square, a),
    "linear solve": lambda a: jnp.linalg.solve(a @ a.T + 3 * jnp.eye(3), a),
    "cholesky": lambda a: jnp.linalg.cholesky(a @ a.T + 3 * jnp.eye(3)),
    "remat": lambda a: jax.checkpoint(lambda b: jnp.sin(jnp.cos(b)))(a),
    "rules": lambda a: jax.nn.relu(a) + jax.nn.silu(a) + jax.scipy.special.xlogy(a**2, 2.0),
    "special": lambda a: jax.scipy.special.erf(a) + jax.scipy.special.gammaln(a**2 + 1),
    "random": lambda a: a * jax.random.bernoulli(KEY, 0.5, a.shape),
    "max": lambda a: jnp.maximum(a, 0.2).max(axis=1) - jnp.clip(a, -1, 1).min(axis=1),
    "whole numbers": lambda a: a * (jnp.arange(4) // 3 % 2 == 1) + jnp.argmax(a, axis=1)[:, None],
    "nothing": lambda a: a[:, :0].sum(axis=1) + jnp.concatenate([a, -a], axis=1).sum(axis=1),
    "few digits": lambda a: a.astype(jnp.bfloat16).astype(a.dtype) * jnp.pad(a, 1)[1:-1, 1:-1],
    "power": lambda a: jnp.abs(a) ** 2.5 + (a**2 + 1) ** -3 + jax.lax.rsqrt(a**2 + 1),
}


def example(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(3, 4))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_numpy_gives_what_jax_gives(name, dtype):
    """The value, and the gradient of a weighted sum of it."""
    function = FUNCTIONS[name]

    def total(a):
        leaves = [jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(function(a))]
        return sum(leaves, jnp.zeros((), a.dtype))

    with (
        jax.enable_x64(dtype == "float64"),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        a = jnp.asarray(example(), dtype)
        for each in (function, total, *[jax.grad(total)] * (name != "while")):
            found = Machine()(jax.make_jaxpr(each)(a), a)
            for one, other in zip(found, jax.tree.leaves(each(a)), strict=True):
                assert np.shape(one) == np.shape(other)
                assert one.dtype == other.dtype
                rtol = 1e-12 if dtype == "float64" else 3e-5
                np.testing.assert_allclose(one, other, rtol, rtol)


def test_a_program_of_float32_in_float64():
    """It draws the very random numbers of float32, which are others than those of float64."""

    def noisy(a):
        return jnp.sum(a * jax.random.normal(KEY, a.shape, a.dtype)) / jnp.float32(3)

    a = jnp.ones((3, 4), jnp.float32)
    program = jax.make_jaxpr(noisy)(a)
    assert is_random(program.jaxpr)
    assert not is_random(jax.make_jaxpr(jnp.sin)(a).jaxpr)
    (found,) = Machine(wide=True)(program, a)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, noisy(a), rtol=1e-5)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        assert abs(found - noisy(jnp.ones((3, 4)))) > 1e-3


def test_a_function_is_traced_once_for_all_arguments_of_the_same_shapes():
    traced = []

    def tree(a, b):
        traced.append(a.shape)
        return {"sum": a + b, "product": a * b}

    function = Traced(tree)
    for a in (np.ones(2), np.zeros(2), np.ones(3)):
        assert function(a, a)["sum"].tolist() == (a + a).tolist()
    assert traced == [(2,), (3,)]


@jax.custom_vjp
def product(a, b):
    return a * b


product.defvjp(lambda a, b: (a * b, (a, b)), lambda kept, g: (g * kept[1], 0 * kept[0]))


@jax.custom_jvp
def squared(a):
    return a**2


squared.defjvp(lambda a, t: (squared(*a), 2 * a[0] * t[0]))


def nested(a):
    a = jax.lax.cond(a.sum() > 0, lambda b: product(b, b), jnp.sin, a)
    a, _ = jax.lax.scan(lambda c, _: (squared(product(c, c)), None), a, None, 2)
    return jnp.sum(jax.jit(squared)(a) + jax.checkpoint(lambda b: product(b, b))(a))


def test_rules_are_found_and_left_out_wherever_they_are():
    a = np.abs(example())
    program = jax.make_jaxpr(nested)(a)
    plain = without_rules(nested)
    assert has_rules(program.jaxpr)
    assert not has_rules(jax.make_jaxpr(plain)(a).jaxpr)
    assert has_rules(jax.make_jaxpr(without_rules(nested, ["squared"]))(a).jaxpr)
    np.testing.assert_allclose(plain(a), nested(a))

    def same(a):
        a = jnp.where(a.sum() > 0, a * a, jnp.sin(a))
        for _ in range(2):
            a = (a * a) ** 2
        return jnp.sum(a**2 + a * a)

    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.grad(plain)(a), jax.grad(same)(a), rtol=1e-9)
        assert np.abs(jax.grad(nested)(a) / jax.grad(same)(a) - 1).max() > 0.5
        met = {rule.name: rule for rule in rules_met(jax.make_jaxpr(nested)(a), [a])}
    assert met["squared"].off < 1e-12
    assert met["product"].off > 0.1
    assert "product (test_checking_programs.py line" in str(met["product"])
    assert met["product"].source.text == "def product(a, b):" or "@" in met["product"].source.text


def test_what_is_stopped_is_held_fast():
    """Differences of a straight-through estimator see the slope that it is meant to have."""

    def straight(a):
        return jnp.sum(a + jax.lax.stop_gradient(jnp.round(a) - a))

    a = example()
    with jax.enable_x64(True):
        program, machine = jax.make_jaxpr(straight)(a), Frozen()
    (first,) = machine(program, a)
    np.testing.assert_allclose(first, np.round(a).sum())
    np.testing.assert_allclose(machine(program, a + 0.1)[0] - first, 0.1 * a.size)


@given(st.integers(0, 100), st.sampled_from([2.0**-53, 2.0**-24]))
def test_rounding_is_within_what_random_rounding_spreads(seed, unit):
    """Of a sum that cancels, whose error is many times that of its terms."""
    a = 1e3 + example(seed)

    def variance(a):
        return jnp.mean(a**2) - jnp.mean(a) ** 2

    with jax.enable_x64(True):
        program = jax.make_jaxpr(variance)(a)
    (spread,) = rounding_spread(program, [a], unit)
    exact = np.longdouble(a).var()
    narrow = a.astype(np.float32) if unit > 2.0**-30 else a
    off = abs(float(np.mean(narrow**2) - np.mean(narrow) ** 2 - exact))
    assert off <= SAFETY * spread + unit * 1e6
    assert spread > 1e4 * unit


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (np.sin, 1.0),
        (lambda t: np.exp(20 * t), 20.0),
        (lambda t: t + 1e-9 * abs(t - 0.1), 1 - 1e-9),
    ],
)
def test_slopes_by_differences(function, slope):
    found = slope_along(lambda row: float(function(row[0])), np.zeros(1), np.ones(1))
    assert not found.kink
    assert not found.refutes(slope)
    assert found.refutes(slope * (1 + 1e-6))
    assert abs(found.value - slope) < 1e-8


def test_slopes_on_both_sides_of_a_kink():
    found = slope_along(lambda row: abs(float(row[0])) + float(row[0]), np.zeros(1), np.ones(1))
    assert found.kink
    assert not found.refutes(5.0)  # nothing can be said
    np.testing.assert_allclose([found.left, found.right], [0, 2], atol=1e-9)


def test_order_of_the_taylor_remainder():
    at, along = np.array([0.3, 0.4]), np.array([0.6, 0.8])

    def value(row):
        return float(np.sin(row).sum())

    assert taylor_order(value, at, np.cos(at), along) == pytest.approx(2, abs=0.1)
    assert taylor_order(value, at, np.cos(at) + 0.01, along) == pytest.approx(1, abs=0.3)
    assert taylor_order(lambda row: float(row.sum()), at, np.ones(2), along) == np.inf
