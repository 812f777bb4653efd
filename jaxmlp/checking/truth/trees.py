"""Trees of parameters as rows of numbers, and names of their leaves."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.calls import as_array, is_floating, where

Loss = Callable[[Any, Any], Any]
DERIVATIVE = "∂C/∂"
PRODUCT = "(H v)."  # of a Hessian and a vector


def as_dtype(tree: Any, dtype: str) -> Any:
    """The same tree with every floating leaf as a JAX array of a dtype."""

    def cast(leaf: Any) -> Any:
        leaf = as_array(leaf)
        if not isinstance(leaf, np.ndarray):
            return leaf
        return jnp.asarray(leaf, dtype if is_floating(leaf) else None)

    return jax.tree.map(cast, tree)


def as_float64(tree: Any) -> Any:
    """The same in float64; needs the x64 mode."""
    return as_dtype(tree, "float64")


def no_number(shape: tuple[int, ...]) -> str:
    """What to say of a loss that returns an array."""
    return f"returns an array of shape {shape}, and has to return one number"


def not_jax(loss: Loss, error: Exception, why: str) -> ValueError:
    """What to raise for a loss that JAX cannot trace, where it has to."""
    says = f"{type(error).__name__}{where(error, loss)}"
    return ValueError(f"the loss is not JAX: {says}: write it with jax.numpy, since {why}")


def ravel(params: Any) -> tuple[Array, Callable[[Array], Any]]:
    """All parameters as one row in float64, and the way back to a tree of NumPy arrays."""
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, params))
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def unravel(flat: Array) -> Any:
        parts = zip(np.split(flat, ends), leaves, strict=True)
        return jax.tree.unflatten(structure, [part.reshape(leaf.shape) for part, leaf in parts])

    flat = [np.ravel(leaf) for leaf in leaves] or [np.zeros(0)]
    return np.concatenate(flat).astype(float), unravel


def entry_names(params: Any, prefix: str) -> list[str]:
    """A name for the derivative by every parameter, such as ∂C/∂W[0, 1]."""
    return [
        f"{name}{[*map(int, place)] if np.ndim(leaf) else ''}"
        for name, leaf in zip(leaf_names(params, prefix), jax.tree.leaves(params), strict=True)
        for place in np.ndindex(np.shape(leaf))
    ]


def leaf_names(params: Any, prefix: str = DERIVATIVE) -> list[str]:
    """The name of the derivative by every leaf, from its path."""
    paths, _ = jax.tree_util.tree_flatten_with_path(params)
    return [
        f"{prefix}{jax.tree_util.keystr(path, simple=True, separator='.') or 'params'}"
        for path, _ in paths
    ]


def widened(leaf: Any) -> Array:
    """A leaf as NumPy's array, in float64 if it is floating."""
    leaf = as_array(leaf)
    return leaf.astype(np.float64) if is_floating(leaf) else leaf


def as_row(leaves: Sequence[Any]) -> Array:
    """All numbers of some leaves."""
    return np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in leaves])
