"""Sentences to ids and back, split into tokens like a model's training text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.runtime.threads import run_slices
from unrolled.text.vocabulary import BOS, Vocabulary

if TYPE_CHECKING:
    from unrolled.text.options import TextOptions

Array = np.ndarray[Any, Any]

_SPACES = {ord(mark): " " for mark in "\0\t\r\n"}


def encode_sentences(
    vocabulary: Vocabulary, sentences: Sequence[str], options: TextOptions, threads: int = 1
) -> Array:
    """Ids of many sentences, each as <s> words </s>, (T,) int32; a newline in one is a space.

    Literal <s> and </s> are those marks, as for KenLM's query.

    Raises:
        SettingError: one text instead of a list of them.
    """
    from unrolled.text.tokens import tokenise

    if isinstance(sentences, str):
        raise SettingError("sentences is one text", hint="Give a list of them, or use score")
    if not sentences:
        return np.zeros(0, np.int32)
    text = "\n".join([*sentences, ""])
    if text.count("\n") != len(sentences):
        text = "\n".join([*(sentence.replace("\n", " ") for sentence in sentences), ""])
    data = tokenise(text, options)

    def ids_of(start: int, stop: int) -> Array:
        ids: Array = vocabulary.encode_block(memoryview(data)[start:stop], specials="keep").ids
        return ids

    parts = run_slices(ids_of, line_slices(data, -(-len(data) // threads)), threads)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def line_slices(data: bytes, size: int) -> Iterator[tuple[int, int]]:
    """Bounds of slices of whole lines, each of ``size`` bytes or a little more."""
    start = 0
    while start < len(data):
        stop = data.find(b"\n", min(start + size, len(data)) - 1) + 1 or len(data)
        yield start, stop
        start = stop


def sentence_starts(
    vocabulary: Vocabulary, sentences: Sequence[str], options: TextOptions, ids: Array
) -> Array:
    """Where each sentence of ``encode_sentences`` begins in ``ids``, and T; (N + 1,) int64."""
    starts = np.flatnonzero(ids == BOS)
    if starts.size != len(sentences):  # a text holds a literal <s>
        sizes = np.array([encode_sentences(vocabulary, [text], options).size for text in sentences])
        starts = np.cumsum(sizes) - sizes
    return np.append(starts, ids.size)


def words_of(sentence: str, options: TextOptions) -> list[str]:
    """The tokens of one sentence; a newline in it is a space."""
    from unrolled.text.tokens import tokenise

    data = tokenise(sentence.replace("\n", " "), options)
    text = data.decode(errors="replace").translate(_SPACES)
    return [word for word in text.split(" ") if word]


def text_of(words: Sequence[str], options: TextOptions) -> str:
    """Tokens joined to text: the inverse of `words_of`."""
    if options.tokens == "word":
        return " ".join(words)
    if options.tokens == "byte":
        raw = (bytes([int(word[3:5], 16)]) if len(word) == 6 else word.encode() for word in words)
        words = [b"".join(raw).decode(errors="replace")]
    return "".join(words).replace("\u2581", " ").strip()
