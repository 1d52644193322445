"""Static mixtures against dictionaries, and weights tuned on text against a grid."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ngram.backoff_oracle import BackoffModel, ngrams, sentences, small_model, worst_sum

from unrolled import load, train_ngram
from unrolled.errors import NotNormalisedError, SettingError, TextError
from unrolled.language_models.evaluation import evaluate
from unrolled.ngram.editing.mixing import mix, tune_weights
from unrolled.ngram.editing.pruning import filter_vocabulary

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")


def renamed(seed, first=4, **settings):
    """A model of text that shares some words with `small_model` and has others."""
    names = {f"w{n}": f"w{n}" if n < first else f"x{n}" for n in range(9)}
    texts = [" ".join(names[word] for word in line.split()) for line in sentences(seed)]
    return train_ngram(texts=texts, **{"smoothing": "witten-bell", "order": 3, **settings})


def hardly_longer(order):
    """A model of one sentence: of the highest orders it has one n-gram or none, and one word."""
    return train_ngram(texts=["w1 y", ""], order=order, smoothing="witten-bell")


def mixed_p(oracles, weights, word, history):
    """What `mix` promises for an n-gram that some model has."""
    return sum(
        weight * (oracle.p(word, history) if (word,) in oracle.probabilities else 0.0)
        for oracle, weight in zip(oracles, weights, strict=True)
    )


CASES = {
    "same words": lambda: [small_model(1), small_model(2, smoothing="modified-kneser-ney")],
    "other words": lambda: [small_model(1), renamed(2)],
    "other orders": lambda: [renamed(3, order=4), small_model(1, order=2)],
    "order one": lambda: [small_model(1, order=1), renamed(2)],
    "an order no sentence reaches": lambda: [small_model(1, order=2), hardly_longer(order=6)],
    "hardly longer": lambda: [hardly_longer(order=4), small_model(1)],
    "nothing shared": lambda: [small_model(1), renamed(2, first=0)],
    "three": lambda: [small_model(1), renamed(2), renamed(3, first=7, smoothing="katz")],
}
WEIGHTS = {2: [0.3, 0.7], 3: [0.5, 0.2, 0.3]}


@pytest.mark.parametrize("case", CASES)
def test_mixtures_hold_what_their_models_hold(case):
    models = CASES[case]()
    weights = WEIGHTS[len(models)]
    mixed = mix(models, weights)
    oracles, got = [BackoffModel.of(model) for model in models], BackoffModel.of(mixed)
    assert set(got.probabilities) == set().union(*(oracle.probabilities for oracle in oracles))
    for gram, p in got.probabilities.items():
        if gram != ("<s>",):
            expected = mixed_p(oracles, weights, gram[-1], gram[:-1])
            assert p == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_mixtures_sum_to_one(case):
    models = CASES[case]()
    mixed = mix(models, WEIGHTS[len(models)])
    assert worst_sum(mixed) < 1e-6
    assert mixed.order == max(model.order for model in models)
    assert mixed.normalised


def test_unknown_words_in_a_history_are_looked_up_as_unknown():
    texts = ["a <unk> b", "c <unk> b", "a b"] * 3
    one = train_ngram(texts=texts, order=3, smoothing="witten-bell")
    two = train_ngram(texts=["a x b", "a x c", "x"], order=3, smoothing="witten-bell")
    mixed = BackoffModel.of(mix([one, two], [0.5, 0.5]))
    oracles = [BackoffModel.of(one), BackoffModel.of(two)]
    # p(b | a x) takes p(b | a <unk>) of the first model, which does not know x.
    assert mixed.probabilities["a", "x", "b"] == pytest.approx(
        0.5 * oracles[0].probabilities["a", "<unk>", "b"] + 0.5 * oracles[1].p("b", ("a", "x")),
        rel=1e-5,
    )


@settings(max_examples=12, deadline=None)
@given(st.floats(0.01, 0.99), st.integers(1, 4), st.integers(1, 4), st.integers(0, 9))
def test_any_two_models_mix(weight, order, other_order, shared):
    models = [small_model(1, order=order), renamed(2, first=shared, order=other_order)]
    mixed = mix(models, [weight, 1 - weight])
    assert worst_sum(mixed) < 1e-6
    assert ngrams(mixed) == ngrams(models[0]) | ngrams(models[1])


def test_a_model_with_itself_is_itself():
    model = small_model(1, smoothing="modified-kneser-ney")
    mixed = mix([model, model], [0.25, 0.75])
    np.testing.assert_allclose(mixed.scores(sentences(8)), model.scores(sentences(8)), rtol=1e-5)


@pytest.mark.parametrize("order", [3, 5, 20])
def test_orders_longer_than_any_sentence_mix_and_filter(order):
    model = train_ngram(texts=["a", ""], order=order, smoothing="witten-bell")
    for same in (mix([model, model], [0.5, 0.5]), filter_vocabulary(model, ["a"])):
        assert same.score("a") == pytest.approx(model.score("a"), abs=1e-5)
        assert same.order == order or same.trie.levels[-1] == model.trie.levels[-1]


def test_weight_zero_adds_nothing():
    model, other = small_model(1), renamed(2)
    mixed = mix([model, other], [1, 0])
    assert ngrams(mixed) == ngrams(model)
    np.testing.assert_allclose(mixed.scores(sentences(8)), model.scores(sentences(8)), rtol=1e-5)


def test_words_go_by_descending_probability():
    mixed = mix([small_model(1), renamed(2)], [0.5, 0.5])
    unigrams = mixed.trie.unigrams[3:]
    assert np.all(np.diff(unigrams) <= 0)
    assert len(mixed.vocabulary) == 3 + 9 + 5


def test_mixtures_are_models_like_any_other(tmp_path):
    mixed = mix([small_model(1), renamed(2)], [0.5, 0.5])
    mixed.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.score("w1 x5 w2") == mixed.score("w1 x5 w2")
    assert again.name == "mixture-3"
    assert [part["weight"] for part in again.provenance["mixed"]] == [0.5, 0.5]
    thrice = mix([again, small_model(4)], [0.5, 0.5])
    assert worst_sum(thrice) < 1e-6


def test_threads_do_not_matter():
    models = [small_model(1), renamed(2)]
    one, two = (mix(models, [0.5, 0.5], threads=threads) for threads in (1, 3))
    for name, array in one.trie.arrays().items():
        np.testing.assert_array_equal(two.trie.arrays()[name], array)


# -- weights -----------------------------------------------------------------------------------


@pytest.fixture
def held_out(tmp_path):
    lines = [*sentences(1, 15), *sentences(12, 10)]
    (tmp_path / "dev.txt").write_text("\n".join([*lines, "w1 x6 w2", "nobody knows", ""]) + "\n")
    return tmp_path / "dev.txt"


def test_tuned_weights_beat_a_grid(held_out):
    models = [small_model(1), small_model(12, smoothing="absolute", order=2)]
    fit = tune_weights(models, held_out, tolerance=1e-10)
    ids = models[0].vocabulary.encode_block(held_out.read_bytes()).ids
    other = models[1].vocabulary.encode_block(held_out.read_bytes()).ids
    predicted = ids != 1
    probabilities = np.exp(
        [models[0].log_probs(ids)[predicted], models[1].log_probs(other)[predicted]]
    )
    best = min(
        math.exp(-np.log([weight, 1 - weight] @ probabilities).mean())
        for weight in np.linspace(0, 1, 101)
    )
    assert fit.perplexities[-1] <= best * (1 + 1e-6)
    assert fit.weights.sum() == pytest.approx(1)


def test_the_first_perplexity_is_that_of_equal_weights(held_out):
    model = small_model(1)
    fit = tune_weights([model, model], held_out)
    assert fit.perplexities[0] == pytest.approx(evaluate(model, str(held_out)).perplexity, rel=1e-5)
    skipped = tune_weights([model, model], held_out, skip_oov=True)
    expected = evaluate(model, str(held_out), unknown="skip").perplexity
    assert skipped.perplexities[0] == pytest.approx(expected, rel=1e-5)


def test_a_word_that_one_model_lacks_has_no_probability_there(tmp_path):
    one = train_ngram(texts=["a b"], order=1, smoothing="additive", delta=1.0)
    two = train_ngram(texts=["a c"], order=1, smoothing="additive", delta=1.0)
    (tmp_path / "t").write_text("c\nc\n")
    fit = tune_weights([one, two], tmp_path / "t", tolerance=1e-12)
    p_end = math.exp(one.score(""))  # the same in both
    p_c = math.exp(two.score("c") - two.score(""))
    assert fit.perplexities[0] == pytest.approx((p_end * p_c / 2) ** -0.5, rel=1e-5)
    assert fit.weights == pytest.approx([0, 1], abs=1e-4)


def test_what_tuning_says_is_what_the_mixture_does(held_out):
    # Of single words the static mixture is the exact mixture, unknown words included.
    models = [small_model(1, order=1), renamed(2, order=1)]
    fit = tune_weights(models, held_out)
    mixed = mix(models, fit.weights)
    assert evaluate(mixed, str(held_out)).perplexity == pytest.approx(
        fit.perplexities[-1], rel=1e-5
    )
    # Of longer n-grams it is close.
    models = [small_model(1), renamed(2)]
    fit = tune_weights(models, held_out)
    found = evaluate(mix(models, fit.weights), str(held_out)).perplexity
    assert found == pytest.approx(fit.perplexities[-1], rel=0.05)


def test_ids_do_as_well_as_text(held_out):
    models = [small_model(1), small_model(2)]
    ids = models[0].vocabulary.encode_block(held_out.read_bytes()).ids
    text, own = tune_weights(models, held_out), tune_weights(models, ids=ids)
    np.testing.assert_allclose(own.weights, text.weights)
    assert own.perplexities == text.perplexities


# -- refusals ----------------------------------------------------------------------------------


def test_refusals(tmp_path):
    model = small_model(1)
    with pytest.raises(SettingError, match="two models or more, not 1"):
        mix([model], [1])
    with pytest.raises(SettingError, match="3 weights were given for 2 models"):
        mix([model, model], [0.2, 0.2, 0.6])
    with pytest.raises(SettingError, match="must sum to 1"):
        mix([model, model], [0.5, 0.6])
    with pytest.raises(SettingError, match="must be at least 0, at least one above 0"):
        mix([model, model], [-0.5, 1.5])
    with pytest.raises(NotNormalisedError, match="mixing needs probabilities"):
        mix([model, small_model(smoothing="stupid-backoff")], [0.5, 0.5])
    other = train_ngram(
        texts=["a b"], order=2, smoothing="witten-bell", options=_lower_case()
    )  # fmt: skip
    with pytest.raises(SettingError, match=r"split text differently.*of the same tokens"):
        mix([model, other], [0.5, 0.5])
    with pytest.raises(SettingError, match="either held-out text or ids"):
        tune_weights([model, model])
    with pytest.raises(SettingError, match="ids reach from 1 to 99; allowed are 0 to 11"):
        tune_weights([model, model], ids=np.array([1, 99, 2]))
    (tmp_path / "empty").write_text("")
    with pytest.raises(TextError, match="held-out text is empty"):
        tune_weights([model, model], tmp_path / "empty")


def _lower_case():
    from unrolled import TextOptions

    return TextOptions(lower=True)
