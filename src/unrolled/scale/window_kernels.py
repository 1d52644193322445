"""Kernels that count the n-grams of windows.

A window is one place of a text: the word before it and its next ``order`` words, order + 1 numbers
in all. The windows of one first word lie together, so that a range of first words is counted alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.intrinsics import prefetch
from unrolled.runtime.kernels import kernel

Array = np.ndarray[Any, Any]

AHEAD = 8  # windows between asking for a cache line and using it


@kernel
def gather(
    ids: Array, start: int, stop: int, order: int, low: int, high: int, cursors: Array, out: Array
) -> None:
    """Copy the windows at ids[start:stop] whose first word is in [low, high) to that word's cursor.

    ``cursors`` (high - low,) count windows; ``out`` holds order + 1 numbers for each window.
    """
    width = order + 1
    for place in range(start, stop):
        word = ids[min(place + AHEAD, stop - 1)]
        if low <= word < high:
            prefetch(out, cursors[word - low] * width)
        word = ids[place]
        if low <= word < high:
            target = cursors[word - low] * width
            cursors[word - low] += 1
            for offset in range(width):
                out[target + offset] = ids[place - 1 + offset]


@kernel
def count_seconds(ids: Array, start: int, stop: int, word: int, counts: Array) -> None:
    """counts[second] += 1 for the windows at ids[start:stop] that begin with a word, (V,)."""
    for place in range(start, stop):
        if ids[place] == word:
            counts[ids[place + 1]] += 1


@kernel
def gather_seconds(
    ids: Array,
    start: int,
    stop: int,
    word: int,
    ranks: Array,
    low: int,
    high: int,
    done: int,
    out: Array,
) -> int:
    """Copy the windows at ids[start:stop] whose first word is ``word`` to ``out`` (W, order + 1).

    Their second word has a rank (``ranks``, (V,)) in [low, high). Returns how many windows ``out``
    has then; ``done`` of them were there before.
    """
    for place in range(start, stop):
        if ids[place] == word and low <= ranks[ids[place + 1]] < high:
            for offset in range(out.shape[1]):
                out[done, offset] = ids[place - 1 + offset]
            done += 1
    return done


@kernel
def gather_distinct(
    ids: Array,
    start: int,
    stop: int,
    word: int,
    second: int,
    marks: tuple[int, int],
    slots: Array,
    done: int,
    out: Array,
    weights: Array,
) -> int:
    """As `gather_seconds` for one second word, with equal windows once and their number.

    What no n-gram of a window reaches is replaced, so that more of them are equal.

    Args:
        marks: the ids of <s> and </s>.
        slots: (S,) int32, a hash table of windows less one; a power of two above their number.
        weights: (W,) uint32.

    Returns:
        How many windows ``out`` has, or -1 where it is full.
    """
    width = out.shape[1]
    begin, end = marks
    mask = slots.size - 1
    window = np.empty(width, np.int32)
    for place in range(start, stop):
        if ids[place] != word or ids[place + 1] != second:
            continue
        ended = False
        code = np.uint64(0)
        for offset in range(width):
            number = ids[place - 1 + offset]
            if ended or (offset == 0 and word == begin):
                number = np.int32(end)
            ended = ended or (offset > 1 and (number == end or number == begin))
            window[offset] = number
            code = (code ^ np.uint64(number)) * np.uint64(0x9E3779B97F4A7C15)
            code ^= code >> np.uint64(29)
        slot = np.int64(code & np.uint64(mask))
        while slots[slot] > 0:
            found = np.int64(slots[slot]) - 1
            same = True
            for offset in range(width):
                same = same and out[found, offset] == window[offset]
            if same:
                weights[found] += 1
                break
            slot = (slot + 1) & mask
        else:
            if done == out.shape[0]:
                return -1
            slots[slot] = done + 1
            out[done] = window
            weights[done] = 1
            done += 1
    return done


@kernel
def count_lengths(fresh: Array, depth: Array, start: int, stop: int, lengths: Array) -> None:
    """lengths[k] += the n-grams of k words of a piece of sorted windows."""
    for index in range(start, stop):
        for length in range(np.int64(fresh[index]), np.int64(depth[index]) + 1):
            lengths[length] += 1


@kernel
def walk(
    windows: Array,
    positions: Array,
    fresh: Array,
    depth: Array,
    start: int,
    stop: int,
    begin: int,
    end: int,
    bases: Array,
    words: Array,
    occurrences: Array,
    adjusted: Array,
    children: Array,
    preceding_words: Array,
    descendants: Array,
    by_word: Array,
    low: int,
    seen: Array,
    weights: Array,
) -> None:
    """Columns of the n-grams of 2 words and more at the sorted windows [start, stop).

    ``bases`` (order + 1,) holds the first row of each length; order 2 begins at 0. An n-gram is
    preceded by a new word where that word was last ``seen`` (V,) before the n-gram's first window.

    Args:
        words, occurrences, adjusted, children: (G,) last word, count, number of distinct words
            before (after <s>: the count), number of n-grams one word longer.
        preceding_words: (order - 2, windows) the distinct words before, of lengths 2 to order - 1.
        descendants: (order - 2, bigrams) how many n-grams of 3 to ``order`` words begin with each.
        by_word: (order, first words) n-grams of each length >= 2 by their first word, from ``low``.
        weights: how often each window occurs, uint32, or empty where each does once.
    """
    order = bases.size - 1
    nodes = bases[:order].copy() - 1  # the current row of each length, from nodes[1] for bigrams
    opened = np.zeros(order + 1, np.int64)
    listed = np.zeros(order + 1, np.int64)
    for index in range(start, stop):
        prefetch(windows, np.int64(positions[min(index + 2 * AHEAD, stop - 1)]))
        prefetch(seen, np.int64(windows[np.int64(positions[min(index + AHEAD, stop - 1)]) - 1]))
        place = np.int64(positions[index])
        first = windows[place]
        weight = np.uint32(1)
        if weights.size > 0:
            weight = weights[(place - 1) // (order + 1)]
        deepest = np.int64(depth[index])
        for length in range(max(np.int64(fresh[index]), 2), deepest + 1):
            node = nodes[length - 1] + 1
            nodes[length - 1] = node
            words[node] = windows[place + length - 1]
            occurrences[node] = 0
            adjusted[node] = 0
            children[node] = 0
            opened[length] = index
            by_word[length - 1, first - low] += 1
            if length > 2:
                children[nodes[length - 2]] += 1
                descendants[length - 3, nodes[1]] += 1
            else:
                for row in range(descendants.shape[0]):
                    descendants[row, node] = 0
        for length in range(2, deepest + 1):
            occurrences[nodes[length - 1]] += weight
        before = windows[place - 1]
        if first == begin:
            for length in range(2, deepest + 1):
                adjusted[nodes[length - 1]] += weight
        elif before != end:
            last = np.int64(seen[before])
            seen[before] = index
            newest: Any = min(deepest, order - 1)
            # A later index is of another piece, which another thread was given before this one.
            while newest >= 2 and (last < opened[newest] or last >= index):
                adjusted[nodes[newest - 1]] += 1
                preceding_words[newest - 2, listed[newest]] = before
                listed[newest] += 1
                newest -= 1


@kernel
def count_of_counts(
    adjusted: Array, occurrences: Array, start: int, stop: int, totals: Array
) -> None:
    """totals[0, c] += 1 for each adjusted count c < 8, totals[1, c] += 1 for each occurrence."""
    for node in range(start, stop):
        if adjusted[node] < 8:
            totals[0, adjusted[node]] += 1
        if occurrences[node] < 8:
            totals[1, occurrences[node]] += 1
