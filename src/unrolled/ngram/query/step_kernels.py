"""The step of a word: its probability after a state, and the state after it.

A model is given as its handle, see `unrolled.ngram.query.handle`. One compilation serves quantized
models too.

A state is int64 (2 n - 1,) for order n: how many words of context can matter, those words, the
latest first, and the nodes of the n-grams that the last 1 to n - 1 words are, -1 for none. It holds
no context that is no n-gram, nor one that neither begins a longer n-gram nor has a back-off weight:
so decoders can merge hypotheses whose states are equal.

A state may be of another model, and a model file is untrusted: nodes are checked before use.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unrolled.ngram.query.handle import (
    BACKOFF_BOOK,
    BACKOFF_CODES,
    BACKOFFS,
    BITS,
    CODE_PLACES,
    CODED,
    CODES,
    DIRECTORY,
    ENDS,
    INTERPOLATED,
    LEVELS,
    LINK_BLOCKS,
    LINK_FIELDS,
    LOG_PROB_BOOK,
    LOG_PROBS,
    OFFSETS,
    SLOTS,
    TEXT,
    UNIGRAMS,
    WEIGHTS,
    WORDS,
)
from unrolled.ngram.trie.interpolation_kernels import code_of, stored_weight
from unrolled.ngram.trie.layout import CODES as ROW
from unrolled.ngram.trie.link_kernels import find_linked
from unrolled.ngram.trie.trie_kernels import (
    backoff_of_node,
    child_range,
    find_child,
    is_context,
    is_large,
    rank_in_ends,
    spread,
)
from unrolled.runtime.compiler import types
from unrolled.runtime.intrinsics import filled_array, intrinsic
from unrolled.runtime.kernels import device_function
from unrolled.text.encoding_kernels import find, scan

Array = np.ndarray[Any, Any]

LN_10 = math.log(10)
LOG_ZERO = -99 * LN_10  # what ARPA files hold for log 0, and KenLM therefore returns


@intrinsic
def array(_context: Any, handle: Any, _place: Any, kind: Any) -> Any:
    """Array number ``place`` of a handle, of that NumPy type."""
    result = types.Array(kind.dtype, 1, "C", readonly=True)

    def build(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers = target.make_array(signature.args[0])(target, builder, arguments[0]).data
        place = builder.shl(arguments[1], target.get_constant(types.int64, 1))
        address = builder.load(builder.gep(numbers, [place]))
        size = builder.load(builder.gep(numbers, [builder.add(place, place.type(1))]))
        return filled_array(target, builder, result, address, size)

    return result(handle, types.int64, kind), build


@device_function
def finite(log: Any) -> Any:
    """Log zero as ARPA files hold it."""
    return LOG_ZERO if log == -np.inf else np.float64(log)


@device_function
def log_prob_of(handle: Any, k: Any, index: Any) -> Any:
    """Log-probability number ``index`` of orders 2 and up, of an n-gram with k words of context."""
    if handle[CODED]:
        return array(handle, LOG_PROB_BOOK, np.float32)[
            (k - 1) * ROW + array(handle, LOG_PROBS, np.uint8)[index]
        ]
    return array(handle, LOG_PROBS, np.float32)[index]


@device_function
def backoff_of(handle: Any, node: Any) -> Any:
    """Back-off weight of a node; log 1 if it has none."""
    directory, backoffs = array(handle, DIRECTORY, np.uint64), array(handle, BACKOFFS, np.float32)
    codes, book = array(handle, BACKOFF_CODES, np.uint64), array(handle, BACKOFF_BOOK, np.float32)
    return backoff_of_node(directory, backoffs, codes, book, node)


@device_function
def value_of(handle: Any, k: Any, index: Any) -> Any:
    """Discounted probability number ``index`` of an interpolated model, with k words of context."""
    codes, places = array(handle, CODES, np.uint64), array(handle, CODE_PLACES, np.int64)
    book = array(handle, LOG_PROB_BOOK, np.float32)
    return np.float64(
        book[(k - 1) * ROW + code_of(codes, places[2 * k - 2], places[2 * k - 1], index)]
    )


@device_function
def weight_of(handle: Any, k: Any, context: Any) -> Any:
    """Interpolation weight of a context of k words; 1 if it has no children."""
    levels, directory = array(handle, LEVELS, np.int64), array(handle, DIRECTORY, np.uint64)
    ends, order = array(handle, ENDS, np.uint32), levels.size - 1
    low, high = child_range(directory, ends, levels[order], context)
    if low >= high:
        return 1.0
    if is_large(directory, context):
        return stored_weight(array(handle, WEIGHTS, np.uint16), rank_in_ends(directory, context))
    left = 1.0 - value_of(handle, k, low - levels[1])
    if high - low > 1:
        left -= value_of(handle, k, low + 1 - levels[1])
    return max(left, 0.0)


@device_function
def interpolate(handle: Any, shorter: Any, weights: Any, k: Any, context: Any, node: Any) -> Any:
    """Probability after a context of k words, from that after the last k - 1 of them.

    Args:
        weights: product of the weights since the longest n-gram that was found before.
        context: its node; -1, or that of a longest n-gram, for none. node: of the n-gram, or -1.

    Returns:
        The probability and the product.
    """
    levels = array(handle, LEVELS, np.int64)
    if context < 0 or context >= levels[levels.size - 2]:
        return shorter, weights
    weight = weight_of(handle, k, context)
    if node < 0:
        return shorter * weight, weights * weight
    return shorter * weight + value_of(handle, k, node - levels[1]), 1.0


@device_function
def finite_log(probability: Any, weights: Any) -> Any:
    """Logarithm of what `interpolate` returned; for 0 what a reader of ARPA files computes."""
    if probability > 0:
        return np.log(probability)
    return LOG_ZERO + finite(np.log(weights))


@device_function
def read_word(handle: Any, block: Any, at: Any) -> Any:
    """The end of the word that begins at ``at``, and its id; 0 if it is unknown or empty."""
    offsets = array(handle, OFFSETS, np.uint32)
    text, slots = array(handle, TEXT, np.uint8), array(handle, SLOTS, np.uint64)
    stop, hashed = scan(block, at)
    word = 0
    if stop > at:
        word = max(find(block, at, stop, hashed, text, offsets, slots, offsets.size - 1), 0)
    return stop, word


@device_function
def advance(handle: Any, word: Any, before: Any, after: Any) -> Any:
    """Log10 probability of a word, and the length of the n-gram found; writes the state after it.

    ``after`` may be ``before``: each node is read before its place is written.
    """
    levels, words = array(handle, LEVELS, np.int64), array(handle, WORDS, np.uint64)
    directory, ends = array(handle, DIRECTORY, np.uint64), array(handle, ENDS, np.uint32)
    unigrams = array(handle, UNIGRAMS, np.float32)
    links, fields = array(handle, LINK_BLOCKS, np.uint64), array(handle, LINK_FIELDS, np.uint64)
    order, bits = levels.size - 1, handle[BITS]
    if word >= levels[1]:
        word = 0
    place, span = np.int64(0), np.int64(1)  # of the n-gram found last, among its context's children
    result, length, useful, node = finite(unigrams[word]), 1, 0, word
    probability, weights = np.float64(unigrams[word]), 1.0  # of an interpolated model
    for k in range(1, order):
        context = before[order + k - 1]
        after[order + k - 1] = node
        if node >= 0 and is_context(directory, node):
            useful = k
        if context < 0 or context >= levels[order - 1]:
            node = -1
            continue
        if node >= 0:
            limit = levels[2 if k == 1 and links.size > 0 else order]
            low, high = child_range(directory, ends, limit, context)
            low = max(low, levels[1])  # only a damaged file has words as children
            if k > 1 and links.size > 0:
                guess = (low + high) >> 1
                node = find_linked(links, fields, levels[2], low, high, place, span, guess)
            else:
                node = find_child(words, bits, low, high, spread(word, bits))
            place, span = node - low, high - low
        if handle[INTERPOLATED]:
            probability, weights = interpolate(handle, probability, weights, k, context, node)
            length = k + 1 if node >= 0 else length
        elif node >= 0:
            length = k + 1
            result = finite(log_prob_of(handle, k, node - levels[1]))
        else:
            result += finite(backoff_of(handle, context))
    if handle[INTERPOLATED]:
        result = finite_log(probability, weights)
    for k in range(order - 1, 1, -1):
        after[k] = before[k - 1]
    if order > 1:
        after[1] = word
    after[0] = useful
    after[order + useful :] = -1
    return np.float64(np.float32(result / LN_10)), length
