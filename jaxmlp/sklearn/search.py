"""The search whose candidates and folds are trained together."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any, cast

import joblib
import numpy as np
from sklearn import get_config
from sklearn.base import clone, is_classifier
from sklearn.model_selection import ParameterGrid, ParameterSampler, check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state, indexable
from sklearn.utils.metadata_routing import get_routing_for_object, process_routing
from sklearn.utils.validation import _check_method_params, _num_samples

from jaxmlp.compilation import keep_programs
from jaxmlp.sklearn.arrays import digest_of
from jaxmlp.sklearn.base import TRAINED, Perceptron
from jaxmlp.sweeps.together import Examples, Job, fit_together

OF_HALVING = (  # attributes
    "n_resources_", "n_candidates_", "n_remaining_candidates_", "n_iterations_",
    "n_possible_iterations_", "n_required_iterations_", "min_resources_", "max_resources_",
)  # fmt: skip
DRAWS = 10  # of `param_distributions`, where `n_iter` is not given


class SweepSearchCV(BaseSearchCV):
    """A search like `GridSearchCV`, that trains the networks of all candidates and folds together.

    It searches a grid; random draws, like `RandomizedSearchCV`, if `n_iter` is given; and with
    `halving` by successive halving of epochs: each time, the best 1/halving of the candidates are
    trained for halving times as many epochs. Every network is the one that `fit` gives alone.
    Attributes (`cv_results_`, `best_params_`, `best_score_`, `best_index_`, …) are scikit-learn's;
    fit times are shares of the time that all took together. After halving there are those of
    `HalvingGridSearchCV` too: `n_resources_` and `n_candidates_` are the epochs and the number of
    candidates of each rung.

    Args:
        estimator: an `MLPClassifier` or `MLPRegressor`, or a Pipeline that ends with one.
        param_grid: a dict of lists, or a list of such; for random draws, lists or distributions.
        param_distributions: the same under the name that `RandomizedSearchCV` has for it, whose
            `n_iter` of 10 comes with it.
        n_iter, random_state: how many candidates are drawn, and by which seed.
        halving: η of successive halving, `factor` in `HalvingGridSearchCV`.
        scoring, refit, cv, verbose, error_score, return_train_score: as in `GridSearchCV`.
        n_jobs, pre_dispatch: are not needed, as all cores are used; for compatibility.
    """

    def __init__(
        self,
        estimator: Any,
        param_grid: Any = None,
        *,
        param_distributions: Any = None,
        n_iter: Any = None,
        random_state: Any = None,
        halving: Any = None,
        scoring: Any = None,
        n_jobs: Any = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score: bool = False,
    ) -> None:
        super().__init__(
            estimator=estimator, scoring=scoring, n_jobs=n_jobs, refit=refit, cv=cv,
            verbose=verbose, pre_dispatch=pre_dispatch, error_score=error_score,
            return_train_score=return_train_score,
        )  # fmt: skip
        self.cv: Any = cv
        self.param_grid = param_grid
        self.param_distributions = param_distributions
        self.n_iter = n_iter
        self.random_state = random_state
        self.halving = halving

    def fit(self, X: Any, y: Any = None, **params: Any) -> "SweepSearchCV":
        """Search on examples X (n, n_in) with targets y, and fit the best candidate on all of them.

        Args:
            X, y: as the estimator takes them.
            params: as the estimator's `fit` takes them, such as sample_weight.

        Raises:
            ValueError: if the estimator is none of ours, `halving` is no integer ≥ 2, or there
                is not one space to search.
        """
        last = (
            self.estimator.steps[-1][1] if isinstance(self.estimator, Pipeline) else self.estimator
        )
        if not isinstance(last, Perceptron):
            inner = "an inner " * isinstance(last, Pipeline) + type(last).__name__
            raise ValueError(
                f"estimator ends with {type(last).__module__.partition('.')[0]}'s {inner}: give "
                "jaxmlp's MLPClassifier or MLPRegressor, or one Pipeline that ends with it; others "
                "are for scikit-learn's GridSearchCV"
            )
        if (self.param_grid is None) == (self.param_distributions is None):
            raise ValueError(
                f"param_grid is {self.param_grid!r} and param_distributions "
                f"{self.param_distributions!r}: give one of the two"
            )
        if self.halving is not None:
            self._check_halving()
        if hasattr(self.cv, "__next__"):  # which can be gone through only once
            self.cv = list(self.cv)
        keep_programs()
        self._given = *indexable(X, y), params
        jobs, self.n_jobs = self.n_jobs, None  # other processes would train one by one
        try:
            return super().fit(X, y, **params)
        finally:
            self.n_jobs = jobs
            for name in ("_given", "_fit_params", "_parts", "_share", "_splits"):
                vars(self).pop(name, None)

    def _check_halving(self) -> None:
        """Raise ValueError unless candidates can be halved."""
        if not (isinstance(self.halving, Integral) and int(self.halving) > 1):
            raise ValueError(f"halving is {self.halving!r}: give an integer ≥ 2")
        several = isinstance(self.scoring, (list, tuple, set, dict))
        if several and not isinstance(self.refit, str):
            raise ValueError(
                f"refit is {self.refit!r}, but halving chooses by one of several metrics: name it "
                "by refit"
            )
        name, _ = self._epochs()
        space = self._space()
        grids = [space] if isinstance(space, Mapping) else space
        if any(name in grid for grid in grids):
            raise ValueError(f"{name} is searched, but halving sets it: leave out one of the two")

    def _space(self) -> Any:
        return self.param_distributions if self.param_grid is None else self.param_grid

    def _candidates(self) -> list[dict[str, Any]]:
        n = self.n_iter
        if n is None and self.param_grid is not None:
            return list(ParameterGrid(self.param_grid))
        n = DRAWS if n is None else n
        return list(ParameterSampler(self._space(), n, random_state=self.random_state))

    def _run_search(self, evaluate_candidates: Any) -> None:  # type: ignore[override]
        for name in OF_HALVING:
            vars(self).pop(name, None)
        X, y, params = self._given
        cv: Any = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        routed = self._get_routed_params_for_fit(params)
        self._fit_params = routed.estimator.fit
        self._splits = list(cv.split(X, y, **routed.splitter.split))  # once, as they may be random
        splits = _Splits(self._splits)
        candidates = self._candidates()
        if self.halving is None:
            with self._trained_together(candidates):
                evaluate_candidates(candidates, cv=splits)
            return
        self.n_resources_, self.n_candidates_ = [], []
        name, most = self._epochs()
        limits = [int(np.log(n) / np.log(self.halving) + 1e-9) for n in (len(candidates), most)]
        rungs = min(limits)
        self.n_required_iterations_ = 1 + limits[0]
        self.n_possible_iterations_ = self.n_iterations_ = 1 + rungs
        self.min_resources_, self.max_resources_ = -(-most // self.halving**rungs), most
        for rung in range(rungs + 1):
            epochs = -(-most // self.halving ** (rungs - rung))
            some = [candidate | {name: epochs} for candidate in candidates]
            self.n_resources_.append(int(epochs))
            self.n_candidates_.append(len(some))
            more = {"iter": [rung] * len(some), "n_resources": [epochs] * len(some)}
            with self._trained_together(some):
                results = evaluate_candidates(some, cv=splits, more_results=more)
            metric = self.refit if isinstance(self.refit, str) else "score"
            if f"mean_test_{metric}" not in results:
                raise ValueError(
                    f"refit is {self.refit!r}, but halving chooses by one of the metrics that "
                    "scoring gives: name it by refit"
                )
            ranks = results[f"mean_test_{metric}"][-len(some) :]
            order = np.argsort(-np.nan_to_num(ranks, nan=-np.inf), kind="stable")
            candidates = [candidates[i] for i in order[: -(-len(some) // self.halving)]]
            self.n_remaining_candidates_ = len(candidates)

    def _epochs(self) -> tuple[str, int]:
        """The name and the value of the last step's max_iter."""
        step = f"{self.estimator.steps[-1][0]}__" if isinstance(self.estimator, Pipeline) else ""
        return f"{step}max_iter", int(self.estimator.get_params()[f"{step}max_iter"])

    @staticmethod
    def _select_best_index(refit: Any, refit_metric: str, results: Mapping[str, Any]) -> Any:
        """Of successive halving, the best of the last rung."""
        if callable(refit) or "iter" not in results:
            return BaseSearchCV._select_best_index(refit, refit_metric, results)
        last = np.flatnonzero(np.asarray(results["iter"]) == np.max(results["iter"]))
        scores = np.asarray(results[f"mean_test_{refit_metric}"])[last]
        return int(last[np.nanargmax(scores)] if np.isfinite(scores).any() else last[0])

    @contextmanager
    def _trained_together(self, candidates: Sequence[Mapping[str, Any]]) -> Iterator[None]:
        """Train all candidates on all folds; `fit` then finds them by what they depend on."""
        start = time.perf_counter()
        seed = int(check_random_state(None).randint(2**31 - 1))  # so that all share an order
        made: dict[Any, tuple[Examples, dict[str, Any]]] = {}
        digests: dict[Any, Any] = {}
        found: dict[bytes, tuple[Perceptron, Job, dict[str, Any]]] = {}
        for network, x, y, weight in self._fits(candidates):
            own = dict(vars(network))
            given = (id(x), id(weight))
            same = (*given, type(network), network.data_parameters)
            examples, learnt = made.get(same, (None, {}))
            try:
                if given not in digests:
                    digests[given] = digest_of(x, y, weight)
                key = network.digest(digests[given])  # as `fit` will, before a generator draws
                vars(network).update(learnt)
                job = network.prepare(x, y, weight, seed, examples)
            except Exception:  # of any kind, which `fit` raises again, where it is scored
                continue
            if network.solver == "lbfgs":  # its line search differs from network to network
                continue
            made.setdefault(same, (job.examples, _learnt(network, own)))
            found[key] = network, job, own
        fits = fit_together([job for _, job, _ in found.values()])
        for (key, (network, job, _)), fit in zip([*found.items()], fits, strict=True):
            try:
                network.keep(job, fit)
            except ValueError:  # it diverged
                del found[key]
        self._share = (time.perf_counter() - start) / max(1, len(fits))
        token = TRAINED.set({key: _learnt(each, own) for key, (each, _, own) in found.items()})
        try:
            yield
        finally:
            TRAINED.reset(token)

    def _fits(
        self, candidates: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[Perceptron, Any, Any, Any]]:
        """For every fold and candidate: the network, and what its `fit` will be given."""
        X, y, _ = self._given
        self._parts = []  # which keeps the identity of arrays
        parts = [(rows, candidates) for rows, _ in self._splits]
        if self.refit and len(parts) > 1:  # so that its program is compiled beside the others'
            parts.append((np.arange(_num_samples(X)), candidates[:1]))
        for rows, some in parts:
            x, target = (None if each is None else _safe_indexing(each, rows) for each in (X, y))
            params: Any = _check_method_params(X, params=self._fit_params, indices=rows)
            prepared: dict[str, Any] = {"": x}
            weights: list[Any] = []
            self._parts.append((prepared, weights))
            for candidate in some:
                model: Any = clone(self.estimator)
                model.set_params(**{name: clone(v, safe=False) for name, v in candidate.items()})
                if not isinstance(model, Pipeline):
                    yield model, x, target, params.get("sample_weight")
                    continue
                name, network = model.steps[-1]
                # not model[:-1], as no metadata reach a last step that has no fit_transform
                front = cast(Any, clone(model)).set_params(**{name: "passthrough"})
                known = _hash(front) if len(model.steps) > 1 else ""
                if known not in prepared:
                    prepared[known] = _transformed(front, x, target, params)
                try:
                    weight = _weight_of(name, model, params)
                except (TypeError, ValueError):  # which `fit` raises again, where it is scored
                    continue
                weights.append(weight)
                if isinstance(network, Perceptron) and prepared[known] is not None:
                    yield network, prepared[known], target, weight

    def _format_results(
        self, candidate_params: Any, n_splits: int, out: Any, more_results: Any = None
    ) -> Any:
        for each in out:
            each["fit_time"] += self._share
        return super()._format_results(candidate_params, n_splits, out, more_results)


class _Splits:
    """Splits that were made once, whatever a splitter was given for them."""

    def __init__(self, splits: Sequence[Any]) -> None:
        self._splits = splits

    def split(self, *_: Any, **__: Any) -> Iterator[Any]:
        """The splits, for any examples."""
        return iter(self._splits)

    def get_n_splits(self, *_: Any, **__: Any) -> int:
        """How many there are."""
        return len(self._splits)


def _weight_of(name: str, model: Pipeline, params: Mapping[str, Any]) -> Any:
    """The weights that reach the last step of a pipeline, of that name."""
    if not get_config()["enable_metadata_routing"]:
        return params.get(f"{name}__sample_weight")
    return process_routing(model, "fit", **params)[name].fit.get("sample_weight")


def _hash(front: Any) -> str:
    """What tells steps apart: their parameters, and the metadata that they ask for."""
    try:
        return str(joblib.hash(front))
    except Exception:  # of what cannot be pickled, such as a lambda
        return repr(front)


def _transformed(front: Any, x: Any, y: Any, params: Mapping[str, Any]) -> Any:
    """What the steps before a network make of examples; None if they fail, as they will again."""
    try:
        if get_config()["enable_metadata_routing"]:
            taken = get_routing_for_object(front).consumes("fit_transform", params)
        else:
            steps = dict(front.steps)
            taken = [each for each in params if each.partition("__")[0] in steps]
        return front.fit_transform(x, y, **{each: params[each] for each in taken})
    except Exception:  # of any step, which raises it again where it is scored
        return None


def _learnt(network: Perceptron, own: Mapping[str, Any]) -> dict[str, Any]:
    """What a fit has added to a network's own attributes, or put in their place."""
    kept = {*network.get_params(deep=False)}
    return {
        name: value
        for name, value in vars(network).items()
        if name not in kept and (name not in own or value is not own[name])
    }
