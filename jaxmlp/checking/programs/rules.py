"""Rules that a function brings along for its own derivative (`custom_jvp`, `custom_vjp`)."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from jaxmlp.checking.programs.execution import Machine
from jaxmlp.checking.programs.interpreter import (
    CALLS,
    RULES,
    Source,
    bound,
    called,
    evaluated,
    inside,
    looped,
    opened,
    operations,
    rule_name,
    with_those_inside,
)


def has_rules(program: Jaxpr, intended: Sequence[str] = ()) -> bool:
    """Whether a program meets a rule that is not meant to be something else than a derivative."""
    return any(_is_rule(equation, intended) for equation in operations(program))


def rules_in(program: Jaxpr) -> list[str]:
    """The names of the functions with a rule that a program meets."""
    met = [each for each in operations(program) if each.primitive.name in RULES]
    return list(dict.fromkeys(rule_name(each)[0] for each in met))


def _is_rule(equation: Any, intended: Sequence[str]) -> bool:
    return equation.primitive.name in RULES and rule_name(equation)[0] not in intended


def without_rules(function: Callable[..., Any], intended: Sequence[str] = ()) -> Callable[..., Any]:
    """The same function, of which JAX knows nothing but what it computes.

    Args:
        function: that JAX can trace.
        intended: the names of functions whose rules are to stay.
    """

    @functools.wraps(function)
    def plain(*arguments: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        results = _run(closed, jax.tree.leaves(arguments), intended)
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return plain


def _run(program: Any, values: Sequence[Any], intended: Sequence[str]) -> list[Any]:
    jaxpr, consts = opened(program)
    return evaluated(jaxpr, consts, values, functools.partial(_step, intended=intended))


def _step(equation: Any, values: list[Any], intended: Sequence[str]) -> list[Any]:
    """One operation; where a rule is inside, the program that it is a rule for."""
    name, params = equation.primitive.name, equation.params
    if name in RULES:
        if not _is_rule(equation, intended):
            return called(equation, values)
        return _run(inner_program(equation), values, intended)
    if not any(_is_rule(each, intended) for each in with_those_inside(equation)):
        return bound(equation, values)
    run = functools.partial(_run, intended=intended)
    if name == "scan":
        results, _ = looped(params, values, lambda _, given: (run(params["jaxpr"], given), ()))
        return results
    if name == "cond":
        branches = [lambda *given, each=each: run(each, given) for each in params["branches"]]
        return list(jax.lax.switch(values[0], branches, *values[1:]))
    if name == "while":
        condition, body = params["cond_nconsts"], params["body_nconsts"]
        tested, fixed = values[:condition], values[condition : condition + body]
        return jax.lax.while_loop(
            lambda carry: run(params["cond_jaxpr"], [*tested, *carry])[0],
            lambda carry: run(params["body_jaxpr"], [*fixed, *carry]),
            values[condition + body :],
        )
    return run(inner_program(equation), values) if name in CALLS else bound(equation, values)


def inner_program(equation: Any) -> ClosedJaxpr:
    """What a call runs."""
    inner = inside(equation)
    assert inner is not None
    return ClosedJaxpr(*inner)


MOVED = 1e-2  # by which arguments are moved off a kink


class Rule(NamedTuple):
    """A rule that a program meets.

    Attributes:
        name: of the function that has it.
        source: where that is written, or called.
        off: by how much its derivative differs from that of what it computes, relative to the
            largest entry; NaN if one of both cannot be had.
        beside: the same a little beside what it was given.
    """

    name: str
    source: Source
    off: float
    beside: float

    def __str__(self) -> str:
        """Such as mv (loss.py line 7)."""
        return f"{self.name} ({self.source})" if self.source.file else self.name


class _Meeting(Machine):
    """Executes a program, and keeps what the rules in it were given."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[tuple[Any, list[Any]]] = []

    def step(self, equation: Any, values: list[Any]) -> list[Any]:
        if equation.primitive.name in RULES:
            self.met.append((equation, values))
        return super().step(equation, values)


def rules_met(
    program: ClosedJaxpr, leaves: Sequence[Any], intended: Sequence[str] = ()
) -> list[Rule]:
    """Every rule that a program meets, beside the derivative of what it is a rule for."""
    machine = _Meeting()
    machine(program, *leaves)
    found: dict[tuple[str, Source], Rule] = {}
    for equation, values in machine.met:
        name, source = rule_name(equation)
        if name in intended:
            continue
        off, beside = (_difference(equation, each) for each in (values, _beside(equation, values)))
        known = found.get((name, source))
        if known is None or not off <= known.off:
            found[name, source] = Rule(name, source, off, beside)
    return list(found.values())


def _beside(equation: Any, values: Sequence[Any]) -> list[Any]:
    """Arguments of a rule that are moved a little, each number by another step."""
    rng, found = np.random.default_rng(0), list(values)
    for place in _moving(equation, values):
        steps = rng.uniform(0.5, 1, np.shape(values[place]))
        found[place] = np.asarray(values[place] + MOVED * steps)
    return found


def _moving(equation: Any, values: Sequence[Any]) -> list[int]:
    """The real arguments of a rule, but those that are written as numbers.

    Of such, as the 0 in logaddexp(x, 0), JAX keeps no derivative.
    """
    pairs = enumerate(zip(equation.invars, values, strict=True))
    return [
        i
        for i, (variable, value) in pairs
        if getattr(value, "dtype", None) == np.float64 and not isinstance(variable, Literal)
    ]


def _difference(equation: Any, values: list[Any]) -> float:
    """How far a rule's derivative is from that of the program, at the values that it was given."""
    places = _moving(equation, values)
    if not places:
        return 0.0
    shapes = [v.aval for v in equation.outvars]
    rng = np.random.default_rng(0)
    weights = [
        rng.normal(size=each.shape) if jnp.issubdtype(each.dtype, jnp.floating) else None
        for each in shapes
    ]

    def total(run: Callable[[list[Any]], list[Any]]) -> Callable[..., Any]:
        def weighted(*floating: Any) -> Any:
            given = list(values)
            for place, value in zip(places, floating, strict=True):
                given[place] = value
            pairs = zip(run(given), weights, strict=True)
            return sum(jnp.sum(out * w) for out, w in pairs if w is not None)

        return jax.grad(weighted, argnums=tuple(range(len(places))))

    inner = inner_program(equation)
    floating = [values[place] for place in places]
    try:
        with jax.enable_x64(True):
            by_rule, by_program = (
                Machine()(jax.make_jaxpr(total(run))(*floating), *floating)
                for run in (
                    functools.partial(called, equation),
                    functools.partial(_run, inner, intended=()),
                )
            )
    except Exception:  # whatever a rule, or a loop that has no derivative, raises
        return np.nan
    size = max((float(np.abs(each).max(initial=0)) for each in by_program), default=0.0)
    pairs = zip(by_rule, by_program, strict=True)
    off = max((float(np.abs(a - b).max(initial=0)) for a, b in pairs), default=0.0)
    return off / size if size else off
