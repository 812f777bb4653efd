"""Do the tests of the numerical core bite? Every mutant of it must make one of them fail.

    python experiments/mutation.py [module ...]

cosmic-ray makes the mutants, in a copy of the tree. A mutant costs a pytest run, of which most
would be imports; so a server imports JAX and the others once, and forks a process per mutant.
Result: `experiments/results/mutation.json`, every survivor with its change, and the reason
where it is equivalent (EQUIVALENT below). Exit code 1 if a survivor has none.
"""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("activations", "gradient", "losses", "network")
TESTS = (
    "tests/test_activations.py",
    "tests/test_gradient.py::test_hand_worked_value",
    "tests/test_losses.py",
    "tests/test_network.py",
    "tests/test_gradient.py",
)
# Arrays of real numbers have no such operators: these mutants could only raise TypeError.
NONSENSE = "BitOr|BitAnd|BitXor|LShift|RShift"
# Warnings are errors elsewhere; here pytest would warn that hypothesis is imported already.
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default")
SECONDS = 600  # after which a mutant counts as killed: it made something endless

# Survivors that change nothing that can be observed: part of the changed line, and the reason.
EQUIVALENT: dict[str, str] = {
    "bits >= 31": "a float has 16, 32 or 64 bits",
    "bits >= 33": "float32 sums are float32 by either branch",
    "bits > 32": "float32 sums are float32 by either branch",
    "params is ()": "CPython keeps one empty tuple",
    "x.shape[0] <= 0": "no size is negative",
    "if labels.ndim <= 1": "check_batch and Dataset let through rank 1 and 2 only",
    "if labels.ndim >= 2": "check_batch and Dataset let through rank 1 and 2 only",
    'source = "x" if number <= 0': "enumerate counts from 0",
    "return (h != 0).astype": "a ReLU is never negative, so h ≠ 0 where h > 0 and nowhere else",
    "h[last], dz[ -1])": "dz has one entry at that point, which is its first and its last",
}


def main() -> None:
    """Mutate each module, test each mutant, write down the survivors."""
    modules = sys.argv[1:] or MODULES
    path = ROOT / "experiments/results/mutation.json"
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        for module in modules:
            result = mutate(module, Path(folder) / module)
            print(f"{module}: {result['killed']} of {result['mutants']} killed", flush=True)
            survivors += result["survivors"]
            results = json.loads(path.read_text()) if path.exists() else {}
            results[module] = result
            path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    sys.exit(any(each["equivalent because"] is None for each in survivors))


def mutate(module: str, folder: Path) -> dict:
    """Run cosmic-ray over one module, in a copy of the tree at `folder`."""
    for name in ("jaxmlp", "tests", ".jax_cache"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "pyproject.toml", folder)
    address = str(folder / "socket")
    server = subprocess.Popen([sys.executable, __file__, "--serve", address], cwd=folder)
    client = f"{sys.executable} -S -E {Path(__file__).resolve()} --ask {address}"
    config = f"""[cosmic-ray]
module-path = "jaxmlp/{module}.py"
timeout = {SECONDS}.0
excluded-modules = []
test-command = "{client}"
[cosmic-ray.distributor]
name = "local"
[cosmic-ray.filters.operators-filter]
exclude-operators = ["core/ReplaceBinaryOperator_.*_({NONSENSE})"]
"""
    (folder / "config.toml").write_text(config)
    try:
        while not os.path.exists(address):
            time.sleep(0.2)
        if ask(address) != 0:
            raise SystemExit("the tests fail without a mutation")
        for step in (
            ["cosmic-ray", "init", "config.toml", "session.sqlite"],
            ["cr-filter-operators", "session.sqlite", "config.toml"],
            ["cosmic-ray", "exec", "config.toml", "session.sqlite"],
        ):
            subprocess.run(step, cwd=folder, check=True)
        if ask(address) != 0:  # a server that had died would have "killed" every mutant
            raise SystemExit("the tests fail without a mutation, after the others")
    finally:
        server.kill()
    return collect(folder / "session.sqlite")


def collect(session: Path) -> dict:
    """Counts, and the changed lines of the mutants that no test noticed."""
    rows = (
        sqlite3.connect(session)
        .execute("SELECT test_outcome, diff FROM work_results WHERE diff != ''")
        .fetchall()
    )
    survivors = []
    for outcome, diff in rows:
        if outcome.rpartition(".")[2].lower() != "survived":
            continue
        lines = [
            line
            for line in diff.splitlines()
            if line[:1] in "+-" and line[:3] not in ("+++", "---")
        ]
        change = " → ".join(line[1:].strip() for line in lines)
        reason = next((why for part, why in EQUIVALENT.items() if part in change), None)
        survivors.append({"change": change, "equivalent because": reason})
    return {"mutants": len(rows), "killed": len(rows) - len(survivors), "survivors": survivors}


def serve(address: str) -> None:
    """Import what every test run needs, then run the tests in a fork for each who asks."""
    import beartype  # noqa: F401
    import hypothesis.extra.numpy  # noqa: F401
    import jax  # noqa: F401
    import jaxtyping  # noqa: F401
    import optax  # noqa: F401
    import pytest
    import scipy.stats  # noqa: F401

    sys.path.insert(0, os.getcwd())
    os.environ |= {"HYPOTHESIS_PROFILE": "mutation", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    while True:
        connection, _ = listener.accept()
        child = os.fork()
        if child == 0:
            signal.alarm(SECONDS)
            os.dup2(os.open("pytest.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
            os.dup2(1, 2)
            os._exit(next(filter(None, (pytest.main([*OPTIONS, test]) for test in TESTS)), 0))
        _, status = os.waitpid(child, 0)
        connection.send(bytes([os.waitstatus_to_exitcode(status) & 0xFF]))
        connection.close()


def ask(address: str) -> int:
    """Have the tests run once; 0 if they pass."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        return connection.recv(1)[0]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    elif sys.argv[1:2] == ["--ask"]:
        sys.exit(ask(sys.argv[2]))
    else:
        main()
