"""Pruning and filtering against dictionaries: relative entropies by whole distributions."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ngram.backoff_oracle import (
    BackoffModel,
    closure,
    ngrams,
    relative_entropy,
    sentences,
    small_model,
    worst_sum,
)

from unrolled import load, train_ngram
from unrolled.errors import FormatError, NotNormalisedError, SettingError
from unrolled.ngram.arpa.files import read_arpa, write_arpa
from unrolled.ngram.editing.pruning import entropy_prune, filter_vocabulary, prune_to_size
from unrolled.ngram.editing.quantization import quantize
from unrolled.ngram.model import NgramModel

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")

SMOOTHINGS = [
    "modified-kneser-ney",
    "kneser-ney",
    "absolute",
    "witten-bell",
    "katz",
    "additive",
    "maximum-likelihood",
]


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("smoothing", ["witten-bell", "modified-kneser-ney", "katz"])
def test_what_goes_is_what_whole_distributions_say(order, smoothing):
    model = small_model(order=order, smoothing=smoothing)
    oracle = BackoffModel.of(model)
    changes = {
        gram: math.expm1(relative_entropy(oracle, gram, oracle.chain(gram[:-1])))
        for gram in ngrams(model)
    }
    for threshold in np.quantile(list(changes.values()), [0.1, 0.4, 0.7, 0.95]):
        clear = {gram for gram, change in changes.items() if abs(change - threshold) > 1e-8}
        kept = closure({gram for gram in clear if changes[gram] >= threshold})
        pruned = ngrams(entropy_prune(model, float(threshold), history="chain"))
        assert kept <= pruned
        assert pruned - kept <= closure(set(changes) - clear)


@pytest.mark.parametrize("order", [2, 3])
def test_the_rest_has_the_probabilities_of_the_dictionary(order):
    model = small_model(order=order)
    pruned = entropy_prune(model, 0.002)
    gone = ngrams(model) - ngrams(pruned)
    assert 0 < len(gone) < len(ngrams(model))
    expected, got = BackoffModel.of(model).without(gone), BackoffModel.of(pruned)
    for context in [(), *expected.contexts(2), *expected.contexts(order)]:
        np.testing.assert_allclose(
            got.distribution(context), expected.distribution(context), rtol=1e-5
        )


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("history", ["stationary", "chain"])
def test_pruned_models_sum_to_one(smoothing, history):
    model = small_model(smoothing=smoothing)
    for threshold in (0.0, 1e-4, 3e-3, 0.1):
        assert worst_sum(entropy_prune(model, threshold, history=history)) < 1e-6


def test_threshold_zero_changes_nothing():
    model = small_model(smoothing="absolute")
    pruned = entropy_prune(model, 0.0)
    for name, array in model.trie.arrays().items():
        np.testing.assert_array_equal(pruned.trie.arrays()[name], array)


def test_contexts_that_lose_nothing_keep_their_bits():
    model = small_model(smoothing="modified-kneser-ney")
    pruned = entropy_prune(model, 0.003)
    before, after = BackoffModel.of(model), BackoffModel.of(pruned)
    same = {
        gram[:-1]
        for gram in after.probabilities
        if len(gram) > 1 and after.children(gram[:-1]) == before.children(gram[:-1])
    }
    assert same
    assert all(after.backoffs[context] == before.backoffs[context] for context in same)
    assert all(before.probabilities[gram] == p for gram, p in after.probabilities.items())


def test_everything_goes_down_to_single_words():
    pruned = entropy_prune(small_model(), 10.0)
    assert pruned.order == 1
    assert worst_sum(pruned) < 1e-6
    assert pruned.score("w1 w2") == pytest.approx(
        sum(math.log(BackoffModel.of(pruned).p(word, ())) for word in ("w1", "w2", "</s>"))
    )


def test_a_model_of_order_one_stays():
    model = small_model(order=1)
    assert entropy_prune(model, 1.0).trie.levels.tolist() == model.trie.levels.tolist()


def test_perplexity_grows_about_as_the_entropies_say():
    model = small_model(3, order=2)
    text = sentences(3)
    pruned = entropy_prune(model, 0.003)
    before, after = -model.scores(text).sum(), -pruned.scores(text).sum()
    assert before < after < 1.1 * before


def test_arpa_models_prune_alike(tmp_path):
    model = small_model(smoothing="absolute")
    write_arpa(model, tmp_path / "m.arpa")
    foreign = read_arpa(tmp_path / "m.arpa")
    assert foreign.trie.unigrams[1] in (0, -np.inf)
    for threshold in (1e-3, 1e-2):
        one = entropy_prune(model, threshold)
        two = entropy_prune(foreign, threshold)
        assert ngrams(one) == ngrams(two)
        assert worst_sum(two) < 1e-6


def test_begin_of_sentence_may_have_any_probability(tmp_path):
    model = small_model()
    write_arpa(model, tmp_path / "m.arpa")
    text = (tmp_path / "m.arpa").read_text().replace("-99\t<s>", "0\t<s>")
    (tmp_path / "lmplz.arpa").write_text(text)
    foreign = read_arpa(tmp_path / "lmplz.arpa")
    assert foreign.trie.unigrams[1] == 0
    pruned = entropy_prune(foreign, 0.003)
    assert ngrams(pruned) == ngrams(entropy_prune(model, 0.003))
    assert worst_sum(pruned) < 1e-6


def test_quantized_models_stay_quantized():
    model = quantize(small_model(smoothing="absolute"))
    pruned = entropy_prune(model, 0.003)
    assert pruned.trie.quantized
    assert pruned.trie.levels[-1] < model.trie.levels[-1]
    assert worst_sum(pruned) < 1e-3


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_do_not_matter(threads):
    model = small_model(5, order=4)
    one = entropy_prune(model, 0.002, threads=2)
    other = entropy_prune(model, 0.002, threads=threads)
    np.testing.assert_array_equal(one.trie.log_probs, other.trie.log_probs)
    np.testing.assert_array_equal(one.trie.unpack().backoffs, other.trie.unpack().backoffs)


def test_another_model_may_tell_the_history():
    model = small_model(smoothing="modified-kneser-ney")
    other = train_ngram(texts=[*sentences(0)[:30], "other words here"], order=2,
                        smoothing="witten-bell")  # fmt: skip
    oracle, past = BackoffModel.of(model), BackoffModel.of(other)

    def chain(context):
        known = tuple(w if (w,) in past.probabilities else "<unk>" for w in context)
        return past.chain(known)

    changes = {
        gram: math.expm1(relative_entropy(oracle, gram, chain(gram[:-1]))) for gram in ngrams(model)
    }
    threshold = float(np.median(list(changes.values()))) * 1.0001
    kept = closure({gram for gram, change in changes.items() if change >= threshold})
    assert ngrams(entropy_prune(model, threshold, history=other)) == kept


# -- to a size ---------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 400), st.integers(1, 4))
def test_any_number_of_ngrams_can_be_kept(extra, order):
    model = small_model(1, order=order)
    words, total = len(model.vocabulary), int(model.trie.levels[-1])
    pruned = prune_to_size(model, ngrams=words + extra)
    assert pruned.trie.levels[-1] == min(words + extra, total)
    assert ngrams(pruned) == closure(ngrams(pruned)) <= ngrams(model)
    assert worst_sum(pruned) < 1e-6


def test_smaller_sizes_are_nested_and_agree_with_thresholds():
    model = small_model(2)
    total = int(model.trie.levels[-1])
    sizes = [prune_to_size(model, ngrams=total - cut) for cut in (0, 30, 60, 90)]
    for large, small in itertools.pairwise(sizes):
        assert ngrams(small) < ngrams(large)
        threshold = small.provenance["edits"][-1]["pruned"]["threshold"]
        assert ngrams(entropy_prune(model, threshold * 1.0001)) <= ngrams(small)
        assert ngrams(small) <= ngrams(entropy_prune(model, threshold))


@pytest.mark.parametrize("quantized", [False, True])
def test_files_have_at_most_the_megabytes_asked_for(tmp_path, quantized):
    text = sentences(4, count=4000, words=300)
    model = train_ngram(texts=text, order=3, smoothing="witten-bell")
    model = quantize(model) if quantized else model
    model.save(tmp_path / "all.safetensors")
    whole = (tmp_path / "all.safetensors").stat().st_size
    for share in (0.4, 0.7):
        size = share * whole / 1e6
        prune_to_size(model, megabytes=size).save(tmp_path / "small.safetensors")
        got = (tmp_path / "small.safetensors").stat().st_size / 1e6
        assert 0.9 * size < got <= size
    again = prune_to_size(model, megabytes=10)
    assert again.trie.levels[-1] == model.trie.levels[-1]


def test_a_pruned_model_is_a_model_like_any_other(tmp_path):
    model = prune_to_size(small_model(), ngrams=60)
    model.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.score("w1 w2 w4") == model.score("w1 w2 w4")
    assert again.provenance["edits"][0]["pruned"]["history"] == "stationary"
    assert prune_to_size(again, ngrams=50).trie.levels[-1] == 50


# -- to a vocabulary ---------------------------------------------------------------------------

KEPT = ["w1", "w2", "w4", "w8"]


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("removed", ["unknown", "renormalise"])
def test_filtered_models_sum_to_one(smoothing, removed):
    model = filter_vocabulary(small_model(smoothing=smoothing), KEPT, removed=removed)
    assert sorted(model.vocabulary) == sorted(["<unk>", "<s>", "</s>", *KEPT])
    assert worst_sum(model) < 1e-6


@pytest.mark.parametrize("order", [1, 2, 4])
def test_removed_words_become_unknown_with_exactly_their_probability(order):
    model = small_model(order=order)
    small = filter_vocabulary(model, KEPT)
    before, after = BackoffModel.of(model), BackoffModel.of(small)
    gone = [word for word in before.words if word not in [*KEPT, "</s>"]]
    for context in [(), ("<s>",), ("w1",), ("w1", "w2"), ("<s>", "w4", "w8"), ("w2", "w2", "w2")]:
        for word in [*KEPT, "</s>"]:
            assert after.p(word, context) == pytest.approx(before.p(word, context), rel=1e-6)
        together = sum(before.p(word, context) for word in gone)
        assert after.p("<unk>", context) == pytest.approx(together, rel=1e-5)
    assert small.score("w1 w2 w4") == pytest.approx(model.score("w1 w2 w4"), rel=1e-6)
    assert small.trie.levels[-1] <= model.trie.levels[-1]


@settings(max_examples=20, deadline=None)
@given(st.sets(st.sampled_from([f"w{n}" for n in range(9)]), min_size=1))
def test_filters_keep_scores_of_words_kept(words):
    model = small_model(6, order=3)
    small = filter_vocabulary(model, words)
    assert worst_sum(small) < 1e-6
    text = " ".join(sorted(words)) + " " + " ".join(sorted(words, reverse=True))
    assert small.score(text) == pytest.approx(model.score(text), rel=1e-5)


def test_renormalised_words_share_what_is_left():
    model = small_model(order=2)
    small = filter_vocabulary(model, KEPT, removed="renormalise")
    before, after = BackoffModel.of(model), BackoffModel.of(small)
    left = sum(before.p(word, ()) for word in ["<unk>", "</s>", *KEPT])
    for word in ["<unk>", "</s>", *KEPT]:
        assert after.p(word, ()) == pytest.approx(before.p(word, ()) / left, rel=1e-5)
    kept = {g for g in ngrams(model) if set(g) <= {"<unk>", "<s>", "</s>", *KEPT}}
    assert ngrams(small) == kept
    for gram in kept:
        assert after.probabilities[gram] == before.probabilities[gram]


def test_a_filter_with_all_words_changes_nothing_but_rounding():
    model = small_model()
    small = filter_vocabulary(model, list(model.vocabulary))
    assert ngrams(small) == ngrams(model)
    np.testing.assert_allclose(small.scores(sentences(9)), model.scores(sentences(9)), rtol=1e-6)


# -- refusals ----------------------------------------------------------------------------------


def test_refusals():
    model = small_model()
    with pytest.raises(SettingError, match="threshold is -1, allowed are 0 and more"):
        entropy_prune(model, -1)
    for threshold in (math.nan, math.inf):
        with pytest.raises(SettingError, match=f"threshold is {threshold}"):
            entropy_prune(model, threshold)
    with pytest.raises(SettingError, match="history is 'chains', allowed are stationary, chain"):
        entropy_prune(model, 1e-8, history="chains")
    with pytest.raises(SettingError, match="either a number of n-grams or megabytes"):
        prune_to_size(model)
    with pytest.raises(SettingError, match="either a number of n-grams or megabytes"):
        prune_to_size(model, ngrams=20, megabytes=1)
    with pytest.raises(SettingError, match=r"5 n-grams are fewer than the model's 12 words"):
        prune_to_size(model, ngrams=5)
    with pytest.raises(SettingError, match=r"0.001 MB are too few: the words alone take"):
        prune_to_size(model, megabytes=0.001)
    with pytest.raises(SettingError, match="removed is 'all', allowed are unknown, renormalise"):
        filter_vocabulary(model, KEPT, removed="all")
    with pytest.raises(SettingError, match="none of the words to keep"):
        filter_vocabulary(model, ["zebra", "<unk>"])


def test_stupid_backoff_is_refused():
    model = small_model(smoothing="stupid-backoff")
    with pytest.raises(NotNormalisedError, match="pruning needs probabilities"):
        entropy_prune(model, 1e-8)
    with pytest.raises(NotNormalisedError, match="filtering the vocabulary needs"):
        filter_vocabulary(model, KEPT)
    with pytest.raises(NotNormalisedError, match="the history of pruning needs"):
        entropy_prune(small_model(), 1e-8, history=model)


def test_damaged_models_are_refused():
    model = small_model()
    words = np.array(model.trie.words)
    words[int(model.trie.levels[1]) * model.trie.bits // 64 + 1] = 2**64 - 1
    damaged = NgramModel(replace(model.trie, words=words), model.vocabulary)
    with pytest.raises(FormatError, match="words of order 2 are out of place"):
        entropy_prune(damaged, 1e-8)


def test_stages_are_reported():
    stages: list[str] = []
    prune_to_size(small_model(), ngrams=50, report=stages.append)
    assert stages[0] == "unpacking the model"
    assert "relative entropies of order 3" in stages
    assert stages[-1] == "recomputing back-off weights"
