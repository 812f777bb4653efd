"""Files and folders that are whole or not there, whatever happens while they are written."""

import errno
import hashlib
import io
import json
import os
import platform
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from jaxmlp.version import __version__

LOCK = ".lock"
PACKAGES = ("jax", "jaxlib", "optax", "numpy")
MAX_JSON = 2**24  # bytes, which become up to 25 times as many in memory; a sweep's record holds
# some 20 for each of its trials
MAX_HEADER = 2**20  # bytes of a safetensors file, some hundred for each of its arrays


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
            _sync(path.parent)
        finally:
            aside.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk, or a power failure could bring the old ones back."""
    with suppress(OSError):  # of systems on which a folder is nothing to open or to flush
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_writable(path: Path) -> None:
    """Raise ValueError if `write_bytes` could not write a file, before the work for it is done."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ValueError(f"{path} is a link, or no regular file: give the name of a file")
    with explained(path):
        _aside(path).touch()
        _aside(path).unlink()


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def check_owned(folder: Path, record: Path, kind: str) -> None:
    """Raise ValueError if a folder holds something, but not the record of one of ours.

    Names that begin with a dot do not count: they are what work leaves that was killed as it began.
    """
    if not folder.exists() or record.exists():
        return
    with explained(folder):
        for name in sorted(os.listdir(folder)):
            if not name.startswith("."):
                raise ValueError(f"{folder} is no {kind} folder, it holds {name}: give another")


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
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def keep_record(
    path: Path, record: Mapping[str, Any], decisive: Mapping[str, Any], kind: str
) -> Mapping[str, Any]:
    """Write down what a folder is for; or, where that is written, check that it is the same.

    Args:
        path: of a JSON file in the folder.
        record: what to write.
        decisive: the part of it that decides about what is in the folder.
        kind: of what the folder holds, such as "sweep".

    Returns:
        What is written there.

    Raises:
        ValueError: if the folder is for something else, or the file cannot be written.
    """
    if not path.exists():
        write_json(path, record)
        return record
    found = read_json(path, f"as a {kind} writes it")
    for name, value in json.loads(json.dumps(decisive)).items():  # with lists for tuples
        was = found.get(name)
        if was != value:
            raise ValueError(
                f"{path.parent} holds another {kind}: its {difference(name, was, value)}: "
                "give another folder, or the same settings"
            )
    return found


def restore_record(
    path: Path, record: Mapping[str, Any], decisive: Mapping[str, Any], others: Iterable[Path]
) -> None:
    """Write a record again that is lost or damaged, if one of the other files is of the same work.

    Args:
        path, record, decisive: as for `keep_record`.
        others: safetensors files, with the digest of `decisive` if it is the same work.
    """
    with suppress(ValueError):
        if decisive.keys() <= read_json(path, "").keys():
            return
    for other in others:
        with suppress(ValueError):
            arrays, written = read_tensors(other)
            if written == digest(decisive, arrays):
                write_json(path, record)
                return


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write an object as JSON, which `read_json` can read.

    Raises:
        ValueError: if it is too large for that, or cannot be written.
    """
    text = json.dumps(record, indent=2) + "\n"
    if len(text) > MAX_JSON:
        raise ValueError(f"{path} would have {len(text)} bytes, more than {MAX_JSON}")
    write_text(path, text)


def read_json(path: Path, right: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ValueError: if it cannot be read, is larger than any of ours, or holds something else.
    """
    try:
        found = json.loads(read_file(path, MAX_JSON).decode())
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{path} is not {right}: {reason}") from error
    return found


def environment() -> dict[str, Any]:
    """On what this process runs: if it is something else, the numbers may differ a little."""
    import jax

    device = jax.devices()[0]
    return {
        "device": {"platform": device.platform, "kind": device.device_kind},
        "versions": {"jaxmlp": __version__}
        | {name: version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
    }


def began_otherwise(record: Mapping[str, Any]) -> str:
    """How the environment in a record differs from this one; empty if it does not."""
    for name, value in environment().items():
        if record.get(name) != value:
            return difference(name, record.get(name), value)
    return ""


def check_regular(path: Path) -> os.stat_result:
    """Raise ValueError for a device or a pipe, to which a link may lead: it might never end.

    Returns:
        What the system knows of the file.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is no regular file")
    return found


def read_file(path: Path, most: int) -> bytes:
    """What is in a regular file of no more than so many bytes.

    Raises:
        OSError, ValueError: if there is none, or it has more.
    """
    size = check_regular(path).st_size
    if size > most:
        raise ValueError(f"it has {size} bytes: the limit is {most}")
    with path.open("rb") as file:
        return file.read(size)


def write_tensors(path: Path, record: Any, arrays: Mapping[str, Any]) -> None:
    """Write a safetensors file, with the digest of its arrays and of the settings behind them."""
    from safetensors.numpy import save  # which only files need

    content = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write_bytes(path, save(content, {"digest": digest(record, content)}))


def numbered(name: str, leaves: Iterable[Any]) -> dict[str, Any]:
    """The leaves of a tree with names for a file, in whose order `in_order` finds them again."""
    return {f"{name}{number:06d}": leaf for number, leaf in enumerate(leaves)}


def in_order(name: str, arrays: Mapping[str, Any]) -> list[Any]:
    """What `numbered` has given names."""
    return [arrays[each] for each in sorted(arrays) if each.startswith(name)]


def read_tensors(path: Path) -> tuple[dict[str, Any], str | None]:
    """The arrays in a safetensors file, and the digest that was written into it.

    Such a file promises no more bytes than it has, so that it cannot ask for more memory. It is
    not mapped into memory: the process would end where a file in use is cut short.

    Raises:
        ValueError: if it cannot be read, is damaged, or holds numbers that NumPy does not know.
    """
    from safetensors import SafetensorError  # which only files need
    from safetensors.numpy import load

    try:
        content = read_file(path, free_memory() // 4)
        size = int.from_bytes(content[:8], "little")
        if size > MAX_HEADER:
            raise ValueError(f"its header claims {size} bytes: the limit is {MAX_HEADER}")
        arrays = load(content)
        header = json.loads(content[8 : 8 + size])
        return arrays, header.get("__metadata__", {}).get("digest")
    except (OSError, ValueError, SafetensorError, AttributeError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ValueError(f"{path} cannot be read: {reason}") from error


def check_room(name: str, promised: int) -> None:
    """Raise ValueError if a file promises more bytes than a quarter of what the machine can spare.

    A file of some kilobytes may hold gigabytes, compressed.
    """
    most = free_memory() // 4
    if promised > most:
        raise ValueError(
            f"{name} claims {promised} bytes: the limit is {most}, a quarter of the free memory"
        )


def read_exactly(file: io.BufferedIOBase, name: str, promised: int) -> bytes:
    """The rest of a file, of which its header promises so many bytes.

    No memory is taken on the header's word, but piece by piece as the bytes come.

    Raises:
        ValueError: if there are more or fewer, or they are too many.
    """
    check_room(name, promised)
    chunks, length = [], 0
    while length <= promised and (chunk := file.read(min(1 << 20, promised + 1 - length))):
        chunks.append(chunk)
        length += len(chunk)
    if length != promised:
        state = "longer" if length > promised else f"truncated: {length} bytes, which is shorter"
        raise ValueError(f"{name} is {state} than the {promised} bytes that its header promises")
    return b"".join(chunks)


def free_memory() -> int:
    """Bytes of memory that this machine can spare; what only caches its files is among them."""
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:  # no Linux
        found = None
    if found:
        return 1024 * int(found[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def difference(name: str, was: Any, now: Any) -> str:
    """The first part in which two records differ, such as batch_size is 32, not 64."""
    try:
        return _first_difference(name, was, now)
    except (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError):
        return f"{name} is not as it was written"  # by us: somebody else has changed it


def _first_difference(name: str, was: Any, now: Any) -> str:
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
