"""Which line of a file computes a mistaken value, and what it calls it."""

import ast
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.homework.calling import RETURNED, Assignments
from jaxmlp.checking.homework.mistakes import Mistake
from jaxmlp.checking.homework.problems import Problem, alike
from jaxmlp.checking.homework.source import Source, nodes_of
from jaxmlp.checking.homework.understanding import Reading

FILLING = ("append", "insert")  # methods of lists


def place_of(
    source: Source, reading: Reading, problem: Problem, mistake: Mistake
) -> tuple[str, int | None]:
    """The homework's own name of a mistaken line, and the line of the file that computes it.

    A line that has no name of its own is part of the next one.
    """
    right = reading.meaning.expected(problem)
    made = reading.meaning.expected(problem, {mistake.line: mistake.value})
    follows = f"dz{mistake.line[2:]}" if mistake.line.startswith("dh") else mistake.line
    with Assignments(str(source.path)) as assigned:
        reading.call(source, problem, losses=False)
    for line in dict.fromkeys((mistake.line, follows)):
        exact = [each for each in assigned if alike(made[line], each.value)]
        found = exact or [each for each in assigned if _parallel(each.value, made[line])]
        if found:  # where it is the value of another line too, that one stands before it
            other = any(_parallel(v, made[line]) for name, v in right.items() if name != line)
            return found[-1 if other else 0].name, found[-1 if other else 0].line
    number = int(mistake.line[2:])
    weight = f"{'b' if mistake.line[1] == 'b' else 'W'}{number}"
    return "", line_of_gradient(source, reading, weight)


def _parallel(value: Array, mistaken: Array) -> bool:
    """Whether numbers are the same but for a factor, as rows or columns."""
    size, other = np.linalg.norm(value), np.linalg.norm(mistaken)
    if not size or not other or mistaken.size == 1:
        return False
    return any(alike(mistaken / other, sign * value / size) for sign in (1, -1))


def line_of_gradient(source: Source, reading: Reading, weight: str) -> int | None:
    """The line of the file in which a gradient, or else a weight, gets its value."""
    slot = reading.layout.slots.get(weight)
    own = reading.ran.names.get(weight, "")
    names = [own, *([slot.place.name] if slot else [])]
    nodes = {name: node for name, node in nodes_of(source.tree).items() if "__init__" not in name}
    first = [node for name, node in nodes.items() if name.rpartition(".")[2] == reading.goal]
    for node in (*first, *nodes.values()):
        if at := _assigned(node, [each for each in names if each]):
            return at
    return max((_last_filled(node) for node in first), default=0) or None


def _last_filled(function: ast.FunctionDef) -> int:
    """The last line of a function that adds to a list, or returns."""
    lines = [
        node.lineno
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        and node.func.attr in FILLING
    ]  # fmt: skip
    ends = [node.lineno for node in ast.walk(function) if isinstance(node, ast.Return)]
    return max(lines or ends, default=function.lineno)


def _assigned(function: ast.FunctionDef, names: Sequence[str]) -> int | None:
    """The last line of a function that gives one of some names a value, or returns it."""
    last = {name.rpartition("].")[2] for name in names}
    wanted = {*names, *last, *(f"self.{name}" for name in (*names, *last))}
    bases = {name.partition("[")[0] for name in wanted}
    exact, within = [], []
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and RETURNED in names:
            exact.append(node.lineno)
        elif isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            for target in _targets(node):
                text = ast.unparse(target)
                key = getattr(getattr(target, "slice", None), "value", None)  # as in g['W2'] = …
                exact += [node.lineno] * (text in wanted or key in last)
                within += [node.lineno] * (text.partition("[")[0] in bases and "[" in text)
        elif isinstance(node, ast.Dict):  # as in {'W2': …}
            keys = [each for each in node.keys if isinstance(each, ast.Constant)]
            exact += [each.lineno for each in keys if each.value in last]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            filled = node.func.attr in FILLING and ast.unparse(node.func.value) in bases
            within += [node.lineno] * filled
    return max(exact or within, default=None)


def _targets(node: Any) -> Iterator[ast.expr]:
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        yield from target.elts if isinstance(target, ast.Tuple) else [target]
