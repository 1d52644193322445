"""Where the tokens of a text lie in it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.language_models.sentences import words_of
from unrolled.text.alignment import token_spans
from unrolled.text.options import TextOptions

LETTERS = st.sampled_from("aA é\tßİﬁΣσ\u00a0\u2028\u2603\U0001f600\u0301\0<s>")


@pytest.mark.parametrize("tokens", ["word", "char", "byte"])
@given(text=st.text(LETTERS, max_size=12), lower=st.booleans(), form=st.booleans())
def test_every_token_has_a_place_and_places_go_on(
    tokens: str, text: str, lower: bool, form: bool
) -> None:
    options = TextOptions(tokens=tokens, lower=lower, normalise="nfkc" if form else "none")
    spans = token_spans(text, options)
    assert len(spans) == len(words_of(text, options))
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert all(one <= other for (one, _), (other, _) in pairwise(spans))
    if tokens == "word" and not (lower or form):
        assert [text[start:end] for start, end in spans] == words_of(text, options)
