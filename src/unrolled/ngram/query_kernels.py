"""Kernels that answer queries: scores of running text, and the next word's distribution.

Text is scored a batch of words at a time and an order at a time: whether words i-k..i are an n-gram
depends only on whether i-k..i-1 and i-k+1..i are, so all searches of one order are independent.
Each is cut into steps, and every step is done for the whole batch, asking for the cache line that
the next step reads: so the processor waits for many lines at once. The steps have next to no
branches, which it would guess wrongly: lists are written by storing always and moving on by a truth
value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from unrolled.intrinsics import (
    at,
    bits_from,
    leading_zeros,
    popcount,
    prefetch,
    put,
    trailing_zeros,
)
from unrolled.kernels import kernel
from unrolled.ngram.trie_kernels import (
    BACKOFF_BITS,
    backoff_at,
    backoff_rank,
    child_range,
    field,
    find_child,
    log_prob_at,
    spread,
)

Array = np.ndarray[Any, Any]

BATCH = 64
BOS_ID = 1
WINDOW = 8  # children that are compared at once
ZERO, ONE = np.uint64(0), np.uint64(1)
LOW = np.uint64(0xFFFFFFFF)
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
S32, S63 = np.uint64(32), np.uint64(63)

# A batch's working numbers, int64, rows of one array: one address for all of them.
ROW = BATCH + 1
BEHIND = 0  # how far the places of weights lie behind the words that they are due for
KEY = 1 * ROW  # of each word: how its children's fields spell it
NODE = 2 * ROW  # of the longest n-gram found that ends there
LENGTH = 3 * ROW  # words of that n-gram; 0 at <s>
ACTIVE = 4 * ROW  # two rows in turns: words whose context of this order is an n-gram
ITEM = 6 * ROW  # of each search: its word,
START = 7 * ROW  # first child, or before that the first child of the block of 64 nodes,
STOP = 8 * ROW  # one past the last child, or before that the children from there to this node,
RANK = 9 * ROW  # place in ends,
PLACE = 10 * ROW  # guess of the child, or before that whether ends says where the children begin,
KIND = 11 * ROW  # children as the directory codes them,
WEIGHT = 12 * ROW  # place of the context's back-off weight
PATHS = 13 * ROW  # a row for each k: node of the k + 1 words that end there, -1 for none
# Then, as many rows each: the words that a back-off weight is due for, and the weights' places.

# Without reference counts, which Numba would take and give back, atomically, in the inner loops.
leaf: Any = njit(
    nogil=True, forceinline=True, _nrt=False, no_cfunc_wrapper=True, error_model="numpy"
)


def work_arrays(order: int) -> tuple[Array, Array]:
    """What `score` writes its working numbers to: int64 (rows,), float64 (BATCH,)."""
    return np.empty(PATHS + 3 * order * ROW, np.int64), np.empty(BATCH, np.float64)


@leaf
def begin(
    ids: Any, base: Any, count: Any, order: Any, size: Any, bits: Any, directory: Any, work: Any
) -> Any:
    """Enter a batch's words; how many have a word before them."""
    active = np.int64(0)
    for i in range(count):
        word = np.int64(at(ids, base + i))
        if word < 0 or word >= size:
            word = np.int64(0)
        put(work, KEY + i, spread(word, bits))
        put(work, NODE + i, word)
        put(work, LENGTH + i, np.int64(word != BOS_ID))
        put(work, PATHS + i + 1, word)
        prefetch(directory, (word >> 6) << 2)
        for k in range(1, order):
            put(work, PATHS + k * ROW + i + 1, np.int64(-1))
        put(work, ACTIVE + ROW + active, np.int64(i))
        active += np.int64((at(work, PATHS + i) >= 0) & (word != BOS_ID))
    return active


@leaf
def open_contexts(directory: Any, ends: Any, k: Any, active: Any, work: Any, due: Any) -> Any:
    """Read the directory of the contexts of k words that have children or a weight.

    If the words after the context's first are an n-gram too, its children will be searched, else
    its weight is due. Returns how many are to be searched, and how far ``due`` goes.
    """
    searches, upper, now = np.int64(0), PATHS + (k - 1) * ROW, ACTIVE + (k & 1) * ROW
    behind = at(work, BEHIND)
    for place in range(active):
        i = at(work, now + place)
        context = at(work, upper + i)
        block = min((context >> 6) << 2, directory.size - 4)
        shift = np.uint64(context & 63)
        ones, twos = at(directory, block), at(directory, block + 1)
        firsts, weights = at(directory, block + 2), at(directory, block + 3)
        kind = np.int64(((ones >> shift) & ONE) | (((twos >> shift) & ONE) << ONE))
        below = (ONE << shift) - ONE
        large = ones & twos & below
        # Of the nodes before this one, those after the last whose end is in ends.
        near = below & (ALL << ((ZERO - leading_zeros(large)) & S63))
        rank = np.int64((firsts >> S32) + popcount(large))
        weight = np.int64((weights & LOW) + popcount((ones | twos) & below))
        put(work, ITEM + searches, i)
        put(work, START + searches, np.int64(firsts & LOW))
        put(work, STOP + searches, np.int64(popcount(ones & near) + (popcount(twos & near) << ONE)))
        put(work, RANK + searches, rank)
        put(work, PLACE + searches, np.int64(large != ZERO))
        put(work, KIND + searches, kind)
        put(work, WEIGHT + searches, weight)
        prefetch(ends, rank)
        put(work, due, i)
        put(work, due + behind, weight)
        extends = at(work, upper + i + 1) >= 0
        searches += np.int64((kind > 0) & extends)
        due += np.int64((kind > 0) & (not extends))
    return searches, due


@leaf
def open_children(
    words: Any, ends: Any, first: Any, total: Any, bits: Any, searches: Any, work: Any
) -> None:
    """Bound the children of each search within [first, total), and guess where the word is."""
    for s in range(searches):
        rank, kind, behind = at(work, RANK + s), at(work, KIND + s), at(work, PLACE + s)
        before = np.int64(at(ends, min(rank - 1 if behind > 0 else 0, ends.size - 1)))
        own = np.int64(at(ends, min(rank if kind == 3 else 0, ends.size - 1)))
        start = (before if behind > 0 else at(work, START + s)) + at(work, STOP + s)
        stop = own if kind == 3 else start + kind
        start = max(start, first)  # only a damaged file has words as children
        if stop > total or start > stop:
            start, stop = first, first
        guess = start + ((at(work, KEY + at(work, ITEM + s)) * (stop - start)) >> bits)
        put(work, START + s, start)
        put(work, STOP + s, stop)
        put(work, PLACE + s, guess)
        prefetch(words, guess * bits >> 6)


@leaf
def guess_again(words: Any, bits: Any, mask: Any, searches: Any, work: Any) -> None:
    """Guess from the child that was guessed before: keys are near uniform."""
    for s in range(searches):
        start, stop, guess = at(work, START + s), at(work, STOP + s), at(work, PLACE + s)
        found = np.int64(bits_from(words, guess * bits) & mask)
        guess += ((at(work, KEY + at(work, ITEM + s)) - found) * (stop - start)) >> bits
        guess = max(min(guess, stop), start)
        put(work, PLACE + s, guess)
        prefetch(words, guess * bits >> 6)


@leaf
def child_near(
    words: Any, bits: Any, mask: Any, start: Any, stop: Any, guess: Any, key: Any, total: Any
) -> Any:
    """As `find_child`, with all children near the guess compared at once."""
    window = max(min(guess - WINDOW // 2, stop - WINDOW), start)
    if window > total - WINDOW:
        return find_child(words, bits, start, stop, np.int64(key))
    equal, bit = ZERO, window * bits
    for place in range(WINDOW):
        equal |= np.uint64((bits_from(words, bit) & mask) == key) << np.uint64(place)
        bit += bits
    equal &= (ONE << np.uint64(min(stop - window, WINDOW))) - ONE
    if equal != ZERO:
        return window + np.int64(trailing_zeros(equal))
    left = window > start and (bits_from(words, window * bits) & mask) > key
    right = window + WINDOW < stop and (bits_from(words, bit - bits) & mask) < key
    if left or right:
        return find_child(words, bits, start, stop, np.int64(key))
    return np.int64(-1)


@leaf
def search(
    words: Any,
    directory: Any,
    bits: Any,
    mask: Any,
    total: Any,
    k: Any,
    searches: Any,
    count: Any,
    active: Any,
    work: Any,
    due: Any,
) -> Any:
    """Find the words among the children; the words after those found are the next order's.

    Returns how many these are, with the ``active`` that there are already, and how far ``due``
    goes: the weight of a context that lacks the word is due.
    """
    lower, following, behind = PATHS + k * ROW, ACTIVE + (1 - (k & 1)) * ROW, at(work, BEHIND)
    for s in range(searches):
        i = at(work, ITEM + s)
        start, stop, guess = at(work, START + s), at(work, STOP + s), at(work, PLACE + s)
        key = np.uint64(at(work, KEY + i))
        node = child_near(words, bits, mask, start, stop, guess, key, total)
        hit = node >= 0
        prefetch(directory, (max(node, 0) >> 6) << 2)
        put(work, lower + i + 1, node)
        put(work, NODE + i, node if hit else at(work, NODE + i))
        put(work, LENGTH + i, k + 1 if hit else at(work, LENGTH + i))
        put(work, following + active, i + 1)
        active += np.int64(hit & (i + 1 < count) & (at(work, LENGTH + i + 1) > 0))
        put(work, due, i)
        put(work, due + behind, at(work, WEIGHT + s))
        due += np.int64(not hit)
    return active, due


@leaf
def weight_at(backoffs: Any, codes: Any, book: Any, rank: Any) -> Any:
    """As `backoff_at`, of a rank that is not -1."""
    if codes.size > 0:
        bit = rank * BACKOFF_BITS
        if (bit >> 6) + 1 >= codes.size:
            return 0.0
        code = np.int64(bits_from(codes, bit) & np.uint64((1 << BACKOFF_BITS) - 1))
        return np.float64(at(book, code))
    if rank >= backoffs.size:
        return 0.0
    return np.float64(at(backoffs, rank))


@leaf
def longest_at(unigrams: Any, log_probs: Any, codes: Any, book: Any, length: Any, node: Any) -> Any:
    """Log-probability of the n-gram of that length and node; 0 without one."""
    if length == 0:
        return 0.0
    if length == 1:
        return np.float64(at(unigrams, node))
    if codes.size > 0:
        return np.float64(book[length - 2, np.int64(at(codes, node - unigrams.size))])
    return np.float64(at(log_probs, node - unigrams.size))


@leaf
def dropped(work: Any, i: Any, seen: Any, order: Any) -> Any:
    """Words of context, of those ``seen``, whose n-gram the model lacks."""
    count = 0
    for k in range(at(work, LENGTH + i), min(order - 1, seen) + 1):
        count += at(work, PATHS + (k - 1) * ROW + i) < 0
    return count


@njit(cache=True, nogil=True, _nrt=False, no_cfunc_wrapper=True, error_model="numpy")
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
    work: Array,
    sums: Array,
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
        work, sums: from `work_arrays`.
    """
    order = levels.size - 1
    first, total, seen = levels[1], levels[order], state[order - 1]
    mask = (ONE << np.uint64(bits)) - ONE
    put(work, BEHIND, np.int64(order * ROW))
    for k in range(order):
        node = state[k] if k < order - 1 else -1
        put(work, PATHS + k * ROW, node if 0 <= node < levels[order - 1] else -1)
    for base in range(0, ids.size, BATCH):
        count = min(BATCH, ids.size - base)
        active = begin(ids, base, count, order, first, bits, directory, work)
        due = no_due = PATHS + order * ROW
        for k in range(1, order):
            new = due
            searches, due = open_contexts(directory, ends, k, active, work, due)
            open_children(words, ends, first, total, bits, searches, work)
            for _ in range(2):
                guess_again(words, bits, mask, searches, work)
            put(work, ACTIVE + (1 - (k & 1)) * ROW, np.int64(0))
            active = np.int64((at(work, PATHS + k * ROW) >= 0) & (at(work, LENGTH) > 0))
            active, due = search(
                words, directory, bits, mask, total, k, searches, count, active, work, due
            )
            for place in range(new, due):
                rank = at(work, place + order * ROW)
                prefetch(backoffs, rank)
                prefetch(backoff_codes, rank * BACKOFF_BITS >> 6)
        for i in range(count):
            put(sums, i, 0.0)
            index = at(work, NODE + i) - first
            prefetch(log_probs, index)
            prefetch(log_prob_codes, index)
        for place in range(no_due, due):
            weight = weight_at(backoffs, backoff_codes, backoff_book, at(work, place + order * ROW))
            put(sums, at(work, place), at(sums, at(work, place)) + weight)
        for i in range(count):
            length, node = at(work, LENGTH + i), at(work, NODE + i)
            result = longest_at(unigrams, log_probs, log_prob_codes, log_prob_book, length, node)
            result += at(sums, i)
            if absent != 0 and length > 0:
                result += absent * dropped(work, i, seen, order)
            seen = seen + 1 if length > 0 else 1
            put(lengths, base + i, np.uint8(length))
            put(scores, base + i, np.float32(result))
        for k in range(order):
            put(work, PATHS + k * ROW, at(work, PATHS + k * ROW + count))
    for k in range(order - 1):
        state[k] = at(work, PATHS + k * ROW)
    state[order - 1] = seen


@kernel
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
