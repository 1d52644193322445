"""Hidden sentences against all of them, tried one by one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from tests.ngram.backoff_oracle import small_model

import unrolled
from unrolled.errors import SettingError, TextError
from unrolled.language_models.cache import CacheModel
from unrolled.ngram.disambiguation import disambiguate

CHOICES = {
    "x": {"w0": 0.5, "w1": 0.2, "w2": 0.9},
    "y": {"w3": 1.0, "w0": 0.3},
    "z": {"w4": 1.0},
}


def total(model, hidden, observed, weight):
    score = weight * float(model.scores([" ".join(hidden)])[0])
    return score + sum(
        math.log(CHOICES[o][h]) for o, h in zip(observed, hidden, strict=True) if o in CHOICES
    )


@pytest.mark.parametrize("weight", [1.0, 0.3])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_equal_to_trying_all(order, weight):
    model, random = small_model(order=order), np.random.default_rng(order)
    for _ in range(10):
        observed = random.choice(["x", "y", "z", "w5", "nobody"], random.integers(1, 6)).tolist()
        every = itertools.product(*(CHOICES.get(word, {word: 1}) for word in observed))
        best = max(total(model, hidden, observed, weight) for hidden in every)
        (found,) = disambiguate(model, [" ".join(observed)], CHOICES, weight=weight)
        assert total(model, found.split(), observed, weight) == pytest.approx(best, abs=1e-4)


def test_any_model_and_empty_sentences():
    model = CacheModel(small_model().vocabulary)
    assert disambiguate(model, ["", "w5 z"], CHOICES) == ["", "w5 w4"]


def test_few_states_give_an_answer():
    (found,) = disambiguate(small_model(order=4), ["x y x y"], CHOICES, states=1)
    assert len(found.split()) == 4


def test_maps(tmp_path):
    path = tmp_path / "map"
    path.write_text("the The 0.3 the 0.7\ncat Cat cat\n1 one 0.5 2 0.5\nx y 0 z 1\n\n")
    assert unrolled.read_choices(str(path)) == {
        "the": {"The": 0.3, "the": 0.7},
        "cat": {"Cat": 1.0, "cat": 1.0},
        "1": {"one": 0.5, "2": 0.5},
        "x": {"z": 1.0},
    }
    for text, message in (("a\n", "1: 'a' has no hidden word"), ("a b\na c\n", "2: 'a' comes tw")):
        path.write_text(text)
        with pytest.raises(TextError, match=message):
            unrolled.read_choices(str(path))


def test_bad_settings():
    with pytest.raises(SettingError, match="states is 0"):
        disambiguate(small_model(), ["x"], CHOICES, states=0)
    for p in (0.0, -1.0, math.nan):
        with pytest.raises(SettingError, match="the probabilities of 'x' are"):
            disambiguate(small_model(), ["x"], {"x": {"w0": p}})


def test_case_is_restored():
    texts = ["The cat saw Rome", "the cat ran to Rome"] * 3
    model = unrolled.train_ngram(texts=texts, order=3, smoothing="witten-bell")
    choices = {"the": {"The": 1.0, "the": 1.0}, "rome": {"Rome": 1.0}}
    assert unrolled.disambiguate(model, ["the cat saw rome"], choices) == ["The cat saw Rome"]
