"""What all formats need to know of a run: its output, its activations, its numbers, its size."""

import importlib
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmlp.runs import Run

LARGEST = 2**31 - 2**20  # bytes of parameters: Protocol Buffers and FlatBuffers end at 2 GiB


class Output(NamedTuple):
    """What a network says of an example, made of its logits by `Loss.predicted`.

    Attributes:
        name: of the output.
        onnx: what is done to the logits, as an ONNX operator.
        torch: the same as a method of PyTorch's tensors.
        text: the same in words.
    """

    name: str
    onnx: str
    torch: str
    text: str


OUTPUTS = {  # by the loss
    "softmax": Output("probabilities", "Softmax", ".softmax(dim=1)", "softmax"),
    "sigmoid": Output("probabilities", "Sigmoid", ".sigmoid()", "sigmoid"),
    "squared": Output("prediction", "Identity", "", ""),
}


class Form(NamedTuple):
    """The forms of an activation: an ONNX operator, a PyTorch module, scikit-learn's name."""

    onnx: str | None
    torch: str
    sklearn: str | None


FORMS = {
    "relu": Form("Relu", "ReLU", "relu"),
    "tanh": Form("Tanh", "Tanh", "tanh"),
    "sigmoid": Form("Sigmoid", "Sigmoid", "logistic"),
    "gelu": Form("Gelu", "GELU", None),  # the exact one, as ours, is the default of both
    "identity": Form(None, "Identity", "identity"),
}


def output_of(run: Run) -> Output:
    """What a run's network says of an example."""
    return OUTPUTS[run.config.loss]


def in_float64(run: Run) -> bool:
    """Whether the preprocessing subtracts, which it does in float64: 1,000,000.5 − 1,000,000."""
    return run.preprocessing.kind in ("standardise", "minmax")


def turns_back(run: Run) -> bool:
    """Whether real targets were standardised: predictions are turned back, in float64."""
    return run.targets.kind != "as is"


def steps(run: Run) -> tuple[type, np.ndarray | None, np.ndarray | None]:
    """The dtype that the preprocessing computes in, its offset and its scale; None if unused."""
    done = run.preprocessing
    if in_float64(run):
        return np.float64, done.offset, done.scale
    return np.float32, None, None if done.kind == "as is" else done.scale


def is_plain(run: Run) -> bool:
    """Whether its inputs are raw numbers as they stand: no text, nothing missing filled in."""
    schema = run.schema
    return not schema or (
        schema.missing == "refuse" and not any(column.categories for column in schema.columns)
    )


def columns(run: Run) -> tuple[str, ...]:
    """The names of the inputs of a run on a table; none for other runs."""
    return run.schema.titles if run.schema else ()


def widths(run: Run) -> tuple[int, ...]:
    """The widths of a network, from its inputs on."""
    return (*(layer.weight.shape[0] for layer in run.params), run.params[-1].weight.shape[1])


def check_size(run: Run) -> None:
    """Raise ValueError if Protocol Buffers or FlatBuffers cannot hold the parameters."""
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(run.params))
    if size > LARGEST:
        raise ValueError(
            f"the parameters have {size:,} bytes, and the format ends at {LARGEST:,}: export to "
            "torch or sklearn"
        )


def needed(name: str, to: str, remedy: str = "pip install 'jaxmlp[export]'") -> Any:
    """A package that a format needs, or a ValueError that says what to install."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(f"--to {to} needs the package {error.name}: {remedy}") from error
