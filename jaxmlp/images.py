"""A picture of a digit, from a photograph to a 28 × 28 file, as an input for a trained network."""

import io
import math
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from jaxmlp.data.preprocessing import Preprocessing
from jaxmlp.data.readers import npy_header, read_npy
from jaxmlp.files import check_regular, free_memory, read_file
from jaxmlp.ink import FAINTEST, Framing, border, find_ink, place

MAX_PIXELS = 64_000_000  # more than a telephone's camera gives
BRIGHTNESS = Preprocessing()  # inputs from 0 for black to 1 for white
WORKING_SIDE = 512  # pixels of the longer side that are kept: a small digit still has dozens


def read_image(
    path: str | Path, framing: Framing, preprocessing: Preprocessing = BRIGHTNESS
) -> np.ndarray:
    """The network input (n_in,), float32, that a picture of one digit stands for.

    A picture of any size, dark ink on light or light on dark, is freed of uneven light, noise
    and dirt, and its ink is brought to the size and place that `framing` gives. What has the
    training images' size and their paper along its border already is only scaled to [0, 1].
    Transparent pixels count as white paper; a photograph is turned upright as its EXIF data say.

    Args:
        path: a PNG, JPEG or BMP file, or an .npy file with a picture (height, width), uint8 or
            real numbers in [0, 1]. An .npy array of shape (n_in,) or image_shape is not looked at
            further: uint8 is brightness, real numbers are raw numbers like the training examples',
            or from 0 to 1 where those were pixels.
        framing: of the images that the network was trained on.
        preprocessing: of the numbers that it was trained on.

    Raises:
        ValueError: if the file is missing, damaged, too large, no picture, or without ink.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            array, raw = _read_npy(path, framing.image_shape)
            if array.ndim == 1 or array.shape == framing.image_shape:
                if raw and preprocessing.kind != "pixels":
                    return preprocessing(array[None])[0]
                return preprocessing.of_brightness(array.reshape(-1))
            picture = _working_size(Image.fromarray(array))
        else:
            picture = _read_picture(path, framing.image_shape)
            bright = 1 - picture if framing.dark else picture  # the ink, on dark paper
            edge = np.median(border(bright))
            if picture.shape == framing.image_shape and edge < min(0.5, bright.max() - FAINTEST):
                return preprocessing.of_brightness(picture.reshape(-1))
        ink = place(find_ink(picture), framing)
        brightness = 1 - ink if framing.dark else ink
        return preprocessing.of_brightness(brightness.reshape(-1))
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


def _read_npy(path: Path, image_shape: tuple[int, int]) -> tuple[np.ndarray, bool]:
    """The array of an .npy file as float32, checked, and whether it holds real numbers."""
    n_in = math.prod(image_shape)
    check_regular(path)
    with path.open("rb") as file:
        header = npy_header(file, "the array")
        shape, size, dtype = header.shape, math.prod(header.shape), header.dtype
        picture = len(shape) == 2 and image_shape[0] > 1
        if shape not in ((n_in,), image_shape) and not picture:
            raise ValueError(f"it has shape {shape}: give ({n_in},) or {image_shape}")
        if not 1 <= size <= MAX_PIXELS:
            raise ValueError(f"it has {size} pixels: give at least 1, at most {MAX_PIXELS}")
        if dtype != np.uint8 and not np.issubdtype(dtype, np.floating):
            raise ValueError(f"it has dtype {dtype}: give uint8 from 0 to 255, or real numbers")
        numbers = read_npy(file, "the array", header)
    if dtype == np.uint8:
        return numbers.astype(np.float32) / 255, False
    with np.errstate(over="ignore"):
        array = numbers.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError("it holds NaN, an infinity or a number beyond float32")
    if array.shape not in ((n_in,), image_shape) and (array.min() < 0 or array.max() > 1):
        raise ValueError(f"it runs from {array.min():g} to {array.max():g}: scale it to [0, 1]")
    return array, True


def _read_picture(path: Path, image_shape: tuple[int, int]) -> np.ndarray:
    """A picture file's brightness in [0, 1], at most WORKING_SIDE on its longer side."""
    if image_shape[0] == 1:
        raise ValueError(f"the network takes {image_shape[1]} numbers, no images: give .npy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is lower
        content = io.BytesIO(read_file(path, free_memory() // 4))
        image = Image.open(content, formats=("PNG", "JPEG", "BMP"))
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"it has {image.width} × {image.height} pixels: at most {MAX_PIXELS}")
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits
        return _brightness(upright, 65535)
    if upright.has_transparency_data:
        colours = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return _brightness(upright.convert("L"), 255)


def _brightness(image: Image.Image, white: int) -> np.ndarray:
    """The pixels of a picture from 0 to 1."""
    array = np.array(image, np.float32)
    array /= white  # in place: there may be 64 million
    return _working_size(Image.fromarray(array))


def _working_size(image: Image.Image) -> np.ndarray:
    """A brightness image as an array, made smaller by an integer factor where it is large."""
    factor = -(-max(image.size) // WORKING_SIDE)
    return np.asarray(image.reduce((min(factor, image.width), min(factor, image.height))))
