"""The program that JAX runs, executed on symbols: it is the derivative, for all numbers at once."""

import functools
from itertools import pairwise, product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import jaxmlp
from jaxmlp import Batch, Layer
from tests import corpus
from tests.formal.symbolic import Symbolic, in_turn, is_zero, shifts, symbols
from tests.strategies import LONG

NOTE = ((3, 4, 3), False, 1)  # the network of the note


def problem(sizes, bias, n, classes=None) -> Any:
    """Parameters and a batch of symbols; labels are rows of symbols, or classes."""
    params = tuple(
        Layer(symbols(f"W{layer}", pair), symbols(f"b{layer}", pair[1:]) if bias else None)
        for layer, pair in enumerate(pairwise(sizes))
    )
    labels = symbols("y", (n, sizes[-1])) if classes is None else np.asarray(classes)
    return params, Batch(symbols("x", (n, sizes[0])), labels)


def differences(run, params, batch, activation="relu", gradient=jaxmlp.manual_grad):
    """The derivative of the traced loss, less the traced gradient, by every parameter.

    Also that by what softmax is shifted by, which must not matter: so that it depends on the
    parameters plays no part.
    """
    loss = run(lambda p, b: jaxmlp.loss(p, b, activation=activation), params, batch).item()
    by_shift = {shift: sp.diff(loss, shift) for shift in shifts(loss)}
    assert len(by_shift) == len(batch.x)
    grad = run(lambda p, b: gradient(p, b, activation=activation), params, batch)
    return by_shift | {
        symbol: sp.diff(loss, symbol) - entry
        for leaf, entries in zip(jax.tree.leaves(params), jax.tree.leaves(grad), strict=True)
        for symbol, entry in zip(leaf.ravel(), entries.ravel(), strict=True)
    }


def patterns(sizes, n):
    """Every pattern of hidden units that are on and off."""
    return product((True, False), repeat=n * sum(sizes[1:-1]))


@pytest.mark.parametrize(
    ("sizes", "bias", "n"),
    [
        NOTE,
        ((2, 2, 2, 2), True, 1),
        *[((2, 2, 2), True, 2)] * LONG,
        *[((2, 2, 2, 2), True, 2), ((3, 3, 3, 2), False, 1)] * LONG,
    ],
)
def test_every_entry_for_every_pattern_of_relus(sizes, bias, n):
    """Of 256 patterns of the largest network, some, unless there is time."""
    params, batch = problem(sizes, bias, n)
    for signs in [*patterns(sizes, n)][:: 1 if LONG or n * sum(sizes[1:-1]) < 8 else 60]:
        for symbol, difference in differences(Symbolic(in_turn(signs)), params, batch).items():
            assert is_zero(difference), (signs, symbol)


@pytest.mark.parametrize("dtype", [np.float64, jnp.bfloat16])
def test_other_dtypes(dtype):
    """In which other programs run: bfloat16 is widened for sums."""
    params, batch = problem((2, 2, 2), True, 1)
    run = Symbolic(in_turn((True, False)), dtype)
    assert all(map(is_zero, differences(run, params, batch).values()))


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "gelu", "identity"])
def test_other_activations(activation):
    params, batch = problem((2, 2, 2, 2) if activation == "identity" else (2, 2, 2), True, 2)
    for symbol, difference in differences(Symbolic(), params, batch, activation).items():
        assert is_zero(difference), symbol


def test_classes():
    params, batch = problem((2, 2, 3), True, 2, classes=[2, 0])
    for difference in differences(
        Symbolic(in_turn((True, False, True, True))), params, batch
    ).values():
        assert is_zero(difference)


def test_so_is_the_gradient_by_jax():
    """Its program is another one."""
    params, batch = problem((2, 2, 2), True, 1)

    def gradient(params, batch, activation):
        return jax.grad(jaxmlp.loss)(params, batch, activation=activation)

    run = Symbolic(in_turn((True, False)))
    assert all(map(is_zero, differences(run, params, batch, gradient=gradient).values()))


def in_jax(name):
    """A mistake of the corpus as a JAX function; none without a name."""
    mistake = next((each for each in corpus.MISTAKES if each.name == name), None)
    wrong = corpus.build(mistake, jnp)

    def gradient(params, batch, activation):
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return wrong(params, batch)

    return gradient


@pytest.mark.parametrize(
    "name",
    ["", "sign of the logit gradient", "1/N missing", "mask forgotten", "weight untransposed"],
)
def test_a_wrong_program_is_not_zero(name):
    """And without its mistake, the same program is."""
    params, batch = problem((2, 2, 2), True, 2)
    found = differences(
        Symbolic(in_turn((True, False, False, True))), params, batch, gradient=in_jax(name)
    )
    assert all(map(is_zero, found.values())) == (not name)


def test_the_shift_of_softmax_cancels():
    """Any number may be subtracted from the logits: equation (5)."""
    params, batch = problem((2, 2), True, 1)
    value = Symbolic()(jaxmlp.loss, params, batch).item()
    logits = batch.x @ params[0].weight + params[0].bias[None]
    plain = -sum(
        y * sp.log(sp.exp(z) / sum(map(sp.exp, logits[0])))
        for y, z in zip(batch.labels[0], logits[0], strict=True)
    )
    (shift,) = shifts(value)
    assert is_zero(sp.diff(value, shift))
    assert is_zero(sp.diff(value - plain, params[0].bias[0]))


def test_a_shift_that_does_not_cancel():
    """A softmax that forgets it below the logarithm."""

    def wrong(z):
        return z - jnp.log(jnp.sum(jnp.exp(z - jnp.max(z))))

    value = Symbolic()(wrong, symbols("z", (2,)))[0]
    assert not is_zero(sp.diff(value, *shifts(value)))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("sin", jnp.sin),
        ("convert_element_type", lambda x: x.astype(jnp.int32)),  # rounds
        ("convert_element_type", lambda x: x.astype(bool)),
        ("eq", lambda x: jnp.where(x * 2 == x + x, x, 0.0)),  # of expressions
        ("reduce", lambda x: jax.lax.reduce(x, 0.0, lambda a, b: a + 2 * b, (0,))),
        ("div", lambda x: x * jax.lax.div(jnp.int32(1), jnp.asarray(x.shape[0])).astype(x.dtype)),
        ("mul", lambda x: x * (jnp.arange(2) * jnp.int32(2**30)).astype(x.dtype)),  # may wrap
        ("select_n", lambda x: jax.lax.select_n(jnp.arange(2), x, x, -x)),
        ("max", lambda x: jnp.maximum(x, 1.0)),
        ("dot_general", lambda x: jnp.einsum("i,i->", x, x)),
    ],
)
def test_what_is_not_known_is_named(name, function):
    with pytest.raises(NotImplementedError, match=f"{name} has no symbolic form"):
        Symbolic()(function, symbols("x", (2,)))


@pytest.mark.parametrize("factor", [2, 3])
def test_platforms_have_to_agree(factor):
    """A program that depends on the platform has a value where that is the same on each."""

    def doubled(x):
        return jax.lax.platform_dependent(
            x, cpu=lambda x: x + x, default=lambda x: x * np.float32(factor)
        )

    x = symbols("x", (2,))
    if factor == 2:
        assert list(Symbolic()(doubled, x)) == [2 * each for each in x]
    else:
        with pytest.raises(NotImplementedError, match="platforms compute different things"):
            Symbolic()(doubled, x)


def test_named_lines():
    """What is named is known by its symbols from there on."""

    def lines(x):
        y = jnp.exp(x)
        return y, y * x

    y, z = Symbolic()(lines, symbols("x", (1,)), names=("y", ""))
    assert str(y[0]) == "y[0]"
    assert str(z[0]) in ("x[0]*y[0]", "y[0]*x[0]")


def test_fewer_signs_than_questions():
    with pytest.raises(ValueError, match=r"fewer signs than questions: is -x\[0\] above 0?"):
        Symbolic(in_turn([True]))(lambda x: (x > 0) & (-x > 0), symbols("x", (1,)))


@pytest.mark.parametrize("sizes", [(3, 4, 3), (5, 7, 6, 4)])
def test_exact_along_a_random_direction(sizes):
    """At rational numbers, where every sign is known, and for larger networks."""
    rng = np.random.default_rng(len(sizes))
    t = sp.Symbol("t", real=True)

    def rational(*shape):
        pairs = zip(rng.integers(-9, 10, shape).flat, rng.integers(1, 5, shape).flat, strict=True)
        return np.array([sp.Rational(int(a), int(b)) for a, b in pairs], object).reshape(shape)

    def layers():
        return tuple(Layer(rational(*each), rational(each[1])) for each in pairwise(sizes))

    params, direction = layers(), layers()
    batch = Batch(rational(3, sizes[0]), rational(3, sizes[-1]))
    run = Symbolic(lambda expression: expression.subs(t, 0) > 0)
    grad = run(jaxmlp.manual_grad, params, batch)
    moved = jax.tree.map(lambda leaf, by: leaf + t * by, params, direction)
    slope = sp.diff(run(jaxmlp.loss, moved, batch).item(), t).subs(t, 0)
    pairs = zip(jax.tree.leaves(grad), jax.tree.leaves(direction), strict=True)
    assert is_zero(slope - sum((entries * by).sum() for entries, by in pairs))


@pytest.mark.parametrize("loss", ["squared", "sigmoid"])
def test_other_losses(loss):
    """The traced gradient is the derivative of the traced loss, entry by entry."""
    params, batch = problem((2, 2, 2), True, 2)
    of = functools.partial(jaxmlp.loss, loss=loss)
    by_hand = functools.partial(jaxmlp.manual_grad, loss=loss)
    run = Symbolic(in_turn((True, False, True, True)))
    value, grad = run(of, params, batch).item(), run(by_hand, params, batch)
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(grad), strict=True)
    for symbol, entry in ((s, e) for a, b in pairs for s, e in zip(a.flat, b.flat, strict=True)):
        assert is_zero(sp.diff(value, symbol) - entry), symbol
