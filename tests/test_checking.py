"""The gradient checker: what it catches and names, and what it lets pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmlp
from jaxmlp.checking import GradientMismatch, check_gradient
from jaxmlp.checking.check import examine
from jaxmlp.checking.network.shapes import SHAPES
from jaxmlp.checking.network.slopes import ACTIVATIONS
from tests import corpus
from tests.strategies import LONG

pytestmark = pytest.mark.usefixtures("as_people_run_it")

# Enough to name every mistake of the corpus; the long profile tries all shapes.
FEW = [shape for shape in SHAPES if shape.depth >= 2 and min(shape.sizes) > 1 and 1 < shape.n < 10]


# Every eighth of them by default; all in the long profile.
@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    "mistake", corpus.MISTAKES[:: 1 if LONG else 8], ids=lambda mistake: mistake.name
)
def test_mistakes_are_caught_and_named(mistake):
    wrong = corpus.build(mistake)
    report = examine(wrong, activation=mistake.activation, shapes=FEW, dtypes=["float64"])
    assert not report.passed
    assert report.diagnosis, report
    assert report.diagnosis.equations == (mistake.equation,), report
    assert report.diagnosis.kind == mistake.kind, report
    assert report.example


# Every third of them by default; `experiments/checking.py` tries each with many numbers.
@pytest.mark.parametrize("name", list(corpus.RIGHT)[:: 1 if LONG else 3])
def test_right_gradients_pass(name):
    activation = "tanh" if name.startswith("tanh") else "relu"
    right = corpus.RIGHT[name]
    if name in corpus.JITTABLE and not LONG:
        right = jax.jit(right)  # one program is compiled faster than each of its operations
    check_gradient(right, activation=activation, shapes=SHAPES if LONG else FEW)


@pytest.mark.parametrize("activation", ACTIVATIONS if LONG else ("relu",))
def test_ours_is_right(activation):
    shapes = SHAPES if activation == "relu" or LONG else FEW
    report = check_gradient(jaxmlp.manual_grad, activation=activation, shapes=shapes)
    assert report.passed
    assert report.missed["float64"] < 1e-12
    assert report.missed["float32"] < 1e-3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_dtypes(dtype):
    check_gradient(jaxmlp.manual_grad, dtypes=[dtype], shapes=FEW)


@pytest.mark.usefixtures("as_users_see_it")
def test_float16():
    """Where probabilities underflow, and what is shown is small."""
    check_gradient(corpus.build(), dtypes=["float16"])
    for mistake in corpus.MISTAKES[:: 6 if LONG else 24]:
        wrong = corpus.build(mistake)
        report = examine(wrong, activation=mistake.activation, dtypes=["float16"], shapes=FEW)
        assert not report.passed
        assert report.diagnosis, report
        assert report.diagnosis.equations == (mistake.equation,), report


def test_the_failure_reads_well():
    wrong = corpus.build(corpus.MISTAKES[0])
    with pytest.raises(GradientMismatch) as failure:
        check_gradient(wrong)
    text = str(failure.value)
    assert "✗ manual_grad is wrong" in text
    assert "∂C/∂z₃ (12): sign: the sign is wrong" in text
    assert "smallest example: 1-2 without bias, 1 example, relu" in text
    assert "← wrong" in text
    assert not failure.value.report.passed


def test_a_model_of_ones_own():
    def loss(params, batch):
        return jnp.mean((jnp.tanh(batch[0] @ params["w"]) - batch[1]) ** 2)

    def grad(params, batch):
        p = np.tanh(batch[0] @ params["w"])
        return {"w": batch[0].T @ (2 * (p - batch[1]) * (1 - p**2)) / len(p)}

    rng = np.random.default_rng(0)
    cases = [({"w": rng.normal(size=2)}, (rng.normal(size=(3, 2)), rng.normal(size=3)))]
    check_gradient(grad, loss, cases=cases, dtypes=["float64"])
