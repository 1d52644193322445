"""Readers of compressed files, and what is said where one is broken."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import IO

from isal import igzip, isal_zlib

from unrolled.errors import MissingExtraError, TextError

COMPRESSED = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "Zstandard"}
# Its stub calls this class an exception.
_GZIP_DAMAGE: type[Exception] = isal_zlib.error  # type: ignore[assignment]
DAMAGE = (EOFError, zlib.error, _GZIP_DAMAGE, lzma.LZMAError, OSError)


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


def damaged(error: BaseException, name: str, packed: str | None) -> TextError:
    """One of DAMAGE, met while reading a file, as a sentence."""
    if isinstance(error, OSError) and error.errno is not None:
        return TextError(f"the file cannot be read ({error.strerror})", where=name)
    kind = COMPRESSED[packed] if packed else "text"
    if isinstance(error, EOFError) or "ended before" in str(error):
        return TextError(f"the {kind} file ends too early", where=name, hint="Fetch it again")
    return TextError(f"the {kind} file is broken ({error})", where=name, hint="Fetch it again")
