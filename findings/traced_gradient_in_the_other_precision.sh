#!/usr/bin/env bash
# jax 0.10.2: if a gradient is traced by jax.make_jaxpr with 64 bits enabled, calling it with 32 bits
# raises "RuntimeProgramInputMismatch: ... expected parameter 1 of size 36 (f32[3,3]) but got buffer
# with incompatible size 72 (f64[3,3])", where the loss adds a constant array of NumPy's, in float64
# as they are. It is so the other way round, too, and every time it is called. Without the trace,
# calls in both precisions alternate without an error; jax.clear_caches() or wrapping the constant
# in jnp.asarray inside the loss helps.
#
# Guess before: programs are cached by the precision, as they are for calls alone. Output seen:
#   calls in both precisions: float32 float64 float32
#   traced in 64 bits, called in 32: JaxRuntimeError RuntimeProgramInputMismatch
#   called again: JaxRuntimeError RuntimeProgramInputMismatch
#   traced in 32 bits, called in 64: JaxRuntimeError RuntimeProgramInputMismatch
#   after jax.clear_caches(): float32
#   with jnp.asarray: float32
# Exit code 0 if it is still so, 1 if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q jax==0.10.2 jaxlib==0.10.2 numpy==2.4.0
JAX_PLATFORMS=cpu venv/bin/python -W ignore 2>/dev/null - <<'PY'
import sys

import jax
import jax.numpy as jnp
import numpy as np

OFFSET = np.eye(3)


def gradient(asarray=lambda constant: constant):
    return jax.grad(lambda p: jnp.sum((p @ p.T + asarray(OFFSET)) ** 2))


def call(of, bits):
    with jax.enable_x64(bits == 64):
        try:
            return str(of(np.ones((3, 3), f"float{bits}")).dtype)
        except jax.errors.JaxRuntimeError as error:
            name = "RuntimeProgramInputMismatch"
            return f"JaxRuntimeError {name if name in str(error) else error}"


def trace(of, bits):
    with jax.enable_x64(bits == 64):
        jax.make_jaxpr(of)(np.ones((3, 3), f"float{bits}"))


g = gradient()
found = {"calls in both precisions": " ".join(call(g, bits) for bits in (32, 64, 32))}
jax.clear_caches()
trace(g, 64)
found["traced in 64 bits, called in 32"] = call(g, 32)
found["called again"] = call(g, 32)
jax.clear_caches()
trace(g, 32)
found["traced in 32 bits, called in 64"] = call(g, 64)
jax.clear_caches()
found["after jax.clear_caches()"] = call(g, 32)
other = gradient(jnp.asarray)
trace(other, 64)
found["with jnp.asarray"] = call(other, 32)
for name, text in found.items():
    print(f"{name}: {text}")
raised = "JaxRuntimeError RuntimeProgramInputMismatch"
expected = ["float32 float64 float32", raised, raised, raised, "float32", "float32"]
sys.exit(list(found.values()) != expected)
PY
