"""A scikit-learn pipeline, kept by skops: joblib's file is a pickle, in which there can be code."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from jaxmlp.data.tables import ABSENT, Column
from jaxmlp.export.common import FORMS, columns, is_plain, needed, widths
from jaxmlp.files import write_bytes
from jaxmlp.params import Layer
from jaxmlp.runs import Run


def write_sklearn(run: Run, path: Path) -> None:
    """Write a scikit-learn Pipeline of a StandardScaler, if it is needed, and a network.

    Where a table has text, or what is missing is imputed, a ColumnTransformer is before them, which
    takes the table as pandas reads it.

    For real targets that is an MLPRegressor, else an MLPClassifier. Its classes are sorted, as
    scikit-learn wants them, and integers where all their names are; several labels at once are
    columns of 0 and 1 in the order of the outputs.

    Raises:
        ValueError: if scikit-learn lacks the activation, a package is missing, or the file
            cannot be written.
    """
    if FORMS[run.config.activation].sklearn is None:
        raise ValueError(
            f"scikit-learn has no {run.config.activation}: export to onnx, stablehlo or torch"
        )
    skops = needed("skops.io", "sklearn")
    pipeline = needed("sklearn.pipeline", "sklearn")
    steps = [ESTIMATORS[run.config.loss](run)]
    if run.preprocessing.kind != "as is":
        steps.insert(0, _scaler(run))
    if not is_plain(run):
        steps.insert(0, _table(run))
    elif run.schema:
        steps[0].feature_names_in_ = np.array(columns(run), object)
    write_bytes(path, skops.dumps(pipeline.make_pipeline(*steps)))


def _table(run: Run) -> Any:
    """A ColumnTransformer from a table to raw numbers, in their order.

    It is fitted to one row: the categories of text are given, and the median of the row is what
    fills in where a number is missing.
    """
    names = ("pandas", "sklearn.compose", "sklearn.impute", "sklearn.preprocessing")
    pandas, compose, impute, preprocessing = (needed(name, "sklearn") for name in names)
    schema: Any = run.schema
    parts = []  # each takes neighbouring columns
    for text, group in itertools.groupby(schema.columns, lambda column: bool(column.categories)):
        some: list[Column] = [*group]
        part = "passthrough"
        if text:
            known = [
                np.array([np.nan if each == ABSENT else each for each in column.categories], object)
                for column in some
            ]
            part = preprocessing.OneHotEncoder(categories=known, sparse_output=False)
        elif schema.missing == "impute":
            part = impute.SimpleImputer(strategy="median")
        parts.append((part, [column.name for column in some]))
    row = {name: [texts[0] if texts else fill or 0.0] for name, texts, fill in schema.columns}
    return compose.make_column_transformer(*parts).fit(pandas.DataFrame(row))


def _scaler(run: Run) -> Any:
    """A fitted StandardScaler, which does (x − mean_) / scale_."""
    scaler, n_in = needed("sklearn.preprocessing", "sklearn").StandardScaler(), widths(run)[0]
    scaler.mean_ = np.broadcast_to(run.preprocessing.offset, n_in).copy()
    scaler.scale_ = 1 / np.broadcast_to(run.preprocessing.scale, n_in)
    scaler.var_, scaler.n_features_in_ = scaler.scale_**2, n_in
    scaler.n_samples_seen_ = 1  # how many there were is not known, but it has seen some
    return scaler


def _classifier(run: Run) -> Any:
    """A fitted MLPClassifier of classes."""
    labels = _labels(run.classes)
    order = np.argsort(labels)
    last = [array[..., order] for array in _last(run)]
    if two := len(labels) == 2:  # softmax of two logits is the sigmoid of their difference
        last = [np.diff(array) for array in last]
    return _labelled(run, last, labels[order], "binary" if two else "multiclass")


def _multilabel(run: Run) -> Any:
    """A fitted MLPClassifier of several labels at once; of one, it has the classes 0 and 1."""
    n_out = widths(run)[-1]
    kind = "binary" if n_out == 1 else "multilabel-indicator"
    return _labelled(run, _last(run), np.arange(max(n_out, 2)), kind)


def _regressor(run: Run) -> Any:
    """A fitted MLPRegressor, whose last layer turns standardised targets back."""
    (weight, bias), targets = _last(run), run.targets
    last = [weight / targets.scale, bias / targets.scale + targets.offset]
    return _fitted("MLPRegressor", run, last, "identity")


ESTIMATORS = {"softmax": _classifier, "sigmoid": _multilabel, "squared": _regressor}


def _labelled(run: Run, last: list[np.ndarray], classes: np.ndarray, kind: str) -> Any:
    """A fitted MLPClassifier of a kind that scikit-learn's `type_of_target` names."""
    binarizer = needed("sklearn.preprocessing", "sklearn").LabelBinarizer()
    binarizer.classes_, binarizer.sparse_input_, binarizer.y_type_ = classes, False, kind
    function = "softmax" if kind == "multiclass" else "logistic"
    model = _fitted("MLPClassifier", run, last, function)
    model.classes_, model._label_binarizer = classes, binarizer
    return model


def _fitted(name: str, run: Run, last: list[np.ndarray], function: str) -> Any:
    """A fitted estimator with the last weight and bias given, and a function of its logits."""
    model = getattr(needed("sklearn.neural_network", "sklearn"), name)(
        hidden_layer_sizes=run.config.hidden, activation=FORMS[run.config.activation].sklearn
    )
    hidden = run.params[:-1]
    model.coefs_ = [*(np.array(layer.weight) for layer in hidden), last[0]]
    model.intercepts_ = [*map(_bias, hidden), last[1]]
    model.n_features_in_, model.n_layers_ = widths(run)[0], len(run.params) + 1
    model.n_outputs_, model.out_activation_ = last[0].shape[1], function
    return model


def _last(run: Run) -> list[np.ndarray]:
    """The last layer's weight and bias, in float64."""
    layer = run.params[-1]
    return [np.array(layer.weight, np.float64), _bias(layer).astype(np.float64)]


def _bias(layer: Layer) -> np.ndarray:
    """A layer's bias, which is 0 where there is none."""
    weight, bias = layer
    return np.zeros(weight.shape[1], weight.dtype) if bias is None else np.array(bias)


def _labels(classes: tuple[str, ...]) -> np.ndarray:
    """Classes as integers, if all of them are written as such: scikit-learn tells 1 from "1"."""
    try:
        numbers = np.array([int(name) for name in classes], np.int64)
    except (ValueError, OverflowError):
        return np.array(classes)
    return numbers if classes == tuple(map(str, numbers)) else np.array(classes)
