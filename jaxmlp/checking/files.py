"""Checking a function in someone's file: in a process of its own, under a time limit."""

import ast
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxmlp.importing import import_file

if TYPE_CHECKING:
    from jaxmlp.checking.report import Report

ALONE = (
    " (the file has a loss but no cases, so it was tried on our networks: for another model, add "
    "cases, a list of pairs (params, batch) or a Hypothesis strategy of them)"
)
GRACE = 30.0  # seconds for a process to start, and to stop once it is told to


class OutOfTime(BaseException):
    """The time limit has passed; no `except Exception` in a checked file stops this."""


class Outcome(NamedTuple):
    """What the other process said of a checked file: JSON, since nothing foreign is unpickled.

    Attributes:
        passed: whether the gradient is right.
        text: the report for people.
        summary: the same without the table of lines.
        table: of lines, as rows of cells, the head first; nothing if no case is shown.
        foot: what goes below the table.
        markdown: the same with formulas.
    """

    passed: bool
    text: str
    summary: str
    table: list[list[str]]
    foot: list[str]
    markdown: str


def examine_file(target: str, time_limit: float, **settings: Any) -> Outcome:
    """Run `examine` on a function of a file, in another process.

    Args:
        target: FILE.py, or FILE.py:function. Without a function, it is `manual_grad`, or the only
            one of the file with `grad`, or else with `lines`, in its name. A `loss` and `cases` in
            the file are used.
        time_limit: seconds after which the check is stopped, endless loops included.
        settings: activation, shapes (of a list of [sizes, bias, n]), labels, at_kink, rtol, atol
            and seed; flags, those that were given; choice, the fields of a homework's `Choice`.

    Raises:
        ValueError: if there is nothing to check or it could not be run, with the reason.
    """
    return Outcome(**_asked(target, time_limit, settings))


def make_template(path: Path, time_limit: float) -> str:
    """What calls a file of homework, to be completed, by running its definitions elsewhere.

    Raises:
        ValueError: if it cannot be read or run, with the reason.
    """
    return _asked(str(path), time_limit, None)["template"]


def _asked(target: str, time_limit: float, settings: dict[str, Any] | None) -> dict[str, Any]:
    """What `work` says of a file, in another process."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        job = {"target": target, "time_limit": time_limit, "settings": settings}
        module = ("-P", "-m", "jaxmlp.checking.files")  # -P: no file beside the target is imported
        command = [sys.executable, *module, json.dumps(job), str(answer)]
        try:
            ended = subprocess.run(
                command, timeout=time_limit + GRACE, check=False, env=_with_cache(),
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ValueError(f"{target}: stopped after {time_limit:g} s (--time-limit)") from None
        if not answer.is_file():
            raise ValueError(f"{target}: it ended the process with code {ended.returncode}")
        result = json.loads(answer.read_text())
    if "error" in result:
        raise ValueError(result["error"])
    return result


def _with_cache() -> dict[str, str]:
    """The environment, with JAX's compilation cache turned on: it halves the next check's time."""
    home = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    return {
        "JAX_COMPILATION_CACHE_DIR": str(home / "jaxmlp"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        **os.environ,
    }


def main() -> None:
    """In the other process: write down the report, or the reason why there is none."""
    job, answer = json.loads(sys.argv[1]), Path(sys.argv[2])
    answer.write_text(json.dumps(work(**job)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # whatever threads the checked file may have left running


def work(target: str, time_limit: float, settings: dict[str, Any] | None) -> dict[str, Any]:
    """Check a file in this process, or make its template if there are no settings.

    Returns:
        The fields of an Outcome, or the template, or the error that stopped it.
    """
    # here, since who starts this process needs none of it
    from jaxmlp.checking.calls import where_in
    from jaxmlp.checking.report import table
    from jaxmlp.checking.writing import markdown
    from jaxmlp.importing import first_line

    path = split(target)[0]
    unfit: list[str] = []

    def stop(*_: Any) -> None:
        raise OutOfTime

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, time_limit)
    try:
        if settings is None:
            from jaxmlp.checking.homework.template import template

            return {"template": template(path)}
        report = _examined(target, settings, unfit)
    except OutOfTime as error:
        place = where_in(error, str(path))
        return {"error": f"{target}: stopped after {time_limit:g} s (--time-limit){place}"}
    except ValueError as error:
        return {"error": f"{error}{''.join(unfit)}"}
    except BaseException as error:  # such as SystemExit, which no check can go on after
        place = where_in(error, str(path))
        if not place:  # then it is ours
            raise
        return {"error": f"{target}: it raises {type(error).__name__}: {first_line(error)}{place}"}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    trees = [each for each in report.findings if each.kind == "wrong tree"]
    if trees or not report.compared:
        says = (trees or report.findings)[0].says
        return {"error": f"{target}: nothing to compare: {says}{''.join(unfit)}"}
    return {
        "passed": report.passed,
        "text": str(report),
        "summary": report.summary(),
        "table": table(report.example) if report.example else [],
        "foot": report.foot(),
        "markdown": markdown(report),
    }


def _examined(target: str, settings: dict[str, Any], unfit: list[str]) -> "Report":
    """The report on what a file holds; what it lacks for a loss of its own goes to `unfit`."""
    flags, choice = settings.pop("flags", ()), settings.pop("choice", {})
    path, wanted = split(target)
    if not wanted and is_homework(path):
        from jaxmlp.checking.homework.check import examine_homework
        from jaxmlp.checking.homework.understanding import Choice

        if unfitting := [each for each in flags if each not in choice]:
            raise ValueError(f"--{unfitting[0]} is for a function of (params, batch): leave it out")
        return examine_homework(path, Choice(**choice))
    if only := [each for each in ("loss", "columns") if each in choice]:
        raise ValueError(
            f"--{only[0]} is for homework as it is written, and {target} is a function of (params, "
            "batch): leave it out"
        )
    import jaxmlp
    from jaxmlp.checking.check import examine
    from jaxmlp.checking.lines import examine_lines
    from jaxmlp.checking.network.shapes import Shape

    settings["shapes"] = [Shape(tuple(sizes), *rest) for sizes, *rest in settings["shapes"]]
    function, module = load(target)
    given = ("loss", "cases", "intended")
    found = {name: getattr(module, name) for name in given if hasattr(module, name)}
    if "loss" in found and "cases" not in found:
        unfit.append(ALONE)
    name = getattr(function, "__name__", split(target)[1])
    if "lines" in name and "grad" not in name:
        settings = {key: settings[key] for key in settings if key not in ("rtol", "atol")}
        return examine_lines(function, **found, **settings)
    loss = found.pop("loss", jaxmlp.loss)
    return examine(function, loss, **found, **settings)


def is_homework(path: Path) -> bool:
    """Whether a file is homework as people write it, and has no function of (params, batch)."""
    from jaxmlp.checking.homework.source import functions_in, read

    if path.suffix.lower() == ".ipynb":
        return True
    try:
        tree = read(path).tree
    except ValueError:  # which loading it tells
        return False
    for node in ast.walk(tree):
        modules = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if any(each.partition(".")[0] in ("jax", "jaxmlp") for each in modules):
            return False
    assigned = {
        target.id
        for node in tree.body
        for target in (node.targets if isinstance(node, ast.Assign) else [])
        if isinstance(target, ast.Name)
    }
    functions = functions_in(tree)
    taken = {name: [each.arg for each in node.args.args] for name, node in functions.items()}
    adapted = [
        name
        for name, arguments in taken.items()
        if re.search("grad|lines", name, re.I) and len(arguments) == 2 and arguments[1][0] == "b"
    ]
    return not adapted and "manual_grad" not in {*taken, *assigned}


def split(target: str) -> tuple[Path, str]:
    """The file that a target names, and the function, if it names one."""
    name, _, wanted = target.partition(".py:")
    return Path(name + ".py" if wanted else target), wanted


def load(target: str) -> tuple[Callable[..., Any], Any]:
    """The function that a target names, and its module."""
    path, wanted = split(target)
    if not path.is_file():
        raise ValueError(f"{path}: no such file: give FILE.py or FILE.py:function")
    module = import_file(path)
    functions = {
        name: value
        for name, value in vars(module).items()
        if callable(value)
        and not isinstance(value, type)
        and getattr(value, "__module__", None) == module.__name__
    }
    wanted = wanted or ("manual_grad" if hasattr(module, "manual_grad") else "")
    for part in ("grad", "lines"):
        alike = [name for name in functions if part in name.lower()]
        if not wanted and len(alike) == 1:
            wanted = alike[0]
    if not callable(function := getattr(module, wanted, None)):
        known = ", ".join(functions) or "none"
        raise ValueError(
            f"{path}: {f'no function {wanted}' if wanted else 'which function?'} (there are: "
            f"{known}): name it as {path}:function"
        )
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        raise ValueError(
            f"{path}: {wanted}{inspect.signature(function)} has to take (params, batch), like "
            "jax.grad(loss)"
        ) from None
    except ValueError:  # builtins have no signature
        pass
    return function, module


if __name__ == "__main__":
    main()
