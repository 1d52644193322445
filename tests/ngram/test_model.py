"""`NgramModel` as a user meets it: texts, files, pickles, and what it refuses."""

from __future__ import annotations

import copy
import math
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import model_of, words_in, zipf_sentences
from unrolled import TextOptions, load, quantize, train_ngram
from unrolled.errors import FormatError, NotNormalisedError, SettingError
from unrolled.language_models.generation import predict
from unrolled.ngram.estimation.config import NgramConfig
from unrolled.ngram.model import NgramModel
from unrolled.settings import stored_config
from unrolled.storage.model_file import read_model, write_model
from unrolled.text.vocabulary import EOS

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")

TEXTS = ["the cat sat", "the dog sat on the cat", "a cat", "", "dogs and cats sit"]


@pytest.fixture(scope="module")
def model() -> NgramModel:
    return train_ngram(texts=TEXTS, order=3, smoothing="witten-bell")


@pytest.fixture(scope="module", params=["word", "char", "byte", "lower"])
def any_model(request: pytest.FixtureRequest) -> NgramModel:
    lower = request.param == "lower"
    options = TextOptions(tokens="word" if lower else request.param, lower=lower)
    return train_ngram(texts=TEXTS, order=3, smoothing="witten-bell", options=options)


odd_text = st.text(
    st.sampled_from("the cat dog.,TAÉß\u2028\u3000\0\t\r\n\x0b\x0c\ud800<>/suk"), max_size=25
)


@given(
    texts=st.lists(odd_text | st.sampled_from([*TEXTS, "<s> the </s> cat", "<unk>"]), max_size=6)
)
@settings(max_examples=60, deadline=None)
def test_one_text_scores_alike_however_it_is_asked(any_model: NgramModel, texts: list[str]) -> None:
    asked = any_model.token_scores(texts)
    assert asked.starts.size == len(texts) + 1
    assert asked.sums == pytest.approx([any_model.score(text) for text in texts], abs=1e-4)
    assert np.array_equal(any_model.scores(texts), asked.sums)
    assert np.array_equal(asked.log_probs, any_model.log_probs(asked.ids))
    for text, start, stop in zip(texts, asked.starts, asked.starts[1:], strict=False):
        alone = any_model.token_scores([text])
        assert np.array_equal(alone.ids, asked.ids[start:stop]), repr(text)
        assert np.array_equal(alone.lengths, asked.lengths[start:stop])


def test_tokens_lengths_and_unknown_words(model: NgramModel) -> None:
    asked = model.token_scores(["the cat flew", "the dog sat"])
    words = ["<s>", "the", "cat", "<unk>", "</s>", "<s>", "the", "dog", "sat", "</s>"]
    assert model.vocabulary.words(asked.ids) == words
    assert asked.lengths.tolist() == [0, 2, 3, 1, 1, 0, 2, 3, 3, 2]
    assert np.flatnonzero(asked.oov).tolist() == [3]
    assert asked.starts.tolist() == [0, 5, 10]
    assert asked.log_probs[[0, 5]].tolist() == [0, 0]
    assert asked.sums == pytest.approx([asked.log_probs[:5].sum(), asked.log_probs[5:].sum()])


def test_sentences_as_text_words_or_ids(model: NgramModel) -> None:
    words = ["the", "cat", "flew"]
    ids = model.vocabulary.ids(words)
    for marks in ({}, {"bos": False}, {"eos": False}, {"bos": False, "eos": False}):
        expected = model.score("the cat flew", **marks)
        assert model.score(words, **marks) == pytest.approx(expected, abs=1e-6)
        assert model.score(ids, **marks) == pytest.approx(expected, abs=1e-6)
        state, total = model.start(marks.get("bos", True)), 0.0
        for word in [*ids, *([EOS] if marks.get("eos", True) else [])]:
            state, log_prob, _ = model.step(state, int(word))
            total += log_prob
        assert total == pytest.approx(expected)
    assert model.score("the cat", bos=False) != model.score("the cat")


def test_many_sentences_on_threads() -> None:
    sentences = zipf_sentences(30_000, 200, seed=2)
    model = model_of(sentences, 200, 3)
    texts = [" ".join(model.vocabulary.words(line[1:-1])) for line in sentences]
    assert len(texts) > 1000
    one, two, three = (model.token_scores(texts, threads=threads) for threads in (1, 2, 3))
    for other in (two, three):
        for name in ("log_probs", "lengths", "ids", "starts"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
    assert one.starts.size == len(texts) + 1
    with ThreadPoolExecutor(4) as pool:  # many callers of one model
        assert all(np.array_equal(sums, one.sums) for sums in pool.map(model.scores, [texts] * 4))


def test_no_sentences(model: NgramModel) -> None:
    asked = model.token_scores([])
    assert asked.sums.shape == (0,) and asked.starts.tolist() == [0]
    assert model.scores([""]).shape == (1,)
    with pytest.raises(SettingError, match="sentences is one text"):
        model.scores("the cat")


def test_names_and_numbers(model: NgramModel) -> None:
    assert (model.order, model.name, model.normalised) == (3, "witten-bell-3", True)
    sizes = np.diff(model.trie.levels).tolist()
    assert repr(model) == f"NgramModel(witten-bell-3, n-grams by order {sizes}, path=None)"
    assert model.vocabulary_predicted == len(model.vocabulary) - 1
    closed = train_ngram(texts=TEXTS, order=2, smoothing="witten-bell", closed=True)
    assert closed.vocabulary_predicted == len(closed.vocabulary) - 2
    assert model.parameters == sum(sizes) + model.trie.backoff_count
    assert quantize(model).parameters == model.parameters


@pytest.mark.parametrize("coded", [False, True])
def test_a_saved_model_is_the_same_model(tmp_path: Path, coded: bool) -> None:
    model = model_of(zipf_sentences(3000, 100, seed=1), 100, 3)
    model = quantize(model) if coded else model
    path = tmp_path / "model.safetensors"
    model.save(path)
    again: Any = load(path)
    assert isinstance(again, NgramModel)
    assert _settings(again) == _settings(model)
    assert again.trie.quantized == coded
    for name, array in model.trie.arrays().items():
        assert np.array_equal(again.trie.arrays()[name], array)
        assert not again.trie.arrays()[name].flags.writeable
    text = " ".join(model.vocabulary.words(range(3, 40)))
    assert again.score(text) == model.score(text)
    for other in (pickle.loads(pickle.dumps(again)), copy.copy(again), copy.deepcopy(again)):
        assert other.path == str(path)
        assert other.score(text) == model.score(text)


def _settings(model: NgramModel) -> NgramConfig:
    return stored_config(model.config, NgramConfig, None)


def test_a_model_pickles_by_the_path_it_was_saved_under(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of([[1, 3, 2]], 4, 2)
    with pytest.raises(
        SettingError, match=re.escape("a model is pickled by its path. Save it to a file first.")
    ):
        pickle.dumps(model)
    monkeypatch.chdir(tmp_path)
    model.save("here.safetensors")
    data = pickle.dumps(model)
    assert len(data) < 1000
    monkeypatch.chdir("/")
    assert pickle.loads(data).score("w3") == model.score("w3")


def test_parts_that_do_not_fit_are_refused(model: NgramModel, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"the model has 13 unigrams and 7 words"):
        NgramModel(model.trie, words_in(7))
    model.save(path := tmp_path / "model.safetensors")
    file = read_model(path)
    arrays = {name: array for name, array in file.arrays.items() if name != "trie.ends"}
    write_model(path, kind="ngram", config=model.config, arrays=arrays)
    with pytest.raises(FormatError, match=f"{path}: the model lacks its array 'ends'"):
        load(path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"text": {"colour": "red"}}, "the model's text options are not understood: .*'colour'"),
        ({"text": {"tokens": "words"}}, "not understood: tokens is 'words', allowed are"),
        ({"text": 7}, "the model's text options are not understood"),
    ],
)
def test_unknown_text_options_are_told(
    model: NgramModel, config: dict[str, Any], message: str
) -> None:
    strange = NgramModel(model.trie, model.vocabulary, config, path="there")
    with pytest.raises(FormatError, match=f"there: .*{message}"):
        strange.score("the cat")


@pytest.mark.parametrize("factor", ["big", 0, 1.5, math.nan, None])
def test_a_back_off_factor_that_cannot_be_is_told(model: NgramModel, factor: Any) -> None:
    config = {"smoothing": "stupid-backoff", "backoff": factor}
    with pytest.raises(FormatError, match=r"there: the back-off factor .* is not in \(0, 1\]"):
        NgramModel(model.trie, model.vocabulary, config, path="there")


def test_arrays_that_are_no_ids_are_refused(model: NgramModel) -> None:
    for ids in (np.zeros(3), np.zeros((2, 2), np.int32), np.zeros(2, bool)):
        with pytest.raises(SettingError, match="must be integers with one axis"):
            model.log_probs(ids)


def test_states_of_other_models_are_refused(model: NgramModel) -> None:
    for order in (1, 2, 4):
        state = model_of([[1, 3, 2]], 4, order).start()
        for ask in (model.next_log_probs, lambda state: model.step(state, 3)):
            with pytest.raises(SettingError, match="no state of a model of order 3"):
                ask(state)


def test_stupid_back_off_has_scores_but_no_probabilities() -> None:
    model = train_ngram(texts=TEXTS, order=3, smoothing="stupid-backoff")
    assert not model.normalised
    assert model.score("the cat sat") > model.score("cat the sat")
    with pytest.raises(NotNormalisedError, match="scores of stupid-backoff-3 do not sum to one"):
        model.next_log_probs(model.start())


def test_a_damaged_model_gives_no_distribution(model: NgramModel) -> None:
    arrays = {**model.trie.arrays(), "unigrams": np.full(13, 2.0, np.float32)}
    strange = NgramModel(type(model.trie).from_arrays(arrays, "here"), model.vocabulary)
    with pytest.raises(FormatError, match="which no model can give"):
        predict(strange, "")
