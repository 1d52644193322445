"""Queries: running text, single steps and whole distributions agree, wherever text is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import Sentences, corpora, histories, ids_of, model_of, orders, state_after, words_in
from oracle import NgramOracle
from unrolled.ngram.editing.quantization import quantize
from unrolled.ngram.estimation.smoothing import SMOOTHINGS
from unrolled.ngram.model import NgramModel
from unrolled.ngram.query.scoring_layout import work_arrays

smoothings = st.sampled_from(sorted(SMOOTHINGS))


def scored(model: NgramModel, ids: Any, state: Any) -> tuple[Any, Any]:
    """Scores and lengths from the kernel, which moves the state."""
    return model._continued(np.asarray(ids, np.int32), state)


def some_text(size: int, count: int, seed: int) -> Any:
    """Random ids in sentences, with some words outside the vocabulary."""
    draw = np.random.default_rng(seed)
    words = draw.integers(3, size + 1, count)
    marks = draw.random(count) < 0.15
    return np.where(marks, draw.choice([0, 1, 2, -3], count), words).astype(np.int32)


@given(corpora(), orders, smoothings, st.booleans(), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_text_scored_at_once_equals_steps_and_any_two_parts(
    corpus: tuple[Sentences, int], order: int, smoothing: str, coded: bool, seed: int
) -> None:
    sentences, size = corpus
    model = model_of(sentences, size, order, smoothing=smoothing)
    model = quantize(model) if coded else model
    text = np.concatenate([ids_of(sentences), some_text(size, 200, seed)])
    whole, lengths = scored(model, text, end := model.start(bos=False))
    state, steps = model.start(bos=False), []
    for word in text:
        state, *one = model.step(state, word)
        steps.append(one)
    assert whole.tolist() == [score for score, _ in steps]  # not a bit's difference
    assert lengths.tolist() == [length for _, length in steps]
    assert np.array_equal(state, end)
    for cut in {1, 63, 64, 65, 128, text.size - 1, seed % text.size}:
        state = model.start(bos=False)
        parts = [scored(model, part, state)[0] for part in (text[:cut], text[cut:])]
        assert np.array_equal(np.concatenate(parts), whole)
        assert np.array_equal(state, end)


@given(corpora(), orders, smoothings, st.booleans(), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_scores_do_not_depend_on_how_many_words_are_sorted_at_a_time(
    corpus: tuple[Sentences, int], order: int, smoothing: str, coded: bool, seed: int
) -> None:
    sentences, size = corpus
    model = model_of(sentences, size, order, smoothing=smoothing)
    model = quantize(model) if coded else model
    text = np.concatenate([ids_of(sentences), some_text(size, 300, seed)]).astype(np.int32)
    whole, lengths = scored(model, text, end := model.start(bos=False))
    for batch in (1, 2, 7, 63, 64, 65, 128, text.size - 1):
        state, work = model.start(bos=False), work_arrays(text.size, batch)
        got = np.empty(text.size, np.float32), np.empty(text.size, np.uint8)
        model._score(text, state, *got, *work)
        assert np.array_equal(got[0], whole), batch  # not a bit's difference
        assert np.array_equal(got[1], lengths)
        assert np.array_equal(state, end)


@given(corpora(), orders, smoothings, st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_next_distribution_holds_what_steps_give(
    corpus: tuple[Sentences, int], order: int, smoothing: str, coded: bool
) -> None:
    sentences, size = corpus
    model = model_of(sentences, size, order, smoothing=smoothing)
    model = quantize(model) if coded else model
    for history in histories(sentences, size)[:25]:
        state = state_after(model, history)
        before = state.copy()
        if not model.normalised:
            continue
        distribution = model.next_log_probs(state)
        assert np.array_equal(state, before)
        steps = [model.step(state, word)[1] for word in range(size)]
        steps[1] = -np.inf  # <s> is not predicted; a step over it begins a sentence
        assert distribution == pytest.approx(np.array(steps), rel=1e-5, abs=1e-5)


@given(corpora(), orders)
@settings(max_examples=30, deadline=None)
def test_states_depend_on_the_last_words_alone(corpus: tuple[Sentences, int], order: int) -> None:
    sentences, size = corpus
    model = model_of(sentences, size, order)
    for history in histories(sentences, size)[:20]:
        short = state_after(model, history[-order + 1 :] if order > 1 else [])
        assert np.array_equal(state_after(model, history)[:-1], short[:-1])


def test_a_sentence_mark_forgets_all_and_scores_nothing() -> None:
    model = model_of([[1, 3, 4, 2], [1, 4, 3, 2]], 6, 3)
    state = state_after(model, [1, 3, 4])
    after, log_prob, length = model.step(state, 1)
    assert (log_prob, length) == (0.0, 0)
    assert np.array_equal(after, model.start())
    assert np.array_equal(model.start(), state_after(model, [1]))
    assert not np.array_equal(model.start(bos=False), model.start())


def test_ids_outside_the_vocabulary_are_unknown_words() -> None:
    model = model_of([[1, 3, 4, 2], [1, 0, 3, 2]], 6, 3)
    text = np.array([1, 3, 0, 4, 2])
    expected = model.log_probs(text)
    for stranger in (6, 2**31 - 1, -1, 2**31, 2**40 + 3, -(2**40)):
        other = np.where(text == 0, stranger, text)
        assert np.array_equal(model.log_probs(other), expected), stranger
        if -(2**31) <= stranger < 2**31:
            stepped = model.step(model.start(), stranger)
            assert stepped[1:] == model.step(model.start(), 0)[1:]
    for kind in (np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.int64, np.uint64):
        assert np.array_equal(model.log_probs(text.astype(kind)), expected)


def test_stupid_back_off_pays_for_every_word_of_context_it_drops() -> None:
    sentences = [[1, 3, 4, 5, 2], [1, 4, 5, 2]]
    model = model_of(sentences, 8, 4, smoothing="stupid-backoff", backoff=0.5)
    oracle = NgramOracle(sentences, 4, 8, smoothing="stupid-backoff", backoff=0.5)
    for history in ([], [1], [1, 6], [1, 6, 7], [1, 6, 7, 6], [3, 4], [1, 3, 4, 5], [7, 3]):
        for word in range(2, 8):
            got = np.exp(model.step(state_after(model, history), word)[1])
            assert got == pytest.approx(oracle.probability(word, history), rel=1e-6)
    # By hand: "4" has 2 of 7 tokens; nothing of <s> 6 7 was seen before it.
    assert np.exp(model.step(state_after(model, [1, 6, 7]), 4)[1]) == pytest.approx(2 / 7 / 8)


def test_nothing_to_score() -> None:
    model = model_of([[1, 3, 2]], 4, 2)
    assert model.log_probs(np.empty(0, np.int32)).size == 0
    assert model.score(np.empty(0, np.int32), eos=False) == 0.0


def test_vocabulary_words_never_seen_share_the_mass_of_unk() -> None:
    model = model_of([[1, 3, 2]], 9, 2)
    distribution = model.next_log_probs(model.start())
    assert np.ptp(distribution[[0, 4, 5, 6, 7, 8]]) == 0
    assert words_in(9).word(8) == "w8"


def test_one_word_among_thousands_that_may_follow() -> None:
    """Wide contexts are searched by guesses; a single sentence is searched in another way."""
    words = np.random.default_rng(3).permutation(4000) + 3
    sentences = [[1, 3, int(word), 2] for word in words[:2500]]  # word 3 has 2500 children
    sentences += [[1, int(words[k]), int(words[k + d]), 2] for k in range(100) for d in range(1, k)]
    model = model_of(sentences, 4003, 2, smoothing="witten-bell")
    pairs = [(3, int(word)) for word in words] + [(int(words[99]), int(word)) for word in words]
    ids = np.array([word for pair in pairs for word in (1, *pair, 2)], np.int32)
    sums = np.add.reduceat(model.log_probs(ids), np.arange(0, ids.size, 4), dtype=np.float64)
    texts = [" ".join(model.vocabulary.words(pair)) for pair in pairs]
    np.testing.assert_allclose(sums, [model.score(text) for text in texts], atol=1e-5)
