"""Data sets from every source, and what unsound files and arrays get."""

import gzip
import hashlib
import io
import json
import zipfile

import numpy as np
import pytest

import jaxmlp
from jaxmlp import Batch, Dataset
from tests.fuzzing import idx

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (30, 4, 5)).astype(np.uint8)
LABELS = np.tile(np.arange(3), 10).astype(np.uint8)
ARRAYS = {
    "x_train": IMAGES[:20],
    "y_train": LABELS[:20],
    "x_test": IMAGES[20:],
    "y_test": LABELS[20:],
}


@pytest.fixture
def folder(tmp_path):
    """A folder of IDX files, gzipped, plain and with a dot in the name."""
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES[:20])))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:20]))
    (tmp_path / "t10k-images.idx3-ubyte").write_bytes(idx(IMAGES[20:]))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS[20:])))
    return tmp_path


def npz(path, **arrays):
    np.savez(path, **{**ARRAYS, **arrays})
    return path


def check_images(dataset: Dataset) -> None:
    """All 30 images are there, once each, with their labels, in their parts."""
    assert dataset.image_shape == (4, 5)
    assert (dataset.n_in, dataset.n_out) == (20, 3)
    np.testing.assert_allclose(dataset.test.x, IMAGES[20:].reshape(10, 20) / 255, rtol=1e-6)
    np.testing.assert_array_equal(dataset.test.labels, LABELS[20:])
    x = np.concatenate([dataset.train.x, dataset.validation.x])
    labels = np.concatenate([dataset.train.labels, dataset.validation.labels])
    originals = {image.tobytes(): label for image, label in zip(IMAGES, LABELS, strict=True)}
    found = {
        np.round(row * 255).astype(np.uint8).tobytes(): label
        for row, label in zip(x, labels, strict=True)
    }
    assert len(found) == 20
    assert found.items() <= originals.items()


def test_idx(folder):
    check_images(jaxmlp.load_idx(folder))


def test_npz(tmp_path):
    check_images(jaxmlp.load_npz(npz(tmp_path / "data.npz")))


def test_npz_of_real_inputs_and_soft_labels(tmp_path):
    x = RNG.normal(size=(20, 6))
    y = RNG.uniform(size=(20, 3))
    data = jaxmlp.load_npz(npz(tmp_path / "d.npz", x_train=x, x_test=x, y_train=y, y_test=y))
    assert data.image_shape == (1, 6)
    assert data.n_out == 3
    np.testing.assert_array_equal(data.test.x, x.astype(np.float32))
    np.testing.assert_array_equal(data.test.labels, y.astype(np.float32))


def test_flat_squares_are_images(tmp_path):
    x = np.zeros((20, 9), np.float32)
    data = jaxmlp.load_npz(npz(tmp_path / "d.npz", x_train=x, x_test=x[:10]))
    assert data.image_shape == (3, 3)


def test_eight_bit_pixels_stay(folder):
    small, real = jaxmlp.load_idx(folder, uint8=True), jaxmlp.load_idx(folder)
    assert small.train.x.dtype == np.uint8
    assert real.train.x.dtype == np.float32
    assert real.inputs(real.train) is real.train
    np.testing.assert_array_equal(small.inputs(small.train).x, real.train.x)


def test_digits(digits):
    assert [len(part.x) for part in (digits.train, digits.validation, digits.test)] == [
        1294,
        143,
        360,
    ]
    assert (digits.n_in, digits.n_out, digits.image_shape) == (64, 10, (8, 8))
    assert digits.train.x.min() == 0
    assert digits.train.x.max() == 1
    rows = np.concatenate([part.x for part in (digits.train, digits.validation, digits.test)])
    from sklearn.datasets import load_digits

    original = load_digits(return_X_y=True)[0] / 16
    order = [np.lexsort(array.T) for array in (rows, original)]
    np.testing.assert_array_equal(rows[order[0]], original[order[1]].astype(np.float32))


def test_seed_moves_the_validation_part_and_only_it(digits):
    again = jaxmlp.load_digits(data_seed=0)
    other = jaxmlp.load_digits(data_seed=1, validation_size=200)
    np.testing.assert_array_equal(digits.validation.x, again.validation.x)
    np.testing.assert_array_equal(digits.test.x, other.test.x)
    assert len(other.validation.x) == 200
    assert not np.array_equal(digits.validation.x, other.validation.x[:143])


@pytest.mark.mnist
def test_mnist_folder(mnist_directory):
    data = jaxmlp.load_idx(mnist_directory, uint8=True)
    assert [len(part.x) for part in (data.train, data.validation, data.test)] == [
        54_000,
        6_000,
        10_000,
    ]
    assert (data.n_in, data.n_out, data.image_shape) == (784, 10, (28, 28))
    # the first digits of the test file, as its page shows them: 7, 2, 1, 0, 4
    np.testing.assert_array_equal(data.test.labels[:5], [7, 2, 1, 0, 4])


def openml_cache(home, images, labels):
    """A cache as scikit-learn leaves it after a download of a data set called mnist_784."""
    rows = [
        ",".join(map(str, (*row, f"'{label}'"))) for row, label in zip(images, labels, strict=True)
    ]
    columns = [f"pixel{number + 1}" for number in range(images.shape[1])]
    arff = "\n".join(
        ["@relation mnist_784"]
        + [f"@attribute {name} real" for name in columns]
        + ["@attribute class {0,1,2,3,4,5,6,7,8,9}", "@data", *rows, ""]
    ).replace("'", "")
    features = [
        {
            "index": str(number),
            "name": name,
            "data_type": "nominal" if name == "class" else "numeric",
            "is_target": str(name == "class").lower(),
            "is_ignore": "false",
            "is_row_identifier": "false",
            "number_of_missing_values": "0",
        }
        for number, name in enumerate([*columns, "class"])
    ]
    description = {
        "id": "554",
        "name": "mnist_784",
        "version": "1",
        "format": "ARFF",
        "file_id": "52667",
        "status": "active",
        "default_target_attribute": "class",
        "md5_checksum": hashlib.md5(arff.encode()).hexdigest(),
        "description": "a small stand-in",
        "url": "http://openml.invalid/download/mnist_784.arff",
    }
    return {
        "list/data_name/mnist_784": {"data": {"dataset": [description | {"did": 554}]}},
        "data/554": {"data_set_description": description},
        "features/554": {"data_features": {"feature": features}},
        "qualities/554": {
            "data_qualities": {"quality": [{"name": "NumberOfInstances", "value": str(len(rows))}]}
        },
        "download": arff,
    }


def test_mnist_by_name_comes_from_openml(tmp_path, monkeypatch):
    """scikit-learn's real fetch_openml runs; only the bytes behind its addresses are ours."""
    import sklearn.datasets._openml as openml

    images = RNG.integers(0, 256, (70, 784))
    labels = np.tile(np.arange(10), 7)
    answers = openml_cache(tmp_path, images, labels)

    class Answer(io.BytesIO):
        def info(self):
            return {}

    def urlopen(request, *args, **kwargs):
        address = getattr(request, "full_url", request)
        for part, answer in answers.items():
            if part in address:
                text = answer if isinstance(answer, str) else json.dumps(answer)
                return Answer(text.encode())
        raise AssertionError(address)

    monkeypatch.setattr(openml, "urlopen", urlopen)
    data = jaxmlp.load_mnist(tmp_path, uint8=True)
    assert len(data.test.x) == 10
    assert len(data.train.x) + len(data.validation.x) == 60
    assert data.image_shape == (28, 28)
    np.testing.assert_array_equal(data.test.x, images[60:])
    np.testing.assert_array_equal(data.test.labels, labels[60:])
    # the second time nothing is asked for
    monkeypatch.setattr(openml, "urlopen", None)
    np.testing.assert_array_equal(jaxmlp.load_mnist(tmp_path, uint8=True).train.x, data.train.x)


def test_mnist_by_name_without_a_network(tmp_path, monkeypatch):
    import sklearn.datasets._openml as openml

    def urlopen(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(openml, "urlopen", urlopen)
    with pytest.raises(ValueError, match=r"cannot be fetched from OpenML.*four IDX files"):
        jaxmlp.load_mnist(tmp_path)


def damaged(folder, name, change):
    """Replace a file of the folder by a changed one, always not gzipped."""
    for path in folder.glob(f"{name}*"):
        data = path.read_bytes()
        path.unlink()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    rank = 3 if "images" in name else 1
    (folder / f"{name}-idx{rank}-ubyte").write_bytes(change(data))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train-images", lambda d: d[:-1], "truncated: 399 bytes.*400 bytes that its header"),
        ("train-images", lambda d: d[:9], "ends inside its header"),
        ("train-images", lambda d: d[:3], "is not an IDX file"),
        ("train-images", lambda d: d + b"!", "longer than the 400 bytes"),
        ("train-images", lambda d: b"GIF8" + d, "is not an IDX file: it begins with b'GIF8'"),
        ("train-images", lambda d: idx(LABELS), "rank 1: expected bytes .0x08. of rank 3; are"),
        ("train-labels", lambda d: idx(IMAGES), "rank 3: expected bytes .0x08. of rank 1"),
        ("train-labels", lambda d: d[:2] + b"\x0d" + d[3:], "IDX type 0x0d"),
        (
            "train-labels",
            lambda d: idx(LABELS[:19]),
            r"x_train has 20 examples, but y_train has shape \(19,\)",
        ),
        ("t10k-labels", lambda d: idx(LABELS[:9]), "x_test has 10 examples, but y_test has"),
        (
            "t10k-labels",
            lambda d: idx(LABELS[:10] + 1),
            "y_test, row 2: it is 3, which no training example is",
        ),
        (
            "t10k-images",
            lambda d: idx(IMAGES[20:, :3]),
            r"x_test has shape \(10, 3, 5\), but x_train \(20, 4, 5\)",
        ),
        ("t10k-images", lambda d: idx(IMAGES[:0]), "at least one example"),
        ("train-images", lambda d: d[:4] + b"\xff" * 12 + d[16:], "claims .* bytes.*the limit is"),
    ],
)
def test_unsound_idx(folder, name, change, message):
    damaged(folder, name, change)
    with pytest.raises(ValueError, match=message):
        jaxmlp.load_idx(folder)


def test_missing_and_corrupt_idx(folder):
    with pytest.raises(ValueError, match="nowhere is no folder"):
        jaxmlp.load_idx(folder / "nowhere")
    path = folder / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for broken, message in (
        (whole[:50], "cannot be read"),
        (b"not gzip at all", "cannot be read: Not a gzipped file"),
        (whole[:60] + bytes(20) + whole[80:], "cannot be read"),
    ):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=message):
            jaxmlp.load_idx(folder)
    path.unlink()
    with pytest.raises(ValueError, match="has no file train-images-idx3-ubyte or"):
        jaxmlp.load_idx(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_train": LABELS[:1]}, r"x_train has 20 examples, but y_train has shape \(1,\)"),
        ({"x_train": IMAGES[:19]}, r"x_train has 19 examples, but y_train has shape \(20,\)"),
        ({"x_train": IMAGES[:20].astype(complex)}, "x_train has dtype complex128: give real"),
        (
            {"x_train": np.full((20, 4, 5), np.nan)},
            r"x_train, row 0, at \[0, 0\]: it is nan \(400 such",
        ),
        ({"x_test": np.full((10, 4, 5), np.inf)}, r"x_test, row 0, at \[0, 0\]: it is inf"),
        ({"x_test": np.ones((10, 20))}, r"x_test has shape \(10, 20\), but x_train \(20, 4, 5\)"),
        ({"x_train": np.float32(3)}, r"x_train has shape \(\)"),
        ({"x_train": IMAGES[:0], "y_train": LABELS[:0]}, r"x_train has shape \(0, 4, 5\)"),
        (
            {"x_train": IMAGES[:1], "y_train": LABELS[:1]},
            "there is 1 training example: give at least 2",
        ),
        (
            {"y_train": LABELS[:20] + 0.5},
            "y_train holds real numbers, such as ..5: to predict numbers",
        ),
        (
            {"y_train": LABELS[:20].astype(int) - 1},
            "y_test, row .: it is 2, which no training example is",
        ),
        ({"y_train": np.full(20, 10**12)}, "y_train holds one class, 1000000000000"),
        (
            {"y_train": np.full((20, 2), np.nan), "y_test": np.ones((10, 2))},
            "y_train, row 0, column 0: it is nan",
        ),
        (
            {"y_train": np.ones((20, 2))},
            r"y_test has shape \(10,\), but y_train \(20, 2\): give the same kind",
        ),
        (
            {"y_train": np.arange(20) * 1000},
            "y_test, row .: it is [12], which no training example is",
        ),
        ({"x_train": np.full((20, 4, 5), 1e300)}, "x_train, row 0, at .0, 0.: it is 1e.300"),
        ({"y_train": LABELS[:20].reshape(20, 1, 1)}, r"y_train has shape \(20, 1, 1\): give"),
        ({"y_train": np.asarray(["seven", "six"] * 10)}, "y_test has dtype uint8, but y_train <U5"),
        ({"y_train": np.asarray([None] * 20)}, "cannot be read as .npz"),
    ],
)
def test_unsound_npz(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        jaxmlp.load_npz(npz(tmp_path / "data.npz", **change))


def test_missing_and_corrupt_npz(tmp_path):
    path = tmp_path / "data.npz"
    with pytest.raises(ValueError, match=r"cannot be read as .npz with x_train.*No such file"):
        jaxmlp.load_npz(path)
    for broken in (b"", b"hello", npz(path).read_bytes()[:400]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"cannot be read as .npz"):
            jaxmlp.load_npz(path)
    np.savez(path, x_train=IMAGES)
    with pytest.raises(ValueError, match="has no array 'y_train', only"):
        jaxmlp.load_npz(path)
    np.savez(path, **{f"{part}_images": IMAGES for part in ("train", "val", "test")})  # MedMNIST's
    with pytest.raises(ValueError, match="has no array 'train_labels', only"):
        jaxmlp.load_npz(path)
    with pytest.raises(ValueError, match="x_train has 30 examples, but y_train"):
        jaxmlp.split_dataset(IMAGES, [0, 1], IMAGES, [0, 1])


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        (["kmnist-train-imgs.npz"], "kmnist-train-labels.npz"),
        (["k49-train-imgs.npz", "k49-train-labels.npz"], "k49-test-imgs.npz"),
        (["emnist-digits-train-images-idx3-ubyte"], "emnist-digits-train-labels-idx1-ubyte or"),
    ],
)
def test_the_file_that_a_family_lacks(tmp_path, files, missing):
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=f"has no file {missing}"):
        jaxmlp.load_idx(tmp_path)


def test_npz_members_that_lie(tmp_path):
    """A member that is no array, and one whose header claims terabytes."""
    path = tmp_path / "data.npz"
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 6)}
    )
    for content, message in (
        (b"hello", "cannot be read as .npz"),
        (head.getvalue(), "claims 192000000000000 bytes: the limit"),
        (head.getvalue()[:9], "cannot be read as .npz"),
    ):
        npz(path)
        with zipfile.ZipFile(path, "w") as archive:
            for key in ARRAYS:
                archive.writestr(f"{key}.npy", content)
        with pytest.raises(ValueError, match=message):
            jaxmlp.load_npz(path)


@pytest.mark.usefixtures("as_users_see_it")
def test_pixels_of_another_depth():
    """16-bit pixels are scaled, though they cannot stay 8-bit; lists are arrays too."""
    x, labels = np.full((4, 2), 65535), [0, 1, 0, 1]
    for uint8 in (False, True):
        data = jaxmlp.split_dataset(
            x.tolist(), labels, x, labels, pixel_max=65535, validation_size=1, uint8=uint8
        )
        np.testing.assert_allclose(data.test.x, np.ones((4, 2)), rtol=1e-6)
        assert data.scale == 1


@pytest.mark.parametrize("seed", range(10))
def test_a_class_may_fall_to_the_validation_part(seed):
    """The number of classes does not depend on the split."""
    x, labels = np.ones((20, 3)), np.asarray([0] * 19 + [1])
    assert jaxmlp.split_dataset(x, labels, x, labels, data_seed=seed).n_out == 2


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_size": 0}, "validation_size is 0, but there are 20 training examples"),
        ({"validation_size": 20}, "at most 19"),
        ({"data_seed": -1}, "data_seed is -1"),
        ({"pixel_max": 0}, "pixel_max is 0: give an integer ≥ 1"),
        ({"validation_size": 2.5}, "validation_size is 2.5"),
    ],
)
def test_unsound_options(options, message):
    with pytest.raises(ValueError, match=message):
        jaxmlp.split_dataset(*ARRAYS.values(), **options)


def test_dataset_of_ones_own():
    part = Batch(np.ones((2, 6), np.float32), np.asarray([0, 1]))
    assert Dataset(part, part, part, (2, 3)).n_out == 2
    with pytest.raises(ValueError, match=r"image_shape is \(2, 2\), but there are 6 inputs"):
        Dataset(part, part, part, (2, 2))
    with pytest.raises(ValueError, match=r"test.x has dtype int64"):
        Dataset(part, part, part._replace(x=np.ones((2, 6), int)), (2, 3))
    with pytest.raises(ValueError, match=r"validation.labels is a list"):
        Dataset(part, Batch(part.x, [0, 1]), part, (2, 3))
