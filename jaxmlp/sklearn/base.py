"""What the classifier and the regressor share: from examples to a job, and from a fit back."""

import hashlib
import warnings
from collections.abc import Sequence
from contextvars import ContextVar
from numbers import Integral, Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from jaxmlp.compilation import keep_programs
from jaxmlp.data import Batch
from jaxmlp.params import Layer
from jaxmlp.settings import Config, Hyperparams
from jaxmlp.sweeps.together import Examples, Fit, Job, pad_batch, padded, train_group
from jaxmlp.training import fresh_state

ACTIVATIONS = {"logistic": "sigmoid"}  # by scikit-learn's name; the others have ours
MOST = 200  # examples in a batch, by default
SPARSE = ("csr", "csc", "coo")
TRAINED: ContextVar[dict[bytes, Fit] | None] = ContextVar("trained", default=None)


class Perceptron(BaseEstimator):
    """What the classifier and the regressor share."""

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 1e-4,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 1e-3,
        max_iter: int = 200,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        n_iter_no_change: int = 10,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.n_iter_no_change = n_iter_no_change

    classes_: Any

    def _validate(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        """The examples as arrays, checked."""
        raise NotImplementedError

    def _encode(self, y: Any) -> np.ndarray:
        """The labels as a loss takes them."""
        raise NotImplementedError

    def _loss(self, labels: np.ndarray) -> str:
        """The name of that loss."""
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on examples X (n, n_in) with targets y, (n,) or (n, n_out).

        Args:
            X: real numbers, an array, a sparse matrix or a table.
            y: classes, rows of labels 0 and 1, or real targets.
            sample_weight: of the examples, (n,); by default they count alike.

        Returns:
            The estimator itself.

        Raises:
            ValueError: if the examples or a parameter cannot be used.
        """
        job, key = self.prepare(X, y, sample_weight)
        state = None
        if self.warm_start and hasattr(self, "coefs_"):
            state = self._warm(job)
        before = list(getattr(self, "loss_curve_", [])) if state is not None else []
        fit = (TRAINED.get() or {}).get(key) if state is None else None
        if fit is None:
            keep_programs()
            (fit,) = train_group([job], state)
        self._keep(job, fit, before)
        if self.n_iter_ == self.max_iter:
            warnings.warn(
                f"max_iter is {self.max_iter}, after which training had not ended by itself: give "
                "more epochs, or a larger tol",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def prepare(
        self, X: Any, y: Any, sample_weight: Any, seed: int | None = None
    ) -> tuple[Job, bytes]:
        """The job of a fit, and by what it is known; `seed` is for a random state of None."""
        self._check_parameters()
        X, y = self._validate(X, y, reset=not (self.warm_start and hasattr(self, "coefs_")))
        weights = self._weights(X, y, sample_weight)
        labels = self._encode(y)
        if weights is not None:  # what does not count takes no place in a batch
            kept = np.flatnonzero(weights)
            X, labels, weights = X[kept], labels[kept], weights[kept]
        key = self._digest(X, labels, weights)
        return self._job(X, labels, weights, int(self.max_iter), seed), key

    def _digest(self, X: Any, labels: Any, weights: Any) -> bytes:
        """What a fit depends on, in short."""
        found = hashlib.blake2b(repr(sorted(self.get_params().items())).encode())
        for array in (X, labels, *([] if weights is None else [weights])):
            found.update(f"{array.dtype}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).data)
        return found.digest()

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train for one more epoch, on these examples; see `fit`."""
        return self._partial_fit(X, y, sample_weight)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> Any:
        if self.early_stopping:
            raise ValueError("early_stopping is True: partial_fit trains for one epoch, give False")
        self._check_parameters()
        X, y = self._validate(X, y, reset=not hasattr(self, "coefs_"))
        weights = self._weights(X, y, sample_weight)
        job = self._job(X, self._encode(y), weights, 1)
        before = list(getattr(self, "loss_curve_", []))
        if hasattr(self, "_state"):
            job = job._replace(seed=self._seed, order=self._seed)
        (fit,) = train_group([job], getattr(self, "_state", None), len(before))
        self._state, self._seed = fit.leaves, job.seed
        self._keep(job, fit, before)
        return self

    def _weights(self, X: Any, y: Any, sample_weight: Any) -> np.ndarray | None:
        balance = getattr(self, "class_weight", None)
        if sample_weight is None and balance is None:
            return None
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if balance is not None:
            weights = weights * compute_sample_weight(balance, y)
        if not np.any(weights):
            raise ValueError("sample_weight is 0 for every example: there is nothing to train on")
        return weights

    def _check_parameters(self) -> None:
        """Raise ValueError for a parameter of scikit-learn's that means nothing here."""
        learning_rates = ("constant", "cosine", "warmup_cosine")
        for name, known in (
            ("solver", ("adam", "sgd", "adamw")),
            ("learning_rate", learning_rates),
        ):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name} is {value!r}: give one of {', '.join(known)}")
        for name in ("max_iter", "n_iter_no_change"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} is {value!r}: give an integer ≥ 1")
        share = self.validation_fraction
        if self.early_stopping and not (isinstance(share, Real) and 0 < share < 1):
            raise ValueError(f"validation_fraction is {share!r}: give a share between 0 and 1")

    def _config(self, n: int, epochs: int, loss: Any) -> Config:
        """The static settings of a fit on n examples."""
        widths = self.hidden_layer_sizes
        widths = (widths,) if isinstance(widths, Integral) else widths
        size = min(MOST, n) if self.batch_size == "auto" else self.batch_size
        if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
            raise ValueError(f"batch_size is {size!r}: give 'auto' or an integer ≥ 1")
        patience: Any = self.n_iter_no_change + 1  # scikit-learn waits for one epoch more
        if not self.early_stopping and patience >= epochs:
            patience = 0
        return Config(
            hidden=tuple(int(width) for width in widths),
            activation=ACTIVATIONS.get(self.activation, self.activation),  # type: ignore[arg-type]
            loss=loss,
            optimizer=self.solver,  # type: ignore[arg-type]
            schedule=self.learning_rate,  # type: ignore[arg-type]
            batch_size=int(min(size, n)),
            epochs=epochs,
            patience=int(patience),
            monitor="validation" if self.early_stopping else "training",
        )

    def _job(self, X: Any, labels: Any, weights: Any, epochs: int, seed: int | None = None) -> Job:
        if seed is None or self.random_state is not None:
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        x = np.asarray(X, np.float32)
        held = Batch(x[:1], labels[:1])  # which nothing depends on
        if self.early_stopping:
            one = is_classifier(self) and (labels.ndim == 1 or labels.shape[1] == 1)
            size = max(2, round(self.validation_fraction * padded(len(x))))
            rows, out = train_test_split(
                np.arange(len(x)),
                test_size=size,
                random_state=seed,
                stratify=labels.ravel() if one else None,
            )
            held = Batch(x[out], labels[out])
            x, labels = x[rows], labels[rows]
            weights = None if weights is None else weights[rows]
        train, weights = pad_batch(Batch(x, labels), weights)
        config = self._config(len(train.x), epochs, self._loss(labels))
        # scikit-learn adds alpha W / (sum of the weights in the batch) to the gradient
        mean = float(weights.sum()) / len(x)
        decay = self.alpha if self.solver == "adamw" else self.alpha / (config.batch_size * mean)
        hyper = Hyperparams(
            learning_rate=float(self.learning_rate_init),
            momentum=float(self.momentum if self.solver == "sgd" else self.beta_1),
            weight_decay=float(decay),
            tolerance=float(self.tol),
        )
        n_out = labels.shape[1] if labels.ndim == 2 else len(self.classes_)
        return Job(Examples(train, weights, held, n_out), config, hyper, seed, seed)

    def _warm(self, job: Job) -> list[np.ndarray]:
        """A fresh state with the parameters of the fit before."""
        pairs = zip(self.coefs_, self.intercepts_, strict=True)
        params: Any = tuple(Layer(jnp.asarray(w), jnp.asarray(b)) for w, b in pairs)
        state = fresh_state(params, job.hyper, job.config, len(job.examples.train.x))
        return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]

    def _keep(self, job: Job, fit: Fit, before: Sequence[float]) -> None:
        """The attributes of a fitted estimator, by scikit-learn's names."""
        self.coefs_ = [np.asarray(layer.weight) for layer in fit.params]
        self.intercepts_ = [np.asarray(layer.bias) for layer in fit.params]
        self.loss_curve_ = [*before, *map(float, fit.metrics.train_loss)]
        self.loss_ = self.loss_curve_[-1]
        self.n_iter_ = len(self.loss_curve_) - len(before)
        self.t_ = len(self.loss_curve_) * len(job.examples.train.x)
        self.n_layers_ = len(self.coefs_) + 1
        self.n_outputs_ = job.examples.n_out
        losses = {"softmax": "softmax", "sigmoid": "logistic", "squared": "identity"}
        self.out_activation_ = losses[job.config.loss]
        scores = [float(value) for value in fit.metrics.validation_score]
        self.best_loss_ = None if self.early_stopping else min(self.loss_curve_)
        self.validation_scores_ = scores if self.early_stopping else None
        self.best_validation_score_ = max(scores) if self.early_stopping else None
        if self.verbose:
            for epoch, loss in enumerate(self.loss_curve_[len(before) :], len(before) + 1):
                print(f"epoch {epoch}  loss {loss:.4f}")

    def _forward(self, X: Any) -> Float[np.ndarray, "n n_out"]:
        """The logits, in NumPy."""
        check_is_fitted(self)
        # in float64, so that it is the same for one example as for many
        h = dense(validate_data(self, X, accept_sparse=SPARSE, reset=False)).astype(np.float64)
        values = {
            "relu": lambda z: np.maximum(z, 0),
            "tanh": np.tanh,
            "logistic": sigmoid,
            "sigmoid": sigmoid,
            "gelu": _gelu,
            "identity": lambda z: z,
        }
        last = len(self.coefs_) - 1
        for layer, (weight, bias) in enumerate(zip(self.coefs_, self.intercepts_, strict=True)):
            h = h @ weight.astype(np.float64) + bias
            h = values[self.activation](h) if layer < last else h
        return h


def dense(x: Any) -> np.ndarray:
    """An array of what may be a sparse matrix."""
    return x.toarray() if hasattr(x, "toarray") else x


def sigmoid(z: np.ndarray) -> np.ndarray:
    """σ of every entry, without overflow."""
    from scipy.special import expit

    return expit(z)


def _gelu(z: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    return z * ndtr(z)
