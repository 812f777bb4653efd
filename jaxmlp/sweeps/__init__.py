"""Sweeps: any hyperparameter, one program, one labelled table."""

from jaxmlp.sweeps.space import choice, loguniform, uniform
from jaxmlp.sweeps.sweeping import Progress, sweep

__all__ = ["Progress", "choice", "loguniform", "sweep", "uniform"]
