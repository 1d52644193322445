"""The kernel that gives the next word's distribution."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.trie.trie_kernels import (
    backoff_of_node,
    child_range,
    field,
    log_prob_at,
)
from unrolled.runtime.kernels import cached_kernel
from unrolled.text.vocabulary import BOS

Array = np.ndarray[Any, Any]


@cached_kernel
def next_distribution(
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
    state: Array,
    result: Array,
) -> None:
    """Log-probability of every word of the vocabulary after ``state``; result (V,) float32.

    Starts from unigrams and, a context at a time, scales all words and overwrites the children.
    """
    order = levels.size - 1
    total = levels[order]
    mask = (1 << bits) - 1
    for word in range(result.size):
        result[word] = unigrams[word]
    for k in range(order - 1):
        context = state[k]
        if context < 0 or context >= levels[order - 1]:
            continue
        weight = backoff_of_node(directory, backoffs, backoff_codes, backoff_book, context)
        if weight != 0:
            for word in range(result.size):
                result[word] += weight
        low, high = child_range(directory, ends, total, context)
        for node in range(max(low, levels[1]), high):
            word = (field(words, bits, node) * inverse) & mask
            if word < result.size:
                result[word] = log_prob_at(
                    log_probs, log_prob_codes, log_prob_book, k + 2, node - levels[1]
                )
    result[BOS] = -np.inf
