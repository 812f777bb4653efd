"""Naming what a forward pass computes on its way, so that derivatives there can be checked.

    def loss(params, batch):
        h = tap("h", jnp.tanh(batch.x @ params["W"]))
        ...

Outside of a check, `tap` gives back its value and does nothing else.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.programs.execution import Traced
from jaxmlp.checking.programs.kinks import Choice, Sides, choices, kinks_at
from jaxmlp.checking.programs.rules import without_rules
from jaxmlp.checking.truth.trees import as_float64, not_jax

_active: ContextVar["_Pass | _Names | None"] = ContextVar("jaxmlp_taps", default=None)


def tap(name: str, value: Any) -> Any:
    """Give an intermediate of a loss a name, under which a check can find and perturb it.

    The loss itself may be jitted, but no function inside it that holds a tap.
    """
    current = _active.get()
    return value if current is None else current.visit(name, value)


class _Pass:
    """One forward pass under perturbations, by name."""

    def __init__(self, shifts: Mapping[str, Any], given: Mapping[str, Any], cut: Mapping[str, Any]):
        self.shifts, self.given, self.cut = shifts, given, cut
        self.computed: dict[str, Any] = {}
        self.passed_on: Any = 0.0

    def visit(self, name: str, value: Any) -> Any:
        if name in self.computed:
            raise ValueError(f"tap {name!r} is reached twice: give each intermediate its own name")
        self.computed[name] = value
        if name in self.given:  # go on from this value, whose derivative stays that of `value`
            value = self.given[name] + value - jax.lax.stop_gradient(value)
        if name in self.cut:  # what comes after is replaced by the gradient claimed for it
            self.passed_on += jnp.sum(self.cut[name] * value)
            value = jax.lax.stop_gradient(value)
        return value + self.shifts[name] if name in self.shifts else value


class _Names:
    """A forward pass whose values keep their names in what JAX traces."""

    def visit(self, name: str, value: Any) -> Any:
        return checkpoint_name(jnp.asarray(value), name)


def with_names(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The same loss, with the names of its taps in its program."""

    def named(params: Any, batch: Any) -> Any:
        with _passing(_Names()):
            return inspect.unwrap(loss)(params, batch)

    return named


@contextmanager
def _passing(current: Any):
    token = _active.set(current)
    try:
        yield current
    finally:
        _active.reset(token)


class Lines(NamedTuple):
    """What a loss goes through.

    Attributes:
        values: of the taps, in the order in which they are reached.
        derivatives: of the loss at each tap, with every element of it moved on its own.
        grad: of the parameters.
    """

    values: dict[str, Any]
    derivatives: dict[str, Any]
    grad: Any


def true_lines(
    loss: Callable[..., Any],
    params: Any,
    batch: Any,
    values: Mapping[str, Array] = {},
    derivatives: Mapping[str, Array] = {},
    sides: Choice | None = None,
    plain: bool = False,
) -> Lines:
    """Every line of a loss and of its gradient, in float64; if it is `plain`, without its rules.

    Lines that are claimed take the place of the true ones for all that follows: a tap's value is
    computed from the claimed values of the taps before it, and a derivative from the claimed
    derivatives at the next taps that have one.

    Raises:
        ValueError: if the loss cannot be followed: it is not JAX, or has a tap inside a loop.
    """
    loss = inspect.unwrap(loss)  # what is jitted is not run again
    with jax.enable_x64(True):
        arguments = as_float64((params, batch, dict(values), dict(derivatives)))
        try:
            lines = lines_of(loss, plain)(*arguments, sides)
        except jax.errors.JAXTypeError as error:
            if isinstance(error, jax.errors.UnexpectedTracerError) or _can_be_traced(
                loss, *arguments[:2]
            ):
                raise ValueError(
                    "a tap is inside a loop, such as lax.scan, or inside vmap or jit: name what "
                    "goes into it and what comes out of it"
                ) from None
            raise not_jax(
                loss, error, "its lines are found by differentiating at its taps"
            ) from None
        reached = _reached(loss, *arguments[:2])  # trees of JAX forget the order of a dict
    return lines._replace(values={name: lines.values[name] for name in reached})


def _can_be_traced(loss: Callable[..., Any], params: Any, batch: Any) -> bool:
    """Whether the loss is JAX, apart from its taps."""
    try:
        jax.eval_shape(lambda *arguments: loss(*arguments), params, batch)
    except jax.errors.JAXTypeError:
        return False
    return True


def choices_at(loss: Callable[..., Any], params: Any, batch: Any, every: bool) -> Iterator[Choice]:
    """The ways to choose sides at the kinks that a loss meets, as `kinks.choices` has them."""
    with jax.enable_x64(True):
        params, batch = as_float64((params, batch))
        total, zeros = _moved(inspect.unwrap(loss), params, batch, {}, {})
        yield from choices(kinks_at(total, zeros, params), every)


def _reached(loss: Callable[..., Any], params: Any, batch: Any) -> list[str]:
    """The names of the taps, in the order in which they are reached."""
    with _passing(_Pass({}, {}, {})) as current:
        jax.eval_shape(lambda *arguments: loss(*arguments), params, batch)  # never from a cache
    return list(current.computed)


def _moved(
    loss: Callable[..., Any], params: Any, batch: Any, values: Any, derivatives: Any
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The loss, and all taps' values, by what is added at every tap and by the parameters.

    With it, zeros to add.
    """

    def total(shifts: Any, params: Any) -> Any:
        with _passing(_Pass(shifts, values, derivatives)) as current:
            value = loss(params, batch)
        return value + current.passed_on, current.computed

    taps = jax.eval_shape(lambda params: total({}, params)[1], params)
    return total, {name: jnp.zeros(each.shape, each.dtype) for name, each in taps.items()}


@functools.lru_cache(maxsize=64)
def lines_of(loss: Callable[..., Any], plain: bool = False) -> Traced:
    """The same as one program of (params, batch, values, derivatives, sides)."""

    def lines(params: Any, batch: Any, values: Any, derivatives: Any, sides: Any = None) -> Lines:
        total, zeros = _moved(loss, params, batch, values, derivatives)
        total = without_rules(total) if plain else total
        followed = total if sides is None else functools.partial(Sides(sides), total)
        grads, computed = jax.grad(followed, argnums=(0, 1), has_aux=True)(zeros, params)
        return Lines(computed, *grads)

    return Traced(lines)
