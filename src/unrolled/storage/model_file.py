"""The one model file format: a ``.safetensors`` file that is opened without being read.

Arrays are mapped into memory, read-only, when a model is opened: that takes a fraction of a
millisecond whatever the size, several processes share one copy, and nothing in a file can run as
code. The layout is described in `unrolled.storage.header`; the stock ``safetensors`` package reads
these files too.

>>> import tempfile
>>> folder = tempfile.TemporaryDirectory()
>>> path = Path(folder.name) / "tiny.safetensors"
>>> write_model(path, kind="ngram", config={"order": 2}, arrays={"words": np.arange(3)})
>>> file = read_model(path, verify=True)
>>> file.kind, file.config, file.array("words", np.int64)
('ngram', {'order': 2}, array([0, 1, 2]))
>>> del file
>>> folder.cleanup()
"""

from __future__ import annotations

import contextlib
import datetime
import mmap
import os
import stat
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from unrolled.errors import FormatError, SettingError
from unrolled.storage.atomic import atomic_write, reason
from unrolled.storage.file_kinds import HEAD_BYTES, is_arpa_name
from unrolled.storage.header import (
    ALIGNMENT,
    DTYPE_NAMES,
    DTYPES,
    MAX_DIMENSIONS,
    Entry,
    Header,
    check_name,
    header_size,
    padding,
    parse,
    render,
)
from unrolled.version import __version__

Array: TypeAlias = npt.NDArray[Any]
Source: TypeAlias = Array | Iterable[Array]

# Linux keeps what one write fills of a huge page in one, where the file system can (ext4, xfs), and
# maps it as one, so that the processor looks up one address instead of 512.
_BLOCK_BYTES = 2 << 20
_BLOCKS_BEHIND = 32  # on a busy machine the two threads seldom run at the same time
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_WIDEST = np.dtype("<f8")


@dataclass(frozen=True, eq=False)
class ModelFile:
    """An opened model file.

    Attributes:
        kind: what the file holds, such as ``ngram``.
        config: the settings that the model was made with.
        arrays: name -> array, read-only and mapped into memory, in the order of the file.
        provenance: where the model comes from: ``unrolled`` (version) and ``created`` (UTC), and
            what else its writer added, such as ``command`` and ``data``.
        path: the file.
        size: its bytes.
        crc32: name -> CRC-32 of the array's bytes as the file states it.
    """

    kind: str
    config: dict[str, Any]
    arrays: dict[str, Array] = field(repr=False)
    provenance: dict[str, Any]
    path: Path
    size: int
    crc32: dict[str, int] = field(repr=False)

    def array(
        self, name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...] = (None,)
    ) -> Array:
        """The array of that name, checked to be what the model needs.

        Args:
            name: its name.
            dtype: what its elements must be.
            shape: its shape, None for an axis of any length.

        Raises:
            FormatError: it is missing or has another dtype or shape.
        """
        array = self.arrays.get(name)
        if array is None:
            raise FormatError(f"the array {name!r} is missing", where=str(self.path))
        fits = len(shape) == array.ndim and all(
            want is None or want == have for want, have in zip(shape, array.shape, strict=True)
        )
        if array.dtype != np.dtype(dtype) or not fits:
            wanted = str(tuple("any" if size is None else size for size in shape))
            raise FormatError(
                f"it is {array.dtype} of shape {array.shape}, and {np.dtype(dtype)} of shape "
                f"{wanted.replace(chr(39), '')} is needed",
                where=f"{self.path}, array {name!r}",
            )
        return array

    def verify(self) -> None:
        """Read every byte and compare the checksums, several arrays at a time.

        Raises:
            FormatError: an array's bytes are not those that were written; it is named.
        """
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
            names = sorted(self.arrays, key=lambda name: -self.arrays[name].nbytes)
            found = pool.map(_crc32, (self.arrays[name] for name in names))
            for name, crc in zip(names, found, strict=True):
                if crc != self.crc32[name]:
                    raise FormatError(
                        f"its bytes are damaged: their checksum is {crc:08x}, and "
                        f"{self.crc32[name]:08x} was written",
                        where=f"{self.path}, array {name!r}",
                        hint="Copy the file again",
                    )


def arrays_under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays whose names begin with a prefix, by the rest of their names; none is read."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def prefixed(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The same arrays, with a prefix before each name; `arrays_under` is the inverse."""
    return {prefix + name: array for name, array in arrays.items()}


def write_model(
    path: str | os.PathLike[str],
    *,
    kind: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, Source],
    provenance: Mapping[str, Any] | None = None,
    sync: bool = False,
) -> None:
    """Write a model file, all of it or nothing.

    The bytes are written block by block while a second thread computes checksums, in one pass:
    space for the header is left free and filled in last. (Two passes would read a model that is
    bigger than the cache twice, and could not take arrays that are produced as they are written.)

    Args:
        path: the file to make; what is there is replaced only when all is written.
        kind: what the file holds: a name that `load` knows.
        config: settings, as JSON knows them: texts, finite numbers, lists, dictionaries with texts
            as keys. A tuple comes back as a list.
        arrays: name -> an array of up to eight axes, or an iterable of arrays that are laid end to
            end along their first axis, so that the whole need never be in memory.
        provenance: where the model comes from; ``unrolled`` and ``created`` are added.
        sync: wait until the disk has it.

    Raises:
        SettingError: the path, the config or an array cannot be stored.
        UnrolledError: the disk is full or fails.
    """
    shown = os.fspath(path)
    check_model_name(shown)
    for name, source in arrays.items():
        check_name(name)
        if not isinstance(source, Iterable):
            raise _not_an_array(name, source)
    origin = {"unrolled": __version__, "created": _now(), **(provenance or {})}
    # The longest that the header can get, as neither offsets nor chunks' lengths are known yet.
    longest = [Entry(name, _WIDEST, (2**59,) + (10,) * 7, 2**62, 0) for name in arrays]
    fillers = [padding(2**62 + 1, f"__pad_{index}__") for index in range(len(arrays))]
    header = Header(kind, dict(config), origin, (*longest, *fillers), 0)
    space = len(render(header))
    known = sum(source.nbytes for source in arrays.values() if isinstance(source, np.ndarray))
    with (
        atomic_write(path, compress=False, size=space + known, sync=sync) as file,
        ThreadPoolExecutor(1) as pool,
    ):
        if not file.seekable():
            raise SettingError("is a pipe, and a model needs a file", where=shown)
        file.write(bytes(space))
        sums = _Sums(pool)
        entries = tuple(_write_arrays(file, arrays, sums))
        sums.wait()
        summed = (replace(entry, crc32=sums.crc32.get(entry.name, 0)) for entry in entries)
        file.seek(0)
        file.write(render(replace(header, entries=tuple(summed)), space))


def check_model_name(shown: str) -> None:
    """Refuse a name that promises another file than `write_model` writes.

    Raises:
        SettingError: that of a compressed file, or of ARPA.
    """
    if is_arpa_name(shown):
        raise SettingError(
            "this is the name of an ARPA file",
            where=shown,
            hint="End it in .safetensors; n-gram models are written as ARPA by unrolled convert "
            "and unrolled.write_arpa",
        )
    if shown.lower().endswith(_COMPRESSED):
        raise SettingError(
            "a model file is never compressed, as it is mapped into memory",
            where=shown,
            hint="End its name in .safetensors",
        )


def read_model(path: str | os.PathLike[str], *, verify: bool = False) -> ModelFile:
    """Open a model file of any kind and map its arrays, without reading them.

    The header is checked to the last byte, so that no array can reach outside the file. The file
    must not be changed in place while it is open; replacing it, as `write_model` does, is fine.

    Args:
        path: the file.
        verify: also read all arrays and compare their checksums.

    Raises:
        FormatError: the file cannot be read, is no model, is damaged, or is of a newer version.
    """
    where = os.fspath(path)
    with opened_file(where) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(HEAD_BYTES)
        length = header_size(head, size, where)
        raw = head[:length] + file.read(max(length - len(head), 0))
        header = parse(raw, size, where)
        try:
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise FormatError(f"cannot be mapped into memory: {error}", where=where) from error
    entries = [entry for entry in header.entries if not entry.is_padding]
    opened = ModelFile(
        kind=header.kind,
        config=header.config,
        arrays={entry.name: _mapped(mapped, header.size, entry) for entry in entries},
        provenance=header.provenance,
        path=Path(where),
        size=size,
        crc32={entry.name: entry.crc32 for entry in entries},
    )
    if verify:
        opened.verify()
    return opened


@contextlib.contextmanager
def opened_file(where: str) -> Iterator[BinaryIO]:
    """Open an ordinary file: opening a pipe would wait for ever, and a device has no end."""
    if "\0" in where:
        raise FormatError("is not a file name", where=repr(where))
    try:
        mode = Path(where).stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
            raise FormatError(f"is {what}, not a model file", where=where)
        with Path(where).open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise FormatError("there is no such file", where=where) from error
    except OSError as error:
        raise FormatError(f"cannot be read: {reason(error)}", where=where) from error


def _mapped(mapped: mmap.mmap, start: int, entry: Entry) -> Array:
    """An array's view of the file, read-only."""
    if entry.begin == entry.end:
        array: Array = np.empty(entry.shape, entry.dtype)
        array.flags.writeable = False
        return array
    count = (entry.end - entry.begin) // entry.dtype.itemsize
    return np.frombuffer(mapped, entry.dtype, count, start + entry.begin).reshape(entry.shape)


class _Sums:
    """CRC-32 of each array, summed in a second thread that may fall a few pieces behind."""

    def __init__(self, pool: Executor) -> None:
        self.crc32: dict[str, int] = {}
        self._pool = pool
        self._waiting: deque[Future[None]] = deque()

    def add(self, name: str, block: memoryview) -> None:
        """Add the next block of that array to its checksum, in the other thread."""
        self._waiting.append(self._pool.submit(self._add, name, block))
        self.wait(_BLOCKS_BEHIND)

    def wait(self, behind: int = 0) -> None:
        """Wait until no more than so many pieces are to be summed."""
        while len(self._waiting) > behind:
            self._waiting.popleft().result()

    def _add(self, name: str, block: memoryview) -> None:
        self.crc32[name] = zlib.crc32(block, self.crc32.get(name, 0))


def _write_arrays(file: BinaryIO, arrays: Mapping[str, Source], sums: _Sums) -> Iterator[Entry]:
    """Write all arrays and fillers; returns their entries in the header."""
    end = 0
    fillers = 0
    for name, source in arrays.items():
        if end % ALIGNMENT:
            filler = padding(end, f"__pad_{fillers}__")
            file.write(bytes(filler.end - end))
            yield filler
            end = filler.end
            fillers += 1
        entry = _write_array(file, Entry(name, _WIDEST, (), end, 0), source, sums)
        yield entry
        end = entry.end


def _write_array(file: BinaryIO, blank: Entry, source: Source, sums: _Sums) -> Entry:
    """Write one array, whose name and begin `blank` holds."""
    shape: tuple[int, ...] | None = None
    dtype = _WIDEST
    whole = isinstance(source, np.ndarray)
    for chunk in [source] if isinstance(source, np.ndarray) else source:
        if shape is None:
            dtype, shape = _stored_dtype(blank.name, chunk), chunk.shape
        else:
            _check_chunk(blank.name, chunk, dtype, shape)
            shape = (shape[0] + chunk.shape[0], *shape[1:])
        if not whole and not shape:
            raise SettingError(f"the chunks of the array {blank.name!r} have no axis to join")
        for block in _blocks(chunk, dtype, file.tell()):
            sums.add(blank.name, block)
            file.write(block)
        if not whole:
            sums.wait()  # whoever makes the chunks may use one array for all of them
    if shape is None:
        raise SettingError(f"the array {blank.name!r} has no chunks", hint="Give one of length 0")
    return replace(blank, dtype=dtype, shape=shape)


def _stored_dtype(name: str, array: object) -> np.dtype[Any]:
    """The little-endian dtype that the file will hold."""
    if not isinstance(array, np.ndarray):
        raise _not_an_array(name, array)
    dtype: np.dtype[Any] = array.dtype.newbyteorder("<")
    if dtype not in DTYPE_NAMES:
        allowed = ", ".join(str(dtype) for dtype in DTYPES.values())
        raise SettingError(f"the array {name!r} is of {array.dtype}, allowed are {allowed}")
    if array.ndim > MAX_DIMENSIONS:
        raise SettingError(
            f"the array {name!r} has {array.ndim} axes, allowed are {MAX_DIMENSIONS}"
        )
    return dtype


def _not_an_array(name: str, value: object) -> SettingError:
    what = f"the array {name!r} holds a {type(value).__name__}, not a NumPy array or chunks of one"
    return SettingError(what)


def _check_chunk(name: str, chunk: Array, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Refuse a chunk that does not continue the ones before it."""
    if _stored_dtype(name, chunk) != dtype or chunk.shape[1:] != shape[1:]:
        raise SettingError(
            f"the array {name!r} has a chunk of {chunk.dtype} {chunk.shape} after chunks of "
            f"{dtype} {shape}"
        )


def _blocks(array: Array, dtype: np.dtype[Any], begin: int = 0) -> Iterator[memoryview]:
    """The bytes of an array in row-major order, two megabytes at a time.

    They are split at multiples of it in the file, in which they ``begin`` at that byte.
    """
    array = np.atleast_1d(array)
    if array.flags.c_contiguous and array.dtype == dtype:
        flat = array.reshape(-1).view(np.uint8).data
        for start in range(-(begin % _BLOCK_BYTES), len(flat), _BLOCK_BYTES):
            yield flat[max(start, 0) : start + _BLOCK_BYTES]
        return
    rows = max(_BLOCK_BYTES * len(array) // max(array.nbytes, 1), 1)
    for start in range(0, len(array), rows):
        part = np.ascontiguousarray(array[start : start + rows], dtype)
        yield from _blocks(part, dtype, begin)
        begin += part.nbytes


def _crc32(array: Array) -> int:
    """The CRC-32 of an array's bytes."""
    crc = 0
    for block in _blocks(array, array.dtype):
        crc = zlib.crc32(block, crc)
    return crc


def _now() -> str:
    """The time in UTC, or what the reproducible-builds variable says it is."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.datetime.now(datetime.UTC)
    if seconds.isdecimal() and len(seconds) < 12:
        now = datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)
    return now.isoformat(timespec="seconds")
