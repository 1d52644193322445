"""Rows of words as numbers in the order of a model, for the completion of count files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.ngram.trie.layout import spread_words
from unrolled.scale.windows import NgramColumns

Array = np.ndarray[Any, Any]

SHIFT = 32


def distinct_rows(rows: Array) -> tuple[Array, Array]:
    """The distinct rows (D, C) of non-negative rows (N, C) int32, and each row's place among them.

    >>> rows, places = distinct_rows(np.array([[2, 1], [1, 5], [2, 1]], np.int32))
    >>> rows.tolist(), places.tolist()
    ([[1, 5], [2, 1]], [1, 0, 1])
    """
    places = np.zeros(rows.shape[0], np.int64)
    firsts = np.empty(0, np.int64)
    for column in rows.T:
        keys = (places << SHIFT) | column
        _, firsts, places = np.unique(keys, return_index=True, return_inverse=True)
    return rows[firsts], places


@dataclass(frozen=True)
class LevelRows:
    """The n-grams of one length that begin with a range of first words, and what precedes them.

    Attributes:
        rows: (N, 1 + length) int32, distinct: the set of counts that has them, and the words.
        counts: (N,) int64.
        followers: (M, 2 + length) int32: set, words, and a word that comes before them.
    """

    rows: Array
    counts: Array
    followers: Array


def columns_of(
    levels: list[LevelRows], words: tuple[int, int], weights: list[int], bits: int, starting: int
) -> tuple[NgramColumns, int]:
    """The columns of the n-grams that begin with a range of first words, of lengths from 2 on.

    Args:
        levels: by length from 2 on; every n-gram's context is there too.
        weights: of each set of counts.
        bits: of a word in the model, which fix the order of n-grams.
        starting: <s>, whose n-grams have nothing before them.

    Returns:
        The columns, and the largest sum of counts.
    """
    low, high = words
    order = len(levels) + 1
    keys: list[Array] = []  # of each length: (context's place, word), ascending
    given = dict[str, list[Array]](
        words=[], occurrences=[], adjusted=[], children=[], preceding=[], descendants=[]
    )
    by_word = np.zeros((order, high - low), np.int64)
    totals, most = np.zeros((order + 1, 2, 8), np.int64), 0
    firsts: list[Array] = []  # of each length: first words less ``low``
    for length, level in enumerate(levels, 2):
        grams = level.rows[:, 1:]
        own = _keys(grams, keys, bits, low)
        found, places = np.unique(own, return_inverse=True)
        sample = np.empty(found.size, np.int64)
        sample[places] = np.arange(places.size)
        keys.append(found)
        sums = np.zeros(found.size, np.int64)
        np.add.at(sums, places, level.counts * np.array(weights, np.int64)[level.rows[:, 0]])
        most = max(most, int(sums.max(initial=0)))
        grams = grams[sample]
        firsts.append(grams[:, 0].astype(np.int64) - low)
        by_word[length - 1] = np.bincount(firsts[-1], minlength=high - low)
        given["words"].append(grams[:, -1].copy())
        given["occurrences"].append(sums.astype(np.uint32))
        if length > 2:
            above = np.bincount(found >> SHIFT, minlength=keys[-2].size)
            given["children"].append(above.astype(np.uint32))
            of_bigrams = np.bincount(_bigrams(keys), minlength=keys[0].size)
            given["descendants"].append(of_bigrams.astype(np.uint32))
        adjusted = np.where(firsts[-1] == starting - low, sums, 0)
        if length < order:
            before = level.followers
            pairs = np.searchsorted(found, _keys(before[:, 1:-1], keys[:-1], bits, low)) << SHIFT
            pairs = np.unique(pairs | before[:, -1])
            adjusted += np.bincount(pairs >> SHIFT, minlength=found.size)
            given["adjusted"].append(adjusted.astype(np.uint32))
            given["preceding"].append((pairs & ((1 << SHIFT) - 1)).astype(np.uint32))
        for row, values in enumerate((adjusted, sums)):
            totals[length, row] = np.bincount(values[values < 8], minlength=8)
    return NgramColumns(low, by_word=by_word, totals=totals, **given), most


def _keys(grams: Array, keys: list[Array], bits: int, low: int) -> Array:
    """(context's place << 32 | spread last word) of n-grams whose contexts have ``keys``."""
    places = grams[:, 0].astype(np.int64) - low
    for column in range(1, grams.shape[1]):
        own = (places << SHIFT) | spread_words(grams[:, column], bits)
        if column < grams.shape[1] - 1:
            places = np.searchsorted(keys[column - 1], own)
    return own


def _bigrams(keys: list[Array]) -> Array:
    """The place of the bigram that each of the longest n-grams begins with."""
    places = keys[-1] >> SHIFT
    for length in range(len(keys) - 2, 0, -1):
        places = keys[length][places] >> SHIFT
    return places
