"""Rules of PyTorch, right and wrong, with what is to be said of them."""

# pyright: reportIncompatibleMethodOverride=false, reportMissingImports=false

from typing import Any, NamedTuple

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable


class TorchRule(NamedTuple):
    """A rule, arguments for it, and the kinds of what is wrong with it, if anything is."""

    name: str
    rule: Any
    arguments: tuple[Any, ...]
    kinds: tuple[str, ...] = ()


NUMBER = torch.tensor(0.7, dtype=torch.float64)
VECTOR = torch.tensor([0.4, -1.3, 0.9], dtype=torch.float64)
MATRIX = torch.tensor([[0.4, -1.3, 0.9], [1.7, 0.2, -0.6]], dtype=torch.float64)


class Saving(Function):
    """A forward pass that keeps what it is given."""

    value: Any = None

    @classmethod
    def forward(cls, ctx, *tensors):
        ctx.save_for_backward(*tensors)
        return cls.value(*tensors)


class Sine(Saving):
    value = torch.sin

    @staticmethod
    def backward(ctx, g):
        return g * torch.cos(*ctx.saved_tensors)


class SineBothModes(Sine):
    @classmethod
    def forward(cls, ctx, x):
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return torch.sin(x)

    @staticmethod
    def jvp(ctx, t):
        return t * torch.cos(*ctx.saved_tensors)


class WrongJvp(SineBothModes):
    @staticmethod
    def jvp(ctx, t):
        return -t * torch.cos(*ctx.saved_tensors)


class Factor(Sine):
    @staticmethod
    def backward(ctx, g):
        return 1.0009 * g * torch.cos(*ctx.saved_tensors)


class SmallFactor(Saving):
    """A derivative of about 10⁻⁶ is forgotten."""

    @staticmethod
    def value(x):
        return 1e-6 * torch.sin(x)

    @staticmethod
    def backward(ctx, g):
        return 0 * g


class Sign(Sine):
    @staticmethod
    def backward(ctx, g):
        return -g * torch.cos(*ctx.saved_tensors)


class Product(Saving):
    value = torch.matmul

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.T, x.T @ g


class HalfOfProduct(Product):
    @staticmethod
    def backward(ctx, g):
        _, w = ctx.saved_tensors
        return g @ w.T, None


class Once(Saving):
    """The error of a second derivative does not come where the cotangent is a constant."""

    value = torch.square

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g


class Detached(Saving):
    value = torch.square

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x.detach() * g


class Log1p(Saving):
    value = torch.log1p

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g / (1 + x)


class SincNaive(Saving):
    """sin(x)/x, whose derivative at 0 is 0, and NaN here."""

    @staticmethod
    def value(x):
        return torch.where(x == 0, 1.0, torch.sin(x) / torch.where(x == 0, 1.0, x))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (torch.cos(x) / x - torch.sin(x) / x**2)


class ReluOfOne(Saving):
    """A threshold of 1 in the value, of 0 in the derivative."""

    @staticmethod
    def value(x):
        return torch.clamp(x, min=1.0)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (x > 0)


class Viewed(Saving):
    value = torch.square

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return (2 * x.reshape(-1) * g.view(-1)).view(x.shape)


class RowByRow(Saving):
    """Reads the memory of its argument as if it were contiguous."""

    value = torch.square

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * torch.as_strided(x, x.shape, (x.shape[-1], 1)) * g


class Softmax(Saving):
    @staticmethod
    def value(x):
        return torch.softmax(x, dim=-1)

    @staticmethod
    def backward(ctx, g):
        p = torch.softmax(*ctx.saved_tensors, dim=-1)
        return p * (g - (p * g).sum(dim=-1, keepdim=True))


class SoftmaxDiagonal(Softmax):
    @staticmethod
    def backward(ctx, g):
        p = torch.softmax(*ctx.saved_tensors, dim=-1)
        return g * p * (1 - p)


class Absolute(Saving):
    value = torch.abs

    @staticmethod
    def backward(ctx, g):
        return g * torch.sign(*ctx.saved_tensors)


NOT_FINITE = "NaN or infinite where the derivative is finite"
BY_MEMORY = "another result under a transformation"
RULES = [
    TorchRule("sine", Sine, (NUMBER,)),
    TorchRule("sine in both modes", SineBothModes, (VECTOR,)),
    TorchRule("product", Product, (MATRIX, MATRIX.T.contiguous())),
    TorchRule("softmax", Softmax, (VECTOR,)),
    TorchRule("absolute value", Absolute, (NUMBER,)),
    TorchRule("log1p", Log1p, (NUMBER,)),
    TorchRule("made of a rule", lambda x: Sine.apply(x) ** 2, (VECTOR,)),
    TorchRule("factor 1.0009", Factor, (NUMBER,), ("wrong",)),
    TorchRule("small derivative forgotten", SmallFactor, (NUMBER,), ("missing",)),
    TorchRule("sign", Sign, (VECTOR,), ("wrong sign",)),
    TorchRule("forward mode's sign", WrongJvp, (NUMBER,), ("wrong sign",)),
    TorchRule("weight forgotten", HalfOfProduct, (MATRIX, MATRIX.T.contiguous()), ("missing",)),
    TorchRule("once_differentiable", Once, (NUMBER,), ("second order wrong",)),
    TorchRule("saved value detached", Detached, (NUMBER,), ("second order wrong",)),
    TorchRule("NaN at 0", SincNaive, (NUMBER,), (NOT_FINITE, "precision lost")),
    TorchRule("another threshold", ReluOfOne, (NUMBER,), ("wrong",)),
    TorchRule("view of the cotangent", Viewed, (MATRIX,), ("rule missing or raising",)),
    TorchRule("memory as if contiguous", RowByRow, (MATRIX,), (BY_MEMORY,)),
    TorchRule("diagonal of softmax alone", SoftmaxDiagonal, (VECTOR,), ("missing",)),
    TorchRule("made of a wrong rule", lambda x: Factor.apply(x) * 2, (NUMBER,), ("wrong",)),
]
