"""Python files of users, run as modules; and what their errors say, in one line."""

import functools
import importlib.util
import sys
from pathlib import Path
from typing import Any


@functools.cache  # before the first file is one of them
def _needed() -> frozenset[str]:
    """The modules that a user's file must not replace."""
    return sys.stdlib_module_names | {*sys.modules}


def import_file(path: Path) -> Any:
    """Run a file as a module, found beside what it imports.

    Raises:
        ValueError: if it cannot be run, with the line that stands in the way.
    """
    if path.stem in _needed():
        raise ValueError(
            f"{path}: a module of this name is needed itself: call the file by another name"
        )
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        line, first = _line(error, path), first_line(error)
        raise ValueError(f"{path}{line}: {type(error).__name__}: {first}") from None
    return module


def _line(error: BaseException, path: Path) -> str:
    """Where in the file an error arose while it was imported, as ` line 3`."""
    if isinstance(error, SyntaxError):
        return f" line {error.lineno}" if error.lineno else ""
    trace, line = error.__traceback__, ""
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).name == path.name:
            line = f" line {trace.tb_lineno}"
        trace = trace.tb_next
    return line


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    try:
        return (str(error).strip() or "no message").splitlines()[0]
    except Exception as another:
        return f"a message that itself raises {type(another).__name__}"
