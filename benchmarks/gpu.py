"""Is everything right on a GPU, and how fast is it? Run by `gpu.sh`, which see.

Every part is a process of its own with a limit of its own, the most important first. What fails
or takes too long becomes a line of the page, and the next part begins. After each part the results
are written: `gpu-DEVICE.json`, and the page `gpu-DEVICE.md` that is made from it.
"""

import argparse
import contextlib
import importlib
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

import gpu_speed
import history
from gpu_page import checks, page
from measuring import Record

from jaxmlp.data.loaders import load_idx
from jaxmlp.files import write_json, write_text

LIMIT = 400  # seconds for all parts together
SLOW = 10  # times as long is allowed for small sizes, on a CPU that may have other work
SMALL_OUT = history.ROOT / "runs" / "gpu-small"
PACKAGES = ("jaxlib", "optax", "numpy", "torch", "scikit-learn")
MEMORY = "0.6"  # share of the GPU's memory that JAX takes; PyTorch needs some too


class Part(NamedTuple):
    """A part of the work.

    Attributes:
        module: has a function of the part's name, which writes what it finds into a record; it
            takes whether sizes are small, and a folder with MNIST's files or None.
        limit: seconds that it may take.
    """

    module: str
    limit: int


PARTS = {
    "gradients": Part("gpu_core", 80),
    "checker": Part("gpu_core", 45),
    "training": Part("gpu_core", 50),
    "tests": Part("gpu_core", 95),
    "epochs": Part("gpu_speed", 90),
    "sweeps": Part("gpu_speed", 150),
    "widths": Part("gpu_speed", 40),
    "profile": Part("gpu_speed", 30),
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
    parser.add_argument("--device", help=argparse.SUPPRESS)  # that it has to find
    given = parser.parse_args()
    if given.into:
        one_part(given)
        return
    began = time.monotonic()
    out = given.out or (SMALL_OUT if given.small else history.RESULTS)
    try:
        if given.data:
            load_idx(given.data)
        about = about_here()
    except ValueError as error:
        parser.error(str(error))
    if about["device"] == "cpu" and not given.small:
        parser.error("JAX finds no GPU here: install jax for CUDA, or give --small for a CPU")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"{out} cannot be made: {error.strerror}")
    path = out / name_of(about, given.small)
    found = results(about, given, path)
    for _ in every_part(found, given, began):
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


def one_part(given: argparse.Namespace) -> None:
    """Run a part in this process, on the device that the page is about."""
    import jax

    if (device := jax.devices()[0].device_kind) != given.device:
        sys.exit(f"this part would run on {device}, not on {given.device}")
    (name,) = given.parts
    run = getattr(importlib.import_module(PARTS[name].module), name)
    run(Record(given.into), given.small, given.data)


def about_here() -> dict[str, Any]:
    """The machine, by a process that then frees the device.

    Raises:
        ValueError: if JAX does not start.
    """
    code = f"from measuring import machine; print(json.dumps(machine(*{PACKAGES})))"
    code = f"import json, sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); {code}"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              timeout=90)  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ValueError("JAX does not start within 90 s: look at the device") from error
    if done.returncode:
        raise ValueError(f"JAX does not start: {done.stderr.strip().splitlines()[-1]}")
    about = json.loads(done.stdout.strip().splitlines()[-1])
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        about["versions"]["driver"] = driver.stdout.split()[0]
    return about


def results(about: dict[str, Any], given: argparse.Namespace, path: Path) -> dict[str, Any]:
    """What is known before the first part: of an earlier run alike, all but the parts to run."""
    found = {
        "machine": about,
        "commit": history.commit(),
        "small": given.small,
        "data": "MNIST" if given.data else "random numbers of MNIST's shape",
        "seconds": {},
        "parts": {},
        "failed": [],
    }
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(path.read_text(encoding="utf-8"))
        if all(before.get(name) == found[name] for name in ("machine", "commit", "data")):
            for name in before["parts"]:
                if name not in given.parts:
                    found["parts"][name] = before["parts"][name]
                    found["seconds"][name] = before["seconds"][name]
            found["failed"] = [each for each in before["failed"] if each["part"] not in given.parts]
    return found


def every_part(found: dict[str, Any], given: argparse.Namespace, began: float) -> Iterator[None]:
    """Run every part and add what it found, failed or not, in the time since `began`."""
    for name in given.parts:
        start = time.monotonic()
        scale = SLOW if given.small else 1
        limit = min(PARTS[name].limit * scale, LIMIT * scale - (start - began))
        print(f"== {name}: at most {max(limit, 0):.0f} s", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            into = Path(folder) / "part.json"
            problem = run_part(name, into, limit, given, found["machine"]["device"])
            part = json.loads(into.read_text()) if into.exists() else {"found": {}, "failed": []}
        found["parts"][name] = part["found"]
        found["seconds"][name] = round(time.monotonic() - start, 1)
        if problem:
            part["failed"].append({"what": f"{name}, all of it or the rest", "error": problem})
        found["failed"] += [{"part": name} | each for each in part["failed"]]
        print(f"== {name}: {found['seconds'][name]} s, {problem or 'done'}", flush=True)
        yield


def run_part(name: str, into: Path, limit: float, given: argparse.Namespace, device: str) -> str:
    """Run a part as a process; what went wrong with it as a whole, or nothing."""
    if limit < 5:
        return "no time was left"
    command = [sys.executable, "-u", __file__, "--parts", name, "--into", str(into)]
    command += ["--device", device]
    command += ["--small"] if given.small else []
    command += ["--data", str(given.data.resolve())] if given.data else []
    settings = dict(os.environ)
    if not any("CLIENT_MEM_FRACTION" in setting for setting in settings):  # it has two names
        settings["XLA_PYTHON_CLIENT_MEM_FRACTION"] = MEMORY
    process = subprocess.Popen(command, env=settings, start_new_session=True)
    try:
        code = process.wait(limit)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)  # and what it has started
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            return f"took longer than {limit:.0f} s"
        raise
    return f"ended with exit code {code}" if code else ""


def name_of(about: dict[str, Any], small: bool) -> str:
    """Such as gpu-NVIDIA-H100-80GB-HBM3.json."""
    device = re.sub(r"[^\w.]+", "-", about["device"]).strip("-")
    return f"gpu-{device}{'-small' if small else ''}.json"


if __name__ == "__main__":
    main()
