"""Sweeps: any hyperparameter, one program, one labelled table."""

from jaxmlp.sweeps.choosing import Best, Ensemble, best, ensemble, params_at
from jaxmlp.sweeps.replaying import Replay, replay
from jaxmlp.sweeps.space import choice, loguniform, uniform
from jaxmlp.sweeps.sweeping import Progress, sweep
from jaxmlp.sweeps.tasks import Task
from jaxmlp.sweeps.trainings import state_at

__all__ = [
    "Best",
    "Ensemble",
    "Progress",
    "Replay",
    "Task",
    "best",
    "choice",
    "ensemble",
    "loguniform",
    "params_at",
    "replay",
    "state_at",
    "sweep",
    "uniform",
]
