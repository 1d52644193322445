"""Counting against Counter, over odd corpora and all orders."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import Sentences, corpora, counts_of, grams_of, ids_of, orders, zipf_sentences
from oracle import adjusted_counts, raw_counts
from unrolled.errors import SettingError, TextError
from unrolled.ngram.counts.counting import NgramCounts, count_ngrams
from unrolled.ngram.trie.layout import spread_words
from unrolled.text.vocabulary import BOS


def check(counts: NgramCounts, sentences: Sentences, size: int, order: int) -> None:
    """All that counts hold, against the oracle."""
    grams = grams_of(counts)
    raw = raw_counts(sentences, order)
    nodes = {gram: node for node, gram in enumerate(grams)}
    assert counts.levels[0] == 0 and counts.levels[1] == size
    for length in range(1, order + 1):
        here = grams[counts.level(length)]
        expected = dict.fromkeys([(word,) for word in range(size)], 0) if length == 1 else {}
        expected |= raw[length]
        assert dict(zip(here, counts.counts(length).tolist(), strict=True)) == expected
        adjusted = adjusted_counts(raw, length)
        assert counts.adjusted_counts(length).tolist() == [adjusted[gram] for gram in here]
        low, high = counts.starting(length)
        assert set(grams[low:high]) == {gram for gram in here if gram[0] == BOS}
        if length > 1:
            suffixes = counts.suffixes[counts.level(length)].tolist()
            assert suffixes == [nodes[gram[1:]] for gram in here]


@given(corpora(), orders)
@settings(max_examples=70, deadline=None)
def test_counts_links_and_adjusted_counts_equal_those_of_dictionaries(
    corpus: tuple[Sentences, int], order: int
) -> None:
    sentences, size = corpus
    check(counts_of(sentences, size, order), sentences, size, order)


@pytest.mark.parametrize(
    ("size", "tokens", "order"),
    [
        (5000, 200_000, 3),  # groups above 4096: digits of 11 bits, two of them
        (600, 30_000, 6),  # digits of 8 bits
        (3_000_000, 20_000, 3),  # three digits, and most words never occur
    ],
)
def test_large_groups_are_sorted_by_radix(size: int, tokens: int, order: int) -> None:
    sentences = zipf_sentences(tokens, min(size, 5000), seed=tokens)
    sentences.append([1, *[4] * 3000, 2])  # one word after itself
    counts = counts_of(sentences, size, order)
    if size <= 5000:
        check(counts, sentences, size, order)
    raw = raw_counts(sentences, order)
    for length in range(2, order + 1):
        assert sorted(counts.counts(length).tolist()) == sorted(raw[length].values())


def test_threads_give_identical_arrays() -> None:
    sentences = zipf_sentences(60_000, 3000, seed=5)
    one, *others = (counts_of(sentences, 3000, 4, threads) for threads in (1, 2, 3))
    for other in others:
        for name in ("levels", "words", "first", "suffixes"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
        for length in range(1, 5):
            assert np.array_equal(one.counts(length), other.counts(length))


def test_children_ascend_by_spread_word() -> None:
    counts = counts_of(zipf_sentences(5000, 300, seed=1), 300, 3)
    grams = grams_of(counts)
    last = spread_words(np.array([gram[-1] for gram in grams]), counts.bits)
    for low, high in pairwise(counts.first.tolist()):
        assert np.all(np.diff(last[low:high]) > 0)


@given(corpora(), orders)
@settings(max_examples=25, deadline=None)
def test_marks_inside_begin_and_end_sentences(corpus: tuple[Sentences, int], order: int) -> None:
    """Literal <s> and </s> that a text keeps: no n-gram goes over the former's left, the latter."""
    sentences, size = corpus
    glued = [sentence[:-1] for sentence in sentences[:3]] + sentences[3:] + [[3, 4 % size, 2]]
    if glued[-1][1] == 0 or len(sentences) < 4:
        glued = [*sentences, [3, 2]]
    counts = count_ngrams(ids_of(glued), order, size)
    check(counts, glued, size, order)


def test_what_cannot_be_counted_is_refused() -> None:
    good = np.array([1, 3, 2], np.int32)
    for order in (0, -1, 101):
        with pytest.raises(SettingError, match=f"order {order} is not between 1 and 100"):
            count_ngrams(good, order, 4)
    with pytest.raises(TextError, match="the corpus is empty: there is nothing to count"):
        count_ngrams(good[:0], 2, 4)
    with pytest.raises(SettingError, match="threads is 0, allowed are 1 and more"):
        count_ngrams(good, 2, 4, threads=0)
    for bad in ([1, 3], [1, 4, 2], [1, -1, 2]):
        with pytest.raises(SettingError, match="ids must lie in 0 to 3, and the last one be 2"):
            count_ngrams(np.array(bad, np.int32), 2, 4)


def test_order_100_counts_every_length() -> None:
    counts = count_ngrams(np.array([1, *[3] * 150, 2], np.int32), 100, 4)
    assert sorted(counts.counts(100).tolist()) == [1, 1, 51]  # from <s>, to </s>, inside


@given(corpora(), orders, st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_counts_made_a_share_at_a_time_are_the_same(
    corpus: tuple[Sentences, int], order: int, count: int
) -> None:
    sentences, size = corpus
    counts = counts_of(sentences, size, order)
    shares = counts.shares(count)
    assert len(shares) <= count
    assert [word for share in shares for word in range(*share)] == list(range(size))
    for length in range(1, order + 1):
        places = [counts.starting(length, share) for share in shares]
        nodes = np.concatenate([np.arange(*place) for place in places])
        assert np.array_equal(nodes, np.arange(*counts.levels[length - 1 : length + 1]))
        parts = [counts.counts(length, words=share).tolist() for share in shares]
        assert list(chain.from_iterable(parts)) == counts.counts(length).tolist()


def test_counts_go_where_there_is_room() -> None:
    counts = counts_of([[1, 3, 4, 2], [1, 4, 2]], 5, 3)
    for length in (1, 2, 3):
        for made in (counts.counts, counts.adjusted_counts):
            expected = made(length)
            room = np.full(expected.size, 77, np.uint32)
            assert made(length, out=room) is room
            assert np.array_equal(room, expected)


def test_released_counts_are_gone() -> None:
    counts = counts_of([[1, 3, 2]], 4, 2)
    counts.release()
    with pytest.raises(RuntimeError, match="the counts were released"):
        counts.counts(2)


def test_ids_of_any_integer_type_and_stages() -> None:
    stages: list[str] = []
    ids: Any = np.array(list(chain([1, 3, 2], [1, 2])), np.int64)
    counts = count_ngrams(ids, 2, 4, report=stages.append)
    assert counts.counts(2).sum() == 3
    assert stages == ["sorting n-grams", "gathering n-grams", "linking n-grams"]
