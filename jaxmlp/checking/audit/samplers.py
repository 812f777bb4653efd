"""Arguments for a function of which only the signature is known.

Names say what may be given: a probability is between 0 and 1, a scale is positive. What fits is
found by trying: numbers first, then vectors, then matrices.
"""

import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.audit.distributions import OF_PROBABILITY, VALUE, Method
from jaxmlp.checking.calls import is_floating

UNIT = {"p", "q", "prob", "probs", "quantile", "probability"}
POSITIVE = {
    "alpha", "beta", "concentration", "df", "dfd", "dfn", "rate", "s", "scale", "sigma", "std",
    "temperature", "variance", "gamma", "kappa", "concentration0", "concentration1", "mixing_rate",
}  # fmt: skip
REAL = {"loc", "logits", "mean"}
NUMBERS = {"unit": 0.3, "positive": 1.3, "real": 0.7}
WHOLE = {"n", "k", "m", "d", "order", "num_classes", "n_iter"}
KEYS = {"key", "rng", "rng_key", "seed"}
MOST = 4  # arguments without a default
FORMS = ("number", "vector", "matrix", "long vector")
VECTOR = np.array([0.35, 0.6, 1.2])
LONG = np.array([0.3, 0.2, 0.1, 0.4, 0.5, 0.6])
MATRIX = np.array([[2.0, 0.3, -0.4], [0.3, 1.5, 0.2], [-0.4, 0.2, 1.1]])


class Sample(NamedTuple):
    """A function, arguments for it, and their domains by name."""

    function: Callable[..., Any]
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
    method = function if isinstance(function, Method) else None
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = method.parameters if method else [p for p in parameters if p.kind in kinds]
    needed = [p for p in positional if p.default is p.empty]
    if len(needed) > MOST:
        return f"it takes {len(needed)} arguments: give a domain in audit.toml"
    for found in _samples(function, positional):
        try:
            if _fits(found.function, found.arguments):
                return found
        except NotImplementedError:
            return "it is not implemented"
        except Exception:  # whatever a function does with arguments that it does not take
            continue
    if not any(_chosen(positional)) and not method:
        return "it takes no arguments"
    return "no sample of its arguments fits: give one in audit.toml"


def _samples(
    function: Callable[..., Any], positional: Sequence[inspect.Parameter]
) -> Iterator[Sample]:
    """Samples in which the arguments have several forms."""
    for taken in filter(None, _chosen(positional)):
        for form in itertools.product(FORMS, repeat=min(2, len(taken))):
            known = function.domain if isinstance(function, Method) else {}
            forms = [form[min(number, len(form) - 1)] for number in range(len(taken))]
            pairs = [_value(p, f, known.get(p.name)) for p, f in zip(taken, forms, strict=True)]
            arguments = tuple(value for value, _ in pairs)
            domain = {p.name: where for p, (_, where) in zip(taken, pairs, strict=True)}
            if isinstance(function, Method):
                some = Method(function.owner, function.name, [*domain])
                for own in some.own_arguments(arguments):
                    where = {VALUE: "unit"} if function.name in OF_PROBABILITY else {}
                    yield Sample(some, (*own, *arguments), where | domain)
            else:
                yield Sample(function, arguments, domain)


def _chosen(positional: Sequence[inspect.Parameter]) -> Iterator[list[inspect.Parameter]]:
    """Parameters that all get a value: those without a default, and other numbers."""
    needed = [p for p in positional if p.default is p.empty]
    rest = list(positional[len(needed) :])
    optional = list(itertools.takewhile(lambda p: isinstance(p.default, float), rest))
    if optional:
        yield [*needed, *optional]
    for other in rest[len(optional) :]:
        if other.default is None and other.name in POSITIVE | UNIT | REAL:  # one way of several
            yield [*needed, *optional, other]
    yield needed


def _value(parameter: inspect.Parameter, form: str, known: Any) -> tuple[Any, Any]:
    """A value for an argument, by its name, and its domain, by what is known of it."""
    name = parameter.name.lower()
    if name in KEYS:
        return jax.random.key(0), "fixed"
    if known == "fixed" or (name in WHOLE and form == "number"):
        return 2, "fixed"
    where = known or ("unit" if name in UNIT else "positive" if name in POSITIVE else "real")
    if isinstance(parameter.default, float):
        return parameter.default, where
    if form == "number":
        return NUMBERS.get(where, 0.7), where
    if form == "vector":
        return VECTOR / (2 if where == "unit" else 1), where
    if form == "long vector":
        return LONG, where
    return MATRIX, where


def _fits(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
    """Whether a function gives finite numbers, and some."""
    with jax.enable_x64(True):
        leaves = jax.tree.leaves(function(*map(_array, arguments)))
        some = [each for each in map(jnp.asarray, leaves) if is_floating(each)]
        return bool(some) and all(bool(jnp.isfinite(each).all()) for each in some)


def _array(value: Any) -> Any:
    return jnp.asarray(value) if isinstance(value, (float, np.ndarray)) else value
