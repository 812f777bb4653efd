"""StableHLO, as jax.export has it."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmlp.export.common import check_size, in_float64, needed, steps, turns_back, widths
from jaxmlp.files import write_bytes
from jaxmlp.losses import get_loss
from jaxmlp.network import forward
from jaxmlp.runs import Run


def write_stablehlo(run: Run, path: Path) -> None:
    """Write StableHLO, as jax.export has it, for CPU, CUDA and TPU.

    It takes raw numbers (n, n_in) in float32, as JAX has them by default, n being free. Where the
    preprocessing subtracts, that is done in float64 within. What it gives is float64 where
    standardised targets are turned back, else float32.

    Raises:
        ValueError: if it is too large, the package is missing, or the file cannot be written.
    """
    from jax import export  # which `import jax` leaves out

    needed("flatbuffers", "stablehlo")  # which jax asks for, but does not install
    check_size(run)
    (kind, offset, scale), (n_in, *_, n_out) = steps(run), widths(run)
    predicted = get_loss(run.config.loss).predicted

    def predict(x: Float[Array, "n n_in"]) -> Float[Array, "n n_out"]:
        h = x.astype(kind)
        h = h if offset is None else h - jnp.broadcast_to(offset, (1, n_in))
        h = h if scale is None else h * jnp.broadcast_to(scale.astype(kind), (1, n_in))
        h = h.astype(jnp.float32)
        p = predicted(forward(run.params, h, activation=run.config.activation))
        if turns_back(run):
            target_offset = jnp.broadcast_to(run.targets.offset, (1, n_out))
            target_scale = jnp.broadcast_to(run.targets.scale, (1, n_out))
            p = p.astype(np.float64) / target_scale + target_offset
        return p

    with jax.enable_x64(in_float64(run) or turns_back(run)):
        (n,) = export.symbolic_shape("n")
        x = jax.ShapeDtypeStruct((n, n_in), jnp.float32)
        exported = export.export(jax.jit(predict), platforms=("cpu", "cuda", "tpu"))(x)
    write_bytes(path, bytes(exported.serialize()))
