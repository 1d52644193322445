"""Back-off weights as they are stored: `backoff_kernels` says in which forms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from unrolled.ngram.trie.packing import pack_fields
from unrolled.runtime.threads import even_slices, run_slices
from unrolled.text.vocabulary import readonly

Array = np.ndarray[Any, Any]

_SLOTS = 1 << 18
_MOST = 1 << 16  # values of a book
_CHUNK = 1 << 20


class BackoffBook:
    """The form that takes least room, and the book of the values that it stores as codes.

    Args:
        chunks: gives all weights, (N,) float32, and which of them belong to contexts with an entry
            in ``ends``, (N,) bool; called several times.

    Attributes:
        values: (N,) float32, the most frequent first; none if codes would not pay.
        bits: of a code.
        apart: whether the weights of contexts with an entry in ``ends`` are no codes.
    """

    def __init__(self, chunks: Callable[[], Iterable[tuple[Array, Array]]]) -> None:
        from unrolled.ngram.trie import backoff_kernels as kernels

        keys, counts = np.zeros(_SLOTS, np.uint32), np.zeros(_SLOTS, np.int64)
        few = total = large = 0
        for weights, apart in chunks():
            few = kernels.count_values(_bits(weights), readonly(apart), False, keys, counts, few)
            total += weights.size
            large += int(np.count_nonzero(apart))
        of_few, known = (keys.copy(), counts.copy()), few
        for weights, apart in chunks():
            known = kernels.count_values(_bits(weights), readonly(apart), True, keys, counts, known)
        together, divided = _room(known, total), _room(few, total - large) + 32 * large
        self.apart = divided < min(together, 32 * total)
        if self.apart:
            keys, counts = of_few
        elif together >= 32 * total:
            counts[:] = 0
        found = np.flatnonzero(counts)
        places = np.lexsort((keys[found], -counts[found]))
        bits = keys[found][places]
        self.values: Array = readonly(bits.view(np.float32))
        self.bits = _width(bits.size)
        self._keys, self._numbers = np.zeros(_SLOTS, np.uint32), np.zeros(_SLOTS, np.int64)
        kernels.number_values(readonly(bits), self._keys, self._numbers)

    def coded(self, apart: Array) -> Array:
        """Which weights are codes, (N,) bool, given which belong to contexts with an entry."""
        return ~apart if self.apart else np.ones_like(apart)

    def codes(self, weights: Array, coded: Array) -> Array:
        """The codes of those weights that are ``coded``, int32."""
        from unrolled.ngram.trie import backoff_kernels as kernels

        codes = np.empty(np.count_nonzero(coded), np.int32)
        kernels.code_values(_bits(weights), readonly(coded), self._keys, self._numbers, codes)
        return codes


def store_backoffs(weights: Array, apart: Array, *, threads: int = 1) -> dict[str, Array]:
    """The arrays of a model that hold these weights.

    Args:
        weights: (N,) float32, of the contexts that have one, in their order.
        apart: (N,) bool, which of these contexts have an entry in ``ends``.
    """
    cuts = even_slices(weights.size, max(weights.size // _CHUNK, 4 * threads))
    book = BackoffBook(lambda: ((weights[slice(*cut)], apart[slice(*cut)]) for cut in cuts))
    if not book.values.size:
        none = np.empty(0, np.float32)
        return {"backoffs": weights, "backoff_book": book.values, "large_backoffs": none}
    coded = book.coded(apart)
    codes = run_slices(
        lambda start, stop: book.codes(weights[start:stop], coded[start:stop]), cuts, threads
    )
    return {
        "backoffs": pack_fields(np.concatenate(codes), book.bits, threads=threads),
        "backoff_book": book.values,
        "large_backoffs": weights[~coded],
    }


def _room(values: int, weights: int) -> float:
    """Bits that a book of so many values and the codes of so many weights take."""
    return 32 * values + weights * _width(values) if values <= _MOST else np.inf


def _width(values: int) -> int:
    """Bits of a code for so many values, as `backoff_kernels.code_width`."""
    return max(values - 1, 1).bit_length()


def _bits(weights: Array) -> Array:
    return readonly((weights + np.float32(0)).view(np.uint32))  # -0 becomes 0
