"""Check a hand-written gradient: which line is wrong, why, and on what smallest network."""

from jaxmlp.checking.check import GradientMismatch, check_gradient
from jaxmlp.checking.taps import tap

__all__ = ["GradientMismatch", "check_gradient", "tap"]
