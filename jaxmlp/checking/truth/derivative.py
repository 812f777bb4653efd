"""The derivative of a loss, as witnesses have it that know nothing of each other.

At every case: JAX's derivative, with the rules that the loss brings along; JAX's derivative of
the program without these rules; its forward mode along a direction; and differences of the loss
along that direction. Where they do not agree, differences decide, entry by entry.
"""

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.calls import ALONG, Finding, where
from jaxmlp.checking.cases import moved
from jaxmlp.checking.programs.execution import Machine
from jaxmlp.checking.programs.interpreter import is_random
from jaxmlp.checking.programs.random_rounding import rounding_spread
from jaxmlp.checking.programs.rules import has_rules, rules_in
from jaxmlp.checking.truth.differences import Estimate, Slope, slope_along
from jaxmlp.checking.truth.trees import as_row, no_number, ravel
from jaxmlp.checking.truth.witnesses import PATIENCE, SAME, Witnesses
from jaxmlp.importing import first_line

EVALUATIONS = 17  # of a loss for a slope, as a rule
DIRECTIONS = 8  # for each leaf, where its entries are too many, and fewer if these take long, too


class Derivative(Witnesses):
    """The derivative of a loss by its parameters.

    Attributes:
        loss: a function of (params, batch).
        traceable: whether JAX can follow it, as far as is known.
        findings: what witnesses disagree about, by kind.
    """

    @np.errstate(all="ignore")  # of a loss that is infinite
    def at(self, params: Any, batch: Any, dtype: str = "float64") -> list[Estimate]:
        """The leaves of the derivative at parameters of any float dtype.

        Random numbers that the loss draws are those that it draws in `dtype`.

        Raises:
            ValueError: if the loss raises, or returns no number.
        """
        try:
            dtype = self.drawn_in(params, batch, dtype)
            if self.traceable:
                return self._weighed(params, batch, dtype)
            return self.by_differences(params, batch)
        except ValueError as error:
            if str(error).startswith("it "):
                raise ValueError(f"the loss cannot be differentiated: {error}") from error
            raise ValueError(self._failure(error)) from error
        except Exception as error:
            raise ValueError(self._failure(error)) from error

    def _failure(self, error: Exception) -> str:
        says = f"{type(error).__name__}: {first_line(error)}{where(error, self.loss)}"
        return f"the loss cannot be differentiated: {says}"

    def drawn_in(self, params: Any, batch: Any, dtype: str) -> str:
        """The dtype in which to trace: its own for a loss that draws random numbers."""
        program = self.program("loss", params, batch)
        if program is None and self._asked and self.traceable:
            raise ValueError("it takes other cases, but not this one")  # such as a part of one
        if program is None:
            self.traceable = False
        elif (count := len(program.out_avals)) != 1:
            raise ValueError(f"it returns {count or 'no'} values, and has to return one number")
        elif not jnp.issubdtype(program.out_avals[0].dtype, jnp.inexact):
            raise ValueError(f"it returns {program.out_avals[0].dtype}: return a real number")
        elif jnp.issubdtype(program.out_avals[0].dtype, jnp.complexfloating):
            raise ValueError("it returns a complex number: take its real part, or its size")
        elif (shape := program.out_avals[0].shape) != ():
            raise ValueError(f"it {no_number(shape)}")
        if not self._asked and program is not None:
            self._declare(program)
        if not (self._asked and self.traceable):
            self._check_same(params, batch)
            self._asked = True
        return dtype if program is not None and is_random(program.jaxpr) else "float64"

    def _declare(self, program: Any) -> None:
        """Say which rules are taken as they are, and which of those declared are not there."""
        names = rules_in(program.jaxpr)
        for name in self.intended:
            if name in names:
                says = f"the rule of {name} is taken as it is, as intended= declares"
                self.findings[f"intended {name}"] = Finding("on purpose", says, False)
            else:
                there = f"it meets {', '.join(names)}" if names else "it meets none"
                says = f"intended= names {name}, but the loss meets no such rule: {there}"
                self.findings[f"intended {name}"] = Finding("no such rule", says, False)

    def spread(
        self, params: Any, batch: Any, dtype: str, unit: float, like: Sequence[Array]
    ) -> list[Array]:
        """How far roundings of size `unit` may put the leaves; 0 where nobody knows.

        Args:
            params, batch, dtype: as in `at`.
            unit: half the distance from 1 to the next number.
            like: the leaves.
        """
        dtype = self.drawn_in(params, batch, dtype)
        if self.traceable:
            program = self._gradient_program(params, batch, dtype)
            if program is None:
                return [np.zeros_like(leaf) for leaf in like]
            leaves = jax.tree.leaves((params, batch))
            spread = rounding_spread(program, leaves, unit, dtype != "float64")
            return [np.where(np.isfinite(each), each, 0.0) for each in spread]
        if unit < np.finfo(np.float32).eps:
            return [np.zeros_like(leaf) for leaf in like]  # the differences' error is larger
        moves = (moved((params, batch), seed, unit, 0.0) for seed in range(4))
        others = [[each.value for each in self.at(*each)] for each in moves]
        columns = zip(like, *others, strict=True)
        return [np.abs(np.stack(each) - leaf[None]).max(axis=0) for leaf, *each in columns]

    def _check_same(self, params: Any, batch: Any) -> None:
        """Raise ValueError if the loss has another value when it is called again."""
        values = []
        for _ in range(2):
            if self.traceable:
                program = self._traced("loss", params, batch, "float64")
                values.append(float(Machine()(program, *jax.tree.leaves((params, batch)))[0]))
            else:
                values.append(self.value(params, batch)(ravel(params)[0]))
        if not np.array_equal(*values, equal_nan=True):
            raise ValueError(
                f"it is {values[0]:.6g} when it is called, and {values[1]:.6g} when it is called "
                "again: draw random numbers by a key in the batch, or set NumPy's seed first"
            )

    def _weighed(self, params: Any, batch: Any, dtype: str) -> list[Estimate]:
        """What the witnesses say, where they agree; else what differences hold to be right."""
        program = self.program("gradient", params, batch, dtype)
        leaves = jax.tree.leaves((params, batch))
        machine = Machine(dtype != "float64")
        voices = {}
        if isinstance(program, Exception):
            self._note("rule", f"jax.grad of the loss raises {first_line(program)}", False)
        else:
            voices["jax.grad"] = as_row(machine(program, *leaves))
        loss = self.program("loss", params, batch, dtype)
        assert loss is not None  # else it is not traceable
        ruled = has_rules(loss.jaxpr, self.intended)
        if ruled or not voices:
            plain = self.program("plain gradient", params, batch, dtype)
            if plain is not None:
                voices["without rules"] = as_row(machine(plain, *leaves))
        if not voices:
            return self.by_differences(params, batch)
        if self.misled and len(voices) > 1 and np.isfinite(voices["without rules"]).all():
            del voices["jax.grad"]
        _, unravel = ravel(params)
        first = next(iter(voices.values()))
        estimate = Estimate(first.copy(), np.zeros_like(first))
        if not (self.intended and has_rules(loss.jaxpr) and not ruled):
            given, doubted = (params, batch, dtype), _doubted(voices)
            meant = any(name in self.intended for name in rules_in(loss.jaxpr))
            refuted = not (meant or doubted.any()) and self._is_refuted(given, first)
            unknown = ~np.isfinite(list(voices.values())).any(axis=0)
            if (refuted or unknown.any()) and (forward := self._forward(given)) is not None:
                voices["forward mode"] = forward
                doubted = _doubted(voices)
            if refuted and not doubted.any():
                doubted[:] = True
            if doubted.any():
                estimate = self._decided(given, voices, doubted)
        pairs = zip(*(jax.tree.leaves(unravel(each)) for each in estimate), strict=True)
        return [Estimate(np.asarray(value), np.asarray(error)) for value, error in pairs]

    def is_slow(self, params: Any, batch: Any) -> bool:
        """Whether a loss that is not JAX takes too long to move every parameter by itself."""
        try:
            self.drawn_in(params, batch, "float64")
        except Exception:  # which `at` tells
            return False
        return not self.traceable and self._many(params, batch) > 0

    def _many(self, params: Any, batch: Any) -> int:
        """Along how many directions each leaf is looked at; 0 if every parameter is moved."""
        flat, _ = ravel(params)
        if len(flat) not in self._directions:
            value, start = self.value(params, batch), time.perf_counter()
            value(flat)
            slopes = PATIENCE / ((time.perf_counter() - start) * EVALUATIONS)
            each = int(slopes / len(jax.tree.leaves(params)))
            few = min(max(1, each), DIRECTIONS)
            self._directions[len(flat)] = 0 if len(flat) <= slopes else few
        if many := self._directions[len(flat)]:
            along = "a random direction" if many == 1 else f"{many} random directions"
            says = (
                f"the loss is not JAX, and takes too long to move each of {len(flat):,} parameters "
                f"by itself: each leaf is compared along {along}, which shows that it is wrong, "
                "but not where"
            )
            self._note(ALONG, says, False)
        return many

    def along_directions(self, params: Any, batch: Any) -> list[tuple[Array, list[Slope]]]:
        """For every leaf some random directions, and the slopes along them."""
        flat, _ = ravel(params)
        value, rng, start, found = self.value(params, batch), np.random.default_rng(0), 0, []
        many = self._many(params, batch)
        for leaf in jax.tree.leaves(params):
            size = np.size(leaf)
            rows = np.zeros((min(many, size), len(flat)))
            rows[:, start : start + size] = rng.normal(size=(len(rows), size)) / size**0.5
            slopes = [slope_along(value, flat, row, quick=True) for row in rows]
            found.append((rows[:, start : start + size], slopes))
            start += size
        return found


def _doubted(voices: dict[str, Array]) -> Array:
    """The entries about which voices differ, or of which the first one has no number."""
    first = next(iter(voices.values()))
    doubted = ~np.isfinite(first)
    for other in voices.values():
        doubted |= ~(np.abs(other - first) <= SAME * np.abs(first).max(initial=0))
    return doubted
