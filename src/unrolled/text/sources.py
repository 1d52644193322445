"""Blocks of whole lines from plain and compressed files, folders, stdin, JSONL and Parquet."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePath
from typing import IO

from unrolled.errors import SettingError, TextError
from unrolled.text.blocks import Block
from unrolled.text.compressed import COMPRESSED, DAMAGE, damaged, open_reader
from unrolled.text.records import DEFAULT_FIELD, json_blocks, parquet_blocks

BLOCK_BYTES = 8 << 20
MAX_LINE = 1 << 30
JSON_LINES = {".jsonl", ".ndjson"}
PARQUET = ".parquet"
_SIGNATURE = b"\xef\xbb\xbf"  # of UTF-8, at the beginning of a file
_MOMENT = 0.001  # seconds in which a program that has more to write fills a pipe again

Sources = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def files_of(sources: Sources) -> list[Path | None]:
    """The files of the sources in their order, None for standard input (``-``).

    A folder stands for all files in it and below, in the order of their names; those that begin
    with a dot are left out.

    Raises:
        TextError: when one does not exist, or a folder has no file or cannot be read.
    """
    if isinstance(sources, (str, os.PathLike)):
        sources = [sources]
    files: list[Path | None] = []
    for source in sources:
        path = Path(source)
        if str(source) == "-":
            files.append(None)
        elif path.is_dir():
            inside = _files_in(path)
            if not inside:
                raise TextError("the folder has no files", where=str(source))
            files.extend(inside)
        elif path.exists():
            files.append(path)
        else:
            raise TextError("there is no such file or folder", where=str(source))
    if not files:
        raise TextError("no text was given", hint="Name a file, a folder, or - for standard input")
    return files


def _files_in(folder: Path) -> list[Path]:
    """All visible files in a folder and below, in the order of their names."""

    def refuse(error: OSError) -> None:
        raise TextError(f"the folder cannot be read ({error.strerror})", where=str(error.filename))

    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += (Path(place, name) for name in names if not name.startswith("."))
    return sorted(path for path in found if path.is_file())


def check_not_read(output: str | os.PathLike[str], *read: Sources | None) -> None:
    """Refuse to write over a file that is read: it would be lost.

    Args:
        output: the file or folder to write. read: files, folders (with all visible files in them,
            but for links to others) and ``-``; what is empty or does not exist is passed over.

    Raises:
        SettingError: the output is one of them.
    """
    try:
        written = Path(output).stat()
    except OSError:
        return
    if not (stat.S_ISREG(written.st_mode) or stat.S_ISDIR(written.st_mode)):
        return  # a device or a pipe keeps nothing
    place = Path(os.path.realpath(output))
    for sources in read:
        several = [sources] if isinstance(sources, (str, os.PathLike)) else sources or ()
        for source in filter(os.fspath, several):
            with contextlib.suppress(OSError):
                found = os.fstat(0) if str(source) == "-" else Path(source).stat()
                within = stat.S_ISDIR(found.st_mode) and _is_visible(place, source)
                if os.path.samestat(found, written) or within:
                    raise SettingError(
                        "it is read, and would be written over",
                        where=os.fspath(output),
                        hint="Give the output another name",
                    )


def _is_visible(file: Path, folder: str | os.PathLike[str]) -> bool:
    """Whether `files_of` finds a file, whose path has no links, in a folder."""
    place = Path(os.path.realpath(folder))
    if not file.is_relative_to(place):
        return False
    return not any(part.startswith(".") for part in file.relative_to(place).parts)


def suffixes_of(path: PurePath) -> tuple[str, str | None]:
    """The suffix that names a file's format, and that of its compression.

    >>> suffixes_of(PurePath("wiki.jsonl.gz"))
    ('.jsonl', '.gz')
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSED else None
    return suffixes[-1] if suffixes else "", packed


def is_plain(path: Path) -> bool:
    """Whether a file's lines are the text as it is, by its name."""
    kind, packed = suffixes_of(path)
    return packed is None and kind not in {*JSON_LINES, PARQUET}


def source_bytes(sources: Sources) -> int | None:
    """Bytes of all files, as they are on disk, for progress; None where one has no size."""
    files = files_of(sources)
    if any(file is None or not file.is_file() for file in files):
        return None
    return sum(file.stat().st_size for file in files if file is not None)


def raw_blocks(
    sources: Sources,
    field: str | None = None,
    *,
    plain: bool = False,
    live: bool = False,
    skip: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Block]:
    """Blocks of about 8 MiB, neither checked nor changed, of all sources; see `files_of`.

    The suffix of a file decides: ``.gz .bz2 .xz .zst`` are decompressed, ``.jsonl`` and
    ``.ndjson`` give the string ``field`` of each object, ``.parquet`` a column. Standard input is
    JSONL if a field is named and it begins with ``{``.

    Args:
        plain: give the lines of all files as they are, JSON too.
        live: give the lines of a pipe as soon as no more come, for a program that waits for the
            answer to a line before it writes the next one.
        skip: bytes of lines, uncompressed, to leave out at the beginning of each source.
        progress: called with the bytes of the files, compressed as they are, read since the last
            call; never for Parquet.

    Raises:
        TextError: when a source cannot be read or is broken, with its place.
    """
    for path in files_of(sources):
        name = "<stdin>" if path is None else str(path)
        kind, packed = ("", None) if path is None else suffixes_of(path)
        if path is not None and kind == PARQUET and packed is None and not plain:
            yield from parquet_blocks(path, field or DEFAULT_FIELD)
            continue
        blocks = _line_blocks(path, name, packed, progress, live=live, skip=skip)
        is_json = kind in JSON_LINES
        if path is None and field is not None and not plain:
            is_json, blocks = _begins_with_object(blocks)
        is_json = is_json and not plain
        yield from json_blocks(blocks, field or DEFAULT_FIELD) if is_json else blocks


def _begins_with_object(blocks: Iterator[Block]) -> tuple[bool, Iterator[Block]]:
    """Whether the first line begins as a JSON object does; and all blocks."""
    first = next(blocks, None)
    if first is None:
        return False, blocks
    return first.data.lstrip().startswith(b"{"), chain([first], blocks)


def text_blocks(texts: Iterable[str]) -> Iterator[Block]:
    """Blocks of texts in memory, each of which is a line: newlines in it become spaces.

    Raises:
        SettingError: one text instead of several, or what is no text.
    """
    if isinstance(texts, (str, bytes)):
        raise SettingError("texts is one text", hint="Give a list of them")
    data, first_line = bytearray(), 1
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise SettingError(f"text {number} is {type(text).__name__}, not str")
        data += text.replace("\n", " ").encode(errors="replace")
        data += b"\n"
        if len(data) >= BLOCK_BYTES:
            yield Block(bytes(data), "texts", first_line)
            data, first_line = bytearray(), number + 1
    if data:
        yield Block(bytes(data), "texts", first_line)


def _line_blocks(
    path: Path | None,
    name: str,
    packed: str | None,
    progress: Callable[[int], None] | None,
    *,
    live: bool,
    skip: int,
) -> Iterator[Block]:
    line, offset, reported = 1, skip, 0
    with contextlib.ExitStack() as stack:
        try:
            raw = sys.stdin.buffer if path is None else stack.enter_context(_opened(path))
            read, more = open_reader(raw, packed), None
            regular = path is not None and path.is_file()
            if live and not regular and packed is None:
                # What has come; `read` of standard input would wait for as many bytes.
                read, more = getattr(raw, "read1", read), lambda: _more_comes(raw)
            if regular and packed is None:
                raw.seek(skip)
            elif skip:
                read = _reader_after(skip, read)
            for data in whole_lines(read, name, more):
                if progress is not None:
                    read_bytes = raw.tell() if regular else offset + len(data)
                    progress(read_bytes - reported)
                    reported = read_bytes
                mark = len(_SIGNATURE) if offset == 0 and data.startswith(_SIGNATURE) else 0
                yield Block(data[mark:], name, line, offset + mark)
                offset, line = offset + len(data), line + data.count(b"\n")
        except DAMAGE as error:
            raise damaged(error, name, packed) from None


def _reader_after(skip: int, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """The reader without its first bytes; it may have given more at once than it was asked for."""
    rest = b""
    while skip > 0 and (data := read(min(skip, BLOCK_BYTES))):
        rest = data[skip:]
        skip -= len(data)
    waiting = [rest] if rest else []
    return lambda size: waiting.pop() if waiting else read(size)


def _more_comes(raw: IO[bytes]) -> bool:
    """Whether a pipe has more bytes, or gets them within a moment."""
    try:
        return bool(select.select([raw], [], [], _MOMENT)[0])
    except (OSError, ValueError):  # not a file of the system, or a pipe of Windows
        return False


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb", buffering=0)


def whole_lines(
    read: Callable[[int], bytes], name: str, more: Callable[[], bool] | None = None
) -> Iterator[bytes]:
    """Cut what ``read`` gives into blocks that end at a newline.

    With ``more``, which tells whether there is more to read now, each block has all that is there.
    """
    waiting: list[bytes] = []
    have, whole = 0, False
    least = BLOCK_BYTES // 8 if more is None else BLOCK_BYTES  # pipes give small pieces
    while data := read(BLOCK_BYTES):
        waiting.append(data)
        have += len(data)
        whole = whole or b"\n" in data
        if not whole or (have < least and (more is None or more())):
            if have > MAX_LINE:
                what = f"a line has more than {MAX_LINE} bytes"
                raise TextError(what, where=name, hint="Put newlines into it")
            continue
        data = b"".join(waiting)
        end = data.rfind(b"\n") + 1
        yield data[:end]
        waiting, have, whole = [data[end:]], len(data) - end, False
    rest = b"".join(waiting)
    if rest:
        yield rest
