"""A set of n-grams as the shape of a trie: what models, counts and unions have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import FormatError
from unrolled.ngram.trie.packing import unpack_words
from unrolled.runtime.threads import even_slices, run_slices
from unrolled.text.vocabulary import BOS

Array = np.ndarray[Any, Any]

CHUNKS = 32  # pieces of an order that threads share


@dataclass
class TrieShape:
    """N-grams numbered as in `trie_kernels`; the context of each one is an n-gram too.

    Attributes:
        levels: (order + 1,) int64, the first node of each order, and the number of nodes G.
        words: each node's last word, packed, uint64.
        bits: of a word's field.
        first: (nodes of orders < n, + 1) uint32, the first child of each node.
    """

    levels: Array
    words: Array
    bits: int
    first: Array

    @property
    def order(self) -> int:
        """Longest n-gram."""
        return self.levels.size - 1

    @property
    def vocabulary_size(self) -> int:
        """V: the nodes of order 1."""
        return int(self.levels[1])

    @property
    def inner(self) -> int:
        """Nodes of orders below the highest: those that may have children."""
        return int(self.levels[-2])

    def level(self, length: int) -> slice:
        """Nodes of the n-grams of ``length`` words."""
        return slice(int(self.levels[length - 1]), int(self.levels[length]))

    def size(self, length: int) -> int:
        """G_length: how many n-grams of ``length`` words there are."""
        return int(self.levels[length] - self.levels[length - 1])

    def context_slices(self, length: int) -> list[tuple[int, int]]:
        """The contexts of n-grams of ``length`` words >= 2 as ranges of nodes, for threads."""
        start = self.level(length - 1).start
        cuts = even_slices(self.size(length - 1), CHUNKS)
        return [(start + low, start + high) for low, high in cuts]

    def last_words(self, length: int) -> Array:
        """Last word of every n-gram of ``length`` words, (G_length,) int32."""
        here = self.level(length)
        return unpack_words(self.words, self.bits, here.start, here.stop)

    def parents(self, length: int) -> Array:
        """Context node of every n-gram of ``length`` words >= 2, (G_length,) int64."""
        above = self.level(length - 1)
        borders = self.first[above.start : above.stop + 1].astype(np.int64)
        return np.repeat(np.arange(above.start, above.stop), borders[1:] - borders[:-1])

    def ngrams(self, length: int) -> Array:
        """All n-grams of ``length`` words as ids, (G_length, length) int32, oldest word first."""
        grams = np.empty((self.size(length), length), np.int32)
        nodes = np.arange(self.level(length).start, self.level(length).stop)
        for place in range(length, 0, -1):
            here = self.level(place)
            grams[:, place - 1] = self.last_words(place)[nodes - here.start]
            if place > 1:
                nodes = self.parents(place)[nodes - here.start]
        return grams

    def path_to(self, length: int, node: int) -> Array:
        """Nodes of the first 1 to ``length`` words of an n-gram of ``length`` words, int64."""
        path = np.array(self.levels[:length], np.int64)
        path[-1] = node
        for level in range(length - 2, -1, -1):
            above = self.first[int(self.levels[level]) : int(self.levels[level + 1]) + 1]
            # An array of the same type, or NumPy would convert all of `above`.
            below = np.array([path[level + 1]], above.dtype)
            path[level] += np.searchsorted(above, below, side="right")[0] - 1
        return path

    def starting(self, length: int, words: tuple[int, int] = (BOS, BOS + 1)) -> tuple[int, int]:
        """The range of nodes of ``length`` words that begin with a range of words, or with <s>."""
        low, high = words
        for _ in range(length - 1):
            low, high = int(self.first[low]), int(self.first[high])
        return low, high

    def link_suffixes(self, *, threads: int = 2) -> Array:
        """Node of every n-gram less its first word, (G,) uint32; zero for order 1.

        Raises:
            FormatError: the suffix of some n-gram is no n-gram: the file is damaged.
        """
        from unrolled.ngram.trie import editing_kernels as kernels

        result = np.zeros(int(self.levels[-1]), np.uint32)
        if self.order > 1:
            result[self.level(2)] = self.last_words(2)
        trie = self.first, self.words, self.bits
        for length in range(3, self.order + 1):
            work = [(*trie, *cut, result) for cut in self.context_slices(length)]
            missing = sum(run_slices(kernels.link_children, work, threads))
            if missing:
                raise FormatError(
                    f"{missing} n-grams of order {length} lack the shorter n-gram that they "
                    "end in: the file is damaged"
                )
        return result
