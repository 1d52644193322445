"""Lines of text files of any encoding that writes ASCII as single bytes."""

from __future__ import annotations

from collections.abc import Iterator

from unrolled.errors import SettingError, TextError
from unrolled.storage.file_kinds import HEAD_BYTES, recognise
from unrolled.text.blocks import Block
from unrolled.text.sources import Sources, raw_blocks


def check_encoding(encoding: str) -> None:
    """Raise unless lines can be cut before they are decoded.

    Raises:
        SettingError: the encoding is unknown, or does not write ASCII as single bytes.
    """
    try:
        narrow = "\n\t a".encode(encoding) == b"\n\t a"
    except LookupError:
        hint = "Try utf-8, latin-1 or cp1252"
        raise SettingError(f"the encoding {encoding!r} is unknown", hint=hint) from None
    if not narrow:
        what = f"the encoding {encoding!r} does not write ASCII as single bytes"
        raise SettingError(what, hint="Convert the file first: iconv -t UTF-8")


def text_lines(block: Block, encoding: str) -> list[str]:
    """The lines of a block, without their newlines.

    Raises:
        TextError: a byte is not of the encoding, or is 0, with ``file:line``.
    """
    if b"\0" in block.data:
        kind = recognise(block.data[:HEAD_BYTES]) if block.offset == 0 else None
        what = f"this is {kind.what}" if kind else "there is a byte 0, so it is not text"
        place = block.place(block.data.count(b"\n", 0, block.data.index(b"\0")))
        raise TextError(what, where=place, hint=kind.hint if kind else None)
    try:
        text = block.data.decode(encoding)
    except UnicodeDecodeError as error:
        raise TextError(
            f"the byte 0x{block.data[error.start]:02x} is not {encoding}",
            where=block.place(block.data.count(b"\n", 0, error.start)),
            hint="Name the file's encoding, such as latin-1",
        ) from None
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def iter_lines(sources: Sources, encoding: str = "utf-8") -> Iterator[str]:
    """The lines of files, compressed or not, of folders or ``-``, without their line ends.

    Raises:
        TextError: as `text_lines`. SettingError: as `check_encoding`.
    """
    check_encoding(encoding)
    for block in raw_blocks(sources):
        yield from (line.removesuffix("\r") for line in text_lines(block, encoding))
