"""Model files: written whole or not at all, mapped and checked when opened."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.fuzz.fuzz_storage import joined

from unrolled.errors import FormatError, SettingError, UnrolledError
from unrolled.storage import model_file as storage
from unrolled.storage.header import DTYPES
from unrolled.storage.loading import load
from unrolled.storage.model_file import read_model, write_model

Arrays = dict[str, np.ndarray[Any, Any]]


def write(path: Path, **arrays: Any) -> Path:
    write_model(path, kind="ngram", config={"order": 3}, arrays=arrays)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def every_dtype() -> Arrays:
    rng = np.random.default_rng(1)
    sizes = [(), (0,), (1,), (7, 3), (2, 0, 5), (1, 2, 1, 2, 1, 2, 1, 2), (100,)]
    return {
        f"{name}.{'x'.join(map(str, shape))}": rng.integers(0, 100, shape).astype(dtype)
        for name, dtype in DTYPES.items()
        for shape in sizes
    }


def assert_same(have: Arrays, want: Arrays) -> None:
    assert list(have) == list(want)
    for name, array in want.items():
        assert have[name].dtype == array.dtype
        assert have[name].shape == array.shape
        assert have[name].tobytes() == array.tobytes()


def test_all_comes_back(tmp_path: Path, every_dtype: Arrays) -> None:
    path = tmp_path / "model.safetensors"
    config = {"order": 5, "prune": [0, 0, 1], "text": "é\ud800\0", "nested": {"a": {"b": None}}}
    write_model(
        path, kind="ngram", config=config, arrays=every_dtype, provenance={"command": "train"}
    )
    file = read_model(path, verify=True)
    assert (file.kind, file.config, file.path) == ("ngram", config, path)
    assert file.size == path.stat().st_size
    assert file.provenance["command"] == "train"
    assert file.provenance["unrolled"] == storage.__version__
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", file.provenance["created"])
    assert_same(file.arrays, every_dtype)
    assert names(tmp_path) == ["model.safetensors"]


def test_arrays_are_aligned_and_read_only(tmp_path: Path, every_dtype: Arrays) -> None:
    file = read_model(write(tmp_path / "model.safetensors", **every_dtype))
    for array in file.arrays.values():
        assert array.size == 0 or array.ctypes.data % 64 == 0
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
        if array.size:
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.flags.writeable = True


def test_the_stock_package_reads_it(tmp_path: Path, every_dtype: Arrays) -> None:
    path = write(tmp_path / "model.safetensors", **every_dtype)
    stock = safetensors.numpy.load_file(path)
    ours = {name: stock[name] for name in every_dtype}
    assert_same(ours, every_dtype)
    assert all(re.fullmatch(r"__pad_\d+__", name) for name in stock.keys() - ours.keys())
    with safetensors.safe_open(path, "numpy") as file:
        assert list(file.metadata()) == ["unrolled"]


def test_a_file_of_no_arrays(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors")
    assert read_model(path, verify=True).arrays == {}
    assert safetensors.numpy.load_file(path) == {}


def test_the_stock_packages_own_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"a": np.arange(3)}, path, metadata={"format": "np"})
    with pytest.raises(FormatError, match="is a safetensors file that unrolled did not write"):
        read_model(path)


@settings(deadline=None, max_examples=60)
@given(
    array=hnp.arrays(
        st.sampled_from(["<u4", ">u4", ">f8", "|b1", "<c8", ">i2"]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6),
    ),
    order=st.permutations(range(4)),
    step=st.sampled_from([1, 2, -1]),
)
def test_strides_and_byte_orders_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, array: Any, order: list[int], step: int
) -> None:
    array = array.transpose([axis for axis in order if axis < array.ndim])
    array = array[..., ::step] if array.ndim else array
    path = write(tmp_path_factory.mktemp("strides") / "model.safetensors", a=array)
    stored = read_model(path, verify=True).arrays["a"]
    assert stored.dtype == array.dtype.newbyteorder("<")
    np.testing.assert_array_equal(stored, array)


@pytest.mark.parametrize("piece", [64, 1000, 1 << 20])
def test_pieces_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(storage, "_BLOCK_BYTES", piece)
    rng = np.random.default_rng(2)
    arrays = {"a": rng.random((50, 30)), "t": rng.random((50, 30)).T, "s": rng.random(999)[::-3]}
    file = read_model(write(tmp_path / "model.safetensors", **arrays), verify=True)
    assert_same(file.arrays, arrays)


@pytest.mark.parametrize("begin", [0, 1, 63, 64, 1000])
def test_pieces_end_where_the_file_has_a_multiple(
    monkeypatch: pytest.MonkeyPatch, begin: int
) -> None:
    monkeypatch.setattr(storage, "_BLOCK_BYTES", 64)
    for array in (
        np.arange(100, dtype="<i4"),
        np.arange(20, dtype="<f8"),
        np.arange(9, dtype="u1"),
    ):
        pieces = [bytes(piece) for piece in storage._blocks(array, array.dtype, begin)]
        ends = begin + np.cumsum([len(piece) for piece in pieces])
        assert b"".join(pieces) == array.tobytes()
        assert not np.any(ends[:-1] % 64)
        assert all(0 < len(piece) <= 64 for piece in pieces)


def test_chunks_are_laid_end_to_end(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    whole = rng.integers(0, 9, (20, 3), dtype=np.int16)

    def chunks() -> Iterator[Any]:
        for start in range(0, 20, 6):
            yield whole[start : start + 6]

    path = write(
        tmp_path / "model.safetensors",
        generated=chunks(),
        listed=[whole[:0], whole[:7].astype(">i2"), whole[7:]],
        none=[np.zeros((0, 4))],
        last=np.arange(3),
    )
    want = {"generated": whole, "listed": whole, "none": np.zeros((0, 4)), "last": np.arange(3)}
    assert_same(read_model(path, verify=True).arrays, want)


def test_one_array_may_serve_for_all_chunks(tmp_path: Path) -> None:
    def chunks() -> Iterator[Any]:
        chunk = np.empty(3 << 20, np.int32)
        for number in range(5):
            chunk[:] = number
            yield chunk

    path = write(tmp_path / "model.safetensors", a=chunks())
    array = read_model(path, verify=True).arrays["a"]
    assert (array[:: 3 << 20] == range(5)).all()


def test_chunks_need_no_memory(tmp_path: Path) -> None:
    count = 64
    tracemalloc.start()
    try:
        chunks = (np.full(1 << 17, number, dtype=np.float64) for number in range(count))
        path = write(tmp_path / "model.safetensors", a=chunks)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
    array = read_model(path, verify=True).arrays["a"]
    assert array.nbytes == count << 20
    assert (array[:: 1 << 17] == range(count)).all()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.array([None])}, "the array 'a' is of object, allowed are bool, uint8, int8"),
        ({"a": np.array(["x"])}, "the array 'a' is of <U1, allowed are"),
        ({"a": np.zeros(2, "f4,i4")}, "the array 'a' is of .*, allowed are"),
        ({"a": np.zeros(2, "M8[s]")}, "the array 'a' is of datetime64"),
        ({"a": np.zeros((1,) * 9)}, "the array 'a' has 9 axes, allowed are 8"),
        ({"a": [1, 2]}, "the array 'a' holds a int, not a NumPy array"),
        ({"a": []}, "the array 'a' has no chunks. Give one of length 0"),
        ({"a": [np.array(1.0), np.array(2.0)]}, "the chunks of the array 'a' have no axis to join"),
        ({"a": [np.zeros(2), np.zeros(2, "f4")]}, "has a chunk of float32 .* after .* float64"),
        ({"a": [np.zeros((2, 3)), np.zeros((2, 4))]}, r"float64 \(2, 4\) after .* \(2, 3\)"),
        ({"a": [np.zeros(2), [1.0]]}, "the array 'a' holds a list, not a NumPy array"),
        ({"a": 5}, "the array 'a' holds a int, not a NumPy array or chunks of one"),
        ({"": np.zeros(1)}, "'' cannot be the name of an array"),
        ({"a b": np.zeros(1)}, "'a b' cannot be the name"),
        ({"__metadata__": np.zeros(1)}, "'__metadata__' cannot be the name"),
        ({"__pad_0__": np.zeros(1)}, "'__pad_0__' cannot be the name"),
    ],
)
def test_arrays_that_cannot_be_stored(tmp_path: Path, arrays: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        write(tmp_path / "model.safetensors", **arrays)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["model.safetensors.gz", "model.xz"])
def test_a_model_is_never_compressed(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingError, match="is never compressed"):
        write(tmp_path / name)


def test_a_pipe_takes_no_model(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(SettingError, match="is a pipe, and a model needs a file"):
            write(Path(f"/dev/fd/{writing}"))
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError])
def test_an_interruption_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = write(tmp_path / "model.safetensors", a=np.arange(5))
    old = path.read_bytes()

    def chunks() -> Iterator[Any]:
        yield np.zeros(100_000)
        raise error

    with pytest.raises(error):
        write(path, a=np.zeros(100_000), b=chunks())
    assert path.read_bytes() == old
    assert names(tmp_path) == ["model.safetensors"]


def test_an_open_model_survives_its_replacement(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", a=np.arange(10_000))
    old = read_model(path).arrays["a"]
    write(path, a=old + 1)  # as when a model is pruned in place
    np.testing.assert_array_equal(old, np.arange(10_000))
    np.testing.assert_array_equal(read_model(path).arrays["a"], old + 1)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte, where the tests may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip("only root may mount a tiny disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(tiny_disk: Path) -> None:
    path = write(tiny_disk / "model.safetensors", a=np.arange(5))
    old = path.read_bytes()
    message = (
        rf"^{path}: the disk is full: 2,000,\d\d\d bytes are needed and 1,0\d\d,\d\d\d are free "
        rf"in {tiny_disk}. Free some space or write to another disk.$"
    )
    with pytest.raises(UnrolledError, match=message):
        write(path, a=np.zeros(250_000))
    assert path.read_bytes() == old
    assert names(tiny_disk) == ["model.safetensors"]


def test_the_time_can_be_set_for_reproducible_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    first, second = (write(tmp_path / name, a=np.arange(3)) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert read_model(first).provenance["created"] == "2001-09-09T01:46:40+00:00"


def test_every_damaged_array_is_named(tmp_path: Path) -> None:
    arrays = {"a": np.arange(10), "b": np.ones((3, 3)), "c": np.zeros(7, bool)}
    path = write(tmp_path / "model.safetensors", **arrays)
    good = path.read_bytes()
    start = 8 + int.from_bytes(good[:8], "little")
    for name, at in [("a", 0), ("a", 79), ("b", 128), ("b", 199), ("c", 256), ("c", 262)]:
        raw = bytearray(good)
        raw[start + at] ^= 1
        path = tmp_path / f"{name}-{at}.safetensors"
        path.write_bytes(raw)
        read_model(path)  # O(header): the data are not looked at
        with pytest.raises(FormatError, match=f"^{path}, array '{name}': its bytes are damaged: "):
            read_model(path, verify=True)


def test_sixty_gigabytes_open_in_three_milliseconds(tmp_path: Path) -> None:
    size = 60 << 30
    document = {"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    about: dict[str, Any] = {"format": 1, "kind": "ngram", "config": {}, "provenance": {}}
    raw = joined(document, about | {"crc32": {"a": "00000000"}}, b"")
    path = tmp_path / "huge.safetensors"
    path.write_bytes(raw)
    try:
        os.truncate(path, len(raw) + size)  # a file of holes
    except OSError:
        pytest.skip("this file system has no sparse files")
    times = []
    for _ in range(20):
        start = time.perf_counter()
        file = read_model(path)
        times.append(time.perf_counter() - start)
        assert file.arrays["a"][-1] == 0
    assert min(times) < 0.003
    path.unlink()


def test_arrays_are_checked_when_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", a=np.zeros((2, 3), "f4"), s=np.array(1))
    file = read_model(path)
    assert file.array("a", np.float32, (None, 3)).shape == (2, 3)
    assert file.array("s", "i8", ()) == 1
    with pytest.raises(FormatError, match=f"^{path}: the array 'b' is missing$"):
        file.array("b", np.float32)
    for dtype, shape, wanted in [
        ("f8", (2, 3), r"float64 of shape \(2, 3\)"),
        ("f4", (2, None, 4), r"float32 of shape \(2, any, 4\)"),
        ("f4", (None,), r"float32 of shape \(any,\)"),
        ("f4", (), r"float32 of shape \(\)"),
    ]:
        message = rf"^{path}, array 'a': it is float32 of shape \(2, 3\), and {wanted} is needed$"
        with pytest.raises(FormatError, match=message):
            file.array("a", dtype, shape)


@pytest.mark.parametrize("opener", [read_model, load])
def test_what_is_no_file(tmp_path: Path, opener: Any) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in [
        (tmp_path, f"^{tmp_path}: is a folder, not a model file$"),
        (tmp_path / "none", f"^{tmp_path}/none: there is no such file$"),
        (tmp_path / "pipe", "pipe: is a device or a pipe, not a model file"),  # and does not hang
        ("/dev/zero", "^/dev/zero: is a device"),
        ("a\0b", r"^'a\\x00b': is not a file name"),
        (tmp_path / ("x" * 300), "cannot be read: file name too long"),
    ]:
        with pytest.raises(FormatError, match=message):
            opener(path)


class Explosive:
    """Would leave a trace if anything unpickled it."""

    def __reduce__(self) -> Any:
        return exec, ("import sys; sys.exploited = True",)


@pytest.mark.parametrize("opener", [read_model, load])
@pytest.mark.parametrize("protocol", range(6))
def test_pickles_are_never_opened(tmp_path: Path, opener: Any, protocol: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Explosive(), protocol))
    with pytest.raises(FormatError, match="is not a model"):
        opener(path)
    array = tmp_path / "array.npy"
    np.save(array, np.array([Explosive()]), allow_pickle=True)
    with pytest.raises(FormatError, match="is not a model but a NumPy array file"):
        opener(array)
    assert not hasattr(sys, "exploited")


def test_importing_it_loads_no_kernels_and_no_torch() -> None:
    program = (
        "import sys, unrolled.storage.loading\n"
        "print(*sorted(sys.modules.keys() & {'numba', 'torch', 'safetensors', 'rich', 'typer'}))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(storage.__file__).parents[2])}
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, env=environment, text=True).split() == []
