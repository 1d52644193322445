"""Carry numbers of n-grams to the n-grams one word longer that end in them.

p(w | v c) needs p(w | c), which lies with the n-grams that begin with another word. Each n-gram
knows the words before it, so it sends its number to the part of each of them; in the order of
arrival, which is the order of sending, a number needs no more than that word to find its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.scale import exchange_kernels as kernels

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sender:
    """Consecutive n-grams of one length that send their numbers.

    Attributes:
        adjusted: (N,) uint32, how many words precede each.
        starting: the range of those that begin with <s>, which send nothing.
        preceding: the words before all of them, end to end, uint32.
        part_of: (V,) uint16, the part that the n-grams that begin with a word belong to.
        parts: how many parts there are.
    """

    adjusted: Array
    starting: tuple[int, int]
    preceding: Array
    part_of: Array
    parts: int

    def rows(self, values: Array) -> list[Array]:
        """Rows (word before, number), uint32, for each part.

        Args:
            values: (N,) float32 or float64, whose bits take one or two columns.
        """
        bits = values.view(np.uint32).reshape(-1, values.itemsize // 4)
        counts = np.zeros(self.parts, np.int64)
        kernels.count_parts(self.preceding, self.part_of, counts)
        ends = np.cumsum(counts)
        rows = np.empty((self.preceding.size, 1 + bits.shape[1]), np.uint32)
        kernels.send(
            self.adjusted, *self.starting, self.preceding, bits, self.part_of, ends - counts, rows
        )
        return np.split(rows, ends[:-1])


def arranged(rows: Array, first: int, starts: Array, bigrams: tuple[Array, Array, Array]) -> Array:
    """The values of rows that a part received, in the order of its n-grams; (N, C) uint32.

    Args:
        rows: (N, 1 + C) uint32, one for each n-gram of the length, in the order of sending: by the
            first word of the sender, over all parts.
        first: the first word of the part.
        starts: (words + 1,) where the n-grams of that length of each of its first words begin.
        bigrams: for each bigram of the part its second word (int32), the number of n-grams of the
            length that begin with it (uint32), and (words + 1,) where those of each word begin.
    """
    seconds, descendants, bigram_starts = bigrams
    counts = np.bincount(seconds)
    order = np.empty(seconds.size, np.int64)
    kernels.sort_by_word(seconds, np.cumsum(counts) - counts, order)
    first_words = np.repeat(np.arange(starts.size - 1), np.diff(bigram_starts))
    places = np.cumsum(descendants, dtype=np.int64) - descendants
    grouped = np.empty((rows.shape[0], rows.shape[1] - 1), np.uint32)
    out = np.empty_like(grouped)
    kernels.arrange(rows, first, starts, order, first_words, descendants, places, grouped, out)
    return out
