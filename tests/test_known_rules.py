"""Wrong derivatives in released libraries, which the check of rules has to find.

Needs the libraries in `experiments/audit_requirements.txt`; each test is skipped without its own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmlp.checking.rules.check import examine_rule

pytestmark = [  # what the libraries warn of is theirs
    pytest.mark.usefixtures("as_people_run_it"),
    pytest.mark.filterwarnings("ignore"),
]


class Known(NamedTuple):
    """A function of a library, arguments for it, and what is wrong with it.

    Attributes:
        name: of the test, with the library in front.
        make: gives the function, of the library's module.
        arguments: an example of each.
        domain: where to look.
        kinds: those of which one has to be found.
        argument: by which the derivative is wrong.
    """

    name: str
    make: Callable[[Any], Callable[..., Any]]
    arguments: tuple[Any, ...]
    domain: Any
    kinds: tuple[str, ...]
    argument: str


NUMPYRO = "numpyro.distributions"
TFP = "tensorflow_probability.substrates.jax"
WRONG, MISSING, SIGN = "wrong", "missing", "wrong sign"
INFINITE = "NaN or infinite where the derivative is finite"
CHANGED = "value changed by differentiation"
MATRIX = np.random.default_rng(0).normal(size=(4, 4))


def log_prob(name: str, count: int) -> Callable[[Any], Callable[..., Any]]:
    """The density of a distribution of `count` parameters at a value."""
    names = ("a", "b", "c")[:count]
    body = f"lambda x, {', '.join(names)}: d.{name}({', '.join(names)}).log_prob(x)"
    return lambda d: eval(body, {"d": d})


CASES = [
    Known("jax.numpy.linalg det", lambda m: m.det, (MATRIX,), None, (MISSING, WRONG), "a"),
    Known(
        "jaxlie SE3.exp", lambda m: lambda x: m.SE3.exp(x).parameters(),
        (jnp.array([0.3, 0.2, 0.1, 0.4, 0.5, 0.6]),), None, (WRONG, MISSING), "x",
    ),
    Known(
        f"{NUMPYRO} Beta at 1", log_prob("Beta", 2), (0.3, 1.5, 2.5),
        {"x": "unit", "a": "positive", "b": "positive"}, (MISSING,), "a",
    ),
    Known(
        f"{NUMPYRO} StudentT.cdf", lambda d: lambda x, a, b, c: d.StudentT(a, b, c).cdf(x),
        (0.3, 1.5, 0.2, 2.5), {"a": "positive", "c": "positive"}, (INFINITE,), "x",
    ),
    Known(
        f"{NUMPYRO} Laplace.cdf", lambda d: lambda x, a, b: d.Laplace(a, b).cdf(x),
        (0.3, 1.5, 2.5), {"b": "positive"}, (MISSING,), "x",
    ),
    Known(
        f"{NUMPYRO} Bernoulli", lambda d: lambda x: d.Bernoulli(logits=x).log_prob(0.0),
        (0.3,), None, (MISSING, WRONG), "x",
    ),
    Known(
        f"{NUMPYRO} Binomial", lambda d: lambda x: d.Binomial(5, logits=x).log_prob(2),
        (0.3,), None, (WRONG, SIGN), "x",
    ),
    Known(
        f"{NUMPYRO} DoublyTruncatedPowerLaw", log_prob("DoublyTruncatedPowerLaw", 3),
        (1.5, -1.7, 1.0, 3.0), {"x": [1.5, 2.0, 1.2], "b": (0.1, 1.0), "c": (2.5, 9)},
        (SIGN, WRONG), "c",
    ),
    Known(
        "ott.math.utils softmin", lambda m: m.softmin, (jnp.array([1.0, 2.0]), 0.7),
        {"gamma": "positive"}, (WRONG, SIGN, MISSING), "gamma",
    ),
    Known(
        "ott.math.utils logsumexp",
        lambda m: lambda x, b: m.logsumexp(x, None, False, b),
        (jnp.array([1.0, 2.0]), jnp.array([0.5, 0.6])),
        None,
        (CHANGED,),
        "x",
    ),
    Known(
        "tinygp SHO",
        lambda m: lambda w, q, s: m.GaussianProcess(
            m.kernels.quasisep.SHO(omega=w, quality=q, sigma=s),
            jnp.array([0.0, 0.5, 1.2]), diag=0.1,
        ).log_probability(jnp.array([0.1, -0.3, 0.4])),
        (1.2, 0.8, 1.1), "positive", (MISSING,), "q",
    ),
    Known(
        f"{TFP}.math betainc", lambda m: m.betainc, (0.5, 1.2, 0.3),
        {"a": "positive", "b": "positive", "x": "unit"}, (WRONG,), "b",
    ),
    Known(
        f"{TFP}.distributions GeneralizedPareto.cdf",
        lambda d: lambda x, a, b, c: d.GeneralizedPareto(a, b, c).cdf(x),
        (1.3, 0.2, 1.5, 0.4), {"b": "positive"}, (MISSING,), "c",
    ),
    Known(
        f"{TFP}.distributions GeneralizedExtremeValue", log_prob("GeneralizedExtremeValue", 3),
        (1.3, 0.2, 1.5, 0.4), {"b": "positive"}, (MISSING, WRONG), "c",
    ),
]  # fmt: skip


@pytest.mark.parametrize("known", CASES, ids=lambda known: known.name)
def test_is_found(known):
    module, _, _ = known.name.partition(" ")
    function = known.make(pytest.importorskip(module))
    report = examine_rule(function, *known.arguments, domain=known.domain)
    found = {(each.kind, each.argument.partition("[")[0]) for each in report.findings}
    assert found & {(kind, known.argument) for kind in known.kinds}, report
