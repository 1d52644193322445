"""Small n-gram models that several test files share."""

from __future__ import annotations

import pytest

from chain_model import TEXTS
from unrolled import train_ngram
from unrolled.ngram.model import NgramModel


@pytest.fixture(scope="session")
def model() -> NgramModel:
    return train_ngram(texts=TEXTS, order=3, smoothing="witten-bell")


@pytest.fixture(scope="session")
def stupid() -> NgramModel:
    return train_ngram(texts=TEXTS, order=3, smoothing="stupid-backoff")
