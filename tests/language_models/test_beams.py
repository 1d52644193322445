"""Many hypotheses at once: `extend` and `score_beams` of every kind of model equal single steps."""

from __future__ import annotations

import numpy as np
import pytest
from tests.ngram.backoff_oracle import small_model
from tests.small_nets import WORDS
from tests.small_nets import small_model as small_net

import unrolled
from unrolled.errors import SettingError
from unrolled.language_models.cache import CacheModel

NETS = ["elman", "lstm", "gru", "feed-forward"]


def models():
    for order in (1, 2, 3, 5):
        yield f"witten-bell-{order}", lambda order=order: small_model(order=order)
    yield "stupid", lambda: small_model(order=3, smoothing="stupid-backoff")
    yield "quantized", lambda: unrolled.quantize(small_model(order=4))
    yield "pruned", lambda: unrolled.entropy_prune(small_model(order=4), 1e-2)
    for how, weights in (("linear", [0.3, 0.7]), ("log-linear", [0.5, 1.0])):
        yield (
            how,
            lambda how=how, weights=weights: unrolled.Mixture(
                [small_model(order=2), small_model(order=4)], weights, how=how
            ),
        )
    yield "cache", lambda: CacheModel(small_model().vocabulary)
    for cell in NETS:
        yield cell, lambda cell=cell: small_net(cell=cell)
    yield "net and n-grams", lambda: mixed_with_net()


def mixed_with_net():
    texts = [" ".join(WORDS), " ".join(WORDS[::-1]), "the cat sat on the mat ."]
    ngram = unrolled.train_ngram(texts=texts, order=3, smoothing="witten-bell")
    return unrolled.Mixture([small_net(cell="lstm", maxent_size=50), ngram], [0.5, 0.5])


@pytest.fixture(params=list(models()), ids=lambda made: made[0])
def model(request):
    return request.param[1]()


def single_scores(model, state, words):
    """What stepping gives, also of stupid back-off, which has no distribution."""
    if model.normalised:
        return model.next_log_probs(state)[words]
    return np.array([model.step(state, word)[1] for word in words.tolist()])


def test_equal_to_single_steps(model):
    random, size, count = np.random.default_rng(0), len(model.vocabulary), 5
    every = np.array([word for word in range(size) if word != 1])
    states, singles = model.start_states(count), [model.start() for _ in range(count)]
    assert isinstance(states, np.ndarray)
    assert len(states) == count
    for _ in range(7):
        wanted = np.array([single_scores(model, state, every) for state in singles])
        found = model.score_beams(states, np.tile(every, (count, 1)))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=2e-5)
        words = random.choice(np.delete(every, 1), count)  # no </s>, after which nets differ
        if model.normalised:
            assert np.all(model.score_beams(states, np.full((count, 1), 1)) == -np.inf)
        before = states.copy()
        after, scores = model.extend(states, words)
        assert np.array_equal(states, before)
        np.testing.assert_allclose(
            scores, wanted[np.arange(count), np.searchsorted(every, words)], atol=2e-5
        )
        order = random.permutation(count)  # rows can be taken in any order
        states = after[order]
        singles = [model.advance(singles[row], int(words[row])) for row in order]


def test_ids_outside_the_vocabulary_are_unknown(model):
    states = model.start_states(2)
    size = len(model.vocabulary)
    for strange in (size, -1, 2**40):
        _, scores = model.extend(states, np.array([strange, 0]))
        assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_no_hypotheses(model):
    states = model.start_states(0)
    after, scores = model.extend(states, np.zeros(0, np.int64))
    assert (len(after), scores.shape) == (0, (0,))
    assert model.score_beams(states, np.zeros((0, 3), np.int64)).shape == (0, 3)
    assert model.score_beams(model.start_states(2), np.zeros((2, 0), np.int64)).shape == (2, 0)


def test_words_that_do_not_fit(model):
    states = model.start_states(3)
    with pytest.raises(SettingError, match=r"words are int64 of shape \(2,\) .* N = 3"):
        model.extend(states, np.array([3, 4]))
    with pytest.raises(SettingError, match="words are float64"):
        model.extend(states, np.zeros(3))
    with pytest.raises(SettingError, match=r"must be integers of shape \(N, K\)"):
        model.score_beams(states, np.array([3, 4, 5]))


@pytest.mark.parametrize("name", ["witten-bell-3", "lstm", "linear"])
def test_states_of_another_model(name):
    model = dict(models())[name]()
    with pytest.raises(SettingError, match="these are no states of"):
        model.extend(np.zeros((2, 77), np.uint8), np.array([3, 4]))


def test_equal_rows_have_equal_futures():
    """After words whose contexts are in no longer n-gram the rows are one: hypotheses merge."""
    model = unrolled.train_ngram(texts=["a b c", "b a d"], order=3, smoothing="witten-bell")
    ids = model.vocabulary.ids(["c", "d"])
    states, _ = model.extend(model.start_states(2), ids)  # "<s> c" and "<s> d" are no n-grams
    again, _ = model.extend(states, model.vocabulary.ids(["a", "a"]))
    assert np.array_equal(again[0], again[1])
    distribution = model.next_log_probs(again[0])
    state = model.start()
    for word in ("c", "a"):
        state = model.advance(state, model.vocabulary.id(word))
    np.testing.assert_allclose(distribution, model.next_log_probs(state), atol=1e-6)


def test_states_of_damaged_numbers_stay_inside():
    model = small_model(order=4)
    random = np.random.default_rng(1)
    states = random.integers(-(2**62), 2**62, (200, 4))
    states[100:] %= int(model.trie.levels[-1])
    after, _ = model.extend(states, random.integers(0, 9, 200))
    assert np.all(after < model.trie.levels[-1])
    model.score_beams(states, random.integers(-5, 50, (200, 7)))


def test_very_long_orders():
    model = unrolled.train_ngram(texts=["a b " * 60] * 2, order=90, smoothing="witten-bell")
    ids = np.array(model.vocabulary.ids(["a", "b"] * 50))
    states, total = model.start_states(1), []
    for word in ids:
        states, scores = model.extend(states, np.array([word]))
        total.append(scores[0])
    wanted = model.log_probs(np.array([1, *ids, 2]))
    np.testing.assert_allclose(total, wanted[1:-1], atol=1e-5)
