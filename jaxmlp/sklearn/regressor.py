"""The regressor."""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.validation import validate_data

from jaxmlp.sklearn.arrays import dense
from jaxmlp.sklearn.base import SPARSE, Perceptron


class MLPRegressor(RegressorMixin, Perceptron):
    """A regressor, as `sklearn.neural_network.MLPRegressor`, for one or more targets.

    The parameters and attributes are those of `MLPClassifier`, but for the classes, and after
    `loss`, the first one as in scikit-learn. The only loss is "squared_error", half of which is
    summed over the targets; early stopping looks at R².
    """

    def __init__(
        self,
        loss: Any = "squared_error",
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
        self.loss = loss

    def _check(self) -> None:
        super()._check()
        if not isinstance(self.loss, str):  # where scikit-learn had the widths until 1.6
            raise ValueError(
                f"loss is {self.loss!r}: give widths by name, as hidden_layer_sizes=(64, 32)"
            )
        if self.loss != "squared_error":
            raise ValueError(f"loss is {self.loss!r}: give 'squared_error', there is no other")

    def _validate(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X, y = validate_data(
            self, X, y, accept_sparse=SPARSE, multi_output=True, y_numeric=True,
            dtype=(np.float64, np.float32), reset=reset,
        )  # fmt: skip
        y = dense(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return dense(X), y

    def _encode(self, y: Any) -> np.ndarray:
        return np.asarray(y, np.float32).reshape(len(y), -1)

    def _loss(self, labels: np.ndarray) -> str:
        return "squared"

    def predict(self, X: Any) -> np.ndarray:
        """The targets of examples X (n, n_in), (n,) or (n, n_out)."""
        z = self._forward(X)
        return z.ravel() if z.shape[1] == 1 else z
