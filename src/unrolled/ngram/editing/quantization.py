"""Models with 8 bits a probability, rounded so that every context still sums to one.

Interpolated models are stored as `unrolled.ngram.editing.interpolation` says; this is about others.
Probabilities of an order share a book of 256 values, placed where the probability mass is. Rounding
each to its nearest value would leave contexts up to a few percent away from one, so each context is
rounded as a whole: its back-off weight, of 9 bits, makes up for its children, and a child moves by
a few codes where that brings the sum nearer to one. Unigrams stay exact.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.ngram.editing import quantization_kernels as kernels
from unrolled.ngram.editing.interpolation import interpolated_trie
from unrolled.ngram.editing.quantization_bins import (
    BINS,
    backoff_book,
    log_prob_book,
    nearest_weights,
)
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie.layout import CODES
from unrolled.ngram.trie.packed_trie import PackedTrie, pack
from unrolled.ngram.trie.table import NgramTable
from unrolled.runtime.threads import even_slices, run_slices
from unrolled.text.vocabulary import BOS, EOS

Array = np.ndarray[Any, Any]

CUTS = 16  # of an order, for threads
SAMPLE = 500_000  # contexts that the book of back-off weights is made from


def check_bits(bits: int | None) -> None:
    """Refuse any width but the one there is.

    Raises:
        SettingError: another number of bits than 8.
    """
    if bits not in (None, 8):
        raise SettingError(f"probabilities cannot be quantized to {bits} bits, only to 8")


def quantize(model: NgramModel, *, threads: int = 2) -> NgramModel:
    """The model with 8-bit probabilities and hardly a back-off weight, a third of the size.

    Every context still sums to one within 1e-3; the n-grams stay the same.
    """
    if model.trie.quantized:
        return model
    table = model.trie.unpack()
    suffixes = table.link_suffixes(threads=threads)
    trie = interpolated_trie(table, suffixes, threads=threads)
    if trie is None:
        trie = quantized_trie(table, suffixes, threads=threads)
    config = {**model.config, "quantized": True}
    return NgramModel(trie, model.vocabulary, config, model.provenance)


def quantized_trie(table: NgramTable, suffixes: Array, *, threads: int = 2) -> PackedTrie:
    """Round a table, order by order, lowest first, each context given its rounded lower order."""
    size = int(table.levels[1])
    pairs = np.empty((table.inner, 2), np.float32)  # exact, and what a reader of the codes will see
    books = _books(table, pairs, threads)
    codes = np.zeros(table.log_probs.size - size, np.uint8)
    weight_book = _backoff_book(table, suffixes, pairs, books)
    backoff_codes = np.zeros(table.inner, np.uint16)
    sums = np.ones((table.inner, 2), np.float32)
    weights = (np.exp(weight_book.astype(np.float64)), nearest_weights(weight_book))
    for length, (book, nearest) in enumerate(books, 2):
        values = np.exp(book.astype(np.float64))
        shared = (suffixes, table.log_probs, pairs, codes, size, values, nearest)
        run_slices(
            kernels.round_contexts,
            [
                (table.first, *cut, *shared, table.backoffs, *weights, backoff_codes, sums)
                for cut in _slices(table, length)
            ],
            threads,
        )
    marked = _marked(table, slice(0, table.inner))
    backoffs: Array = np.where(marked, weight_book[backoff_codes], np.float32(0))
    packed = pack(replace(table, backoffs=backoffs), suffixes=suffixes, threads=threads)
    book = np.array([book for book, _ in books], np.float32).reshape(-1, CODES)
    return replace(packed, log_probs=codes, log_prob_book=book)


def _slices(table: NgramTable, length: int) -> list[tuple[int, int]]:
    """The contexts of n-grams of ``length`` words, cut so that threads have equal work."""
    above, here = table.level(length - 1), table.level(length)
    first = table.first[above.start : above.stop + 1]
    starts = [low for low, _ in even_slices(here.stop - here.start, CUTS)]
    places = (np.array(starts, np.int64) + here.start).astype(first.dtype)  # or all are converted
    borders = above.start + np.searchsorted(first, places)
    borders = np.unique([above.start, *borders.tolist(), above.stop])
    return [(int(low), int(high)) for low, high in pairwise(borders)]


def _books(table: NgramTable, pairs: Array, threads: int) -> list[tuple[Array, Array]]:
    """The book of every order from 2 and the code of each of its bins; fills ``pairs``."""
    frequencies = np.zeros(table.inner, np.float32)
    single = table.level(1)
    if table.order > 1:
        frequencies[single] = pairs[single, 0] = pairs[single, 1] = np.exp(table.log_probs[single])
        frequencies[BOS] = frequencies[EOS]
    books = []
    for length in range(2, table.order + 1):
        cuts = _slices(table, length)
        shares = [np.zeros((BINS, 4)) for _ in cuts]
        run_slices(
            kernels.collect,
            [
                (table.first, *cut, table.log_probs, frequencies, pairs, share)
                for cut, share in zip(cuts, shares, strict=True)
            ],
            threads,
        )
        books.append(log_prob_book(sum(shares, np.zeros((BINS, 4)))))
    return books


def _marked(table: NgramTable, nodes: slice) -> Array:
    """Contexts among ``nodes`` that have a back-off weight in a trie, bool."""
    first = table.first[nodes.start : nodes.stop + 1]
    marked: Array = (first[1:] > first[:-1]) | (table.backoffs[nodes] != 0)
    return marked


def _backoff_book(
    table: NgramTable, suffixes: Array, pairs: Array, books: list[tuple[Array, Array]]
) -> Array:
    """(512,) ascending log back-off weights, log 0 first, for the weights that contexts need."""
    step = max(table.inner // SAMPLE, 1)
    samples = [np.zeros((2, 0))]
    for length, (book, nearest) in enumerate(books, 2):
        above = table.level(length - 1)
        usable = _marked(table, above) & np.isfinite(table.backoffs[above])
        known = above.start + np.flatnonzero(usable[::step]) * step
        sample, rooms = np.empty((2, known.size)), np.empty(known.size)
        kernels.measure_rooms(table.first, known, suffixes, pairs, rooms)
        values = np.exp(book.astype(np.float64))
        shared = (table.log_probs, rooms, values, nearest, table.backoffs)
        kernels.needed_weights(table.first, known, *shared, *sample)
        samples.append(sample)
    needed, left = np.concatenate(samples, axis=1)
    return backoff_book(needed, left, kernels.CLOSE)
