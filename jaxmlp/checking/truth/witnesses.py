"""Witnesses of a derivative that know nothing of each other, and what differences say of them."""

import time
from typing import Any

import jax
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.cases import moved
from jaxmlp.checking.programs.execution import Machine
from jaxmlp.checking.programs.random_rounding import SAFETY, rounding_spread
from jaxmlp.checking.programs.rules import has_rules, rules_met
from jaxmlp.checking.truth.differences import TRUST, Estimate, Slope, Value, slope_along
from jaxmlp.checking.truth.programs import Programs
from jaxmlp.checking.truth.trees import as_row, entry_names, ravel

Given = tuple[Any, Any, str]  # parameters, a batch, and the dtype in which to trace
SAME = 1e-9  # of a leaf's largest entry: two voices that differ by less agree
WRONG_RULE = 1e-6  # relative difference from which a rule counts as another derivative
BESIDE = 1e-2  # how far beside a kink to look
ENTRIES = 400  # that are looked at by differences where voices disagree
# of the processor, so that what else a machine does changes no verdict
PATIENCE = 5.0  # seconds for differences, after which only the first cases have had them
NOTHING = 1e-12  # below which nobody misses a digit
UNIT = float(np.finfo(np.float64).eps) / 2


class Witnesses(Programs):
    """The programs of a loss as witnesses of its derivative, and differences as the judge."""

    def _is_refuted(self, given: Given, gradient: Array) -> bool:
        """Whether forward mode or differences along a direction are against a gradient.

        At a kink, which has no slope, both are asked a little beside it.
        """
        if self.seconds > PATIENCE:
            return False
        start = time.process_time()
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
        self.seconds += time.process_time() - start
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

    def _forward(self, given: Given) -> Array | None:
        """The gradient by the forward mode, entry by entry; None if that takes long."""
        loss, start = self.program("loss", *given), time.process_time()
        ruled = self.product or has_rules(loss.jaxpr)
        program = self.program("plain forward" if ruled else "forward", *given)
        if program is None:
            return None
        flat, unravel = ravel(given[0])
        machine, unit, found = Machine(given[2] != "float64"), np.zeros_like(flat), flat.copy()
        for place in range(len(flat)):
            if time.process_time() - start > PATIENCE:
                return None
            unit[place] = 1.0
            (found[place],) = machine(program, *jax.tree.leaves((*given[:2], unravel(unit))))
            unit[place] = 0.0
        return found

    def _decided(self, given: Given, voices: dict[str, Array], doubted: Array) -> Estimate:
        """The first voice, but where differences are against it, the next, or differences.

        Of very many entries some are looked at, and the others are those of the first voice that
        is right in all of these.
        """
        flat, _ = ravel(given[0])
        first = next(iter(voices.values()))
        value, error = first.copy(), np.zeros_like(first)
        of, start, wrong = self.value(*given), time.process_time(), []
        places = np.random.default_rng(0).permutation(np.flatnonzero(doubted))
        numbers = np.asarray(np.isfinite([*voices.values()]).all(axis=0))
        places = places[np.argsort(numbers[places], kind="stable")]  # those without one come first
        trusted, left = dict(voices), doubted.copy()
        for place in places[:ENTRIES]:
            if time.process_time() - start > PATIENCE:
                break
            left[place] = False
            unit = np.zeros_like(flat)
            unit[place] = 1.0
            slope = slope_along(of, flat, unit, quick=True)
            said = {name: float(voice[place]) for name, voice in voices.items()}
            held = [n for n, s in said.items() if np.isfinite(s) and not slope.refutes(s)]
            refuted = {n for n, s in said.items() if np.isfinite(s) and slope.refutes(s)}
            trusted = {name: voice for name, voice in trusted.items() if name not in refuted}
            left[place] = slope.kink  # which refutes nobody
            if held:
                value[place] = said[held[0]]
            elif not slope.kink and np.isfinite(slope.value):
                value[place], error[place] = slope.value, slope.error
            if np.isfinite(first[place]) and slope.refutes(float(first[place])):
                wrong.append((int(place), float(first[place]), slope))
        asked = wrong and not self.intended and not left.any()  # what is meant is no slope at all
        if asked and self._has_none(of, flat, value, error):
            return Estimate(first.copy(), np.zeros_like(first))
        self._left_over(trusted, left, value)
        if wrong and "jax.grad" in voices:
            self._blame(given, wrong)
            self.misled = "without rules" in trusted
        return Estimate(value, error)

    def _has_none(self, of: Value, flat: Array, value: Array, error: Array) -> bool:
        """Whether there is no gradient, as at equal entries of a median: each entry's slope is 0.

        Then the slopes along other directions are not those that the entries' slopes add up to.
        """
        direction = np.random.default_rng(1).normal(size=flat.shape)
        slope = slope_along(of, flat, direction, quick=True)
        allowed = TRUST * (slope.error + float(error @ np.abs(direction)))
        return not slope.kink and bool(abs(slope.value - value @ direction) > allowed)

    def _left_over(self, trusted: dict[str, Array], left: Array, value: Array) -> None:
        """Set what was not looked at, by a voice that was right wherever one looked."""
        if not left.any():
            return
        for voice in trusted.values():
            there = left & np.isfinite(voice)
            value[there] = voice[there]
            left = left & ~there
        if not left.any() or trusted:
            return
        says = (
            f"the derivative in {int(left.sum()):,} of {len(left):,} entries is what jax.grad says "
            "there, though it is wrong in others: differences of the loss take too long"
        )
        self._note("not judged", says, False)

    def _blame(self, given: Given, wrong: list[tuple[int, float, Slope]]) -> None:
        """Say that JAX's gradient of the loss is wrong, and because of which rule."""
        params, batch, dtype = given
        place, said, slope = max(wrong, key=lambda each: abs(each[1] - each[2].value))
        name = entry_names(params, self.prefix)[place]
        digits = 6 if f"{said:.6g}" != f"{slope.value:.6g}" else 15
        by_differences = f"{slope.value:.{digits}g} by differences of the loss"
        numbers = f"{name} is {said:.{digits}g} by JAX, and {by_differences}"
        if self._is_rounding(given, wrong):
            if abs(said - slope.value) > NOTHING:
                says = f"rounding leaves few digits of what jax.grad makes of the loss: {numbers}"
                self._note("precision lost", says, False)
            return
        if self.product:  # of a loss of (params, (batch, v)), whose rules are those of the loss
            program = Programs(self.loss).program("loss", params, batch[0], dtype)
            leaves = jax.tree.leaves((params, batch[0]))
        else:
            program, leaves = self.program("loss", params, batch, dtype), given[:2]
        met = rules_met(program, jax.tree.leaves(leaves), self.intended)
        rules = [rule for rule in met if rule.beside > WRONG_RULE]  # at a kink others are off, too
        rules = rules or [rule for rule in met if not rule.off <= WRONG_RULE]
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

    def _is_rounding(self, given: Given, wrong: list[tuple[int, float, Slope]]) -> bool:
        """Whether rounding alone may make of JAX's gradient what it is."""
        program = self._gradient_program(*given)
        if program is None:
            return False
        leaves = jax.tree.leaves(given[:2])
        spread = as_row(rounding_spread(program, leaves, UNIT, given[2] != "float64"))
        return all(abs(s - slope.value) <= SAFETY * spread[i] for i, s, slope in wrong)
