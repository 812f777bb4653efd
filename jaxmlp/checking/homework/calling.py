"""Calling the functions of homework: each argument by what its name says, or by what made it."""

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.homework.names import FORWARD, LITERAL, Role, is_forward, literals, roles_of
from jaxmlp.checking.homework.source import returned_names

RETURNED = "return"  # stands for what a function returned, beside its local names
LONGEST = 10_000  # calls that are kept
DEEPEST = 4  # calls that are made to get an argument for another call


class UnboundError(ValueError):
    """An argument for which there is no value."""


class Caller:
    """Functions that are called with what is known.

    Attributes:
        functions: by name; methods are bound.
        known: values by the names under which they were made.
        roles: values by what they are for.
    """

    def __init__(
        self, functions: Mapping[str, Callable[..., Any]], nodes: Mapping[str, ast.FunctionDef],
        known: dict[str, Any], roles: dict[Role, Any],
        helpers: Mapping[str, Callable[..., Any]] = {},
    ) -> None:  # fmt: skip
        """Get ready; `nodes` are the functions' definitions, `helpers` make arguments alone."""
        self.every = {**helpers, **functions}
        self.functions, self.nodes, self.known, self.roles = functions, nodes, known, roles
        self.called: list[str] = []
        self.rated = False  # whether a learning rate was handed over

    def call(self, name: str, depth: int = 0) -> Any:
        """Call a function, and those before it that make its arguments.

        Raises:
            UnboundError: if an argument has no value.
        """
        function = self.every[name]
        arguments: list[Any] = []
        named: dict[str, Any] = {}
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            try:
                value = self._value(parameter, name, depth)
            except UnboundError:
                if parameter.default is parameter.empty:
                    raise
                continue
            if parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty:
                named[parameter.name] = value
            else:
                arguments.append(value)
        result = function(*arguments, **named)
        self.called.append(name)
        self._learn(name, result)
        return result

    def _value(self, parameter: inspect.Parameter, caller: str, depth: int) -> Any:
        """A value for an argument."""
        name = parameter.name
        if name in self.known:
            return self.known[name]
        roles = roles_of(name)
        for role in roles:
            if role in LITERAL:
                self.rated |= role is Role.RATE
                return self.roles.get(role, literals()[role])
        if parameter.default is not parameter.empty and not isinstance(
            parameter.default, (type(None), tuple)
        ):
            raise UnboundError(name)  # its default is better
        for role in roles:
            if role in self.roles:
                return self.roles[role]
        if depth < DEEPEST:
            for other in self._makers(name, roles, caller):
                self.call(other, depth + 1)
                if name in self.known:
                    return self.known[name]
                for role in roles:
                    if role in self.roles:
                        return self.roles[role]
        raise UnboundError(f"{caller} takes {name}, and nothing says what that is")

    def _makers(self, name: str, roles: list[Role], caller: str) -> Iterator[str]:
        """The functions that return what is called so, or else the forward pass."""
        for other, node in self.nodes.items():
            if other in self.every and other != caller and name in returned_names(node):
                yield other
        if {Role.OUTPUT, Role.CACHE, Role.GRADS} & {*roles} or re.fullmatch(
            r"[azhol]_?\d|cache\d?", name, re.I
        ):
            for other in self.functions:
                if other != caller and is_forward(other):
                    yield other

    def _learn(self, name: str, result: Any) -> None:
        """Keep what a function returned, by its names."""
        node = self.nodes.get(name)
        names = returned_names(node) if node else []
        parts = result if isinstance(result, tuple) and len(names) > 1 else (result,)
        if len(parts) == len(names):
            for each, part in zip(names, parts, strict=True):
                if each:
                    self.known[each] = part
        if re.search(FORWARD, name, re.I):
            every = result if isinstance(result, tuple) else (result,)
            arrays = [each for each in every if isinstance(each, np.ndarray)]
            if arrays:
                self.roles[Role.OUTPUT] = arrays[-1] if len(every) == len(arrays) else arrays[0]
            held = [each for each in every if isinstance(each, (dict, list, tuple))]
            self.roles[Role.CACHE] = held[-1] if held else result
        elif isinstance(result, (dict, list, tuple)):
            self.roles[Role.GRADS] = result


class Call(NamedTuple):
    """A function of a file when it returned.

    Attributes:
        name: of the function, with its class.
        values: its local names, and what it returned.
    """

    name: str
    values: Mapping[str, Any]


@contextmanager
def calls_of(path: str) -> Iterator[list[Call]]:
    """The calls of a file's functions, in the order in which they return."""
    found: list[Call] = []

    def seen(frame: Any, event: str, returned: Any) -> None:
        if event == "return" and frame.f_code.co_filename == path and len(found) < LONGEST:
            kept = _own(frame.f_locals).items()  # which a later call may change
            values = {
                name: value.copy() if isinstance(value, np.ndarray) else value
                for name, value in (*frame.f_locals.items(), *kept, (RETURNED, returned))
            }
            found.append(Call(frame.f_code.co_qualname, values))

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        yield found
    finally:
        sys.setprofile(before)


class Assigned(NamedTuple):
    """A line of a file that has given a name another value.

    Attributes:
        line: its number.
        name: such as dZ1 or self.dW1; empty for what a function returns.
        value: an array.
    """

    line: int
    name: str
    value: Array


class Assignments:
    """Which lines of a file give which names which arrays, in the order of execution."""

    def __init__(self, path: str) -> None:
        """Get ready for a file; use it in a `with`."""
        self.path, self.found = path, list[Assigned]()
        self._before: Any = None
        self._known: dict[int, tuple[int, dict[str, Array]]] = {}  # of frames that are running

    def __enter__(self) -> list[Assigned]:
        self._before = sys.gettrace()
        sys.settrace(self._seen)
        return self.found

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _seen(self, frame: Any, event: str, returned: Any) -> Any:
        if frame.f_code.co_filename != self.path or len(self.found) > LONGEST:
            return None
        arrays = _named_arrays(frame.f_locals)
        line, before = self._known.get(id(frame), (frame.f_lineno, arrays))
        for name, array in arrays.items():
            if name not in before or not np.array_equal(before[name], array):
                self.found.append(Assigned(line, name, array))
        self._known[id(frame)] = frame.f_lineno, arrays
        if event == "return":
            del self._known[id(frame)]
            if isinstance(returned, np.ndarray):
                self.found.append(Assigned(frame.f_lineno, "", returned.copy()))
        return self._seen


def _named_arrays(values: Mapping[str, Any]) -> dict[str, Array]:
    """Copies of the arrays among local names and the attributes of `self`."""
    return {
        name: value.copy()
        for name, value in ({**values, **_own(values)}).items()
        if isinstance(value, np.ndarray)
    }


def _own(values: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of `self`, by names with it."""
    own = getattr(values.get("self"), "__dict__", {})
    return {f"self.{name}": value for name, value in own.items()}
