"""The names of a function and of its arguments."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any


def argument_names(function: Callable[..., Any], arguments: Sequence[Any]) -> list[str]:
    """The names of the positional arguments that are given."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return [f"x{i}" for i in range(len(arguments))]
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind == p.VAR_POSITIONAL), "x")
    names += [f"{rest}{i}" for i in range(len(arguments) - len(names))]
    return names[: len(arguments)]


def name_of(function: Any) -> str:
    """The name of a function, without what it is part of."""
    name = getattr(function, "__name__", type(function).__name__)
    return "f" if name == "<lambda>" else name
