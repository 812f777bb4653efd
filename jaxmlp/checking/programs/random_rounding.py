"""Rounding error of any program, by randomly rounding every operation of it.

Where no derivation is at hand there is no running error analysis either. So the program is run
several times with every result, every factor and term of a sum, and every matrix that is
factorized, off by a random relative error of the size of a rounding. What its values then spread
by is how well conditioned it is (Monte Carlo arithmetic: Parker, Pierce and Eggert 2000).
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.programs.execution import Machine

SAMPLES = 16
SCALED = 2.0**-43  # large enough for float64 to be exact beside it
# Between the largest spread seen and what is allowed: a gradient that is organised in another way
# may well lose ten times as much as `jax.grad`, as the forward and backward passes of a hidden
# Markov model do that work with logarithms of probabilities.
SAFETY = 64.0
SUMS = {
    "dot_general", "conv_general_dilated", "reduce_sum", "cumsum", "reduce_prod", "cumprod",
    "lu", "cholesky", "triangular_solve", "eigh", "eig", "svd", "geqrf", "custom_linear_solve",
}  # fmt: skip
WHOLE = {"add", "sub", "mul", "dot_general", "reduce_sum", "add_any", "integer_pow", "cumsum"}
EXACT = {
    "broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "slice", "dynamic_slice",
    "concatenate", "pad", "rev", "select_n", "neg", "abs", "sign", "max", "min", "gather", "sort",
    "reduce_max", "reduce_min", "stop_gradient", "copy", "convert_element_type", "argmax", "argmin",
    "floor", "ceil", "round", "clamp", "split", "copy_p", "real", "imag", "iota",
}  # fmt: skip


class _Rounding(Machine):
    """Executes a program whose every result is off by up to `size` of it."""

    def __init__(self, size: float, seed: int, wide: bool) -> None:
        super().__init__(wide)
        self.size, self.rng = size, np.random.default_rng(seed)

    def operation(self, equation: Any, values: list[Any]) -> list[Any]:
        """One operation; sums and products of whole numbers are exact."""
        name = equation.primitive.name
        exact = name in WHOLE and all(map(_is_whole, values))
        if name in SUMS and not exact:
            values = [self.rounded(value) for value in values]
        results = super().operation(equation, values)
        return results if exact or name in EXACT else [self.rounded(each) for each in results]

    def rounded(self, value: Any) -> Any:
        """A value as rounding may leave it; in fewer digits if the program itself has fewer."""
        if not jnp.issubdtype(value.dtype, jnp.floating):
            return value
        fewer = 0.0 if value.dtype == np.float64 else float(jnp.finfo(value.dtype).eps)
        numbers = max(self.size, fewer) * self.rng.uniform(-1, 1, np.shape(value))
        return np.asarray(value * (1 + numbers)).astype(value.dtype)


def _is_whole(value: Any) -> bool:
    """Whether all numbers are whole sixteenths: then their sums and products are exact."""
    if not jnp.issubdtype(value.dtype, jnp.floating):
        return True
    scaled = 16 * np.asarray(value, np.float64)
    return bool(np.all(scaled == np.rint(scaled)))


def rounding_spread(
    program: ClosedJaxpr, leaves: Sequence[Any], unit: float, wide: bool = False
) -> list[Array]:
    """The largest change of every result of a program under roundings of size `unit`.

    Roundings of float64's own size would themselves be rounded. So larger ones are tried too,
    and their effect scaled down; but only the small ones say what flips at a kink nearby.
    """
    exact = Machine(wide)(program, *leaves)
    enough = max(unit, SCALED)
    spreads = [[np.zeros(np.shape(each)) for each in exact] for _ in range(2)]
    for spread, size in zip(spreads, (unit, enough), strict=True):
        for seed in range(SAMPLES):
            rounded = _Rounding(size, seed, wide)(program, *leaves)
            with np.errstate(all="ignore"):
                for place, (one, other) in enumerate(zip(rounded, exact, strict=True)):
                    off = np.abs(np.asarray(one, np.float64) - other)
                    spread[place] = np.maximum(spread[place], off)
    pairs = zip(*spreads, strict=True)
    return [np.asarray(np.maximum(near, far * unit / enough)) for near, far in pairs]
