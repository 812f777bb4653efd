"""Programs executed on symbols: what the code computes, exactly, for all numbers at once.

A function is traced as JAX would trace it, and what was traced is executed with SymPy, as if its
numbers were real. Known are the primitives that our loss and its gradient are made of, on numbers
with a point, and what makes rows of class labels; anything else is an error that names it.

* What a program decides by comparing with 0 is decided by the signs that are assumed; or it is a
  symbol that is 1 where the expression is above 0, and 0 elsewhere.
* What it subtracts as the largest of some numbers is a symbol for any number, of which the result
  must not depend: `shifts` says which symbols those are.
* Its floating-point constants are taken as the rational numbers that they are, but those of √2 and
  π as what they stand for.
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from jaxmlp.checking.programs.interpreter import evaluated, inside

CONSTANTS = (sp.sqrt(2), 1 / sp.sqrt(2), sp.sqrt(2 * sp.pi), 1 / sp.sqrt(2 * sp.pi))
MOVING = {
    "broadcast_in_dim", "reshape", "transpose", "squeeze", "slice", "stack", "concatenate",
    "stop_gradient",
}  # fmt: skip
OF_REALS: dict[str, Callable[..., Any]] = {  # entry by entry
    "add": lambda a, b: a + b,
    "add_any": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "square": lambda a: a**2,
    "exp": sp.exp,
    "log": sp.log,
    "tanh": sp.tanh,
    "logistic": lambda a: 1 / (1 + sp.exp(-a)),
    "erfc": lambda a: sp.erfc(a, evaluate=False),  # not as 2 − erfc(−a)
}
PRODUCTS = {  # of two matrices, by the axes that are summed over
    (0, 0): lambda a, b: a.T @ b,
    (0, 1): lambda a, b: a.T @ b.T,
    (1, 0): lambda a, b: a @ b,
    (1, 1): lambda a, b: a @ b.T,
}
SHIFT = "m"


def symbols(name: str, shape: Sequence[int]) -> np.ndarray:
    """An array of real symbols, such as W[0, 2] at place (0, 2)."""
    array = np.empty(shape, object)
    for place in np.ndindex(*shape):
        array[place] = sp.Symbol(f"{name}{list(place)}", real=True)
    return array


class Symbolic:
    """Executes functions on symbols, all of them under the same assumptions."""

    def __init__(
        self,
        above: Callable[[Any], Any] = lambda expression: True,
        dtype: Any = np.float32,
    ) -> None:
        """Ask `above` of every expression that is compared with 0, once, if it is above.

        It answers True, False, or with a symbol for the answer. Programs are traced for symbols
        of a `dtype`, which may decide what the program is.
        """
        self._above = functools.cache(above)
        self._dtype = dtype
        self._named: Mapping[Any, np.ndarray] = {}

    def __call__(self, function: Callable[..., Any], *arguments: Any, names: Any = None) -> Any:
        """The value of a function of trees of arrays, of symbols or of whole numbers.

        Args:
            function: of the arguments.
            arguments: with leaves of symbols, or of integers.
            names: a tree like the result, with a name in the place of every array that is to be
                known by symbols of that name from where it is computed on, or "".

        Raises:
            NotImplementedError: if it is made of a primitive that is not known here.
        """
        leaves, structure = jax.tree.flatten(arguments)
        with jax.enable_x64(np.dtype(self._dtype) == np.float64):
            like = [
                jax.ShapeDtypeStruct(leaf.shape, self._dtype if leaf.dtype == object else np.int32)
                for leaf in leaves
            ]
            traced = jax.make_jaxpr(function, return_shape=True)
            program, shape = traced(*jax.tree.unflatten(structure, like))
            outputs = program.jaxpr.outvars
            self._named = {
                variable: symbols(name, variable.aval.shape)
                for variable, name in zip(
                    outputs, jax.tree.leaves(names) or [""] * len(outputs), strict=True
                )
                if name
            }
            results = evaluated(program.jaxpr, program.consts, leaves, self._step)
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    def _step(self, equation: Any, values: list[Any]) -> list[Any]:
        """One operation; calls are followed inside."""
        if inner := inside(equation):
            found = evaluated(*inner, values, self._step)
        elif equation.primitive.name == "platform_index":
            found = [np.zeros((), np.int32)]
        elif "branches_platforms" in equation.params:
            found = self._on_every_platform(equation, values[1:])
        else:
            found = [self._value(equation, [_exact(each) for each in values])]
        pairs = zip(equation.outvars, found, strict=True)
        return [self._named.get(variable, value) for variable, value in pairs]

    def _on_every_platform(self, equation: Any, values: list[Any]) -> list[Any]:
        """The results of programs of which each is for another platform: they have to be alike."""
        first, *others = (
            evaluated(branch.jaxpr, branch.consts, values, self._step)
            for branch in equation.params["branches"]
        )
        for other in others:
            if not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True)):
                raise NotImplementedError(f"platforms compute different things: {equation}")
        return first

    def _value(self, equation: Any, values: list[np.ndarray]) -> np.ndarray:
        name, params = equation.primitive.name, equation.params
        kinds = [np.dtype(variable.aval.dtype).kind for variable in equation.invars]
        real = all(jnp.issubdtype(each.aval.dtype, jnp.floating) for each in equation.invars)
        if name in OF_REALS and real:
            return _by_entry(OF_REALS[name], *values)
        if name in MOVING:  # tried on numbers, which say where every entry comes from
            ends = np.cumsum([value.size for value in values])
            numbers = [
                jnp.arange(end - value.size, end).reshape(value.shape)
                for value, end in zip(values, ends, strict=True)
            ]
            entries = np.concatenate([value.ravel() for value in values])
            return entries[np.asarray(equation.primitive.bind(*numbers, **params))]
        if name == "convert_element_type" and (real or kinds[0] in "bi"):
            if not jnp.issubdtype(params["new_dtype"], jnp.floating):
                raise NotImplementedError(
                    f"{name} has no symbolic form where it rounds: {equation}"
                )
            return _by_entry(_as_real, values[0])
        if name == "integer_pow" and real:
            return _by_entry(lambda entry: entry ** params["y"], values[0])
        if name in ("le", "gt") and real and not np.any(values[1]):
            found = _by_entry(self._decided, values[0])
            return found if name == "gt" else _by_entry(_opposite, found)
        if name == "max" and real and not np.any(values[1]):
            return _by_entry(lambda entry: _chosen(self._decided(entry), 0, entry), values[0])
        if name == "max" and not values[0].ndim and values[0].item() == -sp.oo:
            return values[1]
        if name == "select_n" and len(values) == 3 and kinds[0] == "b":
            return _by_entry(_chosen, *values)
        if name == "eq" and set(kinds) == {"i"}:  # class labels
            return _by_entry(lambda a, b: int(a) == int(b), *values)
        if name == "iota" and np.dtype(params["dtype"]).kind == "i":
            return _exact(equation.primitive.bind(**params))
        if name == "reduce_sum" and real:
            return np.asarray(values[0].sum(axis=params["axes"]), object)
        if name == "reduce_max" and real:  # of softmax: a shift, which may be anything
            shift = np.zeros(equation.outvars[0].aval.shape, object)
            return _by_entry(lambda _: sp.Dummy(SHIFT, real=True), shift)
        if name == "dot_general" and real and values[0].ndim == values[1].ndim == 2:
            (contracted, batched) = params["dimension_numbers"]
            if batched == ((), ()) and all(len(axes) == 1 for axes in contracted):
                product = PRODUCTS[contracted[0][0], contracted[1][0]]
                return np.asarray(product(*values), object)
        raise NotImplementedError(f"the primitive {name} has no symbolic form here: {equation}")

    def _decided(self, entry: Any) -> Any:
        """Whether an expression is above 0, as a bool or a symbol."""
        entry = sp.expand(entry)
        found = entry > 0 if entry.is_number else self._above(entry)
        return found if isinstance(found, sp.Symbol) else bool(found)


def in_turn(signs: Iterable[bool]) -> Callable[[Any], bool]:
    """Answers to which expressions are above 0, in the order in which that is asked."""
    given = iter(signs)

    def above(expression: Any) -> bool:
        found = next(given, None)
        if found is None:
            raise ValueError(f"there are fewer signs than questions: is {expression} above 0?")
        return found

    return above


def shifts(expression: Any) -> list[Any]:
    """The symbols of an expression that stand for the largest of some numbers."""
    return sorted(filter(_is_shift, sp.sympify(expression).free_symbols), key=str)


def is_zero(expression: Any) -> bool:
    """Whether an expression is 0 for all numbers, where no denominator is.

    exp, tanh, erfc and log of different expressions are taken for different unknowns, but exp(kz)
    for a power of exp(z) if k is an integer, exp(z − m), m being a shift, for the quotient of
    exp(z) and exp(m), tanh(−z) for −tanh(z), and erfc(−z) for 2 − erfc(z). What is left is a
    quotient of polynomials, which is 0 if the one above, multiplied out, is 0. So True is proof;
    False may be an identity of these functions that is not known here.
    """
    unknowns: dict[tuple[Any, Any], Any] = {}

    def unknown(function: Any, argument: Any) -> Any:
        return unknowns.setdefault((function, argument), sp.Dummy())

    def exponential(argument: Any) -> Any:
        terms = sp.Add.make_args(sp.expand(argument))
        moved = [term for term in terms if any(map(_is_shift, sp.Mul.make_args(term)))]
        rest = sp.Add(*(term for term in terms if term not in moved))
        sign = -1 if rest.could_extract_minus_sign() else 1
        times, base = (sign * rest).as_content_primitive()
        if not times.is_Integer:
            times, base = sp.Integer(1), times * base
        parts = [unknown(sp.exp, base) ** (sign * times)] if rest else []
        for shift in moved:
            amount, symbol = shift.as_coeff_Mul()
            parts.append(unknown(sp.exp, symbol) ** amount)
        return sp.Mul(*parts)

    def turned(function: Any, argument: Any) -> Any:
        argument = sp.expand(argument)
        if function != sp.log and argument.could_extract_minus_sign():
            found = unknown(function, -argument)
            return -found if function == sp.tanh else 2 - found
        return unknown(function, argument)

    expression = sp.sympify(expression).replace(sp.exp, exponential)
    for function in (sp.tanh, sp.erfc, sp.log):
        expression = expression.replace(function, functools.partial(turned, function))
    return sp.expand(sp.fraction(sp.together(expression))[0]) == 0


def _chosen(which: Any, a: Any, b: Any) -> Any:
    """a, or b where `which` is true; which of them may be open."""
    return a + which * (b - a) if _is_open(which) else (a, b)[which]


def _is_open(answer: Any) -> bool:
    return isinstance(answer, sp.Expr)


def _opposite(answer: Any) -> Any:
    return 1 - answer if _is_open(answer) else not answer


def _as_real(entry: Any) -> Any:
    return sp.Integer(entry) if isinstance(entry, bool) else sp.sympify(entry)


def _is_shift(factor: Any) -> bool:
    return isinstance(factor, sp.Dummy) and factor.name == SHIFT


def _by_entry(function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    """A function of every entry, as an array of objects."""
    entries = np.broadcast_arrays(*arrays)
    found = np.empty(entries[0].shape, object)
    for place in np.ndindex(found.shape):
        found[place] = function(*(array[place] for array in entries))
    return found


def _exact(array: Any) -> np.ndarray:
    """An array of exact numbers, if it is not of symbols already."""
    array = np.asarray(array)
    return array if array.dtype == object else _by_entry(_number, array)


def _number(value: Any) -> Any:
    """A number of a program as what it stands for."""
    value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return sp.oo if value > 0 else -sp.oo
    for constant in CONSTANTS:
        if abs(abs(value) / float(constant) - 1) <= 2.0**-23:  # as float32 has it
            return constant if value > 0 else -constant
    return sp.Rational(value)
