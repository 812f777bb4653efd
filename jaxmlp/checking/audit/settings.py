"""`audit.toml`: what a library's authors say of their functions."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

KNOWN = {"arguments", "domain", "intended", "known", "skip"}


@dataclass(frozen=True)
class Says:
    """What is said of one function.

    Attributes:
        arguments: an example of each; numbers, and lists for arrays.
        domain: by the arguments' names, as for `check_rule`.
        intended: names of rules that are not meant to be derivatives.
        known: kinds of findings that are known, and do not fail.
        skip: why it is left out.
    """

    arguments: tuple[Any, ...] = ()
    domain: dict[str, Any] = field(default_factory=dict)
    intended: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    skip: str = ""


def read(path: Path) -> dict[str, Says]:
    """What a file says, by the names of functions, such as "mylib.special:erfinv".

    Raises:
        ValueError: if it is no TOML, or has a key that is none.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    found = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or ":" not in name:
            raise ValueError(f'{path}: {name} is no table ["package.module:function"]')
        if unknown := {*table} - KNOWN:
            options = ", ".join(sorted(KNOWN))
            raise ValueError(f"{path}: [{name}] has {min(unknown)!r}: its keys are {options}")
        found[name] = Says(
            arguments=tuple(map(_value, table.get("arguments", ()))),
            domain={key: _domain(each) for key, each in table.get("domain", {}).items()},
            intended=tuple(table.get("intended", ())),
            known=tuple(table.get("known", ())),
            skip=table.get("skip", ""),
        )
    return found


def _value(value: Any) -> Any:
    return np.array(value, np.float64) if isinstance(value, list) else value


def _domain(value: Any) -> Any:
    """A pair of numbers is an interval; lists in a list are values."""
    pair = isinstance(value, list) and len(value) == 2
    if pair and all(isinstance(each, (int, float)) for each in value):
        return tuple(map(float, value))
    return list(map(_value, value)) if isinstance(value, list) else value
