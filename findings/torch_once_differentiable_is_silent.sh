#!/usr/bin/env bash
# torch 2.13.0 (CPU build): a backward pass marked `once_differentiable` is meant to raise when it is
# differentiated again. It does not where the gradient that comes in needs no gradient itself, as after
# a sum, and never in torch.autograd.grad with the inputs named, nor in torch.autograd.functional.hessian
# and hvp: its share of the second derivative is 0 there, without a word. `.backward()` raises in one of
# the cases. So a gradient penalty through such a rule trains without its term.
#
# Guess before: every way to a second derivative through such a rule raises. Output seen, for x² at 3:
#   d/dx (x² + (dx²/dx)²) by grad: 6, true 30
#   the same after a factor that needs a gradient: 12, true 108
#   the same by backward: RuntimeError: trying to differentiate twice a function that was marked with @once_differentiable
#   hessian of x²: 0, true 2
# Exit code 0 if it is still so, 1 if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q torch==2.13.0 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
import sys

import torch
from torch.autograd import Function, grad
from torch.autograd.function import once_differentiable


class Square(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g


def penalised(factor):
    """The point, and c x² + (d c x²/dx)² there, whose derivative is 2 c x + 8 c² x."""
    x = torch.tensor(3.0, requires_grad=True)
    y = Square.apply(x) * factor
    (slope,) = grad(y, x, create_graph=True)
    return x, y + slope**2


x, total = penalised(1.0)
plain = float(grad(total, x)[0])
print(f"d/dx (x² + (dx²/dx)²) by grad: {plain:g}, true 30")
x, total = penalised(torch.tensor(2.0, requires_grad=True))
scaled = float(grad(total, x)[0])
print(f"the same after a factor that needs a gradient: {scaled:g}, true 108")
x, total = penalised(torch.tensor(2.0, requires_grad=True))
try:
    total.backward()
    raised = ""
except RuntimeError as error:
    raised = str(error)
print(f"the same by backward: RuntimeError: {raised}")
hessian = float(torch.autograd.functional.hessian(Square.apply, torch.tensor(3.0)))
print(f"hessian of x²: {hessian:g}, true 2")
sys.exit(not (plain == 6 and scaled == 12 and "twice" in raised and hessian == 0))
PY
