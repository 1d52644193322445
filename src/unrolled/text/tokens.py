"""How text becomes tokens: what a word is, what a bad byte does, lower-casing, Unicode forms."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from unrolled.errors import MissingExtraError, TextError
from unrolled.runtime.cached_kernels import CachedKernel
from unrolled.storage.file_kinds import HEAD_BYTES, is_text, recognise
from unrolled.text.blocks import Block
from unrolled.text.options import TextOptions
from unrolled.text.sources import Sources, raw_blocks
from unrolled.text.vocabulary import readonly

_HIGH_RUNS = re.compile(rb"[\x80-\xff]+")
_FIRST_INVALID = CachedKernel("unrolled.text.utf8_kernels", "first_invalid", "u1[]")
_FORMS: dict[str, Literal["NFC", "NFKC"]] = {"nfc": "NFC", "nfkc": "NFKC"}
_FINAL_SIGMA = "Σ".encode()


def read_blocks(
    sources: Sources,
    options: TextOptions | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Block]:
    """Blocks of about 8 MiB of whole lines, in valid UTF-8, lower-cased and cut into tokens.

    In each, tokens are separated by white space whatever the options, ready for
    ``Vocabulary.encode_block(block.data, place=block.place)``.

    Args:
        sources: files, folders, ``-`` for standard input; one or a list. ``.gz .bz2 .xz .zst`` are
            decompressed, ``.jsonl`` and ``.parquet`` give one field.
        options: see TextOptions.
        progress: called with the bytes of the files read since the last call.

    Raises:
        TextError: with the place, for what cannot be read.
    """
    options = options or TextOptions()
    return cut_blocks(raw_blocks(sources, options.field, progress=progress), options)


def cut_blocks(blocks: Iterable[Block], options: TextOptions) -> Iterator[Block]:
    """Blocks as `raw_blocks` gives them, checked, lower-cased and cut into tokens."""
    for block in blocks:
        data = _cut(_checked(block, options), options)
        yield block if data is block.data else dataclasses.replace(block, data=data)


def tokenise(text: str | bytes, options: TextOptions | None = None) -> bytes:
    """One text as read_blocks gives it: UTF-8, tokens separated by white space, line by line.

    >>> tokenise("Déjà vu", TextOptions(tokens="char", lower=True)).decode()
    'd é j à ▁ v u'
    """
    options = options or TextOptions()
    if isinstance(text, str):
        # A lone surrogate becomes "?", as where the vocabulary encodes a text.
        return _cut(text.encode(errors="replace"), options)
    return _cut(_checked(Block(text, "<text>", 1), options), options)


def normal_form(text: str, options: TextOptions) -> str:
    """A text in the Unicode form and case that the options ask for, not yet split into tokens."""
    if options.normalise != "none":
        text = unicodedata.normalize(_FORMS[options.normalise], text)
    return text.lower() if options.lower else text


def piece_places(text: str, options: TextOptions) -> list[int]:
    """Where each SentencePiece piece of a line begins, in characters of the line."""
    # Its other forms of the answer differ between versions; this one is a protocol buffer, in which
    # field 2 is a piece and, in that, field 1 its text and field 4 the byte at which it begins.
    answer = _sentencepiece(options).encode(text, out_type="serialized_proto")
    pieces = [dict(_fields(field)) for number, field in _fields(answer) if number == 2]
    begins = [piece.get(4, 0) for piece in pieces if piece.get(1)]
    data = text.encode(errors="replace")
    if len(data) == len(text):
        return begins
    firsts = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80
    characters = np.append(np.cumsum(firsts) - 1, len(text))
    return [int(characters[begin]) for begin in begins]


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol buffer of whole numbers and byte strings, with their numbers."""
    at = 0

    def number() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = number()
        value: Any = number()
        if key & 7 == 2:
            at += value
            value = message[at - value : at]
        yield key >> 3, value


def iter_sentences(sources: Sources, options: TextOptions | None = None) -> Iterator[str]:
    """The lines of read_blocks as strings, tokens separated by white space, without line ends."""
    for block in read_blocks(sources, options):
        yield from _lines_of(block)


def line_batches(sources: Sources, options: TextOptions, size: int) -> Iterator[list[str]]:
    """The same in batches of at most that size: those that have come, without waiting for more.

    So the answer to a line that comes through a pipe can be written before the next one comes.
    """
    for block in cut_blocks(raw_blocks(sources, options.field, live=True), options):
        lines = _lines_of(block)
        for start in range(0, len(lines), size):
            yield lines[start : start + size]


def _lines_of(block: Block) -> list[str]:
    lines = block.data.decode(errors="replace").split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _cut(data: bytes, options: TextOptions) -> bytes:
    """Valid text with its tokens separated by white space."""
    if options.normalise != "none" and not data.isascii():
        text = data.decode(errors="surrogateescape")
        text = unicodedata.normalize(_FORMS[options.normalise], text)
        data = text.encode(errors="surrogateescape")
    if options.lower:
        data = _lowered(data)
    if options.tokens in ("char", "byte"):
        return _spelt(data, options.tokens == "char")
    if options.tokens != "word":
        return _pieces(data, options)
    return data


def _checked(block: Block, options: TextOptions) -> bytes:
    """The bytes of a block, as UTF-8 where characters or words are asked for."""
    data = block.data
    if options.tokens == "byte":
        return data
    start = first_invalid(data)
    if start < 0:
        return data
    if options.invalid == "replace":
        return data.decode(errors="replace").encode()
    head = data[:HEAD_BYTES] if block.first_line == 1 else b""
    known = None if is_text(head) else recognise(head)
    if known is not None:
        raise TextError(f"this is {known.what}", where=block.source, hint=known.hint)
    raise TextError(
        f"byte 0x{data[start]:02x} at offset {block.offset + start} is not UTF-8",
        where=block.place(data.count(b"\n", 0, start)),
        hint="Convert it, or replace what is wrong: --invalid replace, --set invalid=replace, or "
        "TextOptions(invalid='replace')",
    )


def first_invalid(data: bytes) -> int:
    """Where the first byte is that is not UTF-8, or -1."""
    if data.isascii():
        return -1
    if len(data) >= 1 << 16:  # the kernel is four times faster, once it is loaded
        found: int = _FIRST_INVALID(readonly(np.frombuffer(data, np.uint8)))
        return found
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return -1


def _lowered(data: bytes) -> bytes:
    """``str.lower`` on UTF-8; what is not UTF-8 (only ``byte`` tokens have it) stays."""
    if data.isascii():
        return data.lower()
    high = np.count_nonzero(np.frombuffer(data, np.uint8) >= 128)
    # A few accents and quotes in English are cheaper one by one. Only the capital sigma, whose
    # lower case depends on its neighbours, forbids it.
    if 32 * high < len(data) and _FINAL_SIGMA not in data:
        return _HIGH_RUNS.sub(_lowered_run, data.lower())
    return data.decode(errors="surrogateescape").lower().encode(errors="surrogateescape")


def _lowered_run(match: re.Match[bytes]) -> bytes:
    run = match.group().decode(errors="surrogateescape")
    return run.lower().encode(errors="surrogateescape")


def _spelt(data: bytes, characters: bool) -> bytes:
    from unrolled.text.utf8_kernels import spell

    out = np.empty(7 * len(data) + 8, np.uint8)
    written = spell(readonly(np.frombuffer(data, np.uint8)), characters, out)
    return out[:written].tobytes()


def _pieces(data: bytes, options: TextOptions) -> bytes:
    lines = data.decode().split("\n")
    pieces = _sentencepiece(options).encode(lines, out_type=str)
    return "\n".join(" ".join(line) for line in pieces).encode()


def _sentencepiece(options: TextOptions) -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise MissingExtraError("text", "sentencepiece") from None
    return _processor(
        sentencepiece.SentencePieceProcessor, options.sentencepiece_content(), options.tokens
    )


@lru_cache(maxsize=4)
def _processor(make: Callable[..., Any], content: bytes, where: str) -> Any:
    try:
        return make(model_proto=content)
    except (RuntimeError, OSError):
        raise TextError("the file is not a SentencePiece model", where=where) from None
