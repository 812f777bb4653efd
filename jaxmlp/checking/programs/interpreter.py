"""Going through a traced program, operation by operation, into its calls and loops.

All that depends on how JAX names and stores the parts of a program is here.
"""

import inspect
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

Step = Callable[[Any, list[Any]], list[Any]]
Round = Callable[[Any, list[Any]], tuple[list[Any], Any]]
HIJAX = "call_hi_primitive"  # a primitive that a user has made, which brings its rules along
RULES = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", HIJAX)
CALLS = {
    "jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2", *RULES,
}  # fmt: skip
INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # where they keep the program that they call
RANDOM = ("threefry2x32", "random_bits", "rng_bit_generator", "random_gamma")
MANY_ROUNDS = 20  # of a loop, from which compiling it pays
NETWORK = str(Path(__file__).parent.parent / "network/loss.py")  # whose lines are a derivation's
LIBRARIES = ("/jax/", "/jaxlib/", "/site-packages/", "/dist-packages/", "<")


def evaluated(jaxpr: Jaxpr, consts: Any, arguments: Any, step: Step) -> list[Any]:
    """The results of a program whose every operation is done by `step(equation, values)`."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))
    for equation in jaxpr.eqns:
        values = [v.val if isinstance(v, Literal) else known[v] for v in equation.invars]
        for variable, result in zip(equation.outvars, step(equation, values), strict=True):
            known[variable] = result
    return [v.val if isinstance(v, Literal) else known[v] for v in jaxpr.outvars]


def inside(equation: Any) -> tuple[Jaxpr, Any] | None:
    """The program that an operation calls, and its constants, if it is a call."""
    if equation.primitive.name not in CALLS:
        return None
    if equation.primitive.name == HIJAX:
        primitive = equation.params["_prim"]
        given = jax.tree.map(lambda aval: jax.ShapeDtypeStruct(aval.shape, aval.dtype),
                             tuple(primitive.in_avals))  # fmt: skip
        return opened(jax.make_jaxpr(primitive.expand)(*given))
    return opened(next(equation.params[key] for key in INNER if key in equation.params))


def opened(program: Any) -> tuple[Jaxpr, Any]:
    """A program and its constants, whether or not it carries them."""
    return (program.jaxpr, program.consts) if hasattr(program, "consts") else (program, [])


def bound(equation: Any, values: list[Any]) -> list[Any]:
    """The results of an operation as JAX does it."""
    results = equation.primitive.bind(*values, **equation.params)
    return list(results) if equation.primitive.multiple_results else [results]


def called(equation: Any, values: list[Any]) -> list[Any]:
    """The results of a call as JAX does it, with a rule of its own for its derivative."""
    if equation.primitive.name == HIJAX:
        primitive = equation.params["_prim"]
        return jax.tree.leaves(primitive(*jax.tree.unflatten(primitive.in_tree, values)))
    given = {
        variable: value
        for variable, value in zip(equation.invars, values, strict=True)
        if not isinstance(variable, Literal)
    }
    jaxpr, _ = inside(equation) or (None, None)
    assert jaxpr is not None
    alone = {"constvars": (), "invars": list(given), "outvars": equation.outvars}
    program = jaxpr.replace(**alone, eqns=[equation])
    return jaxpr_as_fun(ClosedJaxpr(program, ()))(*given.values())


def looped(params: Any, values: list[Any], round_: Round) -> tuple[list[Any], Any]:
    """The results of a loop of a fixed length, and what its rounds gave besides.

    Args:
        params: of the operation `scan`.
        values: what it is given.
        round_: does one round by its number, from 1, and what that is given.
    """
    constants, carries = scan_counts(params)
    fixed, carry = values[:constants], values[constants : constants + carries]

    def step(carry: list[Any], given: tuple[Any, list[Any]]) -> tuple[list[Any], Any]:
        number, slices = given
        results, besides = round_(number, [*fixed, *carry, *slices])
        return results[:carries], (results[carries:], besides)

    numbers = jnp.arange(1, params["length"] + 1)
    given = (numbers, values[constants + carries :])
    carry, (outputs, besides) = jax.lax.scan(
        step, carry, given, params["length"], params["reverse"]
    )
    return [*carry, *outputs], besides


def scan_counts(params: Any) -> tuple[int, int]:
    """How many arguments of a `scan` are constants, and how many are carried on."""
    if "ft_in" in params:  # from jax 0.11 on
        constants, carries, _ = map(len, params["ft_in"].unpack())
        return constants, carries
    return params["num_consts"], params["num_carry"]


def operations(jaxpr: Jaxpr, closed: Collection[str] = ()) -> Iterator[Any]:
    """Every operation of a program, and those inside of others, but of some that stay closed."""
    for equation in jaxpr.eqns:
        yield from with_those_inside(equation, closed)


def with_those_inside(equation: Any, closed: Collection[str] = ()) -> Iterator[Any]:
    """An operation, and those of the programs that it runs."""
    yield equation
    for value in equation.params.values() if equation.primitive.name not in closed else ():
        for each in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(each, (Jaxpr, ClosedJaxpr)):
                yield from operations(opened(each)[0], closed)


def is_random(jaxpr: Jaxpr) -> bool:
    """Whether a program draws random numbers."""
    return any(equation.primitive.name in RANDOM for equation in operations(jaxpr))


def stops_gradients(jaxpr: Jaxpr, closed: Collection[str] = ()) -> bool:
    """Whether a program stops gradients, outside of what stays closed."""
    return any(each.primitive.name == "stop_gradient" for each in operations(jaxpr, closed))


def is_long(jaxpr: Jaxpr) -> bool:
    """Whether a program has a loop of many rounds, and stops no gradient."""
    scans = (each for each in operations(jaxpr) if each.primitive.name == "scan")
    rounds = max((each.params["length"] for each in scans), default=0)
    return rounds > MANY_ROUNDS and not stops_gradients(jaxpr)


def compiled(program: ClosedJaxpr) -> Callable[..., list[Any]]:
    """What runs a program as fast as JAX can: of the program and leaves of any sort."""
    run = jax.jit(jaxpr_as_fun(program))
    dtypes = [each.dtype for each in program.in_avals]

    def call(_: ClosedJaxpr, *leaves: Any) -> list[Any]:
        with jax.enable_x64(True):
            pairs = zip(leaves, dtypes, strict=True)
            return list(run(*(jnp.asarray(leaf, dtype) for leaf, dtype in pairs)))

    return call


class Source(NamedTuple):
    """A line of somebody's file; nothing if it is not known."""

    file: str = ""
    number: int = 0

    def __str__(self) -> str:
        """Such as loss.py line 7."""
        return f"{Path(self.file).name} line {self.number}" if self.file else ""

    @property
    def text(self) -> str:
        """What is written there."""
        try:
            lines = Path(self.file).read_text(encoding="utf-8").splitlines()
            return lines[self.number - 1].strip()
        except (OSError, UnicodeDecodeError, IndexError):
            return ""


def source(equation: Any) -> Source:
    """The line from which an operation comes: the innermost one outside of installed packages."""
    trace = equation.source_info.traceback
    frames = list(trace.frames) if trace else []
    ours = str(Path(__file__).parent.parent)  # the checker's own, but not that of our networks
    for frame in frames:
        name = frame.file_name
        if name == NETWORK or not (
            any(part in name for part in LIBRARIES) or name.startswith(ours)
        ):
            return Source(name, frame.line_num)
    return Source()


def is_stopped(equation: Any) -> bool:
    """Whether somebody wants no derivative of a value; not where JAX itself only says so.

    Its own functions stop values whose derivative they supply in another way, or that cancel, such
    as the factors of a matrix in `jnp.linalg.solve`.
    """
    if equation.primitive.name != "stop_gradient":
        return False
    trace = equation.source_info.traceback
    frames = list(trace.frames) if trace else []
    names = [frame.function_name for frame in frames]
    if "stop_gradient" not in names:
        return True
    callers = frames[names.index("stop_gradient") + 1 :]
    return not callers or "/jax/_src/" not in callers[0].file_name


def _written(equation: Any) -> tuple[str, str]:
    """The name of the function that is called, and where it is written, as file:line."""
    if equation.primitive.name == HIJAX:
        primitive = type(equation.params["_prim"])
        expand = inspect.unwrap(primitive.expand)
        return primitive.__name__, f"{expand.__code__.co_filename}:{expand.__code__.co_firstlineno}"
    jaxpr, _ = inside(equation) or (None, None)
    about = getattr(getattr(jaxpr, "debug_info", None), "func_src_info", None) or ""
    name, _, place = str(about).partition(" at ")
    return name, place


def is_of_a_library(equation: Any) -> bool:
    """Whether what is called is written in an installed package, such as `jnp.var`.

    JAX traces such a function once, and keeps the lines of whoever called it first.
    """
    return any(part in _written(equation)[1] for part in LIBRARIES)


def rule_name(equation: Any) -> tuple[str, Source]:
    """The function that has a rule of its own, and where it is written."""
    name, place = _written(equation)
    file, _, number = place.rpartition(":")
    if not file or is_of_a_library(equation):
        return name or "a function", source(equation)
    return name, Source(file, int(number) if number.isdigit() else 0)
