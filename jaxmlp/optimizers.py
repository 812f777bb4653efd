"""The optimizers of a training run, from optax, with the learning rate's schedule."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike

from jaxmlp.params import Params
from jaxmlp.settings import Config, Hyperparams


def make_optimizer(
    hyper: Hyperparams, config: Config, n: int
) -> optax.GradientTransformationExtraArgs:
    """The optax optimizer of a run over `n` examples; hyperparameters may be traced."""
    in_epoch = -(-n // config.batch_size)
    steps = max(2, config.epochs * in_epoch)
    warmup = -(-steps // 20)
    schedules = {
        "constant": optax.constant_schedule(1.0),
        "adaptive": optax.constant_schedule(1.0),  # `training.fallen` makes it smaller
        "invscaling": lambda count: (count // in_epoch * n + 1.0) ** -hyper.power,
        "cosine": optax.cosine_decay_schedule(1.0, steps),
        "warmup_cosine": optax.warmup_cosine_decay_schedule(1 / warmup, 1.0, warmup, steps),
    }
    shape = schedules[config.schedule]

    def learning_rate(count: ArrayLike) -> Array:
        return jnp.asarray(hyper.learning_rate * shape(count))

    def weights(params: Params) -> Any:  # by name, since rows of them may be given one by one
        return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].name == "weight", params)

    decay = optax.add_decayed_weights(hyper.weight_decay, mask=weights)
    if config.optimizer in ("sgd", "nesterov"):
        ahead = config.optimizer == "nesterov"
        return optax.chain(decay, optax.sgd(learning_rate, hyper.momentum, nesterov=ahead))
    adam = optax.scale_by_adam(hyper.momentum, hyper.beta2, hyper.epsilon)
    parts = (decay, adam) if config.optimizer == "adam" else (adam, decay)
    return optax.chain(*parts, optax.scale_by_learning_rate(learning_rate))
