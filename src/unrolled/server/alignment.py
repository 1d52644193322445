"""Where each token of a text lies in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unrolled.text.options import TextOptions

Span = tuple[int, int]

_WORDS = re.compile(r"[^\0\t\n\r ]+")
_SPACE = "\u2581"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def token_spans(text: str, tokens: Sequence[str], options: TextOptions) -> list[Span]:
    """Begin and end of each token in the text, white space before it not included.

    Tokens are found from left to right. A token that does not stand in the text as it is, because
    a Unicode form or a SentencePiece model changed it, gets as many characters as it has itself.

    >>> from unrolled.text.options import TextOptions
    >>> token_spans(" the  cat", ["the", "cat"], TextOptions())
    [(1, 4), (6, 9)]
    >>> token_spans("a b", ["a", "\u2581", "b"], TextOptions(tokens="char"))
    [(0, 1), (1, 2), (2, 3)]
    """
    if options.tokens == "word":
        spans = [match.span() for match in _WORDS.finditer(text)]
        if len(spans) == len(tokens):
            return spans
    if options.tokens == "byte":
        return _byte_spans(text, tokens)
    return _found_spans(text, tokens, options.lower, options.tokens == "char")


def _found_spans(text: str, tokens: Sequence[str], lower: bool, one: bool) -> list[Span]:
    """As `token_spans`; ``one``: each space is a token of its own."""
    searched = text.lower() if lower else text
    if len(searched) != len(text):
        searched = text
    spans, at = [], 0
    for token in tokens:
        bare = token.strip(_SPACE)
        if not bare:
            start = at
            while at < len(text) and text[at].isspace() and not (one and at > start):
                at += 1
            spans.append((start, at))
            continue
        while at < len(text) and text[at].isspace():
            at += 1
        place = searched.find(bare, at, at + len(bare) + 8)
        start = at if place < 0 else place
        at = min(start + len(bare), len(text))
        spans.append((start, at))
    return spans


def _byte_spans(text: str, tokens: Sequence[str]) -> list[Span]:
    """Each byte has the span of the character that it belongs to."""
    spans, at, left = [], 0, 0
    for token in tokens:
        if token == _SPACE:
            spans.append((at, min(at + 1, len(text))))
            at += 1
            continue
        if left == 0 and at < len(text):
            left = len(text[at].encode(errors="replace"))
            at += 1
        left = max(left - 1, 0)
        spans.append((max(at - 1, 0), at))
    return spans
