"""Kernels of back-off weights, which are stored as they are or as codes.

The weight of a context with one child or two follows from its one or two counts, which are mostly
small: of 17 million such contexts of a Kneser-Ney model the weights are 400 values. So each is
stored as its place in a book of the values, the most frequent first, a field of as many bits as the
book's size needs. The contexts with an entry in ``ends`` are one in twenty, and their weights have
many values. A model has one of three forms:

- ``codes`` of the other contexts' weights, and ``backoffs`` of those with an entry in ``ends``,
  each in the order of the contexts;
- ``codes`` of all, where they have few values, as in quantized models;
- ``backoffs`` of all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.intrinsics import at, bits_from, leading_zeros
from unrolled.runtime.kernels import inlined, kernel

Array = np.ndarray[Any, Any]

FACTOR = np.uint64(0x9E3779B97F4A7C15)
ONE = np.uint64(1)
MINUS_ZERO = np.uint32(1 << 31)


NOWHERE = -1  # the place of no weight


@inlined
def are_apart(backoffs: Any, codes: Any) -> Any:
    """Whether ``backoffs`` has the weights of contexts with an entry in ``ends``, and no others."""
    return (backoffs.size > 0) & (codes.size > 0)


@inlined
def place_of(rank: Any, rank_in_ends: Any, large: Any, apart: Any) -> Any:
    """Where a weight is: place p in the array of its form, or -2 - p in ``backoffs`` next to codes.

    Args:
        rank, rank_in_ends: contexts before this one with a weight, with an entry in ``ends``.
        large: whether it has an entry in ``ends``. apart: see `are_apart`.
    """
    if apart:
        return -2 - rank_in_ends if large else rank - rank_in_ends
    return rank


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
def backoff_at(backoffs: Any, codes: Any, book: Any, place: Any) -> Any:
    """Back-off weight of a model of any form, see `place_of`; log 1 for `NOWHERE`."""
    if codes.size == 0:
        return plain_backoff(backoffs, place)
    if place < NOWHERE:
        return plain_backoff(backoffs, -2 - place)
    return coded_backoff(codes, book, place)


@inlined
def slot_of(keys: Array, counts: Array, key: Any) -> Any:
    """Where a value's bits are in a hash table, or the free slot where they would be."""
    mask = np.int64(keys.size - 1)
    slot = np.int64((np.uint64(key) * FACTOR) >> np.uint64(40)) & mask
    while counts[slot] != 0 and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@inlined
def key_of(bits: Any) -> Any:
    """The bits by which a float32 is looked for: -0 is 0."""
    return np.uint32(0) if bits == MINUS_ZERO else bits


@kernel
def count_values(bits: Array, kinds: Array, keys: Array, counts: Array, known: Array) -> None:
    """Count float32 values by their bits (N,) uint32, in a table for each kind.

    Args:
        kinds: (N,) bool. keys, counts: (2, slots), empty. known: (2,) int64, out: how many values
            there are; a table is filled by half at most, and what comes after it is not counted.
    """
    for index in range(bits.size):
        kind = np.int64(kinds[index])
        if 2 * known[kind] < keys.shape[1]:
            key = key_of(bits[index])
            slot = slot_of(keys[kind], counts[kind], key)
            known[kind] += counts[kind, slot] == 0
            keys[kind, slot] = key
            counts[kind, slot] += 1


@kernel
def number_values(bits: Array, keys: Array, numbers: Array) -> None:
    """Note each value's place plus one in a hash table that is empty."""
    for index in range(bits.size):
        slot = slot_of(keys, numbers, bits[index])
        keys[slot] = bits[index]
        numbers[slot] = index + 1


@kernel
def code_values(bits: Array, coded: Array, keys: Array, numbers: Array, codes: Array) -> None:
    """The places in the book of the weights, given as their bits, that are ``coded``, bool."""
    place = 0
    for index in range(bits.size):
        if coded[index]:
            codes[place] = numbers[slot_of(keys, numbers, key_of(bits[index]))] - 1
            place += 1
