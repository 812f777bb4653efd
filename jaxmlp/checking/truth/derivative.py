"""The derivative of a loss, as witnesses have it that know nothing of each other.

At every case: JAX's derivative, with the rules that the loss brings along; JAX's derivative of
the program without these rules; its forward mode along a direction; and differences of the loss
along that direction. Where they do not agree, differences decide, entry by entry.
"""

import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.calls import first_line, where
from jaxmlp.checking.cases import moved
from jaxmlp.checking.programs.execution import Machine
from jaxmlp.checking.programs.interpreter import is_random
from jaxmlp.checking.programs.random_rounding import rounding_spread
from jaxmlp.checking.programs.rules import has_rules, rules_met
from jaxmlp.checking.truth.differences import Estimate, Slope, slope_along
from jaxmlp.checking.truth.programs import Programs
from jaxmlp.checking.truth.trees import as_row, entry_names, no_number, ravel

Given = tuple[Any, Any, str]  # parameters, a batch, and the dtype in which to trace
SAME = 1e-9  # of a leaf's largest entry: two voices that differ by less agree
WRONG_RULE = 1e-6  # relative difference from which a rule counts as another derivative
BESIDE = 1e-2  # how far beside a kink to look
ENTRIES = 400  # that are looked at by differences where voices disagree
PATIENCE = 5.0  # seconds for differences, after which only the first cases have had them
EVALUATIONS = 17  # of a loss for a slope, as a rule
DIRECTIONS = 8  # for each leaf, where its entries are too many


class Derivative(Programs):
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
        elif (shape := program.out_avals[0].shape) != ():
            raise ValueError(f"it {no_number(shape)}")
        if not self._asked:
            self._check_same(params, batch)
            self._asked = True
        return dtype if program is not None and is_random(program.jaxpr) else "float64"

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
                "again: draw random numbers by a key in the batch"
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
        doubted = ~np.isfinite(first)
        for other in voices.values():
            doubted |= ~(np.abs(other - first) <= SAME * np.abs(first).max(initial=0))
        estimate = Estimate(first.copy(), np.zeros_like(first))
        if not (self.intended and has_rules(loss.jaxpr) and not ruled):
            given = (params, batch, dtype)
            if not doubted.any() and self._is_refuted(given, first):
                doubted[:] = True
            if doubted.any():
                estimate = self._decided(given, voices, doubted)
        pairs = zip(*(jax.tree.leaves(unravel(each)) for each in estimate), strict=True)
        return [Estimate(np.asarray(value), np.asarray(error)) for value, error in pairs]

    def _is_refuted(self, given: Given, gradient: Array) -> bool:
        """Whether forward mode or differences along a direction are against a gradient.

        At a kink, which has no slope, both are asked a little beside it.
        """
        if self.seconds > PATIENCE:
            return False
        start = time.perf_counter()
        params, batch, dtype = given
        flat, unravel = ravel(params)
        direction = np.random.default_rng(self.looked).normal(size=flat.shape)
        direction /= np.linalg.norm(direction) or 1.0
        against = False
        for _ in range(2):
            slope = slope_along(self.value(*given), flat, direction, quick=True)
            against = slope.refutes(float(gradient @ direction))
            if not slope.kink:
                break
            params = moved(params, self.looked, BESIDE, BESIDE)
            flat, unravel = ravel(params)
            given = (params, batch, dtype)
            gradient = self._gradient(given)
        self.looked += 1
        self.seconds += time.perf_counter() - start
        return against or self._modes_differ(given, gradient, unravel(direction), direction)

    def _gradient(self, given: Given) -> Array:
        """JAX's gradient, as a row; without rules where they are known to be wrong."""
        program = self._gradient_program(*given, plain=self.misled)
        return as_row(Machine(given[2] != "float64")(program, *jax.tree.leaves(given[:2])))

    def _modes_differ(self, given: Given, gradient: Array, along: Any, row: Array) -> bool:
        """Whether the forward mode has another derivative than the reverse mode."""
        loss = self.program("loss", *given)
        ruled = self.product or has_rules(loss.jaxpr)  # which may be for the reverse mode only
        program = self.program("plain forward" if ruled else "forward", *given)
        if program is None:
            return False
        machine = Machine(given[2] != "float64")
        (ahead,) = machine(program, *jax.tree.leaves((*given[:2], along)))
        size = float(np.abs(gradient) @ np.abs(row))
        return not abs(float(ahead) - float(gradient @ row)) <= SAME * size

    def _decided(self, given: Given, voices: dict[str, Array], doubted: Array) -> Estimate:
        """The first voice, but where differences are against it, the next, or differences."""
        flat, _ = ravel(given[0])
        first = next(iter(voices.values()))
        value, error = first.copy(), np.zeros_like(first)
        of, start, wrong = self.value(*given), time.perf_counter(), []
        for place in np.flatnonzero(doubted)[:ENTRIES]:
            if time.perf_counter() - start > PATIENCE:
                break
            unit = np.zeros_like(flat)
            unit[place] = 1.0
            slope = slope_along(of, flat, unit, quick=True)
            said = [float(v[place]) for v in voices.values() if np.isfinite(v[place])]
            held = [each for each in said if not slope.refutes(each)]
            if held:
                value[place] = held[0]
            elif not slope.kink and np.isfinite(slope.value):
                value[place], error[place] = slope.value, slope.error
            if np.isfinite(first[place]) and slope.refutes(float(first[place])):
                wrong.append((int(place), float(first[place]), slope))
        if wrong and "jax.grad" in voices:
            self._blame(given, wrong)
            plain = voices.get("without rules")
            self.misled = plain is not None and bool(np.all((value == plain) | ~doubted))
        return Estimate(value, error)

    def _blame(self, given: Given, wrong: list[tuple[int, float, Slope]]) -> None:
        """Say that JAX's gradient of the loss is wrong, and because of which rule."""
        params, batch, dtype = given
        place, said, slope = max(wrong, key=lambda each: abs(each[1] - each[2].value))
        where = entry_names(params, self.prefix)[place]
        numbers = f"{where} is {said:.6g} by JAX, and {slope.value:.6g} by differences of the loss"
        if self.product:  # of a loss of (params, (batch, v)), whose rules are those of the loss
            inner = Derivative(self.loss)
            program, leaves = inner.program("loss", params, batch[0], dtype), (params, batch[0])
        else:
            program, leaves = self.program("loss", params, batch, dtype), (params, batch)
        met = rules_met(program, jax.tree.leaves(leaves), self.intended)
        rules = [rule for rule in met if not rule.off <= WRONG_RULE]
        names = " and ".join(map(str, rules or met))
        meant = "if that is meant, declare it by intended="
        if rules:
            says = (
                f"the rule of {names} is not the derivative of what it computes, so that jax.grad "
                f"of the loss is wrong: {numbers}; {meant}"
            )
        elif met and self.product:
            says = (
                f"the rule of {names} is right, but its own derivative is not, so that JAX's "
                f"second derivative of the loss is wrong: {numbers}; {meant}"
            )
        else:
            says = f"jax.grad of the loss is not its derivative here: {numbers}"
        self._note(
            "wrong rule" if rules or (met and self.product) else "wrong jax.grad", says, False
        )

    def is_slow(self, params: Any, batch: Any) -> bool:
        """Whether a loss that is not JAX takes too long to move every parameter by itself."""
        try:
            self.drawn_in(params, batch, "float64")
        except Exception:  # which `at` tells
            return False
        if self.traceable:
            return False
        flat, _ = ravel(params)
        if len(flat) not in self._slow:
            value, start = self.value(params, batch), time.perf_counter()
            value(flat)
            seconds = (time.perf_counter() - start) * len(flat) * EVALUATIONS
            self._slow[len(flat)] = seconds > PATIENCE
        if slow := self._slow[len(flat)]:
            says = (
                f"the loss is not JAX, and takes too long to move each of {len(flat):,} parameters "
                f"by itself: each leaf is compared along {DIRECTIONS} random directions, which "
                "shows that it is wrong, but not where"
            )
            self._note("directions", says, False)
        return slow

    def along_directions(self, params: Any, batch: Any) -> list[tuple[Array, list[Slope]]]:
        """For every leaf some random directions, and the slopes along them."""
        flat, _ = ravel(params)
        value, rng, start, found = self.value(params, batch), np.random.default_rng(0), 0, []
        for leaf in jax.tree.leaves(params):
            rows = np.zeros((DIRECTIONS, len(flat)))
            size = np.size(leaf)
            rows[:, start : start + size] = rng.normal(size=(DIRECTIONS, size)) / size**0.5
            slopes = [slope_along(value, flat, row, quick=True) for row in rows]
            found.append((rows[:, start : start + size], slopes))
            start += size
        return found
