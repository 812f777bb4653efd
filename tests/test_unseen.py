"""The checker on mistakes that were not made with it in mind; needs PyTorch, as some of them do."""

import pytest

from jaxmlp.checking import check_gradient
from jaxmlp.checking.check import examine
from tests.strategies import LONG

pytest.importorskip("torch", reason="some of them are written in PyTorch: the extra `peers`")
from tests import unseen

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("as_users_see_it", "as_people_run_it")]


@pytest.mark.parametrize(
    "mistake", unseen.MISTAKES[:: 1 if LONG else 20], ids=lambda mistake: mistake.name
)
def test_mistakes_are_caught_and_located(mistake):
    report = examine(mistake.grad, activation=mistake.activation)
    assert not report.passed
    assert report.diagnosis
    if mistake.name == "zero_grad_forgotten":  # which befalls every leaf
        assert report.diagnosis.equations == mistake.lines
        return
    (equation,) = report.diagnosis.equations
    assert equation in mistake.lines, report


@pytest.mark.parametrize("right", unseen.RIGHT[:: 1 if LONG else 10], ids=lambda right: right.name)
def test_right_gradients_pass(right):
    check_gradient(right.grad, activation=right.activation)
