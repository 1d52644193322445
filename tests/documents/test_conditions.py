"""Conditions are read as Python reads them, and nothing else of Python is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.documents.conditions import Condition
from unrolled.errors import SettingError

NAMES = ["perplexity", "tokens", "oov"]
FIELDS = {
    "perplexity": np.array([10.0, 800, np.inf, 3]),
    "tokens": np.array([2.0, 9, 5, 1]),
    "oov": np.array([0.0, 3, 5, 0]),
}

NUMBERS = st.recursive(
    st.sampled_from([*NAMES, "0", "2", "1.5", "8e2"]),
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner)
        | st.builds("-{}".format, inner)
    ),
    max_leaves=4,
)
COMPARED = st.builds(
    "{} {} {}".format, NUMBERS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NUMBERS
)
TRUTHS = st.recursive(
    COMPARED,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner)
        | st.builds("not {}".format, inner)
        | st.builds("{} or {} and {}".format, inner, inner, inner)
    ),
    max_leaves=4,
)


@given(TRUTHS)
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_conditions_mean_what_they_mean_in_python(text):
    found = Condition(text, NAMES)(FIELDS)
    rows = [dict(zip(FIELDS, row, strict=True)) for row in zip(*FIELDS.values(), strict=True)]
    assert found.tolist() == [bool(eval(text, {}, row)) for row in rows]


def test_shares_of_unknown_words():
    keep = Condition("oov / tokens <= 0.4 and 5 < perplexity < 900", NAMES)
    assert keep(FIELDS).tolist() == [True, True, False, False]
    assert Condition("oov / 0 > 1", NAMES)(FIELDS).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it cannot be read"),
        ("perplexity <", "it cannot be read"),
        ("perplexity < 800 && oov == 0", "it cannot be read at column "),
        ("perplexity = 800", "it cannot be read at column "),
        ("ppl < 800", "there is no field ppl. There are perplexity, tokens, oov"),
        ("perplexity", "'perplexity' is a number where a comparison is needed"),
        ("perplexity and oov", "'perplexity' is a number where a comparison is needed"),
        ("(oov == 0) + 1 > 1", "'oov == 0' is a number where"),
        ("perplexity < 'a'", "\"'a'\" is not allowed. It may have names, numbers, + - * /"),
        ("perplexity < True", "'True' is not allowed"),
        ("oov in [1]", "'oov in [1]' is not allowed"),
        ("oov ** 2 > 1", "'oov ** 2' is not allowed"),
        ("oov % 2 > 1", "'oov % 2' is not allowed"),
        ("__import__('os').system('true') == 0", "is not allowed"),
        ("oov.real == 0", "'oov.real' is not allowed"),
        ("oov[0] == 0", "'oov[0]' is not allowed"),
        ("(lambda: 1)() == 1", "is not allowed"),
        ("oov == 0 if oov else oov", "is not allowed"),
        ("oov < " + "9" * 400, "it cannot be read"),
        ("not " * 240 + "oov < 1", None),
        ("(" * 300 + "oov" + ")" * 300 + " < 1", "it cannot be read"),
        ("-" * 100 + "oov < 1", None),
        ("oov < 1 or " * 100 + "oov < 1", "it has 1107 characters, allowed are 1000"),
        ("oov < 1\0", "it cannot be read"),
    ],
)
def test_what_is_refused(text, problem):
    if problem is None:
        assert Condition(text, NAMES)(FIELDS).shape == (4,)
        return
    with pytest.raises(SettingError, match="condition .* is wrong") as error:
        Condition(text, NAMES)
    assert problem in str(error.value)
