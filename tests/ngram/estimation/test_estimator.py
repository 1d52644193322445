"""Every smoothing method against its definition, over odd corpora, cut-offs and vocabularies."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import (
    Sentences,
    corpora,
    counts_of,
    histories,
    ids_of,
    model_of,
    orders,
    state_after,
    zipf_sentences,
)
from oracle import NgramOracle
from unrolled import train_ngram
from unrolled.errors import SettingError, TextError, UnrolledWarning
from unrolled.ngram.estimation.config import SMOOTHING_NAMES, NgramConfig
from unrolled.ngram.estimation.estimator import estimate
from unrolled.ngram.estimation.smoothing import SMOOTHINGS
from unrolled.ngram.trie.layout import MAX_ORDER
from unrolled.settings import settings_of

NORMALISED = sorted(set(SMOOTHINGS) - {"stupid-backoff"})

cutoffs = st.lists(st.sampled_from([0, 0, 1, 2]), max_size=4).map(lambda more: (0, *sorted(more)))


def check(sentences: Sentences, size: int, order: int, **chosen: Any) -> None:
    """Every word after many contexts: value, length of n-gram, and the sum over the words."""
    model = model_of(sentences, size, order, **chosen)
    if chosen.get("smoothing") == "additive":
        chosen = {"delta": model.provenance.get("deltas"), **chosen}
    oracle = NgramOracle(sentences, order, size, **chosen)
    for history in histories(sentences, size):
        state = state_after(model, history)
        for word in range(size):
            if word == 1:
                continue
            _, log_prob, length = model.step(state, word)
            expected = oracle.probability(word, history)
            assert math.exp(log_prob) == pytest.approx(expected, abs=1e-5, rel=1e-5)
            assert length == oracle.length(word, history)
        if model.normalised:
            total = np.exp(model.next_log_probs(state).astype(np.float64)).sum()
            # What a padded vocabulary leaves belongs to words that are not in it.
            expected = math.fsum(oracle.distribution(history)) if "vocabulary_pad" in chosen else 1
            assert total == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@given(corpora(), orders, cutoffs, st.booleans())
@settings(max_examples=12, deadline=None)
def test_probabilities_equal_their_definition_and_sum_to_one(
    smoothing: str, corpus: tuple[Sentences, int], order: int, prune: tuple[int, ...], closed: bool
) -> None:
    check(*corpus, order, smoothing=smoothing, prune=prune[:order], closed=closed)


@pytest.mark.parametrize("smoothing", NORMALISED)
@given(corpora(), st.sampled_from([1, 2, 3]))
@settings(max_examples=5, deadline=None)
def test_without_interpolated_unigrams_the_rest_goes_to_unk(
    smoothing: str, corpus: tuple[Sentences, int], order: int
) -> None:
    check(*corpus, order, smoothing=smoothing, interpolate_unigrams=False)


@pytest.mark.parametrize("smoothing", NORMALISED)
@given(corpora(), st.sampled_from([1, 2, 3]), st.sampled_from([1, 80, 1000]))
@settings(max_examples=5, deadline=None)
def test_a_padded_vocabulary_keeps_mass_for_unlisted_words(
    smoothing: str, corpus: tuple[Sentences, int], order: int, pad: int
) -> None:
    check(*corpus, order, smoothing=smoothing, vocabulary_pad=pad)


@given(corpora(), st.floats(1e-3, 100), st.floats(0.01, 1))
@settings(max_examples=8, deadline=None)
def test_delta_and_back_off_factor(
    corpus: tuple[Sentences, int], delta: float, factor: float
) -> None:
    check(*corpus, 3, smoothing="additive", delta=delta)
    check(*corpus, 3, smoothing="stupid-backoff", backoff=factor)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_larger_text_where_the_formulas_hold(smoothing: str) -> None:
    sentences = zipf_sentences(20_000, 4000, seed=4)
    model = model_of(sentences, 4000, 3, smoothing=smoothing)
    delta = model.provenance.get("deltas", 1.0)
    oracle = NgramOracle(sentences, 3, 4000, smoothing=smoothing, delta=delta)
    assert not oracle.fallen_back, "this text is to test the formulas"
    scores = model.log_probs(ids_of(sentences[:12]))
    expected = [
        oracle.probability(word, sentence[:place]) if place else 1.0
        for sentence in sentences[:12]
        for place, word in enumerate(sentence)
    ]
    assert np.exp(scores) == pytest.approx(np.array(expected), rel=1e-5)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_threads_give_identical_models(smoothing: str) -> None:
    sentences = zipf_sentences(20_000, 500, seed=4)
    config = NgramConfig(order=4, smoothing=smoothing, prune=(0, 0, 1))
    tables = []
    for threads in (1, 2, 3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnrolledWarning)
            counts = counts_of(sentences, 500, 4, threads)
            tables.append(estimate(counts, config, threads=threads).table)
    for table in tables[1:]:
        for name in ("levels", "words", "first", "log_probs", "backoffs"):
            assert np.array_equal(getattr(table, name), getattr(tables[0], name)), name


def golden_text() -> list[str]:
    """200 lines of 0 to 8 of 30 words from a congruential generator; the last has a word once."""
    state, lines = 8, []

    def draw(below: int) -> int:
        nonlocal state
        state = (1103515245 * state + 12345) % 2**31
        return (state >> 8) % below

    for _ in range(200):
        words = [f"w{min(draw(30), draw(30), draw(30))}" for _ in range(draw(9))]
        lines.append(" ".join(words))
    return [*lines, "w0 w1 last"]


# lmplz -o 3 --text golden.txt --arpa golden.arpa (KenLM 4cb443e6), and with --prune 0 0 1.
# The last line's new word keeps lmplz's known count-of-counts flaw from changing anything.
GOLDEN_DISCOUNTS = [[0.6, 0.2, 3], [0.516556, 0.938583, 1.84291], [0.83871, 1.32903, 2.16129]]
GOLDEN = {
    "": {
        "<unk>": -2.127189,
        "</s>": -1.1122214,
        "w5": -1.3173233,
        "<s> </s>": -1.041499,
        "w1 w0": -1.1055574,
        "w1 w0 </s>": -0.5541582,
        "w0 w0 </s>": -0.8393793,
        "<s> w0 w17": -1.5860755,
        "<s> w0 w1": -1.1042414,
        "w1 w0 w6": -1.2005875,
        "w0 w1 last": -1.4327271,
    },
    "pruned": {
        "<unk>": -2.127189,
        "w5": -1.3173233,
        "<s> </s>": -1.041499,
        "w1 w0": -1.1055574,
        "w1 w0 </s>": -0.5398317,
        "<s> w0 w1": -1.0863947,
    },
}


@pytest.mark.parametrize("which", GOLDEN)
def test_modified_kneser_ney_agrees_with_lmplz(which: str) -> None:
    prune = (0, 0, 1) if which else ()
    model = train_ngram(texts=golden_text(), order=3, prune=prune)
    discounts = model.provenance["discounts"]
    assert np.array(discounts) == pytest.approx(np.array(GOLDEN_DISCOUNTS), rel=1e-5)
    sizes = np.diff(model.trie.levels).tolist()
    assert sizes == ([31, 344, 81] if which else [31, 344, 705])
    for ngram, log10 in GOLDEN[which].items():
        *history, word = model.vocabulary.ids(ngram.split())
        got = model.step(state_after(model, history), int(word))[1] / math.log(10)
        assert got == pytest.approx(log10, abs=2e-6)


@pytest.mark.parametrize(
    ("smoothing", "first", "instead"),
    [
        ("modified-kneser-ney", "no n-gram has the count 2", "discounts (0.5, 1.0, 1.5)"),
        ("kneser-ney", "no n-gram has the count 2", "discounts (0.5, 1.0, 1.5)"),
        ("absolute", "no n-gram has the count 2", "discounts (0.5, 1.0, 1.5)"),
        ("katz", "no n-gram has the count 2", "the discounts of counts 1 to 3 as ratios"),
    ],
)
def test_a_lacking_discount_is_told_once_an_order_or_refused(
    smoothing: str, first: str, instead: str
) -> None:
    counts = counts_of([[1, 3, 4, 5, 2]], 6, 2)
    title = SMOOTHINGS[smoothing].title
    with pytest.warns(UnrolledWarning) as told:
        estimate(counts, NgramConfig(order=2, smoothing=smoothing))
    assert [str(warning.message) for warning in told] == [
        f"order {order}: {first}, so {title} has no closed form there; using {instead}"
        for order in (1, 2)
    ]
    counts = counts_of([[1, 3, 4, 5, 2]], 6, 2)
    with pytest.raises(
        TextError,
        match=re.escape(
            f"order 1: {first}, so {title} has no closed form there. "
            "Use more text, or leave out strict"
        ),
    ):
        estimate(counts, NgramConfig(order=2, smoothing=smoothing, strict=True))


def test_a_discount_out_of_range_is_told() -> None:
    words = [*range(3, 33), *[33, 33, 34, 34], 35, 35, 35, *list(range(36, 60)) * 4]
    with pytest.warns(UnrolledWarning, match="order 1: the discount of count 3 would be -"):
        estimate(counts_of([[1, *words, 2]], 60, 1), NgramConfig(order=1))


def test_the_fallback_can_be_chosen() -> None:
    check([[1, 3, 4, 2]], 6, 2, discount_fallback=(0.1, 0.2, 0.3))
    check([[1, 3, 4, 2]], 6, 2, discount_fallback=(1, 2, 3))
    check([[1, 3, 4, 2]], 6, 2, discount_fallback=(0, 0, 0))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"smoothing": "kneser"}, "smoothing is 'kneser', allowed are modified-kneser-ney, "),
        ({"prune": (0, 2, 1)}, "prune is [0, 2, 1], and must not fall"),
        ({"prune": (-1,)}, "prune is (-1,), allowed are whole numbers, 0 and more"),
        ({"prune": (0, 0, 1), "order": 2}, "prune has 3 cut-offs, which are more than the order 2"),
        ({"prune": (1,)}, "but single words cannot be pruned. limit the vocabulary with min_count"),
        ({"delta": 0}, "delta is 0, allowed are numbers above 0"),
        ({"delta": math.inf}, "delta is inf, allowed are numbers above 0"),
        ({"delta": math.nan}, "delta is nan, allowed are numbers above 0"),
        ({"backoff": 0}, "backoff is 0, allowed are numbers above 0, up to 1"),
        ({"backoff": 1.5}, "backoff is 1.5, allowed are numbers above 0, up to 1"),
        (
            {"discount_fallback": (0.5, 1)},
            "is (0.5, 1), allowed are 3 numbers, 0 and more",
        ),
        (
            {"discount_fallback": (0.5, 2.5, 3)},
            "allowed are 0 to 1, 0 to 2 and 0 to 3",
        ),
        (
            {"smoothing": "katz", "discount_fallback": (1, 1, 1)},
            "must be below 1, 2 and 3 for katz",
        ),
        (
            {"interpolate_unigrams": False, "closed": True},
            "the vocabulary can be neither closed nor padded",
        ),
        (
            {"interpolate_unigrams": False, "vocabulary_pad": 9},
            "the vocabulary can be neither closed nor padded",
        ),
    ],
)
def test_settings_are_checked(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match="(?i)" + re.escape(message)):
        NgramConfig(**chosen)


def test_cutoffs_hold_for_longer_n_grams_and_config_survives_json() -> None:
    config = NgramConfig(order=4, prune=(0, 1))
    assert [config.cutoff(length) for length in (1, 2, 3, 4)] == [0, 1, 1, 1]
    assert NgramConfig().cutoff(3) == 0
    assert NgramConfig(order=4, prune=[0, 1]) == config  # type: ignore[arg-type]


def test_settings_know_all_smoothing_methods_and_the_largest_order() -> None:
    assert tuple(SMOOTHINGS) == SMOOTHING_NAMES
    assert settings_of(NgramConfig)["order"].maximum == MAX_ORDER


def test_pruning_keeps_the_discounts_and_the_shape() -> None:
    sentences = zipf_sentences(3000, 60, seed=9)
    plain, pruned = (model_of(sentences, 60, 3, prune=prune) for prune in ((), (0, 0, 1)))
    oracle = NgramOracle(sentences, 3, 60, prune=(0, 0, 1))
    assert np.diff(pruned.trie.levels)[2] == len(oracle.ngrams(3)) < np.diff(plain.trie.levels)[2]
    assert np.array_equal(plain.trie.unigrams, pruned.trie.unigrams)
