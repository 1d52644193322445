"""Kernels of models that store discounted probabilities, from which interpolation makes the others.

    p(w | h) = a(h w) + g(h) p(w | h')        with h' = h without its first word

``a`` is stored of every n-gram of two words or more, 0 where h w is none, as a code for a row of
``log_prob_book`` (Kneser-Ney: what the count has left after the discount), in ``codes``: bit
fields, an order after the other, each of its own width and from a new element on. ``places`` has
two numbers an order: the bit at which the field of node V would be, and the width. As every context
sums to one, g(h) is 1 - sum a(h w): of contexts with one or two children it is not stored. Of those
with more, which are in ``ends``, it is a number of 16 bits in ``weights``: 5 bits of
exponent and 11 of mantissa, 0 for 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.trie.trie_kernels import ONE, is_large, rank_in_ends
from unrolled.runtime.intrinsics import at, bits_from, float_of_bits, prefetch
from unrolled.runtime.kernels import inlined, kernel

Array = np.ndarray[Any, Any]

SHIFT = 12  # bits of a float32's mantissa that a weight lacks
LEAST = (127 << 11) - 65535  # so that 1 has the highest code
BYTE = np.uint64(255)
AHEAD = 32


@inlined
def weight_of_code(code: Any) -> Any:
    """The weight that 16 bits stand for, float64."""
    number = np.int64(code)
    value = np.float64(float_of_bits((number + LEAST) << SHIFT))
    return value if number > 0 else 0.0


@inlined
def code_of_weight(weight: Any) -> Any:
    """The 16 bits of the weight nearest to one of 0 to 1."""
    bits = np.int64(np.float32(weight).view(np.int32))
    code: Any = ((bits + (1 << (SHIFT - 1))) >> SHIFT) - LEAST
    return np.uint16(min(max(code, 0), 65535))


@inlined
def stored_weight(weights: Any, rank: Any) -> Any:
    """Weight number ``rank``; 1 for what lies outside the array."""
    if rank < 0 or rank >= weights.size:
        return 1.0
    return weight_of_code(at(weights, rank))


@inlined
def code_of(codes: Any, base: Any, width: Any, index: Any) -> Any:
    """Code number ``index``, counted from node V on; 0 outside the array.

    ``base`` and ``width`` are its order's in ``places``.
    """
    bit = base + index * width
    if bit < 0 or (bit >> 6) + 1 >= codes.size:
        return np.int64(0)
    return np.int64(bits_from(codes, bit) & ((ONE << np.uint64(width)) - ONE) & BYTE)


@inlined
def weight_left(
    codes: Any, base: Any, width: Any, book: Any, row: Any, start: Any, children: Any
) -> Any:
    """What one or two children, codes ``start`` and perhaps the next, leave of 1."""
    left = 1.0 - np.float64(book[row, code_of(codes, base, width, start)])
    if children > 1:
        left -= np.float64(book[row, code_of(codes, base, width, start + 1)])
    return max(left, 0.0)


@kernel
def expand(
    first: Array,
    start: int,
    stop: int,
    directory: Array,
    suffixes: Array,
    codes: Array,
    places: Array,
    book: Array,
    row: int,
    weights: Array,
    log_probs: Array,
    backoffs: Array,
) -> None:
    """Log-probabilities of the children of contexts ``start`` to ``stop`` of one order, and g.

    ``row`` is the order's of the book; ``log_probs`` has all n-grams, those of the shorter ones
    filled.
    """
    size, base, width = np.int64(first[0]), places[2 * row], places[2 * row + 1]
    rank = rank_in_ends(directory, start) if start < stop else np.int64(0)
    for context in range(start, stop):
        low, high = np.int64(first[context]), np.int64(first[context + 1])
        large = is_large(directory, context)
        weight, left = 1.0, 1.0
        for child in range(low, high):
            left -= np.float64(book[row, code_of(codes, base, width, child - size)])
        if large:
            weight = stored_weight(weights, rank)
            rank += 1
        elif high > low:
            weight = max(left, 0.0)
        for child in range(low, high):
            if child + AHEAD < suffixes.size:
                prefetch(log_probs, np.int64(suffixes[child + AHEAD]))
            shorter = np.exp(np.float64(log_probs[suffixes[child]]))
            value = np.float64(book[row, code_of(codes, base, width, child - size)])
            log_probs[child] = np.log(value + weight * shorter)
        backoffs[context] = np.log(weight)
