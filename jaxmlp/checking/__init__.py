"""Check a hand-written gradient: which line is wrong, why, and on what smallest network."""

from jaxmlp.checking.check import check_gradient
from jaxmlp.checking.hvp import check_hvp
from jaxmlp.checking.lines import check_lines
from jaxmlp.checking.oracles import compare_oracles
from jaxmlp.checking.report import GradientMismatch, Report
from jaxmlp.checking.rules.check import check_rule
from jaxmlp.checking.rules.report import RuleMismatch, RuleReport
from jaxmlp.checking.taps import tap

__all__ = [
    "GradientMismatch",
    "Report",
    "RuleMismatch",
    "RuleReport",
    "check_gradient",
    "check_hvp",
    "check_lines",
    "check_rule",
    "compare_oracles",
    "tap",
]
