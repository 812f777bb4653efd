"""The classifier."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from jaxmlp.sklearn.arrays import dense, sigmoid
from jaxmlp.sklearn.base import SPARSE, Perceptron, takes_batches


class MLPClassifier(ClassifierMixin, Perceptron):
    """A classifier, as `sklearn.neural_network.MLPClassifier`, for classes or several labels.

    Args:
        hidden_layer_sizes: widths of the hidden layers.
        activation: of these: identity, logistic, tanh, relu or gelu.
        solver: adam, sgd with momentum, adamw, or lbfgs for few examples, which takes all of them
            in every step, in float64; parameters of batches and of learning rates mean nothing
            to it, nor does early stopping.
        alpha: of the penalty alpha ‖W‖² / 2, divided by the size of a batch; of adamw, the decay.
        batch_size: examples in a batch; by default at most 200.
        learning_rate: constant, cosine or warmup_cosine; of sgd also invscaling and adaptive,
            which are constant for the others, as in scikit-learn.
        learning_rate_init: the largest learning rate.
        power_t: of invscaling.
        max_iter: epochs at most.
        shuffle: whether the examples come in another order in every epoch.
        random_state: of the initial weights and the order of the examples.
        tol, n_iter_no_change: training ends after more epochs than that in which the training
            loss, or with early stopping the validation score, did not improve by tol. The
            parameters of the best epoch are kept. With np.inf, or without early stopping as many
            epochs as max_iter, all are trained; without early stopping the last ones are kept.
            lbfgs ends where no slope is larger than tol.
        verbose: whether the losses are printed.
        warm_start: whether `fit` goes on from the parameters of the fit before.
        momentum, nesterovs_momentum: of sgd, and whether it looks ahead.
        beta_1, beta_2, epsilon: of adam and adamw.
        early_stopping, validation_fraction: hold out that share of the examples, and look at the
            accuracy on it.
        max_fun: how often lbfgs asks for a gradient, at most.
        class_weight: "balanced", or a dict of weights by class; None if classes count alike.

    Attributes:
        classes_, coefs_, intercepts_, loss_curve_, loss_, n_iter_ and the others: as
            scikit-learn's, in float32.
    """

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
        class_weight: Any = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
        )
        self.class_weight = class_weight

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @available_if(takes_batches)
    def partial_fit(  # type: ignore[override]
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
    ) -> "MLPClassifier":
        """Train for one more epoch, on these examples.

        Args:
            X, y, sample_weight: as `fit` takes them.
            classes: all that there are; needed in the first call.
        """
        if not hasattr(self, "coefs_"):
            if classes is None:
                raise ValueError("classes is None: the first call of partial_fit needs all of them")
            several = type_of_target(y).startswith("multilabel")
            self._learn_classes(y if several else np.asarray(classes))
            if several and not np.array_equal(np.unique(classes), self.classes_):
                raise ValueError(
                    f"classes is {classes}, but the columns of y are the labels {self.classes_}: "
                    "give these"
                )
            self._declared = True
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes is {classes}, but before it was {self.classes_}")
        try:
            return self._partial_fit(X, y, sample_weight)
        finally:
            vars(self).pop("_declared", None)

    def _learn_classes(self, y: Any) -> None:
        self._label_binarizer = LabelBinarizer().fit(y)
        self.classes_ = self._label_binarizer.classes_

    def _validate(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X, y = validate_data(
            self, X, y, accept_sparse=SPARSE, multi_output=True, dtype=(np.float64, np.float32),
            reset=reset,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(dense(y), warn=True)
        check_classification_targets(y)
        if reset and not hasattr(self, "_declared"):
            self._learn_classes(y)  # sparse rows of labels, if they are: so are predictions then
        y = dense(y)
        strange = np.setdiff1d(unique_labels(y), self.classes_)
        if len(strange):
            raise ValueError(
                f"y holds {strange.tolist()[0]!r}, which is none of the classes {self.classes_}"
            )
        several = type_of_target(y).startswith("multilabel")
        if several != (self._label_binarizer.y_type_ == "multilabel-indicator"):
            now, before = ("rows of labels", "classes")[:: 1 if several else -1]
            raise ValueError(
                f"y holds {now}, but before it held {before}: give these, or fit another network"
            )
        return dense(X), y

    def _check_same(self, y: Any) -> None:
        if self.classes_.ndim == 1 and not np.array_equal(unique_labels(y), self.classes_):
            raise ValueError(
                f"warm_start goes on with the classes {self.classes_}, but y holds "
                f"{unique_labels(y)}: give the same, or warm_start=False"
            )

    def _encode(self, y: Any) -> Any:
        if type_of_target(y).startswith("multilabel"):
            return np.asarray(y, np.float32)
        places = np.searchsorted(self.classes_, y).astype(np.int32)
        return places if len(self.classes_) > 2 else places[:, None].astype(np.float32)

    def _loss(self, labels: np.ndarray) -> str:
        return "softmax" if labels.ndim == 1 else "sigmoid"

    def predict(self, X: Any) -> Any:
        """The classes of examples X (n, n_in), (n,); or rows of labels 0 and 1.

        The rows are a sparse matrix if those of the last fit were, as scikit-learn's are.
        """
        z = self._forward(X)
        if z.shape[1] == 1:
            return np.asarray(self._label_binarizer.inverse_transform(sigmoid(z).ravel()))
        if self.out_activation_ == "logistic":
            return self._label_binarizer.inverse_transform(sigmoid(z))
        return self.classes_[z.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probabilities (n, n_classes), in the order of `classes_`; or of each label."""
        z = self._forward(X)
        if self.out_activation_ == "softmax":
            exponentials = np.exp(z - z.max(axis=1, keepdims=True))
            return exponentials / exponentials.sum(axis=1, keepdims=True)
        p = sigmoid(z)
        return np.hstack([1 - p, p]) if p.shape[1] == 1 else p

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithms of the probabilities."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))
