#!/usr/bin/env bash
# Is everything right on this machine's GPU, and how fast is it? One command, at most seven minutes.
#
#   benchmarks/gpu.sh [OUT]          # writes OUT/gpu-DEVICE.json and .md; by default, OUT is
#                                    # experiments/results
#   benchmarks/gpu.sh --data FOLDER  # with MNIST's four IDX files instead of numbers like them
#   benchmarks/gpu.sh --small [OUT]  # all of it with small sizes, on a CPU too, in two minutes
#   benchmarks/gpu.sh --wheels       # beforehand, on a machine with a network: fetches what the
#                                    # GPU's Python 3.12 may lack, into the ignored folder .wheels
#
# Nothing is fetched on the machine with the GPU. It needs Python with JAX for CUDA, and takes
# $PYTHON, or .venv/bin/python, or python3. Without Git, JAXMLP_COMMIT says which commit this is.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

wheels=$root/.wheels
python=${PYTHON:-}
if [ -z "$python" ]; then
    if [ -x "$root/.venv/bin/python" ]; then python=$root/.venv/bin/python; else python=python3; fi
fi

if [ "${1:-}" = --wheels ]; then
    # The command line's packages with what they need, pure Python all of them, and the run-time
    # type checks of the tests.
    new=$(mktemp -d)
    trap 'rm -rf "$new"' EXIT
    "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 \
        -d "$new" tyro docstring-parser typeguard beartype rich markdown-it-py mdurl pygments \
        typing-extensions jaxtyping wadler-lindig filelock
    mkdir -p "$wheels"
    rm -f "$wheels"/*.whl
    cp "$new"/*.whl "$wheels"
    du -sm "$wheels" | awk '{ print $1 " MiB in " $2; exit $1 > 40 }'
    exit
fi

export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
shopt -s nullglob
found=("$wheels"/*.whl)
if [ ${#found[@]} -gt 0 ] && ! "$python" -c 'import beartype, filelock, jaxtyping, rich, tyro' 2>/dev/null
then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    for wheel in "${found[@]}"; do
        "$python" -m zipfile -e "$wheel" "$site"
    done
    export PYTHONPATH="$root:$site${PYTHONPATH#"$root"}"
fi
"$python" -u "$root/benchmarks/gpu.py" "$@"
