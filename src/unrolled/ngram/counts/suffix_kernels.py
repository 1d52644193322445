"""Kernels that link the n-grams of a sorted corpus to their suffixes, and count by these.

``positions``, ``fresh`` and ``depth`` are those of `counting_kernels`; ``fresh`` is in the bits of
``mask`` and ``depth`` above ``shift``, so that both may be one array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.intrinsics import popcount, prefetch
from unrolled.runtime.kernels import kernel

Array = np.ndarray[Any, Any]

AHEAD = 16  # entries between asking for a cache line and using it


@kernel
def invert(positions: Array, start: int, stop: int, inverse: Array) -> None:
    """inverse[positions[i]] = i."""
    for index in range(start, stop):
        prefetch(inverse, np.int64(positions[min(index + AHEAD, stop - 1)]))
        inverse[positions[index]] = index


@kernel
def mark_nodes(
    fresh: Array, depth: Array, mask: int, shift: int, start: int, stop: int, ranks: Array
) -> None:
    """For every block of 64 sorted places and length from 2: where n-grams begin, and how many.

    ``ranks`` (blocks, 2 * lengths) has both side by side for each length. ``start`` is a multiple
    of 64.
    """
    for block in range(start >> 6, (stop + 63) >> 6):
        low = block << 6
        for column in range(0, ranks.shape[1], 2):
            length = 2 + (column >> 1)
            marks = np.uint64(0)
            for index in range(low, min(low + 64, stop)):
                begins = np.uint64(fresh[index] & mask <= length)
                begins &= np.uint64(length <= depth[index] >> shift)
                marks |= begins << np.uint64(index - low)
            ranks[block, column] = marks
            ranks[block, column + 1] = popcount(marks)


@kernel
def write_suffixes(
    fresh: Array,
    depth: Array,
    mask: int,
    shift: int,
    positions: Array,
    inverse: Array,
    ranks: Array,
    start: int,
    stop: int,
    cursors: Array,
    suffixes: Array,
) -> None:
    """Suffix (the n-gram less its first word) of every n-gram of 3 words and more in the slice.

    It begins one word later in the text: how many n-grams begin up to there is its number.
    ``ranks`` is that of `mark_nodes`, with the nodes before each block instead of those in it.
    ``cursors`` (order,) hold the slice's first nodes.
    """
    last = stop - 1
    for index in range(start, stop):
        prefetch(inverse, np.int64(positions[min(index + 2 * AHEAD, last)]) + 1)
        later = np.int64(inverse[positions[min(index + AHEAD, last)] + 1])
        prefetch(ranks, (later >> 6) * ranks.shape[1])
        length = max(np.int64(fresh[index] & mask), np.int64(3))
        longest = np.int64(depth[index] >> shift)
        if length <= longest:
            later = np.int64(inverse[positions[index] + 1])
            upto = (np.uint64(2) << np.uint64(later & 63)) - np.uint64(1)
            while length <= longest:
                column = 2 * (length - 3)
                inside = popcount(ranks[later >> 6, column] & upto)
                node = np.int64(ranks[later >> 6, column + 1] + inside) - 1
                suffixes[cursors[length - 1]] = node
                cursors[length - 1] += 1
                length += 1


@kernel
def count_shifted(suffixes: Array, base: int, counts: Array) -> None:
    """counts[node - base] = how often the node is a suffix, for every node that ``counts`` has.

    Without a branch: whether a node is one of them cannot be foreseen.
    """
    counts[:] = 0  # here, so that each thread takes the first touch of its share of the memory
    size, last = np.uint64(counts.size), suffixes.size - 1
    for index in range(suffixes.size):
        ahead = np.int64(suffixes[min(index + AHEAD, last)]) - base
        prefetch(counts, ahead if np.uint64(ahead) < size else np.int64(0))
        node = np.int64(suffixes[index]) - base
        inside = np.uint64(node) < size
        counts[node if inside else np.int64(0)] += np.uint32(inside)
