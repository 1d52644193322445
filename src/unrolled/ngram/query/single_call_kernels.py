"""Kernels for one sentence or one word, called as built-in functions: see `single_calls`.

Arguments are addresses, sizes in bytes and truth values; the first is the address of the model's
handle. A state is as in `step_kernels`, followed by the length of the n-gram that the last step
found and the word's id.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.query.beam_kernels import search_order
from unrolled.ngram.query.handle import (
    BITS,
    DIRECTORY,
    ENDS,
    INTERPOLATED,
    LEVELS,
    NUMBERS,
    OFFSETS,
    SLOTS,
    TEXT,
    UNIGRAMS,
    WORDS,
)
from unrolled.ngram.query.scoring_layout import LATER
from unrolled.ngram.query.search_kernels import word_at
from unrolled.ngram.query.step_kernels import (
    LN_10,
    advance,
    array,
    backoff_of,
    finite,
    finite_log,
    interpolate,
    log_prob_of,
    read_word,
)
from unrolled.ngram.trie.layout import MAX_ORDER
from unrolled.ngram.trie.trie_kernels import child_range, guess_child, spread
from unrolled.runtime.intrinsics import array_at, prefetch, stack_array
from unrolled.runtime.kernels import cached_kernel, inlined
from unrolled.text.encoding_kernels import find, scan, splits, window
from unrolled.text.vocabulary import EOS, UNK

CHUNK = 16  # words that are searched for together
_NODES, _PLACES, _ACTIVE = (CHUNK + 1) * MAX_ORDER, 2 * CHUNK, 3 * CHUNK
_ROW = 3  # numbers that `single_calls` unpacks
_EIGHTH, _TOPS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_VERTICAL_TABS, _FORM_FEEDS = np.uint64(11) * _EIGHTH, np.uint64(12) * _EIGHTH


@inlined
def model_order(handle: Any) -> Any:
    """The longest n-gram."""
    return array(handle, LEVELS, np.int64).size - 1


@inlined
def fits(handle: Any, size: Any) -> Any:
    """Whether so many bytes are a state of the model's order."""
    return size == 8 * (2 * model_order(handle) + 1)


@inlined
def zero_bytes(bits: Any) -> Any:
    """Not 0 if one of the eight bytes is."""
    return (bits - _EIGHTH) & ~bits & _TOPS


@inlined
def has_rare_blanks(block: Any) -> Any:
    """Whether there is a vertical tab or a form feed, which part words only for some callers."""
    found = np.uint64(0)
    for at in range(0, block.size, 8):
        bits = window(block, at)
        found |= zero_bytes(bits ^ _VERTICAL_TABS) | zero_bytes(bits ^ _FORM_FEEDS)
    return found != np.uint64(0)


@inlined
def scan_words(handle: Any, block: Any, at: Any, eos: Any, words: Any, hashes: Any) -> Any:
    """Ids of the next words, at most `CHUNK`, and of </s> behind the last if ``eos`` is not 0.

    All words are scanned before the first is looked up: the processor fetches their slots at once.
    Returns how many they are, and where the next one is looked for, beyond the text after </s>.
    """
    offsets, slots = array(handle, OFFSETS, np.uint32), array(handle, SLOTS, np.uint64)
    text, count, mask = array(handle, TEXT, np.uint8), np.int64(0), np.uint64(slots.size - 1)
    while at < block.size and count < CHUNK:
        if splits(block[at]):
            at += 1
            continue
        stop, hashed = scan(block, at)
        prefetch(slots, np.int64(hashed & mask))
        words[count], words[CHUNK + count], hashes[count] = at, stop, hashed
        at = stop
        count += 1
    for i in range(count):
        start, stop = words[i], words[CHUNK + i]
        found = find(block, start, stop, hashes[i], text, offsets, slots, offsets.size - 1)
        words[i] = max(found, np.int64(UNK))
    if at == block.size and count < CHUNK:
        at += 1
        if eos != 0:
            words[count] = EOS
            count += 1
    return count, at


@inlined
def find_ngrams(handle: Any, words: Any, count: Any, nodes: Any, active: Any, work: Any) -> None:
    """Find the n-grams of all lengths that end in each word, after row 0 of ``nodes``.

    Row i + 1 of ``nodes`` (count + 1, order) gets those of word i: the node of the word alone, of
    it and the word before, and so on, -1 for none. So its contexts are the row before, and all
    words are searched for at once, an order at a time, as a decoder's hypotheses are. ``active``
    has room for three numbers a word.
    """
    levels, order = array(handle, LEVELS, np.int64), model_order(handle)
    unigrams, directory = array(handle, UNIGRAMS, np.float32), array(handle, DIRECTORY, np.uint64)
    found, places, spans = nodes[order:], active[CHUNK:], active[2 * CHUNK :]
    for i in range(count):
        word = word_at(words, i, levels[1])
        prefetch(unigrams, word)
        prefetch(directory, (word >> 6) << 2)
        found[i * order] = word
        for k in range(1, order):
            found[i * order + k] = -1
        active[i] = i
    for k in range(1, order):
        if count > 0:
            count = search_order(
                handle, nodes, words, found, active, places, spans, count, work, k, np.int64(1)
            )


@inlined
def log10_prob(handle: Any, nodes: Any, i: Any) -> Any:
    """Log10 probability of word i, and the length of the n-gram found."""
    levels, order = array(handle, LEVELS, np.int64), model_order(handle)
    before, place = i * order, (i + 1) * order
    longest = np.int64(0)
    while longest < order - 1 and nodes[place + longest + 1] >= 0:
        longest += 1
    node = nodes[place + longest]
    if handle[INTERPOLATED]:
        probability, weights = np.float64(array(handle, UNIGRAMS, np.float32)[nodes[place]]), 1.0
        for k in range(1, order):
            probability, weights = interpolate(
                handle, probability, weights, k, nodes[before + k - 1], nodes[place + k]
            )
        return np.float64(np.float32(finite_log(probability, weights) / LN_10)), longest + 1
    if longest > 0:
        result = finite(log_prob_of(handle, longest, node - levels[1]))
    else:
        result = finite(array(handle, UNIGRAMS, np.float32)[node])
    for k in range(longest, order - 1):
        context = nodes[before + k]
        if context >= 0 and context < levels[order - 1]:
            result += finite(backoff_of(handle, context))
    return np.float64(np.float32(result / LN_10)), longest + 1


@inlined
def score_sentence(handle: Any, block: Any, start: Any, eos: Any, scores: Any, numbers: Any) -> Any:
    """Log10 probability of a sentence, and how many words it has; the rows of `score_words`.

    No rows are written if there is no room at all; -1 words if there is too little.
    """
    order, at, place, total = model_order(handle), np.int64(0), np.int64(0), 0.0
    nodes, hashes = stack_array(_NODES, np.int64), stack_array(CHUNK, np.uint64)
    words, active = stack_array(_PLACES, np.int64), stack_array(_ACTIVE, np.int64)
    work = stack_array(LATER, np.int64)
    for k in range(order - 1):
        nodes[k] = start[order + k]
    while at <= block.size:
        count, at = scan_words(handle, block, at, eos, words, hashes)
        find_ngrams(handle, words, count, nodes, active, work)
        for i in range(count):
            score, length = log10_prob(handle, nodes, i)
            total += score
            if scores.size > 0:
                if place + _ROW > scores.size:
                    return total, np.int64(-1)
                scores[place], numbers[place + 1] = score, length
                numbers[place + 2] = nodes[(i + 1) * order] == UNK
            place += _ROW
        for k in range(order):
            nodes[k] = nodes[count * order + k]
    return total, place // _ROW


@cached_kernel
def score_text(
    handle_at: int, text_at: int, text_size: int, start_at: int, start_size: int, eos: int
) -> Any:
    """Log10 probability of a sentence after a state, with </s> if ``eos``.

    NaN for a state of another order, and for a text with vertical tabs or form feeds: the caller
    knows whether they part words.
    """
    handle, block = array_at(handle_at, NUMBERS, np.int64), array_at(text_at, text_size, np.uint8)
    if not fits(handle, start_size) or has_rare_blanks(block):
        return np.nan
    start = array_at(start_at, start_size >> 3, np.int64)
    no_scores, no_numbers = array_at(0, 0, np.float64), array_at(0, 0, np.int64)
    return score_sentence(handle, block, start, eos, no_scores, no_numbers)[0]


@cached_kernel
def score_words(
    handle_at: int,
    text_at: int,
    text_size: int,
    start_at: int,
    start_size: int,
    eos: int,
    rows_at: int,
    rows_size: int,
) -> Any:
    """Write each word's log10 probability, n-gram length and whether it is unknown; how many.

    -1 where `score_text` gives NaN, and where ``rows``, three numbers a word, are too few.
    """
    handle, block = array_at(handle_at, NUMBERS, np.int64), array_at(text_at, text_size, np.uint8)
    if not fits(handle, start_size) or has_rare_blanks(block):
        return -1
    start, room = array_at(start_at, start_size >> 3, np.int64), rows_size >> 3
    scores, numbers = array_at(rows_at, room, np.float64), array_at(rows_at, room, np.int64)
    return score_sentence(handle, block, start, eos, scores, numbers)[1]


@cached_kernel
def step(
    handle_at: int,
    word_at: int,
    word_size: int,
    before_at: int,
    before_size: int,
    after_at: int,
    after_size: int,
) -> Any:
    """Log10 probability of a word after a state; writes the state after it.

    NaN, and nothing is written, where one of the states is of another order.
    """
    handle = array_at(handle_at, NUMBERS, np.int64)
    if not fits(handle, before_size) or not fits(handle, after_size):
        return np.nan
    before, order = array_at(before_at, before_size >> 3, np.int64), model_order(handle)
    for k in range(order, 2 * order - 1):
        prefetch(array(handle, DIRECTORY, np.uint64), (max(before[k], 0) >> 6) << 2)
    after = array_at(after_at, after_size >> 3, np.int64)
    word = exact_word(handle, array_at(word_at, word_size, np.uint8))
    prefetch_children(handle, word, before)
    score, length = advance(handle, word, before, after)
    after[after.size - 2], after[after.size - 1] = length, word
    return score


@inlined
def prefetch_children(handle: Any, word: Any, before: Any) -> None:
    """Ask for where a word may be among the children of each context of a state, all at once."""
    levels, directory = array(handle, LEVELS, np.int64), array(handle, DIRECTORY, np.uint64)
    words, ends = array(handle, WORDS, np.uint64), array(handle, ENDS, np.uint32)
    order, bits = model_order(handle), handle[BITS]
    key = spread(word, bits)
    for k in range(order, 2 * order - 1):
        if before[k] >= 0 and before[k] < levels[order - 1]:
            low, high = child_range(directory, ends, levels[order], before[k])
            prefetch(words, guess_child(bits, low, high, key) * bits >> 6)


@inlined
def exact_word(handle: Any, block: Any) -> Any:
    """The id of the word that is all of a text; <unk> if it is not one known word."""
    stop, word = read_word(handle, block, np.int64(0))
    return word if stop == block.size else np.int64(UNK)


@cached_kernel
def word_id(handle_at: int, word_at: int, word_size: int) -> Any:
    """The id of a word; that of <unk> if it is unknown."""
    handle = array_at(handle_at, NUMBERS, np.int64)
    return exact_word(handle, array_at(word_at, word_size, np.uint8))
