"""Tokens of any kind, words, pieces, characters or bytes, aligned with the words of their text.

A token belongs to the word in which its first character stands that is no white space; white space
alone belongs to the word after it.

>>> text = "The cat"
>>> owners_of_tokens(text, words_by_space(text), TextOptions(tokens="char")).tolist()
[0, 0, 0, 1, 1, 1, 1]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from unrolled.text.options import TextOptions
from unrolled.text.tokeniser import Token
from unrolled.text.tokens import normal_form, piece_places

Array = np.ndarray[Any, Any]

_WORD = re.compile("[^\0\t\n\r ]+")
_BLANKS = frozenset("\0\t\n\r \u2581")


def words_by_space(text: str) -> list[Token]:
    """What ASCII white space separates, as tokens that are words.

    >>> [word.text for word in words_by_space("The cat, sat.")]
    ['The', 'cat,', 'sat.']
    """
    return [Token(found.group(), *found.span()) for found in _WORD.finditer(text)]


class Placed(Protocol):
    """What has a first character in a text."""

    @property
    def start(self) -> int:
        """Its number, from 0."""


def owners_of_tokens(text: str, words: Sequence[Placed], options: TextOptions) -> Array:
    """The word of each token of a text, (T,) int64 from 0.

    Args:
        text: one sentence without newlines.
        words: its words in their order.
        options: how the text is split into tokens.
    """
    if not words:
        return np.zeros(_places(normal_form(text, options), options).size, np.int64)
    formed, starts = _formed(text, words, options)
    places = _places(formed, options)
    if options.tokens != "word":  # whose tokens begin with no white space
        places = _solid(formed)[places]
    owners = np.searchsorted(starts, places, side="right") - 1
    result: Array = np.clip(owners, 0, len(words) - 1)
    return result


def token_spans(text: str, options: TextOptions) -> list[tuple[int, int]]:
    """Begin and end of each token in one sentence without newlines, white space left out.

    A token of white space has its own place. Where lower case or a Unicode form makes a word longer
    or shorter, places within it are those of the formed word, as far as the word goes.

    >>> token_spans(" the  cat", TextOptions())
    [(1, 4), (6, 9)]
    >>> token_spans("a b", TextOptions(tokens="char"))
    [(0, 1), (1, 2), (2, 3)]
    """
    words = words_by_space(text)
    formed, formed_starts = _formed(text, words, options)
    starts = _places(formed, options)
    if len(formed) != len(text):
        owners = np.searchsorted(formed_starts, starts, side="right") - 1
        own = np.array([(word.start, len(word.text)) for word in words])[owners]
        inside = np.minimum(starts - formed_starts[owners], own[:, 1])
        starts = np.where(owners < 0, np.minimum(starts, len(text)), own[:, 0] + inside)
    starts = np.maximum.accumulate(starts)
    ends = np.append(starts[1:], len(text))
    return [
        _stripped(text, start, end)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=False)
    ]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without white space at its ends; as it is where it is white space alone."""
    low, high = start, end
    while low < high and text[low] in _BLANKS:
        low += 1
    while high > low and text[high - 1] in _BLANKS:
        high -= 1
    return (start, end) if low == high else (low, high)


def _solid(text: str) -> Array:
    """For each character and the end the place of the next one that is no white space."""
    solid = np.array([not (sign in _BLANKS or sign.isspace()) for sign in text] + [True])
    index = np.where(solid, np.arange(solid.size), solid.size)
    result: Array = np.minimum.accumulate(index[::-1])[::-1]
    return result


def _formed(text: str, words: Sequence[Placed], options: TextOptions) -> tuple[str, Array]:
    """The text in lower case and its Unicode form as asked for, and where its words begin there."""
    starts = np.array([word.start for word in words], np.int64)
    if not options.lower and (options.normalise == "none" or text.isascii()):
        return text, starts
    formed = normal_form(text, options)
    # Cut before each word, since lower case and forms depend on the letters of one word at most.
    parts = [
        normal_form(text[low:high], options)
        for low, high in zip([0, *starts.tolist()], [*starts.tolist(), len(text)], strict=True)
    ]
    return formed, np.cumsum([len(part) for part in parts[:-1]])


def _places(text: str, options: TextOptions) -> Array:
    """Where each token begins in a text that is in its form already, (T,) int64 characters."""
    if options.tokens == "word":
        return np.array([found.start() for found in _WORD.finditer(text)], np.int64)
    if options.tokens in ("char", "byte"):
        signs = text.removesuffix("\r")  # dropped at the end of a line
        every = np.arange(len(signs))
        if options.tokens == "char" or signs.isascii():
            return every
        return np.repeat(every, [len(sign.encode(errors="replace")) for sign in signs])
    return np.array(piece_places(text, options), np.int64)
