"""The values that a model in files is rounded to: those that quantizing in memory chooses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from unrolled.ngram.editing import quantization_kernels as kernels
from unrolled.ngram.editing.quantization import CUTS, SAMPLE
from unrolled.ngram.editing.quantization_bins import BINS, backoff_book, log_prob_book
from unrolled.runtime.threads import even_slices
from unrolled.scale.level_files import LevelFiles
from unrolled.scale.rounding import Books, first_nodes
from unrolled.text.vocabulary import BOS, EOS

Array = np.ndarray[Any, Any]

PIECE = 1 << 20  # n-grams that are read at once


def chosen_books(files: LevelFiles, unigrams: Array, *, pruned: bool) -> Books:
    """The books of estimated orders.

    Args:
        unigrams: (V,) log-probabilities of order 1. pruned: whether there were cut-offs.
    """
    write_unigram_frequencies(files, unigrams)
    books = [_log_prob_book(files, k, pruned) for k in range(2, files.order + 1)]
    for length in range(1, files.order):
        files.frequencies(length).remove()
    return Books(books, _backoff_book(files, books, pruned))


def write_unigram_frequencies(files: LevelFiles, unigrams: Array) -> None:
    """How frequent single words are as contexts, from their log-probabilities (V,)."""
    frequencies = np.exp(unigrams)
    frequencies[BOS] = frequencies[EOS]
    with files.frequencies(1).writer() as writer:
        writer.append(frequencies)


def context_pieces(files: LevelFiles, length: int, pruned: bool) -> Iterator[Array]:
    """How many n-grams consecutive contexts have: PIECE in all at most, or a single context's."""
    for children in files.children_chunks(length - 1, pruned=pruned):
        ends, start = np.cumsum(children, dtype=np.int64), 0
        while start < children.size:
            done = int(ends[start - 1]) if start else 0
            stop = max(int(np.searchsorted(ends, done + PIECE, side="right")), start + 1)
            yield children[start:stop]
            start = stop


def _log_prob_book(files: LevelFiles, length: int, pruned: bool) -> tuple[Array, Array]:
    """The book of one length; sums run over the same contexts in the same order as in memory."""
    column, inner = files.log_probs(length), length < files.order
    starts = np.array([low for low, _ in even_slices(len(column), CUTS)] or [0])
    shares = [np.zeros((BINS, 4)) for _ in starts]
    done = 0
    with ExitStack() as stack:
        log_probs = stack.enter_context(column.reader())
        above = stack.enter_context(files.frequencies(length - 1).reader())
        if inner:
            writer = stack.enter_context(files.frequencies(length).writer())
        for children in context_pieces(files, length, pruned):
            contexts, size = children.size, int(children.sum(dtype=np.int64))
            first = first_nodes(children, contexts)
            exact = np.concatenate([np.zeros(contexts, np.float32), log_probs.read(size)])
            frequencies = np.zeros(contexts + (size if inner else 0), np.float32)
            frequencies[:contexts] = above.read(contexts)
            pairs = np.empty((frequencies.size, 2), np.float32)
            places = done + first[:-1].astype(np.int64) - contexts
            cuts = np.searchsorted(starts, places, side="right") - 1
            for cut in np.unique(cuts).tolist():
                low, high = np.searchsorted(cuts, [cut, cut + 1]).tolist()
                kernels.collect(first, low, high, exact, frequencies, pairs, shares[cut])
            if inner:
                writer.append(frequencies[contexts:])
            done += size
    return log_prob_book(sum(shares, np.zeros((BINS, 4))))


def _backoff_book(files: LevelFiles, books: list[tuple[Array, Array]], pruned: bool) -> Array:
    """The book of back-off weights, from the same sample of contexts as in memory."""
    sizes = [files.by_word.shape[1], *(len(files.log_probs(k)) for k in range(2, files.order))]
    step = max((sum(sizes) if files.order > 1 else 0) // SAMPLE, 1)
    samples = [np.zeros((2, 0))]
    for length, (book, nearest) in enumerate(books, 2):
        values, position = np.exp(book.astype(np.float64)), 0
        with ExitStack() as stack:
            log_probs, all_backoffs, all_rooms = (
                stack.enter_context(column.reader())
                for column in (
                    files.log_probs(length), files.backoffs(length - 1), files.rooms(length - 1)
                )
            )  # fmt: skip
            for children in context_pieces(files, length, pruned):
                backoffs, rooms = all_backoffs.read(children.size), all_rooms.read(children.size)
                exact = log_probs.read(int(children.sum(dtype=np.int64)))
                usable = ((children > 0) | (backoffs != 0)) & np.isfinite(backoffs)
                known = np.arange(-position % step, children.size, step)
                known = known[usable[known]]
                sample = np.empty((2, known.size))
                kernels.needed_weights(
                    first_nodes(children, 0), known, exact, rooms[known], values, nearest,
                    backoffs, *sample,
                )  # fmt: skip
                samples.append(sample)
                position += children.size
    needed, left = np.concatenate(samples, axis=1)
    return backoff_book(needed, left, kernels.CLOSE)
