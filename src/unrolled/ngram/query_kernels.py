"""Kernels that answer queries: scores of running text, and the next word's distribution.

Text is scored a block of words at a time and an order at a time: whether words i-k..i are an n-gram
depends only on whether i-k..i-1 and i-k+1..i are, so all searches of one order are independent and
their cache misses overlap. A node's directory line is asked for as soon as the node is known, one
order before it is used; probabilities and weights once it is known which of them count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from unrolled.intrinsics import prefetch
from unrolled.ngram.trie_kernels import (
    backoff_at,
    backoff_rank,
    child_range,
    field,
    find_child,
    guess_child,
    log_prob_at,
    spread,
)

Array = np.ndarray[Any, Any]

BATCH = 64
BOS_ID = 1
WIDE = 100  # children among which the first guess seldom falls into the right cache line


@njit(cache=True, nogil=True)
def score(
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
    absent: float,
    ids: Array,
    state: Array,
    scores: Array,
    lengths: Array,
) -> None:
    """Log-probability of every word of ``ids`` (T,) given those before it.

    Args:
        levels to backoff_book: the trie. bits: of a word's field.
        absent: added for each context word dropped because the model never saw the context;
            0 but for stupid back-off.
        ids: (T,) int32; <s> begins a new sentence, scores 0 and has length 0; an id outside the
            vocabulary counts as <unk>.
        state: (order,) int64, read for the words before ids[0] and left as it is after ids[-1]:
            the node of the last 1, 2, ... words, -1 where that n-gram is not in the model; the
            last element is the number of words of context seen.
        scores: (T,) float32 out. lengths: (T,) uint8 out, words of the n-gram that was found.
    """
    order = levels.size - 1
    total = levels[order]
    size = ids.size
    paths = np.empty((order, BATCH + 1), np.int64)  # node of the k + 1 words that end there
    ranks = np.full((order, BATCH), -1, np.int64)  # of the weight of the k + 1 words before
    starts = np.zeros(BATCH, np.int64)
    stops = np.zeros(BATCH, np.int64)
    paths[:, 0] = -1
    for k in range(order - 1):
        node = state[k]
        paths[k, 0] = node if 0 <= node < levels[order - 1] else -1
    seen = state[order - 1]
    for base in range(0, size, BATCH):
        count = min(BATCH, size - base)
        for i in range(count):
            word = np.int64(ids[base + i])
            if word < 0 or word >= levels[1]:
                word = 0
            paths[0, i + 1] = word
            prefetch(directory, (word >> 6) << 2)
        for k in range(1, order):
            for i in range(count):
                context = paths[k - 1, i]
                paths[k, i + 1] = -1
                stops[i] = 0
                if context < 0 or paths[0, i + 1] == BOS_ID:
                    continue
                if paths[k - 1, i + 1] >= 0:
                    low, high = child_range(directory, ends, total, context)
                    low = max(low, levels[1])  # only a damaged file has words as children
                    starts[i] = low
                    stops[i] = high
                    guess = guess_child(bits, low, high, spread(paths[0, i + 1], bits))
                    prefetch(words, guess * bits >> 6)
            for i in range(count):
                if stops[i] - starts[i] > WIDE:  # ask for the line of the second guess too
                    low, high = starts[i], stops[i]
                    key = spread(paths[0, i + 1], bits)
                    guess = guess_child(bits, low, high, key)
                    guess += ((key - field(words, bits, guess)) * (high - low)) >> bits
                    prefetch(words, guess * bits >> 6)
            for i in range(count):
                if stops[i] > starts[i]:
                    key = spread(paths[0, i + 1], bits)
                    node = find_child(words, bits, starts[i], stops[i], key)
                    paths[k, i + 1] = node
                    if node >= 0 and k < order - 1:
                        prefetch(directory, (node >> 6) << 2)
        for i in range(count):  # only now is it known which numbers are needed: ask for those
            length = 0 if paths[0, i + 1] == BOS_ID else 1
            while 0 < length < order and paths[length, i + 1] >= 0:
                length += 1
            lengths[base + i] = length
            if length > 1:
                index = paths[length - 1, i + 1] - levels[1]
                prefetch(log_probs, index)
                prefetch(log_prob_codes, index)
            for k in range(max(length, 1), order):
                ranks[k - 1, i] = -1
                if paths[k - 1, i] >= 0:
                    ranks[k - 1, i] = backoff_rank(directory, paths[k - 1, i])
                    prefetch(backoffs, ranks[k - 1, i])
        for i in range(count):
            length = np.int64(lengths[base + i])
            if length == 0:
                scores[base + i] = 0.0
                seen = 1
                continue
            node = paths[length - 1, i + 1]
            if length == 1:
                result = np.float64(unigrams[node])
            else:
                result = np.float64(
                    log_prob_at(log_probs, log_prob_codes, log_prob_book, length, node - levels[1])
                )
            for k in range(length, order):
                if paths[k - 1, i] >= 0:
                    result += backoff_at(backoffs, backoff_codes, backoff_book, ranks[k - 1, i])
                elif absent != 0 and k <= seen:
                    result += absent
            scores[base + i] = result
            seen += 1
        for k in range(order):
            paths[k, 0] = paths[k, count]
    for k in range(order - 1):
        state[k] = paths[k, 0]
    state[order - 1] = seen


@njit(cache=True, nogil=True)
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
    absent: float,
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
            if absent != 0 and k < state[order - 1]:
                for word in range(result.size):
                    result[word] += absent
            continue
        weight = backoff_at(backoffs, backoff_codes, backoff_book, backoff_rank(directory, context))
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
    result[BOS_ID] = -np.inf
