"""Activations, each with its derivative written by hand directly below it.

A derivative takes both z and h = f(z), since several are cheapest in terms of h.
Numbers in parentheses are equations of `derivation.md`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Units = Float[Array, "n width"]


class Activation(NamedTuple):
    """A function f, applied to every entry, and its derivative f'."""

    value: Callable[[Units], Units]
    derivative: Callable[[Units, Units], Units]


def relu(z: Units) -> Units:
    """max(z, 0), written so that NaN stays NaN and JAX's own derivative at 0 is 0 (22)."""
    return jnp.where(z <= 0, 0.0, z)


def relu_derivative(z: Units, h: Units) -> Units:
    """1[z > 0] (17). Tested on h, which is positive exactly where z is, so z need not be kept."""
    return (h > 0).astype(z.dtype)


def tanh(z: Units) -> Units:
    """The hyperbolic tangent."""
    return jnp.tanh(z)


def tanh_derivative(z: Units, h: Units) -> Units:
    """1 − tanh²z (18), as a product, which loses less near saturation."""
    return (1 - h) * (1 + h)


def sigmoid(z: Units) -> Units:
    """1 / (1 + exp(−z))."""
    return lax.logistic(z)


def sigmoid_derivative(z: Units, h: Units) -> Units:
    """σ(z)(1 − σ(z)) (19)."""
    return h * (1 - h)


def gelu(z: Units) -> Units:
    """z Φ(z), the exact form, with Φ the normal distribution function (Hendrycks and Gimpel)."""
    return z * _normal_cdf(z)


def gelu_derivative(z: Units, h: Units) -> Units:
    """Φ(z) + z φ(z) (20), with φ = Φ' the normal density."""
    x = -z / 2**0.5  # as for erfc, so that XLA finds the exponential for both at once
    density = jnp.exp(-(x * x)) / (2 * jnp.pi) ** 0.5
    return _normal_cdf(z) + z * density


def _normal_cdf(z: Units) -> Units:
    """Φ(z). By erfc rather than 1 + erf, which would cancel for negative z."""
    return lax.erfc(-z / 2**0.5) / 2


def identity(z: Units) -> Units:
    """z itself: the network is then linear."""
    return z


def identity_derivative(z: Units, h: Units) -> Units:
    """1 (21)."""
    return jnp.ones_like(z)


ACTIVATIONS = {
    "relu": Activation(relu, relu_derivative),
    "tanh": Activation(tanh, tanh_derivative),
    "sigmoid": Activation(sigmoid, sigmoid_derivative),
    "gelu": Activation(gelu, gelu_derivative),
    "identity": Activation(identity, identity_derivative),
}


def get_activation(name: str) -> Activation:
    """The activation called `name`, or a ValueError that lists the names there are."""
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}: choose one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
