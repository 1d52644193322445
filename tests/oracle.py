"""Slow, obvious reference implementations that the fast ones are checked against."""

from __future__ import annotations

from collections import Counter


def split_words(line: bytes) -> list[bytes]:
    """The words of a line, parted by NUL, tab, carriage return and space, as lmplz parts them."""
    for separator in (b"\0", b"\t", b"\r"):
        line = line.replace(separator, b" ")
    return [word for word in line.split(b" ") if word]


def text_lines(text: bytes) -> list[bytes]:
    """The lines of a text; what follows the last newline is a line only if it is not empty."""
    lines = text.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def encode(
    text: bytes, min_count: int = 0, max_size: int | None = None
) -> tuple[list[str], list[int], int]:
    """Words by descending count and first appearance, the ids of the text, and the words cut."""
    sentences = [split_words(line) for line in text_lines(text)]
    specials = [b"<unk>", b"<s>", b"</s>"]
    counts = Counter(word for words in sentences for word in words if word not in specials)
    kept = [word for word, count in counts.most_common() if count >= min_count][:max_size]
    ids = {word: id for id, word in enumerate(specials + kept)}
    encoded, oov = [], 0
    for words in sentences:
        encoded += [1, *(ids.get(word, 0) for word in words), 2]
        oov += sum(word not in ids for word in words)
    return [word.decode() for word in specials + kept], encoded, oov
