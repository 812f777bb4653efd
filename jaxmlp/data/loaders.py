"""Where data sets come from: scikit-learn, OpenML, IDX files, .npz files and arrays."""

import warnings
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from jaxmlp.data.arrays import as_numbers
from jaxmlp.data.dataset import Batch, Dataset, check_counts
from jaxmlp.data.labels import encode_labels
from jaxmlp.data.preprocessing import Preprocessing, fit
from jaxmlp.data.readers import read_idx, read_npz
from jaxmlp.settings import check_integer


class LoadOptions(TypedDict, total=False):
    """The keywords that every loader takes.

    data_seed: chooses the training examples that are held out for validation (default 0).
    validation_size: how many are held out (default: a tenth of the training examples).
    uint8: keep 8-bit pixels as they are, with a scale, instead of as float32 (default False).
    inputs: how raw numbers become inputs: "as is", "pixels" (divided by the largest), "standardise"
        or "minmax" by the training examples, or "auto", which chooses by the values (default).
    """

    data_seed: int
    validation_size: int
    uint8: bool
    inputs: str


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
    settings: Any = {"inputs": "pixels", "pixel_max": 16, **options}
    return split_dataset(x[360:], labels[360:], x[:360], labels[:360], **settings)


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

    How the numbers become inputs is chosen as `LoadOptions` says. Nothing is ever unpickled.

    Raises:
        ValueError: if the file is missing, corrupt, lacks one of the four or holds objects,
            or their shapes or values do not make a data set.
    """
    arrays = read_npz(Path(path), ("x_train", "y_train", "x_test", "y_test"))
    return split_dataset(*arrays, **options)


def split_dataset(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    *,
    inputs: str = "auto",
    pixel_max: int | None = None,
    data_seed: int = 0,
    validation_size: int | None = None,
    uint8: bool = False,
) -> Dataset:
    """A `Dataset` from arrays of one's own: images are flattened and a validation part split off.

    Args:
        x_train, x_test: shape (n, …): booleans, integers or real numbers; arrays of any dtype,
            sparse or masked ones, or tables of pandas. What is masked or missing is refused.
        y_train, y_test: classes as integers or text, (n,) or (n, 1), or real rows (n, n_out).
        inputs: how raw numbers become inputs, see `LoadOptions`; fitted on the training examples
            without the validation part, and applied to all parts.
        pixel_max: the number that pixels are divided by: 255, or 65535 for images of 16 bits.
        data_seed, validation_size, uint8: see `LoadOptions`.

    Raises:
        ValueError: as `Dataset`, or if an entry cannot be used, by its row and column, or if the
            validation part would leave nothing to train on.
    """
    if pixel_max is not None:
        check_integer("pixel_max", pixel_max, least=1)
    check_integer("data_seed", data_seed)
    x = as_numbers("x_train", x_train), as_numbers("x_test", x_test)
    if x[0].shape[1:] != x[1].shape[1:]:
        raise ValueError(
            f"x_test has shape {x[1].shape}, but x_train {x[0].shape}: give examples of one shape"
        )
    n = len(x[0])
    held = _validation_size(n, validation_size)
    labels = encode_labels(y_train, y_test)
    for name, some, part in zip(("train", "test"), x, labels[:2], strict=True):
        check_counts(name, some, part)  # before the split takes rows of both
    order = np.random.default_rng(data_seed).permutation(n)
    held_rows, rows = order[:held], order[held:]
    preprocessing = fit(x[0][rows], inputs, pixel_max)
    stored = [_stored(each, preprocessing, uint8) for each in x]
    return Dataset(
        train=Batch(stored[0][rows], labels.train[rows]),
        validation=Batch(stored[0][held_rows], labels.train[held_rows]),
        test=Batch(stored[1], labels.test),
        image_shape=_image_shape(x[0].shape),
        scale=float(preprocessing.scale) if stored[0].dtype == np.uint8 else 1.0,
        preprocessing=preprocessing,
        class_names=labels.names,
    )


def _validation_size(n: int, asked: Any) -> int:
    """How many of n training examples are held out."""
    if isinstance(asked, float) and 0 < asked < 1:
        raise ValueError(
            f"validation_size is {asked}: it is how many examples are held out, such as "
            f"{max(1, round(asked * n))} for that share of {n}"
        )
    held = max(1, n // 10) if asked is None else asked
    if n < 2:
        raise ValueError(f"there is {n} training example: give at least 2, one is for validation")
    whole = isinstance(held, (int, np.integer)) and not isinstance(held, bool)
    if not whole or not 1 <= held < n:
        raise ValueError(
            f"validation_size is {held!r}, but there are {n} training examples: hold out "
            f"at least 1 and at most {n - 1}"
        )
    return int(held)


def _image_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of one example; a flat one of 784, say, is taken for a 28 × 28 image."""
    if len(shape) == 3:
        return shape[1], shape[2]
    n_in = int(np.prod(shape[1:]))
    side = int(n_in**0.5)
    return (side, side) if side * side == n_in else (1, n_in)


def _stored(x: np.ndarray, preprocessing: Preprocessing, uint8: bool) -> np.ndarray:
    """Flat inputs of a dtype that a `Dataset` holds: 8-bit pixels only if that is asked for."""
    white = preprocessing.brightest
    if uint8 and preprocessing.kind == "pixels" and white is not None and white <= 255:
        flat = x.reshape(len(x), -1)
        if flat.min() >= 0 and flat.max() <= 255:
            return flat.astype(np.uint8)
    return preprocessing(x)
