"""The definitions in somebody's file, a script or a notebook, without what it does with them."""

import ast
import contextlib
import inspect
import io
import json
import linecache
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from jaxmlp.importing import first_line

TRAINS = re.compile(r"^(fit|learn|run|main)|train(?!.*split)|gradient_?descent", re.I)
TIMES = re.compile(r"%%(time|timeit|capture|prun)\b")  # whose cells are Python
MAGIC = re.compile(r"\s*([%!?]|[\w.]+\?\??\s*$)")  # a command, or a question such as np.dot?
ASSIGNED = re.compile(r"(\s*\w+\s*=\s*)[!%]")  # what a command gives
NAME = "homework"  # of the module in which a file's definitions are run


class Source(NamedTuple):
    """A file, as Python.

    Attributes:
        path: of the file.
        lines: its text; of a notebook, the lines of all code cells, one cell after another.
        tree: of the text.
        cells: of a notebook, the line before each cell's first one.
        title: what it is called, if not by its path.
    """

    path: Path
    lines: tuple[str, ...]
    tree: ast.Module
    cells: tuple[int, ...] = ()
    title: str = ""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.title or self.path.name

    def where(self, line: int) -> str:
        """Such as homework.py line 12, or homework.ipynb cell 3 line 4; cells count from 1."""
        before = [start for start in self.cells if start < line]
        cell = f" cell {len(before)}" if before else ""
        return f"{self.name}{cell} line {line - (before[-1] if before else 0)}"

    def text(self, line: int) -> str:
        """A line, without what is around it."""
        return self.lines[line - 1].strip() if 0 < line <= len(self.lines) else ""


class Definitions(NamedTuple):
    """What a file defines.

    Attributes:
        names: of its module.
        skipped: a sentence for each statement that could not be run.
    """

    names: dict[str, Any]
    skipped: tuple[str, ...]


def read(path: Path) -> Source:
    """A .py file or a notebook.

    Raises:
        ValueError: if it cannot be read, is no Python, or a notebook without code.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file: give FILE.py or FILE.ipynb") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {first_line(error)}") from None
    cells: list[int] = []
    if path.suffix.lower() == ".ipynb":
        lines = []
        for cell in _code_cells(path, text):
            cells.append(len(lines))
            lines += _without_magic(cell)
    else:
        lines = text.splitlines()
    source = Source(path, tuple(lines), ast.Module([], []), tuple(cells))
    try:
        tree = ast.parse("\n".join(lines) + "\n")
    except (SyntaxError, ValueError) as error:  # such as a zero byte
        line = error.lineno if isinstance(error, SyntaxError) else None
        at = source.where(line) if line else str(path)
        says = error.msg if isinstance(error, SyntaxError) else first_line(error)
        raise ValueError(f"{at}: it is no Python: {says}") from None
    if not tree.body:
        raise ValueError(f"{path} is empty: there is no code in it")
    return source._replace(tree=tree)


def source_of(cls: type) -> tuple[Source, Definitions]:
    """The file or the cell of a notebook in which a class is defined, and the names beside it.

    Raises:
        ValueError: if its code is not at hand, or some of it is elsewhere.
    """
    methods = [
        inspect.unwrap(each)
        for base in cls.__mro__
        for each in vars(base).values()
        if inspect.isfunction(each)
    ]
    for path in dict.fromkeys(Path(each.__code__.co_filename) for each in methods):
        linecache.checkcache(str(path))
        text = "".join(linecache.getlines(str(path)))
        tree = ast.parse(text if _is_python(text) else "")
        node = next((n for n in ast.walk(tree) if getattr(n, "name", "") == cls.__name__), None)
        if isinstance(node, ast.ClassDef):
            break
    else:
        raise ValueError(
            f"the code of {cls.__name__} is not at hand: save it in a file, and check that"
        )
    for name in functions_in(node):
        code = getattr(inspect.unwrap(vars(cls).get(name, len)), "__code__", None)
        inside = code and node.lineno <= code.co_firstlineno <= (node.end_lineno or 0)
        if code and not (inside and code.co_filename == str(path)):
            raise ValueError(
                f"{cls.__name__}.{name} was replaced after the class was made: define it there"
            )
    title = "" if path.is_file() else cls.__name__  # a cell has only a number
    source = Source(path, tuple(text.splitlines()), tree, title=title)
    return source, Definitions({**methods[0].__globals__, cls.__name__: cls}, ())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what the code of others prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _code_cells(path: Path, text: str) -> list[str]:
    try:
        cells = [each for each in json.loads(text)["cells"] if each["cell_type"] == "code"]
        found = ["" if _tests(each) else "".join(each["source"]) for each in cells]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no notebook: {type(error).__name__}") from None
    if not any(each.strip() for each in found):
        raise ValueError(f"{path} is a notebook without code: give one with the functions in it")
    return found


def _tests(cell: dict[str, Any]) -> bool:
    """Whether a cell is the teacher's, in which nbgrader tests the others."""
    marked = cell.get("metadata", {}).get("nbgrader", {})
    return bool(marked.get("grade")) and not marked.get("solution")


def _without_magic(cell: str) -> list[str]:
    """The lines of a cell; commands to the notebook or to the shell become `pass`."""
    lines = cell.splitlines()
    if _is_python(cell):
        return lines
    if cell.lstrip().startswith("%%") and not TIMES.match(cell.lstrip()):
        return ["pass"] * len(lines)  # the whole of it is another language, or a file
    found, goes_on = [], False
    for line in lines:
        given = ASSIGNED.match(line)
        if goes_on:
            found.append("")
        elif given:
            found.append(f"{given[1]}None")
        elif MAGIC.match(line):
            found.append(f"{line[: len(line) - len(line.lstrip())]}pass")
        else:
            found.append(line)
        goes_on = found[-1] != line and line.endswith("\\")
    return found


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def load_homework(path: Path) -> ModuleType:
    """What a .py file or a notebook defines, as a module; nothing else in it is run.

    Raises:
        ValueError: if it cannot be read.
    """
    module = ModuleType(NAME)
    define(read(path), vars(module))
    return module


def define(source: Source, names: dict[str, Any] | None = None) -> Definitions:
    """Run the imports, functions, classes and assignments of a file, and nothing else.

    So neither training nor pictures hold a check up. What fails is left out: a file that is missing
    may be needed by other parts.

    Args:
        source: the file.
        names: what it defines is added to these.
    """
    names = {} if names is None else names
    beside = str(source.path.parent.resolve())
    if beside not in sys.path:  # last, so that nothing there replaces what is installed
        sys.path.append(beside)
    names |= {"__name__": NAME, "__file__": str(source.path)}
    skipped = []
    for node in source.tree.body:
        if not _defines(node):
            continue
        code = compile(ast.Module([node], []), str(source.path), "exec")
        try:
            _run(code, names)
        except (Exception, SystemExit) as error:
            says = f"{type(error).__name__}: {first_line(error)}"
            skipped.append(f"{source.where(node.lineno)} cannot be run: {says}")
    return Definitions(names, tuple(skipped))


def _run(code: CodeType, names: dict[str, Any]) -> None:
    exec(code, names)


def _defines(node: ast.stmt) -> bool:
    """Whether a statement of a file defines something."""
    imports = (ast.Import, ast.ImportFrom, ast.Try)
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        calls = (ast.unparse(each.func) for each in ast.walk(node) if isinstance(each, ast.Call))
        return not any(TRAINS.search(each.rpartition(".")[2]) for each in calls)
    return isinstance(node, (*imports, ast.FunctionDef, ast.ClassDef))


def returned_names(function: ast.FunctionDef) -> list[str]:
    """The names of what a function returns last, such as A2 and cache; "" where it has none."""
    returns = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Return) and node.value is not None
    ]
    if not returns:
        return []
    value = max(returns, key=lambda node: node.lineno).value
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    return [_name(part) for part in parts]


def _name(node: Any) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def functions_in(tree: ast.AST) -> dict[str, ast.FunctionDef]:
    """The functions of a file or class, by name."""
    body = getattr(tree, "body", [])
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


def methods_in(tree: ast.Module, node: ast.ClassDef) -> dict[str, ast.FunctionDef]:
    """The methods of a class, those that it inherits from others in its file included."""
    found: dict[str, ast.FunctionDef] = {}
    bases = {each.id for each in node.bases if isinstance(each, ast.Name)}
    for each in tree.body:
        if each is node:
            break  # a base comes before it, or there would be no end
        if isinstance(each, ast.ClassDef) and each.name in bases:
            found |= methods_in(tree, each)
    return found | functions_in(node)


def nodes_of(tree: ast.AST, before: str = "") -> dict[str, ast.FunctionDef]:
    """Every function of a tree, by its name with its class."""
    found: dict[str, ast.FunctionDef] = {}
    for node in getattr(tree, "body", []):
        if isinstance(node, ast.FunctionDef):
            found[before + node.name] = node
        elif isinstance(node, ast.ClassDef):
            found |= nodes_of(node, f"{before}{node.name}.")
    return found
