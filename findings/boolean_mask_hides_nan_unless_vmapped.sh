#!/usr/bin/env bash
# jax 0.10.2, CPU: a sum that is masked by multiplying with a Boolean array is finite for one
# network, and NaN for the same network under vmap. Where the mask is False, NaN and infinity times it
# become 0 (eagerly too; the issue 12233 of jax is about that), as XLA makes a selection of the
# product. Under vmap over the factor alone, with the mask shared by all lanes, it does not, and NaN
# stays, as NumPy has it. So whoever masks padding by `* mask` trains alone, and diverges in every lane
# of an ensemble or a sweep that shares its data; `jnp.where` gives the same in both.
#
# Guess before: NaN times False is NaN everywhere, as in NumPy. Output seen:
#   NumPy: nan
#   alone: 3.0, jitted: 3.0
#   vmap, mask mapped too: [3. 3.]
#   vmap, mask shared: [nan nan]
#   vmap, mask shared, by where: [3. 3.]
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
import numpy as np


def masked(values, mask):
    return (values * mask).sum()


def chosen(values, mask):
    return jnp.where(mask, values, 0).sum()


values, mask = jnp.asarray([jnp.nan, 1.0, jnp.inf, 2.0]), jnp.asarray([False, True, False, True])
many = jnp.stack([values, values])
numpy = (np.asarray(values) * np.asarray(mask)).sum()
alone, jitted = masked(values, mask), jax.jit(masked)(values, mask)
own = jax.jit(jax.vmap(masked))(many, jnp.stack([mask, mask]))
shared = jax.jit(jax.vmap(masked, (0, None)))(many, mask)
by_where = jax.jit(jax.vmap(chosen, (0, None)))(many, mask)
print(f"NumPy: {numpy}")
print(f"alone: {alone}, jitted: {jitted}")
print(f"vmap, mask mapped too: {own}")
print(f"vmap, mask shared: {shared}")
print(f"vmap, mask shared, by where: {by_where}")
finite = [bool(np.isfinite(each).all()) for each in (numpy, alone, jitted, own, shared, by_where)]
sys.exit(finite != [False, True, True, True, False, True])
PY
