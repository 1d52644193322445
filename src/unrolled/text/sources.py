"""Blocks of whole lines from plain and compressed files, folders, stdin, JSONL and Parquet."""

from __future__ import annotations

import bz2
import contextlib
import json
import lzma
import os
import select
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Any

from isal import igzip, isal_zlib

from unrolled.errors import MissingExtraError, SettingError, TextError, UnrolledError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BLOCK_BYTES = 8 << 20
MAX_LINE = 1 << 30
COMPRESSED = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "Zstandard"}
JSON_LINES = {".jsonl", ".ndjson"}
PARQUET = ".parquet"
# Its stub calls this class an exception.
_GZIP_DAMAGE: type[Exception] = isal_zlib.error  # type: ignore[assignment]
DAMAGE = (EOFError, zlib.error, _GZIP_DAMAGE, lzma.LZMAError, OSError)
DEFAULT_FIELD = "text"
_FIELD_HINT = "Name it: --field NAME, --set field=NAME, or TextOptions(field=NAME)"
_SIGNATURE = b"\xef\xbb\xbf"  # of UTF-8, at the beginning of a file
_MOMENT = 0.001  # seconds in which a program that has more to write fills a pipe again

Sources = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Block:
    """Some whole lines of one source.

    Attributes:
        data: the bytes, each line but perhaps the last of a source with its newline.
        source: the name to show.
        first_line: number of the first line, from 1; a row for Parquet.
        offset: bytes of the source, uncompressed, before this block.
        lines: the source's line or row of each line, for formats where they differ.
    """

    data: bytes
    source: str
    first_line: int
    offset: int = 0
    lines: npt.NDArray[np.int64] | None = None

    def place(self, line: int) -> str:
        """``source:number`` of a line of the block, counted from 0."""
        if self.lines is not None:
            number = int(self.lines[min(line, self.lines.size - 1)]) if self.lines.size else 1
        else:
            number = self.first_line + line
        return f"{self.source}:{number}"


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
            yield from _parquet_blocks(path, field or DEFAULT_FIELD)
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


def open_reader(raw: IO[bytes], packed: str | None) -> Callable[[int], bytes]:
    """A function that reads at most n bytes of a file, decompressed as its suffix says."""
    if packed == ".gz":
        return igzip.IGzipFile(fileobj=raw).read  # type: ignore[no-untyped-call]
    if packed == ".bz2":
        return bz2.BZ2File(raw).read
    if packed == ".xz":
        return lzma.LZMAFile(raw).read
    if packed == ".zst":
        return _zstandard_reader(raw)
    return raw.read


def _zstandard_reader(raw: IO[bytes]) -> Callable[[int], bytes]:
    try:
        import zstandard
    except ImportError:
        raise MissingExtraError("text", "zstandard") from None

    def pieces() -> Iterator[bytes]:
        # The package's stream reader does not notice that a file is cut off; this object does.
        # Small reads bound what an untrusted frame can expand to.
        frame = zstandard.ZstdDecompressor().decompressobj()
        begun, waiting = False, b""
        while chunk := waiting or raw.read(4096):
            if frame.eof:
                frame = zstandard.ZstdDecompressor().decompressobj()
            begun = True
            try:
                piece = frame.decompress(chunk)
            except zstandard.ZstdError as error:
                raise zlib.error(str(error)) from None
            waiting = frame.unused_data if frame.eof else b""
            if piece:
                yield piece
        if begun and not frame.eof:
            raise EOFError

    stream = pieces()

    def read(size: int) -> bytes:
        parts, have = [], 0
        while have < size and (piece := next(stream, b"")):
            parts.append(piece)
            have += len(piece)
        return b"".join(parts)

    return read


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


def damaged(error: BaseException, name: str, packed: str | None) -> TextError:
    """One of DAMAGE, met while reading a file, as a sentence."""
    if isinstance(error, OSError) and error.errno is not None:
        return TextError(f"the file cannot be read ({error.strerror})", where=name)
    kind = COMPRESSED[packed] if packed else "text"
    if isinstance(error, EOFError) or "ended before" in str(error):
        return TextError(f"the {kind} file ends too early", where=name, hint="Fetch it again")
    return TextError(f"the {kind} file is broken ({error})", where=name, hint="Fetch it again")


def json_blocks(blocks: Iterable[Block], field: str) -> Iterator[Block]:
    """Blocks of JSONL -> blocks of the texts in a field of their rows."""
    import numpy as np

    for block in blocks:
        texts: list[str] = []
        numbers: list[int] = []
        for rank, line in enumerate(block.data.split(b"\n")):
            if line and not line.isspace():
                try:
                    text = json_text(line, field)
                except TextError as error:
                    error.where = block.place(rank)
                    raise
                texts.append(text)
                numbers += [block.first_line + rank] * (text.count("\n") + 1)
        data = "".join(f"{text}\n" for text in texts).encode(errors="surrogatepass")
        lines = np.array(numbers, np.int64)
        yield Block(data, block.source, block.first_line, block.offset, lines)


def json_text(row: bytes, field: str) -> str:
    """The text of one row of JSONL.

    Raises:
        TextError: the row is no JSON object, or its field is no string.
    """
    record = json_object(row)
    value = record.get(field)
    if not isinstance(value, str):
        found = ", ".join(sorted(map(repr, record))[:8]) or "none"
        what = "is not a string" if field in record else f"is missing among the fields {found}"
        raise TextError(f"the field {field!r} {what}", hint=_FIELD_HINT)
    return value


def json_object(line: bytes | str, where: str | None = None) -> dict[str, Any]:
    """The fields of a line of JSON.

    Raises:
        TextError: it is no JSON, or no object.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        detail = getattr(error, "msg", None) or type(error).__name__
        raise TextError(f"the line is not JSON ({detail})", where=where) from None
    if not isinstance(record, dict):
        raise TextError("the line is JSON but not an object", where=where)
    return record


def load_pyarrow() -> Any:
    """The package that reads and writes Parquet.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("text", "pyarrow") from None
    return pyarrow


@contextlib.contextmanager
def parquet_file(path: str | os.PathLike[str]) -> Iterator[Any]:
    """An opened Parquet file (`pyarrow.parquet.ParquetFile`).

    Raises:
        TextError: there is none, or it is broken, which may be found while it is read.
        MissingExtraError: pyarrow is not installed.
    """
    if not Path(path).is_file():
        raise TextError("there is no such file", where=str(path))
    pyarrow = load_pyarrow()
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except UnrolledError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # text that is not UTF-8 too
        detail = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise TextError(f"the Parquet file is broken ({detail})", where=str(path)) from None


def check_parquet_column(schema: Any, column: str, where: str) -> None:
    """Refuse a schema that has no such column, or one of another type.

    Raises:
        TextError: with the columns that there are, or the type.
    """
    import pyarrow

    if column not in schema.names:
        found = ", ".join(map(repr, schema.names[:8]))
        raise TextError(
            f"the column {column!r} is missing among {found}",
            where=where,
            hint=_FIELD_HINT,
        )
    kind = schema.field(column).type
    if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        raise TextError(f"the column {column!r} is {kind}, not string", where=where)


def _parquet_blocks(path: Path, column: str) -> Iterator[Block]:
    with parquet_file(path) as file:
        check_parquet_column(file.schema_arrow, column, str(path))
        yield from _row_blocks(file, str(path), column)


def _row_blocks(file: Any, name: str, column: str) -> Iterator[Block]:
    import numpy as np

    row, offset = 1, 0
    for batch in file.iter_batches(batch_size=4096, columns=[column]):
        texts = batch.column(0).to_pylist()
        if None in texts:
            raise TextError(
                f"the column {column!r} has no value", where=f"{name}:{row + texts.index(None)}"
            )
        counts = [text.count("\n") + 1 for text in texts]
        lines = np.repeat(np.arange(row, row + len(texts), dtype=np.int64), counts)
        data = "".join(f"{text}\n" for text in texts).encode(errors="surrogatepass")
        yield Block(data, name, row, offset, lines)
        row, offset = row + len(texts), offset + len(data)
