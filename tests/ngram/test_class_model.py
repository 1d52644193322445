"""Class-based models against sums over all ways to read a sentence as classes and words."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import unrolled
from unrolled.errors import FormatError, NotNormalisedError, SettingError, TextError
from unrolled.errors import UnrolledWarning as Warned
from unrolled.ngram.class_model import ClassNgramModel, read_classes
from unrolled.storage.model_file import write_model

TEXTS = ["CITY is big", "go to CITY", "DAY in CITY", "on DAY go", "paris is big", "go DAY to CITY"]
SINGLE = {"CITY": {"rome": 0.6, "oslo": 0.4}, "DAY": {"monday": 0.25, "sunday": 0.75}}
SEVERAL = {
    "CITY": {"rome": 0.5, "paris": 0.3, "sunday": 0.2},
    "DAY": {"monday": 0.4, "sunday": 0.6},
}


def ngram(order=3, texts=TEXTS):
    return unrolled.train_ngram(texts=texts, order=order, smoothing="witten-bell")


def probability(inner, members, words):
    """Of a sentence: the sum over all sequences of tokens."""
    choices = []
    for word in [*words, "</s>"]:
        known = word in inner.vocabulary and word not in members
        options = [(word, 1.0)] if known else []
        options += [(name, own[word]) for name, own in members.items() if word in own]
        choices.append(options or [("<unk>", 1.0)])
    total = 0.0
    for tokens in itertools.product(*choices):
        p = math.prod(share for _, share in tokens)
        state = inner.start()
        for token, _ in tokens:
            number = inner.vocabulary.id(token)
            p *= math.exp(inner.next_log_probs(state)[number])
            state = inner.advance(state, number)
        total += p
    return total


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("members", [SINGLE, SEVERAL], ids=["one class a word", "several"])
def test_equal_to_all_readings(members, order):
    inner = ngram(order)
    model = ClassNgramModel(inner, members)
    sentences = ["rome is big", "go to paris", "sunday in sunday", "", "nobody on monday rome",
                 "sunday sunday sunday sunday", "CITY is"]  # fmt: skip
    scores = model.scores(sentences)
    for sentence, score in zip(sentences, scores, strict=True):
        wanted = probability(inner, members, sentence.split())
        assert math.exp(score) == pytest.approx(wanted, rel=1e-5)
        state, total = model.start(), 0.0
        for word in [*model.vocabulary.ids(sentence.split()), 2]:
            total += model.next_log_probs(state)[word]
            state = model.advance(state, int(word))
        assert total == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("members", [SINGLE, SEVERAL])
def test_distributions_sum_to_one(members):
    model = ClassNgramModel(ngram(), members)
    assert "CITY" not in model.vocabulary
    random = np.random.default_rng(0)
    state = model.start()
    for _ in range(30):
        assert np.exp(model.next_log_probs(state).astype(float)).sum() == pytest.approx(1, abs=1e-5)
        state = model.advance(state, int(random.integers(3, len(model.vocabulary))))
        assert len(state[0]) <= 9


def test_stored_and_opened(tmp_path):
    model = ClassNgramModel(ngram(), SEVERAL, {"made": "here"})
    path = tmp_path / "m.safetensors"
    model.save(path)
    again = unrolled.load(path)
    texts = ["sunday in rome", "nobody"]
    assert again.scores(texts).tolist() == model.scores(texts).tolist()
    assert (again.kind, again.name) == ("class-ngram", "classes of witten-bell-3")
    assert again.info()["ngram"]["order"] == 3
    contents = model.contents()
    for change in (
        {"sizes": {"CITY": 99, "DAY": 2}}, {"sizes": 3}, {"ngram": None},
        {"sizes": {"TOWN": 3, "DAY": 2}},
    ):  # fmt: skip
        write_model(path, **{**contents, "config": {**contents["config"], **change}})
        with pytest.raises(FormatError, match=r"m\.safetensors: "):
            unrolled.load(path)


def test_files_of_classes(tmp_path):
    path = tmp_path / "classes"
    path.write_text("CITY 0.6 rome\nCITY 0.4 oslo\n\nDAY monday\nNUMBER 7\nNUMBER 0.5 0.5\n")
    assert read_classes(str(path)) == {
        "CITY": {"rome": 0.6, "oslo": 0.4}, "DAY": {"monday": 1.0},
        "NUMBER": {"7": 1.0, "0.5": 0.5},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CITY\n", "classes:1: the class 'CITY' has no word"),
        ("A a\nCITY 0.5 new york\n", "classes:2: 'new york' are several words"),
        ("A a\nA 0.5 a\n", "classes:2: the class 'A' has 'a' twice"),
        ("\n", "there are no classes"),
    ],
)
def test_bad_files_of_classes(tmp_path, text, message):
    path = tmp_path / "classes"
    path.write_text(text)
    with pytest.raises(TextError, match=message):
        read_classes(str(path))


def test_bad_classes():
    inner = ngram()
    with pytest.raises(SettingError, match="the class 'TOWN' is none of the n-gram model's words"):
        ClassNgramModel(inner, {"TOWN": {"a": 1.0}})
    with pytest.raises(SettingError, match="the class 'CITY' has no words"):
        ClassNgramModel(inner, {"CITY": {}})
    with pytest.raises(SettingError, match="the probabilities of the class 'CITY' are"):
        ClassNgramModel(inner, {"CITY": {"a": -1.0}})
    with pytest.warns(Warned, match="'CITY' sum to 2 and are scaled"):
        model = ClassNgramModel(inner, {"CITY": {"a": 1.0, "b": 1.0}})
    distribution = np.exp(model.next_log_probs(model.start()).astype(float))
    assert distribution.sum() == pytest.approx(1, abs=1e-5)
    stupid = unrolled.train_ngram(texts=TEXTS, order=2, smoothing="stupid-backoff")
    with pytest.raises(NotNormalisedError, match="a class-based model needs probabilities"):
        ClassNgramModel(stupid, SINGLE)


def test_everything_takes_a_class_model(tmp_path):
    model = ClassNgramModel(ngram(), SEVERAL)
    text = tmp_path / "text"
    text.write_text("rome is big\nsunday in paris\n")
    result = unrolled.evaluate(model, str(text))
    assert result.perplexity == pytest.approx(
        math.exp(-model.scores(text.read_text().splitlines()).sum() / 8), rel=1e-6
    )
    mixture = unrolled.Mixture([model, ngram()], [0.5, 0.5])
    assert mixture.score("rome is big") < 0
    states, scores = model.extend(model.start_states(2), model.vocabulary.ids(["rome", "go"]))
    assert scores[0] == pytest.approx(model.next_log_probs(model.start())[
        model.vocabulary.id("rome")])  # fmt: skip
    assert len(states) == 2
