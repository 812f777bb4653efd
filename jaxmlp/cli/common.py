"""What the commands share: finding the data."""

from pathlib import Path

from jaxmlp.data import Dataset
from jaxmlp.loaders import load_digits, load_idx, load_mnist, load_npz


def load_data(source: str, data_seed: int = 0) -> Dataset:
    """The data set that `--data` names, pixels kept as 8 bits.

    Raises:
        ValueError: if it is no known name, folder or .npz file, or its content is unsound.
    """
    path = Path(source)
    if source == "digits":
        return load_digits(data_seed=data_seed, uint8=True)
    if source == "mnist":
        return load_mnist(data_seed=data_seed, uint8=True)
    if path.suffix == ".npz":
        return load_npz(path, data_seed=data_seed, uint8=True)
    if path.is_dir():
        return load_idx(path, data_seed=data_seed, uint8=True)
    raise ValueError(
        f"unknown data {source!r}: give digits, mnist, a folder with MNIST's four IDX files, or "
        "a file that ends in .npz"
    )
