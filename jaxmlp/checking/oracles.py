"""Independent ways to the true gradient, all in float64, to be compared with one another."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.calls import where
from jaxmlp.checking.cases import moved
from jaxmlp.checking.trials import Trial, nonzero
from jaxmlp.checking.truth.derivative import Derivative
from jaxmlp.checking.truth.differences import slope_along, taylor_order
from jaxmlp.checking.truth.trees import Loss, ravel
from jaxmlp.checking.truth.witnesses import BESIDE
from jaxmlp.importing import first_line


def complex_step(loss: Loss, params: Any, batch: Any) -> list[Array] | None:
    """Im loss(θ + ih) / h for every entry: exact to rounding where the loss is analytic.

    None if the loss does not take complex parameters (Squire and Trapp 1998).
    """
    flat, unravel = ravel(params)
    step = 1e-30
    columns = []
    try:
        with jax.enable_x64(True), np.errstate(all="ignore"):
            for place in range(len(flat)):
                moved = flat.astype(complex)
                moved[place] += 1j * step
                value = loss(unravel(moved), batch)
                if not np.iscomplexobj(value):
                    return None
                columns.append(complex(value).imag / step)
    except Exception:  # whatever a foreign loss raises for numbers that it was not written for
        return None
    return [np.asarray(leaf) for leaf in jax.tree.leaves(unravel(np.asarray(columns)))]


class Oracle(NamedTuple):
    """One way to the gradient, beside `jax.grad` in float64.

    Attributes:
        name: of the way.
        difference: the largest difference of an entry, relative to the largest entry; for the
            Taylor test, the order found.
        agrees: whether that is no more than the way's own error; for the Taylor test, order 2.
    """

    name: str
    difference: float
    agrees: bool

    def __str__(self) -> str:
        """Such as central differences 3e-11."""
        order = f"{self.difference:.2f}" if np.isfinite(self.difference) else "∞ (linear)"
        by = order if self.name == TAYLOR else f"{self.difference:.0e}"
        return f"{self.name} {by}{'' if self.agrees else ' ✗'}"


TAYLOR = "Taylor order"
ENOUGH = 1_000  # parameters up to which every one is moved by itself
PROBES = 3  # cases on which the oracles are compared, until they agree
FEW = 100  # parameters of the networks and models on which they are


def compare_oracles(loss: Loss, params: Any, batch: Any, plain: Loss | None = None) -> list[Oracle]:
    """The gradient of a loss by ways that know nothing of each other.

    Args:
        loss: takes (params, batch), returns a scalar, and can be traced by JAX.
        params: any tree of real arrays; beyond 1000 numbers only the Taylor test is made.
        batch: whatever the loss takes.
        plain: the same loss in NumPy, for the complex step, if the loss itself cannot take complex
            numbers.

    Returns:
        Central differences, the order of the Taylor remainder, and the complex step where the
        loss is analytic, each compared with `jax.grad` in float64.

    Raises:
        ValueError: if the loss raises, or returns no number.
    """
    derivative = Derivative(loss)
    try:
        leaves = derivative.by_jax(params, batch)
        return compare(derivative, params, batch, leaves, plain or loss)
    except Exception as error:
        says = f"{type(error).__name__}: {first_line(error)}{where(error, loss)}"
        raise ValueError(f"the loss cannot be differentiated: {says}") from error


def compare(
    derivative: Derivative, params: Any, batch: Any, leaves: list[Array], plain: Loss
) -> list[Oracle]:
    """The same for leaves that are held to be the derivative."""
    flat, _ = ravel(params)
    gradient = np.concatenate([np.ravel(leaf) for leaf in leaves])
    size = float(np.abs(gradient).max(initial=0)) or 1.0
    value = derivative.value(params, batch)
    oracles = []
    if small := len(flat) <= ENOUGH:
        slopes = [slope_along(value, flat, unit, quick=True) for unit in np.eye(len(flat))]
        off = [abs(slope.value - each) for slope, each in zip(slopes, gradient, strict=True)]
        agrees = not any(
            slope.kink or slope.refutes(each) for slope, each in zip(slopes, gradient, strict=True)
        )
        oracles.append(Oracle("central differences", max(off, default=0.0) / size, agrees))
    direction = np.random.default_rng(0).normal(size=flat.shape)
    order = taylor_order(value, flat, gradient, direction / (np.linalg.norm(direction) or 1.0))
    oracles.append(Oracle(TAYLOR, order, order > 1.8))
    if small and (exact := complex_step(plain, params, batch)):
        by = _most([np.abs(e - leaf) for e, leaf in zip(exact, leaves, strict=True)]) / size
        # where all others agree but this one, the loss is not analytic: it holds |z| or Re z
        if by < 1e-10 or (by < 1e-3 and not all(oracle.agrees for oracle in oracles)):
            oracles.append(Oracle("complex step", by, by < 1e-10))
    return oracles


def _most(arrays: list[Array]) -> float:
    return max((float(array.max(initial=0)) for array in arrays), default=0.0)


def oracles(model: Any, trials: Sequence[Trial]) -> list[Oracle]:
    """Independent ways to the gradient, on a case where they agree, or a little beside one."""
    if not model.traceable or model.derivative.intended:
        return []  # nothing to compare with, or a derivative that is none on purpose
    smooth = [t for t in trials if t.leaves and t.case.kind == "dense" and _size(t) < FEW]
    found: list[Oracle] = []
    for trial in sorted(smooth, key=nonzero, reverse=True)[:PROBES]:
        params, batch = trial.case.params, trial.case.batch
        for _ in range(2):
            truth = model.expected(params, batch)
            found = compare(model.derivative, params, batch, truth, model.plain_loss)
            if all(oracle.agrees for oracle in found):
                return found
            params = moved(params, 0, BESIDE, BESIDE)  # no kink is likely to be there
    return found


def _size(trial: Trial) -> int:
    return sum(leaf.expected.size for leaf in trial.leaves)
