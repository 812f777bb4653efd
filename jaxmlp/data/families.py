"""MNIST and the data sets in its likeness, in the files that they are distributed in.

MNIST and Fashion-MNIST: four IDX files. EMNIST: the same for each of its splits, with images that
lie on their side, and a file that says which letter a class is: by that file, by its name, or by 26
labels from 1 on, it is recognised. QMNIST: labels as rows of eight
integers, of which the first is the class. KMNIST and K49: the same arrays as .npz files.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmlp.data.readers import npz_names, read_idx, read_npz

PARTS = {"train": ("train",), "test": ("t10k", "test")}
KINDS = {"x": ("images", "imgs"), "y": ("labels",)}
ENDINGS = {
    "x": ("-idx3-ubyte", ".idx3-ubyte", "-idx3-ubyte.gz", ".idx3-ubyte.gz", ".npz"),
    "y": (
        "-idx1-ubyte", ".idx1-ubyte", "-idx1-ubyte.gz", ".idx1-ubyte.gz",
        "-idx2-int", "-idx2-int.gz", ".npz",
    ),
}  # fmt: skip
IN_ARCHIVES = (  # how the arrays of one .npz file are called: by Keras, and by MedMNIST
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels", "val_images", "val_labels"),
)


LETTERS = np.arange(1, 27)  # the labels of EMNIST's letters


class Arrays(NamedTuple):
    """Raw arrays: images and labels, which are characters if a file says so.

    Attributes:
        x_train, x_test: images, shape (n, height, width).
        y_train, y_test: labels, shape (n,).
        turned: by what the images were seen to be EMNIST's and turned upright; nothing if not.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    turned: str = ""


def read_family(place: Path) -> Arrays:
    """The four files of a data set.

    Args:
        place: their folder; where it holds more than one set, the folder with the beginning of
            the names that belong together, such as emnist/emnist-letters.

    Raises:
        ValueError: if there is none, or more than one, or a file cannot be read.
    """
    folder, prefix = (place, "") if place.is_dir() else (place.parent, place.name)
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not folder.is_dir() or (prefix and not any(name.startswith(prefix) for name in names)):
        raise ValueError(f"{place} is no folder: name the one that holds the IDX files")
    sets = _sets(names, prefix)
    whole = [name for name, files in sets.items() if len(files) == 4]
    if len(whole) > 1:
        choices = ", ".join(str(folder / name.rstrip("-_.")) for name in whole)
        raise ValueError(f"{place} holds more than one data set: name one of {choices}")
    if not whole:
        _refuse(place, sets)
    files = {what: folder / name for what, name in sets[whole[0]].items()}
    arrays = {what: _read(path, what[0]) for what, path in files.items()}
    mapping = _mapping(names, whole[0])
    turned = mapping or ("the files' names" if "emnist" in whole[0].lower() else "")
    if np.array_equal(np.unique(arrays["y_train"]), LETTERS):
        turned = turned or "labels from 1 to 26"
    if turned:  # EMNIST's, whose images are written column by column
        arrays |= {what: np.swapaxes(arrays[what], 1, 2) for what in ("x_train", "x_test")}
    if mapping:
        arrays |= _called(folder / mapping, arrays)
    return Arrays(**arrays, turned=turned)


def _mapping(names: list[str], begin: str) -> str:
    """Of the files in a folder, the list of EMNIST's characters for a set; nothing if none is.

    Args:
        names: of the files.
        begin: of the names of the set's files; nothing if they have MNIST's very names.
    """
    usual = f"{begin.rstrip('-_.')}-mapping.txt"
    if usual in names:
        return usual
    others = [name for name in names if name.endswith("mapping.txt")]
    others = [name for name in others if not begin or name.endswith(f"-{usual}")]
    return others[0] if len(others) == 1 else ""


def _sets(names: list[str], prefix: str) -> dict[str, dict[str, str]]:
    """By the beginning of their names, the files of each set: x_train, y_train, x_test, y_test."""
    sets: dict[str, dict[str, str]] = {}
    for part, called in PARTS.items():
        for kind, kinds in KINDS.items():
            ends = [f"{p}-{k}{e}" for p in called for k in kinds for e in ENDINGS[kind]]
            for name in names:
                end = next((end for end in ends if name.lower().endswith(end)), None)
                if end and name.startswith(prefix):
                    sets.setdefault(name[: -len(end)], {}).setdefault(f"{kind}_{part}", name)
    return sets


def _refuse(place: Path, sets: dict[str, dict[str, str]]) -> None:
    """Raise ValueError that says which file is missing."""
    begin, found = max(sets.items(), key=lambda pair: len(pair[1]), default=("", {}))
    usual = {"x_train": "train-images", "y_train": "train-labels", "x_test": "t10k-images",
             "y_test": "t10k-labels"}  # fmt: skip
    what, stem = next(pair for pair in usual.items() if pair[0] not in found)
    if any(name.endswith(".npz") for name in found.values()):  # KMNIST's and K49's
        kind, part = what.split("_")
        raise ValueError(f"{place} has no file {begin}{part}-{KINDS[kind][-1]}.npz")
    rank = 3 if "images" in stem else 1
    raise ValueError(
        f"{place} has no file {begin}{stem}-idx{rank}-ubyte or {begin}{stem}-idx{rank}-ubyte.gz"
    )


def _read(path: Path, kind: str) -> np.ndarray:
    """The images or the labels in a file."""
    if path.suffix == ".npz":
        (array,) = read_npz(path, ("arr_0",))
        return array
    if kind == "x":
        return read_idx(path, 3)
    if "idx2-int" in path.name:
        return read_idx(path, 2, np.dtype(">i4"))[:, 0].astype(np.int32)
    return read_idx(path, 1)


def _called(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Labels as characters, where a file says which: lines of a label and character codes."""
    try:
        with path.open(encoding="ascii") as file:
            rows = [list(map(int, line.split())) for line in file.read(10_000).splitlines()]
        names = {row[0]: chr(row[1]) for row in rows if row}
        return {
            what: np.asarray([names[label] for label in arrays[what].tolist()])
            for what in ("y_train", "y_test")
        }
    except (OSError, ValueError, IndexError, KeyError, OverflowError) as error:
        raise ValueError(f"{path} is no list of labels with their characters: {error!r}") from error


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """The arrays of one .npz file, by the names that `split_dataset` has for them.

    Raises:
        ValueError: if the file cannot be read, or has neither Keras's nor MedMNIST's names.
    """
    present = npz_names(path)
    if present == {"arr_0"}:
        raise ValueError(
            f"{path} holds one array without a name, as each of KMNIST's four files does: give "
            f"their folder, {path.parent}"
        )
    names = max(IN_ARCHIVES, key=lambda each: len(present.intersection(each)) / len(each))
    ours = ("x_train", "y_train", "x_test", "y_test", "x_validation", "y_validation")
    return dict(zip(ours, read_npz(path, names), strict=False))
