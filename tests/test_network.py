"""The forward pass against NumPy, and what it refuses."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import jaxmlp
from jaxmlp import Layer
from jaxmlp.checking.network.slopes import ACTIVATIONS
from jaxmlp.network import forward_pass, matmul
from tests.strategies import as_arrays, cases


@given(cases(dtypes=("float64",)))
def test_forward_is_the_formula(case):
    f, _ = ACTIVATIONS[case.activation]
    h = [case.batch.x]
    z = []
    for weight, bias in case.params:
        z.append(h[-1] @ weight + (0 if bias is None else bias))
        h.append(f(z[-1]))
    with jax.enable_x64(True):
        params, batch = as_arrays((case.params, case.batch))
        kept = forward_pass(params, batch.x, case.activation)
        logits = jaxmlp.forward(params, batch.x, activation=case.activation)
    assert len(kept.h) == len(kept.z) == len(params)
    for ours, theirs in zip((*kept.h, *kept.z, logits), (*h[:-1], *z, z[-1]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11 * max(1, abs(theirs).max()))


@pytest.mark.usefixtures("as_users_see_it")
def test_wide_layers():
    """Widths beyond 256, where equal integers are no longer one object."""
    params = tuple(Layer(np.ones(shape, np.float32), None) for shape in ((300, 400), (400, 500)))
    assert forward_pass(params, np.ones((1, 300), np.float32)).z[-1].shape == (1, 500)


def test_is_one_compiled_program():
    params = jaxmlp.init_params(jax.random.key(0), (3, 2))
    program = jax.make_jaxpr(jaxmlp.forward)(params, jnp.ones((1, 3)))
    assert [equation.params.get("name") for equation in program.eqns] == ["forward"]


def test_signature():
    kinds = [each.kind.name for each in inspect.signature(jaxmlp.forward).parameters.values()]
    assert kinds == ["POSITIONAL_OR_KEYWORD", "POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY"]


def test_relu_is_the_default():
    params = (Layer(-jnp.ones((1, 1)), None), Layer(jnp.ones((1, 1)), None))
    assert jaxmlp.forward(params, jnp.ones((1, 1))) == 0
    assert forward_pass(params, jnp.ones((1, 1))).z[-1] == 0


def test_matmul_accumulates_in_float32():
    """300 ones: a sum kept in bfloat16 stops at 256."""
    ones = jnp.ones((1, 300), jnp.bfloat16)
    product = matmul(ones, ones.T, jnp.bfloat16)
    assert product.dtype == jnp.float32
    assert product == 300


@pytest.mark.parametrize("k", [1, 7, 300])
def test_matmul_stays_within_its_bound(k):
    """Equation (28), entry by entry, against exact products of the same factors."""
    rng = np.random.default_rng(k)
    a, b = (rng.normal(size=shape).astype(np.float32) for shape in ((20, k), (k, 20)))
    wide = [each.astype(np.float64) for each in (a, b)]
    u = 2.0**-24
    bound = k * u / (1 - k * u) * (np.abs(wide[0]) @ np.abs(wide[1]))
    off = np.abs(
        np.asarray(matmul(jnp.asarray(a), jnp.asarray(b), jnp.float32)) - wide[0] @ wide[1]
    )
    assert np.all(off <= bound)
    assert np.any(off > 0)


def test_matmul_rounds_its_factors():
    third = jnp.full((1, 1), 1 / 3)
    assert matmul(third, jnp.ones((1, 1)), jnp.bfloat16) == third.astype(jnp.bfloat16)[0, 0].astype(
        jnp.float32
    )


@pytest.mark.parametrize(
    ("dtype", "result"), [("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")]
)
def test_dtype_of_the_logits(dtype, result):
    with jax.enable_x64(dtype == "float64"):
        params = jaxmlp.init_params(jax.random.key(0), (3, 4, 2), dtype=dtype)
        assert jaxmlp.forward(params, jnp.ones((1, 3), jnp.float32)).dtype == result


def network(*shapes, dtype=jnp.float32):
    return tuple(Layer(jnp.ones(shape, dtype), jnp.ones(shape[-1:], dtype)) for shape in shapes)


GOOD = network((3, 4), (4, 2))


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("params", "x", "message"),
    [
        (GOOD, np.ones((1, 3), int), "x has dtype int.*give real numbers"),
        (GOOD, np.ones((1, 5), np.float32), r"layer 0 has shape \(3, 4\), but x gives it 5 col"),
        (GOOD, np.ones(3, np.float32), r"x has shape \(3,\): give \(n, n_in\)"),
        (GOOD, np.ones((0, 3), np.float32), r"x has shape \(0, 3\)"),
        (GOOD, [[1.0, 2.0, 3.0]], "x is a list: give an array"),
        (GOOD, np.ones((1, 3, 3), np.float32), r"x has shape \(1, 3, 3\)"),
        ((), np.ones((1, 3), np.float32), "params is an empty tuple"),
        ([GOOD[0]], np.ones((1, 3), np.float32), "params is a list"),
        ((tuple(GOOD[0]),), np.ones((1, 3), np.float32), "layer 0 is a tuple"),
        (network((3, 4), (5, 2)), np.ones((1, 3), np.float32), "but layer 0 gives it 4 columns"),
        (network((3, 4), (4, 2), (5, 2)), np.ones((1, 3), np.float32), "but layer 1 gives it 2"),
        (network((3, 4), (4, 2), dtype=int), np.ones((1, 3), np.float32), "layer 0 has dtype int"),
        ((Layer(jnp.ones(3), None),), np.ones((1, 3), np.float32), r"layer 0 has shape \(3,\)"),
        ((Layer(jnp.ones((3, 4, 2)), None),), np.ones((1, 3), np.float32), r"\(3, 4, 2\)"),
        (
            (Layer(jnp.ones((3, 4)), jnp.ones(5)),),
            np.ones((1, 3), np.float32),
            r"bias of layer 0 has shape \(5,\).*must have shape \(4,\)",
        ),
        (
            (Layer(jnp.ones((3, 4)), jnp.ones(3)),),
            np.ones((1, 3), np.float32),
            r"bias of layer 0 has shape \(3,\).*must have shape \(4,\)",
        ),
        (
            (Layer(jnp.ones((3, 4)), jnp.ones(4, int)),),
            np.ones((1, 3), np.float32),
            "bias of layer 0 has dtype int",
        ),
    ],
)
def test_refuses(params, x, message):
    with pytest.raises(ValueError, match=message):
        jaxmlp.forward(params, x)


@pytest.mark.usefixtures("as_users_see_it")
def test_refuses_unknown_activation():
    with pytest.raises(ValueError, match="unknown activation 'swish'"):
        jaxmlp.forward(GOOD, np.ones((1, 3), np.float32), activation="swish")
