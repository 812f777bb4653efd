"""Files and folders that are whole or not there, whatever happens while they are written."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

LOCK = ".lock"
MAX_JSON = 2**26  # bytes; a sweep's record holds a number for each of its trials


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file aside and rename it, so that it is whole or as it was.

    Raises:
        ValueError: if it cannot be written.
    """
    aside = _aside(path)
    with explained(path):
        try:
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # or a crash could leave a name without the content
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raise ValueError if `write_bytes` could not write a file, before the work for it is done."""
    with explained(path):
        _aside(path).touch()
        _aside(path).unlink()


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def remove_partial(folder: Path) -> None:
    """Remove what processes that were killed had begun to write into a folder."""
    for path in folder.glob(".*.partial"):
        path.unlink(missing_ok=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What the system refuses becomes a ValueError that names `path`."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def locked(folder: Path, user: str) -> Iterator[None]:
    """Hold an existing folder for oneself.

    Args:
        folder: which gets a file `.lock`.
        user: what one is, for the error message of another one, such as "sweep".

    Raises:
        ValueError: if somebody else holds it.
    """
    from filelock import FileLock, Timeout  # which only the command line and sweeps need

    lock = FileLock(folder / LOCK)
    with explained(folder):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(
                f"{folder} is in use by another {user}: wait for it, or give another folder"
            ) from None
    try:
        yield
    finally:
        lock.release()


def digest(record: Any, arrays: Mapping[str, Any]) -> str:
    """A short name for arrays, and for the settings that they came from."""
    found = hashlib.sha256(json.dumps(record).encode())
    for name, array in sorted(arrays.items()):
        array = np.asarray(array)
        found.update(f"{name}{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def check_record(path: Path, record: Mapping[str, Any], kind: str) -> None:
    """Raise ValueError unless the JSON file at `path` says of its folder what `record` says.

    Args:
        path: of the file.
        record: all that decides about what is in the folder; the file may hold more.
        kind: of what the folder holds, such as "sweep".
    """
    found = read_json(path, f"as a {kind} writes it")
    for name, value in json.loads(json.dumps(record)).items():  # with lists for tuples
        was = found.get(name)
        if was != value:
            raise ValueError(
                f"{path.parent} holds another {kind}: its {_difference(name, was, value)}: "
                "give another folder, or the same settings"
            )


def read_json(path: Path, right: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ValueError: if it cannot be read, is larger than any of ours, or holds something else.
    """
    try:
        if path.stat().st_size > MAX_JSON:
            raise ValueError(f"it has more than {MAX_JSON} bytes")
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{path} is not {right}: {reason}") from error
    return found


def read_tensors(path: Path) -> tuple[dict[str, Any], str | None]:
    """The arrays in a safetensors file, and the digest that was written into it.

    Such a file promises no more bytes than it has, so that it cannot ask for more memory.

    Raises:
        ValueError: if it cannot be read, is damaged, or holds numbers that NumPy does not know.
    """
    from safetensors import SafetensorError, safe_open  # which only files need

    try:
        with safe_open(path, "np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, (file.metadata() or {}).get("digest")
    except (OSError, SafetensorError, AttributeError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ValueError(f"{path} cannot be read: {reason}") from error


def _difference(name: str, was: Any, now: Any) -> str:
    """The first part in which two records differ, such as batch_size is 32, not 64."""
    if name == "fingerprint":
        return f"data set is another one, of fingerprint {was}, not {now}"
    if name == "space":
        was, now = ({axis[0]: axis[1:] for axis in axes} for axes in (was, now))
        if [*was] != [*now]:
            return f"swept fields are {', '.join(was)}, not {', '.join(now)}"
        name = next(field for field in now if was[field] != now[field])
        return f"{name} is {was[name][0]}, not {now[name][0]}"
    if isinstance(was, dict) and isinstance(now, dict):
        name = next(field for field in now if was.get(field) != now[field])
        return f"{name} is {was.get(name)}, not {now[name]}"
    return f"{name} is {was}, not {now}"
