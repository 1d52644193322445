"""Kernels that work on the n-grams of an existing model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from unrolled.ngram.trie_kernels import find_child, spread

Array = np.ndarray[Any, Any]


@njit(cache=True, nogil=True)
def find_suffixes(
    first: Array,
    packed: Array,
    bits: int,
    parents: Array,
    words: Array,
    suffixes: Array,
    base: int,
) -> int:
    """suffixes[base + i] for the children ``words`` of ``parents``, whose own suffixes are known.

    Returns the number of n-grams that lack their suffix (left 0).
    """
    missing = 0
    for index in range(parents.size):
        context = suffixes[parents[index]]
        node = find_child(
            packed,
            bits,
            np.int64(first[context]),
            np.int64(first[context + 1]),
            spread(words[index], bits),
        )
        if node < 0:
            missing += 1
        else:
            suffixes[base + index] = node
    return missing


@njit(cache=True, nogil=True)
def find_nodes(
    first: Array, packed: Array, bits: int, rows: Array, nodes: Array
) -> None:
    """Node of every row (N, k) of word ids, walking from its first word; -1 where it is missing."""
    for index in range(rows.shape[0]):
        node = np.int64(rows[index, 0])
        for place in range(1, rows.shape[1]):
            if node < 0 or node + 1 >= first.size:
                node = -1
                break
            key = spread(rows[index, place], bits)
            node = find_child(
                packed, bits, np.int64(first[node]), np.int64(first[node + 1]), key
            )
        nodes[index] = node
