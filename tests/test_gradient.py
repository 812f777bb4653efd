"""`manual_grad` against independent oracles, and the laws that a gradient obeys."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxmlp
from jaxmlp import Batch, Layer
from jaxmlp.activations import ACTIVATIONS
from jaxmlp.gradient import derivation_lines
from jaxmlp.losses import label_rows
from tests.strategies import DTYPES, LONG, Case, as_arrays, cases
from tests.tolerances import assert_close, gradient_bound


def manual(case: Case) -> jaxmlp.Params:
    return manual_value_and_grad(case)[1]


def manual_value_and_grad(case: Case):
    return jaxmlp.manual_value_and_grad(case.params, case.batch, activation=case.activation)


def ready(case: Case) -> Case:
    params, batch = as_arrays((case.params, case.batch))
    return case._replace(params=params, batch=batch)


def bound(case: Case) -> jaxmlp.Params:
    return gradient_bound(case.params, case.batch, case.activation, DTYPES[case.dtype])


autodiff = jax.jit(jax.value_and_grad(jaxmlp.loss), static_argnames="activation")


def check_against_autodiff(case: Case) -> None:
    with jax.enable_x64(case.x64):
        case = ready(case)
        value, grad = manual_value_and_grad(case)
        loss, expected = autodiff(case.params, case.batch, activation=case.activation)
        assert all(leaf.dtype == DTYPES[case.dtype] for leaf in jax.tree.leaves(expected))
        assert_close(grad, expected, bound(case))
        assert value.dtype == loss.dtype
        cost = np.abs(case.batch.labels).sum() * (1 + float(jnp.abs(loss)))  # of cancelling rows
        rtol = 1e-12 if case.x64 else 1e-5
        np.testing.assert_allclose(value, loss, rtol=rtol, atol=rtol * cost)


@given(cases())
def test_agrees_with_autodiff(case):
    check_against_autodiff(case)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(5, 4, 6, 3), (3, 4, 3)][: None if LONG else 1])
def test_the_bound_bites(dtype, sizes):
    """A gradient of zeros, a negated one, and one with a single entry a little off are refused."""
    factor = {"float64": 1 + 1e-9, "float32": 1.001, "bfloat16": 2.0}[dtype]
    with jax.enable_x64(dtype == "float64"):
        params = jaxmlp.init_params(jax.random.key(3), sizes, dtype=dtype)
        x = jax.random.normal(jax.random.key(4), (4, sizes[0]), jnp.float32)
        batch = Batch(x, jnp.asarray([0, 1, 2, 1]))
        allowed = gradient_bound(params, batch, "relu", DTYPES[dtype])
        grad = jaxmlp.manual_grad(params, batch)
        assert_close(grad, grad, allowed)
        last = grad[-1].weight
        place = jnp.unravel_index(jnp.argmax(jnp.abs(last)), last.shape)
        wrong_entry = grad[-1]._replace(weight=last.at[place].multiply(jnp.asarray(factor, dtype)))
        for wrong in (
            jax.tree.map(jnp.zeros_like, grad),
            jax.tree.map(jnp.negative, grad),
            (*grad[:-1], wrong_entry),
        ):
            with pytest.raises(AssertionError, match="allowed difference"):
                assert_close(wrong, grad, allowed)


@given(cases(numbers=("small integers", "zero weights", "zero inputs")))
def test_agrees_with_autodiff_at_kinks(case):
    check_against_autodiff(case)


@given(cases(dtypes=("float64",), numbers=("dense",), activations=("tanh", "sigmoid", "gelu")))
def test_agrees_with_central_differences(case):
    with jax.enable_x64(True):
        case = ready(case)
        flat, unflatten = jax.flatten_util.ravel_pytree(case.params)
        got, _ = jax.flatten_util.ravel_pytree(manual(case))
        step = 1e-5
        steps = (step, -step)

        def at(vector):
            return jaxmlp.loss(unflatten(vector), case.batch, activation=case.activation)

        @jax.jit
        def difference(flat):
            ahead, behind = (jax.vmap(at)(flat[None, :] + s * jnp.eye(len(flat))) for s in steps)
            return (ahead - behind) / (2 * step)

        central = difference(flat)
        # truncation is of order step² times a third derivative, rounding of order 1e-16 / step
        np.testing.assert_allclose(got, central, atol=2e-8, rtol=1e-6)


@given(cases(activations=("relu", "gelu")), st.sampled_from(["squared", "sigmoid"]))
def test_other_losses_agree_with_autodiff(case, loss):
    """In float64, on kinks, zeros, huge logits and every kind of label."""
    with jax.enable_x64(True):
        case = ready(case._replace(dtype="float64"))
        exact = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), case.params)
        settings = {"activation": case.activation, "loss": loss}
        value, grad = jaxmlp.manual_value_and_grad(exact, case.batch, **settings)
        expected_value, expected = either_loss(exact, case.batch, **settings)
        assert jax.tree.structure(grad) == jax.tree.structure(expected)
        largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
        np.testing.assert_allclose(value, expected_value, rtol=1e-12, atol=1e-12)
        for ours, theirs in zip(jax.tree.leaves(grad), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12 * (1 + largest))


either_loss = jax.jit(jax.value_and_grad(jaxmlp.loss), static_argnames=("activation", "loss"))


@pytest.mark.parametrize("loss", ["squared", "sigmoid"])
@given(cases(dtypes=("float64",), numbers=("dense",), activations=("tanh", "sigmoid", "gelu")))
def test_other_losses_agree_with_central_differences(loss, case):
    with jax.enable_x64(True):
        case = ready(case)
        flat, unflatten = jax.flatten_util.ravel_pytree(case.params)
        settings = {"activation": case.activation, "loss": loss}
        grad = jaxmlp.manual_grad(case.params, case.batch, **settings)
        got, _ = jax.flatten_util.ravel_pytree(grad)
        along = np.random.default_rng(0).normal(size=len(flat))

        def at(step):
            return float(jaxmlp.loss(unflatten(flat + step * along), case.batch, **settings))

        slope = (at(1e-5) - at(-1e-5)) / 2e-5
        size = float(np.abs(np.asarray(got)) @ np.abs(along))
        assert float(got @ along) == pytest.approx(slope, abs=1e-6 * (1 + size))


@pytest.mark.parametrize("loss", ["squared", "sigmoid"])
def test_other_losses_from_zero_weights(loss):
    """Where people start: z = 0, and by hand ∂C/∂b = mean of p − y, with p = 0 or a half."""
    params = (Layer(jnp.zeros((2, 3)), jnp.zeros(3)),)
    y = jnp.asarray([[1.0, 0.0, 0.5], [0.0, 0.0, 2.0]])
    batch = Batch(jnp.ones((2, 2)), y)
    expected = (0.5 if loss == "sigmoid" else 0.0) - np.asarray(y).mean(axis=0)
    for gradient in (jaxmlp.manual_grad, jax.grad(jaxmlp.loss)):
        bias = np.asarray(gradient(params, batch, loss=loss)[0].bias)
        np.testing.assert_allclose(bias, expected, rtol=1e-6)


@pytest.mark.parametrize("loss", ["softmax", "squared", "sigmoid"])
@given(cases(dtypes=("float64",), activations=("relu", "tanh")), st.integers(0, 2**32 - 1))
def test_weights(loss, case, seed):
    """(38): against autodiff; as labels of another sum; and 0 leaves an example out."""
    weights = np.random.default_rng(seed).choice([0.0, 0.5, 3.0], len(case.batch.x))
    with jax.enable_x64(True):
        case = ready(case)
        settings = {"activation": case.activation, "loss": loss}
        found = jaxmlp.manual_value_and_grad(case.params, case.batch, weights=weights, **settings)
        expected = either_loss(case.params, case.batch, weights=weights, **settings)
        largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
        close = {"rtol": 1e-9, "atol": 1e-12 * (1 + largest)}
        jax.tree.map(lambda *both: np.testing.assert_allclose(*both, **close), found, expected)
        if loss == "softmax":
            y = label_rows(case.batch.labels, case.params[-1].weight.shape[1], np.float64)
            batch = Batch(case.batch.x, weights[:, None] * y)
            other = jaxmlp.manual_value_and_grad(case.params, batch, activation=case.activation)
            jax.tree.map(lambda *both: np.testing.assert_allclose(*both, **close), found, other)
        kept = np.flatnonzero(weights)
        if len(kept):  # the mean and its gradient are those of a batch of these alone
            few = Batch(*(array[kept] for array in case.batch))
            alone = jaxmlp.manual_value_and_grad(case.params, few, **settings)
            shares = (weights > 0) * len(weights) / len(kept)
            found = jaxmlp.manual_value_and_grad(
                case.params, case.batch, weights=shares, **settings
            )
            jax.tree.map(lambda *both: np.testing.assert_allclose(*both, **close), found, alone)


@pytest.mark.usefixtures("as_users_see_it")
def test_weights_of_another_number():
    params, x = (Layer(jnp.eye(2), None),), jnp.ones((3, 2))
    for function in (jaxmlp.loss, jaxmlp.manual_grad, jaxmlp.manual_value_and_grad):
        with pytest.raises(ValueError, match=r"weights have shape \(2,\), but there are 3"):
            function(params, Batch(x, jnp.asarray([0, 1, 1])), weights=np.ones(2))


def test_hand_worked_value():
    """One example, one hidden unit on and one off, logits (0, 0): p = (½, ½), y = (1, 0)."""
    params = (
        Layer(jnp.asarray([[2.0, -1.0]]), jnp.asarray([0.0, 0.0])),
        Layer(jnp.asarray([[1.0, 1.0], [5.0, 7.0]]), jnp.asarray([0.0, 0.0])),
    )
    value, grad = jaxmlp.manual_value_and_grad(
        params, Batch(jnp.asarray([[3.0]]), jnp.asarray([0]))
    )
    # h = (6, 0), z = (6, 6), ∂C/∂z = (−½, ½), ∂C/∂W¹ = hᵀ ∂C/∂z, ∂C/∂h = (0, 1), mask (1, 0)
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    np.testing.assert_array_equal(grad[1].weight, [[-3.0, 3.0], [0.0, 0.0]])
    np.testing.assert_array_equal(grad[1].bias, [-0.5, 0.5])
    np.testing.assert_array_equal(grad[0].weight, [[0.0, 0.0]])
    np.testing.assert_array_equal(grad[0].bias, [0.0, 0.0])


def test_hand_worked_value_reaches_the_first_layer():
    """As above, with unequal outgoing weights and a label sum of 2: ∂C/∂z = 2p − y."""
    params = (
        Layer(jnp.asarray([[2.0, -1.0]]), None),
        Layer(jnp.asarray([[0.0, 0.0], [5.0, 7.0]]), None),
    )
    batch = Batch(jnp.asarray([[3.0]]), jnp.asarray([[2.0, 0.0]]))
    np.testing.assert_array_equal(jaxmlp.manual_grad(params, batch)[0].weight, [[0.0, 0.0]])
    params = (params[0], Layer(jnp.asarray([[1.0, 1.0], [5.0, 7.0]]).at[0, 1].set(1.0), None))
    lines = derivation_lines(params, batch)
    np.testing.assert_array_equal(lines.dz[1], [[-1.0, 1.0]])
    np.testing.assert_array_equal(lines.dh[0], [[0.0, 2.0]])
    np.testing.assert_array_equal(lines.dz[0], [[0.0, 0.0]])


@given(cases(dtypes=("float64",)), st.integers(0, 2**32 - 1))
def test_hidden_units_permute(case, seed):
    """Renaming hidden units renames the entries of the gradient and changes nothing else."""
    if len(case.params) == 1:
        return
    order = np.random.default_rng(seed).permutation(case.params[0].weight.shape[1])

    def rename(params):
        first, second, *others = params
        bias = None if first.bias is None else first.bias[order]
        first = Layer(first.weight[:, order], bias)
        return (first, second._replace(weight=second.weight[order]), *others)

    with jax.enable_x64(True):
        case = ready(case)
        renamed = case._replace(params=rename(case.params))
        assert_close(manual(renamed), rename(manual(case)), bound(renamed))


@given(cases(dtypes=("float64",)))
def test_batch_gradient_is_mean_of_example_gradients(case):
    with jax.enable_x64(True):
        case = ready(case)

        def of_one(x, label):
            batch = Batch(x[None, :], jnp.expand_dims(label, 0))
            return jaxmlp.manual_grad(case.params, batch, activation=case.activation)

        each = jax.vmap(of_one)(*case.batch)
        mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), each)
        assert_close(manual(case), mean, bound(case))


@given(cases(dtypes=("float64",)))
def test_zero_residual_gives_zero_gradient(case):
    with jax.enable_x64(True):
        case = ready(case)
        z = jaxmlp.forward(case.params, case.batch.x, activation=case.activation)
        case = case._replace(batch=case.batch._replace(labels=jax.nn.softmax(z, axis=1)))
        assert_close(manual(case), jax.tree.map(jnp.zeros_like, case.params), bound(case))


@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 3), (2, 3, 3, 2)])
def test_with_and_without_the_value(sizes):
    params = jaxmlp.init_params(jax.random.key(0), sizes)
    batch = Batch(jnp.ones((2, sizes[0])), jnp.asarray([0, 1]))
    _, grad = jaxmlp.manual_value_and_grad(params, batch)
    jax.tree.map(np.testing.assert_array_equal, grad, jaxmlp.manual_grad(params, batch))


def forbidden(*args, **kwargs):
    raise AssertionError("automatic differentiation was called")


def test_no_autodiff_below(monkeypatch):
    """With JAX's differentiation broken, and in the traced program, the gradient still stands."""
    params = jaxmlp.init_params(jax.random.key(0), (3, 4, 2))
    batch = Batch(jnp.ones((4, 3)), jnp.asarray([0, 1, 0, 1]))
    from jax._src.interpreters import ad

    for name in ("jvp", "linearize_jaxpr", "backward_pass"):
        if hasattr(ad, name):
            monkeypatch.setattr(ad, name, forbidden)
    jax.clear_caches()
    with pytest.raises(AssertionError, match="differentiation"):
        jax.grad(jaxmlp.loss)(params, batch)
    for activation in ACTIVATIONS:
        jaxmlp.manual_grad(params, batch, activation=activation)
        text = str(
            jax.make_jaxpr(lambda p, b, a=activation: jaxmlp.manual_grad(p, b, activation=a))(
                params, batch
            )
        )
        assert "custom_jvp" not in text
        assert "custom_vjp" not in text


def test_composes_with_vmap_jit_and_scan():
    keys = jax.random.split(jax.random.key(0), 3)
    networks = jax.vmap(lambda key: jaxmlp.init_params(key, (3, 4, 2)))(keys)
    x, labels = jnp.ones((5, 2, 3)), jnp.asarray([[0, 1]] * 5)
    batch = Batch(x[0], labels[0])
    together = jax.jit(jax.vmap(jaxmlp.manual_grad, in_axes=(0, None)))(networks, batch)
    params = jaxmlp.init_params(keys[0], (3, 4, 2))
    for number in range(3):
        params = jax.tree.map(lambda leaf, number=number: leaf[number], networks)
        one = jaxmlp.manual_grad(params, batch)
        alone = jax.tree.map(lambda leaf, number=number: leaf[number], together)
        assert_close(alone, one, gradient_bound(params, batch, "relu", jnp.float32))

    def descend(params, batch):
        value, grad = jaxmlp.manual_value_and_grad(params, batch)
        return jax.tree.map(lambda p, g: p - 0.5 * g, params, grad), value

    _, values = jax.lax.scan(descend, params, Batch(x, labels))
    assert values[-1] < values[0]


def test_bfloat16_sums_in_float32():
    """2,000 equal contributions: summed in bfloat16 they would stop growing at 256 of them."""
    params = (Layer(jnp.zeros((1, 2), jnp.bfloat16), jnp.zeros(2, jnp.bfloat16)),)
    batch = Batch(jnp.ones((2000, 1)), jnp.zeros(2000, jnp.int32))
    grad = jaxmlp.manual_grad(params, batch)
    for leaf in jax.tree.leaves(grad):
        assert leaf.dtype == jnp.bfloat16
        np.testing.assert_array_equal(leaf.astype(jnp.float32).ravel(), [-0.5, 0.5])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_networks_that_share_inputs(dtype):
    """XLA's CPU backend has no product of shared inputs with ∂C/∂z of many networks in bfloat16."""
    keys = jax.random.split(jax.random.key(0), 3)
    networks = jax.vmap(lambda key: jaxmlp.init_params(key, (24, 16, 5), dtype=dtype))(keys)
    batch = Batch(jax.random.normal(jax.random.key(1), (12, 24)), jnp.arange(12) % 5)
    together = jax.jit(jax.vmap(jaxmlp.manual_grad, in_axes=(0, None)))(networks, batch)
    for number in range(3):
        params, alone = (
            jax.tree.map(lambda leaf, number=number: leaf[number], tree)
            for tree in (networks, together)
        )
        one = jaxmlp.manual_grad(params, batch)
        assert_close(alone, one, gradient_bound(params, batch, "relu", dtype))


def test_same_labels_in_every_form():
    params = jaxmlp.init_params(jax.random.key(1), (3, 4, 3), bias=False)
    x = jax.random.normal(jax.random.key(2), (5, 3))
    classes = jnp.asarray([0, 2, 1, 1, 0])
    grads = [
        jaxmlp.manual_grad(params, Batch(x, labels))
        for labels in (classes, jnp.eye(3)[classes], jnp.eye(3, dtype=jnp.int32)[classes])
    ]
    jax.tree.map(np.testing.assert_array_equal, grads[0], grads[1])
    jax.tree.map(np.testing.assert_array_equal, grads[0], grads[2])


def test_layers_of_different_dtypes():
    """Each layer computes in its own dtype; strict promotion would refuse a mixture."""
    with jax.enable_x64(True):
        params = as_arrays(
            (
                Layer(*(jnp.ones(shape, jnp.float32) for shape in ((3, 4), (4,)))),
                Layer(*(jnp.ones(shape, jnp.float64) for shape in ((4, 2), (2,)))),
                Layer(*(jnp.ones(shape, jnp.float32) for shape in ((2, 3), (3,)))),
            )
        )
        batch = Batch(jnp.ones((2, 3), jnp.float32), jnp.asarray([0, 2]))
        _, expected = autodiff(params, batch, activation="tanh")
        grad = jaxmlp.manual_grad(params, batch, activation="tanh")
        assert_close(grad, expected, gradient_bound(params, batch, "tanh", np.float32))
