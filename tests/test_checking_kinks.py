"""Kinks anywhere, of any sort of operation: what is right there by hand, and what is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlp.checking import check_gradient, check_lines, tap
from jaxmlp.checking.check import examine
from jaxmlp.checking.lines import examine_lines
from tests.strategies import LONG

pytestmark = pytest.mark.usefixtures("as_users_see_it", "as_people_run_it")

X = np.array([[1.0, 0, 2], [3, -1, 1], [-1, 2, 0.5]])
W = np.array([[2.0, -1, 6], [2, 0, 0], [-1, 1, 0]])  # so that X W holds 0, 1, 6 and −6
SCALE = np.arange(1.0, 4)
CASES = [(W, X), (np.random.default_rng(0).normal(size=(3, 3)), X)]
POOL = np.array([1.0, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1])  # ties in either window


def of_z(f):
    """Σ f(x W) times a scale, of which f alone has kinks."""
    return lambda w, x: jnp.sum(f(x @ w) * SCALE)


def by_slope(slope):
    return lambda w, x: x.T @ (slope(x @ w) * SCALE)


def within(low, high):
    return by_slope(lambda z: (z > low) & (z < high))


LOSSES = {
    "relu6": (of_z(lambda z: jnp.minimum(jnp.maximum(z, 0), 6)), within(0, 6)),
    "jax.nn.relu6": (of_z(jax.nn.relu6), within(0, 6)),
    "clip": (of_z(lambda z: jnp.clip(z, -1, 1)), within(-1, 1)),
    "clamp": (of_z(lambda z: jax.lax.clamp(-1.0, z, 1.0)), within(-1, 1)),
    "hard tanh": (of_z(jax.nn.hard_tanh), within(-1, 1)),
    "|z| by where": (of_z(lambda z: jnp.where(z > 0, z, -z)), by_slope(np.sign)),
    "leaky": (of_z(jax.nn.leaky_relu), by_slope(lambda z: np.where(z > 0, 1, 0.01))),
    "a mask": (of_z(lambda z: z * (z >= 0)), by_slope(lambda z: z > 0)),
    "not below": (of_z(lambda z: jnp.where(~(z < 0), z, 0)), by_slope(lambda z: z > 0)),
}


@pytest.mark.parametrize("name", [*LOSSES][:: 1 if LONG else 2])
def test_the_slope_of_a_flat_side(name):
    loss, grad = LOSSES[name]
    check_gradient(grad, loss, cases=CASES)
    report = examine(lambda w, x: 1.01 * grad(w, x), loss, cases=CASES)
    assert not report.passed
    assert "kink" not in [each.kind for each in report.findings]


@pytest.mark.parametrize(
    ("name", "slope"),
    [
        ("relu6", lambda z: (z > 0) & (z <= 6)),
        ("clip", lambda z: (z > -1) & (z <= 1)),
        ("a mask", lambda z: np.heaviside(z, 0.3)),
        ("leaky", lambda z: np.where(z > 0, 1, np.where(z < 0, 0.01, 0.1))),
    ],
)
def test_the_slope_of_the_other_side(name, slope):
    loss, _ = LOSSES[name]
    report = examine(by_slope(slope), loss, cases=CASES)
    assert not report.passed
    assert report.diagnosis
    assert report.diagnosis.kind == "kink"
    assert "kink" in [each.kind for each in report.findings]
    check_gradient(by_slope(slope), loss, cases=CASES, at_kink="any")


def pooled(w, x):
    return jnp.sum(jnp.max((x * w).reshape(2, 2, 3), axis=(0, 2)) * jnp.array([1.0, 3]))


def pooled_grad(order):
    """By the first or the last winner of each of two windows."""

    def grad(w, x):
        windows = (x * w).reshape(2, 2, 3).transpose(1, 0, 2).reshape(2, 6)[:, ::order]
        won = np.zeros((2, 6))
        won[np.arange(2), windows.argmax(axis=1)] = [1, 3]
        return won[:, ::order].reshape(2, 2, 3).transpose(1, 0, 2).reshape(x.shape) * x

    return grad


@pytest.mark.parametrize("order", [1, -1])
def test_one_winner_of_several(order):
    check_gradient(pooled_grad(order), pooled, cases=[(POOL, np.ones(12))])


def maxout(params, x):
    return jnp.sum(jnp.maximum(x @ params["u"], x @ params["v"]))


@pytest.mark.parametrize(
    ("first", "second", "right"),
    [(">=", "<", True), (">", "<=", True), (">=", "<=", False), (">", "<", False)],
)
def test_sides_are_chosen_for_all_entries_alike(first, second, right):
    """Of two equals either may have the slope, but not both, and not neither."""
    compare = {">=": np.greater_equal, ">": np.greater, "<": np.less, "<=": np.less_equal}

    def grad(params, x):
        u, v = x @ params["u"], x @ params["v"]
        return {"u": x.T @ (1.0 * compare[first](u, v)), "v": x.T @ (1.0 * compare[second](u, v))}

    ones = {"u": np.ones(2), "v": np.ones(2)}
    cases = [(ones, np.eye(2)), ({"u": np.array([1.0, 2]), "v": np.array([2.0, 0])}, np.eye(2))]
    assert examine(grad, maxout, cases=cases).passed == right


def test_kinks_in_loops():
    """ReLUs and absolute values of a recurrence that a hand-written derivative has flat at 0."""

    def loss(w, xs):
        def step(h, x):
            h = jnp.maximum(w * h + x, 0)
            return h, jnp.abs(h - 1)

        h, costs = jax.lax.scan(step, jnp.zeros(()), xs)
        return h + costs.sum()

    def grad(w, xs):
        h = dh = total = 0.0
        for x in xs:
            z, dz = w * h + x, h + w * dh
            h, dh = max(z, 0.0), dz * (z > 0)
            total += np.sign(h - 1) * dh
        return np.asarray(dh + total)

    cases = [(np.array(1.0), np.array(xs)) for xs in ([1.0, -1, 2], [1.0, 1, -2], [1.0, 0, 0.5])]
    check_gradient(grad, loss, cases=cases)
    assert not examine(lambda w, xs: 1.01 * grad(w, xs), loss, cases=cases).passed


def test_a_mistake_where_all_cases_have_kinks():
    """It is wrong beside the kinks as well, so they do not explain it."""
    loss, grad = LOSSES["relu6"]
    report = examine(lambda w, x: 1.0001 * grad(w, x), loss, cases=CASES[:1])
    assert "kink" not in [each.kind for each in report.findings]
    assert report.diagnosis
    assert "1.0001" in report.diagnosis.says


def test_kinks_within_kinks():
    """The clipped objective of PPO (Schulman et al. 2017), just at either bound of its ratio."""

    def loss(w, batch):
        x, gain = batch
        ratio = x @ w
        return -jnp.mean(jnp.minimum(ratio * gain, jnp.clip(ratio, 0.75, 1.25) * gain))

    def grad(w, batch):
        x, gain = batch
        live = ((gain > 0) & (x @ w < 1.25)) | ((gain < 0) & (x @ w > 0.75))
        return -x.T @ (live * gain) / len(gain)

    gain = np.array([1.0, -1, 2, -2, 1, -1])
    check_gradient(
        grad, loss, cases=[(np.array([1.25, 0.75, 0.75, 1.25, 0.75, 2]), (np.eye(6), gain))]
    )


# ---- line by line


def robust(params, batch):
    x, y = batch
    h = tap("h", jnp.maximum(tap("z", x @ params), 0))
    return jnp.mean(jnp.abs(tap("r", h.sum(axis=1) - y)))


def robust_lines(mask=lambda z: z > 0, sign=np.sign):
    def lines(params, batch):
        x, y = batch
        z = x @ params
        r = np.maximum(z, 0).sum(axis=1) - y
        dr = sign(r) / len(y)
        dz = dr[:, None] * mask(z)
        return {"z": z, "r": r, "dr": dr, "dz": dz, "grad": x.T @ dz}

    return lines


AT_ZERO = [(W, (X, np.array([1.0, 24, 4])))]  # where the second row's r is 0


def test_lines_at_kinks():
    check_lines(robust_lines(), robust, cases=AT_ZERO)
    check_lines(robust_lines(sign=lambda r: np.where(r > 0, 1, -1)), robust, cases=AT_ZERO)
    wrong = robust_lines(mask=lambda z: z >= 0)
    report = examine_lines(wrong, robust, cases=AT_ZERO)
    assert report.diagnosis
    assert (report.diagnosis.lines, report.diagnosis.kind) == (("∂C/∂z",), "kink")
    check_lines(wrong, robust, cases=AT_ZERO, at_kink="any")
    beyond = robust_lines(mask=lambda z: np.where(z == 0, 2, z > 0))
    assert not examine_lines(beyond, robust, cases=AT_ZERO, at_kink="any").passed


def test_lines_with_a_mistake_beside_a_kink():
    """The lines at a kink are right; the one that is wrong is named."""
    report = examine_lines(robust_lines(mask=lambda z: z != 0), robust, cases=AT_ZERO)
    assert report.diagnosis
    assert report.diagnosis.lines == ("∂C/∂z",)
    assert report.example
    statuses = {row.name: row.status for row in report.example.rows}
    assert statuses["∂C/∂r"] == "right"
    assert statuses["∂C/∂params"] == "follows"


def test_a_tap_called_like_a_parameter():
    def loss(params, batch):
        return jnp.sum(tap("w", batch @ params["w"]) ** 2)

    with pytest.raises(ValueError, match="a tap and a parameter are both called 'w': rename the t"):
        check_lines(lambda p, b: {"w": b @ p["w"]}, loss, cases=[({"w": np.ones(2)}, np.eye(2))])


def test_lines_without_the_gradient():
    def lines(params, batch):
        return {
            name: line for name, line in robust_lines()(params, batch).items() if name != "grad"
        }

    report = check_lines(lines, robust, cases=AT_ZERO)
    (note,) = [each for each in report.findings if each.kind == "not compared"]
    assert note.says == "of the gradient ∂C/∂params is not among the lines: add it, under grad"
