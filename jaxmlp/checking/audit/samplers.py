"""Arguments for a function of which only the signature is known.

Names say what may be given: a probability is between 0 and 1, a scale is positive. What fits is
found by trying: numbers first, then vectors, then matrices.
"""

import inspect
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.calls import is_floating

UNIT = {"p", "q", "prob", "probs", "quantile", "probability"}
POSITIVE = {
    "alpha", "beta", "concentration", "df", "dfd", "dfn", "rate", "s", "scale", "sigma", "std",
    "temperature", "variance", "gamma", "kappa",
}  # fmt: skip
WHOLE = {"n", "k", "m", "d", "order", "num_classes", "n_iter"}
KEYS = {"key", "rng", "rng_key", "seed"}
MOST = 4  # arguments without a default
FORMS = ("number", "vector", "matrix")
VECTOR = np.array([0.35, 0.6, 1.2])
MATRIX = np.array([[2.0, 0.3, -0.4], [0.3, 1.5, 0.2], [-0.4, 0.2, 1.1]])


class Sample(NamedTuple):
    """Arguments for a function, and their domains by name."""

    arguments: tuple[Any, ...]
    domain: dict[str, Any]


def sample(function: Callable[..., Any]) -> Sample | str:
    """Arguments at which a function has finite values, or why there are none.

    Numbers that have a default are given, too, if the function takes them.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return "it has no signature"
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in positional if p.default is p.empty]
    optional = list(
        itertools.takewhile(lambda p: isinstance(p.default, float), positional[len(needed) :])
    )
    if len(needed) > MOST:
        return f"it takes {len(needed)} arguments: give a domain in audit.toml"
    for taken in [[*needed, *optional], needed] if optional else [needed]:
        for form in itertools.product(FORMS, repeat=min(2, max(1, len(taken)))):
            found = _given(taken, form)
            if found.arguments and _fits(function, found.arguments):
                return found
    if not needed and not optional:
        return "it takes no arguments"
    return "no sample of its arguments fits: give one in audit.toml"


def _given(taken: list[inspect.Parameter], form: tuple[str, ...]) -> Sample:
    arguments, domain = [], {}
    for number, parameter in enumerate(taken):
        name = parameter.name.lower()
        value, where = _value(name, form[min(number, len(form) - 1)], parameter.default)
        arguments.append(value)
        domain[parameter.name] = where
    return Sample(tuple(arguments), domain)


def _value(name: str, form: str, default: Any) -> tuple[Any, Any]:
    """A value for an argument, by its name, and its domain."""
    if name in KEYS:
        return jax.random.key(0), "fixed"
    if name in WHOLE and form == "number":
        return 2, "fixed"
    where = "unit" if name in UNIT else "positive" if name in POSITIVE else "real"
    if isinstance(default, float):
        return default, where
    if form == "number":
        return {"unit": 0.3, "positive": 1.3, "real": 0.7}[where], where
    if form == "vector":
        return VECTOR / (2 if where == "unit" else 1), where
    return MATRIX, where


def _fits(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
    try:
        with jax.enable_x64(True):
            leaves = jax.tree.leaves(function(*map(_array, arguments)))
            some = [each for each in map(jnp.asarray, leaves) if is_floating(each)]
            return bool(some) and all(bool(jnp.isfinite(each).all()) for each in some)
    except Exception:
        return False


def _array(value: Any) -> Any:
    return jnp.asarray(value) if isinstance(value, (float, np.ndarray)) else value
