"""Fine bins of logarithms and weights, and the books of few values that are made from them.

A bin is a float32 without its last bits, so that it is found by a shift. Log-probabilities near 0
have the finest bins: their log odds matter, as what a sure word leaves is all that others get.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.trie.layout import BACKOFF_BITS, CODES

Array = np.ndarray[Any, Any]

SHIFT = 13  # bits of a float32 that a bin leaves out: it is a thousandth of its value wide
_OCTAVE = 1 << (23 - SHIFT)
LEAST_BIN = (127 - 14) * _OCTAVE  # from -2^-14 on, or probabilities above 0.99994
BINS = 24 * _OCTAVE  # to -2^10
LEAST_WEIGHT_BIN = (127 - 64) * _OCTAVE
WEIGHT_BINS = 128 * _OCTAVE  # weights from 2^-64 to 2^64

NEAR = 0.04  # how far the logarithm of any back-off weight may well be off
WIDEST = 0.05  # gaps between values count as no wider
EVEN = 0.25  # share of an order's codes that are first spread evenly in the log odds
ROUNDS = 30  # of Lloyd's method
LEAST_DOUBT = 1e-3  # how little the other words may have before it no longer matters


def log_prob_book(histogram: Array, size: int = CODES) -> tuple[Array, Array]:
    """(size,) ascending log-probabilities, log 0 first, and the code of every bin, (BINS,) uint8.

    An n-gram counts once, as on the text that the model was trained on most are seen once, and as
    often as the model expects it. A code is the mean of its n-grams' logarithms, which keeps the
    mean log-probability of a text. Bins are shared out such that the squared errors are small
    (Lloyd, "Least squares quantization in PCM", 1982), each over 1 - p: what a child is off is
    missing from, or too much for, the words that are backed off to.

    Args:
        histogram: (BINS, 4) of `quantization_kernels.collect`.
    """
    used = np.flatnonzero(histogram[:, 0])[::-1]  # ascending in the log-probability
    if used.size == 0:
        return filled(np.zeros(1), size), np.ones(BINS, np.uint8)
    counts, sums, frequencies, expected = histogram[used].T
    share = counts.sum() / max(frequencies.sum(), 1e-30)
    mass = counts + share * frequencies
    places = (sums + share * expected) / mass  # of each bin, its mean
    cells = np.arange(used.size)
    if used.size > size - 2:
        doubt = np.maximum(-np.expm1(np.minimum(places, 0)), LEAST_DOUBT)
        cells = _cells(places, mass / doubt, size - 2, places - np.log(doubt))
    firsts = np.flatnonzero(np.append(True, cells[1:] > cells[:-1]))
    means = np.add.reduceat(places * mass, firsts) / np.add.reduceat(mass, firsts)
    book = filled(means, size)
    codes = np.searchsorted(book, means.astype(np.float32))
    borders = used[firsts[1:]]  # the last bin, in falling probability, of the cell before
    of_bins = np.searchsorted(-borders, -np.arange(BINS), side="right")
    return book, codes[of_bins].astype(np.uint8)


def backoff_book(needed: Array, left: Array, close: float) -> Array:
    """(512,) ascending log back-off weights, log 0 first.

    Args:
        needed: (N,) log weights of a sample of contexts. left: (N,) what each weight stands for.
        close: what a context may be off its sum.
    """
    order = np.argsort(needed)
    places = needed[order]
    # More than 1 is left only in a damaged model, whose numbers could overflow.
    costs = np.minimum(left[order], 1.0) ** 2 + (close / NEAR) ** 2
    size = (1 << BACKOFF_BITS) - 2
    if places.size == 0:
        return filled(np.zeros(1), size + 2)
    cells = _cells(places, costs, size, places)
    firsts = np.flatnonzero(np.append(True, cells[1:] > cells[:-1]))
    means = np.add.reduceat(places * costs, firsts) / np.add.reduceat(costs, firsts)
    return filled(np.append(means, 0.0), size + 2)


def _cells(places: Array, costs: Array, size: int, spread: Array) -> Array:
    """Cell, below ``size``, of each of ascending values; few squared errors weighted by cost.

    Args:
        spread: ascending too; at first, a share of the cells lies evenly in it.
    """
    widths = np.minimum(np.diff(spread, prepend=spread[0]), WIDEST)
    even = np.cumsum(widths) / max(widths.sum(), 1e-30)
    # The best density of codes goes with the cube root of that of the cost (Panter and Dite 1951).
    density = np.cumsum(np.cbrt(costs * widths**2)) + 1e-30
    ranks = EVEN * even + (1 - EVEN) * density / density[-1]
    cells: Array = (ranks * size * (1 - 1e-9)).astype(np.int64)
    for _ in range(ROUNDS):
        firsts = np.flatnonzero(np.append(True, cells[1:] > cells[:-1]))
        means = np.add.reduceat(places * costs, firsts) / np.add.reduceat(costs, firsts)
        cells = np.searchsorted((means[1:] + means[:-1]) / 2, places)
    return cells


def nearest_weights(backoff_book: Array) -> Array:
    """Code of the nearest log back-off weight but log 0 for every bin of weights, uint16."""
    bits = (np.arange(WEIGHT_BINS, dtype=np.int64) + LEAST_WEIGHT_BIN << SHIFT) + (1 << SHIFT - 1)
    middles = np.log(bits.astype(np.int32).view(np.float32))
    known = backoff_book[1 : 1 << BACKOFF_BITS].astype(np.float64)
    return (np.searchsorted((known[1:] + known[:-1]) / 2, middles) + 1).astype(np.uint16)


def filled(log_values: Array, size: int) -> Array:
    """A book of ``size`` codes: log 0, these values, and the free ones spread below e^most."""
    book = np.unique(log_values.astype(np.float32))
    spare = np.arange(1, size - book.size) / (size - book.size)
    book = np.sort(np.append(book, np.log(spare) + book[-1]))
    return np.append(-np.inf, book).astype(np.float32)
