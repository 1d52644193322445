"""Count n-grams a range of first words at a time: ids to windows, windows to columns.

A window is one place of the text: the word before it and its next ``order`` words. All windows of a
first word lead to all n-grams that begin with it, and the words before them to the adjusted counts
of Kneser-Ney. So a range of first words is counted alone, and the columns of one range after
another, laid end to end, are those of the whole text in the order of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

import numpy as np

from unrolled.ngram.counts import counting_kernels
from unrolled.ngram.counts.counting import SLICES
from unrolled.runtime.threads import run_ahead, run_slices
from unrolled.scale import window_kernels as kernels
from unrolled.text.vocabulary import BOS, EOS

Array = np.ndarray[Any, Any]
Words = tuple[int, int]

PIECE = 1 << 17  # windows whose columns are made at once


@dataclass(frozen=True)
class NgramColumns:
    """The n-grams of 2 words and more that begin with some consecutive first words.

    Fields of lists have an array for each length from 2 on, in the order of the model.

    Attributes:
        first_word: the first of the first words.
        words: last words, int32.
        occurrences: how often each n-gram occurs, uint32.
        adjusted: number of distinct words before it, after <s> its occurrences, uint32; of lengths
            below the order, as are
        children: number of n-grams one word longer that it begins, uint32, and
        preceding: the distinct words before each n-gram (none after <s>), uint32.
        descendants: for lengths 3 to the order, how many n-grams each bigram begins, uint32.
        by_word: (order, words) how many n-grams of each length >= 2 each first word begins.
        totals: (order + 1, 2, 8) counts of adjusted counts, and of occurrences, by length.
    """

    first_word: int
    words: list[Array]
    occurrences: list[Array]
    adjusted: list[Array]
    children: list[Array]
    preceding: list[Array]
    descendants: list[Array]
    by_word: Array
    totals: Array


def gather_windows(
    blocks: Callable[[], Iterable[Array]],
    word_counts: Array,
    order: int,
    words: Words,
    threads: int,
) -> tuple[Array, Array]:
    """The windows of all places that begin with a word of a range, but for </s>.

    Args:
        blocks: makes the ids of the text in pieces of any size; called in each thread.
        word_counts: (V,) how often each word occurs.
        order: words of a window.
        words: the range of first words.

    Returns:
        Windows (W, order + 1) int32, by first word, and where those of each word start.
    """
    low, high = words
    sizes = word_counts[low:high].astype(np.int64)
    if low <= EOS < high:
        sizes[EOS - low] = 0
    starts = np.zeros(high - low + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    windows = np.empty((int(starts[-1]), order + 1), np.int32)
    cuts = np.searchsorted(starts, np.linspace(0, starts[-1], threads + 1)[1:-1])
    borders = np.unique(np.concatenate([[0], cuts, [high - low]]))

    def gather(first: int, stop: int) -> None:
        cursors, out = starts[first:stop].copy(), windows.reshape(-1)
        for piece, begin, end in overlapping(blocks(), order):
            # </s> begins no window, so that its cursor must not move.
            for part in _without(EOS - low, first, stop):
                at = cursors[part[0] - first : part[1] - first]
                kernels.gather(piece, begin, end, order, low + part[0], low + part[1], at, out)

    run_slices(gather, pairwise(borders.tolist()), threads)
    return windows, starts


def _without(number: int, start: int, stop: int) -> list[tuple[int, int]]:
    """range(start, stop) without a number, as ranges."""
    if not start <= number < stop:
        return [(start, stop)]
    parts = [(start, number), (number + 1, stop)]
    return [part for part in parts if part[0] < part[1]]


def overlapping(blocks: Iterable[Array], order: int) -> Iterator[tuple[Array, int, int]]:
    """Pieces of a text with a word before and order - 1 words after the places start to stop."""
    held = np.array([EOS], np.int32)
    for block in blocks:
        held = np.concatenate([held, block])
        if held.size > order:
            yield held, 1, held.size - order + 1
            held = held[-order:]
    held = np.concatenate([held, np.full(order - 1, EOS, np.int32)])
    yield held, 1, held.size - order + 1


def count_windows(
    windows: Array,
    starts: Array,
    bits: int,
    vocabulary_size: int,
    threads: int,
    weights: Array | None = None,
) -> Iterator[NgramColumns]:
    """The columns of the n-grams of windows, in pieces of whole bigrams, in their order.

    Args:
        windows: (W, order + 1) int32, by first word. starts: where each word's begin, (words + 1,).
        bits: of a word in the model; fixes the order of n-grams.
        weights: how often each window occurs, (W,) uint32; once unless given.
    """
    counts = np.empty(0, np.uint32) if weights is None else weights
    order, size = windows.shape[1] - 1, windows.shape[0]
    flat = windows.reshape(-1)
    positions = np.arange(1, flat.size + 1, order + 1, dtype=np.uint32)
    fresh, depth = np.full(size, order + 1, np.uint8), np.empty(size, np.uint8)
    fresh[starts[:-1][starts[:-1] < starts[1:]]] = 1
    _sort((flat, positions, fresh, depth), starts, order, bits, threads)
    last_seen: SimpleQueue[Array] = SimpleQueue()
    for _ in range(threads):
        last_seen.put(np.full(vocabulary_size, -1, np.int32))

    def walk(start: int, stop: int) -> NgramColumns:
        seen = last_seen.get()
        try:
            return _walked(flat, (positions, fresh, depth, start, stop), order, seen, counts)
        finally:
            last_seen.put(seen)

    yield from run_ahead(lambda piece: walk(*piece), pairwise(_bigram_borders(fresh)), threads)


def _sort(arrays: tuple[Array, ...], starts: Array, order: int, bits: int, threads: int) -> None:
    """Sort windows in pieces of whole first words, each thread in scratch of its own."""
    largest = int(np.diff(starts).max(initial=0))
    scratch: SimpleQueue[tuple[Array, Array]] = SimpleQueue()
    for _ in range(min(threads, starts.size - 1)):
        scratch.put((np.empty(largest, np.uint64), np.empty(largest, np.uint64)))
    no_fields = np.empty((order - 1, 0), np.uint64)

    def sort(start: int, stop: int) -> None:
        pair = scratch.get()
        try:
            lengths = np.zeros(order, np.int64)
            counting_kernels.sort_slice(
                *arrays, start, stop, bits, BOS, EOS, lengths, no_fields, *pair
            )
        finally:
            scratch.put(pair)

    cuts = np.searchsorted(starts, np.linspace(0, starts[-1], SLICES + 1))
    borders = starts[np.minimum(cuts, starts.size - 1)]
    run_slices(sort, pairwise(np.unique([0, *borders, starts[-1]]).tolist()), threads)


def _bigram_borders(fresh: Array) -> list[int]:
    """Where pieces of about PIECE sorted windows begin, each at a new bigram, and the end."""
    borders = [0]
    while borders[-1] < fresh.size:
        border = borders[-1] + PIECE
        while border < fresh.size:
            new = fresh[border : border + PIECE] <= 2
            if new.any():
                border += int(new.argmax())
                break
            border += PIECE
        borders.append(min(border, fresh.size))
    return borders


def _walked(
    flat: Array, marks: tuple[Any, ...], order: int, seen: Array, weights: Array
) -> NgramColumns:
    """The columns of a piece of sorted windows."""
    windows = marks[4] - marks[3]
    lengths = np.zeros(order + 1, np.int64)
    kernels.count_lengths(*marks[1:], lengths)
    bases = np.zeros(order + 1, np.int64)
    np.cumsum(lengths[2:], out=bases[2:])
    total, bigrams = int(bases[-1]), int(lengths[2])
    columns = np.empty(total, np.int32), *(np.empty(total, np.uint32) for _ in range(3))
    preceding = np.empty((order - 2, windows), np.uint32)
    descendants = np.empty((order - 2, bigrams), np.uint32)
    first, last_first = (int(flat[marks[0][place]]) for place in (marks[3], marks[4] - 1))
    by_word = np.zeros((order, last_first + 1 - first), np.int64)
    kernels.walk(
        flat,
        *marks,
        BOS,
        EOS,
        bases,
        *columns,
        preceding,
        descendants,
        by_word,
        first,
        seen,
        weights,
    )
    totals = np.zeros((order + 1, 2, 8), np.int64)
    rows = [slice(int(bases[k - 1]), int(bases[k])) for k in range(2, order + 1)]
    for length, row in enumerate(rows, 2):
        kernels.count_of_counts(columns[2], columns[1], row.start, row.stop, totals[length])
    last, occurrences, adjusted, children = ([column[row] for row in rows] for column in columns)
    listed = [
        _listed(adjusted[place], preceding[place], by_word[place + 1], first)
        for place in range(order - 2)
    ]
    return NgramColumns(
        first, last, occurrences, adjusted[:-1], children[:-1], listed, list(descendants),
        by_word, totals,
    )  # fmt: skip


def _listed(adjusted: Array, preceding: Array, by_word: Array, first: int) -> Array:
    """The part of ``preceding`` that is filled: as many as the adjusted counts, but for <s>."""
    size = int(adjusted.sum(dtype=np.int64))
    if first <= BOS < first + by_word.size:
        start = int(by_word[: BOS - first].sum())
        stop = start + int(by_word[BOS - first])
        size -= int(adjusted[start:stop].sum(dtype=np.int64))
    return preceding[:size]


def partitions(word_counts: Array, windows: int) -> list[Words]:
    """Ranges of first words with at most so many windows each, or one word that has more."""
    sizes = word_counts.astype(np.int64)
    sizes[EOS] = 0
    ends = np.cumsum(sizes)
    borders = [0]
    while borders[-1] < ends.size:
        done = ends[borders[-1] - 1] if borders[-1] else 0
        border = int(np.searchsorted(ends, done + windows, side="right"))
        borders.append(max(border, borders[-1] + 1))
    return list(pairwise(borders))
