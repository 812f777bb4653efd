#!/usr/bin/env bash
# jax 0.10.2: jax.grad of jax.scipy.special.spence is NaN for every z in (1, 2], and 0 at z = 1, where
# the derivative is log(z)/(1 - z), which is -1 at z = 1 (its limit). The values are right everywhere,
# jax.jvp gives the right slope in (1, 2], and 0 at z = 1, too. Below 1 and above 2 all is right. In
# an array, only the entries in (1, 2] are NaN.
#
# Guess before: reverse and forward mode agree wherever the value is finite, as the function has no
# rule of its own and no pole there. Output seen:
#   z = 0.6: grad -1.277064, jvp -1.277064, true -1.277064
#   z = 1: grad 0.000000, jvp 0.000000, true -1.000000
#   z = 1.1: grad nan, jvp -0.953102, true -0.953102
#   z = 1.6: grad nan, jvp -0.783339, true -0.783339
#   z = 2: grad nan, jvp -0.693147, true -0.693147
#   z = 2.5: grad -0.610860, jvp -0.610860, true -0.610860
# Exit code 0 if it is still so, 1 if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu venv/bin/python -W ignore - <<'PY'
import math
import sys

import jax

jax.config.update("jax_enable_x64", True)
spence = jax.scipy.special.spence
wrong = []
for z in (0.6, 1.0, 1.1, 1.6, 2.0, 2.5):
    true = math.log(z) / (1 - z) if z != 1 else -1.0
    got = float(jax.grad(spence)(z))
    along = float(jax.jvp(spence, (z,), (1.0,))[1])
    print(f"z = {z:g}: grad {got:f}, jvp {along:f}, true {true:f}")
    wrong.append((math.isnan(got), abs(along - true) > 0.1))
expected = [(False, False), (False, True), *[(True, False)] * 3, (False, False)]
sys.exit(wrong != expected)
PY
