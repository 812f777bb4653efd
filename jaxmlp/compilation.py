"""Programs that JAX has compiled are kept on disk, so that the next process starts faster."""

import os
import platform
import warnings
from pathlib import Path

CACHE = 2**29  # bytes of compiled programs that are kept


def cache_folder() -> Path:
    """Where what would only have to be computed again is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxmlp"


def keep_programs() -> None:
    """Let JAX find again what it compiled in an earlier process, on this very machine.

    It keeps them in `$XDG_CACHE_HOME/jaxmlp`, or ~/.cache/jaxmlp. Where JAX has been told of a
    folder by `JAX_COMPILATION_CACHE_DIR`, or to keep none, that is respected.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    told = getattr(jax.config, "jax_compilation_cache_dir", None)
    if told or not getattr(jax.config, "jax_enable_compilation_cache", True):
        return
    try:
        folder = cache_folder() / platform.node()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".written").touch()  # by root too, whom a read-only disk stops
    except (RuntimeError, OSError):  # no home or no place; it would only have saved time
        return
    # of a cache that is full or damaged: it would only have saved time
    warnings.filterwarnings("ignore", r"Error (reading|writing) persistent compilation cache")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", CACHE)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    compilation_cache.reset_cache()  # or a process that has compiled something goes on without
