"""The pictures: what is in them, for the usual and for the odd data. Looks are judged by eye."""

import re
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from jaxmlp import lettering, plots
from jaxmlp.lettering import all_shortened
from jaxmlp.mistakes import confident_mistakes, confusion_matrix

EPOCHS = np.arange(1, 6)


def texts(figure: Figure) -> list[str]:
    """Every piece of text that stands in the axes of a figure, their titles included."""
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    places = ("left", "center", "right")
    found += [axes.get_title(loc=loc) for axes in figure.axes for loc in places]
    return [text for text in found if text]


def title(figure: Figure) -> str:
    return figure.get_suptitle()


def curves(train: list[float], accuracy: list[float]) -> Figure:
    n = len(train)
    loss = np.array(train)
    return plots.learning_curves(EPOCHS[:n], loss, 1.1 * loss, np.array(accuracy), "a run")


def test_saved_figure_is_a_png_of_150_dots_per_inch(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    plots.save(curves([2.0, 1.0], [0.5, 0.75]), path)
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert image.size == (1500, 600)
        assert np.ptp(np.asarray(image.convert("L"))) > 200  # something dark on white


def test_curves_name_the_lines_and_the_first_best_epoch() -> None:
    figure = curves([2.0, 1.5, 1.2, 1.1], [0.5, 0.75, 0.9, 0.9])
    assert len(figure.axes) == 2
    assert {"training", "validation"} <= set(texts(figure))
    assert "best: 10.00 % at epoch 3" in texts(figure)
    right = figure.axes[1]
    np.testing.assert_allclose(np.array(right.lines[0].get_ydata(), float), [50, 25, 10, 10])
    np.testing.assert_allclose(np.array(right.lines[1].get_xydata(), float), [[3, 10]])


@pytest.mark.parametrize(
    ("losses", "scale"), [([2.0, 1.0, 0.5], "linear"), ([2.0, 0.4, 0.1], "log"), ([1, 0], "linear")]
)
def test_losses_are_drawn_on_a_log_scale_beyond_a_decade(losses: list[float], scale: str) -> None:
    assert curves(losses, [0.9] * len(losses)).axes[0].get_yscale() == scale


@pytest.mark.parametrize("losses", [[1.0], [1.0, np.nan, np.inf], [np.nan, np.nan]])
def test_curves_of_one_epoch_and_of_a_diverged_run(losses: list[float], tmp_path: Path) -> None:
    accuracy = np.where(np.isnan(losses), np.nan, 0.5).tolist()
    plots.save(curves(losses, accuracy), tmp_path / "curves.png")


def test_confusion_matrix_counts_mistakes_and_gives_recall() -> None:
    labels, predictions = np.array([0, 0, 0, 0, 1]), np.array([0, 1, 1, 0, 1])
    figure = confusion_matrix(labels, predictions, "ab", "a test")
    written = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert written == {(0, 0): "50%", (1, 0): "2", (1, 1): "100%"}  # (column, row); empty: none
    assert title(figure) == "a test: accuracy 60.00%"
    shown = figure.axes[0].images[0].get_array()
    assert shown is not None
    np.testing.assert_array_equal(np.ma.filled(shown, 0), [[0, 2], [0, 0]])


def test_confusion_matrix_without_mistakes(tmp_path: Path) -> None:
    labels = np.arange(3)
    figure = confusion_matrix(labels, labels, "abc", "a test")
    assert [text.get_text() for text in figure.axes[0].texts] == ["100%"] * 3
    plots.save(figure, tmp_path / "matrix.png")


@pytest.mark.parametrize(("n_out", "cells", "axes"), [(30, 30, 1), (40, 0, 2)])
def test_many_classes_get_a_colour_bar_in_place_of_numbers(n_out: int, cells: int, axes: int):
    labels = np.arange(n_out)
    figure = confusion_matrix(labels, labels, [*map(str, range(n_out))], "a test")
    assert len(figure.axes[0].texts) == cells
    assert len(figure.axes) == axes


def mistakes(n: int, wrong: int, shape: tuple[int, int], count: int = 24) -> Figure:
    """`n` examples of class 0, the first `wrong` taken for class 1, each more surely."""
    x = np.random.default_rng(0).random((n, shape[0] * shape[1]))
    sure = np.where(np.arange(n) < wrong, 0.6 + 0.39 * np.arange(n) / n, 0.1)
    return confident_mistakes(
        x, np.zeros(n, int), np.stack([1 - sure, sure], axis=1), shape, "a test", "ab", count
    )


def shown(figure: Figure) -> list[float]:
    """The percentages under the examples, in the order drawn."""
    found = (re.search(r"[\d.]+", axes.get_xlabel()) for axes in figure.axes)
    return [float(match.group()) for match in found if match]


def test_the_surest_mistakes_come_first() -> None:
    figure = mistakes(100, 50, (4, 4), count=10)
    np.testing.assert_allclose(shown(figure), 60 + 0.39 * np.arange(49, 39, -1), atol=0.051)
    assert texts(figure) == ["a → b"] * 10
    assert title(figure) == "a test: 50 of 100 wrong"


def test_the_mistakes_are_pictures_of_the_right_examples() -> None:
    image = mistakes(3, 3, (2, 5)).axes[0].images[0].get_array()
    expected = np.random.default_rng(0).random((3, 10))[2].reshape(2, 5)
    np.testing.assert_array_equal(np.asarray(image), expected)


@pytest.mark.parametrize(("wrong", "shape"), [(1, (8, 8)), (9, (8, 8)), (3, (1, 13)), (2, (5, 1))])
def test_few_mistakes_and_inputs_that_are_no_images(
    wrong: int, shape: tuple[int, int], tmp_path: Path
) -> None:
    figure = mistakes(20, wrong, shape)
    assert len(shown(figure)) == wrong
    assert bool(figure.axes[0].images) == (shape[0] > 1)
    plots.save(figure, tmp_path / "mistakes.png")


def test_no_mistakes_is_said(tmp_path: Path) -> None:
    figure = mistakes(20, 0, (8, 8))
    assert title(figure) == "a test: 0 of 20 wrong"
    assert [text.get_text() for text in figure.texts][-1] == "no mistakes to show"
    plots.save(figure, tmp_path / "mistakes.png")


def test_a_probability_is_never_shown_as_certainty() -> None:
    figure = confident_mistakes(
        np.ones((1, 4)), np.array([0]), np.array([[0.0, 1.0]]), (2, 2), "a test", "ab"
    )
    assert figure.axes[0].get_xlabel() == "> 99.9 %"


def test_a_file_name_is_no_formula() -> None:
    """It may have dollars in it, which would be read as TeX, and would fail."""
    assert plots.png(plots.new_figure(3.0, 2.0, r"50 $\nothing$"))


NAMES = ["の", "中文", "a\x07\n", "b\ud800", "x\u202ey", "𝒜", "ok", "n\u00a0b"]


def test_letters_that_a_font_lacks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Warnings are errors here. Matplotlib comes with a font for の and 𝒜, but none for 中."""
    labels = np.arange(len(NAMES))
    figure = confusion_matrix(labels, labels[::-1], NAMES, "50 中\x07")
    plots.save(figure, tmp_path / "a.png")
    ticks = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert ticks[0] == "の"
    assert ticks[2:] == [r"a\x07\n", r"b\ud800", r"x\u202ey", "𝒜", "ok", "n\u00a0b"]
    assert title(figure).endswith(r"\x07: accuracy 0.00%")
    rows = np.eye(len(NAMES))
    shape = (1, len(NAMES))
    for other in (
        confident_mistakes(rows, labels, rows[::-1], shape, "中", NAMES),
        plots.predictions(rows, rows, NAMES, "の", probabilities=True),
    ):
        plots.save(other, tmp_path / "b.png")
    assert not caplog.records


def test_what_no_font_has_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        lettering, "_family", lambda character, _: "" if character < "\x80" else None
    )
    assert lettering.drawable("Köln 中") == r"K\xf6ln \u4e2d"


MANY = [f"class number {number}" for number in range(60)]


def test_names_are_shortened_in_the_middle_and_stay_different() -> None:
    assert all_shortened(MANY)[12] == "class …mber 12"
    assert all_shortened(["a" * 20, "b"]) == ["aaaaaa…aaaaaaa", "b"]
    for names in (MANY, [f"{n:02} is a long name" for n in range(60)],
                  [f"a long name of {n:02} in the middle of it" for n in range(60)]):  # fmt: skip
        short = all_shortened(names)
        assert len({*short}) == 60
        assert max(map(len, short)) <= 14


@pytest.mark.parametrize(("n_out", "named"), [(31, 31), (60, 60), (250, 84)])
def test_many_classes_are_named(n_out: int, named: int, tmp_path: Path) -> None:
    labels = np.arange(n_out)
    names = [f"class number {number}" for number in labels]
    figure = confusion_matrix(labels, labels[::-1], names, "a test")
    plots.save(figure, tmp_path / "a.png")
    figure.draw_without_rendering()  # in its own resolution, not in the file's
    for ticks in (figure.axes[0].get_xticklabels(), figure.axes[0].get_yticklabels()):
        boxes = [each.get_window_extent() for each in ticks]
        assert [each.get_text() for each in ticks] == names[:: -(-n_out // 100)]
        assert len(boxes) == named
        assert not any(a.overlaps(b) for a, b in pairwise(boxes))


@pytest.mark.parametrize("names", [MANY, ["W" * 14 + str(n) for n in range(60)], [*"abcd"] * 15])
def test_titles_of_mistakes_do_not_overlap(names: list[str], tmp_path: Path) -> None:
    x, labels = np.random.default_rng(0).random((60, 16)), np.arange(60)
    figure = confident_mistakes(x, labels, np.eye(60)[::-1], (4, 4), "a test", names)
    plots.save(figure, tmp_path / "a.png")
    figure.draw_without_rendering()  # in its own resolution, not in the file's
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    assert len(boxes) == 24
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


@pytest.mark.parametrize(("shape", "drawn"), [((4, 5, 3), (4, 5, 3)), ((7, 5, 6), (5, 6))])
def test_mistakes_in_colours_and_in_volumes(
    shape: tuple[int, ...], drawn: tuple[int, ...], tmp_path: Path
) -> None:
    x = np.random.default_rng(0).random((2, int(np.prod(shape))))
    figure = confident_mistakes(x, np.array([0, 1]), np.eye(2)[::-1], shape, "a test", "ab")
    plots.save(figure, tmp_path / "a.png")
    image = figure.axes[0].images[0].get_array()
    assert image is not None
    assert image.shape == drawn
    if len(drawn) == 2:
        np.testing.assert_array_equal(image, x[0].reshape(shape)[3])
    assert ("middle slice" in figure.get_supxlabel()) == (len(drawn) == 2)


@pytest.mark.parametrize(("n_in", "named"), [(4, True), (9, False)])
def test_mistakes_of_a_table_name_its_columns(n_in: int, named: bool, tmp_path: Path) -> None:
    columns = [f"the column {number}" for number in range(n_in)]
    figure = confident_mistakes(
        np.ones((2, n_in)), np.array([0, 1]), np.eye(2)[::-1], (1, n_in), "a test", "ab",
        columns=columns,
    )  # fmt: skip
    plots.save(figure, tmp_path / "a.png")
    ticks = [each.get_text() for each in figure.axes[0].get_xticklabels()]
    assert ticks == ([f"the …umn {number}" for number in range(n_in)] if named else [])
