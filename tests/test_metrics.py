"""Every metric is scikit-learn's, and what it is where that is not defined."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from jaxmlp.losses import softmax
from jaxmlp.metrics import score

SIZES = st.sampled_from([(5, 2), (12, 3), (40, 4)])
compiled = jax.jit(score, static_argnames=("metric", "loss"))


def measured(metric, loss, z, labels):
    return float(compiled(jnp.asarray(z), jnp.asarray(labels), metric=metric, loss=loss))


def draw(size, seed):
    """Logits with ties, some of them right for the classes."""
    rng = np.random.default_rng(seed)
    n, k = size
    classes = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    z = rng.normal(size=size).astype(np.float32)
    z[rng.permutation(n)[: n // 2], classes[: n // 2]] += 1
    z[: n // 3] = z[0]
    return rng, z, classes


@given(SIZES, st.integers(0, 2**32 - 1))
def test_of_classes(size, seed):
    _, z, classes = draw(size, seed)
    found = z.argmax(axis=1)
    p = np.asarray(softmax(jnp.asarray(z)), float)
    rows = np.eye(size[1], dtype=np.float32)[classes]
    auc = (
        sklearn.roc_auc_score(classes, p[:, 1])
        if size[1] == 2
        else sklearn.roc_auc_score(classes, p / p.sum(axis=1, keepdims=True), multi_class="ovr")
    )
    expected = {
        "accuracy": sklearn.accuracy_score(classes, found),
        "balanced_accuracy": sklearn.balanced_accuracy_score(classes, found),
        "f1_macro": sklearn.f1_score(classes, found, average="macro"),
        "auc": auc,
    }
    for labels in (classes.astype(np.int32), rows):
        values = {name: measured(name, "softmax", z, labels) for name in expected}
        assert values == pytest.approx(expected, abs=1e-6)


@given(SIZES, st.integers(0, 2**32 - 1))
def test_of_several_labels_at_once(size, seed):
    rng, z, _ = draw(size, seed)
    y = rng.integers(0, 2, size)
    y[0], y[1] = 0, 1
    expected = {
        "accuracy": sklearn.accuracy_score(y, z > 0),
        "f1_macro": sklearn.f1_score(y, z > 0, average="macro", zero_division=0),
        "auc": sklearn.roc_auc_score(y, z),
    }
    values = {name: measured(name, "sigmoid", z, y.astype(np.float32)) for name in expected}
    assert values == pytest.approx(expected, abs=1e-6)


@given(SIZES, st.integers(0, 2**32 - 1))
def test_of_real_targets(size, seed):
    rng, z, _ = draw(size, seed)
    y = (z + rng.normal(size=size)).astype(np.float32)
    y[:, 0] = 3  # a target that never changes counts 0, as in scikit-learn
    expected = sklearn.r2_score(y, z)
    assert measured("r2", "squared", z, y) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert measured("r2", "squared", y, y) == 1


def test_classes_that_no_example_has_are_left_out():
    z = np.eye(3, dtype=np.float32)[[0, 1, 0]]
    labels = np.asarray([0, 1, 1], np.int32)
    assert measured("balanced_accuracy", "softmax", z, labels) == pytest.approx(0.75)
    assert measured("f1_macro", "softmax", z, labels) == pytest.approx(2 / 3)
    assert 0 <= measured("auc", "softmax", z, labels) <= 1
    assert np.isnan(measured("auc", "softmax", z, np.zeros(3, np.int32)))
