"""The cache model against counting with weights written out, in sentences and in running text."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unrolled
from unrolled.errors import FormatError, SettingError
from unrolled.language_models.cache import CacheModel
from unrolled.language_models.mixture import Mixture
from unrolled.language_models.mixture_tuning import mix_models
from unrolled.storage.model_file import write_model
from unrolled.text.vocabulary import BOS, EOS, Vocabulary

WORDS = Vocabulary.from_words(["a", "b", "c"])
sentences = st.lists(st.lists(st.sampled_from([0, 3, 4, 5]), max_size=6), min_size=1, max_size=5)


def by_hand(history, word, half_life, prior):
    """Each earlier word weighs 0.5 ** (tokens since it / half_life)."""
    weights = [0.5 ** (age / half_life) for age in range(len(history))]
    hit = sum(weight for weight, past in zip(weights, reversed(history), strict=True)
              if past == word)  # fmt: skip
    return (hit + prior / (len(WORDS) - 1)) / (sum(weights) + prior)


@given(sentences, st.sampled_from([0.5, 3.0, 100.0]), st.sampled_from([0.1, 1.0, 4.0]))
def test_probabilities_are_the_weighted_counts(text, half_life, prior):
    cache = CacheModel(WORDS, half_life=half_life, prior=prior)
    ids = np.array([word for body in text for word in (BOS, *body, EOS)], np.int32)
    for scores, running in ((cache.text_log_probs(ids), True), (cache.log_probs(ids), False)):
        history, state = [], cache.start()
        for word, score in zip(ids.tolist(), scores, strict=True):
            if word == BOS:
                assert score == 0
                if not running:
                    history, state = [], cache.start()
                continue
            expected = by_hand(history, word, half_life, prior)
            assert math.exp(score) == pytest.approx(expected, rel=1e-5)
            following = cache.next_log_probs(state)
            assert following[word] == pytest.approx(score, abs=1e-5)
            assert np.exp(following.astype(np.float64)).sum() == pytest.approx(1, abs=1e-6)
            assert following[BOS] == -np.inf
            history.append(word)
            state = cache.advance(state, word)


def test_ids_outside_the_vocabulary_are_unknown():
    cache = CacheModel(WORDS)
    ids = np.array([BOS, 99, -1, 0, EOS], np.int64)
    plain = np.array([BOS, 0, 0, 0, EOS], np.int64)
    np.testing.assert_array_equal(cache.log_probs(ids), cache.log_probs(plain))


def test_a_running_text_gains_and_sentences_by_themselves_do_not_know_each_other(tmp_path):
    texts = [f"the {word} sat on the {word}" for word in ["cat", "dog", "cow", "pig"]]
    model = unrolled.train_ngram(texts=texts, order=2, smoothing="witten-bell")
    held_out = tmp_path / "t.txt"
    held_out.write_text("the pig sat\n" * 30 + "the cow sat\n" * 30)
    cache = CacheModel(model.vocabulary, half_life=10)
    mixture = mix_models([model, cache], held_out)
    plain = unrolled.evaluate(model, held_out).perplexity
    assert unrolled.evaluate(mixture, held_out).perplexity < 0.9 * plain
    assert mixture.provenance["tuned"]["perplexity"] == pytest.approx(
        unrolled.evaluate(mixture, held_out).perplexity, rel=1e-5
    )
    alone = unrolled.score_sentences(mixture, ["the pig sat"])[0]
    together = unrolled.score_sentences(mixture, ["the pig sat"] * 3)
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    ids = np.array([BOS, 3, EOS], np.int32)
    np.testing.assert_array_equal(model.text_log_probs(ids), model.log_probs(ids))


def test_saved_opened_and_refused(tmp_path):
    options = unrolled.TextOptions(lower=True)
    cache = CacheModel(WORDS, half_life=7, prior=0.5, text_options=options)
    path = tmp_path / "c.safetensors"
    cache.save(path)
    opened = unrolled.load(path)
    assert (opened.name, opened.prior, opened.text_options) == ("cache-7", 0.5, options)
    assert pickle.loads(pickle.dumps(opened)).name == "cache-7"
    mixture = Mixture([opened, cache], [0.5, 0.5])
    mixture.save(tmp_path / "m.safetensors")
    assert unrolled.load(tmp_path / "m.safetensors").models[0].half_life == 7
    for change in ({"half_life": 0}, {"prior": "much"}, {"text": {"colour": "red"}}):
        contents = cache.contents()
        write_model(path, **{**contents, "config": {**contents["config"], **change}})
        with pytest.raises(FormatError, match="(cache is|options are) not understood"):
            unrolled.load(path)
    with pytest.raises(SettingError, match="half_life 0 must be above 0"):
        CacheModel(WORDS, half_life=0)
    with pytest.raises(SettingError, match="prior inf must be above 0"):
        CacheModel(WORDS, prior=math.inf)
    with pytest.raises(SettingError, match="pickled by its path"):
        pickle.dumps(CacheModel(WORDS))
