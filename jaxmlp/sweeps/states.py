"""The state of a task, which may be any tree: its arrays, and all the rest."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

ARRAYS = (jax.Array, np.ndarray, np.generic)
SCALARS = (bool, int, float, complex)


class Skeleton(NamedTuple):
    """A tree without its arrays.

    Attributes:
        structure: of all leaves.
        names: of all leaves, as they are indexed.
        leaves: for an array None; for one of a dtype that NumPy and files do not know, such as
            bfloat16, that dtype; for a key the name of its kind; else (leaf,), as it is.
    """

    structure: Any
    names: tuple[str, ...]
    leaves: tuple[Any, ...]

    def whole(self, arrays: Sequence[Any]) -> Any:
        """The tree with some arrays."""
        left = iter(arrays)

        def leaf(part: Any) -> Any:
            if isinstance(part, tuple):
                return part[0]
            array = next(left)
            if part is None:
                return array
            if isinstance(part, str):
                return jax.random.wrap_key_data(array, impl=part)
            return array.astype(part)

        return jax.tree.unflatten(self.structure, [leaf(part) for part in self.leaves])

    def counters(self, after: "Skeleton") -> frozenset[int]:
        """The places of Python's own numbers that an epoch changes, such as a count of steps."""
        if self.structure != after.structure:
            return frozenset()
        return frozenset(
            place
            for place, (one, other) in enumerate(zip(self.leaves, after.leaves, strict=True))
            if isinstance(one, tuple) and isinstance(one[0], SCALARS) and one != other
        )


def apart(state: Any, counters: frozenset[int] | None) -> tuple[list[Any], Skeleton]:
    """The arrays in a tree, keys as numbers; and the rest, such as a module's functions.

    Args:
        state: the tree.
        counters: the places of Python's own numbers that are taken for arrays; with None all of
            them, but for True and False.
    """
    found, structure = jax.tree_util.tree_flatten_with_path(state)
    arrays, leaves = [], list[Any]()
    for place, (_, leaf) in enumerate(found):
        counts = isinstance(leaf, SCALARS) and (
            not isinstance(leaf, bool) if counters is None else place in counters
        )
        if not (isinstance(leaf, ARRAYS) or counts):
            leaves.append((leaf,))
            continue
        array, kind = _plain(leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf))
        arrays.append(array)
        leaves.append(kind)
    names = tuple(jax.tree_util.keystr(path) for path, _ in found)
    return arrays, Skeleton(structure, names, tuple(leaves))


def _plain(array: Any) -> tuple[Any, Any]:
    """An array in a dtype that NumPy knows, which holds all its values; and what it was before."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(array), str(jax.random.key_impl(array))
    if np.dtype(array.dtype).isbuiltin == 1:
        return array, None
    wide = jnp.float32 if jnp.issubdtype(array.dtype, jnp.floating) else jnp.int8
    wide = jnp.uint8 if jnp.issubdtype(array.dtype, jnp.unsignedinteger) else wide
    return array.astype(wide), array.dtype


def differences(
    before: tuple[Sequence[Any], Skeleton], after: tuple[Sequence[Any], Skeleton]
) -> str:
    """What is wrong with the state after an epoch, beside the one before; empty if it is alike."""
    (arrays, skeleton), (others, other) = before, after
    if skeleton.names != other.names or skeleton.structure != other.structure:
        new = sorted({*other.names} ^ {*skeleton.names})
        which = f", they differ in {', '.join(new[:3])}" if new else ""
        return f"epoch returns another tree than init made{which}: return the same tree"
    left = zip(arrays, others, strict=False)
    for name, one, two in zip(skeleton.names, skeleton.leaves, other.leaves, strict=True):
        if isinstance(one, tuple) and isinstance(two, tuple):
            if one[0] is not two[0] and not _equal(one[0], two[0]):
                was, now = one[0], two[0]
                return (
                    f"state{name} is {was!r} after init, but {now!r} after epoch: only arrays can "
                    "change"
                )
            continue
        if one != two:
            was, now = (_kind(each) for each in (one, two))
            return f"state{name} is {was} after init, but {now} after epoch: return the same kind"
        was, now = next(left)
        if (was.shape, was.dtype) != (now.shape, now.dtype):
            return (
                f"state{name} is {was.dtype}{list(was.shape)} after init, but "
                f"{now.dtype}{list(now.shape)} after epoch: return it with the same shape and dtype"
            )
    return ""


def _kind(leaf: Any) -> str:
    if isinstance(leaf, tuple):
        return f"{leaf[0]!r}"
    return f"a key of {leaf}" if isinstance(leaf, str) else f"an array{f' of {leaf}' * bool(leaf)}"


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # of any object of the user
        return False


def as_attributes(held: Mapping[int, Sequence[np.ndarray]]) -> dict[str, Any]:
    """The arrays of some trials' states as attributes of a table: their bytes one after another."""
    trials = sorted(held)
    leaves = [np.asarray(leaf) for trial in trials for leaf in held[trial]]
    shapes = {
        trial: [(str(np.asarray(leaf).dtype), np.shape(leaf)) for leaf in held[trial]]
        for trial in trials
    }
    content = b"".join(leaf.tobytes() for leaf in leaves)
    return {"kept": json.dumps(shapes), "states": np.frombuffer(content, np.int8)}


def leaves_of(table: Any, trial: int) -> list[np.ndarray]:
    """The arrays of a trial's state.

    Args:
        table: of `sweep`.
        trial: its place in the space.

    Raises:
        ValueError: if the table does not hold them.
    """
    try:
        shapes = {int(k): v for k, v in json.loads(table.attrs["kept"]).items()}
        content = np.asarray(table.attrs["states"], np.int8).tobytes()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the table holds no states: {error!r}") from error
    if trial not in shapes:
        raise ValueError(
            f"the table does not hold the state of trial {trial}: it holds those of the best "
            "setting, unless the sweep is told keep='all'"
        )
    found, start = [], 0
    for number, leaves in shapes.items():
        for name, shape in leaves:
            dtype = jnp.dtype(name)
            end = start + dtype.itemsize * math.prod(shape)
            if number == trial:
                part = np.frombuffer(content[start:end], dtype)
                found.append(part.reshape(shape))
            start = end
    if start != len(content):
        raise ValueError(f"the table holds {len(content)} bytes of {start}: it is damaged")
    return found
