#!/usr/bin/env bash
# jax 0.10.2: jax.scipy.special.xlogy(n, y) cannot be differentiated in y if n is an integer, in
# either mode: TypeError about a float0 array, though the value is there, and xlog1py takes the same.
# The rule multiplies the tangent of n, which an integer has none of. jax.scipy.stats has such integers
# inside: gumbel_r.ppf and gumbel_l.ppf raise it for all arguments, so Gumbel quantiles have no
# derivative at all.
#
# Guess before: an integer argument counts as a constant, as it does in x * jnp.log(y).
# Output seen:
#   xlogy(2, y) at 0.3: TypeError: Called multiply with a float0 array
#   xlogy(2.0, y) at 0.3: 6.666667
#   2 * log(y) at 0.3: 6.666667
#   xlog1py(2, y) at 0.3: TypeError: Called multiply with a float0 array
#   gumbel_r.ppf at 0.3: TypeError: Called multiply with a float0 array
#   gumbel_l.ppf at 0.3: TypeError: Called multiply with a float0 array
#   gumbel_r.cdf at 0.3: 0.353166
# Exit code 0 if it is still so, 1 if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu venv/bin/python -W ignore - <<'PY'
import sys

import jax
import jax.numpy as jnp
from jax.scipy import stats
from jax.scipy.special import xlog1py, xlogy

functions = {
    "xlogy(2, y)": lambda y: xlogy(2, y),
    "xlogy(2.0, y)": lambda y: xlogy(2.0, y),
    "2 * log(y)": lambda y: 2 * jnp.log(y),
    "xlog1py(2, y)": lambda y: xlog1py(2, y),
    "gumbel_r.ppf": stats.gumbel_r.ppf,
    "gumbel_l.ppf": stats.gumbel_l.ppf,
    "gumbel_r.cdf": stats.gumbel_r.cdf,
}
raising = []
for name, function in functions.items():
    assert jnp.isfinite(function(0.3))
    try:
        said = f"{float(jax.grad(function)(0.3)):f}"
    except TypeError as error:
        said = f"TypeError: {str(error).partition('.')[0]}"
        raising.append(name)
    print(f"{name} at 0.3: {said}")
sys.exit(not {"xlogy(2, y)", "gumbel_r.ppf", "gumbel_l.ppf"} <= {*raising})
PY
