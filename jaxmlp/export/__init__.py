"""A trained network in a file for other programs: ONNX, StableHLO, PyTorch, scikit-learn.

Each function takes a run and a path; its packages are imported when they are needed.
"""

from jaxmlp.export.common import (
    FORMS,
    OUTPUTS,
    columns,
    in_float64,
    output_of,
    turns_back,
    widths,
)
from jaxmlp.export.onnx import write_onnx
from jaxmlp.export.sklearn import write_sklearn
from jaxmlp.export.stablehlo import write_stablehlo
from jaxmlp.export.torch import write_torch

__all__ = [
    "FORMS",
    "OUTPUTS",
    "columns",
    "in_float64",
    "output_of",
    "turns_back",
    "widths",
    "write_onnx",
    "write_sklearn",
    "write_stablehlo",
    "write_torch",
]
