"""Kernels that sort a corpus into its n-grams.

The corpus is sorted as a suffix array that stops after ``order`` words: ``positions`` lists the
places of the corpus so that equal n-grams lie together, and ``fresh[i]`` is the shortest length at
which the words at ``positions[i]`` differ from those at ``positions[i - 1]``. With ``depth[i]``,
the words left in the sentence, an n-gram of length k begins at i exactly where
``fresh[i] <= k <= depth[i]``; its count is the distance to the next ``fresh <= k``.

Slices that start at a new first word hold whole branches of the trie, so threads share nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.trie.trie_kernels import spread
from unrolled.runtime.intrinsics import prefetch
from unrolled.runtime.kernels import device_function, kernel

Array = np.ndarray[Any, Any]

AHEAD = 16  # entries between asking for a cache line and using it
INSERTION_LIMIT = 40  # measured: below this an insertion sort beats clearing a histogram


@kernel
def count_ids(ids: Array, start: int, stop: int, counts: Array) -> None:
    """Add the ids of a slice to ``counts`` (V,)."""
    for place in range(start, stop):
        counts[ids[place]] += 1


@kernel
def place_by_word(ids: Array, start: int, stop: int, cursors: Array, positions: Array) -> None:
    """Second half of a counting sort: each place goes to its word's cursor (V,), in order."""
    for place in range(start, stop):
        word = ids[place]
        positions[cursors[word]] = place
        cursors[word] += 1


@device_function
def _radix_sort(items: Array, spare: Array, size: int, bits: int) -> bool:
    """Sort ``items[:size]`` by the ``bits`` above bit 32, stably; True: the result is in spare."""
    width = 8 if size < 4096 else 11
    swapped = False
    histogram = np.empty(1 << width, np.int64)
    mask = np.uint64((1 << width) - 1)
    for shift in range(32, 32 + bits, width):
        histogram[:] = 0
        for index in range(size):
            histogram[(items[index] >> np.uint64(shift)) & mask] += 1
        total = 0
        for digit in range(histogram.size):
            count = histogram[digit]
            histogram[digit] = total
            total += count
        for index in range(size):
            item = items[index]
            digit = (item >> np.uint64(shift)) & mask
            spare[histogram[digit]] = item
            histogram[digit] += 1
        items, spare = spare, items
        swapped = not swapped
    return swapped


@device_function
def _crosses_end(ids: Array, place: int, length: int, end: int) -> bool:
    """Whether a sentence ends inside the first ``length`` words at ``place``."""
    for offset in range(length):
        if ids[place + offset] == end:
            return True
    return False


@device_function
def _sort_group(
    ids: Array,
    positions: Array,
    fresh: Array,
    start: int,
    stop: int,
    length: int,
    bits: int,
    items: Array,
    spare: Array,
) -> None:
    """Sort positions[start:stop], equal in ``length - 1`` words, by the word after those."""
    size = stop - start
    for index in range(size):
        prefetch(ids, np.int64(positions[start + min(index + AHEAD, size - 1)]) + length)
        place = positions[start + index]
        key = spread(ids[place + length - 1], bits)
        items[index] = (np.uint64(key) << np.uint64(32)) | np.uint64(place)
    if size <= INSERTION_LIMIT:
        for index in range(1, size):
            item = items[index]
            hole = index
            while hole > 0 and items[hole - 1] > item:
                items[hole] = items[hole - 1]
                hole -= 1
            items[hole] = item
        result = items
    else:
        result = spare if _radix_sort(items, spare, size, bits) else items
    previous = result[0] >> np.uint64(32)
    for index in range(size):
        item = result[index]
        positions[start + index] = np.uint32(item & np.uint64(0xFFFFFFFF))
        key = item >> np.uint64(32)
        if key != previous:
            fresh[start + index] = length
            previous = key


@device_function
def sort_branch(
    ids: Array,
    positions: Array,
    fresh: Array,
    start: int,
    stop: int,
    order: int,
    bits: int,
    end: int,
    items: Array,
    spare: Array,
) -> None:
    """Sort positions[start:stop], which share the first word, by words 2 to ``order``.

    Words 3 and up are sorted inside one bigram before the next, which keeps the text that
    they touch in the cache.
    """
    if stop - start > 1 and order > 1 and ids[positions[start]] != end:
        _sort_group(ids, positions, fresh, start, stop, np.int64(2), bits, items, spare)
    left = start
    while left < stop:
        right = left + 1
        while right < stop and fresh[right] > 2:
            right += 1
        for length in range(3, order + 1):
            if right - left == 1:
                break
            low = left
            while low < right:
                high = low + 1
                while high < right and fresh[high] >= length:
                    high += 1
                if high - low > 1 and not _crosses_end(ids, positions[low], length - 1, end):
                    _sort_group(ids, positions, fresh, low, high, length, bits, items, spare)
                low = high
        left = right


@kernel
def sort_slice(
    ids: Array,
    positions: Array,
    fresh: Array,
    depth: Array,
    start: int,
    stop: int,
    bits: int,
    begin: int,
    end: int,
    nodes: Array,
    items: Array,
    spare: Array,
) -> None:
    """Sort one slice of whole first words; fill ``depth`` and count ``nodes`` (order,) by length.

    ``items`` and ``spare`` are scratch for the places of the most frequent word.
    """
    order = nodes.size
    left = start
    while left < stop:
        right = left + 1
        while right < stop and fresh[right] != 1:
            right += 1
        sort_branch(ids, positions, fresh, left, right, order, bits, end, items, spare)
        left = right
    for index in range(start, stop):
        prefetch(ids, np.int64(positions[min(index + AHEAD, stop - 1)]))
        place = positions[index]
        length = 1
        word = ids[place]
        while length < order and word != end:
            word = ids[place + length]
            if word == begin:  # only where text holds a literal <s>: it begins a sentence
                break
            length += 1
        depth[index] = length
        for k in range(fresh[index], length + 1):
            nodes[k - 1] += 1


@kernel
def write_words(
    ids: Array,
    positions: Array,
    fresh: Array,
    depth: Array,
    start: int,
    stop: int,
    cursors: Array,
    words: Array,
) -> None:
    """Last word of every n-gram of a slice; ``cursors`` (order,) hold the slice's first ids."""
    for index in range(start, stop):
        prefetch(ids, np.int64(positions[min(index + AHEAD, stop - 1)]))
        place = positions[index]
        for k in range(fresh[index], depth[index] + 1):
            words[cursors[k - 1]] = ids[place + k - 1]
            cursors[k - 1] += 1


@kernel
def write_first_children(
    fresh: Array, depth: Array, start: int, stop: int, cursors: Array, first: Array
) -> None:
    """Id of the first child of every n-gram shorter than the order."""
    order = cursors.size
    for index in range(start, stop):
        for k in range(fresh[index], depth[index] + 1):
            if k < order:
                first[cursors[k - 1]] = cursors[k]
            cursors[k - 1] += 1


@kernel
def invert(positions: Array, start: int, stop: int, inverse: Array) -> None:
    """inverse[positions[i]] = i."""
    for index in range(start, stop):
        prefetch(inverse, np.int64(positions[min(index + AHEAD, stop - 1)]))
        inverse[positions[index]] = index


@kernel
def follow(positions: Array, start: int, stop: int, inverse: Array) -> None:
    """Replace each place by the sorted index of the place one word later, in place.

    Inside one first word these indices mostly ascend, which makes the gathers that use them
    run along the cache.
    """
    for index in range(start, stop):
        prefetch(inverse, np.int64(positions[min(index + AHEAD, stop - 1)]) + 1)
        positions[index] = inverse[positions[index] + 1]


@kernel
def number_nodes(
    fresh: Array, depth: Array, start: int, stop: int, length: int, node: int, numbers: Array
) -> None:
    """numbers[i] = id of the n-gram of ``length`` words at i; the slice's first is ``node``."""
    node -= 1
    for index in range(start, stop):
        if fresh[index] <= length <= depth[index]:
            node += 1
        numbers[index] = node


@kernel
def write_suffixes(
    fresh: Array,
    depth: Array,
    start: int,
    stop: int,
    length: int,
    node: int,
    later: Array,
    numbers: Array,
    suffixes: Array,
) -> None:
    """Suffix (the n-gram less its first word) of every n-gram of ``length`` words in the slice."""
    for index in range(start, stop):
        prefetch(numbers, np.int64(later[min(index + AHEAD, stop - 1)]))
        if fresh[index] <= length <= depth[index]:
            suffixes[node] = numbers[later[index]]
            node += 1


@kernel
def write_counts(
    fresh: Array,
    depth: Array,
    mask: int,
    shift: int,
    start: int,
    stop: int,
    length: int,
    node: int,
    counts: Array,
) -> None:
    """How often each n-gram of ``length`` words of the slice occurs, from counts[node] on.

    ``fresh`` is in the bits of ``mask``, ``depth`` above ``shift``: both may be one array.
    """
    index = start
    while index < stop:
        after = index + 1
        while after < stop and (fresh[after] & mask) > length:
            after += 1
        if depth[index] >> shift >= length:
            counts[node] = after - index
            node += 1
        index = after


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
