"""The smallest network, batch and numbers on which a gradient is still wrong."""

import functools
import itertools
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxmlp.checking.cases import NEAR, TINY, Case, Shape, foreseen
from jaxmlp.checking.models import Custom, Network
from jaxmlp.checking.reference import Line, as_problem, evaluate
from jaxmlp.checking.trials import Trial
from jaxmlp.data import Batch
from jaxmlp.params import Layer

Fails = Callable[[Case], bool]
TRIES = 6  # random draws for each shape and form of the labels
ATTEMPTS = 300  # after which the smallest case tried so far has to do
CLEAR = 1e3  # times what rounding may do: a failure that no rounding explains, if there is one
PLAIN = (0.0, 1.0, -1.0, 2.0)  # numbers from the plainest on
SMOOTH = ("dense", "huge logits", "confident")  # kinds of cases, of which no kink is a part
PLAINEST = (*SMOOTH, "zeros", "kinks", "tiny kinks", "near kinks")


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
            numbers = [-1.0, -NEAR["float32"], NEAR["float32"], 1.0]
        draw = functools.partial(np.random.default_rng(seed).choice, numbers)
        layers: list[Any] = [
            (draw(size=(n_in, n_out)), draw(size=n_out) if shape.bias else None)
            for n_in, n_out in itertools.pairwise(shape.sizes)
        ]
        if kind == "tiny kinks":
            layers[0] = tuple(None if leaf is None else TINY * leaf for leaf in layers[0])
        if kind == "huge logits":
            layers[-1] = (1e4 * layers[-1][0], layers[-1][1])
        n_out = shape.sizes[-1]
        classes = draw(size=shape.n).astype(np.int32) % n_out
        rows = np.eye(n_out)[classes] if form == "one-hot" else draw(size=(shape.n, n_out))
        x, y = draw(size=(shape.n, shape.sizes[0])), classes if form == "classes" else rows
        params = tuple(Layer(*layer) for layer in layers)
        if kind == "confident":
            params, y = foreseen(params, x, form)
        yield Case(params, Batch(x, y), str(shape), kind, shape)


def find_smallest(
    attempt: Callable[[Case], Trial], model: Network | Custom, wrong: Sequence[Trial], cases: Any
) -> Trial:
    """The smallest case found on which the gradient is clearly wrong, tried again."""
    kind = min((trial.case.kind for trial in wrong), key=PLAINEST.index)
    worst = max(np.max(leaf.excess, initial=0) for trial in wrong for leaf in trial.leaves)
    clear = max(1.0, min(CLEAR, worst / 4))

    def fails(case: Case) -> bool:
        if kind in SMOOTH and isinstance(model, Network) and _at_a_kink(case, model.activation):
            return False
        return any(np.max(leaf.excess, initial=0) > clear for leaf in attempt(case).leaves)

    found = None
    if isinstance(model, Network) and cases is None:
        found = smallest_network([trial.case for trial in wrong], kind, fails)
    elif not isinstance(cases, Iterable):
        found = _by_hypothesis(cases, fails)
    return attempt(found) if found else min(wrong, key=_numbers_of)


def smallest_network(failing: Sequence[Case], kind: str, fails: Fails) -> Case | None:
    """The smallest network tried that fails, with plain numbers; None if none does."""
    shapes = smaller_shapes([case.shape for case in failing if case.shape])
    ranks = {np.ndim(case.batch.labels) for case in failing}
    forms = ["classes"] * (1 in ranks) + ["one-hot", "rows"] * (2 in ranks)
    small = (case for shape in shapes for case in draws(shape, kind, forms))
    tried = itertools.islice(small, ATTEMPTS)
    return next((plainer(case, fails) for case in tried if fails(case)), None)


def _at_a_kink(case: Case, activation: str) -> bool:
    """Whether some hidden unit of a network sits exactly at 0."""
    problem = as_problem(case.params, case.batch, activation)
    lines = evaluate(problem)
    return any((lines[Line("z", l)] == 0).any() for l in range(1, problem.depth))


def _numbers_of(trial: Trial) -> int:
    """How many numbers a case has."""
    return sum(np.size(leaf) for leaf in jax.tree.leaves((trial.case.params, trial.case.batch)))


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


def plainer(case: Case, fails: Fails) -> Case:
    """The same shapes with every number as plain as it can be without hiding the failure."""
    leaves = [leaf for layer in case.params for leaf in layer if leaf is not None]
    leaves += [case.batch.x] + ([case.batch.labels] if case.batch.labels.ndim == 2 else [])
    for leaf in leaves:
        for place in np.ndindex(leaf.shape):
            _plainer_entry(leaf, place, functools.partial(fails, case))
    return case


def _plainer_entry(leaf: Any, place: tuple[int, ...], fails: Callable[[], bool]) -> None:
    """Replace one number, in its array, by the plainest that still fails."""
    was = leaf[place]
    for number in itertools.takewhile(lambda number: number != was, PLAIN):
        leaf[place] = number
        if fails():
            return
    leaf[place] = was
