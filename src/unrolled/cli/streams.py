"""Standard input, output and error as commands need them, whatever they are connected to."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from _typeshed import ReadableBuffer

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline


def printable(text: str) -> str:
    """The text with control characters, which a terminal would obey, replaced.

    >>> printable("red \\x1b[31m")
    'red \ufffd[31m'
    """
    return _CONTROLS.sub("\ufffd", text)


def open_streams() -> None:
    """Replace `sys.stdin`, `sys.stdout` and `sys.stderr`.

    - A closed one is opened so that its use fails: else the next file that is opened, such as the
      model, would take its number, and be printed into.
    - Results that cannot be written are an `UnrolledError`, at once or when they are flushed.
    - Results in a file or pipe are UTF-8 in any locale, as all text that is read; a terminal gets
      what its encoding has, and no escape sequences that come from a model or a text.
    - Messages that cannot be written are dropped: they are no reason to stop working.
    """
    for number, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115
    sys.stdout = _results()
    messages = io.BufferedWriter(_Messages(2, "w", closefd=False))
    encoding = getattr(sys.stderr, "encoding", "utf-8")
    sys.stderr = io.TextIOWrapper(messages, encoding, "backslashreplace", line_buffering=True)


def _results() -> io.TextIOWrapper:
    from unrolled.storage.atomic import OutputFile

    buffer = io.BufferedWriter(OutputFile(1, "w", "/dev/stdout"))
    if not buffer.isatty():
        return io.TextIOWrapper(buffer, "utf-8", "surrogateescape")
    return _Terminal(buffer, sys.stdout.encoding, "replace", line_buffering=True)


class _Terminal(io.TextIOWrapper):
    """Prints to a terminal what cannot command it."""

    # Rich looks for this attribute: its colours, in --help, are not to be replaced.
    rich_proxied_file = sys.__stdout__

    def write(self, text: str, /) -> int:
        return super().write(printable(text))


class _Messages(io.FileIO):
    """The file underneath `sys.stderr`."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def write_lines(path: Path | None, lines: Iterable[str]) -> None:
    """Write lines to a file, or print them."""
    if path is None:
        for line in lines:
            print(line)
        return
    from unrolled.storage.atomic import atomic_write

    with atomic_write(path) as file:
        for line in lines:
            file.write(line.encode() + b"\n")
