"""MNIST's family as it is distributed, by small files of the same form, and Fashion-MNIST."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

import jaxmlp
from jaxmlp.cli import main
from jaxmlp.cli.common import load_data
from jaxmlp.data.families import read_archive, read_family
from tests.fuzzing import idx

RNG = np.random.default_rng(0)
TRAIN, TEST = (RNG.integers(0, 256, (n, 4, 4)).astype(np.uint8) for n in (40, 10))
FASHION = Path("/usr/share/datasets/fashion-mnist")  # of Debian's package dataset-fashion-mnist


def labels(n, first=0):
    return (np.arange(n) % 3 + first).astype(np.uint8)


def integers(rows):
    """An IDX file of big-endian integers of 32 bits."""
    head = bytes([0, 0, 0x0C, rows.ndim]) + b"".join(n.to_bytes(4, "big") for n in rows.shape)
    return head + rows.astype(">i4").tobytes()


def emnist(folder, name="letters", mapping=True, begin="emnist-"):
    for part, images in (("train", TRAIN), ("test", TEST)):
        start = f"{begin}{name}-{part}"
        on_their_side = np.swapaxes(images, 1, 2)
        (folder / f"{start}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(on_their_side)))
        content = idx(labels(len(images), 1))
        (folder / f"{start}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))
    if mapping:
        (folder / f"{begin}{name}-mapping.txt").write_text("1 65 97\n2 66 98\n3 67 99\n")


def test_emnist(tmp_path):
    """Images are turned upright, classes are letters; without its list, the numbers from 1 on."""
    emnist(tmp_path)
    dataset = jaxmlp.load_idx(tmp_path)
    assert dataset.classes == ("A", "B", "C")
    np.testing.assert_allclose(dataset.test.x, TEST.reshape(10, 16) / 255, rtol=1e-6)
    np.testing.assert_array_equal(dataset.test.labels, labels(10))
    (tmp_path / "emnist-letters-mapping.txt").unlink()
    assert jaxmlp.load_idx(tmp_path).classes == ("1", "2", "3")


@pytest.mark.parametrize("mapping", ["letters-mapping.txt", "emnist-letters-mapping.txt"])
def test_emnist_by_other_names(tmp_path, mapping):
    """By the list of characters, as it was distributed or renamed like the other files."""
    emnist(tmp_path, begin="")
    (tmp_path / "letters-mapping.txt").rename(tmp_path / mapping)
    dataset = jaxmlp.load_idx(tmp_path)
    assert dataset.classes == ("A", "B", "C")
    np.testing.assert_allclose(dataset.test.x, TEST.reshape(10, 16) / 255, rtol=1e-6)
    assert dataset.remarks == (
        ("note", f"EMNIST, by {mapping}: its images lie on their side, and were turned upright"),
    )


@pytest.mark.parametrize(("first", "turned"), [(1, True), (0, False)])
def test_emnist_by_its_labels(tmp_path, first, turned):
    """Under MNIST's names, without the list; 26 labels from 0 on may be any other data set's."""
    for part, images in (("train", TRAIN), ("t10k", TEST)):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(np.swapaxes(images, 1, 2)))
        numbers = (np.arange(len(images)) % 26 + first).astype(np.uint8)
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(numbers))
    arrays = read_family(tmp_path)
    assert arrays.turned == ("labels from 1 to 26" if turned else "")
    assert np.array_equal(arrays.x_test, TEST) == turned


def test_several_sets_in_a_folder(tmp_path, as_in_a_shell, capsys):
    emnist(tmp_path)
    emnist(tmp_path, "digits", mapping=False)
    with pytest.raises(
        ValueError, match=r"more than one data set: name one of .*emnist-digits, .*"
    ):
        jaxmlp.load_idx(tmp_path)
    assert jaxmlp.load_idx(tmp_path / "emnist-letters").classes == ("A", "B", "C")
    place = str(tmp_path / "emnist-digits")
    assert main(["train", "--data", place, "--epochs", "1", "--batch-size", "8", "--out", "r"]) == 0
    assert "classes     1, 2, 3" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["1 65\n2 66\n", "1 A\n", "1\n2\n3\n", "1 99999999999 1\n"])
def test_an_unsound_mapping(tmp_path, content):
    emnist(tmp_path)
    (tmp_path / "emnist-letters-mapping.txt").write_text(content)
    with pytest.raises(ValueError, match=r"mapping\.txt is no list of labels"):
        jaxmlp.load_idx(tmp_path)


def test_qmnist(tmp_path):
    """Labels are rows of eight integers, of which the first is the class."""
    for part, images in (("train", TRAIN), ("test", TEST)):
        (tmp_path / f"qmnist-{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        rows = np.column_stack([labels(len(images)), RNG.integers(0, 9999, (len(images), 7))])
        (tmp_path / f"qmnist-{part}-labels-idx2-int.gz").write_bytes(gzip.compress(integers(rows)))
    dataset = jaxmlp.load_idx(tmp_path)
    assert dataset.n_out == 3
    np.testing.assert_array_equal(dataset.test.labels, labels(10))


@pytest.mark.parametrize("name", ["kmnist", "k49"])
def test_kmnist(tmp_path, name):
    for part, images in (("train", TRAIN), ("test", TEST)):
        np.savez_compressed(tmp_path / f"{name}-{part}-imgs.npz", images)
        np.savez_compressed(tmp_path / f"{name}-{part}-labels.npz", labels(len(images)))
    dataset = jaxmlp.load_idx(tmp_path)
    np.testing.assert_allclose(dataset.test.x, TEST.reshape(10, 16) / 255, rtol=1e-6)
    np.testing.assert_array_equal(dataset.test.labels, labels(10))


def test_one_of_four_files(tmp_path):
    path = tmp_path / "kmnist-train-imgs.npz"
    np.savez_compressed(path, TRAIN)
    message = re.escape(f"{path} holds one array without a name, as each of KMNIST's four files")
    with pytest.raises(ValueError, match=f"{message} does: give their folder, {tmp_path}"):
        load_data(str(path))
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.touch()
    with pytest.raises(ValueError, match=f"give the folder with the four IDX files, {tmp_path}"):
        load_data(str(path))


@pytest.mark.parametrize("colours", [(), (3,)])
def test_medmnist(tmp_path, colours):
    """Its names, labels of shape (n, 1), and a validation part of its own."""
    arrays = {}
    for part, n in (("train", 40), ("val", 12), ("test", 10)):
        arrays[f"{part}_images"] = RNG.integers(0, 256, (n, 4, 4, *colours)).astype(np.uint8)
        arrays[f"{part}_labels"] = labels(n)[:, None]
    np.savez(tmp_path / "a.npz", **arrays)
    dataset = jaxmlp.load_npz(tmp_path / "a.npz", uint8=True)
    assert [len(part.x) for part in (dataset.train, dataset.validation, dataset.test)] == [
        40, 12, 10
    ]  # fmt: skip
    np.testing.assert_array_equal(dataset.train.x, arrays["train_images"].reshape(40, -1))
    np.testing.assert_array_equal(dataset.validation.labels, labels(12))
    assert set(read_archive(tmp_path / "a.npz")) >= {"x_validation", "y_validation"}


def test_several_labels_at_once_are_no_classes(tmp_path):
    """As in MedMNIST's chest radiographs, of which most have none."""
    arrays = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = TEST
        arrays[f"{part}_labels"] = np.eye(14, dtype=np.uint8)[:10] * (np.arange(10) > 2)[:, None]
    np.savez(tmp_path / "a.npz", **arrays)
    message = (
        r"y_train, row 0: it has weight 0 for every class .*leave such rows out.*--loss sigmoid"
    )
    with pytest.raises(ValueError, match=message):
        jaxmlp.load_npz(tmp_path / "a.npz")


@pytest.mark.skipif(not FASHION.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_fashion_mnist():
    arrays = read_family(FASHION)
    assert arrays.x_train.shape == (60_000, 28, 28)
    assert arrays.x_test.shape == (10_000, 28, 28)
    np.testing.assert_array_equal(np.bincount(arrays.y_test), [1000] * 10)
    np.testing.assert_array_equal(arrays.y_train[:4], [9, 0, 0, 3])
