"""Batches of JSONL: the texts of their rows, and the same rows with new fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from unrolled.documents.row_layout import (
    BROKEN,
    DEPTH,
    EXISTS,
    FIELDS,
    LINES,
    NUMBER_BYTES,
    OK,
    START,
    STATUS,
    STOP,
)
from unrolled.errors import SettingError, TextError
from unrolled.runtime.cached_kernels import CachedKernel
from unrolled.text.records import json_text
from unrolled.text.tokens import first_invalid
from unrolled.text.vocabulary import readonly

Array = np.ndarray[Any, Any]

_KERNELS = "unrolled.documents.row_kernels"
_SCAN = CachedKernel(_KERNELS, "scan_rows", "u1[] u1[] u1[] i8[] u1[]! u1[]! i8[][]!")
_WRITE = CachedKernel(
    _KERNELS, "write_rows", "u1[] i8[][] f8[][] i8[][] i8 i8[] u1[] i8[] i8[] u1[]!"
)


@dataclass(frozen=True)
class JsonRows:
    """Rows of JSONL and the texts in them.

    Attributes:
        data: the rows, whole lines.
        table: (N, FIELDS) int64 of all lines, as `row_kernels.scan_rows` makes it.
        text: the texts of all documents, each of one line or more, with a newline after each line.
    """

    data: bytes
    table: Array
    text: bytes

    @cached_property
    def documents(self) -> Array:
        """(D, FIELDS): the rows of the table that are documents."""
        found: Array = self.table[self.table[:, STATUS] == OK]
        return found

    @property
    def count(self) -> int:
        """All lines."""
        return len(self.table)

    @property
    def lines(self) -> Array:
        """(D,) int64 lines of each document's text."""
        lines: Array = self.documents[:, LINES]
        return lines

    def broken(self, field: str) -> list[tuple[int, str, bytes]]:
        """Of each row that is no document: its line, from 0, what is wrong, and its bytes."""
        found = []
        for number in np.flatnonzero(self.table[:, STATUS] == BROKEN).tolist():
            row = self.data[self.table[number, START] : self.table[number, STOP]]
            found.append((number, _problem(row, field), row))
        return found


class RowFormat:
    """The text's field and the new fields of rows.

    Args:
        field: name of the text's field.
        names: of the new fields, of which some hold integers.
        listed: whether each new field is a list.
        endings: names and values of a further new field, which a row may end with.
        overwrite: whether new fields replace those that a row has already.
    """

    def __init__(
        self,
        field: str,
        names: Sequence[str],
        integers: Sequence[bool],
        *,
        listed: bool = False,
        endings: tuple[str, Sequence[str]] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.field, self.overwrite, self._listed = field, overwrite, listed
        last, values = endings or ("", ())
        self.names = [*names, last] if endings else list(names)
        labels = [f", {json.dumps(name)}: " for name in names]
        labels += [f", {json.dumps(last)}: {json.dumps(value)}" for value in values]
        self._integers = np.array(integers, np.int64)
        self._field = _bytes_of([field])[0]
        self._names, self._ends = _bytes_of(self.names)
        self._labels, self._label_ends = _bytes_of(labels)

    def parse(self, data: bytes, lines: int, place: Callable[[int], str]) -> JsonRows:
        """The rows in whole lines of JSONL.

        Args:
            lines: at least as many as there are. place: names a line, from 0, for an error.

        Raises:
            SettingError: a row has one of the new fields, and is not to be overwritten.
        """
        rows = self._scan(data, lines)
        existing = np.flatnonzero(rows.table[:, STATUS] == EXISTS)
        if existing.size == 0:
            return rows
        each = data.split(b"\n")
        if not self.overwrite:
            found = json.loads(each[existing[0]])
            name = next(name for name in self.names if name in found)
            raise SettingError(
                f"the row has the field {name!r} already",
                where=place(int(existing[0])),
                hint="Replace such fields with --overwrite, or name the new ones with --names",
            )
        for number in existing.tolist():
            each[number] = _without(each[number], set(self.names))
        return self._scan(b"\n".join(each), lines)

    def _scan(self, data: bytes, lines: int) -> JsonRows:
        block = readonly(np.frombuffer(_without_invalid(data), np.uint8))
        text = np.empty(block.size + lines + 8, np.uint8)
        table = np.empty((lines, FIELDS), np.int64)
        stack = np.empty(DEPTH, np.uint8)
        count, size = _SCAN(block, self._field, self._names, self._ends, stack, text, table)
        return JsonRows(data, table[:count], text[:size].tobytes())

    def write(self, rows: JsonRows, kept: Array, values: Array, bounds: Array, ends: Array) -> Any:
        """JSONL of documents with their new fields: bytes, or an array of them.

        Args:
            kept: (D,) bool, which documents to write.
            values: (F, V) float64 of the new fields.
            bounds: (D, 2) int64, which values are a document's own.
            ends: (D,) int64 the number of the ending of each, or -1.
        """
        table = np.ascontiguousarray(rows.documents[kept])
        bounds = np.ascontiguousarray(bounds[kept])
        own = int((bounds[:, 1] - bounds[:, 0] + 1).sum())
        size = int((table[:, STOP] - table[:, START]).sum())
        fields = len(self._integers)
        size += own * fields * NUMBER_BYTES + len(table) * (self._labels.size + 1)
        out = np.empty(size, np.uint8)
        tails = np.where(ends[kept] < 0, -1, ends[kept] + fields).astype(np.int64)
        written = _WRITE(
            readonly(np.frombuffer(rows.data, np.uint8)), readonly(table),
            readonly(np.asarray(values, np.float64)), readonly(bounds), int(self._listed),
            readonly(self._integers), self._labels, self._label_ends, readonly(tails), out,
        )  # fmt: skip
        return out[:written]


def _bytes_of(names: Sequence[str]) -> tuple[Array, Array]:
    """Names back to back in UTF-8, (.,) uint8, and where each ends, (N,) int64."""
    parts = [name.encode(errors="surrogatepass") for name in names]
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    return readonly(np.frombuffer(b"".join(parts), np.uint8)), readonly(ends)


def _without_invalid(data: bytes) -> bytes:
    """The same lines, but for those that are not UTF-8, which are no JSON then either."""
    if data.isascii() or first_invalid(data) < 0:
        return data
    lines = data.split(b"\n")
    for number, line in enumerate(lines):
        if first_invalid(line) >= 0:
            lines[number] = b"!" * len(line)
    return b"\n".join(lines)


def _problem(row: bytes, field: str) -> str:
    """What is wrong with a row that the kernel found to be broken."""
    at = first_invalid(row)
    if at >= 0:
        return f"byte 0x{row[at]:02x} at column {at + 1} is not UTF-8"
    try:
        json_text(row, field)
    except TextError as error:
        return error.what
    return f"the line is nested more than {DEPTH} levels deep"


def _without(row: bytes, names: set[str]) -> bytes:
    """A row of valid JSON without the fields of these names; the bytes of the others stay."""
    text = row.decode()
    decoder = json.JSONDecoder()
    head = text.index("{") + 1
    kept, previous, at = [text[:head]], head, head
    while text[at] != "}":
        start = text.index('"', at)
        key, at = decoder.raw_decode(text, start)
        _, at = decoder.raw_decode(text, _after_space(text, text.index(":", at) + 1))
        if key not in names:
            # What separates it from the member before, but for the first one.
            kept.append(text[previous if len(kept) > 1 else start : at])
        previous = at
        at = _after_space(text, at)
    return ("".join(kept) + text[previous:]).encode()


def _after_space(text: str, at: int) -> int:
    while text[at].isspace():
        at += 1
    return at
