"""The command line: `jaxmlp train`, `sweep`, `check`, `audit`, `evaluate`, `predict`, `export`.

Everything that a user can get wrong ends in one line on standard error and exit code 2.
"""

import contextlib
import functools
import io
import operator
import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import make_dataclass
from importlib import import_module
from typing import Annotated, Any

COMMANDS = {
    "train": "Train a network and write a run folder: settings, numbers, parameters, pictures.",
    "sweep": "Train every setting of a grid together, rank them, and write table, pictures and "
    "report.",
    "check": "Check a gradient written by hand: which line is wrong, why, and on what smallest "
    "network.",
    "audit": "Check the derivative rules of an installed package, and of its public functions.",
    "evaluate": "Evaluate a trained network on the test part of a data set.",
    "predict": "Say what a trained network predicts for pictures of any size, or for the rows of a "
    "table.",
    "export": "Write a trained network for other programs, with what it does to raw numbers.",
}
LONGEST = 1000  # characters of an error message
INSTALL = "pip install 'jaxmlp[experiments]'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 1 when a checked gradient is wrong; 2 when it could not be done; 130 when
        interrupted; 141 when nobody reads the output.
    """
    for stream in (sys.stdout, sys.stderr):  # whatever their encoding, a name is no reason to stop
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        given = sys.argv[1:] if arguments is None else arguments
        command: Any = _parse(_commands(given), given)
        if "check" not in given[:1]:  # whose own process uses JAX, if any does
            from jaxmlp.compilation import keep_programs

            keep_programs()
        return command.run() or 0
    except ModuleNotFoundError as error:
        return fail(f"the command line needs the package {error.name}: {INSTALL}")
    except ValueError as error:
        return fail(str(error))
    except OSError as error:
        return _unwritten(error)
    except (MemoryError, RuntimeError) as error:
        from jaxmlp.training import out_of_memory

        if not out_of_memory(error):
            raise
        return fail("there is not enough memory for it: try fewer --hidden, or a smaller batch")
    except KeyboardInterrupt as interrupt:
        return interrupted(interrupt)


def run() -> None:
    """The process of one command; once it has an exit code, there is nothing to interrupt."""
    for descriptor in range(3):  # or what is opened next would take the place of a closed one
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    try:
        code = main()
    except SystemExit as exit_:  # of tyro, after --help
        code = exit_.code
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except AttributeError:  # it is closed
            continue
        except OSError as error:
            code = _unwritten(error)
            with contextlib.suppress(OSError):  # or Python would try again, and complain
                stream.close()
    sys.exit(code)


def _unwritten(error: OSError) -> int:
    """The exit code where the output cannot be written; says so if it is not that nobody reads."""
    if isinstance(error, BrokenPipeError):
        return 128 + signal.SIGPIPE
    return fail(f"{error.filename or 'output'}: {error.strerror}")


def fail(message: str) -> int:
    """Say in one line what is wrong; the exit code for it."""
    say(f"error: {message}")
    return 2


def say(message: str) -> None:
    """Say something in one line of standard error, whatever a file has put into the message."""
    line = printable(" ".join(message.split()))
    line = line if len(line) <= LONGEST else f"{line[:LONGEST]} …"
    with contextlib.suppress(OSError):  # of a full disk; the exit code says it too
        print(f"jaxmlp: {line}", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """The text with a mark for what would move a cursor, or cannot be written at all."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def interrupted(interrupt: KeyboardInterrupt) -> int:
    """Say in one line what is left of an interrupted command; the exit code for it."""
    say("; ".join(["interrupted", *map(str, interrupt.args)]))
    return 128 + signal.SIGINT


def _commands(given: Sequence[str]) -> Any:
    """Every command as tyro takes it; in full only the one that is named.

    The modules of the others are left alone, since they import JAX and more.
    """
    return functools.reduce(operator.or_, (_command(name, given) for name in COMMANDS))


def _command(name: str, given: Sequence[str]) -> Any:
    from tyro.conf import subcommand

    if name not in given[:1]:
        class_ = make_dataclass(name.capitalize(), [], namespace={"__doc__": COMMANDS[name]})
        return Annotated[class_, subcommand(name)]
    class_ = getattr(import_module(f"jaxmlp.cli.{name}"), name.capitalize())
    if name not in ("train", "sweep"):
        return Annotated[class_, subcommand(name)]
    from jaxmlp.cli.common import with_defaults

    return with_defaults(class_, given)


def _parse(commands: Any, arguments: Sequence[str] | None) -> Any:
    """The command that the arguments describe. tyro's boxed complaint becomes a ValueError."""
    import tyro

    settings = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(commands, prog="jaxmlp", args=arguments, config=settings)
    except SystemExit as exit_:
        if exit_.code != 2:
            raise
    raise ValueError(_plain(complaint.getvalue()))


def _plain(box: str) -> str:
    """The text of the first part of a box drawn with lines, and the form of the argument."""
    lines = [re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯]", " ", line).strip() for line in box.splitlines()]
    lines = [line for line in lines[1:] if line]  # without the title
    parts = re.split(r"[─-]{5,}", "\n".join(lines).lstrip("─-"))
    text = re.sub(r"^Error parsing __tyro\S*: ", "", " ".join(parts[0].split()))
    form = re.search(r"Argument helptext:\n(.*)", "\n".join(parts[1:]))
    return (text + f"; give {form[1]}" if form else text) or "wrong arguments"
