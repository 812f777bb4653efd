"""Pictures, from a photograph of a digit to a 28 × 28 file, as inputs for a trained network."""

import io
import math
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from jaxmlp.data.preprocessing import Preprocessing
from jaxmlp.data.readers import npy_header, read_npy
from jaxmlp.files import check_regular, free_memory, read_file
from jaxmlp.ink import FAINTEST, Framing, border, find_ink, place

MAX_PIXELS = 64_000_000  # more than a telephone's camera gives
BRIGHTNESS = Preprocessing()  # inputs from 0 for black to 1 for white
WORKING_SIDE = 512  # pixels of the longer side that are kept: a small digit still has dozens
COLOURS = 3  # numbers of a pixel in colours: red, green and blue
AS_IT_IS = "as it is"
FAR = 8  # times that the training examples' largest number is larger, which is worth saying


class Seen(NamedTuple):
    """What a network sees of a file.

    Attributes:
        inputs: float32, shape (n, n_in); of a picture, n is 1.
        how: what was done to the picture, in a few words.
    """

    inputs: np.ndarray
    how: str


def read_image(
    path: str | Path, framing: Framing, preprocessing: Preprocessing = BRIGHTNESS
) -> Seen:
    """The network inputs that a picture stands for.

    A picture of the training images' size is only scaled to [0, 1]. But where those are ink on
    paper, as digits are, their reverse is inverted, and what is on other paper or of another size,
    dark ink on light or light on dark, is freed of uneven light, noise and dirt, and its ink is
    brought to the size and place that `framing` gives. Where they are photographs or in colours,
    another size is resized.
    Transparent pixels count as white; a photograph is turned upright as its EXIF data say.

    Args:
        path: a PNG, JPEG or BMP file, or an .npy file with a picture (height, width), uint8 or
            real numbers in [0, 1]. An .npy array of shape (n_in,) or image_shape, or (n, …) of
            several, holds raw numbers like the training examples'. But where those were pixels,
            real numbers from 0 to 1 are brightness, and so are whole numbers from 0 to 255 that go
            beyond all of the training examples'.
        framing: of the images that the network was trained on.
        preprocessing: of the numbers that it was trained on.

    Raises:
        ValueError: if the file is missing, damaged, too large, no picture, or without ink.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            return _of_array(path, framing, preprocessing)
        return _of_picture(_open(path, framing.image_shape), framing, preprocessing)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is no sound PNG, JPEG or BMP file, nor .npy") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except MemoryError:
        raise
    # a damaged file makes Pillow and NumPy raise nearly anything: SyntaxError, struct.error, …
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} cannot be used: {reason}") from error


def _of_array(path: Path, framing: Framing, preprocessing: Preprocessing) -> Seen:
    """What an .npy file holds: inputs as they are, or a picture of another size."""
    shape = framing.image_shape
    array = _read_npy(path, shape)
    n_in, white = math.prod(shape), 255 if array.dtype.kind in "iu" else 1
    if not _are_inputs(array.shape, shape):
        try:
            return _of_picture(_as_picture(array, white), framing, preprocessing)
        except ValueError as error:
            raise ValueError(
                f"{error}; its shape {array.shape} is that of a picture, and not of examples of "
                f"{n_in} numbers"
            ) from error
    rows = array.reshape(-1, n_in)
    if not _is_brightness(rows, preprocessing):
        beyond = rows.min() < preprocessing.low or rows.max() > preprocessing.high
        far_below = FAR * float(np.abs(rows).max()) < preprocessing.high
        where = "beyond" if beyond else "far below"
        said = (
            f", {where} the training examples' {preprocessing.low:.3g} to {preprocessing.high:.3g}"
        )
        return Seen(preprocessing(rows), AS_IT_IS + said * bool(beyond or far_below))
    brightness = rows.astype(np.float32) / white
    inputs = np.stack([preprocessing.of_brightness(row) for row in brightness])
    return Seen(inputs, f"{AS_IT_IS}, with {white} as white")


def _is_brightness(array: np.ndarray, preprocessing: Preprocessing) -> bool:
    """Whether an array of the training examples' shape cannot hold numbers like theirs."""
    white = float(1 / preprocessing.scale) if preprocessing.kind == "pixels" else None
    if array.dtype.kind in "iu":
        eight_bits = array.dtype == np.uint8 or bool(array.min() >= 0 and array.max() <= 255)
        deep = array.dtype == np.uint8 and white is not None and white > 255
        return (eight_bits and bool(array.max() > preprocessing.high)) or deep
    real = array.dtype.kind in "fb"
    return white is not None and white > 1 and real and bool(0 <= array.min() <= array.max() <= 1)


def _are_inputs(shape: tuple[int, ...], image_shape: tuple[int, ...]) -> bool:
    """Whether an array of a shape is one example or several, and no picture of another size."""
    one = (image_shape, (math.prod(image_shape),))
    return shape in one or shape[1:] in one


def _of_picture(image: Image.Image, framing: Framing, preprocessing: Preprocessing) -> Seen:
    """A picture in 8-bit colours or in brightness from 0 to 1, as the training images are."""
    height, width = framing.image_shape[:2]
    same = image.size == (width, height)
    if not framing.paper:
        how = AS_IT_IS if same else f"resized from {image.width} × {image.height} pixels"
        array = np.asarray(image if same else image.resize((width, height), Image.Resampling.BOX))
        if array.dtype == np.uint8:
            array = array.astype(np.float32) / 255
        return Seen(preprocessing.of_brightness(array.reshape(-1))[None], how)
    if same:
        picture = np.asarray(image)
        bright = 1 - picture if framing.dark else picture  # the ink, on dark paper
        if _has_paper(bright, 0.5):
            return Seen(preprocessing.of_brightness(picture.reshape(-1))[None], AS_IT_IS)
        if _has_paper(1 - bright, FAINTEST):
            return Seen(preprocessing.of_brightness(1 - picture.reshape(-1))[None], "inverted")
    how = "its ink placed as in the training images"
    ink = place(find_ink(_working_size(image)), framing)
    brightness = 1 - ink if framing.dark else ink
    return Seen(preprocessing.of_brightness(brightness.reshape(-1))[None], how)


def _has_paper(bright: np.ndarray, most: float) -> bool:
    """Whether the border of a picture with bright ink is darker than `most`, and than its ink."""
    return bool(np.median(border(bright)) < min(most, bright.max() - FAINTEST))


def _read_npy(path: Path, image_shape: tuple[int, ...]) -> np.ndarray:
    """The array of an .npy file, checked: raw numbers of examples, or a picture's brightness."""
    n_in = math.prod(image_shape)
    check_regular(path)
    with path.open("rb") as file:
        header = npy_header(file, "the array")
        shape, size, dtype = header.shape, math.prod(header.shape), header.dtype
        ready = _are_inputs(shape, image_shape)
        picture = len(shape) == len(image_shape) == 2 and image_shape[0] > 1
        if not ready and not picture:
            raise ValueError(f"it has shape {shape}: give ({n_in},), {image_shape} or (n, {n_in})")
        if not 1 <= size <= MAX_PIXELS:
            raise ValueError(f"it has {size} pixels: give at least 1, at most {MAX_PIXELS}")
        if dtype.kind not in ("buif" if ready else "f") and dtype != np.uint8:
            wanted = "numbers" if ready else "uint8 from 0 to 255, or real numbers"
            raise ValueError(f"it has dtype {dtype}: give {wanted}")
        array = read_npy(file, "the array", header)
    with np.errstate(over="ignore"):
        if not np.isfinite(array.astype(np.float32)).all():
            raise ValueError("it holds NaN, an infinity or a number beyond float32")
    low, high = float(array.min()), float(array.max())
    if not ready and dtype != np.uint8 and (low < 0 or high > 1):
        raise ValueError(
            f"it has shape {shape}, as a picture of another size has, but runs from {low:g} to "
            f"{high:g}: scale it to [0, 1]; or give examples of {n_in} numbers"
        )
    return array


def _open(path: Path, image_shape: tuple[int, ...]) -> Image.Image:
    """A picture file, upright: its brightness in [0, 1], or 8-bit colours for images in colours."""
    if image_shape[0] == 1:
        raise ValueError(f"the network takes {image_shape[1]} numbers, no images: give .npy")
    if len(image_shape) > 2 and image_shape[2] != COLOURS:
        sizes = " × ".join(map(str, image_shape))
        raise ValueError(f"the network takes volumes of {sizes} numbers, no images: give .npy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is lower
        content = io.BytesIO(read_file(path, free_memory() // 4))
        image = Image.open(content, formats=("PNG", "JPEG", "BMP"))
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"it has {image.width} × {image.height} pixels: at most {MAX_PIXELS}")
        upright = ImageOps.exif_transpose(image)
    deep = upright.mode.startswith("I")  # 16 bits
    if deep and len(image_shape) == 2:
        return _as_picture(upright, 65535)
    if deep:
        upright = Image.fromarray((np.asarray(upright) // 257).astype(np.uint8))
    if upright.has_transparency_data:
        colours = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return (
        upright.convert("RGB") if len(image_shape) > 2 else _as_picture(upright.convert("L"), 255)
    )


def _as_picture(image: Any, white: int) -> Image.Image:
    """A picture of an image or an array, whose pixels run from 0 to 1."""
    array = np.array(image, np.float32)
    array /= white  # in place: there may be 64 million
    return Image.fromarray(array)


def _working_size(image: Image.Image) -> np.ndarray:
    """A brightness image as an array, made smaller by an integer factor where it is large."""
    factor = -(-max(image.size) // WORKING_SIDE)
    return np.asarray(image.reduce((min(factor, image.width), min(factor, image.height))))
