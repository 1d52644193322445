"""Sentences to ids and back."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled import TextOptions
from unrolled.language_models.sentences import (
    encode_sentences,
    sentence_starts,
    text_of,
    words_of,
)
from unrolled.ngram.model import NgramModel
from unrolled.text.vocabulary import BOS, EOS, Vocabulary


def test_sentences_that_hold_marks_keep_their_places(model: NgramModel) -> None:
    texts = ["<s>", "the </s> <s> cat", "cat", "</s>", ""]
    ids = encode_sentences(model.vocabulary, texts, TextOptions())
    starts = sentence_starts(model.vocabulary, texts, TextOptions(), ids)
    assert starts.tolist() == [0, 3, 9, 12, 15, 17]
    assert ids[starts[:-1]].tolist() == [BOS] * 5
    assert ids[starts[1:] - 1].tolist() == [EOS] * 5


@given(st.text(st.sampled_from("aé ß\t\r\n\0\u2028\u3000\u2581<>"), max_size=12))
@settings(max_examples=60)
def test_tokens_of_one_text_and_of_many_are_the_same(text: str) -> None:
    for options in (TextOptions(), TextOptions(tokens="char"), TextOptions(tokens="byte")):
        words = words_of(text, options)
        vocabulary = Vocabulary.from_words(dict.fromkeys(words))
        ids = encode_sentences(vocabulary, [text], options)
        assert vocabulary.words(ids[1:-1]) == words
    assert text_of(words, options) == re.sub("[\t\r\n\0\u2581]", " ", text).strip()
