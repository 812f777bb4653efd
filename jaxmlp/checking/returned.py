"""What a gradient returned, read as leaves: is it a tree like the parameters?"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.calls import Finding
from jaxmlp.importing import first_line


def read_leaves(
    value: Any, params: Any, names: Sequence[str], strict: bool
) -> tuple[list[Array] | None, list[Finding]]:
    """The leaves as float64 arrays, if their number and shapes are right."""
    findings = []
    wanted, leaves = jax.tree.leaves(params), jax.tree.leaves(value)
    if says := unlike(params, value, "it returns"):
        pair = leaves and isinstance(value, tuple) and len(value) == 2
        if pair and jax.tree.structure(value[1]) == jax.tree.structure(params):
            says += ": return the second of the two alone"
        findings.append(Finding("wrong tree", says))
        if len(leaves) != len(wanted):
            return None, findings
    if turned_round(value, params):
        says = "the layers are in reverse order: return them from the first to the last"
        return None, [*findings, Finding("exchanged", says)]
    received = []
    others: dict[tuple[Any, Any, bool], list[str]] = {}
    for name, leaf, param in zip(names, leaves, wanted, strict=True):
        if finding := _unfit(name, leaf, param):
            findings.append(finding)
            continue
        array = np.asarray(leaf)
        received.append(array.astype(np.float64))
        if array.dtype != param.dtype:
            wide = not isinstance(leaf, jax.Array) and array.dtype == np.float64
            others.setdefault((array.dtype, param.dtype, strict or not wide), []).append(name)
    for (dtype, wanted_dtype, fails), names_ in others.items():
        says = (
            f"{listed(names_)} dtype {dtype} for parameters in {wanted_dtype}: return every leaf "
            "in the dtype of its parameter"
        )
        findings.append(Finding("wrong dtype", says, fails))
    return (received if len(received) == len(wanted) else None), findings


def _unfit(name: str, leaf: Any, param: Any) -> Finding | None:
    """Why a leaf is no array of numbers of its parameter's shape, if it is none."""
    try:
        array = np.asarray(leaf)
    except Exception as error:
        says = f"{name} is a {type(leaf).__name__} that NumPy cannot read: {first_line(error)}"
        return Finding("wrong type", says)
    if leaf is ...:
        return Finding("wrong type", f"{name} is still `...`: complete the line that gives it")
    if array.dtype == object:
        what = "an array of objects" if np.ndim(leaf) else f"of type {type(leaf).__name__}"
        return Finding("wrong type", f"{name} is {what}, where an array of numbers belongs")
    if array.shape != param.shape:
        turned = array.shape == param.shape[::-1]
        says = (
            f"{name} has shape {array.shape}, where {param.shape} belongs, the shape of its "
            f"parameter{': it is transposed' if turned else ''}"
        )
        return Finding("transpose" if turned else "wrong shape", says)
    if not jnp.issubdtype(array.dtype, jnp.number) or np.iscomplexobj(array):
        return Finding("wrong dtype", f"{name} has dtype {array.dtype}: it is no real")
    return None


def unlike(params: Any, value: Any, what: str) -> str:
    """A sentence if a tree has not the parameters' structure; `what` begins it."""
    if jax.tree.structure(value) == jax.tree.structure(params):
        return ""
    return f"{what} {describe(value)}, where {describe(params)} belongs, like the parameters"


def turned_round(value: Any, params: Any) -> bool:
    """Whether a tuple has the shapes of the parameters only if it is read from its end."""
    if not (isinstance(value, (tuple, list)) and isinstance(params, (tuple, list))):
        return False
    shapes, backwards, wanted = (
        [np.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (value, value[::-1], params)
    )
    return shapes != wanted and backwards == wanted


def listed(names: Sequence[str]) -> str:
    """Such as ∂C/∂W⁰ has, or ∂C/∂W⁰ and 3 more have."""
    more = len(names) - 1
    return f"{names[0]} and {more} more have" if more else f"{names[0]} has"


def describe(tree: Any) -> str:
    """A tree in a few words, such as (Layer(weight (3, 4), bias None), …)."""
    if isinstance(tree, tuple) and (names := getattr(tree, "_fields", None)):
        fields = zip(names, tree, strict=True)
        inside = ", ".join(f"{name} {describe(value)}" for name, value in fields)
        return f"{type(tree).__name__}({inside})"
    if isinstance(tree, (tuple, list)) and all(np.isscalar(each) for each in tree) and tree:
        return f"a {type(tree).__name__} of {len(tree)} numbers"
    if isinstance(tree, (tuple, list)):
        inside = ", ".join(map(describe, tree[:4])) + (", …" if len(tree) > 4 else "")
        return f"[{inside}]" if isinstance(tree, list) else f"({inside}{',' * (len(tree) == 1)})"
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key!r}: {describe(value)}" for key, value in tree.items()) + "}"
    if tree is None:
        return "None"
    return str(tree.shape) if hasattr(tree, "shape") else type(tree).__name__
