"""The kernel that advances many hypotheses by a word each, for decoders.

All hypotheses are searched for an order at a time, in groups as `search_kernels` says; those whose
n-gram is found go on to the next. Then the longest n-gram that was found gives the probability, and
the contexts that are longer than its own give their weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.query.handle import (
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
    LOG_PROBS,
    UNIGRAMS,
    WORDS,
)
from unrolled.ngram.query.scoring_layout import (
    GROUP,
    ITEM,
    KEY,
    KIND,
    LATER,
    PLACE,
    RANK,
    SPAN,
    START,
    STOP,
)
from unrolled.ngram.query.search_kernels import (
    ALL,
    LOW,
    ONE,
    S32,
    S63,
    ZERO,
    child_near,
    guess_again,
    open_children,
    open_links,
    word_at,
)
from unrolled.ngram.query.step_kernels import array, backoff_of, interpolate, log_prob_of
from unrolled.ngram.trie.link_kernels import find_linked
from unrolled.ngram.trie.trie_kernels import is_context, spread
from unrolled.runtime.intrinsics import array_at, at, leading_zeros, popcount, prefetch, put
from unrolled.runtime.kernels import cached_kernel, inlined
from unrolled.text.vocabulary import BOS

Array = np.ndarray[Any, Any]


@inlined
def open_context(
    directory: Any, ends: Any, context: Any, item: Any, key: Any, searches: Any, work: Any
) -> Any:
    """Read a context's directory and note the search of its children; 1 if it has any."""
    block = min((context >> 6) << 2, directory.size - 4)
    shift = np.uint64(context & 63)
    ones, twos = at(directory, block), at(directory, block + 1)
    firsts = at(directory, block + 2)
    kind = np.int64(((ones >> shift) & ONE) | (((twos >> shift) & ONE) << ONE))
    below = (ONE << shift) - ONE
    large = ones & twos & below
    near = below & (ALL << ((ZERO - leading_zeros(large)) & S63))
    rank = np.int64((firsts >> S32) + popcount(large))
    put(work, ITEM + searches, item)
    put(work, KEY + searches, key)
    put(work, START + searches, np.int64(firsts & LOW))
    put(work, STOP + searches, np.int64(popcount(ones & near) + (popcount(twos & near) << ONE)))
    put(work, RANK + searches, rank)
    put(work, PLACE + searches, np.int64(large != ZERO))
    put(work, KIND + searches, kind)
    prefetch(ends, rank)
    return np.int64(kind > 0)


@inlined
def has_future(directory: Any, node: Any, inner: Any) -> Any:
    """Whether a context has longer n-grams or a back-off weight."""
    if node < 0 or node >= inner:
        return False
    return is_context(directory, node)


@inlined
def search_order(
    handle: Any,
    states: Any,
    choices: Any,
    nodes: Any,
    active: Any,
    places: Any,
    spans: Any,
    count: Any,
    work: Any,
    k: Any,
    each: Any,
) -> Any:
    """Search for the n-grams of k + 1 words of the active choices; list those found."""
    levels, words = array(handle, LEVELS, np.int64), array(handle, WORDS, np.uint64)
    directory, ends = array(handle, DIRECTORY, np.uint64), array(handle, ENDS, np.uint32)
    links, fields = array(handle, LINK_BLOCKS, np.uint64), array(handle, LINK_FIELDS, np.uint64)
    log_probs = array(handle, LOG_PROBS, np.uint8)
    offset, linked = levels[2], (k > 1) & (links.size > 0)
    order, bits, width = levels.size - 1, handle[BITS], 1 if handle[CODED] else 4
    first, inner = levels[1], levels[order - 1]
    limit = offset if (k == 1) & (links.size > 0) else levels[order]
    mask, listed = (ONE << np.uint64(bits)) - ONE, np.int64(0)
    for low in range(0, count, GROUP):
        searches = np.int64(0)
        for place in range(low, min(low + GROUP, count)):
            item = at(active, place)
            context = at(states, (item // each if each > 1 else item) * order + k - 1)
            if context >= 0 and context < inner:
                key = spread(word_at(choices, item, first), bits)
                if linked:
                    put(work, SPAN + searches, at(spans, item))
                    key = at(places, item)
                searches += open_context(directory, ends, context, item, key, searches, work)
        open_children(words, ends, first, limit, bits, links, linked, offset, 0, searches, work)
        if linked:
            open_links(links, fields, offset, searches, work)
        else:
            guess_again(words, bits, mask, searches, work)
        for s in range(searches):
            start, stop = at(work, START + s), at(work, STOP + s)
            key, guess = at(work, KEY + s), at(work, PLACE + s)
            if linked:
                span = at(work, SPAN + s)
                node = find_linked(links, fields, offset, start, stop, key, span, guess)
            else:
                node = child_near(words, bits, mask, start, stop, guess, np.uint64(key), limit)
            if node >= 0:
                item = at(work, ITEM + s)
                put(places, item, node - start)
                put(spans, item, stop - start)
                put(nodes, item * order + k, node)
                put(active, listed, item)
                listed += 1
                if handle[INTERPOLATED]:
                    sizes = array(handle, CODE_PLACES, np.int64)
                    bit = sizes[2 * k - 2] + (node - first) * sizes[2 * k - 1]
                    prefetch(array(handle, CODES, np.uint64), bit >> 6)
                else:
                    prefetch(log_probs, (node - first) * width)
                if node < inner:
                    prefetch(directory, (node >> 6) << 2)
    return listed


@cached_kernel
def extend(
    handle: Array,
    absent: float,
    hypotheses: int,
    size: int,
    states_at: int,
    choices_at: int,
    scores_at: int,
    work_at: int,
    after_at: int,
) -> None:
    """Log-probability of every choice after its state, and the states after them.

    Args:
        handle: of the model. absent: as in `scoring_kernels.score`.
        hypotheses: N. size: of N K choices, K words for each state.
        states_at: address of (N, order) int64, rows like `scoring_kernels.score`'s state.
        choices_at: of (N K,) int64.
        scores_at: of (N K,) float32, out.
        work_at: of ``size * (order + 3) + LATER`` int64 to work in: at ``item * order + k`` the
            n-gram of a choice and the k words before it; then the choices to search for; which
            child of its context each one's n-gram is that was found last, and of how many.
        after_at: of (N K, order) int64, out; 0 where only scores are wanted.
    """
    levels, directory = array(handle, LEVELS, np.int64), array(handle, DIRECTORY, np.uint64)
    unigrams = array(handle, UNIGRAMS, np.float32)
    order = levels.size - 1
    first, inner = levels[1], levels[order - 1]
    each = max(size // max(hypotheses, 1), 1)
    states = array_at(states_at, hypotheses * order, np.int64)
    choices, scores = array_at(choices_at, size, np.int64), array_at(scores_at, size, np.float32)
    nodes = array_at(work_at, size * order, np.int64)
    active = array_at(work_at + 8 * size * order, size, np.int64)
    places = array_at(work_at + 8 * size * (order + 1), size, np.int64)
    spans = array_at(work_at + 8 * size * (order + 2), size, np.int64)
    work = array_at(work_at + 8 * size * (order + 3), LATER, np.int64)
    after = array_at(after_at, size * order if after_at != 0 else 0, np.int64)
    for item in range(size):
        nodes[item * order] = word_at(choices, item, first)
        for k in range(1, order):
            nodes[item * order + k] = -1
        active[item] = item
    for row in range(hypotheses * order):
        prefetch(directory, (max(states[row], 0) >> 6) << 2)
    count = size
    for k in range(1, order):
        count = search_order(
            handle, states, choices, nodes, active, places, spans, count, work, k, each
        )
    for item in range(size):
        place, row = item * order, (item // each) * order
        longest, known = np.int64(0), np.int64(0)
        while longest < order - 1 and nodes[place + longest + 1] >= 0:
            longest += 1
        result = np.float64(unigrams[nodes[place]])
        if longest > 0:
            result = np.float64(log_prob_of(handle, longest, nodes[place + longest] - first))
        if handle[INTERPOLATED]:
            probability, weights = np.float64(unigrams[nodes[place]]), 1.0
            for k in range(1, order):
                context, node = states[row + k - 1], nodes[place + k]
                probability, weights = interpolate(handle, probability, weights, k, context, node)
            result = np.log(probability)
            longest = order
        for k in range(longest, order - 1):
            context = states[row + k]
            if context >= 0 and context < inner:
                result += backoff_of(handle, context)
        seen = states[row + order - 1]
        if absent != 0:
            for k in range(order - 1):
                known += states[row + k] >= 0
            result += absent * max(min(order - 1, seen) - known, 0)
        scores[item] = -np.inf if nodes[place] == BOS else result
        if after_at != 0:
            useful = np.int64(0)
            for k in range(order - 1):
                after[place + k] = nodes[place + k]
                if absent != 0 or has_future(directory, nodes[place + k], inner):
                    useful = k + 1
            for k in range(useful, order - 1):
                after[place + k] = -1
            after[place + order - 1] = min(max(seen, 0) + 1, order - 1) if absent != 0 else useful
