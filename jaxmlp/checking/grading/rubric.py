"""What an assignment asks for, and what each line of the backward pass is worth."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from jaxmlp.checking.homework.reference import HIDDEN, LOSSES, OUTPUTS

CHOICES = {"loss": [each.name for each in LOSSES], "hidden": [*HIDDEN], "output": [*OUTPUTS]}


@dataclass(frozen=True)
class Rubric:
    """What an assignment asks for; None where the submission may choose.

    Attributes:
        loss: such as cross-entropy, by its name in `reference.LOSSES`.
        mean: whether it is a mean over the examples, and not a sum.
        hidden: the activation of the hidden layers.
        output: that of the last layer.
        layers: how many there are.
        autodiff: whether a submission may import what differentiates for it.
        weights: what lines such as dW2 are worth; 1 by default.
    """

    loss: str | None = None
    mean: bool | None = None
    hidden: str | None = None
    output: str | None = None
    layers: int | None = None
    autodiff: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError for what no submission can be."""
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in known:
                raise ValueError(f"{name} is {value!r}: give one of {', '.join(known)}")
        for name in ("mean", "autodiff"):
            if not isinstance(getattr(self, name), (bool, type(None))):
                raise ValueError(f"{name} is {getattr(self, name)!r}: give true or false")
        layers = self.layers
        if layers is not None and (not isinstance(layers, int) or layers < 1):
            raise ValueError(f"layers is {layers!r}: give an integer ≥ 1")
        if not isinstance(self.weights, Mapping):
            raise ValueError(f"weights is {self.weights!r}: give a table such as dW2 = 2")
        for line, weight in self.weights.items():
            if not isinstance(weight, (int, float)) or not 0 <= weight < 1e6:
                raise ValueError(f"weights: {line} is {weight!r}: give a number from 0 on")

    def worth(self, line: str) -> float:
        """The points of a line."""
        return float(self.weights.get(line, 1))


def read_rubric(path: Path) -> Rubric:
    """A rubric in TOML, with the fields of `Rubric` as keys.

    Raises:
        ValueError: if it cannot be read, or has other keys.
    """
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}") from None
    known = [each.name for each in fields(Rubric)]
    if strange := sorted({*found} - {*known}):
        raise ValueError(f"{path} has {strange[0]!r}: its keys are {', '.join(known)}")
    try:
        return Rubric(**found)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
