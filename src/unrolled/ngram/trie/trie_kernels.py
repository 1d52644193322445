"""Kernels of the packed trie: bit fields, the child directory, and the search for a child.

Nodes of all orders share one numbering: order 1 first, in vocabulary order, then order 2 and so on;
inside an order, children lie in their parent's order, sorted by ``spread(word)``. Four arrays hold
the shape:

``words``      uint64, bit fields of ``bits`` bits, node j's is ``spread(its last word)``
``directory``  uint64, four to a block of 64 nodes of orders 1 to n-1 (below)
``ends``       uint32, one past the last child of each node with three children or more
``levels``     int64 (order + 1,), the first node of each order, and the number of nodes
``unigrams``   float32 (V,), log-probabilities of order 1
``log_probs``  of the other nodes: float32, or uint8 codes into a row of ``log_prob_book`` an order
``backoffs``   of the nodes that have one, in order: float32, or codes, see `backoff_kernels`

Models may store the last words of n-grams of three words and more as links, see `link_kernels`;
``words`` ends before them then.

A directory block: bit planes ``ones`` and ``twos`` code each node's children as 0, 1, 2 or 3, where
3 means "look in ends", and 0 means neither children nor a back-off weight; then the first child of
the block's first node, with the rank in ``ends`` in the upper half; then the rank in ``backoffs``.
So a node's children are found with two popcounts and, mostly, one touched cache line, at 4 bits a
node plus 32 for each node that has three children or more.

Model files are untrusted: every index that is read from an array is checked before use.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.trie.backoff_kernels import NOWHERE, are_apart, backoff_at, place_of
from unrolled.ngram.trie.layout import SPREADER
from unrolled.runtime.intrinsics import leading_zeros, popcount
from unrolled.runtime.kernels import inlined, kernel, no_refcount

Array = np.ndarray[Any, Any]

ONE = np.uint64(1)
LOW = np.uint64(0xFFFFFFFF)


@inlined
def spread(word: int, bits: int) -> int:
    """Bijection on ``bits``-bit numbers that spreads frequent (small) ids evenly.

    Children sorted by it are near uniform in it, so interpolation finds one in about two probes.
    """
    return (np.int64(word) * SPREADER) & ((1 << bits) - 1)


@inlined
def field(packed: Array, bits: int, index: int) -> int:
    """Bit field number ``index``; the array ends in one spare element."""
    bit = index * bits
    low = packed[bit >> 6] >> np.uint64(bit & 63)
    high = (packed[(bit >> 6) + 1] << ONE) << np.uint64(63 - (bit & 63))
    return np.int64((low | high) & ((ONE << np.uint64(bits)) - ONE))


@kernel
def pack_fields(
    values: Array, start: int, stop: int, factor: int, bits: int, packed: Array
) -> None:
    """Write values[start:stop] as bit fields; ``start`` is a multiple of 64.

    ``factor`` multiplies each first, modulo 2^bits: SPREADER for words, 1 for plain numbers.
    """
    mask = (1 << bits) - 1
    pending = np.uint64(0)
    filled = 0
    target = start * bits >> 6
    for index in range(start, stop):
        key = np.uint64((np.int64(values[index]) * factor) & mask)
        pending |= key << np.uint64(filled)
        filled += bits
        if filled >= 64:
            packed[target] = pending
            target += 1
            filled -= 64
            pending = (key >> ONE) >> np.uint64(bits - filled - 1)
    if filled > 0:
        packed[target] = pending


@kernel
def unpack_words(packed: Array, bits: int, inverse: int, start: int, words: Array) -> None:
    """Words of nodes start, start + 1, ...; ``inverse`` undoes SPREADER modulo 2^bits."""
    mask = (1 << bits) - 1
    for index in range(words.size):
        words[index] = (field(packed, bits, start + index) * inverse) & mask


@inlined
def child_range(directory: Array, ends: Array, total: int, node: int) -> tuple[int, int]:
    """First child of a node of order < n and one past its last; the same number twice for none."""
    block = (node >> 6) << 2
    if block >= directory.size:
        return 0, 0
    here = ONE << np.uint64(node & 63)
    ones = directory[block]
    twos = directory[block + 1]
    if (ones | twos) & here == np.uint64(0):
        return 0, 0
    below = here - ONE
    start = np.int64(directory[block + 2] & LOW)
    rank = np.int64(directory[block + 2] >> np.uint64(32))
    before = ones & twos & below
    if before != np.uint64(0):
        rank += np.int64(popcount(before))
        if rank > ends.size:
            return 0, 0
        start = np.int64(ends[rank - 1])
        top = np.uint64(63) - leading_zeros(before)
        below &= ~((np.uint64(2) << top) - ONE)
    start += np.int64(popcount(ones & ~twos & below)) + 2 * np.int64(popcount(twos & ~ones & below))
    if ones & twos & here == np.uint64(0):
        stop = start + (1 if ones & here != np.uint64(0) else 2)
    elif rank < ends.size:
        stop = np.int64(ends[rank])
    else:
        return 0, 0
    if stop > total or start > stop:
        return 0, 0
    return start, stop


@inlined
def is_context(directory: Array, node: int) -> bool:
    """Whether a node has children or a back-off weight."""
    block = (node >> 6) << 2
    if block >= directory.size:
        return False
    here = ONE << np.uint64(node & 63)
    return (directory[block] | directory[block + 1]) & here != np.uint64(0)


@inlined
def is_large(directory: Array, node: int) -> bool:
    """Whether a node has an entry in ``ends``."""
    block = (node >> 6) << 2
    here = ONE << np.uint64(node & 63)
    return directory[block] & directory[block + 1] & here != np.uint64(0)


@inlined
def rank_in_ends(directory: Array, node: int) -> int:
    """How many nodes before this one have an entry in ``ends``."""
    block = (node >> 6) << 2
    below = (ONE << np.uint64(node & 63)) - ONE
    large = directory[block] & directory[block + 1] & below
    return np.int64((directory[block + 2] >> np.uint64(32)) + popcount(large))


@inlined
def rank_of_backoff(directory: Array, node: int) -> int:
    """How many nodes before this one have a back-off weight."""
    block = (node >> 6) << 2
    below = (ONE << np.uint64(node & 63)) - ONE
    marked = (directory[block] | directory[block + 1]) & below
    return np.int64((directory[block + 3] & LOW) + popcount(marked))


@inlined
def backoff_place(directory: Array, backoffs: Array, codes: Array, node: int) -> int:
    """Where `backoff_at` finds the weight of a node."""
    if not is_context(directory, node):
        return NOWHERE
    place, large = rank_of_backoff(directory, node), is_large(directory, node)
    return place_of(place, rank_in_ends(directory, node), large, are_apart(backoffs, codes))


@inlined
def backoff_of_node(directory: Array, backoffs: Array, codes: Array, book: Array, node: int) -> Any:
    """Back-off weight of a node; log 1 if it has none."""
    place = backoff_place(directory, backoffs, codes, node)
    return backoff_at(backoffs, codes, book, place)


@inlined
def log_prob_at(log_probs: Array, codes: Array, book: Array, length: int, index: int) -> float:
    """Log-probability number ``index`` (node - V), of an n-gram of ``length`` words >= 2.

    A model has either ``log_probs`` or ``codes``; one kernel serves both, so that it is compiled
    once.
    """
    if codes.size > 0:
        return book[length - 2, codes[index]]
    return log_probs[index]


@inlined
def guess_child(bits: int, start: int, stop: int, key: int) -> int:
    """Where a key that is uniform among the children [start, stop) would lie."""
    return start + ((key * (stop - start)) >> bits)


@no_refcount
def find_child(words: Array, bits: int, start: int, stop: int, key: int) -> int:
    """Node in [start, stop) whose spread word is ``key``, or -1; keys ascend there.

    Keys are near uniform, so a guess by interpolation and a second one from there come within
    some n^(1/4) places; then steps that double bracket the key, and the last few places, which
    share a cache line, are scanned.
    """
    size = stop - start
    guess = guess_child(bits, start, stop, key)
    stride = 0
    while stop - start > 6:
        found = field(words, bits, guess)
        if found == key:
            return guess
        if stride == 0:
            step = ((key - found) * size) >> bits
        else:
            step = stride if found < key else -stride
        stride = 4 + 2 * stride
        if found < key:
            start = guess + 1
            guess += max(step, 1)
        else:
            stop = guess
            guess += min(step, -1)
        if guess < start or guess >= stop:
            guess = (start + stop) >> 1
    for node in range(start, stop):
        found = field(words, bits, node)
        if found >= key:
            return node if found == key else -1
    return -1


@kernel
def count_large(first: Array, backoffs: Array) -> tuple[int, int]:
    """How many nodes need an entry in ``ends`` and how many one in ``backoffs``."""
    large = 0
    marked = 0
    for node in range(first.size - 1):
        children = first[node + 1] - first[node]
        if children > 2 or (children == 0 and backoffs[node] != 0):
            large += 1
        if children > 0 or backoffs[node] != 0:
            marked += 1
    return large, marked


@kernel
def build_directory(
    first: Array, backoffs: Array, directory: Array, ends: Array, kept: Array
) -> None:
    """Fill directory, ends and the stored back-off weights from plain offsets (nodes + 1,)."""
    large = 0
    marked = 0
    for node in range(first.size - 1):
        block = (node >> 6) << 2
        if node & 63 == 0:
            directory[block + 2] = np.uint64(first[node]) | (np.uint64(large) << np.uint64(32))
            directory[block + 3] = np.uint64(marked)
        here = ONE << np.uint64(node & 63)
        children = first[node + 1] - first[node]
        if children == 0 and backoffs[node] == 0:
            continue
        kept[marked] = backoffs[node]
        marked += 1
        if children != 2:
            directory[block] |= here
        if children != 1:
            directory[block + 1] |= here
        if children > 2 or children == 0:
            ends[large] = first[node + 1]
            large += 1


@kernel
def mark_large(directory: Array, large: Array) -> None:
    """For every node of a part of a directory that has a weight, whether it has an end, bool."""
    place = 0
    for block in range(0, directory.size, 4):
        ones, twos = directory[block], directory[block + 1]
        for node in range(64):
            here = ONE << np.uint64(node)
            if (ones | twos) & here != np.uint64(0):
                large[place] = ones & twos & here != np.uint64(0)
                place += 1


@kernel
def read_directory(directory: Array, ends: Array, total: int, start: int, counts: Array) -> None:
    """Number of children of nodes start, start + 1, ...; out-of-range ones read as none."""
    for index in range(counts.size):
        low, high = child_range(directory, ends, total, start + index)
        counts[index] = high - low


@kernel
def read_backoffs(
    directory: Array, kept: Array, codes: Array, book: Array, start: int, backoffs: Array
) -> None:
    """Back-off weights of nodes start, start + 1, ... of orders < n, log 1 where none is stored."""
    for index in range(backoffs.size):
        backoffs[index] = backoff_of_node(directory, kept, codes, book, start + index)
