"""How raw numbers become inputs: chosen by values, fitted on training examples, kept."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import jaxmlp
from jaxmlp.cli import main
from jaxmlp.data.preprocessing import Preprocessing, as_record, fit, from_record
from tests.strategies import LONG

pytestmark = pytest.mark.usefixtures("as_users_see_it")

RNG = np.random.default_rng(0)
BINARY = RNG.integers(0, 2, (60, 5))
TABLE = np.column_stack([RNG.normal(3, 1, 60), RNG.normal(0, 500, 60), BINARY[:, 0]])
IMAGES = RNG.integers(0, 256, (60, 4, 4))
LABELS = np.arange(60) % 3


def split(x, y=LABELS, **options):
    return jaxmlp.split_dataset(x, y, x[:20], y[:20], **options)


def assert_same(one, other):
    for a, b in zip(
        jax.tree.leaves((one.train, one.validation, one.test)),
        jax.tree.leaves((other.train, other.validation, other.test)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("x", "kind"),
    [
        (BINARY, "as is"),
        (RNG.uniform(size=(60, 5)), "as is"),
        (RNG.normal(size=(60, 5)), "as is"),
        (RNG.normal(size=(60, 4, 4)), "as is"),
        (TABLE, "standardise"),
        (RNG.integers(20, 90, (60, 5)), "standardise"),
        (IMAGES, "pixels"),
        (IMAGES.reshape(60, 16), "pixels"),
        (IMAGES.reshape(60, 16).astype(float), "pixels"),
        (IMAGES.astype(np.uint16) * 257, "pixels"),
        (RNG.integers(0, 10, (60, 16)), "as is"),
    ],
)
def test_auto(x, kind):
    dataset = split(x)
    assert dataset.preprocessing.kind == kind
    assert kind in str(dataset.preprocessing)
    assert np.abs(dataset.train.x).max() < 12


FORMS = {
    "integers": lambda x: x.astype(np.int64),
    "real": lambda x: x.astype(float),
    "float32": lambda x: x.astype(np.float32),
    "uint16": lambda x: x.astype(np.uint16),
    "the other byte order": lambda x: x.astype(">f8"),
    "big-endian integers": lambda x: x.astype(">i4"),
    "lists": lambda x: x.tolist(),
    "a table": pd.DataFrame,
    "nullable": lambda x: pd.DataFrame(x.astype(int)).astype("Int64"),
    "sparse": scipy.sparse.csr_array,
    "masked, of which nothing is": np.ma.masked_array,
    "objects": lambda x: x.astype(object),
    "text": lambda x: x.astype(str),
}


@pytest.mark.parametrize("x", [BINARY, IMAGES.reshape(60, 16)], ids=["binary", "pixels"])
@pytest.mark.parametrize("form", FORMS)
def test_the_form_does_not_matter(form, x):
    """In both parts, or in one of them alone."""
    usual, other = split(x), FORMS[form](x)
    assert_same(usual, jaxmlp.split_dataset(other, LABELS, other[:20], LABELS[:20]))
    assert_same(usual, jaxmlp.split_dataset(x, LABELS, other[:20], LABELS[:20]))
    assert_same(usual, jaxmlp.split_dataset(other, LABELS, x[:20], LABELS[:20]))


def test_booleans_are_0_and_1():
    assert_same(split(BINARY), split(BINARY.astype(bool)))


@pytest.mark.parametrize(
    ("inputs", "scaler"), [("standardise", StandardScaler()), ("minmax", MinMaxScaler())]
)
def test_as_scikit_learn_scales(inputs, scaler):
    """Fitted on the training examples alone; a constant column becomes 0."""
    x = np.column_stack([TABLE, np.full(60, 7.0)])
    dataset = split(x, inputs=inputs, validation_size=20)
    order = np.random.default_rng(0).permutation(60)
    scaler.fit(x[order[20:]])
    np.testing.assert_allclose(dataset.train.x, scaler.transform(x[order[20:]]), atol=1e-6)
    np.testing.assert_allclose(dataset.validation.x, scaler.transform(x[order[:20]]), atol=1e-6)
    np.testing.assert_allclose(dataset.test.x, scaler.transform(x[:20]), atol=1e-6)


@given(
    st.sampled_from(["as is", "pixels", "standardise", "minmax"]),
    st.floats(1e-3, 1e3),
    st.integers(0, 2**32 - 1),
)
def test_a_record_gives_the_same_inputs(inputs, size, seed):
    x = size * np.random.default_rng(seed).uniform(size=(9, 3)) ** 3
    before = fit(x, inputs, 255 if size <= 255 else 1000)
    after = from_record(as_record(before), 3)
    np.testing.assert_array_equal(before(x), after(x))
    assert str(before) == str(after)


def test_brightness_there_and_back():
    """What is read off a picture becomes what the picture was in training."""
    for inputs in ("auto", "standardise", "minmax", "as is"):
        dataset = split(IMAGES, inputs=inputs)
        brightness = (IMAGES[:20] / 255).astype(np.float32).reshape(20, -1)
        own = np.stack([dataset.preprocessing.of_brightness(each) for each in brightness])
        np.testing.assert_allclose(own, dataset.test.x, atol=1e-4)
        back = dataset.preprocessing.brightness(np.asarray(dataset.test.x))
        assert back is not None
        np.testing.assert_allclose(back, brightness, atol=1e-5)
    with pytest.raises(ValueError, match="from -2 to 3, which are no brightness"):
        Preprocessing(low=-2.0, high=3.0).of_brightness(np.zeros(4))


def test_8_bits_are_kept_where_they_can_be():
    for x, dtype in ((IMAGES, np.uint8), (IMAGES.astype(float), np.uint8), (TABLE, np.float32)):
        assert split(x, uint8=True).train.x.dtype == dtype
    small, real = (split(IMAGES, uint8=uint8) for uint8 in (True, False))
    np.testing.assert_array_equal(small.inputs(small.train).x, real.train.x)


def with_entry(value, dtype=float):
    x = BINARY.astype(dtype)
    x[3, 2] = value
    return x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (with_entry(np.nan), r"x_train, row 3, column 2: it is nan; give finite numbers"),
        (with_entry(1e39), r"row 3, column 2: it is 1e\+39"),
        (with_entry("red", object), "row 3, column 2: it is 'red', no number"),
        (with_entry(None, object), "row 3, column 2: it is nan"),
        (pd.DataFrame(with_entry(np.nan)).set_axis([*"abcde"], axis=1), "row 3, column 'c'"),
        (pd.DataFrame(BINARY).astype("Int64").replace(1, pd.NA), "it is missing"),
        (np.ma.masked_greater(BINARY, 0), "it is masked .* such in all.*; fill it"),
        (BINARY.astype(complex), "dtype complex128: give real numbers"),
        (BINARY.astype("datetime64[D]"), "give real numbers"),
        (BINARY[:, 0], r"shape \(60,\)"),
    ],
)
def test_inputs_that_cannot_be(x, message):
    with pytest.raises(ValueError, match=message):
        jaxmlp.split_dataset(x, LABELS, BINARY, LABELS)


@pytest.mark.parametrize(
    ("y", "names"),
    [
        (LABELS, ()),
        (LABELS[:, None], ()),
        (LABELS.astype(">i4"), ()),
        (LABELS.astype(np.uint8), ()),
        (LABELS + 1, ("1", "2", "3")),
        (LABELS + 998, ("998", "999", "1000")),
        (LABELS - 1, ("-1", "0", "1")),
        (np.asarray(["b", "c", "a"])[LABELS], ("a", "b", "c")),
        (np.asarray([b"b", b"c", b"a"])[LABELS], ("a", "b", "c")),
        (np.asarray(["b", "c", "a"], object)[LABELS], ("a", "b", "c")),
        (pd.Series(["b", "c", "a"] * 20, dtype="category"), ("a", "b", "c")),
        (pd.Series(LABELS, dtype="Int64"), ()),
        (LABELS > 0, ("False", "True")),
    ],
)
def test_labels(y, names):
    dataset = split(BINARY, y)
    assert dataset.class_names == names
    classes = np.asarray(dataset.classes)
    plain = np.ravel(np.asarray(y))
    plain = np.char.decode(plain) if plain.dtype.kind == "S" else plain.astype(str)
    np.testing.assert_array_equal(classes[dataset.test.labels], plain[:20])
    assert dataset.n_out == len(classes)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            LABELS / 2,
            "y_train holds real numbers, such as 0.5: to predict numbers, give the loss squared",
        ),
        ((LABELS / 2)[:, None], "y_train holds real numbers"),
        (np.zeros(60, int), "holds one class, 0"),
        (np.asarray(["a", None, "b"] * 20, object), "y_train, row 1: it is missing"),
        (np.where(LABELS == 1, "1", LABELS.astype(object)), "objects of type int, str"),
        (np.ma.masked_equal(LABELS, 2), "y_train, row 2: it is masked"),
        (np.arange(60) + np.zeros((60, 1, 1)), r"y_train has shape \(60, 1, 60\)|shape"),
    ],
)
def test_labels_that_cannot_be(y, message):
    with pytest.raises(ValueError, match=message):
        split(BINARY, y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": "pixel"}, "inputs is 'pixel': give one of auto, as is, pixels"),
        ({"inputs": "pixels", "pixel_max": 100}, "x_train runs from 0 to 255: pixels run from 0"),
        ({"validation_size": 0.2}, "how many examples are held out, such as 12 for that share"),
        ({"validation_size": True}, "validation_size is True"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        split(IMAGES, **options)


def test_small_data_and_numpy_integers():
    assert len(split(BINARY[:9], LABELS[:9]).validation.x) == 1
    assert len(split(BINARY, validation_size=np.int64(12)).validation.x) == 12


def test_a_validation_part_of_ones_own():
    dataset = jaxmlp.split_dataset(
        TABLE[:40], LABELS[:40], TABLE[50:], LABELS[50:],
        x_validation=TABLE[40:50], y_validation=LABELS[40:50], inputs="minmax",
    )  # fmt: skip
    assert [len(part.x) for part in (dataset.train, dataset.validation, dataset.test)] == [
        40, 10, 10
    ]  # fmt: skip
    np.testing.assert_allclose(dataset.train.x.max(axis=0), 1)
    np.testing.assert_array_equal(dataset.validation.labels, LABELS[40:50])


@pytest.mark.parametrize("inputs", ["standardise", "minmax", "pixels"][: None if LONG else 1])
def test_predict_does_what_training_did(inputs, as_in_a_shell, capsys):
    """Of the very test images, as picture files, as many are right as `evaluate` says."""
    digits: Any = load_digits()
    images = (digits.images * 255 / 16).astype(np.uint8)
    np.savez("d.npz", x_train=images[:500], y_train=digits.target[:500],
             x_test=images[500:560], y_test=digits.target[500:560])  # fmt: skip
    flags = ["--inputs", inputs, "--epochs", "30", "--hidden", "32", "--out", "r"]
    assert main(["train", "--data", "d.npz", *flags]) == 0
    assert main(["evaluate", "r"]) == 0
    accuracy = float(capsys.readouterr().out.split()[-1])
    for number, image in enumerate(images[500:560]):
        Image.fromarray(image).save(f"{number:02}.png")
    pictures = sorted(str(path) for path in Path().glob("*.png"))
    assert main(["predict", "r", *pictures]) == 0
    said = [line.split(": ")[1].split()[0] for line in capsys.readouterr().out.splitlines()]
    assert np.mean(np.asarray(said, int) == digits.target[500:560]) == pytest.approx(
        accuracy, abs=0.05
    )
    assert accuracy > 0.7


def test_predict_refuses_pictures_where_inputs_are_no_brightness(as_in_a_shell, capsys):
    images = RNG.normal(size=(60, 8, 8))
    np.savez("d.npz", x_train=images, y_train=LABELS, x_test=images, y_test=LABELS)
    flags = ["--epochs", "1", "--hidden", "4", "--batch-size", "8", "--out", "r"]
    assert main(["train", "--data", "d.npz", *flags]) == 0
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save("a.png")
    assert main(["predict", "r", "a.png"]) == 2
    assert "which are no brightness from black to white: give .npy" in capsys.readouterr().err
    np.save("a.npy", images[0])
    assert main(["predict", "r", "a.npy"]) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "auto"}, {"kind": "none"}, {"offset": [1.0, 2.0]}, {"scale": "x"}, {"scale": None},
        {"offset": float("nan")}, {"low": "x"}, {"kind": "pixels", "scale": 0.0},
    ],
)  # fmt: skip
def test_records_that_cannot_be(change):
    record = as_record(Preprocessing()) | change
    with pytest.raises(ValueError, match="the preprocessing"):
        from_record(record, 3)
    record.pop("kind")
    with pytest.raises(ValueError, match="the preprocessing"):
        from_record(record, 3)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            np.asarray([2**70, 1] * 30, object),
            f"y_train, row 0: it is {2**70}, beyond the integers",
        ),
        (np.asarray([1e19, 1] * 30), r"y_train, row 0: it is 1e\+19, an integer that is not exact"),
    ],
)
def test_classes_that_no_integer_holds(y, message):
    with pytest.raises(ValueError, match=message):
        jaxmlp.split_dataset(BINARY, y, BINARY, y)


def test_rows_of_different_lengths_and_sparse_rows_of_labels():
    sparse = pytest.importorskip("scipy.sparse")
    x, y = np.arange(20.0).reshape(10, 2), np.eye(2)[[0, 1] * 5]
    with pytest.raises(ValueError, match="x_train has rows of different lengths, such as 1 and 2"):
        jaxmlp.split_dataset([[1.0], *x[1:].tolist()], y, x, y)
    dataset = jaxmlp.split_dataset(x, sparse.csr_matrix(y), x, sparse.csr_matrix(y))
    assert dataset.train.labels.shape == (9, 2)
