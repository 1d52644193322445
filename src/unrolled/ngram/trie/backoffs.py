"""Back-off weights as they are stored: `backoff_kernels` says in which forms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.ngram.trie.layout import packed_size
from unrolled.ngram.trie.packing import pack_fields, packed_chunks
from unrolled.runtime.threads import run_ahead
from unrolled.text.vocabulary import readonly

Array = np.ndarray[Any, Any]

_SLOTS = 1 << 18
_MOST = 1 << 16  # values of a book
_CHUNK = 1 << 14  # blocks of a directory: a million contexts


class BackoffBook:
    """The form that takes least room, and the book of the values that it stores as codes.

    Args:
        chunks: all weights, (N,) float32, and which of them belong to contexts with an entry in
            ``ends``, (N,) bool.

    Attributes:
        values: (N,) float32, the most frequent first; none if codes would not pay.
        bits: of a code.
        apart: whether the weights of contexts with an entry in ``ends`` are no codes.
        stored: how many weights are codes.
    """

    def __init__(self, chunks: Iterable[tuple[Array, Array]], *, threads: int = 1) -> None:
        from unrolled.ngram.trie import backoff_kernels as kernels

        few, many = _Values(), _Values()  # of contexts without an entry, and with one
        for found in run_ahead(lambda chunk: _counted(*chunk), chunks, threads):
            few.add(found[0])
            many.add(found[1])
        every = _Values()
        every.add(few)
        every.add(many)
        divided, plain = few.room + 32 * many.total, 32 * every.total
        self.apart = divided < min(every.room, plain)
        chosen = few if self.apart else every if every.room < plain else _Values()
        places = np.lexsort((chosen.bits, -chosen.counts))
        bits = chosen.bits[places]
        self.values: Array = readonly(bits.view(np.float32))
        self.bits, self.stored = _width(bits.size), chosen.total
        self._keys, self._numbers = np.zeros(_SLOTS, np.uint32), np.zeros(_SLOTS, np.int64)
        kernels.number_values(readonly(bits), self._keys, self._numbers)

    def coded(self, apart: Array) -> Array:
        """Which weights are codes, (N,) bool, given which belong to contexts with an entry."""
        return ~apart if self.apart else np.ones_like(apart)

    def codes(self, weights: Array, coded: Array) -> Array:
        """The codes of those weights that are ``coded``, int32."""
        from unrolled.ngram.trie import backoff_kernels as kernels

        codes = np.empty(np.count_nonzero(coded), np.int32)
        bits = readonly(weights.view(np.uint32))
        kernels.code_values(bits, readonly(coded), self._keys, self._numbers, codes)
        return codes


def store_backoffs(weights: Array, directory: Array, *, threads: int = 1) -> dict[str, Array]:
    """The arrays of a model that hold these weights, which are overwritten.

    Args:
        weights: (N,) float32, of the contexts that have one, in their order.
        directory: of the trie.
    """
    book = BackoffBook(weights_by_kind(weights, directory), threads=threads)
    large = [own[apart] for own, apart in weights_by_kind(weights, directory) if book.apart]
    stored = weights
    if book.values.size:
        # The codes take less room than the weights, so that each overwrites those before it only.
        size = packed_size(book.stored, book.bits)
        stored = weights[: weights.size // 2 * 2].view(np.uint64)[:size]
        if stored.size < size:  # of a few weights
            stored = np.empty(size, np.uint64)
        codes = run_ahead(
            lambda chunk: book.codes(chunk[0], book.coded(chunk[1])),
            weights_by_kind(weights, directory),
            threads,
        )
        at = 0
        for packed in packed_chunks(codes, book.bits, pack_fields):
            stored[at : at + packed.size] = packed
            at += packed.size
    return {
        "backoffs": readonly(stored),
        "backoff_book": book.values,
        "large_backoffs": np.concatenate([np.empty(0, np.float32), *large]),
    }


def weights_by_kind(weights: Array, directory: Array) -> Iterator[tuple[Array, Array]]:
    """Chunks of weights, and which of them belong to contexts with an entry in ``ends``."""
    cuts = [*range(0, directory.size // 4, _CHUNK), directory.size // 4]
    for low, high in pairwise(cuts):
        begin = int(directory[4 * low + 3])
        end = weights.size if 4 * high == directory.size else int(directory[4 * high + 3])
        yield weights[begin:end], large_ones(directory[4 * low : 4 * high], end - begin)


def large_ones(directory: Array, count: int) -> Array:
    """Which of the contexts with a weight in a part of a directory have an entry in ``ends``."""
    from unrolled.ngram.trie import trie_kernels as kernels

    large = np.empty(count, np.bool_)
    kernels.mark_large(readonly(directory), large)
    return large


class _Values:
    """Different values, by their bits, and how often each occurs; of more than `_MOST` none."""

    def __init__(self) -> None:
        self.bits, self.counts = np.empty(0, np.uint32), np.empty(0, np.int64)
        self.total, self.many = 0, False

    def add(self, other: _Values) -> None:
        """Add what occurs elsewhere."""
        self.total += other.total
        bits, places = np.unique(np.append(self.bits, other.bits), return_inverse=True)
        counts = np.append(self.counts, other.counts)
        self.many = self.many or other.many or bits.size > _MOST
        if self.many:
            bits, places, counts = bits[:0], places[:0], counts[:0]
        self.bits, self.counts = bits, np.bincount(places, counts, bits.size).astype(np.int64)

    @property
    def room(self) -> float:
        """Bits that a book of the values and the codes of all weights take."""
        values = self.bits.size
        return np.inf if self.many else 32 * values + self.total * _width(values)


def _counted(weights: Array, apart: Array) -> tuple[_Values, _Values]:
    """The values of contexts without an entry in ``ends``, and of those with one."""
    from unrolled.ngram.trie import backoff_kernels as kernels

    keys, counts = np.zeros((2, _SLOTS), np.uint32), np.zeros((2, _SLOTS), np.int64)
    known, found = np.zeros(2, np.int64), (_Values(), _Values())
    kernels.count_values(readonly(weights.view(np.uint32)), readonly(apart), keys, counts, known)
    for kind, values in enumerate(found):
        values.many = 2 * int(known[kind]) >= _SLOTS
        values.total = int(np.count_nonzero(apart == kind))
        if not values.many:
            places = np.flatnonzero(counts[kind])
            values.bits, values.counts = keys[kind][places], counts[kind][places]
    return found


def _width(values: int) -> int:
    """Bits of a code for so many values, as `backoff_kernels.code_width`."""
    return max(values - 1, 1).bit_length()
