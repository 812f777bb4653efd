"""The gradient with examples in columns is that of `gradient.py`."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import jaxmlp
from jaxmlp.columns import transpose_weights, value_and_grad_columns
from jaxmlp.losses import LOSSES
from jaxmlp.settings import Config, Hyperparams
from jaxmlp.training import fresh_state
from tests.strategies import DTYPES, as_arrays, cases
from tests.tolerances import assert_close, gradient_bound

of_columns = jax.jit(value_and_grad_columns, static_argnames=("activation", "loss"))


@given(cases())
def test_value_and_gradient_are_those_of_rows(case):
    with jax.enable_x64(case.x64):
        params, batch = as_arrays((case.params, case.batch))
        value, grad = of_columns(transpose_weights(params), batch, activation=case.activation)
        expected_value, expected = jaxmlp.manual_value_and_grad(
            params, batch, activation=case.activation
        )
        allowed = gradient_bound(params, batch, case.activation, DTYPES[case.dtype])
        assert_close(transpose_weights(grad), expected, allowed)
        assert value.dtype == expected_value.dtype
        cost = np.abs(case.batch.labels).sum() * (1 + float(jnp.abs(expected_value)))
        rtol = 1e-12 if case.x64 else 1e-5
        np.testing.assert_allclose(value, expected_value, rtol=rtol, atol=rtol * cost)


@given(cases(dtypes=("float64",)), st.sampled_from([*LOSSES]))
def test_with_every_loss_and_with_weights(case, loss):
    with jax.enable_x64(True):
        params, batch = as_arrays((case.params, case.batch))
        settings = {"activation": case.activation, "loss": loss}
        settings |= {"weights": jnp.linspace(0, 2, len(batch.x))}
        found = of_columns(transpose_weights(params), batch, **settings)
        expected = jaxmlp.manual_value_and_grad(params, batch, **settings)
        size = 1 + max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
        found = found[0], transpose_weights(found[1])
        for got, wanted in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12 * size)


def test_weights_and_their_moments_are_transposed_and_nothing_else():
    params = jaxmlp.init_params(jax.random.key(0), (3, 5, 2))
    state = fresh_state(params, Hyperparams(), Config(hidden=(5,), optimizer="adam", patience=2), 8)
    turned = transpose_weights(state)
    for tree in (turned.params, turned.best.params, turned.opt_state[1].mu, turned.opt_state[1].nu):
        assert [leaf.shape for leaf in jax.tree.leaves(tree)] == [(5, 3), (5,), (2, 5), (2,)]
    back = transpose_weights(turned)
    assert jax.tree.structure(back) == jax.tree.structure(state)
    for got, expected in zip(jax.tree.leaves(back), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(got, expected)
