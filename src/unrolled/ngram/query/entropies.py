"""The entropy of the next word at every place of a text under an n-gram model."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.trie.layout import inverse_spreader
from unrolled.ngram.trie.packed_trie import PackedTrie
from unrolled.runtime.cached_kernels import CachedKernel
from unrolled.text.vocabulary import BOS

Array = np.ndarray[Any, Any]

_SHAPE = "i8[] u8[] u8[] u4[]"
_VALUES = "f4[] f4[] u1[] f4[][] f4[] u8[] f4[]"
_KERNELS = "unrolled.ngram.query.entropy_kernels"
_STATES = CachedKernel(_KERNELS, "context_states", f"{_SHAPE} i8 i4[] i8[]!")
_SUMS = CachedKernel(_KERNELS, "context_sums", f"{_SHAPE} {_VALUES} i8 i8 i8 i8[] f8[]!")


def entropies(trie: PackedTrie, ids: Array) -> Array:
    """- sum_w p(w|h) log p(w|h) at each place of ids (T,) int32; (T,) float64 nats, 0 at <s>.

    Equal contexts are computed once, and each costs its children only, see `entropy_kernels`.
    """
    trie = trie.with_words
    arrays = trie.query_arrays()
    size = trie.order - 1
    flat = np.empty(ids.size * size, np.int64)
    if size:
        _STATES(*arrays[:4], trie.bits, ids, flat)
    states = flat.reshape(ids.size, size)
    sums = np.tile(_unigram_sums(trie.unigrams), (ids.size, 1))  # of the longest context so far
    for k in range(size):
        rows = np.flatnonzero(states[:, k] >= 0)
        if rows.size == 0:
            break
        _, places, same = np.unique(states[rows, k], return_index=True, return_inverse=True)
        contexts = rows[places]
        found = np.ascontiguousarray(sums[contexts]).reshape(-1)
        chains = np.ascontiguousarray(states[contexts]).reshape(-1)
        _SUMS(*arrays, inverse_spreader(trie.bits), k, chains, found)
        sums[rows] = found.reshape(-1, 2)[same]
    result: Array = np.where(ids == BOS, 0, 0 - sums[:, 1])
    return result


def _unigram_sums(unigrams: Array) -> Array:
    """Sums of p and of p log p without context, (2,) float64; <s> is never the next word."""
    logs = np.delete(unigrams.astype(np.float64), BOS)
    logs = logs[logs > -np.inf]
    probabilities = np.exp(logs)
    return np.array([probabilities.sum(), (probabilities * logs).sum()])
