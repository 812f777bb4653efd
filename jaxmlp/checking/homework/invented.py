"""Weights for functions that make none: their arguments tell the names, and shapes are tried."""

import ast
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jaxmlp.checking.homework.names import NO_WEIGHT, Role, goals, roles_of
from jaxmlp.checking.homework.weights import Layout, Place, Slot, with_ones

VECTOR = "vector"  # of weights, for one output
ONES = {"a first 1": 0, "a last 1": -1}  # among the inputs of each layer, which biases multiply


def invented(
    nodes: dict[str, ast.FunctionDef],
) -> Iterator[tuple[Callable[..., Any], str]]:
    """Weights for functions whose arguments, or keys of a dict, say what they are called."""
    arguments = [each.arg for name in [*goals([*nodes]), *nodes] for each in nodes[name].args.args]
    keys = [
        node.slice.value
        for function in nodes.values()
        for node in ast.walk(function)
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
        and isinstance(node.value, ast.Name)
        and Role.WEIGHTS in roles_of(node.value.id)
    ]
    for names, about in ((arguments, "weights as arguments"), (keys, "a dict of weights")):
        weights = _ordered(dict.fromkeys(each for each in names if is_weight(each)))
        biases = _ordered(dict.fromkeys(each for each in names if is_bias(each)))
        if weights and len(biases) in (0, len(weights)):
            shaped = itertools.product((False, True), ("", "row", "column")[: 3 if biases else 1])
            one = [(False, VECTOR)] * (len(weights) == 1)
            both = [] if biases else [*itertools.product((True, False), ONES)]
            for flipped, form in (*shaped, *one, *both):
                make = _shaped(weights, biases, flipped, form)
                yield make, about


def _ordered(names: dict[str, None]) -> list[str]:
    """By the digits in them, or else as they came."""
    digits = {name: re.findall(r"\d+", name) for name in names}
    return sorted(names, key=lambda name: int(digits[name][-1]) if digits[name] else 0)


def is_weight(name: str) -> bool:
    """Whether an argument of a name may be a weight."""
    return bool(
        re.fullmatch(
            r"w\d*|w_?[a-z]{1,2}\d?|weights?_?\w*\d?|theta_?\d?|beta|syn_?\d|v|u", name, re.I
        )
    ) and not (NO_WEIGHT.match(name))


def is_bias(name: str) -> bool:
    """Whether an argument of a name may be a bias."""
    return bool(
        re.fullmatch(r"b\d+|b_?[a-z]{1,2}\d?|bias_?\w*\d?|b", name, re.I)
    ) and not re.search("batch", name)


def _shaped(
    weights: Sequence[str], biases: Sequence[str], flipped: bool, form: str
) -> Callable[..., Any]:
    """Weights of some names, in one orientation, with biases of one shape."""

    def made(x: Any, y: Any, sizes: Sequence[int]) -> tuple[Any, list[Layout]]:
        inner = [sizes[1]] * (len(weights) - 1)
        if form == VECTOR and sizes[-1] != 1:
            raise ValueError("a vector of weights has one output")
        every = [sizes[0], *inner, sizes[-1]]
        pairs = [*itertools.pairwise(every)]
        shapes = {
            name: pair[::-1] if flipped else pair for name, pair in zip(weights, pairs, strict=True)
        }
        if form == VECTOR:
            shapes = {name: pair[:1] for name, pair in shapes.items()}
        if form in ONES:
            shapes = {name: _longer(pair, flipped) for name, pair in shapes.items()}
        forms = {"row": lambda n: (1, n), "column": lambda n: (n, 1)}
        bias_shape = forms.get(form, lambda n: (n,))
        of_biases = {name: bias_shape(n) for name, (_, n) in zip(biases, pairs, strict=False)}
        root = {name: np.zeros(shape) for name, shape in (shapes | of_biases).items()}
        if form in ONES:
            whole = [
                with_ones(Place((name,)), shape, flipped, ONES[form])
                for name, shape in shapes.items()
            ]
            return root, [Layout(*map(tuple, zip(*whole, strict=True)))]
        slots = tuple(Slot(Place((name,)), shape, flipped) for name, shape in shapes.items())
        held = [Slot(Place((name,)), s, form == "column") for name, s in of_biases.items()]
        return root, [Layout(slots, tuple(held) or (None,) * len(slots))]

    return made


def _longer(shape: tuple[int, ...], flipped: bool) -> tuple[int, ...]:
    """The shape of a weight with one input more."""
    return (shape[0], shape[1] + 1) if flipped else (shape[0] + 1, shape[1])
