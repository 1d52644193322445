"""What a file is by its name, and by its first bytes for messages about what is no model."""

from __future__ import annotations

import codecs
import os
import zlib
from typing import NamedTuple

HEAD_BYTES = 1 << 16  # as many first bytes as the functions here want to see
ARPA_ENDINGS = (".arpa", ".arpa.gz", ".lm", ".lm.gz")  # of files that are written
ARPA = "an ARPA text model"
TEXT = "plain text"
COMPRESSED = tuple(f"{name}-compressed data" for name in ("gzip", "bzip2", "xz", "Zstandard"))


class FileKind(NamedTuple):
    """What a file is, as in "this is ...", and what to do with it instead."""

    what: str
    hint: str


_NO_PICKLE = "Pickles can run code when they are opened, so unrolled never reads one"
_NOT_TEXT = "Models end in .safetensors or .arpa"
_UNPACK = "Unpack it first with"
_BINARY = "Convert the ARPA file that it was built from: unrolled convert LM.arpa LM.safetensors"

# First bytes -> what they mean. The longest signatures are unmistakable, hence no order among them.
_SIGNATURES: dict[bytes, FileKind] = {
    b"mmap lm http://kheafield.com": FileKind("a KenLM binary model", _BINARY),
    b"SRILM_BINARY": FileKind("an SRILM binary model", _BINARY),
    b"blmt": FileKind("an IRSTLM binary model", _BINARY),
    b"Qblmt": FileKind("an IRSTLM binary model", _BINARY),
    b"\xba\x16\x4f\x2f": FileKind("a fastText model", _NOT_TEXT),
    b"PK\x03\x04": FileKind("a zip archive, such as a PyTorch checkpoint or .npz", _NO_PICKLE),
    b"PK\x05\x06": FileKind("an empty zip archive", _NO_PICKLE),
    **{bytes([0x80, n]): FileKind("a Python pickle", _NO_PICKLE) for n in range(2, 6)},
    b"\x93NUMPY": FileKind("a NumPy array file", _NOT_TEXT),
    b"\x1f\x8b": FileKind(COMPRESSED[0], f"{_UNPACK} gunzip"),
    b"BZh": FileKind(COMPRESSED[1], f"{_UNPACK} bunzip2"),
    b"\xfd7zXZ\x00": FileKind(COMPRESSED[2], f"{_UNPACK} unxz"),
    b"\x28\xb5\x2f\xfd": FileKind(COMPRESSED[3], f"{_UNPACK} unzstd"),
    b"7z\xbc\xaf\x27\x1c": FileKind("a 7-Zip archive", f"{_UNPACK} 7z x"),
    b"\x89HDF\r\n\x1a\n": FileKind("an HDF5 file, such as a Keras model", _NOT_TEXT),
    b"GGUF": FileKind("a GGUF model", _NOT_TEXT),
    b"PAR1": FileKind("a Parquet table", "Train on it: unrolled train ngram FILE.parquet"),
    b"ARROW1": FileKind("an Arrow table", _NOT_TEXT),
    b"SQLite format 3\x00": FileKind("an SQLite database", _NOT_TEXT),
    b"%PDF-": FileKind("a PDF document", _NOT_TEXT),
    b"\x7fELF": FileKind("a program", _NOT_TEXT),
    b"\xff\xfe": FileKind("UTF-16 text", "Convert it first: iconv -f UTF-16 -t UTF-8"),
    b"\xfe\xff": FileKind("UTF-16 text", "Convert it first: iconv -f UTF-16 -t UTF-8"),
    b"version https://git-lfs": FileKind("a Git LFS pointer, not the file", "Run: git lfs pull"),
}
_SENTENCEPIECE = FileKind("a SentencePiece model", "Give it with --tokens to train on its pieces")
_TAR = FileKind("a tar archive", f"{_UNPACK} tar -xf")
_WEB_PAGE = FileKind("a web page", "The download may have failed: fetch the file again")
_JSON = FileKind("JSON text", _NOT_TEXT)
_ZEROS = FileKind("only zeros at its start", "Copying it was cut short: copy it again")


def recognise(head: bytes) -> FileKind | None:
    """Say what a file is whose first bytes (up to `HEAD_BYTES`) are given; None if unknown.

    >>> recognise(b"mmap lm http://kheafield.com/code format version 5").what
    'a KenLM binary model'
    >>> recognise(bytes([1, 2, 3]))
    """
    if is_arpa(head):
        return FileKind(ARPA, "Convert it: unrolled convert LM.arpa LM.safetensors")
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    if head[:1] == b"\n" and b"<unk>" in head[:32]:
        return _SENTENCEPIECE
    if head[257:262] == b"ustar":
        return _TAR
    if head and not head.strip(b"\x00"):
        return _ZEROS
    return _text(head) if is_text(head) else None


def is_arpa_name(path: str | os.PathLike[str]) -> bool:
    """Whether a file of that name is written as ARPA."""
    return os.fspath(path).lower().endswith(ARPA_ENDINGS)


def arpa_ending(path: str | os.PathLike[str]) -> str:
    """The ending of a name of an ARPA file, such as ``.arpa.gz``, or nothing."""
    shown = os.fspath(path).lower()
    return next((end for end in sorted(ARPA_ENDINGS, key=len) if shown.endswith(end)), "")


def is_arpa(head: bytes) -> bool:
    r"""Whether these are the first bytes of an ARPA file, gzipped or not: a line ``\data\``.

    >>> is_arpa(b"written by a tool\n\n\\data\\\nngram 1=4\n")
    True
    """
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
        except zlib.error:
            return False
    at = head.find(b"\\data\\")
    before = head[: max(at, 0)].removeprefix(codecs.BOM_UTF8)
    # Only on a line of its own, and only after text: a model's bytes can hold anything.
    return at >= 0 and before.rpartition(b"\n")[2].strip() == b"" and is_text(before + b" ")


def _text(head: bytes) -> FileKind:
    """Tell kinds of text apart."""
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()[:256].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return _WEB_PAGE
    if start.startswith((b'{"', b"{ ", b"{\n", b"{\r", b"[")):
        return _JSON
    return FileKind(TEXT, "To train a model on it: unrolled train ngram FILE -o LM.safetensors")


def is_text(head: bytes) -> bool:
    """Whether this is UTF-8 without control characters; it may end within a character."""
    if not head or any(byte in head for byte in _CONTROLS):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


_CONTROLS = [n for n in (*range(32), 127) if n not in b"\t\n\v\f\r\x1b"]
