"""What a training run is told: `Config` shapes the program, `Hyperparams` are its numbers."""

from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

import jax
import jax.core
import numpy as np
from jaxtyping import Float

from jaxmlp.bounds import check_integer
from jaxmlp.params import check_sizes

Number = float | Float[jax.Array, "..."]
# What can be measured where a loss is trained; the first one is measured by default.
METRICS = {
    "softmax": ("accuracy", "balanced_accuracy", "f1_macro", "auc", "loss"),
    "squared": ("r2", "loss"),
    "sigmoid": ("accuracy", "f1_macro", "auc", "loss"),
}
SPOKEN = {"f1_macro": "macro F1", "auc": "AUC", "r2": "R²"}  # the others as they are


@dataclass(frozen=True)
class Config:
    """Static settings: hashable, so that each compiles one program.

    Attributes:
        hidden: widths of the hidden layers, from the input on; none makes a linear classifier. The
            command takes 64 for a table.
        activation: of the hidden layers.
        bias: whether the layers have a bias.
        loss: softmax, for classes; squared, for real targets; sigmoid, for several labels at once.
        optimizer: from optax. `nesterov` is sgd with Nesterov's momentum. `adam` adds the weight
            decay to the gradient, `adamw` decays the weights directly (Loshchilov and Hutter 2019).
        schedule: of the learning rate over the whole run: constant; cosine down to zero;
            a linear warm-up over the first twentieth and then cosine; or two of scikit-learn's:
            invscaling divides it by (examples seen by earlier epochs + 1) to the `power`, and
            adaptive by 5 whenever the patience is over, until it is at most 10⁻⁶.
        batch_size: examples per step, or all of them if there are fewer; the last step of an
            epoch takes what is left over. The command takes 32 for a table.
        epochs: passes over the training examples.
        augmentation: mixup trains on λx + (1−λ)x', with the labels mixed alike, where x' is
            another example of the batch (Zhang et al. 2018).
        metric: what is measured on the validation part, and decides which epoch or setting is
            the best; by default accuracy, or r2 for real targets (`metrics.score`).
        patience: stop after so many epochs in which the monitored number did not improve, and
            keep the parameters of the best epoch; 0 trains all epochs and keeps the last ones.
        monitor: what patience looks at: `validation`, the metric on the validation part, and for
            epochs that are equal in it the loss there; `score`, the metric alone; `training`,
            the training loss.
        gradient: of the loss: the hand-written one, or JAX's for comparison.
        data_seed: of the validation split and of the order of the examples.

    Raises:
        ValueError: if a value is out of its range or a name is unknown.
    """

    hidden: tuple[int, ...] = (256,)
    activation: Literal["relu", "tanh", "sigmoid", "gelu", "identity"] = "relu"
    bias: bool = True
    loss: Literal["softmax", "squared", "sigmoid"] = "softmax"
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adam"
    schedule: Literal["constant", "cosine", "warmup_cosine", "invscaling", "adaptive"] = "cosine"
    batch_size: int = 64
    epochs: int = 40
    augmentation: Literal["none", "mixup"] = "none"
    metric: Literal["default", "accuracy", "balanced_accuracy", "f1_macro", "auc", "r2", "loss"] = (
        "default"
    )
    patience: int = 0
    monitor: Literal["validation", "score", "training"] = "validation"
    gradient: Literal["manual", "autodiff"] = "manual"
    data_seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", _check_hidden(self.hidden))
        check_integer("batch_size", self.batch_size, least=1)
        check_integer("epochs", self.epochs, least=1)
        check_integer("data_seed", self.data_seed)
        check_integer("patience", self.patience)
        if not isinstance(self.bias, bool):
            raise ValueError(f"bias is {self.bias!r}: give True or False")
        for field in fields(self):
            choices, value = _choices()[field.name], getattr(self, field.name)
            if isinstance(field.default, str) and value not in choices:
                raise ValueError(
                    f"unknown {field.name} {value!r}: choose one of {', '.join(choices)}"
                )
        if self.metric not in ("default", *METRICS[self.loss]):
            raise ValueError(
                f"metric is {self.metric!r}, but with the {self.loss} loss there is no such: "
                f"choose one of {', '.join(METRICS[self.loss])}"
            )

        if self.schedule == "adaptive" and not self.patience:
            raise ValueError(
                "schedule is 'adaptive', but with patience 0 the learning rate never falls: give a "
                "patience, or another schedule"
            )

    @property
    def measured(self) -> str:
        """The metric that is measured beside the loss."""
        return METRICS[self.loss][0] if self.metric in ("default", "loss") else self.metric

    @property
    def chosen_by(self) -> str:
        """The metric by which an epoch or a setting is the best."""
        return "loss" if self.metric == "loss" else self.measured


@cache
def _choices() -> dict[str, tuple[Any, ...]]:
    """The names that a field of `Config` can have; none for other fields."""
    return {name: get_args(hint) for name, hint in get_type_hints(Config).items()}


def _check_hidden(hidden: Any) -> tuple[int, ...]:
    """Widths as a tuple, so that the settings can be hashed."""
    try:
        return check_sizes((1, *hidden, 1))[1:-1]
    except (TypeError, ValueError):
        raise ValueError(
            f"hidden is {hidden!r}: give integers ≥ 1 and below 2³¹, such as (128, 64)"
        ) from None


class Hyperparams(NamedTuple):
    """Numbers that the compiled program takes as arguments: they may be traced.

    Attributes:
        learning_rate: the largest step size of the schedule.
        momentum: of sgd and nesterov; β₁ of adam and adamw.
        weight_decay: the coefficient of ½‖W‖² (of decoupled decay for adamw); biases are exempt.
        init_scale: multiplies the standard deviation of the initial weights.
        label_smoothing: ε in (1−ε)y + ε/n_out (Szegedy et al. 2016).
        mixup_alpha: α of λ ~ Beta(α, α), for `augmentation="mixup"`.
        tolerance: by how much the monitored number has to improve, for `patience`.
        beta2, epsilon: β₂ and ε of adam and adamw (Kingma and Ba 2015, algorithm 1).
        power: of the schedule invscaling.
    """

    learning_rate: Number = 4e-3
    momentum: Number = 0.9
    weight_decay: Number = 0.0
    init_scale: Number = 1.0
    label_smoothing: Number = 0.0
    mixup_alpha: Number = 0.2
    tolerance: Number = 0.0
    beta2: Number = 0.999
    epsilon: Number = 1e-8
    power: Number = 0.5


_LARGEST = float(np.finfo(np.float32).max)
_RANGES = {
    "learning_rate": (0.0, _LARGEST),
    "momentum": (0.0, 0.999999),  # at 1 a gradient is never forgotten
    "weight_decay": (0.0, _LARGEST),
    "init_scale": (0.0, _LARGEST),
    "label_smoothing": (0.0, 1.0),
    "mixup_alpha": (1e-3, _LARGEST),  # below, Beta samples underflow to 0/0
    "tolerance": (0.0, _LARGEST),
    "beta2": (0.0, 0.999999),
    "epsilon": (1e-30, _LARGEST),  # at 0, a parameter that has no gradient becomes 0/0
    "power": (0.0, _LARGEST),
}


def check_hyperparams(hyper: Any) -> None:
    """Raise ValueError if a hyperparameter whose value is known is out of range or not finite."""
    if not isinstance(hyper, Hyperparams):
        raise ValueError(f"hyper is a {type(hyper).__name__}: give jaxmlp.Hyperparams(…)")
    for name, (low, high) in _RANGES.items():
        value = getattr(hyper, name)
        if isinstance(value, jax.core.Tracer):
            continue
        if np.ndim(value):
            raise ValueError(
                f"{name} has shape {np.shape(value)}: give a number; for many, jax.vmap over them"
            )
        try:
            number = np.asarray(value)
            sound = bool(low <= number <= high) and number.dtype != bool
            small = not number > high
        except TypeError:
            sound, small = False, True
        if not sound:
            bound = (
                f"at least {low:g}" if high == _LARGEST and small else f"from {low:g} to {high:g}"
            )
            raise ValueError(f"{name} is {value}: give a number {bound}")


def spoken(metric: str) -> str:
    """A metric's name for people, such as balanced accuracy."""
    return SPOKEN.get(metric, metric.replace("_", " "))
