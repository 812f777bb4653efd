#!/usr/bin/env bash
# tfp-nightly 0.26.0.dev20261027 on jax 0.10.2, in float64: math.special.betaincinv(a, b, p), and so
# Beta(a, b).quantile(p), is wrong at exactly p = 1/2: the median of Beta(1.5, 0.5) comes out as 0.8717
# for 0.8368. A millionth beside 1/2 it is right to ten digits; in float32 some medians are right and
# some are not. numpyro 0.22.0 makes StudentT(df).icdf of it, whose quartiles, at q = 1/4 and 3/4,
# are so wrong for every df: -0.6646 for -0.7649 at df = 3. It showed as a derivative that jumps there.
#
# Guess before: the median is the easiest probability of all to invert, and right to rounding.
# Output seen:
#   Beta(2, 3): quantile(1/2) 0.390087 for 0.385728, quantile(1/2 + 1e-6) 0.385728 for 0.385728
#   Beta(1.5, 0.5): quantile(1/2) 0.871655 for 0.836806, quantile(1/2 + 1e-6) 0.836807 for 0.836807
#   StudentT(1): icdf(1/4) -1.273240 for -1.000000, icdf(1/4 + 1e-6) -0.999994 for -0.999994
#   StudentT(3): icdf(1/4) -0.664628 for -0.764892, icdf(1/4 + 1e-6) -0.764889 for -0.764889
# Exit code 0 if it is still so, 1 if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q tfp-nightly==0.26.0.dev20261027 numpyro==0.22.0 jax==0.10.2 jaxlib==0.10.2 \
    scipy==1.17.1
JAX_PLATFORMS=cpu venv/bin/python -W ignore - <<'PY'
import sys

import jax
import jax.numpy as jnp
import numpyro.distributions as numpyro
import tensorflow_probability.substrates.jax.distributions as tfp
from scipy import stats

jax.config.update("jax_enable_x64", True)
# of each: its name, the quantile that is asked, and scipy's
rows = []
for a, b in ((2.0, 3.0), (1.5, 0.5)):
    beta = tfp.Beta(jnp.float64(a), jnp.float64(b))
    rows.append((f"Beta({a:g}, {b:g}): quantile(1/2", 0.5, beta.quantile, stats.beta(a, b).ppf))
for df in (1.0, 3.0):
    rows.append((f"StudentT({df:g}): icdf(1/4", 0.25, numpyro.StudentT(df).icdf, stats.t(df).ppf))
seen = []
for name, q, ours, scipys in rows:
    at, beside = ((float(ours(jnp.float64(p))), scipys(p)) for p in (q, q + 1e-6))
    print(
        f"{name}) {at[0]:.6f} for {at[1]:.6f}, {name.partition(': ')[2]} + 1e-6) "
        f"{beside[0]:.6f} for {beside[1]:.6f}"
    )
    seen.append(abs(at[0] - at[1]) > 1e-3 and abs(beside[0] - beside[1]) < 1e-8)
sys.exit(not all(seen))
PY
