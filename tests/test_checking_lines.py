"""Line by line: our own derivation, and homework that shows its lines."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlp.checking import GradientMismatch, check_gradient, check_lines, tap
from jaxmlp.checking.lines import examine_lines
from jaxmlp.checking.network.naming import parse
from jaxmlp.checking.network.shapes import SHAPES, Shape
from jaxmlp.checking.network.slopes import ACTIVATIONS
from jaxmlp.gradient import derivation_lines
from tests.strategies import LONG

SOME = SHAPES[1:3]


def homework(**replaced):
    """The lines of a derivation by hand, some of them replaced by functions of those before."""

    def lines(params, batch):
        out, labels = {}, batch.labels
        k, n, last = params[-1].weight.shape[1], len(batch.x), len(params)
        h = batch.x

        def put(name, value):
            out[name] = replaced[name](out, value) if name in replaced else value
            return out[name]

        for l, (weight, bias) in enumerate(params):
            h = put(f"h{l}", np.maximum(out[f"z{l}"], 0)) if l else h
            put(f"z{l + 1}", h @ weight + (0 if bias is None else bias))
        e = np.exp(out[f"z{last}"] - out[f"z{last}"].max(axis=1, keepdims=True))
        p = put("p", e / e.sum(axis=1, keepdims=True))
        y = labels if labels.ndim == 2 else np.eye(k)[labels]
        put(f"dz{last}", (p * y.sum(axis=1, keepdims=True) - y) / n)
        for l in reversed(range(last)):
            put(f"dW{l}", (out[f"h{l}"] if l else batch.x).T @ out[f"dz{l + 1}"])
            if params[l].bias is not None:
                put(f"db{l}", out[f"dz{l + 1}"].sum(axis=0))
            if l:
                put(f"dh{l}", out[f"dz{l + 1}"] @ params[l].weight.T)
                put(f"dz{l}", out[f"dh{l}"] * (out[f"z{l}"] > 0))
        return {name: value for name, value in out.items() if name != "skip"}

    return lines


def rows(report):
    return {row.name: row.status for row in report.example.rows}


@pytest.mark.parametrize("activation", ACTIVATIONS if LONG else ("relu", "gelu"))
def test_our_own_lines_are_right(activation):
    def lines(params, batch):
        return derivation_lines(params, batch, activation)

    check_lines(lines, activation=activation, shapes=SHAPES if LONG else SOME)


def test_right_homework():
    with jax.numpy_rank_promotion("allow"):
        check_lines(homework(), shapes=SOME)


@pytest.mark.parametrize(
    ("name", "wrong", "line", "kind", "followers"),
    [
        ("dz2", lambda out, value: -value, "∂C/∂z₂", "sign", ("∂C/∂W¹", "∂C/∂h₁", "∂C/∂b⁰")),
        ("dh1", lambda out, value: value / 2, "∂C/∂h₁", "constant factor", ("∂C/∂z₁", "∂C/∂W⁰")),
        ("dz1", lambda out, value: out["dh1"], "∂C/∂z₁", "mask missing", ("∂C/∂W⁰", "∂C/∂b⁰")),
        ("db1", lambda out, value: out["dz2"].mean(0), "∂C/∂b¹", "extra 1/N", ()),
        ("p", lambda out, value: out["z2"], "p", "softmax missing", ("∂C/∂z₂", "∂C/∂W⁰")),
        ("h1", lambda out, value: out["z1"], "h₁", "missing function", ("z₂", "p", "∂C/∂W⁰")),
    ][:: 1 if LONG else 2],
)
def test_the_first_wrong_line_is_named(name, wrong, line, kind, followers):
    with jax.numpy_rank_promotion("allow"):
        report = examine_lines(homework(**{name: wrong}), shapes=SOME)
    assert not report.passed
    assert report.diagnosis
    assert report.diagnosis.lines == (line,)
    assert report.diagnosis.kind == kind
    status = rows(report)
    assert [each for each, found in status.items() if found == "wrong"] == [line]
    assert all(status[each] == "follows" for each in followers)


def test_the_example_is_small():
    report = examine_lines(homework(db1=lambda out, value: value / 2), shapes=SOME)
    assert report.example
    assert report.example.case.shape
    assert report.example.case.shape.sizes == (1, 1, 2)
    assert report.missed["float64"] < 1e-12
    assert "what could have gone unseen: errors below" in str(report)


def test_an_example_that_is_off_in_a_layer_excuses_no_other():
    """Without biases its next z is exactly 0, which says nothing of the other examples."""
    whole = homework(dz2=lambda out, value: 0.9 * value)

    def lines(params, batch):  # wrong where the labels have any sum, which few cases show
        sums = batch.labels.sum(axis=1)
        return (homework() if np.allclose(sums, 1) else whole)(params, batch)

    with jax.numpy_rank_promotion("allow"):
        report = examine_lines(lines, shapes=[Shape((2, 4, 3, 5), False, 6)], labels=["rows"])
    assert report.diagnosis
    assert report.diagnosis.lines == ("∂C/∂z₂",)


def test_two_wrong_lines_are_told_apart():
    wrong = {"dz2": lambda out, value: -value, "db0": lambda out, value: value / 2}
    with jax.numpy_rank_promotion("allow"):
        status = rows(examine_lines(homework(**wrong), shapes=SOME))
    assert [line for line, found in status.items() if found == "wrong"] == ["∂C/∂z₂", "∂C/∂b⁰"]


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("z1", ("z", 1)),
        ("z₂", ("z", 2)),
        ("a1", ("h", 1)),
        ("p", ("p", 0)),
        ("loss", ("C", 0)),
        ("∂C/∂W¹", ("dW", 1)),
        ("∂L/∂z_2", ("dz", 2)),
        ("dC_db0", ("db", 0)),
        ("J2", ("dz", 2)),
        ("grad_h1", ("dh", 1)),
    ],
)
def test_names(name, meaning):
    assert parse(name) == meaning


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (lambda params, batch: 3, "it returns a int: return a dict"),
        (lambda params, batch: {"q": batch.x}, "a line called 'q': name lines as z1"),
        (lambda params, batch: {"z9": batch.x}, "it returns a line z9: the lines are z₁"),
        (lambda params, batch: {"z1": batch.x}, r"z₁ has shape \(5, 4\), where \(5, 3\) belongs"),
        (lambda params, batch: {"p": 1 / 0}, "ZeroDivisionError"),
    ],
)
def test_what_are_no_lines(lines, message):
    with pytest.raises(GradientMismatch, match=message):
        check_lines(lines, shapes=SHAPES[1:2])


def test_nan_never_passes():
    def lines(params, batch):
        return {"p": jnp.full((len(batch.x), params[-1].weight.shape[1]), jnp.nan)}

    assert not examine_lines(lines, shapes=SOME).passed


def loss_of_ones_own(params, batch):
    x, y = batch
    z = tap("z", x @ params["w"] + params["b"])
    h = tap("h", jnp.tanh(z))
    return jnp.mean((h - y) ** 2)


def lines_of_ones_own(**replaced):
    def lines(params, batch):
        x, y = batch
        out = {}

        def put(name, value):
            out[name] = replaced[name](value) if name in replaced else value
            return out[name]

        z = put("z", x @ params["w"] + params["b"])
        h = put("h", np.tanh(z))
        dh = put("∂C/∂h", 2 * (h - y) / len(y))
        dz = put("dz", dh * (1 - h**2))
        put("dw", x.T @ dz)
        put("db", dz.sum())
        return out

    return lines


def own_cases():
    rng = np.random.default_rng(0)
    return [
        (
            {"w": rng.normal(size=2), "b": rng.normal()},
            (rng.normal(size=(n, 2)), rng.normal(size=n)),
        )
        for n in (3, 3, 4)
    ]


@pytest.mark.parametrize("loss", [loss_of_ones_own, jax.jit(loss_of_ones_own)])
def test_lines_of_ones_own(loss):
    with jax.numpy_rank_promotion("allow"):
        check_lines(lines_of_ones_own(), loss, cases=own_cases())
        wrong = {"∂C/∂h": lambda value: -value, "db": lambda value: 2 * value}
        report = examine_lines(lines_of_ones_own(**wrong), loss, cases=own_cases())
    assert report.diagnosis
    assert report.diagnosis.lines == ("∂C/∂h",)
    assert report.diagnosis.kind == "sign"
    assert report.example
    assert len(report.example.case.batch[1]) == 1  # row, where the list has three or more
    status = {row.name: row.status for row in report.example.rows}
    assert status == {
        "z": "right", "h": "right", "∂C/∂h": "wrong", "∂C/∂z": "follows", "∂C/∂b": "wrong",
        "∂C/∂w": "follows",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "kind"),
    [
        ("z", lambda value, x: value - 0.7, "missing term"),  # the bias is 0.7
        ("h", lambda value, x: np.arctanh(value), "missing function"),
        ("dz", lambda value, x: value / (1 - np.tanh(x @ [0.3, -0.5] + 0.7) ** 2), "mask missing"),
        ("dw", lambda value, x: value * len(x), "1/N missing"),
    ],
)
def test_mistakes_in_lines_of_ones_own_are_named(name, change, kind):
    """By the steps of the loss, as those of a gradient are."""
    rng = np.random.default_rng(1)
    params = {"w": np.array([0.3, -0.5]), "b": np.float64(0.7)}
    cases = [(params, (rng.normal(size=(n, 2)), rng.normal(size=n))) for n in (3, 4, 5)]

    def lines(params, batch):
        changed = {name: lambda value: change(value, batch[0])}
        return lines_of_ones_own(**changed)(params, batch)

    with jax.numpy_rank_promotion("allow"):
        report = examine_lines(lines, loss_of_ones_own, cases=cases)
    assert report.diagnosis
    assert report.diagnosis.kind == kind, report


def test_what_are_no_lines_of_ones_own():
    with jax.numpy_rank_promotion("allow"):
        with pytest.raises(GradientMismatch, match="a line called 'q': the loss has z, h, ∂C/∂h"):
            check_lines(lambda params, batch: {"q": 1.0}, loss_of_ones_own, cases=own_cases())
        with pytest.raises(GradientMismatch, match=r"h has shape \(2,\), where \(3,\) belongs"):
            check_lines(
                lambda params, batch: {"h": np.zeros(2)}, loss_of_ones_own, cases=own_cases()
            )
    with pytest.raises(ValueError, match="a model of your own needs both"):
        check_lines(lines_of_ones_own(), loss_of_ones_own)
    with pytest.raises(ValueError, match="no cases are given"):
        check_lines(lines_of_ones_own(), loss_of_ones_own, cases=[])


def tapped_in_scan(params, x):
    w, u = params
    return jnp.sum(jax.lax.scan(lambda h, row: (tap("h", jnp.tanh(h * u + row @ w)), 0), 0.1, x)[0])


@pytest.mark.parametrize(
    "loss",
    [
        tapped_in_scan,
        lambda params, x: jnp.sum(jax.jit(lambda w: tap("h", x @ w))(params[0])) * params[1],
        lambda params, x: jnp.sum(jax.vmap(lambda row: tap("h", row @ params[0]))(x)) * params[1],
    ],
)
def test_taps_inside_a_loop(loss):
    """`check_lines` cannot move them, and says so; without it they give steps their names."""
    cases = [((np.array([0.3, -0.2]), 0.7), np.array([[1.0, 2.0], [0.5, -0.4], [2.0, 1.0]]))]
    with pytest.raises(ValueError, match="a tap is inside a loop, such as lax"):
        check_lines(lambda params, x: {"h": 0.0}, loss, cases=cases)


def test_a_leaf_that_is_a_number_keeps_its_name():
    cases = [((np.array([0.3, -0.2]), 0.7), np.array([[1.0, 2.0], [0.5, -0.4], [2.0, 1.0]]))]

    def wrong(params, x):
        dw, du = jax.grad(tapped_in_scan)(params, x)
        return dw, -du

    with pytest.raises(GradientMismatch, match=r"∂C/∂1: sign: the sign is wrong, at test_check"):
        check_gradient(wrong, tapped_in_scan, cases=cases)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: {}, "returns no lines"),
        (lambda lines: {"grad": {"w": lines["grad"]["w"]}}, "grad is {'w': (3,)}, where"),
        (lambda lines: {"z": lines["z"] + 5j}, "z is complex: return an array of real numbers"),
        (lambda lines: {"z": "x"}, "z is a str: return an array of real numbers"),
    ],
)
def test_too_little_to_compare(change, says):
    def loss(params, batch):
        x, y = batch
        return jnp.mean((tap("z", x @ params["w"] + params["b"]) - y) ** 2)

    def lines(params, batch):
        x, y = batch
        z = x @ params["w"] + params["b"]
        dz = 2 * (z - y) / len(y)
        return change({"z": z, "dz": dz, "grad": {"w": x.T @ dz, "b": dz.sum()}})

    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=3), "b": np.float64(0.2)}
    report = examine_lines(
        lines, loss, cases=[(params, (rng.normal(size=(5, 3)), rng.normal(size=5)))]
    )
    assert not report.passed
    assert says in str(report)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (lambda params, batch: {}, "returns no lines"),
        (lambda params, batch: {"grad": params[:1]}, "grad has biases"),
    ],
)
def test_too_little_of_our_networks(lines, says):
    report = examine_lines(lines, shapes=SOME)
    assert not report.passed
    assert says in str(report)
