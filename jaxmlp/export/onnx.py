"""An ONNX model, built node by node.

jax2onnx 0.17 would do it in fewer lines, but needs flax and a dozen packages more, and its model of
float64 preprocessing before float32 layers cannot be loaded, or subtracts in float32.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxmlp.export.common import (
    FORMS,
    check_size,
    columns,
    in_float64,
    needed,
    output_of,
    steps,
    turns_back,
    widths,
)
from jaxmlp.files import write_bytes
from jaxmlp.runs import Run
from jaxmlp.version import __version__

OPSET = 13  # of ONNX: the first with today's softmax, so that old programs read the file too
OPSET_OF_GELU = 20


def write_onnx(run: Run, path: Path) -> None:
    """Write an ONNX model: raw numbers `x` (n, n_in) to the output (n, n_out).

    `x` is float64 where the preprocessing subtracts, else float32; the output is float64 where
    standardised targets are turned back, else float32. The names of classes, or targets, and of
    columns are JSON lists in its metadata.

    Raises:
        ValueError: if it is too large, the package is missing, or the file cannot be written.
    """
    output, onnx = output_of(run), needed("onnx", "onnx")
    check_size(run)
    helper, kinds = onnx.helper, onnx.TensorProto
    n_in, *_, n_out = widths(run)
    kind, kind_out = (
        kinds.DOUBLE if wide else kinds.FLOAT for wide in (in_float64(run), turns_back(run))
    )
    x = helper.make_tensor_value_info("x", kind, ["n", n_in])
    p = helper.make_tensor_value_info(output.name, kind_out, ["n", n_out])
    nodes, constants = _graph(onnx, run)
    graph = helper.make_graph(nodes, "perceptron", [x], [p], constants)
    gelu = run.config.activation == "gelu"
    operators = [helper.make_operatorsetid("", OPSET_OF_GELU if gelu else OPSET)]
    model = helper.make_model(
        graph,
        opset_imports=operators,
        ir_version=helper.find_min_ir_version_for(operators),
        producer_name="jaxmlp",
        producer_version=__version__,
    )
    lists = {"classes": json.dumps(run.classes), "columns": json.dumps(columns(run))}
    helper.set_model_props(model, lists | {"preprocessing": str(run.preprocessing)})
    onnx.checker.check_model(model, full_check=True)
    write_bytes(path, model.SerializeToString())


def _graph(onnx: Any, run: Run) -> tuple[list[Any], list[Any]]:
    """The nodes from x to the output, and the constants that they take."""
    nodes, constants = [], []

    def constant(name: str, array: Any) -> str:
        constants.append(onnx.numpy_helper.from_array(np.array(array), name))
        return name

    def apply(operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(onnx.helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    h, output, (kind, offset, scale) = "x", output_of(run), steps(run)
    if offset is not None:
        h = apply("Sub", "shifted", h, constant("offset", offset))
    if scale is not None:
        h = apply("Mul", "scaled", h, constant("scale", scale.astype(kind)))
    if in_float64(run):
        h = apply("Cast", "inputs", h, to=onnx.TensorProto.FLOAT)
    operator = FORMS[run.config.activation].onnx
    for number, (weight, bias) in enumerate(run.params):
        if number and operator:
            h = apply(operator, f"h{number}", h)
        names = [constant(f"W{number}", weight)]
        names += [] if bias is None else [constant(f"b{number}", bias)]
        h = apply("Gemm", f"z{number + 1}", h, *names)
    if turns_back(run):
        h = apply("Cast", "standardised", h, to=onnx.TensorProto.DOUBLE)
        h = apply("Div", "unscaled", h, constant("target_scale", run.targets.scale))
        apply("Add", output.name, h, constant("target_offset", run.targets.offset))
    else:
        apply(output.onnx, output.name, h)
    return nodes, constants
