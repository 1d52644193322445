"""`train_ngram` from texts and files to a model, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpora import counts_of, words_in
from unrolled import NgramConfig, TextOptions, Vocabulary, load, train_ngram
from unrolled.errors import SettingError, TextError, UnrolledWarning
from unrolled.ngram.estimation.smoothing import SMOOTHINGS
from unrolled.ngram.model import NgramModel
from unrolled.ngram.training import model_from_counts, ngram_config

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")

TEXTS = ["the cat sat", "the dog sat on the cat", "a cat", ""]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(line + "\n" for line in TEXTS))
    return path


def same(one: NgramModel, other: NgramModel) -> bool:
    """Whether two models hold the same arrays and words."""
    arrays, others = one.trie.arrays(), other.trie.arrays()
    equal = all(np.array_equal(arrays[name], others[name]) for name in arrays)
    return equal and list(one.vocabulary) == list(other.vocabulary)


def test_files_and_texts_give_the_same_model(text: Path) -> None:
    model = train_ngram(text, order=3)
    assert same(model, train_ngram(texts=TEXTS, order=3))
    assert same(model, train_ngram(texts=iter(TEXTS), order=3, threads=1))
    assert same(model, train_ngram([text], order=3, threads=3))
    lines = "\n".join(TEXTS[:3])
    assert same(
        train_ngram(texts=[lines], order=2), train_ngram(texts=[" ".join(TEXTS[:3])], order=2)
    )


def test_the_settings_that_matter_by_default() -> None:
    model = train_ngram(texts=TEXTS)
    assert (model.order, model.name) == (5, "modified-kneser-ney-5")
    assert model.config["text"]["tokens"] == "word"


def test_what_a_model_tells_of_its_making(text: Path, tmp_path: Path) -> None:
    model = train_ngram(text, order=2, smoothing="absolute", min_count=2)
    told = model.provenance["text"]
    assert {key: told[key] for key in ("tokens", "sentences", "unknown")} == {
        "tokens": 15,
        "sentences": 4,
        "unknown": 3,  # dog, on, a
    }
    assert re.fullmatch("[0-9a-f]{8}", told["ids_crc32"])
    assert len(model.provenance["discounts"]) == 2
    model.save(tmp_path / "model.safetensors")
    again: Any = load(tmp_path / "model.safetensors")
    assert again.provenance["discounts"] == model.provenance["discounts"]


def test_the_text_is_cut_as_the_options_say() -> None:
    options = TextOptions(tokens="char", lower=True)
    model = train_ngram(texts=["Aab"], order=2, smoothing="witten-bell", options=options)
    assert list(model.vocabulary)[3:] == ["a", "b"]
    assert model.text_options == options
    assert model.score("AAB") == model.score("aab")


def test_limits_of_the_vocabulary() -> None:
    assert list(train_ngram(texts=TEXTS, order=2, min_count=2).vocabulary)[3:] == [
        "the",
        "cat",
        "sat",
    ]
    assert len(train_ngram(texts=TEXTS, order=2, max_size=1).vocabulary) == 4
    given = Vocabulary.from_words(["sat", "unseen", "cat"])
    model = train_ngram(texts=TEXTS, order=2, vocabulary=given)
    assert list(model.vocabulary) == list(given)
    assert np.isfinite(model.trie.unigrams[given.id("unseen")])


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("closed", [True, False])
def test_models_of_one_list_of_words_have_one_vocabulary(smoothing: str, closed: bool) -> None:
    words = ["dog", "cat", "nowhere"]
    settings = {"order": 2, "smoothing": smoothing, "closed": closed, "words": words}
    one, two = train_ngram(texts=TEXTS, **settings), train_ngram(texts=["the dog"], **settings)
    assert list(one.vocabulary)[3:] == words and one.vocabulary == two.vocabulary
    if one.normalised:
        for model in (one, two):
            probabilities = np.exp(model.next_log_probs(model.start()).astype(np.float64))
            assert abs(probabilities.sum() - 1) < 1e-6


def test_a_weight_is_a_repetition(text: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("a dog\n")
    weighted = train_ngram([text, other], weights=[1, 3], order=3)
    assert same(weighted, train_ngram([text, other, other, other], order=3))
    assert same(train_ngram(text, weights=[2], order=2), train_ngram([text, text], order=2))


def test_stages_are_reported_in_order(text: Path) -> None:
    stages: list[str] = []
    read: list[int] = []
    train_ngram(text, order=2, report=stages.append, progress=read.append)
    assert stages == [
        "reading text",
        "sorting n-grams",
        "gathering n-grams",
        "linking n-grams",
        "estimating order 1",
        "estimating order 2",
    ]
    assert sum(read) == text.stat().st_size


def test_counts_made_elsewhere() -> None:
    counts = counts_of([[1, 3, 4, 2], [1, 4, 2]], 5, 2)
    model = model_from_counts(counts, words_in(5), NgramConfig(order=2), provenance={"from": "x"})
    assert model.provenance["from"] == "x"
    assert same(model, train_ngram(texts=["w3 w4", "w4"], vocabulary=words_in(5), order=2))


def test_a_lone_surrogate_is_no_reason_to_stop() -> None:
    model = train_ngram(texts=["a \ud800 b"], order=2)
    assert list(model.vocabulary)[3:] == ["a", "?", "b"]


def test_the_fallback_is_told_to_the_caller() -> None:
    with pytest.warns(UnrolledWarning, match="order 1: no n-gram has the count 2"):
        train_ngram(texts=["a b c"], order=1)
    with pytest.raises(TextError, match="leave out strict"):
        train_ngram(texts=["a b c"], order=1, strict=True)


@pytest.mark.parametrize("texts", [[], [""], ["", "", ""]])
def test_text_without_words(texts: list[str]) -> None:
    """No line is no text; empty lines are empty sentences, as for lmplz."""
    if texts:
        model = train_ngram(texts=texts, order=2)
        assert model.score("") > np.log(0.3)
        return
    with pytest.raises(TextError, match="the text is empty: there is nothing to count"):
        train_ngram(texts=texts, order=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either files or texts to read"),
        ({"sources": "x", "texts": ["y"]}, "give either files or texts to read"),
        ({"texts": ["a"], "weights": [2]}, "weights are for files"),
        ({"sources": ["a", "b"], "weights": [2]}, r"weights [2] must be whole numbers above 0"),
        ({"sources": "a", "weights": [0]}, "one for each of the 1 sources"),
        ({"sources": "a", "weights": [1.5]}, "must be whole numbers above 0"),
        ({"texts": ["a"], "ordr": 3}, "there is no setting 'ordr'. Did you mean order"),
        ({"texts": ["a"], "colour": 3}, "there is no setting 'colour'. "),
        ({"texts": ["a"], "order": 0}, "order is 0, allowed are 1 to 100"),
        ({"texts": ["a"], "order": 101}, "order is 101, allowed are 1 to 100"),
        ({"texts": ["a"], "threads": 0}, "threads is 0, allowed are 1 and more"),
        ({"texts": ["a"], "min_count": -1}, "min_count is -1"),
        (
            {"texts": ["a"], "vocabulary": Vocabulary.from_words(["a"]), "min_count": 2},
            "are for the words of the text",
        ),
    ],
)
def test_arguments_that_do_not_go_together(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match="(?i)" + re.escape(message)):
        train_ngram(**arguments)


def test_settings_by_name() -> None:
    assert ngram_config({"order": 3, "closed": True}) == NgramConfig(order=3, closed=True)
