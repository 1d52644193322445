"""The outer form of an ARPA file: compression, the header's counts, sections and their places."""

from __future__ import annotations

import codecs
import contextlib
import json
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import FormatError
from unrolled.ngram.trie.layout import MAX_ORDER
from unrolled.storage.atomic import reason
from unrolled.storage.file_kinds import HEAD_BYTES, TEXT, recognise
from unrolled.text.compressed import DAMAGE, damaged, open_reader

BLOCK_BYTES = 4 << 20
MAX_LINE = 64 << 20
_MAGIC = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zXZ\x00": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
}
OPTIONS = b"# unrolled text options: "  # a comment: how the text was cut into tokens, as JSON
_COUNTS, _END = "the counts", "\\end\\"
_COUNT = re.compile(rb"\s*ngram\s+(\d{1,9})\s*=\s*(\d{1,20})\s*")
_HEADING = re.compile(rb"\\(\d{1,9})-grams?:")


@dataclass(frozen=True)
class Piece:
    """Some whole lines of the section of n-grams of ``order`` words, from ``first_line`` on."""

    order: int
    data: bytes
    first_line: int
    lines: int


class ArpaSections:
    """One pass over a file: its sections as pieces, with everything around them checked.

    Attributes:
        counts: what the header declares for each order, known when the first piece comes.
        headings: the line of each section's heading, as far as they were met.
        options: how the text was cut into tokens, if a comment before the header says it.
    """

    def __init__(self, path: str, progress: Callable[[int], None] | None = None) -> None:
        self.path = path
        self.counts: dict[int, int] = {}
        self.headings: dict[int, int] = {}
        self.options: dict[str, Any] | None = None
        self._progress = progress
        self._section: str | int = "before"
        self._line = 1

    @property
    def order(self) -> int:
        """The highest order that the header declares."""
        return max(self.counts)

    def place(self, line: int) -> str:
        """How errors name a line."""
        return f"{self.path}:{line}"

    def pieces(self) -> Iterator[Piece]:
        """All sections in the order of the file.

        Raises:
            FormatError: the file cannot be read, or is not an ARPA file from end to end.
        """
        for block in self._blocks():
            at = 0
            while at < len(block):
                end = self._end_of_lines(block, at)
                data = block[at:end]
                lines = _lines_in(data)
                if isinstance(self._section, int) and not data.startswith(b"\\"):
                    yield Piece(self._section, data, self._line, lines)
                else:
                    self._outside(data)
                self._line += lines
                at = end
        if self._section != _END:
            raise FormatError(
                "the file ends without \\end\\, so something is missing",
                where=self.place(self._line),
                hint="Copy or make it again",
            )

    def _end_of_lines(self, block: bytes, at: int) -> int:
        """Where the n-gram lines from ``at`` on end; outside sections, where the line ends."""
        if isinstance(self._section, int) and not block.startswith(b"\\", at):
            begin = block.find(b"\\", at)
            if begin < 0:
                return len(block)
            # One byte is sought fastest, even where many words have a backslash.
            data = np.frombuffer(block, np.uint8)
            backslashes = begin + np.flatnonzero(data[begin:] == ord("\\"))
            headings = backslashes[data[backslashes - 1] == ord("\n")]
            return int(headings[0]) if headings.size else len(block)
        return block.find(b"\n", at) + 1 or len(block)

    def _outside(self, line: bytes) -> None:
        """One line that is not an n-gram."""
        text = line.strip()
        if self._section == "before":
            if text == b"\\data\\":
                self._section = _COUNTS
            elif text.startswith(OPTIONS):
                self._options(text.removeprefix(OPTIONS))
        elif self._section == _END:
            if text:
                raise self._wrong(f"{shown(text)} stands after \\end\\")
        elif text.startswith(b"\\"):
            self._heading(text)
        elif text:
            self._count(text)

    def _options(self, text: bytes) -> None:
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._wrong(f"{shown(text)} are no text options", hint="Remove the line")
        self.options = found

    def _heading(self, text: bytes) -> None:
        if not self.counts:
            raise self._wrong("no count such as 'ngram 1=5' stands between \\data\\ and this line")
        if self._section == _COUNTS:
            self._check_orders()
        if text.lower() == b"\\end\\":
            self._section = _END
            return
        match = _HEADING.fullmatch(text.lower())
        order = int(match[1]) if match else 0
        if match is None:
            raise self._wrong(f"{shown(text)} is neither \\end\\ nor a heading such as \\2-grams:")
        if order not in self.counts:
            raise self._wrong(f"{shown(text)} begins a section that the header does not declare")
        if order in self.headings:
            raise self._wrong(f"{shown(text)} stands in line {self.headings[order]} already")
        self.headings[order] = self._line
        self._section = order

    def _count(self, text: bytes) -> None:
        match = _COUNT.fullmatch(text)
        if match is None:
            raise self._wrong(f"{shown(text)} is not a count such as 'ngram 1=5'")
        order, count = int(match[1]), int(match[2])
        if not 1 <= order <= MAX_ORDER:
            raise self._wrong(f"the order {order} is not one of 1 to {MAX_ORDER}")
        if order in self.counts:
            raise self._wrong(f"{shown(text)} is the second count of {order}-grams")
        self.counts[order] = count

    def _check_orders(self) -> None:
        missing = next((n for n in range(1, self.order) if n not in self.counts), None)
        if missing is not None:
            raise self._wrong(
                f"the header counts {self.order}-grams and not {missing}-grams",
                hint=f"Add 'ngram {missing}=0' if there are none",
            )

    def _wrong(self, what: str, hint: str | None = None) -> FormatError:
        return FormatError(what, where=self.place(self._line), hint=hint)

    def _no_data(self, head: bytes) -> None:
        kind = recognise(head)
        if kind is not None and kind.what != TEXT:
            raise FormatError(
                f"is not an ARPA file but {kind.what}", where=self.path, hint=kind.hint
            )
        raise FormatError(
            f"is not an ARPA file: no line \\data\\ is in its first {HEAD_BYTES} bytes",
            where=self.path,
        )

    # -- bytes -----------------------------------------------------------------------------------

    def _blocks(self) -> Iterator[bytes]:
        """Blocks of whole lines; the last one gets the newline that it may lack."""
        with contextlib.ExitStack() as stack:
            read = self._opened(stack)
            waiting = [self._head(read)]
            have = len(waiting[0])
            while data := read(BLOCK_BYTES):
                end = data.rfind(b"\n") + 1
                if end:
                    yield b"".join([*waiting, memoryview(data)[:end]])
                    waiting, have = [], 0
                waiting.append(data[end:])
                have += len(data) - end
                if have > MAX_LINE:
                    raise FormatError(f"a line has more than {MAX_LINE} bytes", where=self.path)
            rest = b"".join(waiting)
            if rest:
                yield rest if rest.endswith(b"\n") else rest + b"\n"

    def _head(self, read: Callable[[int], bytes]) -> bytes:
        """The first bytes, in which the model must begin; nothing is read of what is no model."""
        head = b""
        while len(head) < HEAD_BYTES and (data := read(HEAD_BYTES - len(head))):
            head += data
        head = head.removeprefix(codecs.BOM_UTF8)
        if not re.search(rb"^[ \t]*\\data\\[ \t\r]*$", head, re.MULTILINE):
            self._no_data(head)
        return head

    def _opened(self, stack: contextlib.ExitStack) -> Callable[[int], bytes]:
        """A function that reads the file, decompressed; its errors become sentences."""
        try:
            if not stat.S_ISREG(Path(self.path).stat().st_mode):
                raise FormatError("is a folder, a device or a pipe, not a file", where=self.path)
            raw = stack.enter_context(open(self.path, "rb", buffering=0))  # noqa: PTH123, SIM115
            magic = raw.read(6)
            raw.seek(0)
        except FileNotFoundError:
            raise FormatError("there is no such file", where=self.path) from None
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            raise FormatError(f"cannot be read: {why}", where=self.path) from None
        packed = next((_MAGIC[m] for m in _MAGIC if magic.startswith(m)), None)
        reader = open_reader(raw, packed)

        reported = 0

        def read(size: int) -> bytes:
            nonlocal reported
            try:
                data = reader(size)
            except DAMAGE as error:
                damage = damaged(error, self.path, packed)
                raise FormatError(damage.what, where=damage.where, hint=damage.hint) from None
            if self._progress is not None:
                self._progress(raw.tell() - reported)
                reported = raw.tell()
            return data

        return read


def _lines_in(data: bytes) -> int:
    """Newlines; with short lines NumPy counts them five times as fast as `bytes.count`."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == 10))


def shown(text: bytes) -> str:
    """A piece of a file for a message: short, on one line, and printable."""
    head = text[:60].decode("utf-8", "backslashreplace")
    return ascii(head) + ("..." if len(text) > 60 else "")
