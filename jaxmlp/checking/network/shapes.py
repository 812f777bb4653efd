"""The shapes of networks on which a gradient is tried."""

from dataclasses import dataclass

FORMS = ("classes", "rows")  # of labels


@dataclass(frozen=True)
class Shape:
    """Widths, bias and number of examples of a case."""

    sizes: tuple[int, ...]
    bias: bool
    n: int

    @property
    def depth(self) -> int:
        """The number of layers."""
        return len(self.sizes) - 1

    def __str__(self) -> str:
        """Such as 3-4-3 without bias, 1 example."""
        widths = "-".join(map(str, self.sizes))
        return f"{widths} {'with' if self.bias else 'without'} bias, {self.n} example" + "s" * (
            self.n > 1
        )


SHAPES = (
    Shape((3, 4, 3), False, 1),  # the note's own
    Shape((4, 3, 2), True, 5),  # no two sizes alike: a factor tells which one it is
    Shape((3, 3, 3), True, 3),  # all alike: a wrong axis or a missing transpose still runs
    Shape((3, 2), True, 4),  # no hidden layer
    Shape((2, 4, 3, 5), True, 6),  # two hidden layers, all sizes different
    Shape((3, 3, 3, 3), True, 3),  # weights and masks of another layer fit
    Shape((2, 1, 1), True, 2),  # width one, and one class
    Shape((2, 3, 4), True, 1),  # one example with biases: nothing to sum
    Shape((40, 30, 10), True, 20),  # large enough to have a corner
)
