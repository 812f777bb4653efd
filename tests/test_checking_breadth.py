"""The checker on what no list foresees: unknown mistakes, kinks, bad manners, other models."""

import itertools
import re

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import strategies as st

import jaxmlp
from jaxmlp import Layer
from jaxmlp.checking import GradientMismatch, check_gradient, check_hvp, compare_oracles
from jaxmlp.checking.check import examine
from jaxmlp.checking.hvp import examine_hvp
from jaxmlp.checking.network.locating import PROBES
from jaxmlp.checking.network.shapes import SHAPES, Shape
from tests import corpus
from tests.strategies import LONG

TWO = SHAPES[1:3]
RIGHT = corpus.build()  # in NumPy: nothing to compile
pytestmark = pytest.mark.usefixtures("as_users_see_it", "as_people_run_it")


def patched(old, new):
    """The corpus's source with another mistake."""
    return corpus.build(corpus.Mistake("", old, new, 0, ""))


def look(old, new, shapes=TWO, **settings):
    return examine(patched(old, new), shapes=shapes, dtypes=["float64"], **settings)


@pytest.mark.parametrize(
    ("old", "new", "equation", "kind"),
    [
        (corpus.MASK, f"{corpus.MASK} * (1 + z[l - 1] ** 4)", 16, "unknown mistake"),
        (corpus.UNIT, "dh = (dz ** 3 + dz) @ W.T", 15, "unknown mistake"),
        (corpus.P, "p = e ** 0.7 / (e ** 0.7).sum(axis=1, keepdims=True)", 4, "unknown mistake"),
        (corpus.LOGITS, f"({corpus.LOGITS}) * np.cosh(y)", 12, "unknown mistake"),
        (corpus.WEIGHT, "dW = h[l].T ** 3 @ dz", 13, "unknown mistake"),
        ("np.maximum(z[-1], 0)", "np.maximum(z[-1], 0) ** 1.5", 3, "unknown mistake"),
        (corpus.LOGITS, corpus.LOGITS.replace(" - y)", " - y / n)"), 12, "extra 1/N"),
        (corpus.WEIGHT, corpus.WEIGHT + " + 0.01 * W", 13, "extra term"),
        (corpus.LOGITS, f"np.clip({corpus.LOGITS}, -0.1, 0.1)", 12, "clipped"),
        (corpus.MASK, "dh * (z[l - 1] > 1e-9)", 16, "mask threshold"),
        ("h, z = [x], []", "h, z = [np.round(x)], []", 1, "precision lost"),
    ][:: 1 if LONG else 3],
)
def test_what_is_on_no_list_is_located(old, new, equation, kind):
    report = look(old, new)
    assert not report.passed
    assert report.diagnosis
    assert report.diagnosis.equations == (equation,), report
    assert report.diagnosis.kind == kind, report


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (corpus.MASK, "dh * (z[l - 1] > z[l - 1].mean())", ("∂C/∂z₁", "∂C/∂z₂")),
        (corpus.LOGITS, f"{corpus.LOGITS} * (np.arange(n) < n / 2)[:, None]", ("∂C/∂z₃",)),
        (corpus.LOGITS, f"{corpus.LOGITS} * (1 - p) ** 2", ("∂C/∂z₃",)),
    ][:: 1 if LONG else 2],
)
def test_what_is_located_explains_all_numbers(old, new, lines):
    """Tiny and huge ones too, and rows that are nearly the same."""
    report = look(old, new, SHAPES[1:6])
    assert report.diagnosis
    assert report.diagnosis.lines == lines
    assert report.diagnosis.says.endswith("wrong and every other one is right")


def test_leaves_that_are_right_are_not_named():
    report = look(
        corpus.WEIGHT, f"{corpus.WEIGHT}; dW[0] *= 1 + (l + 1 < len(params))", SHAPES[1:6]
    )
    assert report.diagnosis
    assert report.diagnosis.lines == ("∂C/∂W⁰", "∂C/∂W¹")


def test_a_mean_over_the_labelled_examples_only():
    report = look(f"{corpus.LOGITS}", corpus.LOGITS.replace("/ n", "/ (y.sum(axis=1) != 0).sum()"))
    assert report.diagnosis
    assert report.diagnosis.kind == "1/N with another N"


def test_the_smallest_network_is_reached_by_leaving_units_out():
    """The small networks that are tried first do not show a mask without its bias."""
    report = look(corpus.MASK, "dh * (z[l - 1] - params[l - 1].bias > 0)", SHAPES[1:2])
    assert report.diagnosis
    assert report.diagnosis.kind == "derivative at the wrong place"
    assert report.example
    assert report.example.case.shape == Shape((1, 1, 2), True, 1)


@pytest.mark.parametrize(
    ("changes", "equations"),
    [
        ([(corpus.WEIGHT, "dW = -h[l].T @ dz"), (corpus.MASK, "dh")], {13, 16}),
        ([(corpus.LOGITS, "(p - y) / n"), (corpus.BIAS, "dz.mean(axis=0)")], {12, 14}),
        (
            [(corpus.BIAS, "dz.mean(axis=0)"), (corpus.MASK, corpus.MASK.replace(">", ">="))],
            {14, 16},
        ),
        ([("b is None else b)", "b is None else 2 * b)")], {2}),
        ([("np.maximum(z[-1], 0)", "np.where(z[-1] > 0, z[-1], z[-1] / 5)")], {3}),
        ([(corpus.MASK, "dh * (z[l - 1] > 1e-16)")], {16}),
    ][:: 1 if LONG else 3],
)
def test_two_mistakes_and_what_is_hard_to_tell_apart(changes, equations):
    """Neither of two mistakes is laid on the forward pass, nor is one of (2) laid on (4)."""
    source = corpus.SOURCE
    for old, new in changes:
        assert source.count(old) == 1
        source = source.replace(old, new)
    found = examine(corpus.define(source), shapes=SHAPES[1:6], dtypes=["float64"]).diagnosis
    assert found
    assert set(found.equations) == equations, found


def test_what_is_freed_is_shown():
    """The worked example holds what the wrong line must have been, and what follows from it."""
    report = look(corpus.UNIT, "dh = (dz ** 3 + dz) @ W.T")
    assert report.example
    status = {row.name: row.status for row in report.example.rows}
    assert status["∂C/∂z₂"] == "right"
    assert status["∂C/∂h₁"] == "wrong"
    assert status["∂C/∂W⁰"] == "follows"


def test_probes_are_few_enough_to_infer_from():
    """With fewer examples than units, the error of a layer can be read from its gradient."""
    assert all(shape.n <= min(shape.sizes[:-1]) for shape in PROBES)


def test_exchanged_leaves():
    def grad(params, batch):
        first, *others = RIGHT(params, batch)
        if len(others) == 1 and first.weight.shape == others[0].weight.shape:
            return (others[0], first)
        return (first, *others)

    found = examine(grad, shapes=TWO, dtypes=["float64"]).diagnosis
    assert found
    assert "exchanged" in found.kind
    assert "∂C/∂W⁰ is ∂C/∂W¹" in found.says


def test_one_entry_off_by_a_thousandth():
    def grad(params, batch):
        first, *others = RIGHT(params, batch)
        place = np.unravel_index(np.abs(first.weight).argmax(), first.weight.shape)
        first.weight[place] *= 1.001
        return (first, *others)

    for dtype in ("float64", "float32"):
        report = examine(grad, shapes=SHAPES[-1:], dtypes=[dtype], labels=["rows"])
        assert not report.passed
        assert report.diagnosis
        assert report.diagnosis.lines == ("∂C/∂W⁰",)
        assert report.example
        assert report.example.case.shape
        assert report.example.case.shape.depth <= 2  # shrunk, though hardly off in float32
        assert max(report.example.case.shape.sizes) <= 3


def test_a_small_bias_gradient_lost():
    def grad(params, batch):
        def keep(leaf, largest):
            return np.where(np.abs(leaf) < 0.05 * largest, 0, leaf)

        return tuple(
            Layer(dw, None if db is None else keep(np.asarray(db), np.abs(dw).max()))
            for dw, db in RIGHT(params, batch)
        )

    report = examine(grad, shapes=TWO, dtypes=["float32"])
    assert not report.passed
    assert report.diagnosis
    assert set(report.diagnosis.equations) == {14}


def test_kinks_are_told_from_mistakes():
    at_zero = patched(corpus.MASK, corpus.MASK.replace(">", ">="))
    report = examine(at_zero, shapes=TWO, dtypes=["float64"])
    (finding,) = [each for each in report.findings if each.kind == "kink"]
    assert finding.says.startswith("it is wrong only where the loss has a kink")
    check_gradient(at_zero, shapes=TWO, dtypes=["float64"], at_kink="any")
    half = patched(corpus.MASK, "dh * np.heaviside(z[l - 1], 0.5)")
    check_gradient(half, shapes=SHAPES[4:6], dtypes=["float64"], at_kink="any")
    beyond = patched(corpus.MASK, "dh * np.heaviside(z[l - 1], 40)")
    assert not examine(beyond, shapes=TWO, dtypes=["float64"], at_kink="any").passed
    with pytest.raises(ValueError, match="at_kink is 'one': give one of zero, any"):
        check_gradient(at_zero, at_kink="one")


def test_nan_on_some_inputs():
    report = look("z[-1] - z[-1].max(axis=1, keepdims=True)", "z[-1]")
    (finding,) = [each for each in report.findings if each.kind == "NaN"]
    assert re.search(r"on \d+ of \d+ cases, all with huge logits, such as", finding.says)


@pytest.mark.parametrize(
    ("kind", "fails"), [("not deterministic", True), ("mutates its input", True), ("prints", False)]
)
def test_manners(kind, fails):
    calls = itertools.count()

    def grad(params, batch):
        value = RIGHT(params, batch)
        if kind == "prints":
            print("epoch 1")
        if kind == "mutates its input":
            batch.x[...] = 0
        if kind == "not deterministic":
            last = value[-1]
            last = last._replace(weight=last.weight + 1e-9 * (next(calls) % 2))
            value = (*value[:-1], last)
        return value

    report = examine(grad, shapes=TWO[:1])
    assert kind in [each.kind for each in report.findings if each.fails == fails]
    assert report.passed != fails


@pytest.mark.parametrize("in_place", [False, True])
def test_numbers_that_add_up_from_call_to_call(in_place):
    """As of PyTorch's gradients where zero_grad is forgotten: the place is said, and the remedy."""
    rng = np.random.default_rng(0)
    cases = [(rng.normal(size=(3, 2)), rng.normal(size=(n, 3))) for n in (4, 5)]
    held = np.zeros((3, 2))

    def loss(weight, x):
        return jnp.sum((x @ weight) ** 2)

    def grad(weight, x):
        held[...] += 2 * x.T @ (x @ weight)
        return held if in_place else held.copy()

    report = examine(grad, loss, cases=cases)
    assert report.diagnosis is not None
    assert report.diagnosis.kind == "accumulated"
    assert str(report).count("start from zeros in every call") == 1


def test_the_oracles_agree():
    report = check_gradient(jaxmlp.manual_grad, shapes=TWO)
    found = {each.name: each for each in report.oracles}
    assert found["central differences"].difference < 1e-10
    assert found["Taylor order"].difference == pytest.approx(2, abs=0.05)
    assert found["complex step"].difference < 1e-14
    assert "the truth, jax.grad in float64, against central differences" in str(report)


def test_a_loss_that_is_not_analytic():
    """A variance is computed from |x|², of which the complex step makes something else."""
    rng = np.random.default_rng(0)
    cases = [(rng.normal(size=3), 1e3 + rng.normal(size=(4, 3)))]
    found = compare_oracles(lambda p, b: jnp.var(b * p) ** 0.5, *cases[0])
    assert all(each.agrees for each in found)


def test_oracles_see_through_a_wrong_rule():
    @jax.custom_vjp
    def square(x):
        return x**2

    square.defvjp(lambda x: (x**2, x), lambda x, g: (x * g,))  # the 2 is missing
    found = compare_oracles(lambda p, batch: jnp.sum(square(p)), np.array([1.0, 2.0]), None)
    assert [each.agrees for each in found] == [False, False, False][: len(found)]
    assert len(found) >= 2


# ---- models of one's own


def regression(params, batch):
    x, y = batch
    return jnp.mean((jnp.tanh(x @ params["w"] + params["b"]) - y) ** 2)


def by_hand(params, batch, slope=lambda h: 1 - h**2):
    x, y = batch
    h = np.tanh(x @ params["w"] + params["b"])
    d = 2 * (h - y) * slope(h) / len(y)
    return {"w": x.T @ d, "b": d.sum()}


@st.composite
def regressions(draw):
    n = draw(st.sampled_from([1, 3]))
    numbers = st.floats(-2, 2, width=32)
    w, x, y = (draw(hnp.arrays(float, size, elements=numbers)) for size in (2, (n, 2), n))
    return {"w": w, "b": draw(hnp.arrays(float, (), elements=numbers))}, (x, y)


def test_a_strategy():
    report = check_gradient(by_hand, regression, cases=regressions(), examples=12)
    assert report.cases == 16  # every third one in float32 too
    assert report.missed["float64"] < 1e-9
    assert all(each.agrees for each in report.oracles)


def test_a_wrong_model_of_ones_own_is_shrunk():
    with pytest.raises(GradientMismatch) as failure:
        check_gradient(
            lambda params, batch: by_hand(params, batch, lambda h: 1),
            regression,
            cases=regressions(),
            examples=6,
        )
    report = failure.value.report
    assert report.example
    assert report.diagnosis
    assert np.shape(report.example.case.batch[1]) == (1,)
    assert report.diagnosis.kind == "mask missing"


def test_factors_of_a_model_of_ones_own():
    rng = np.random.default_rng(0)
    cases = [
        (
            {"w": rng.normal(size=2), "b": rng.normal()},
            (rng.normal(size=(n, 2)), rng.normal(size=n)),
        )
        for n in (2, 3, 3)
    ]

    def summed(params, batch):
        return jax.tree.map(lambda leaf: leaf * len(batch[1]), by_hand(params, batch))

    found = examine(summed, regression, cases=cases, dtypes=["float64"]).diagnosis
    assert found
    assert found.kind == "1/N missing"


def test_what_jax_cannot_trace():
    cases = [(np.random.default_rng(seed).normal(size=4), None) for seed in range(4)]

    def loss(params, batch):
        return scipy.optimize.rosen(np.asarray(params))

    def grad(params, batch):
        return scipy.optimize.rosen_der(np.asarray(params))

    check_gradient(grad, loss, cases=cases)
    report = examine(lambda params, batch: 1.0001 * grad(params, batch), loss, cases=cases)
    assert not report.passed
    assert report.diagnosis
    assert report.diagnosis.says.endswith("it is multiplied by 1.0001")


def test_kinks_of_a_model_of_ones_own():
    def loss(params, batch):
        return jnp.sum(jax.nn.relu(params * batch))

    def grad(slope):
        return lambda params, batch: batch * np.heaviside(params * batch, slope)

    cases = [(np.array([1.0, 0.0, -1.0]), np.array([1.0, 2.0, 3.0]))]
    check_gradient(grad(0.0), loss, cases=cases)
    assert "kink" in [each.kind for each in examine(grad(1.0), loss, cases=cases).findings]
    check_gradient(grad(1.0), loss, cases=cases, at_kink="any")
    assert not examine(grad(9.0), loss, cases=cases, at_kink="any").passed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activation": "swish"}, "unknown activation 'swish'"),
        ({"dtypes": ["float99"]}, "dtypes hold 'float99': give some of float64, float32, bfl"),
        ({"dtypes": "float32"}, r"dtypes is 'float32': give a list, such as \['float32'\]"),
        ({"shapes": [(3, 4)]}, r"shapes hold \(3, 4\): give Shape\(widths, bias, examples\)"),
        ({"labels": []}, "no labels are given"),
    ],
)
def test_settings_that_are_none(settings, message):
    with pytest.raises(ValueError, match=message):
        check_gradient(RIGHT, **settings)


# ---- Hessian-vector products


@jax.jit
def right_hvp(params, batch, v):
    return jax.jvp(lambda params: jax.grad(jaxmlp.loss)(params, batch), (params,), (v,))[1]


@pytest.mark.skipif(not LONG, reason="takes long: set HYPOTHESIS_PROFILE=long")
def test_a_hessian_vector_product():
    few = {"shapes": SHAPES[1:2], "labels": ["rows"]}
    check_hvp(right_hvp, **few)
    report = examine_hvp(lambda *given: jax.tree.map(jnp.negative, right_hvp(*given)), **few)
    assert report.diagnosis
    assert report.diagnosis.kind == "sign"


def test_a_hessian_vector_product_by_our_own_gradient():
    """Where XLA's code for the tiniest network was wrong when it was to be made in little time."""

    def hvp(params, batch, v):
        return jax.jvp(lambda params: jaxmlp.manual_grad(params, batch), (params,), (v,))[1]

    one = [Shape((1, 1, 2), True, 1)]
    check_hvp(hvp, shapes=one)
    found = examine_hvp(lambda *given: jax.tree.map(jnp.negative, hvp(*given)), shapes=one)
    assert found.diagnosis
    assert found.diagnosis.kind == "sign"


@pytest.mark.skipif(not LONG, reason="takes long: set HYPOTHESIS_PROFILE=long")
def test_the_gradient_for_a_hessian_vector_product():
    def grad(params, batch, v):
        return jaxmlp.manual_grad(params, batch)

    found = examine_hvp(grad, shapes=SHAPES[:1], labels=["rows"]).diagnosis
    assert found
    assert found.says.endswith("it is the gradient itself, not its derivative along v")
