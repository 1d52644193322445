"""Every context of every kind of model sums to one over the vocabulary."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from unrolled import quantize, train_ngram
from unrolled.ngram.estimation.smoothing import SMOOTHINGS
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie.packed_trie import pack
from unrolled.text.vocabulary import BOS, EOS

NORMALISED = sorted(set(SMOOTHINGS) - {"stupid-backoff"})


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """A few thousand sentences over a Zipf vocabulary, with repeats, so that n-grams recur."""
    random = np.random.default_rng(8)
    words = [f"w{number}" for number in range(300)]
    weights = 1 / np.arange(1, 301)
    sentences = []
    for _ in range(3000):
        size = int(random.integers(0, 12))
        drawn = random.choice(300, size, p=weights / weights.sum())
        sentences.append(" ".join(words[number] for number in drawn))
    return sentences + sentences[:500]


def contexts(model: NgramModel) -> list[list[int]]:
    """Contexts of every length: seen, seen after <s>, unseen, and with unknown words in them."""
    random = np.random.default_rng(3)
    table = model.trie.unpack()
    chosen: list[list[int]] = [[], [BOS], [0], [BOS, 0]]
    for length in range(1, model.order):
        grams = table.ngrams(length)
        chosen += grams[random.integers(0, len(grams), 25)].tolist()
        chosen += random.integers(3, len(model.vocabulary), (10, length)).tolist()
    return [context for context in chosen if EOS not in context]


def worst_sum(model: NgramModel) -> float:
    worst = 0.0
    for context in contexts(model):
        state = model.start(bos=False)
        for word in context:
            state = model.advance(state, word)
        total = np.exp(model.next_log_probs(state).astype(np.float64)).sum()
        worst = max(worst, abs(total - 1))
    return worst


@pytest.mark.parametrize("prune", [(), (0, 0, 1), (0, 1, 1, 2)])
@pytest.mark.parametrize("smoothing", NORMALISED)
@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
def test_sums_to_one(texts: list[str], smoothing: str, prune: tuple[int, ...]) -> None:
    model = train_ngram(texts=texts, order=4, smoothing=smoothing, prune=prune)
    assert worst_sum(model) < 1e-6


@pytest.mark.parametrize(
    "settings",
    [{"order": 1}, {"order": 2}, {"order": 7}, {"closed": True}, {"interpolate_unigrams": False}],
)
@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
def test_sums_to_one_under_other_settings(texts: list[str], settings: dict[str, Any]) -> None:
    assert worst_sum(train_ngram(texts=texts, **settings)) < 1e-6


@pytest.mark.parametrize("prune", [(), (0, 0, 1)])
@pytest.mark.parametrize("smoothing", NORMALISED)
@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
def test_quantized_sums_to_one(texts: list[str], smoothing: str, prune: tuple[int, ...]) -> None:
    model = quantize(train_ngram(texts=texts, order=4, smoothing=smoothing, prune=prune))
    assert worst_sum(model) < 1e-3


def test_sums_notice_a_wrong_weight(texts: list[str]) -> None:
    model = train_ngram(texts=texts, order=3, smoothing="witten-bell")
    table = model.trie.unpack()
    trie = pack(replace(table, backoffs=table.backoffs * np.float32(1.01)))
    assert worst_sum(NgramModel(trie, model.vocabulary, model.config)) > 1e-4
