"""Tables as people have them: CSV and Parquet, text, what is missing; trained on and predicted."""

import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import jaxmlp
from jaxmlp.cli import main
from jaxmlp.data.dataset import fingerprint
from jaxmlp.data.loaders import load_table
from jaxmlp.data.preprocessing import choose
from jaxmlp.data.table_files import SAY_NOTHING, read_table
from jaxmlp.data.tables import as_record, from_record

pytestmark = pytest.mark.usefixtures("as_in_a_shell")

ROWS = 120


def shop(rows=ROWS, seed=0):
    """Who buys depends on age and town."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows),
            "income": rng.normal(3e4, 8e3, rows).round(2),
            "town": rng.choice(["Ulm", "Bonn", "Köln"], rows),
            "member": rng.choice([True, False], rows),
        }
    )
    frame["bought"] = np.where((frame.age > 50) ^ (frame.town == "Ulm"), "yes", "no")
    return frame


@pytest.fixture(autouse=True)
def files(as_in_a_shell):
    shop().to_csv("shop.csv", index=False)


def refused(capsys, *words):
    before = {path for path in Path().rglob("*") if path.name != ".lock"}
    assert main([*map(str, words)]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"jaxmlp: error: [^\n]+\n", error), error
    assert {path for path in Path().rglob("*") if path.name != ".lock"} == before
    return error


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_become_numbers(ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
        shop().to_parquet("shop.parquet")
    dataset = load_table(f"shop.{ending}", "bought", inputs="as is")
    assert dataset.classes == ("no", "yes")
    assert dataset.n_in == 6
    assert [len(part.x) for part in (dataset.train, dataset.validation, dataset.test)] == [
        87,
        9,
        24,
    ]
    frame = shop()
    towns = np.column_stack([frame.town == name for name in ("Bonn", "Köln", "Ulm")])
    whole = np.column_stack([frame.age, frame.income, towns, frame.member]).astype(np.float32)
    found = np.concatenate([part.x for part in (dataset.train, dataset.validation, dataset.test)])
    orders = [np.lexsort(each.T) for each in (whole, found)]
    np.testing.assert_array_equal(whole[orders[0]], found[orders[1]])


def test_classes_keep_their_shares():
    dataset = load_table("shop.csv", "bought")
    share = (shop().bought == "yes").mean()
    for part in (dataset.train, dataset.validation, dataset.test):
        assert abs(part.labels.mean() - share) < 0.5 / len(part.labels) + 0.01


def test_the_test_part_does_not_depend_on_the_data_seed():
    one, other = (
        load_table("shop.csv", "bought", data_seed=seed, inputs="as is") for seed in (0, 1)
    )
    np.testing.assert_array_equal(one.test.x, other.test.x)
    assert not np.array_equal(one.validation.x, other.validation.x)


def test_parts_in_files_of_their_own():
    shop(30, 1).to_csv("test.csv", index=False)
    shop(20, 2)[["bought", "town", "income", "member", "age"]].to_csv("other.csv", index=False)
    dataset = load_table(
        "shop.csv", "bought", test="test.csv", validation="other.csv", inputs="as is"
    )
    assert [len(part.x) for part in (dataset.train, dataset.validation, dataset.test)] == [
        120, 20, 30
    ]  # fmt: skip
    np.testing.assert_array_equal(dataset.test.x[:, 0], shop(30, 1).age)
    np.testing.assert_array_equal(dataset.validation.x[:, 0], shop(20, 2).age)


def test_what_is_missing_is_imputed_by_the_training_examples():
    frame = shop().astype({"age": float})
    frame.loc[::4, "age"] = np.nan
    frame.loc[1::4, "town"] = None
    frame.to_csv("holes.csv", index=False)
    dataset = load_table("holes.csv", "bought", missing="impute", inputs="as is")
    assert dataset.schema
    age, _, town, _ = dataset.schema.columns
    assert town.categories == ("Bonn", "Köln", "Ulm", "")
    known = np.isin(dataset.train.x[:, 0], frame.age.dropna())
    filled = dataset.train.x[:, 0] == age.fill
    assert (known | filled).all()
    assert filled.sum() > 10
    assert np.median(dataset.train.x[~filled, 0]) == pytest.approx(age.fill, abs=1)
    assert from_record(as_record(dataset.schema)) == dataset.schema


def test_from_a_table_to_predictions(capsys):
    """Train, evaluate on the same and on other rows, predict: the same classes everywhere."""
    flags = ["--target", "bought", "--hidden", "32", "--epochs", "60", "--batch-size", "16"]
    assert (
        main(["train", "--data", "shop.csv", *flags, "--learning-rate", "0.02", "--out", "r"]) == 0
    )
    printed = capsys.readouterr().out
    assert "inputs      standardise: columns of very different sizes" in printed
    assert "classes     no, yes" in printed
    last = printed.splitlines()[-1]
    assert float(last.split()[-1]) > 0.75
    assert main(["evaluate", "r"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == last
    new = shop(50, 3)
    new.to_csv("new.csv", index=False)
    assert main(["evaluate", "r", "--data", "new.csv"]) == 0
    accuracy = float(capsys.readouterr().out.split()[-1])
    new.drop(columns="bought").to_csv("unknown.csv", index=False)
    assert main(["predict", "r", "unknown.csv", "--out", "said.csv"]) == 0
    said = pd.read_csv("said.csv")
    assert list(said) == ["class", "probability of no", "probability of yes"]
    assert np.mean(said["class"] == new.bought) == pytest.approx(accuracy, abs=1e-4)
    np.testing.assert_allclose(said.iloc[:, 1:].sum(axis=1), 1, atol=1e-5)
    capsys.readouterr()
    assert main(["predict", "r", "unknown.csv"]) == 0
    assert capsys.readouterr().out == Path("said.csv").read_text()


def changed(**columns):
    return shop().assign(**columns)


@pytest.mark.parametrize(
    ("frame", "flags", "message"),
    [
        (shop(), [], "name the column with the labels by --target: 'age', 'income', 'town'"),
        (shop(), ["--target", "sold"], "has no column 'sold': --target names one of 'age'"),
        (shop(), ["--target", "income"], "row 1, column 'income': it is .*, a real number"),
        (shop(), ["--target", "bought", "--drop", "x"], "has no column 'x', which --drop names"),
        (shop()[["bought"]], ["--target", "bought"], "there are no inputs"),
        (shop()[:0], ["--target", "bought"], "has no rows"),
        (shop()[:2], ["--target", "bought"], "data.csv has 2 examples: at least 4 are needed, 2 to "
         "train on, 1 for testing, 1 for validation; or give --test and --validation\n"),
        (shop()[:1], ["--target", "bought", "--test", "shop.csv", "--validation", "shop.csv"],
         "data.csv has 1 example: at least 2 are needed, 2 to train on\n"),
        (shop()[:9], ["--target", "bought", "--test-share", "0.9"],
         "data.csv has 9 examples, of which test_share 0.9 leaves 1: give less"),
        (changed(name=[f"n{i}" for i in range(ROWS)]), ["--target", "bought"],
         r"row \d+, column 'name': it is 'n\d+', which no training example has .*--drop"),
        (pd.concat([shop(), shop()]).assign(name=[f"n{i}" for i in range(2 * ROWS)]),
         ["--target", "bought"], r"column 'name' holds 173 different texts, such as 'n.*--drop"),
        (changed(age=[None, *range(ROWS - 1)]), ["--target", "bought"],
         "row 1, column 'age': it is missing; .*--missing impute"),
        (changed(age=["old", *range(ROWS - 1)]), ["--target", "bought"],
         "row 1, column 'age': it is 'old', no finite number below 3.4e38"),
        (changed(age=[*range(7), "old", *range(ROWS - 8)]), ["--target", "bought"],
         "row 8, column 'age': it is 'old', but most others are numbers"),
        (changed(bought=[*["yes", "no"] * 59, "yes", None]), ["--target", "bought"],
         "row 120, column 'bought': it is missing; leave the row out"),
        (changed(empty=np.nan), ["--target", "bought", "--missing", "impute"],
         "column 'empty' is empty"),
        (shop(), ["--target", "bought", "--test-share", "1"], "test_share is 1.0"),
        (shop(), ["--target", "bought", "--test", "nothing.csv"], "nothing.csv cannot be read"),
    ],
)  # fmt: skip
def test_refuses(frame, flags, message, capsys):
    frame.to_csv("data.csv", index=False)
    assert re.search(message, refused(capsys, "train", "--data", "data.csv", *flags))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no rows, or no columns"),
        (b"a,b,b\n1,2,3\n", "has the column 'b' twice"),
        (b"a,b\n1,2,3\n4,5,6\n", "line 2 has 3 fields, but the header 2"),
        (b"a;b\n1;2\n", "its columns are separated by ';': write it with commas"),
        (b"a;b,c;y\n1;2,5;0\n", "its columns are separated by ';': write it with commas"),
        (b"a|b\n1|2\n", "its columns are separated by '|': write it with commas"),
        (b"a\tb\n1\t2\n", "its columns are separated by '\\t': name it .tsv"),
        ("a,b\n1,Köln\n".encode("latin1"), "it is not UTF-8, as it holds the byte 0xf6, but "
         "perhaps Latin-1: convert it, as by iconv -f LATIN1 -t UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "it is UTF-16, not UTF-8: convert it, as by iconv"),
        ("a,b\n1,2\n".encode("utf-16-le"), "it is UTF-16, not UTF-8: convert it"),
        (b"\x1f\x8b\x08\x00\xff", "it is gzip, not text"),
        (b'a,b\n1,2\n3,"4\n5,6\n7,8\n', "in the row that begins in line 3: is a quote there not"),
        (b'a,b\n3,"4\n5,6\n', "in the row that begins in line 2: is a quote there not closed?"),
        (b'a,"b\n3,4\n5,6\n', "in the row that begins in line 1: is a quote there not closed?"),
        (b'a,b\n1,2\n3,"4\n5"6,6\n', "in the row that begins in line 3: is a quote there not"),
        (b'a,b\n1,2\n3,"4\n' + b"5,6\n" * 40_000, "that begins in line 3: is a quote there not"),
        (b"a,b\n" + b"x" * 2000 + b",1\n", "a text of 2000 characters: at most 1000 are read"),
        (b"\xff\xfe\x00", "cannot be read as a table"),
        (b'a,b\n1,"2\n', "cannot be read as a table"),
        (b"a,b\n1,2,3\n4,5,6,7\n", "cannot be read as a table"),
    ],
)  # fmt: skip
def test_files_that_are_no_tables(content, message, capsys):
    Path("data.csv").write_bytes(content)
    assert message in refused(capsys, "train", "--data", "data.csv", "--target", "b")


def test_other_rows_that_do_not_fit(capsys):
    flags = ["--target", "bought", "--epochs", "1", "--hidden", "4", "--batch-size", "16"]
    assert main(["train", "--data", "shop.csv", *flags, "--out", "r"]) == 0
    capsys.readouterr()
    for frame, message in (
        (shop().drop(columns="age"), "has no column 'age', which the training examples have"),
        (shop().replace("Ulm", "Rom"), "column 'town': it is 'Rom', which no training example has"),
        (shop().astype({"age": object}).replace({"age": {18: "x"}}), "column 'age': it is 'x'"),
        (shop().astype({"age": float}).replace({"age": {18: np.nan}}), "it is missing"),
    ):
        frame.to_csv("new.csv", index=False)
        assert message in refused(capsys, "predict", "r", "new.csv")
    shop().replace("yes", "maybe").to_csv("new.csv", index=False)
    assert "which no training example is" in refused(capsys, "evaluate", "r", "--data", "new.csv")
    assert "give it alone" in refused(capsys, "predict", "r", "new.csv", "shop.csv")
    assert "a.png is none: give a file ending in .csv" in refused(capsys, "predict", "r", "a.png")


def write(name, **columns):
    pd.DataFrame(columns).to_csv(name, index=False)


FLAGS = ["--target", "y", "--epochs", "1", "--hidden", "4", "--batch-size", "8", "--out", "r"]


def test_a_table_that_has_changed(capsys):
    """Its columns in another order are the same; other rows or texts are not, without --data."""
    rng = np.random.default_rng(0)
    columns = {"a": rng.normal(size=60), "b": 100 * rng.normal(size=60), "c": ["x", "z"] * 30}
    columns["y"] = np.where(columns["a"] > 0, "pos", "neg")
    write("t.csv", **columns)
    assert main(["train", "--data", "t.csv", *FLAGS]) == 0
    assert main(["evaluate", "r"]) == 0
    before = capsys.readouterr().out.splitlines()[-2:]
    write("t.csv", **{name: columns[name] for name in ("y", "c", "b", "a")})
    assert main(["evaluate", "r"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == before
    write("t.csv", **columns | {"c": ["w", "z"] * 30})
    assert "it is 'w', which no training example has" in refused(capsys, "evaluate", "r")
    write("t.csv", **{name: [*values, *values] for name, values in columns.items()})
    assert "t.csv has changed since the network was trained" in refused(capsys, "evaluate", "r")


@pytest.mark.parametrize(
    ("a", "message"),
    [
        (["inf", *range(29)], "row 1, column 'a': it is 'inf', no finite number below 3.4e38"),
        ([*range(29), "1e300"], "row 30, column 'a': it is '1e300', no finite number below 3.4e38"),
        (["1e300", "2e300"] * 15, "'1e300', no finite number below 3.4e38 (30 such"),
        ([*range(29), "?"], "row 30, column 'a': it is '?', but most others are numbers"),
        ([f"{n},000" for n in range(30)], ",000', which no training example has (8 such in all); "
         "correct it, leave the row out, or train with it, or without the column by --drop; if it "
         "is a number, write 1234.5, without a comma"),
        ([f"{n % 2},000" for n in range(30)], None),
    ],
)  # fmt: skip
def test_numbers_that_are_none(a, message, capsys):
    write("t.csv", a=a, y=["u", "v"] * 15)
    if message:
        assert message in refused(capsys, "train", "--data", "t.csv", *FLAGS)
    else:  # text, as far as it goes
        assert main(["train", "--data", "t.csv", *FLAGS]) == 0


def test_infinity_is_refused_by_predict_too(capsys):
    write("t.csv", a=range(40), y=["u", "v"] * 20)
    assert main(["train", "--data", "t.csv", *FLAGS]) == 0
    capsys.readouterr()
    write("p.csv", a=[1, "inf"])
    line = refused(capsys, "predict", "r", "p.csv")
    assert "row 2, column 'a': it is 'inf', no finite number below 3.4e38" in line
    write("p.csv", a=[1, 2])
    for out in ("p.csv", "r/config.json"):
        assert "which is read here" in refused(capsys, "predict", "r", "p.csv", "--out", out)


def test_a_table_is_no_picture():
    """Whatever the number of its columns."""
    rng = np.random.default_rng(0)
    columns = {f"c{number}": rng.integers(0, 120, 60) for number in range(16)}
    write("t.csv", **columns, y=["u", "v"] * 30)
    dataset = load_table("t.csv", "y")
    assert dataset.preprocessing.kind == "standardise"
    assert dataset.image_shape == (1, 16)


def test_a_separator_in_names_of_columns_is_none():
    Path("t.csv").write_text("a|b,c|d\n1,2\n3,4\n")
    assert [*read_table(Path("t.csv"))] == ["a|b", "c|d"]


def test_a_named_index_of_parquet_is_a_column():
    pytest.importorskip("pyarrow")
    frame = shop().set_index("age")
    frame.to_parquet("t.parquet")
    assert [*read_table(Path("t.parquet"))] == ["age", *frame.columns]
    shop().set_index(["age", "town"]).to_parquet("t.parquet")
    assert {*read_table(Path("t.parquet"))} == {*shop().columns}
    shop().set_index("age", drop=False).to_parquet("t.parquet")
    assert [*read_table(Path("t.parquet"))] == [*shop().columns]
    shop()[::2].to_parquet("t.parquet")  # whose index has no name
    assert [*read_table(Path("t.parquet"))] == [*shop().columns]


def test_named_columns_of_pandas_are_no_picture():
    """They are pixels only if that is said; without names, they may be."""
    x = np.random.default_rng(0).integers(0, 120, (60, 16))
    table, y = pd.DataFrame(x, columns=[f"c{number}" for number in range(16)]), [*"uv"] * 30
    dataset = jaxmlp.split_dataset(table, y, table, y)
    assert dataset.preprocessing.kind == "standardise"
    assert dataset.image_shape == (1, 16)
    for frame, inputs in ((table, "pixels"), (pd.DataFrame(x), "auto")):
        dataset = jaxmlp.split_dataset(frame, y, frame, y, inputs=inputs)
        assert dataset.preprocessing.kind == "pixels"
        assert dataset.image_shape == (4, 4)


def test_text_is_text_whatever_else_its_column_holds():
    write("t.csv", a=["01", "02", "K1"] * 10, b=["TRUE", "MAYBE"] * 15, y=["0", "1", "x"] * 10)
    write("test.csv", a=["01", "02"] * 5, b=["TRUE"] * 10, y=["0", "1"] * 5)
    dataset = load_table("t.csv", "y", test="test.csv")
    assert dataset.classes == ("0", "1", "x")
    np.testing.assert_array_equal(dataset.test.labels, [0, 1] * 5)
    assert dataset.schema
    assert [column.categories for column in dataset.schema.columns] == [
        ("01", "02", "K1"), ("MAYBE", "TRUE")
    ]  # fmt: skip


def test_rows_are_those_of_the_file():
    labels = ["u", "v"] * 20
    labels[2] = "solo"
    write("t.csv", a=range(40), y=labels)
    said = []
    for seed in range(60):  # until chance takes it out of the training part
        try:
            load_table("t.csv", "y", data_seed=seed)
        except ValueError as error:
            said.append(str(error))
    assert said
    assert all("t.csv, row 3, column 'y': it is 'solo', which no training" in each for each in said)


def test_gaps_where_the_training_examples_have_none():
    """Under impute they are a category of their own; a text `missing` is another one."""
    write("t.csv", a=["missing", "u"] * 20, y=["0", "1"] * 20)
    write("test.csv", a=["missing", None] * 5, y=["0", "1"] * 5)
    dataset = load_table("t.csv", "y", test="test.csv", missing="impute", inputs="as is")
    np.testing.assert_array_equal(dataset.test.x, [[1, 0, 0], [0, 0, 1]] * 5)


def test_what_is_missing_is_what_pandas_takes_for_it():
    texts = sorted(SAY_NOTHING)
    write("t.csv", a=[*texts, *"0123"], y=[*"uv"] * 11 + ["u"])
    assert read_table(Path("t.csv"))["a"].isna().sum() == len(texts)
    assert pd.read_csv("t.csv")["a"].isna().sum() == len(texts)


def test_parquet_keeps_its_types(capsys):
    pytest.importorskip("pyarrow")
    rows = {"y": ["u", "v"] * 15, "a": [Decimal(n) / 4 for n in range(30)]}
    pd.DataFrame(rows).to_parquet("t.parquet")
    dataset = load_table("t.parquet", "y", inputs="as is")
    assert dataset.n_in == 1
    for values in ([[1, 2]] * 30, [date(2020, 1, 1 + n) for n in range(30)]):
        pd.DataFrame(rows | {"a": values}).to_parquet("t.parquet")
        line = refused(capsys, "train", "--data", "t.parquet", *FLAGS)
        assert "column 'a' holds" in line
        assert "leave it out by --drop" in line
        pd.DataFrame(rows | {"a": values, "b": range(30)}).to_parquet("t.parquet")
        assert load_table("t.parquet", "y", drop=["a"]).n_in == 1


def titles(dataset):
    """What the inputs of a table are called."""
    assert dataset.schema
    return dataset.schema.titles


def test_numbers_that_are_names(capsys):
    """Categories of a Parquet file, and what --categorical names, become columns of 0 and 1."""
    pytest.importorskip("pyarrow")
    zones = np.tile([10, 20, 30, 40], 15)
    frame = pd.DataFrame({"zone": pd.Categorical(zones), "a": np.arange(60) % 7})
    frame["y"] = np.where((zones == 10) | (zones == 30), "u", "v")
    frame.to_parquet("t.parquet")
    frame.to_csv("t.csv", index=False)
    for name, flags in (("t.parquet", {}), ("t.csv", {"categorical": ["zone"]})):
        dataset = load_table(name, "y", **flags, inputs="as is")
        assert titles(dataset) == ("zone=10", "zone=20", "zone=30", "zone=40", "a")
    assert load_table("t.csv", "y").n_in == 2
    train = ("train", "--data", "t.csv", "--target", "y")
    line = refused(capsys, *train, "--categorical", "b")
    assert "t.csv has no column 'b', which --categorical names" in line
    line = refused(capsys, *train, "--categorical", "zone", "--drop", "zone")
    assert "--categorical names 'zone', and so does --drop: give one" in line
    line = refused(capsys, *train, "--drop", "y")
    assert "--drop names 'y', and so does --target: give one" in line


def test_a_code_has_one_name_whatever_is_missing_beside_it():
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"zone": pd.array([10, 20] * 30, "Int64"), "y": ["u", "v"] * 30})
    gaps = frame.copy()
    gaps.loc[::7, "zone"] = None
    for category in (False, True):
        for name, each in (("t", frame), ("gaps", gaps)):
            values = each.zone.astype("category") if category else each.zone
            each.assign(zone=values).to_parquet(f"{name}.parquet")
            each.astype({"zone": float}).to_csv(f"{name}.csv", index=False)
        flags = {"categorical": ["zone"], "missing": "impute", "validation": "v.csv"}
        frame.to_csv("v.csv", index=False)
        for name in ("t.parquet", "gaps.parquet", "t.csv", "gaps.csv"):
            for other in {"t.csv", "t.parquet"} - {name}:
                dataset = load_table(name, "y", test=other, **flags, inputs="as is")
                assert titles(dataset) == ("zone=10", "zone=20", "zone=")
                np.testing.assert_array_equal(dataset.test.x[:, 0], [1, 0] * 30)


def test_truth_with_gaps():
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": pd.array([True, None, False, True] * 15, "boolean")})
    frame.assign(y=["u", "v"] * 30).to_parquet("t.parquet")
    dataset = load_table("t.parquet", "y", missing="impute", inputs="as is")
    assert {*dataset.train.x[:, 0].tolist()} == {0.0, 1.0}
    with pytest.raises(ValueError, match=r"row 2, column 'a': it is missing \(15 such in all\)"):
        load_table("t.parquet", "y")


def test_a_part_that_is_the_training_file(capsys):
    for flag in ("--test", "--validation"):
        data = ("--data", "shop.csv", flag, "./shop.csv")
        line = refused(capsys, "train", *data, "--target", "bought")
        assert f"{flag} is shop.csv, which holds the training examples" in line


def test_texts_that_python_alone_takes_for_numbers():
    write("t.csv", a=["1_0", "2_1", "٣"] * 20, y=["u", "v"] * 30)
    assert titles(load_table("t.csv", "y")) == ("a=1_0", "a=2_1", "a=٣")


def test_a_text_of_parquet_is_missing_only_if_it_is_empty():
    pytest.importorskip("pyarrow")
    pd.DataFrame({"a": ["NA", "", None, "null"] * 9, "y": [*"uv"] * 18}).to_parquet("t.parquet")
    assert titles(load_table("t.parquet", "y", missing="impute")) == ("a=NA", "a=null", "a=")


def test_train_says_which_column_counts_the_rows(capsys):
    shop().reset_index().rename(columns={"bought": "y"}).to_csv("t.csv")
    found = first_lines(capsys)
    assert "column '' counts the rows: if it tells nothing, leave it out by --drop \"\"" in found
    assert "column 'index' counts the rows: if it tells nothing" in found


def test_a_table_trains_a_smaller_network(capsys):
    flags = ["--target", "bought", "--epochs", "1"]
    assert main(["train", "--data", "shop.csv", *flags, "--out", "r"]) == 0
    assert "network     6-64-2 relu" in capsys.readouterr().out
    assert main(["train", "--data=shop.csv", *flags, "--hidden", "8", "--out", "s"]) == 0
    config = json.loads(Path("s/config.json").read_text())["config"]
    assert (config["hidden"], config["batch_size"]) == ([8], 32)


def test_tables_of_pandas_with_other_columns():
    frame, y = pd.DataFrame({"a": range(20), "b": range(20)}), np.arange(20) % 2
    with pytest.raises(ValueError, match=r"x_test has the columns \['b', 'a'\], but x_train"):
        jaxmlp.split_dataset(frame, y, frame[["b", "a"]], y)


@pytest.mark.usefixtures("as_users_see_it")
def test_a_share_beside_a_file_for_testing(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,kind\n" + "1,a\n2,b\n" * 20)
    with pytest.raises(ValueError, match=r"test_share is 0\.3, but .*a\.csv holds the test part"):
        jaxmlp.load_table(path, "kind", test=path, test_share=0.3)


def test_renamed_classes_are_another_data_set(tmp_path):
    names = []
    for name in ("b", "c"):
        path = tmp_path / f"{name}.csv"
        path.write_text("x,kind\n" + f"1,a\n2,{name}\n" * 20)
        names.append(fingerprint(jaxmlp.load_table(path, "kind")))
    assert names[0] != names[1]


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("rows", "told", "message"),
    [
        ("1,a\n2,a\n", {}, r"a\.csv, column 'y' holds one class, a, in the training part"),
        ("1,a\n2,b\n", {"loss": "squared"}, r"a\.csv, column 'y' holds text, such as 'a'"),
        ("1,3\n2,0\n", {"loss": "sigmoid"}, r"a\.csv, row 1, column 'y': it is 3\.0"),
        ("1,3\n2,0\n", {"loss": "squared", "class_weight": "balanced"}, "labels are numbers"),
    ],
)
def test_labels_are_refused_in_the_users_names(rows, told, message, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + rows * 20)
    with pytest.raises(ValueError, match=message):
        jaxmlp.load_table(path, "y", **told)


def test_the_same_classes_with_a_point(tmp_path):
    for name, rows in (("a", "1,0\n2,1\n"), ("b", "1,0.0\n2,1.0\n")):
        (tmp_path / f"{name}.csv").write_text("x,y\n" + rows * 20)
    found = jaxmlp.load_table(tmp_path / "a.csv", "y", test=tmp_path / "b.csv")
    assert found.classes == ("0", "1")
    with pytest.raises(ValueError, match="--target names 'y' twice"):
        jaxmlp.load_table(tmp_path / "a.csv", ["y", "y"], loss="squared")


def test_columns_of_0_and_1_do_not_decide():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(200, 2)), np.arange(200) == 0])
    assert choose(x, table=True)[0] == "as is"


@pytest.mark.parametrize(
    "labels",
    [
        (str(2**63), "5"),
        (str(-(2**63) - 1), str(2**64)),
        ("--5", "5"),
        ("-", "5"),
        ("007", "7"),
        ("1" * 900, "5"),
    ],
)
def test_labels_that_are_no_integers_are_texts(labels):
    write("t.csv", a=range(40), y=[*labels] * 20)
    write("test.csv", a=range(4), y=[*labels] * 2)
    dataset = load_table("t.csv", "y", test="test.csv")
    assert dataset.classes == tuple(sorted(labels))
    found = [dataset.classes[label] for label in np.asarray(dataset.test.labels)]
    assert found == [*labels] * 2


def test_the_largest_integers_are_integers():
    labels = [-(2**63), -1, 2**63 - 1]
    write("t.csv", a=range(60), y=labels * 20)
    assert load_table("t.csv", "y").classes == tuple(map(str, labels))


def first_lines(capsys, *words):
    """What train says before it trains."""
    assert main(["train", "--data", "t.csv", *FLAGS, *words]) == 0
    return capsys.readouterr().out.partition("network ")[0]


def test_train_says_what_became_of_texts_and_gaps(capsys):
    gaps = [None, *[float(n) for n in range(1, 10)]] * 6
    towns = ["Ulm", "Bonn", None] * 20
    write("t.csv", a=gaps, town=towns, member=["TRUE", "FALSE"] * 30, y=["u", "v"] * 30)
    said = first_lines(capsys, "--missing", "impute", "--out", "a")
    assert "\ntexts       a column of 0 and 1 for each: town (2)\n" in said
    found = re.search(r"\nimputed     a \(\d+ of 44\) by the median (\S+), town \(\d+ of 44\) as a "
                      "text of its own\n", said)  # fmt: skip
    assert found
    assert 4 <= float(found[1]) <= 6
    write("t.csv", a=range(60), y=["u", "v"] * 30)
    said = first_lines(capsys, "--missing", "impute", "--out", "b")
    assert "\nimputed     nothing is missing in the training examples\n" in said
    said = first_lines(capsys, "--out", "c")
    assert "texts " not in said
    assert "imputed" not in said


def test_a_long_list_of_columns_is_cut(capsys):
    columns = {f"c{number}": ["p", "q", "r"] * 20 for number in range(14)}
    write("t.csv", **columns, y=["u", "v"] * 30)
    assert "c8 (3), c9 (3), … 14 in all\n" in first_lines(capsys)


@pytest.mark.parametrize(
    ("a", "said"),
    [
        ([*range(1, 6), "?"], r"60 are numbers, and '\?' is not: it is taken as text; for numbers, "
         "correct that, or leave it empty and give --missing impute\n"),
        (["3,14", "2,5", "1,75"], r"look like numbers, such as '\d,\d+': it is taken as text; for "
         "numbers, write 1234.5, without a comma"),
        (["1,000", "20", "30,500"], "60 look like numbers, such as '.*,.*': "),
        (["5 %", "7 %", "10 %"], "60 look like numbers, such as '.* %': "),
        (["Ulm", "Bonn", "3"], None),
    ],
)  # fmt: skip
def test_train_says_which_texts_look_like_numbers(a, said, capsys):
    write("t.csv", a=(60 * a)[:60], b=range(120, 0, -2), y=["u", "v"] * 30)
    write("v.csv", a=a, b=range(len(a)), y=(["u", "v"] * 9)[: len(a)])
    found = first_lines(capsys, "--test", "v.csv", "--validation", "v.csv")
    if said is None:
        assert "note " not in found
    else:
        assert re.search(rf"\nnote        column 'a': \d+ of .*{said}", found), found


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_text_of_the_test_part_alone_is_refused_however_it_was_split(ending):
    """And it does not decide what a column of the training examples is."""
    frame = pd.DataFrame({"a": ["p", "q"] * 30, "b": range(60), "y": ["u", "v"] * 30})
    for held in ("rare", "7"):
        refusals = []
        for row in range(60):
            changed = frame.copy()
            changed.loc[row, "a"] = held
            getattr(changed, f"to_{ending}")(f"t.{ending}", index=False)
            says = rf"t.{ending}, row {row + 1}, column 'a': it is '{held}', which no training"
            try:
                load_table(f"t.{ending}", "y")
            except ValueError as error:
                refusals.append(bool(re.match(says, str(error))))
        assert refusals == [True] * 16  # of those for testing and for validation
        frame[:48].to_csv("train.csv", index=False)
        changed[48:].to_csv("test.csv", index=False)
        with pytest.raises(ValueError, match=r"test\.csv, row 12, column 'a': it is "):
            load_table("train.csv", "y", test="test.csv")


def test_a_text_of_the_test_part_does_not_make_texts_of_numbers():
    write("t.csv", a=range(60), y=["u", "v"] * 30)
    write("test.csv", a=["?", *range(9)], y=["u", "v"] * 5)
    with pytest.raises(ValueError, match=r"test\.csv, row 1, column 'a': it is '\?', no finite nu"):
        load_table("t.csv", "y", test="test.csv")
    whole = pd.DataFrame({"a": range(60), "y": ["u", "v"] * 30})
    for row in range(60):
        whole.assign(a=[*range(row), "?", *range(59 - row)]).to_csv("t.csv", index=False)
        with pytest.raises(ValueError, match=rf"t\.csv, row {row + 1}, column 'a': it is '\?', "):
            load_table("t.csv", "y")


def test_tabs_between_columns(capsys):
    shop().to_csv("shop.tsv", index=False, sep="\t")
    one, other = (load_table(f"shop.{ending}", "bought") for ending in ("csv", "tsv"))
    assert fingerprint(one) == fingerprint(other)
    shop().to_csv("other.tsv", index=False)
    line = refused(capsys, "train", "--data", "other.tsv", "--target", "bought")
    assert "its columns are separated by ',': name it .csv" in line


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("t.csv.gz", "--target is for a CSV or Parquet file, but --data is 't.csv.gz': unpack"),
        ("t.xlsx", "but --data is 't.xlsx': save the sheet as CSV"),
        ("t.txt", "but --data is 't.txt': rename the file, if it is a table with commas (.csv) or"),
        ("folder", "but --data is 'folder', a folder: name a file in it, such as folder/t.csv"),
        ("digits", "--target is for a CSV or Parquet file, but --data is 'digits'\n"),
    ],
)
def test_what_is_no_table_by_its_name(source, message, capsys):
    Path("folder").mkdir()
    for name in ("t.csv.gz", "t.xlsx", "t.txt", "folder/t.csv"):
        Path(name).touch()
    assert message in refused(capsys, "train", "--data", source, "--target", "y")


def test_a_file_without_the_target(capsys):
    """It is not the flag that is wrong."""
    shop()[["age", "town"]].to_csv("te.csv", index=False)
    says = "te.csv has no column 'bought', the target: its columns are 'age', 'town'\n"
    for flag in ("--test", "--validation"):
        words = ["--data", "shop.csv", "--target", "bought", flag, "te.csv"]
        assert says in refused(capsys, "train", *words)
    flags = ["--target", "bought", "--epochs", "1", "--hidden", "4", "--batch-size", "16"]
    assert main(["train", "--data", "shop.csv", *flags, "--out", "r"]) == 0
    capsys.readouterr()
    shop().drop(columns="bought").to_csv("te.csv", index=False)
    says = "te.csv has no column 'bought', the target: its columns are 'age', 'income', 'town'"
    assert says in refused(capsys, "evaluate", "r", "--data", "te.csv")


def test_columns_that_are_no_pixels(capsys):
    for age, says in ((-3, "'age' runs from -3 to 89"), (70_000, "'age' runs from 18 to 70000")):
        frame = pd.concat([shop().assign(age=[age, *shop().age[1:]])] * 2).drop(columns="income")
        frame.to_csv("data.csv", index=False)
        words = ["--data", "data.csv", "--target", "bought", "--inputs", "pixels"]
        line = refused(capsys, "train", *words)
        assert f"column {says}, but pixels from 0 to " in line
        assert "give --inputs standardise" in line
        assert "x_train" not in line


def test_evaluate_names_the_file_with_the_test_part(capsys):
    shop(30, 1).to_csv("te.csv", index=False)
    flags = ["--target", "bought", "--test", "te.csv", "--epochs", "1", "--hidden", "4"]
    flags += ["--batch-size", "16", "--out", "r"]
    assert main(["train", "--data", "shop.csv", *flags]) == 0
    capsys.readouterr()
    assert main(["evaluate", "r"]) == 0
    assert "of 30 test examples of te.csv are wrong" in capsys.readouterr().out
    shop(30, 2).to_csv("te.csv", index=False)
    assert "shop.csv or te.csv has changed since" in refused(capsys, "evaluate", "r")


def test_evaluate_from_another_folder(capsys, monkeypatch):
    """A path from the folder of the training is said to be one; a whole path needs no remedy."""
    flags = ["--target", "bought", "--epochs", "1", "--hidden", "4", "--batch-size", "16"]
    assert main(["train", "--data", "shop.csv", *flags, "--out", "r"]) == 0
    capsys.readouterr()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    message = "shop.csv is a path from the folder in which the network was trained: run the command"
    assert message in refused(capsys, "evaluate", "../r")
    assert message not in refused(capsys, "evaluate", "../r", "--data", "nothing.csv")
    assert main(["evaluate", "../r", "--data", "../shop.csv"]) == 0


def test_evaluate_tells_tables_from_other_data(capsys):
    flags = ["--epochs", "1", "--hidden", "4", "--batch-size", "16"]
    assert main(["train", "--data", "shop.csv", "--target", "bought", *flags, "--out", "r"]) == 0
    assert main(["train", "--data", "digits", *flags, "--out", "d"]) == 0
    capsys.readouterr()
    line = refused(capsys, "evaluate", "r", "--data", "digits")
    assert "r was trained on a table with the target 'bought', but --data is 'digits': give" in line
    line = refused(capsys, "evaluate", "d", "--data", "shop.csv")
    assert "d was trained on no table, but shop.csv is one" in line


def test_a_sweep_of_what_tables_have_by_default(capsys):
    flags = ["--target", "bought", "--epochs", "1", "--dry-run"]
    for swept in ("hidden=8,16", "batch_size=16,32"):
        assert main(["sweep", "--data", "shop.csv", *flags, "--set", swept]) == 0
    capsys.readouterr()
    line = refused(
        capsys, "sweep", "--data", "shop.csv", *flags, "--set", "hidden=8", "--hidden", "4"
    )
    assert "hidden is swept by --set: leave out --hidden (4,)" in line
