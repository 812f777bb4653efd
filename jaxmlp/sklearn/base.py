"""What the classifier and the regressor share: from examples to a job, and from a fit back."""

import warnings
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from functools import cache
from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from jaxmlp.compilation import keep_programs
from jaxmlp.data import Batch
from jaxmlp.data.arrays import LARGEST, refuse_first
from jaxmlp.data.splitting import check_class_weight
from jaxmlp.params import Layer
from jaxmlp.settings import Config, Hyperparams, check_hyperparams
from jaxmlp.sklearn.arrays import dense, digest_of, forward, hold_out
from jaxmlp.sklearn.lbfgs import minimize
from jaxmlp.sklearn.parameters import check_parameters
from jaxmlp.sweeps.together import Examples, Fit, Job, fill_up, fit_group, initial_layers

ACTIVATIONS = {"logistic": "sigmoid"}  # by scikit-learn's name; the others have ours
SGD_ONLY = ("invscaling", "adaptive")
MOST = 200  # examples in a batch, by default
VERY_LARGE = 1e4  # inputs or targets; standardised ones are of size one
SPARSE = ("csr", "csc", "coo")
TRAINED: ContextVar[dict[bytes, dict[str, Any]] | None] = ContextVar("trained", default=None)


@cache
def _names_in_signature(kind: type) -> tuple[str, ...]:
    """The names of an estimator's parameters, which a search asks for a thousand times."""
    return tuple(super(Perceptron, kind)._get_param_names())  # type: ignore[misc]


def takes_batches(network: Any) -> bool:
    """Whether a network can be trained on some examples after others.

    Raises:
        AttributeError: if it cannot.
    """
    if network.solver == "lbfgs":
        raise AttributeError(
            "solver is 'lbfgs', which takes all examples at once: partial_fit trains on some, "
            "give another solver"
        )
    return True


class Perceptron(BaseEstimator):
    """What the classifier and the regressor share."""

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: Any = 1e-4,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: Any = 1e-3,
        power_t: Any = 0.5,
        max_iter: Any = 200,
        shuffle: Any = True,
        random_state: Any = None,
        tol: Any = 1e-4,
        verbose: Any = False,
        warm_start: Any = False,
        momentum: Any = 0.9,
        nesterovs_momentum: Any = True,
        early_stopping: Any = False,
        validation_fraction: Any = 0.1,
        beta_1: Any = 0.9,
        beta_2: Any = 0.999,
        epsilon: Any = 1e-8,
        n_iter_no_change: Any = 10,
        max_fun: Any = 15_000,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun

    classes_: Any

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return [*_names_in_signature(cls)]

    def _validate(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        """The examples as arrays, checked."""
        raise NotImplementedError

    def _encode(self, y: Any) -> np.ndarray:
        """The labels as a loss takes them."""
        raise NotImplementedError

    def _loss(self, labels: np.ndarray) -> str:
        """The name of that loss."""
        raise NotImplementedError

    def _check_same(self, y: Any) -> None:
        """Raise ValueError unless a fit can go on from the one before."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on examples X (n, n_in) with targets y, (n,) or (n, n_out).

        Args:
            X: real numbers, an array, a sparse matrix or a table.
            y: classes, rows of labels 0 and 1, which may be sparse, or real targets.
            sample_weight: of the examples, (n,); by default they count alike.

        Returns:
            The estimator itself.

        Raises:
            ValueError: if the examples or a parameter cannot be used.
        """
        warm = self.warm_start and hasattr(self, "coefs_")
        known = TRAINED.get()
        fitted = None
        if known and not warm:
            fitted = known.get(self.digest(digest_of(X, y, sample_weight)))
        if fitted:
            vars(self).update(fitted)
        else:
            keep_programs()
            before = list(self.loss_curve_) if warm else []
            scores = list(getattr(self, "validation_scores_", None) or []) if warm else []
            job = self.prepare(X, y, sample_weight)
            if warm:
                self._check_same(y)
            self.keep(job, self._train(job), before, scores)
        vars(self).pop("_state", None)  # partial_fit goes on from here
        if self.n_iter_ == self.max_iter and self.solver != "lbfgs":  # which says so itself
            warnings.warn(
                f"max_iter is {self.max_iter}, after which training had not ended by itself: give "
                "more epochs, or a larger tol",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _train(self, job: Job) -> Fit:
        if self.solver != "lbfgs":
            return fit_group([job])[0]
        return minimize(job, int(self.max_iter), int(self.max_fun), float(self.tol))

    def digest(self, examples: Any) -> bytes:
        """What a fit depends on, in short; `examples` is of `digest_of`."""
        found = examples.copy()
        # a subclass may set attributes that are no parameters of its own
        given = self.get_params() | {k: v for k, v in vars(self).items() if k.strip("_") == k}
        told = [(name, _told(value)) for name, value in sorted(given.items())]
        found.update(repr((id(type(self)), told)).encode())
        return found.digest()

    def _check(self) -> None:
        """Raise ValueError for a parameter that means nothing here."""
        check_parameters(self)

    def prepare(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        seed: int | None = None,
        examples: Examples | None = None,
    ) -> Job:
        """The job of a fit.

        Args:
            X, y, sample_weight: as `fit` takes them.
            seed: in the place of a random state of None.
            examples: if another estimator with the same `data_parameters` has made them of these.
        """
        self._check()
        warm = self.warm_start and hasattr(self, "coefs_")
        if seed is None or self.random_state is not None:
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if examples is None:
            examples = self._examples(X, y, sample_weight, seed, reset=not warm)
        return self._job(examples, int(self.max_iter), seed)

    @property
    def data_parameters(self) -> tuple[Any, ...]:
        """The parameters that the examples of a fit depend on."""
        names = ("batch_size", "early_stopping", "validation_fraction", "random_state")
        values = (getattr(self, name, None) for name in (*names, "class_weight"))
        return tuple(repr(_told(value)) for value in values)

    @available_if(takes_batches)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train for one more epoch, on these examples; see `fit`."""
        return self._partial_fit(X, y, sample_weight)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> Any:
        if self.early_stopping:
            raise ValueError("early_stopping is True: partial_fit trains for one epoch, give False")
        if isinstance(balance := getattr(self, "class_weight", None), str):
            raise ValueError(
                f"class_weight is {balance!r}, but partial_fit sees one batch, and not "
                "how many examples there are of each class: give a dict of weights by class"
            )
        keep_programs()
        self._check()
        before = list(getattr(self, "loss_curve_", []))
        if not hasattr(self, "_state"):
            self._seed, self._state = int(check_random_state(self.random_state).randint(2**31)), []
        known = hasattr(self, "coefs_")
        job = self._job(
            self._examples(X, y, sample_weight, self._seed, reset=not known), 1, self._seed, known
        )
        fit = fit_group([job._replace(state=self._state, first=len(before))])[0]
        self._state = fit.state
        self.keep(job, fit, before)
        return self

    def _weights(self, X: Any, y: Any, sample_weight: Any) -> np.ndarray | None:
        balance = getattr(self, "class_weight", None)
        if sample_weight is None and balance is None:
            return None
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if balance is not None:
            for each in balance if isinstance(balance, list) else [balance]:
                if isinstance(each, Mapping):
                    check_class_weight(each)
            weights = weights * compute_sample_weight(balance, y)
        if not np.any(weights):
            raise ValueError("sample_weight is 0 for every example: there is nothing to train on")
        return weights

    def _examples(self, X: Any, y: Any, sample_weight: Any, seed: int, reset: bool) -> Examples:
        """The examples, checked, without those that are held out, in full batches."""
        X, y = self._validate(X, y, reset)
        weights, labels = self._weights(X, y, sample_weight), self._encode(y)
        refuse_first("X", ~(np.abs(X) <= LARGEST), [], "is {}", "give numbers below 3.4e38", X)
        x = np.asarray(X, np.float32)
        if weights is not None:  # what does not count takes no place in a batch
            kept = np.flatnonzero(weights)
            x, labels, weights = x[kept], labels[kept], weights[kept]
        held = None
        if self.early_stopping and self.solver != "lbfgs":
            one = is_classifier(self) and (labels.ndim == 1 or labels.shape[1] == 1)
            rows, out = hold_out(
                len(x), self.validation_fraction, seed, labels.ravel() if one else None
            )
            held = Batch(x[out], labels[out])
            x, labels = x[rows], labels[rows]
            weights = None if weights is None else weights[rows]
        size = MOST if self.batch_size == "auto" else self.batch_size
        if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
            raise ValueError(f"batch_size is {size!r}: give 'auto' or an integer ≥ 1")
        size = len(x) if self.solver == "lbfgs" else int(size)
        train, weights, size = fill_up(Batch(x, labels), weights, size)
        n_out = labels.shape[1] if labels.ndim == 2 else len(self.classes_)
        return Examples(train, weights, size, held, n_out)

    def _job(self, examples: Examples, epochs: int, seed: int, warm: bool | None = None) -> Job:
        """What is to be trained, on top of the fit before if that is wanted."""
        widths = self.hidden_layer_sizes
        widths = (widths,) if isinstance(widths, Integral) else widths
        # scikit-learn waits for one epoch more; what is never over is the same program
        patience = int(min(self.n_iter_no_change + 1, epochs))
        if not self.early_stopping and patience == epochs:
            patience = 0
        solver, schedule = self.solver, self.learning_rate
        if (schedule == "adaptive" and not patience) or (schedule in SGD_ONLY and solver != "sgd"):
            schedule = "constant"
        if solver == "sgd" and self.nesterovs_momentum:
            solver = "nesterov"
        config = Config(
            hidden=tuple(int(width) for width in widths),
            activation=ACTIVATIONS.get(self.activation, self.activation),  # type: ignore[arg-type]
            loss=self._loss(examples.train.labels),  # type: ignore[arg-type]
            optimizer="sgd" if solver == "lbfgs" else solver,  # type: ignore[arg-type]
            schedule=schedule,  # type: ignore[arg-type]
            batch_size=examples.batch_size,
            epochs=epochs,
            patience=patience,
            monitor="score" if self.early_stopping else "training",
        )
        sizes = (examples.train.x.shape[1], *config.hidden, examples.n_out)
        before = [len(each) for each in getattr(self, "intercepts_", [])]
        if warm if warm is not None else self.warm_start and hasattr(self, "coefs_"):
            if before != [*sizes[1:]]:
                raise ValueError(
                    f"the network before has layers of {before}, and this one of {[*sizes[1:]]}: "
                    "to go on, give the same hidden_layer_sizes"
                )
            pairs: Any = zip(self.coefs_, self.intercepts_, strict=True)
            layers: Any = tuple(Layer(*pair) for pair in pairs)
        else:
            layers = initial_layers(np.random.RandomState(seed), sizes, config.activation)
        hyper = self._hyper(examples)
        check_hyperparams(hyper)
        return Job(examples, config, hyper, layers, seed if self.shuffle else None)

    def _hyper(self, examples: Examples) -> Hyperparams:
        # scikit-learn adds alpha W / (sum of the weights in the batch) to the gradient
        batches = len(examples.train.x) / examples.batch_size
        in_batch = float(examples.weights.sum()) / batches
        return Hyperparams(
            learning_rate=float(self.learning_rate_init),
            momentum=float(self.momentum if self.solver == "sgd" else self.beta_1),
            weight_decay=float(self.alpha if self.solver == "adamw" else self.alpha / in_batch),
            tolerance=float(self.tol),
            beta2=float(self.beta_2),
            epsilon=float(self.epsilon),
            power=float(self.power_t),
        )

    def keep(
        self, job: Job, fit: Fit, before: Sequence[float] = (), scores: Sequence[float] = ()
    ) -> None:
        """Take on the attributes of a fitted estimator, by scikit-learn's names.

        Raises:
            ValueError: if training diverged.
        """
        wild = np.flatnonzero(~np.isfinite(fit.metrics.train_loss))
        if len(wild):
            raise ValueError(
                f"training diverged: in epoch {wild[0] + 1} the training loss became "
                f"{fit.metrics.train_loss[wild[0]]}; give a smaller learning_rate_init"
                f"{_on_size('X', job.examples.train.x)}{_on_size('y', job.examples.train.labels)}"
            )
        self.coefs_ = [np.asarray(layer.weight) for layer in fit.params]
        self.intercepts_ = [np.asarray(layer.bias) for layer in fit.params]
        self.loss_curve_ = [*before, *map(float, fit.metrics.train_loss)]
        self.loss_ = self.loss_curve_[-1]
        self.n_iter_ = len(self.loss_curve_) - len(before)
        seen = self.n_iter_ * int(np.count_nonzero(job.examples.weights))
        self.t_ = seen + (self.t_ if before else 0)
        self.n_layers_ = len(self.coefs_) + 1
        self.n_outputs_ = job.examples.n_out
        outputs = {"softmax": "softmax", "sigmoid": "logistic", "squared": "identity"}
        self.out_activation_ = outputs[job.config.loss]
        scores = [*scores, *map(float, fit.metrics.validation_score)]
        self.best_loss_ = None if self.early_stopping else min(self.loss_curve_)
        self.validation_scores_ = scores if self.early_stopping else None
        self.best_validation_score_ = max(scores) if self.early_stopping else None
        if self.verbose:
            for epoch, loss in enumerate(self.loss_curve_[len(before) :], len(before) + 1):
                print(f"epoch {epoch}  loss {loss:.4f}")

    def _forward(self, X: Any) -> Float[np.ndarray, "n n_out"]:
        """The logits, in NumPy."""
        check_is_fitted(self)
        x = dense(validate_data(self, X, accept_sparse=SPARSE, reset=False))
        return forward(self.coefs_, self.intercepts_, self.activation, x)


def _told(value: Any) -> Any:
    """A parameter as it reads: a generator by its state, as its copies are the same."""
    if isinstance(value, np.ndarray) and value.dtype != object:  # not abbreviated
        return value.dtype, value.shape, value.tobytes()
    return value.get_state() if isinstance(value, np.random.RandomState) else value


def _on_size(name: str, array: Any) -> str:
    """What to say of training data that are so large that training on them may diverge."""
    largest = float(np.abs(array).max())
    return f", or scale {name}, which goes up to {largest:.3g}" if largest > VERY_LARGE else ""
