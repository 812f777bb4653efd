"""Settings of the whole suite: shapes checked at run time, nothing promoted in silence."""

import os
import shutil
from pathlib import Path

from jaxtyping import install_import_hook

PACKAGE = Path(__file__).parent.parent / "jaxmlp"
# Those with shapes in their types. What the checker calls a hundred thousand times has none, and
# checking its plain types took two thirds of its tests' time; basedpyright checks those.
TYPED = [
    ".".join(("jaxmlp", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.stem != "__init__" and "from jaxtyping import" in path.read_text("utf-8")
]
# Before anything imports jaxmlp: every jaxtyping annotation is checked at every call.
install_import_hook(TYPED, "beartype.beartype")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

import jaxmlp  # noqa: E402
from tests import durability  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent.parent / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.devices()  # from here on there is one, whatever a command line would make of the CPU

# Compilation makes first calls slow, which is no flakiness. A failure prints how to repeat it.
always = hypothesis.settings(
    deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("default", always, max_examples=15)
hypothesis.settings.register_profile("long", always, max_examples=1000)
# For mutants, whose number makes time short: the same cases for each, and no shrinking.
hypothesis.settings.register_profile(
    "mutation", always, max_examples=15, derandomize=True, phases=[hypothesis.Phase.generate]
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """After each module: half of the suite took 4 GB in one process, and one has crashed."""
    yield
    jax.clear_caches()


@pytest.fixture
def as_users_see_it():
    """Without the run-time type checks, which users do not have and which would come first."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture
def as_people_run_it():
    """Foreign code runs under JAX's defaults, not under this suite's stricter ones."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def same_numbers(request):
    """Every test draws the same, whichever ran before it: from the module's RNG at its STATE."""
    request.module.RNG.bit_generator.state = request.module.STATE


@pytest.fixture(scope="session")
def mnist_directory() -> Path:
    """The folder with MNIST's four IDX files, where there is one."""
    folder = os.environ.get("JAXMLP_MNIST_DIR")
    if not folder:
        pytest.skip("JAXMLP_MNIST_DIR names no folder with MNIST's IDX files")
    return Path(folder)


@pytest.fixture(scope="session")
def digits() -> jaxmlp.Dataset:
    return jaxmlp.load_digits()


@pytest.fixture
def as_in_a_shell(as_users_see_it, tmp_path, monkeypatch):
    """In an empty folder, without the suite's stricter settings."""
    monkeypatch.chdir(tmp_path)
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def whole(as_in_a_shell, tmp_path_factory) -> Path:
    """What a small run leaves that is not stopped; trained once for all tests of a process."""
    folder = tmp_path_factory.getbasetemp() / "whole"
    if not folder.exists():
        durability.train("--out", folder)
    return folder


@pytest.fixture
def before_epoch(monkeypatch):
    """Let something happen just before the checkpoints of some epochs are written."""
    from jaxmlp.cli import train as command

    save = command.save_checkpoint

    def at(epochs, what):
        def saved(folder, record, last):
            if last.epoch in epochs:
                what(Path(folder))
            save(folder, record, last)

        monkeypatch.setattr(command, "save_checkpoint", saved)

    return at


@pytest.fixture
def stopped(as_in_a_shell, before_epoch, capsys) -> Path:
    """A run that was cut off after four of its six epochs."""
    before_epoch({5}, durability.power_fails)
    with pytest.raises(durability.PowerFailureError):
        durability.train("--out", "run")
    before_epoch((), None)
    capsys.readouterr()
    return Path("run")


@pytest.fixture(scope="module")
def browser():
    """A browser without a window; tests with it are of the xdist group `browser`."""
    webdriver = pytest.importorskip("selenium.webdriver")
    paths = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(paths):
        pytest.skip("no chromium and chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    # software rendering, since parallel coordinates need WebGL and a test machine has no GPU
    for flag in (
        "headless=new",
        "no-sandbox",
        "enable-unsafe-swiftshader",
        "window-size=1200,1500",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=paths[1])
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()
