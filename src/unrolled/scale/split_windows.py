"""The windows of one first word in pieces by their second words, where all are too many at once.

Pieces come in the order of the model. Where a single second word has too many windows, equal ones
are gathered once, with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.ngram.trie.layout import spread_words
from unrolled.scale import window_kernels as kernels
from unrolled.scale.windows import overlapping
from unrolled.text.vocabulary import BOS, EOS

Array = np.ndarray[Any, Any]

SLOTS = 4  # of the table of windows for each window, at most


def split_windows(
    blocks: Callable[[], Iterable[Array]],
    word: int,
    shape: tuple[int, int],
    bits: int,
    limit: int,
    named: Callable[[int], str],
) -> Iterator[tuple[Array, Array | None]]:
    """Windows (W, order + 1) int32 that begin with a word, at most ``limit`` at once.

    Args:
        blocks: makes the ids of the text in pieces of any size.
        shape: the number of words in the vocabulary, and the order.
        bits: of a word in the model; fixes the order of n-grams.
        named: a word by its id, for the message.

    Yields:
        Windows, and how often each occurs, (W,) uint32, or None where each does once.

    Raises:
        SettingError: two words that begin more than ``limit`` different windows.
    """
    vocabulary_size, order = shape
    counts = np.zeros(vocabulary_size, np.int64)
    for piece, begin, end in overlapping(blocks(), order):
        kernels.count_seconds(piece, begin, end, word, counts)
    ranked = np.argsort(spread_words(np.arange(vocabulary_size), bits), kind="stable")
    ranks = np.empty(vocabulary_size, np.int32)
    ranks[ranked] = np.arange(vocabulary_size, dtype=np.int32)
    ends = np.cumsum(counts[ranked])
    low = 0
    while low < vocabulary_size:
        done = int(ends[low - 1]) if low else 0
        high = max(int(np.searchsorted(ends, done + limit, side="right")), low + 1)
        size = int(ends[high - 1]) - done
        if size > limit:
            second = int(ranked[low])
            windows, weights = _distinct(blocks, (word, second), order, limit)
            if weights.size > limit:
                raise SettingError(
                    f"more than {limit} different n-grams begin with '{named(word)} "
                    f"{named(second)}', for which the memory budget is too small",
                    hint="Give more --memory",
                )
            yield windows, weights
            del windows, weights
        elif size:
            gathered, place = np.empty((size, order + 1), np.int32), 0
            for piece, begin, end in overlapping(blocks(), order):
                place = kernels.gather_seconds(
                    piece, begin, end, word, ranks, low, high, place, gathered
                )
            yield gathered, None
            del gathered
        low = high


def _distinct(
    blocks: Callable[[], Iterable[Array]], words: tuple[int, int], order: int, limit: int
) -> tuple[Array, Array]:
    """The different windows of two words and their numbers; one window more if they exceed."""
    slots = np.zeros(SLOTS // 2 << limit.bit_length(), np.int32)
    windows, weights = np.empty((limit, order + 1), np.int32), np.empty(limit, np.uint32)
    done = 0
    for piece, begin, end in overlapping(blocks(), order):
        done = kernels.gather_distinct(
            piece, begin, end, *words, (BOS, EOS), slots, done, windows, weights
        )
        if done < 0:
            return windows, np.empty(limit + 1, np.uint32)
    return windows[:done], weights[:done]
