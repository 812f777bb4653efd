"""A state_dict of PyTorch, in its own file, whose readers use `torch.load(weights_only=True)`.

safetensors would be one more package for them.
"""

import io
from pathlib import Path

import numpy as np

from jaxmlp.export.common import needed
from jaxmlp.files import write_bytes
from jaxmlp.runs import Run


def write_torch(run: Run, path: Path) -> None:
    """Write the state_dict of a PyTorch nn.Sequential, which gives logits.

    Where the preprocessing needs them, its `offset` and `scale`, in float64, are two more entries,
    and so are `target_offset` and `target_scale` where the targets were standardised: to be taken
    out first, or `load_state_dict` complains of what would have been forgotten.

    Raises:
        ValueError: if the package is missing, or the file cannot be written.
    """
    torch = needed("torch", "torch", "pip install torch")
    state = {}
    for number, (weight, bias) in enumerate(run.params):
        state[f"{2 * number}.weight"] = torch.from_numpy(np.array(weight).T.copy())
        if bias is not None:
            state[f"{2 * number}.bias"] = torch.from_numpy(np.array(bias))
    for start, done in (("", run.preprocessing), ("target_", run.targets)):
        if done.kind != "as is":
            state[f"{start}offset"] = torch.from_numpy(np.array(done.offset, np.float64))
            state[f"{start}scale"] = torch.from_numpy(np.array(done.scale, np.float64))
    file = io.BytesIO()
    torch.save(state, file)
    write_bytes(path, file.getvalue())
