"""`jaxmlp export`: a trained network in a file for other programs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import tyro

from jaxmlp.cli import printable
from jaxmlp.cli.common import trained
from jaxmlp.data.table_files import SAY_NOTHING, is_table
from jaxmlp.data.tables import CODE, code, columns_of
from jaxmlp.export import (
    FORMS,
    columns,
    in_float64,
    output_of,
    turns_back,
    widths,
    write_onnx,
    write_sklearn,
    write_stablehlo,
    write_torch,
)
from jaxmlp.files import check_writable
from jaxmlp.runs import Run

SHOWN = 10  # classes or columns whose names are printed; config.json has them all


@dataclass(frozen=True)
class Export:
    """Write a trained network for other programs, with what it does to raw numbers.

    Attributes:
        run_folder: a folder that `jaxmlp train` made.
        to: the format: onnx, for onnxruntime and many others; stablehlo, for jax.export; torch, a
            state_dict for PyTorch; or sklearn, a scikit-learn pipeline in a file of skops.
        out: the file to write; by default a new one, here, with the run folder's name.
    """

    run_folder: tyro.conf.Positional[Path]
    to: Literal["onnx", "stablehlo", "torch", "sklearn"]
    out: Path | None = None

    def run(self) -> None:
        """Write the file, and say what is in it and how to load it."""
        run = trained(self.run_folder)
        format_ = FORMATS[self.to]
        out = self.out or Path(f"{self.run_folder.resolve().name}.{format_.ending}")
        if self.out is None and out.exists():
            raise ValueError(f"{out} exists already: remove it, or name a file by --out")
        if out.resolve().is_relative_to(self.run_folder.resolve()):
            raise ValueError(f"--out is {out}, in the folder which is read here: give another file")
        check_writable(out)
        format_.write(run, out)
        for line in [*described(run, format_, out), "", *format_.loading(run, str(out))]:
            print(printable(line))


class Format(NamedTuple):
    """A format of files.

    Attributes:
        ending: of a file's name.
        write: what writes a run.
        takes: the dtype of the raw numbers that it takes.
        inside: what a file holds beside the layers; {} is what is done to the logits.
        install: what is needed to load it.
        loading: lines of code that load it, and then make the output of raw numbers x.
        tables: whether it takes a table with text and with something missing.
    """

    ending: str
    write: Callable[[Run, Path], None]
    takes: Callable[[Run], str]
    inside: str
    install: str
    loading: Callable[[Run, str], list[str]]
    tables: bool = False


def described(run: Run, format_: Format, out: Path) -> list[str]:
    """What a file takes, gives and holds."""
    (n_in, *_, n_out), image_shape = widths(run), run.framing.image_shape
    output = output_of(run)
    layers = f"{'-'.join(map(str, widths(run)))} with {run.config.activation}"
    x = f"takes x: raw numbers, {format_.takes(run)}, shape (n, {n_in}) for any n"
    inside, outside = f"layers {layers}; {format_.inside.format(_at_the_end(run))}", _outside(run)
    if image_shape[0] > 1:
        sizes = " × ".join(map(str, image_shape))
        x += f", the {sizes} {'pixels' if len(image_shape) == 2 else 'numbers'} row by row"
    if run.schema and outside and format_.tables:
        named = tuple(column.name for column in run.schema.columns)
        x = f"takes x: a table, read by pandas as below, columns {_listed(named)}"
        inside, outside = f"{inside}; {outside}", ""
    elif run.schema:
        x += f", columns {_listed(columns(run))}"
    lines = [
        f"wrote {out}, {out.stat().st_size:,} bytes",
        x,
        f"gives {output.name}: shape (n, {n_out}), of {_listed(run.classes)}",
        f"inside: {inside}",
        f"preprocessing: {run.preprocessing}",
    ]
    if outside:
        lines.append(f"not inside: {outside}")
    return [*lines, f"to load it, after pip install {format_.install}:"]


def _at_the_end(run: Run) -> str:
    """What follows the last layer, to be added to a list."""
    text = "standardised targets turned back" if turns_back(run) else output_of(run).text
    return text and f", {text}"


def _outside(run: Run) -> str:
    """What has to be done to a table before its columns are raw numbers."""
    if not run.schema:
        return ""
    named = [name for each in run.schema.columns if each.categories for name in columns_of(each)]
    parts = [f"text as 0 and 1, as in the column {named[0]!r}"] if named else []
    parts += ["filling in what is missing"] if run.schema.missing == "impute" else []
    return "; ".join(parts)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (" …" if len(names) > SHOWN else "")


def _load_onnx(run: Run, path: str) -> list[str]:
    return [
        "import numpy as np",
        "import onnxruntime",
        f"session = onnxruntime.InferenceSession({path!r})",
        f'({output_of(run).name},) = session.run(None, {{"x": x.astype(np.{_onnx_takes(run)})}})',
    ]


def _onnx_takes(run: Run) -> str:
    return "float64" if in_float64(run) else "float32"


def _load_stablehlo(run: Run, path: str) -> list[str]:
    return [
        "from pathlib import Path",
        "import numpy as np",
        "from jax import export",
        f"exported = export.deserialize(bytearray(Path({path!r}).read_bytes()))",
        "text = exported.mlir_module()  # StableHLO to read",
        f"{output_of(run).name} = np.asarray(exported.call(x.astype(np.float32)))",
    ]


def _load_torch(run: Run, path: str) -> list[str]:
    modules = []
    for number, (weight, bias) in enumerate(run.params):
        modules += [f"nn.{FORMS[run.config.activation].torch}()"] if number else []
        n_in, n_out = weight.shape
        modules.append(f"nn.Linear({n_in}, {n_out}{', bias=False' if bias is None else ''})")
    before, inputs = [], "torch.tensor(x).float()"
    if run.preprocessing.kind != "as is":
        before += ['offset, scale = state.pop("offset"), state.pop("scale")']
        inputs = "((torch.tensor(x) - offset) * scale).float()"
    output, after = output_of(run), output_of(run).torch
    if turns_back(run):
        names = ("target_offset", "target_scale")
        before += [f'{name} = state.pop("{name}")' for name in names]
        after = ".double() / target_scale + target_offset"
    return [
        "import torch",
        "from torch import nn",
        f"state = torch.load({path!r}, weights_only=True)",
        *before,
        f"model = nn.Sequential({', '.join(modules)})",
        "model.load_state_dict(state)",
        f"{output.name} = model({inputs}){after}",
    ]


def _load_sklearn(run: Run, path: str) -> list[str]:
    one = widths(run)[-1] == 1
    code = {
        "softmax": "model.predict_proba(x)  # in the order of model.classes_",
        "sigmoid": "model.predict_proba(x)" + "[:, 1:]  # of the classes 0 and 1" * one,
        "squared": "model.predict(x)" + "[:, None]  # predict gives shape (n,)" * one,
    }[run.config.loss]
    trusted = ""
    if run.schema and any(column.fill is not None for column in run.schema.columns):
        trusted = ', trusted=["numpy.dtype"]'  # which SimpleImputer holds, and skops wants named
    return [
        "import skops.io",
        f"model = skops.io.load({path!r}{trusted})",
        *_read_table(run),
        f"{output_of(run).name} = {code}",
    ]


def _read_table(run: Run) -> list[str]:
    """Lines that let pandas read a table as we do: it guesses types, and keeps spaces."""
    if not run.schema or not _outside(run) or not is_table(Path(run.data)):
        return []
    text = [column.name for column in run.schema.columns if column.categories]
    missing = run.schema.missing == "impute"
    numbers = [
        f"text = {text!r}",
        "numbers = [name for name in model.feature_names_in_ if name not in text]",
        "truth = {'true': '1', 'false': '0'}",
    ]
    pattern = f"r'{CODE.pattern}', r'\\1', regex=True"  # as `code` does
    codes = [
        name
        for name, categories, _ in run.schema.columns
        if all(code(each) == each for each in categories)
        and any(each.lstrip("-").isdigit() for each in categories)
    ]
    of_codes = [f"x[{codes!r}] = x[{codes!r}].replace({pattern})"] if codes else []
    if Path(run.data).suffix.lower() == ".parquet":
        lines = ["import pandas as pd", f"x = pd.read_parquet({run.data!r}).reset_index()"]
        lines += ["x = x.astype(object).where(x.notna(), float('nan'))", *numbers]
        if text:
            lines.append(
                "x[text] = x[text].map(lambda each: str(each).strip(), na_action='ignore')"
            )
            lines += of_codes
        if text and missing:
            lines.append("x[text] = x[text].mask(x[text] == '', float('nan'))")
        if len(text) < len(run.schema.columns):
            lines.append(
                "x[numbers] = x[numbers].map(lambda each: float("
                "truth.get(each.strip().lower(), each) if isinstance(each, str) else each))"
            )
        return lines
    tabs = ', sep="\\t"' if Path(run.data).suffix.lower() == ".tsv" else ""
    options = f"dtype=str, keep_default_na=False, skipinitialspace=True{tabs}"
    lines = [
        "import pandas as pd",
        f"x = pd.read_csv({run.data!r}, {options}).rename(columns=str.strip)",
        "x = x.apply(lambda column: column.str.strip())",
    ]
    if missing:
        lines.append(f"x = x.mask(x.isin({sorted(SAY_NOTHING)}), float('nan'))")
    lines += of_codes
    if len(text) < len(run.schema.columns):
        lines += [
            *numbers,
            "x[numbers] = x[numbers].apply("
            "lambda column: pd.to_numeric(column.str.lower().replace(truth)))",
        ]
    return lines


FORMATS = {
    "onnx": Format("onnx", write_onnx, _onnx_takes, "preprocessing{}", "onnxruntime", _load_onnx),
    "stablehlo": Format(
        "stablehlo",
        write_stablehlo,
        lambda run: "float32, so of seven digits" if in_float64(run) else "float32",
        "preprocessing{}, for CPU, CUDA and TPU",
        "jax flatbuffers",
        _load_stablehlo,
    ),
    "torch": Format(
        "pt",
        write_torch,
        lambda _: "of any dtype",
        "the numbers for what the code below does: preprocessing{}",
        "torch",
        _load_torch,
    ),
    "sklearn": Format(
        "skops",
        write_sklearn,
        lambda _: "of any dtype",
        "preprocessing{}",
        "skops",
        _load_sklearn,
        tables=True,
    ),
}
