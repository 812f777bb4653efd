"""Spaces as they are typed: learning_rate=1e-3:1:16:log, hidden=32,64,128-64, seed=0:8."""

from collections.abc import Sequence
from typing import Any, get_type_hints

import numpy as np

from jaxmlp.settings import Config
from jaxmlp.sweeps.space import TRACED, Draw, check_name, check_once, loguniform, uniform

EXAMPLES = "learning_rate=1e-3:1:16:log, hidden=32,64,128-64, seed=0:8, momentum=uniform:0:0.9"
DRAWS = {"uniform": uniform, "loguniform": loguniform}
MOST = 100_000  # values of an axis, beyond which it is a mistake


def parse_space(settings: Sequence[str]) -> dict[str, list[Any] | Draw]:
    """A space from texts such as `seed=0:8`.

    A field is followed by values with commas between; or by `first:end` for integers, the end
    left out; or by `first:last:number` or `first:last:number:log` for evenly spaced numbers; or
    by `uniform:low:high` or `loguniform:low:high` for random draws. The widths of several hidden
    layers have hyphens between, and `none` is no hidden layer.

    Raises:
        ValueError: if a text cannot be read, with what would be right.
    """
    space: dict[str, list[Any] | Draw] = {}
    for text in settings:
        name, equals, values = text.partition("=")
        if not equals or not values:
            raise ValueError(f"--set {text!r} gives no values: write such as {EXAMPLES}")
        check_name(name)
        check_once(name, space)
        try:
            space[name] = _values(name, values)
        except ValueError as error:
            raise ValueError(f"--set {text}: {error}: write such as {EXAMPLES}") from None
    return space


def _values(name: str, text: str) -> list[Any] | Draw:
    draw, *ends = text.split(":")
    if draw in DRAWS and name in TRACED:
        if len(ends) != 2:
            raise ValueError(f"give {draw}:low:high")
        return DRAWS[draw](*map(float, ends))
    kind = float if name in TRACED else get_type_hints(Config).get(name, int)
    if kind in (int, float) and ":" in text:
        return _spaced(text.split(":"), kind)
    return [_value(name, kind, each.strip()) for each in text.split(",")]


def _spaced(parts: Sequence[str], kind: Any) -> list[Any]:
    """Integers from the first up to the end, or evenly spaced numbers."""
    if len(parts) == 2 and kind is int:
        first, end = map(int, parts)
        found: Any = range(first, end)
    elif len(parts) in (3, 4) and parts[3:] in ([], ["log"]):
        first, last, number = float(parts[0]), float(parts[1]), int(parts[2])
        if parts[3:] and not (first > 0 and last > 0):
            raise ValueError("a logarithmic scale needs positive numbers")
        spaced = np.geomspace if parts[3:] else np.linspace
        found = [float(f"{each:.6g}") for each in spaced(first, last, min(number, MOST + 1))]
        if kind is int:
            found = list(dict.fromkeys(round(each) for each in found))
    else:
        raise ValueError("give first:last:number or first:last:number:log, or first:end integers")
    if not 0 < len(found) <= MOST:
        raise ValueError(f"that makes {len(found)} values: give 1 to {MOST:,}")
    return list(found)


def _value(name: str, kind: Any, text: str) -> Any:
    if name == "hidden":
        return () if text == "none" else tuple(map(int, text.split("-")))
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text == "true"
    return kind(text) if kind in (int, float) else text
