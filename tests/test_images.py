"""Pictures as inputs: whatever the picture is like, the network sees what it was trained on."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from jaxmlp import images
from jaxmlp.cli import main
from jaxmlp.data.preprocessing import fit
from jaxmlp.images import AS_IT_IS, MAX_PIXELS
from jaxmlp.ink import Framing, framing


def read_image(*arguments: Any) -> np.ndarray:
    """The inputs (n_in,) that one picture becomes."""
    (inputs,) = images.read_image(*arguments).inputs
    return inputs


FRAME = Framing((28, 28), (20.0, 15.0), (13.5, 13.5))


def page(height: int = 160, width: int = 120, row: int = 40, column: int = 30) -> np.ndarray:
    """The ink of a large letter L, 80 pixels high, with its corner at (row + 80, column)."""
    ink = np.zeros((height, width))
    ink[row : row + 80, column : column + 12] = 1
    ink[row + 68 : row + 80, column : column + 50] = 1
    return ink


def write(path: Path, brightness: np.ndarray, mode: str = "L", **options: Any) -> Path:
    """A picture file of brightnesses from 0 to 1."""
    Image.fromarray(np.uint8(np.round(255 * brightness))).convert(mode).save(path, **options)
    return path


def photograph(digit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A small digit in dark ink somewhere on a page, lit from one side, blurred and noisy."""
    side = int(rng.integers(50, 120))
    ink = np.zeros((240, 180), np.float32)
    row, column = rng.integers(4, 236 - side), rng.integers(4, 176 - side)
    large = Image.fromarray(digit.astype(np.float32)).resize((side, side))
    ink[row : row + side, column : column + side] = np.clip(np.asarray(large), 0, 1)
    y, x = np.mgrid[-1:1:240j, -1:1:180j]
    angle = rng.uniform(0, 2 * np.pi)
    light = (0.8 + 0.12 * (np.cos(angle) * y + np.sin(angle) * x)) * (1 - 0.75 * ink)
    blurred = Image.fromarray(np.uint8(255 * light)).filter(ImageFilter.GaussianBlur(1))
    return np.clip(np.asarray(blurred) / 255 + 0.03 * rng.standard_normal(light.shape), 0, 1)


def test_framing_measures_box_and_centre() -> None:
    x = np.zeros((3, 10, 12))
    x[0, 2:6, 3:5] = 1.0  # 4 × 2 around (3.5, 3.5)
    x[1, 4:10, 5:9] = 0.5  # 6 × 4 around (6.5, 6.5), pale
    x[1, 0, 0] = 0.1  # fainter than half of the brightest: outside the box, but with some mass
    measured = framing(x.reshape(3, -1), (10, 12))
    assert measured.image_shape == (10, 12)
    assert measured.box == (5.0, 3.0)  # the blank third image does not count
    second = 6.5 * 12 / 12.1
    np.testing.assert_allclose(measured.centre, [(3.5 + second) / 2] * 2)


def test_framing_of_blank_images_is_the_whole_frame() -> None:
    assert framing(np.zeros((2, 12)), (3, 4)) == Framing((3, 4), (3.0, 4.0), (1.0, 1.5))


def test_ink_is_brought_to_the_framing(tmp_path: Path) -> None:
    image = read_image(write(tmp_path / "l.png", 1 - page()), FRAME)
    assert image.shape == (784,)
    assert image.dtype == np.float32
    assert (image.min(), image.max()) == (0, 1)
    measured = framing(image[None], (28, 28))
    np.testing.assert_allclose(measured.box, [20, 12.5], atol=1)  # 80 × 50, shrunk to 20 high
    np.testing.assert_allclose(measured.centre, FRAME.centre, atol=0.05)


def test_ink_may_be_dark_or_bright_and_the_paper_anything_between(tmp_path: Path) -> None:
    expected = read_image(write(tmp_path / "l.png", 1 - page()), FRAME)
    for paper, ink in ((0.0, 1.0), (0.6, 0.1), (0.3, 0.9), (0.9, 0.7)):
        path = write(tmp_path / "other.png", paper + (ink - paper) * page())
        np.testing.assert_allclose(read_image(path, FRAME), expected, atol=0.02)


def test_place_size_and_margin_do_not_matter(tmp_path: Path) -> None:
    expected = read_image(write(tmp_path / "l.png", 1 - page()), FRAME)
    for ink in (page(row=5, column=60), page(300, 200, 150, 17), np.kron(page(), np.ones((3, 3)))):
        moved = read_image(write(tmp_path / "other.png", 1 - ink), FRAME)
        np.testing.assert_allclose(moved, expected, atol=0.05)
    tight = page(80, 60, 0, 6)  # ink touches the border at top and bottom
    np.testing.assert_allclose(
        read_image(write(tmp_path / "other.png", 1 - tight), FRAME), expected, atol=0.05
    )


def test_ink_that_fits_is_not_cut_off(tmp_path: Path) -> None:
    """Centred by its mass, an L as high as the frame would lose its top."""
    image = read_image(
        write(tmp_path / "l.png", 1 - page()), Framing((8, 8), (8.0, 5.0), (3.5, 3.5))
    ).reshape(8, 8)
    np.testing.assert_allclose(image[0].sum(), image[3].sum(), rtol=0.01)  # the upright stroke
    assert image[7].sum() > 3 * image[3].sum()  # the foot


def test_specks_and_noise_are_dropped(tmp_path: Path) -> None:
    expected = read_image(write(tmp_path / "l.png", 1 - page()), FRAME)
    dirty = page()
    dirty[10:12, 100:103] = 1
    dirty[150:153, 8:10] = 1
    noisy = 0.8 - 0.6 * dirty + 0.03 * np.random.default_rng(0).standard_normal(dirty.shape)
    image = read_image(write(tmp_path / "other.png", noisy), FRAME)
    assert np.abs(image - expected).mean() < 0.02  # one speck left would move and shrink it all
    assert (image[expected == 0] > 0.1).mean() < 0.05


def test_the_edge_of_a_shadow_is_no_ink(tmp_path: Path) -> None:
    expected = read_image(write(tmp_path / "l.png", 1 - page()), FRAME)
    row, column = np.mgrid[:160, :120]
    shadow = 1 - 0.25 / (1 + np.exp(-(row + column / 2 - 130) / 4))  # across the L
    image = read_image(write(tmp_path / "other.png", 0.9 * shadow * (1 - 0.8 * page())), FRAME)
    assert np.abs(image - expected).mean() < 0.05  # taken for ink, the shadow makes it 0.27


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"])
def test_every_kind_of_pixel_gives_the_same_input(mode: str, tmp_path: Path) -> None:
    expected = read_image(write(tmp_path / "l.png", 1 - page()), FRAME)
    if mode == "I;16":
        path = tmp_path / "other.png"
        Image.fromarray(np.uint16(65535 * (1 - page()))).save(path)
    elif mode == "CMYK":
        path = write(tmp_path / "other.jpg", 1 - page(), mode, quality=100)
    else:
        path = write(tmp_path / "other.png", 1 - page(), mode)
    np.testing.assert_allclose(read_image(path, FRAME), expected, atol=0.05)


def test_transparent_pixels_are_white_paper(tmp_path: Path) -> None:
    expected = read_image(write(tmp_path / "l.png", 1 - page()), FRAME)
    pixels = np.zeros((*page().shape, 4), np.uint8)  # black throughout, but seen only on the ink
    pixels[..., 3] = 255 * page()
    Image.fromarray(pixels).save(tmp_path / "other.png")
    np.testing.assert_allclose(read_image(tmp_path / "other.png", FRAME), expected, atol=0.02)


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    expected = read_image(write(tmp_path / "l.png", 1 - page()), FRAME)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    path = write(tmp_path / "other.jpg", 1 - np.rot90(page()), quality=100, exif=exif)
    np.testing.assert_allclose(read_image(path, FRAME), expected, atol=0.05)


def test_what_looks_like_the_training_images_is_left_alone(tmp_path: Path) -> None:
    ink = 0.8 * page()[36:148:4, 2:114:4]
    assert ink.shape == (28, 28)
    image = read_image(write(tmp_path / "l.png", ink), FRAME)
    np.testing.assert_allclose(image, ink.ravel(), atol=0.5 / 255)


@pytest.mark.parametrize("ink", [page(), 0.8 * page()[36:148:4, 2:114:4]])
def test_networks_trained_on_dark_ink_get_dark_ink(ink: np.ndarray, tmp_path: Path) -> None:
    """All is as for bright training images, seen as a negative: a page, and a ready input."""
    bright = read_image(write(tmp_path / "l.png", ink), FRAME)
    for picture in (ink, 1 - ink) if ink.shape != (28, 28) else (1 - ink,):
        path = write(tmp_path / "l.png", picture)
        np.testing.assert_allclose(
            read_image(path, FRAME._replace(dark=True)), 1 - bright, atol=1e-6
        )
    x = np.stack([bright, np.zeros(784)])
    found, negative = framing(x, (28, 28)), framing(1 - x, (28, 28))
    assert (found.dark, negative.dark, negative.box) == (False, True, found.box)
    np.testing.assert_allclose(negative.centre, found.centre, rtol=1e-6)


def test_photographs_of_digits_are_classified_as_the_digits_are(tmp_path: Path) -> None:
    """Real 8 × 8 digits; the class is that of the nearest of all the other digits.

    Of the 60 clean ones nearly all are right. The measured loss on photographs is at most 2 of
    200 with a trained network, so 5 of 60 leaves room for chance and for another renderer, while
    any step left out (light, noise, place, size, polarity) costs far more.
    """
    from sklearn.datasets import load_digits

    x, labels = load_digits(return_X_y=True)
    x = x / 16
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(x), 60, replace=False)
    rest = np.setdiff1d(np.arange(len(x)), chosen)
    frame = framing(x[rest], (8, 8))

    def right(inputs: np.ndarray) -> int:
        distance = ((inputs[:, None] - x[None, rest]) ** 2).sum(axis=2)
        return int((labels[rest][distance.argmin(axis=1)] == labels[chosen]).sum())

    photographs = [
        read_image(write(tmp_path / "p.png", photograph(x[i].reshape(8, 8), rng)), frame)
        for i in chosen
    ]
    assert right(x[chosen]) >= 57
    assert right(np.array(photographs)) >= right(x[chosen]) - 5


@pytest.mark.parametrize("shape", [(28, 28), (784,)])
def test_arrays_of_the_inputs_shape_are_taken_as_they_are(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "x.npy"
    x = np.random.default_rng(0).normal(size=shape)  # standardised inputs, say
    np.save(path, x)
    np.testing.assert_array_equal(read_image(path, FRAME), x.ravel().astype(np.float32))
    pixels = np.arange(784).reshape(shape).astype(np.uint8)
    np.save(path, pixels)
    np.testing.assert_allclose(read_image(path, FRAME), pixels.ravel() / 255, rtol=1e-6)


def test_inputs_that_are_no_images_come_as_arrays(tmp_path: Path) -> None:
    frame = framing(np.ones((2, 13)), (1, 13))
    for shape in ((13,), (1, 13)):
        np.save(tmp_path / "x.npy", np.full(shape, -2.5))
        np.testing.assert_array_equal(read_image(tmp_path / "x.npy", frame), np.full(13, -2.5))
    with pytest.raises(ValueError, match="takes 13 numbers"):
        read_image(write(tmp_path / "l.png", page()), frame)


@pytest.mark.parametrize("shape", [(3, 784), (3, 28, 28)])
def test_arrays_of_several_examples(shape: tuple[int, ...], tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    np.save(tmp_path / "x.npy", x)
    found = images.read_image(tmp_path / "x.npy", FRAME).inputs
    np.testing.assert_array_equal(found, x.reshape(3, 784).astype(np.float32))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_arrays_of_features_are_what_they_are_whatever_their_dtype(dtype, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 2, (9, 784)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    found = images.read_image(tmp_path / "x.npy", FRAME).inputs
    np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize("white", [16, 255, 65535])
def test_arrays_of_pixels_are_raw_numbers_or_brightness(white: int, tmp_path: Path) -> None:
    """As in training; what cannot be such is brightness from 0 to 1, or from 0 to 255."""
    x = np.random.default_rng(0).integers(0, white + 1, (9, 28, 28))
    x[0, 0, 0] = white
    of_pixels = fit(x, "pixels", pixel_max=white)
    raw = x.astype(np.uint16 if white > 255 else np.uint8)
    of_255 = np.round(x / white * 255)
    whole = of_255.astype(np.int64 if white < 255 else np.uint8)
    for array in (raw, x, x.astype(float), x / white, np.uint8(of_255), whole):
        np.save(tmp_path / "x.npy", array)
        found = images.read_image(tmp_path / "x.npy", FRAME, of_pixels).inputs
        np.testing.assert_allclose(found, x.reshape(9, 784) / white, atol=0.002)


def test_arrays_that_can_be_misread_say_how_they_are_read(tmp_path: Path) -> None:
    of_pixels = fit(np.arange(17.0).repeat(784).reshape(17, 784), "pixels", pixel_max=16)
    np.save(tmp_path / "x.npy", np.linspace(0, 99, 784))
    seen = images.read_image(tmp_path / "x.npy", FRAME, of_pixels)
    assert seen.how == "as it is, beyond the training examples' 0 to 16"
    np.save(tmp_path / "x.npy", np.linspace(0, 1, 784))
    seen = images.read_image(tmp_path / "x.npy", FRAME, of_pixels)
    assert seen.how == "as it is, with 1 as white"
    np.save(tmp_path / "x.npy", np.linspace(-1, 1, 784))
    seen = images.read_image(tmp_path / "x.npy", FRAME, of_pixels)
    assert seen.how == "as it is, beyond the training examples' 0 to 16"
    np.save(tmp_path / "x.npy", np.arange(784, dtype=np.uint8) % 2)
    seen = images.read_image(tmp_path / "x.npy", FRAME, of_pixels)
    assert seen.how == "as it is, far below the training examples' 0 to 16"
    np.save(tmp_path / "x.npy", np.full((3, 785), 0.5))
    with pytest.raises(
        ValueError, match=r"its shape \(3, 785\) is that of a picture, and not of ex"
    ):
        images.read_image(tmp_path / "x.npy", FRAME, of_pixels)


def test_an_array_of_another_size_is_a_picture(tmp_path: Path) -> None:
    expected = read_image(write(tmp_path / "l.png", 1 - page()), FRAME)
    for array in (1 - page(), np.uint8(255 * (1 - page()))):
        np.save(tmp_path / "x.npy", array)
        np.testing.assert_allclose(read_image(tmp_path / "x.npy", FRAME), expected, atol=1e-5)


def npy(array: np.ndarray, *, cut: int = 0) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()[: -cut or None]


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        tail = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + tail

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def huge_npy() -> bytes:
    """A few bytes whose header promises an array of 8 TB."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    header = header.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


NOISE = np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"", "no sound PNG"),
        ("a.png", b"no picture at all", "no sound PNG"),
        ("a.png", png(NOISE)[:700], "truncated"),
        ("a.png", png(NOISE)[:30], "no sound PNG|truncated"),
        ("a.png", png(np.full((60, 60), 200, np.uint8)), "no ink"),
        ("a.png", png(np.zeros((28, 28), np.uint8)), "no ink"),
        ("a.png", png(np.zeros((1, 1), np.uint8)), "no ink"),
        ("a.png", png(190 + NOISE // 16), "no ink"),  # a blank page, with a camera's noise
        ("a.png", bomb(8001, 8000), f"8001 × 8000 pixels: at most {MAX_PIXELS}"),
        ("a.png", bomb(10_000, 10_000), f"at most {MAX_PIXELS}"),
        ("a.png", bomb(60_000, 60_000), "exceeds limit"),
        ("a.npy", b"", "EOF: reading magic string"),
        ("a.npy", b"no array at all", "the magic string is not correct"),
        ("a.npy", npy(np.array([{}, "x"], object)), "object"),
        ("a.npy", npy(np.ones((50, 50)), cut=9), "truncated: 19991 bytes, which is shorter than"),
        ("a.npy", huge_npy(), f"has {10**12} pixels: give at least 1, at most"),
        ("a.npy", npy(np.full(784, np.nan)), "NaN"),
        ("a.npy", npy(np.full((50, 50), np.inf)), "NaN, an infinity"),
        ("a.npy", npy(np.full(784, 1e300)), "beyond float32"),
        ("a.npy", npy(np.zeros(100)), r"shape \(100,\): give \(784,\), \(28, 28\) or \(n, 784\)"),
        ("a.npy", npy(np.zeros((2, 28, 29))), r"shape \(2, 28, 29\)"),
        ("a.npy", npy(np.zeros((0, 28, 28))), "has 0 pixels"),
        ("a.npy", npy(np.array(0.5)), r"shape \(\)"),
        ("a.npy", npy(np.zeros((0, 28))), "has 0 pixels"),
        ("a.npy", npy(np.zeros((50, 50), int)), "dtype int64: give uint8"),
        ("a.npy", npy(np.zeros(784, complex)), "dtype complex128"),
        ("a.npy", npy(255 * np.ones((50, 50))), r"from 255 to 255: scale it to \[0, 1\]; or give"),
        ("a.npy", npy(np.zeros(784, "U1")), "dtype <U1: give numbers"),
        ("a.npy", npy(np.ones((50, 50))), "no ink"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_value_error_of_one_line(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_image(path, FRAME)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [lambda folder: folder / "none.png", lambda folder: folder])
def test_a_missing_file_and_a_folder(place: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_image(place(tmp_path), FRAME)


def textures(n: int, colours: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Pictures without paper, (n, 28, 28), of two kinds: fine and coarse grain on any grey."""
    rng, ones = np.random.default_rng(n), (1,) * len(colours)
    labels = np.arange(n) % 2
    coarse = np.kron(rng.normal(size=(n, 7, 7, *colours)), np.ones((1, 4, 4, *ones)))
    fine = rng.normal(size=(n, 28, 28, *colours))
    grey = rng.uniform(60, 200, (n, 1, 1, *ones))
    x = grey + 40 * np.where(labels.reshape(n, 1, 1, *ones) > 0, coarse, fine)
    return x.clip(0, 255).astype(np.uint8), labels


def train(x: np.ndarray, labels: np.ndarray, n_test: int, *flags: str) -> None:
    np.savez(
        "d.npz", x_train=x[n_test:], y_train=labels[n_test:],
        x_test=x[:n_test], y_test=labels[:n_test],
    )  # fmt: skip
    quick = ["--epochs", "3", "--hidden", "16", "--batch-size", "32"]
    assert main(["train", "--data", "d.npz", *quick, *flags, "--out", "r"]) == 0


def said(capsys: pytest.CaptureFixture[str], *files: str) -> list[str]:
    """The lines of predict, without the names of the files."""
    capsys.readouterr()
    assert main(["predict", "r", *files]) == 0
    return [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()]


@pytest.mark.usefixtures("as_in_a_shell")
@pytest.mark.parametrize("colours", [(), (3,)])
def test_photographs_of_the_training_size_are_taken_as_they_are(
    colours: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The same is said of PNG files, of each array, and of all arrays in one file."""
    x, labels = textures(200, colours)
    train(x, labels, 20)
    for number, image in enumerate(x[:20]):
        Image.fromarray(image).save(f"{number:02}.png")
        np.save(f"{number:02}.npy", image)
    np.save("all.npy", x[:20])
    by_picture, by_array = (
        said(capsys, *(f"{number:02}.{ending}" for number in range(20)))
        for ending in ("png", "npy")
    )
    assert by_picture == by_array == said(capsys, "all.npy")
    assert all(line.endswith(f"({AS_IT_IS})") for line in by_picture)
    Image.fromarray(x[0]).resize((56, 56), Image.Resampling.NEAREST).save("large.png")
    assert said(capsys, "large.png") == [
        by_picture[0].replace(AS_IT_IS, "resized from 56 × 56 pixels")
    ]
    Image.fromarray(x[0]).convert("RGBA").save("other.png")
    assert said(capsys, "other.png") == by_picture[:1]


@pytest.mark.usefixtures("as_in_a_shell")
def test_ink_of_the_training_size_may_be_the_reverse(capsys: pytest.CaptureFixture[str]) -> None:
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    x = (digits.images * 255 / 16).astype(np.uint8)
    train(x, digits.target, 20)
    for number, image in enumerate(x[:20]):
        Image.fromarray(image).save(f"{number:02}.png")
        Image.fromarray(255 - image).save(f"{number:02}-white.png")
        np.save(f"{number:02}.npy", image)
    plain, white, arrays = (
        said(capsys, *(f"{number:02}{ending}" for number in range(20)))
        for ending in (".png", "-white.png", ".npy")
    )
    assert plain == arrays
    assert [each.replace("inverted", AS_IT_IS) for each in white] == plain
    assert "inverted" in white[0]
    large = Image.fromarray(255 - x[0]).resize((80, 80))
    large.save("large.png")
    assert said(capsys, "large.png")[0].endswith("(its ink placed as in the training images)")


def test_what_is_ink_on_paper_is_seen_by_the_borders() -> None:
    assert framing(
        np.pad(np.ones((9, 2, 2)), ((0, 0), (1, 1), (1, 1))).reshape(9, -1), (4, 4)
    ).paper
    assert not framing(textures(50)[0].reshape(50, -1) / 255, (28, 28)).paper
    colours = framing(np.zeros((2, 48)), (4, 4, 3))
    assert colours == Framing((4, 4, 3), (4.0, 4.0), (1.5, 1.5), paper=False)


@pytest.mark.usefixtures("as_in_a_shell")
def test_volumes_come_as_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (60, 6, 6, 6)).astype(np.uint8)
    train(x, np.arange(60) % 2, 20)
    np.save("a.npy", x[:2])
    assert len(said(capsys, "a.npy")) == 2
    Image.fromarray(x[0, 0]).save("a.png")
    assert main(["predict", "r", "a.png"]) == 2
    assert "the network takes volumes of 6 × 6 × 6 numbers" in capsys.readouterr().err
