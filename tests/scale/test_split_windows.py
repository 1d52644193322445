"""Windows of one frequent word, a few at a time."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from unrolled.errors import SettingError
from unrolled.ngram.trie.layout import word_bits
from unrolled.scale.split_windows import split_windows
from unrolled.text.corpus import read_corpus

LINES = ["a a a b", "a b a c", "a c c", "a a b b"] * 5


@pytest.mark.parametrize("limit", [9, 12, 20, 1000])
def test_pieces_hold_each_window_and_no_more_than_allowed(limit: int) -> None:
    corpus = read_corpus(texts=LINES)
    size, word = len(corpus.vocabulary), corpus.vocabulary.id("a")
    seconds: Counter[int] = Counter()
    for windows, weights in split_windows(
        lambda: [corpus.ids], word, (size, 3), word_bits(size), limit, str
    ):
        assert len(windows) <= limit
        assert set(windows[:, 1]) == {word}
        numbers = np.ones(len(windows), np.int64) if weights is None else weights
        for second, number in zip(windows[:, 2].tolist(), numbers.tolist(), strict=True):
            seconds[second] += number
    pairs = zip(corpus.ids.tolist(), corpus.ids.tolist()[1:], strict=False)
    assert seconds == Counter(second for first, second in pairs if first == word)


def test_two_words_that_begin_too_many_windows_are_named() -> None:
    corpus = read_corpus(texts=[f"a a {number}" for number in range(30)])
    size, word = len(corpus.vocabulary), corpus.vocabulary.id("a")
    pieces = split_windows(
        lambda: [corpus.ids], word, (size, 3), word_bits(size), 20, corpus.vocabulary.word
    )
    with pytest.raises(SettingError, match="more than 20 different n-grams begin with 'a a'"):
        list(pieces)
