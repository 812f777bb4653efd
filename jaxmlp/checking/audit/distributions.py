"""Methods of distributions as functions: of the value and of the distribution's parameters.

A distribution is a class with `log_prob` whose constructor takes numbers, as in numpyro, distrax
and TensorFlow Probability.
"""

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

METHODS = ("log_prob", "cdf", "log_cdf", "icdf", "quantile", "entropy", "mean", "variance")
OF_PROBABILITY = ("icdf", "quantile")
OF_NOTHING = ("entropy", "mean", "variance")
VALUE = "value"  # the name of the method's own argument
VALUES = (0.3, 1.3, 2.3)
CONSTRAINTS: dict[str, Any] = {  # by a part of the name of numpyro's class
    "positivedefinite": "positive definite",
    "integer": "fixed",
    "unitinterval": "unit",
    "openinterval": "unit",
    "positive": "positive",
    "nonnegative": "positive",
    "real": "real",
}


class Method:
    """A method of a distribution, as a function of its own argument and of parameters.

    Attributes:
        owner: the class.
        name: of the method.
        parameters: of the class, those that the function takes, in order.
        domain: where these may be, by their names, as far as the class says so.
    """

    def __init__(self, owner: type, name: str, names: Sequence[str] | None = None) -> None:
        """The method of a class, as a function of all its parameters, or of some by their names."""
        every = inspect.signature(owner).parameters
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        if names is None:
            names = [p.name for p in every.values() if p.kind is kind and _is_number(p.default)]
        self.owner, self.name, self.parameters = owner, name, [every[each] for each in names]
        own = [] if name in OF_NOTHING else [inspect.Parameter(VALUE, kind)]
        plain = [inspect.Parameter(each, kind) for each in names]
        self.__signature__ = inspect.Signature([*own, *plain])
        self.__name__ = f"{owner.__name__}.{name}"
        constraints = getattr(owner, "arg_constraints", None)
        constraints = constraints if isinstance(constraints, dict) else {}
        self.domain = {each: _domain(constraints[each]) for each in names if each in constraints}

    def __call__(self, *arguments: Any) -> Any:
        """The method's value."""
        own, parameters = (), arguments
        if self.name not in OF_NOTHING:
            own, parameters = arguments[:1], arguments[1:]
        found = getattr(self._distribution(parameters), self.name)
        return found(*own) if callable(found) else found

    def _distribution(self, parameters: Sequence[Any]) -> Any:
        named = zip(self.parameters, parameters, strict=False)
        return self.owner(**{each.name: value for each, value in named})

    def own_arguments(self, parameters: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """What may be given to the method itself: where it takes a value, one that is drawn."""
        if self.name in OF_NOTHING:
            yield ()
        elif self.name in OF_PROBABILITY:
            yield (0.3,)
        else:
            if (drawn := self._drawn(parameters)) is not None:
                yield (drawn,)
            yield from ((each,) for each in VALUES)

    def _drawn(self, parameters: Sequence[Any]) -> Any:
        key = jax.random.key(0)
        for given, named in (((key,), {}), ((), {"seed": key})):
            with contextlib.suppress(Exception):
                sample = np.asarray(self._distribution(parameters).sample(*given, **named))
                if np.issubdtype(sample.dtype, np.floating):
                    return sample.astype(np.float64) if sample.ndim else float(sample)
                return sample
        return None


def _is_number(default: Any) -> bool:
    return default is None or default is inspect.Parameter.empty or type(default) in (int, float)


def _domain(constraint: Any) -> Any:
    name = type(constraint).__name__.lower()
    return next((domain for part, domain in CONSTRAINTS.items() if part in name), None)


def methods(found: Any) -> list[str]:
    """The names of the methods of a distribution that can be audited; none of what is none."""
    if not inspect.isclass(found) or inspect.isabstract(found):
        return []
    if not callable(getattr(found, "log_prob", None)):
        return []
    return [name for name in METHODS if hasattr(found, name)]
