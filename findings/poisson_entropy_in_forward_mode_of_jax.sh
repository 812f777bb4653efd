#!/usr/bin/env bash
# jax 0.10.2, float64: the derivative of jax.scipy.stats.poisson.entropy in forward mode, by jax.jvp
# and jax.jacfwd, is NaN for every mean below 100, ordinary ones too. The values are right, and so are
# jax.grad and jax.hessian. From 100 on, where another formula is used, both modes are right.
#
# Guess before: what jax.grad differentiates rightly at an ordinary point, jax.jvp does, too.
# Output seen:
#   mean 0.5: grad 1.007018, jvp nan, jacfwd nan, true slope 1.007018
#   mean 3: grad 0.182431, jvp nan, jacfwd nan, true slope 0.182431
#   mean 40: grad 0.012553, jvp nan, jacfwd nan, true slope 0.012553
#   mean 120: grad 0.004172, jvp 0.004172, jacfwd 0.004172, true slope 0.004173
# Exit code 0 if it is still so, 1 if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q jax==0.10.2 jaxlib==0.10.2 scipy==1.17.1
JAX_PLATFORMS=cpu venv/bin/python -W ignore - <<'PY'
import math
import sys

import jax
from scipy import stats

jax.config.update("jax_enable_x64", True)
entropy, step = jax.scipy.stats.poisson.entropy, 1e-4
seen = []
for mean in (0.5, 3.0, 40.0, 120.0):
    ends = [stats.poisson.entropy(mean + sign * step) for sign in (1, -1)]
    true = float(ends[0] - ends[1]) / (2 * step)
    slope = float(jax.grad(entropy)(mean))
    along = float(jax.jvp(entropy, (mean,), (1.0,))[1])
    ahead = float(jax.jacfwd(entropy)(mean))
    print(
        f"mean {mean:g}: grad {slope:f}, jvp {along:f}, jacfwd {ahead:f}, "
        f"true slope {true:f}"
    )
    assert abs(slope - true) < 1e-5
    seen.append(math.isnan(along) and math.isnan(ahead))
sys.exit(seen != [True, True, True, False])
PY
