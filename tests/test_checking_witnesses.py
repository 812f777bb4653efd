"""Nobody's word is taken for the truth: not JAX's, nor that of the rules that a loss brings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlp.checking import GradientMismatch, check, check_gradient, check_hvp
from jaxmlp.checking.check import examine
from jaxmlp.checking.hvp import examine_hvp
from tests.strategies import LONG

RNG = np.random.default_rng(0)
STATE = RNG.bit_generator.state


pytestmark = pytest.mark.usefixtures("same_numbers", "as_people_run_it")


def kinds(report):
    return [finding.kind for finding in report.findings]


def diagnosis(report):
    assert report.diagnosis is not None
    return report.diagnosis


@jax.custom_vjp
def product(a, v):
    return a @ v


product.defvjp(lambda a, v: (a @ v, (a, v)), lambda kept, g: (jnp.outer(g, kept[1]), 0.0 * kept[1]))


def two_products(params, batch):
    return jnp.sum(jnp.tanh(product(params["A2"], jnp.tanh(product(params["A1"], batch)))))


PRODUCTS = [
    ({"A1": RNG.normal(size=(3, 2)), "A2": RNG.normal(size=(4, 3))}, RNG.normal(size=2))
    for _ in range(3)
]


def test_a_wrong_rule_inside_the_loss():
    """It is named with its file and line; jax.grad of the loss does not pass."""
    report = examine(jax.grad(two_products), two_products, cases=PRODUCTS)
    assert not report.passed
    assert diagnosis(report).kind == "wrong rule"
    assert diagnosis(report).lines == ("∂C/∂A1",)
    assert "product (test_checking_witnesses.py line" in diagnosis(report).says
    assert str(report).startswith("✗")
    assert all(oracle.agrees for oracle in report.oracles)


def right_products(params, batch):
    a1, a2 = params["A1"], params["A2"]
    h = np.tanh(a1 @ batch)
    dz = 1 - np.tanh(a2 @ h) ** 2
    return {"A1": np.outer((a2.T @ dz) * (1 - h**2), batch), "A2": np.outer(dz, h)}


def test_the_right_gradient_of_a_loss_with_a_wrong_rule():
    report = check_gradient(right_products, two_products, cases=PRODUCTS)
    assert "wrong rule" in kinds(report)
    assert "note: wrong rule: the rule of product" in str(report)


def test_what_a_rule_does_on_purpose_can_be_declared():
    """A straight-through estimator by a rule: the gradient that it is meant to have."""

    @jax.custom_vjp
    def rounded(z):
        return jnp.round(z)

    rounded.defvjp(lambda z: (jnp.round(z), None), lambda _, g: (g,))

    def loss(params, batch):
        return jnp.sum((rounded(params) - batch) ** 2)

    def grad(params, batch):
        return 2 * (np.round(params) - batch)

    cases = [(RNG.normal(size=4), RNG.normal(size=4))]
    check_gradient(grad, loss, cases=cases, intended=[rounded])
    report = examine(grad, loss, cases=cases)
    assert not report.passed
    assert "intended=" in str(report)
    with pytest.raises(GradientMismatch):
        check_gradient(lambda p, b: 2 * grad(p, b), loss, cases=cases, intended=["rounded"])


def test_what_is_stopped_is_meant():
    """Straight-through by stop_gradient, and a target that is not differentiated."""

    def loss(params, batch):
        straight = params + jax.lax.stop_gradient(jnp.round(params) - params)
        return jnp.sum((straight - batch * jax.lax.stop_gradient(params)) ** 2)

    def grad(params, batch):
        return 2 * (np.round(params) - batch * params)

    report = check_gradient(grad, loss, cases=[(RNG.normal(size=4), RNG.normal(size=4))])
    assert kinds(report) == []
    assert all(oracle.agrees for oracle in report.oracles)


def test_random_numbers_are_those_of_the_dtype():
    """With a key in the batch float32 draws others than float64."""

    def loss(params, batch):
        x, y, key = batch
        h = jnp.tanh(x @ params["W"])
        h = jnp.where(jax.random.bernoulli(key, 0.7, h.shape), h / 0.7, 0.0)
        noise = 0.1 * jax.random.normal(key, y.shape, x.dtype)
        return jnp.mean((h @ params["v"] + noise - y) ** 2)

    cases = [
        (
            {"W": RNG.normal(size=(3, 6)), "v": RNG.normal(size=6)},
            (RNG.normal(size=(5, 3)), RNG.normal(size=5), jax.random.key(seed)),
        )
        for seed in range(3)
    ]
    report = check_gradient(jax.jit(jax.grad(loss)), loss, cases=cases)
    assert report.dtypes == ("float64", "float32")
    wrong = jax.jit(lambda p, b: jax.tree.map(lambda leaf: 2 * leaf, jax.grad(loss)(p, b)))
    assert not examine(wrong, loss, cases=cases, dtypes=["float32"]).passed


@pytest.mark.parametrize("slope", [1.0, 1000.0])
def test_where_jax_has_no_number_differences_decide(slope):
    def loss(params, batch):
        return jnp.sum(jnp.where(params < 1, params, jnp.sqrt(params)) * batch)

    def grad(params, batch):
        root = 0.5 / np.sqrt(np.maximum(params, 1e-3))
        slopes = np.where(params == 0, slope, np.where(params < 1, 1, root))
        return batch * slopes.astype(params.dtype)

    cases = [(np.array([0.0, 0.5, 2.0]), RNG.normal(size=3))]
    report = examine(grad, loss, cases=cases)
    assert report.passed == (slope == 1)
    assert report.compared == report.cases


def lasso(params, batch):
    return jnp.mean((batch["x"] @ params - batch["y"]) ** 2) + 0.1 * jnp.sum(jnp.abs(params))


def lasso_grad(slope):
    def grad(params, batch):
        error = batch["x"] @ params - batch["y"]
        signs = np.where(params == 0, slope, np.sign(params))
        return (2 * batch["x"].T @ error / len(error) + 0.1 * signs).astype(params.dtype)

    return grad


LASSO = [(np.array([1.0, 0.0, -2.0]), {"x": RNG.normal(size=(5, 3)), "y": RNG.normal(size=5)})]


def test_differences_are_taken_beside_a_kink():
    report = check_gradient(lasso_grad(0.0), lasso, cases=LASSO)
    assert [oracle.name for oracle in report.oracles][:2] == ["central differences", "Taylor order"]
    assert all(oracle.agrees for oracle in report.oracles)


@pytest.mark.parametrize("slope", [-2.5, -1.0, 0.5, 1.0, 1.5, 2.5])
def test_any_slope_between_those_on_both_sides_and_no_other(slope):
    assert examine(lasso_grad(slope), lasso, cases=LASSO, at_kink="any").passed == (abs(slope) <= 1)


@pytest.mark.parametrize("slope", [-0.1, 0.0, 0.5, 1.0, 1.1, 1.9])
def test_any_slope_of_a_relu(slope):
    """That has a rule of its own, and is met by two units that add to one entry."""

    def loss(params, batch):
        return jnp.sum(jax.nn.relu(params[:, None] * jnp.ones((1, 2))) * batch)

    def grad(params, batch):
        return batch.sum(axis=1) * np.where(params == 0, slope, params > 0).astype(params.dtype)

    cases = [(np.array([1.0, 0.0, -2.0]), 1 + np.abs(RNG.normal(size=(3, 2))))]
    assert examine(grad, loss, cases=cases, at_kink="any").passed == (0 <= slope <= 1)


def entropy(eps):
    def loss(params, batch):
        x, y = batch
        return -jnp.sum(y * jnp.log(jax.nn.softmax(x @ params, axis=1) + eps)) / x.shape[0]

    return loss


def entropy_grad(params, batch):
    x, y = batch
    e = np.exp((z := x @ params) - z.max(1, keepdims=True))
    return x.T @ (e / e.sum(1, keepdims=True) - y) / len(x)


ENTROPY = [
    (RNG.normal(size=(4, 3)), (RNG.normal(size=(6, 4)), np.eye(3)[RNG.integers(0, 3, 6)]))
    for _ in range(3)
]


@pytest.mark.parametrize("eps", [1e-12, 1e-9])
def test_a_small_number_that_is_left_out(eps):
    """-log(p + ε) with the gradient p − y: wrong by very little, which can be accepted."""
    report = examine(entropy_grad, entropy(eps), cases=ENTROPY)
    assert diagnosis(report).kind == "ε"
    assert "of the largest entry, as if an ε" in diagnosis(report).says
    accepted = check_gradient(entropy_grad, entropy(eps), cases=ENTROPY, rtol=1e3 * eps)
    assert "are accepted, as asked for" in str(accepted)


@pytest.mark.parametrize("setting", [{"rtol": -1.0}, {"atol": np.inf}, {"rtol": np.nan}])
def test_tolerances_that_are_none(setting):
    with pytest.raises(ValueError, match="give a number from 0 on"):
        examine(entropy_grad, entropy(0.0), cases=ENTROPY, **setting)


@pytest.mark.parametrize("wrong", [False, True])
def test_many_parameters_of_a_loss_that_is_not_jax(wrong):
    def loss(params, batch):
        return float(np.mean((np.tanh(batch["x"] @ params["W"]).sum(1) - batch["y"]) ** 2))

    def grad(params, batch):
        h = np.tanh(batch["x"] @ params["W"])
        error = 2 * (h.sum(1) - batch["y"]) / len(batch["y"])
        found = batch["x"].T @ (error[:, None] * (1 - h**2))
        found[3, 4] += 1e-3 * wrong
        return {"W": found}

    side = 150
    cases = [
        (
            {"W": RNG.normal(size=(side, side)) / side},
            {"x": RNG.normal(size=(8, side)), "y": RNG.normal(size=8)},
        )
    ]
    report = examine(grad, loss, cases=cases)
    assert report.passed != wrong
    assert "directions" in kinds(report)
    said = "∂C/∂W along directions" if wrong else "is right: each leaf along random directions, on"
    assert said in str(report)


def test_cases_of_a_slow_loss_for_which_there_is_no_time(monkeypatch):
    monkeypatch.setattr(check, "PATIENCE", 0.0)
    cases = [({"w": RNG.normal(size=3)}, RNG.normal(size=3)) for _ in range(6)]
    report = examine(lambda p, b: {"w": 2 * (p["w"] - b)}, of_numpy, cases=cases)
    assert report.passed
    assert (report.cases, report.dtypes) == (1, ("float64",))
    assert "note: time: 7 of 8 cases are not looked at" in str(report)


def test_entries_without_a_derivative_hide_no_others():
    """At a distance of 0, whose row has none, another row is wrong."""

    def loss(p, b):
        return jnp.sqrt(jnp.sum((p - b) ** 2, axis=1)).sum()

    def grad(p, b, factor=1.0):
        size = np.sqrt(((p - b) ** 2).sum(axis=1, keepdims=True))
        found = (p - b) / np.where(size == 0, 1, size)
        found[2] *= factor if (size == 0).any() else 1
        return found

    p, b = RNG.normal(size=(2, 4, 2))
    b[1] = p[1]
    cases = [(p, b), (p, b + 1)]
    for some in (cases, cases[:1]):
        right = examine(grad, loss, cases=some)
        assert right.passed, right
        assert "every entry that can be compared" in str(right)
        assert not examine(functools.partial(grad, factor=5.0), loss, cases=some).passed


def test_what_a_gradient_of_0_can_show():
    report = examine(
        lambda p, b: 0 * p, lambda p, b: jnp.sum(jnp.round(p)), cases=[(np.ones(3), 0)]
    )
    assert report.passed
    assert "any size" not in str(report)
    assert "all zero: the true gradient is 0 on every case" in str(report)


@pytest.mark.parametrize("loss", [lambda p, b: jnp.sum(p) > 1, lambda p, b: bool(np.sum(p) > 1)])
def test_a_loss_that_is_no_number(loss):
    with pytest.raises(ValueError, match="it returns bool: return a real number"):
        examine(lambda p, b: p, loss, cases=[(np.ones(3), 0)])


def test_slopes_beyond_those_of_a_kink():
    report = examine(
        lambda p, b: np.array([1.5, 1, 0]), lambda p, b: jax.nn.relu(p).sum(),
        cases=[(np.array([0.0, 1, -1]), 0)], at_kink="any", dtypes=["float64"],
    )  # fmt: skip
    assert "∂C/∂params[0] is 1.5 and should be 1" in str(report)


def test_directions_are_no_entries():
    """One of 30,000 entries is doubled; no kind is read from projections."""

    def grad(p, b):
        return 2 * p * np.where(np.arange(len(p)) == 3, 2, 1)

    report = examine(
        grad, lambda p, b: float(np.sum(np.asarray(p) ** 2)), cases=[(RNG.normal(size=30_000), 0)]
    )
    assert not report.passed
    assert "along random direction" in str(report)
    assert report.diagnosis is not None
    assert "it differs along random directions" in report.diagnosis.says


def of_numpy(params, batch):
    return float(np.sum((np.asarray(params["w"]) - np.asarray(batch)) ** 2))


@jax.custom_jvp
def bent(z):
    return jnp.tanh(z)


@bent.defjvp
def _(primals, tangents):
    stopped = jax.lax.stop_gradient(jnp.tanh(primals[0]))
    return bent(*primals), (1 - stopped**2) * tangents[0]


def curved(f):
    return lambda p, b: jnp.mean((f(b["x"] @ p["W"]) @ p["v"] - b["y"]) ** 2)


def hvp_of(loss):
    return jax.jit(lambda p, b, v: jax.jvp(lambda p: jax.grad(loss)(p, b), (p,), (v,))[1])


def test_a_rule_that_is_right_in_the_first_order_only():
    params = {"W": RNG.normal(size=(3, 4)), "v": RNG.normal(size=4)}
    cases = [(params, {"x": RNG.normal(size=(5, 3)), "y": RNG.normal(size=5)})]
    check_gradient(jax.jit(jax.grad(curved(jnp.tanh))), curved(bent), cases=cases)
    report = check_hvp(hvp_of(curved(jnp.tanh)), curved(bent), cases=cases)
    assert "its own derivative is not" in str(report)
    report = examine_hvp(hvp_of(curved(bent)), curved(bent), cases=cases)
    assert diagnosis(report).kind == "wrong rule"
    assert "bent (test_checking_witnesses.py line" in diagnosis(report).says


def test_forward_and_reverse_mode_that_differ():
    """An index beyond the end: JAX reads the last entry, and adds no gradient to any."""

    def loss(params, batch):
        return jnp.sum(params[batch] ** 2)

    def grad(params, batch):
        found = np.zeros_like(params)
        np.add.at(found, np.minimum(batch, len(params) - 1), 2 * params[-1:])
        return found

    cases = [(RNG.normal(size=3), np.array([3]))]
    assert "wrong jax.grad" in kinds(check_gradient(grad, loss, cases=cases))
    assert not examine(jax.jit(jax.grad(loss)), loss, cases=cases).passed


@pytest.mark.parametrize("traced", [True, False])
def test_a_loss_that_changes_from_call_to_call(traced):
    rng = np.random.default_rng(0)

    def loss(params, batch):
        value = jnp.sum(params**2) if traced else float(np.sum(np.asarray(params) ** 2))
        return value * rng.normal()

    with pytest.raises(ValueError, match="when it is called again: draw random numbers by a key"):
        examine(lambda p, b: 2 * p, loss, cases=[(np.ones(2), None)])


def norm_net(params, batch):
    x, y = batch
    z = x @ params["W"] + params["b"]
    u = (z - z.mean(0)) / jnp.sqrt(z.var(0) + 1e-5)
    h = jnp.maximum(params["g"] * u + params["c"], 0)
    return jnp.mean((h @ params["v"] - y) ** 2)


def norm_grad(params, batch, mistake=""):
    (x, y), p = batch, params
    z = x @ p["W"] + p["b"]
    s = 1 / np.sqrt(z.var(0) + np.asarray(1e-5, z.dtype))
    u = (z - z.mean(0)) * s
    a = p["g"] * u + p["c"]
    h = np.maximum(a, 0)
    r = 2 * (h @ p["v"] - y) / len(x)
    da = np.outer(r, p["v"]) * ((a > 0) if mistake != "mask" else 1)
    du = da * p["g"]
    through = 0 if mistake == "variance" else u * (du * u).mean(0)
    dz = s * (du - du.mean(0) - through)
    return {"W": x.T @ dz, "b": dz.sum(0), "g": (da * u).sum(0), "c": da.sum(0), "v": h.T @ r}


def norm_cases(*sizes):
    return [
        (
            {"W": RNG.normal(size=(3, 4)), **{k: RNG.normal(size=4) for k in "bgcv"}},
            (RNG.normal(size=(n, 3)), RNG.normal(size=n)),
        )
        for n in sizes
    ]


@pytest.mark.parametrize(
    ("mistake", "line", "kind"),
    [
        ("mask", "h = jnp.maximum", "mask missing"),
        ("variance", "u = (z - z.mean(0))", "missing term"),
    ],
)
def test_the_line_of_any_loss_is_found(mistake, line, kind):
    """By the step of which a wrong derivative explains all that was received."""
    wrong = functools.partial(norm_grad, mistake=mistake)
    report = examine(wrong, norm_net, cases=norm_cases(4, 5))
    assert ", at test_checking_witnesses.py line" in str(report)
    assert line in diagnosis(report).places[0].text
    assert diagnosis(report).kind == kind


def test_nothing_is_compiled_for_a_batch_norm_in_three_sizes():
    """So that it takes about a second and not half a minute."""
    compiled = []
    listen = lambda name, *_, **__: compiled.append(name)  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        report = check_gradient(norm_grad, norm_net, cases=norm_cases(6, 7, 9))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert report.compared == 4
    programs = [name for name in compiled if name.endswith("backend_compile_duration")]
    assert len(programs) <= 12 or LONG  # conversions of arrays, each a program of its own


@jax.custom_jvp
def halved(x):
    return x**2


halved.defjvps(lambda t, answer, x: t * x)


@jax.custom_jvp
def norm(v):
    return jnp.sqrt(jnp.sum(v**2))


@norm.defjvp
def _(primals, tangents):
    size = norm(*primals)
    slope = primals[0] / jnp.where(size > 0, size, 1.0)
    return size, jnp.where(size > 0, jnp.sum(slope * tangents[0]), 0.0)


def numbers_with_zeros(*shape):
    found = np.random.default_rng(0).normal(size=shape)
    found[::7] = 0
    return found


@pytest.mark.parametrize(
    ("loss", "grad", "params"),
    [
        (lambda p, b: jnp.abs(p).sum(), np.sign, numbers_with_zeros(100)),
        (lambda p, b: jax.nn.relu(p).sum(), lambda p: (p > 0) * 1.0, numbers_with_zeros(450)),
        (
            lambda p, b: jax.vmap(norm)(p).sum(),
            lambda p: p / np.where(p.any(1), np.linalg.norm(p, axis=1), 1)[:, None],
            numbers_with_zeros(150, 3),
        ),
    ],
    ids=["abs", "relu", "a guard"],
)
def test_a_right_gradient_beside_a_wrong_rule_and_kinks(loss, grad, params):
    """What is right at a kink is not what the wrong rule says there."""

    def whole(p, b):
        return loss(p["p"], b) + halved(p["q"]).sum()

    cases = [({"p": params, "q": RNG.normal(size=4)}, 0)]
    report = examine(lambda p, b: {"p": grad(p["p"]), "q": 2 * p["q"]}, whole, cases=cases)
    assert report.passed, report
    (says,) = (each.says for each in report.findings if each.kind == "wrong rule")
    assert says.startswith("the rule of halved (")
    assert " and " not in says.partition(" is not")[0]
    assert not examine(lambda p, b: {"p": grad(p["p"]), "q": p["q"]}, whole, cases=cases).passed


@pytest.mark.parametrize("dtypes", [None, ["float32"]])
def test_a_rule_that_is_meant_beside_a_wrong_one(dtypes):
    @jax.custom_jvp
    def through(x):
        return x**3

    through.defjvps(lambda t, answer, x: 2.0 * t * x)

    def loss(p, b):
        return through(p["p"]).sum() + halved(p["q"]).sum()

    cases = [({"p": RNG.normal(size=4), "q": RNG.normal(size=4)}, 0)]
    settings = {"cases": cases, "intended": [through], "dtypes": dtypes}
    right = examine(lambda p, b: {"p": 2 * p["p"], "q": 2 * p["q"]}, loss, **settings)
    assert right.passed, right
    wrong = examine(lambda p, b: {"p": 3 * p["p"] ** 2, "q": 2 * p["q"]}, loss, **settings)
    assert not wrong.passed
    assert wrong.diagnosis is not None
    assert wrong.diagnosis.lines == ("∂C/∂p",)
    assert wrong.diagnosis.kind != "kink"
