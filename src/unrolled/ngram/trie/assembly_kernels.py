"""Kernels that find n-grams given in any order, and put them into the trie's order.

The n-grams of one order are looked up in a hash table whose slots hold a fingerprint and a row,
which is compared with the n-gram looked for: answers are exact, whatever the hash.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.trie.trie_kernels import spread
from unrolled.runtime.intrinsics import prefetch
from unrolled.runtime.kernels import inlined, kernel

Array = np.ndarray[Any, Any]

AHEAD = 32  # rows whose memory is asked for before the first of them is looked at
NEAR = 4  # n-grams after the last one found that are looked at before the table is
FEW = 40  # children up to which an insertion sort is fastest
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
NONE = np.uint32(0xFFFFFFFF)


@inlined
def _hashed(rows: Array, row: int, offset: int, length: int, factor: int) -> Any:
    """Hash of ``length`` words of a row; ``factor`` is odd and drawn anew each time."""
    result = np.uint64(factor)
    for place in range(offset, offset + length):
        result = (result ^ np.uint64(rows[row, place])) * np.uint64(factor)
        result ^= result >> HALF
    return result


@inlined
def _slot(slots: Array, hashed: Any) -> tuple[Any, Any]:
    """The part of a table and the first slot in it where a hash may be."""
    part = ((hashed >> HALF) * np.uint64(slots.shape[0])) >> HALF
    return np.int64(part), np.int64(hashed & np.uint64(slots.shape[1] - 1))


@inlined
def _equal(rows: Array, row: int, offset: int, known: Array, other: int) -> bool:
    """Whether a row's words from ``offset`` on begin with those of ``known[other]``."""
    for place in range(known.shape[1]):
        if rows[row, offset + place] != known[other, place]:
            return False
    return True


@inlined
def _find(rows: Array, row: int, offset: int, hashed: Any, slots: Array, known: Array) -> Any:
    """The row of ``known`` that is a part of a row; -1 - slot where it would be."""
    part, place = _slot(slots, hashed)
    while True:
        slot = slots[part, place]
        if slot == 0:
            return -1 - place
        found = np.int64(slot & LOW) - 1
        if slot >> HALF == hashed >> HALF and _equal(rows, row, offset, known, found):
            return found
        place = (place + 1) & (slots.shape[1] - 1)


@kernel
def index_rows(rows: Array, factor: int, part: int, slots: Array) -> None:
    """Enter the rows that belong to one part of a table; of equal ones the first."""
    hashes = np.empty(AHEAD, np.uint64)
    for begin in range(0, rows.shape[0], AHEAD):
        end = min(begin + AHEAD, rows.shape[0])
        for row in range(begin, end):
            hashed = _hashed(rows, row, 0, rows.shape[1], factor)
            hashes[row - begin] = hashed
            own, place = _slot(slots, hashed)
            if own == part:
                prefetch(slots, part * slots.shape[1] + place)
        for row in range(begin, end):
            hashed = hashes[row - begin]
            if _slot(slots, hashed)[0] == part:
                place = -1 - _find(rows, row, 0, hashed, slots, rows)
                if place >= 0:
                    slots[part, place] = (hashed >> HALF << HALF) | np.uint64(row + 1)


@kernel
def find_rows(
    rows: Array,
    offset: int,
    start: int,
    stop: int,
    factor: int,
    slots: Array,
    known: Array,
    nodes: Array,
    out: Array,
) -> int:
    """out[start:stop] = the nodes of a part of each row, NONE where it is missing; if ``out`` is
    empty they are only counted.

    Args:
        rows: (N, k). known: (M, length) the n-grams in the table ``slots``, and their ``nodes``.
        offset: where in a row the part begins.

    Returns:
        How many are missing.
    """
    length, missing, last = known.shape[1], 0, known.shape[0] - 1
    hashes, found = np.empty(AHEAD, np.uint64), np.empty(AHEAD, np.int64)
    near: Any = np.int64(0)
    hits, wanted = 1, out.size > 0
    for begin in range(start, stop, AHEAD):
        end = min(begin + AHEAD, stop)
        # Sorted files have the parts of their n-grams in one order with the shorter n-grams.
        steps = NEAR if hits > 0 or begin // AHEAD % 16 == 0 else 0
        hits = 0
        for row in range(begin, end):
            found[row - begin] = -1
            for other in range(near, min(near + steps, last + 1)):
                if _equal(rows, row, offset, known, other):
                    near = np.int64(other)
                    found[row - begin] = near
                    hits += 1
                    break
            if found[row - begin] < 0:
                hashed = _hashed(rows, row, offset, length, factor)
                hashes[row - begin] = hashed
                part, place = _slot(slots, hashed)
                prefetch(slots, part * slots.shape[1] + place)
        if hits < end - begin:
            for row in range(begin, end):
                if found[row - begin] < 0:
                    part, place = _slot(slots, hashes[row - begin])
                    likely = np.int64(slots[part, place] & LOW) - 1
                    prefetch(known, likely * length)
                    if wanted:
                        prefetch(nodes, likely)
        for row in range(begin, end):
            place = found[row - begin]
            if place < 0:
                place = _find(rows, row, offset, hashes[row - begin], slots, known)
                near = max(place, 0)
            if wanted:
                out[row] = nodes[place] if place >= 0 else NONE
            missing += 0 if place >= 0 else 1
    return missing


@kernel
def take(values: Array, places: Array, out: Array, start: int, stop: int) -> None:
    """out[start:stop] = values[places[start:stop]]."""
    last = stop - 1
    for at in range(start, stop):
        prefetch(values, np.int64(places[min(at + AHEAD, last)]))
        out[at] = values[places[at]]


@kernel
def ascend(parents: Array, rows: Array, bits: int, start: int, stop: int) -> bool:
    """Whether rows ``start`` to ``stop``, and the one before, stand in the trie's order."""
    last = rows.shape[1] - 1
    for row in range(max(start, 1), stop):
        if parents[row] <= parents[row - 1]:
            before = spread(rows[row - 1, last], bits)
            if parents[row] < parents[row - 1] or spread(rows[row, last], bits) <= before:
                return False
    return True


@kernel
def count_children(parents: Array, base: int, low: int, high: int, counts: Array) -> None:
    """counts[parent - base] += 1 for every row whose parent is base + low to base + high - 1."""
    last, size = parents.size - 1, np.uint64(high - low)
    for row in range(parents.size):
        prefetch(counts, np.int64(parents[min(row + AHEAD, last)]) - base)
        own = np.int64(parents[row]) - base
        if np.uint64(own - low) < size:
            counts[own] += np.uint32(1)


@kernel
def arrange_rows(
    parents: Array,
    base: int,
    rows: Array,
    bits: int,
    starts: Array,
    low: int,
    high: int,
    places: Array,
    nodes: Array,
    fresh: Array,
) -> int:
    """Put the rows whose parents are low to high - 1 into the trie's order.

    A counting sort by parent, then one by spread word inside each. Equal rows stay in order.

    Args:
        parents: (N,) of each row; they are numbered from ``base`` on.
        starts: (parents + 1,) uint32, where each one's children begin.
        places: (N,) uint32 gets the rows in their order. nodes: (N,) uint32 gets the node of each
            row if none comes twice. fresh: (N,) bool, whether each of ``places`` differs from the
            one before.

    Returns:
        How many do not.
    """
    last, size = rows.shape[1] - 1, np.uint64(high - low)
    cursors = starts[low:high].astype(np.int64)
    for row in range(parents.size):
        ahead = np.int64(parents[min(row + 2 * AHEAD, parents.size - 1)]) - base - low
        if np.uint64(ahead) < size:
            prefetch(cursors, ahead)
        ahead = np.int64(parents[min(row + AHEAD, parents.size - 1)]) - base - low
        if np.uint64(ahead) < size:
            prefetch(places, cursors[ahead])
        own = np.int64(parents[row]) - base - low
        if np.uint64(own) < size:
            places[cursors[own]] = row
            cursors[own] += 1
    largest: Any = 0
    for parent in range(low, high):
        largest = max(largest, np.int64(starts[parent + 1] - starts[parent]))
    items = np.empty(largest, np.uint64)
    equal = 0
    end: Any = np.int64(starts[high]) - 1
    stop = base + starts.size - 1
    for parent in range(low, high):
        left: Any = np.int64(starts[parent])
        right: Any = np.int64(starts[parent + 1])
        for index in range(left, right):
            ahead = np.int64(places[min(index + AHEAD, end)])
            prefetch(rows, ahead * rows.shape[1] + last)
            prefetch(nodes, ahead)
            key = np.uint64(spread(rows[places[index], last], bits))
            item: Any = (key << HALF) | np.uint64(places[index])
            hole: Any = index - left
            while right - left <= FEW and hole > 0 and items[hole - 1] > item:
                items[hole] = items[hole - 1]
                hole -= 1
            items[hole] = item
        if right - left > FEW:
            items[: right - left].sort()  # the row, in the lower bits, keeps equal ones in order
        for index in range(left, right):
            item = items[index - left]
            places[index] = np.uint32(item & LOW)
            nodes[np.int64(item & LOW)] = np.uint32(stop + index)
            fresh[index] = index == left or item >> HALF != items[index - left - 1] >> HALF
            equal += 0 if fresh[index] else 1
    return equal
