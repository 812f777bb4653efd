"""Files from a stranger are read, or refused with a ValueError, within bounds."""

import gzip
import os
import zipfile
from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxmlp import files
from jaxmlp.data.readers import read_idx, read_npz
from jaxmlp.images import MAX_PIXELS, read_image
from jaxmlp.ink import Framing
from jaxmlp.runs import load_run
from tests.fuzzing import BOUND, BOUND_OF_PICTURES, Tried, bounded, fuzz, idx, make_runs, readers
from tests.strategies import LONG

pytestmark = pytest.mark.usefixtures("as_users_see_it", "as_people_run_it")

NAMES = (
    "IDX", "IDX, gzipped", "npz", "CSV", "Parquet", "npy", "PNG", "JPEG and BMP", "config.json",
    "params.safetensors", "checkpoint", "checkpoint, to go on from", "chunk of a sweep",
    "chunk in flight", "sweep.json", "a table's attributes",
)  # fmt: skip


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """All readers, by name."""
    with jax.numpy_dtype_promotion("standard"):  # as people run it
        found = readers(tmp_path_factory.mktemp("fuzzing"))
    assert (*found,) == NAMES
    return found


@pytest.mark.parametrize("name", NAMES)
def test_sound_files_are_read(known, name):
    tried = Tried()
    for seed in known[name].seeds:
        tried.give(known[name], seed)
    assert (tried.refused, tried.wrong) == (0, {})


@pytest.mark.parametrize("name", NAMES)
def test_changed_files(known, name):
    """The short form; the long one is `experiments/faults.py`, with 100,000 files each."""
    tried = fuzz(known[name], inputs=300, seed=0)
    assert tried.wrong == {}
    assert tried.refused > 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(NAMES), st.randoms(use_true_random=False))
def test_files_that_hypothesis_changes(known, name, rng):
    tried = Tried()
    tried.give(known[name], known[name].changed(rng.choice(known[name].seeds), rng))
    assert tried.wrong == {}


def test_what_is_wrong_is_seen(known):
    """The harness itself: another exception, too much memory and a hang do not pass."""

    def raises(_):
        raise KeyError("x")

    def grows(_):
        return np.ones(2 * BOUND, np.uint8)

    for read, word in ((raises, "KeyError"), (grows, "MemoryError")):
        tried = fuzz(replace(known["IDX"], read=read), inputs=1, seed=0)
        assert word in str([*tried.wrong])


def test_what_unpacks_to_more_than_there_is_room_for(tmp_path, monkeypatch):
    """A few kilobytes may hold gigabytes: they are refused before they are unpacked."""
    zeros = np.zeros((100, 100, 100), np.uint8)
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(zeros)))
    np.savez_compressed(tmp_path / "a.npz", x=zeros)
    assert read_idx(tmp_path / "a.gz", 3).shape == zeros.shape
    monkeypatch.setattr(files, "free_memory", lambda: 3_000_000)
    refusal = r"claims 1000000 bytes: the limit is 750000, a quarter of the free memory"
    with pytest.raises(ValueError, match=refusal):
        read_idx(tmp_path / "a.gz", 3)
    with pytest.raises(ValueError, match=refusal):
        read_npz(tmp_path / "a.npz", ("x",))


@pytest.mark.parametrize("name", ["../x.npy", "/etc/x.npy", "..\\x.npy", "folder/x.npy"])
def test_paths_in_archives_are_refused(name, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for member in (name, "x.npy"):
            with archive.open(member, "w") as file:
                np.save(file, np.ones(3))
    with pytest.raises(ValueError, match="holds the path"):
        read_npz(tmp_path / "a.npz", ("x",))


def test_the_largest_picture(tmp_path):
    """With colours and transparency, as many pixels as may be, within the stated bound."""
    side = int(MAX_PIXELS**0.5) if LONG else 2000
    picture = Image.new("RGBA", (side, side), "white")
    picture.paste((0, 0, 0, 255), (side // 3, side // 4, side // 2, 3 * side // 4))
    picture.save(tmp_path / "a.png", compress_level=1)
    del picture
    with bounded(BOUND_OF_PICTURES * side**2 // MAX_PIXELS):
        assert read_image(
            tmp_path / "a.png", Framing((28, 28), (20.0, 20.0), (14.0, 14.0))
        ).inputs.any()


@pytest.mark.parametrize("name", ["config.json", "params.safetensors"])
def test_what_never_ends_is_not_read(name, tmp_path):
    """A link to a device, a pipe that nobody writes to, and a file with a hole of a terabyte."""
    make_runs(tmp_path)
    path = tmp_path / "settings" / name
    for make in (
        lambda: path.symlink_to("/dev/zero"),
        lambda: os.mkfifo(path),
        lambda: path.touch() or os.truncate(path, 2**40),
    ):
        path.unlink()
        make()
        with pytest.raises(ValueError, match=r"it is no regular file|bytes: the limit is"):
            load_run(path.parent)


def test_headers_that_claim_much(tmp_path):
    """Of a few kilobytes each, and refused before memory is taken."""
    npy = b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy + b" " * 2**20)
    with pytest.raises(ValueError, match="has a header of more than 10000 bytes"):
        read_npz(tmp_path / "a.npz", ("x",))
    np.savez(tmp_path / "b.npz", x=np.ones(3))
    end = bytearray((tmp_path / "b.npz").read_bytes()[-22:])  # says where the directory is
    end[12:16] = (2**30).to_bytes(4, "little")
    with (tmp_path / "b.npz").open("wb") as file:
        file.truncate(2**31)
        file.seek(0, os.SEEK_END)
        file.write(end)
    with pytest.raises(ValueError, match=r"its directory claims \d+ bytes: the limit is 2097152"):
        read_npz(tmp_path / "b.npz", ("x",))
    size = files.MAX_HEADER + 1
    (tmp_path / "c").write_bytes(size.to_bytes(8, "little") + b"{" + b" " * size)
    with pytest.raises(ValueError, match=r"its header claims 1048577 bytes: the limit is 1048576"):
        files.read_tensors(tmp_path / "c")


def test_arrays_together_are_bounded(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", x=np.ones(1000), y=np.ones(1000))
    monkeypatch.setattr(files, "free_memory", lambda: 4 * 12_000)
    read_npz(tmp_path / "a.npz", ("x",))
    with pytest.raises(ValueError, match="it claims 16000 bytes: the limit is 12000"):
        read_npz(tmp_path / "a.npz", ("x", "y"))
