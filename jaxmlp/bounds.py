"""Numbers that users give, checked."""

import math
from typing import Any


def check_integer(name: str, value: Any, least: int = 0) -> None:
    """Raise ValueError unless `value` is an integer from `least` on that JAX takes for a seed."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
        raise ValueError(f"{name} is {value!r}: give an integer ≥ {least} and below 2³¹")


def check_tolerances(**tolerances: float) -> None:
    """Raise ValueError if one of some tolerances is none."""
    for name, value in tolerances.items():
        if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value!r}: give a number from 0 on")
