"""Spaces as they are typed: learning_rate=1e-3:1:16:log, hidden=32,64,128-64, seed=0:8."""

import re
from collections.abc import Callable, Sequence
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


Kind = Callable[[str], type | None]  # of a field's values; None if the values themselves say it


def parse_space(
    grid: Sequence[str], settings: Sequence[Sequence[str]] = (), *, task: bool = False
) -> dict[str, list[Any] | Draw]:
    """A space from texts such as `seed=0:8`.

    A field is followed by values with commas between; or by `first:end` for integers, the end
    left out; or by `first:last:number` or `first:last:number:log` for evenly spaced numbers; or
    by `uniform:low:high`, `loguniform:low:high` or `choice:a,b,c` for random draws. The widths of
    several hidden layers have hyphens between, and `none` is no hidden layer.

    Args:
        grid: the fields, each once.
        settings: fields that belong together, each with one value, and maybe a `name`.
        task: whether the fields are those of a task, of which the values say what they are.

    Raises:
        ValueError: if a text cannot be read, with what would be right.
    """
    space: dict[str, list[Any] | Draw] = {}
    kind = _kind_by_value if task else _kind
    for text in grid:
        name, values = _split("--set", text, EXAMPLES, task)
        check_once(name, space)
        space[name] = _read("--set", text, EXAMPLES, values, kind(name), _values)
    if settings:
        space[SETTING] = [_setting(each, kind, task) for each in settings]
    return space


def _setting(texts: Sequence[str], kind: Kind, task: bool) -> dict[str, Any]:
    example, found = "optimizer=sgd momentum=0.9 name=slow", dict[str, Any]()
    for text in texts:
        if text.startswith("name="):
            found["name"] = text.removeprefix("name=")
            continue
        name, value = _split("--setting", text, example, task)
        check_once(name, found)
        found[name] = _read("--setting", text, example, value, kind(name), _value)
    return found


def _split(flag: str, text: str, example: str, task: bool) -> tuple[str, str]:
    """A field's name, with hyphens or underscores, and what is after the equals sign."""
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise ValueError(f"{flag} {text!r} gives no values: write such as {example}")
    name = name.strip().replace("-", "_")
    if not task:  # whose names are checked when it is known
        check_name(name)
    return name, values


def _read(flag: str, text: str, example: str, values: str, kind: Any, parse: Any) -> Any:
    try:
        return parse(values.strip(), kind)
    except ValueError as error:
        raise ValueError(f"{flag} {text}: {error}: write such as {example}") from None


def _values(text: str, kind: Any) -> list[Any] | Draw:
    draw, _, rest = text.partition(":")
    if draw == "choice":
        return choice(_list(rest, kind))
    if draw in DRAWS:
        ends = rest.split(":")
        if kind in (str, bool) or len(ends) != 2:
            raise ValueError(f"give {draw}:low:high for numbers, or choice:a,b,c")
        return DRAWS[draw](*(_number(float, end) for end in ends))
    if kind in (int, float) and ":" in text:
        return _spaced(text.split(":"), kind)
    if kind is None and re.fullmatch(r"[-+.:e\d]+(:log)?", text) and ":" in text:
        return _spaced(text.split(":"), int if text.count(":") == 1 else float)
    return _list(text, kind)


def _list(text: str, kind: Any) -> list[Any]:
    return [_value(each.strip(), kind) for each in text.split(",")]


def _kind_by_value(name: str) -> type | None:
    """Integers for seeds and epochs; of a task's own fields, the values say what they are."""
    return int if name in ("seed", "epochs") else None


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


def _value(text: str, kind: Any) -> Any:
    if kind is None:
        return _by_itself(text)
    if kind is tuple:
        return () if text == "none" else tuple(_number(int, width) for width in text.split("-"))
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text.lower() == "true"
    return _number(kind, text) if kind in (int, float) else text


def _by_itself(text: str) -> Any:
    """A number, true or false, widths such as 128-64, or text."""
    if re.fullmatch(r"\d+(-\d+)+", text):
        return tuple(map(int, text.split("-")))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return {"true": True, "false": False}.get(text.lower(), text)


def _number(kind: Any, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{text!r} is no {'integer' if kind is int else 'number'}") from None
