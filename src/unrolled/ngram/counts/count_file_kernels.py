"""Kernels between the lines of a count file and arrays: one reads them, one writes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.trie.trie_kernels import field
from unrolled.runtime.kernels import kernel
from unrolled.text.encoding_kernels import splits

MOST_DIGITS = 18  # more may not fit an int64
COUNT_ROOM = 24  # bytes that a count takes at most, with its tab and newline


@kernel
def take_counts(data: Any, counts: Any, lengths: Any) -> Any:
    """Read each line's last field as its count and write blanks over it, so that words are left.

    Args:
        data: (bytes,) uint8, changed in place. counts: (lines,) int64 out.
        lengths: (lines,) int32 out, words of each line; 0 for a blank one.

    Returns:
        Lines read; where there are more, the next one has no words or no whole number at its end.
    """
    at, lines = 0, 0
    while at < data.size and lines < counts.size:
        fields, last, inside = 0, at, False
        while at < data.size and data[at] != 10:
            if splits(data[at]):
                inside = False
            elif not inside:
                inside = True
                fields += 1
                last = at
            at += 1
        count, stop = 0, last
        if fields > 0:
            while stop < at and 48 <= data[stop] <= 57:
                if stop - last == MOST_DIGITS:
                    return lines
                count = count * 10 + (data[stop] - 48)
                data[stop] = 32
                stop += 1
            if fields == 1 or stop == last or (stop < at and not splits(data[stop])):
                return lines
        counts[lines] = count
        lengths[lines] = fields - 1 if fields > 0 else 0
        lines += 1
        at += 1
    return lines


@kernel
def format_counts(
    path: Any,
    words: Any,
    stop: Any,
    first: Any,
    packed: Any,
    bits: Any,
    inverse: Any,
    counts: Any,
    base: Any,
    text: Any,
    offsets: Any,
    out: Any,
) -> Any:
    """Write the n-grams of nodes path[-1] to ``stop`` and their counts, while they fit ``out``.

    Args:
        path: (k,) int64 in and out: the nodes of the first 1 to k words of the next n-gram.
        words: (k,) int64 scratch.
        first, packed, bits: of `NgramCounts`. inverse: undoes `trie_kernels.spread`.
        counts: (G_k,) uint32 of the order, whose first node is ``base``.
        text, offsets: the vocabulary. out: (bytes,) uint8.

    Returns:
        Bytes written, and the bytes that the next line may need, 0 at the end.
    """
    length = path.size
    mask = (1 << bits) - 1
    at = 0
    while path[length - 1] < stop:
        room: Any = COUNT_ROOM
        for level in range(length - 1, -1, -1):
            if level < length - 1:
                while first[path[level] + 1] <= path[level + 1]:
                    path[level] += 1
            word = (field(packed, bits, path[level]) * inverse) & mask
            words[level] = word
            room += np.int64(offsets[word + 1]) - np.int64(offsets[word]) + 1
        if at + room > out.size:
            return at, room
        for level in range(length):
            for source in range(offsets[words[level]], offsets[words[level] + 1]):
                out[at] = text[source]
                at += 1
            out[at] = 32
            at += 1
        out[at - 1] = 9
        count: Any = np.int64(counts[path[length - 1] - base])
        ten = 10
        while ten <= count:
            ten *= 10
        while ten > 1:
            ten //= 10
            out[at] = 48 + count // ten % 10
            at += 1
        out[at] = 10
        at += 1
        path[length - 1] += 1
    return at, 0
