"""Sweeps: any hyperparameter, one program, one labelled table."""

from jaxmlp.sweeps.choosing import Best, Replay, best, replay
from jaxmlp.sweeps.space import choice, loguniform, uniform
from jaxmlp.sweeps.sweeping import Progress, sweep

__all__ = [
    "Best",
    "Progress",
    "Replay",
    "best",
    "choice",
    "loguniform",
    "replay",
    "sweep",
    "uniform",
]
