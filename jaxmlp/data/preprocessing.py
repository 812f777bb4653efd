"""How raw numbers become inputs: chosen and fitted on training examples, and kept with the run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

INPUTS = ("auto", "as is", "pixels", "standardise", "minmax")
BLOCK = 4096  # examples of which real inputs are made at a time
SQUARE = 16  # numbers in an example from which on a square of pixels may be meant
BRIGHT = 100  # of 255: the largest whole number has to reach it for a square to be an image
LARGE = 10.0  # inputs beyond, or columns whose deviations differ by more, are standardised


@dataclass(frozen=True)
class Preprocessing:
    """What makes inputs of raw numbers: (x − offset) · scale, column by column.

    Attributes:
        kind: as is, pixels, standardise (mean 0 and deviation 1 in every column of the training
            examples) or minmax (from 0 to 1 there).
        offset, scale: shape () or (n_in,).
        low, high: the smallest and the largest raw number of the training examples.
        reason: why this kind was chosen, or "as asked".
    """

    kind: str = "as is"
    offset: np.ndarray = field(default_factory=lambda: np.zeros(()))
    scale: np.ndarray = field(default_factory=lambda: np.ones(()))
    low: float = 0.0
    high: float = 1.0
    reason: str = "as asked"

    def __call__(self, x: Any) -> np.ndarray:
        """Inputs (n, n_in) in float32, of raw numbers of shape (n, …)."""
        flat = np.reshape(x, (len(x), -1))
        if self.kind in ("as is", "pixels"):
            with np.errstate(over="ignore"):  # what becomes infinite is refused with the infinities
                inputs = flat.astype(np.float32)
            return inputs if self.kind == "as is" else inputs * np.float32(self.scale)
        inputs = np.empty(flat.shape, np.float32)
        for start in range(0, len(flat), BLOCK):  # in float64, which takes twice the memory
            some = flat[start : start + BLOCK].astype(np.float64)
            with np.errstate(over="ignore"):
                inputs[start : start + BLOCK] = (some - self.offset) * self.scale
        return inputs

    def of_brightness(self, brightness: np.ndarray) -> np.ndarray:
        """Inputs (n_in,) of a picture's brightness (n_in,), from 0 for black to 1 for white.

        Raises:
            ValueError: if the training examples were no such numbers.
        """
        if self.kind == "pixels":
            return brightness.astype(np.float32)
        if self.brightest is None:
            raise ValueError(
                f"the network was trained on numbers from {self.low:.3g} to {self.high:.3g}, which "
                "are no brightness from black to white: give .npy files of such numbers"
            )
        return self(brightness[None] * self.brightest)[0]

    def brightness(self, inputs: np.ndarray) -> np.ndarray | None:
        """The brightness, from 0 to 1, that inputs (n, n_in) stand for; None if they do not."""
        if self.kind == "pixels":
            return inputs
        return (
            None
            if self.brightest is None
            else ((inputs / self.scale + self.offset) / self.brightest).astype(np.float32)
        )

    @property
    def brightest(self) -> float | None:
        """The raw number that stands for white in a picture; None if inputs are no brightness."""
        if self.low < 0:
            return None
        if self.kind == "pixels":
            return float(1 / self.scale)
        return 1.0 if self.high <= 1 else 255.0 if self.high <= 255 else None

    def __str__(self) -> str:
        """Such as pixels, divided by 255: 8-bit images."""
        by = f", divided by {1 / self.scale:g}" if self.kind == "pixels" else ""
        return f"{self.kind}{by}: {self.reason}"


def fit(
    x: np.ndarray,
    inputs: str = "auto",
    pixel_max: int | None = None,
    columns: Sequence[str] = (),
    table: bool = False,
) -> Preprocessing:
    """Choose and fit the preprocessing of training examples.

    Args:
        x: raw numbers, shape (n, …).
        inputs: one of `INPUTS`; "auto" chooses by the values, whatever their dtype.
        pixel_max: the number that becomes 1; by default 65535 for larger whole numbers than 255.
        columns: of which column of a file each number is, if they come from one.
        table: whether they are of named columns: then, as with `columns`, "auto" takes none for
            pixels.

    Raises:
        ValueError: if `inputs` is none of those, or numbers are no pixels that ought to be.
    """
    if inputs not in INPUTS:
        raise ValueError(f"inputs is {inputs!r}: give one of {', '.join(INPUTS)}")
    low, high = float(x.min()), float(x.max())
    kind, reason = inputs, "as asked"
    if inputs == "auto":
        kind, reason = choose(x, pixel_max, table or bool(columns))
    zero, one = np.zeros(()), np.ones(())
    if kind == "as is":
        return Preprocessing(kind, zero, one, low, high, reason)
    if kind == "pixels":
        white = pixel_max or (255 if high <= 255 else 65535)
        if columns:
            _check_pixels(x, columns, white)
        if low < 0 or high > white:
            raise ValueError(
                f"x_train runs from {low:g} to {high:g}: pixels run from 0 to {white}; give "
                "inputs='standardise', or another pixel_max"
            )
        return Preprocessing(kind, zero, np.asarray(1 / white), low, high, reason)
    flat = np.reshape(x, (len(x), -1)).astype(np.float64)
    if kind == "standardise":
        offset, width = flat.mean(axis=0), flat.std(axis=0)
        width = np.where(width <= 10 * np.finfo(float).eps * np.abs(offset), 0.0, width)
        if inputs == "auto":  # columns of 0 and 1 stay
            binary = np.all((flat == 0) | (flat == 1), axis=0)
            offset, width = np.where(binary, 0.0, offset), np.where(binary, 1.0, width)
    else:
        offset, width = flat.min(axis=0), np.ptp(flat, axis=0)
    scale = 1 / np.where(width == 0, 1.0, width)  # a constant column becomes 0
    return Preprocessing(kind, offset, scale, low, high, reason)


def _check_pixels(x: np.ndarray, columns: Sequence[str], white: int) -> None:
    """Raise ValueError for the first column of a table that can hold no pixels."""
    for name, low, high in zip(columns, x.min(axis=0), x.max(axis=0), strict=True):
        if low < 0 or high > white:
            raise ValueError(
                f"column {name!r} runs from {low:g} to {high:g}, but pixels from 0 to {white}, as "
                "--inputs pixels says: give --inputs standardise, or leave it out by --drop"
            )


def fit_targets(y: np.ndarray, targets: str, loss: str) -> Preprocessing:
    """What makes real targets (n, n_out) numbers to train on: nothing, or mean 0 and deviation 1.

    Raises:
        ValueError: if `targets` is neither, or labels are to be standardised that are no targets.
    """
    if targets not in ("as is", "standardise"):
        raise ValueError(f"targets is {targets!r}: give 'as is' or 'standardise'")
    if targets == "as is":
        return Preprocessing()
    if loss != "squared":
        raise ValueError(f"targets is {targets!r}, which is for the loss squared, not for {loss}")
    return fit(y, targets)


def undone(preprocessing: Preprocessing, numbers: np.ndarray) -> np.ndarray:
    """Of numbers that a preprocessing has made, what they were made of, in float64."""
    return np.asarray(numbers, np.float64) / preprocessing.scale + preprocessing.offset


def choose(x: np.ndarray, pixel_max: int | None = None, table: bool = False) -> tuple[str, str]:
    """The kind of preprocessing that the values ask for, and why."""
    low, high = float(x.min()), float(x.max())
    if low >= 0 and high <= 1:
        return "as is", "they run from 0 to 1"
    n_in = int(np.prod(x.shape[1:]))
    white = pixel_max or (255 if high <= 255 else 65535)
    if low >= 0 and high <= white and np.array_equal(x, np.floor(x)):
        if x.ndim > 2:
            return "pixels", f"images of whole numbers up to {white}"
        square = not table and int(n_in**0.5) ** 2 == n_in >= SQUARE
        if pixel_max or (square and BRIGHT <= high <= 255):
            return "pixels", f"squares of whole numbers up to {white}"
    if x.ndim > 2 and max(-low, high) <= LARGE:
        return "as is", f"images from {low:.3g} to {high:.3g}"
    flat = np.reshape(x, (len(x), -1))
    widths = flat.std(axis=0, dtype=np.float64)
    widths = widths[(widths > 0) & ~np.all((flat == 0) | (flat == 1), axis=0)]
    if len(widths) and widths.max() > LARGE * widths.min():
        sizes = f"their deviations run from {widths.min():.3g} to {widths.max():.3g}"
        return "standardise", f"columns of very different sizes, {sizes}; 0 and 1 stay"
    if max(-low, high) > LARGE:
        return "standardise", f"large numbers, from {low:.3g} to {high:.3g}; 0 and 1 stay"
    return "as is", f"they run from {low:.3g} to {high:.3g}"


def fits_in_8_bits(x: np.ndarray, preprocessing: Preprocessing) -> bool:
    """Whether raw numbers are pixels that can be kept as bytes, with the scale beside them."""
    if preprocessing.kind != "pixels" or 1 / preprocessing.scale > 255.5:
        return False
    return bool(x.min() >= 0 and x.max() <= 255 and np.array_equal(x, np.floor(x)))


def as_bytes(x: np.ndarray) -> np.ndarray:
    """Raw pixels of shape (n, n_in) in 8 bits."""
    return np.reshape(x, (len(x), -1)).astype(np.uint8)


def as_record(preprocessing: Preprocessing) -> dict[str, Any]:
    """What a run folder says of it, for `from_record`."""
    return {
        "kind": preprocessing.kind,
        "offset": np.asarray(preprocessing.offset).tolist(),
        "scale": np.asarray(preprocessing.scale).tolist(),
        "low": preprocessing.low,
        "high": preprocessing.high,
        "reason": preprocessing.reason,
    }


def from_record(record: Any, n_in: int) -> Preprocessing:
    """The preprocessing that a record tells of.

    Raises:
        ValueError: if it tells of none for so many inputs.
    """
    try:
        offset, scale = (np.asarray(record[name], np.float64) for name in ("offset", "scale"))
        low, high = float(record["low"]), float(record["high"])
        kind, reason = record["kind"], str(record["reason"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the preprocessing {str(record)[:100]} is none: {error!r}") from error
    sound = all(each.shape in ((), (n_in,)) and np.isfinite(each).all() for each in (offset, scale))
    if (
        not sound
        or kind not in INPUTS[1:]
        or (kind == "pixels" and not (scale.ndim == 0 and scale > 0))
    ):
        raise ValueError(f"the preprocessing {kind!r} of the record does not fit {n_in} inputs")
    return Preprocessing(kind, offset, scale, low, high, reason)
