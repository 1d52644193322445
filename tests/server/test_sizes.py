"""Requests that ask for too much are refused in the unit that was counted."""

from __future__ import annotations

import pytest

import unrolled
from unrolled.server.answers import RefusedError
from unrolled.server.settings import ServerSettings
from unrolled.server.sizes import MAX_CONTEXT, check_lengths, short_context


@pytest.fixture(scope="module")
def model() -> unrolled.NgramModel:
    return unrolled.train_ngram(texts=["the cat sat"], order=2, smoothing="witten-bell")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the cat " * 6, "a sentence has 12 tokens, allowed are 10"),
        ("x" * 81, "a sentence has 81 characters, allowed are 80"),
    ],
)
def test_a_long_sentence(model: unrolled.NgramModel, text: str, message: str) -> None:
    limits = ServerSettings(max_sentence=10)
    check_lengths(model, ["the cat " * 5, "x" * 80], limits)
    with pytest.raises(RefusedError, match=message):
        check_lengths(model, [text], limits)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the " * (MAX_CONTEXT + 1), "has 1,001 tokens, allowed are 1,000"),
        ("x" * (100 * MAX_CONTEXT + 1), "has 100,001 characters, allowed are 100,000"),
    ],
)
def test_a_long_context(model: unrolled.NgramModel, text: str, message: str) -> None:
    assert short_context(model, "the " * MAX_CONTEXT) == ["the"] * MAX_CONTEXT
    assert short_context(model, "") == []
    with pytest.raises(RefusedError, match=message):
        short_context(model, text)
