"""L-BFGS on all examples at once, by SciPy: scikit-learn's solver for few examples."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax.flatten_util import ravel_pytree
from sklearn.exceptions import ConvergenceWarning

from jaxmlp.data import Batch
from jaxmlp.gradient import manual_value_and_grad
from jaxmlp.params import Layer
from jaxmlp.results import Metrics
from jaxmlp.sweeps.together import Fit, Job

LIMIT = 1  # SciPy's status where the steps or the gradients were used up


def minimize(job: Job, max_iter: int, max_fun: int, tol: float) -> Fit:
    """Minimize the loss on all examples and the penalty on the weights (Liu and Nocedal 1989).

    Args:
        job: of which the optimizer, its numbers and the batches do not count.
        max_iter, max_fun: how many steps, and how many gradients, at most.
        tol: the largest slope at which it ends.

    Returns:
        The parameters, and as losses those after every step, with the penalty.
    """
    config, decay = job.config, float(job.hyper.weight_decay)
    losses: list[float] = []
    # in float64, as a line search in float32 ends where rounding hides the slope
    with jax.enable_x64(True):
        before, layers_of = ravel_pytree(jax.tree.map(np.float64, job.params))
        batch = jax.device_put(_in_float64(job.examples.train))
        weights = job.examples.weights.astype(np.float64)
        weights = jax.device_put(weights * (len(weights) / weights.sum()))  # a mean over them (38)

        def with_slopes(numbers: Any) -> tuple[float, np.ndarray]:
            layers = layers_of(numbers)
            value, grad = manual_value_and_grad(
                layers, batch, weights=weights, activation=config.activation, loss=config.loss
            )
            penalty = decay / 2 * sum(float(jnp.sum(layer.weight**2)) for layer in layers)
            slopes = [
                Layer(slope.weight + decay * layer.weight, slope.bias)
                for slope, layer in zip(grad, layers, strict=True)
            ]
            return float(value) + penalty, np.asarray(ravel_pytree(slopes)[0])

        def after_step(intermediate_result: Any) -> None:
            losses.append(float(intermediate_result.fun))

        found = scipy.optimize.minimize(
            with_slopes,
            np.asarray(before),
            method="L-BFGS-B",
            jac=True,
            callback=after_step,
            options={"maxiter": max_iter, "maxfun": max_fun, "gtol": tol},
        )
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), layers_of(found.x))
    if found.status == LIMIT and np.abs(found.jac).max() > tol:
        warnings.warn(
            f"lbfgs ended after {found.nit} steps and {found.nfev} gradients, of max_iter "
            f"{max_iter} and max_fun {max_fun}, before its slope was {tol:g}: give more",
            ConvergenceWarning,
            stacklevel=4,  # of who calls `fit`
        )
    curve: Any = np.asarray(losses or [found.fun])
    return Fit(params, Metrics(curve, curve, curve), [])


def _in_float64(batch: Batch) -> Batch:
    """Classes stay integers."""
    x, labels = map(np.asarray, batch)
    return Batch(x.astype(np.float64), labels if labels.ndim == 1 else labels.astype(np.float64))
