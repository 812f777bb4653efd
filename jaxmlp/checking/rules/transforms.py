"""A rule inside of JAX's transformations: its derivative there, beside the same without."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.rules.function import Function
from jaxmlp.importing import first_line

CLOSE = 1e-9  # of the largest entry: the same numbers, summed in another order
Call = Callable[..., Any]


class Difference(NamedTuple):
    """What a transformation changes.

    Attributes:
        mode: such as `jit`.
        says: what is raised; empty if there are numbers.
        place: of the entry that is farthest off: (row, column) of the Jacobian's products.
        received: what it is there.
        expected: what it is without the transformation.
    """

    mode: str
    says: str
    place: tuple[int, int] = (0, 0)
    received: float = np.nan
    expected: float = np.nan


def _jitted(f: Call) -> Call:
    return jax.jit(lambda *given: f(*given))


def _scanned(f: Call) -> Call:
    def scanned(*given: Any) -> Any:
        _, found = jax.lax.scan(lambda carry, _: (carry, f(*given)), 0, None, length=1)
        return jax.tree.map(lambda leaf: leaf[0], found)

    return scanned


def _in_a_branch(f: Call) -> Call:
    def branched(*given: Any) -> Any:
        some = next(leaf for leaf in jax.tree.leaves(given) if hasattr(leaf, "dtype"))
        return jax.lax.cond(jnp.sum(some) * 0 >= 0, lambda: f(*given), lambda: f(*given))

    return branched


WRAPPERS: dict[str, Callable[[Call], Call]] = {
    "jit": _jitted, "scan": _scanned, "cond": _in_a_branch, "remat": jax.checkpoint,
}  # fmt: skip


def differences(
    function: Function, row: Array, other: Array, cotangents: Array, forward: bool
) -> Iterator[Difference]:
    """What changes if the function is inside of a transformation.

    Args:
        function: whose derivative without them is given by its own modes.
        row, other: two points.
        cotangents: (l, m).
        forward: whether it has a forward mode; else the reverse mode is looked at alone.
    """
    plain = _product(function, row, cotangents, forward)
    for mode, wrap in WRAPPERS.items():
        inner = function.with_function(function.function)
        inner.output_row = wrap(function.output_row)
        try:
            inner.one(row)
        except Exception:  # a function that this transformation does not take
            continue
        yield from compared(
            mode, plain, lambda inner=inner: _product(inner, row, cotangents, forward)
        )
    if function.batches:
        rows = np.stack([row, other, row])
        singly = np.concatenate([_product(function, each, cotangents, forward) for each in rows])
        yield from compared("vmap", singly, lambda: _batched(function, rows, cotangents, forward))


def compared(mode: str, plain: Array, of: Callable[[], Array]) -> Iterator[Difference]:
    """What is another number than without a transformation, or raised."""
    try:
        found = of()
    except Exception as error:
        yield Difference(mode, f"{type(error).__name__}: {first_line(error)}")
        return
    same = (found == plain) | (np.isnan(found) & np.isnan(plain))
    size = np.max(np.abs(plain), initial=0, where=np.isfinite(plain))
    with np.errstate(all="ignore"):
        off = np.where(same, 0.0, np.abs(found - plain))
    off = np.where(np.isnan(off), np.inf, off)
    if off.size and off.max() > CLOSE * size:
        at = np.unravel_index(int(np.argmax(off)), off.shape)
        place = (int(at[0]), int(at[1]))
        yield Difference(mode, "", place, float(found[at]), float(plain[at]))


def _product(function: Function, row: Array, cotangents: Array, forward: bool) -> Array:
    """The derivative along all numbers by 1, (1, m); or of all outputs weighed, (l, n)."""
    of = _products(function, cotangents, forward)
    (found,) = function.executed(("product", forward), of, *function.split(row))
    return found.reshape(-1, found.shape[-1])


def _batched(function: Function, rows: Array, cotangents: Array, forward: bool) -> Array:
    of = jax.vmap(_products(function, cotangents, forward))
    (found,) = function.executed(("batched", forward), of, *function.split(rows))
    return found.reshape(-1, found.shape[-1])


def _products(function: Function, cotangents: Array, forward: bool) -> Call:
    def along(*leaves: Any) -> Any:
        return jax.jvp(function.output_row, leaves, [jnp.ones_like(leaf) for leaf in leaves])[1]

    def pulled(*leaves: Any) -> Any:
        primal, pull = jax.vjp(function.output_row, *leaves)
        rows = [pull(jnp.asarray(each, primal.dtype)) for each in cotangents]
        return jnp.stack([jnp.concatenate([jnp.ravel(leaf) for leaf in row]) for row in rows])

    return along if forward else pulled
