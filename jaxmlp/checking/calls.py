"""Calling someone else's code: what it does besides returning numbers becomes a finding."""

import contextlib
import inspect
import io
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

RANDOM = "not deterministic"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        kind: a few words, such as `wrong shape`.
        says: a sentence that names what, where, and what would be right.
        fails: whether a gradient with this finding is wrong.
    """

    kind: str
    says: str
    fails: bool = True


class Refused(Exception):  # noqa: N818
    """A call gave nothing that could be compared; the finding says why."""

    def __init__(self, finding: Finding) -> None:
        """Carry the finding."""
        super().__init__(finding.says)
        self.finding = finding


class Caller:
    """Calls one function again and again, and keeps what was found on the way.

    The arguments are NumPy arrays, which most code takes, and fast. A function that cannot, since
    it needs a method of JAX arrays, gets those from then on. With `twice`, every call is made
    twice, to see whether the same arguments give the same result.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        """Get ready to call `function`."""
        self.function = function
        self.twice = True
        self.numpy = True
        self.findings: dict[str, Finding] = {}

    def __call__(self, *arguments: Any) -> Any:
        """The function's value for arrays of any sort, or Refused."""
        try:
            return self._call(arguments)
        except Exception as first:
            if self.numpy:
                self.numpy = False
                try:
                    return self._call(arguments)
                except Exception:
                    self.numpy = True
            raise Refused(self._raised(first)) from first

    def _call(self, arguments: tuple[Any, ...]) -> Any:
        given = jax.tree.map(self._array, arguments)
        before = jax.tree.map(as_array, given) if self.numpy else None
        printed = io.StringIO()
        with (
            warnings.catch_warnings(action="ignore"),
            np.errstate(all="ignore"),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
        ):
            value = self.function(*given)
            again = self.function(*jax.tree.map(self._array, arguments)) if self.twice else value
        if printed.getvalue():
            self._note("prints", f"it prints, such as {printed.getvalue().strip()[:60]!r}", False)
        if before is not None and not _same(before, given):
            self._note("mutates its input", "it writes into its arguments: work on copies")
        if again is not value and not _same(value, again):
            says = "two calls with the same arguments give different results"
            self._note(RANDOM, says)
        return value

    def _array(self, leaf: Any) -> Any:
        return as_array(leaf) if self.numpy else jnp.asarray(leaf)

    def _note(self, kind: str, says: str, fails: bool = True) -> None:
        self.findings.setdefault(kind, Finding(kind, says, fails))

    def _raised(self, error: BaseException) -> Finding:
        place = where(error, self.function)
        says = f"it raises {type(error).__name__}: {first_line(error)}{place}"
        return Finding("raises", says)


def _same(one: Any, other: Any) -> bool:
    """Whether two trees hold the same bits, NaN included."""
    leaves, others = jax.tree.leaves(one), jax.tree.leaves(other)
    if len(leaves) != len(others):
        return False
    try:
        pairs = [(as_array(a), as_array(b)) for a, b in zip(leaves, others, strict=True)]
    except Exception:  # no arrays at all, which is said elsewhere
        return True
    return all(a is b or a.dtype == object or a.tobytes() == b.tobytes() for a, b in pairs)


def as_array(leaf: Any) -> Any:
    """A leaf as a new NumPy array; a random key, which NumPy cannot hold, as it is."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return leaf
    return np.array(leaf)


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).strip() or "no message").splitlines()[0]


def where(error: BaseException, function: Callable[..., Any]) -> str:
    """The line of the user's own file at which an error arose, as ` (file.py line 7: code)`."""
    frames = traceback.extract_tb(error.__traceback__)
    own = _file(function)
    mine = [frame for frame in frames if own and frame.filename == own]
    if not mine:
        return ""
    return f" ({Path(mine[-1].filename).name} line {mine[-1].lineno}: {mine[-1].line})"


def _file(function: Callable[..., Any]) -> str | None:
    """The file in which a function is written, through jit, partial and other wrappers."""
    while hasattr(function, "func"):  # functools.partial
        function = function.func  # pyright: ignore[reportFunctionMemberAccess]
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code.co_filename if code else None
