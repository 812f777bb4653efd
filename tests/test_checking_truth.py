"""The truth about a loss where witnesses disagree, give up, or have nothing to say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlp.checking import check_gradient, tap
from jaxmlp.checking.check import examine
from jaxmlp.checking.lines import examine_lines

RNG = np.random.default_rng(0)
STATE = RNG.bit_generator.state


pytestmark = pytest.mark.usefixtures("same_numbers", "as_people_run_it")


def diagnosis(report):
    assert report.diagnosis is not None
    return report.diagnosis


IDENTITY = np.eye(3)
MATRICES = [(RNG.normal(size=(3, 3)), RNG.normal(size=3)) for _ in range(2)]


@pytest.mark.parametrize(
    "loss",
    [
        lambda p, b: jnp.sum(jnp.linalg.solve(p @ p.T + IDENTITY, b)),
        lambda p, b: jnp.sum(jnp.linalg.inv(p @ p.T + IDENTITY) @ b),
    ],
)
def test_what_jax_itself_stops_is_no_constant(loss):
    """`solve` factorises a stopped matrix, and has another derivative for what it solves."""
    assert check_gradient(jax.grad(loss), loss, cases=MATRICES).passed
    assert not examine(lambda p, b: 0 * p, loss, cases=MATRICES).passed


def halved(x):
    return x**2


def test_entries_that_nobody_looks_at():
    """Of many entries some are compared with differences, and all with what holds in those."""
    square = jax.custom_vjp(halved)
    square.defvjp(lambda x: (x**2, x), lambda x, g: (g * x,))

    def loss(p, batch):
        x, y = batch
        return jnp.mean(square(x @ p - y))

    def grad(p, batch):
        x, y = batch
        return 2 * x.T @ (x @ p - y) / len(y)

    def half_of_it(p, batch):
        return np.r_[grad(p, batch)[:400], grad(p, batch)[400:] / 2]

    cases = [(RNG.normal(size=600), (RNG.normal(size=(6, 600)), RNG.normal(size=6)))]
    assert check_gradient(grad, loss, cases=cases).passed
    assert not examine(half_of_it, loss, cases=cases).passed


def test_an_index_out_of_range_among_many_parameters():
    def loss(p, rows):
        return jnp.sum(jnp.tanh(p[rows]) ** 2)

    def grad(p, rows):
        return jax.grad(loss)(p, np.minimum(rows, len(p) - 1))

    cases = [(RNG.normal(size=(6, 100)), np.array([1, 2, 6]))]
    assert check_gradient(grad, loss, cases=cases).passed
    report = examine(jax.grad(loss), loss, cases=cases)
    assert diagnosis(report).kind == "wrong jax.grad"


def test_a_trap_of_nan_with_many_parameters():
    def loss(p, b):
        return jnp.sum(jnp.where(p < 1, p, jnp.sqrt(p)) * b)

    cases = [(-np.abs(RNG.normal(size=500)), RNG.normal(size=500))]
    assert check_gradient(lambda p, b: b, loss, cases=cases).passed
    assert not examine(lambda p, b: np.r_[b[:450], 2 * b[450:]], loss, cases=cases).passed


@pytest.mark.parametrize(
    ("slope", "at_kink", "passes"),
    [(0, "zero", True), (1, "zero", True), (0.5, "zero", True), (0.3, "zero", False),
     (0.3, "any", True), (2, "any", False)],
)  # fmt: skip
def test_kinks_of_a_loss_that_is_not_jax(slope, at_kink, passes):
    def loss(p, b):
        return float(np.sum(np.maximum(np.asarray(p), 0) * np.asarray(b)))

    def grad(p, b):
        return np.where(p == 0, slope, p > 0) * b

    cases = [(np.array([1.0, 0, -2, 3]), np.ones(4))]
    assert examine(grad, loss, cases=cases, at_kink=at_kink, dtypes=["float64"]).passed == passes


def guarded(p, b):
    """(1 − cos p)/p², with a guard for exactly 0 only."""
    safe = jnp.where(p == 0, 1.0, p)
    return jnp.sum(jnp.where(p == 0, 0.0, (1 - jnp.cos(p)) / safe**2) * b)


def test_a_slope_on_one_side_of_a_loss_that_is_not_jax():
    """Of a curve, whose differences on one side are off by as much as their step."""

    def loss(p, _):
        return np.sum((np.maximum(p, 0) + p - 1) ** 2)

    def grad(p, _):
        return 2 * (np.maximum(p, 0) + p - 1) * ((p > 0) + 1)

    for at_kink in ("zero", "any"):
        check_gradient(grad, loss, cases=[(np.zeros(1), 0)], at_kink=at_kink)
    wrong = examine(lambda p, _: 3 * grad(p, _), loss, cases=[(np.zeros(1), 0)], at_kink="any")
    assert not wrong.passed


@pytest.mark.parametrize(("factor", "passes"), [(1, True), (2, False)])
def test_many_kinks_that_meet_in_a_loss_that_is_not_jax(factor, passes):
    """Where weights begin at 0, what is right depends on how the loss computes: nobody knows."""
    rng = np.random.default_rng(0)

    def loss(p, batch):
        return np.mean((np.maximum(batch[0] @ p["W"], 0) @ p["v"] - batch[1]) ** 2)

    def grad(p, batch):
        z = batch[0] @ p["W"]
        h = np.maximum(z, 0)
        e = 2 * (h @ p["v"] - batch[1]) / len(h)
        return {"W": factor * batch[0].T @ (np.outer(e, p["v"]) * (z > 0)), "v": h.T @ e}

    batch = rng.normal(size=(6, 3)), rng.normal(size=6)
    of_zeros, drawn = (
        {"W": w, "v": rng.normal(size=4)} for w in (np.zeros((3, 4)), rng.normal(size=(3, 4)))
    )
    report = examine(grad, loss, cases=[(of_zeros, batch), (drawn, batch)])
    assert report.passed == passes
    assert "not compared where the loss has no finite gradient, or no single one" in str(report)


@pytest.mark.parametrize(("factor", "passes"), [(1, True), (1.01, False)])
def test_a_loss_in_float32_that_is_not_jax(factor, passes):
    """As of PyTorch by default: its rounding is taken neither for kinks nor for mistakes."""

    def loss(p, batch):
        x, y, p = (np.asarray(each, np.float32) for each in (*batch, p))
        return np.mean((np.tanh(x @ p) - y) ** 2)

    def grad(p, batch):
        h = np.tanh(batch[0] @ p)
        return factor * batch[0].T @ (2 * (h - batch[1]) * (1 - h**2)) / len(h)

    for seed in range(20):
        rng = np.random.default_rng(seed)
        case = rng.normal(size=3), (rng.normal(size=(5, 3)), rng.normal(size=5))
        report = examine(grad, loss, cases=[case])
        assert report.passed == passes, report
        assert "kink" not in str(report)


@pytest.mark.parametrize("share", [jnp.median, lambda x: jnp.quantile(x, 0.5)])
def test_jax_is_right_where_a_loss_has_no_gradient(share):
    """Along single entries a median of equal numbers does not change, but along all it does."""

    def loss(p, batch):
        return share(jnp.abs(batch @ p - 1))

    case = np.zeros(3), np.random.default_rng(0).normal(size=(6, 3))
    check_gradient(jax.grad(loss), loss, cases=[case, (np.ones(3), np.eye(3))])


@pytest.mark.parametrize(("slope", "passes"), [(0.0, True), (1.0, True), (1e6, False)])
def test_what_cannot_be_where_the_gradient_of_jax_is_nan(slope, passes):
    """Of a norm at 0: any slope from −1 to 1 may be meant, but no million."""

    def grad(p, _):
        return p / np.linalg.norm(p) if p.any() else np.full_like(p, slope)

    cases = [(np.zeros(2), 0), (np.array([0.6, -1.0]), 0)]
    report = examine(grad, lambda p, _: jnp.linalg.norm(p), cases=cases)
    assert report.passed == passes
    if not passes:
        assert "is 1e+06 and should be 1," in str(report)


def test_noise_beside_a_guard_for_exactly_0():
    def grad(p, b):
        series = -p / 12
        return np.where(abs(p) < 1e-3, series, (p * np.sin(p) - 2 * (1 - np.cos(p))) / p**3) * b

    cases = [(np.array([1e-6, 0.5, 2.0]), np.ones(3))]
    wide = ["float64"]
    assert examine(grad, guarded, cases=cases, dtypes=wide).passed
    report = examine(jax.grad(guarded), guarded, cases=cases, dtypes=wide)
    assert not report.passed
    assert any(found.kind == "precision lost" for found in report.findings) or (
        diagnosis(report).kind == "precision lost"
    )
    assert not examine(lambda p, b: grad(p, b) + np.array([0.5, 0, 0]), guarded, cases=cases).passed


@pytest.mark.parametrize("right", [False, True])
def test_lines_of_a_loss_with_a_wrong_rule(right):
    square = jax.custom_jvp(halved)
    square.defjvp(lambda p, t: (p[0] ** 2, p[0] * t[0]))

    def loss(p, b):
        return jnp.mean(square(tap("z", b @ p)))

    def lines(p, b):
        dz = (2 if right else 1) * (b @ p) / len(b)
        return {"z": b @ p, "dz": dz, "grad": b.T @ dz}

    cases = [(RNG.normal(size=4), RNG.normal(size=(5, 4))) for _ in range(2)]
    report = examine_lines(lines, loss, cases=cases)
    assert report.passed == right
    assert ("test_checking_truth.py line" in str(report.diagnosis)) != right
    assert any(found.kind == "wrong rule" for found in report.findings)


def test_what_is_declared_as_meant_is_said():
    act = jax.custom_jvp(halved)
    act.defjvp(lambda p, t: (p[0] ** 2, t[0]))

    def loss(p, b):
        return jnp.sum(act(p) * b)

    cases = [(RNG.normal(size=4), RNG.normal(size=4))]
    for intended in (act, "halved", [act]):
        report = check_gradient(lambda p, b: b, loss, cases=cases, intended=intended)
        assert "note: on purpose: the rule of halved is taken as it is" in str(report)
    report = examine(lambda p, b: b, loss, cases=cases, intended=["halfed"])
    assert "the loss meets no such rule: it meets halved" in str(report)
    with pytest.raises(ValueError, match="intended has 3: give functions"):
        examine(lambda p, b: b, loss, cases=cases, intended=[3])


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda p, b: (jnp.sum(p), 1), "it returns 2 values"),
        (lambda p, b: None, "it returns no values"),
        (lambda p, b: "0.3", "it returns a str"),
        (lambda p, b: jnp.sum(p) * 1j, "it returns a complex number"),
        (lambda p, b: complex(np.sum(np.asarray(p))), "it returns a complex"),
    ],
)
def test_losses_that_return_no_number(loss, says):
    with pytest.raises(ValueError, match=says):
        examine(lambda p, b: p, loss, cases=[(np.ones(3), np.ones(3))])


def test_a_loss_that_becomes_random():
    calls = []

    def loss(p, b):
        calls.append(p)
        return float(np.sum(np.asarray(p) ** 2)) + (len(calls) > 12) * len(calls)

    cases = [(RNG.normal(size=4), np.ones(3)) for _ in range(3)]
    with pytest.raises(ValueError, match="when it is called again"):
        examine(lambda p, b: -2 * p, loss, cases=cases)


def test_what_is_accepted_could_have_gone_unseen():
    def loss(p, b):
        return jnp.sum(p**2 * b)

    cases = [(np.ones(3), np.ones(3))]
    report = examine(lambda p, b: 2 * p * b, loss, cases=cases, rtol=1e-3)
    assert report.missed["float64"] == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("share", "passes"),
    [((1, 0, 0), True), ((0, 1, 0), True), ((0.2, 0.3, 0.5), True), ((0.3, 0.3, 0), False)],
)
def test_any_slope_of_a_maximum_of_equals(share, passes):
    """The shares of the equals add up to 1."""

    def loss(p, b):
        return jnp.max(p) * b[0]

    def grad(p, b):
        equal = p == p.max()
        given = np.zeros(len(p))
        given[equal] = share if equal.sum() == 3 else 1 / equal.sum()
        return given * b[0]

    cases = [(np.array([1.0, 1, 1, -1]), np.array([2.0]))]
    report = examine(grad, loss, cases=cases, at_kink="any", dtypes=["float64"])
    assert report.passed == passes


def test_kinks_that_cancel_have_one_slope():
    """|p| − max(p, 0) − max(−p, 0) + p is p, whose slope is 1 at 0, too."""

    def loss(p, b):
        return jnp.sum((jnp.abs(p) - jnp.maximum(p, 0) - jnp.maximum(-p, 0) + p) * b)

    cases = [(np.array([0.0, 1, -2]), np.ones(3))]
    wide = ["float64"]
    right = examine(lambda p, b: b, loss, cases=cases, at_kink="any", dtypes=wide)
    assert right.passed
