"""Initial parameters: their shapes, their spread, their keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmlp


def test_shapes_of_the_notes_network():
    first, second = jaxmlp.init_params(jax.random.key(0), (3, 4, 3), bias=False)
    assert first.weight.shape == (3, 4)
    assert second.weight.shape == (4, 3)
    assert first.bias is second.bias is None


def test_spread_is_that_of_he():
    params = jaxmlp.init_params(jax.random.key(0), (400, 300, 10), scale=0.5)
    for layer, n_in in zip(params, (400, 300), strict=True):
        # the standard deviation of k samples is known to 1/√(2k): about four of those
        expected = 0.5 * np.sqrt(2 / n_in)
        samples = layer.weight.size
        np.testing.assert_allclose(jnp.std(layer.weight), expected, rtol=4 / np.sqrt(2 * samples))
        np.testing.assert_array_equal(layer.bias, 0)


def test_keys():
    networks = [jaxmlp.init_params(jax.random.key(seed), (5, 5, 5)) for seed in (0, 0, 1)]
    jax.tree.map(np.testing.assert_array_equal, networks[0], networks[1])
    assert not np.array_equal(networks[0][0].weight, networks[2][0].weight)
    assert not np.array_equal(networks[0][0].weight, networks[0][1].weight)


def test_traced_scale_and_key():
    def spread(key, scale):
        return jnp.std(jaxmlp.init_params(key, (50, 50), scale=scale)[0].weight)

    keys = jax.random.split(jax.random.key(0), 2)
    one, two = jax.vmap(spread)(jnp.stack([keys[0]] * 2), jnp.asarray([1.0, 2.0]))
    np.testing.assert_allclose(two, 2 * one, rtol=1e-6)


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("sizes", "dtype", "message"),
    [
        ((3,), "float32", "at least an input and an output width"),
        ((3, 0, 2), "float32", r"sizes are \(3, 0, 2\): every width must be at least 1"),
        ((3, -2), "float32", "every width must be at least 1"),
        ((3, 2.5), "float32", r"sizes are \(3, 2.5\): give integers"),
        ("abc", "float32", "give integers"),
        (7, "float32", "sizes are 7: give integers"),
        ((3, 2), "int32", "dtype is 'int32': parameters are real"),
        ((3, 2), "foo", "dtype is 'foo': parameters are real"),
    ],
)
def test_refuses(sizes, dtype, message):
    with pytest.raises(ValueError, match=message):
        jaxmlp.init_params(jax.random.key(0), sizes, dtype=dtype)
