"""The proof in `tests/formal`: Coq accepts it, it assumes nothing of its own, and it bites."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.strategies import LONG

FOLDER = Path(__file__).parent / "formal"
THEOREMS = {
    "Backward": "backpropagation_is_the_derivative",
    "Partial": "partial_weight partial_bias",
    "Activations": "relu_networks tanh_networks sigmoid_networks gelu_networks identity_networks",
    "Further": "eq_5_log loss_shifted eq_8 padding_keeps_the_loss padding_keeps_the_gradient "
    "padding_learns_nothing hidden_units_in_any_order",
    "Kinks": "eq_22_left eq_22_right eq_22 eq_23 eq_24",
    "Note": "eq_29 eq_30",
    "Rounding": "eq_28",
}
FILES = ("Sums", "Network", *THEOREMS)  # in the order in which they need each other
# Those of Coq's real numbers, on which its logarithm and Coquelicot rest, and that functions with
# the same values are the same.
AXIOMS = {
    "ClassicalDedekindReals.sig_forall_dec",
    "ClassicalDedekindReals.sig_not_dec",
    "Classical_Prop.classic",
    "FunctionalExtensionality.functional_extensionality_dep",
}

pytestmark = pytest.mark.skipif(
    shutil.which("coqc") is None, reason="needs Coq: apt-get install coq libcoq-coquelicot"
)


def compile_(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    command = ["coqc", "-q", "-w", "-ambiguous-paths", f"{name}.v"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def proved(tmp_path_factory):
    """The folder with everything compiled."""
    folder = tmp_path_factory.mktemp("formal") / "formal"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("*.vo*", "*.glob", ".*"))
    for name in FILES:
        result = compile_(folder, name)
        assert result.returncode == 0, result.stderr
    return folder


def test_every_file_is_compiled():
    assert {path.stem for path in FOLDER.glob("*.v")} == {*FILES}


def test_nothing_is_assumed_or_left_out():
    for path in FOLDER.glob("*.v"):
        source = re.sub(r"\(\*.*?\*\)", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search(r"\b(Admitted|admit|Axiom|Parameter|Conjecture|Abort)\b", source), path


def test_assumptions(proved):
    theorems = [f"{file}.{name}" for file, names in THEOREMS.items() for name in names.split()]
    together = f"Definition together := ({', '.join(f'@{theorem}' for theorem in theorems)})."
    (proved / "Assumptions.v").write_text(
        f"Require {' '.join(THEOREMS)}.\n{together}\nPrint Assumptions together.\n"
    )
    result = compile_(proved, "Assumptions")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Axioms:")
    assert {*re.findall(r"^(\w+\.\w+)(?= :|$)", result.stdout, re.MULTILINE)} == AXIOMS


# Of Network.v: what is replaced, and by what.
ERROR = "(softmax k (z n) j * Σ (i < k) y n i - y n j)"
BACK = "Σ (j < outs l) (J' n j * W l i j) * f' (z n i)"
WRONG = {
    "sign": (ERROR, ERROR.replace("-", "+")),
    "transpose": (BACK, BACK.replace("W l i j", "W l j i")),
    "mask missing": (BACK, BACK.removesuffix(" * f' (z n i)")),
    "1/N missing": (f"/ INR N * {ERROR}", ERROR),
    "label sum taken for 1": (ERROR, "(softmax k (z n) j - y n j)"),
    "mask of the next layer": (BACK, BACK.replace("(z n i)", "(affine k l (activated z) n i)")),
    "bias averaged": ("(fun j => Σ (n < N) J' n j)", "(fun j => / INR N * Σ (n < N) J' n j)"),
    "z in the place of h": ("(h n i * J' n j)", "(z n i * J' n j)"),
}


@pytest.mark.parametrize("name", [*WRONG][: None if LONG else 4])
def test_a_wrong_recursion_cannot_be_proved(proved, tmp_path, name):
    """It is a definition as good as any, but the theorem's proof fails for it."""
    right, wrong = WRONG[name]
    for file in ("Sums.vo", "Network.v", "Backward.v"):
        shutil.copy(proved / file, tmp_path)
    network = (tmp_path / "Network.v").read_text(encoding="utf-8")
    assert network.count(right) == 1
    (tmp_path / "Network.v").write_text(network.replace(right, wrong), encoding="utf-8")
    assert compile_(tmp_path, "Network").returncode == 0
    result = compile_(tmp_path, "Backward")
    assert result.returncode == 1
    assert "Error:" in result.stderr
