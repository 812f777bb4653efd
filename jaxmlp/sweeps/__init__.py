"""Sweeps: any hyperparameter, one program, one labelled table."""

from jaxmlp.sweeps.choosing import Best, Ensemble, Replay, best, ensemble, params_at, replay
from jaxmlp.sweeps.space import choice, loguniform, uniform
from jaxmlp.sweeps.sweeping import Progress, sweep

__all__ = [
    "Best",
    "Ensemble",
    "Progress",
    "Replay",
    "best",
    "choice",
    "ensemble",
    "loguniform",
    "params_at",
    "replay",
    "sweep",
    "uniform",
]
