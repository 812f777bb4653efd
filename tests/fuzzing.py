"""Files from a stranger: sound ones, changed at random, for everything in jaxmlp that reads files.

    python -m tests.fuzzing NAME --inputs 100000    # the names are those of READERS

Each file has to be read, or refused with a ValueError, within a bound on memory and on time. Where
atheris is installed, as many again are changed by it: it keeps the files that reach code which none
before them reached, and changes those further.
"""

import argparse
import gzip
import importlib
import io
import itertools
import json
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

LARGEST = 1 << 16  # bytes of an input
BOUND = 1 << 28  # bytes of memory that a reader may take for it
BOUND_OF_PICTURES = 1 << 31  # as 64 million pixels may be promised by few bytes
TINY: Any = {"hidden": (4,), "batch_size": 8}  # settings of the run whose files are read
SECONDS = 20  # that a reader may take
CHECKPOINT = "checkpoint-000002.safetensors"
NUMBERS = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
VALUES = (
    None, True, False, 0, 1, -1, 2, 64, 2**31, 10**30, 1e400, float("nan"), 0.5, "", "x", "F32",
    "BF16", "F16", "F64", "F8_E4M3", "F8_E5M2", "F4", "I64", "U8", "BOOL", "C64", "\ud800",
    "../../etc/passwd", "<script>", "\x1b[2J", [], {}, [0], [1, 2], [8, 64], [2**40, 2**40], [[]],
    {"a": 1}, [None], ["relu"], [64, 0],
)  # fmt: skip
SHAPES = (
    "()", "(0,)", "(784,)", "(28, 28)", "(1, 784)", "(20, 28)", "(-1,)", "(1000000000,)",
    "(1099511627776, 1099511627776)", "(0, 1099511627776)", "(True,)", "(28.0, 28)", "28",
    "(" * 300, "-" * 3000 + "1", "[" * 3000, "1" * 5000,
)  # fmt: skip
DTYPES = (
    "'|u1'", "'<f4'", "'>f8'", "'<i8'", "'|b1'", "'|O'", "'|S3'", "'<U2'", "'<c8'", "'|V8'",
    "'|S0'", "'<M8[s]'", "'<f2'", "'x'", "{}", "('<f4', (2, 2))", "[('a', '<f4')]", "[('a', 'O')]",
    "None",
)  # fmt: skip


def raw(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, put in, taken out, doubled, or all after a place cut off."""
    at = rng.randrange(len(data) + 1)
    size = min(len(data) - at, rng.choice((1, 1, 2, 3, 4, 8, 16, 64)))
    number = rng.choice(NUMBERS)
    kind = rng.randrange(7)
    if kind == 0:
        return data[:at]
    if kind == 1 and at < len(data):
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + rng.randbytes(size) + data[at + size :]
    if kind == 3:
        return data[:at] + data[at + size :]
    if kind == 4:
        return data[: at + size] + data[at : at + size] * rng.randrange(1, 4) + data[at + size :]
    if kind == 5:
        return data[:at] + rng.randbytes(rng.randrange(9)) + data[at:]
    width = rng.choice((1, 2, 4, 8))
    order = rng.choice(("little", "big"))
    put = (number % 256**width).to_bytes(width, order)
    return data[:at] + put + data[at + width :]


def of_json(data: bytes, rng: random.Random) -> bytes:
    """A value replaced, taken out, put in or put elsewhere."""
    tree = json.loads(data)
    _change(tree, rng)
    return json.dumps(tree).encode()


def _change(tree: Any, rng: random.Random) -> None:
    """Change one place in what JSON held, near its root or deep in it."""
    node = tree
    while True:
        if not isinstance(node, dict | list) or not node:
            return
        key = rng.choice([*node]) if isinstance(node, dict) else rng.randrange(len(node))
        if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.8:
            node = node[key]
            continue
        break
    kind = rng.randrange(5)
    if kind == 0:
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        node[rng.choice(("x", "../x", "layer9.weight", "__metadata__", *node))] = node.pop(key)
    elif kind == 2 and isinstance(node, list):
        node.insert(key, rng.choice(VALUES))
    elif kind == 3 and isinstance(node[key], int | float):
        node[key] = rng.choice((-1, 1)) * rng.choice(NUMBERS)
    else:
        node[key] = rng.choice(VALUES)


def of_safetensors(data: bytes, rng: random.Random) -> bytes:
    """The header or the numbers changed, with the header's length put right."""
    size = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + size], data[8 + size :]
    if rng.random() < 0.2:
        body = raw(body, rng)
    else:
        header = of_json(header, rng)
    return struct.pack("<Q", len(header)) + header + body


def signed(record: Any) -> Callable[[bytes, random.Random], bytes]:
    """The same, and as often as not with the right digest, which anybody can write."""

    def of_signed(data: bytes, rng: random.Random) -> bytes:
        from safetensors.numpy import load, save

        from jaxmlp.files import digest

        data = of_safetensors(data, rng)
        if rng.random() < 0.5:
            with suppress(Exception):  # then it is damaged beyond that
                arrays = load(data)
                if arrays and rng.random() < 0.5:
                    name = rng.choice([*arrays])
                    arrays[name] = _reshaped(arrays[name], rng)
                data = save(arrays, {"digest": digest(record, arrays)})
        return data

    return of_signed


def _reshaped(array: np.ndarray, rng: random.Random) -> np.ndarray:
    """Fewer, more or none of the numbers, along fewer or more axes, or of another type."""
    kind = rng.randrange(5)
    if kind == 0:
        return array.ravel()[: rng.randrange(3)]
    if kind == 1:
        return array[None]
    if kind == 2:
        return np.concatenate([array.ravel()] * 2)
    if kind == 3:
        return np.full(array.shape, rng.choice((-1, 77, 2**31 - 1))).astype(array.dtype)
    return array.astype(rng.choice(("float64", "int32", "bool", "uint8")))


def of_npy(data: bytes, rng: random.Random) -> bytes:
    """Another shape or another type in the header, of which the length is put right."""
    size = int.from_bytes(data[8:10], "little")
    header, body = data[10 : 10 + size], data[10 + size :]
    if rng.random() < 0.3:
        header = raw(header, rng)
    else:
        descr, order = rng.choice(DTYPES), rng.choice(("True", "False", "0"))
        fields = f"'descr': {descr}, 'fortran_order': {order}, 'shape': {rng.choice(SHAPES)}"
        header = f"{{{fields}, }}\n".encode()
    return data[:8] + struct.pack("<H", len(header) % 65536) + header + body


def of_npz(data: bytes, rng: random.Random) -> bytes:
    """A member changed, renamed or doubled, in a sound archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    place = rng.randrange(len(members))
    name, content = members[place]
    kind = rng.randrange(6)
    if kind == 0:
        name = rng.choice(("../x.npy", "/etc/passwd", "a\\b", "x_train.npy", "", "x" * 70))
    elif kind == 1:
        members.append(rng.choice(members))
    else:
        content = of_npy(content, rng) if kind > 2 and len(content) > 10 else raw(content, rng)
    members[place] = name, content
    return zipped(members, rng.choice((0, 0, 8, 8, 12, 14)))


def zipped(members: list[tuple[str, bytes]], method: int) -> bytes:
    """An archive, the same at any time of day."""
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name or "x"), content, method)
    return file.getvalue()


def of_gzip(data: bytes, rng: random.Random) -> bytes:
    """The content changed, in a sound archive."""
    return gzip.compress(raw(gzip.decompress(data), rng), mtime=0)


def of_png(data: bytes, rng: random.Random) -> bytes:
    """A chunk changed, doubled or taken out, with its check-sum put right."""
    chunks, at = [], 8
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + size]])
        at += size + 12
    place = rng.randrange(len(chunks))
    kind = rng.randrange(6)
    if kind == 0:
        del chunks[place]
    elif kind == 1:
        chunks.insert(place, chunks[place])
    elif kind == 2 and chunks[place][0] == b"IDAT":
        with suppress(zlib.error):
            chunks[place] = [b"IDAT", zlib.compress(raw(zlib.decompress(chunks[place][1]), rng))]
    elif kind == 3:
        new = rng.choice((b"zTXt", b"iCCP", b"eXIf", b"tRNS", b"PLTE", b"acTL", b"fdAT", b"gAMA"))
        chunks.insert(place, [new, rng.randbytes(rng.randrange(40)) + zlib.compress(bytes(9999))])
    else:
        chunks[place] = [chunks[place][0], raw(chunks[place][1], rng)]
    parts = (
        struct.pack(">I", len(content)) + name + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )  # fmt: skip
    return data[:8] + b"".join(parts)


@dataclass(frozen=True)
class Reader:
    """Something that reads a file.

    Attributes:
        name: what it is called in tables.
        seeds: sound files.
        structured: changes a file in a way that its format knows.
        read: reads a file that holds these bytes.
        bound: bytes of memory that it may take.
    """

    name: str
    seeds: list[bytes]
    structured: Callable[[bytes, random.Random], bytes]
    read: Callable[[bytes], Any]
    bound: int = BOUND

    def changed(self, data: bytes, rng: random.Random) -> bytes:
        """A file, changed once or a few times."""
        for _ in range(rng.choice((1, 1, 2, 4))):
            how = raw if rng.random() < 0.3 else self.structured
            try:
                data = how(data, rng)
            except Exception:  # it has no structure any more
                data = raw(data, rng)
        return data[:LARGEST]


def readers(folder: Path) -> dict[str, Reader]:
    """All of them; the files that they read are made in a folder."""
    import jax

    from jaxmlp.checkpoints import decisive, load_checkpoint
    from jaxmlp.data.loaders import load_npz, load_table
    from jaxmlp.data.readers import read_idx
    from jaxmlp.images import read_image
    from jaxmlp.ink import Framing
    from jaxmlp.runs import load_run

    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (28, 28)).astype(np.uint8)
    frame = Framing((28, 28), (20.0, 20.0), (14.0, 14.0))

    def stored(name: str, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
        path = folder / name

        def of(data: bytes) -> Any:
            path.write_bytes(data)
            return read(path)

        return of

    def picture(path: Path) -> Any:
        found = read_image(path, frame).inputs
        assert found.shape[1:] == (784,)
        assert np.isfinite(found).all()

    frames = [
        pd.DataFrame(
            {"a": image[:, 0], "b": image[:, 1] % 2, "c": np.where(image[:, 2] > 99, "x", "y")}
        ),
        pd.DataFrame({"a": image[:, 0] / 7, "b": np.where(image[:, 1] > 99, "no", "yes")}),
    ]
    tables = [each.to_csv(index=False).encode() for each in frames]
    parquets = [each.to_parquet() for each in frames]
    images = idx(image[None])
    parts = {"x_train": image[:20], "y_train": image[:20, 0] % 3}
    parts |= {"x_test": image[:4], "y_test": image[:4, 0] % 3}
    members = [(f"{name}.npy", _saved(array)) for name, array in parts.items()]
    archives = [zipped(members, method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]
    arrays = [_saved(each) for each in (image, image / 255, image.ravel() / 255)]
    pngs, others = _pictures(image)
    config, params, checkpoint = make_runs(folder)
    record = json.loads(config)
    own = signed(decisive(record))
    like = jax.eval_shape(tiny_state)

    def go_on(path: Path) -> Any:
        found, wrong = load_checkpoint(path.parent, record, like)
        if found is None:
            raise ValueError(wrong)
        assert 1 <= found.epoch <= record["config"]["epochs"]
        for leaf, right in zip(jax.tree.leaves(found.state), jax.tree.leaves(like), strict=True):
            assert leaf.shape == right.shape

    found = [
        Reader("IDX", [images], raw, stored("a", lambda path: read_idx(path, 3))),
        Reader("IDX, gzipped", [gzip.compress(images, mtime=0)], of_gzip,
               stored("a.gz", lambda path: read_idx(path, 3))),
        Reader("npz", archives, of_npz, stored("a.npz", load_npz)),
        Reader("CSV", tables, raw, stored("a.csv", lambda path: load_table(path, "b"))),
        Reader("Parquet", parquets, raw, stored("a.parquet", lambda path: load_table(path, "b"))),
        Reader("npy", arrays, of_npy, stored("a.npy", picture)),
        Reader("PNG", pngs, of_png, stored("a.png", picture), BOUND_OF_PICTURES),
        Reader("JPEG and BMP", others, raw, stored("a.jpg", picture), BOUND_OF_PICTURES),
        Reader("config.json", [config], of_json,
               stored("settings/config.json", lambda path: load_run(path.parent))),
        Reader("params.safetensors", [params], own,
               stored("params/params.safetensors", lambda path: load_run(path.parent))),
        Reader("checkpoint", [checkpoint], own,
               stored(f"unfinished/{CHECKPOINT}", lambda path: load_run(path.parent))),
        Reader("checkpoint, to go on from", [checkpoint], own,
               stored(f"unfinished/{CHECKPOINT}", go_on)),
        *_of_sweeps(folder, stored),
    ]  # fmt: skip
    return {reader.name: reader for reader in found}


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as an IDX file."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def _saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _pictures(image: np.ndarray) -> tuple[list[bytes], list[bytes]]:
    """PNG files, and JPEG and BMP files."""
    from PIL import Image

    ink = np.zeros((40, 44), np.uint8)
    ink[6:34, 8:36] = image // 2
    gray = Image.fromarray(255 - ink)

    def saved(kind: str, mode: str = "L", **options: Any) -> bytes:
        file = io.BytesIO()
        gray.convert(mode).save(file, kind, **options)
        return file.getvalue()

    deep = io.BytesIO()
    Image.fromarray(ink.astype(np.uint16) * 257).save(deep, "PNG")
    pngs = [saved("PNG", mode) for mode in ("1", "L", "P", "RGB", "RGBA")]
    exif = Image.Exif()
    exif[274] = 6  # turned
    others = [saved("JPEG", exif=exif), saved("JPEG", "CMYK", progressive=True), saved("BMP", "P")]
    return [*pngs, deep.getvalue()], others


def tiny_state() -> Any:
    """What training begins with."""
    import jax

    from jaxmlp.settings import Config, Hyperparams
    from jaxmlp.training import initial_state

    return initial_state(jax.random.key(0), Hyperparams(), Config(**TINY), 5, 35, 2)


def make_runs(folder: Path) -> tuple[bytes, bytes, bytes]:
    """Settings, parameters and a checkpoint of a run, each in a folder where the rest is sound."""
    from jaxmlp.checkpoints import Checkpoint, save_checkpoint
    from jaxmlp.results import Metrics
    from jaxmlp.runs import describe, finish
    from jaxmlp.settings import Config, Hyperparams
    from tests.strategies import tiny_dataset

    dataset = tiny_dataset()
    last = Checkpoint(tiny_state(), Metrics(*[np.ones(2, np.float32)] * 3))
    record = describe(Config(**TINY), Hyperparams(), 0, "digits", dataset)
    for name in ("settings", "params", "unfinished"):
        (folder / name).mkdir()
        result = {"test_accuracy": 0.9, "test_loss": 0.1}
        finish(folder / name, record, last.state.chosen, last.metrics, result)
    (folder / "unfinished/config.json").write_text(json.dumps(record))
    save_checkpoint(folder / "unfinished", record, last)
    names = ("settings/config.json", "params/params.safetensors", f"unfinished/{CHECKPOINT}")
    config, params, checkpoint = ((folder / name).read_bytes() for name in names)
    return config, params, checkpoint


def _of_sweeps(folder: Path, stored: Callable[..., Callable[[bytes], Any]]) -> list[Reader]:
    """The readers of a sweep's folder and of its table."""
    from jaxmlp.data import fingerprint
    from jaxmlp.files import keep_record
    from jaxmlp.settings import Config
    from jaxmlp.sweeps.chunks import FLIGHT, Chunks, record_of
    from jaxmlp.sweeps.networks import NetworkTraining
    from jaxmlp.sweeps.plan import make_plan
    from jaxmlp.sweeps.reading import space_of
    from jaxmlp.sweeps.space import describe, make_space
    from jaxmlp.sweeps.sweeping import Progress, _Run, sweep
    from jaxmlp.sweeps.table import columns_of
    from tests.strategies import tiny_dataset

    def stop(now: Progress) -> None:
        if 0.5 < now.share < 1:
            raise KeyboardInterrupt

    dataset, swept = tiny_dataset(), {"learning_rate": [0.1, 0.2], "hidden": [(4,), (8,)]}
    config = Config(**TINY | {"epochs": 3})
    space = make_space(swept, config)
    record = json.loads(json.dumps(record_of(space, fingerprint(dataset), "all", None)))
    with suppress(KeyboardInterrupt):  # one chunk is finished by then, and one in flight
        sweep(swept, dataset, config=config, keep="all", out=folder / "sweep", at_once=2,
              on_progress=stop)  # fmt: skip
    chunks = Chunks(folder / "sweep", record, space.objective.saved)
    training = NetworkTraining(dataset)
    run = _Run(make_plan(space, training, 2), training, "all", lambda _: None, chunks)
    (path,) = (folder / "sweep").glob("chunk-*")
    own = signed(record)
    attributes = {name: json.dumps(value) for name, value in describe(space).items()}
    table = json.dumps(attributes | {"version": "0"}).encode()

    def chunk(read: Path) -> Any:
        with warnings.catch_warnings(action="error"):
            try:
                if read.name == FLIGHT:
                    found = chunks.load_flight(run.plan, training)
                else:
                    (found,) = chunks.load(run.plan.rungs[0], run.plan, training)
                run._hold(found)
                assert columns_of(space, [found]).ends.any()
            except UserWarning as warning:  # that it is damaged, and not used
                raise ValueError(str(warning)) from warning

    def attributes_of(data: bytes) -> Any:
        given = json.loads(data)  # a ValueError of json's own
        return space_of(SimpleNamespace(attrs=given))

    def of_table(data: bytes, rng: random.Random) -> bytes:
        given = json.loads(data)
        name = rng.choice([*given])
        given[name] = of_json(given[name].encode(), rng).decode()
        return json.dumps(given).encode()

    return [
        Reader("chunk of a sweep", [path.read_bytes()], own, stored(f"sweep/{path.name}", chunk)),
        Reader("chunk in flight", [(folder / "sweep" / FLIGHT).read_bytes()], own,
               stored(f"sweep/{FLIGHT}", chunk)),
        Reader("sweep.json", [json.dumps(record).encode()], of_json,
               stored("sweep/sweep.json", lambda path: keep_record(path, {}, record, "sweep"))),
        Reader("a table's attributes", [table], of_table, attributes_of),
    ]  # fmt: skip


@dataclass
class Tried:
    """What became of the files that a reader was given.

    Attributes:
        read, refused: how many it read, and refused.
        wrong: what else happened, with the first file that made it happen.
    """

    read: int = 0
    refused: int = 0
    wrong: dict[str, bytes] = field(default_factory=dict)

    def give(self, reader: Reader, data: bytes) -> None:
        """Give a reader one more file."""
        try:
            with _in_time():
                reader.read(data)
            self.read += 1
        except ValueError:
            self.refused += 1
        except (Exception, Hung) as error:
            self.wrong.setdefault(f"{type(error).__name__}: {error}"[:200], data)


class Hung(BaseException):
    """It takes too long; nobody catches this."""


@contextmanager
def _in_time() -> Iterator[None]:
    def hung(*_: Any) -> None:
        raise Hung(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def bounded(size: int) -> Iterator[None]:
    """No more than so many bytes of memory can be taken; what asks for more gets MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + size
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def fuzz(reader: Reader, inputs: int, seed: int) -> Tried:
    """Give a reader changed files."""
    rng, tried = random.Random(seed), Tried()
    with bounded(reader.bound):
        for _ in range(inputs):
            tried.give(reader, reader.changed(rng.choice(reader.seeds), rng))
    return tried


def guided(
    reader: Reader, inputs: int, seed: int, tried: Tried, tell: Callable[[Tried], None]
) -> None:
    """The same, where atheris chooses which files are changed further; ends the process."""
    atheris: Any = importlib.import_module("atheris")
    count = itertools.count(1)

    def one(data: bytes) -> None:
        tried.give(reader, data)
        if next(count) == inputs:
            tell(tried)
            sys.stdout.flush()
            os._exit(0)

    def change(data: bytes, _: int, number: int) -> bytes:
        rng = random.Random(number)
        return reader.changed(bytes(data) or rng.choice(reader.seeds), rng)

    with tempfile.TemporaryDirectory() as corpus:
        for number, content in enumerate(reader.seeds):
            (Path(corpus) / str(number)).write_bytes(content)
        options = [f"-max_len={LARGEST}", f"-seed={seed + 1}", "-verbosity=0", "-rss_limit_mb=0"]
        atheris.Setup([sys.argv[0], corpus, *options], one, custom_mutator=change)
        with bounded(reader.bound):
            atheris.Fuzz()


def main() -> None:
    """Fuzz one reader; prints what became of it as JSON, on the last line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("name")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    atheris: Any = None
    with suppress(ModuleNotFoundError):  # it has no wheel for some systems
        atheris = importlib.import_module("atheris")
    if atheris:
        parts = [
            f"jaxmlp.{name}"
            for name in ("readers", "images", "checkpoints", "runs", "files", "sweeps")
        ]
        with atheris.instrument_imports(include=[*parts, "PIL", "safetensors", "zipfile", "gzip"]):
            import jaxmlp.images
            import jaxmlp.runs
            import jaxmlp.sweeps.chunks
            import jaxmlp.sweeps.reading
            import jaxmlp.sweeps.sweeping  # noqa: F401
    folder = Path(tempfile.mkdtemp())
    found = readers(folder)
    if given.name not in found:
        parser.error(f"there is no reader {given.name!r}: {', '.join(found)}")
    reader = found[given.name]

    def tell(tried: Tried) -> None:
        shutil.rmtree(folder)
        wrong = {what: data.hex() for what, data in tried.wrong.items()}
        told = {"read": tried.read, "refused": tried.refused, "wrong": wrong}
        print(json.dumps(told | {"guided": atheris is not None}))

    tried = fuzz(reader, given.inputs, given.seed)
    if atheris:
        guided(reader, given.inputs, given.seed, tried, tell)
    else:
        tell(tried)


if __name__ == "__main__":
    main()
