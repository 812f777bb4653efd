"""Where homework keeps its weights: in attributes, dicts, lists, arguments or global names."""

import inspect
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.homework.names import NO_WEIGHT

DEEPEST = 4  # how far inside of objects and containers arrays are looked for
BIAS = re.compile(r"b|^c\d*$|sesgo|offset|intercept", re.I)
PLAIN = (str, bytes, int, float, bool, complex, type(None))


class Place(NamedTuple):
    """Where an array is, from a root: steps by attribute, as .W, or by key."""

    steps: tuple[Any, ...]

    @property
    def after(self) -> str:
        """What Python writes after the root's name, such as .layers[0].W, ['W1'] or [:, 1:]."""
        return "".join(map(_written, self.steps))

    @property
    def name(self) -> str:
        """The same without a point before it; a single key is a name."""
        if self.array != self:
            return self.array.name + _written(self.steps[-1])
        if len(self.steps) == 1:
            return str(self.steps[0]).lstrip(".")
        return self.after.lstrip(".")

    @property
    def array(self) -> "Place":
        """Of the whole array, where this is a part of one."""
        return Place(self.steps[:-1]) if self.steps and isinstance(self.steps[-1], tuple) else self

    def of(self, root: Any) -> Any:
        """What is there."""
        for step in self.steps:
            root = getattr(root, step[1:]) if _is_attribute(step) else root[step]
        return root

    def put(self, root: Any, value: Any) -> Any:
        """Put another value there; the root, or another one where it cannot be changed."""
        if not self.steps:
            return value
        step, rest = self.steps[0], Place(self.steps[1:])
        inner = rest.put(Place(self.steps[:1]).of(root), value)
        if hasattr(root, "_fields") and _is_attribute(step):
            return root._replace(**{step[1:]: inner})
        if _is_attribute(step):
            setattr(root, step[1:], inner)
        elif isinstance(root, tuple):
            changed = [*root]
            changed[step] = inner
            return tuple(changed)
        else:
            root[step] = inner
        return root


def _written(step: Any) -> str:
    """A step as Python writes it."""
    if isinstance(step, tuple):  # of slices
        ends = [(each.start, each.stop) if isinstance(each, slice) else each for each in step]
        texts = [
            ":".join("" if end is None else str(end) for end in each)
            if isinstance(each, tuple)
            else str(each)
            for each in ends
        ]
        return f"[{', '.join(texts)}]"
    return step if _is_attribute(step) else f"[{step!r}]"


def _is_attribute(step: Any) -> bool:
    return isinstance(step, str) and step.startswith(".")


class Slot(NamedTuple):
    """A weight or bias.

    Attributes:
        place: of the array.
        shape: that it has there.
        flipped: whether that is (n_out, n_in).
        whole: the shape of the array that it is a part of, if it is one.
    """

    place: Place
    shape: tuple[int, ...]
    flipped: bool = False
    whole: tuple[int, ...] = ()

    def written(self, array: Array) -> Array:
        """An array (n_in, n_out) or (n_out,) as the homework wants it."""
        return (array.T if self.flipped else array).reshape(_like(self.shape, array, self.flipped))

    def read(self, array: Any, like: Array) -> Array | None:
        """The reverse; None if it does not fit."""
        found = np.asarray(array, float)
        if self.whole and found.shape == self.whole:
            found = found[self.place.steps[-1]]
        if found.size != like.size:
            return None
        if self.flipped and found.shape == like.T.shape:
            return found.T
        return found.reshape(like.shape) if _fits(found.shape, like.shape) else None


def _like(shape: tuple[int, ...], array: Array, flipped: bool) -> tuple[int, ...]:
    """The shape of a weight or bias of other sizes, with its axes of length 1 where they were."""
    if len(shape) < 2:  # a weight of one output may be a vector
        return (array.size,)
    if array.ndim == 2:
        return array.T.shape if flipped else array.shape
    return (1, array.size) if shape[0] == 1 and (shape[1] != 1 or not flipped) else (array.size, 1)


def _fits(shape: tuple[int, ...], like: tuple[int, ...]) -> bool:
    """Whether shapes are the same but for axes of length 1."""
    return [n for n in shape if n > 1] == [n for n in like if n > 1]


class Layout(NamedTuple):
    """The weights and biases of every layer, in a root.

    Attributes:
        weights: of every layer, from the input on.
        biases: the same; None where a layer has none.
    """

    weights: tuple[Slot, ...]
    biases: tuple[Slot | None, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the layers, from the inputs on."""
        shapes = [(*slot.shape, 1)[:2] for slot in self.weights]
        shapes = [s[::-1] if w.flipped else s for s, w in zip(shapes, self.weights, strict=True)]
        return (shapes[0][0], *(shape[1] for shape in shapes))

    @property
    def biased(self) -> list[bool]:
        """Whether each layer has a bias."""
        return [bias is not None for bias in self.biases]

    @property
    def slots(self) -> dict[str, Slot]:
        """All of them, by W1, b1, W2 and so on."""
        pairs = zip(self.weights, self.biases, strict=True)
        named = [((f"W{i}", w), (f"b{i}", b)) for i, (w, b) in enumerate(pairs, 1)]
        return {name: slot for name, slot in itertools.chain(*named) if slot is not None}


def with_ones(place: Place, shape: tuple[int, ...], flipped: bool, at: int) -> tuple[Slot, Slot]:
    """The weights and biases in one array, whose inputs have a 1 at their beginning or end.

    Args:
        place, shape, flipped: of the array.
        at: where the 1 is: 0 or -1.
    """
    inner = slice(1, None) if at == 0 else slice(None, -1)
    every = slice(None)
    indices = ((every, inner), (every, at)) if flipped else ((inner, every), (at, every))
    n_out, n_in = shape if flipped else shape[::-1]
    parts = ((n_out, n_in - 1) if flipped else (n_in - 1, n_out), (n_out,))
    weight, bias = (
        Slot(Place((*place.steps, index)), part, flipped and len(part) == 2, shape)
        for index, part in zip(indices, parts, strict=True)
    )
    return weight, bias


def arrays_in(root: Any) -> Iterator[tuple[Place, Array]]:
    """All arrays of numbers in an object, dict or list, in their order."""
    yield from _arrays(root, (), set())


def _is_code(value: Any) -> bool:
    """Whether it is a class or a function; an object that can be called may hold weights."""
    return isinstance(value, type) or inspect.isroutine(value)


def _arrays(root: Any, steps: tuple[Any, ...], seen: set[int]) -> Iterator[tuple[Place, Array]]:
    if isinstance(root, np.ndarray):
        if root.dtype.kind in "fiu" and root.ndim <= 2:
            yield Place(steps), root
        return
    if isinstance(root, np.floating):
        yield Place(steps), np.asarray(root)
        return
    if _is_code(root) or isinstance(root, PLAIN) or len(steps) >= DEEPEST or id(root) in seen:
        return
    seen.add(id(root))
    if isinstance(root, dict):
        inner: Any = root.items()
    elif hasattr(root, "_fields"):
        inner = [(f".{name}", getattr(root, name)) for name in root._fields]
    elif isinstance(root, (list, tuple)):
        inner = enumerate(root)
    elif hasattr(root, "__dict__"):
        inner = [(f".{name}", value) for name, value in vars(root).items()]
    else:
        slots = (name for base in type(root).__mro__ for name in vars(base).get("__slots__", ()))
        inner = [(f".{name}", getattr(root, name, None)) for name in slots]
    for step, value in inner:
        yield from _arrays(value, (*steps, step), seen)


def layouts(arrays: Sequence[tuple[Place, Array]], n_in: int, n_out: int) -> Iterator[Layout]:
    """How some arrays may be the weights and biases of a network, in both orientations."""
    some = [(place, array) for place, array in arrays if not NO_WEIGHT.match(last_name(place))]
    for flipped in (False, True):
        yield from _layouts(some, n_in, n_out, flipped)


def layouts_of_any_size(arrays: Sequence[tuple[Place, Array]]) -> Iterator[Layout]:
    """The same where nothing tells the numbers of inputs and outputs."""
    matrices = [a for place, a in arrays if a.ndim == 2 and not _is_bias(place)]
    if matrices:
        for ends in itertools.product(matrices[0].shape, matrices[-1].shape):
            yield from layouts(arrays, *ends)


def _layouts(
    some: Sequence[tuple[Place, Array]], n_in: int, n_out: int, flipped: bool
) -> Iterator[Layout]:
    weights, sizes, rest = [], [n_in], []
    for place, array in some:
        shape = array.shape[::-1] if flipped else array.shape
        complete = len(sizes) > 1 and sizes[-1] == n_out
        fits = array.ndim == 2 and shape[0] == sizes[-1] and not _is_bias(place)
        fits = fits and not (complete and array.size == n_out)  # which is the last bias
        if fits and not (complete and shape[1] != n_out):
            weights.append(Slot(place, array.shape, flipped))
            sizes.append(shape[1])
        else:
            rest.append((place, array))
    if not weights or sizes[-1] != n_out:
        return
    biases: list[Slot | None] = []
    for width in sizes[1:]:
        fitting = (
            i
            for i, (place, a) in enumerate(rest)
            if a.size == width == max(a.shape, default=1) and _may_be_bias(place)
        )
        found = next(fitting, None)
        if found is None:
            biases.append(None)
        else:
            place, array = rest.pop(found)
            column = array.ndim == 2 and array.shape[1] == 1 and (flipped or array.shape[0] > 1)
            biases.append(Slot(place, array.shape, column))
    yield Layout(tuple(weights), tuple(biases))


def last_name(place: Place) -> str:
    """The name that a place has, or the nearest one before it."""
    names = _names(place)
    return names[-1] if names else ""


def _is_bias(place: Place) -> bool:
    """Whether a name on the way says so, as in biases['h']."""
    return any(re.match(r"_*(b\d*$|bias|b_)", name, re.I) for name in _names(place))


def _may_be_bias(place: Place) -> bool:
    names = _names(place)
    return not names or any(BIAS.search(name) for name in names)


def _names(place: Place) -> list[str]:
    return [str(step).lstrip(".") for step in place.steps if isinstance(step, str)]
