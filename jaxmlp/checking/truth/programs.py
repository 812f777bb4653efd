"""A loss and its derivatives as programs that JAX has traced, executed one by one."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.calls import Finding
from jaxmlp.checking.programs.execution import Frozen, Machine
from jaxmlp.checking.programs.interpreter import compiled, is_long
from jaxmlp.checking.programs.rules import without_rules
from jaxmlp.checking.truth.differences import (
    Estimate,
    Slope,
    Value,
    is_met_by_others,
    noise_of,
    slope_along,
)
from jaxmlp.checking.truth.trees import (
    DERIVATIVE,
    PRODUCT,
    Loss,
    as_dtype,
    no_number,
    ravel,
    widened,
)


def rule_names(intended: Any) -> list[str]:
    """The names of functions whose rules are meant: of one, or of a list of functions or names.

    Raises:
        ValueError: if one is neither.
    """
    several = intended if isinstance(intended, (list, tuple, set)) else [intended]
    names = []
    for each in several:
        name = each if isinstance(each, str) else getattr(each, "__name__", None)
        if name is None:
            raise ValueError(f"intended has {each!r}: give functions with a rule, or their names")
        names.append(name)
    return names


def as_number(value: Any) -> float:
    """The value of a loss.

    Raises:
        ValueError: if it is no real number.
    """
    value = value.detach() if hasattr(value, "detach") else value  # PyTorch's
    if not (hasattr(value, "shape") or isinstance(value, (int, float))):
        raise ValueError(f"it returns a {type(value).__name__}, and has to return one number")
    if (shape := np.shape(value)) != ():
        raise ValueError(f"it {no_number(shape)}")
    if not np.issubdtype(np.asarray(value).dtype, np.inexact):
        raise ValueError(f"it returns {np.asarray(value).dtype}: return a real number")
    if np.iscomplexobj(value):
        raise ValueError("it returns a complex number: take its real part, or its absolute value")
    return float(value)


class Programs:
    """The programs of one loss, by the shapes of what it is given.

    Attributes:
        loss: a function of (params, batch).
        traceable: whether JAX can follow it, as far as is known.
        findings: what witnesses disagree about, by kind.
    """

    def __init__(
        self,
        loss: Loss,
        intended: Any = (),
        along: Callable[[Loss], Loss] | None = None,
    ) -> None:
        """Get ready for one loss.

        Args:
            loss: takes (params, batch) and returns a scalar.
            intended: functions, or their names, whose rule is meant to be no derivative.
            along: makes of a loss the function that is differentiated, if it is another one.
        """
        self.loss = loss
        self.intended = rule_names(intended)
        self.of = along or (lambda loss: loss)
        self.product = along is not None
        self.prefix = PRODUCT if self.product else DERIVATIVE
        self.traceable = True
        self.findings: dict[str, Finding] = {}
        self.seconds, self.looked = 0.0, 0
        self._programs: dict[Any, Any] = {}
        self._directions: dict[int, int] = {}
        self.misled = False  # by a rule, while the program without rules was right
        self._asked = False  # whether it gives the same value twice

    def program(self, what: str, params: Any, batch: Any, dtype: str = "float64") -> Any:
        """What JAX traces, or None if it cannot.

        Args:
            what: loss, gradient or forward; with `plain ` before it, of the loss without rules.
            params, batch: whose shapes count.
            dtype: in which it is traced; in float64 it is computed anyway.
        """
        leaves, structure = jax.tree.flatten((params, batch))
        shapes = tuple((np.shape(leaf), str(getattr(leaf, "dtype", type(leaf)))) for leaf in leaves)
        key = (what, dtype, structure, shapes)
        if key not in self._programs:
            self._programs[key] = self._traced(what, params, batch, dtype)
        return self._programs[key]

    def _traced(self, what: str, params: Any, batch: Any, dtype: str) -> Any:
        plain, _, kind = what.rpartition(" ")
        loss = without_rules(self.loss, self.intended) if plain else self.loss
        of = self.of(loss)

        def forward(params: Any, batch: Any, along: Any) -> Any:
            return jax.jvp(lambda params: of(params, batch), (params,), (along,))[1]

        function = {"loss": of, "gradient": jax.grad(of), "forward": forward}[kind]
        with jax.enable_x64(dtype == "float64"):
            given = (params, batch, params) if kind == "forward" else (params, batch)
            arguments = as_dtype(given, dtype)
            try:
                return jax.make_jaxpr(lambda *given: function(*given))(*arguments)
            except Exception as error:  # whatever a loss that is not JAX raises, or its rule
                return error if kind == "gradient" and not plain else None

    def coarse(self, params: Any, batch: Any) -> str:
        """The dtypes of fewer digits in which the loss computes even when given float64."""
        program = str(self.program("loss", params, batch))
        names = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
        return " and ".join(name for short, name in names.items() if f":{short}[" in program)

    def by_jax(self, params: Any, batch: Any) -> list[Array]:
        """The leaves as `jax.grad` alone has them; none where it raises, with rules and without."""
        program = self._gradient_program(params, batch, "float64")
        if program is None:
            return []
        return [np.asarray(each) for each in Machine()(program, *jax.tree.leaves((params, batch)))]

    def _gradient_program(self, params: Any, batch: Any, dtype: str, plain: bool = False) -> Any:
        """JAX's gradient; without rules where one raises, or on request; None if there is none."""
        program = self.program("gradient", params, batch, dtype)
        if plain or isinstance(program, Exception):
            program = self.program("plain gradient", params, batch, dtype)
        return program

    def value(self, params: Any, batch: Any, dtype: str = "float64") -> Value:
        """The loss by a row of all parameters, with what it stops the gradient of held fast."""
        _, unravel = ravel(params)
        program = self.program("plain loss", params, batch, dtype) if self.traceable else None
        if program is not None:
            others, machine = jax.tree.leaves(batch), Frozen(dtype != "float64")
            if dtype == "float64" and is_long(program.jaxpr):
                machine = compiled(program)
            machine(program, *jax.tree.leaves(params), *others)
            return lambda row: float(machine(program, *jax.tree.leaves(unravel(row)), *others)[0])
        arrays = jax.tree.map(widened, batch)

        def called(row: Array) -> float:
            with jax.enable_x64(True):
                value = self.of(self.loss)(unravel(row), arrays)
            return as_number(value)

        return called

    def _note(self, kind: str, says: str, fails: bool) -> None:
        self.findings.setdefault(kind, Finding(kind, says, fails))

    def by_differences(self, params: Any, batch: Any) -> list[Estimate]:
        """Every entry by differences of the loss."""
        slopes = self._slopes(params, batch, self._noise(params, batch))
        found = _in_leaves(params, slopes, ("value", "error"))
        return [Estimate(np.asarray(value), np.asarray(error)) for value, error in found]

    def sides(self, params: Any, batch: Any) -> list[tuple[Array, Array, Array, Array]]:
        """Leaf by leaf the slopes on the left and right of each entry, and more of them.

        Then whether they differ, and how far off they may be. They are NaN where more than one
        kink is met: what is right there depends on how the loss computes.
        """
        flat, _ = ravel(params)
        value, noise = self.value(params, batch), self._noise(params, batch)
        slopes = self._slopes(params, batch, noise)
        for place, each in enumerate(slopes):
            sides = sorted((each.left, each.right))
            if each.kink and is_met_by_others(value, flat, place, sides, noise):
                slopes[place] = each._replace(left=np.nan, right=np.nan)
        found = _in_leaves(params, slopes, ("left", "right", "kink", "side_error"))
        return [(left, right, kink != 0, error) for left, right, kink, error in found]

    def _slopes(self, params: Any, batch: Any, noise: float) -> list[Slope]:
        """The slope along every parameter."""
        flat, _ = ravel(params)
        value = self.value(params, batch)
        return [slope_along(value, flat, unit, True, noise) for unit in np.eye(len(flat))]

    def _noise(self, params: Any, batch: Any) -> float:
        """Of a loss that is not JAX, which may compute in fewer digits."""
        return 0.0 if self.traceable else noise_of(self.value(params, batch), ravel(params)[0])


def _in_leaves(params: Any, slopes: Sequence[Slope], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Something of the slope along every parameter, leaf by leaf."""
    _, unravel = ravel(params)
    rows = [np.array([float(getattr(each, name)) for each in slopes]) for name in names]
    return list(zip(*(jax.tree.leaves(unravel(row)) for row in rows), strict=True))
