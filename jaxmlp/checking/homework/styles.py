"""The ways in which homework holds its weights: a class, functions with arguments, global names."""

import ast
import contextlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxmlp.checking.homework.calling import Caller
from jaxmlp.checking.homework.constructing import made_by
from jaxmlp.checking.homework.invented import invented
from jaxmlp.checking.homework.names import (
    INITIAL,
    Role,
    goals,
    is_forward,
    roles_of,
)
from jaxmlp.checking.homework.source import (
    Definitions,
    Source,
    functions_in,
    methods_in,
    returned_names,
)
from jaxmlp.checking.homework.weights import Layout, arrays_in


class Begun:
    """Homework that is ready to be called.

    Attributes:
        caller: of its functions.
        root: where its weights are.
        layouts: what is known of them; else they are looked for.
    """

    layouts: Sequence[Layout] = ()

    def __init__(self, caller: Caller, root: Any, spread: bool = False) -> None:
        """Get ready; `spread`: whether what is in the root is handed over by name, too."""
        self.caller, self.root, self.spread = caller, root, spread

    def ready(self) -> Caller:
        """The caller, which knows the weights as they are now."""
        self.caller.roles[Role.WEIGHTS] = self.root
        if self.spread and isinstance(self.root, dict):
            self.caller.known |= self.root
        return self.caller

    def rate(self) -> float | None:
        """The learning rate by which weights are moved; None if nothing tells it."""
        for name, value in getattr(self.root, "__dict__", {}).items():
            if Role.RATE in roles_of(name) and isinstance(value, (int, float)) and value > 0:
                return float(value)
        return 1.0 if self.caller.rated else None

    def named(self, goal: str, result: Any) -> list[tuple[str, Any]]:
        """The arrays that a function returned, by its own names for them."""
        node = self.caller.nodes.get(goal)
        names = returned_names(node) if node else []
        if isinstance(result, tuple) and len(names) == len(result):
            parts = zip(names, result, strict=True)
            return [
                (f"{name}{place.after}", array)
                for name, part in parts
                for place, array in arrays_in(part)
            ]
        return [(place.name, array) for place, array in arrays_in(result)]


class Style:
    """A way in which homework holds its weights.

    Attributes:
        about: in words, such as class NeuralNetwork.
        fixed: whether the file chooses the sizes of its weights.
    """

    about = ""
    fixed = False

    def begin(self, x: Any, y: Any, sizes: Sequence[int]) -> Begun:
        """Make a network with weights of its own."""
        raise NotImplementedError

    def before(self, caller: Caller, goal: str) -> None:
        """Call what has to be called before a function."""


class ObjectStyle(Style):
    """A class with the weights in its attributes."""

    def __init__(self, source: Source, found: Definitions, node: ast.ClassDef) -> None:
        """Get ready."""
        self.cls = found.names[node.name]
        self.nodes = functions_in(source.tree) | methods_in(source.tree, node)
        self.helpers = _functions(found, functions_in(source.tree))
        self.about = f"class {node.name}"

    def begin(self, x: Any, y: Any, sizes: Sequence[int]) -> Begun:
        """Make an instance."""
        made = made_by(self.cls, x, y, sizes)
        methods = {
            name: value
            for name, value in inspect.getmembers(made, inspect.ismethod)
            if name in self.nodes and (name == "__call__" or not name.startswith("__"))
        }
        known = {Role.INPUTS: x, Role.LABELS: y, Role.COUNT: np.size(y)}
        caller = Caller(methods, self.nodes, {}, known)
        if not any(array.ndim == 2 for _, array in arrays_in(made) if array is not x):
            self._made_by_a_method(caller)
        return Begun(Caller(methods, self.nodes, {}, {}, self.helpers), made)

    def _made_by_a_method(self, caller: Caller) -> None:
        """Let a method make the weights, as the first one that fits to examples does."""
        for name in caller.functions:
            if name in goals([*caller.functions]) or re.search(INITIAL, name.strip("_")):
                with contextlib.suppress(Exception):
                    caller.call(name)
                    return

    def before(self, caller: Caller, goal: str) -> None:
        """Call the forward pass, which leaves its values in the attributes."""
        _call_forward(caller, goal)


class FunctionStyle(Style):
    """Functions that get the weights as arguments: in a dict, a list, or each by its name."""

    def __init__(
        self, source: Source, found: Definitions, make: Callable[..., Any], about: str
    ) -> None:
        """Get ready; `make` gives weights of sizes, a root, and perhaps layouts."""
        self.nodes, self.make, self.about = functions_in(source.tree), make, about
        self.functions = _functions(found, self.nodes)

    def begin(self, x: Any, y: Any, sizes: Sequence[int]) -> Begun:
        """Make weights."""
        caller = Caller(self.functions, self.nodes, {}, {})
        root, some = self.make(x, y, sizes)
        begun = Begun(caller, root, spread=isinstance(root, dict))
        begun.layouts = some
        return begun


def styles(source: Source, found: Definitions) -> Iterator[Style]:
    """Every way in which the weights may be held, the likeliest first."""
    for node in source.tree.body:
        if not isinstance(node, ast.ClassDef) or not goals([*methods_in(source.tree, node)]):
            continue
        if inspect.isclass(found.names.get(node.name)):
            yield ObjectStyle(source, found, node)
    nodes = functions_in(source.tree)
    if not goals([*nodes]):
        return
    for name in nodes:
        if re.search(INITIAL, name, re.I) and callable(found.names.get(name)):
            several = len(returned_names(nodes[name])) > 1
            for by_name in (True, False)[: 1 + several]:
                make = _initialised(found.names[name], nodes[name], by_name)
                yield FunctionStyle(source, found, make, f"weights by {name}")
    for make, about in invented(nodes):
        yield FunctionStyle(source, found, make, about)
    if any(True for _ in _global_arrays(found)):
        names = found.names

        def kept(x: Any, y: Any, sizes: Sequence[int]) -> tuple[Any, list[Layout]]:
            return _Globals(names), []

        yield GlobalStyle(source, found, kept, "global names")


class GlobalStyle(FunctionStyle):
    """Functions that use global names."""

    fixed = True

    def before(self, caller: Caller, goal: str) -> None:
        """Call the forward pass, which leaves its values in global names."""
        _call_forward(caller, goal)


def _call_forward(caller: Caller, goal: str) -> None:
    """Call the first function but one that is a forward pass."""
    for name in caller.functions:
        if name != goal and is_forward(name):
            try:
                caller.call(name)
            except Exception:  # not every one is a forward pass
                continue
            return


class _Globals(dict[str, Any]):
    """A module's names, of which only arrays are looked at."""

    def __init__(self, names: dict[str, Any]) -> None:
        super().__init__({key: value for key, value in names.items() if _is_weights(value)})
        self.names = names

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.names[key] = value

    def __getitem__(self, key: str) -> Any:
        return self.names[key]  # which a function may have assigned

    def items(self) -> Any:
        """As they are now."""
        return [(key, self.names[key]) for key in self]


def _is_weights(value: Any) -> bool:
    return isinstance(value, (np.ndarray, dict, list)) and any(True for _ in arrays_in(value))


def _global_arrays(found: Definitions) -> Iterator[Any]:
    return (value for value in found.names.values() if _is_weights(value))


def _functions(found: Definitions, nodes: Mapping[str, ast.FunctionDef]) -> dict[str, Any]:
    """The functions of a file, by name."""
    return {
        name: value
        for name, value in found.names.items()
        if inspect.isfunction(value)
        and value.__module__ == found.names["__name__"]
        and name in nodes
    }


def _initialised(
    make: Callable[..., Any], node: ast.FunctionDef, by_name: bool
) -> Callable[..., Any]:
    """Weights that a function makes; several in a dict by their names, or as they are."""

    def made(x: Any, y: Any, sizes: Sequence[int]) -> tuple[Any, list[Layout]]:
        root = made_by(make, x, y, sizes)
        names = returned_names(node)
        if by_name and isinstance(root, tuple) and len(names) == len(root) and all(names):
            root = dict(zip(names, root, strict=True))
        return root, []

    return made
