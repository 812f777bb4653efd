"""The checker on other models: losses with loops, saturation, undefined points, and bad input."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.special import expit, logsumexp

import jaxmlp
from jaxmlp.checking import check_gradient, check_hvp, check_lines
from jaxmlp.checking.cases import moved, network_cases
from jaxmlp.checking.check import examine
from jaxmlp.checking.network.shapes import SHAPES
from jaxmlp.checking.report import table
from jaxmlp.checking.trials import largest
from tests import models
from tests.strategies import LONG

pytestmark = pytest.mark.usefixtures("same_numbers", "as_users_see_it", "as_people_run_it")
RNG = np.random.default_rng(0)
WEIGHTS = [
    (RNG.normal(size=4), (RNG.normal(size=(n, 4)), RNG.integers(0, 2, n).astype(float)))
    for n in (3, 5)
]


STATE = RNG.bit_generator.state


NETWORKS = [
    (case.params, case.batch) for case in network_cases(SHAPES[1:2], np.float64, 0, ["rows"])
]


def logistic(w, batch, decay=0.0):
    x, y = batch
    penalty = decay / 2 * jnp.sum(w[:-1] ** 2)  # not of the intercept
    return -jnp.sum(jax.nn.log_sigmoid((2 * y - 1) * (x @ w))) + penalty


def logistic_grad(w, batch):
    x, y = batch
    return x.T @ (expit(x @ w) - y)


@pytest.mark.skipif(not LONG, reason="takes long: set HYPOTHESIS_PROFILE=long")
def test_a_case_of_a_list_is_cut():
    """To the fewest rows, with plain parameters; the numbers of the batch are left as they are."""
    report = examine(lambda w, b: np.r_[logistic_grad(w, b)[:3], 0], logistic, cases=WEIGHTS)
    assert report.example
    case = report.example.case
    assert case.params.tolist() == [0, 0, 0, 0]
    assert len(case.batch[1]) == 1
    assert case.batch[0][0].tolist() in WEIGHTS[0][1][0].tolist()


def test_a_saturated_model():
    """p − y loses the digits that the loss's own derivative keeps, as any such gradient does."""
    saturated = [(np.array([7.0, 0, 0]), (np.array([[3.0, 0, 0]] * 2), np.ones(2)))]
    report = check_gradient(logistic_grad, logistic, cases=saturated)
    assert report.passed
    assert not examine(lambda w, b: 1.1 * logistic_grad(w, b), logistic, cases=saturated).passed


@pytest.mark.parametrize("error", [0.0, 1e-12])
def test_a_formula_that_loses_digits(error):
    """√(2 − 2a·p) for |a − p| is right, though rounding puts it farther off than the loss.

    An error of the same size that is no rounding error stays one.
    """
    triplet = models.models()["triplet"]
    case = [(moved(params, 4, 0.3, 0.3), batch) for params, batch in triplet.cases()][2]
    off = largest(triplet.RIGHT["JAX"](*case)["W"] - triplet.RIGHT["NumPy"](*case)["W"])
    assert off > 1e-13

    def grad(params, batch):
        right = triplet.RIGHT["JAX" if not error else "NumPy"](params, batch)
        return right | {"b": right["b"] + error}

    report = examine(grad, triplet.loss, cases=[case], dtypes=["float64"])
    assert report.passed == (not error)


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (lambda w: np.r_[-0.7 * w[:-1], 0], "missing term", ": penalty = decay / 2 *"),
        (lambda w: np.r_[0, 0, 0, 0.7 * w[-1]], "extra term", "in one entry, such as [3]"),
        (lambda w: 1.0, "extra term", "1 × a constant"),
    ],
)
def test_what_is_wrong_with_some_entries(change, kind, says):
    def loss(w, batch):
        return logistic(w, batch, decay=0.7)

    def grad(w, batch):
        return logistic_grad(w, batch) + np.r_[0.7 * w[:-1], 0] + change(w)

    found = examine(grad, loss, cases=WEIGHTS, dtypes=["float64"]).diagnosis
    assert found
    assert found.kind == kind
    assert says in found.says


def test_a_factor_is_named_by_a_size_only_where_that_changes():
    cases = [(RNG.normal(size=(n, 4)), None) for n in (2, 3)]
    report = examine(lambda p, _: 4 * p, lambda p, _: jnp.sum(p**2), cases=cases)
    assert report.diagnosis
    assert report.diagnosis.says.startswith("it is doubled, at test_checking_models.py line")
    report = examine(lambda p, _: 8 * p, lambda p, _: jnp.sum(p**2), cases=cases)
    assert report.diagnosis
    assert report.diagnosis.says.startswith(
        "it is multiplied by 4, which is the length of axis 1 of params in all cases"
    )


def test_a_gradient_whose_norm_is_clipped():
    def grad(w, batch):
        found = logistic_grad(w, batch)
        return found * min(1.0, 1.5 / np.linalg.norm(found))

    found = examine(grad, logistic, cases=WEIGHTS, dtypes=["float64"]).diagnosis
    assert found
    assert found.says == "the norm of the whole gradient is 1.5 wherever it is wrong"


@pytest.mark.skipif(not LONG, reason="takes long: set HYPOTHESIS_PROFILE=long")
def test_a_loss_with_a_long_loop():
    """The forward algorithm of a hidden Markov model, and its gradient by forward and backward."""

    def loss(log_a, scores):
        def step(alpha, score):
            return jax.nn.logsumexp(alpha[:, None] + log_a, axis=0) + score, None

        return -jax.nn.logsumexp(jax.lax.scan(step, scores[0], scores[1:])[0])

    def grad(log_a, scores, share=1.0):
        alphas, beta = [scores[0]], np.zeros(3)
        for score in scores[1:]:
            alphas.append(logsumexp(alphas[-1][:, None] + log_a, axis=0) + score)
        total, found = logsumexp(alphas[-1]), np.zeros((3, 3))
        for alpha, score in zip(alphas[-2::-1], scores[:0:-1], strict=True):
            found -= np.exp(alpha[:, None] + log_a + (score + beta)[None, :] - total)
            beta = logsumexp(log_a + (score + beta)[None, :], axis=1)
        return share * found

    cases = [(RNG.normal(size=(3, 3)), RNG.normal(size=(60, 3)))]
    check_gradient(grad, loss, cases=cases)
    wrong = examine(lambda p, b: grad(p, b, 1 + 1e-9), loss, cases=cases, dtypes=["float64"])
    assert not wrong.passed


def test_where_the_chain_rule_fails_but_not_the_derivative():
    def grad(p, _):
        size = np.linalg.norm(p - 1) ** 2
        return 0 * p if size == 0 else 3 * np.sqrt(size) * (p - 1)

    def loss(p, _):
        return jnp.linalg.norm(p - 1) ** 3  # of which jax.grad is NaN at p = 1

    cases = [(np.ones(3), None), (np.zeros(3), None)]
    check_gradient(grad, loss, cases=cases)
    assert not examine(lambda p, _: grad(p, _) + 1e-3, loss, cases=cases[:1]).passed


def test_what_has_no_derivative_is_not_compared():
    """A norm at 0, of which symmetric differences would say that its slope is 0."""

    def loss(w, batch):
        x, y = batch
        return jnp.mean((x @ w - y) ** 2) + jnp.sqrt(jnp.sum(w**2))

    cases = [*WEIGHTS, (np.zeros(4), WEIGHTS[0][1])]
    report = check_gradient(jax.grad(loss), loss, cases=cases)
    assert any(each.kind == "undefined" for each in report.findings)


def test_the_smallest_example_shows_the_same_mistake():
    """N − 1 for N is infinite for one row, which is not what was wrong with more."""

    def loss(w, batch):
        x, y = batch
        return jnp.sum((x @ w - y) ** 2) / len(y)

    def grad(w, batch):
        x, y = batch
        with np.errstate(all="ignore"):
            return 2 * x.T @ (x @ w - y) / np.float64(len(y) - 1)

    example = examine(grad, loss, cases=WEIGHTS).example
    assert example
    assert len(example.case.batch[1]) == 2


@pytest.mark.skipif(not LONG, reason="takes long: set HYPOTHESIS_PROFILE=long")
def test_a_loss_with_few_digits_of_its_own():
    def loss(w, batch):
        x, y = batch
        z = x @ w
        return jnp.sum(jnp.logaddexp(0, z.astype(jnp.float32)) - y * z)

    report = check_gradient(logistic_grad, loss, cases=WEIGHTS)
    assert "the loss computes in float32 in places" in str(report)
    assert report.missed["float64"] > 1e-8
    assert not examine(lambda w, b: 1.001 * logistic_grad(w, b), loss, cases=WEIGHTS).passed


def test_a_batch_that_cannot_be_cut():
    cases = [(RNG.normal(size=3), RNG.normal(size=(3, 3))) for _ in range(2)]
    report = examine(lambda p, a: a @ p, lambda p, a: p @ a @ p / 2, cases=cases)
    assert not report.passed
    assert report.diagnosis


def test_a_loss_of_another_library():
    torch = pytest.importorskip("torch", reason="the loss is in PyTorch: the extra `peers`")

    def loss(p, batch):
        x, y = (torch.as_tensor(np.asarray(each)) for each in batch)
        return torch.mean((x @ torch.as_tensor(np.asarray(p)) - y) ** 2)

    def grad(p, batch):
        x, y = batch
        return 2 * x.T @ (x @ p - y) / len(y)

    check_gradient(grad, loss, cases=WEIGHTS)
    assert not examine(lambda p, b: 1.001 * grad(p, b), loss, cases=WEIGHTS).passed


@pytest.mark.parametrize(
    ("loss", "settings", "message"),
    [
        (logistic, {"cases": []}, "no cases are given"),
        (
            logistic,
            {"cases": WEIGHTS[0]},
            r"case 0 is a ndarray: cases are pairs \(params, batch\)",
        ),
        (logistic, {"cases": [(1, 2, 3)]}, "case 0 is a tuple of length 3"),
        (
            logistic,
            {"cases": [({"w": np.arange(3)}, 0)]},
            r"params\['w'\] of case 0 is of type int",
        ),
        (logistic, {"cases": [({"f": np.tanh}, 0)]}, r"params\['f'\] of case 0 is of type ufunc"),
        (lambda p, b: p, {"cases": WEIGHTS}, r"it returns an array of shape \(4,\), and has to"),
        (lambda p, b: 1 // 0, {"cases": WEIGHTS}, r"ZeroDivision.*\(test_checking_models.py line "),
        (
            lambda p, b: jnp.sum(p) / 0.0,
            {"cases": WEIGHTS},
            "on no case has the loss a fin",
        ),
    ],
)
def test_bad_input(loss, settings, message):
    with pytest.raises(ValueError, match=message):
        check_gradient(logistic_grad, loss, **settings)


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        (lambda g: (1.0, g), "wrong tree", "return the second of the two alone"),
        (lambda g: g[:, None], "wrong shape", "has shape (4, 1), where (4,) belongs"),
        (lambda g: list(g), "wrong tree", "it returns a list of 4 numbers"),
        (lambda g: np.array([None] * 4), "wrong type", "is an array of objects, where an array of"),
        (lambda g: g + 1j, "wrong dtype", "has dtype complex128: it is no real"),
    ],
)
def test_what_is_no_gradient(value, kind, says):
    report = examine(lambda w, b: value(logistic_grad(w, b)), logistic, cases=WEIGHTS)
    (finding,) = [each for each in report.findings if each.fails]
    assert finding.kind == kind
    assert says in finding.says


def lasso_net(params, batch):
    """Whose kinks are written as JAX's own operations, not as `jax.nn.relu`."""
    x, y = batch
    h = jnp.maximum(x @ params, 0)
    return jnp.mean((h.sum(axis=1) - y) ** 2) + 0.1 * jnp.abs(params).sum()


def lasso_net_grad(params, batch, at_zero=0.0, sign=np.sign):
    x, y = batch
    z = x @ params
    dh = 2 * (np.maximum(z, 0).sum(axis=1) - y) / len(y)
    return x.T @ (dh[:, None] * np.heaviside(z, at_zero)) + 0.1 * sign(params)


def test_at_kinks_the_slope_is_0_or_that_of_jax_grad():
    weights = RNG.normal(size=(3, 4))
    weights[:, 1] = weights[0, 0] = 0  # a unit that is 0 on every row
    cases = [(weights, (RNG.normal(size=(5, 3)), RNG.normal(size=5)))]
    check_gradient(lasso_net_grad, lasso_net, cases=cases)
    check_gradient(
        lambda p, b: lasso_net_grad(p, b, 0.5, lambda w: np.where(w >= 0, 1, -1)),
        lasso_net,
        cases=cases,
    )
    report = examine(lambda p, b: lasso_net_grad(p, b, 1.0), lasso_net, cases=cases)
    assert "kink" in [each.kind for each in report.findings]
    assert not report.passed


def test_kinks_that_cancel_leave_the_derivative():
    """At z = 0 `jax.grad` of this loss is not its derivative, which is σ(z) − y."""

    def loss(w, batch):
        x, y = batch
        z = x @ w
        return jnp.sum(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z))))

    cases = [(np.zeros(4), batch) for _, batch in WEIGHTS]
    assert not np.allclose(jax.grad(loss)(*cases[0]), logistic_grad(*cases[0]))
    check_gradient(logistic_grad, loss, cases=cases)


@pytest.mark.skipif(not LONG, reason="takes long: set HYPOTHESIS_PROFILE=long")
def test_a_loss_with_our_values_and_a_derivative_of_its_own():
    """Whoever freezes a layer has to get zeros there."""

    def frozen(params, batch):
        first, *others = params
        return jaxmlp.loss((jax.lax.stop_gradient(first), *others), batch)

    check_gradient(jax.grad(frozen), frozen, cases=NETWORKS)
    assert not examine(jaxmlp.manual_grad, frozen, cases=NETWORKS).passed


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_every_slope_at_a_kink_with_curvature_beside_it(slope):
    def loss(params, batch):
        return jnp.sum((jax.nn.relu(params) - batch) ** 2)

    def grad(params, batch):
        return 2 * (np.maximum(params, 0) - batch) * np.heaviside(params, slope)

    cases = [(np.zeros(2), np.array([1.0, -1.0]))]
    check_gradient(grad, loss, cases=cases, at_kink="any")


def test_the_smallest_case_shows_the_same_mistake():
    """On one row a missing 1/N is none, and what is right elsewhere must not look wrong."""

    def loss(params, batch):
        return jnp.mean((batch[0] @ params["w"] + params["b"] - batch[1]) ** 2)

    def grad(params, batch):
        r = batch[0] @ params["w"] + params["b"] - batch[1]
        return {"w": 2 * batch[0].T @ r / 6, "b": 2 * r.sum()}

    params = {"w": RNG.normal(size=3), "b": np.float64(0.2)}
    report = examine(grad, loss, cases=[(params, (RNG.normal(size=(6, 3)), RNG.normal(size=6)))])
    assert report.example
    assert [row.name for row in report.example.rows if row.status == "wrong"] == ["∂C/∂b"]


@pytest.mark.skipif(not LONG, reason="takes long: set HYPOTHESIS_PROFILE=long")
def test_ill_conditioned_algebra():
    """What a factorization loses is no mistake; and where nothing is left, nothing is compared."""

    def loss(b, batch):
        return jnp.sum(jnp.linalg.solve(batch[0], b) ** 2)

    def grad(b, batch):
        return 2 * np.linalg.solve(batch[0].T, np.linalg.solve(batch[0], b))

    numbers = np.arange(1.0, 8)
    cases = [(numbers, (1 / (numbers[:, None] + numbers - 1), numbers))]
    check_gradient(grad, loss, cases=cases, dtypes=["float64"])
    assert not examine(lambda b, c: 1.001 * grad(b, c), loss, cases=cases).passed

    def factored(scale, points):
        kernel = jnp.exp(-((points[:, None] - points) ** 2) / scale**2)
        return jnp.log(jnp.diag(jnp.linalg.cholesky(kernel + 1e-9 * jnp.eye(len(points))))).sum()

    flat = [(np.array(scale), np.linspace(0, 1, 6)) for scale in (0.1, 4.0)]
    report = check_gradient(jax.grad(factored), factored, cases=flat, dtypes=["float32"])
    (note,) = [each for each in report.findings if each.kind == "ill-conditioned"]
    assert "; on 1 of 2 cases, such as case 1" in note.says


class Numbers(NamedTuple):
    """A batch that is a tree."""

    x: Any
    y: Any


@dataclass
class Held:
    """A batch that is none."""

    x: Any
    y: Any


@pytest.mark.parametrize("kind", [Numbers, Held, lambda x, y: Held(csr_matrix(x), y)])
def test_any_sort_of_batch(kind):
    def loss(w, batch):
        return np.mean((batch.x @ w - batch.y) ** 2)

    def grad(w, batch):
        return 2 * batch.x.T @ (batch.x @ w - batch.y) / len(batch.y)

    x = RNG.normal(size=(6, 3)) * RNG.integers(0, 2, (6, 3))
    cases = [(RNG.normal(size=3), kind(x, RNG.normal(size=6)))]
    check_gradient(grad, loss, cases=cases)
    assert not examine(lambda w, b: 1.01 * grad(w, b), loss, cases=cases).passed


def test_one_case_is_enough_to_name_n():
    """The smallest example has another N."""

    def loss(w, batch):
        return jnp.mean((batch[0] @ w - batch[1]) ** 2)

    report = examine(
        lambda w, batch: 2 * batch[0].T @ (batch[0] @ w - batch[1]), loss, cases=WEIGHTS[:1]
    )
    assert report.diagnosis
    assert report.diagnosis.kind == "1/N missing"


def test_what_could_have_gone_unseen():
    """It says up to what a gradient passes, whether this one does or not."""

    def loss(w, batch):
        return jnp.sum(jnp.exp(batch[0] @ w))

    def grad(w, batch):
        return batch[0].T @ np.exp(batch[0] @ w)

    cases = WEIGHTS[:1]
    right, wrong = (examine(lambda w, b, f=f: f * grad(w, b), loss, cases=cases) for f in (1, 1.01))
    for dtype, most in (("float64", 1e-12), ("float32", 1e-3)):
        assert 1e-16 < right.missed[dtype] < most
        np.testing.assert_allclose(right.missed[dtype], wrong.missed[dtype], rtol=1e-6)
    share = 4 * right.missed["float64"]
    report = examine(lambda w, b: (1 + share) * grad(w, b), loss, cases=cases, dtypes=["float64"])
    assert not report.passed


def test_numbers_that_look_alike_are_told_apart():
    def grad(w, batch):
        return logistic_grad(w, batch) + np.array([1e-9, 0, 0, 0])

    report = examine(grad, logistic, cases=WEIGHTS, dtypes=["float64"])
    assert report.example
    _, _, expected, received = table(report.example)[1]
    assert expected != received.split("  ")[0]


@pytest.mark.parametrize(
    ("loss", "cases", "message"),
    [
        (logistic, [], "no cases are given"),
        (
            lambda w, b: w,
            WEIGHTS,
            r"the loss returns an array of shape \(4,\), and has to return o",
        ),
    ],
)
def test_hessian_vector_products_of_nothing(loss, cases, message):
    with pytest.raises(ValueError, match=message):
        check_hvp(lambda w, b, v: v, loss, cases=cases)


def test_losses_that_have_to_be_jax():
    def loss(w, batch):
        return float(np.sum(np.asarray(w) ** 2))

    for check, function in ((check_hvp, lambda w, b, v: 2 * v), (check_lines, lambda w, b: {})):
        with pytest.raises(ValueError, match=r"the loss is not JAX: Tracer.*write it with jax.num"):
            check(function, loss, cases=WEIGHTS)
