#!/usr/bin/env bash
# torch 2.13.0 (CPU build): torch.vander, the matrix of the powers of a vector, cannot be differentiated
# in reverse mode from two columns on: backward raises that a variable was modified in place, though
# nothing was, outside of torch.vander. Forward mode is right, and so is torch.linalg.vander, the newer
# function for the same matrix with ascending powers, in both modes.
#
# Guess before: a function that is said to be differentiable has a backward pass. Output seen, for the
# slopes of the sum of all powers at 0.3, 0.7 and 1.2:
#   torch.vander, N = 2: backward raises RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation
#   torch.vander, N = 3: backward raises RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation
#   torch.vander, N = 3: forward [1.6, 2.4, 3.4]
#   torch.linalg.vander, N = 3: backward [1.6, 2.4, 3.4]
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
from torch.func import jacfwd

points = torch.tensor([0.3, 0.7, 1.2], dtype=torch.float64)


def backward(vander, n):
    x = points.clone().requires_grad_()
    try:
        vander(x, N=n).sum().backward()
    except RuntimeError as error:
        return f"raises RuntimeError: {str(error).partition(':')[0]}"
    return [round(v, 9) for v in x.grad.tolist()]


found = {n: backward(torch.vander, n) for n in (2, 3)}
forward = [round(v, 9) for v in jacfwd(lambda x: torch.vander(x, N=3).sum())(points).tolist()]
newer = backward(torch.linalg.vander, 3)
for n, said in found.items():
    print(f"torch.vander, N = {n}: backward {said}")
print(f"torch.vander, N = 3: forward {forward}")
print(f"torch.linalg.vander, N = 3: backward {newer}")
right = [1.6, 2.4, 3.4]
raised = ["inplace" in said for said in found.values()]
sys.exit(not (all(raised) and forward == newer == right))
PY
