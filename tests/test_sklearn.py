"""The estimators and the search, beside scikit-learn's own, in its own machinery."""

import inspect
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, cast

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csc_matrix, csr_array, csr_matrix, issparse
from scipy.stats import loguniform
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    RepeatedStratifiedKFold,
    cross_val_score,
)
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from jaxmlp.data import Batch
from jaxmlp.settings import Config, Hyperparams
from jaxmlp.sklearn import MLPClassifier, MLPRegressor, SweepSearchCV
from jaxmlp.sklearn.base import Perceptron
from jaxmlp.sweeps.together import Examples, Job, fill_up, fit_group, initial_layers
from tests.strategies import LONG

pytestmark = [
    pytest.mark.usefixtures("as_people_run_it"),
    pytest.mark.filterwarnings("ignore:max_iter is:sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:lbfgs ended:sklearn.exceptions.ConvergenceWarning"),
]
README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 20, "random_state": 0}
# both compare fits to seven digits, which float32 does not have: see test_weights_are_repetitions
ROUNDED = {
    f"check_sample_weight_equivalence_on_{kind}_data": "networks are trained in float32"
    for kind in ("dense", "sparse")
}


def wine():
    x, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(x), y


@pytest.mark.parametrize(
    "estimator",
    [MLPClassifier(max_iter=30), MLPRegressor(max_iter=80), MLPRegressor(solver="lbfgs")],
)
def test_check_estimator(estimator):
    with warnings.catch_warnings(action="ignore"):
        found = check_estimator(estimator, expected_failed_checks=ROUNDED, on_fail=None)
    failed = {each["check_name"]: each["exception"] for each in found if each["status"] == "failed"}
    assert not failed
    assert sum(each["status"] == "passed" for each in found) > 50


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_weights_are_repetitions(kind):
    """Full batches: weights of whole numbers are as many copies, up to rounding."""
    x, y = wine()
    weights = np.random.default_rng(0).integers(0, 3, len(x))
    told = {**QUICK, "batch_size": 1000, "alpha": 0.1}
    weighted = kind(**told).fit(x, y, sample_weight=weights)
    repeated = kind(**told).fit(np.repeat(x, weights, axis=0), np.repeat(y, weights))
    for one, other in zip(weighted.coefs_, repeated.coefs_, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def agrees(pair, x, y, folds=5, by=0.02):
    """The means over the folds are the same within so much."""
    scores = [cross_val_score(each, x, y, cv=folds).mean() for each in pair]
    assert scores[0] == pytest.approx(scores[1], abs=by)
    return scores[0]


@pytest.mark.parametrize(("load", "least"), [(load_breast_cancer, 0.95), (load_wine, 0.95)])
def test_classifies_as_well_as_theirs(load, least):
    x, y = load(return_X_y=True)
    told = {"hidden_layer_sizes": (16,), "max_iter": 60, "random_state": 0}
    told["learning_rate_init"] = 0.01
    pipes = [
        make_pipeline(StandardScaler(), kind(**told)) for kind in (MLPClassifier, TheirClassifier)
    ]
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        assert agrees(pipes, x, y) > least


def test_regresses_as_well_as_theirs():
    """On diabetes, with the same settings, and standardised targets."""
    x, y = map(np.asarray, load_diabetes(return_X_y=True))
    y = (y - y.mean()) / y.std()
    told = {"hidden_layer_sizes": (16,), "max_iter": 60, "random_state": 0, "alpha": 1.0}
    told["learning_rate_init"] = 0.005
    pipes = [
        make_pipeline(StandardScaler(), kind(**told)) for kind in (MLPRegressor, TheirRegressor)
    ]
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        assert agrees(pipes, x, y, by=0.04) > 0.4


def test_one_fit_is_theirs():
    """In full batches the same initial weights give the same network, but for rounding."""
    x, y = wine()
    told = {"hidden_layer_sizes": (6, 5), "max_iter": 10, "batch_size": len(x), "random_state": 3}
    kinds: Any = (
        (MLPClassifier, TheirClassifier, y),
        (MLPClassifier, TheirClassifier, y > 0),
        (MLPRegressor, TheirRegressor, y.astype(float)),
    )
    for ours, theirs, target in kinds:
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            one = ours(**told, alpha=0.5).fit(x, target)
            other = theirs(**told, alpha=0.5)
            other._random_state = np.random.RandomState(0)
            other.fit(x, target)
        assert [w.shape for w in one.coefs_] == [w.shape for w in other.coefs_]
        other.coefs_ = [w.astype(float) for w in one.coefs_]
        other.intercepts_ = [b.astype(float) for b in one.intercepts_]
        np.testing.assert_allclose(one.predict(x), other.predict(x), rtol=1e-6)
        if ours is MLPClassifier:
            np.testing.assert_allclose(one.predict_proba(x), other.predict_proba(x), rtol=1e-6)
        assert one.n_outputs_ == other.n_outputs_
        assert one.out_activation_ == other.out_activation_


@pytest.mark.parametrize("solver", ["adam", "sgd", "adamw"])
def test_solvers(solver):
    x, y = wine()
    network = MLPClassifier((16,), solver=solver, learning_rate_init=0.05, max_iter=40, alpha=1e-3)
    assert network.fit(x, y).score(x, y) > 0.95
    assert network.loss_curve_[-1] < network.loss_curve_[0]


def test_strings_tables_and_sparse():
    x, y = wine()
    names = np.asarray(["barbera", "barolo", "grignolino"])[y]
    table = pd.DataFrame(x, columns=[f"c{i}" for i in range(x.shape[1])])
    network = MLPClassifier(**QUICK).fit(table, names)
    assert {*network.predict(table)} <= {*names}
    assert list(network.feature_names_in_) == list(table.columns)
    again = MLPClassifier(**QUICK).fit(csr_matrix(x), names)
    np.testing.assert_allclose(again.predict_proba(csr_matrix(x)), network.predict_proba(table))


def test_several_labels_at_once():
    x, y = wine()
    rows = np.stack([y == 0, x[:, 0] > 0], axis=1).astype(int)
    network = MLPClassifier((16,), max_iter=60, learning_rate_init=0.02, random_state=0).fit(
        x, rows
    )
    assert network.predict(x).shape == network.predict_proba(x).shape == rows.shape
    assert network.score(x, rows) > 0.9


def test_early_stopping_keeps_the_best():
    x, y = wine()
    network = MLPClassifier(
        (16,), early_stopping=True, n_iter_no_change=3, max_iter=200, random_state=0
    ).fit(x, y)
    assert network.n_iter_ == len(network.validation_scores_) < 200
    assert network.best_validation_score_ == max(network.validation_scores_)
    last = len(network.validation_scores_)
    best = int(np.argmax(network.validation_scores_)) + 1
    assert last - best >= 4
    assert network.best_loss_ is None


def test_training_ends_by_itself():
    x, y = wine()
    quick = MLPClassifier((8,), max_iter=500, tol=1e-3, n_iter_no_change=5, random_state=0)
    assert quick.fit(x, y).n_iter_ < 500
    with pytest.warns(ConvergenceWarning, match="max_iter is 3, after which"):
        quick.set_params(max_iter=3).fit(x, y)


def test_class_weights_and_alpha():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    y = (x[:, 0] + rng.normal(size=400) > 1.8).astype(int)
    told = {**QUICK, "max_iter": 60, "learning_rate_init": 0.02}
    plain = MLPClassifier(**told).fit(x, y).predict(x).mean()
    even = MLPClassifier(**told, class_weight="balanced").fit(x, y).predict(x).mean()
    assert even > 2 * plain
    small = MLPClassifier(**told, alpha=100.0).fit(x, y)
    assert np.abs(small.coefs_[0]).max() < 0.1


def test_partial_fit_goes_on():
    x, y = wine()
    network = MLPClassifier((16,), learning_rate_init=0.02, random_state=0)
    with pytest.raises(ValueError, match="the first call of partial_fit needs all of them"):
        network.partial_fit(x, y)
    network.partial_fit(x[:90], y[:90], classes=[0, 1, 2])
    assert network.t_ == 90
    for _ in range(30):
        network.partial_fit(x, y)
    assert len(network.loss_curve_) == 31
    assert network.t_ == 90 + 30 * len(x)
    assert network.n_iter_ == 1
    assert network.score(x, y) > 0.95
    with pytest.raises(ValueError, match="y holds 7, which is none of the classes"):
        network.partial_fit(x, y + 7)


def test_warm_start_goes_on():
    x, y = wine()
    network = MLPClassifier((16,), max_iter=5, warm_start=True, random_state=0)
    first = network.fit(x, y).loss_
    assert network.fit(x, y).loss_ < first
    assert len(network.loss_curve_) == 10
    assert network.n_iter_ == 5


def test_pickles_are_plain(tmp_path):
    x, y = wine()
    network = MLPClassifier(**QUICK).fit(x, y)
    joblib.dump(network, tmp_path / "network.joblib")
    np.testing.assert_array_equal(
        joblib.load(tmp_path / "network.joblib").predict_proba(x), network.predict_proba(x)
    )
    assert all(type(each) is np.ndarray for each in (*network.coefs_, *network.intercepts_))


def test_calibration_and_columns():
    x, y = wine()
    model = CalibratedClassifierCV(MLPClassifier(**QUICK), cv=3).fit(x, y)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1)
    table = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": np.where(x[:, 2] > 0, "hot", "cold")})
    front = ColumnTransformer(
        [("text", OneHotEncoder(), ["c"]), ("rest", "passthrough", ["a", "b"])]
    )
    assert make_pipeline(front, MLPClassifier(**QUICK)).fit(table, y).score(table, y) > 0.3


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        ("solver", "newton", "solver is 'newton': give one of adam, sgd, adamw, lbfgs"),
        ("learning_rate", "step", "learning_rate is 'step': give one of constant, cosine"),
        ("beta_2", 1.0, "beta_2 is 1.0: give a number from 0 on and below 1"),
        ("epsilon", 0.0, "epsilon is 0.0: give a number at least 1e-30"),
        ("power_t", -1, "power_t is -1: give a number from 0 on"),
        ("max_fun", 0, "max_fun is 0: give an integer ≥ 1"),
        ("activation", "selu", "activation is 'selu': give one of identity, logistic"),
        ("batch_size", 0, "batch_size is 0: give 'auto' or an integer"),
        ("max_iter", 0, "max_iter is 0: give an integer"),
        ("hidden_layer_sizes", (0,), r"hidden_layer_sizes is \(0,\): give integers"),
        ("learning_rate_init", -1.0, "learning_rate_init is -1"),
        ("validation_fraction", 2.0, "validation_fraction is 2.0: give a share"),
        ("learning_rate_init", 0, "learning_rate_init is 0, with which nothing is learnt"),
        ("shuffle", "False", "shuffle is 'False': give True or False"),
        ("class_weight", {0: -1}, "class_weight is -1 for the class 0: give a finite number"),
        ("class_weight", {0: 10**400}, "class_weight is 1000.* for the class 0: give a finite"),
        ("class_weight", {0: np.nan}, "class_weight is nan for the class 0: give a finite number"),
    ],
)
def test_parameters_that_cannot_be(parameter, value, message):
    x, y = wine()
    network = MLPClassifier(**{**QUICK, parameter: value, "early_stopping": True})
    with pytest.raises(ValueError, match=message):
        network.fit(x, y)


# --- the search ---

GRID = {"learning_rate_init": [0.003, 0.03], "alpha": [1e-4, 1.0]}


def alone(estimator, grid, x, y, **settings):
    """The scores of the candidates, each fitted alone."""
    found = GridSearchCV(estimator, grid, refit=False, **settings).fit(x, y)
    return found.cv_results_


@pytest.mark.parametrize("settings", [{}, {"early_stopping": True, "n_iter_no_change": 2}])
def test_together_as_alone(settings):
    """Every candidate on every fold is the network that `fit` gives."""
    x, y = wine()
    network = MLPClassifier(**QUICK, **settings)
    cv = KFold(4, shuffle=True, random_state=0)
    told = {"cv": cv, "return_train_score": True, "scoring": "neg_log_loss"}
    found = SweepSearchCV(network, GRID, **told).fit(x, y)
    expected = alone(network, GRID, x, y, **told)
    assert [*found.cv_results_] == [*expected]
    for name in expected:
        if "score" in name and "time" not in name and "rank" not in name:
            np.testing.assert_allclose(
                found.cv_results_[name], expected[name], rtol=1e-3, atol=1e-4, err_msg=name
            )
    assert found.best_params_ == found.cv_results_["params"][found.best_index_]
    assert found.best_score_ == max(found.cv_results_["mean_test_score"])
    assert found.best_estimator_.get_params()["alpha"] == found.best_params_["alpha"]
    assert found.predict(x).shape == y.shape


def test_candidates_that_ask_for_weights_and_others():
    """Two that train on the same examples, of which one has no weights, stay apart."""
    x, y = wine()
    weights = np.random.default_rng(0).uniform(size=len(x)) ** 8 + 0.001
    with config_context(enable_metadata_routing=True):
        networks: list[Any] = []
        for weighted, size in ((True, 200), (False, 20), (True, 20)):
            network: Any = MLPClassifier(**QUICK, batch_size=size)
            networks.append(network.set_fit_request(sample_weight=weighted))
        scaler: Any = StandardScaler()
        pipe = Pipeline([("s", scaler.set_fit_request(sample_weight=True)), ("n", networks[0])])
        scorer = cast(Any, get_scorer("neg_log_loss")).set_score_request(sample_weight=False)
        found, expected = (
            search(pipe, {"n": networks}, cv=3, scoring=scorer, refit=False)
            .fit(x, y, sample_weight=weights)
            .cv_results_["mean_test_score"]
            for search in (SweepSearchCV, GridSearchCV)
        )
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert len(np.unique(np.round(expected, 3))) == 3


@pytest.mark.parametrize("state", [0, np.random.RandomState(0)])
def test_what_tells_front_steps_and_generators_apart(state, monkeypatch):
    """Long lists of columns, and a generator of which every candidate has a copy."""
    x = np.random.default_rng(0).normal(size=(60, 40))
    y = (x[:, 0] > 0).astype(int)
    trained = []
    monkeypatch.setattr(Perceptron, "_train", lambda *_: trained.append(1))
    columns = [[*range(35), last] for last in (38, 39)]
    front = ColumnTransformer([("a", StandardScaler(), columns[0])])
    network = MLPClassifier((4,), max_iter=2, random_state=state)
    grid = {
        "c__transformers": [[("a", StandardScaler(), some)] for some in columns],
        "n__alpha": [1e-4, 1e-2],
    }
    pipe = Pipeline([("c", front), ("n", network)])
    SweepSearchCV(pipe, grid, cv=2, refit=False).fit(x, y)
    assert not trained


def test_balanced_classes_need_all_examples():
    x, y = wine()
    network = MLPClassifier((4,), class_weight="balanced")
    with pytest.raises(ValueError, match="class_weight is 'balanced', but partial_fit sees one"):
        network.partial_fit(x, y, classes=[0, 1, 2])


def test_scores_go_on_with_a_warm_start():
    x, y = wine()
    told: Any = {**QUICK, "max_iter": 4, "early_stopping": True, "warm_start": True}
    network = MLPClassifier(**told).fit(x, y).fit(x, y)
    assert network.validation_scores_ is not None
    assert len(network.validation_scores_) == len(network.loss_curve_) == 8


def test_programs_are_few():
    """All candidates and folds that differ in numbers share a program; the best one has its own."""
    from jaxmlp.sweeps.networks import epochs_of_all

    x, y = wine()
    compiled: Any = epochs_of_all
    compiled.clear_cache()
    SweepSearchCV(MLPClassifier(**QUICK), GRID, cv=5).fit(x, y)
    assert compiled._cache_size() == 2
    compiled.clear_cache()
    cross_val_score(MLPClassifier(**QUICK), x, y, cv=5)
    assert compiled._cache_size() == 1


def test_pipelines_weights_and_groups():
    x, y = load_wine(return_X_y=True)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(x))
    pipe = make_pipeline(StandardScaler(), MLPClassifier(**QUICK))
    grid = {"mlpclassifier__alpha": [1e-4, 1.0], "standardscaler__with_mean": [True, False]}
    told = {"cv": GroupKFold(3), "scoring": "neg_log_loss"}
    extra = {"groups": np.arange(len(x)) % 6, "mlpclassifier__sample_weight": weights}
    found = SweepSearchCV(pipe, grid, **told).fit(x, y, **extra)
    expected = GridSearchCV(pipe, grid, **told).fit(x, y, **extra)
    np.testing.assert_allclose(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"], rtol=1e-3
    )


class _ByWidth(MLPClassifier):
    """A subclass with a parameter of its own, which takes effect in `fit`."""

    def __init__(self, width: int = 8) -> None:
        super().__init__(max_iter=5, random_state=0)
        self.width = width

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:  # noqa: N803
        self.hidden_layer_sizes = (self.width,)
        return super().fit(X, y, sample_weight)

    @classmethod
    def _get_param_names(cls) -> list[str]:
        names = super()._get_param_names()
        names.reverse()  # a list of its own
        return names


def test_a_subclass_whose_fit_sets_parameters():
    x, y = wine()
    told: Any = {"cv": 3, "scoring": "neg_log_loss"}
    found = SweepSearchCV(_ByWidth(), {"width": [1, 32]}, **told).fit(x, y)
    expected = GridSearchCV(_ByWidth(), {"width": [1, 32]}, **told).fit(x, y)
    np.testing.assert_allclose(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"], rtol=1e-5
    )
    assert MLPClassifier._get_param_names() == sorted(MLPClassifier._get_param_names())


class _WithDeclaredResults(MLPClassifier):
    """Names what `fit` will set, as some people do."""

    def __init__(self, alpha: float = 1e-4) -> None:
        super().__init__((8,), max_iter=5, random_state=0, alpha=alpha)
        self.classes_ = None

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return ["alpha"]


@pytest.mark.parametrize(
    ("network", "grid"),
    [
        (_WithDeclaredResults(), {"alpha": [1e-4, 1.0]}),
        (MLPClassifier(max_iter=5, random_state=0), {"learning_rate_init": [0.01, 10**400]}),
    ],
)
def test_a_search_is_that_of_gridsearchcv(network, grid):
    x, y = wine()
    told: Any = {"cv": 3, "scoring": "neg_log_loss"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitFailedWarning)
        warnings.filterwarnings("ignore", "One or more of the test scores")
        found, expected = (
            search(network, grid, refit=False, **told).fit(x, y)
            for search in (SweepSearchCV, GridSearchCV)
        )
    for each in (found, expected):
        assert np.isfinite(each.cv_results_["mean_test_score"][0])
    np.testing.assert_allclose(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"], rtol=1e-5
    )


@pytest.mark.parametrize("kinds", [(MLPRegressor, MLPClassifier), (MLPClassifier, MLPRegressor)])
def test_a_search_over_classifiers_and_regressors(kinds):
    x, y = wine()
    y = (y > 0).astype(float)
    grid = {
        "network": [kind(hidden_layer_sizes=(8,), max_iter=4, random_state=0) for kind in kinds]
    }
    told: Any = {"cv": KFold(3, shuffle=True, random_state=0), "scoring": "r2"}
    told |= {"error_score": "raise"}
    pipe = Pipeline([("network", MLPClassifier())])
    found, expected = (
        search(pipe, grid, **told).fit(x, y) for search in (SweepSearchCV, GridSearchCV)
    )
    np.testing.assert_allclose(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"], rtol=1e-4
    )


class _OwnScaler(BaseEstimator):
    """A step that has `fit` and `transform` alone."""

    def fit(self, x, y=None, sample_weight=None):
        self.mean_ = np.average(x, axis=0, weights=sample_weight)
        return self

    def transform(self, x):
        return (x - self.mean_) / 100


@pytest.mark.parametrize("name", ["groups", "families"])
@pytest.mark.parametrize("weight", ["sample_weight", "importance", None])
@pytest.mark.parametrize("piped", [None, StandardScaler, _OwnScaler])
def test_metadata_is_routed_and_nothing_trained_twice(name, weight, piped, monkeypatch):
    x, y = load_wine(return_X_y=True)
    with config_context(enable_metadata_routing=True):
        network: Any = MLPClassifier(**QUICK)
        network.set_fit_request(sample_weight=weight or False)
        network.set_score_request(sample_weight=False)
        if piped:
            scaler = piped().set_fit_request(sample_weight=weight or False)
            network = make_pipeline(scaler, network)
        grid = {("mlpclassifier__" * bool(piped)) + "alpha": [1e-4, 1.0]}
        scorer = cast(Any, get_scorer("neg_log_loss")).set_score_request(sample_weight=False)
        told = {"cv": GroupKFold(3).set_split_request(groups=name), "scoring": scorer}
        extra: dict = {name: np.arange(len(x)) % 6}
        if weight:
            extra[weight] = np.random.default_rng(0).uniform(0.5, 2, len(x))
        expected = GridSearchCV(network, grid, **told).fit(x, y, **extra)
        trained = []
        alone = Perceptron._train
        monkeypatch.setattr(Perceptron, "_train", lambda *given: trained.append(1) or alone(*given))
        found = SweepSearchCV(network, grid, **told).fit(x, y, **extra)
    np.testing.assert_allclose(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"], rtol=1e-3
    )
    assert len(trained) <= 1  # the best one on all examples


def test_other_shapes_and_regression():
    x, y = map(np.asarray, load_diabetes(return_X_y=True))
    network = MLPRegressor(max_iter=10, random_state=0)
    grid = [{"hidden_layer_sizes": [(8,), (4, 4)]}, {"activation": ["tanh"], "solver": ["sgd"]}]
    cv = RepeatedStratifiedKFold(n_splits=2, n_repeats=2, random_state=0)
    labels = (y > y.mean()).astype(int)
    with pytest.raises(ValueError, match="ends with sklearn's StandardScaler: give jaxmlp's MLP"):
        SweepSearchCV(StandardScaler(), {}).fit(x, y)
    found = SweepSearchCV(network, grid, cv=3, n_jobs=-1).fit(x, y / 100)
    assert len(found.cv_results_["params"]) == 3
    assert found.n_jobs == -1
    several = SweepSearchCV(
        MLPClassifier(**QUICK), GRID, cv=cv, scoring=["accuracy", "roc_auc"], refit="roc_auc"
    ).fit(x, labels)
    assert several.best_score_ == max(several.cv_results_["mean_test_roc_auc"])


def test_random_folds_are_drawn_once(monkeypatch):
    """Else `fit` would not find what was trained together, and train again, one by one."""
    from jaxmlp.sklearn import base

    alone = []
    fit_group = base.fit_group
    monkeypatch.setattr(base, "fit_group", lambda jobs: (alone.append(jobs), fit_group(jobs))[1])
    x, y = wine()
    SweepSearchCV(MLPClassifier(**QUICK), GRID, cv=KFold(3, shuffle=True), refit=False).fit(x, y)
    assert not alone


def test_random_draws():
    x, y = wine()
    space = {"learning_rate_init": loguniform(1e-3, 1e-1), "alpha": [1e-4, 1e-2]}
    told = {"n_iter": 5, "cv": 2, "refit": False}
    one, other = (
        SweepSearchCV(MLPClassifier(**QUICK), space, random_state=1, **told).fit(x, y)
        for _ in range(2)
    )
    assert one.cv_results_["params"] == other.cv_results_["params"]
    assert len(one.cv_results_["params"]) == 5


def test_the_grid_of_every_tutorial():
    """Solvers and schedules of scikit-learn in one grid; L-BFGS is trained one by one."""
    x, y = wine()
    grid = {"solver": ["adam", "sgd", "lbfgs"], "learning_rate": ["constant", "adaptive"]}
    told = {**QUICK, "learning_rate_init": 0.05}
    found = SweepSearchCV(MLPClassifier(**told), grid, cv=3).fit(x, y).cv_results_
    alone = GridSearchCV(MLPClassifier(**told), grid, cv=3).fit(x, y).cv_results_
    np.testing.assert_allclose(found["mean_test_score"], alone["mean_test_score"], atol=0.02)
    assert found["mean_test_score"].min() > 0.8


def test_halving():
    """Each rung has the best third of the one before, for three times as many epochs."""
    x, y = wine()
    grid = {"learning_rate_init": np.geomspace(1e-4, 1e-1, 9)}
    found = SweepSearchCV(MLPClassifier(**QUICK), grid, cv=3, halving=3).fit(x, y)
    results = found.cv_results_
    assert np.bincount(results["iter"]).tolist() == [9, 3, 1]
    assert sorted({*results["n_resources"]}) == found.n_resources_ == [3, 7, 20]
    assert found.n_candidates_ == [9, 3, 1]
    assert results["iter"][found.best_index_] == 2
    iterations = found.n_iterations_, found.n_possible_iterations_, found.n_required_iterations_
    assert (*iterations, found.n_remaining_candidates_) == (3, 3, 3, 1)
    assert (found.min_resources_, found.max_resources_) == (3, 20)
    with pytest.raises(ValueError, match="halving is 1: give an integer"):
        SweepSearchCV(MLPClassifier(**QUICK), grid, halving=1).fit(x, y)


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_a_candidate_that_fails_is_named():
    x, y = wine()
    search = SweepSearchCV(
        MLPClassifier(**QUICK), {"alpha": [-1.0, 1e-4]}, cv=2, error_score=np.nan
    )
    with pytest.warns(FitFailedWarning, match="2 fits failed"):
        search.fit(x, y)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [True, False]


def test_no_random_state_shares_the_order():
    x, y = wine()
    network = MLPClassifier((8,), max_iter=3)
    found = SweepSearchCV(network, GRID, cv=2).fit(x, y)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()


def test_predicting_needs_no_jax(tmp_path):
    """What is fitted is NumPy's: no device is opened to predict."""
    x, y = wine()
    joblib.dump((MLPClassifier(**QUICK).fit(x, y), x), tmp_path / "pair.joblib")
    code = (
        "import joblib, jax\n"
        f"network, x = joblib.load({str(tmp_path / 'pair.joblib')!r})\n"
        "network.predict(x)\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge._backends, 'a device was opened'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not LONG, reason="long form")
def test_digits_as_well_as_theirs():
    x, y = load_digits(return_X_y=True)
    told = {"hidden_layer_sizes": (64,), "max_iter": 30, "random_state": 0, "tol": 0}
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        agrees([MLPClassifier(**told), TheirClassifier(**told)], x / 16, y)


# --- what a fresh reader found ---


def test_partial_fit_goes_on_from_a_fit():
    x, y = wine()
    network = MLPClassifier(**QUICK).partial_fit(x, y, classes=[0, 1, 2]).partial_fit(x, y)
    network.set_params(max_iter=80, learning_rate_init=0.02).fit(x, y)
    before = network.coefs_[0].copy()
    network.partial_fit(x, y)
    assert np.abs(network.coefs_[0] - before).max() < 0.05
    network.fit(x[:, :5], y).partial_fit(x[:, :5], y)  # of another number of features


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_a_fit_that_diverges_is_refused():
    x, y = load_diabetes(return_X_y=True, scaled=False)
    network = MLPRegressor(
        hidden_layer_sizes=(16,), solver="sgd", learning_rate_init=50.0, max_iter=30, random_state=0
    )
    with pytest.raises(ValueError, match=r"training diverged: in epoch . the training loss"):
        network.fit(x, y)
    search = SweepSearchCV(network, {"learning_rate_init": [1e-9, 50.0]}, cv=3)
    with pytest.warns(FitFailedWarning, match="training diverged"):
        search.fit(x, y)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_numbers_beyond_float32_are_named(estimator):
    x, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
    x[7, 2] = 1e39
    with pytest.raises(ValueError, match=r"X, row 7, column 2: it is 1e\+39; give numbers below"):
        estimator(hidden_layer_sizes=(4,), max_iter=3).fit(x, y)


def test_a_fit_that_diverges_on_large_numbers_says_so():
    x, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60.0)
    for scale_x, scale_y, message in ((1e30, 1, "scale X"), (1, 1e30, "scale y")):
        with pytest.raises(ValueError, match=rf"diverged.*_init, or {message}, which goes up to"):
            MLPRegressor(hidden_layer_sizes=(4,), max_iter=3).fit(scale_x * x, scale_y * y)


def test_a_fit_that_fails_leaves_no_classes():
    x, y = wine()
    network = MLPClassifier(**QUICK).set_params(learning_rate_init=-1.0)
    with pytest.raises(ValueError, match=r"learning_rate_init is -1\.0: give a number from 0 on"):
        network.fit(x, y)
    some = y < 2
    network.set_params(learning_rate_init=0.01).fit(x[some], y[some])
    assert network.predict_proba(x).shape[1] == 2


def test_a_warm_start_of_another_network():
    x, y = wine()
    network = MLPClassifier(**QUICK, warm_start=True).fit(x, y)
    with pytest.raises(ValueError, match=r"warm_start goes on with the classes \[0 1 2\]"):
        network.fit(x[y < 2], y[y < 2])
    with pytest.raises(ValueError, match="give the same hidden_layer_sizes"):
        network.set_params(hidden_layer_sizes=(9,)).fit(x, y)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("alpha", -1), ("alpha", None), ("beta_1", 2), ("tol", -1), ("learning_rate_init", -1.0),
     ("hidden_layer_sizes", "ab"), ("hidden_layer_sizes", None), ("hidden_layer_sizes", (8.7,))],
)  # fmt: skip
def test_parameters_go_by_their_names(parameter, value):
    x, y = wine()
    with pytest.raises(ValueError, match=f"^{parameter} is "):
        MLPClassifier(**QUICK | {parameter: value}).fit(x, y)


def test_early_stopping_of_few_examples():
    with pytest.raises(ValueError, match="early_stopping cannot hold out 2 of 3 examples"):
        MLPClassifier(**QUICK, early_stopping=True).fit(np.eye(3), [0, 1, 1])


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
def test_searches_like_theirs():
    """Generators of folds, steps that fail, other last steps, and weights of None."""
    x, y = wine()
    network = MLPClassifier(**QUICK)
    pipe = make_pipeline(PCA(), network)
    cases = [
        (network, {"alpha": [1e-4]}, {}, {"sample_weight": None}),
        (pipe, {"pca__n_components": [2, 100]}, {}, {}),
        (pipe, {"mlpclassifier": [network, LogisticRegression()]}, {}, {}),
        (network, {"batch_size": [[3], 32]}, {}, {}),
    ]
    for estimator, grid, settings, params in cases:
        ours, theirs = (
            kind(estimator, grid, cv=KFold(3).split(x), **settings).fit(x, y, **params)
            for kind in (SweepSearchCV, GridSearchCV)
        )
        np.testing.assert_allclose(
            ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], atol=1e-6
        )


def test_halving_needs_one_metric_and_its_own_epochs():
    x, y = wine()
    network, told = MLPClassifier(**QUICK), {"cv": 2, "halving": np.int64(2)}
    with pytest.raises(ValueError, match="refit is False, but halving chooses by one"):
        SweepSearchCV(network, GRID, scoring=["accuracy"], refit=False, **told).fit(x, y)
    with pytest.raises(ValueError, match="max_iter is searched, but halving sets it"):
        SweepSearchCV(network, {"max_iter": [5, 10]}, **told).fit(x, y)
    with pytest.raises(ValueError, match="refit is True, but halving chooses by one of the"):
        SweepSearchCV(network, GRID, scoring=lambda *_: {"a": 1.0}, **told).fit(x, y)
    found: Any = SweepSearchCV(network, GRID, **told).fit(x, y)
    assert found.best_index_ >= 4


@pytest.mark.parametrize("columns", [2, 3])
def test_partial_fit_of_several_labels(columns):
    """Rows of labels stay rows, as in scikit-learn, though the classes are given as a list."""
    x, y = wine()
    rows = np.eye(3, dtype=int)[y][:, :columns]
    classes = [*range(columns)]
    ours, theirs = (
        kind((16,), random_state=0).partial_fit(x, rows, classes=classes).partial_fit(x, rows)
        for kind in (MLPClassifier, TheirClassifier)
    )
    assert ours.predict(x).shape == theirs.predict(x).shape == rows.shape
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    with pytest.raises(ValueError, match="y holds classes, but before it held rows of labels"):
        ours.partial_fit(x, np.arange(len(x)) % columns)
    with pytest.raises(ValueError, match="y holds rows of labels, but before it held classes"):
        MLPClassifier(**QUICK).fit(x, y).partial_fit(x, rows)
    with pytest.raises(ValueError, match=r"classes is \[0, 7\], but the columns of y are the lab"):
        MLPClassifier(**QUICK).partial_fit(x, rows, classes=[0, 7])


@pytest.mark.parametrize("sparse", [csr_matrix, csr_array, csc_matrix])
def test_sparse_rows_of_labels(sparse):
    """They are trained on as the dense ones are, and predictions are sparse too, as theirs."""
    x, y = wine()
    rows = np.eye(3, dtype=int)[y]
    told = {**QUICK, "max_iter": 60, "learning_rate_init": 0.02}
    for more in ({}, {"early_stopping": True}, {"class_weight": "balanced"}):
        some, all_ = (MLPClassifier(**told, **more).fit(x, each) for each in (sparse(rows), rows))
        assert issparse(some.predict(x))
        np.testing.assert_array_equal(some.predict(x).toarray(), all_.predict(x))
    assert some.score(x, sparse(rows)) == all_.score(x, rows) > 0.9
    one = MLPClassifier(**told).partial_fit(x, sparse(rows), classes=[0, 1, 2])
    assert one.partial_fit(x, sparse(rows)).predict(x).shape == rows.shape
    found, expected = (
        SweepSearchCV(MLPClassifier(**told), GRID, cv=3).fit(x, each).cv_results_
        for each in (sparse(rows), rows)
    )
    np.testing.assert_array_equal(found["mean_test_score"], expected["mean_test_score"])
    assert MLPRegressor(**told).fit(x, sparse(rows)).predict(x).shape == rows.shape


def test_parameters_are_in_their_order():
    """All of ours that scikit-learn has, in the same places and with the same defaults."""
    for ours, theirs in ((MLPClassifier, TheirClassifier), (MLPRegressor, TheirRegressor)):
        mine, others = (inspect.signature(kind).parameters for kind in (ours, theirs))
        shared = [name for name in others if name in mine]
        assert [name for name in mine if name != "class_weight"] == shared
        for name in shared:
            assert (mine[name].default, mine[name].kind) == (
                others[name].default,
                others[name].kind,
            )
        assert not {*others} - {*mine}


def test_the_loss_of_a_regressor():
    x, y = wine()
    told = {"max_iter": 3, "random_state": 0}
    one = MLPRegressor("squared_error", (8,), **told).fit(x, y)
    other = MLPRegressor(hidden_layer_sizes=(8,), **told).fit(x, y)
    np.testing.assert_array_equal(one.predict(x), other.predict(x))
    with pytest.raises(ValueError, match="loss is 'poisson': give 'squared_error', there is no"):
        MLPRegressor(loss="poisson").fit(x, y)
    with pytest.raises(ValueError, match=r"loss is \(8,\): give widths by name, as hidden_layer_s"):
        MLPRegressor((8,)).fit(x, y)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_patience_without_end(early_stopping):
    """All epochs are trained, whatever the tolerance; with early stopping the best is kept."""
    x, y = wine()
    told = {**QUICK, "early_stopping": early_stopping, "tol": 10.0, "max_iter": 40}
    endless = MLPClassifier(**told, n_iter_no_change=np.inf).fit(x, y)
    assert endless.n_iter_ == len(endless.loss_curve_) == 40
    assert MLPClassifier(**told, n_iter_no_change=5).fit(x, y).n_iter_ < 40
    with pytest.raises(
        ValueError, match=r"n_iter_no_change is nan: give an integer ≥ 1 or np\.inf"
    ):
        MLPClassifier(**told, n_iter_no_change=np.nan).fit(x, y)


LATE = {"momentum": 0.0, "max_iter": 12, "learning_rate_init": 0.1}  # so that rates differ


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": "adaptive", "n_iter_no_change": 1},  # which adam does not heed
        {"beta_1": 0.8, "beta_2": 0.9},
        {"beta_2": 0.0, "epsilon": 0.01},  # for where β₂ is 0, both add ε in the same place
        {"solver": "sgd", "nesterovs_momentum": True},
        {"solver": "sgd", "nesterovs_momentum": False},
        {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3, **LATE},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 9.0, "n_iter_no_change": 2, **LATE},
        {"batch_size": 178},  # all of them
        {"solver": "lbfgs", "early_stopping": True, "batch_size": 178},
        {"solver": "lbfgs", "max_iter": 100, "max_fun": 7},
    ],
)
def test_without_shuffling_batches_are_theirs(settings):
    """The same initial weights and the same batches give the same network, but for rounding."""
    x, y = wine()
    told: Any = {"hidden_layer_sizes": (6,), "max_iter": 5, "batch_size": 40, "shuffle": False}
    told |= {"alpha": 0.1, "learning_rate_init": 0.01, **settings}
    n = max(160, told["batch_size"])
    x, y = x[::-1][:n], y[::-1][:n]
    # of the same sum in each batch, by which they divide the penalty
    weights = np.resize(np.random.default_rng(0).uniform(0.5, 2, 40), n)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        one = MLPClassifier(**told, random_state=0).fit(x, y, weights)
        drawn = np.random.RandomState(0).randint(2**31 - 1)  # of which the initial weights are
        other = TheirClassifier(**told, random_state=drawn).fit(x, y, weights)
    assert one.n_iter_ == other.n_iter_
    for ours, theirs in zip(one.coefs_, other.coefs_, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("n", "size"), [(600, 200), (650, 65), (1797, 200), (178, 178), (150, 50), (7, 9)]
)
def test_as_many_batches_as_theirs(n, size):
    numbers = np.arange(n)
    train, own, _ = fill_up(Batch(numbers[:, None], -numbers), numbers + 1, size)
    np.testing.assert_array_equal(train.x[own > 0][:, 0], numbers)  # in their order
    np.testing.assert_array_equal(train.labels[own > 0], -numbers)
    np.testing.assert_array_equal(own[own > 0], numbers + 1)
    train, weights, per_batch = fill_up(Batch(numbers[:, None], numbers), None, size)
    assert len(train.x) == len(weights) == per_batch * -(-n // size)
    assert weights.sum() == n
    assert per_batch <= size * 33 / 32 + 1
    in_batch = weights.reshape(-1, per_batch).sum(axis=1)
    assert in_batch.max() <= min(size, in_batch.min() + 1)
    if n % size == 0 and n > size:
        assert per_batch == size  # nothing fills up


def test_lbfgs_that_uses_up_its_gradients_says_so():
    with pytest.warns(ConvergenceWarning, match="of max_iter 200 and max_fun 3, before"):
        MLPClassifier((8,), solver="lbfgs", max_fun=3, random_state=0).fit(*wine())


def test_shuffling_is_another_order():
    x, y = wine()
    one, shuffled = (
        MLPClassifier(**QUICK, batch_size=40, shuffle=each).fit(x, y) for each in (False, True)
    )
    assert np.abs(shuffled.coefs_[0] - one.coefs_[0]).max() > 1e-3


def test_distributions_by_their_name():
    x, y = wine()
    space = {"learning_rate_init": loguniform(1e-3, 1e-1)}
    told = {"cv": 2, "refit": False, "random_state": 0}
    found, drawn = (
        SweepSearchCV(MLPClassifier(**QUICK), **given, **told).fit(x, y).cv_results_["params"]
        for given in ({"param_distributions": space}, {"param_grid": space, "n_iter": 10})
    )
    assert found == drawn
    assert len(found) == 10
    halved = SweepSearchCV(MLPClassifier(**QUICK), param_distributions=space, halving=3, **told)
    assert np.bincount(halved.fit(x, y).cv_results_["iter"]).tolist() == [10, 4, 2]
    for given in ({}, {"param_grid": space, "param_distributions": space}):
        with pytest.raises(ValueError, match=r"param_grid is .* and param_distributions .*: give"):
            SweepSearchCV(MLPClassifier(**QUICK), **given).fit(x, y)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid", "squared"])
def test_held_out_is_a_weight_of_zero(loss):
    """Training on all, with weight 0 for what is held out, is training on the fold (38)."""
    x, y = wine()
    x, y = x[:160].astype(np.float32), y[:160].astype(np.int32)
    labels = y if loss == "softmax" else np.eye(3, dtype=np.float32)[y]
    kept = np.arange(160) % 5 != 0  # of every batch of 40, 32
    layers = initial_layers(np.random.RandomState(0), (13, 6, 3), "relu")
    hyper = Hyperparams(learning_rate=0.01, weight_decay=0.1)
    fits = []
    for rows, weights, size in ((slice(None), kept, 40), (kept, kept[kept], 32)):
        part = Batch(x[rows], labels[rows])
        examples = Examples(part, weights.astype(np.float32), size, None, 3)
        config = Config(hidden=(6,), loss=loss, batch_size=size, epochs=5)
        fits.append(fit_group([Job(examples, config, hyper, layers, None)])[0])
    for ours, alone in zip(*(fit.params for fit in fits), strict=True):
        np.testing.assert_allclose(ours.weight, alone.weight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(*(fit.metrics.train_loss for fit in fits), rtol=1e-5)


class _ByTimes:
    """A splitter that wants other metadata than groups."""

    def __init__(self, times):
        self.times = times

    def split(self, x, y=None, groups=None):
        late = np.asarray(self.times) > np.median(self.times)
        return iter([(np.flatnonzero(~late), np.flatnonzero(late))] * 2)

    def get_n_splits(self, *_, **__):
        return 2


def test_a_candidate_whose_metadata_are_not_requested_fails_alone():
    x, y = load_wine(return_X_y=True)
    with config_context(enable_metadata_routing=True):
        network: Any = MLPClassifier(**QUICK)
        network.set_fit_request(sample_weight=False)
        network.set_score_request(sample_weight=False)
        scaler: Any = StandardScaler()
        pipe = Pipeline([("s", scaler), ("n", network)])
        asks, does_not = scaler, clone(scaler)
        asks.set_fit_request(sample_weight=True)
        grid = {"s": [asks, does_not]}
        scorer = cast(Any, get_scorer("accuracy")).set_score_request(sample_weight=False)
        told = {"cv": _ByTimes(np.random.default_rng(0).normal(size=len(x))), "scoring": scorer}
        with warnings.catch_warnings(action="ignore"):
            found = SweepSearchCV(pipe, grid, refit=False, **told).fit(
                x, y, sample_weight=np.ones(len(x))
            )
    assert np.isfinite(found.cv_results_["mean_test_score"]).tolist() == [True, False]
