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
from unrolled.ngram.trie.layout import MAX_ORDER, word_bits
from unrolled.ngram.trie.packing import pack_words, unpack_words
from unrolled.ngram.trie.shape import TrieShape
from unrolled.runtime.threads import even_slices, run_slices
from unrolled.text.vocabulary import BOS, EOS

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
    """

    suffixes: Array
    occurrences: Occurrences | None

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
        result[:] = 0
        kernels.count_shifted(parents, here.start, result)
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
    ids = np.ascontiguousarray(ids, np.int32)
    say = report or (lambda stage: None)
    say("sorting n-grams")
    positions, starts = _sort_by_word(ids, vocabulary_size, threads)
    fresh = np.full(ids.size, order + 1, np.uint8)
    fresh[starts[:-1][starts[:-1] < starts[1:]]] = 1
    depth = np.empty(ids.size, np.uint8)
    slices = _whole_words(starts)
    nodes = np.zeros((len(slices), order), np.int64)
    bits = word_bits(vocabulary_size)
    _sort_slices(ids, positions, fresh, depth, slices, starts, nodes, bits, threads)
    say("gathering n-grams")
    # A word that never occurs still has a node of order 1: <unk>, or a word of a given list.
    absent = np.flatnonzero(starts[:-1] == starts[1:])
    levels, cursors = _number_slices(nodes, vocabulary_size)
    say("linking n-grams")
    words = _gather_words(ids, positions, fresh, depth, slices, cursors, levels, bits, threads)
    size = ids.size
    del ids  # often the last reference to the largest array
    suffixes = _link_suffixes(
        positions, fresh, depth, slices, cursors, levels, words, bits, threads, size
    )
    del positions
    first = _first_children(fresh, depth, slices, cursors, levels, absent, threads)
    shape = TrieShape(levels, words, bits, first)
    marks = _as_one(fresh, depth, order)
    occurrences = _occurrences(marks, slices, cursors, shape, starts, threads)
    return NgramCounts(levels, words, bits, first, suffixes, occurrences)


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


def _sort_by_word(ids: Array, vocabulary_size: int, threads: int) -> tuple[Array, Array]:
    """Places sorted by their word, equal ones in order, and each word's start (V + 1,)."""
    stretches = even_slices(ids.size, threads)
    counts = np.zeros((len(stretches), vocabulary_size), np.int64)
    run_slices(
        kernels.count_ids,
        [(ids, *stretch, counts[number]) for number, stretch in enumerate(stretches)],
        threads,
    )
    starts = np.zeros(vocabulary_size + 1, np.int64)
    np.cumsum(counts.sum(axis=0), out=starts[1:])
    cursors = starts[:-1] + np.cumsum(counts, axis=0) - counts
    positions = np.empty(ids.size, np.uint32)
    run_slices(
        kernels.place_by_word,
        [(ids, *stretch, cursors[number], positions) for number, stretch in enumerate(stretches)],
        threads,
    )
    return positions, starts


def _sort_slices(
    ids: Array,
    positions: Array,
    fresh: Array,
    depth: Array,
    slices: list[tuple[int, int]],
    starts: Array,
    nodes: Array,
    bits: int,
    threads: int,
) -> None:
    """Sort every slice, each thread in scratch of its own that outlives its slices."""
    largest = int(np.diff(starts).max())
    scratch: SimpleQueue[tuple[Array, Array]] = SimpleQueue()
    for _ in range(threads):
        scratch.put((np.empty(largest, np.uint64), np.empty(largest, np.uint64)))

    def sort(number: int, start: int, stop: int) -> None:
        pair = scratch.get()
        try:
            kernels.sort_slice(
                ids, positions, fresh, depth, start, stop, bits, BOS, EOS, nodes[number], *pair
            )
        finally:
            scratch.put(pair)

    run_slices(sort, [(number, *cut) for number, cut in enumerate(slices)], threads)


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


def _gather_words(
    ids: Array,
    positions: Array,
    fresh: Array,
    depth: Array,
    slices: list[tuple[int, int]],
    cursors: Array,
    levels: Array,
    bits: int,
    threads: int,
) -> Array:
    """The last word of every node, packed."""
    words = np.empty(int(levels[-1]), np.int32)
    run_slices(
        kernels.write_words,
        [
            (ids, positions, fresh, depth, start, stop, cursors[number].copy(), words)
            for number, (start, stop) in enumerate(slices)
        ],
        threads,
    )
    words[: int(levels[1])] = np.arange(int(levels[1]), dtype=np.int32)
    return pack_words(words, bits, threads)


def _link_suffixes(
    positions: Array,
    fresh: Array,
    depth: Array,
    slices: list[tuple[int, int]],
    cursors: Array,
    levels: Array,
    words: Array,
    bits: int,
    threads: int,
    size: int,
) -> Array:
    """Suffix node of every node; ``positions`` is overwritten."""
    suffixes = np.zeros(int(levels[-1]), np.uint32)
    order = levels.size - 1
    if order > 1:
        low, high = int(levels[1]), int(levels[2])
        suffixes[low:high] = unpack_words(words, bits, low, high)
    if order < 3:
        return suffixes
    stretches = even_slices(size, SLICES)
    sorted_index = np.zeros(size + 1, np.uint32)  # one more: the last place has no next
    run_slices(kernels.invert, [(positions, *cut, sorted_index) for cut in stretches], threads)
    run_slices(kernels.follow, [(positions, *cut, sorted_index) for cut in stretches], threads)
    numbers = sorted_index[:size]
    for length in range(3, order + 1):
        run_slices(
            kernels.number_nodes,
            [
                (fresh, depth, start, stop, length - 1, cursors[piece, length - 2], numbers)
                for piece, (start, stop) in enumerate(slices)
            ],
            threads,
        )
        run_slices(
            kernels.write_suffixes,
            [
                (
                    fresh,
                    depth,
                    *cut,
                    length,
                    cursors[piece, length - 1],
                    positions,
                    numbers,
                    suffixes,
                )
                for piece, cut in enumerate(slices)
            ],
            threads,
        )
    return suffixes


def _first_children(
    fresh: Array,
    depth: Array,
    slices: list[tuple[int, int]],
    cursors: Array,
    levels: Array,
    absent: Array,
    threads: int,
) -> Array:
    """First child of every node shorter than the order, and one past the last node."""
    inner, total, size = int(levels[-2]), int(levels[-1]), int(levels[1])
    first = np.empty(inner + 1, np.uint32)
    if inner:
        run_slices(
            kernels.write_first_children,
            [
                (fresh, depth, start, stop, cursors[piece].copy(), first)
                for piece, (start, stop) in enumerate(slices)
            ],
            threads,
        )
        # Words that occur were numbered without gaps; open the gaps of those that do not.
        present = np.ones(size, bool)
        present[absent] = False
        known = int(present.sum())
        borders = np.append(first[:known], np.uint32(levels[2]))
        children = np.zeros(size, np.int64)
        children[present] = np.diff(borders.astype(np.int64))
        first[:size] = levels[1] + np.cumsum(children) - children
    first[inner] = total
    return first


def _as_one(fresh: Array, depth: Array, order: int) -> tuple[Array, Array, int, int]:
    """``fresh`` and ``depth`` in one array if half a byte is enough for each; mask and shift."""
    if order > 14:
        return fresh, depth, 255, 0
    depth <<= 4
    fresh |= depth
    return fresh, fresh, 15, 4


def _occurrences(
    marks: tuple[Array, Array, int, int],
    slices: list[tuple[int, int]],
    cursors: Array,
    shape: TrieShape,
    starts: Array,
    threads: int,
) -> Occurrences:
    """Counts of one order, made from the sorted corpus at each call."""

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
