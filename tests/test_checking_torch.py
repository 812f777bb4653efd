"""`check_rule` on PyTorch's rules; needs PyTorch: the extra `peers`."""

import pytest

torch = pytest.importorskip("torch", reason="rules of PyTorch: the extra `peers`")
from jaxmlp.checking import check_rule  # noqa: E402
from jaxmlp.checking.rules.check import examine_rule  # noqa: E402
from tests import torch_rules  # noqa: E402

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("given", torch_rules.RULES, ids=lambda given: given.name)
def test_rules(given):
    report = examine_rule(given.rule, *given.arguments)
    assert sorted(report.kinds) == sorted(given.kinds), report


def test_a_rule_is_named_wherever_it_is_used():
    report = examine_rule(lambda x: torch_rules.Factor.apply(x) + 1, torch_rules.NUMBER)
    assert report.rules == ("Factor",)
    assert "it has no forward mode" in report.remarks


def test_arguments_that_do_not_move():
    class Power(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, exponent):
            ctx.save_for_backward(x)
            ctx.exponent = exponent
            return x**exponent

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * ctx.exponent * x ** (ctx.exponent - 1), None

    assert check_rule(Power, torch_rules.NUMBER, 3).passed
    with pytest.raises(ValueError, match="no argument of Power moves"):
        check_rule(Power, 2.0, 3)


def test_a_context_that_is_set_up_apart():
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x**3

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * x**2 * g

    assert check_rule(Cube, torch_rules.NUMBER, domain={"x": (-2.0, 2.0)}).passed
