"""The kernels that turn rows of word ids into lines of text."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.kernels import cached_kernel

Array = np.ndarray[Any, Any]

BLANK, NEWLINE = np.uint8(32), np.uint8(10)


@cached_kernel
def count_bytes(rows: Array, lengths: Array, start: int, prefix: Array, offsets: Array) -> int:
    """Bytes that `write_lines` writes."""
    total = np.int64(0)
    for row in range(rows.shape[0]):
        count = max(lengths[row] - start, 0) + np.int64(prefix.size > 0)
        total += prefix.size + max(count, 1)  # blanks and the newline
        for place in range(start, lengths[row]):
            word = rows[row, place]
            total += np.int64(offsets[word + 1]) - np.int64(offsets[word])
    return total


@cached_kernel
def write_lines(
    rows: Array,
    lengths: Array,
    start: int,
    prefix: Array,
    text: Array,
    offsets: Array,
    out: Array,
) -> None:
    """Each row's words from column ``start`` on, after a prefix, as a line; blanks between.

    A word is text[offsets[id] : offsets[id + 1]].
    """
    at = np.int64(0)
    for row in range(rows.shape[0]):
        begin = at
        for index in range(prefix.size):
            out[at] = prefix[index]
            at += 1
        for place in range(start, lengths[row]):
            if at > begin:
                out[at] = BLANK
                at += 1
            word = rows[row, place]
            for index in range(np.int64(offsets[word]), np.int64(offsets[word + 1])):
                out[at] = text[index]
                at += 1
        out[at] = NEWLINE
        at += 1
