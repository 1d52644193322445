"""8-bit models of interpolated ones, without back-off weights; see `interpolation_kernels`."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.ngram.editing import interpolation_kernels as kernels
from unrolled.ngram.editing.quantization_bins import BINS, log_prob_book
from unrolled.ngram.trie.layout import CODES
from unrolled.ngram.trie.packed_trie import PackedTrie, pack
from unrolled.ngram.trie.packing import pack_fields
from unrolled.ngram.trie.table import NgramTable
from unrolled.runtime.threads import run_slices
from unrolled.text.vocabulary import BOS, EOS

Array = np.ndarray[Any, Any]


def interpolated_trie(table: NgramTable, suffixes: Array, *, threads: int = 2) -> PackedTrie | None:
    """The table with codes for discounted probabilities; None if its model is not interpolated."""
    size = int(table.levels[1])
    frequencies = np.zeros(table.inner, np.float32)
    if table.order > 1:
        frequencies[:size] = np.exp(table.log_probs[:size])
        frequencies[BOS] = frequencies[EOS]
    exact, codes = np.empty_like(table.log_probs), np.zeros(table.log_probs.size - size, np.uint8)
    large = table.first[1:].astype(np.int64) - table.first[:-1] > 2
    weights, rank, books = np.zeros(np.count_nonzero(large), np.uint16), 0, []
    bits: list[int] = []
    numbers = suffixes, table.log_probs, table.backoffs, frequencies, exact
    for length in range(2, table.order + 1):
        cuts = table.context_slices(length)
        shares = [np.zeros((BINS, 4)) for _ in cuts]
        slices = [
            (table.first, *cut, *numbers, share) for cut, share in zip(cuts, shares, strict=True)
        ]
        if any(run_slices(kernels.discounted, slices, threads)):
            return None
        bits.append(code_bits(length))
        book, nearest = log_prob_book(sum(shares, np.zeros((BINS, 4))), 1 << bits[-1])
        books.append(np.append(book, np.full(CODES - book.size, book[-1])))
        ranks = np.cumsum([rank, *(np.count_nonzero(large[low:high]) for low, high in cuts)])
        rank = int(ranks[-1])
        values = np.exp(book).astype(np.float64)
        shared = exact, table.backoffs, values, nearest, codes, weights
        run_slices(
            kernels.round_discounted,
            [
                (table.first, *cut, *shared, int(at))
                for cut, at in zip(cuts, ranks[:-1], strict=True)
            ],
            threads,
        )
    bare = replace(table, backoffs=np.zeros(table.inner, np.float32))
    packed = pack(bare, suffixes=suffixes, threads=threads)
    borders = (table.levels[1:] - size).tolist()
    fields = [
        pack_fields(codes[low:high], width, threads=threads)[:-1]
        for width, (low, high) in zip(bits, pairwise(borders), strict=True)
    ]
    return replace(
        packed,
        log_probs=np.empty(0, np.float32),
        backoffs=np.empty(0, np.float32),
        backoff_book=np.empty(0, np.float32),
        codes=np.concatenate([*fields, np.zeros(1, np.uint64)]),
        code_bits=np.array(bits, np.int64),
        log_prob_book=np.array(books, np.float32).reshape(-1, CODES),
        weights=weights,
    )


def code_bits(length: int) -> int:
    """Bits of a code: the longer n-grams are, the fewer are their counts and so their values."""
    return max(10 - length, 5)
