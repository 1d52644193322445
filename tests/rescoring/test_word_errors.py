"""Word errors against a plain recursion over all alignments."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import SettingError, TextError
from unrolled.rescoring.word_errors import edit_counts, word_errors

texts = st.lists(st.sampled_from("abc"), max_size=7).map(" ".join)


def fewest(reference, text):
    """Fewest errors, by trying everything."""

    @cache
    def rest(i, j):
        if i == len(reference) or j == len(text):
            return len(reference) - i + len(text) - j
        return min(
            rest(i + 1, j + 1) + (reference[i] != text[j]), rest(i + 1, j) + 1, rest(i, j + 1) + 1
        )

    return rest(0, 0)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_counts_add_up_to_the_fewest_errors(pairs):
    references, hypotheses = zip(*pairs, strict=True)
    counts = edit_counts(references, hypotheses, np.arange(len(pairs)))
    for reference, text, (replaced, added, dropped) in zip(
        references, hypotheses, counts.tolist(), strict=True
    ):
        said, heard = reference.split(), text.split()
        assert replaced + added + dropped == fewest(tuple(said), tuple(heard))
        assert len(heard) - len(said) == added - dropped
        assert replaced + dropped <= len(said)


def test_kinds_of_errors_and_their_sum():
    found = word_errors(["a b c d", "e", ""], ["a x c", "e", "y"])
    assert (found.substitutions, found.insertions, found.deletions) == (1, 1, 1)
    assert (found.words, found.sentences, found.wrong_sentences) == (5, 3, 2)
    assert found.rate == pytest.approx(0.6)


def test_several_texts_of_one_reference():
    owners = np.array([1, 0, 1])
    counts = edit_counts(["a b", "c"], ["c", "a b", "d c"], owners)
    assert counts.tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_refusals():
    with pytest.raises(SettingError, match="2 references for 1 texts"):
        word_errors(["a", "b"], ["a"])
    with pytest.raises(TextError, match="no word"):
        word_errors([""], ["a"])
