"""8-bit probabilities and 9-bit back-off weights, rounded so that every context still sums to one.

Probabilities of an order share a book of 256 values: the means of bins that hold equally many
n-grams, as in KenLM. Rounding each to its nearest value would leave contexts up to a few percent
away from one, so each context is rounded as a whole: its back-off weight makes up for its children,
and a child moves by a few codes where that brings the sum nearer to one. Unigrams stay exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.ngram import quantisation_kernels as kernels
from unrolled.ngram.model import NgramModel
from unrolled.ngram.packing import pack_fields
from unrolled.ngram.table import NgramTable
from unrolled.ngram.trie import CODES, PackedTrie, pack
from unrolled.ngram.trie_kernels import BACKOFF_BITS
from unrolled.threads import even_slices, run_slices

Array = np.ndarray[Any, Any]

SMALL = 0.125  # back-off weights below are spaced evenly in their logarithm, above in themselves
SAMPLE = 2_000_000  # probabilities that an order's book is made from


def check_bits(bits: int | None) -> None:
    """Refuse any width but the one there is.

    Raises:
        SettingError: another number of bits than 8.
    """
    if bits not in (None, 8):
        raise SettingError(f"probabilities cannot be quantised to {bits} bits, only to 8")


def quantise(model: NgramModel, *, threads: int = 2) -> NgramModel:
    """The model with 8-bit probabilities and 9-bit back-off weights, about half the size.

    Every context still sums to one within 1e-3; the n-grams stay the same.
    """
    if model.trie.quantised:
        return model
    trie = quantised_trie(model.trie.unpack(), threads=threads)
    config = {**model.config, "quantised": True}
    return NgramModel(trie, model.vocabulary, config, model.provenance)


def quantised_trie(table: NgramTable, *, threads: int = 2) -> PackedTrie:
    """Round a table, order by order, lowest first, each context given its rounded lower order."""
    suffixes = table.suffixes()
    size = int(table.levels[1])
    rounded = table.log_probs.copy()  # what a reader of the codes will see
    codes = np.zeros(rounded.size - size, np.uint8)
    books = np.zeros((table.order - 1, CODES), np.float32)
    backoff_book = _backoff_book(table.backoffs)
    backoff_codes = np.zeros(table.inner, np.uint16)
    totals = np.ones(table.inner, np.float32)
    for length in range(2, table.order + 1):
        here, above = table.level(length), table.level(length - 1)
        books[length - 2] = _book(table.log_probs[here])
        shared = (suffixes, rounded, codes, size, books[length - 2])
        weights = (table.backoffs, backoff_book, backoff_codes, totals)
        cuts = even_slices(above.stop - above.start, 32)
        run_slices(
            kernels.round_contexts,
            [
                (table.first, above.start + low, above.start + high, *shared, *weights)
                for low, high in cuts
            ],
            threads,
        )
    plain = pack(table)
    kept = np.diff(table.first.astype(np.int64)) > 0
    kept |= table.backoffs != 0
    return PackedTrie(
        levels=plain.levels,
        words=plain.words,
        directory=plain.directory,
        ends=plain.ends,
        unigrams=plain.unigrams,
        log_probs=codes,
        backoffs=pack_fields(backoff_codes[kept], BACKOFF_BITS),
        log_prob_book=books,
        backoff_book=backoff_book,
    )


def _book(log_probs: Array) -> Array:
    """(256,) ascending log-probabilities: log 0 first, then means of equally full bins."""
    step = max(log_probs.size // SAMPLE, 1)
    finite = np.sort(log_probs[::step].astype(np.float64))
    finite = np.append(finite[np.isfinite(finite)], log_probs.max(initial=-1e30))
    bins = np.array_split(finite, CODES - 1)
    means = [np.log(np.exp(values).mean()) if values.size else finite[-1] for values in bins]
    with np.errstate(invalid="ignore"):
        return np.maximum.accumulate(np.array([-np.inf, *means])).astype(np.float32)


def _backoff_book(backoffs: Array) -> Array:
    """(512,) ascending log back-off weights from log 0 to the largest: denser where mass is."""
    weights = np.exp(backoffs.astype(np.float64))
    positive = weights[weights > 0]
    least = min(float(positive.min(initial=SMALL)), SMALL / 2)
    most = max(float(weights.max(initial=1.0)), 1.0)
    large = 40 if most > 1 else 0
    small = 40
    middle = (1 << BACKOFF_BITS) - 1 - small - large
    grid = np.concatenate(
        [
            [0.0],
            np.geomspace(least, SMALL, small, endpoint=False),
            np.linspace(SMALL, 1.0, middle),
            np.geomspace(1.0, most, large + 1)[1:],
        ]
    )
    with np.errstate(divide="ignore"):
        return np.log(grid).astype(np.float32)
