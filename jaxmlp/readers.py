"""Readers of data files from anywhere: every size is checked before memory is taken for it."""

import gzip
import io
import math
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

MAX_BYTES = 8 * 1024**3  # more than any data set that this library is for
NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
IDX_UINT8 = 0x08  # the type code of unsigned bytes, the only one that MNIST's files use


def read_idx(path: Path, rank: int) -> np.ndarray:
    """The array of unsigned bytes in an IDX file, gzipped or not.

    Format: two zero bytes, a type code, the rank, then big-endian 32-bit sizes and the data
    (described by LeCun on the page of the MNIST database).

    Args:
        path: the file; a name that ends in .gz is decompressed.
        rank: what the array's rank must be: 3 for images, 1 for labels.

    Raises:
        ValueError: if the file cannot be read, is not IDX, holds something else than bytes
            of that rank, or is shorter or longer than its header says.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _parse_idx(file, path, rank)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {_reason(error)}") from error


def _parse_idx(file: io.BufferedIOBase, path: Path, rank: int) -> np.ndarray:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0":
        raise ValueError(f"{path} is not an IDX file: it begins with {head!r}, not two zero bytes")
    if (head[2], head[3]) != (IDX_UINT8, rank):
        raise ValueError(
            f"{path} has IDX type {head[2]:#04x} and rank {head[3]}: expected bytes (0x08) of "
            f"rank {rank}; are images and labels exchanged?"
        )
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise ValueError(f"{path} is truncated: it ends inside its header")
    shape = struct.unpack(f">{rank}I", sizes)
    expected = math.prod(shape)
    if expected > MAX_BYTES:
        raise ValueError(f"{path} claims {expected} bytes ({shape}): the limit is {MAX_BYTES}")
    chunks, length = [], 0
    while length <= expected and (chunk := file.read(min(1 << 20, expected + 1 - length))):
        chunks.append(chunk)
        length += len(chunk)
    if length != expected:
        state = "longer" if length > expected else f"truncated: {length} bytes, which is shorter"
        raise ValueError(f"{path} is {state} than the {expected} bytes that its header promises")
    return np.frombuffer(b"".join(chunks), dtype=np.uint8).reshape(shape)


def read_npz(path: Path, keys: tuple[str, ...]) -> list[np.ndarray]:
    """The arrays called `keys` in an .npz file. Pickled objects are refused, never loaded.

    Raises:
        ValueError: if the file cannot be read, is no .npz, lacks a key, or holds objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            missing = [key for key in keys if f"{key}.npy" not in names]
            if missing:
                raise ValueError(f"it has no array {missing[0]!r}, only {sorted(names)}")
            return [_read_member(archive, f"{key}.npy") for key in keys]
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be read as .npz with {', '.join(keys)}: {_reason(error)}"
        ) from error


def _read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One array of an .npz file, once its header is known to promise no more than there is."""
    size = archive.getinfo(name).file_size
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        if version not in NPY_HEADERS:
            raise ValueError(f"{name} has the unknown .npy version {version}")
        shape, _, dtype = NPY_HEADERS[version](file)
        promised = math.prod(shape) * dtype.itemsize + file.tell()
    if promised != size and not dtype.hasobject:
        raise ValueError(f"{name} promises {promised} bytes ({dtype} {shape}), but has {size}")
    if size > MAX_BYTES:
        raise ValueError(f"{name} has {size} bytes: the limit is {MAX_BYTES}")
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _reason(error: Exception) -> str:
    """An error in a few words; for an OSError without the path, which the message names already."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__
