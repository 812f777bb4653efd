#!/usr/bin/env bash
# jax2onnx 0.17.1 (with jax 0.10.2): a function which takes float64, subtracts a large offset there,
# casts to float32 and multiplies by a float32 matrix, as a network after its preprocessing does,
# cannot be exported as it is. With enable_double_precision=True the file says that the matrix is
# float64 though its factor was cast to float32, and onnxruntime 1.32.0 refuses it: type mismatch in
# Gemm. With False, inside `with jax.enable_x64(True)`, it is the other way round, and refused too.
# With False and the setting jax_enable_x64, or none, the file loads, but takes float32 and subtracts
# in it: of 1000000.3 - 1000000 it makes 0.3125 for 0.30000001. to_onnx raises no error in any of
# these cases.
#
# Guess before: the file has the dtypes that jax.make_jaxpr shows: float64, a cast, float32. Output
# seen:
#   jax itself: 0.30000001192092896
#   double precision, setting: refused, Gemm of tensor(float) and tensor(double)
#   double precision, context: refused, Gemm of tensor(float) and tensor(double)
#   single precision, setting: 0.3125 from tensor(float)
#   single precision, context: refused, Gemm of tensor(double) and tensor(float)
# Exit code 0 if it is still so, 1 if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q jax==0.10.2 jaxlib==0.10.2 jax2onnx==0.17.1 onnxruntime==1.32.0
JAX_PLATFORMS=cpu venv/bin/python -W ignore - <<'PY'
import contextlib
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
from jax2onnx import to_onnx

WEIGHT = np.ones((1, 1), np.float32)
x = np.full((2, 1), 1000000.3)


def network(x):
    return (x - 1e6).astype(jnp.float32) @ WEIGHT


def outcome(double, context):
    """What onnxruntime makes of x, or why it does not load the file."""
    jax.config.update("jax_enable_x64", not context)
    with jax.enable_x64(True) if context else contextlib.nullcontext():
        shape = jax.ShapeDtypeStruct(x.shape, np.float64)
        model = to_onnx(network, [shape], enable_double_precision=double)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString())
    except Exception as error:
        message = r"Type parameter .* of Optype \((\w+)\) bound to .* types \((.*) in node"
        return "refused, {} of {}".format(*re.search(message, str(error)).groups())
    (taken,) = session.get_inputs()
    kind = np.float64 if taken.type == "tensor(double)" else np.float32
    (found,) = session.run(None, {taken.name: x.astype(kind)})
    return f"{found[0, 0]} from {taken.type}"


with jax.enable_x64(True):
    print("jax itself:", np.asarray(network(jnp.asarray(x)))[0, 0].item())
cases = {
    "double precision, setting": (True, False),
    "double precision, context": (True, True),
    "single precision, setting": (False, False),
    "single precision, context": (False, True),
}
found = {name: outcome(*settings) for name, settings in cases.items()}
for name, text in found.items():
    print(f"{name}: {text}")
rounded = found.pop("single precision, setting") == "0.3125 from tensor(float)"
sys.exit(not rounded or not all("refused, Gemm" in text for text in found.values()))
PY
