"""Calls of the functions of homework, written down in Python."""

import ast
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checking.homework.calling import Caller
from jaxmlp.checking.homework.names import plain, stem
from jaxmlp.checking.homework.problems import close
from jaxmlp.checking.homework.source import returned_names
from jaxmlp.checking.homework.weights import Place, arrays_in, last_name

TAKEN = ("X", "y", "params", "batch", "made", "np", "self", "")  # which no result is called


class Call(NamedTuple):
    """A call, as it was recorded.

    Attributes:
        function: its name.
        line: in Python.
        results: by their names in that line.
    """

    function: str
    line: str
    results: tuple[tuple[str, Any], ...]


class Recorder:
    """Writes down the calls that a Caller makes, in Python."""

    def __init__(self, known: Mapping[str, Any], nodes: Mapping[str, ast.FunctionDef]) -> None:
        """Get ready; `known` has the values that have a name from the start."""
        self.known, self.nodes = [*known.items()], nodes
        self.calls: list[Call] = []

    def watch(self, caller: Caller, called: str, root: Any, before: str) -> None:
        """Record what is called from now on.

        Args:
            caller: makes the calls.
            called, root: what the weights are in; methods are of that.
            before: comes before the names of functions.
        """
        self.known.insert(0, (called, root))
        for name, function in [*caller.every.items()]:
            text = f"{called}.{name}" if inspect.ismethod(function) else before + name
            caller.every[name] = self._watched(text, name, function)

    def _watched(self, called: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def watched(*given: Any, **others: Any) -> Any:
            line = f"{called}({self.written(given, others)})"
            result = function(*given, **others)
            self._record(name, line, result)
            return result

        return watched

    def _record(self, name: str, call: str, result: Any) -> None:
        names = returned_names(self.nodes[name]) if name in self.nodes else []
        parts = result if isinstance(result, tuple) and len(names) > 1 else (result,)
        if not len(names) == len(parts) == len({*names} - {*TAKEN}):
            names, parts = [f"{name.strip('_')}_result"], (result,)
        line = call if result is None else f"{', '.join(names)} = {call}"
        line += "  # TODO: what ... stands for" if "..." in call else ""
        results = () if result is None else tuple(zip(names, parts, strict=True))
        self.calls.append(Call(name, line, results))
        self.known += results

    def written(self, given: Sequence[Any], others: Mapping[str, Any]) -> str:
        """Arguments, in Python."""
        named = (f"{name}={self.text(value)}" for name, value in others.items())
        return ", ".join([*map(self.text, given), *named])

    def text(self, value: Any) -> str:
        """What a value is called; ... where nothing says it."""
        for name, known in reversed(self.known):
            for text, part in _parts(name, known):
                if part is value:
                    return text
        held = isinstance(value, np.ndarray)
        return self.text_of_array(value, same=True) if held else literal(value)

    def gradient_of(self, name: str, shape: tuple[int, ...]) -> str:
        """Where a gradient by what has a name may be, by its own name; empty if nowhere."""
        for called, known in reversed(self.known):
            for place, array in arrays_in(known):
                own = last_name(place) or called
                alike = stem(own) == plain(last_name(Place((name,)))) and array.shape == shape
                if alike and own != name:
                    return f"{called}{place.after}"
        return ""

    def text_of_array(self, array: Any, same: bool = False) -> str:
        """Where an array is: the very one, or one with the same numbers."""
        for name, known in reversed(self.known):
            for place, other in arrays_in(known):
                alike = other.shape == array.shape and close(other, array)
                if other is array or (alike and not same):
                    return f"{name}{place.after}"
        return "..."


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A value and what is in it, in Python."""
    yield name, value
    if isinstance(value, (dict, list, tuple)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield f"{name}[{key!r}]", part


def literal(value: Any) -> str:
    """A plain value, or a list of such, in Python; ... for any other."""
    several = value if isinstance(value, (list, tuple)) else [value]
    plain = (bool, int, float, str, type(None))
    return repr(value) if all(isinstance(each, plain) for each in several) else "..."
