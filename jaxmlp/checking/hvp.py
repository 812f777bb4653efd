"""`check_hvp`: a Hessian-vector product as the gradient of ⟨∇loss, v⟩."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxmlp
from jaxmlp.checking.cases import FORMS, Case, check_settings, drawn, network_cases
from jaxmlp.checking.check import examine, with_activation
from jaxmlp.checking.network.shapes import SHAPES, Shape
from jaxmlp.checking.report import Report, demanding
from jaxmlp.checking.truth.trees import as_float64, no_number, not_jax
from jaxmlp.losses import cross_entropy
from jaxmlp.network import forward

TINIEST = Shape((1, 1, 2), False, 1)  # whose numbers can be followed by hand


def examine_hvp(
    manual_hvp: Callable[..., Any],
    loss: Callable[..., Any] = jaxmlp.loss,
    *,
    cases: Any = None,
    activation: str = "relu",
    shapes: Sequence[Shape] = SHAPES[:3],
    labels: Sequence[str] = FORMS,
    dtypes: Sequence[str] = ("float64",),
    at_kink: str = "zero",
    intended: Any = (),
    examples: int = 30,
    seed: int = 0,
) -> Report:
    """Check a Hessian-vector product, entry by entry, against JAX's derivative of its gradient.

    Args:
        manual_hvp: takes (params, batch, v), v a tree like params, and returns a tree like params:
            the Hessian of the loss in the parameters, times v.
        loss: takes (params, batch) and returns a scalar.
        cases: for another model, a Hypothesis strategy of pairs (params, batch), or a list; the
            directions v are drawn for them.
        activation: of our networks; handed to either function if it has such a keyword.
        shapes: of our networks.
        labels: of our networks: classes, rows or both.
        dtypes: of the parameters and directions.
        at_kink: as in `check_gradient`. Where a ReLU bends, its second derivative counts as 0.
        intended: as in `check_gradient`.
        examples: how many cases to draw from a strategy.
        seed: of all numbers.

    Returns:
        The report; `examine_hvp` gives it back whether the product is right or wrong.

    Raises:
        GradientMismatch: from `check_hvp`, if the product is wrong, with the report.
    """
    check_settings(activation, shapes, labels, dtypes)
    networks = cases is None
    if networks:
        biases = sorted({shape.bias for shape in shapes})
        tiny = [replace(TINIEST, bias=bias) for bias in biases]
        small = network_cases(tiny, np.float64, seed, labels)
        tiniest = [case for case in small if case.kind == "dense"]  # to be shown, if it is wrong
        tried = [*tiniest, *network_cases(shapes, np.float64, seed, labels)]
    else:
        tried = drawn(cases, examples, seed)
    rng = np.random.default_rng(seed)
    directed = [
        replace(case, batch=(case.batch, _direction(case.params, rng)), shape=None)
        for case in tried
    ]
    loss = with_activation(loss, activation)
    _require_jax(loss, directed[0])
    hvp = with_activation(manual_hvp, activation)
    known = {
        "the gradient itself, not its derivative along v": lambda params, batch: jax.grad(loss)(
            params, batch[0]
        ),
        "v itself": lambda params, batch: batch[1],
    }
    if networks:
        known["the Gauss–Newton product: the second derivative of the network is left out"] = (
            functools.partial(_gauss_newton, activation)
        )
    return examine(
        functools.wraps(manual_hvp)(lambda params, batch: hvp(params, *batch)),
        loss, cases=directed, dtypes=dtypes, at_kink=at_kink, seed=seed, known=known,
        intended=intended, along=_along,
    )  # fmt: skip


check_hvp = demanding(examine_hvp, "check_hvp")


def _require_jax(loss: Callable[..., Any], case: Case) -> None:
    """Raise ValueError if a loss is no number, or JAX cannot trace it, as it has to twice."""
    with jax.enable_x64(True):
        arguments = as_float64((case.params, case.batch[0]))
        try:
            shape = jax.eval_shape(lambda *each: jnp.asarray(loss(*each)), *arguments).shape
        except jax.errors.JAXTypeError as error:
            raise not_jax(loss, error, "its second derivative is JAX's") from None
    if shape != ():
        raise ValueError(f"the loss {no_number(shape)}")


def _along(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The derivative of a loss along v, as a loss of (params, (batch, v))."""

    def slope(params: Any, batch: Any) -> Any:
        inputs, v = batch
        products = jax.tree.map(lambda g, d: jnp.sum(g * d), jax.grad(loss)(params, inputs), v)
        return sum(jax.tree.leaves(products), jnp.zeros(()))

    return slope


def _direction(params: Any, rng: np.random.Generator) -> Any:
    return jax.tree.map(lambda leaf: rng.normal(size=np.shape(leaf)), params)


def _gauss_newton(activation: str, params: Any, batch: Any) -> Any:
    """Jᵀ H J v: J of the logits in the parameters, H of the loss in the logits."""
    inputs, v = batch

    def logits(params: Any) -> Any:
        return forward(params, inputs.x, activation=activation)

    def cost(z: Any) -> Any:
        return jnp.mean(cross_entropy(z, inputs.labels))

    z, along = jax.jvp(logits, (params,), (v,))
    _, curved = jax.jvp(jax.grad(cost), (z,), (along,))
    return jax.vjp(logits, params)[1](curved)[0]
