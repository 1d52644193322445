"""Scores of sentences and tokens, on a small n-gram model and on one made by hand."""

from __future__ import annotations

import math

import pytest

from unrolled.errors import SettingError
from unrolled.language_models.scoring import rank, score_sentences, surprisals
from unrolled.ngram.model import NgramModel
from unrolled.ngram.training import train_ngram

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")


def test_sentence_scores(model: NgramModel, stupid: NgramModel) -> None:
    texts = ["the cat sat", "", "a bird <s> </s> sat", "the\ncat"]
    for each in (model, stupid):
        expected = [each.score(text) for text in texts]
        assert score_sentences(each, texts) == pytest.approx(expected, abs=1e-5)
        expected = [each.score(text, eos=False) for text in texts]
        assert score_sentences(each, texts, eos=False) == pytest.approx(expected, abs=1e-5)
    assert score_sentences(model, []).shape == (0,)
    with pytest.raises(SettingError, match="sentences is one text. Give a list of them"):
        score_sentences(model, "the cat")


def test_rank_prefers_the_lectures_word_order(model: NgramModel, stupid: NgramModel) -> None:
    texts = ["small the is cat", "the cat is small", "the cat is tall"]
    for each in (model, stupid):
        ranked = rank(each, texts)
        assert ranked[0][1] == "the cat is small"
        expected = sorted((each.score(text) for text in texts), reverse=True)
        assert [score for score, _ in ranked] == pytest.approx(expected)
    assert rank(model, []) == []


def test_surprisals_have_words_as_written(model: NgramModel) -> None:
    tokens = list(surprisals(model, ["the Bird sat", ""]))
    assert [(token.sentence, token.word, token.oov) for token in tokens] == [
        (0, "the", False),
        (0, "Bird", True),
        (0, "sat", False),
        (0, "</s>", False),
        (1, "</s>", False),
    ]
    assert sum(token.log_prob for token in tokens[:4]) == pytest.approx(model.score("the Bird sat"))
    assert tokens[0].bits == pytest.approx(-tokens[0].log_prob / math.log(2))


def test_one_text_is_not_taken_letter_by_letter(model: NgramModel) -> None:
    with pytest.raises(SettingError, match="sentences is one text"):
        next(surprisals(model, "the bird"))
    for wrong, problem in (("the bird", "texts is one text"), ([b"a"], "text 1 is bytes, not str")):
        with pytest.raises(SettingError, match=problem):
            train_ngram(texts=wrong, order=2)
