"""Independent ways to the true gradient, all in float64, to be compared with one another."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.checking.calls import as_array, first_line, is_floating, where
from jaxmlp.checking.reference import Array

Loss = Callable[[Any, Any], Any]


class Estimate(NamedTuple):
    """A derivative as an oracle has it, and how far off it may be."""

    value: Array
    error: Array


class Truth:
    """`jax.grad` of a loss in float64; central differences of a loss that JAX cannot trace."""

    def __init__(self, loss: Loss) -> None:
        """The gradient of `loss(params, batch)`."""
        self.loss = loss
        self._grad = _compiled(loss)
        self.traceable = True

    def __call__(self, params: Any, batch: Any) -> list[Estimate]:
        """The leaves of the gradient at parameters of any float dtype.

        Raises:
            ValueError: if the loss raises, or returns no number.
        """
        try:
            return self._estimate(params, batch)
        except Exception as error:
            says = f"{type(error).__name__}: {first_line(error)}{where(error, self.loss)}"
            raise ValueError(f"the loss cannot be differentiated: {says}") from error

    def program(self, params: Any, batch: Any) -> Any:
        """The loss as JAX traces it in float64."""
        with jax.enable_x64(True):
            return jax.make_jaxpr(self.loss)(*as_float64((params, batch)))

    def narrow(self, params: Any, batch: Any) -> str:
        """The dtypes of fewer digits in which the loss computes even when given float64."""
        program = str(self.program(params, batch))
        names = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
        return " and ".join(name for short, name in names.items() if f":{short}[" in program)

    def _estimate(self, params: Any, batch: Any) -> list[Estimate]:
        with jax.enable_x64(True):
            if self.traceable:
                try:
                    leaves = jax.tree.leaves(self._grad(*as_float64((params, batch))))
                except Exception:  # of a loss that is not JAX: whatever its library raises
                    estimated = central_differences(self.loss, params, batch)
                    self.traceable = False
                    return estimated
                else:
                    arrays = [np.asarray(leaf, np.float64) for leaf in leaves]
                    exact = [Estimate(each, np.zeros_like(each)) for each in arrays]
                    if _finite(exact):
                        return exact
                    # such as a norm's square at 0: the chain rule fails, but not the derivative
                    estimated = central_differences(self.loss, params, batch)
                    known = _finite(estimated) and has_derivative(self.loss, params, batch)
                    return estimated if known else exact
            return central_differences(self.loss, params, batch)


def not_jax(loss: Loss, error: Exception, why: str) -> ValueError:
    """What to raise for a loss that JAX cannot trace, where it has to."""
    says = f"{type(error).__name__}{where(error, loss)}"
    return ValueError(f"the loss is not JAX: {says}: write it with jax.numpy, since {why}")


def no_number(shape: tuple[int, ...]) -> str:
    """What to say of a loss that returns an array."""
    return f"returns an array of shape {shape}, and has to return one number"


def _finite(estimates: list[Estimate]) -> bool:
    return all(np.isfinite(each.value).all() for each in estimates)


@functools.lru_cache(maxsize=64)
def _compiled(loss: Loss) -> Callable[..., Any]:
    """One jitted gradient for each loss, so that the next check need not compile it again."""
    return jax.jit(jax.grad(loss))


def as_float64(tree: Any) -> Any:
    """The same tree with every floating leaf as a float64 array; needs the x64 mode."""

    def cast(leaf: Any) -> Any:
        leaf = as_array(leaf)
        if not isinstance(leaf, np.ndarray):
            return leaf
        return jnp.asarray(leaf, jnp.float64 if is_floating(leaf) else None)

    return jax.tree.map(cast, tree)


TRUST = 4.0  # times the error that differences themselves state
STEPS = 2.0 ** -np.arange(7, 10)


def central_differences(loss: Loss, params: Any, batch: Any) -> list[Estimate]:
    """Every partial derivative by central differences of three steps, extrapolated to step 0.

    Extrapolation (Richardson) removes the errors of order step² and step⁴. What the last
    extrapolation changed, and the rounding of the loss divided by the step, bound the rest.
    """
    flat, unravel = _ravel(params)
    steps = STEPS * max(1.0, float(np.abs(flat).max(initial=0)) ** 0.5)
    shifts = np.concatenate([sign * step * np.eye(len(flat)) for step in steps for sign in (1, -1)])
    values = _values(loss, unravel, flat + shifts, batch).reshape(len(steps), 2, len(flat))
    with np.errstate(invalid="ignore"):  # of a loss that is infinite
        slopes = (values[:, 0] - values[:, 1]) / (2 * steps[:, None])
        once = (4 * slopes[1:] - slopes[:-1]) / 3
        twice = (16 * once[1] - once[0]) / 15
        error = np.abs(twice - once[1])
    error = error + 8 * np.finfo(float).eps * np.abs(values).max(initial=0) / steps[-1]
    return [
        Estimate(np.asarray(value), np.asarray(off))
        for value, off in zip(*map(jax.tree.leaves, map(unravel, (twice, error))), strict=True)
    ]


def has_derivative(loss: Loss, params: Any, batch: Any) -> bool:
    """Whether the slopes on either side agree, along every parameter: not those of a norm at 0.

    At a sixteenth of the distance what is smooth differs a sixteenth as much; a jump stays.
    """
    flat, unravel = _ravel(params)
    scale = max(1.0, float(np.abs(flat).max(initial=0)))
    gaps = []
    for step in (2.0**-8 * scale, 2.0**-12 * scale):
        shifts = np.concatenate([step * np.eye(len(flat)), -step * np.eye(len(flat))])
        values = _values(loss, unravel, np.concatenate([flat[None], flat + shifts]), batch)
        right, left = (values[1:].reshape(2, -1) - values[0]) / step
        gaps.append(np.abs(right + left))
    noise = 2.0**12 * np.finfo(float).eps * np.abs(values).max() / scale
    return bool(np.all(gaps[1] <= gaps[0] / 4 + 8 * noise))


def taylor_order(
    loss: Loss, params: Any, batch: Any, gradient: list[Array], seed: int = 0
) -> float:
    """The order at which loss(θ + tv) − loss(θ) − t g·v vanishes with t: 2 if g is the gradient.

    Infinite if the remainder is nothing but rounding, as for a loss that is linear along v.
    """
    flat, unravel = _ravel(params)
    g = np.concatenate([np.ravel(leaf) for leaf in gradient])
    v = np.random.default_rng(seed).normal(size=flat.shape)
    v /= np.linalg.norm(v)
    t = 2.0 ** -np.arange(6, 14)
    values = _values(loss, unravel, flat + np.concatenate([[0], t])[:, None] * v, batch)
    remainder = np.abs(values[1:] - values[0] - t * (g @ v))
    clear = remainder > 100 * np.finfo(float).eps * np.abs(values).max()
    if clear.sum() < 2:
        return np.inf
    return float(np.polyfit(np.log(t[clear]), np.log(remainder[clear]), 1)[0])


def complex_step(loss: Loss, params: Any, batch: Any) -> list[Array] | None:
    """Im loss(θ + ih) / h for every entry: exact to rounding where the loss is analytic.

    None if the loss does not take complex parameters (Squire and Trapp 1998).
    """
    flat, unravel = _ravel(params)
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


def compare_oracles(loss: Loss, params: Any, batch: Any, plain: Loss | None = None) -> list[Oracle]:
    """The gradient of a loss by ways that know nothing of each other.

    Args:
        loss: takes (params, batch), returns a scalar, and can be traced by JAX.
        params: any tree of real arrays; beyond 1000 numbers only the Taylor test is made.
        batch: whatever the loss takes.
        plain: the same loss in NumPy, for finite differences and for the complex step, if the
            loss itself cannot take complex numbers or is slow.

    Returns:
        Central differences, the order of the Taylor remainder, and the complex step where the
        loss is analytic, each compared with `jax.grad` in float64.
    """
    gradient = [each.value for each in Truth(loss)(params, batch)]
    size = max((float(np.abs(leaf).max(initial=0)) for leaf in gradient), default=0.0) or 1.0
    function = plain or jax.jit(loss)
    oracles = []
    small = sum(leaf.size for leaf in gradient) <= ENOUGH
    if small:
        estimates = central_differences(function, params, batch)
        off = [np.abs(e.value - leaf) for e, leaf in zip(estimates, gradient, strict=True)]
        agrees = all(np.all(a <= TRUST * e.error) for a, e in zip(off, estimates, strict=True))
        oracles.append(Oracle("central differences", _most(off) / size, agrees))
    order = taylor_order(function, params, batch, gradient)
    oracles.append(Oracle(TAYLOR, order, order > 1.8))
    if small and (exact := complex_step(plain or loss, params, batch)):
        by = _most([np.abs(e - leaf) for e, leaf in zip(exact, gradient, strict=True)]) / size
        # where all others agree but this one, the loss is not analytic: it holds |z| or Re z
        if by < 1e-10 or (by < 1e-3 and not all(oracle.agrees for oracle in oracles)):
            oracles.append(Oracle("complex step", by, by < 1e-10))
    return oracles


def _most(arrays: list[Array]) -> float:
    return max((float(array.max(initial=0)) for array in arrays), default=0.0)


def _ravel(params: Any) -> tuple[Array, Callable[[Array], Any]]:
    """A flat float64 vector, and the way back to a tree of NumPy arrays."""
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, params))
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def unravel(flat: Array) -> Any:
        parts = zip(np.split(flat, ends), leaves, strict=True)
        return jax.tree.unflatten(structure, [part.reshape(leaf.shape) for part, leaf in parts])

    flat = [np.ravel(leaf) for leaf in leaves] or [np.zeros(0)]
    return np.concatenate(flat).astype(float), unravel


def _widened(leaf: Any) -> Array:
    leaf = as_array(leaf)
    return leaf.astype(np.float64) if is_floating(leaf) else leaf


def _values(loss: Loss, unravel: Callable[[Array], Any], points: Array, batch: Any) -> Array:
    """The loss at every row of `points`, in float64."""
    with jax.enable_x64(True):
        arrays = jax.tree.map(_widened, batch)
        values = [loss(unravel(point), arrays) for point in points]
        if (shape := np.shape(values[0])) != ():
            raise ValueError(f"it {no_number(shape)}")
        return np.asarray([float(value) for value in values])
