"""Kernels for one sentence or one word, called as built-in functions: see `single_calls`.

Arguments are addresses, sizes in bytes and truth values; the first is the address of the model's
handle. A state is as in `step_kernels`, followed by the length of the n-gram that the last step
found and the word's id.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.query.handle import LEVELS, NUMBERS
from unrolled.ngram.query.step_kernels import advance, array, read_word
from unrolled.ngram.trie.layout import MAX_ORDER
from unrolled.runtime.intrinsics import array_at, stack_array
from unrolled.runtime.kernels import cached_kernel, inlined
from unrolled.text.encoding_kernels import splits, window
from unrolled.text.vocabulary import EOS, UNK

_STATE = 2 * MAX_ORDER + 1
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
def next_word(handle: Any, block: Any, at: Any, eos: Any) -> Any:
    """The next word's id at or after ``at``, and where it ends; -1 if there is none.

    After the last word comes </s> if ``eos`` is not 0.
    """
    while at < block.size:
        if not splits(block[at]):
            at, word = read_word(handle, block, at)
            return word, at
        at += 1
    word = np.int64(EOS) if at == block.size and eos != 0 else np.int64(-1)
    return word, np.int64(block.size + 1)


@inlined
def copied(numbers: Any, state: Any) -> None:
    """Copy a state to another."""
    for place in range(numbers.size):
        state[place] = numbers[place]


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
    state = stack_array(_STATE, np.int64)
    copied(array_at(start_at, start_size >> 3, np.int64), state)
    total = 0.0
    word, at = next_word(handle, block, np.int64(0), eos)
    while word >= 0:
        total += advance(handle, word, state, state)[0]
        word, at = next_word(handle, block, at, eos)
    return total


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
    state, room = stack_array(_STATE, np.int64), rows_size >> 3
    copied(array_at(start_at, start_size >> 3, np.int64), state)
    scores, numbers = array_at(rows_at, room, np.float64), array_at(rows_at, room, np.int64)
    place = np.int64(0)
    word, at = next_word(handle, block, np.int64(0), eos)
    while word >= 0:
        if place + _ROW > room:
            return -1
        scores[place], numbers[place + 1] = advance(handle, word, state, state)
        numbers[place + 2] = word == UNK
        place += _ROW
        word, at = next_word(handle, block, at, eos)
    return place // _ROW


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
    before = array_at(before_at, before_size >> 3, np.int64)
    after = array_at(after_at, after_size >> 3, np.int64)
    word = exact_word(handle, array_at(word_at, word_size, np.uint8))
    score, length = advance(handle, word, before, after)
    after[after.size - 2], after[after.size - 1] = length, word
    return score


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
