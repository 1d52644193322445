"""The book of frequent back-off weights and the integers that stand for weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from unrolled.ngram.trie.integers import store_integers
from unrolled.text.vocabulary import readonly

Array = np.ndarray[Any, Any]

_SLOTS = 1 << 20
_LEAST = 3  # times that a weight occurs for an entry in the book to pay
_CHUNK = 1 << 20


class BackoffBook:
    """The frequent values among weights.

    Args:
        chunks: all weights, float32.

    Attributes:
        values: (N,) float32, the most frequent first.
    """

    def __init__(self, chunks: Iterable[Array]) -> None:
        from unrolled.ngram.trie import backoff_kernels as kernels

        keys, counts, known = np.zeros(_SLOTS, np.uint32), np.zeros(_SLOTS, np.int64), 0
        for chunk in chunks:
            known = kernels.count_values(_bits(chunk), keys, counts, known)
        found = np.flatnonzero(counts >= _LEAST)
        places = np.lexsort((keys[found], -counts[found]))
        bits = keys[found][places]
        self.values: Array = readonly(bits.view(np.float32))
        self._keys, self._numbers = np.zeros(_SLOTS, np.uint32), np.zeros(_SLOTS, np.int64)
        kernels.number_values(readonly(bits), self._keys, self._numbers)

    def codes(self, weights: Array) -> Array:
        """The integers that stand for weights, (N,) int64."""
        from unrolled.ngram.trie import backoff_kernels as kernels

        codes = np.empty(weights.size, np.int64)
        kernels.code_values(_bits(weights), self._keys, self._numbers, codes)
        return codes


def store_backoffs(weights: Array, *, threads: int = 1) -> dict[str, Array]:
    """The arrays of a model that hold these weights (N,) float32."""
    book = BackoffBook(weights[at : at + _CHUNK] for at in range(0, weights.size, _CHUNK))
    blocks, fields = store_integers(
        weights.size, lambda start, stop: book.codes(weights[start:stop]), threads=threads
    )
    return {"backoff_blocks": blocks, "backoff_fields": fields, "backoff_book": book.values}


def _bits(weights: Array) -> Array:
    return readonly((weights + np.float32(0)).view(np.uint32))  # -0 becomes 0
