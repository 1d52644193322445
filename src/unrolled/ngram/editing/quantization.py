"""8-bit probabilities and 9-bit back-off weights, rounded so that every context still sums to one.

Probabilities of an order share a book of 256 values: the means of bins that hold equally many
n-grams, as in KenLM. Rounding each to its nearest value would leave contexts up to a few percent
away from one, so each context is rounded as a whole: its back-off weight makes up for its children,
and a child moves by a few codes where that brings the sum nearer to one. Unigrams stay exact.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.ngram.editing import quantization_kernels as kernels
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie.layout import BACKOFF_BITS, CODES
from unrolled.ngram.trie.packed_trie import PackedTrie, pack
from unrolled.ngram.trie.packing import pack_fields
from unrolled.ngram.trie.table import NgramTable
from unrolled.runtime.threads import run_slices

Array = np.ndarray[Any, Any]

NEAR = 0.04  # how far the logarithm of a back-off weight may be off
SURE = 64  # codes of an order for probabilities above LIKELY
EVEN = 0.3  # share of the other codes that are spread evenly in the logarithm
LIKELY = math.log(0.1)
LEAST_DOUBT = 1e-3  # how little the other words may have before it no longer matters
SAMPLE = 2_000_000  # probabilities that an order's book is made from


def check_bits(bits: int | None) -> None:
    """Refuse any width but the one there is.

    Raises:
        SettingError: another number of bits than 8.
    """
    if bits not in (None, 8):
        raise SettingError(f"probabilities cannot be quantized to {bits} bits, only to 8")


def quantize(model: NgramModel, *, threads: int = 2) -> NgramModel:
    """The model with 8-bit probabilities and 9-bit back-off weights, about half the size.

    Every context still sums to one within 1e-3; the n-grams stay the same.
    """
    if model.trie.quantized:
        return model
    trie = quantized_trie(model.trie.unpack(), threads=threads)
    config = {**model.config, "quantized": True}
    return NgramModel(trie, model.vocabulary, config, model.provenance)


def quantized_trie(table: NgramTable, *, threads: int = 2) -> PackedTrie:
    """Round a table, order by order, lowest first, each context given its rounded lower order."""
    suffixes = table.link_suffixes()
    size = int(table.levels[1])
    rounded = table.log_probs.copy()  # what a reader of the codes will see
    codes = np.zeros(rounded.size - size, np.uint8)
    books = np.zeros((table.order - 1, CODES), np.float32)
    backoff_book = _backoff_book(table, suffixes)
    backoff_codes = np.zeros(table.inner, np.uint16)
    sums = np.ones((table.inner, 2), np.float32)
    for length in range(2, table.order + 1):
        here = table.level(length)
        books[length - 2] = _book(table.log_probs[here])
        shared = (suffixes, table.log_probs, rounded, codes, size, books[length - 2])
        weights = (table.backoffs, backoff_book, backoff_codes, sums)
        run_slices(
            kernels.round_contexts,
            [(table.first, *cut, *shared, *weights) for cut in table.context_slices(length)],
            threads,
        )
    plain = pack(table)
    return PackedTrie(
        levels=plain.levels,
        words=plain.words,
        directory=plain.directory,
        ends=plain.ends,
        unigrams=plain.unigrams,
        log_probs=codes,
        backoffs=pack_fields(backoff_codes[_marked(table)], BACKOFF_BITS),
        log_prob_book=books,
        backoff_book=backoff_book,
    )


def _marked(table: NgramTable) -> Array:
    """Contexts that have a back-off weight in a trie, (contexts,) bool."""
    marked: Array = (np.diff(table.first.astype(np.int64)) > 0) | (table.backoffs != 0)
    return marked


def _book(log_probs: Array) -> Array:
    """(256,) ascending log-probabilities: log 0, the least that is above, ..., the largest.

    A value that fills a bin alone has a code of its own (counts are whole numbers, so that some
    methods give few distinct values); the others share bins, each coded as its mean. The bins hold
    equally many but for EVEN of them, which go to equal steps: after a frequent word all
    probabilities are small, and must not share a code with larger ones. SURE codes go to high
    probabilities, evenly in the log odds: one word that takes nearly all the mass leaves little
    with which to balance the sum.
    """
    step = max(log_probs.size // SAMPLE, 1)
    finite = log_probs[np.isfinite(log_probs)]
    if finite.size == 0:
        return _filled(np.zeros(1), CODES)
    least, most = float(finite.min()), float(finite.max())
    values, counts = np.unique(finite[::step], return_counts=True)
    sure = np.zeros(0)
    if most > LIKELY:
        sure = _logistic(np.linspace(_log_odds(LIKELY), _log_odds(most), SURE))
    exact = np.zeros(values.size, bool)
    room = CODES - 3 - len(sure)
    while True:
        left = counts[~exact].sum()
        heavy = ~exact & (counts * max(room - exact.sum(), 1) > left)
        if not heavy.any():
            break
        exact |= heavy
    means = _means(values[~exact].astype(np.float64), counts[~exact], room - int(exact.sum()))
    return _filled(np.concatenate([values[exact], means, sure, [least, most]]), CODES)


def _means(values: Array, counts: Array, bins: int) -> Array:
    """Logarithms of the means of at most ``bins`` bins of ascending logarithms."""
    if values.size == 0:
        return values
    ranks = (np.cumsum(counts) - counts / 2) / counts.sum()
    steps = (values - values[0]) / max(values[-1] - values[0], 1e-6)
    places = (((1 - EVEN) * ranks + EVEN * steps) * bins * (1 - 1e-9)).astype(np.int64)
    firsts = np.flatnonzero(np.append(True, places[1:] > places[:-1]))
    tops = np.append(values[firsts[1:] - 1], values[-1])
    shares = np.exp(values - np.repeat(tops, np.diff(np.append(firsts, values.size)))) * counts
    means: Array = np.log(np.add.reduceat(shares, firsts) / np.add.reduceat(counts, firsts)) + tops
    return means


def _filled(log_values: Array, size: int) -> Array:
    """A book of ``size`` codes: log 0, these values, and the free ones spread below e^most."""
    book = np.unique(log_values.astype(np.float32))
    spare = np.arange(1, size - book.size) / (size - book.size)
    book = np.sort(np.append(book, np.log(spare) + book[-1]))
    return np.append(-np.inf, book).astype(np.float32)


def _log_odds(log_prob: float) -> float:
    return log_prob - math.log(max(-math.expm1(log_prob), LEAST_DOUBT))


def _logistic(log_odds: Array) -> Array:
    """Log-probabilities of log odds."""
    return -np.logaddexp(0, -log_odds)


def _backoff_book(table: NgramTable, suffixes: Array) -> Array:
    """(512,) ascending log back-off weights, log 0 first: the fewest that are near enough to all.

    A weight may be off by a few percent, and by as little as moves its context's sum by CLOSE.
    Both bounds are widened together until the codes suffice.
    """
    left = np.zeros(table.inner, np.float32)
    kernels.left_over(table.first, suffixes, table.log_probs, table.backoffs, left)
    known = np.flatnonzero(np.isfinite(table.backoffs) & _marked(table))
    known = known[:: max(known.size // SAMPLE, 1)]
    exact, left = table.backoffs[known].astype(np.float64), left[known]
    size, widened = 1 << BACKOFF_BITS, 1.0
    codes = np.empty(size - 2, np.float32)
    while True:
        slack = widened * np.minimum(kernels.CLOSE / np.maximum(left, kernels.CLOSE), NEAR)
        places = np.argsort(exact + slack)
        found = kernels.stab((exact - slack)[places], (exact + slack)[places], codes)
        if found <= codes.size:
            return _filled(np.append(codes[:found], 0.0), size)
        widened *= 1.2
