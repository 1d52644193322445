"""Rows of words that are kept from one call to the next."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from unrolled.tagging.data.known_words import KnownWords


def _lengths(words: list[str]) -> list[list[int]]:
    return [[len(word)] for word in words]


def test_threads_that_ask_at_the_same_time_do_not_mix_their_words() -> None:
    known = KnownWords(1)

    def slowly(words: list[str]) -> list[list[int]]:
        time.sleep(0.05)
        return _lengths(words)

    asked = [["a" * length] * 2 for length in range(1, 7)]
    with ThreadPoolExecutor(len(asked)) as pool:
        found = list(pool.map(lambda words: known.rows(words, slowly).tolist(), asked))
    assert found == [[[len(word)] for word in words] for words in asked]


def test_only_new_words_are_computed_until_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("unrolled.tagging.data.known_words.MOST_KNOWN", 3)
    known, computed = KnownWords(1), []

    def compute(words: list[str]) -> list[list[int]]:
        computed.append(words)
        return _lengths(words)

    for asked, new in (
        (["a", "bb", "a"], ["a", "bb"]),
        (["bb", "ccc"], ["ccc"]),
        (["ccc", "dddd"], ["ccc", "dddd"]),  # four would be too many: all are forgotten
        (["ccc"], None),
    ):
        rows = known.rows(asked, compute)
        np.testing.assert_array_equal(rows, np.array(_lengths(asked), np.float32))
        assert not new or computed.pop() == new
    known.forget()
    known.rows(["ccc"], compute)
    assert computed == [["ccc"]]
