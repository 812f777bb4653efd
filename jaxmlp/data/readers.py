"""Readers of data files from anywhere: every size is checked before memory is taken for it."""

import gzip
import io
import math
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import numpy as np

from jaxmlp.files import check_regular, check_room, read_exactly

NPY_HEADERS = {  # by version: how many bytes say how long the header is, and what reads it
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
}
BYTES = np.dtype(np.uint8)
MAX_HEADER = 10_000  # bytes, which is NumPy's own limit
MAX_DIRECTORY = 2**21  # bytes of an .npz file's directory, some fifty for each of its arrays
IDX_TYPES = {np.dtype(np.uint8): 0x08, np.dtype(">i4"): 0x0C}  # the codes of MNIST and QMNIST


def read_idx(path: Path, rank: int, dtype: np.dtype = BYTES) -> np.ndarray:
    """The array in an IDX file, gzipped or not.

    Format: two zero bytes, a type code, the rank, then big-endian 32-bit sizes and the data
    (described by LeCun on the page of the MNIST database).

    Args:
        path: the file; a name that ends in .gz is decompressed.
        rank: what the array's rank must be: 3 for images, 1 for labels.
        dtype: unsigned bytes, or big-endian integers of 32 bits.

    Raises:
        ValueError: if the file cannot be read, is not IDX, holds something else than bytes
            of that rank, or is shorter or longer than its header says.
    """
    try:
        check_regular(path)
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _parse_idx(file, path, rank, dtype)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {_reason(error)}") from error


def _parse_idx(file: io.BufferedIOBase, path: Path, rank: int, dtype: np.dtype) -> np.ndarray:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0":
        raise ValueError(f"{path} is not an IDX file: it begins with {head!r}, not two zero bytes")
    if (head[2], head[3]) != (code := IDX_TYPES[dtype], rank):
        kind = "bytes" if dtype == BYTES else "integers"
        raise ValueError(
            f"{path} has IDX type {head[2]:#04x} and rank {head[3]}: expected {kind} ({code:#04x}) "
            f"of rank {rank}; are images and labels exchanged?"
        )
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise ValueError(f"{path} is truncated: it ends inside its header")
    shape = struct.unpack(f">{rank}I", sizes)
    size = math.prod(shape) * dtype.itemsize
    content = read_exactly(file, f"{path} of shape {shape}", size)
    return np.frombuffer(content, dtype).reshape(shape)


def npz_names(path: Path) -> set[str]:
    """The names of the arrays in an .npz file; none if it cannot be read, which `read_npz` says."""
    with suppress(OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error):
        check_regular(path)
        with _Archive(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    return set()


def read_npz(path: Path, keys: tuple[str, ...]) -> list[np.ndarray]:
    """The arrays called `keys` in an .npz file. Pickled objects are refused, never loaded.

    Raises:
        ValueError: if the file cannot be read, is no .npz, lacks a key, or holds objects.
    """
    try:
        check_regular(path)
        with _Archive(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if paths := [name for name in names if "/" in name or "\\" in name]:
                raise ValueError(f"it holds the path {paths[0]!r}: give arrays without folders")
            missing = [key for key in keys if f"{key}.npy" not in names]
            if missing:
                raise ValueError(f"it has no array {missing[0]!r}, only {sorted(names)}")
            headers = [_read_member(archive, f"{key}.npy", npy_header) for key in keys]
            check_room("it", sum(map(bytes_of, headers)))
            return [_read_member(archive, f"{key}.npy", _whole) for key in keys]
    # RuntimeError: it is encrypted, or uses a part of the format that zipfile does not know
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be read as .npz with {', '.join(keys)}: {_reason(error)}"
        ) from error


class _Archive(io.BufferedReader):
    """A file of which nobody reads much at once, as zipfile would on the word of a directory."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise ValueError(f"its directory claims {size} bytes: the limit is {MAX_DIRECTORY}")
        return super().read(size)


Found = TypeVar("Found")


def _read_member(
    archive: zipfile.ZipFile, name: str, read: Callable[[io.BufferedIOBase, str], Found]
) -> Found:
    if archive.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed in a way that NumPy does not use")
    with archive.open(name) as file:
        return read(cast(io.BufferedIOBase, file), name)


def _whole(file: io.BufferedIOBase, name: str) -> np.ndarray:
    return read_npy(file, name, npy_header(file, name))


class Header(NamedTuple):
    """What an .npy file says of its array."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype


def npy_header(file: io.BufferedIOBase, name: str) -> Header:
    """The header of an array in NumPy's format, at the beginning of an open file.

    Raises:
        ValueError: if there is none, or it is of Python objects, which would have to be unpickled.
    """
    version = np.lib.format.read_magic(file)
    if version not in NPY_HEADERS:
        raise ValueError(f"{name} has the unknown .npy version {version}")
    width, parse = NPY_HEADERS[version]
    size = file.read(width)
    if int.from_bytes(size, "little") > MAX_HEADER:
        raise ValueError(f"{name} has a header of more than {MAX_HEADER} bytes")
    text = io.BytesIO(size + file.read(int.from_bytes(size, "little")))
    try:
        with warnings.catch_warnings(action="ignore"):  # of one that Python 2 has written
            shape, fortran_order, dtype = parse(text)
        header = Header(tuple(map(int, shape)), bool(fortran_order), dtype)  # True may be a size
    except ValueError:
        raise
    # it is a Python literal, in which NumPy meets TokenError, RecursionError, TypeError, …
    except Exception as error:
        raise ValueError(f"{name} has a damaged header") from error
    if header.dtype.hasobject:
        raise ValueError(f"{name} holds Python objects: give numbers")
    if min(header.shape, default=0) < 0:
        raise ValueError(f"{name} has the impossible shape {header.shape}")
    return header


def bytes_of(header: Header) -> int:
    """How many bytes the array of a header has."""
    return math.prod(header.shape) * header.dtype.itemsize


def read_npy(file: io.BufferedIOBase, name: str, header: Header) -> np.ndarray:
    """The array that stands behind a header.

    Raises:
        ValueError: if there are more or fewer bytes than it promises, or too many.
    """
    shape, fortran_order, dtype = header
    if not dtype.itemsize:
        raise ValueError(f"{name} holds elements of no bytes")
    content = read_exactly(file, f"{name} of shape {shape}, {dtype},", bytes_of(header))
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran_order else "C")


def _reason(error: Exception) -> str:
    """An error in a few words; for an OSError without the path, which the message names already."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__
