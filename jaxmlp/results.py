"""What a training run leaves: its metrics, its best epoch, and how both are shown."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.core
import numpy as np
from jaxtyping import Array, Float

from jaxmlp.params import Params
from jaxmlp.settings import Config, Hyperparams, spoken

if TYPE_CHECKING:
    from jaxmlp.plots import Picture

# of the learning rate, for `schedule="adaptive"`, by scikit-learn's numbers
FALL = np.float32(5)
SMALLEST = np.float32(1e-6)

_LOWEST = np.float32(-np.inf), np.float32(-np.inf)  # of `decisive`, before the first epoch


class Metrics(NamedTuple):
    """What is measured once an epoch; scalars for one epoch, shape (epochs,) for a run.

    Attributes:
        train_loss: mean over the epoch's examples, each at the parameters that its step
            started from and with its augmented label, in nats, or as the loss has it.
        validation_loss: on the validation part after the epoch.
        validation_score: likewise, the metric that is measured: by default the accuracy, a share
            in [0, 1], or R² for real targets.
    """

    train_loss: Float[Array, "..."]
    validation_loss: Float[Array, "..."]
    validation_score: Float[Array, "..."]

    @property
    def validation_accuracy(self) -> Float[Array, "..."]:
        """The score by its usual name."""
        return self.validation_score


def metric_names(config: Config) -> tuple[str, ...]:
    """What the fields of `Metrics` are called in files and tables."""
    return ("train_loss", "validation_loss", f"validation_{config.measured}")


@jax.tree_util.register_static
@dataclass(frozen=True)
class Names:
    """What the numbers of a run are called; no leaf of a tree, so that it goes through `jax.vmap`.

    Attributes:
        metric, loss: what is measured beside the loss, and the loss, as `Config` names them.
        training: the name of the training loss. It does not count in comparisons, so that runs
            with and without soft labels are trees of the same kind, which can be stacked.
    """

    metric: str = "accuracy"
    loss: str = "softmax"
    training: str = field(default="training", compare=False)


def names_of(hyper: Hyperparams, config: Config) -> Names:
    """The names for a run; a traced smoothing may soften the labels or not."""
    smoothing = hyper.label_smoothing
    unknown = isinstance(smoothing, jax.core.Tracer)
    training = "training, maybe soft labels" if unknown else "training"
    if config.augmentation != "none" or (not unknown and smoothing > 0):
        training = "training, soft labels"
    return Names(config.measured, config.loss, training)


class Result(NamedTuple):
    """A finished run, or under `jax.vmap` several, with one more axis in front of each array.

    Attributes:
        params: after the last epoch; with patience, after the best one.
        metrics: of every epoch.
        best_epoch: with patience, which one was the best, from 1.
        names: what the metrics are called.
    """

    params: Params
    metrics: Metrics
    best_epoch: int | None = None
    names: Names = Names()

    def __repr__(self) -> str:
        """Such as Result(20 epochs, at last train loss 0.03, …); no arrays."""
        shape = getattr(self.metrics.train_loss, "shape", ())
        if not shape or 0 in shape:
            return f"Result({self.metrics!r})"
        runs = f"{np.prod(shape[:-1])} runs of " if shape[1:] else ""
        text = f"{runs}{shape[-1]} epoch{'s' * (shape[-1] > 1)}"
        if not all(map(_readable, self.metrics)):
            return f"Result({text})"
        at = self.best_epoch or shape[-1]
        last = [np.asarray(each)[..., at - 1].ravel() for each in self.metrics]
        called = ("train loss", "validation loss", f"validation {spoken(self.names.metric)}")
        figures = ", ".join(f"{name} {_range(x)}" for name, x in zip(called, last, strict=True))
        diverged = np.count_nonzero(~np.isfinite(last).all(axis=0)) if runs else 0
        where = f"the best was epoch {at}:" if self.best_epoch else "at last"
        return f"Result({text}, {where} {figures}{f', {diverged} diverged' if diverged else ''})"

    def plot(self, title: str = "") -> "Picture":
        """The losses and the metric over the epochs, a Matplotlib figure that a notebook shows.

        Args:
            title: what was trained.

        Raises:
            ValueError: if these are several runs, or values that are not known yet.
        """
        shape = np.shape(self.metrics.train_loss)
        if len(shape) != 1:
            raise ValueError(
                f"the losses have shape {shape}, which is not one run: choose one, by "
                "jax.tree.map(lambda array: array[0], result)"
            )
        if not all(map(_readable, self.metrics)):
            raise ValueError("the losses have no values here: plot outside of jax.vmap and jax.jit")
        from jaxmlp import plots  # Matplotlib takes a while, and most runs need no picture

        epochs, curves = np.arange(1, 1 + shape[0]), map(np.asarray, self.metrics)
        return plots.learning_curves(epochs, *curves, title=title, **asdict(self.names))


def _readable(array: Any) -> bool:
    """Whether it is an array whose values can be had here and now."""
    if not isinstance(array, jax.Array):
        return isinstance(array, np.ndarray)
    traced = isinstance(array, jax.core.Tracer)
    return not traced and not array.is_deleted() and array.is_fully_addressable


def _range(values: np.ndarray) -> str:
    """One number, or from the smallest to the largest that is one."""
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return f"{finite[0] if len(finite) else values[0]:.4f}"
    return f"{finite.min():.4f} to {finite.max():.4f}"


def decisive(metrics: Metrics, config: Config) -> tuple[Any, Any]:
    """What decides about the best epoch, the larger, the better; and between epochs equal in it."""
    if config.monitor == "training":
        return -metrics.train_loss, -metrics.train_loss
    score = -metrics.validation_loss if config.metric == "loss" else metrics.validation_score
    return score, score if config.monitor == "score" else -metrics.validation_loss


def exceeds(now: Sequence[Any], highest: Sequence[Any], by: Any = 0) -> Any:
    """Whether the numbers of `decisive` are better than others, by more than that."""
    (score, tie), (top, top_tie) = now, highest
    return (score > top + by) | ((score == top) & (tie > top_tie + by))


def _of_each_epoch(metrics: Metrics, config: Config) -> Iterator[tuple[Any, Any]]:
    """The numbers of `decisive`, as `keep_best` compares them."""
    return zip(*np.asarray(decisive(metrics, config), np.float32), strict=True)


def best_epoch_of(metrics: Metrics, config: Config) -> int | None:
    """The best epoch of some curves, from 1; None without patience, or if all is NaN."""
    if not config.patience:
        return None
    found, highest = None, _LOWEST
    for epoch, now in enumerate(_of_each_epoch(metrics, config), 1):
        if exceeds(now, highest):
            found, highest = epoch, now
    return found


def last_epoch(metrics: Metrics, config: Config, hyper: Hyperparams) -> int | None:
    """After which epoch, from 1, the patience is over, as `keep_best` counts; None if it is not.

    Args:
        metrics: of every epoch, shape (epochs,).
        config, hyper: with a patience.
    """
    tolerance, rate, share = map(np.float32, (hyper.tolerance, hyper.learning_rate, 1))
    highest, since = _LOWEST, 0
    for epoch, now in enumerate(_of_each_epoch(metrics, config), 1):
        since = 0 if exceeds(now, highest, tolerance) else since + 1
        highest = now if exceeds(now, highest) else highest
        if since >= config.patience:
            if config.schedule != "adaptive" or rate * share <= SMALLEST:
                return epoch
            since, share = 0, share / FALL
    return None
