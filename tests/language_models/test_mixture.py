"""Mixtures of models against arithmetic written out, over words in any order, saved and opened."""

from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest

import unrolled
from unrolled.errors import FormatError, NotNormalisedError, SettingError, TextError
from unrolled.language_models.cache import CacheModel
from unrolled.language_models.mixture import Mixture
from unrolled.language_models.mixture_tuning import mix_models, spread_sentences
from unrolled.language_models.mixture_weights import log_linear_weights
from unrolled.language_models.protocol import LanguageModel
from unrolled.storage.model_file import read_model, write_model
from unrolled.text.vocabulary import BOS, EOS, UNK, Vocabulary

TEXTS = ["the cat sat on the mat", "the dog sat", "a cat and a dog met", "the cat ran"]
HELD_OUT = "the cat met a dog\nthe zebra sat on a mat\na dog ran\n"


class Shuffled(LanguageModel):
    """A model of another kind with its ids in another order: fixed bigram probabilities."""

    name = "shuffled"
    parameters = 81

    def __init__(self, words: list[str], seed: int = 0) -> None:
        super().__init__(Vocabulary.from_words(words))
        random = np.random.default_rng(seed)
        table = random.dirichlet(np.full(len(self.vocabulary) - 1, 0.7), len(self.vocabulary))
        with np.errstate(divide="ignore"):
            self.table = np.log(np.insert(table, BOS, 0, axis=1)).astype(np.float32)

    def log_probs(self, ids):
        scores = np.zeros(ids.size, np.float32)
        scores[1:] = self.table[ids[:-1], ids[1:]]
        scores[ids == BOS] = 0
        return scores

    def start(self):
        return BOS

    def advance(self, state, word):
        return word

    def next_log_probs(self, state):
        return self.table[state]


@pytest.fixture
def pair():
    first = unrolled.train_ngram(texts=TEXTS, order=3, smoothing="witten-bell")
    words = list(first.vocabulary)[3:]
    return first, Shuffled(words[::-1])


@pytest.fixture
def held_out(tmp_path):
    path = tmp_path / "held-out.txt"
    path.write_text(HELD_OUT)
    return path


def by_hand(models, weights, how, context, word):
    """p(word | context) from each model's own distribution, looked up by the word itself."""
    products = {}
    every = list(models[0].vocabulary)
    parts = []
    for model in models:
        state = model.start()
        for before in context:
            state = model.advance(state, model.vocabulary.id(before))
        own = np.exp(model.next_log_probs(state).astype(np.float64))
        parts.append({each: own[model.vocabulary.id(each)] for each in every})
    if how == "linear":
        return sum(a * part[word] for a, part in zip(weights, parts, strict=True))
    for each in every:
        products[each] = math.prod(part[each] ** a for a, part in zip(weights, parts, strict=True))
    return products[word] / sum(products.values())


@pytest.mark.parametrize(("how", "weights"), [("linear", [0.3, 0.7]), ("log-linear", [0.9, 0.4])])
def test_probabilities_are_those_computed_by_hand(pair, how, weights):
    mixture = Mixture(pair, weights, how=how)
    words = ["the", "cat", "zebra", "met"]
    ids = np.array([BOS, *mixture.vocabulary.ids(words), EOS], np.int32)
    expected = [
        by_hand(pair, weights, how, words[:place], mixture.vocabulary.word(word))
        for place, word in enumerate(ids[1:])
    ]
    got = mixture.log_probs(ids)
    assert got.dtype == np.float32
    assert got[0] == 0
    np.testing.assert_allclose(np.exp(got[1:]), expected, rtol=1e-5)
    state = mixture.start()
    for word, log_prob in zip(ids[1:], got[1:], strict=True):
        following = mixture.next_log_probs(state)
        assert following[word] == pytest.approx(log_prob, abs=1e-5)
        assert np.exp(following.astype(np.float64)).sum() == pytest.approx(1, abs=1e-6)
        state = mixture.advance(state, int(word))


def test_perplexity_is_the_hand_computed_one(pair, held_out):
    mixture = Mixture(pair, [0.3, 0.7])
    total = count = 0
    for line in HELD_OUT.splitlines():
        words = [word if word in mixture.vocabulary else "<unk>" for word in line.split()]
        for place, word in enumerate([*words, "</s>"]):
            total -= math.log(by_hand(pair, [0.3, 0.7], "linear", words[:place], word))
            count += 1
    result = unrolled.evaluate(mixture, held_out)
    assert result.tokens == count
    assert result.perplexity == pytest.approx(math.exp(total / count), rel=1e-6)


@pytest.mark.parametrize("how", ["linear", "log-linear"])
def test_no_weights_on_a_grid_are_better(pair, held_out, how):
    mixture = mix_models(pair, held_out, how=how)
    best = unrolled.evaluate(mixture, held_out).perplexity
    assert mixture.provenance["tuned"]["perplexity"] == pytest.approx(best, rel=1e-5)
    assert mixture.provenance["tuned"]["tokens"] == 17
    steps = np.linspace(0, 1.5, 16)
    for a, b in itertools.product(steps, steps):
        if (how == "linear" and abs(a + b - 1) > 1e-9) or a + b == 0:
            continue
        other = unrolled.evaluate(Mixture(pair, [a, b], how=how), held_out).perplexity
        assert best <= other * (1 + 1e-5), (a, b)


def test_a_word_impossible_for_one_model(held_out):
    first = unrolled.train_ngram(texts=TEXTS, order=2, smoothing="witten-bell")
    second = unrolled.train_ngram(texts=TEXTS, order=2, smoothing="maximum-likelihood")
    linear = mix_models([first, second], held_out)
    assert math.isfinite(unrolled.evaluate(linear, held_out).perplexity)
    assert 0 < linear.weights[1] < 1
    product = mix_models([first, second], held_out, how="log-linear")
    assert product.provenance["tuned"]["impossible"] > 0
    assert product.provenance["tuned"]["perplexity"] is None
    state = product.advance(product.start(), product.vocabulary.id("the"))
    following = np.exp(product.next_log_probs(state).astype(np.float64))
    assert following.sum() == pytest.approx(1, abs=1e-6)
    zero = Mixture([first, second], [1, 0], how="log-linear")
    np.testing.assert_allclose(
        zero.next_log_probs(zero.start()), first.next_log_probs(first.start()), atol=1e-5
    )


def test_log_linear_weights_of_a_model_that_only_harms_are_zero():
    random = np.random.default_rng(0)
    good = np.log(random.dirichlet(np.ones(5), 300)).astype(np.float32)
    targets = np.array([random.choice(5, p=np.exp(row) / np.exp(row).sum()) for row in good])
    bad = np.log((1 - np.exp(good)) / 4)
    fit = log_linear_weights(np.array([good, bad]), targets)
    assert fit.weights[1] == 0
    assert fit.weights[0] == pytest.approx(1, abs=0.2)
    assert list(fit.perplexities) == sorted(fit.perplexities, reverse=True)
    with pytest.raises(TextError, match="empty"):
        log_linear_weights(np.zeros((2, 0, 5)), np.zeros(0, int))
    with pytest.raises(TextError, match="no token"):
        log_linear_weights(np.full((1, 2, 5), -np.inf), np.zeros(2, int))


def test_saved_with_its_models_and_opened_without_copies(tmp_path):
    models = [unrolled.train_ngram(texts=TEXTS, order=n, smoothing="witten-bell") for n in (1, 2)]
    inner = Mixture(models, [0.5, 0.5], how="log-linear")
    mixture = Mixture([models[1], inner], [0.25, 0.75], provenance={"tuned": {"tokens": 3}})
    path = tmp_path / "mix.safetensors"
    mixture.save(path)
    opened = unrolled.load(path, verify=True)
    assert opened.name == "0.25 witten-bell-2 + 0.75 (witten-bell-1^0.50 * witten-bell-2^0.50)"
    assert opened.name == mixture.name
    assert opened.parameters == mixture.parameters
    assert opened.provenance["tuned"] == {"tokens": 3}
    ids = np.array([BOS, 3, 4, 5, EOS], np.int32)
    np.testing.assert_array_equal(opened.log_probs(ids), mixture.log_probs(ids))
    arrays = opened.models[0].trie.arrays().values()
    assert not any(array.flags.owndata or array.flags.writeable for array in arrays if array.size)
    assert opened.models[0].path is None
    again = pickle.loads(pickle.dumps(opened))
    assert again.name == opened.name
    with pytest.raises(SettingError, match="pickled by its path"):
        pickle.dumps(opened.models[0])
    assert unrolled.predict(opened, "the", 2)
    assert unrolled.generate(opened, seed=1) == unrolled.generate(mixture, seed=1)
    assert unrolled.rank(opened, ["sat cat the", "the cat sat"])[0][1] == "the cat sat"


def test_a_file_that_makes_no_sense_is_refused(tmp_path):
    models = [unrolled.train_ngram(texts=TEXTS, order=n, smoothing="witten-bell") for n in (1, 2)]
    path = tmp_path / "mix.safetensors"
    contents = Mixture(models, [0.5, 0.5]).contents()
    for change, message in [
        ({"weights": [0.5]}, "1 weights were given for 2 models"),
        ({"weights": "much"}, "not understood"),
        ({"how": "cubic"}, "'cubic'"),
        ({"models": 3}, "not understood"),
        ({"models": [{"kind": "ngram"}]}, "not understood"),
        ({"models": [{"kind": "oracle", "config": {}, "provenance": {}}]}, "kind 'oracle'"),
    ]:
        write_model(path, **{**contents, "config": {**contents["config"], **change}})
        with pytest.raises(FormatError, match=message) as caught:
            unrolled.load(path)
        assert str(path) in str(caught.value)
    write_model(path, **{**contents, "arrays": {}})
    with pytest.raises(FormatError, match="missing|lacks"):
        unrolled.load(path)
    assert read_model(path).kind == "mixture"


def test_models_that_do_not_fit_together(pair, held_out):
    first, _ = pair
    lower = unrolled.train_ngram(
        texts=TEXTS, order=2, smoothing="witten-bell", options=unrolled.TextOptions(lower=True)
    )
    with pytest.raises(SettingError, match="split text differently"):
        Mixture([first, lower], [0.5, 0.5])
    stupid = unrolled.train_ngram(texts=TEXTS, order=2, smoothing="stupid-backoff")
    with pytest.raises(NotNormalisedError, match="mixing needs probabilities"):
        Mixture([first, stupid], [0.5, 0.5])
    with pytest.raises(SettingError, match="two models or more, not 1"):
        mix_models([first])
    with pytest.raises(SettingError, match="weights, not both"):
        mix_models(pair, held_out, weights=[1, 0])
    with pytest.raises(SettingError, match="one model or more, not 0"):
        Mixture([], [])
    for weights, message in [
        ([1], "1 weights were given for 2"),
        ([0.9, 0.3], "must sum to 1"),
        ([1.5, -0.5], "at least 0"),
        ([0, 0], "at least one above 0"),
        ([math.nan, 1], "at least 0"),
    ]:
        with pytest.raises(SettingError, match=message):
            Mixture(pair, weights)
    with pytest.raises(SettingError, match="shuffled cannot be stored"):
        Mixture(pair, [0.5, 0.5]).contents()


def test_distributions_at_every_place(pair):
    first, shuffled = pair
    ids = np.array([BOS, 4, UNK, EOS, BOS, EOS, BOS, 3, 3, 5, EOS], np.int32)
    for model in (first, shuffled, Mixture(pair, [0.5, 0.5])):
        rows = np.concatenate(list(model.all_log_probs(ids)))
        assert rows.shape == (ids.size, len(model.vocabulary))
        got = rows[np.arange(ids.size), ids]
        np.testing.assert_allclose(got[ids != BOS], model.log_probs(ids)[ids != BOS], atol=1e-5)


def test_sentences_spread_over_a_text():
    ids = np.tile(np.array([BOS, 3, 4, EOS]), 1000)
    ids[1::4] = np.arange(3, 1003)
    kept = spread_sentences(ids, 400)
    assert kept.size == 400
    assert kept[1::4].tolist() == list(range(3, 1003, 10))
    assert spread_sentences(ids, 4000) is ids


def test_a_linear_mixture_carries_context_if_a_model_does(pair):
    cache = CacheModel(pair[0].vocabulary, half_life=3)
    plain, adaptive = Mixture(pair, [0.5, 0.5]), Mixture([pair[0], cache], [0.5, 0.5])
    product = Mixture([pair[0], cache], [0.5, 0.5], how="log-linear")
    assert [m.carries_context for m in (plain, adaptive, product)] == [False, True, False]
    ids = np.array([BOS, 3, 4, EOS, BOS, 3, EOS], np.int32)
    counted = []
    running = adaptive.text_scorer(counted.append)(ids)
    np.testing.assert_array_equal(running, adaptive.text_log_probs(ids))
    assert counted == [5]
    assert running[5] > adaptive.log_probs(ids)[5]  # the word occurred before
    with adaptive.use_threads(2) as at_once:
        assert at_once == 2


@pytest.fixture(params=["n-grams", "mixed kinds"])
def different(request):
    """Two models whose words overlap."""
    one = unrolled.train_ngram(texts=TEXTS, order=3, smoothing="witten-bell")
    if request.param == "n-grams":
        texts = ["the zebra sat on a gnu", "a gnu met the cat", "zebra"]
        return one, unrolled.train_ngram(texts=texts, order=2, smoothing="witten-bell")
    return one, Shuffled(["zebra", "the", "cat", "gnu", "a"])


@pytest.mark.parametrize(("how", "weights"), [("linear", [0.3, 0.7]), ("log-linear", [0.8, 0.6])])
@pytest.mark.parametrize("turned", [False, True])
def test_models_of_different_words(different, how, weights, turned, tmp_path):
    models = different[::-1] if turned else different
    mixture = Mixture(models, weights, how=how)
    words = list(mixture.vocabulary)
    assert set(words) == {*models[0].vocabulary, *models[1].vocabulary}
    random = np.random.default_rng(0)
    state, singles = mixture.start(), [model.start() for model in models]
    for word in [None, *random.choice(words[3:], 6), "nobody"]:
        if word is not None:
            state = mixture.advance(state, mixture.vocabulary.id(word))
            singles = [
                model.advance(own, model.vocabulary.id(word))
                for model, own in zip(models, singles, strict=True)
            ]
        wanted = np.zeros(len(words)) if how == "linear" else np.ones(len(words))
        for model, own, weight in zip(models, singles, weights, strict=True):
            p = np.exp(model.next_log_probs(own).astype(np.float64))
            lacking = [word for word in words if word not in model.vocabulary]
            for place, name in enumerate(words):
                if how == "linear":
                    wanted[place] += (
                        weight * (name in model.vocabulary) * p[model.vocabulary.id(name)]
                    )
                else:
                    share = 1 + len(lacking) if name in [*lacking, "<unk>"] else 1
                    wanted[place] *= (p[model.vocabulary.id(name)] / share) ** weight
        wanted[BOS] = 0
        wanted /= wanted.sum()
        got = np.exp(mixture.next_log_probs(state).astype(np.float64))
        assert got.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(got, wanted, atol=1e-6)
    text = "the zebra met a nobody gnu"
    ids = np.array([BOS, *mixture.vocabulary.ids(text.split()), EOS])
    total, state = 0.0, mixture.start()
    for word in ids[1:]:
        total += mixture.next_log_probs(state)[word]
        state = mixture.advance(state, int(word))
    assert mixture.score(text) == pytest.approx(total, abs=1e-4)
    beams = mixture.score_beams(mixture.start_states(1), np.arange(len(words))[None])
    np.testing.assert_allclose(beams[0], mixture.next_log_probs(mixture.start()), atol=1e-5)
    strange = np.array([BOS, 10**6, -4, EOS])
    assert mixture.log_probs(strange) == pytest.approx(
        mixture.log_probs(np.array([BOS, UNK, UNK, EOS]))
    )
    if all(model.kind == "ngram" for model in models):
        mixture.save(tmp_path / "m.safetensors")
        assert unrolled.load(tmp_path / "m.safetensors").score(text) == mixture.score(text)


@pytest.mark.parametrize("how", ["linear", "log-linear"])
def test_weights_of_models_of_different_words_are_tuned(different, held_out, how):
    tuned = mix_models(different, held_out, how=how)
    before = mix_models(different, how=how)

    def perplexity(model):
        return unrolled.evaluate(model, held_out).perplexity

    assert perplexity(tuned) <= perplexity(before) + 1e-6


def test_one_rule_for_static_and_dynamic_mixtures():
    """Where no context backs off they agree: the first word of sentences, all words there."""
    texts = (["a b", "b a", "c"], ["a d", "d", "b"])
    models = [unrolled.train_ngram(texts=t, order=1, smoothing="witten-bell") for t in texts]
    merged, dynamic = unrolled.mix(models, [0.4, 0.6]), Mixture(models, [0.4, 0.6])
    assert set(merged.vocabulary) == set(dynamic.vocabulary)
    for text in ("a", "d c", "nobody b"):
        assert merged.score(text) == pytest.approx(dynamic.score(text), abs=1e-5)
