#!/usr/bin/env bash
# jax 0.10.2, CPU: under jit, two constants that are added or multiplied one after the other become
# one, as if floats did not round. (x + c) - c is x, and (x - c1) - c2 is x - (c1 + c2). So the
# trick that rounds to whole numbers does nothing, the error of a sum, on which compensated sums
# rest, is 0, and an offset split into two float32 numbers is one float32 number again. Nothing is
# said. Without jit, operation by operation, all of it works. So it goes in float16, float32 and
# float64, and for arrays as for single numbers, their entries equal or not: it is enough that the
# constants are known when jit compiles, written in the function or found outside it. It is the
# pass algsimp of XLA: with XLA_FLAGS=--xla_disable_hlo_passes=algsimp it does not happen, while
# --xla_cpu_enable_fast_math=false and --xla_allow_excess_precision=false change nothing. Nor does
# it happen where the constant is an argument of the jitted function, in bfloat16, or where
# jax.lax.optimization_barrier stands between the two operations, which is the remedy. jax 0.12.0.1
# computes all of it as it is written.
#
# Guess before: jit may fuse what is next to each other, but sums keep their order, as in C. Output
# seen, of x without jit, and with it:
#   rounded to whole numbers, x = 2.6: 3.0, 2.5999999046325684: folded
#   error of 1e8 + x, x = 2.6: -2.5999999046325684, 0.0: folded
#   split offset, x = 1000000.5: 0.19999998807907104, 0.1875: folded
#   too large in between, x = 1e20: inf, 1.0000000200408773e+20: folded
#   unequal array: [0.0, 0.0], [1.0, 3.0]: folded
#   array from outside: [0.0, 0.0], [1.0, 3.0]: folded
#   float16: 0.0, 1.0: folded
#   float64: 0.0, 1.0: folded
#   bfloat16: 0.0, 0.0: as written
#   barrier, rounded, x = 2.6: 3.0, 3.0: as written
#   barrier, split offset, x = 1000000.5: 0.19999998807907104, 0.19999998807907104: as written
#   argument: 0.0, 0.0: as written
# Exit code 0 if it is still so, 1 if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q jax==0.10.2 jaxlib==0.10.2
XLA_FLAGS='' JAX_PLATFORMS=cpu JAX_ENABLE_X64=1 venv/bin/python - <<'PY'
import sys

import jax
import jax.numpy as jnp
import numpy as np

f32 = np.float32
ROUNDER = f32(1.5 * 2**23)  # added to a small number: its fraction has no place any more
UNEQUAL = jnp.asarray([1e30, 2e30], f32)
barrier = jax.lax.optimization_barrier


def error(x):
    """What the sum of x and 1e8 leaves out, but for its sign."""
    big = f32(1e8)
    return ((x + big) - big) - x


def unequal(x):
    big = np.asarray([1e30, 2e30], f32)
    return (x + big) - big


def there_and_back(big):
    return lambda x: (x + big) - big


whole, offset, pair = f32(2.6), f32(1000000.5), np.asarray([1, 3], f32)
folded = {
    "rounded to whole numbers, x = 2.6": (there_and_back(ROUNDER), whole),
    "error of 1e8 + x, x = 2.6": (error, whole),
    "split offset, x = 1000000.5": (lambda x: (x - f32(1e6)) - f32(0.3), offset),
    "too large in between, x = 1e20": (lambda x: (x * f32(1e30)) * f32(1e-30), f32(1e20)),
    "unequal array": (unequal, pair),
    "array from outside": (there_and_back(UNEQUAL), pair),
    "float16": (there_and_back(np.float16(3e4)), np.float16(1)),
    "float64": (there_and_back(np.float64(1e300)), np.float64(1)),
}
as_written = {
    "bfloat16": (there_and_back(jnp.bfloat16(1e30)), jnp.bfloat16(1)),
    "barrier, rounded, x = 2.6": (lambda x: barrier(x + ROUNDER) - ROUNDER, whole),
    "barrier, split offset, x = 1000000.5": (
        lambda x: barrier(x - f32(1e6)) - f32(0.3),
        offset,
    ),
    "argument": (lambda x, big: (x + big) - big, f32(1), f32(1e30)),
}
found = []
for name, (function, *arguments) in (folded | as_written).items():
    arguments = [jnp.asarray(each) for each in arguments]
    results = [each(*arguments) for each in (function, jax.jit(function))]
    plain, jitted = (np.asarray(each).astype(float).tolist() for each in results)
    found += [name] if plain != jitted else []
    print(f"{name}: {plain}, {jitted}: {'folded' if plain != jitted else 'as written'}")
sys.exit(found != [*folded])
PY
