#!/usr/bin/env bash
# jax 0.10.2 (seen with 0.12.0.1 too), CPU: the gradient of many bfloat16 weight matrices on shared
# inputs cannot be run. xᵀd with factors in bfloat16 and sums in float32
# (preferred_element_type=float32) works for one network, and under vmap where every network has
# inputs of its own. Under vmap over d alone, with x shared, as in an ensemble or a sweep, it compiles
# and then raises JaxRuntimeError: UNIMPLEMENTED: Unsupported element type for DotThunk::Execute.
# The same product written as (dᵀx)ᵀ runs, and so does the one on factors cast to float32.
#
# Guess before: what compiles on a CPU runs, and vmap changes speed alone. Output seen:
#   one network: runs
#   own inputs: runs
#   shared inputs: UNIMPLEMENTED: Unsupported element type for DotThunk::Execute: BF16 x BF16 = F32
#   shared inputs, transposed: runs
# Exit code 0 if it is still so, 1 if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu venv/bin/python - <<'PY'
import sys

import jax
import jax.numpy as jnp


def product(x, d):
    return jnp.matmul(x.T, d, preferred_element_type=jnp.float32)


def transposed(x, d):
    return jnp.matmul(d.T, x, preferred_element_type=jnp.float32).T


x, d = jnp.ones((12, 24), jnp.bfloat16), jnp.ones((3, 12, 16), jnp.bfloat16)
cases = {
    "one network": (product, x, d[0]),
    "own inputs": (jax.vmap(product), jnp.stack([x] * 3), d),
    "shared inputs": (jax.vmap(product, (None, 0)), x, d),
    "shared inputs, transposed": (jax.vmap(transposed, (None, 0)), x, d),
}
fails = []
for name, (function, *arguments) in cases.items():
    try:
        jax.block_until_ready(jax.jit(function)(*arguments))
        print(f"{name}: runs")
    except jax.errors.JaxRuntimeError as error:
        print(f"{name}: {str(error).splitlines()[0]}")
        fails.append(name)
sys.exit(fails != ["shared inputs"])
PY
