"""Kernels that draw random sentences from the packed trie, many at a time.

A context's children and the event "none of them" are drawn from an alias table (Walker 1977; Vose
1991): a slot holds a share in 32 bits and another outcome, so that one random number gives an
outcome whatever their number. If none of the children is drawn, the word is drawn after the shorter
context, again and again as long as it is one of the children: backing off gives the others what
is left in the ratio of their probabilities there. Of n-grams h w and h' w, where h' is h without
its first word, the second is an n-gram if the first one is, so the children of one context, the
next longer one, are all that have to be excluded.

A sentence has its own random numbers, so that it does not depend on those beside it. A group of
sentences goes step by step together, each asking for the cache line that its next step reads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.query.sampling_layout import (
    FIELDS,
    HIGH,
    LEFT_HIGH,
    LEFT_LOW,
    LENGTH,
    LOW,
    MOST_REJECTED,
    NODE,
    OUTCOME,
    POSITION,
    REJECTED,
    SENTENCE,
    SLOT,
    TOP,
    TOP_LENGTH,
)
from unrolled.ngram.trie.trie_kernels import (
    backoff_of_node,
    child_range,
    field,
    find_child,
    log_prob_at,
    spread,
)
from unrolled.runtime.intrinsics import prefetch
from unrolled.runtime.kernels import cached_kernel, inlined, no_refcount
from unrolled.text.specials import BOS, EOS, UNK

Array = np.ndarray[Any, Any]

STEP = np.uint64(0x9E3779B97F4A7C15)
S27, S30, S31, S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
LOW_HALF = np.uint64(0xFFFFFFFF)
SHARES = 4294967296.0  # 2^32: a share of 1


@inlined
def mixed(bits: Any) -> Any:
    """The output function of SplitMix64 (Steele, Lea and Flood 2014)."""
    bits = (bits ^ (bits >> S30)) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> S27)) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> S31)


@inlined
def next_random(randoms: Any, lane: Any) -> Any:
    """64 random bits from the generator of a lane."""
    randoms[lane] += STEP
    return mixed(randoms[lane])


@no_refcount
def fill_slots(weights: Any, count: Any, slots: Any, base: Any, pending: Any) -> None:
    """The alias table of ``count`` weights, which are used up, from slots[base] on."""
    total = 0.0
    for index in range(count):
        total += weights[index]
    if not 0 < total < np.inf:
        for index in range(count):
            weights[index] = 0.0
        weights[count - 1] = total = 1.0
    small, large = 0, count  # two stacks, from both ends of ``pending``
    for index in range(count):
        weights[index] *= count / total
        slots[base + index] = np.uint64(index)  # its whole share is its own, until it is filled up
        if weights[index] < 1:
            pending[small] = index
            small += 1
        else:
            large -= 1
            pending[large] = index
    while small > 0 and large < count:
        small -= 1
        less, more = pending[small], pending[large]
        slots[base + less] = (np.uint64(weights[less] * SHARES) << S32) | np.uint64(more)
        weights[more] -= 1 - weights[less]
        if weights[more] < 1:
            large += 1
            pending[small] = more
            small += 1


@no_refcount
def fill_context(
    model: Any,
    node: Any,
    length: Any,
    low: Any,
    high: Any,
    slots: Any,
    base: Any,
    weights: Any,
    pending: Any,
) -> None:
    """The alias table of a context of ``length`` words with the children ``low`` to ``high``."""
    (
        _,
        _,
        directory,
        _,
        unigrams,
        log_probs,
        codes,
        book,
        backoffs,
        backoff_codes,
        backoff_book,
        _,
    ) = model
    count = high - low
    left = 1.0
    for index in range(count):
        if length == 0:
            log_prob = unigrams[index]
        else:
            log_prob = log_prob_at(log_probs, codes, book, length + 1, low + index - unigrams.size)
        weights[index] = np.exp(np.float64(min(log_prob, np.float32(0))))
        left -= weights[index]
    if length > 0:
        weight = backoff_of_node(directory, backoffs, backoff_codes, backoff_book, node)
        if weight == -np.inf:
            left = 0.0
    weights[count] = max(left, 0.0)
    fill_slots(weights, count + 1, slots, base, pending)


@inlined
def table_of(model: Any, slots: Any, length: Any, node: Any, low: Any) -> Any:
    """Where a context's alias table begins; that of no context is the last."""
    size = model[4].size
    return low - size + node if length > 0 else slots.size - size - 1


@cached_kernel
def fill_contexts(
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
    first: Array,
    start: int,
    stop: int,
    length: int,
    slots: Array,
    weights: Array,
    pending: Array,
) -> None:
    """The alias tables of the contexts ``start`` to ``stop``, all of ``length`` words.

    For length 0 there is one, the empty context.
    """
    model = (
        levels, words, directory, ends, unigrams, log_probs, log_prob_codes, log_prob_book,
        backoffs, backoff_codes, backoff_book, bits,
    )  # fmt: skip
    for node in range(start, stop):
        low, high = np.int64(0), np.int64(unigrams.size)
        if length > 0:
            low, high = np.int64(first[node]), np.int64(first[node + 1])
        base = table_of(model, slots, length, node, low)
        fill_context(model, node, length, low, high, slots, base, weights, pending)


@inlined
def children_of(model: Any, node: Any) -> Any:
    """First child of a context and one past its last."""
    levels, directory, ends = model[0], model[2], model[3]
    low, high = child_range(directory, ends, levels[levels.size - 1], node)
    low = max(low, levels[1])  # only a damaged file has words as children
    return low, max(low, high)


@no_refcount
def node_of(model: Any, rows: Any, row: Any, start: Any, stop: Any) -> Any:
    """The node of the n-gram rows[row, start:stop], -1 if there is none."""
    node = np.int64(rows[row, start])
    for place in range(start + 1, stop):
        low, high = children_of(model, node)
        node = find_child(model[1], model[11], low, high, spread(rows[row, place], model[11]))
        if node < 0:
            break
    return node


@no_refcount
def longest_context(model: Any, rows: Any, row: Any, stop: Any) -> Any:
    """Node and length of the longest context that ends before rows[row, stop]; -1 and 0: none."""
    for length in range(min(model[0].size - 2, stop), 0, -1):
        node = node_of(model, rows, row, stop - length, stop)
        if node >= 0:
            return node, np.int64(length)
    return np.int64(-1), np.int64(0)


@no_refcount
def draw_from_all(
    model: Any, inverse: Any, rows: Any, row: Any, stop: Any, most: Any, random: Any, weights: Any
) -> Any:
    """A word from the distribution over the whole vocabulary, however likely <unk> is.

    ``most`` is the length of the longest context. </s> if nothing else is possible.
    """
    (
        _,
        words,
        directory,
        _,
        unigrams,
        log_probs,
        codes,
        book,
        backoffs,
        backoff_codes,
        backoff_book,
        bits,
    ) = model
    size = unigrams.size
    for word in range(size):
        weights[word] = np.exp(np.float64(unigrams[word]))
    for length in range(1, most + 1):
        node = node_of(model, rows, row, stop - length, stop)
        weight = backoff_of_node(directory, backoffs, backoff_codes, backoff_book, node)
        factor = np.exp(np.float64(weight))
        for word in range(size):
            weights[word] *= factor
        low, high = children_of(model, node)
        for child in range(low, high):
            word = (field(words, bits, child) * inverse) & ((1 << bits) - 1)
            if word < size:
                log_prob = log_prob_at(log_probs, codes, book, length + 1, child - size)
                weights[word] = np.exp(np.float64(log_prob))
    weights[UNK] = weights[BOS] = 0.0
    total = 0.0
    for word in range(size):
        total += weights[word]
    left = np.float64(random >> np.uint64(11)) / 9007199254740992.0 * total  # 2^53
    last = np.int64(EOS)
    for word in range(size):
        if weights[word] > 0:
            last = np.int64(word)
            left -= weights[word]
            if left < 0:
                break
    return last


@inlined
def begin_word(lanes: Any, lane: Any, node: Any, length: Any) -> None:
    """The next word of a lane's sentence is drawn after this context, the longest."""
    lanes[TOP, lane], lanes[TOP_LENGTH, lane] = node, length
    lanes[REJECTED, lane] = 0
    draw_again(lanes, lane)


@inlined
def draw_again(lanes: Any, lane: Any) -> None:
    """The same word is drawn from the longest context on."""
    lanes[NODE, lane], lanes[LENGTH, lane] = lanes[TOP, lane], lanes[TOP_LENGTH, lane]
    lanes[LEFT_LOW, lane] = lanes[LEFT_HIGH, lane] = 0


@inlined
def open_sentences(
    lanes: Any,
    randoms: Any,
    active: Any,
    opened: Any,
    total: Any,
    key: Any,
    number: Any,
    begin: Any,
) -> Any:
    """Give each lane without a sentence the next one; the lanes in use and sentences opened.

    ``begin`` holds the place of a sentence's first word, and node and length of its context.
    """
    lane = 0
    while lane < active:
        if lanes[SENTENCE, lane] < 0:
            if opened == total:  # the last lane takes this one's place
                active -= 1
                for kind in range(FIELDS):
                    lanes[kind, lane] = lanes[kind, active]
                randoms[lane] = randoms[active]
                continue
            randoms[lane] = mixed(key + STEP * np.uint64(number + opened))
            lanes[SENTENCE, lane], lanes[POSITION, lane] = opened, begin[0]
            begin_word(lanes, lane, begin[1], begin[2])
            opened += 1
        lane += 1
    return active, opened


@inlined
def choose_slot(
    model: Any,
    first: Any,
    suffixes: Any,
    slots: Any,
    lanes: Any,
    lane: Any,
    random: Any,
    own_slots: Any,
    weights: Any,
    pending: Any,
) -> None:
    """Find the children of a lane's context and choose a slot of its alias table."""
    node, length = lanes[NODE, lane], lanes[LENGTH, lane]
    low, high = np.int64(0), np.int64(model[4].size)
    if length > 0:
        if slots.size > 0:
            low, high = np.int64(first[node]), np.int64(first[node + 1])
        else:
            low, high = children_of(model, node)
    lanes[LOW, lane], lanes[HIGH, lane], lanes[SLOT, lane] = low, high, -1
    if low == high:
        prefetch(suffixes, node)
        return
    choice = np.int64(((random >> S32) * np.uint64(high - low + 1)) >> S32)
    lanes[OUTCOME, lane] = np.int64(random & LOW_HALF)
    if slots.size > 0:
        lanes[SLOT, lane] = table_of(model, slots, length, node, low) + choice
        prefetch(slots, lanes[SLOT, lane])
    else:
        fill_context(model, node, length, low, high, own_slots, np.int64(0), weights, pending)
        lanes[SLOT, lane] = choice
        lanes[OUTCOME, lane] = outcome_of(own_slots[choice], choice, random & LOW_HALF)


@inlined
def outcome_of(slot: Any, choice: Any, share: Any) -> Any:
    """The outcome of a slot: its own, or from a share on the other one."""
    return choice if share < (slot >> S32) else np.int64(slot & LOW_HALF)


@inlined
def read_outcome(model: Any, suffixes: Any, slots: Any, lanes: Any, lane: Any) -> None:
    """The child that was drawn, -1 if none of them was."""
    place, node, length = lanes[SLOT, lane], lanes[NODE, lane], lanes[LENGTH, lane]
    low, high = lanes[LOW, lane], lanes[HIGH, lane]
    outcome = high - low
    if place >= 0:
        outcome = lanes[OUTCOME, lane]
        if slots.size > 0:
            choice = place - table_of(model, slots, length, node, low)
            outcome = outcome_of(slots[place], choice, np.uint64(outcome))
    if outcome == high - low:
        lanes[OUTCOME, lane] = -1
        if length > 1:
            prefetch(suffixes, node)
        return
    child = low + outcome
    lanes[OUTCOME, lane] = child
    prefetch(model[1], child * model[11] >> 6)
    if length + 2 == model[0].size:
        prefetch(suffixes, child)


@inlined
def back_off(model: Any, first: Any, suffixes: Any, rows: Any, lanes: Any, lane: Any) -> None:
    """Go on with the context less its first word."""
    length = lanes[LENGTH, lane]
    lanes[LEFT_LOW, lane], lanes[LEFT_HIGH, lane] = lanes[LOW, lane], lanes[HIGH, lane]
    shorter = np.int64(-1)
    if length > 1:
        if suffixes.size > 0:
            shorter = np.int64(suffixes[lanes[NODE, lane]])
        else:
            stop = lanes[POSITION, lane]
            shorter = node_of(model, rows, lanes[SENTENCE, lane], stop - length + 1, stop)
    lanes[NODE, lane] = shorter
    lanes[LENGTH, lane] = length - 1 if shorter >= 0 else 0
    prefetch(first, shorter)


@inlined
def drawn_word(model: Any, inverse: Any, lanes: Any, lane: Any) -> Any:
    """The word of the child that was drawn; -1: not to be had, -2: had by the longer context."""
    child, bits, size = lanes[OUTCOME, lane], model[11], model[4].size
    if child < 0:
        return np.int64(-1)
    word = child
    if lanes[LENGTH, lane] > 0:
        word = (field(model[1], bits, child) * inverse) & ((1 << bits) - 1)
    low, high = lanes[LEFT_LOW, lane], lanes[LEFT_HIGH, lane]
    if high > low and find_child(model[1], bits, low, high, spread(word, bits)) >= 0:
        return np.int64(-2)
    if word <= BOS or word >= size:  # <unk>, to which the same applies
        return np.int64(-1)
    return word


@inlined
def next_context(
    model: Any, suffixes: Any, rows: Any, lanes: Any, lane: Any, child: Any, word: Any
) -> Any:
    """Node and length of the longest context after a word; its n-gram is ``child``, or unknown."""
    order, length = model[0].size - 1, lanes[LENGTH, lane] + 1
    if child >= 0 and length < order:
        return child, length
    if child >= 0 and order < 3:  # a bigram's suffix is its word
        return word, np.int64(order - 1)
    if child >= 0 and suffixes.size > 0:
        return np.int64(suffixes[child]), length - 1
    return longest_context(model, rows, lanes[SENTENCE, lane], lanes[POSITION, lane])


@cached_kernel
def sample(
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
    first: Array,
    suffixes: Array,
    slots: Array,
    seed: int,
    number: int,
    start: int,
    rows: Array,
    lengths: Array,
    lanes: Array,
    randoms: Array,
    own_slots: Array,
    weights: Array,
    pending: Array,
) -> None:
    """Draw sentences ``number``, ``number + 1``, ... of a seed, a row each.

    Args:
        first: first child of each context, suffixes: the nodes less their first words, and
            slots: all alias tables; or three empty arrays: then what is needed is made each time.
        start: words at the beginning of each row that are there already, <s> among them.
        rows: (N, words) int32; a sentence ends with its row.
        lengths: (N,) int64, words of each row at the end, </s> not counted.
        lanes: (fields, lanes) int64, randoms: (lanes,) uint64, own_slots: (V + 1,) uint64,
            weights: (V + 1,) float64, pending: (V + 1,) int64: room to work in.
    """
    model = (
        levels, words, directory, ends, unigrams, log_probs, log_prob_codes, log_prob_book,
        backoffs, backoff_codes, backoff_book, bits,
    )  # fmt: skip
    key = mixed(np.uint64(seed) + STEP)
    node, length = longest_context(model, rows, np.int64(0), np.int64(start))
    begin = np.int64(start), node, length
    active, opened = np.int64(min(lanes.shape[1], rows.shape[0])), np.int64(0)
    for lane in range(active):
        lanes[SENTENCE, lane] = -1
    while True:
        active, opened = open_sentences(
            lanes, randoms, active, opened, np.int64(rows.shape[0]), key, number, begin
        )
        if active == 0:
            break
        for lane in range(active):
            random = next_random(randoms, lane)
            choose_slot(
                model, first, suffixes, slots, lanes, lane, random, own_slots, weights, pending
            )
        for lane in range(active):
            read_outcome(model, suffixes, slots, lanes, lane)
        for lane in range(active):
            child = lanes[OUTCOME, lane]
            if child < 0 and lanes[LENGTH, lane] > 0:
                back_off(model, first, suffixes, rows, lanes, lane)
                continue
            row, position = lanes[SENTENCE, lane], lanes[POSITION, lane]
            word = drawn_word(model, inverse, lanes, lane)
            if word < 0:
                lanes[REJECTED, lane] += 1
                if lanes[REJECTED, lane] <= MOST_REJECTED:
                    if word == -1:
                        draw_again(lanes, lane)
                    continue
                random, most = next_random(randoms, lane), lanes[TOP_LENGTH, lane]
                child = np.int64(-1)
                word = draw_from_all(model, inverse, rows, row, position, most, random, weights)
            if word != EOS:
                rows[row, position] = word
                position += 1
            if word == EOS or position == rows.shape[1]:
                lengths[row] = position
                lanes[SENTENCE, lane] = -1
                continue
            lanes[POSITION, lane] = position
            node, length = next_context(model, suffixes, rows, lanes, lane, child, word)
            begin_word(lanes, lane, node, length)
            prefetch(first, node)
