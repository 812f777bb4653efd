"""What is wrong with a leaf, when nothing is known of how it was computed."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmlp.checking.diagnosis import agree
from jaxmlp.checking.factors import VARYING, N, Sizes, factor_between, name_factor
from jaxmlp.checking.reference import Array
from jaxmlp.checking.trials import Leaf, Trial

PRECISIONS = (("float32", 2.0**-24), ("TF32 or float16", 2.0**-11), ("bfloat16", 2.0**-8))
UNEXPLAINED = "unknown mistake"
CLEAR = 1e3  # times what rounding may do
ROWS = {"last": slice(-1, None), "first": slice(1)}


Others = Mapping[str, Callable[[Trial], list[Array]]]


class Fault(NamedTuple):
    """What is wrong with some leaves: their names, the kind of mistake, and a sentence."""

    names: tuple[str, ...]
    kind: str
    says: str


def faults(
    trials: Sequence[Trial],
    row_gradient: Callable[[Trial, slice], list[Array] | None],
    others: Others | None = None,
) -> list[Fault]:
    """The mistake in every leaf that is wrong, leaves with the same mistake together.

    Args:
        trials: what was received, right or wrong.
        row_gradient: the true leaves for some rows of a case's batch, None if it has no rows.
        others: the leaves of what might have been computed instead, by name.
    """
    by_kind: dict[tuple[str, str], list[str]] = {}
    for name in dict.fromkeys(leaf.name for trial in trials for leaf in trial.leaves):
        tried = [(t, leaf) for t in trials for leaf in t.leaves if leaf.name == name]
        if all(leaf.right for _, leaf in tried):
            continue
        found = next(_explanations(name, tried, row_gradient, others or {}), None)
        by_kind.setdefault(found or (UNEXPLAINED, _pattern(tried)), []).append(name)
    return [Fault(tuple(names), kind, says) for (kind, says), names in by_kind.items()]


def _explanations(
    name: str, tried: Sequence[tuple[Trial, Leaf]], row_gradient: Any, others: Others
) -> Iterator[tuple[str, str]]:
    """Mistakes that explain a leaf on every case, the plainest first."""

    def fits(predict: Callable[[Trial, Leaf], Array | None]) -> bool:
        for trial, leaf in tried:
            predicted = predict(trial, leaf)
            if predicted is None:
                return False
            if predicted.shape != leaf.expected.shape:
                predicted = leaf.expected  # a mistake that can be made only where it fits
            alike = np.isfinite(predicted).all() == np.isfinite(leaf.received).all()
            if not (alike and agree(leaf.received, predicted, leaf.allowed, leaf.expected)):
                return False
        return True

    factors = [
        factor_between(leaf.expected, leaf.received) if _clear(leaf) else np.nan
        for _, leaf in tried
    ]
    by_case = {id(leaf): f for (_, leaf), f in zip(tried, factors, strict=True)}
    if np.isfinite(factors).any() and fits(
        lambda _, leaf: np.nan_to_num(by_case[id(leaf)], nan=1.0) * leaf.expected
    ):
        kind, says = name_factor(factors, [_sizes(trial) for trial, _ in tried])
        if kind != VARYING or any(leaf.expected.size > 1 for _, leaf in tried):
            yield kind, says  # one number is always a multiple of another
    if fits(lambda _, leaf: leaf.expected.T):
        yield "transpose", "it is transposed"
    for other in dict.fromkeys(leaf.name for trial, _ in tried for leaf in trial.leaves):
        if other != name and fits(lambda trial, _, other=other: _expected(trial, other)):
            yield "exchanged", f"it is {other}"
    for says, leaves in others.items():
        if fits(lambda trial, leaf, leaves=leaves: leaves(trial)[_index(trial, leaf)]):
            yield "another quantity", f"it is {says}"
    for (says, rows), share in itertools.product(ROWS.items(), (False, True)):

        def predicted(trial: Trial, leaf: Leaf, rows: Any = rows, share: bool = share) -> Any:
            if (found := row_gradient(trial, rows)) is None:
                return None
            return found[_index(trial, leaf)] / (_rows(trial) if share else 1)

        if fits(predicted):
            yield "batch rows", f"only the {says} example of the batch is used"
    if fits(lambda _, leaf: np.abs(leaf.expected)):
        yield "absolute value", "the signs are lost"
    if fits(lambda _, leaf: np.sign(leaf.expected)):
        yield "sign only", "only the signs are left"
    decay = _decay(tried)
    if decay is not None and fits(lambda trial, leaf: leaf.expected + decay * _param(trial, leaf)):
        yield (
            "extra term",
            f"{decay:.6g} times the parameter is added, which the loss does not have",
        )
    for called, unit in PRECISIONS:
        if _rounded(tried, unit):
            yield "precision lost", f"its errors are those of {called}"


def _expected(trial: Trial, name: str) -> Array | None:
    """The true leaf of a name, in a trial that has one."""
    return next((leaf.expected for leaf in trial.leaves if leaf.name == name), None)


def _clear(leaf: Leaf) -> bool:
    """Whether a leaf is more than rounding, so that a factor can be read from it."""
    return _size(leaf.expected) > CLEAR * _size(leaf.allowed)


def _size(array: Array) -> float:
    return float(np.max(np.abs(array), initial=0))


def _sizes(trial: Trial) -> Sizes:
    """The lengths of the batch's and the parameters' axes, by name."""
    sizes: dict[str, int] = {}
    if rows := _rows(trial):
        sizes[N] = rows
    for what, tree in (("batch", trial.case.batch), ("params", trial.case.params)):
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            where = jax.tree_util.keystr(path, simple=True, separator=".")
            for axis, length in enumerate(np.shape(leaf)):
                sizes.setdefault(f"the length of axis {axis} of {what}.{where}".rstrip("."), length)
    return sizes


def _rows(trial: Trial) -> int:
    """How many examples a batch has, if its leaves agree on that; else 0."""
    lengths = {np.shape(leaf)[0] for leaf in jax.tree.leaves(trial.case.batch) if np.ndim(leaf)}
    return lengths.pop() if len(lengths) == 1 else 0


def _index(trial: Trial, leaf: Leaf) -> int:
    return [each.name for each in trial.leaves].index(leaf.name)


def _param(trial: Trial, leaf: Leaf) -> Array:
    return np.asarray(jax.tree.leaves(trial.case.params)[_index(trial, leaf)], np.float64)


def _decay(tried: Sequence[tuple[Trial, Leaf]]) -> float | None:
    """The multiple of the parameter that the first wrong case seems to have added."""
    for trial, leaf in tried:
        if not leaf.right:
            param = _param(trial, leaf)
            if param.shape != leaf.expected.shape:
                return None  # a line that is no parameter's gradient
            found = factor_between(param, leaf.received - leaf.expected)
            return found if np.isfinite(found) and found else None
    return None


def _rounded(tried: Sequence[tuple[Trial, Leaf]], unit: float) -> bool:
    """Whether wherever it is wrong, most entries are, by as much as a rounding changes them."""
    wrong = [leaf for _, leaf in tried if not leaf.right]
    for leaf in wrong:
        off, size = np.abs(leaf.received - leaf.expected), unit * _size(leaf.expected)
        if not size / 64 < np.max(off) < 4 * size or np.mean(leaf.excess > 1) < 0.3:
            return False
    return True


def _pattern(tried: Sequence[tuple[Trial, Leaf]]) -> str:
    """Which entries are wrong, where no mistake explains them."""
    wrong = [leaf for _, leaf in tried if not leaf.right]
    if any(np.isnan(leaf.received).any() for leaf in wrong):
        return f"it holds NaN on {sum(np.isnan(leaf.received).any() for leaf in wrong)} cases"
    masks = [leaf.excess > 1 for leaf in wrong]
    share = np.mean([mask.mean() for mask in masks])
    if share > 0.9:
        return "none of the known mistakes explains it; nearly every entry is wrong"
    first = wrong[0]
    places = [tuple(int(i) for i in place) for place in np.argwhere(masks[0])]
    if all(mask.sum() == 1 for mask in masks):
        return f"a single entry is wrong, such as {list(places[0])} of shape {first.received.shape}"
    for axis in range(masks[0].ndim):
        others = tuple(i for i in range(masks[0].ndim) if i != axis)
        if all(mask.any(axis=others).sum() == 1 for mask in masks):
            return f"only entries with index {places[0][axis]} on axis {axis} are wrong"
    return f"none of the known mistakes explains it; {share:.0%} of the entries are wrong"
