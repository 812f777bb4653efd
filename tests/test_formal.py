"""The proof in `tests/formal`: Coq accepts it, it assumes nothing of its own, and it bites."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.strategies import LONG

FOLDER = Path(__file__).parent / "formal"
# In the order in which they need each other.
FILES = (
    "Sums", "Network", "Backward", "Partial", "Activations", "Further", "Kinks", "Note", "Losses",
    "Rounding",
)  # fmt: skip
# Those of Coq's real numbers, on which its logarithm and Coquelicot rest, and that functions with
# the same values are the same.
AXIOMS = {
    "ClassicalDedekindReals.sig_forall_dec",
    "ClassicalDedekindReals.sig_not_dec",
    "Classical_Prop.classic",
    "FunctionalExtensionality.functional_extensionality_dep",
}
PROVED = re.compile(r"^(?:Lemma|Theorem|Corollary) ([\w']+)", re.MULTILINE)
# What would take something for granted, or switch off what Coq checks.
ASSUMING = (
    r"\b(Admitted|admit|give_up|Axioms?|Parameters?|Conjectures?|Abort|Unset|bypass_check|Load|"
    r"Declare|Extract)\b"
)


def _has_coq() -> bool:
    """Whether Coq is there, and Coquelicot beside it."""
    if shutil.which("coqc") is None:
        return False
    where = subprocess.run(["coqc", "-where"], capture_output=True, text=True, check=False)
    return (Path(where.stdout.strip()) / "user-contrib" / "Coquelicot").is_dir()


pytestmark = pytest.mark.xdist_group("coq")  # so that one process compiles it
needs_coq = pytest.mark.skipif(
    not _has_coq(), reason="needs Coq: apt-get install coq libcoq-coquelicot"
)


def source_of(name: str) -> str:
    """A file without its comments."""
    text = (FOLDER / f"{name}.v").read_text(encoding="utf-8")
    return re.sub(r"\(\*.*?\*\)", "", text, flags=re.DOTALL)


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


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_assumed_or_left_out(name):
    """Variables and hypotheses are those of a section, at whose end they become arguments."""
    source = source_of(name)
    assert not re.search(ASSUMING, source)
    depth = 0
    for line in source.splitlines():
        depth += line.startswith("Section ") - line.startswith("End ")
        assert depth or not re.match(r"\s*(Variables?|Hypothes[ie]s|Context)\b", line), line
    assert depth == 0
    assert not re.search(r"^\s*Module\b", source, re.MULTILINE)


def assumptions(folder: Path) -> set[str]:
    """The first words of all that the proofs of every lemma and theorem assume together."""
    names = [f"@{file}.{name}" for file in FILES for name in PROVED.findall(source_of(file))]
    assert len(names) > 90
    (folder / "Assumptions.v").write_text(
        f"Require {' '.join(FILES)}.\nDefinition together := ({', '.join(names)}).\n"
        "Print Assumptions together.\n"
    )
    result = compile_(folder, "Assumptions")
    assert result.returncode == 0, result.stderr
    first, *lines = result.stdout.splitlines()
    assert first == "Axioms:"
    return {line.split()[0] for line in lines if not line.startswith(" ")}


@needs_coq
def test_assumptions(proved):
    assert assumptions(proved) == AXIOMS


@needs_coq
def test_an_axiom_would_be_seen(proved, tmp_path):
    """Whatever it is called, and whichever lemma rests on it."""
    for path in proved.glob("*.vo"):
        shutil.copy(path, tmp_path)
    last = (proved / f"{FILES[-1]}.v").read_text(encoding="utf-8")
    assert last.count("Lemma count_positive t : (1 <= count t)%nat.\nProof. ") == 1
    cheat = "Axioms easy' : forall P : Prop, P.\n"
    (tmp_path / f"{FILES[-1]}.v").write_text(
        last.replace("Section Rounding.", cheat + "Section Rounding.").replace(
            "Proof. induction t; simpl; lia. Qed.", "Proof. apply easy'. Qed."
        ),
        encoding="utf-8",
    )
    result = compile_(tmp_path, FILES[-1])
    assert result.returncode == 0, result.stderr
    assert assumptions(tmp_path) == AXIOMS | {f"{FILES[-1]}.easy'"}


# Of Network.v: what is replaced, and by what. Every variable is still there, so that the recursion
# has the same type, and what fails is the proof.
ERROR = "/ INR N * (softmax k (z n) j * Σ (i < k) y n i - y n j)"
BACK = "Σ (j < outs l) (J' n j * W l i j) * f' (z n i)"
RIGHT = {
    "as it is": (ERROR, ERROR),
    "another order": (BACK, "f' (z n i) * Σ (j < outs l) (J' n j * W l i j)"),
}
WRONG = {
    "sign": (ERROR, ERROR.replace("-", "+")),
    "transpose": (BACK, BACK.replace("W l i j", "W l j i")),
    "mask missing": (BACK, BACK.replace("f' (z n i)", "(f' (z n i) - f' (z n i) + 1)")),
    "1/N missing": (ERROR, ERROR.replace("/ INR N", "(INR N - INR N + 1)")),
    "label sum taken for 1": (ERROR, ERROR.replace("Σ (i < k) y n i", "1")),
    "mask of the next layer": (BACK, BACK.replace("(z n i)", "(affine k l (activated z) n i)")),
    "bias averaged": ("(fun j => Σ (n < N) J' n j)", "(fun j => / INR N * Σ (n < N) J' n j)"),
    "z in the place of h": ("(h n i * J' n j)", "(z n i * J' n j)"),
}


def backward_for(proved: Path, folder: Path, right: str, other: str):
    """Backward.v compiled for another recursion."""
    for file in ("Sums.vo", "Network.v", "Backward.v"):
        shutil.copy(proved / file, folder)
    network = (folder / "Network.v").read_text(encoding="utf-8")
    assert network.count(right) == 1
    (folder / "Network.v").write_text(network.replace(right, other), encoding="utf-8")
    assert compile_(folder, "Network").returncode == 0
    return compile_(folder, "Backward")


@needs_coq
@pytest.mark.parametrize("name", [*RIGHT][0 if LONG else 1 :])
def test_a_right_recursion_is_proved(proved, tmp_path, name):
    result = backward_for(proved, tmp_path, *RIGHT[name])
    assert result.returncode == 0, result.stderr


@needs_coq
@pytest.mark.parametrize("name", [*WRONG][: None if LONG else 4])
def test_the_proof_fails_for_a_wrong_recursion(proved, tmp_path, name):
    """It is a definition as good as any, but a proof fails, and no statement."""
    result = backward_for(proved, tmp_path, *WRONG[name])
    assert result.returncode == 1
    lines = (tmp_path / "Backward.v").read_text(encoding="utf-8").splitlines()
    failed = int(re.findall(r"line (\d+), characters", result.stderr)[0])
    starts = (number for number in range(failed, 0, -1) if "Proof." in lines[number - 1])
    ends = (number for number in range(failed - 1, 0, -1) if "Qed." in lines[number - 1])
    assert next(starts) > next(ends)
    assert re.search("not a valid ring equation|incomplete proof|[Uu]nable to unify", result.stderr)
