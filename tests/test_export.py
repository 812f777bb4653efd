"""Exported networks, read back by those for whom they are: the same predictions of raw numbers."""

import csv
import json
import sys
import warnings
from dataclasses import replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import skops.io
from jax import export as jax_export
from sklearn.neural_network import MLPClassifier

import jaxmlp
from jaxmlp import Layer, export
from jaxmlp.cli import main
from jaxmlp.cli.export import FORMATS, described
from jaxmlp.data import preprocessing
from jaxmlp.data.preprocessing import Preprocessing, undone
from jaxmlp.data.table_files import read_table
from jaxmlp.data.tables import Column, Schema, numbers_of
from jaxmlp.export import common
from jaxmlp.export.sklearn import ESTIMATORS
from jaxmlp.ink import Framing
from jaxmlp.losses import LOSSES, get_loss
from jaxmlp.network import forward
from jaxmlp.runs import Run, load_run
from tests.fuzzing import make_runs

pytestmark = pytest.mark.usefixtures("as_in_a_shell", "as_people_run_it")
ACTIVATIONS = ["relu", "tanh", "sigmoid", "gelu", "identity"]
KINDS = ["as is", "pixels", "standardise", "minmax"]
TORCH = pytest.param("torch", marks=pytest.mark.peers)
ALL = ["onnx", "stablehlo", TORCH, "sklearn"]
CLOSE: Any = {"rtol": 1e-5, "atol": 1e-6}  # a few roundings in float32, of logits of size one
# what real targets are turned back by: to numbers that float32 cannot tell apart
TARGETS = Preprocessing("standardise", np.array([1e7, -0.5]), np.array([0.25, 50.0]))
# two numbers and a text, of which there are four, one of them what is missing
SCHEMA = Schema(
    (
        Column("age", (), 1.0),
        Column("town", ("Bonn", "Köln", "Ulm", ""), None),
        Column("size", (), 2.0),
    ),
    ("kind",),
    "impute",
)
COLUMNS = ["age", "town=Bonn", "town=Köln", "town=Ulm", "town=", "size"]


def raw(kind, n=9, n_in=6):
    """Raw numbers for which a kind of preprocessing is made, or is hard."""
    rng = np.random.default_rng(0)
    if kind == "pixels":
        return rng.integers(0, 256, (n, n_in)).astype(np.uint8)
    x = rng.normal(size=(n, n_in))
    return x if kind == "as is" else x + np.array([1e6, -1e6, 0.0, 3.0, 1e3, 1.0])


def a_run(
    activation="relu",
    bias=True,
    kind="as is",
    classes=("b", "ä", "a"),
    hidden=(7, 5),
    loss="softmax",
    targets=None,
):
    """A run on six columns, with biases that are not zero."""
    x = raw(kind)
    sizes = (x.shape[1], *hidden, len(classes))
    rng = np.random.default_rng(1)
    params = tuple(
        Layer(weight, jnp.asarray(rng.normal(size=len(b)), jnp.float32) if bias else None)
        for weight, b in jaxmlp.init_params(jax.random.key(0), sizes)
    )
    return Run(
        config=jaxmlp.Config(hidden=hidden, activation=activation, bias=bias, loss=loss),
        hyper=jaxmlp.Hyperparams(), seed=0, data="", options={}, fingerprint="",
        preprocessing=preprocessing.fit(x, kind), classes=classes, schema=None,
        targets=targets or Preprocessing(),
        framing=Framing((1, x.shape[1]), (1.0, 1), (0.0, 0)), params=params, epoch=None,
    )  # fmt: skip


def expected(run, x):
    """What `jaxmlp predict` would say."""
    logits = forward(run.params, run.preprocessing(x), activation=run.config.activation)
    return undone(run.targets, np.asarray(get_loss(run.config.loss).predicted(logits)))


def said(names):
    """The output that the printed code has made, by whatever name, as NumPy's."""
    (found,) = (names[name] for name in ("probabilities", "prediction") if name in names)
    return np.asarray(found.detach() if hasattr(found, "detach") else found)


def read_back(run: Any, to: str, x: Any, path: str = "file") -> dict[str, Any]:
    """What the code that is printed makes of a file, with onnxruntime, jax.export and so on."""
    if to == "torch":
        pytest.importorskip("torch", reason="PyTorch comes with the extra `peers`")
    FORMATS[to].write(run, Path(path))
    names: dict[str, Any] = {"x": x}
    exec("\n".join(FORMATS[to].loading(run, path)), names)
    return names


def agrees(run: Any, to: str, x: Any) -> dict[str, Any]:
    """Read a file back, and compare its predictions with ours."""
    names = read_back(run, to, x)
    if to == "stablehlo":  # which is given float32
        x = x.astype(np.float32)
    own = expected(run, x)
    if to == "sklearn" and run.config.loss == "softmax":
        classes = [str(each) for each in names["model"].classes_]
        own = own[:, [run.classes.index(each) for each in classes]]
    assert own.shape == (len(x), len(run.classes))
    found = said(names)
    assert found.shape == own.shape
    if run.targets.kind != "as is":  # as close as before they were turned back
        assert found.dtype == np.float64
        own, found = (run.targets.scale * (each - run.targets.offset) for each in (own, found))
    np.testing.assert_allclose(found, own, **CLOSE)
    return names


def cases():
    """Every pair of activation and bias with every preprocessing; the slow format with one."""
    for (place, (activation, bias)), kind in product(
        enumerate(product(ACTIVATIONS, [True, False])), KINDS
    ):
        for to in ALL:
            slow = to == "stablehlo" and KINDS.index(kind) != (place + place // 4) % 4
            if not slow and (to != "sklearn" or activation != "gelu"):
                name = to if isinstance(to, str) else "torch"
                text = f"{name}-{activation}-{'bias' if bias else 'no bias'}-{kind}"
                marks = () if isinstance(to, str) else to.marks
                yield pytest.param(name, activation, bias, kind, id=text, marks=marks)


@pytest.mark.parametrize(("to", "activation", "bias", "kind"), [*cases()])
def test_the_same_predictions(to, activation, bias, kind):
    agrees(a_run(activation, bias, kind), to, raw(kind))


@pytest.mark.parametrize("to", ALL)
@pytest.mark.parametrize("classes", [("no", "yes"), ("b", "a", "c", "d")])
def test_one_row_no_hidden_layer_and_two_classes(to, classes):
    agrees(a_run(kind="standardise", classes=classes, hidden=()), to, raw("standardise", 1))


@pytest.mark.parametrize("to", ALL)
@pytest.mark.parametrize("classes", [("y",), ("y", "z")])
@pytest.mark.parametrize(
    ("loss", "targets"), [("sigmoid", None), ("squared", None), ("squared", TARGETS)]
)
@pytest.mark.parametrize("bias", [True, False])
def test_real_targets_and_several_labels_at_once(to, classes, loss, targets, bias):
    if targets:
        offset, scale = (each[: len(classes)] for each in (targets.offset, targets.scale))
        targets = replace(targets, offset=offset, scale=scale)
    kind = "standardise" if bias else "as is"
    run = a_run("tanh", bias, kind, classes, loss=loss, targets=targets)
    agrees(run, to, raw(kind))


def test_every_loss_can_be_exported():
    assert export.OUTPUTS.keys() == ESTIMATORS.keys() == LOSSES.keys()


@pytest.mark.parametrize("n_out", [1, 2])
def test_scikit_learn_has_several_labels_as_its_own_networks_have(n_out):
    """As one that it has fitted: what it predicts, and what is beside the traces of its search."""
    x, run = raw("as is", 50), a_run(classes=("y", "z")[:n_out], loss="sigmoid")
    model = read_back(run, "sklearn", x)["model"]
    assert skops.io.get_untrusted_types(file="file") == []
    labels = (expected(run, x) > 0.5).astype(int)
    assert 0 < labels.mean() < 1
    np.testing.assert_array_equal(model.predict(x), labels if n_out > 1 else labels[:, 0])
    assert model.score(x, labels) == 1
    fitted, ours = MLPClassifier((7, 5), max_iter=1), model[-1]
    with warnings.catch_warnings(action="ignore"):  # it asks for more steps, and for a vector
        fitted.fit(x, labels)
    for name in ("classes_", "n_outputs_", "n_layers_", "out_activation_", "n_features_in_"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(fitted, name), name)
    binarizers = [vars(one._label_binarizer) for one in (ours, fitted)]
    np.testing.assert_equal(*binarizers)
    for name in ("coefs_", "intercepts_"):
        shapes = [[each.shape for each in getattr(one, name)] for one in (ours, fitted)]
        assert shapes[0] == shapes[1]


def test_scikit_learn_predicts_one_target_as_a_vector():
    x = raw("as is", 50)
    for classes in (("y",), ("y", "z")):
        model = read_back(a_run(classes=classes, loss="squared"), "sklearn", x)["model"]
        assert skops.io.get_untrusted_types(file="file") == []
        assert model.predict(x).shape == (50, 2)[: len(classes)]
        assert model.score(x, model.predict(x)) == 1


def test_onnx_says_what_it_takes_and_names_classes_and_columns():
    run = a_run(kind="standardise")._replace(schema=SCHEMA)
    export.write_onnx(run, Path("file"))
    session = onnxruntime.InferenceSession("file")
    (x,), (p,) = session.get_inputs(), session.get_outputs()
    assert (x.name, x.type, x.shape) == ("x", "tensor(double)", ["n", 6])
    assert (p.name, p.type, p.shape) == ("probabilities", "tensor(float)", ["n", 3])
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == ["b", "ä", "a"]
    assert json.loads(metadata["columns"]) == COLUMNS
    assert metadata["preprocessing"] == "standardise: as asked"
    export.write_onnx(a_run(kind="pixels"), Path("file"))
    assert onnxruntime.InferenceSession("file").get_inputs()[0].type == "tensor(float)"


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_onnx_asks_for_no_newer_programs_than_it_has_to(activation):
    export.write_onnx(a_run(activation), Path("file"))
    model = onnx.load("file")
    expected = (20, 9) if activation == "gelu" else (13, 7)
    assert (model.opset_import[0].version, model.ir_version) == expected


def test_stablehlo_is_for_all_platforms():
    export.write_stablehlo(a_run(kind="minmax"), Path("file"))
    found = jax_export.deserialize(bytearray(Path("file").read_bytes()))
    assert found.platforms == ("cpu", "cuda", "tpu")
    assert "stablehlo.dot_general" in found.mlir_module()


@pytest.mark.peers
def test_pytorch_does_not_let_preprocessing_be_forgotten():
    torch: Any = pytest.importorskip("torch", reason="PyTorch comes with the extra `peers`")
    state = read_back(a_run(hidden=(), kind="minmax"), "torch", raw("minmax"))["state"]
    assert [*state] == ["0.weight", "0.bias"]
    model = torch.nn.Sequential(torch.nn.Linear(6, 3))
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"offset", "scale"'):
        model.load_state_dict(torch.load("file"))
    run = a_run(hidden=(), classes=("y",), loss="squared", targets=Preprocessing("standardise"))
    state = read_back(run, "torch", raw("as is"))["state"]
    assert [*state] == ["0.weight", "0.bias"]
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"target_offset", "target_scale"'):
        torch.nn.Sequential(torch.nn.Linear(6, 1)).load_state_dict(torch.load("file"))


def test_scikit_learn_has_its_own_classes():
    """Sorted as numbers where they are numbers; none of the file's types asks for trust."""
    classes = ("0", "1", "10", "2", "-3")
    model = agrees(a_run(kind="minmax", classes=classes), "sklearn", raw("minmax"))["model"]
    assert skops.io.get_untrusted_types(file="file") == []
    assert model.classes_.tolist() == [-3, 0, 1, 2, 10]
    x = raw("minmax", 50)
    best = expected(a_run(kind="minmax", classes=classes), x).argmax(axis=1)
    assert model.predict(x).tolist() == [int(classes[each]) for each in best]
    assert model.score(x, model.predict(x)) == 1
    for classes in (("01", "1"), ("b", "a"), ("1", "9" * 30)):
        model = read_back(a_run(classes=classes), "sklearn", x)["model"]
        assert model.classes_.tolist() == sorted(classes)
        best = expected(a_run(classes=classes), x).argmax(axis=1)
        assert model.predict(x).tolist() == [classes[each] for each in best]


@pytest.mark.parametrize("kind", ["as is", "minmax"])
def test_scikit_learn_takes_tables_by_the_names_of_their_columns(kind):
    schema = Schema(tuple(Column(name, (), None) for name in COLUMNS), ("kind",), "refuse")
    table = pd.DataFrame(raw(kind), columns=COLUMNS)
    model = read_back(a_run(kind=kind)._replace(schema=schema), "sklearn", table)["model"]
    found = model.predict_proba(table)[:, np.argsort(["b", "ä", "a"]).argsort()]
    np.testing.assert_allclose(found, expected(a_run(kind=kind), table.to_numpy()), **CLOSE)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table[COLUMNS[::-1]])


@pytest.mark.parametrize("kind", ["as is", "minmax"])
@pytest.mark.parametrize("missing", ["refuse", "impute"])
def test_scikit_learn_takes_text_and_what_is_missing(kind, missing):
    """A table as pandas reads it, its columns in any order and of any dtype for text."""
    lines = "size,town,age,more\n0.5,Ulm,1,a\n2.5,Bonn,3,b\n-1,Köln,2,c\n"
    schema, run = SCHEMA, a_run(kind=kind)
    if missing == "impute":
        lines += ",,,d\n1.5,Köln,,e\n"
    else:
        columns = (*SCHEMA.columns[:2], Column("size", (), None))
        columns = (columns[0]._replace(fill=None), columns[1], columns[2])
        schema = SCHEMA._replace(columns=columns, missing=missing)
    Path("t.csv").write_text(lines, encoding="utf-8")
    run = run._replace(schema=schema)
    own = expected(run, numbers_of(read_table(Path("t.csv")), Path("t.csv"), schema))
    table = pd.read_csv("t.csv")
    for town in (table.town, table.town.astype(object), table.town.astype("category")):
        model = read_back(run, "sklearn", table.assign(town=town))["model"]
        untrusted = ["numpy.dtype"] if missing == "impute" else []
        assert skops.io.get_untrusted_types(file="file") == untrusted
        found = model.predict_proba(table.assign(town=town))
        np.testing.assert_allclose(found[:, np.argsort(["b", "ä", "a"]).argsort()], own, **CLOSE)
    with pytest.raises(ValueError, match="Found unknown categories"):
        model.predict(table.assign(town="Rom"))
    with pytest.raises(ValueError, match=r"columns are missing: \{'town'\}"):
        model.predict(table.drop(columns="town"))
    if missing == "refuse":
        with pytest.raises(ValueError, match="contains NaN"):
            model.predict(table.assign(age=np.nan))


def printed_code(text: str) -> str:
    """What follows the first empty line."""
    return text.partition("\n\n")[2]


@pytest.mark.parametrize("to", ALL)
def test_the_command(to, capsys):
    """Train on a table, export, run the code that is printed: what `predict` says."""
    if to == "torch":
        pytest.importorskip("torch", reason="PyTorch comes with the extra `peers`")
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(60, 3)) * [1, 10, 1000], columns=["a", "b", "c"])
    table.assign(kind=np.where(table.a > 0, "yes", "no")).to_csv("t.csv", index=False)
    flags = ["--target", "kind", "--epochs", "1", "--hidden", "4", "--batch-size", "16"]
    assert main(["train", "--data", "t.csv", *flags, "--out", "runs/r"]) == 0
    assert main(["predict", "runs/r", "t.csv", "--out", "said.csv"]) == 0
    capsys.readouterr()
    assert main(["export", "runs/r", "--to", to]) == 0
    text = capsys.readouterr().out
    name = f"r.{FORMATS[to].ending}"
    assert f"wrote {name}, " in text
    assert "shape (n, 3) for any n, columns 'a', 'b', 'c'\n" in text
    assert "gives probabilities: shape (n, 2), of 'no', 'yes'\n" in text
    assert "layers 3-4-2 with relu; " in text
    assert "softmax" in text
    assert "preprocessing: standardise: columns of very different sizes" in text
    names: dict[str, Any] = {"x": table if to == "sklearn" else table.to_numpy()}
    exec(printed_code(text), names)
    np.testing.assert_allclose(said(names), pd.read_csv("said.csv").iloc[:, 1:], atol=2e-6)
    before = Path(name).read_bytes()
    line = refused(capsys, "export", "runs/r", "--to", to)
    assert f"{name} exists already: remove it, or name a file by --out" in line
    assert main(["export", "runs/r", "--to", to, "--out", name]) == 0
    assert len(Path(name).read_bytes()) == len(before)


def test_the_command_for_text(capsys):
    """The pipeline of scikit-learn takes the very file that the network was trained on."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=60), "b": rng.choice(["x", "y z"], 60)})
    table["c"], table["d"] = rng.choice([True, False], 60), rng.choice(["no", "yes"], 60)
    table.loc[::7, "a"], table.loc[::5, "b"] = np.nan, None
    table.assign(kind=np.where(table.c, "k", "l")).to_csv("t.csv", index=False)
    flags = ["--target", "kind", "--epochs", "2", "--hidden", "4", "--batch-size", "16"]
    assert main(["train", "--data", "t.csv", *flags, "--missing", "impute", "--out", "r"]) == 0
    assert main(["predict", "r", "t.csv", "--out", "said.csv"]) == 0
    capsys.readouterr()
    assert main(["export", "r", "--to", "sklearn"]) == 0
    text = capsys.readouterr().out
    assert "takes x: a table, read by pandas as below, columns 'a', 'b', 'c', 'd'\n" in text
    names: dict[str, Any] = {}
    exec(printed_code(text), names)
    np.testing.assert_allclose(said(names), pd.read_csv("said.csv").iloc[:, 1:], atol=2e-6)


def predicts_alike(code, ending):
    """The printed code, of the table that was trained on and of another, does as `predict`."""
    for name in ("t", "new"):
        assert main(["predict", "r", f"{name}.{ending}", "--out", "said.csv"]) == 0
        names: dict[str, Any] = {}
        exec(code.replace(f"'t.{ending}'", f"'{name}.{ending}'"), names)
        np.testing.assert_allclose(said(names), pd.read_csv("said.csv").iloc[:, 1:], atol=2e-6)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_printed_code_reads_codes_with_gaps_as_predict_does(ending, capsys):
    """Integers become real numbers where something is missing; true and false may be texts."""
    zone = pd.array([101, 205, None, 999] * 15, "Int64")
    table = pd.DataFrame({"zone": zone, "member": ["true", "False"] * 30, "a": zone})
    table["group"] = pd.Categorical([7, 8, None] * 20)
    table["flag"] = pd.array([True, None, False] * 20, "boolean")
    table["truth"], table["level"] = table.flag, ["1.0", "2"] * 30
    table["size"] = pd.Categorical(["1.0", "12.0"] * 30)
    table["y"] = ["k", "l"] * 30
    for name, frame in (("t", table), ("new", table.dropna())):
        if ending == "parquet":
            frame.to_parquet(f"{name}.parquet")
        else:
            frame.astype({"zone": float}).to_csv(f"{name}.csv", index=False)
    flags = ["--target", "y", "--epochs", "2", "--missing", "impute", "--categorical"]
    flags += ["zone", "truth", "level", "size"]
    assert main(["train", "--data", f"t.{ending}", *flags, "--out", "r"]) == 0
    assert main(["export", "r", "--to", "sklearn"]) == 0
    predicts_alike(printed_code(capsys.readouterr().out.partition("wrote ")[2]), ending)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_the_printed_code_reads_text_as_predict_does(ending, capsys):
    """Numbers that are texts, spaces around them, and all that pandas takes for missing."""
    codes = ["01", "02", "K1", " 01", "K1 ", "None", "null", "n/a", "", "<NA>"] * 6
    table = pd.DataFrame({"code": codes, "a": ["1", "2.5", " 3", "NA ", "4 ", ""] * 10})
    table["b "] = ["True", "0", "FALSE"] * 20
    table["y"] = ["k", "l"] * 30
    new = pd.DataFrame({"code": ["01", " 02", "02"], "a": ["1", "2", "n/a"], "b ": [*"010"]})
    for name, frame in (("t", table), ("new", new)):
        if ending == "parquet":  # which has types
            frame = frame.replace({"None": None, "null": None, "n/a": None, "<NA>": None, "": None})
            frame["a"] = pd.to_numeric(frame["a"].replace({"NA ": None}))
            frame["b "] = frame["b "].isin(["True"])
            frame["code"] = frame["code"].astype("string")  # of which pandas makes NA
            frame.to_parquet(f"{name}.parquet")
        else:
            sep = {"csv": ",", "tsv": "\t"}[ending]
            frame.to_csv(f"{name}.{ending}", index=False, sep=sep, quoting=csv.QUOTE_NONE)
    flags = ["--target", "y", "--epochs", "2", "--hidden", "4", "--missing", "impute"]
    assert main(["train", "--data", f"t.{ending}", *flags, "--out", "r"]) == 0
    assert main(["export", "r", "--to", "sklearn"]) == 0
    predicts_alike(printed_code(capsys.readouterr().out.partition("wrote ")[2]), ending)


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (
            ["--target", "y", "--loss", "squared", "--targets", "standardise"],
            ["gives prediction: shape (n, 1), of 'y'\n", ", standardised targets turned back"],
        ),
        (
            ["--target", "a", "b", "--loss", "sigmoid"],
            ["gives probabilities: shape (n, 2), of 'a', 'b'\n", ", sigmoid"],
        ),
    ],
)
def test_the_command_for_other_losses(flags, shown, capsys):
    """The same, with all formats that can be read here."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    table = pd.DataFrame(x, columns=["u", "v"])
    targets = {"y": 1000 + 50 * x[:, 0]} if "y" in flags else {"a": x[:, 0] > 0, "b": x[:, 1] > 0}
    table.assign(**targets).to_csv("f.csv", index=False)
    flags = [*flags, "--hidden", "8", "--epochs", "2", "--batch-size", "8"]
    assert main(["train", "--data", "f.csv", *flags, "--out", "r"]) == 0
    assert main(["predict", "r", "f.csv", "--out", "said.csv"]) == 0
    for to in FORMATS:
        if to == "torch" and not find_spec("torch"):
            continue
        capsys.readouterr()
        assert main(["export", "r", "--to", to]) == 0
        text = capsys.readouterr().out
        for each in (*shown, "columns 'u', 'v'\n", "layers 2-8-"):
            assert each in text
        names: dict[str, Any] = {"x": table if to == "sklearn" else table.to_numpy()}
        exec(printed_code(text), names)
        np.testing.assert_allclose(said(names), pd.read_csv("said.csv"), rtol=1e-5, atol=2e-6)


def refused(capsys, *arguments):
    """Run a command that must fail: one line on standard error, and nothing new on disk."""
    before = sorted(Path(".").rglob("*"))
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert sorted(Path(".").rglob("*")) == before
    return lines[0]


@pytest.fixture
def runs(capsys):
    """Runs of a tiny network: finished in two folders, and unfinished in a third."""
    make_runs(Path("."))
    return Path("settings"), Path("unfinished")


def test_what_is_printed_of_text_and_pictures(runs, capsys):
    assert main(["export", "unfinished", "--to", "sklearn"]) == 0
    assert capsys.readouterr().out.startswith("not finished: the parameters of epoch ")
    run = load_run(runs[0])
    shown = "\n".join(described(run, FORMATS["onnx"], Path("unfinished.skops")))
    assert "columns" not in shown
    assert "not inside" not in shown
    run = run._replace(schema=SCHEMA, framing=run.framing._replace(image_shape=(2, 3)))
    shown = "\n".join(described(run, FORMATS["onnx"], Path("unfinished.skops")))
    assert "the 2 × 3 pixels row by row" in shown
    assert "'age', 'town=Bonn', 'town=Köln'" in shown
    text = "text as 0 and 1, as in the column 'town=Bonn'; filling in what is missing"
    assert f"not inside: {text}" in shown
    shown = "\n".join(described(run, FORMATS["sklearn"], Path("unfinished.skops")))
    assert "takes x: a table, read by pandas as below, columns 'age', 'town', 'size'\n" in shown
    assert f"; preprocessing, softmax; {text}\n" in shown
    assert "not inside" not in shown


def test_wrong_files_and_folders(runs, capsys):
    for out, message in [
        ("settings/model.onnx", "which is read here"),
        ("settings/params.safetensors", "which is read here"),
        ("nothing/model.onnx", "nothing/model.onnx cannot be written: No such file"),
        ("settings", "which is read here"),
        ("params", "params is a link, or no regular file"),
    ]:
        assert message in refused(capsys, "export", "settings", "--to", "onnx", "--out", out)
    assert "no run folder" in refused(capsys, "export", "nothing", "--to", "onnx")
    assert "--to" in refused(capsys, "export", "settings")
    assert "'onnx', 'stablehlo', 'torch', 'sklearn'" in refused(
        capsys, "export", "settings", "--to", "pickle"
    )
    parameters = runs[0] / "params.safetensors"
    content = bytearray(parameters.read_bytes())
    content[-1] ^= 1
    parameters.write_bytes(content)
    assert "is not as this run wrote it" in refused(capsys, "export", "settings", "--to", "onnx")
    (runs[0] / "config.json").write_text("{")
    assert "config.json is not" in refused(capsys, "export", "settings", "--to", "torch")


@pytest.mark.parametrize(
    ("to", "package", "remedy"),
    [
        ("onnx", "onnx", "pip install 'jaxmlp[export]'"),
        ("stablehlo", "flatbuffers", "pip install 'jaxmlp[export]'"),
        ("torch", "torch", "pip install torch"),
        ("sklearn", "skops.io", "pip install 'jaxmlp[export]'"),
        ("sklearn", "sklearn.pipeline", "pip install 'jaxmlp[export]'"),
    ],
)
def test_a_missing_package(runs, to, package, remedy, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    line = refused(capsys, "export", "settings", "--to", to)
    assert line == f"jaxmlp: error: --to {to} needs the package {package}: {remedy}"


def test_what_a_format_cannot_hold(monkeypatch):
    with pytest.raises(ValueError, match="scikit-learn has no gelu: export to onnx, stablehlo or"):
        export.write_sklearn(a_run("gelu"), Path("file"))
    monkeypatch.setattr(common, "LARGEST", 399)  # bytes of 107 numbers
    for write in (export.write_onnx, export.write_stablehlo):
        with pytest.raises(ValueError, match=r"have 428 bytes, .* 399: export to torch or skl"):
            write(a_run(), Path("file"))
    assert not list(Path(".").iterdir())
