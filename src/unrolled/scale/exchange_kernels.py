"""Kernels that carry numbers of n-grams to the n-grams one word longer that end in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.trie.layout import SPREADER
from unrolled.runtime.intrinsics import prefetch
from unrolled.runtime.kernels import device_function, kernel

Array = np.ndarray[Any, Any]

AHEAD = 8  # rows between asking for a cache line and using it


@device_function
def _direct(
    part_of: Any, second: Any, split: Any, bases: Any, starts: Any, keys: Any, bits: Any
) -> None:
    """Set the parts of split words for n-grams with a second word."""
    key = (np.int64(second) * SPREADER) & ((np.int64(1) << bits) - 1)
    for index in range(split.size):
        low, high = starts[index], starts[index + 1]
        while high - low > 1:
            middle = (low + high) >> 1
            if keys[middle] <= key:
                low = middle
            else:
                high = middle
        part_of[split[index]] = bases[index] + low - starts[index]


@kernel
def send(
    sizes: Array,
    low: int,
    high: int,
    preceding: Array,
    part_of: Array,
    values: Array,
    cursors: Array,
    rows: Array,
    first: int,
    by_word: Array,
    split: Array,
    bases: Array,
    starts: Array,
    keys: Array,
    bits: int,
) -> None:
    """A row (word before, its n-gram's values) for each of ``preceding``, by the word's part.

    Args:
        sizes: (N,) how many words precede each n-gram, except those from ``low`` to ``high``, which
            begin with <s>: nothing precedes them.
        part_of: (V,) the part that each word belongs to; changed for words that are split.
        values: (N, C) uint32.
        cursors: (parts,) where the rows of each part go in ``rows`` (M, 1 + C).
        by_word: (words,) how many n-grams begin with ``first`` and each word after it.
        split, bases, starts, keys, bits: see `Routes`.
    """
    place = 0
    stop = 0
    for offset in range(by_word.size):
        _direct(part_of, first + offset, split, bases, starts, keys, bits)
        start = stop
        stop = start + by_word[offset]
        for node in range(start, stop):
            if low <= node < high:
                continue
            for _ in range(sizes[node]):
                word = preceding[place]
                place += 1
                target = cursors[part_of[word]]
                cursors[part_of[word]] += 1
                rows[target, 0] = word
                for column in range(values.shape[1]):
                    rows[target, 1 + column] = values[node, column]


@kernel
def count_parts(
    sizes: Array,
    low: int,
    high: int,
    preceding: Array,
    part_of: Array,
    counts: Array,
    first: int,
    by_word: Array,
    split: Array,
    bases: Array,
    starts: Array,
    keys: Array,
    bits: int,
) -> None:
    """counts[part] += 1 for the part of each row of `send`."""
    if split.size == 0:
        for place in range(preceding.size):
            counts[part_of[preceding[place]]] += 1
        return
    place = 0
    stop = 0
    for offset in range(by_word.size):
        _direct(part_of, first + offset, split, bases, starts, keys, bits)
        start = stop
        stop = start + by_word[offset]
        for node in range(start, stop):
            if not low <= node < high:
                for _ in range(sizes[node]):
                    counts[part_of[preceding[place]]] += 1
                    place += 1


@kernel
def sort_by_word(words: Array, starts: Array, order: Array) -> None:
    """order = the places of ``words`` by word, equal ones in order; ``starts`` (V + 1,) move on."""
    for place in range(words.size):
        word = words[place]
        order[starts[word]] = place
        starts[word] += 1


@kernel
def arrange(
    rows: Array,
    low: int,
    starts: Array,
    bigrams: Array,
    first_words: Array,
    descendants: Array,
    places: Array,
    grouped: Array,
    out: Array,
) -> None:
    """Put the values of ``rows`` in the order of the n-grams that they were sent to.

    Rows come by their n-gram's first word, and n-grams of one first word in their order; the
    receivers lie by first word, then by the place of their bigram.

    Args:
        rows: (M, 1 + C) first word of the receiver, and values. low: the least first word.
        starts: (words + 1,) where each first word's receivers begin.
        bigrams: the bigrams by second word. first_words: less ``low``, descendants: how many
            receivers, places: where they begin, each (bigrams,) in the model's order.
        grouped: scratch, (M, C). out: (M, C).
    """
    cursors = starts.copy()
    last = rows.shape[0] - 1
    for row in range(rows.shape[0]):
        prefetch(cursors, np.int64(rows[min(row + 2 * AHEAD, last), 0]) - low)
        coming = cursors[np.int64(rows[min(row + AHEAD, last), 0]) - low]
        prefetch(grouped, coming * out.shape[1])
        word = np.int64(rows[row, 0]) - low
        target = cursors[word]
        cursors[word] = target + 1
        for column in range(out.shape[1]):
            grouped[target, column] = rows[row, 1 + column]
    cursors = starts.copy()
    last = bigrams.size - 1
    for index in range(bigrams.size):
        coming = bigrams[min(index + 2 * AHEAD, last)]
        prefetch(first_words, coming)
        prefetch(descendants, coming)
        prefetch(places, coming)
        coming = bigrams[min(index + AHEAD, last)]
        prefetch(grouped, cursors[first_words[coming]] * out.shape[1])
        prefetch(out, places[coming] * out.shape[1])
        bigram = bigrams[index]
        source = cursors[first_words[bigram]]
        size = np.int64(descendants[bigram])
        cursors[first_words[bigram]] = source + size
        target = places[bigram]
        for offset in range(size):
            for column in range(out.shape[1]):
                out[target + offset, column] = grouped[source + offset, column]
