"""Where data sets come from: scikit-learn, OpenML, IDX files, .npz files and arrays."""

import warnings
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike

from jaxmlp.data import Batch, Dataset, check_counts
from jaxmlp.readers import read_idx, read_npz
from jaxmlp.settings import check_integer


class LoadOptions(TypedDict, total=False):
    """The keywords that every loader takes.

    data_seed: chooses the training examples that are held out for validation (default 0).
    validation_size: how many are held out (default: a tenth of the training examples).
    uint8: keep 8-bit pixels as they are, with a scale, instead of as float32 (default False).
    """

    data_seed: int
    validation_size: int
    uint8: bool


def load_digits(**options: Unpack[LoadOptions]) -> Dataset:
    """The 1,797 handwritten digits of 8 × 8 pixels that come with scikit-learn.

    A fifth of them (360) is the test part, the same whatever the options say.

    Returns:
        Inputs in [0, 1], classes 0 to 9.

    Raises:
        ValueError: if an option is out of range.
    """
    from sklearn.datasets import load_digits as sklearn_digits

    bunch: Any = sklearn_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    x, labels = bunch.images[order].astype(np.uint8), bunch.target[order].astype(np.int32)
    return split_dataset(x[360:], labels[360:], x[:360], labels[:360], pixel_max=16, **options)


def load_mnist(cache: Path | None = None, **options: Unpack[LoadOptions]) -> Dataset:
    """MNIST from OpenML through scikit-learn, which keeps it in `cache` from the first time on.

    Args:
        cache: a folder; by default scikit-learn's own (see `sklearn.datasets.get_data_home`).
        options: see `LoadOptions`.

    Returns:
        The usual 60,000 training images, less the validation part, and 10,000 test images.

    Raises:
        ValueError: if it is neither in the cache nor to be had over the network.
    """
    from sklearn.datasets import fetch_openml

    try:
        with warnings.catch_warnings(action="ignore"):  # of its retries: the error says enough
            bunch: Any = fetch_openml("mnist_784", version=1, data_home=cache, as_frame=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"MNIST cannot be fetched from OpenML ({error}): check the network, or name a folder "
            "with its four IDX files"
        ) from error
    x, labels = bunch.data, bunch.target
    split = len(x) * 6 // 7  # OpenML keeps the original order: the test images come last
    x, labels = x.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.int32)
    return split_dataset(x[:split], labels[:split], x[split:], labels[split:], **options)


def load_idx(directory: str | Path, **options: Unpack[LoadOptions]) -> Dataset:
    """A data set in MNIST's four IDX files, each gzipped or not.

    Raises:
        ValueError: if a file is missing, truncated, corrupt or of the wrong kind, or the
            numbers of images and labels differ.
    """
    arrays = []
    for part in ("train", "t10k"):
        for kind, rank in (("images", 3), ("labels", 1)):
            arrays.append(read_idx(_find_idx(Path(directory), f"{part}-{kind}", rank), rank))
    return split_dataset(*arrays, **options)


def _find_idx(directory: Path, stem: str, rank: int) -> Path:
    """The file `stem` of a folder, under any of the names that are in use for it."""
    if not directory.is_dir():
        raise ValueError(f"{directory} is no folder: name the one that holds the IDX files")
    for separator in "-.":
        for suffix in ("", ".gz"):
            path = directory / f"{stem}{separator}idx{rank}-ubyte{suffix}"
            if path.is_file():
                return path
    raise ValueError(f"{directory} has no file {stem}-idx{rank}-ubyte or {stem}-idx{rank}-ubyte.gz")


def load_npz(path: str | Path, **options: Unpack[LoadOptions]) -> Dataset:
    """A data set in one .npz file with x_train, y_train, x_test, y_test, as Keras keeps MNIST.

    Integers from 0 to 255 are taken for pixels and scaled to [0, 1]; real inputs stay as they
    are. Nothing is ever unpickled.

    Raises:
        ValueError: if the file is missing, corrupt, lacks one of the four or holds objects,
            or their shapes or values do not make a data set.
    """
    arrays = read_npz(Path(path), ("x_train", "y_train", "x_test", "y_test"))
    return split_dataset(*arrays, **options)


def split_dataset(
    x_train: ArrayLike,
    y_train: ArrayLike,
    x_test: ArrayLike,
    y_test: ArrayLike,
    *,
    pixel_max: int = 255,
    data_seed: int = 0,
    validation_size: int | None = None,
    uint8: bool = False,
) -> Dataset:
    """A `Dataset` from arrays of one's own: images are flattened and a validation part split off.

    Args:
        x_train, x_test: shape (n, …); real inputs, or integers from 0 to `pixel_max`.
        y_train, y_test: integer classes (n,) or real rows (n, n_out).
        pixel_max: the integer that becomes 1.
        data_seed, validation_size, uint8: see `LoadOptions`.

    Raises:
        ValueError: as `Dataset`, or if the validation part would leave nothing to train on.
    """
    check_integer("pixel_max", pixel_max, least=1)
    check_integer("data_seed", data_seed)
    train = _part("train", np.asarray(x_train), np.asarray(y_train), pixel_max, uint8)
    test = _part("test", np.asarray(x_test), np.asarray(y_test), pixel_max, uint8)
    n = len(train.x)
    held = n // 10 if validation_size is None else validation_size
    if not (isinstance(held, int) and 1 <= held < n):
        raise ValueError(
            f"validation_size is {held}, but there are {n} training examples: hold out "
            f"at least 1 and at most {n - 1}"
        )
    order = np.random.default_rng(data_seed).permutation(n)
    return Dataset(
        train=Batch(*(array[order[held:]] for array in train)),
        validation=Batch(*(array[order[:held]] for array in train)),
        test=test,
        image_shape=_image_shape(np.shape(x_train)),
        scale=1 / pixel_max if train.x.dtype == np.uint8 else 1.0,
    )


def _image_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of one example; a flat one of 784, say, is taken for a 28 × 28 image."""
    if len(shape) == 3:
        return shape[1], shape[2]
    n_in = int(np.prod(shape[1:]))
    side = int(n_in**0.5)
    return (side, side) if side * side == n_in else (1, n_in)


def _part(name: str, x: np.ndarray, labels: np.ndarray, pixel_max: int, uint8: bool) -> Batch:
    """One part with flat inputs of a dtype that a `Dataset` holds."""
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"x_{name} has shape {x.shape}: give (n, …) with at least one example")
    check_counts(name, x, labels)  # before the split takes rows of both
    flat = x.reshape(len(x), -1)
    if np.issubdtype(x.dtype, np.integer):
        if flat.min() < 0 or flat.max() > pixel_max:
            raise ValueError(
                f"x_{name} holds integers from {flat.min()} to {flat.max()}: pixels run from 0 to "
                f"{pixel_max}; give anything else as real numbers"
            )
        kept = uint8 and pixel_max <= 255
        flat = (
            flat.astype(np.uint8) if kept else flat.astype(np.float32) * np.float32(1 / pixel_max)
        )
    with np.errstate(over="ignore"):  # what becomes infinite is refused with the infinities
        if np.issubdtype(x.dtype, np.floating):
            flat = flat.astype(np.float32)
        if np.issubdtype(labels.dtype, np.floating):
            labels = labels.astype(np.float32)
    return Batch(flat, labels)
