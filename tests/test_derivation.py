"""The derivation's page, the code that cites it, and the worked example agree."""

import ast
import importlib.util
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmlp
from jaxmlp.activations import ACTIVATIONS
from jaxmlp.losses import softmax

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "jaxmlp" / "derivation.md").read_text(encoding="utf-8")
MODULES = ("params", "activations", "network", "losses", "gradient")
SCRIPT = ROOT / "experiments" / "derivation.py"
RANGE = re.compile(r"\((\d+)\)(?:–| to )\((\d+)\)")
JUSTIFIES = {9, 10, 11}  # steps towards (12), which no line of code computes by itself


def tags() -> list[str]:
    return re.findall(r"\\tag\{([^}]*)\}", PAGE)


def prose(source: str) -> Iterator[str]:
    """The comments and docstrings of a module, where equations are cited."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def cited(text: str) -> set[int]:
    single = {int(number) for number in re.findall(r"\((\d+)\)", text)}
    spans = (range(int(a), int(b) + 1) for a, b in RANGE.findall(text))
    return single.union(*spans)


def cited_in(module: str) -> set[int]:
    source = (ROOT / "jaxmlp" / f"{module}.py").read_text(encoding="utf-8")
    return cited("\n".join(prose(source)))


def example() -> ModuleType:
    """The experiment as a module."""
    spec = importlib.util.spec_from_file_location("derivation_experiment", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the page ---


def test_equations_are_numbered_consecutively_and_once():
    numbers = [int(tag) for tag in tags() if "." not in tag]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 22


def test_steps_are_numbered_consecutively_under_their_equation():
    steps: dict[int, list[int]] = {}
    for tag in tags():
        if "." in tag:
            equation, step = map(int, tag.split("."))
            steps.setdefault(equation, []).append(step)
    assert steps, "the page has no steps"
    for equation, found in steps.items():
        assert found == list(range(1, len(found) + 1)), f"steps of ({equation}): {found}"


def test_every_display_has_exactly_one_number():
    blocks = re.findall(r"^```math\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == PAGE.count("```math") == len(tags())
    assert all(block.count(r"\tag{") == 1 for block in blocks)


def test_page_cites_only_equations_that_it_has():
    text = re.sub(r"```math.*?```|\$[^$]+\$", "", PAGE, flags=re.DOTALL)
    plain = {str(number) for number in cited(text)} | set(re.findall(r"\((\d+\.\d+)\)", text))
    assert plain <= set(tags())


def test_inline_mathematics_survives_github():
    """Markdown eats backslashes before signs, and reads `}_` and `*` as emphasis."""
    text = re.sub(r"```math.*?```|`[^`]*`", "", PAGE, flags=re.DOTALL)
    assert text.count("$") % 2 == 0
    for formula in re.findall(r"\$([^$]+)\$", text):
        assert not re.search(r"[}\])]_|\*|\\[^a-zA-Z]|[<>]", formula), formula


ROW = re.compile(
    r"^\| \((\d+)\) \| `(\w+)\.(\w+)` \| `([\w/]+)\.py`: `(.+?)`(?: for \((\d+)\))? "
    r"\| `(\w+)\.(test_\w+)` \|$"
)
ROWS = [found.groups() for line in PAGE.splitlines() if (found := ROW.match(line))]


def test_every_equation_has_its_row():
    assert len(ROWS) == PAGE.count("\n| (")
    assert [row[0] for row in ROWS] == [tag for tag in tags() if "." not in tag]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_equation_is_proved_computed_and_tested(row: tuple[str, ...]):
    """By a definition or lemma in Coq, a line of code that cites it, and a test."""
    number, file, name, module, code, justified, tests, test = row
    proof = (ROOT / "tests" / "formal" / f"{file}.v").read_text(encoding="utf-8")
    kinds = "Definition|Fixpoint|Lemma|Theorem|Corollary"
    plain = re.sub(r"\(\*.*?\*\)", lambda comment: " " * len(comment[0]), proof, flags=re.DOTALL)
    (found,) = re.finditer(rf"^({kinds}) {name}\b", plain, re.MULTILINE)
    above = proof[: found.start()].rstrip().rpartition("(**")[2]  # the comment above it
    assert int(number) in cited(above) or name == f"eq_{number}"
    source = (ROOT / "jaxmlp" / f"{module}.py").read_text(encoding="utf-8")
    (line,) = [i for i, each in enumerate(source.splitlines(), 1) if each.strip() == code]
    assert int(justified or number) in cited_at(source, line)
    tree = ast.parse((ROOT / "tests" / f"{tests}.py").read_text(encoding="utf-8"))
    assert any(isinstance(node, ast.FunctionDef) and node.name == test for node in tree.body)


def cited_at(source: str, line: int) -> set[int]:
    """What a line cites: in its own comment, in its function's docstring, or in a comment above."""
    lines = source.splitlines()
    texts = [lines[line - 1].partition("#")[2]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0):
            texts.append(ast.get_docstring(node) or "")
    above = line - 1
    while lines[above - 1].startswith("#"):
        texts.append(lines[above - 1])
        above -= 1
    return set().union(*map(cited, texts))


def test_what_the_page_shows_of_the_proof_is_in_the_proof():
    blocks = re.findall(r"^```coq\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    folder = ROOT / "tests" / "formal"
    proof = "".join((folder / f"{name}.v").read_text("utf-8") for name in ("Network", "Backward"))
    proof = re.sub(r"\(\*\*.*?\*\)\n", "", proof, flags=re.DOTALL)
    pieces = [piece for block in blocks for piece in block.strip().split("\n\n")]
    assert len(pieces) == 11
    assert all(piece in proof for piece in pieces)


# --- the code ---


@pytest.mark.parametrize("module", MODULES)
def test_code_cites_equations_that_exist(module: str):
    numbers = cited_in(module)
    assert numbers, f"{module} cites no equation"
    assert numbers <= {int(tag) for tag in tags() if "." not in tag}


def test_every_equation_that_computes_is_cited():
    everywhere = set().union(*map(cited_in, MODULES))
    assert set(range(1, 22)) - JUSTIFIES <= everywhere


@pytest.mark.parametrize(
    ("name", "number"),
    [("relu", 17), ("tanh", 18), ("sigmoid", 19), ("gelu", 20), ("identity", 21)],
)
def test_each_derivative_cites_its_own_equation(name: str, number: int):
    assert cited(ACTIVATIONS[name].derivative.__doc__ or "") == {number}


# --- the mathematics ---


@jax.jit
def softmax_jacobians(z: jax.Array, y: jax.Array) -> tuple[jax.Array, ...]:
    """p and the derivatives of p, log p and C by one row z, by automatic differentiation."""

    def log_p(z: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(z)

    def p(z: jax.Array) -> jax.Array:
        return softmax(z[None, :])[0]

    cost = jax.grad(lambda z: -jnp.sum(y * log_p(z)))
    return p(z), jax.jacobian(p)(z), jax.jacobian(log_p)(z), cost(z)


@pytest.mark.parametrize("z", [[0.3, -1.2, 2.0, 0.0], [0.0] * 4, [4.0, 4.0, -5.0, 1.0], [-0.7]])
def test_softmax_jacobians_are_as_derived(z: list[float]):
    """Equations (9), (10) and (11)."""
    y = np.asarray([0.5, -1.0, 2.0, 0.25][: len(z)], np.float32)
    p, of_p, of_log_p, of_cost = map(np.asarray, softmax_jacobians(jnp.asarray(z), y))
    delta = np.eye(len(z))
    np.testing.assert_allclose(of_p, p[:, None] * (delta - p[None, :]), atol=1e-6)
    np.testing.assert_allclose(of_log_p, delta - p[None, :], atol=1e-6)
    np.testing.assert_allclose(of_cost, p * np.sum(y) - y, atol=2e-6)


def test_log_probability_is_finite_where_the_probability_is_zero():
    """Equation (5): a class of weight 0 adds nothing, however improbable."""
    z = jnp.asarray([[0.0, -1e30, 200.0]])
    assert float(softmax(z)[0, 1]) == 0.0
    log_p = jax.nn.log_softmax(z, axis=1)
    assert np.all(np.isfinite(log_p))
    assert float(0.0 * log_p[0, 1]) == 0.0


def test_derivative_of_relu_at_zero_is_the_convention():
    """Equation (22), and what the page says of JAX."""
    zero = jnp.zeros((1, 1))
    assert float(ACTIVATIONS["relu"].derivative(zero, zero)[0, 0]) == 0.0
    assert float(jax.grad(lambda z: ACTIVATIONS["relu"].value(z)[0, 0])(zero)[0, 0]) == 0.0
    assert float(jax.grad(lambda z: jnp.maximum(z, 0.0)[0, 0])(zero)[0, 0]) == 0.5


def network_of_the_kink(w: float) -> tuple[jaxmlp.Params, jaxmlp.Batch]:
    first, last = jnp.asarray([[w]]), jnp.asarray([[1.0, 0.0]])
    params = (jaxmlp.Layer(first, None), jaxmlp.Layer(last, None))
    return params, jaxmlp.Batch(jnp.asarray([[1.0], [-1.0]]), jnp.asarray([0, 1]))


def test_a_smooth_loss_whose_gradient_the_convention_misses():
    """The example (24): the slope at 0 is −¼ from both sides; the recursion and JAX give 0."""
    step = 2.0**-6
    left, middle, right = (float(jaxmlp.loss(*network_of_the_kink(w))) for w in (-step, 0.0, step))
    np.testing.assert_allclose([(right - middle) / step, (middle - left) / step], -0.25, atol=3e-3)
    params, batch = network_of_the_kink(0.0)
    for grad in (jaxmlp.manual_grad, jax.grad(jaxmlp.loss)):
        assert float(grad(params, batch)[0].weight[0, 0]) == 0.0


@pytest.mark.parametrize(("activation", "new_row"), [("relu", 0), ("sigmoid", 0.5)])
def test_padding_changes_only_the_rows_that_the_page_names(activation: str, new_row: float):
    """Equations (25) to (27): one more hidden unit, all of whose parameters are zero."""
    params = jaxmlp.init_params(jax.random.key(0), (3, 2, 4))
    batch = jaxmlp.Batch(jax.random.normal(jax.random.key(1), (5, 3)), jnp.arange(5) % 4)
    padded = (
        jaxmlp.Layer(jnp.pad(params[0].weight, [(0, 0), (0, 1)]), jnp.zeros(3)),
        jaxmlp.Layer(jnp.pad(params[1].weight, [(0, 1), (0, 0)]), params[1].bias),
    )
    small = jaxmlp.manual_grad(params, batch, activation=activation)
    large = jaxmlp.manual_grad(padded, batch, activation=activation)
    np.testing.assert_allclose(large[0].weight[:, :2], small[0].weight, atol=1e-6)
    np.testing.assert_allclose(large[1].weight[:2], small[1].weight, atol=1e-6)
    assert not np.any(large[0].weight[:, 2])
    assert large[0].bias is not None
    assert float(large[0].bias[2]) == 0.0
    assert large[1].bias is not None  # (14): it holds the column sums of J
    np.testing.assert_allclose(large[1].weight[2], new_row * large[1].bias, atol=1e-6)


# --- the worked example ---


def test_an_entry_in_latex(capsys: pytest.CaptureFixture[str]):
    """What the code computes for it, by the names of the derivation."""
    main = example().main
    assert main(["--entry", "W0[0, 1]", "--network", "2-2-1"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line == (
        r"\frac{\partial \mathcal L}{\partial W^{0}[0, 1]} = "
        r"W^{1}[1, 0] \mathbf 1[h_{1}[0, 1] > 0] x[0, 0] "
        r"\left(p[0, 0] y[0, 0] - y[0, 0]\right)"
    )
    assert main(["--entry", "b0[7]", "--network", "9-20-20-10", "--bias"]) == 0
    assert capsys.readouterr().out.count(r"\mathbf 1[h_{2}[0, ") == 20
    for wrong, message in [
        (["--entry", "W0[0,2]"], "no entry W0[0,2]: the last ones are W0[1, 1], W1[1, 1]"),
        (["--entry", "b0[0]"], "no entry b0[0]"),
        (["--entry", ""], "there is no entry"),
        (["--entry", "W0[0,0]", "--network", "2"], "give widths below 100, such as 2-2-2"),
    ]:
        assert main(wrong) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


def test_example_gives_its_committed_result(tmp_path: Path):
    assert example().main(["--out", str(tmp_path)]) == 0
    committed = SCRIPT.parent / "results" / "derivation.txt"
    assert (tmp_path / "derivation.txt").read_text("utf-8") == committed.read_text("utf-8")
    assert (tmp_path / "derivation.png").read_bytes().startswith(b"\x89PNG")


def test_example_has_a_unit_that_is_off_and_one_that_is_on():
    module = example()
    z = module.X @ module.W0
    assert np.any(z < 0)
    assert np.any(z > 0)


def test_example_notices_a_wrong_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    module = example()
    right = module.written_by_hand()
    wrong = right | {"∂C/∂h₁": right["∂C/∂h₁"] * 1.00001}
    monkeypatch.setattr(module, "written_by_hand", lambda: wrong)
    monkeypatch.setattr(module, "draw", lambda *_: None)
    assert module.main(["--out", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "∂C/∂h₁" in captured.err
    assert "∂C/∂z₁" not in captured.err


def test_example_compares_shapes_and_nan():
    module = example()
    assert module.disagreement(np.ones((1, 3)), np.ones((3, 1))) == np.inf
    assert module.disagreement(np.array([np.nan]), np.ones(1)) == np.inf
    assert module.disagreement(np.array([2.0, 3.0]), np.array([2.0, 4.0])) == 0.25
