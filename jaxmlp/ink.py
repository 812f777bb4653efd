"""Ink on paper: where it stands in a picture, and how to place it as in the training images."""

from typing import NamedTuple

import numpy as np

FAINTEST = 0.08  # of the way from black to white: less contrast than this is no ink
EVEN = 0.02  # paper whose brightness varies less than this is lit evenly
SHADOW = 0.45  # of the ink's contrast: what is fainter is a shadow or a smear
PALE = 0.25  # brighter than this, counted from the paper's side, no border is paper
NEARLY_ALL = 0.99  # of the training images: if as many have paper along their border, they are ink
SPECK = 0.04  # a patch smaller than this share of the largest one is dirt, not a stroke


class Framing(NamedTuple):
    """How the ink stands in the training images.

    Attributes:
        image_shape: (height, width) in pixels, and 3 for colours; of volumes three sizes; (1, n_in)
            where inputs are no images.
        box: median (height, width) of the ink's bounding box, pixels.
        centre: mean (row, column) of the ink's centre of mass, pixels; the middle of the first
            pixel is 0.
        dark: whether the ink is darker than its paper, as on a sheet, unlike MNIST's.
        paper: whether they are ink on paper at all, as their borders show: photographs are not.
    """

    image_shape: tuple[int, ...]
    box: tuple[float, float]
    centre: tuple[float, float]
    dark: bool = False
    paper: bool = True


def framing(x: np.ndarray, image_shape: tuple[int, ...]) -> Framing:
    """Measure how training images are framed.

    Args:
        x: brightness (n, n_in) in [0, 1]. Images without ink do not count; with no other the ink
            is taken to fill the frame.
        image_shape: as in `Framing`, n_in numbers.
    """
    height, width = image_shape[:2]
    whole = (float(height), float(width)), ((height - 1) / 2, (width - 1) / 2)
    if len(image_shape) > 2:
        return Framing(image_shape, *whole, paper=False)
    images = np.asarray(x, np.float32).reshape(-1, *image_shape)
    edges = np.asarray([np.median(border(image)) for image in images])
    dark = bool(np.median(edges) > 0.5)
    paper = bool(np.mean((1 - edges if dark else edges) < PALE) >= NEARLY_ALL)
    images = 1 - images if dark else images
    ink = images > np.maximum(images.max(axis=(1, 2), keepdims=True) / 2, 0.2)
    images, ink = images[ink.any(axis=(1, 2))], ink[ink.any(axis=(1, 2))]
    if not len(images):
        return Framing(image_shape, *whole)
    box, centre = [], []
    for across in (2, 1):
        some = ink.any(axis=across)  # (n, height) or (n, width)
        length = some.shape[1] - some.argmax(axis=1) - some[:, ::-1].argmax(axis=1)
        box.append(float(np.median(length)))
        mass = images.sum(axis=across)
        centre.append(float(np.mean(mass @ np.arange(mass.shape[1]) / images.sum(axis=(1, 2)))))
    return Framing(image_shape, (box[0], box[1]), (centre[0], centre[1]), dark, paper)


def border(image: np.ndarray) -> np.ndarray:
    """The pixels along the border, in one row."""
    return np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])


def find_ink(picture: np.ndarray) -> np.ndarray:
    """How much ink is on each pixel of a picture: 0 for paper, 1 for the full stroke."""
    smooth = _blurred(picture, max(picture.shape) / 200)
    noise = 1.4826 * float(np.median(np.abs(picture - smooth)))
    faint = max(FAINTEST, 2 * noise)
    contrast = smooth - _paper(smooth, 0.0)
    # ink is darker than the paper, or brighter: whichever there is more of
    sign = float(np.sign(np.sum(contrast, where=np.abs(contrast) > faint)))
    paper = _paper(smooth, sign)
    contrast = sign * (smooth - paper)
    # the darkest thousandth of the picture is ink; a shadow is larger, but fainter by far
    full = np.quantile(contrast, 0.999)
    strokes = _without_specks(contrast > max(faint, SHADOW * full))
    if not strokes.any():
        raise ValueError("it has no ink: nothing in it stands out from the paper")
    full = np.quantile(contrast[strokes], 0.95)
    # with the strokes' grey rims, which are as faint as a shadow but stand beside ink
    strokes = _blurred(strokes.astype(float), max(1.0, max(picture.shape) / 100)) > 0.05
    return np.where(strokes, np.clip(sign * (picture - paper) / full, 0, 1), 0)


def _blurred(image: np.ndarray, radius: float) -> np.ndarray:
    """A picture after a Gaussian blur: one matrix for each direction."""
    down, across = (
        np.exp(-0.5 * ((np.arange(n)[:, None] - np.arange(n)) / radius) ** 2) for n in image.shape
    )
    down, across = (matrix / matrix.sum(axis=1, keepdims=True) for matrix in (down, across))
    return down @ image @ across.T


def _paper(picture: np.ndarray, ink: float) -> np.ndarray:
    """The paper's brightness under the ink: the quadratic surface with the least absolute error.

    Ink is the smaller part of a picture and hardly pulls at a least absolute error; along the
    border, where it is scarcest, pixels count more.
    """
    ring = border(picture)
    level = np.median(ring)
    if np.mean(np.abs(ring - level) < EVEN) > 0.5:  # drawn on a computer: ink may touch the border
        return np.full_like(picture, level)
    row, column = (np.linspace(-1, 1, size, dtype=np.float32) for size in picture.shape)
    step = tuple(max(1, size // 48) for size in picture.shape)
    coarse = picture[:: step[0], :: step[1]]
    y, x = np.meshgrid(row[:: step[0]], column[:: step[1]], indexing="ij")
    terms = _quadratic(y.ravel(), x.ravel())
    emphasis = np.where(np.maximum(np.abs(y), np.abs(x)).ravel() > 0.9, 4.0, 1.0)
    weight, fit = emphasis, np.zeros(6)
    for _ in range(20):  # iteratively reweighted least squares
        root = np.sqrt(weight)
        fit = np.linalg.lstsq(terms * root[:, None], coarse.ravel() * root, rcond=None)[0]
        error = coarse.ravel() - terms @ fit
        weight = emphasis * np.where(ink * error > 0, 0.25, 1) / np.maximum(np.abs(error), 0.01)
    y, x = np.meshgrid(row, column, indexing="ij")
    return (_quadratic(y, x) @ fit).astype(np.float32)


def _quadratic(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The terms of a quadratic surface, shape (…, 6)."""
    return np.stack([np.ones_like(y), y, x, y * y, y * x, x * x], axis=-1)


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """`mask` without the connected patches that are small beside its largest one."""
    # patches are found on a coarse grid, where parts of one stroke that nearly touch are one
    cell = -(-max(mask.shape) // 96)
    rows, columns = (-(-size // cell) for size in mask.shape)
    padded = np.zeros((rows * cell, columns * cell), bool)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    area = padded.reshape(rows, cell, columns, cell).sum(axis=(1, 3))
    name = np.where(area > 0, np.arange(1, area.size + 1).reshape(area.shape), 0)
    while True:  # each cell takes the largest name around it until no name changes
        around = np.pad(name, 1)
        around = np.maximum(np.maximum(around[:-2], around[1:-1]), around[2:])
        around = np.maximum(np.maximum(around[:, :-2], around[:, 1:-1]), around[:, 2:])
        around[area == 0] = 0
        if np.array_equal(around, name):
            break
        name = around
    patch = np.bincount(name.ravel(), area.ravel())
    keep = (patch >= SPECK * patch.max())[name] & (area > 0)
    return mask & keep.repeat(cell, 0).repeat(cell, 1)[: mask.shape[0], : mask.shape[1]]


def place(ink: np.ndarray, framing: Framing) -> np.ndarray:
    """The ink drawn at the size and place of the training images: 1 where there is most of it."""
    some = ink > ink.max() / 2
    spans = [np.flatnonzero(some.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    scale = max(framing.box) / max(1 + last - first for first, last in spans)
    sides = []
    for axis, size in enumerate(framing.image_shape):
        mass = ink.sum(axis=1 - axis)
        position = np.arange(len(mass))
        middle = framing.centre[axis] + scale * (position - mass @ position / mass.sum())
        # ink that fits into the frame is not cut off at its edge
        low, high = middle[spans[axis]] + [-scale / 2, scale / 2]
        room = sorted((-0.5 - low, size - 0.5 - high))
        sides.append(_overlap(size, middle + np.clip(0, *room), scale))
    image = sides[0] @ ink @ sides[1].T
    return (image / image.max()).astype(np.float32)


def _overlap(size: int, middle: np.ndarray, length: float) -> np.ndarray:
    """How much of each pixel 0 … size − 1 is covered by intervals of `length` around `middle`.

    Returns:
        Shape (size, n): averaging over areas, which makes a picture smaller without aliasing.
    """
    pixel = np.arange(size)[:, None]
    low = np.maximum(middle - length / 2, pixel - 0.5)
    high = np.minimum(middle + length / 2, pixel + 0.5)
    return np.maximum(high - low, 0)
