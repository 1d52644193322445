"""Quantized models: every context keeps its sum, and little else moves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import Sentences, corpora, histories, ids_of, model_of, orders, state_after
from corpora import zipf_sentences as text_of
from oracle import NgramOracle
from unrolled.errors import FormatError, SettingError
from unrolled.ngram.editing.quantization import check_bits, quantize
from unrolled.ngram.editing.quantization_bins import backoff_book
from unrolled.ngram.estimation.smoothing import SMOOTHINGS
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie.packed_trie import CODES, pack
from unrolled.ngram.trie.table import NgramTable
from unrolled.storage.loading import load
from unrolled.storage.model_file import prefixed, read_model, write_model

NORMALISED = sorted(set(SMOOTHINGS) - {"stupid-backoff"})


def context_sums(table: NgramTable) -> Any:
    """What every context sums to over the vocabulary, by S(h) = sum p + b(h) (S(h') - sum p')."""
    suffixes = table.link_suffixes().astype(np.int64)
    probabilities = np.exp(table.log_probs.astype(np.float64))
    weights = np.exp(table.backoffs.astype(np.float64))
    sums = np.zeros(table.inner)
    for length in range(1, table.order):
        here, above = table.level(length), table.level(length + 1)
        count, parents = here.stop - here.start, table.parents(length + 1) - here.start
        own = np.bincount(parents, probabilities[above], count)
        lower = np.bincount(parents, probabilities[suffixes[above]], count)
        shorter = probabilities[: table.levels[1]].sum() if length == 1 else sums[suffixes[here]]
        sums[here] = own + weights[here] * (shorter - lower)
    return sums


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@given(corpora(), orders, st.sampled_from([(), (0, 1), (0, 0, 2)]), st.booleans())
@settings(max_examples=10, deadline=None)
def test_every_context_keeps_its_sum(
    smoothing: str, corpus: tuple[Sentences, int], order: int, prune: tuple[int, ...], closed: bool
) -> None:
    chosen = {"smoothing": smoothing, "prune": prune[:order], "closed": closed}
    model = model_of(*corpus, order, **chosen)
    sums, coded = (context_sums(each.trie.unpack()) for each in (model, quantize(model)))
    assert np.abs(coded - sums).max(initial=0) < 1e-3
    if model.normalised:
        assert np.abs(sums - 1).max(initial=0) < 1e-6


@pytest.mark.parametrize("smoothing", NORMALISED)
def test_larger_models_sum_to_one_after_every_context(smoothing: str) -> None:
    for prune in ((), (0, 0, 1)):
        model = model_of(text_of(30_000, 2000, seed=8), 2000, 4, smoothing=smoothing, prune=prune)
        coded = quantize(model)
        assert np.abs(context_sums(coded.trie.unpack()) - 1).max() < 1e-3
        state = coded.start()
        for word in (3, 4, 3, 5):
            total = np.exp(coded.next_log_probs(state).astype(np.float64)).sum()
            assert total == pytest.approx(1, abs=1e-3)
            state = coded.advance(state, word)


@given(corpora(), st.sampled_from([2, 3, 5]), st.sampled_from(NORMALISED))
@settings(max_examples=15, deadline=None)
def test_distributions_after_any_history_sum_to_one(
    corpus: tuple[Sentences, int], order: int, smoothing: str
) -> None:
    model = quantize(model_of(*corpus, order, smoothing=smoothing))
    for history in histories(*corpus)[:20]:
        state = state_after(model, history)
        total = np.exp(model.next_log_probs(state).astype(np.float64)).sum()
        assert total == pytest.approx(1, abs=1e-3)


@pytest.fixture(scope="module")
def pair() -> tuple[NgramModel, NgramModel]:
    model = model_of(text_of(40_000, 3000, seed=2), 3000, 4)
    return model, quantize(model)


def perplexity_change(pair: tuple[NgramModel, NgramModel], ids: Any) -> float:
    """By what share rounding changes the perplexity of ids, either way."""
    exact, coded = (model.log_probs(ids)[ids != 1] for model in pair)
    possible = np.isfinite(exact)
    return abs(float(np.expm1((exact - coded)[possible].mean())))


def test_n_grams_unigrams_and_nearly_the_perplexity_stay(
    pair: tuple[NgramModel, NgramModel],
) -> None:
    plain, coded = pair
    for name in ("levels", "words", "directory", "ends", "unigrams"):
        one, other = (getattr(trie, name) for trie in (plain.trie, coded.trie.with_words))
        assert np.array_equal(one, other), name
    held_out = ids_of(text_of(10_000, 3000, seed=3))
    assert perplexity_change(pair, held_out) < 1.5e-3
    assert perplexity_change(pair, ids_of(text_of(40_000, 3000, seed=2))) < 1.5e-3
    table, rounded = plain.trie.unpack(), coded.trie.unpack()
    likely = table.log_probs > -3
    assert np.abs(rounded.log_probs[likely] - table.log_probs[likely]).max() < 0.5


def test_a_weight_that_stands_for_little_is_not_lost_to_the_rounding_of_the_children() -> None:
    text = [[1, 3 + word, 203 + word % 7, 2] for word in range(200) for _ in range(200 + word)]
    model = model_of(text, 210, 3, smoothing="absolute")
    exact, rounded = (each.trie.unpack().backoffs for each in (model, quantize(model)))
    small = np.isfinite(exact) & (exact < -5)
    assert small.sum() > 200
    assert np.abs(rounded - exact)[small].mean() < 0.1


def test_codes_take_one_byte_and_weights_are_few() -> None:
    plain = model_of(text_of(40_000, 3000, seed=2), 3000, 4, smoothing="katz")
    coded = quantize(plain)
    assert not coded.trie.interpolated
    assert coded.trie.log_probs.nbytes == plain.trie.log_probs.nbytes // 4
    assert np.unique(coded.trie.unpack().backoffs).size <= 512
    books_ascend(coded)


def books_ascend(coded: NgramModel) -> None:
    for book in coded.trie.log_prob_book:
        assert book.size == CODES
        assert book[0] == -np.inf
        assert np.all(np.diff(book[1:]) >= 0)


@pytest.mark.parametrize("words", range(60, 68))
def test_the_last_weight_is_read_whatever_their_number(words: int) -> None:
    """One block of 64 weights, or one and a few more."""
    text = [[1, word, word, 2] for word in range(3, 3 + words)]
    model = model_of(text, words + 3, 2, smoothing="witten-bell")
    marked = model.trie.backoff_count
    assert marked == words + 1  # every word, and <s>
    weights = [each.trie.unpack().backoffs for each in (model, quantize(model))]
    assert weights[1] == pytest.approx(weights[0], abs=0.05)


def test_threads_give_identical_codes() -> None:
    model = model_of(text_of(20_000, 800, seed=6), 800, 4, smoothing="katz")
    one, *others = (quantize(model, threads=threads).trie.arrays() for threads in (1, 2, 3))
    for other in others:
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_files_with_the_former_spelling_load(
    tmp_path: Path, pair: tuple[NgramModel, NgramModel]
) -> None:
    _, coded = pair
    contents = coded.contents()
    former = {**contents["config"], "quantised": True}
    del former["quantized"]
    write_model(tmp_path / "former", **{**contents, "config": former})
    config = load(tmp_path / "former").config
    assert (config["quantized"], "quantised" in config) == (True, False)


def test_only_quantized_models_store_words_alone(
    tmp_path: Path, pair: tuple[NgramModel, NgramModel]
) -> None:
    tables = {"vocabulary.text", "vocabulary.offsets", "vocabulary.slots"}
    for model, stored in zip(pair, (tables, {"vocabulary.words"}), strict=True):
        model.save(tmp_path / "model")
        names = read_model(tmp_path / "model").arrays
        assert {name for name in names if name.startswith("vocabulary.")} == stored
        assert load(tmp_path / "model").vocabulary == model.vocabulary


def test_files_with_a_table_of_words_load(
    tmp_path: Path, pair: tuple[NgramModel, NgramModel]
) -> None:
    _, coded = pair
    contents = coded.contents()
    words = prefixed("vocabulary.", coded.vocabulary.arrays())
    arrays = prefixed("trie.", coded.trie.arrays()) | words
    write_model(tmp_path / "former", **{**contents, "arrays": arrays})
    former = load(tmp_path / "former")
    for sentence in text_of(50, 40, seed=9):
        ids = np.array(sentence, np.int32)
        assert np.array_equal(former.log_probs(ids), coded.log_probs(ids))
    former.save(tmp_path / "new")
    assert load(tmp_path / "new").vocabulary == coded.vocabulary
    # A damaged table of words cannot become words alone.
    offsets = arrays["vocabulary.offsets"].copy()
    offsets[5] = offsets[4]
    damaged = {**arrays, "vocabulary.offsets": offsets}
    write_model(tmp_path / "damaged", **{**contents, "arrays": damaged})
    with pytest.raises(FormatError, match="the vocabulary is damaged"):
        load(tmp_path / "damaged").save(tmp_path / "new")
    assert load(tmp_path / "new").vocabulary == coded.vocabulary


def test_a_quantized_model_is_left_alone(pair: tuple[NgramModel, NgramModel]) -> None:
    plain, coded = pair
    assert quantize(coded) is coded
    assert coded.config == {**plain.config, "quantized": True}
    assert "quantized" not in plain.config


def test_impossible_words_stay_impossible() -> None:
    sentences = text_of(3000, 80, seed=4)
    model = model_of(sentences, 80, 3, smoothing="maximum-likelihood")
    coded = quantize(model)
    oracle = NgramOracle(sentences, 3, 80, smoothing="maximum-likelihood")
    assert oracle.probability(0, [1, 3]) == 0
    assert coded.step(state_after(coded, [1, 3]), 0)[1] == -np.inf


def test_stupid_back_off_keeps_its_factor() -> None:
    model = model_of(text_of(3000, 80, seed=4), 80, 3, smoothing="stupid-backoff", backoff=0.3)
    weights = np.exp(quantize(model).trie.unpack().backoffs)
    assert weights == pytest.approx(np.full(weights.size, 0.3), rel=0.05)


def test_contexts_that_are_no_distribution_are_rounded_to_the_nearest_codes() -> None:
    """Where single words sum to more than one no rounding can balance a context: none is sought."""
    model = model_of(text_of(8_000, 200, seed=2), 200, 3, smoothing="witten-bell")
    table = model.trie.unpack()
    table.log_probs[[5, 9]] = -1e-38
    coded = quantize(NgramModel(pack(table), model.vocabulary, model.config)).trie.unpack()
    suffixes = table.link_suffixes()
    for length in (2, 3):
        here = table.level(length)
        broken = np.zeros(table.inner, bool)
        likely = np.isin(suffixes[here] if length == 2 else suffixes[suffixes[here]], [5, 9])
        broken[table.parents(length)[likely]] = True
        children = here.start + np.flatnonzero(broken[table.parents(length)])
        assert children.size > 20
        book = np.unique(coded.log_probs[here])
        off = np.abs(coded.log_probs[children] - table.log_probs[children])
        nearest = np.abs(book[:, None] - table.log_probs[children]).min(axis=0)
        assert (off <= nearest * 1.001 + 0.2).all()


def test_order_one_has_nothing_to_round() -> None:
    model = model_of([[1, 3, 2]], 5, 1)
    ids = ids_of([[1, 3, 4, 2]])
    assert np.array_equal(quantize(model).log_probs(ids), model.log_probs(ids))


def test_other_widths_are_refused() -> None:
    check_bits(8)
    check_bits(None)
    with pytest.raises(
        SettingError, match=re.escape("probabilities cannot be quantized to 4 bits, only to 8")
    ):
        check_bits(4)


def test_what_a_damaged_model_leaves_does_not_overflow() -> None:
    needed, left = np.linspace(-3, 0, 40), np.linspace(0, 1, 40)
    left[7] = 1e200
    assert np.isfinite(backoff_book(needed, left, close=1e-3)[1:]).all()
