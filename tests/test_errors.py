"""Errors are one line, with their parts, and cross process borders."""

from __future__ import annotations

import pickle

import pytest

from unrolled import FormatError, MissingExtraError, SettingError, TextError, UnrolledError


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (TextError("it is bad"), "it is bad"),
        (TextError("it is bad", where="a.txt:3"), "a.txt:3: it is bad"),
        (FormatError("it is\nbad", hint="Mend it"), "it is bad. Mend it."),
        (SettingError("x is 1.", where="--x", hint="Say 2."), "--x: x is 1. Say 2."),
        (MissingExtraError("demo", "p"), "p is not installed. Run: pip install 'unrolled[demo]'"),
    ],
)
def test_an_error_is_one_sentence_and_pickles(error, sentence):
    assert str(error) == sentence
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == sentence
    assert isinstance(error, UnrolledError)


def test_errors_are_also_of_the_kind_that_python_would_raise():
    assert issubclass(SettingError, ValueError) and issubclass(MissingExtraError, ImportError)
