"""scikit-learn's parameters of a network, checked."""

from numbers import Integral, Real
from typing import Any

import numpy as np

NAMES = {
    "activation": ("identity", "logistic", "tanh", "relu", "gelu"),
    "solver": ("adam", "sgd", "adamw", "lbfgs"),
    "learning_rate": ("constant", "cosine", "warmup_cosine", "invscaling", "adaptive"),
}
BELOW_ONE = ("momentum", "beta_1", "beta_2")
ENDLESS = ("alpha", "learning_rate_init", "tol", "epsilon", "power_t")
NUMBERS = dict.fromkeys(BELOW_ONE, 1) | dict.fromkeys(ENDLESS, np.inf)
TRUTHS = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping")
COUNTS = {"max_iter": False, "n_iter_no_change": True, "max_fun": False}  # whether without end


def check_parameters(network: Any) -> None:
    """Raise ValueError for a parameter of scikit-learn's that means nothing here."""
    for name, known in NAMES.items():
        if (value := getattr(network, name)) not in known:
            raise ValueError(f"{name} is {value!r}: give one of {', '.join(known)}")
    for name, end in NUMBERS.items():
        value: Any = getattr(network, name)
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) < end:
            below = "" if np.isinf(end) else f" and below {end:g}"
            raise ValueError(f"{name} is {value!r}: give a number from 0 on{below}")
    for name in TRUTHS:
        if not isinstance(value := getattr(network, name), (bool, np.bool_)):
            raise ValueError(f"{name} is {value!r}: give True or False")
    if network.learning_rate_init == 0:
        raise ValueError("learning_rate_init is 0, with which nothing is learnt: give more")
    widths = network.hidden_layer_sizes
    listed = [widths] if isinstance(widths, Integral) else widths
    if not (
        isinstance(listed, (list, tuple, np.ndarray))
        and all(isinstance(each, Integral) and int(each) > 0 for each in listed)
    ):
        raise ValueError(f"hidden_layer_sizes is {widths!r}: give integers ≥ 1, as (64, 32)")
    for name, endless in COUNTS.items():
        value = getattr(network, name)
        if endless and isinstance(value, float) and value == np.inf:
            continue
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            more = " or np.inf" if endless else ""
            raise ValueError(f"{name} is {value!r}: give an integer ≥ 1{more}")
    share: Any = network.validation_fraction
    if network.early_stopping and not (isinstance(share, (int, float)) and 0 < share < 1):
        raise ValueError(f"validation_fraction is {share!r}: give a share between 0 and 1")
