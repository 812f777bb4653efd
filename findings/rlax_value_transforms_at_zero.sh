#!/usr/bin/env bash
# rlax 0.1.9 with jax 0.10.2: transforms that squash values and rewards have slope 0 at exactly 0, where
# networks start, though they are smooth there: signed_logp1, signed_expm1 and power, whose slopes are
# all 1 (for the power 1). Each is sign(x) times a function of |x|: sign(0) is 0 and has slope 0, so that
# the product rule leaves nothing. The values are right, and so are the slopes at 1e-6. An agent whose
# values are all 0 gets no gradient through them. (That signed_hyperbolic and signed_parabolic are wrong
# there, too, is said in rlax's open pull request 170.)
#
# Guess before: odd smooth functions, and so smooth at 0 for jax.grad. Output seen:
#   signed_logp1: slope at 0 0, beside it 0.999999
#   signed_expm1: slope at 0 0, beside it 1
#   power 1: slope at 0 0, beside it 1
# Exit code 0 if it is still so, 1 if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q rlax==0.1.9 jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu venv/bin/python -W ignore - <<'PY'
import sys

import jax
import rlax

jax.config.update("jax_enable_x64", True)
transforms = {
    "signed_logp1": rlax.signed_logp1,
    "signed_expm1": rlax.signed_expm1,
    "power 1": lambda x: rlax.power(x, 1.0),
}
wrong = []
for name, transform in transforms.items():
    at, beside = (float(jax.grad(transform)(x)) for x in (0.0, 1e-6))
    by_values = float(transform(1e-6) - transform(-1e-6)) / 2e-6
    assert abs(beside - by_values) < 1e-3, (beside, by_values)
    print(f"{name}: slope at 0 {at:.6g}, beside it {beside:.6g}")
    wrong.append(abs(at - beside) > 0.4)
sys.exit(not all(wrong))
PY
