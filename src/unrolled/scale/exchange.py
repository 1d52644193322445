"""Carry numbers of n-grams to the n-grams one word longer that end in them.

p(w | v c) needs p(w | c), which lies with the n-grams that begin with another word. Each n-gram
knows the words before it, so it sends its number to the part of each of them; in the order of
arrival, which is the order of sending, a number needs no more than that word to find its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unrolled.scale import exchange_kernels as kernels

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Routes:
    """Which part of the model an n-gram belongs to.

    Attributes:
        part_of: (V,) uint16, the part of the n-grams that begin with a word, or the first of them.
        parts: how many there are.
        split: (S,) words whose n-grams belong to several parts, by their second word.
        starts: (S + 1,) where the keys of each of them begin.
        keys: the least second word of each part of a split word, `spread_words`, uint32.
        bits: of a word in the model.
    """

    part_of: Array
    parts: int
    split: Array = field(default_factory=lambda: np.empty(0, np.int64))
    starts: Array = field(default_factory=lambda: np.zeros(1, np.int64))
    keys: Array = field(default_factory=lambda: np.empty(0, np.uint32))
    bits: int = 1


@dataclass(frozen=True)
class Sender:
    """Consecutive n-grams of one length that send their numbers.

    Attributes:
        adjusted: (N,) uint32, how many words precede each.
        starting: the range of those that begin with <s>, which send nothing.
        preceding: the words before all of them, end to end, uint32.
        first: the first of their first words.
        sizes: (words,) int64, how many of them each first word begins.
        routes: where they send.
    """

    adjusted: Array
    starting: tuple[int, int]
    preceding: Array
    first: int
    sizes: Array
    routes: Routes

    def rows(self, values: Array) -> list[Array]:
        """Rows (word before, number), uint32, for each part.

        Args:
            values: (N,) or (N, C), whose bits take a column for each 4 bytes.
        """
        columns = values.itemsize // 4 * (values.shape[1] if values.ndim > 1 else 1)
        bits = np.ascontiguousarray(values).view(np.uint32).reshape(-1, columns)
        routes = self.routes
        bases = routes.part_of[routes.split]
        split = routes.split, bases, routes.starts, routes.keys, routes.bits
        senders = self.first, np.ascontiguousarray(self.sizes)
        counts = np.zeros(routes.parts, np.int64)
        given = self.adjusted, *self.starting, self.preceding, routes.part_of.copy()
        kernels.count_parts(*given, counts, *senders, *split)
        ends = np.cumsum(counts)
        rows = np.empty((self.preceding.size, 1 + columns), np.uint32)
        kernels.send(*given, bits, ends - counts, rows, *senders, *split)
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
