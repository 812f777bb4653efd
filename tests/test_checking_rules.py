"""The checker of derivative rules: right and wrong ones, all told what they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies

from jaxmlp.checking import RuleMismatch, check_rule
from jaxmlp.checking.check import examine
from jaxmlp.checking.rules.check import examine_rule
from tests.rules import RIGHT, WRONG, slope

pytestmark = pytest.mark.usefixtures("as_users_see_it", "as_people_run_it")
ALSO = {  # what else is wrong with them, as a consequence
    "sinc at 0": {"precision lost"},
    "shape 0": {"NaN or infinite where the derivative is finite"},
}


@pytest.mark.parametrize("rule", RIGHT, ids=[rule.name for rule in RIGHT])
def test_right_rules_pass(rule):
    report = check_rule(rule.function, *rule.arguments, domain=rule.domain)
    assert report.points > 2


@pytest.mark.parametrize("rule", WRONG, ids=[rule.name for rule in WRONG])
def test_wrong_rules_are_told_by_their_kind(rule):
    with pytest.raises(RuleMismatch) as raised:
        check_rule(rule.function, *rule.arguments, domain=rule.domain)
    report = raised.value.report
    assert {rule.kind} <= {*report.kinds} <= {rule.kind} | ALSO.get(rule.name, set())
    of = {each.argument for each in report.findings if each.kind == rule.kind}
    assert any(name.startswith(rule.argument) for name in of)
    assert rule.kind in str(report)


def test_corpus_is_large_enough():
    assert len(RIGHT) >= 20
    assert len(WRONG) >= 30


def test_what_is_meant_can_be_declared():
    def round_(x):
        return jnp.round(x)

    through = slope(round_, lambda t, ans, x: t)
    assert not examine_rule(through, 0.3).passed
    report = check_rule(through, 0.3, intended=[round_])
    assert report.findings[0].kind == "on purpose"


def test_kinks_are_told_with_their_convention():
    (found,) = check_rule(lambda x: jnp.maximum(x, 0), 0.7).findings
    assert found.kind == "convention at a kink"
    assert "the mean one" in str(found)


@pytest.mark.parametrize(
    ("function", "arguments", "settings", "says"),
    [
        (jnp.sin, (2,), {}, "no argument of sin moves"),
        (jnp.sin, (), {}, "no argument of sin moves"),
        (jnp.argmax, (np.ones(3),), {}, "returns no floating numbers"),
        (jnp.linalg.inv, (np.ones(3),), {}, "inv does not take the arguments: ValueError"),
        (jnp.log, (-1.0,), {"domain": (-3, -1)}, "log has no finite value at any point"),
        (jnp.sin, (1.0,), {"domain": "angle"}, "'angle' is none of real, positive"),
        (jnp.sin, (1.0,), {"domain": (3, 1)}, "holds no numbers"),
        (jnp.sin, (1.0,), {"domain": {"y": (0, 1)}}, "'y', which is no argument"),
        (jnp.sin, (1.0,), {"domain": 7}, "is no domain: give"),
        (jnp.add, (1.0, 2.0), {"domain": ["real"]}, "is not for 2 arguments"),
        (jnp.sin, (1.0,), {"dtypes": ["float8"]}, "'float8' is none of float64"),
    ],
)
def test_bad_input(function, arguments, settings, says):
    with pytest.raises(ValueError, match=says):
        check_rule(function, *arguments, **settings)


@pytest.mark.parametrize("domain", [strategies.floats(0.5, 2), [0.5, 0.7], (0.5, None)])
def test_domains(domain):
    def log(x):
        return slope(jnp.log, lambda t, ans, x: t / x * jnp.where(x < 0.4, 2, 1))(x)

    assert examine_rule(log, 0.7, domain=domain).passed
    assert not examine_rule(log, 0.7, domain="positive").passed


@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_a_formula_takes_the_place_of_differences(factor):
    square = slope(lambda x, n: x**2 + n, lambda t, a, x, n: 2 * t * x, lambda t, a, x, n: t)
    given = {"domain": (0.5, 2), "truth": lambda x, n: (factor * 2 * x, 1.0)}
    report = examine_rule(square, 1.3, 0.7, **given)
    assert report.passed == (factor == 1)
    with pytest.raises(
        ValueError, match="truth returns 1 derivatives: return one for each of x, n"
    ):
        examine_rule(square, 1.3, 0.7, truth=lambda x, n: 2 * x)


@pytest.mark.parametrize("power", [1, 2])
def test_samples_by_their_distribution(power):
    """Samples of an exponential distribution, s · E, with the slope E, or another one."""

    def draw(key, scale):
        return scale * jax.random.exponential(key, (3,))

    sampler = jax.custom_jvp(draw)
    sampler.defjvp(lambda p, t: (draw(*p), t[1] * jax.random.exponential(p[0], (3,)) ** power))

    def given(scale):
        return sampler(jax.random.key(0), scale)

    report = examine_rule(
        given, 1.3, domain=(0.5, 3), cdf=lambda x, scale: -np.expm1(-x / scale), dtypes=[]
    )
    assert report.passed == (power == 1)


def test_primitives_of_a_user():
    """Hijax primitives bring their rules along, and the program that they are rules for."""
    hijax = pytest.importorskip("jax.experimental.hijax")

    class Sine(hijax.VJPHiPrimitive):
        factor = 1.0

        def __init__(self, aval):
            self.in_avals, self.out_aval, self.params = (aval,), aval, {}
            super().__init__()

        def expand(self, x):
            return jnp.sin(x)

        def vjp_fwd(self, _, x):
            return self(x), x

        def vjp_bwd_retval(self, x, g):
            return (self.factor * g * jnp.cos(x),)

        def batch_dim_rule(self, _, dims):
            return dims[0]

    class Wrong(Sine):
        factor = 1.01

    def applied(primitive):
        return lambda x: primitive(jax.typeof(x))(x)

    report = examine_rule(applied(Sine), 0.7)
    assert report.passed, report
    assert report.rules == ("Sine",)
    report = examine_rule(applied(Wrong), 0.7)
    (found,) = [each for each in report.findings if each.kind == "wrong"]
    assert found.received == pytest.approx(1.01 * found.without)

    def loss(x, batch):
        return jnp.sum(applied(Wrong)(x) * batch)

    def grad(x, batch):
        return np.cos(x) * batch

    cases = [(np.array([0.3, 0.7]), np.array([1.0, 2.0]))]
    report = examine(grad, loss, cases=cases)
    assert "the rule of Wrong" in str(report)


def test_a_line_that_repeats_a_finding():
    def tripled(x, matrix):
        return jnp.sum(matrix) * jnp.where(x == 1, 3.0, 3 * x)

    report = examine_rule(tripled, 0.7, np.eye(2))
    (found,) = [each for each in report.findings if each.kind == "missing"]
    names = {"jax": jax, "jnp": jnp, "tripled": tripled}
    with jax.enable_x64(True):
        assert eval(found.repeat, names) == found.received == 0
    assert found.repeat in str(report)
    (found,) = examine_rule(lambda x: jnp.where(x == 1, 3.0, 3 * x), 0.7).findings
    assert found.repeat == "jax.jacfwd(f, 0)(1.0)"


def test_infinite_values_stay_infinite():
    """A rule may not return another value, where there is no derivative either."""
    total = jax.custom_jvp(lambda w: jnp.log(jnp.sum(jnp.abs(w))))

    def rule(primals, tangents):
        (w,), (t,) = primals, tangents
        size = jnp.sum(jnp.abs(w))
        slope = jnp.sum(jnp.sign(w) * t) / jnp.where(size == 0, 1, size)
        return jnp.where(size == 0, 0.0, jnp.log(size)), slope

    total.defjvp(rule)
    report = examine_rule(total, np.array([0.7, 0.2]))
    assert report.kinds == ["value changed by differentiation"], report
    assert "the value is -inf, and 0 when it is differentiated" in str(report)


def test_stopped_gradients_are_named():
    report = examine_rule(lambda x, y: jax.lax.stop_gradient(x) * y, 0.7, 0.3)
    assert [each.kind for each in report.findings] == ["missing"]
    assert "the function stops gradients" in str(report)


def test_random_numbers_are_others_in_another_dtype():
    """So nothing is lost where another one of equal numbers is chosen."""
    chosen = lambda a: jax.random.choice(jax.random.key(0), a)  # noqa: E731
    assert check_rule(chosen, np.array([0.35, 0.6, 1.2])).passed


def test_rounding_at_a_kink():
    """Singular values of a matrix whose entries are all 1e-6: two of them are 0."""
    report = examine_rule(jnp.linalg.svdvals, np.full((3, 3), 1e-6), domain=[np.full((3, 3), 1e-6)])
    assert not [each for each in report.findings if each.kind == "wrong"], report
