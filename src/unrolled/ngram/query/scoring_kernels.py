"""The kernel that scores running text.

Text is scored a batch of words at a time and an order at a time: whether words i-k..i are an n-gram
depends only on whether i-k..i-1 and i-k+1..i are, so all searches of one order are independent.

So they need not go by the text: a batch is sorted by where its bigrams lie in the trie. As children
lie in their parents' order, what is found lies in that order too, and so do the searches that go on
from there: at every order the batch goes through the model's arrays once, from front to back. In
the text's order nearly each look is into another page of memory, whose address the processor has to
look up first, and a batch took half as long again.

The searches go in groups, as `search_kernels` says.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.query.scoring_layout import DUE, FOUND, GROUP, LATER, LISTS, NODE, RANKED, SET
from unrolled.ngram.query.search_kernels import (
    LOW,
    ONE,
    guess_again,
    open_children,
    open_contexts,
    open_links,
    search,
    word_at,
)
from unrolled.ngram.trie.backoff_kernels import are_apart, backoff_at, code_width
from unrolled.ngram.trie.interpolation_kernels import (
    code_of,
    stored_weight,
    weight_left,
)
from unrolled.ngram.trie.trie_kernels import spread
from unrolled.runtime.intrinsics import at, prefetch, put
from unrolled.runtime.kernels import cached_kernel, inlined
from unrolled.text.vocabulary import BOS

Array = np.ndarray[Any, Any]

BUCKET_SHIFT = 2  # a bucket of the sort for each four words


@inlined
def about(directory: Any, context: Any, key: Any, bits: Any) -> Any:
    """A number that ascends with the place of a bigram: what its context's block spans, in parts.

    The contexts of a block count as having equally many children, which keeps their order. Whatever
    a damaged directory holds, the number only serves to sort.
    """
    if directory.size == 0:  # a model of single words
        return np.int64(0)
    block = min((context >> 6) << 2, directory.size - 4)
    low = np.int64(at(directory, block + 2) & LOW)
    high = np.int64(at(directory, min(block + 6, directory.size - 2)) & LOW)
    return low + (((((context & 63) << bits) + key) * (high - low)) >> (bits + 6))


@inlined
def enter(
    ids: Any,
    base: Any,
    count: Any,
    context: Any,
    first: Any,
    bigrams: Any,
    bits: Any,
    directory: Any,
    unigrams: Any,
    scores: Any,
    lengths: Any,
    lists: Any,
    sums: Any,
    stride: Any,
    interpolated: Any,
) -> None:
    """Score a batch's words as unigrams; choose and count the buckets of those after a word."""
    buckets, last, shift = 2 * stride, count >> BUCKET_SHIFT, 0
    while bigrams >> shift > last:
        shift += 1
    for bucket in range(last + 1):
        put(lists, buckets + bucket, np.uint32(0))
    for i in range(count):
        word = word_at(ids, base + i, first)
        begins = word == BOS
        put(scores, base + i, np.float32(0) if begins else at(unigrams, word))
        put(lengths, base + i, np.uint8(not begins))
        put(sums, i, np.float64(at(unigrams, word)) if interpolated else 0.0)
        place = about(directory, max(context, 0), spread(word, bits), bits) - first
        bucket = max(min(place >> shift, last), 0)
        follows = (context >= 0) & (not begins)
        put(lists, 3 * stride + i, np.uint32(bucket if follows else LOW))
        bucket += buckets
        put(lists, bucket, np.uint32(at(lists, bucket) + follows))
        context = word


@inlined
def sort_bigrams(
    ids: Any, base: Any, count: Any, context: Any, first: Any, lists: Any, stride: Any
) -> Any:
    """List the words that come after a word, and those before, by buckets; how many they are."""
    buckets, listed = 2 * stride, np.int64(0)
    for bucket in range(buckets, buckets + (count >> BUCKET_SHIFT) + 1):
        here = np.int64(at(lists, bucket))
        put(lists, bucket, np.uint32(listed))
        listed += here
    for i in range(count):
        bucket = np.int64(at(lists, 3 * stride + i))
        if bucket < LOW:
            place = np.int64(at(lists, buckets + bucket))
            put(lists, buckets + bucket, np.uint32(place + 1))
            put(lists, place, np.uint32(i))
            put(lists, place + stride, np.uint32(context))
        context = word_at(ids, base + i, first)
    return listed


@inlined
def list_next(
    log_probs: Any,
    log_prob_codes: Any,
    codes: Any,
    code_base: Any,
    code_bits: Any,
    base: Any,
    count: Any,
    k: Any,
    first: Any,
    found: Any,
    listed: Any,
    state: Any,
    lengths: Any,
    work: Any,
    later: Any,
    lists: Any,
    stride: Any,
) -> Any:
    """Note the n-grams found, of k + 1 words, and list the words after them as the next order's.

    The list takes the place of this order's, which is read by now as far as it is written. Returns
    how many are ``listed``.
    """
    end = np.int64(-1)
    for f in range(found):
        i, node = at(work, later + FOUND + f), at(work, later + NODE + f)
        put(lengths, base + i, np.uint8(k + 1))
        put(lists, listed, np.uint32(i + 1))
        put(lists, listed + stride, np.uint32(node))
        prefetch(log_probs, node - first)
        prefetch(log_prob_codes, node - first)
        prefetch(codes, (code_base + (node - first) * code_bits) >> 6)
        after = min(i + 1, count - 1)
        listed += np.int64((after > i) & (at(lengths, base + after) > 0))
        end = end if after > i else node
    if end >= 0 and k < state.size - 1:
        state[k] = end
    return listed


@inlined
def take(
    log_probs: Any,
    log_prob_codes: Any,
    log_prob_book: Any,
    backoffs: Any,
    backoff_codes: Any,
    backoff_book: Any,
    base: Any,
    k: Any,
    first: Any,
    found: Any,
    due: Any,
    scores: Any,
    sums: Any,
    work: Any,
    later: Any,
) -> None:
    """Log-probabilities of the n-grams found, and the weights that are due."""
    for f in range(found):
        i, index = at(work, later + FOUND + f), at(work, later + NODE + f) - first
        if log_prob_codes.size > 0:
            code = np.int64(at(log_prob_codes, index))
            put(scores, base + i, log_prob_book[k - 1, code])
        else:
            put(scores, base + i, at(log_probs, index))
    for d in range(due):
        i, rank = at(work, later + DUE + d), at(work, later + RANKED + d)
        weight = backoff_at(backoffs, backoff_codes, backoff_book, rank)
        put(sums, i, at(sums, i) + np.float64(weight))


@inlined
def mix_in(
    codes: Any,
    code_base: Any,
    code_bits: Any,
    book: Any,
    weights: Any,
    k: Any,
    first: Any,
    found: Any,
    due: Any,
    sums: Any,
    work: Any,
    later: Any,
) -> None:
    """Multiply probabilities by the weights that are due, and add what the n-grams found have."""
    for d in range(due):
        i, ranked = at(work, later + DUE + d), at(work, later + RANKED + d)
        kind, place = ranked & 3, ranked >> 2
        if kind == 3:
            weight = stored_weight(weights, place)
        else:
            weight = weight_left(codes, code_base, code_bits, book, k - 1, place - first, kind)
        put(sums, i, at(sums, i) * weight)
    for f in range(found):
        i, index = at(work, later + FOUND + f), at(work, later + NODE + f) - first
        value = np.float64(book[k - 1, code_of(codes, code_base, code_bits, index)])
        put(sums, i, at(sums, i) + value)


@inlined
def ask_for_weights(
    weights: Any,
    codes: Any,
    code_base: Any,
    code_bits: Any,
    backoffs: Any,
    backoff_codes: Any,
    width: Any,
    first: Any,
    due: Any,
    work: Any,
    later: Any,
    interpolated: Any,
) -> None:
    """Ask for the cache lines of the weights that are due, for `take` or `mix_in` to read."""
    for d in range(due):
        place = at(work, later + RANKED + d)
        if interpolated:
            prefetch(weights, place >> 2)
            prefetch(codes, (code_base + ((place >> 2) - first) * code_bits) >> 6)
        elif backoff_codes.size == 0:
            prefetch(backoffs, place)
        else:
            prefetch(backoffs, max(-2 - place, 0))
            prefetch(backoff_codes, max(place, 0) * width >> 6)


@inlined
def finish(
    base: Any,
    count: Any,
    order: Any,
    known: Any,
    absent: Any,
    interpolated: Any,
    state: Any,
    scores: Any,
    lengths: Any,
    sums: Any,
) -> None:
    """The batch's log-probabilities, and in ``state`` how many words of context were seen.

    ``known`` is how many words of context before the batch the model has.
    """
    seen = state[order - 1]
    for i in range(count):
        length = np.int64(at(lengths, base + i))
        if interpolated:
            result = np.log(at(sums, i)) if length > 0 else 0.0
        else:
            result = at(scores, base + i) + at(sums, i)
        if absent != 0 and length > 0:
            result += absent * max(min(order - 1, seen) - known, 0)
        known = min(max(length, 1), order - 1)
        seen = seen + 1 if length > 0 else 1
        put(scores, base + i, np.float32(result))
    state[order - 1] = seen


@cached_kernel
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
    link_blocks: Array,
    link_fields: Array,
    codes: Array,
    places: Array,
    weights: Array,
    absent: float,
    ids: Array,
    state: Array,
    scores: Array,
    lengths: Array,
    work: Array,
    lists: Array,
    sums: Array,
) -> None:
    """Log-probability of every word of ``ids`` (T,) given those before it.

    Args:
        levels to backoff_book, link_blocks to weights: the trie. bits: of a word's field.
            With ``codes`` it is as `interpolation_kernels` says, and unigrams and book are no
            logarithms.
        absent: added for each context word dropped because the model never saw the context;
            0 but for stupid back-off.
        ids: (T,) int32; <s> begins a new sentence, scores 0 and has length 0; an id outside the
            vocabulary counts as <unk>.
        state: (order,) int64, read for the words before ids[0] and left as it is after ids[-1]:
            the node of the last 1, 2, ... words, -1 where that n-gram is not in the model; the
            last element is the number of words of context seen.
        scores: (T,) float32 out. lengths: (T,) uint8 out, words of the n-gram that was found.
        work, lists, sums: from `scoring_layout`.
    """
    order = levels.size - 1
    first, total, stride = levels[1], levels[order], lists.size // LISTS
    offset = levels[min(order, 2)]
    width, interpolated = code_width(backoff_book), codes.size > 0
    apart = are_apart(backoffs, backoff_codes)
    bigrams, mask = offset - first, (ONE << np.uint64(bits)) - ONE
    for base in range(0, ids.size, sums.size):
        count, known, active = min(sums.size, ids.size - base), np.int64(0), np.int64(0)
        context = np.int64(-1)
        for k in range(order - 1):
            if state[k] >= levels[order - 1]:
                state[k] = -1
            known += state[k] >= 0
        if order > 1:
            context, state[0] = state[0], word_at(ids, base + count - 1, first)
        enter(
            ids, base, count, context, first, bigrams, bits, directory, unigrams, scores, lengths,
            lists, sums, stride, interpolated,
        )  # fmt: skip
        if order > 1:
            active = sort_bigrams(ids, base, count, context, first, lists, stride)
        for k in range(1, order):
            linked = (k > 1) & (link_blocks.size > 0)
            code_base, code_bits = places[2 * k - 2], places[2 * k - 1]
            # A state of another model may send us to children whose words are links.
            limit = offset if (k == 1) & (link_blocks.size > 0) else total
            context = np.int64(-1)  # of the batch's first word, at the next order
            if k < order - 1:
                context, state[k] = state[k], -1
            listed = found = due = np.int64(0)
            later = LATER
            for start in range(0, active + GROUP, GROUP):  # one more, for what is read later
                found_before, due_before = found, due
                stop = min(start + GROUP, active)
                searches, due = open_contexts(
                    ids, base, start, stop, k, first, bits, linked, directory, ends, lengths, work,
                    later, lists, stride, interpolated, apart,
                )  # fmt: skip
                open_children(
                    words, ends, first, limit, bits, link_blocks, linked, offset, 0, searches, work
                )
                if interpolated:
                    open_children(
                        words, ends, first, limit, bits, link_blocks, linked, offset, GROUP - due,
                        GROUP, work,
                    )  # fmt: skip
                if linked:
                    open_links(link_blocks, link_fields, offset, searches, work)
                else:
                    guess_again(words, bits, mask, searches, work)
                found, due = search(
                    words, bits, mask, link_blocks, link_fields, linked, offset, limit, searches,
                    due, work, later, lists, stride, interpolated,
                )  # fmt: skip
                listed = list_next(
                    log_probs, log_prob_codes, codes, code_base, code_bits, base, count, k, first,
                    found, listed, state, lengths, work, later, lists, stride,
                )  # fmt: skip
                ask_for_weights(
                    weights, codes, code_base, code_bits, backoffs, backoff_codes, width, first,
                    due, work, later, interpolated,
                )  # fmt: skip
                later = 2 * LATER + SET - later
                if interpolated:
                    mix_in(
                        codes, code_base, code_bits, log_prob_book, weights, k, first, found_before,
                        due_before, sums, work, later,
                    )  # fmt: skip
                else:
                    take(
                        log_probs, log_prob_codes, log_prob_book, backoffs, backoff_codes,
                        backoff_book, base, k, first, found_before, due_before, scores, sums, work,
                        later,
                    )  # fmt: skip
            active = listed
            if context >= 0 and at(lengths, base) > 0:
                put(lists, active, np.uint32(0))
                put(lists, active + stride, np.uint32(context))
                active += 1
        finish(base, count, order, known, absent, interpolated, state, scores, lengths, sums)
