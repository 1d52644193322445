"""The book of the values that back-off weights have, if they are few, and the codes for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from unrolled.ngram.trie.packing import pack_fields
from unrolled.runtime.threads import even_slices, run_slices
from unrolled.text.vocabulary import readonly

Array = np.ndarray[Any, Any]

_SLOTS = 1 << 18
MOST = 1 << 16  # values of a book
_CHUNK = 1 << 20


class BackoffBook:
    """The values among weights.

    Args:
        chunks: all weights, float32.

    Attributes:
        values: (N,) float32, the most frequent first; none if codes would not pay.
        bits: of a code.
    """

    def __init__(self, chunks: Iterable[Array]) -> None:
        from unrolled.ngram.trie import backoff_kernels as kernels

        keys, counts, known = np.zeros(_SLOTS, np.uint32), np.zeros(_SLOTS, np.int64), 0
        for chunk in chunks:
            known = kernels.count_values(_bits(chunk), keys, counts, known)
        total = int(counts.sum())
        if known > MOST or 32 * known + total * _width(known) >= 32 * total:
            counts[:] = 0  # codes would not pay
        found = np.flatnonzero(counts)
        places = np.lexsort((keys[found], -counts[found]))
        bits = keys[found][places]
        self.values: Array = readonly(bits.view(np.float32))
        self.bits = _width(bits.size)
        self._keys, self._numbers = np.zeros(_SLOTS, np.uint32), np.zeros(_SLOTS, np.int64)
        kernels.number_values(readonly(bits), self._keys, self._numbers)

    def codes(self, weights: Array) -> Array:
        """The codes of weights that were counted, (N,) int32."""
        from unrolled.ngram.trie import backoff_kernels as kernels

        codes = np.empty(weights.size, np.int32)
        kernels.code_values(_bits(weights), self._keys, self._numbers, codes)
        return codes


def store_backoffs(weights: Array, *, threads: int = 1) -> dict[str, Array]:
    """The arrays of a model that hold these weights (N,) float32."""
    book = BackoffBook(weights[at : at + _CHUNK] for at in range(0, weights.size, _CHUNK))
    if not book.values.size:
        return {"backoffs": weights, "backoff_book": book.values}
    codes = np.empty(weights.size, np.int32)

    def fill(start: int, stop: int) -> None:
        codes[start:stop] = book.codes(weights[start:stop])

    run_slices(fill, even_slices(weights.size, 4 * threads), threads)
    packed = pack_fields(codes, book.bits, threads=threads)
    return {"backoffs": packed, "backoff_book": book.values}


def _width(values: int) -> int:
    """Bits of a code for so many values, as `backoff_kernels.code_width`."""
    return max(values - 1, 1).bit_length()


def _bits(weights: Array) -> Array:
    return readonly((weights + np.float32(0)).view(np.uint32))  # -0 becomes 0
