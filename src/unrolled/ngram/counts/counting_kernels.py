"""Kernels that sort a corpus into its n-grams.

The corpus is sorted as a suffix array that stops after ``order`` words: ``positions`` lists the
places of the corpus so that equal n-grams lie together, and ``fresh[i]`` is the shortest length at
which the words at ``positions[i]`` differ from those at ``positions[i - 1]``. With ``depth[i]``,
the words left in the sentence, an n-gram of length k begins at i exactly where
``fresh[i] <= k <= depth[i]``; its count is the distance to the next ``fresh <= k``. Once sorted,
``fresh`` is in the bits of ``mask`` and ``depth`` above ``shift``: both may be one array.

Slices that start at a new first word hold whole branches of the trie, so threads share nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.trie.trie_kernels import spread
from unrolled.runtime.intrinsics import leading_zeros, prefetch
from unrolled.runtime.kernels import device_function, inlined, kernel

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
def _sort_few(
    ids: Array,
    positions: Array,
    fresh: Array,
    start: int,
    stop: int,
    length: int,
    words: int,
    bits: int,
    end: int,
    keys: Array,
    places: Array,
) -> None:
    """The same for few positions: an insertion sort by ``words`` words at once, up to </s>."""
    for index in range(stop - start):
        place = np.int64(positions[start + index])
        key = np.uint64(0)
        missing = words
        while missing > 0:
            word = ids[place + length - 1 + words - missing]
            key = (key << np.uint64(bits)) | np.uint64(spread(word, bits))
            missing -= 1
            if word == end:
                break
        key <<= np.uint64(missing * bits)
        hole = index
        while hole > 0 and keys[hole - 1] > key:
            keys[hole] = keys[hole - 1]
            places[hole] = places[hole - 1]
            hole -= 1
        keys[hole] = key
        places[hole] = np.uint64(place)
    positions[start] = np.uint32(places[0])
    for index in range(1, stop - start):
        positions[start + index] = np.uint32(places[index])
        changed = keys[index] ^ keys[index - 1]
        if changed != 0:
            top = 63 - np.int64(leading_zeros(changed))
            fresh[start + index] = length + words - 1 - top // bits


@inlined
def put_field(fields: Array, row: int, bit: int, key: int) -> None:
    """Write a field from ``bit`` on; all bits from there on are free, as they are afterwards."""
    place = np.uint64(bit & 63)
    fields[row, bit >> 6] |= np.uint64(key) << place
    fields[row, (bit >> 6) + 1] = (np.uint64(key) >> np.uint64(1)) >> (np.uint64(63) - place)


@device_function
def _list_ngrams(
    ids: Array,
    positions: Array,
    fresh: Array,
    depth: Array,
    start: int,
    stop: int,
    read: int,
    bits: int,
    begin: int,
    end: int,
    nodes: Array,
    fields: Array,
) -> int:
    """Fill depth[start:stop], count the n-grams by length and list their last words.

    ``read`` is how many words were read at the position before; returns that of the last one.
    """
    order = nodes.size
    before = np.int64(depth[start - 1]) if start > 0 else 0
    for index in range(start, stop):
        length = np.int64(fresh[index])
        if length <= read:  # otherwise the n-grams are those of the position before
            place = np.int64(positions[index])
            while True:
                word = ids[place + length - 1]
                read = length
                if word == begin and length > 1:  # only where text holds a literal <s>
                    before = length - 1
                    break
                if length > 1 and fields.size > 0:
                    bit = nodes[length - 1] * bits
                    put_field(fields, length - 2, bit, spread(word, bits))
                nodes[length - 1] += 1
                before = length
                if word == end or length == order:
                    break
                length += 1
        depth[index] = before
    return read


@device_function
def _sort_word(
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
    fields: Array,
    items: Array,
    spare: Array,
) -> None:
    """Sort positions[start:stop], which share the first word, by words 2 to the order.

    Depth first: what is sorted to the end is listed at once, while its text is in the cache.
    ``length`` is how many words of positions[low:high] are equal.
    """
    order = nodes.size
    asked, low, length = start, start, np.int64(1)
    read = order
    while low < stop:
        high = low + 1
        while high < stop and fresh[high] > length:
            high += 1
        if length > 1 and high - low <= INSERTION_LIMIT:
            asked = max(asked, high)
            while asked < min(high + AHEAD, stop):
                prefetch(ids, np.int64(positions[asked]) + length)
                asked += 1
        words = order - length
        if high - low > 1 and words > 0 and not _crosses_end(ids, positions[low], length, end):
            if high - low > INSERTION_LIMIT:
                words = np.int64(1)
                _sort_group(ids, positions, fresh, low, high, length + 1, bits, items, spare)
            else:
                words = min(words, 64 // bits)
                _sort_few(
                    ids, positions, fresh, low, high, length + 1, words, bits, end, items, spare
                )
            length += words
            if length < order or high - low > INSERTION_LIMIT:
                continue
        read = _list_ngrams(
            ids, positions, fresh, depth, low, high, read, bits, begin, end, nodes, fields
        )
        low = high
        if low < stop:
            length = np.int64(fresh[low])


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
    fields: Array,
    items: Array,
    spare: Array,
) -> None:
    """Sort one slice of whole first words; fill ``depth`` and count ``nodes`` (order,) by length.

    ``fields`` (order - 1, n) uint64 gets the last words of the n-grams of 2 words and more, a row
    for each length, as bit fields; it may be empty. ``items`` and ``spare`` are scratch for the
    places of the most frequent word.
    """
    for row in range(fields.shape[0]):
        if fields.size > 0:
            fields[row, 0] = 0
    left = start
    while left < stop:
        right = left + 1
        while right < stop and fresh[right] != 1:
            right += 1
        _sort_word(
            ids, positions, fresh, depth, left, right, bits, begin, end, nodes, fields, items, spare
        )
        left = right


@kernel
def place_fields(source: Array, size: int, bit: int, packed: Array, borders: Array) -> None:
    """Put ``size`` bits into ``packed`` from ``bit`` on.

    The first and the last element of ``packed`` that they touch have room for others too: what
    belongs there goes into ``borders`` (2,), or all of it into the first.
    """
    first, last = bit >> 6, (bit + size - 1) >> 6
    shift = np.uint64(bit & 63)
    carried = np.uint64(0)
    for target in range(first, last + 1):
        index = target - first
        word = source[index] if index < source.size else np.uint64(0)
        mixed = (word << shift) | carried
        carried = (word >> np.uint64(1)) >> (np.uint64(63) - shift)
        if target == first:
            borders[0] = mixed
        elif target == last:
            borders[1] = mixed
        else:
            packed[target] = mixed


@kernel
def write_first_children(
    fresh: Array,
    depth: Array,
    mask: int,
    shift: int,
    start: int,
    stop: int,
    cursors: Array,
    first: Array,
) -> None:
    """Id of the first child of every n-gram shorter than the order."""
    order = cursors.size
    for index in range(start, stop):
        for k in range(fresh[index] & mask, (depth[index] >> shift) + 1):
            if k < order:
                first[cursors[k - 1]] = cursors[k]
            cursors[k - 1] += 1


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
    """How often each n-gram of ``length`` words of the slice occurs, from counts[node] on."""
    index = start
    while index < stop:
        after = index + 1
        while after < stop and (fresh[after] & mask) > length:
            after += 1
        if depth[index] >> shift >= length:
            counts[node] = after - index
            node += 1
        index = after
