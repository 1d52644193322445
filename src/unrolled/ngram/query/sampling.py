"""Sentences drawn at random from a packed trie; see `sampling_kernels`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.ngram.query.sampling_layout import FIELDS, LANES
from unrolled.ngram.trie.layout import inverse_spreader
from unrolled.ngram.trie.packed_trie import PackedTrie
from unrolled.ngram.trie.shape import CHUNKS, TrieShape
from unrolled.runtime.cached_kernels import CachedKernel
from unrolled.runtime.threads import even_slices, run_slices
from unrolled.text.vocabulary import readonly

Array = np.ndarray[Any, Any]

_MODEL = "i8[] u8[] u8[] u4[] f4[] f4[] u1[] f4[][] f4[] u8[] f4[] i8"  # PackedTrie.query_arrays
_SAMPLE = CachedKernel(
    "unrolled.ngram.query.sampling_kernels",
    "sample",
    f"{_MODEL} i8 u4[] u4[] u8[] i8 i8 i8 i4[][]! i8[]! i8[][]! u8[]! u8[]! f8[]! i8[]!",
)
_FILL_CONTEXTS = CachedKernel(
    "unrolled.ngram.query.sampling_kernels",
    "fill_contexts",
    f"{_MODEL} u4[] i8 i8 i8 u8[]! f8[]! i8[]!",
)


@dataclass(frozen=True)
class SamplingTables:
    """What `sampling_kernels.sample` reads beside the trie: 8 bytes an n-gram and 16 a context.

    Attributes:
        first: (contexts + 1,) uint32, the first child of each.
        suffixes: (G,) uint32, each node less its first word.
        slots: uint64, the alias tables of all contexts.
    """

    first: Array
    suffixes: Array
    slots: Array

    @classmethod
    def none(cls) -> SamplingTables:
        """No tables: what is needed of them is made at each draw, with the same outcome."""
        return cls(*(readonly(np.empty(0, kind)) for kind in (np.uint32, np.uint32, np.uint64)))

    @classmethod
    def of(cls, trie: PackedTrie, *, threads: int = 2) -> SamplingTables:
        """The tables of a model, which take about as much memory as the model itself.

        Raises:
            FormatError: some n-gram lacks its suffix: the file is damaged.
        """
        trie = trie.with_words
        counts, size = trie.children_counts(), trie.vocabulary_size
        first = np.zeros(counts.size + 1, np.uint32)
        np.cumsum(counts, out=first[1:])
        first += np.uint32(size)
        shape = TrieShape(trie.levels, trie.words, trie.bits, first)
        suffixes = shape.link_suffixes(threads=threads)
        slots = np.empty(int(trie.levels[-1]) + counts.size + 1, np.uint64)
        arrays, first = trie.query_arrays(), readonly(first)

        def fill(start: int, stop: int, length: int) -> None:
            most = size if length == 0 else int(counts[start:stop].max(initial=0))
            room = np.empty(most + 1), np.empty(most + 1, np.int64)
            _FILL_CONTEXTS(*arrays, first, start, stop, length, slots, *room)

        cuts = [(0, 1, 0)]
        for length in range(1, trie.order):
            here = shape.level(length)
            pieces = even_slices(shape.size(length), CHUNKS)
            cuts += [(here.start + low, here.start + high, length) for low, high in pieces]
        run_slices(fill, cuts, threads)
        return cls(first, readonly(suffixes), readonly(slots))


def sample(
    trie: PackedTrie, tables: SamplingTables, start: Array, numbers: range, *, seed: int, most: int
) -> tuple[Array, Array]:
    """Sentences drawn word by word until </s>; <unk> is never drawn.

    Args:
        start: (S,) int32, the ids that each begins with, <s> first.
        numbers: which sentences of the seed.
        most: words that are drawn for a sentence at most.

    Returns:
        (N, S + most) int32 and (N,) int64: ids, a row a sentence, and how many each row has.
    """
    trie = trie.with_words
    size, count = trie.vocabulary_size, len(numbers)
    rows, lengths = np.empty((count, start.size + most), np.int32), np.empty(count, np.int64)
    rows[:, : start.size] = start
    if most == 0:
        lengths[:] = start.size
        return rows, lengths
    _SAMPLE(
        *trie.query_arrays(), inverse_spreader(trie.bits), tables.first, tables.suffixes,
        tables.slots, seed % 2**63, numbers.start, start.size, rows, lengths,
        np.empty((FIELDS, LANES), np.int64), np.empty(LANES, np.uint64),
        np.empty(size + 1, np.uint64), np.empty(size + 1), np.empty(size + 1, np.int64),
    )  # fmt: skip
    return rows, lengths
