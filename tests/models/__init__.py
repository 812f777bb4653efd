"""Other people's models: each with right gradients in two styles, and with wrong ones.

A module holds one model:

    loss(params, batch)     in JAX, one operation or two in a line
    cases()                 pairs (params, batch) of NumPy arrays in float64, of several sizes
    SOURCE                  `manual_grad(params, batch)` by hand, in NumPy
    RIGHT                   the same as a function, and in other styles, by name
    MISTAKES                changes of the source, as a person makes them
"""

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.special


class Mistake(NamedTuple):
    """A change of a model's source, and what should be said of it.

    Attributes:
        name: unique in its model.
        old: what is replaced; it occurs once.
        new: by what.
        places: parts of lines of the loss, of which any is a good answer to where the mistake is:
            the line of the value whose derivative is wrong, or that of the operation from which
            the wrong part of it comes.
        kinds: of which any is a good name for it.
    """

    name: str
    old: str
    new: str
    places: tuple[str, ...]
    kinds: tuple[str, ...]


def build(source: str, mistake: Mistake | None = None) -> Callable[..., Any]:
    """The `manual_grad` of a source, with a mistake or without."""
    if mistake is not None:
        assert source.count(mistake.old) == 1, mistake
        source = source.replace(mistake.old, mistake.new)
    names: dict[str, Any] = {"np": np, "special": scipy.special, "linalg": scipy.linalg}
    exec(compile(source, "homework.py", "exec"), names)
    return names["manual_grad"]


def models() -> dict[str, ModuleType]:
    """Every model by name."""
    found = sorted(each.name for each in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in found}
