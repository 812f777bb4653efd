"""Each activation and its hand-written derivative against JAX's own and NumPy's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlp.activations import ACTIVATIONS, get_activation
from jaxmlp.checking.network import reference

# zero and signed zero (the kink), tiny, ordinary, saturated, huge
POINTS = [0.0, -0.0, 1e-30, -1e-30, 0.3, -0.3, 1.0, -1.0, 3.7, -3.7, 30.0, -30.0, 1e4, -1e4]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("x64", [False, True])
def test_value_and_derivative(name, x64):
    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32
        z = jnp.asarray(POINTS, dtype)[None, :]
        f = ACTIVATIONS[name]
        h = f.value(z)
        slope = f.derivative(z, h)
        autodiff = jax.vmap(jax.grad(lambda point: f.value(point[None, None])[0, 0]))(z[0])
        value, derivative = reference.ACTIVATIONS[name]
        exact = np.asarray(z, np.float64)
        close: Any = {"rtol": 1e-13, "atol": 1e-14} if x64 else {"rtol": 2e-6, "atol": 1e-6}
        assert h.dtype == slope.dtype == dtype
        np.testing.assert_allclose(h, value(exact), **close)
        np.testing.assert_allclose(slope, derivative(exact), **close)
        np.testing.assert_allclose(slope[0], autodiff, **close)


def test_relu_at_the_kink_and_beyond():
    z = jnp.asarray([[-1.0, -0.0, 0.0, 1.0, jnp.nan]])
    h = ACTIVATIONS["relu"].value(z)
    np.testing.assert_array_equal(h, [[0.0, 0.0, 0.0, 1.0, jnp.nan]])
    np.testing.assert_array_equal(ACTIVATIONS["relu"].derivative(z, h)[0, :4], [0, 0, 0, 1])


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="'swish': choose one of relu, tanh, sigmoid, gelu"):
        get_activation("swish")
