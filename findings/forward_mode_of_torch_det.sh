#!/usr/bin/env bash
# torch 2.13.0 (CPU build), float64: in forward mode the derivative of torch.linalg.det at a singular
# matrix is 0 in every entry, where reverse mode gives the cofactors, which are right: torch.func.jvp and
# jacfwd, and forward_ad beneath them. Beside a singular matrix, by 1e-9, both modes agree. So a check
# of one mode against the other, or a Newton step by jacfwd, starts from 0 exactly where a determinant
# is pushed away from 0.
#
# Guess before: both modes use one formula, and are right or wrong together. Output seen:
#   diag(1, 2, 0): backward [0, 0, 2] on the diagonal, forward [0, 0, 0]
#   diag(0, 2, 3): backward [6, 0, 0] on the diagonal, forward [0, 0, 0]
#   two equal rows: backward off by 2e-15, forward off by 4e+00
#   1e-9 beside it: backward off by 9e-16, forward off by 0e+00
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
from torch.func import grad, jacfwd

det = torch.linalg.det


def matrix(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def cofactors(m):
    """Of each entry, the signed determinant of what is left without its row and column."""
    n = len(m)
    keep = [[i for i in range(n) if i != k] for k in range(n)]
    minors = [[float(det(m[keep[i]][:, keep[j]])) * (-1) ** (i + j) for j in range(n)] for i in range(n)]
    return matrix(*minors)


found = []
for diagonal in ([1.0, 2.0, 0.0], [0.0, 2.0, 3.0]):
    m = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    shown = [[round(v) for v in of(det)(m).diagonal().tolist()] for of in (grad, jacfwd)]
    names = ", ".join(f"{v:g}" for v in diagonal)
    print(f"diag({names}): backward {shown[0]} on the diagonal, forward {shown[1]}")
    found.append(any(shown[0]) and not any(shown[1]))
equal_rows = matrix([1.0, 2.0], [1.0, 2.0]) * 2
for name, m in (("two equal rows", equal_rows), ("1e-9 beside it", equal_rows + matrix([1e-9, 0], [0, 0]))):
    off = [float((of(det)(m) - cofactors(m)).abs().max()) for of in (grad, jacfwd)]
    print(f"{name}: backward off by {off[0]:.0e}, forward off by {off[1]:.0e}")
    found.append(off[0] < 1e-6 and (off[1] > 1) == (name == "two equal rows"))
sys.exit(not all(found))
PY
