"""The loss against exact values, at its extremes, and what it refuses."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from scipy.special import log_softmax

import jaxmlp
from jaxmlp import Batch, Layer
from jaxmlp.losses import classes, cross_entropy, softmax
from tests.strategies import as_arrays, cases


@given(cases(dtypes=("float64",)))
def test_loss_is_the_formula(case):
    with jax.enable_x64(True):
        params, batch = as_arrays((case.params, case.batch))
        value = jaxmlp.loss(params, batch, activation=case.activation)
        z = np.asarray(jaxmlp.forward(params, batch.x, activation=case.activation))
    labels = case.batch.labels
    y = np.eye(z.shape[1])[labels] if labels.ndim == 1 else labels
    expected = np.mean(-np.sum(y * log_softmax(z, axis=1), axis=1))
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12)


def through(logits):
    """A network whose logits are its inputs."""
    return (Layer(jnp.eye(len(logits)), None),), jnp.asarray([logits])


@pytest.mark.parametrize(
    ("logits", "label", "expected"),
    [
        ([1e4, -1e4, 0.0], 0, 0.0),
        ([1e4, -1e4, 0.0], 1, 2e4),
        ([-1e4, -1e4, -1e4], 2, np.log(3)),
        ([1e4, 1e4, -1e4], 0, np.log(2)),
    ],
)
def test_stable_for_huge_logits(logits, label, expected):
    params, x = through(logits)
    value, grad = jaxmlp.manual_value_and_grad(params, Batch(x, jnp.asarray([label])))
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-30)
    assert jnp.isfinite(grad[0].weight).all()
    row = jnp.zeros((1, 3)).at[0, label].set(1.0)  # with exactly zero probabilities
    np.testing.assert_array_equal(jaxmlp.loss(params, Batch(x, row)), value)


def test_softmax_sums_to_one_and_does_not_overflow():
    z = jnp.asarray([[1e4, 0.0, -1e4], [0.0, jnp.log(2.0), 0.0]])
    np.testing.assert_allclose(softmax(z), [[1, 0, 0], [0.25, 0.5, 0.25]], rtol=1e-6)


def test_cross_entropy_is_per_example():
    z = jnp.zeros((2, 4))
    labels = jnp.asarray([[1.0, 0, 0, 0], [0.5, 0.5, 1.0, 1.0]])
    np.testing.assert_allclose(cross_entropy(z, labels), np.log(4) * np.asarray([1, 3]), rtol=1e-6)


def test_loss_is_float32_for_bfloat16_parameters():
    params = jaxmlp.init_params(jax.random.key(0), (3, 2), dtype=jnp.bfloat16)
    assert jaxmlp.loss(params, Batch(jnp.ones((1, 3)), jnp.asarray([0]))).dtype == jnp.float32


def test_accuracy():
    params = (Layer(jnp.eye(2), None),)
    x = jnp.asarray([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [0.0, 3.0]])
    assert jaxmlp.accuracy(params, Batch(x, jnp.asarray([0, 1, 1, 1]))) == 0.75
    assert jaxmlp.accuracy(params, Batch(x, jnp.asarray([0, 0, 0, 0]))) == 0.5
    rows = jnp.asarray([[1.0, 0.0], [0.3, 0.7], [0.0, 1.0], [0.4, 0.6]])
    assert jaxmlp.accuracy(params, Batch(x, rows)) == 0.75
    np.testing.assert_array_equal(classes(rows), [0, 1, 1, 1])
    # the hidden layer's activation matters
    params = (Layer(-jnp.eye(2), None), Layer(jnp.eye(2), None))
    batch = Batch(x[1:3], jnp.asarray([0, 1]))
    assert jaxmlp.accuracy(params, batch, activation="identity") == 1
    assert jaxmlp.accuracy(params, batch) == 0.5


FUNCTIONS = [jaxmlp.loss, jaxmlp.accuracy, jaxmlp.manual_grad, jaxmlp.manual_value_and_grad]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_is_one_compiled_program(function):
    batch = Batch(jnp.ones((2, 3)), jnp.asarray([0, 1]))
    program = jax.make_jaxpr(function)((Layer(jnp.ones((3, 2)), None),), batch)
    assert [equation.params.get("name") for equation in program.eqns] == [function.__name__]


PARAMS = (Layer(jnp.ones((3, 2)), None),)
X = np.ones((4, 3), np.float32)


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("function", [jaxmlp.loss, jaxmlp.manual_grad, jaxmlp.accuracy])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(3, int), r"labels have dtype int.. and shape \(3,\).*of shape \(4,\)"),
        (np.zeros(4, np.float32), "labels have dtype float32"),
        (np.zeros((4, 3), np.float32), r"real rows of shape \(4, 2\)"),
        (np.zeros((4, 1), int), r"real rows of shape \(4, 2\)"),
        (np.zeros((4, 2), bool), "labels have dtype bool"),
        (np.zeros((4, 2, 1), np.float32), r"shape \(4, 2, 1\)"),
        ([0, 1, 0, 1], "labels is a list: give an array"),
    ],
)
def test_refuses_labels(function, labels, message):
    with pytest.raises(ValueError, match=message):
        function(PARAMS, Batch(X, labels))


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("label", [2, -1, 1000])
def test_refuses_labels_that_name_no_class(function, label):
    labels = np.asarray([0, 1, label, 0])
    with pytest.raises(ValueError, match=rf"holds {label} at \[2\].*from 0 to 1"):
        function(PARAMS, Batch(X, labels))
    # under a trace there are no values to look at: such a label is a row of zeros
    value, grad = jax.jit(jaxmlp.manual_value_and_grad)(PARAMS, Batch(X, labels))
    np.testing.assert_allclose(value, 0.75 * np.log(2), rtol=1e-6)
    assert jnp.isfinite(grad[0].weight).all()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_arguments_by_name(function):
    """As jax.grad(loss) takes them; the activation only so, for `argnums` counts positions."""
    batch = Batch(jnp.asarray(X), jnp.zeros(4, int))
    by_name = function(params=PARAMS, batch=batch, activation="tanh")
    by_place = function(PARAMS, batch, activation="tanh")
    jax.tree.map(np.testing.assert_array_equal, by_name, by_place)
    with pytest.raises(TypeError, match="positional"):
        function(PARAMS, batch, "tanh")
    kinds = [parameter.kind.name for parameter in inspect.signature(function).parameters.values()]
    assert kinds[:3] == ["POSITIONAL_OR_KEYWORD", "POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY"]
    assert set(kinds[3:]) <= {"KEYWORD_ONLY"}


@pytest.mark.usefixtures("as_users_see_it")
def test_refuses_what_is_no_batch():
    with pytest.raises(ValueError, match="batch is a tuple: give jaxmlp"):
        jaxmlp.loss(PARAMS, (X, np.zeros(4, int)))


@pytest.mark.parametrize("name", ["squared", "sigmoid"])
def test_other_losses_are_the_formula(name):
    """(33) and (35) as they stand, for labels within 0 and 1 and beyond."""
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(2, 5, 3)).astype(np.float32)
    p = 1 / (1 + np.exp(-z.astype(float)))
    costs = {
        "squared": ((z - y) ** 2).sum(axis=1) / 2,
        "sigmoid": -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=1),
    }
    params = (Layer(jnp.eye(3), None),)
    value = jaxmlp.loss(params, Batch(jnp.asarray(z), jnp.asarray(y)), loss=name)
    np.testing.assert_allclose(value, costs[name].mean(), rtol=1e-5)


def test_the_loss_of_sigmoids_does_not_overflow():
    params = (Layer(jnp.eye(2), None),)
    x = jnp.asarray([[1e30, -1e30], [-1e4, 1e4]])
    for y, expected in (([[1.0, 0.0], [0.0, 1.0]], 0.0), ([[1.0, 0.0], [1.0, 0.0]], 1e4)):
        value, grad = jaxmlp.manual_value_and_grad(params, Batch(x, jnp.asarray(y)), loss="sigmoid")
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        assert np.isfinite(grad[0].weight).all()


def test_an_unknown_loss():
    params = (Layer(jnp.eye(2), None),)
    batch = Batch(jnp.ones((1, 2)), jnp.asarray([0]))
    for function in (jaxmlp.loss, jaxmlp.manual_grad, jaxmlp.manual_value_and_grad):
        with pytest.raises(ValueError, match="unknown loss 'hinge': choose one of softmax"):
            function(params, batch, loss="hinge")
