"""`jaxmlp predict`: which class a trained network sees in a picture."""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxmlp.cli import printable
from jaxmlp.cli.common import trained
from jaxmlp.images import read_image
from jaxmlp.network import forward


@dataclass(frozen=True)
class Predict:
    """Say which class a trained network sees in pictures of any size.

    Attributes:
        run_folder: a folder that `jaxmlp train` made.
        images: PNG files or .npy arrays; dark ink on light paper or the reverse.
    """

    run_folder: tyro.conf.Positional[Path]
    images: tyro.conf.Positional[tuple[Path, ...]]

    def run(self) -> None:
        """Print a line for each picture: its name, the class, how sure, and the runner-up."""
        if not self.images:
            raise ValueError("no image given: name at least one PNG or .npy file")
        run = trained(self.run_folder)
        inputs = np.stack([read_image(path, run.framing) for path in self.images])
        logits = forward(run.params, jnp.asarray(inputs), activation=run.config.activation)
        probabilities = np.asarray(jax.nn.softmax(logits, axis=1))
        for path, row in zip(self.images, probabilities, strict=True):
            first, *others = np.argsort(row)[::-1]
            line = f"{printable(str(path))}: {first} with probability {row[first]:.3f}"
            if others:
                line += f", then {others[0]} with {row[others[0]]:.3f}"
            print(line)
