"""The exchange of words between classes that makes a class bigram model likelier."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.kernels import kernel, part

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
    classes: int,
    passes: int,
) -> None:
    """Move each word to the class that is best for it, pass after pass.

    The log-likelihood of p(w | v) = p(w | c(w)) p(c(w) | c(v)) is, but for what no class changes,
    F = sum of f(N(c, d)) over pairs of classes - sum of f(N(c)) on the left - the same on the
    right, where f(n) = n log n (Martin, Liermann and Ney 1998, section 3.2). A word is taken out
    of its class and put where F gains most; only classes of its neighbours matter.

    Args:
        next_first, next_words, next_counts: words after each word w and how often, at
            next_first[w] to next_first[w + 1]. last_...: those before it.
        order: words in the order in which to try them.
        class_of: (V,) int64, changed in place.
        passes: over all words at most; ends early when few words move.
    """
    table = np.zeros(1 << 16)
    for count in range(1, table.size):
        table[count] = count * np.log(count)
    pairs = np.zeros((classes, classes), np.int64)
    lefts = np.zeros(classes, np.int64)
    rights = np.zeros(classes, np.int64)
    for word in range(class_of.size):
        for at in range(next_first[word], next_first[word + 1]):
            here, there = class_of[word], class_of[next_words[at]]
            pairs[here, there] += next_counts[at]
            lefts[here] += next_counts[at]
            rights[there] += next_counts[at]
    after = np.zeros(classes, np.int64)
    before = np.zeros(classes, np.int64)
    for _ in range(passes):
        moved = 0
        for word in order:
            itself, total_after, total_before = 0, 0, 0
            after[:] = 0
            before[:] = 0
            for at in range(next_first[word], next_first[word + 1]):
                total_after += next_counts[at]
                if next_words[at] == word:
                    itself += next_counts[at]
                else:
                    after[class_of[next_words[at]]] += next_counts[at]
            for at in range(last_first[word], last_first[word + 1]):
                total_before += last_counts[at]
                if last_words[at] != word:
                    before[class_of[last_words[at]]] += last_counts[at]
            old = class_of[word]
            _shift(pairs, after, before, itself, old, -1)
            lefts[old] -= total_after
            rights[old] -= total_before
            best, most = old, -np.inf
            for c in range(classes):
                gain = _gain(table, pairs, after, before, itself, c)
                gain -= _f(table, lefts[c] + total_after) - _f(table, lefts[c])
                gain -= _f(table, rights[c] + total_before) - _f(table, rights[c])
                if gain > most + 1e-9 or (c == old and gain >= most):
                    best, most = c, gain
            _shift(pairs, after, before, itself, best, 1)
            lefts[best] += total_after
            rights[best] += total_before
            class_of[word] = best
            moved += best != old
        if moved * 1000 < order.size:
            return


@part
def _shift(pairs: Array, after: Array, before: Array, itself: int, c: int, sign: int) -> None:
    """Add a word's pairs to those of class c, or take them away."""
    for d in range(after.size):
        pairs[c, d] += sign * after[d]
        pairs[d, c] += sign * before[d]
    pairs[c, c] += sign * itself


@part
def _gain(table: Array, pairs: Array, after: Array, before: Array, itself: int, c: int) -> float:
    """By how much the sum over pairs grows when a word joins class c."""
    gain = 0.0
    for d in range(after.size):
        if d != c and after[d] > 0:
            gain += _f(table, pairs[c, d] + after[d]) - _f(table, pairs[c, d])
        if d != c and before[d] > 0:
            gain += _f(table, pairs[d, c] + before[d]) - _f(table, pairs[d, c])
    both = after[c] + before[c] + itself
    return gain + _f(table, pairs[c, c] + both) - _f(table, pairs[c, c])


@part
def _f(table: Array, count: int) -> float:
    """n log n: small ones from a table, as logarithms were most of the time."""
    return table[count] if count < table.size else count * np.log(count)
