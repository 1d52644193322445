"""Models of a lower order: the same n-grams and weights, contexts that sum to one."""

from __future__ import annotations

import numpy as np
import pytest
from tests.ngram.backoff_oracle import BackoffModel, sentences, small_model, worst_sum

import unrolled
from unrolled.errors import SettingError, UnrolledWarning
from unrolled.ngram.editing.truncation import truncate_order


def truncated(model, order):
    with pytest.warns(UnrolledWarning, match=f"trained with --order {order} has a lower perp"):
        return truncate_order(model, order)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_equal_to_the_dictionary_without_longer_ngrams(order):
    model = small_model(order=5)
    found = BackoffModel.of(truncate_order(model, order))
    whole = BackoffModel.of(model)
    wanted = {gram: p for gram, p in whole.probabilities.items() if len(gram) <= order}
    assert found.probabilities == wanted
    assert found.backoffs == {g: b for g, b in whole.backoffs.items() if len(g) < order}
    assert found.order == order


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("smoothing", ["witten-bell", "modified-kneser-ney", "absolute", "katz"])
@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
def test_contexts_sum_to_one(smoothing, order):
    model = unrolled.train_ngram(texts=sentences(4, 300), order=4, smoothing=smoothing)
    lower = truncate_order(model, order)
    assert worst_sum(lower) < 1e-5
    quantized = truncate_order(unrolled.quantize(model), order)
    assert quantized.trie.quantized is (order < 4 or True)
    assert quantized.order == order


@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
def test_kneser_ney_is_warned_of_and_indeed_worse(tmp_path):
    (tmp_path / "text").write_text("\n".join(sentences(7, 200, words=15)) + "\n")
    model = unrolled.train_ngram(texts=sentences(6, 300, words=15), order=3)
    own = unrolled.train_ngram(texts=sentences(6, 300, words=15), order=2)
    lower = truncated(model, 2)
    assert lower.provenance["edits"] == [{"truncated": {"order": 2}}]
    text = str(tmp_path / "text")
    assert unrolled.evaluate(lower, text).perplexity > unrolled.evaluate(own, text).perplexity


def test_the_whole_order_and_none():
    model = small_model(order=3)
    assert truncate_order(model, 3) is model
    for order in (0, 4, -1):
        with pytest.raises(SettingError, match=f"the order is {order}, and must be 1 to 3"):
            truncate_order(model, order)


def test_stored_and_opened(tmp_path):
    lower = truncate_order(small_model(order=5), 2)
    lower.save(tmp_path / "m.safetensors")
    unrolled.write_arpa(lower, tmp_path / "m.arpa")
    ids = np.array([1, 3, 4, 5, 2])
    for name in ("m.safetensors", "m.arpa"):
        again = unrolled.load(tmp_path / name)
        assert again.log_probs(ids) == pytest.approx(lower.log_probs(ids), abs=1e-6)
