"""Rows of word ids back to lines of text."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.cached_kernels import CachedKernel
from unrolled.text.vocabulary import Vocabulary, readonly

Array = np.ndarray[Any, Any]

_ROWS = "i4[][] i8[] i8 u1[]"
_COUNT_BYTES = CachedKernel("unrolled.text.decoding_kernels", "count_bytes", f"{_ROWS} u4[]")
_WRITE_LINES = CachedKernel(
    "unrolled.text.decoding_kernels", "write_lines", f"{_ROWS} u1[] u4[] u1[]!"
)


def lines_of(
    vocabulary: Vocabulary, rows: Array, lengths: Array, *, start: int = 0, prefix: str = ""
) -> bytes:
    """Lines of words in UTF-8, a blank between two words.

    Args:
        rows: (N, words) int32 ids, each below the size of the vocabulary.
        lengths: (N,) int64, how many of each row's columns are used.
        start: the first column to write.
        prefix: what each line begins with.

    >>> vocabulary = Vocabulary.from_words(["the", "cat"])
    >>> rows = np.array([[3, 4, 3], [4, 0, 0], [0, 0, 0]], np.int32)
    >>> lines_of(vocabulary, rows, np.array([3, 1, 0]))
    b'the cat the\\ncat\\n\\n'
    """
    arrays = vocabulary.arrays()
    text, offsets = readonly(arrays["text"]), readonly(arrays["offsets"])
    begin = readonly(np.frombuffer(prefix.encode(errors="replace"), np.uint8))
    table = rows, lengths, start, begin
    out = np.empty(_COUNT_BYTES(*table, offsets), np.uint8)
    _WRITE_LINES(*table, text, offsets, out)
    return out.tobytes()
