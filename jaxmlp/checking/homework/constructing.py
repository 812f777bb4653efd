"""Calling a constructor or an initialiser of homework, each argument by what its name says."""

import inspect
from collections.abc import Sequence
from typing import Any

from jaxmlp.checking.homework.names import Role, literals, plain, roles_of


def made_by(make: Any, x: Any, y: Any, sizes: Sequence[int]) -> Any:
    """What a constructor or an initialiser makes."""
    given, named = arguments(make, x, y, sizes)
    return make(*given, **named)


def arguments(make: Any, x: Any, y: Any, sizes: Sequence[int]) -> tuple[list[Any], dict[str, Any]]:
    """What is handed to a constructor; what has a default keeps it, if it is no size.

    Raises:
        ValueError: if nothing says what one of them is.
    """
    given: list[Any] = []
    named: dict[str, Any] = {}
    parameters = inspect.signature(make).parameters.values()
    needed = [each.name for each in parameters if each.default is each.empty]
    # three numbers whose names say nothing are those of inputs, hidden units and outputs
    by_order = dict(zip(needed, sizes, strict=True)) if len(needed) == len(sizes) else {}
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        try:
            value = _argument(parameter, x, y, sizes)
        except ValueError:
            if parameter.name not in by_order:
                raise
            value = by_order[parameter.name]
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = value
        else:
            given.append(value)
    return given, named


def _argument(parameter: inspect.Parameter, x: Any, y: Any, sizes: Sequence[int]) -> Any:
    """A value for an argument, by its name.

    Raises:
        ValueError: if there is none.
    """
    known = {
        Role.INPUTS: x, Role.LABELS: y, Role.N_IN: sizes[0], Role.N_OUT: sizes[-1],
        Role.N_HIDDEN: sizes[1], Role.SIZES: [*sizes], **literals(),
    }  # fmt: skip
    roles, default = roles_of(parameter.name), parameter.default
    fitting = [role for role in roles if role in known]
    several = {Role.N_HIDDEN} & {*roles} and (
        isinstance(default, (list, tuple)) or plain(parameter.name).endswith("layers")
    )
    if several:
        return [sizes[1]]
    given = default is not parameter.empty
    made = given and fitting[:1] == [Role.SEED] and not isinstance(default, (int, type(None)))
    if fitting and not made and (fitting[0] in known or not given):
        return known[fitting[0]]
    if given:
        return default
    raise ValueError(f"nothing says what {parameter.name} is")
