"""The smallest network, batch and numbers on which a gradient is still wrong."""

import functools
import itertools
import random
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from jaxmlp.checking.cases import Case
from jaxmlp.checking.models import AnyModel
from jaxmlp.checking.network.numbers import RANGES, foreseen
from jaxmlp.checking.network.shapes import Shape
from jaxmlp.checking.slicing import sliced
from jaxmlp.checking.trials import Trial
from jaxmlp.checking.verdict import within_a_kink
from jaxmlp.data import Batch
from jaxmlp.params import Layer

Fails = Callable[[Case], bool]
TRIES = 6  # random draws for each shape and form of the labels
ATTEMPTS = 300  # after which the smallest case tried so far has to do
CLEAR = 1e3  # times what rounding may do: a failure that no rounding explains, if there is one
PATIENCE = 10.0  # seconds, for a loss that is not JAX
ROWS = 8  # of a long batch, at which to look for one that shows as much
PLAIN_ENOUGH = 64  # parameters, to be made plain one by one
PLAIN = (0.0, 1.0, -1.0, 2.0)  # numbers from the plainest on
SMOOTH = ("dense", "huge logits", "confident")  # kinds of cases, of which no kink is a part
PLAINEST = (*SMOOTH, "zeros", "kinks", "tiny kinks", "near kinks")
SCALES = RANGES["float32"]  # of the small cases, whatever the dtype


def smaller_shapes(failing: Sequence[Shape]) -> list[Shape]:
    """Shapes worth trying, the smallest first, given some on which the gradient is wrong."""
    depths = {shape.depth for shape in failing}
    widths = ((1, 2), (2, 2), (3, 3), (1, 1))  # of the hidden layers and of the output
    shapes = [
        Shape((*[hidden] * depth, outputs), bias, n)
        for depth in sorted({min(depths), min(min(depths) + 1, max(depths))})
        for hidden, outputs in widths
        for bias in (False, True)
        for n in (1, 2, 3)
    ]
    return sorted(shapes, key=lambda shape: (len(shape.sizes), _entries(shape), shape.n))


def _entries(shape: Shape) -> int:
    """How many numbers there are to look at."""
    weights = sum(a * b + b * shape.bias for a, b in itertools.pairwise(shape.sizes))
    return weights + shape.n * (shape.sizes[0] + 1)


def draws(shape: Shape, kind: str, forms: Sequence[str]) -> Iterator[Case]:
    """A few cases with small whole numbers, as special as those of the kind."""
    numbers = [-1.0, 0.0, 1.0] if kind in ("kinks", "zeros") else [-2.0, -1.0, 1.0, 2.0, 3.0]
    for seed, form in itertools.product(range(TRIES), forms):
        if kind == "near kinks":
            numbers = [-1.0, -SCALES.near, SCALES.near, 1.0]
        draw = functools.partial(np.random.default_rng(seed).choice, numbers)
        layers: list[Any] = [
            (draw(size=(n_in, n_out)), draw(size=n_out) if shape.bias else None)
            for n_in, n_out in itertools.pairwise(shape.sizes)
        ]
        if kind == "tiny kinks":
            layers[0] = tuple(None if leaf is None else SCALES.tiny * leaf for leaf in layers[0])
        if kind == "huge logits":
            layers[-1] = (SCALES.huge * layers[-1][0], layers[-1][1])
        n_out = shape.sizes[-1]
        classes = draw(size=shape.n).astype(np.int32) % n_out
        rows = np.eye(n_out)[classes] if form == "one-hot" else draw(size=(shape.n, n_out))
        x, y = draw(size=(shape.n, shape.sizes[0])), classes if form == "classes" else rows
        params = tuple(Layer(*layer) for layer in layers)
        if kind == "confident":
            params, y = foreseen(params, x, form)
        yield Case(params, Batch(x, y), str(shape), kind, shape)


def find_smallest(
    attempt: Callable[[Case], Trial], model: AnyModel, wrong: Sequence[Trial], cases: Any
) -> Trial:
    """The smallest case found on which the gradient is clearly wrong, tried again."""
    kind = min((trial.case.kind for trial in wrong), key=PLAINEST.index)
    worst = max(np.max(leaf.excess, initial=0) for trial in wrong for leaf in trial.leaves)
    clear = max(1.0, min(CLEAR, worst / 4))

    if model.lines_known:
        smooth = kind in SMOOTH
        beside = False
    else:
        smooth = not all(model.at_a_kink(trial.case) for trial in wrong)
        beside = not smooth and not all(within_a_kink(model, trial, attempt) for trial in wrong)

    finite = any(trial.finite for trial in wrong)  # or else NaN is the mistake
    seen = {trial.wrong for trial in wrong}

    end = time.perf_counter() + (np.inf if model.traceable else PATIENCE)

    def fails(case: Case) -> bool:
        if time.perf_counter() > end:
            return False
        if smooth and model.at_a_kink(case):
            return False
        trial = attempt(case)
        if not any(np.max(leaf.excess, initial=0) > clear for leaf in trial.leaves):
            return False
        if finite and not trial.finite:
            return False
        if model.lines_known:
            return True
        return trial.wrong in seen and not (beside and within_a_kink(model, trial, attempt))

    failing = [trial.case for trial in sorted(wrong, key=numbers_of)]
    if model.lines_known and cases is None:
        found = smallest_network(failing, kind, fails)
    else:
        found = smallest_given(cases, failing, fails)
    return attempt(found) if found else min(wrong, key=numbers_of)


def smallest_network(failing: Sequence[Case], kind: str, fails: Fails) -> Case | None:
    """The smallest network tried that fails, with plain numbers; None if none does."""
    shapes = smaller_shapes([case.shape for case in failing if case.shape])
    ranks = {np.ndim(case.batch.labels) for case in failing}
    forms = ["classes"] * (1 in ranks) + ["one-hot", "rows"] * (2 in ranks)
    small = (case for shape in shapes for case in draws(shape, kind, forms))
    tried = itertools.islice(small, ATTEMPTS)
    found = smaller = next(filter(fails, tried), None)
    while smaller:
        found = smaller
        numbers = [leaf for leaf in jax.tree.leaves((found.params, found.batch)) if _real(leaf)]
        _plainer(numbers, functools.partial(fails, found))
        smaller = next(filter(fails, _one_less(found)), None)
    return found


def _real(leaf: Any) -> bool:
    return leaf.dtype.kind == "f"


def _one_less(case: Case) -> Iterator[Case]:
    """The network without one input, hidden unit, output or example, for each of them."""
    shape, (x, y) = case.shape, case.batch
    assert shape is not None

    def smaller(params: Any, x: Any, y: Any, sizes: Sequence[int], n: int) -> Case:
        less = Shape(tuple(sizes), shape.bias, n)
        return Case(params, Batch(x, y), str(less), case.kind, less)

    for row in range(shape.n if shape.n > 1 else 0):
        rows = np.delete(x, row, axis=0), np.delete(y, row, axis=0)
        yield smaller(case.params, *rows, shape.sizes, shape.n - 1)
    for level, width in enumerate(shape.sizes):
        sizes = [size - (place == level) for place, size in enumerate(shape.sizes)]
        for unit in range(width if width > 1 else 0):
            params: list[Any] = [*case.params]
            if level:
                params[level - 1] = jax.tree.map(
                    lambda leaf, unit=unit: np.delete(leaf, unit, axis=-1), params[level - 1]
                )
            if level < shape.depth:
                weight, bias = params[level]
                params[level] = Layer(np.delete(weight, unit, axis=0), bias)
            inputs = x if level else np.delete(x, unit, axis=1)
            labels = y if level < shape.depth else _without(y, unit)
            if labels is not None:
                yield smaller(tuple(params), inputs, labels, sizes, shape.n)


def _without(labels: Any, output: int) -> Any:
    """The labels for a network without one output; None if a class is lost."""
    if labels.ndim == 2:
        return np.delete(labels, output, axis=1)
    return None if output in labels else labels - (labels > output).astype(labels.dtype)


def smallest_given(cases: Any, failing: Sequence[Case], fails: Fails) -> Case | None:
    """The smallest case of one's own model that fails, from a strategy or the first of a list.

    A case in a list is cut along its axes, or the batch to a few rows, and the parameters get
    plain numbers: a gradient has to be right at all of those, whereas the numbers of a batch may
    have to obey something.
    """
    if not isinstance(cases, Iterable):
        return _by_hypothesis(cases, fails)

    def holds(case: Case) -> bool:
        try:
            return fails(case)
        except Exception:  # what is cut may be no batch for this loss
            return False

    smaller = (*sliced(failing[0]), *_fewer_rows(failing[0]))
    found = next(filter(holds, (*smaller, failing[0])), None)
    if found is None or _size(found.params) > PLAIN_ENOUGH:
        return found
    params = jax.tree.map(lambda leaf: np.array(leaf, np.float64), found.params)
    found = replace(found, params=params)
    _plainer(jax.tree.leaves(params), functools.partial(holds, found))
    return found


def _fewer_rows(case: Case) -> Iterator[Case]:
    """One, two or three rows of a batch, if all its leaves have the same number of rows."""
    heights = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(case.batch)}
    n = min(heights, default=())
    if len(heights) > 1 or not n:
        return
    for count in range(1, min(4, n[0])):
        for first in range(min(n[0] - count + 1, ROWS)):
            rows = slice(first, first + count)
            batch = jax.tree.map(lambda leaf, rows=rows: leaf[rows], case.batch)
            yield replace(case, batch=batch, about=f"{case.about}, {count} of {n[0]} rows")


def numbers_of(trial: Trial) -> int:
    """How many numbers a case has."""
    return _size((trial.case.params, trial.case.batch))


def _size(tree: Any) -> int:
    return sum(np.size(leaf) for leaf in jax.tree.leaves(tree))


def _by_hypothesis(strategy: Any, fails: Fails) -> Case | None:
    """The smallest failing pair that Hypothesis shrinks to."""
    import hypothesis
    from hypothesis.errors import NoSuchExample

    def case(pair: tuple[Any, Any]) -> Case:
        return Case(params=pair[0], batch=pair[1], about="found by Hypothesis")

    settings = hypothesis.settings(max_examples=100, database=None, deadline=None)
    with warnings.catch_warnings(action="ignore"):  # a strategy may be slow to draw from
        try:
            found = hypothesis.find(
                strategy, lambda pair: fails(case(pair)), settings=settings, random=random.Random(0)
            )
        except NoSuchExample:
            return None
    return case(found)


def _plainer(leaves: Sequence[Any], fails: Callable[[], bool]) -> None:
    """Make every number of some arrays, in place, as plain as it can be while it still fails."""
    for leaf in leaves:
        for place in np.ndindex(leaf.shape):
            _plainer_entry(leaf, place, fails)


def _plainer_entry(leaf: Any, place: tuple[int, ...], fails: Callable[[], bool]) -> None:
    """Replace one number, in its array, by the plainest that still fails."""
    was = leaf[place]
    for number in itertools.takewhile(lambda number: number != was, PLAIN):
        leaf[place] = number
        if fails():
            return
    leaf[place] = was
