"""Kernels that give the entropy of the next word without going through the whole vocabulary.

With the children C(h) of a context h, its back-off weight b and the shorter context h',

p(w|h) = p_h(w) for w in C(h), else b p(w|h').

So both S(h) = sum_w p(w|h) and G(h) = sum_w p(w|h) log p(w|h), whose negative is the entropy, are
those of h' less the part of C(h), scaled, plus the part of C(h): a context costs its children, not
the vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unrolled.ngram.trie.trie_kernels import (
    backoff_of_node,
    child_range,
    field,
    find_child,
    log_prob_at,
    spread,
)
from unrolled.runtime.kernels import cached_kernel
from unrolled.text.vocabulary import BOS

Array = np.ndarray[Any, Any]


@cached_kernel
def context_states(
    levels: Array, words: Array, directory: Array, ends: Array, bits: int, ids: Array, states: Array
) -> None:
    """The contexts of every place of ``ids`` (T,) int32, each sentence by itself.

    states (T * (order - 1),) int64 out: of each place the nodes of the last 1, 2, ... words before
    it, -1 where that n-gram is not in the model; all -1 at <s>.
    """
    order = levels.size - 1
    size, first, total = order - 1, levels[1], levels[order]
    for place in range(ids.size):
        here = place * size
        word = np.int64(ids[place])
        for k in range(size):
            if word == BOS or place == 0:
                states[here + k] = -1
        if word == BOS or place == 0:
            continue
        before = np.int64(ids[place - 1])
        if before < 0 or before >= first:
            before = 0
        states[here] = before
        for k in range(1, size):
            node = np.int64(-1)
            context = states[here - size + k - 1]
            if context >= 0 and before != BOS:
                low, high = child_range(directory, ends, total, context)
                low = max(low, first)
                node = find_child(words, bits, low, high, spread(before, bits))
                if node >= levels[order - 1]:
                    node = -1
            states[here + k] = node


@cached_kernel
def context_sums(
    levels: Array,
    words: Array,
    directory: Array,
    ends: Array,
    unigrams: Array,
    log_probs: Array,
    log_prob_codes: Array,
    log_prob_book: Array,
    backoffs: Array,
    backoff_codes: Array,
    backoff_book: Array,
    bits: int,
    inverse: int,
    k: int,
    states: Array,
    sums: Array,
) -> None:
    """S and G of N contexts of k + 1 words.

    states (N * (order - 1),) int64 as of `context_states`; sums (2 N,) float64, each context's S
    and G: of the longest shorter one before, of its own afterwards.
    """
    order = levels.size - 1
    size, first, total = order - 1, levels[1], levels[order]
    mask = (1 << bits) - 1
    for number in range(sums.size // 2):
        here = number * size
        node = states[here + k]
        weight = np.float64(backoff_of_node(directory, backoffs, backoff_codes, backoff_book, node))
        own, own_weighted, covered, covered_weighted = 0.0, 0.0, 0.0, 0.0
        low, high = child_range(directory, ends, total, node)
        for child in range(max(low, first), high):
            key = field(words, bits, child)
            word = (key * inverse) & mask
            if word >= first or word == BOS:
                continue
            log = np.float64(
                log_prob_at(log_probs, log_prob_codes, log_prob_book, k + 2, child - first)
            )
            if log > -np.inf:
                own += math.exp(log)
                own_weighted += math.exp(log) * log
            shorter = 0.0
            found = np.int64(-1)
            for j in range(k - 1, -1, -1):
                context = states[here + j]
                if context < 0 or found >= 0:
                    continue
                begin, end = child_range(directory, ends, total, context)
                found = find_child(words, bits, max(begin, first), end, key)
                if found >= 0:
                    shorter += np.float64(
                        log_prob_at(log_probs, log_prob_codes, log_prob_book, j + 2, found - first)
                    )
                else:
                    shorter += np.float64(
                        backoff_of_node(directory, backoffs, backoff_codes, backoff_book, context)
                    )
            if found < 0:
                shorter += np.float64(unigrams[word])
            if shorter > -np.inf:
                covered += math.exp(shorter)
                covered_weighted += math.exp(shorter) * shorter
        rest = sums[2 * number] - covered
        rest_weighted = sums[2 * number + 1] - covered_weighted
        if weight == -np.inf:
            rest, rest_weighted, weight = 0.0, 0.0, 0.0
        sums[2 * number] = own + math.exp(weight) * rest
        sums[2 * number + 1] = own_weighted + math.exp(weight) * (rest_weighted + weight * rest)
