"""What settings refuse, and that they are what the compiled program needs them to be."""

from typing import get_args, get_type_hints

import jax
import numpy as np
import pytest

from jaxmlp import Config, Hyperparams
from jaxmlp.activations import ACTIVATIONS
from jaxmlp.settings import check_hyperparams


@pytest.mark.usefixtures("as_users_see_it")
def test_config_is_hashable_even_from_a_list():
    assert Config(hidden=[np.int64(3), 4]) == Config(hidden=(3, 4))
    assert hash(Config(hidden=[3, 4])) == hash(Config(hidden=(3, 4)))


def test_every_activation_can_be_chosen():
    assert get_args(get_type_hints(Config)["activation"]) == tuple(ACTIVATIONS)


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hidden", (3, 0), r"hidden is \(3, 0\): give integers ≥ 1"),
        ("hidden", 3, "hidden is 3: give integers"),
        ("hidden", ("a",), "hidden is"),
        ("activation", "swish", "unknown activation 'swish': choose one of relu, tanh"),
        ("optimizer", "lion", "unknown optimizer 'lion': choose one of sgd, nesterov, adam, adamw"),
        ("schedule", "step", "unknown schedule 'step'"),
        ("augmentation", "cutout", "unknown augmentation 'cutout'"),
        ("gradient", "numeric", "unknown gradient 'numeric'"),
        ("batch_size", 0, "batch_size is 0: give an integer ≥ 1"),
        ("batch_size", 2.5, "batch_size is 2.5"),
        ("batch_size", True, "batch_size is True"),
        ("epochs", 0, "epochs is 0: give an integer ≥ 1"),
        ("data_seed", -1, "data_seed is -1: give an integer ≥ 0"),
        ("data_seed", 10**20, "data_seed is 1000"),
        ("bias", "no", "bias is 'no': give True or False"),
    ],
)
def test_config_refuses(name, value, message):
    with pytest.raises(ValueError, match=message):
        Config(**{name: value})


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("learning_rate", -0.1, "learning_rate is -0.1: give a number at least 0"),
        ("learning_rate", float("nan"), "learning_rate is nan"),
        ("learning_rate", float("inf"), "learning_rate is inf"),
        ("learning_rate", "fast", "learning_rate is fast"),
        ("momentum", 1.0, "momentum is 1.0: give a number from 0 to 0.999999"),
        ("weight_decay", -1e-9, "weight_decay is"),
        ("init_scale", -1.0, "init_scale is"),
        ("label_smoothing", 1.5, "label_smoothing is 1.5: give a number from 0 to 1"),
        ("mixup_alpha", 0.0, "mixup_alpha is 0.0: give a number at least 0.001"),
        ("learning_rate", np.ones(2), r"learning_rate has shape \(2,\): give a number; for many"),
    ],
)
def test_hyperparams_refuse(name, value, message):
    with pytest.raises(ValueError, match=message):
        check_hyperparams(Hyperparams()._replace(**{name: value}))


@pytest.mark.usefixtures("as_users_see_it")
def test_hyperparams_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="hyper is a dict: give jaxmlp"):
        check_hyperparams({"learning_rate": 0.1})


def test_traced_hyperparams_pass():
    jax.jit(lambda rate: check_hyperparams(Hyperparams(learning_rate=rate)))(0.1)
