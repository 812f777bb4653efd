"""Naming what a forward pass computes on its way, so that derivatives there can be checked.

    def loss(params, batch):
        h = tap("h", jnp.tanh(batch.x @ params["W"]))
        ...

Outside of a check, `tap` gives back its value and does nothing else.
"""

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.oracles import as_float64

_active: ContextVar["_Pass | None"] = ContextVar("jaxmlp_taps", default=None)


def tap(name: str, value: Any) -> Any:
    """Give an intermediate of a loss a name, under which a check can find and perturb it."""
    current = _active.get()
    return value if current is None else current.visit(name, value)


class _Pass:
    """One forward pass under perturbations, by name."""

    def __init__(self, shifts: Mapping[str, Any]):
        self.shifts = shifts
        self.computed: dict[str, Any] = {}

    def visit(self, name: str, value: Any) -> Any:
        if name in self.computed:
            raise ValueError(f"tap {name!r} is reached twice: give each intermediate its own name")
        self.computed[name] = value
        return value + self.shifts[name] if name in self.shifts else value


@contextmanager
def _passing(current: _Pass):
    token = _active.set(current)
    try:
        yield current
    finally:
        _active.reset(token)


def true_lines(loss: Callable[..., Any], params: Any, batch: Any) -> tuple[dict, dict, Any]:
    """The value of every tap, the derivative of the loss there, and the gradient, in float64."""
    with jax.enable_x64(True):
        params, batch = as_float64((params, batch))
        shapes = jax.eval_shape(lambda params: _run(loss, params, batch, {})[1], params)
        zeros = {name: jnp.zeros(value.shape, value.dtype) for name, value in shapes.items()}

        def total(shifts: Any, params: Any) -> Any:
            return _run(loss, params, batch, shifts)

        (shifts, grad), computed = jax.grad(total, argnums=(0, 1), has_aux=True)(zeros, params)
        return jax.tree.map(np.asarray, (computed, shifts, grad))


def _run(loss: Callable[..., Any], params: Any, batch: Any, shifts: Mapping[str, Any]):
    with _passing(_Pass(shifts)) as current:
        return loss(params, batch), current.computed
