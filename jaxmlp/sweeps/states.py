"""The state of a task, which may be any tree: its arrays, and all the rest."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

NUMBERS = (jax.Array, np.ndarray, np.generic, bool, int, float, complex)


class Skeleton(NamedTuple):
    """A tree without its arrays.

    Attributes:
        structure: of all leaves.
        names: of the arrays, as they are indexed.
        leaves: for an array None; for a key the name of its kind; else (leaf,), as it is.
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
            return array if part is None else jax.random.wrap_key_data(array, impl=part)

        return jax.tree.unflatten(self.structure, [leaf(part) for part in self.leaves])


def apart(state: Any) -> tuple[list[Any], Skeleton]:
    """The arrays in a tree, keys as numbers; and the rest, such as a module's functions."""
    found, structure = jax.tree_util.tree_flatten_with_path(state)
    arrays, names, leaves = [], list[str](), list[Any]()
    for path, leaf in found:
        if not isinstance(leaf, NUMBERS):
            leaves.append((leaf,))
            continue
        array: Any = leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf)
        is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
        arrays.append(jax.random.key_data(array) if is_key else array)
        names.append(jax.tree_util.keystr(path))
        leaves.append(str(jax.random.key_impl(array)) if is_key else None)
    return arrays, Skeleton(structure, tuple(names), tuple(leaves))


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
