"""Kernels of back-off weights, which are stored as they are or as codes.

Weights of Kneser-Ney models follow from a few small counts, so that they are a few thousand values
at most. Then each is stored as its place in a book of the values, the most frequent first, a field
of as many bits as the book's size needs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.intrinsics import at, bits_from, leading_zeros
from unrolled.runtime.kernels import inlined, kernel

Array = np.ndarray[Any, Any]

FACTOR = np.uint64(0x9E3779B97F4A7C15)
ONE = np.uint64(1)


@inlined
def code_width(book: Any) -> Any:
    """Bits of a code for a book of two values or more; 1 for a smaller one."""
    return np.int64(64) - np.int64(leading_zeros(np.uint64(max(book.size - 1, 1))))


@inlined
def plain_backoff(backoffs: Any, rank: Any) -> Any:
    """Back-off weight number ``rank``; log 1 for -1 and for what lies outside the array."""
    if rank < 0 or rank >= backoffs.size:
        return np.float32(0.0)
    return backoffs[rank]


@inlined
def coded_backoff(codes: Any, book: Any, rank: Any) -> Any:
    """The same where weights are codes; the array ends in one spare element."""
    width = code_width(book)
    bit = rank * width
    if rank < 0 or (bit >> 6) + 1 >= codes.size or book.size == 0:
        return np.float32(0.0)
    code = np.int64(bits_from(codes, bit) & ((ONE << np.uint64(width)) - ONE))
    return at(book, min(code, book.size - 1))


@inlined
def backoff_at(backoffs: Any, codes: Any, book: Any, rank: Any) -> Any:
    """Back-off weight number ``rank`` of a model of either kind."""
    if codes.size > 0:
        return coded_backoff(codes, book, rank)
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

    It stops when half of the table is filled.
    """
    for index in range(bits.size):
        if 2 * known >= keys.size:
            break
        slot = slot_of(keys, counts, bits[index])
        if counts[slot] == 0:
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
    """The places in the book of weights that are all in it, given as their bits."""
    for index in range(bits.size):
        codes[index] = numbers[slot_of(keys, numbers, bits[index])] - 1
