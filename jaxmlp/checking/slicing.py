"""Small cases from a large one: axes of the same size are cut to the same few entries.

A loss that takes its sizes from its arguments, and a gradient that does, can be followed on those
operation by operation. Others refuse them, and nothing is lost.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.cases import Case

LARGE = 400  # numbers of a case, beyond which smaller ones are made of it
KEPT = 4  # the size of an axis, up to which it stays
LEAST = 3  # the size to which the shortest of the others is cut; the next one keeps one more
SLICES = 6  # cases that are made of one


def sliced(case: Case) -> Iterator[Case]:
    """A few small cases, if a case is large; which entries they keep is drawn."""
    leaves = jax.tree.leaves((case.params, case.batch))
    sizes = sorted({size for leaf in leaves for size in np.shape(leaf)})
    cut = {size: LEAST + i for i, size in enumerate(each for each in sizes if each > KEPT)}
    cut = {size: least for size, least in cut.items() if least < size}
    if not cut or sum(map(np.size, leaves)) <= LARGE:
        return
    listed = [", ".join(map(str, each)) for each in (cut, cut.values())]
    about = f"{case.about}, axes of {listed[0]} cut to {listed[1]}"
    for seed in range(SLICES):
        kept = _kept(case.batch, cut, np.random.default_rng(seed))
        params, batch = jax.tree.map(
            lambda leaf, kept=kept: _cut(leaf, kept), (case.params, case.batch)
        )
        yield replace(
            case,
            params=params,
            batch=jax.tree.map(functools.partial(_fitting, cut), batch, case.batch),
            about=about,
        )


def _kept(batch: Any, cut: Mapping[int, int], rng: np.random.Generator) -> dict[int, Array]:
    """The entries of the axes of each size that stay: rather those at which the batch is not 0."""
    arrays = map(np.atleast_1d, jax.tree.leaves(batch))
    leaves = [np.abs(np.nan_to_num(each.astype(float))) for each in arrays]
    found: dict[int, Array] = {}
    for size in sorted(cut, key=lambda size: not any(leaf.shape[:1] == (size,) for leaf in leaves)):
        # of the rows that stay, which come first
        some = [_cut(leaf, found) for leaf in leaves]
        weight = sum((_along(leaf, size) for leaf in some), np.zeros(size))
        order = np.lexsort((rng.random(size), weight == 0))
        found[size] = np.sort(order[: cut[size]])
    return found


def _along(leaf: Array, size: int) -> Array:
    """How much a leaf has at every entry of its axes of some size."""
    axes = [axis for axis, length in enumerate(leaf.shape) if length == size]
    others = [tuple(set(range(leaf.ndim)) - {axis}) for axis in axes]
    return sum((leaf.sum(axis=each) for each in others), np.zeros(size))


def _cut(leaf: Any, kept: Mapping[int, Array]) -> Any:
    """A leaf with those entries of every axis that stay."""
    for axis, size in enumerate(np.shape(leaf)):
        if size in kept:
            leaf = leaf.take(kept[size], axis=axis)
    return leaf


def _fitting(cut: Mapping[int, int], leaf: Any, whole: Any) -> Any:
    """A leaf of a batch after the cut, with what a loss may count on.

    Indices stay below the size to which their axis is cut, and rows of weights add up to 1.
    """
    leaf, whole = np.asarray(leaf), np.asarray(whole)
    if leaf.dtype.kind in "iu" and whole.size:
        size = next((size for size in cut if size > whole.max()), None)
        return leaf if size is None else leaf % cut[size]
    if leaf.dtype.kind != "f" or not leaf.ndim or not np.allclose(whole.sum(-1), 1.0):
        return leaf
    width = leaf.shape[-1]
    first = (
        np.arange(width) == np.arange(leaf[..., 0].size).reshape(leaf.shape[:-1])[..., None] % width
    )
    sums = leaf.sum(-1, keepdims=True)
    return np.where(sums == 0, first, leaf / np.where(sums == 0, 1, sums)).astype(leaf.dtype)
