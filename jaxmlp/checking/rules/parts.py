"""The floating leaves of some arguments, as parts of one row of numbers."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmlp.checking.calls import as_array, is_floating

WRITTEN = 16  # numbers of an array that is written in one line


class Part(NamedTuple):
    """A floating leaf of the arguments, as a part of the row.

    Attributes:
        name: such as x, or params.W.
        shape: of the leaf.
        argument: the number of the argument that holds it.
        start, stop: its place in the row.
    """

    name: str
    shape: tuple[int, ...]
    argument: int
    start: int
    stop: int

    def entry(self, place: int) -> str:
        """The name of one of its numbers, by the place in the row, such as x[0, 1]."""
        if not self.shape:
            return self.name
        at = np.unravel_index(place - self.start, self.shape)
        return f"{self.name}{[*map(int, at)]}"


def parts_of(
    arguments: Sequence[Any], names: Sequence[str], moves: Callable[[Any], bool]
) -> list[Part]:
    """The leaves that move, one behind the other.

    Args:
        arguments: the arguments.
        names: of them.
        moves: whether a leaf does.
    """
    parts, start = [], 0
    for number, (name, argument) in enumerate(zip(names, arguments, strict=True)):
        for path, leaf in jax.tree_util.tree_flatten_with_path(argument)[0]:
            if moves(leaf):
                inner = jax.tree_util.keystr(path, simple=True, separator=".")
                shape = tuple(np.shape(leaf))
                stop = start + math.prod(shape)
                called = f"{name}.{inner}" if inner else name
                parts.append(Part(called, shape, number, start, stop))
                start = stop
    return parts


def is_number(leaf: Any) -> bool:
    """Whether a leaf of the arguments is something that moves: a float, or an array of floats."""
    if isinstance(leaf, (bool, int, str, type(None))):
        return False
    return isinstance(leaf, float) or (hasattr(leaf, "dtype") and is_floating(as_array(leaf)))


def written(value: Any) -> str | None:
    """A value of an argument in Python; None if that would be long."""
    if isinstance(value, (bool, int, str, type(None))):
        return repr(value)
    try:
        array = np.asarray(value)
    except Exception:  # a key of random numbers, or a tree
        return None
    if array.dtype.kind not in "iufb" or array.size > WRITTEN:
        return None
    return repr(array.item()) if array.ndim == 0 else f"jnp.array({array.tolist()!r})"
