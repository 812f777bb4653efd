"""Is everything right on a GPU, and how fast is it? Run by `gpu.sh`, which see.

Every part is a process of its own with a limit of its own, the most important first. What fails
or takes too long becomes a line of the page, and the next part begins. After each part the results
are written: `gpu-DEVICE.json`, and the page `gpu-DEVICE.md` that is made from it.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gpu_core
import gpu_speed
import history
from gpu_page import checks, page
from measuring import Record

from jaxmlp.files import write_json, write_text

LIMIT = 400  # seconds for all parts together
SMALL_OUT = history.ROOT / "runs" / "gpu-small"
PACKAGES = ("jaxlib", "optax", "numpy", "torch", "scikit-learn")
MEMORY = "0.6"  # share of the GPU's memory that JAX takes; PyTorch needs some too


class Part(NamedTuple):
    """A part of the work.

    Attributes:
        run: writes what it finds into a record; takes whether sizes are small, and a folder with
            MNIST's files or None.
        limit: seconds that it may take.
    """

    run: Any
    limit: int


PARTS = {
    "gradients": Part(gpu_core.gradients, 90),
    "checker": Part(gpu_core.checker, 60),
    "training": Part(gpu_core.training, 60),
    "tests": Part(gpu_core.tests, 100),
    "epochs": Part(gpu_speed.epochs, 100),
    "sweeps": Part(gpu_speed.sweeps, 120),
    "widths": Part(gpu_speed.widths, 40),
    "profile": Part(gpu_speed.profile, 30),
}


def main() -> None:
    """Run the parts one after the other, or one of them, in a process that this one started."""
    parser = argparse.ArgumentParser(prog="gpu.sh", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT", help="folder of the results")
    parser.add_argument("--small", action="store_true", help="small sizes, on a CPU too")
    parser.add_argument("--data", type=Path, help="a folder with MNIST's IDX files")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS], metavar="PART",
                        help=f"some of {', '.join(PARTS)}")  # fmt: skip
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)  # of such a process
    given = parser.parse_args()
    if given.data and not given.data.is_dir():
        parser.error(f"--data is {given.data}, which is not a folder: name one with IDX files")
    if given.into:
        (name,) = given.parts
        PARTS[name].run(Record(given.into), given.small, given.data)
        return
    out = given.out or (SMALL_OUT if given.small else history.RESULTS)
    try:
        out.mkdir(parents=True, exist_ok=True)
        code = f"from measuring import machine; print(json.dumps(machine(*{PACKAGES})))"
        about = json.loads(run_python(code))
    except (OSError, ValueError) as error:
        parser.error(f"{out} cannot be made: {error}")
    if about["device"] == "cpu" and not given.small:
        parser.error("JAX finds no GPU here: install jax for CUDA, or give --small for a CPU")
    found = results(about, given)
    path = out / name_of(about, given.small)
    for _ in every_part(found, given):
        write_json(path, found)
        write_text(path.with_suffix(".md"), page(found))
    figures = dict(gpu_speed.headlines(found["parts"]))
    if not given.small:
        print(f"history: {history.append('gpu.py', figures, about, out)}")
    print(f"results: {path} and {path.with_suffix('.md')}")
    wrong = [each["what"] for each in found["failed"] if not each.get("absent")]
    wrong += [name for name, _, right in checks(found["parts"], given.small) if not right]
    if wrong:
        print(f"{len(wrong)} failed: {'; '.join(wrong)}")
        sys.exit(1)


def results(about: dict[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    """What is known before the first part."""
    return {
        "machine": about,
        "commit": history.commit(),
        "small": given.small,
        "data": "MNIST" if given.data else "random numbers of MNIST's shape",
        "seconds": {},
        "parts": {},
        "failed": [],
    }


def every_part(found: dict[str, Any], given: argparse.Namespace) -> Iterator[None]:
    """Run every part and add what it found, failed or not."""
    began = time.monotonic()
    for name in given.parts:
        start = time.monotonic()
        limit = min(PARTS[name].limit, LIMIT - (start - began))
        print(f"== {name}: at most {max(limit, 0):.0f} s", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            into = Path(folder) / "part.json"
            problem = run_part(name, into, limit, given)
            part = json.loads(into.read_text()) if into.exists() else {"found": {}, "failed": []}
        found["parts"][name] = part["found"]
        found["seconds"][name] = round(time.monotonic() - start, 1)
        found["failed"] += part["failed"]
        if problem:
            found["failed"].append({"what": f"{name}, all of it or the rest", "error": problem})
        print(f"== {name}: {found['seconds'][name]} s, {problem or 'done'}", flush=True)
        yield


def run_part(name: str, into: Path, limit: float, given: argparse.Namespace) -> str:
    """Run a part as a process; what went wrong with it as a whole, or nothing."""
    if limit < 5:
        return "no time was left"
    command = [sys.executable, "-u", __file__, "--parts", name, "--into", str(into)]
    command += ["--small"] if given.small else []
    command += ["--data", str(given.data.resolve())] if given.data else []
    environment = {"XLA_PYTHON_CLIENT_MEM_FRACTION": MEMORY} | os.environ
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        code = process.wait(limit)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)  # and what it has started
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            return f"took longer than {limit:.0f} s"
        raise
    return f"ended with exit code {code}" if code else ""


def run_python(code: str) -> str:
    """What some Python prints, in a process that then frees the device."""
    folder = str(Path(__file__).parent)
    code = f"import json, sys; sys.path.insert(0, {folder!r}); {code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip().splitlines()[-1])
    return done.stdout.strip().splitlines()[-1]


def name_of(about: dict[str, Any], small: bool) -> str:
    """Such as gpu-NVIDIA-H100-80GB-HBM3.json."""
    device = re.sub(r"[^\w.]+", "-", about["device"]).strip("-")
    return f"gpu-{device}{'-small' if small else ''}.json"


if __name__ == "__main__":
    main()
