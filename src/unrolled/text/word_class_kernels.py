"""The exchange of words between classes that makes a class bigram model likelier."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.kernels import REASSOCIATE, device_function, kernel

Array = np.ndarray[Any, Any]


@kernel
def exchange(
    next_first: Array,
    next_words: Array,
    next_counts: Array,
    last_first: Array,
    last_words: Array,
    last_counts: Array,
    order: Array,
    class_of: Array,
    table: Array,
    pairs: Array,
    f: Array,
    totals: Array,
    around: Array,
    gains: Array,
) -> int:
    """Move each of some words to the class that is best for it; returns how many have moved.

    The log-likelihood of p(w | v) = p(w | c(w)) p(c(w) | c(v)) is, but for what no class changes,
    F = sum of f(N(c, d)) over pairs of classes - sum of f(N(c)) on the left - the same on the
    right, where f(n) = n log n (Martin, Liermann and Ney 1998, section 3.2). A word is taken out
    of its class and put where F gains most; only classes of its neighbours matter.

    Counts of classes have no sign, for an index with a sign is tested for counting from the end.

    Args:
        next_first, next_words, next_counts: words after each word w and how often (uint64), at
            next_first[w] to next_first[w + 1]. last_...: those before it.
        order: words in the order in which to try them.
        class_of: (V,) int64, changed in place.
        table: f(n) of small n, for logarithms were most of the time.
        pairs: (2, C, C) uint64, N(c, d) at [0, c, d] and at [1, d, c]: what one class has to do
            with all others is a row. f: (2, C, C) of each.
        totals: (2, C) uint64, N(c) on the left of pairs and on the right.
        around: (2, C) uint64 and gains: (C,), to write to.
    """
    moved = 0
    for word in order:
        itself = _look(word, next_first, next_words, next_counts, class_of, around[0])
        _look(word, last_first, last_words, last_counts, class_of, around[1])
        old = class_of[word]
        _shift(table, pairs, f, totals, around, itself, old, False)
        _gains(table, pairs, f, totals, around, itself, gains)
        best = 0
        for c in range(1, gains.size):
            if gains[c] > gains[best] + 1e-9 or (c == old and gains[c] >= gains[best]):
                best = c
        _shift(table, pairs, f, totals, around, itself, best, True)
        class_of[word] = best
        moved += best != old
    return moved


@device_function
def _look(
    word: int, first: Array, words: Array, counts: Array, class_of: Array, around: Array
) -> int:
    """How often each class stands on one side of a word; returns how often the word itself does."""
    for c in range(around.size):
        around[c] = 0
    itself = np.uint64(0)
    for at in range(first[word], first[word + 1]):
        if words[at] == word:
            itself += counts[at]
        else:
            around[class_of[words[at]]] += counts[at]
    return itself


@device_function
def _shift(
    table: Array,
    pairs: Array,
    f: Array,
    totals: Array,
    around: Array,
    itself: int,
    c: int,
    joins: bool,
) -> None:
    """Add a word's pairs to those of class c, or take them away."""
    for side in range(2):
        total = itself
        for d in range(around.shape[1]):
            count = around[side, d]
            total += count
            if count > 0:
                _change(table, pairs, f, side, c, d, count, joins)
        totals[side, c] = totals[side, c] + total if joins else totals[side, c] - total
    if itself > 0:
        _change(table, pairs, f, 0, c, c, itself, joins)


@device_function
def _change(
    table: Array, pairs: Array, f: Array, side: int, c: int, d: int, count: int, joins: bool
) -> None:
    now = pairs[side, c, d] + count if joins else pairs[side, c, d] - count
    pairs[side, c, d] = pairs[1 - side, d, c] = now
    f[side, c, d] = f[1 - side, d, c] = _f(table, now)


@device_function
def _gains(
    table: Array, pairs: Array, f: Array, totals: Array, around: Array, itself: int, gains: Array
) -> None:
    """By how much F grows when the word joins each of the classes."""
    for c in range(gains.size):
        both = around[0, c] + around[1, c] + itself
        gains[c] = _f(table, pairs[0, c, c] + both) - f[0, c, c]
    for side in range(2):
        total = itself
        for d in range(gains.size):
            count = around[side, d]
            total += count
            if count > 0:
                rest = gains[d]  # a class's pairs with itself are counted already
                _add_gains(table, pairs[1 - side, d], f[1 - side, d], count, gains)
                gains[d] = rest
        for c in range(gains.size):
            gains[c] -= _f(table, totals[side, c] + total) - _f(table, totals[side, c])


@device_function(fastmath=REASSOCIATE)
def _add_gains(table: Array, pairs: Array, f: Array, count: int, gains: Array) -> None:
    """Of more pairs of all classes with one class, as many for each: (C,) each."""
    most = pairs[0]
    for c in range(gains.size):
        most = max(most, pairs[c])
    if most + count < np.uint64(table.size):
        for c in range(gains.size):
            gains[c] += table[pairs[c] + count] - f[c]
    else:
        for c in range(gains.size):
            gains[c] += _f(table, pairs[c] + count) - f[c]


@device_function
def _f(table: Array, count: int) -> float:
    """n log n."""
    return table[count] if count < np.uint64(table.size) else count * np.log(count)
