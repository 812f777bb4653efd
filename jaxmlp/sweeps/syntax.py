"""Spaces as they are typed: learning_rate=1e-3:1:16:log, hidden=32,64,128-64, seed=0:8."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxmlp.sweeps.schema import NETWORKS
from jaxmlp.sweeps.space import (
    SETTING,
    Draw,
    check_name,
    check_once,
    choice,
    loguniform,
    uniform,
)

EXAMPLES = "learning_rate=1e-3:1:16:log, hidden=32,64,128-64, seed=0:8, momentum=uniform:0:0.9"
DRAWS = {"uniform": uniform, "loguniform": loguniform}
MOST = 100_000  # values of an axis, beyond which it is a mistake


def parse_space(
    grid: Sequence[str], settings: Sequence[Sequence[str]] = ()
) -> dict[str, list[Any] | Draw]:
    """A space from texts such as `seed=0:8`.

    A field is followed by values with commas between; or by `first:end` for integers, the end
    left out; or by `first:last:number` or `first:last:number:log` for evenly spaced numbers; or
    by `uniform:low:high`, `loguniform:low:high` or `choice:a,b,c` for random draws. The widths of
    several hidden layers have hyphens between, and `none` is no hidden layer.

    Args:
        grid: the fields, each once.
        settings: fields that belong together, each with one value, and maybe a `name`.

    Raises:
        ValueError: if a text cannot be read, with what would be right.
    """
    space: dict[str, list[Any] | Draw] = {}
    for text in grid:
        name, values = _split("--set", text, EXAMPLES)
        check_once(name, space)
        space[name] = _read("--set", text, EXAMPLES, name, values, _values)
    if settings:
        space[SETTING] = [_setting(each) for each in settings]
    return space


def _setting(texts: Sequence[str]) -> dict[str, Any]:
    example, found = "optimizer=sgd momentum=0.9 name=slow", dict[str, Any]()
    for text in texts:
        if text.startswith("name="):
            found["name"] = text.removeprefix("name=")
            continue
        name, value = _split("--setting", text, example)
        check_once(name, found)
        found[name] = _read("--setting", text, example, name, value, _value)
    return found


def _split(flag: str, text: str, example: str) -> tuple[str, str]:
    """A field's name, with hyphens or underscores, and what is after the equals sign."""
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise ValueError(f"{flag} {text!r} gives no values: write such as {example}")
    name = name.strip().replace("-", "_")
    check_name(name)
    return name, values


def _read(flag: str, text: str, example: str, name: str, values: str, parse: Any) -> Any:
    try:
        return parse(name, values.strip())
    except ValueError as error:
        raise ValueError(f"{flag} {text}: {error}: write such as {example}") from None


def _values(name: str, text: str) -> list[Any] | Draw:
    draw, _, rest = text.partition(":")
    if draw == "choice":
        return choice(_list(name, rest))
    if draw in DRAWS:
        ends = rest.split(":")
        if _kind(name) in (str, bool) or len(ends) != 2:
            raise ValueError(f"give {draw}:low:high for numbers, or choice:a,b,c")
        return DRAWS[draw](*(_number(float, end) for end in ends))
    if _kind(name) in (int, float) and ":" in text:
        return _spaced(text.split(":"), _kind(name))
    return _list(name, text)


def _list(name: str, text: str) -> list[Any]:
    return [_value(name, each.strip()) for each in text.split(",")]


def _kind(name: str) -> type:
    """Of a field's values."""
    if name in NETWORKS.integers:
        return int
    if NETWORKS.is_traced(name):
        return float
    return {"hidden": tuple, "bias": bool}.get(name, str)


def _spaced(parts: Sequence[str], kind: Any) -> list[Any]:
    """Integers from the first up to the end, or evenly spaced numbers."""
    scale = parts[3:]
    if len(parts) == 2 and kind is int:
        first, end = (_number(int, part) for part in parts)
        found: Any = range(first, end)
    elif len(parts) in (3, 4) and scale in ([], ["log"]) and (kind is float or scale):
        first, last = (_number(float, part) for part in parts[:2])
        number = _number(int, parts[2])
        if scale and not (first > 0 and last > 0):
            raise ValueError("a logarithmic scale needs positive numbers")
        spaced = np.geomspace if scale else np.linspace
        found = [float(f"{each:.6g}") for each in spaced(first, last, min(number, MOST + 1))]
        if kind is int:
            found = list(dict.fromkeys(round(each) for each in found))
    elif kind is int:
        raise ValueError("integers are first:end (the end left out), first:last:number:log, or a,b")
    else:
        raise ValueError("give first:last:number or first:last:number:log, or a,b")
    if not 0 < len(found) <= MOST:
        raise ValueError(f"that makes {len(found)} values: give 1 to {MOST:,}")
    return list(found)


def _value(name: str, text: str) -> Any:
    kind = _kind(name)
    if name == "hidden":
        return () if text == "none" else tuple(_number(int, width) for width in text.split("-"))
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text.lower() == "true"
    return _number(kind, text) if kind in (int, float) else text


def _number(kind: Any, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{text!r} is no {'integer' if kind is int else 'number'}") from None
