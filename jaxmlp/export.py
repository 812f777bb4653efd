"""A trained network in a file for other programs: ONNX, StableHLO, PyTorch, scikit-learn.

Each function takes a run and a path; its packages are imported when they are needed.

* ONNX is built node by node: jax2onnx 0.17 would do it in fewer lines, but needs flax and a dozen
  packages more, and its model of float64 preprocessing before float32 layers cannot be loaded.
* scikit-learn's pipeline is kept by skops: joblib's file is a pickle, in which there can be code.
* PyTorch's file is its own, whose readers use `torch.load(weights_only=True)`: safetensors would be
  one more package for them.
"""

import importlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmlp.data.tables import Column
from jaxmlp.files import write_bytes
from jaxmlp.losses import softmax
from jaxmlp.network import forward
from jaxmlp.runs import Run
from jaxmlp.version import __version__

LARGEST = 2**31 - 2**20  # bytes of parameters: Protocol Buffers and FlatBuffers end at 2 GiB
OPSET = 13  # of ONNX: the first with today's softmax, so that old programs read the file too
OPSET_OF_GELU = 20


class Output(NamedTuple):
    """What a network says of an example, made of its logits.

    Attributes:
        name: of the output.
        value: of logits (n, n_out), row by row.
        onnx: the same as an ONNX operator.
        torch: as a method of PyTorch's tensors.
    """

    name: str
    value: Callable[[Array], Array]
    onnx: str
    torch: str


OUTPUTS = {"softmax": Output("probabilities", softmax, "Softmax", "softmax(dim=1)")}


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
    """What a run's network says of an example: the one place that asks for the loss.

    Raises:
        ValueError: if it is not known what that is.
    """
    loss = getattr(run.config, "loss", "softmax")
    if loss not in OUTPUTS:
        raise ValueError(
            f"the network was trained with the loss {loss!r}: only those with {', '.join(OUTPUTS)} "
            "can be exported"
        )
    return OUTPUTS[loss]


def in_float64(run: Run) -> bool:
    """Whether the preprocessing subtracts, which it does in float64: 1,000,000.5 − 1,000,000."""
    return run.preprocessing.kind in ("standardise", "minmax")


def columns(run: Run) -> tuple[str, ...]:
    """The names of the inputs of a run on a table; none for other runs."""
    named = run.schema.columns if run.schema else ()
    return tuple(name for column in named for name in columns_of(column))


def columns_of(column: Column) -> list[str]:
    """What a column becomes: itself, or such as colour=red, as pandas.get_dummies would name it."""
    return [f"{column.name}={text}" for text in column.categories] or [column.name]


def write_onnx(run: Run, path: Path) -> None:
    """Write an ONNX model: raw numbers `x` (n, n_in) to the output (n, n_out) in float32.

    `x` is float64 where the preprocessing subtracts, else float32. The names of classes and columns
    are JSON lists in its metadata.

    Raises:
        ValueError: if it is too large, the package is missing, or the file cannot be written.
    """
    output, onnx = output_of(run), _needed("onnx", "onnx")
    _check_size(run)
    helper, kinds = onnx.helper, onnx.TensorProto
    n_in, *_, n_out = widths(run)
    kind = kinds.DOUBLE if in_float64(run) else kinds.FLOAT
    x = helper.make_tensor_value_info("x", kind, ["n", n_in])
    p = helper.make_tensor_value_info(output.name, kinds.FLOAT, ["n", n_out])
    nodes, constants = _graph(onnx, run, output)
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


def _graph(onnx: Any, run: Run, output: Output) -> tuple[list[Any], list[Any]]:
    """The nodes from x to the output, and the constants that they take."""
    nodes, constants = [], []

    def constant(name: str, array: Any) -> str:
        constants.append(onnx.numpy_helper.from_array(np.array(array), name))
        return name

    def apply(operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(onnx.helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    h, (kind, offset, scale) = "x", _steps(run)
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
    apply(output.onnx, output.name, h)
    return nodes, constants


def _steps(run: Run) -> tuple[type, np.ndarray | None, np.ndarray | None]:
    """The dtype that the preprocessing computes in, its offset and its scale; None if unused."""
    kind, offset, scale = (getattr(run.preprocessing, name) for name in ("kind", "offset", "scale"))
    if in_float64(run):
        return np.float64, offset, scale
    return np.float32, None, None if kind == "as is" else scale


def write_stablehlo(run: Run, path: Path) -> None:
    """Write StableHLO, as jax.export has it, for CPU, CUDA and TPU.

    It takes raw numbers (n, n_in) in float32, as JAX has them by default, n being free. Where the
    preprocessing subtracts, that is done in float64 within.

    Raises:
        ValueError: if it is too large, the package is missing, or the file cannot be written.
    """
    from jax import export  # which `import jax` leaves out

    output = output_of(run)
    _needed("flatbuffers", "stablehlo")  # which jax asks for, but does not install
    _check_size(run)
    kind, offset, scale = _steps(run)

    def predict(x: Float[Array, "n n_in"]) -> Float[Array, "n n_out"]:
        h = x.astype(kind)
        h = h if offset is None else h - jnp.broadcast_to(offset, (1, x.shape[1]))
        h = h if scale is None else h * jnp.asarray(scale, kind)
        h = h.astype(jnp.float32)
        return output.value(forward(run.params, h, activation=run.config.activation))

    with jax.enable_x64(in_float64(run)):
        (n,) = export.symbolic_shape("n")
        x = jax.ShapeDtypeStruct((n, widths(run)[0]), jnp.float32)
        exported = export.export(jax.jit(predict), platforms=("cpu", "cuda", "tpu"))(x)
    write_bytes(path, bytes(exported.serialize()))


def write_torch(run: Run, path: Path) -> None:
    """Write the state_dict of a PyTorch nn.Sequential, which gives logits.

    Where the preprocessing needs them, its `offset` and `scale`, in float64, are two more entries:
    to be taken out first, or `load_state_dict` complains of what would have been forgotten.

    Raises:
        ValueError: if the package is missing, or the file cannot be written.
    """
    output_of(run)
    torch = _needed("torch", "torch", "pip install torch")
    state = {}
    for number, (weight, bias) in enumerate(run.params):
        state[f"{2 * number}.weight"] = torch.from_numpy(np.array(weight).T.copy())
        if bias is not None:
            state[f"{2 * number}.bias"] = torch.from_numpy(np.array(bias))
    if run.preprocessing.kind != "as is":
        state["offset"] = torch.from_numpy(np.array(run.preprocessing.offset, np.float64))
        state["scale"] = torch.from_numpy(np.array(run.preprocessing.scale, np.float64))
    file = io.BytesIO()
    torch.save(state, file)
    write_bytes(path, file.getvalue())


def write_sklearn(run: Run, path: Path) -> None:
    """Write a scikit-learn Pipeline of a StandardScaler, if it is needed, and an MLPClassifier.

    Its classes are sorted, as scikit-learn wants them, and integers where all their names are.

    Raises:
        ValueError: if scikit-learn lacks the activation, a package is missing, or the file
            cannot be written.
    """
    if FORMS[run.config.activation].sklearn is None:
        raise ValueError(
            f"scikit-learn has no {run.config.activation}: export to onnx, stablehlo or torch"
        )
    output_of(run)
    skops = _needed("skops.io", "sklearn")
    pipeline = _needed("sklearn.pipeline", "sklearn")
    steps = [_classifier(run)]
    if run.preprocessing.kind != "as is":
        steps.insert(0, _scaler(run))
    if run.schema:
        steps[0].feature_names_in_ = np.array(columns(run), object)
    write_bytes(path, skops.dumps(pipeline.make_pipeline(*steps)))


def _scaler(run: Run) -> Any:
    """A fitted StandardScaler, which does (x − mean_) / scale_."""
    scaler, n_in = _needed("sklearn.preprocessing", "sklearn").StandardScaler(), widths(run)[0]
    scaler.mean_ = np.broadcast_to(run.preprocessing.offset, n_in).copy()
    scaler.scale_ = 1 / np.broadcast_to(run.preprocessing.scale, n_in)
    scaler.var_, scaler.n_features_in_ = scaler.scale_**2, n_in
    scaler.n_samples_seen_ = 1  # how many there were is not known, but it has seen some
    return scaler


def _classifier(run: Run) -> Any:
    """A fitted MLPClassifier."""
    labels = _labels(run.classes)
    order = np.argsort(labels)
    weights = [np.array(layer.weight) for layer in run.params]
    biases = [
        np.zeros(weight.shape[1], weight.dtype) if layer.bias is None else np.array(layer.bias)
        for layer, weight in zip(run.params, weights, strict=True)
    ]
    last = [array[..., order].astype(np.float64) for array in (weights[-1], biases[-1])]
    if two := len(labels) == 2:  # softmax of two logits is the sigmoid of their difference
        last = [np.diff(array) for array in last]
    weights[-1], biases[-1] = last
    model = _needed("sklearn.neural_network", "sklearn").MLPClassifier(
        run.config.hidden, activation=FORMS[run.config.activation].sklearn
    )
    binarizer = _needed("sklearn.preprocessing", "sklearn").LabelBinarizer()
    binarizer.classes_, binarizer.sparse_input_ = labels[order], False
    binarizer.y_type_ = "binary" if two else "multiclass"
    model.coefs_, model.intercepts_ = weights, biases
    model.classes_, model._label_binarizer = labels[order], binarizer
    model.n_features_in_, model.n_layers_ = weights[0].shape[0], len(weights) + 1
    model.n_outputs_ = weights[-1].shape[1]
    model.out_activation_ = "logistic" if two else "softmax"
    return model


def _labels(classes: tuple[str, ...]) -> np.ndarray:
    """Classes as integers, if all of them are written as such: scikit-learn tells 1 from "1"."""
    try:
        numbers = np.array([int(name) for name in classes], np.int64)
    except (ValueError, OverflowError):
        return np.array(classes)
    return numbers if classes == tuple(map(str, numbers)) else np.array(classes)


def widths(run: Run) -> tuple[int, ...]:
    """The widths of a network, from its inputs on."""
    return (*(layer.weight.shape[0] for layer in run.params), run.params[-1].weight.shape[1])


def _check_size(run: Run) -> None:
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(run.params))
    if size > LARGEST:
        raise ValueError(
            f"the parameters have {size:,} bytes, and the format ends at {LARGEST:,}: export to "
            "torch or sklearn"
        )


def _needed(name: str, to: str, remedy: str = "pip install 'jaxmlp[export]'") -> Any:
    """A package that a format needs, or a ValueError that says what to install."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(f"--to {to} needs the package {error.name}: {remedy}") from error
