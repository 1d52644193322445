"""The numbers that fix how a trie is laid out; kernels and plain Python share them."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

MAX_ORDER = 100
SPREADER = 0x9E3779B1  # odd, near 2^32 / golden ratio
BLOCK = 64  # nodes in one entry of the directory
CODES = 256  # log-probabilities of an order in a quantized model
BACKOFF_BITS = 9  # the fewest that keep quantized contexts within 1e-3 of summing to one
NONE = np.uint32(0xFFFFFFFF)  # in arrays of nodes: there is no such n-gram


def word_bits(vocabulary_size: int) -> int:
    """Bits of the largest word id.

    >>> word_bits(10_000)
    14
    """
    return max(int(vocabulary_size - 1).bit_length(), 1)


def packed_size(count: int, bits: int) -> int:
    """uint64 elements that hold ``count`` fields, with the spare one that `field` may read."""
    return (count * bits + 63) // 64 + 1


def spread_words(words: Array, bits: int) -> Array:
    """`trie_kernels.spread` of an array of words, (N,) int64."""
    return (words.astype(np.int64) * SPREADER) & ((1 << bits) - 1)


def inverse_spreader(bits: int) -> int:
    """The factor that undoes `spread_words` modulo 2^bits."""
    return pow(SPREADER, -1, 1 << bits)
