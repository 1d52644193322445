from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.text.tokeniser import sentences, tokenise

ANY_TEXT = st.text(
    st.one_of(st.characters(), st.sampled_from("ab AB.'’,-$@#:/!?0123\n\t\u00a0")), max_size=60
)


@given(ANY_TEXT)
def test_every_character_but_white_space_is_in_exactly_one_token(text):
    tokens = tokenise(text)
    assert all(text[start:end] == word and word.strip() for word, start, end in tokens)
    assert all(a.end <= b.start for a, b in pairwise(tokens))
    left = "".join(word for word, _, _ in tokens)
    assert "".join(left.split()) == "".join(text.split())


@given(ANY_TEXT)
def test_sentences_hold_all_tokens_in_order(text):
    tokens = tokenise(text)
    cut = sentences(text, tokens)
    assert [token for sentence in cut for token in sentence] == tokens
    assert all(cut)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The end.", "The end ."),
        ("I can't, won't; it's Bob's.", "I ca n't , wo n't ; it 's Bob 's ."),
        ("It’s DON’T", "It ’s DO N’T"),
        ("'s n't it", "'s n't it"),
        ("'tis o'clock rock'n'roll", "' tis o'clock rock'n'roll"),
        ("U.S. and e.g. Dr. No.", "U.S. and e.g. Dr. No ."),
        ("John M. Keynes, plan B.", "John M. Keynes , plan B ."),
        ("3,000.50 1996-08-28 10:30 6-4 1/2", "3,000.50 1996-08-28 10:30 6-4 1/2"),
        ("US$5 cost$ 5% £3", "US$ 5 cost $ 5 % £ 3"),
        ('(third-quarter) "AT&T"', '( third-quarter ) " AT&T "'),
        ("wait... what--no?!", "wait ... what -- no ? !"),
        ("see https://a.org/x?y=1. Or www.b.com!", "see https://a.org/x?y=1 . Or www.b.com !"),
        ("mail me.x@y.co.uk, @user #tag a@b", "mail me.x@y.co.uk , @user #tag a @ b"),
        ("हिन्दी में naïve cafe\u0301 👍🏽", "हिन्दी में naïve cafe\u0301 👍🏽"),
        ("a\u00a0b\u2003c", "a b c"),
        ("example.com said.The", "example.com said . The"),
        ("", ""),
    ],
)
def test_rules(text, words):
    assert [token.text for token in tokenise(text)] == words.split()


def test_sentences_end_where_a_reader_ends_them():
    text = 'He left. "Why?" she asked. i.e. at 5 p.m. sharp... Then\n\nHeading\n\nNew line\nof it'
    assert [" ".join(t.text for t in s) for s in sentences(text, tokenise(text))] == [
        "He left .",
        '" Why ? " she asked . i.e. at 5 p.m. sharp ...',
        "Then",
        "Heading",
        "New line of it",
    ]


def test_long_text_takes_time_in_proportion():
    text = "a" * 300_000 + " " + "-'" * 100_000 + " " + "." * 100_000
    assert "".join(t.text for t in tokenise(text)) == text.replace(" ", "")
