"""What is there to audit in an installed package: its public functions, and every rule.

Rules are found by what they are, not by what their source looks like.
"""

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import jax

from jaxmlp.checking.audit.distributions import Method, methods

RULES = (jax.custom_jvp, jax.custom_vjp)
TESTS = ("test", "tests", "_test", "conftest", "testing", "benchmark", "benchmarks", "examples")


class Target(NamedTuple):
    """A function to be audited, or a method of a distribution.

    Attributes:
        module: where it is found.
        name: in that module, such as relu, or Beta.log_prob.
    """

    module: str
    name: str

    def __str__(self) -> str:
        """Such as jax.nn:relu."""
        return f"{self.module}:{self.name}"

    @property
    def key(self) -> Any:
        """The same for two names of one function."""
        found = self.load()
        if isinstance(found, Method):
            return found.owner, found.name
        return self if "." in self.name else id(found)  # what is bound to a class is made anew

    def load(self) -> Any:
        """The function itself."""
        found: Any = importlib.import_module(self.module)
        owner, _, last = self.name.rpartition(".")
        for part in owner.split(".") if owner else ():
            found = getattr(found, part)
        return Method(found, last) if last in methods(found) else getattr(found, last)


def targets(name: str) -> list[Target]:
    """The functions of PACKAGE, PACKAGE.module or PACKAGE.module:function.

    Raises:
        ValueError: if there is no such package, module or function, or nothing in it to audit.
    """
    where, _, function = name.partition(":")
    module = _imported(where)
    if function:
        target = Target(where, function)
        try:
            found = target.load()
        except AttributeError as error:
            raise ValueError(f"{where} has no function {function!r}") from error
        if not callable(found):
            raise ValueError(f"{name} is a {type(found).__name__}: give a function")
        return [target]
    public = {each.key: each for shown in _shown(module) for each in _public(shown)}
    rules = {key: each for key, each in rules_in(module).items() if key not in public}
    if not public and not rules:
        raise ValueError(f"{where} has no functions to audit: give a module that has some")
    return [*public.values(), *rules.values()]


def _imported(where: str) -> ModuleType:
    try:
        with warnings.catch_warnings(action="ignore"):
            return importlib.import_module(where)
    except ModuleNotFoundError as error:
        missing = error.name or where
        says = "is not installed" if where.startswith(missing) else f"needs {missing}"
        raise ValueError(f"{where} {says}: install it beside jaxmlp") from error
    except Exception as error:
        says = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{where} cannot be imported: {says}") from error


def _public(module: ModuleType) -> Iterator[Target]:
    """The functions that a module shows, whoever wrote them inside its package."""
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    package = module.__name__.partition(".")[0]
    for name in sorted(names):
        found = getattr(module, name, None)
        if _origin(found).partition(".")[0] != package:
            continue
        if _is_function(found):
            yield Target(module.__name__, name)
        for method in (*methods(found), *_makers(found)):
            yield Target(module.__name__, f"{name}.{method}")


def _shown(module: ModuleType) -> Iterator[ModuleType]:
    """A module, and those inside of it that it shows, such as jax.scipy.stats and its norm."""
    seen, waiting = set(), [module]
    while waiting:
        each = waiting.pop(0)
        if each.__name__ in seen:
            continue
        seen.add(each.__name__)
        yield each
        for name, found in sorted(vars(each).items()):
            inside = inspect.ismodule(found) and found.__name__ == f"{each.__name__}.{name}"
            if inside and not name.startswith("_") and name not in TESTS:
                waiting.append(found)


def _makers(found: Any) -> list[str]:
    """The public methods of a class that need no object of it, such as SE3.exp."""
    if not inspect.isclass(found):
        return []
    names = [name for name in dir(found) if not name.startswith("_")]
    return [name for name in names if _is_maker(inspect.getattr_static(found, name))]


def _is_maker(attribute: Any) -> bool:
    """Whether an attribute of a class is a class method or a static one, compiled or not."""
    inner = inspect.unwrap(attribute) if callable(attribute) else attribute
    bound = inspect.ismethod(inner) and inspect.isclass(inner.__self__)
    return bound or isinstance(attribute, (classmethod, staticmethod))


def _is_function(found: Any) -> bool:
    if inspect.isclass(found) or inspect.ismodule(found) or not callable(found):
        return False
    return isinstance(found, RULES) or hasattr(found, "__wrapped__") or inspect.isroutine(found)


def _origin(found: Any) -> str:
    return getattr(found, "__module__", None) or ""


def rules_in(module: ModuleType) -> dict[Any, Target]:
    """Every rule that a module, or one inside it, holds by a name."""
    found: dict[int, Target] = {}
    for each in (module, *_inner(module)):
        for name, value in list(vars(each).items()):
            inner = getattr(value, "__wrapped__", value)
            if isinstance(value, RULES) or isinstance(inner, RULES):
                found.setdefault(id(value), Target(each.__name__, name))
    return found


def _inner(module: ModuleType) -> Iterator[ModuleType]:
    """The modules inside a package that can be imported, but its tests."""
    for info in pkgutil.walk_packages(
        getattr(module, "__path__", ()), f"{module.__name__}.", onerror=lambda _: None
    ):
        if not {*info.name.split(".")} & {*TESTS} and not info.name.endswith("_test"):
            try:
                with warnings.catch_warnings(action="ignore"):
                    yield importlib.import_module(info.name)
            except BaseException:  # whatever a module does that is not meant to be imported
                continue
