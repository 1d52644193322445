"""8-bit models of interpolated ones, from columns in files; see `ngram.editing.interpolation`.

What is rounded are discounted probabilities, which no other order has a part in, so that one pass
over the files of each order suffices.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.ngram.editing import interpolation_kernels as kernels
from unrolled.ngram.editing.interpolation import code_bits
from unrolled.ngram.editing.quantization_bins import BINS, log_prob_book
from unrolled.ngram.trie.layout import CODES
from unrolled.ngram.trie.shape import CHUNKS
from unrolled.runtime.threads import even_slices
from unrolled.scale.books import context_pieces, write_unigram_frequencies
from unrolled.scale.level_files import LevelFiles
from unrolled.scale.rounding import first_nodes

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class InterpolatedBooks:
    """What codes of discounted probabilities stand for.

    Attributes:
        values: (order - 1, 256) float32 logarithms. bits: (order - 1,) int64, of a code.
    """

    values: Array
    bits: Array


def interpolated_books(
    files: LevelFiles, unigrams: Array, *, pruned: bool
) -> InterpolatedBooks | None:
    """Write the codes and weights of estimated orders; None if the model is not interpolated.

    Args:
        unigrams: (V,) log-probabilities of order 1. pruned: whether there were cut-offs.
    """
    books, bits = [], []
    write_unigram_frequencies(files, unigrams)
    for length in range(2, files.order + 1):
        histogram = _take_apart(files, length, pruned)
        if histogram is None:
            return None
        bits.append(code_bits(length))
        book, nearest = log_prob_book(histogram, 1 << bits[-1])
        books.append(np.append(book, np.full(CODES - book.size, book[-1])))
        _round(files, length, pruned, (np.exp(book).astype(np.float64), nearest))
        files.frequencies(length - 1).remove()
        files.discounted(length).remove()
    values = np.array(books, np.float32).reshape(-1, CODES)
    return InterpolatedBooks(values, np.array(bits, np.int64))


def _take_apart(files: LevelFiles, length: int, pruned: bool) -> Array | None:
    """Write discounted probabilities of a length; their histogram, or None, see `discounted`."""
    inner, done = length < files.order, 0
    starts = np.array([low for low, _ in even_slices(len(files.backoffs(length - 1)), CHUNKS)])
    shares = [np.zeros((BINS, 4)) for _ in starts]
    with ExitStack() as stack:
        opened = stack.enter_context
        log_probs, lower = (
            opened(column.reader()) for column in (files.log_probs(length), files.lower(length))
        )
        all_backoffs = opened(files.backoffs(length - 1).reader())
        above = opened(files.frequencies(length - 1).reader())
        writer = opened(files.discounted(length).writer())
        if inner:
            frequencies_writer = opened(files.frequencies(length).writer())
        for children in context_pieces(files, length, pruned):
            contexts, size = children.size, int(children.sum(dtype=np.int64))
            first, stop = first_nodes(children, contexts), contexts + size
            numbers = np.zeros(stop + size, np.float32)
            numbers[contexts:stop], numbers[stop:] = log_probs.read(size), lower.read(size)
            suffixes = np.zeros(stop, np.uint32)
            suffixes[contexts:] = np.arange(stop, stop + size)
            frequencies = np.zeros(stop if inner else contexts, np.float32)
            frequencies[:contexts] = above.read(contexts)
            backoffs, result = all_backoffs.read(contexts), np.empty(stop, np.float32)
            cuts = np.searchsorted(starts, done + np.arange(contexts), side="right") - 1
            for cut in np.unique(cuts).tolist():
                begin, end = np.searchsorted(cuts, [cut, cut + 1]).tolist()
                if kernels.discounted(
                    first, begin, end, suffixes, numbers, backoffs, frequencies, result, shares[cut]
                ):
                    return None
            writer.append(result[contexts:])
            if inner:
                frequencies_writer.append(frequencies[contexts:])
            done += contexts
    return sum(shares, np.zeros((BINS, 4)))


def _round(files: LevelFiles, length: int, pruned: bool, book: tuple[Array, Array]) -> None:
    """Write codes of a length and the weights of its contexts."""
    with ExitStack() as stack:
        opened = stack.enter_context
        discounted, all_backoffs = (
            opened(column.reader())
            for column in (files.discounted(length), files.backoffs(length - 1))
        )
        codes_writer = opened(files.codes(length).writer())
        weights_writer = opened(files.weights(length - 1).writer())
        for children in context_pieces(files, length, pruned):
            contexts, size = children.size, int(children.sum(dtype=np.int64))
            exact = np.zeros(contexts + size, np.float32)
            exact[contexts:] = discounted.read(size)
            codes = np.zeros(size, np.uint8)
            weights = np.zeros(np.count_nonzero(children > 2), np.uint16)
            kernels.round_discounted(
                first_nodes(children, contexts), 0, contexts, exact, all_backoffs.read(contexts),
                *book, codes, weights, 0,
            )  # fmt: skip
            codes_writer.append(codes)
            weights_writer.append(weights)
