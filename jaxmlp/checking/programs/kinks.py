"""What else is right where a loss has a kink: slopes that people write by hand, and JAX does not.

`jax.grad` gives |x| the slope 1 at 0, and either side of a maximum of equals a half. By hand,
people write sign(x), 1[x > 0], or the gradient of the first of the equals, which are as right. And
only those leave the derivative where kinks cancel, as in max(z, 0) − z y + log(1 + exp(−|z|)).

So the program of the loss is followed to what has a kink just where it is: |x|, maxima, minima and
clips of equals, and whatever compares equals. There, another of its sides may be taken: the flat
one, if there is one, as at a ReLU's 0; else either, or for |x| the slope 0 between them.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.programs.execution import Machine
from jaxmlp.checking.programs.interpreter import RULES, called, evaluated, inside, looped

COMPARING = ("gt", "ge", "lt", "le")
LOGICAL = ("and", "or", "xor", "not")
MOVING = ("broadcast_in_dim", "reshape", "transpose", "squeeze", "slice", "rev")
EACH = 8  # numbers, of which each may be the one that counts as the largest
MOST = 256  # ways to choose sides that are all tried; of more, those that choose alike everywhere


class Traced(NamedTuple):
    """A value in the program.

    Attributes:
        value: it.
        live: whether it depends on what derivatives are taken by.
        tied: of a comparison, or what follows from one: where it was of equals.
    """

    value: Any
    live: bool = False
    tied: Any = None


class Kink(NamedTuple):
    """An operation with a kink.

    Attributes:
        met: where it is just at it.
        sides: the values that it has on the sides of it.
        right: how many of them, the first ones, are right by convention.
    """

    met: Any
    sides: Sequence[Any]
    right: int


class Sides:
    """Follows a program; the kinks that it comes by take the sides chosen for them."""

    def __init__(self, choice: Any = None) -> None:
        """Choose for every kink in turn a side, from 1, or 0 for what JAX does."""
        self.choice = choice
        self.kinks: list[Kink] = []

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The value of a function, whose floating arguments are those of the derivative."""
        program, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        given = [
            Traced(leaf, jnp.issubdtype(jnp.result_type(leaf), jnp.floating))
            for leaf in jax.tree.leaves(arguments)
        ]
        results = evaluated(program.jaxpr, program.consts, given, self._step)
        return jax.tree.unflatten(
            jax.tree.structure(shape), [_traced(result).value for result in results]
        )

    def _step(self, equation: Any, given: list[Any]) -> list[Traced]:
        """One operation; calls and loops of a fixed length are followed inside."""
        given = [_traced(each) for each in given]
        if equation.primitive.name == "scan":
            return self._scan(equation.params, given)
        name, values = equation.primitive.name, [each.value for each in given]
        live = any(each.live for each in given) and name != "stop_gradient"
        if inner := inside(equation):
            if name in RULES:  # they say what their slope is, as `relu` does
                return [Traced(each, live) for each in called(equation, values)]
            return [_traced(each) for each in evaluated(*inner, given, self._step)]
        result = equation.primitive.bind(*values, **equation.params)
        if equation.primitive.multiple_results:
            return [Traced(each, live) for each in result]
        if (kink := _kink(equation, given, result)) and jnp.size(result):
            if self.choice is not None:
                chosen = self.choice[len(self.kinks)]
                for place, side in enumerate(kink.sides, 1):
                    result = jnp.where(kink.met & (chosen == place), side, result)
            self.kinks.append(kink)
        return [Traced(result, live, _tied(equation, given))]

    def _scan(self, params: dict[str, Any], given: list[Traced]) -> list[Traced]:
        """A loop, whose kinks take the same side in every round."""
        live = any(each.live for each in given)
        choice = None if self.choice is None else self.choice[len(self.kinks) :]
        body, found = params["jaxpr"], []

        def round_(_: Any, values: list[Any]) -> tuple[list[Any], list[Any]]:
            inner = Sides(choice)
            arguments = [Traced(each, live) for each in values]
            results = evaluated(body.jaxpr, body.consts, arguments, inner._step)
            found.append(inner.kinks)
            return [_traced(each).value for each in results], [jnp.any(k.met) for k in inner.kinks]

        results, met = looped(params, [each.value for each in given], round_)
        for kink, each in zip(found[-1], met, strict=True):
            self.kinks.append(kink._replace(met=jnp.any(each), sides=[None] * len(kink.sides)))
        return [Traced(each, live) for each in results]


def _traced(value: Any) -> Traced:
    return value if isinstance(value, Traced) else Traced(value)


def _tied(equation: Any, given: Sequence[Traced]) -> Any:
    """Where a result of True or False might as well be the other."""
    name, values = equation.primitive.name, [each.value for each in given]
    if name in COMPARING and any(each.live for each in given):
        return values[0] == values[1]
    before = [each.tied for each in given if each.tied is not None]
    if before and name in LOGICAL:
        return functools.reduce(jnp.logical_or, before)
    if before and name in MOVING:
        return equation.primitive.bind(before[0], **equation.params)
    return None


def _kink(equation: Any, given: Sequence[Traced], result: Any) -> Kink | None:
    """An operation's kink, if it has one."""
    name, values = equation.primitive.name, [each.value for each in given]
    live = [each.live for each in given]
    if not jnp.issubdtype(result.dtype, jnp.floating):
        return None
    if name == "convert_element_type" and given[0].tied is not None:  # that masks by a product
        return Kink(given[0].tied, [jnp.zeros_like(result), jnp.ones_like(result)], 1)
    if not any(live):
        return None
    if name == "abs":
        return Kink(values[0] == 0, [jax.lax.stop_gradient(result), values[0], -values[0]], 3)
    if name in ("max", "min"):
        one, other = jnp.broadcast_arrays(*values)
        return _between(one == other, [one, other], live)
    if name == "clamp":
        low, value, high = values
        return Kink((value == low) | (value == high), [jax.lax.stop_gradient(result), value], 1)
    if name == "select_n" and given[0].tied is not None and len(given) == 3:
        one, other = values[1:]
        kink = _between(given[0].tied & (one == other), [one, other], live[1:])
        return kink._replace(sides=[*kink.sides, (one + other) / 2], right=kink.right + all(live))
    if name in ("reduce_max", "reduce_min"):
        return _winners(equation, values[0], result)
    return None


def _between(met: Any, sides: Sequence[Any], live: Sequence[bool]) -> Kink:
    """A kink between two sides; if one is flat, it alone is right."""
    if all(live):
        return Kink(met, sides, 2)
    return Kink(met, sides if live[1] else sides[::-1], 1)


def _winners(equation: Any, values: Any, result: Any) -> Kink:
    """Of the largest or smallest ones along some axes each; of very many the first and the last."""
    axes = equation.params["axes"]
    ends = range(-len(axes), 0)
    rows = jnp.moveaxis(values, axes, ends).reshape(*result.shape, -1)
    best = rows == result[..., None]
    first, last = jnp.argmax(best, -1), rows.shape[-1] - 1 - jnp.argmax(best[..., ::-1], -1)
    places: list[Any] = [first, last]
    if rows.shape[-1] <= EACH:
        inner = range(1, rows.shape[-1] - 1)
        places += [jnp.where(best[..., place], place, first) for place in inner]
    picked = [jnp.take_along_axis(rows, place[..., None], -1)[..., 0] for place in places]
    return Kink(first != last, picked, len(places))


def kinks_at(function: Callable[..., Any], *arguments: Any) -> list[Kink]:
    """The kinks that a function comes by at concrete numbers, its derivative being by them."""
    kinks: list[Kink] = []

    def followed(*arguments: Any) -> list[Any]:
        follow = Sides()
        follow(function, *arguments)
        kinks[:] = follow.kinks
        return [kink.met for kink in kinks]

    met = Machine()(jax.make_jaxpr(followed)(*arguments), *jax.tree.leaves(arguments))
    return [
        kink._replace(met=each, sides=[None] * len(kink.sides))
        for kink, each in zip(kinks, met, strict=True)
    ]


Choice = tuple[np.ndarray, ...]  # for every kink, and every element of it, a side, or 0 for JAX's


def choices(kinks: Sequence[Kink], every: bool = False) -> Iterator[Choice]:
    """The ways to choose sides where kinks are met, for all elements of a kink alike, but JAX's.

    Args:
        kinks: of `kinks_at`.
        every: every side, not only what is right by convention.
    """
    options = [
        range(1 + (len(kink.sides) if every else kink.right) if np.any(kink.met) else 1)
        for kink in kinks
    ]
    if np.prod([len(each) for each in options], dtype=float) > MOST:
        longest = max(map(len, options))
        ways = [tuple(min(place, len(each) - 1) for each in options) for place in range(longest)]
    else:
        ways = list(itertools.product(*options))
    for way in ways:
        if any(way):
            yield tuple(
                np.full(np.shape(kink.met), side) for kink, side in zip(kinks, way, strict=True)
            )


def places_of(kinks: Sequence[Kink]) -> list[tuple[int, tuple[int, ...]]]:
    """Every element at a kink: which kink, and where in it; the first ones, of very many."""
    every = (
        (k, tuple(map(int, at))) for k, kink in enumerate(kinks) for at in np.argwhere(kink.met)
    )
    return list(itertools.islice(every, MOST))


def changed(
    kinks: Sequence[Kink],
    choice: Choice,
    at: tuple[int, tuple[int, ...]],
    every: bool = False,
) -> list[Choice]:
    """The choices that differ from one at one element only; every side, or the right ones."""
    number, place = at
    others = []
    for side in range((len(kinks[number].sides) if every else kinks[number].right) + 1):
        other = choice[number].copy()
        other[place] = side
        others.append((*choice[:number], other, *choice[number + 1 :]))
    return others


def grad_by_sides(
    loss: Callable[..., Any], kinks: Sequence[Kink], params: Any, batch: Any
) -> Callable[[Choice], list[np.ndarray]]:
    """The gradient of a loss, as a function of the sides that its kinks take."""

    def chosen(params: Any, choice: Any, batch: Any) -> Any:
        return Sides(choice)(lambda params: loss(params, batch), params)

    some = tuple(np.zeros(np.shape(kink.met), int) for kink in kinks)
    program = jax.make_jaxpr(jax.grad(chosen))(params, some, batch)
    return lambda choice: Machine()(program, *jax.tree.leaves((params, choice, batch)))
