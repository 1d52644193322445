"""Kernels that replace back-off weights by numbers of the frequent ones among them.

Weights of Kneser-Ney models follow from a few small counts, so that most are one of few values.
A weight is stored as an integer, see `integer_kernels`: its place in a book of the frequent values,
the most frequent first, or the 32 bits of the weight itself with bit 32 set.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.trie.integer_kernels import integer
from unrolled.runtime.intrinsics import at, float_of_bits
from unrolled.runtime.kernels import inlined, kernel

Array = np.ndarray[Any, Any]

FACTOR = np.uint64(0x9E3779B97F4A7C15)


@inlined
def plain_backoff(backoffs: Any, rank: Any) -> Any:
    """Back-off weight number ``rank``; log 1 for -1 and for what lies outside the array."""
    if rank < 0 or rank >= backoffs.size:
        return np.float32(0.0)
    return backoffs[rank]


@inlined
def coded_backoff(blocks: Any, fields: Any, book: Any, rank: Any) -> Any:
    """The same where weights are stored as integers."""
    if rank < 0:
        return np.float32(0.0)
    code = integer(blocks, fields, rank)
    if code >> 32 != 0:
        return float_of_bits(code)
    return at(book, code) if code < book.size else np.float32(0.0)


@inlined
def backoff_at(backoffs: Any, blocks: Any, fields: Any, book: Any, rank: Any) -> Any:
    """Back-off weight number ``rank`` of a model of either kind."""
    if blocks.size > 0:
        return coded_backoff(blocks, fields, book, rank)
    return plain_backoff(backoffs, rank)


@inlined
def slot_of(keys: Array, counts: Array, key: Any) -> Any:
    """Where a value's bits are in a hash table, or the free slot where they would be."""
    mask = np.int64(keys.size - 1)
    slot = np.int64((np.uint64(key) * FACTOR) >> np.uint64(40)) & mask
    while counts[slot] != 0 and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@kernel
def count_values(bits: Array, keys: Array, counts: Array, known: int) -> int:
    """Count float32 values by their bits (N,) uint32; how many are ``known`` after it.

    Values that come once half of the table is filled are not counted.
    """
    for index in range(bits.size):
        slot = slot_of(keys, counts, bits[index])
        if counts[slot] == 0:
            if 2 * known >= keys.size:
                continue
            known += 1
            keys[slot] = bits[index]
        counts[slot] += 1
    return known


@kernel
def number_values(bits: Array, keys: Array, numbers: Array) -> None:
    """Note each value's place plus one in a hash table that is empty."""
    for index in range(bits.size):
        slot = slot_of(keys, numbers, bits[index])
        keys[slot] = bits[index]
        numbers[slot] = index + 1


@kernel
def code_values(bits: Array, keys: Array, numbers: Array, codes: Array) -> None:
    """The integers that stand for weights, given as their bits."""
    for index in range(bits.size):
        number = numbers[slot_of(keys, numbers, bits[index])]
        codes[index] = number - 1 if number > 0 else (np.int64(1) << 32) | np.int64(bits[index])
