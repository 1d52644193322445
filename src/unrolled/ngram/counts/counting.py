"""Count the n-grams of a corpus by sorting it, once, for all orders up to n."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

import numpy as np

from unrolled.errors import SettingError, TextError
from unrolled.ngram.counts import counting_kernels as kernels
from unrolled.ngram.counts import suffix_kernels
from unrolled.ngram.trie.layout import MAX_ORDER, packed_size, word_bits
from unrolled.ngram.trie.packing import pack_words, unpack_words
from unrolled.ngram.trie.shape import TrieShape
from unrolled.runtime.threads import even_slices, run_slices
from unrolled.text.vocabulary import BOS, EOS, readonly

Array = np.ndarray[Any, Any]
Report = Callable[[str], None]
Words = tuple[int, int]
Occurrences = Callable[[int, Words | None, Array | None], Array]

MAX_TOKENS = 2**31 - 2**16
SLICES = 64  # enough to share evenly and to stop soon; each holds whole first words


@dataclass
class NgramCounts(TrieShape):
    """Every distinct n-gram of a corpus with its count.

    Counts of one order are made when asked for, which keeps the peak of memory low.

    Attributes:
        suffixes: (G,) uint32, the node of the n-gram less its first word (order 1: unused).
        occurrences: called with (length, words, out); makes the counts of all n-grams of that
            length, or of those whose first word is in the range ``words``, in ``out`` or in an
            array of its own.
        threads: that count.
    """

    suffixes: Array
    occurrences: Occurrences | None
    threads: int = 1

    def counts(self, length: int, *, words: Words | None = None, out: Array | None = None) -> Array:
        """How often each n-gram of ``length`` words occurs, (G_length,) uint32.

        Args:
            words: first and last + 1 of the words that the n-grams begin with; all by default.
            out: where to put them, for who has the room; what is returned may be another array.
        """
        if self.occurrences is None:
            raise RuntimeError("the counts were released")
        return self.occurrences(length, words, out)

    def release(self) -> None:
        """Drop what counts are made from; they can no longer be asked for."""
        self.occurrences = None

    def shares(self, count: int) -> list[Words]:
        """At most ``count`` ranges of words that begin about as many of the longest n-grams each,
        so that their counts can be made a share at a time.
        """
        nodes = np.arange(self.vocabulary_size + 1, dtype=np.uint32)
        for _ in range(self.order - 1):
            nodes = self.first[nodes]
        cuts = np.searchsorted(nodes, np.linspace(nodes[0], nodes[-1], count + 1)[1:-1])
        borders = np.unique(np.append(cuts, [0, self.vocabulary_size]))
        return [(int(low), int(high)) for low, high in pairwise(borders)]

    def adjusted_counts(self, length: int, *, out: Array | None = None) -> Array:
        """Counts that Kneser-Ney uses: of the highest order and after <s> as they occur,
        otherwise the number of distinct words seen before (Chen and Goodman 1998, section 4.1.6).
        """
        if length == self.order:
            return self.counts(length, out=out)
        here, above = self.level(length), self.level(length + 1)
        parents = self.suffixes[above]
        result = np.empty(here.stop - here.start, np.uint32) if out is None else out
        # Each thread reads all of them and counts in a share of the array that is its own.
        cuts = even_slices(result.size, self.threads)
        run_slices(
            suffix_kernels.count_shifted,
            [(parents, here.start + low, result[low:high]) for low, high in cuts],
            self.threads,
        )
        low, high = self.starting(length)
        if high > low:
            result[low - here.start : high - here.start] = self.counts(length, words=(BOS, BOS + 1))
        return result


def count_ngrams(
    ids: Array,
    order: int,
    vocabulary_size: int,
    *,
    threads: int = 2,
    report: Report | None = None,
) -> NgramCounts:
    """Count all n-grams of 1 to ``order`` words.

    Args:
        ids: (T,) int32, every sentence as <s> words </s>. Further <s> and </s> inside begin and
            end sentences too.
        order: longest n-gram, 1 to 100.
        vocabulary_size: V; every id is below it.
        report: called with the name of each stage as it begins.

    Raises:
        SettingError: an order, ids or a number of threads out of range. TextError: no text, or
            too much for 32-bit places.
    """
    _check(ids, order, vocabulary_size, threads)
    say = report or (lambda stage: None)
    say("sorting n-grams")
    places = _SortedPlaces(np.ascontiguousarray(ids, np.int32), order, vocabulary_size, threads)
    del ids  # here and in `words` the last references to the largest array are dropped
    say("gathering n-grams")
    words = places.words()
    say("linking n-grams")
    suffixes = places.suffixes(words)
    shape = TrieShape(places.levels, words, places.bits, places.first_children())
    occurrences = places.occurrences(shape)
    return NgramCounts(shape.levels, words, shape.bits, shape.first, suffixes, occurrences, threads)


def _check(ids: Array, order: int, vocabulary_size: int, threads: int) -> None:
    """Refuse what the kernels, which check no bounds, could not sort."""
    if not 1 <= order <= MAX_ORDER:
        raise SettingError(f"order {order} is not between 1 and {MAX_ORDER}")
    if threads < 1:
        raise SettingError(f"threads is {threads}, allowed are 1 and more")
    if ids.size == 0:
        raise TextError("the corpus is empty: there is nothing to count")
    if ids.size > MAX_TOKENS:
        raise TextError(
            f"the corpus has {ids.size} tokens and at most {MAX_TOKENS} fit in memory at once"
        )
    if ids[-1] != EOS or ids.min() < 0 or ids.max() >= vocabulary_size:
        raise SettingError(
            f"ids must lie in 0 to {vocabulary_size - 1}, and the last one be {EOS}, </s>"
        )


class _SortedPlaces:
    """The places of a corpus sorted by the words from there on, as `counting_kernels` describes.

    The methods are called once each, in their order; arrays are dropped as soon as none needs them.

    Attributes:
        bits: of a word's field.
        levels: (order + 1,) int64, as those of `TrieShape`.
        slices: ranges of sorted places that hold whole first words, for threads.
        cursors: (slices, order) int64, the first node of each slice and length.
    """

    def __init__(self, ids: Array, order: int, vocabulary_size: int, threads: int) -> None:
        self._ids, self._order, self._threads = ids, order, threads
        self.bits = word_bits(vocabulary_size)
        self._positions, self._starts = sort_by_word(ids, vocabulary_size, threads)
        self._size = ids.size
        self.slices = _whole_words(self._starts)
        fresh = np.full(ids.size, order + 1, np.uint8)
        occurring = self._starts[:-1] < self._starts[1:]
        fresh[self._starts[:-1][occurring]] = 1
        depth = np.empty(ids.size, np.uint8)
        nodes = np.zeros((len(self.slices), order), np.int64)
        self._fields = self._sort(nodes, fresh, depth)
        self.levels, self.cursors = _number_slices(nodes, vocabulary_size)
        # `fresh` is in the bits of a mask, `depth` above a shift: up to order 14 half a byte is
        # enough for each, and one array holds both.
        self._marks: tuple[Array, Array, int, int] = fresh, depth, 255, 0
        if order <= 14:
            depth <<= 4
            fresh |= depth
            self._marks = fresh, fresh, 15, 4

    def _sort(self, nodes: Array, fresh: Array, depth: Array) -> list[list[Array]]:
        """Sort every slice, each thread in scratch of its own that outlives its slices.

        Returns:
            For each slice and length from 2 the last words of its n-grams, as bit fields.
        """
        largest = int(np.diff(self._starts).max())
        most = max(stop - start for start, stop in self.slices) * self.bits // 64 + 2
        scratch: SimpleQueue[tuple[Array, Array, Array]] = SimpleQueue()
        for _ in range(self._threads):
            pair = np.empty(largest, np.uint64), np.empty(largest, np.uint64)
            scratch.put((np.empty((nodes.shape[1] - 1, most), np.uint64), *pair))

        def sort(number: int, start: int, stop: int) -> list[Array]:
            arrays = scratch.get()
            try:
                kernels.sort_slice(
                    self._ids, self._positions, fresh, depth, start, stop, self.bits, BOS, EOS,
                    nodes[number], *arrays,
                )  # fmt: skip
                sizes = -(-nodes[number, 1:] * self.bits // 64)
                return [row[:size].copy() for row, size in zip(arrays[0], sizes, strict=True)]
            finally:
                scratch.put(arrays)

        work = [(number, *cut) for number, cut in enumerate(self.slices)]
        return run_slices(sort, work, self._threads)

    def words(self) -> Array:
        """The last word of every node, packed."""
        self._ids = np.empty(0, np.int32)
        vocabulary_size, total = int(self.levels[1]), int(self.levels[-1])
        packed = np.zeros(packed_size(total, self.bits), np.uint64)
        # A word that never occurs still has a node: <unk>, or a word of a given list.
        single = pack_words(np.arange(vocabulary_size, dtype=np.int32), self.bits)
        packed[: single.size] = single
        ends = np.append(self.cursors[1:], [self.levels[1:]], axis=0)
        work = [
            (fields, int(stop - start) * self.bits, int(start) * self.bits)
            for row, starts, stops in zip(self._fields, self.cursors, ends, strict=True)
            for fields, start, stop in zip(row, starts[1:], stops[1:], strict=True)
            if stop > start
        ]
        self._fields = []
        borders = np.zeros((len(work), 2), np.uint64)
        run_slices(
            kernels.place_fields,
            [(*piece, packed, border) for piece, border in zip(work, borders, strict=True)],
            self._threads,
        )
        for (_, size, bit), border in zip(work, borders, strict=True):
            packed[bit >> 6] |= border[0]
            packed[(bit + size - 1) >> 6] |= border[1]
        return readonly(packed)

    def suffixes(self, words: Array) -> Array:
        """Suffix node of every node, (G,) uint32."""
        levels, threads = self.levels, self._threads
        suffixes = np.zeros(int(levels[-1]), np.uint32)
        if self._order > 1:
            low, high = int(levels[1]), int(levels[2])
            bigrams = suffixes[low:high].view(np.int32)
            unpack_words(words, self.bits, low, high, out=bigrams, threads=threads)
        positions, self._positions = self._positions, np.empty(0, np.uint32)
        if self._order < 3:
            return suffixes
        cuts = even_slices(self._size, SLICES)
        inverse = np.zeros(self._size + 1, np.uint32)  # one more: the last place has no next
        run_slices(suffix_kernels.invert, [(positions, *cut, inverse) for cut in cuts], threads)
        ranks = self._ranks()
        run_slices(
            suffix_kernels.write_suffixes,
            [
                (*self._marks, positions, inverse, ranks, *cut, cursors.copy(), suffixes)
                for cut, cursors in zip(self.slices, self.cursors, strict=True)
            ],
            threads,
        )
        return suffixes

    def _ranks(self) -> Array:
        """Where n-grams of 2 words and more begin, and how many before, see `write_suffixes`."""
        ranks = np.empty((-(-self._size // 64), 2 * (self._order - 2)), np.uint64)
        cuts = even_slices(self._size, SLICES, 64)
        work = [(*self._marks, *cut, ranks) for cut in cuts]
        run_slices(suffix_kernels.mark_nodes, work, self._threads)
        for column, start in enumerate(self.levels[1:-2].tolist()):
            inside = ranks[:, 2 * column + 1]
            inside[:] = np.cumsum(inside) - inside + np.uint64(start)
        return ranks

    def first_children(self) -> Array:
        """First child of every node shorter than the order, and one past the last node."""
        inner, total, size = (int(self.levels[place]) for place in (-2, -1, 1))
        first = np.empty(inner + 1, np.uint32)
        if inner:
            run_slices(
                kernels.write_first_children,
                [
                    (*self._marks, *cut, cursors.copy(), first)
                    for cut, cursors in zip(self.slices, self.cursors, strict=True)
                ],
                self._threads,
            )
            # Words that occur were numbered without gaps; open the gaps of those that do not.
            present = self._starts[:-1] < self._starts[1:]
            borders = np.append(first[: int(present.sum())], np.uint32(self.levels[2]))
            children = np.zeros(size, np.int64)
            children[present] = np.diff(borders.astype(np.int64))
            first[:size] = size + np.cumsum(children) - children
        first[inner] = total
        return first

    def occurrences(self, shape: TrieShape) -> Occurrences:
        """What makes the counts of one order from the sorted corpus, at each call."""
        marks, slices, cursors = self._marks, self.slices, self.cursors
        starts, threads = self._starts, self._threads

        def occurrences(length: int, words: Words | None, out: Array | None) -> Array:
            here = shape.level(length)
            low, high = here.start, here.stop
            pieces = [(*cut, int(cursors[piece, length - 1])) for piece, cut in enumerate(slices)]
            if words is not None:
                low, high = shape.starting(length, words)
                pieces = [(int(starts[words[0]]), int(starts[words[1]]), low)]
            counts = np.empty(high - low, np.uint32) if out is None else out
            if length == 1:
                counts[:] = np.diff(starts[low : high + 1])
                return counts
            run_slices(
                kernels.write_counts,
                [(*marks, start, stop, length, node - low, counts) for start, stop, node in pieces],
                threads,
            )
            return counts

        return occurrences


def sort_by_word(ids: Array, vocabulary_size: int, threads: int) -> tuple[Array, Array]:
    """Places sorted by their word, equal ones in order, and each word's start (V + 1,)."""
    slices = even_slices(ids.size, threads)
    counts = np.zeros((len(slices), vocabulary_size), np.int64)
    run_slices(
        kernels.count_ids,
        [(ids, *cut, counts[number]) for number, cut in enumerate(slices)],
        threads,
    )
    starts = np.zeros(vocabulary_size + 1, np.int64)
    np.cumsum(counts.sum(axis=0), out=starts[1:])
    cursors = starts[:-1] + np.cumsum(counts, axis=0) - counts
    positions = np.empty(ids.size, np.uint32)
    run_slices(
        kernels.place_by_word,
        [(ids, *cut, cursors[number], positions) for number, cut in enumerate(slices)],
        threads,
    )
    return positions, starts


def _whole_words(starts: Array) -> list[tuple[int, int]]:
    """About SLICES slices of the sorted places, cut only where a new first word begins."""
    size = int(starts[-1])
    cuts = np.searchsorted(starts, np.linspace(0, size, SLICES + 1))
    borders = np.unique(np.append(starts[np.minimum(cuts, starts.size - 1)], [0, size]))
    return [(int(low), int(high)) for low, high in pairwise(borders)]


def _number_slices(nodes: Array, vocabulary_size: int) -> tuple[Array, Array]:
    """Levels, and the first node of each slice and length; of length 1 only words that occur."""
    order = nodes.shape[1]
    levels = np.zeros(order + 1, np.int64)
    totals = nodes.sum(axis=0)
    totals[0] = vocabulary_size
    np.cumsum(totals, out=levels[1:])
    if levels[-1] >= 2**32:
        raise TextError(
            f"the corpus has {levels[-1]} distinct n-grams and at most {2**32 - 1} fit one model",
            hint="Lower the order or prune",
        )
    cursors = levels[:-1] + np.cumsum(nodes, axis=0) - nodes
    return levels, np.ascontiguousarray(cursors)
