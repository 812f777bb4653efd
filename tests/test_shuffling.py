"""Orders of the examples: every one once, each as likely as the others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlp.shuffling import MOST, SORTED, permutation
from tests.strategies import LONG


def chi_squared(counts, cells):
    """Of counts that should be equal, divided by its mean: 1 with a deviation of √(2 / cells)."""
    counts = np.asarray(counts, float)
    return ((counts - counts.mean()) ** 2 / counts.mean()).sum() / cells


@pytest.mark.parametrize("n", [1, 2, 35, SORTED, SORTED + 1, 5041, 5042, 54_000])
def test_every_example_once(n):
    """At squares, where there are no places too many, and beside them."""
    order = np.asarray(permutation(jax.random.key(n), n))
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_few_examples_are_sorted():
    key = jax.random.key(0)
    np.testing.assert_array_equal(permutation(key, 100), jax.random.permutation(key, 100))


def test_keys_and_places_are_alike():
    """Where an example goes, what follows it, and how two orders lie beside each other."""
    n, cells = 5000, 100
    keys = jax.random.split(jax.random.key(0), 400 if LONG else 100)
    orders = np.asarray(jax.vmap(lambda key: permutation(key, n))(keys))
    assert len({order.tobytes() for order in orders}) == len(orders)
    allowed = 1 + 5 * (2 / cells) ** 0.5
    first = np.bincount(orders[:, :50].ravel() * cells // n, minlength=cells)
    assert chi_squared(first, cells - 1) < allowed
    steps = np.bincount((np.diff(orders, axis=1) % n).ravel() * cells // n, minlength=cells)
    assert chi_squared(steps, cells - 1) < allowed
    between = np.bincount((np.diff(orders, axis=0) % n).ravel() * cells // n, minlength=cells)
    assert chi_squared(between, cells - 1) < allowed
    where = np.bincount(np.argsort(orders, axis=1)[:, :50].ravel() * cells // n, minlength=cells)
    assert chi_squared(where, cells - 1) < allowed


def test_the_key_may_be_traced_and_there_may_be_many():
    n = SORTED + 50
    keys = jax.random.split(jax.random.key(1), 3)
    together = jax.jit(jax.vmap(lambda key: permutation(key, n)))(keys)
    for key, order in zip(keys, together, strict=True):
        np.testing.assert_array_equal(permutation(key, n), order)


def test_too_many():
    most = jax.eval_shape(lambda key: permutation(key, MOST), jax.random.key(0))
    assert most.shape == (MOST,)
    with pytest.raises(ValueError, match=f"there are {MOST + 1} examples: an order of at most"):
        permutation(jax.random.key(0), MOST + 1)


def test_the_test_bites():
    """A plain rotation of the places would not pass."""
    rotated = (jnp.arange(5000)[None, :] + jnp.arange(100)[:, None] * 37) % 5000
    steps = np.bincount((np.diff(np.asarray(rotated), axis=1) % 5000).ravel() // 50, minlength=100)
    assert chi_squared(steps, 99) > 100
