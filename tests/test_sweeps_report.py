"""The interactive report in a real browser, and the pictures of a sweep."""

import jax
import numpy as np
import pytest
from PIL import Image

from jaxmlp import Config
from jaxmlp.plots import save
from jaxmlp.sweeps import best, loguniform, sweep
from jaxmlp.sweeps.halving import ranks_of
from jaxmlp.sweeps.pictures import curves, heat_map, pictures, score_against
from jaxmlp.sweeps.ranking import is_logarithmic, rows_of, varied
from jaxmlp.sweeps.report import report
from tests.strategies import LONG, tiny_dataset

pytestmark = pytest.mark.xdist_group("browser")  # so that there is one
SPACE = {"learning_rate": [0.001, 0.01, 0.1], "hidden": [(3,), (12,)], "seed": [0, 1]}


def table_of(space, **settings):
    with jax.numpy_dtype_promotion("standard"):
        return sweep(space, tiny_dataset(), config=Config(epochs=2, batch_size=8), **settings)


@pytest.fixture(scope="module")
def table():
    return table_of(SPACE)


MARKUP = "</script><b>bold</b> <a href='https://example.org'>a &amp; b</a> $\\foo$"


def columns(browser):
    rows = browser.find_elements("css selector", "#rows tr")
    return [[cell.text for cell in row.find_elements("tag name", "td")] for row in rows]


def errors(browser):
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_the_report_in_a_browser(browser, table, tmp_path):
    path = tmp_path / "report.html"
    found = best(table, tiny_dataset())
    path.write_text(report(table, "A <b>sweep</b>", found), encoding="utf-8")
    browser.get(path.as_uri())
    assert errors(browser) == []
    assert browser.find_element("tag name", "h1").text == "A <b>sweep</b>"
    rows = columns(browser)
    assert len(rows) == 6
    accuracies = [float(row[2]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)  # the best first
    assert accuracies[0] == pytest.approx(found.score, abs=1e-4)
    heads = browser.find_elements("css selector", "#heads button")
    assert [head.text for head in heads][:3] == ["learning rate", "hidden", "validation accuracy"]
    for reverse in (True, False):  # a head sorts, and once more the other way round
        heads[0].click()
        rates = [float(row[0]) for row in columns(browser)]
        assert rates == sorted(rates, reverse=reverse)
    for reverse in (True, False):
        heads[1].click()  # widths are sorted as numbers
        widths = [int(row[1]) for row in columns(browser)]
        assert widths == sorted(widths, reverse=reverse)
    heads[0].click()
    browser.find_element("css selector", "#rows tr").click()
    assert len(browser.find_elements("css selector", "#rows tr.chosen")) == 1
    widths = browser.execute_script("return $('curves').data.map((trace) => trace.line.width)")
    assert sorted(widths) == [1.5] * 5 + [4]  # its curve is marked
    browser.find_element("id", "clear").click()
    assert not browser.find_elements("css selector", "#rows tr.chosen")
    # as dragging along the axis of the learning rate does, whose scale is logarithmic
    keep = "return Plotly.restyle('parallel', {'dimensions[0].constraintrange': arguments[0]})"
    browser.execute_script(keep, [[-2.1, -0.9]])
    assert {float(row[0]) for row in columns(browser)} == {0.01, 0.1}
    assert "4 of 6 settings" in browser.find_element("id", "count").text
    assert browser.execute_script("return $('curves').data.length") == 4
    browser.execute_script(keep, [None])
    assert len(columns(browser)) == 6
    assert errors(browser) == []


@pytest.mark.parametrize(
    ("space", "settings"),
    [
        ([{"name": MARKUP, "momentum": 0.5}, {"bias": False}], {}),
        ({"seed": [0, 1]}, {}),
        ({"momentum": [0.9], "learning_rate": [0.1, 1e30]}, {}),
        ({"learning_rate": loguniform(1e-3, 1), "momentum": [0.5, 0.9]}, {"trials": 3}),
        ({"learning_rate": [0.001, 0.01, 0.1, 1.0]}, {"halving": 2}),
    ][: None if LONG else 1],
)
def test_reports_of_other_sweeps(browser, space, settings, tmp_path):
    table = table_of(space, **settings)
    path = tmp_path / "report.html"
    path.write_text(report(table, "Sweep", best(table)), encoding="utf-8")
    browser.get(path.as_uri())
    assert errors(browser) == []
    assert len(columns(browser)) == len(rows_of(table))
    if "setting" in table.coords:  # its text is text, in the table and in the drawings
        assert MARKUP in browser.find_element("id", "rows").text
        assert MARKUP in browser.find_element("id", "parallel").text
        browser.execute_script(
            "const own = $('curves').data.findIndex((trace) => trace.name.includes('bold'));"
            "Plotly.Fx.hover('curves', [{curveNumber: own, pointNumber: 0}])"
        )
        assert MARKUP in browser.find_element("css selector", "#curves .hoverlayer").text
        assert not browser.find_elements("css selector", ".js-plotly-plot svg a")
    for name, figure in pictures(table):
        save(figure, tmp_path / f"{name}.png")


def test_pictures(table, tmp_path):
    found = dict(pictures(table))
    assert list(found) == ["heat_map", "curves", "accuracy_learning_rate"]
    for name, figure in found.items():
        save(figure, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 400
    cells = [text.get_text() for text in found["heat_map"].axes[0].texts]
    rows = {(row.names["learning_rate"], row.names["hidden"]): row for row in rows_of(table)}
    in_order = [rows[rate, width] for width in ("3", "12") for rate in SPACE["learning_rate"]]
    assert cells == [f"{row.score:.3f}" for row in in_order]
    bars = found["accuracy_learning_rate"].axes[0]
    assert bars.get_xscale() == "log"
    assert bars.get_legend_handles_labels()[1] == ["hidden 3", "hidden 12"]


def test_rows(table):
    rows = rows_of(table)
    ranks = ranks_of(np.asarray([row.score for row in rows]))
    found = [(rank, row.ties[-1]) for rank, row in zip(ranks, rows, strict=True)]
    assert found == sorted(found)
    assert rows[0].names == best(table).setting
    assert rows[0].score == best(table).score
    assert varied(rows) == {"learning_rate": [0.001, 0.01, 0.1], "hidden": ["3", "12"]}
    assert is_logarithmic([0.001, 0.01, 0.1])
    assert not is_logarithmic([1, 2, 3])
    assert not is_logarithmic(["3", "6", "7"])
    assert not is_logarithmic([0.0, 0.5, 0.9])


def test_stopped_settings_come_last():
    rows = rows_of(table_of({"learning_rate": [0.001, 0.01, 0.1, 1.0]}, halving=2))
    assert [row.trained for row in rows] == [2, 2, 1, 1]
    assert all(len(row.scores) == row.trained for row in rows)
    assert np.isnan([row.score for row in rows[2:]]).all()


@pytest.mark.parametrize("metric", ["accuracy", "auc", "r2", "loss"])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_scores_that_are_all_alike(table, metric, value, tmp_path):
    """Warnings are errors here, such as that of limits that are the same."""
    alike = {"score": value, "scores": np.full(2, value), "spread": np.zeros(2), "deviation": 0.0}
    if metric == "loss":  # of which the score is the negative
        alike |= {"score": -value, "scores": np.full(2, -value)}
    objective = rows_of(table)[0].objective._replace(metric=metric, higher=metric != "loss")
    rows = [row._replace(objective=objective, **alike) for row in rows_of(table)]
    for figure in (
        curves(rows),
        heat_map(rows, "learning_rate", "hidden"),
        score_against(rows, "learning_rate", "hidden"),
    ):
        save(figure, tmp_path / "a.png")
    low, high = curves(rows).axes[0].get_ylim()
    shown = 100 * (1 - value) if metric == "accuracy" else value
    assert low <= shown <= high
    assert low < high
