"""An n-gram model in plain arrays: what estimation writes and what surgery on a model reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import FormatError
from unrolled.ngram.trie.packing import pack_words, unpack_words
from unrolled.runtime.threads import even_slices, run_slices

Array = np.ndarray[Any, Any]

MAX_ORDER = 100


@dataclass
class NgramTable:
    """N-grams with log-probabilities and back-off weights, numbered as in `trie_kernels`.

    Every n-gram's context and suffix is an n-gram of the table too. ``log_probs`` (G,) and
    ``backoffs`` (nodes of orders < n,) are float32 natural logarithms.
    """

    levels: Array  # (order + 1,) int64
    words: Array  # packed, uint64
    bits: int
    first: Array  # (nodes of orders < n, + 1) uint32
    log_probs: Array
    backoffs: Array

    @property
    def order(self) -> int:
        """Longest n-gram."""
        return self.levels.size - 1

    @property
    def inner(self) -> int:
        """Nodes of orders below the highest: those that may have children."""
        return int(self.levels[-2])

    def level(self, length: int) -> slice:
        """Nodes of the n-grams of ``length`` words."""
        return slice(int(self.levels[length - 1]), int(self.levels[length]))

    def last_words(self, length: int) -> Array:
        """Last word of every n-gram of ``length`` words, (G_length,) int32."""
        here = self.level(length)
        return unpack_words(self.words, self.bits, here.start, here.stop)

    def parents(self, length: int) -> Array:
        """Context node of every n-gram of ``length`` words >= 2, (G_length,) int64."""
        above = self.level(length - 1)
        borders = self.first[above.start : above.stop + 1].astype(np.int64)
        children = borders[1:] - borders[:-1]
        return np.repeat(np.arange(above.start, above.stop), children)

    def ngrams(self, length: int) -> Array:
        """All n-grams of ``length`` words as ids, (G_length, length) int32, oldest word first."""
        grams = np.empty((self.level(length).stop - self.level(length).start, length), np.int32)
        nodes = np.arange(self.level(length).start, self.level(length).stop)
        for place in range(length, 0, -1):
            here = self.level(place)
            grams[:, place - 1] = self.last_words(place)[nodes - here.start]
            if place > 1:
                nodes = self.parents(place)[nodes - here.start]
        return grams

    def suffixes(self, *, threads: int = 2) -> Array:
        """Node of every n-gram less its first word, (G,) uint32; zero for order 1.

        Raises:
            FormatError: some n-gram's suffix is no n-gram: the table comes from a damaged file.
        """
        from unrolled.ngram.trie import editing_kernels as surgery_kernels

        result = np.zeros(int(self.levels[-1]), np.uint32)
        for length in range(2, self.order + 1):
            here = self.level(length)
            parents, words = self.parents(length), self.last_words(length)
            if length == 2:
                result[here] = words
            else:
                missing = sum(
                    run_slices(
                        surgery_kernels.find_suffixes,
                        [
                            (self.first, self.words, self.bits, parents[low:high],
                             words[low:high], result, here.start + low)
                            for low, high in even_slices(words.size, 32)
                        ],
                        threads,
                    )
                )  # fmt: skip
                if missing:
                    raise FormatError(
                        f"{missing} n-grams of order {length} lack the shorter n-gram that they "
                        "end in: the file is damaged"
                    )
        return result

    def select(self, keep: Array) -> NgramTable:
        """Only the n-grams marked in ``keep`` (G,) bool, whose contexts must be marked too."""
        places = np.zeros(keep.size + 1, np.int64)
        np.cumsum(keep, out=places[1:])
        kept = np.flatnonzero(keep[: self.inner])
        first = np.append(places[self.first[kept]], places[-1]).astype(np.uint32)
        words = np.concatenate(
            [
                self.last_words(length)[keep[self.level(length)]]
                for length in range(1, self.order + 1)
            ]
        )
        return NgramTable(
            places[self.levels],
            pack_words(words, self.bits),
            self.bits,
            first,
            self.log_probs[keep],
            self.backoffs[kept],
        )
