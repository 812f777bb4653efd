"""What is wrong with a leaf, when nothing is known of how it was computed."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmlp.checking.agreement import explained
from jaxmlp.checking.arrays import Array
from jaxmlp.checking.diagnosis.changes import ANYWHERE
from jaxmlp.checking.factors import VARYING, factor_between, name_factor, rows_of, sizes_of
from jaxmlp.checking.trials import Leaf, Trial, largest

PRECISIONS = (("float32", 2.0**-24), ("TF32 or float16", 2.0**-11), ("bfloat16", 2.0**-8))
UNEXPLAINED = "unknown mistake"
MANY = 20  # errors from which their mean says something
CLEAR = 1e3  # times what rounding may do
ADDED = {
    "the parameter, as by weight decay,": lambda param: param,
    "the parameter's sign, as by an L1 penalty,": np.sign,
    "a constant": np.ones_like,
}
ROWS_ALONE = ("batch rows", "missing term", "wrong axis")  # what befalls derivatives by values
ROWS = {"last": slice(-1, None), "first": slice(1)}


Tried = tuple[Trial, Leaf]
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
        if not found and all(np.isnan(leaf.received).any() for _, leaf in tried if not leaf.right):
            found = ("NaN", _pattern(tried))
        by_kind.setdefault(found or (UNEXPLAINED, _pattern(tried)), []).append(name)
    return [Fault(tuple(names), kind, says) for (kind, says), names in by_kind.items()]


def _explanations(
    name: str, tried: Sequence[Tried], row_gradient: Any, others: Others
) -> Iterator[tuple[str, str]]:
    """Mistakes that explain a leaf on every case, the plainest first."""

    def fits(predict: Callable[[Trial, Leaf], Array | None]) -> bool:
        return _fits([(leaf, predict(trial, leaf)) for trial, leaf in tried])

    yield from _multiples(tried)
    for kind, says, change in ANYWHERE:
        if kind not in ROWS_ALONE and fits(
            lambda _, leaf, change=change: _changed(change, leaf.expected)
        ):
            yield kind, says
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
            return found[_index(trial, leaf)] / (rows_of(trial.case) if share else 1)

        if fits(predicted):
            yield "batch rows", f"only the {says} example of the batch is used"
    yield from _sums(tried, [_param(trial, leaf) for trial, leaf in tried])
    yield from _in_some_entries(tried)
    for called, unit in PRECISIONS:
        if _rounded(tried, unit):
            yield "precision lost", f"its errors are of the size that rounding to {called} makes"


def _fits(pairs: Sequence[tuple[Leaf, Array | None]]) -> bool:
    """Whether every leaf is what is predicted for it, and finite where that is.

    What leaves more than a hundredth of the error unexplained is no explanation of it.
    """
    for leaf, predicted in pairs:
        if predicted is None:
            return False
        if predicted.shape != leaf.expected.shape:
            predicted = leaf.expected  # a mistake that can be made only where it fits
        if np.isfinite(predicted).all() != np.isfinite(leaf.received).all():
            return False
        if not explained(leaf.received, predicted, leaf.allowed, leaf.expected):
            return False
    return True


def _changed(change: Callable[[Array], Array], array: Array) -> Array:
    """An array as something befell it, where that can befall an array of its shape."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(change(array))
    except (ValueError, IndexError):
        return array


def _multiples(tried: Sequence[Tried]) -> Iterator[tuple[str, str]]:
    """The leaf times a number, which is the same or a size of the case."""
    factors = [
        factor_between(leaf.expected, leaf.received) if _clear(leaf) else np.nan
        for _, leaf in tried
    ]
    known = [factor for factor in factors if np.isfinite(factor)]
    same = known[0] if known and np.allclose(known, known[0], rtol=1 / CLEAR) else 1.0
    scaled = [
        (leaf, np.nan_to_num(factor, nan=same) * leaf.expected)
        for (_, leaf), factor in zip(tried, factors, strict=True)
    ]
    itself = [(leaf, leaf.expected) for _, leaf in tried]  # off by a few roundings: no factor
    if known and _fits(scaled) and not _fits(itself):
        kind, says = name_factor(factors, [sizes_of(trial.case) for trial, _ in tried])
        if kind != VARYING or any(leaf.expected.size > 1 for _, leaf in tried):
            yield kind, says  # one number is always a multiple of another


def _sums(tried: Sequence[Tried], params: Sequence[Array]) -> Iterator[tuple[str, str]]:
    """The leaf plus the same multiple everywhere of something that does not belong there."""
    for says, of in ADDED.items():
        for over, share in (("", False), (" / N", True)):
            terms = [
                np.asarray(of(param)) / (max(rows_of(trial.case), 1) if share else 1)
                for (trial, _), param in zip(tried, params, strict=True)
            ]
            pairs = [(leaf, term) for (_, leaf), term in zip(tried, terms, strict=True)]
            if any(term.shape != leaf.expected.shape for leaf, term in pairs):
                continue  # a line that is no parameter's gradient
            leaf, term = max(pairs, key=lambda pair: largest(pair[1]) * (not pair[0].right))
            amount = factor_between(term, leaf.received - leaf.expected)
            summed = [(leaf, leaf.expected + amount * term) for leaf, term in pairs]
            if amount and np.isfinite(amount) and _fits(summed):
                if amount > 0:
                    yield "extra term", f"{amount:.6g} × {says}{over} is added, and does not belong"
                else:
                    yield "missing term", f"{-amount:.6g} × {says}{over} is missing"


def _in_some_entries(tried: Sequence[Tried]) -> Iterator[tuple[str, str]]:
    """The same of those entries only that are wrong on any case."""
    masks = _wrong_entries(tried)
    if all(mask.all() for mask in masks.values()):
        return
    parts: list[Tried] = []
    params = []
    for trial, leaf in tried:
        mask = masks.get(leaf.expected.shape)
        param = _param(trial, leaf)
        if mask is None or param.shape != mask.shape:
            continue
        cut = (each[mask] for each in (leaf.expected, leaf.received, leaf.allowed))
        parts.append((trial, Leaf(leaf.name, *cut)))
        params.append(param[mask])
    if parts and len(parts) > 1:
        for kind, says in (*_multiples(parts), *_sums(parts, params)):
            if kind != VARYING:
                yield kind, f"{_described(list(masks.values()))}: {says}"


def _wrong_entries(tried: Sequence[Tried]) -> dict[tuple[int, ...], np.ndarray]:
    """For every shape of the leaf that is ever wrong, where it is."""
    masks: dict[tuple[int, ...], np.ndarray] = {}
    for _, leaf in tried:
        if not leaf.right:
            wrong, shape = leaf.excess > 1, leaf.expected.shape
            masks[shape] = masks.get(shape, np.zeros(shape, bool)) | wrong
    return masks


def _expected(trial: Trial, name: str) -> Array | None:
    """The true leaf of a name, in a trial that has one."""
    return next((leaf.expected for leaf in trial.leaves if leaf.name == name), None)


def _clear(leaf: Leaf) -> bool:
    """Whether a leaf is more than rounding, so that a factor can be read from it."""
    return largest(leaf.expected) > CLEAR * largest(leaf.allowed)


def _index(trial: Trial, leaf: Leaf) -> int:
    return [each.name for each in trial.leaves].index(leaf.name)


def _param(trial: Trial, leaf: Leaf) -> Array:
    return np.asarray(jax.tree.leaves(trial.case.params)[_index(trial, leaf)], np.float64)


def _rounded(tried: Sequence[Tried], unit: float) -> bool:
    """Whether wherever it is wrong, most entries are, by as much as a rounding changes them.

    For few digits that says little: then there have to be many errors, on either side of 0.
    """
    wrong = [leaf for _, leaf in tried if not leaf.right]
    errors = np.concatenate([np.ravel(leaf.received - leaf.expected) for leaf in wrong])
    if unit > np.finfo(np.float32).eps:
        few = len(errors) < MANY
        if few or abs(errors.mean()) > 3 * errors.std() / len(errors) ** 0.5:
            return False
    for leaf in wrong:
        off, size = np.abs(leaf.received - leaf.expected), unit * largest(leaf.expected)
        if not size / 64 < np.max(off) < 4 * size or np.mean(leaf.excess > 1) < 0.3:
            return False
    return True


def _pattern(tried: Sequence[Tried]) -> str:
    """Which entries are wrong, where no mistake explains them."""
    wrong = [leaf for _, leaf in tried if not leaf.right]
    if any(not np.isfinite(leaf.received).all() for leaf in wrong):
        return "it holds NaN or infinity"
    where = _described([leaf.excess > 1 for leaf in wrong])
    if all(np.all(leaf.expected[leaf.excess > 1] == 0) for leaf in wrong):
        where += "; all of them should be 0"
    return f"none of the known mistakes explains it; wrong {where}"


def _described(masks: Sequence[np.ndarray]) -> str:
    """Which entries some masks have in common."""
    places = [tuple(int(i) for i in place) for place in np.argwhere(masks[0])]
    if all(mask.all() for mask in masks):
        return "in every entry"
    if all(mask.sum() == 1 for mask in masks):
        return f"in one entry, such as {list(places[0])} of shape {masks[0].shape}"
    for axis in range(masks[0].ndim):
        others = tuple(i for i in range(masks[0].ndim) if i != axis)
        if all(mask.ndim == masks[0].ndim and mask.any(axis=others).sum() == 1 for mask in masks):
            numbers = {int(np.argmax(mask.any(axis=others))) for mask in masks}
            which = ", ".join(map(str, sorted(numbers)))
            return f"at index {which} of axis {axis}{' by case' * (len(numbers) > 1)}"
    return f"in {np.mean([mask.mean() for mask in masks]):.0%} of the entries"
