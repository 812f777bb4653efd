"""The checks as pytest fixtures: `pytest_plugins = ["jaxmlp.checking.fixtures"]` in conftest.py."""

from collections.abc import Callable

import pytest

from jaxmlp import checking
from jaxmlp.checking import Report, RuleReport


@pytest.fixture(scope="session")
def check_gradient() -> Callable[..., Report]:
    """`jaxmlp.checking.check_gradient`: fails with the diagnosis if a gradient is wrong."""
    return checking.check_gradient


@pytest.fixture(scope="session")
def check_hvp() -> Callable[..., Report]:
    """`jaxmlp.checking.check_hvp`, the same for a Hessian-vector product."""
    return checking.check_hvp


@pytest.fixture(scope="session")
def check_lines() -> Callable[..., Report]:
    """`jaxmlp.checking.check_lines`, the same for a derivation line by line."""
    return checking.check_lines


@pytest.fixture(scope="session")
def check_rule() -> Callable[..., RuleReport]:
    """`jaxmlp.checking.check_rule`: fails with the findings if a derivative rule is wrong."""
    return checking.check_rule
