r"""The header of a model file: written, and read with suspicion.

A model is a file in the safetensors format, laid out more strictly than that format asks for:

=========  =====================================================================================
8 bytes    N, little-endian: the length of the header
N bytes    the header: JSON, and spaces up to the next multiple of 64 bytes of the file
the rest   the arrays one after the other, little-endian, in row-major order, each beginning at a
           multiple of 64 bytes; where needed, an array ``__pad_0__``, ``__pad_1__``... of fewer
           than 64 zero bytes stands between two of them, as safetensors forbids holes
=========  =====================================================================================

The JSON holds one object for each array, ``"name": {"dtype": "F32", "shape": [3, 4],
"data_offsets": [begin, end]}`` with offsets from the end of the header, in the order of the file.
Before them stands ``"__metadata__": {"unrolled": TEXT}``, where TEXT is JSON again:

``{"header_crc32": "0f3c...", "format": 1, "kind": "ngram", "config": {...}, "provenance": {...},
"crc32": {"name": "1d4e...", ...}}``

with the CRC-32 of each array's bytes, eight hexadecimal digits each. The ``header_crc32`` is that
of the first 8 + N bytes of the file without its own eight digits. It stands first, at the same
place in every file of every format version, and is checked before anything is parsed: no damage to
the header goes unnoticed, and what is parsed afterwards can be wrong only on purpose.
"""

from __future__ import annotations

import json
import math
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import FormatError, SettingError
from unrolled.storage.file_kinds import recognise
from unrolled.version import __version__

# 1: n-gram models store the back-off weights of all contexts in one form; 2: quantized ones store
# the table of their words.
FORMAT = 3
ALIGNMENT = 64  # bytes: a cache line, and the widest vector register
MAX_HEADER = 8 << 20  # bytes; parsed JSON takes up to forty times its length in memory
MAX_DIMENSIONS = 8

# safetensors' name -> NumPy's. Its others (BF16, F8...) have no NumPy type.
DTYPES = {
    name: np.dtype(code)
    for name, code in {
        "BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2", "I16": "<i2", "U32": "<u4",
        "I32": "<i4", "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
        "C64": "<c8",
    }.items()
}  # fmt: skip
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}

_START = rb'{"__metadata__":{"unrolled":"{\"header_crc32\":\"'
_DIGITS = slice(8 + len(_START), 8 + len(_START) + 8)
_KIND = re.compile(r"[a-z][a-z0-9-]{0,39}")
_NAME = re.compile(r"[A-Za-z0-9_./:-]{1,200}")
_PADDING = re.compile(r"__pad_[0-9]{1,9}__")
_CRC32 = re.compile(r"[0-9a-f]{8}")
_LARGEST = 2**62  # no shape or offset is larger, so that sums of two fit in 64 bits


@dataclass(frozen=True)
class Entry:
    """One array: where its bytes lie, counted from the end of the header, and how to read them."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    crc32: int

    @property
    def end(self) -> int:
        """The offset after its last byte."""
        return self.begin + math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_padding(self) -> bool:
        """Whether it only fills the space up to the next aligned array."""
        return _PADDING.fullmatch(self.name) is not None


@dataclass(frozen=True)
class Header:
    """All that a model file says about itself."""

    kind: str
    config: dict[str, Any]
    provenance: dict[str, Any]
    entries: tuple[Entry, ...]
    size: int  # bytes of the header in the file, the eight of its length included


def padding(begin: int, name: str) -> Entry:
    """The filler that makes the array after it begin at a multiple of `ALIGNMENT`.

    >>> padding(100, "__pad_0__").shape
    (28,)
    """
    return Entry(name, DTYPES["U8"], (-begin % ALIGNMENT,), begin, 0)


def check_name(name: str) -> None:
    """Refuse an array name that cannot stand in a file."""
    if not _NAME.fullmatch(name) or name == "__metadata__" or _PADDING.fullmatch(name):
        raise SettingError(
            f"{name!r} cannot be the name of an array",
            hint="Names are 1 to 200 of A-Z a-z 0-9 _ . / : - and neither "
            "__metadata__ nor __pad_0__",
        )


def render(header: Header, size: int = 0) -> bytes:
    """The bytes of a header, its length and checksum included, filled up to `size` with spaces.

    Raises:
        SettingError: the kind, the config or the provenance cannot be stored, or it is too large.
    """
    if not _KIND.fullmatch(header.kind):
        raise SettingError(
            f"the kind {header.kind!r} is not a short name", hint="Use a-z, 0-9 and -"
        )
    arrays = [entry for entry in header.entries if not entry.is_padding]
    about = {
        "header_crc32": "0" * 8,
        "format": FORMAT,
        "kind": header.kind,
        "config": header.config,
        "provenance": header.provenance,
        "crc32": {entry.name: f"{entry.crc32:08x}" for entry in arrays},
    }
    document: dict[str, Any] = {"__metadata__": {"unrolled": _dumps(about)}}
    for entry in header.entries:
        document[entry.name] = {
            "dtype": DTYPE_NAMES[entry.dtype],
            "shape": entry.shape,
            "data_offsets": (entry.begin, entry.end),
        }
    text = _dumps(document).encode("ascii")
    length = max(size - 8, len(text) + (-(8 + len(text)) % ALIGNMENT))
    if length > MAX_HEADER:
        raise SettingError(
            f"the header would take {length:,} bytes, and {MAX_HEADER:,} are allowed",
            hint="Store long lists as arrays, not in the config",
        )
    if 0 < size != 8 + length:
        raise ValueError(f"a header of {8 + length} bytes does not fit into {size}")
    raw = bytearray(struct.pack("<Q", length) + text.ljust(length))
    raw[_DIGITS] = _checksum(raw)
    return bytes(raw)


def header_size(head: bytes, file_size: int, where: str) -> int:
    """Bytes of the header, its length included, of a file that begins with `head`.

    Raises:
        FormatError: this is no model, or one cut off within its header.
    """
    if file_size == 0:
        raise FormatError("is empty", where=where, hint="Write or copy it again")
    if head[8 : 8 + len(_START)] != _START[: max(len(head) - 8, 1)]:
        raise _foreign(head, file_size, where)
    length = int.from_bytes(head[:8], "little")
    if not _DIGITS.stop - 8 < length <= MAX_HEADER:
        raise FormatError(
            f"is damaged at byte 0: the header's length reads {length:,}, and "
            f"{_DIGITS.stop - 7} to {MAX_HEADER:,} are allowed",
            where=where,
            hint="Copy it again",
        )
    if 8 + length > file_size:
        raise FormatError(
            f"is cut off within its header: {8 + length:,} bytes are announced, and the file has "
            f"{file_size:,}",
            where=where,
            hint="Copy it again",
        )
    return 8 + length


def parse(raw: bytes, file_size: int, where: str) -> Header:
    """Read the header `raw` (as long as `header_size` says) of a file of `file_size` bytes.

    Raises:
        FormatError: it is damaged, contradicts itself or the file's size, or is of a newer format.
    """
    if raw[_DIGITS] != _checksum(raw):
        raise FormatError(
            f"is damaged within its first {len(raw):,} bytes: the header's checksum reads "
            f"{raw[_DIGITS].decode('latin-1')!r}, and its bytes give "
            f"{_checksum(raw).decode()!r}",
            where=where,
            hint="Copy it again",
        )
    document = _loads(raw[8:], where, "the header")
    metadata = document.pop("__metadata__", None)
    text = metadata.get("unrolled") if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise _wrong("__metadata__ lacks the text 'unrolled'", where)
    about = _loads(text.encode("utf-8", "surrogatepass"), where, "the text 'unrolled'")
    _check_format(about, where)
    kind = about.get("kind")
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise _wrong(f"the kind {_short(kind)} is not a short name", where)
    crc32 = _object(about, "crc32", where)
    entries = _entries(document, crc32, file_size - len(raw), where)
    unknown = crc32.keys() - {entry.name for entry in entries if not entry.is_padding}
    if unknown:
        raise _wrong(f"crc32 names the array {_short(min(unknown))}, which is not there", where)
    config, provenance = (_object(about, name, where) for name in ("config", "provenance"))
    return Header(kind, config, provenance, tuple(entries), len(raw))


def _entries(
    document: Mapping[str, Any], crc32: Mapping[str, Any], data_size: int, where: str
) -> list[Entry]:
    """Check that the arrays tile the rest of the file from its beginning to its end."""
    entries = []
    end = 0
    for name, fields in document.items():
        place = f"{where}, array {_short(name)}"
        entry = _entry(name, fields, crc32.get(name), place)
        if entry.begin != end:
            raise _wrong(f"it begins at {entry.begin:,} where {end:,} is the next byte", place)
        end = entry.end
        if end > data_size:
            raise FormatError(
                f"is cut off: this array ends at byte {end:,} of the data, and the file has "
                f"{data_size:,}",
                where=place,
                hint="Copy it again",
            )
        entries.append(entry)
    if end != data_size:
        raise FormatError(
            f"has {data_size - end:,} bytes after its last array", where=where, hint="Copy it again"
        )
    return entries


def _entry(name: str, fields: Any, crc32: Any, place: str) -> Entry:
    """Check one array's fields, each by itself."""
    if not _NAME.fullmatch(name):
        raise _wrong("the name is not 1 to 200 of A-Z a-z 0-9 _ . / : -", place)
    if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape", "data_offsets"}:
        raise _wrong("not an object of dtype, shape and data_offsets", place)
    dtype = DTYPES.get(fields["dtype"]) if isinstance(fields["dtype"], str) else None
    if dtype is None:
        raise _wrong(
            f"the dtype {_short(fields['dtype'])} is not one of {', '.join(DTYPES)}", place
        )
    shape = _sizes(fields["shape"], "shape", place)
    offsets = _sizes(fields["data_offsets"], "data_offsets", place)
    # NumPy counts a zero as a one when it checks that an array is addressable.
    if dtype.itemsize * math.prod(size or 1 for size in shape) > _LARGEST:
        raise _wrong(f"the shape {_short(list(shape))} is too large", place)
    if len(offsets) != 2:
        raise _wrong(f"data_offsets has {len(offsets)} numbers, not 2", place)
    entry = Entry(name, dtype, shape, offsets[0], _checked_crc32(name, crc32, place))
    if entry.end != offsets[1]:
        raise _wrong(
            f"the shape {_short(list(shape))} of {fields['dtype']} takes "
            f"{entry.end - entry.begin:,} bytes, and data_offsets {_short(list(offsets))} say "
            f"{offsets[1] - offsets[0]:,}",
            place,
        )
    if entry.is_padding:
        if entry != padding(entry.begin, name):
            raise _wrong(f"it is not the filler up to the next multiple of {ALIGNMENT}", place)
    elif entry.begin % ALIGNMENT:
        raise _wrong(f"it begins at {entry.begin:,}, not at a multiple of {ALIGNMENT}", place)
    return entry


def _checked_crc32(name: str, digits: Any, place: str) -> int:
    """The checksum of an array; fillers have none, they are zeros."""
    if _PADDING.fullmatch(name):
        return 0
    if not isinstance(digits, str) or not _CRC32.fullmatch(digits):
        raise _wrong(f"the crc32 {_short(digits)} is not 8 hexadecimal digits", place)
    return int(digits, 16)


def _sizes(value: Any, what: str, place: str) -> tuple[int, ...]:
    """A list of a few numbers from 0 to 2**62; true and 1.0 are none."""
    if not isinstance(value, list) or len(value) > MAX_DIMENSIONS:
        raise _wrong(f"{what} {_short(value)} is not a list of at most {MAX_DIMENSIONS}", place)
    for number in value:
        if type(number) is not int or not 0 <= number <= _LARGEST:
            raise _wrong(f"{what} holds {_short(number)}, allowed are 0 to 2**62", place)
    return tuple(value)


def _check_format(about: Mapping[str, Any], where: str) -> None:
    """Refuse the formats of later versions before the rest of them looks merely broken."""
    number = about.get("format")
    if type(number) is not int or number < 1:
        raise _wrong(f"the format {_short(number)} is not a number from 1", where)
    if number > FORMAT:
        provenance = about.get("provenance")
        writer = provenance.get("unrolled") if isinstance(provenance, dict) else None
        raise FormatError(
            f"is in model format {_short(number)}, written by unrolled {_short(writer)}, and this "
            f"unrolled {__version__} reads up to format {FORMAT}",
            where=where,
            hint="Upgrade: pip install --upgrade unrolled",
        )


def _object(about: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    value = about.get(name)
    if not isinstance(value, dict):
        raise _wrong(f"{name} is {_short(value)}, not an object", where)
    return value


def _foreign(head: bytes, file_size: int, where: str) -> FormatError:
    """The error for a file that is not a model, with what it seems to be."""
    length = int.from_bytes(head[:8], "little")
    kind = recognise(head)
    if head[8:9] == b"{" and 2 <= length <= file_size - 8:
        what = "is a safetensors file that unrolled did not write, or its first bytes are damaged"
        return FormatError(what, where=where, hint="Read it with the package that wrote it")
    if kind is None:
        hint = "Models end in .safetensors or .arpa"
        return FormatError(
            f"is not a model: its first bytes are {head[:8].hex(' ')}", where=where, hint=hint
        )
    return FormatError(f"is not a model but {kind.what}", where=where, hint=kind.hint)


def _wrong(what: str, where: str) -> FormatError:
    """The error for a header whose checksum is right, so that only its writer can be wrong."""
    return FormatError(f"the header is wrong: {what}", where=where, hint="Ask who wrote the file")


def _checksum(raw: bytes | bytearray) -> bytes:
    """The CRC-32 of a header without its own digits, as digits."""
    crc = zlib.crc32(raw[_DIGITS.stop :], zlib.crc32(raw[: _DIGITS.start]))
    return f"{crc:08x}".encode("ascii")


def _dumps(value: Any) -> str:
    """Compact ASCII JSON; what JSON cannot hold exactly is refused."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise SettingError(
            f"the config or the provenance cannot be stored: {error}",
            hint="Use finite numbers, texts, lists and dictionaries",
        ) from error


def _plain(value: object) -> object:
    """NumPy's numbers as Python's."""
    if isinstance(value, np.bool_ | np.integer | np.floating):
        return value.item()
    raise TypeError(f"{value!r} is of type {type(value).__name__}")


def _loads(raw: bytes, where: str, what: str) -> dict[str, Any]:
    """Parse a JSON object strictly: no name twice, no NaN, no nesting that overflows the stack."""
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except RecursionError:
        raise _wrong(f"{what} is nested too deeply", where) from None
    except ValueError as error:
        raise _wrong(f"{what} is not strict JSON: {error}", where) from error
    if not isinstance(value, dict):
        raise _wrong(f"{what} is not an object", where)
    return value


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, item in pairs:
        if name in value:
            raise ValueError(f"the name {_short(name)} stands there twice")
        value[name] = item
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _short(value: object) -> str:
    """A value from a file, short and printable whatever it is."""
    try:
        text = "a huge number" if isinstance(value, int) and abs(value) > _LARGEST else ascii(value)
    except RecursionError:
        text = "a deep nest"
    return text if len(text) <= 80 else f"{text[:77]}..."
