"""An n-gram model's functions for one sentence or one word, which Python calls in 25 nanoseconds.

Logarithms are to base 10, and log 0 is -99, as in ARPA files. Text is UTF-8.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from unrolled.ngram.query.handle import handle_of
from unrolled.ngram.trie.packed_trie import PackedTrie
from unrolled.runtime.builtin_kernels import BuiltinKernel
from unrolled.text.vocabulary import BOS, Vocabulary

_KERNELS = "unrolled.ngram.query.single_call_kernels"
_SCORE_TEXT = BuiltinKernel(_KERNELS, "score_text", "bytes bytes bool", "f8", releases_gil=True)
_SCORE_WORDS = BuiltinKernel(
    _KERNELS, "score_words", "bytes bytes bool bytearray", "i8", releases_gil=True
)
_STEP = BuiltinKernel(_KERNELS, "step", "bytes bytearray bytearray", "f8", releases_gil=False)
_WORD_ID = BuiltinKernel(_KERNELS, "word_id", "bytes", "i8", releases_gil=False)

_ROW = struct.Struct("dq?7x")  # a word's score, the length of its n-gram, whether it is unknown
_ROW_SIZE = _ROW.size
ROOM = _ROW_SIZE // 2  # a word takes two bytes with its space
_STEPPED = struct.Struct("qq")  # at the end of a state: that length, and the word's id


class SingleCalls:
    """What `single_call_kernels` does with a model, whose arrays live as long as these functions.

    Attributes:
        null, begin: states of ``order`` without context and after <s>; bytes, to be copied into a
            bytearray where a state is written to.
        score_text: (text, state, eos) to the log10 probability, see the kernel.
        score_words: (text, state, eos, rows) to the number of words; ``rows`` is a bytearray of
            ``ROOM`` bytes for each byte of the text and four more, for `unpack_rows`.
        step: (word, state, state after) to the log10 probability of a word.
        word_id: word to id, 0 for unknown.
    """

    __slots__ = ("begin", "null", "score_text", "score_words", "step", "word_id")

    def __init__(self, trie: PackedTrie, vocabulary: Vocabulary) -> None:
        handle, kept = handle_of(trie, vocabulary)
        self.null, self.begin = (start_state(trie.order, bos) for bos in (False, True))
        self.score_text = _SCORE_TEXT.bind(handle, *kept)
        self.score_words = _SCORE_WORDS.bind(handle, *kept)
        self.step = _STEP.bind(handle, *kept)
        self.word_id = _WORD_ID.bind(handle, *kept)


def unpack_rows(rows: bytearray, count: int) -> Iterator[tuple[float, int, bool]]:
    """Log10 probability, n-gram length and OOV flag of each word that `score_words` wrote."""
    del rows[_ROW_SIZE * count :]
    return _ROW.iter_unpack(rows)


def last_step(state: bytearray) -> tuple[int, int]:
    """Length of the n-gram that `SingleCalls.step` found before it wrote a state; the word's id."""
    length, word = _STEPPED.unpack_from(state, len(state) - _STEPPED.size)
    return length, word


def start_state(order: int, bos: bool) -> bytes:
    """The state after <s>, or without context, as `step_kernels` says; and room for `last_step`."""
    state = np.zeros(2 * order + 1, np.int64)
    state[order : 2 * order - 1] = -1
    if bos and order > 1:
        state[0], state[1], state[order] = 1, BOS, BOS
    return state.tobytes()
