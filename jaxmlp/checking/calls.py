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

from jaxmlp.importing import first_line

STALE = "RuntimeProgramInputMismatch"  # XLA's name for arguments of other sizes
RANDOM = "not deterministic"
NOT_COMPARED = {"undefined", "ill-conditioned"}  # of findings about entries
ALONG = "directions"  # of a finding that not every entry was looked at
ENOUGH = 1_000  # leaves of a tree that are looked at to see whether it changes from call to call


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

    def __str__(self) -> str:
        """The kind and the sentence."""
        return f"{'' if self.fails else 'note: '}{self.kind}: {self.says}"


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
    twice, to see whether the same arguments give the same result. With `quick`, what JAX can trace
    is executed by NumPy, so that nothing is compiled for every new shape.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        """Get ready to call `function`.

        Raises:
            ValueError: if it is no function that can be called as it is.
        """
        if not callable(function) or inspect.iscoroutinefunction(function):
            what = "an async function" if callable(function) else f"a {type(function).__name__}"
            raise ValueError(f"what is to be checked is {what}: give a plain function")
        self.function = function
        from jaxmlp.checking.programs.execution import Traced  # homework does without it, and SciPy

        self._traced = Traced(function)
        self.twice = True
        self.numpy = True
        self.quick = False
        self.findings: dict[str, Finding] = {}

    def __call__(self, *arguments: Any) -> Any:
        """The function's value for arrays of any sort, or Refused."""
        if self.quick:
            try:
                return self._traced(*jax.tree.map(as_array, arguments))
            except Exception:
                self.quick = False
        try:
            return self._call(arguments)
        except Exception as first:
            if STALE in str(first):  # JAX 0.10.2 mixes up programs of both default dtypes
                with jax.disable_jit():
                    return self._call(arguments)
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
            value = _kept(self.function(*given))
            again = self.function(*jax.tree.map(self._array, arguments)) if self.twice else value
        if printed.getvalue():
            self._note("prints", f"it prints, such as {printed.getvalue().strip()[:60]!r}", False)
        if before is not None and not _same(before, given):
            self._note("mutates its input", "it writes into its arguments: work on copies")
        if again is not value and not _same(value, again):
            self._note(RANDOM, "two calls with the same arguments give different results")
        return value

    def _array(self, leaf: Any) -> Any:
        leaf = as_array(leaf)
        return leaf if self.numpy or not isinstance(leaf, np.ndarray) else jnp.asarray(leaf)

    def _note(self, kind: str, says: str, fails: bool = True) -> None:
        self.findings.setdefault(kind, Finding(kind, says, fails))

    def _raised(self, error: BaseException) -> Finding:
        place = where(error, self.function)
        says = f"it raises {type(error).__name__}: {first_line(error)}{place}"
        return Finding("raises", says)


def _same(one: Any, other: Any) -> bool:
    """Whether two trees hold the same numbers, NaN included."""
    leaves, others = jax.tree.leaves(one), jax.tree.leaves(other)
    if len(leaves) != len(others):
        return False
    some = zip(leaves[:ENOUGH], others[:ENOUGH], strict=True)
    try:
        pairs = [(as_array(a), as_array(b)) for a, b in some]
    except Exception:  # no arrays at all, which is said elsewhere
        return True
    return all(not isinstance(a, np.ndarray) or a.dtype.hasobject or _equal(a, b) for a, b in pairs)


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether arrays hold the same numbers, of which NaN is one, and 0 and −0 are the same."""
    return one.tobytes() == other.tobytes() or (
        np.issubdtype(one.dtype, np.inexact) and np.array_equal(one, other, equal_nan=True)
    )


def _kept(value: Any) -> Any:
    """A tree whose arrays no later call can write into, as code that accumulates does."""

    def kept(leaf: Any) -> Any:
        try:
            fixed = isinstance(leaf, (jax.Array, np.generic)) or not hasattr(leaf, "__array__")
            return leaf if fixed else np.array(leaf)
        except Exception:  # of a type that NumPy cannot read, which is said elsewhere
            return leaf

    return jax.tree.map(kept, value)


def as_array(leaf: Any) -> Any:
    """A leaf as a new NumPy array.

    What is no array of numbers stays as it is: a random key, a sparse matrix, an object.
    """
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return leaf
    array = hasattr(leaf, "__array__") and hasattr(leaf, "dtype")
    return np.array(leaf) if array or isinstance(leaf, (int, float, complex)) else leaf


def is_floating(leaf: Any) -> bool:
    """Whether a leaf is an array of floating numbers of any precision."""
    return isinstance(leaf, (np.ndarray, jax.Array)) and jnp.issubdtype(leaf.dtype, jnp.floating)


def where(error: BaseException, function: Callable[..., Any]) -> str:
    """The line of the user's own file at which an error arose, as ` (file.py line 7: code)`."""
    return where_in(error, _file(function))


def where_in(error: BaseException, file: str | None) -> str:
    """The same in a file, or in what it imports from its own folder."""
    folder = Path(file).resolve().parent if file else None
    frames = traceback.extract_tb(error.__traceback__)
    mine = [
        frame
        for frame in frames
        if frame.filename[0] != "<" and Path(frame.filename).resolve().parent == folder
    ]
    if not mine:
        return ""
    return f" ({Path(mine[-1].filename).name} line {mine[-1].lineno}: {mine[-1].line})"


def _file(function: Callable[..., Any]) -> str | None:
    """The file in which a function is written, through jit, partial and other wrappers."""
    while hasattr(function, "func"):  # functools.partial
        function = function.func  # pyright: ignore[reportFunctionMemberAccess]
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code.co_filename if code else None
