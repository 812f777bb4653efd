"""A function by the row of all its floating numbers, with its derivatives as JAX has them.

What JAX can trace is traced once and executed by NumPy, so that nothing is compiled; values are
executed for many rows at once. A function that branches in Python is called row by row.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.calls import is_floating
from jaxmlp.checking.programs.execution import Machine
from jaxmlp.checking.programs.interpreter import (
    RULES,
    compiled,
    is_long,
    is_random,
    stops_gradients,
)
from jaxmlp.checking.programs.random_rounding import rounding_spread
from jaxmlp.checking.programs.rules import rules_in, without_rules
from jaxmlp.checking.rules.names import name_of
from jaxmlp.checking.rules.parts import Part, is_number, parts_of
from jaxmlp.checking.truth.differences import EPSILON

MOST_ROWS = 4_096  # executed at once
FEWEST_ROWS = 16  # executed at once, so that few shapes have to be compiled


class Function:
    """A function of some arguments, of which the floating numbers may move.

    Attributes:
        function: the function itself.
        name: of it.
        parts: the floating leaves of the arguments.
        size: how many floating numbers that are.
        dtype: in which they are.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Sequence[Any],
        names: Sequence[str],
        dtype: str = "float64",
    ) -> None:
        """Get ready.

        Args:
            function: takes the arguments.
            arguments: whose shapes count, and whose other values stay as they are.
            names: of the arguments.
            dtype: of the floating ones.
        """
        self.function, self.names, self.dtype = function, tuple(names), dtype
        self.name = name_of(function)
        self.leaves, self.structure = jax.tree.flatten(tuple(arguments))
        self.moving = [i for i, leaf in enumerate(self.leaves) if self.is_number(leaf)]
        self.parts = parts_of(arguments, self.names, self.is_number)
        self.size = self.parts[-1].stop if self.parts else 0
        self.wide = dtype == "float64"
        self._programs: dict[Any, Any] = {}
        self._noises: dict[bytes, Array] = {}

    def is_number(self, leaf: Any) -> bool:
        """Whether a leaf of the arguments moves."""
        return is_number(leaf)

    def with_function(self, function: Callable[..., Any]) -> "Function":
        """Another function of the same arguments."""
        other = type(self).__new__(type(self))
        other.__dict__ = self.__dict__ | {"function": function, "_programs": {}, "_noises": {}}
        for cached in ("compiled", "trace"):
            other.__dict__.pop(cached, None)
        return other

    def in_dtype(self, dtype: str) -> "Function":
        """The same with floating numbers of another dtype."""
        other = self.with_function(self.function)
        other.dtype, other.wide = dtype, dtype == "float64"
        return other

    def row(self, arguments: Sequence[Any] | None = None) -> Array:
        """The floating numbers of some arguments; by default of those that were given."""
        leaves = self.leaves if arguments is None else jax.tree.leaves(tuple(arguments))
        some = [np.ravel(np.asarray(leaves[i], np.float64)) for i in self.moving]
        return np.concatenate(some) if some else np.zeros(0)

    def arguments(self, row: Any) -> tuple[Any, ...]:
        """The arguments with the floating numbers of a row, in the function's dtype."""
        parts = [self._leaf(row, part) for part in self.parts]
        return self.filled(parts)

    def _leaf(self, row: Any, part: Part) -> Any:
        return row[part.start : part.stop].reshape(part.shape).astype(self.dtype)

    def filled(self, parts: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments with other floating leaves."""
        leaves = list(self.leaves)
        for place, leaf in zip(self.moving, parts, strict=True):
            leaves[place] = leaf
        return jax.tree.unflatten(self.structure, leaves)

    def _outputs(self, *parts: Any) -> list[Any]:
        """The floating outputs, of leaves."""
        found = jax.tree.leaves(self.function(*self.filled(parts)))
        return [each for each in map(jnp.asarray, found) if is_floating(each)]

    def output_row(self, *parts: Any) -> Any:
        """All floating outputs as one row."""
        some = [jnp.ravel(each) for each in self._outputs(*parts)]
        wanted = jnp.result_type(*some) if some else self.dtype
        return jnp.concatenate([each.astype(wanted) for each in some]) if some else jnp.zeros(0)

    def rounded(self, row: Array) -> Array:
        """A row with its numbers rounded to the function's dtype."""
        return np.concatenate([np.ravel(leaf) for leaf in self.split(row)]).astype(np.float64)

    @functools.cached_property
    def trace(self) -> Any:
        """The program of the function, in float64; None if it branches in Python."""
        try:
            with jax.enable_x64(True):
                return jax.make_jaxpr(self.output_row)(*self.split(self.row())).jaxpr
        except Exception:
            return None

    def rules(self) -> list[str] | None:
        """The names of the rules that the function's trace meets; None if it has no trace."""
        return None if self.trace is None else rules_in(self.trace)

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers, which are others in another dtype."""
        return self.trace is not None and is_random(self.trace)

    @property
    def stops(self) -> bool:
        """Whether it stops gradients, outside of rules."""
        return self.trace is not None and stops_gradients(self.trace, RULES)

    def without_rules(self) -> "Function | None":
        """The same without the rules; None if they cannot be told from the function."""
        return self.with_function(without_rules(self.function))

    def first_derivatives(self, weights: Array, seed: int) -> dict[str, Callable[..., Any]]:
        """The derivative along drawn tangents, and that of outputs with some weights."""
        rng = np.random.default_rng(seed)
        tangents = [rng.normal(size=part.shape) for part in self.parts]

        def along(*arguments: Any) -> Any:
            leaves = self._moving(arguments)
            pairs = zip(tangents, leaves, strict=True)
            given = [np.asarray(tangent, leaf.dtype) for tangent, leaf in pairs]
            return jax.jvp(self.output_row, leaves, given)[1]

        def pulled(*arguments: Any) -> Any:
            primal, pull = jax.vjp(self.output_row, *self._moving(arguments))
            return pull(weights.astype(primal.dtype))

        return {"forward": along, "reverse": pulled}

    def _moving(self, arguments: Any) -> list[Any]:
        leaves = jax.tree.leaves(arguments)
        return [leaves[i] for i in self.moving]

    def split(self, rows: Array) -> list[Array]:
        """The leaves of one row, or of many, in the function's dtype."""
        return [
            jnp_cast(rows[..., part.start : part.stop], self.dtype).reshape(
                (*rows.shape[:-1], *part.shape)
            )
            for part in self.parts
        ]

    def executed(self, key: Any, function: Callable[..., Any], *leaves: Any) -> list[Array]:
        """The results of a function of leaves, traced once for their shapes; or else called."""
        key = (key, tuple(np.shape(leaf) for leaf in leaves))
        with jax.enable_x64(self.wide), np.errstate(all="ignore"):
            if key not in self._programs:
                self._programs[key] = _traced(function, leaves)
            found = self._programs[key]
            if found is None:
                results = jax.tree.leaves(function(*map(jnp.asarray, leaves)))
            else:
                program, run = found
                results = run(program, *leaves)
            return [np.asarray(each).astype(np.float64) for each in results]

    def value(self, rows: Array) -> Array:
        """The floating outputs (rows, m) for many rows (rows, n)."""
        found = [
            self._values(rows[start : start + MOST_ROWS])
            for start in range(0, len(rows), MOST_ROWS)
        ]
        return np.concatenate(found) if found else np.zeros((0, 0))

    def _values(self, rows: Array) -> Array:
        count = len(rows)
        padded = max(FEWEST_ROWS, 1 << (count - 1).bit_length())
        filled = np.concatenate([rows, np.repeat(rows[:1], padded - count, axis=0)])
        if self.batches:
            try:
                leaves = self.split(filled)
                (found,) = self.executed("values", jax.vmap(self.output_row), *leaves)
                return found[:count]
            except Exception:  # a function without a rule for batches, or that branches
                self.batches = False
        return np.stack([self.one(row) for row in rows])

    CALLS: ClassVar = {"forward": "jax.jacfwd", "reverse": "jax.jacrev"}
    batches = True  # whether many rows can be executed at once

    def one(self, row: Array) -> Array:
        """The floating outputs (m,) of one row."""
        return self.executed("value", self.output_row, *self.split(row))[0]

    def by_itself(self, row: Array) -> Array:
        """The floating outputs (m,) of one row, as the library computes them."""
        with jax.enable_x64(self.wide):
            return np.asarray(self.compiled(*self.split(row)), np.float64)

    def noise(self, row: Array) -> Array:
        """How far off the outputs (m,) of one row may be by rounding errors inside."""
        if (known := row.tobytes()) not in self._noises:
            self._noises[known] = self._noise(row)
        return self._noises[known]

    def _noise(self, row: Array) -> Array:
        value, leaves = np.abs(self.one(row)), self.split(row)
        found = self._programs.get(("value", tuple(np.shape(leaf) for leaf in leaves)))
        if found is None or not isinstance(found[1], Machine):
            return EPSILON * value
        with jax.enable_x64(self.wide), np.errstate(all="ignore"):
            (spread,) = rounding_spread(found[0], leaves, EPSILON)
        return np.maximum(EPSILON * value, spread)

    @functools.cached_property
    def compiled(self) -> Callable[..., Any]:
        """What JAX itself computes, of leaves; not compiled where it branches in Python."""
        compiled = jax.jit(self.output_row)
        try:
            compiled(*self.split(self.row()))
        except Exception:
            return lambda *leaves: self.output_row(*map(jnp.asarray, leaves))
        return compiled

    def forward(self, row: Array, part: int, tangents: Array) -> tuple[Array, Array]:
        """The outputs (m,), and their derivatives (k, m) along tangents (k, size of the part)."""
        leaves = self.split(row)

        def product(tangent: Any, *leaves: Any) -> Any:
            return jax.jvp(self._alone(leaves, part), (leaves[part],), (tangent,))

        shape = self.parts[part].shape
        shaped = [jnp_cast(tangent, self.dtype).reshape(shape) for tangent in tangents]
        pairs = [self.executed(("forward", part), product, each, *leaves) for each in shaped]
        return pairs[0][0], np.stack([along for _, along in pairs])

    def reverse(self, row: Array, part: int, cotangents: Array) -> tuple[Array, Array]:
        """The outputs (m,), and the products (l, size of the part) of cotangents (l, m)."""
        leaves = self.split(row)

        def product(cotangent: Any, *leaves: Any) -> Any:
            primal, pull = jax.vjp(self._alone(leaves, part), leaves[part])
            return primal, *pull(cotangent.astype(primal.dtype))

        pairs = [self.executed(("reverse", part), product, each, *leaves) for each in cotangents]
        return pairs[0][0], np.stack([np.ravel(pulled) for _, pulled in pairs])

    def _alone(self, leaves: Sequence[Any], part: int) -> Callable[[Any], Any]:
        """The outputs as a function of one leaf."""
        return lambda leaf: self.output_row(*leaves[:part], leaf, *leaves[part + 1 :])


def jnp_cast(array: Any, dtype: str) -> Any:
    """An array of NumPy in one of JAX's dtypes."""
    with np.errstate(over="ignore"):
        return np.asarray(array).astype(jnp.dtype(dtype))


def _traced(function: Callable[..., Any], leaves: Sequence[Any]) -> Any:
    """The program and what executes it; None if the function has to be called."""
    try:
        program = jax.make_jaxpr(lambda *given: function(*given))(*leaves)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
        return None
    if is_long(program.jaxpr):
        return program, compiled(program)
    return program, Machine()
