"""Prediction and generation, on a small n-gram model and on one made by hand."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from chain_model import CHAIN, Chain
from unrolled import TextOptions, train_ngram
from unrolled.errors import NotNormalisedError, SettingError
from unrolled.language_models.evaluation import evaluate
from unrolled.language_models.generation import generate, predict
from unrolled.ngram.model import NgramModel

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")


def test_predict_gives_the_likeliest_first(model: NgramModel) -> None:
    state = model.advance(model.start(), model.vocabulary.id("the"))
    every = predict(model, "the", 100)
    assert len(every) == len(model.vocabulary) - 1  # all but <s>
    assert sum(probability for _, probability in every) == pytest.approx(1)
    assert [probability for _, probability in every] == sorted(
        (probability for _, probability in every), reverse=True
    )
    assert every[0][0] == "cat"  # twice as often as "dog"
    assert every[0][1] == pytest.approx(math.exp(model.next_log_probs(state).max()))
    assert predict(model, "the", 2) == every[:2]
    words, probabilities = zip(*predict(Chain(CHAIN), "a"), strict=True)
    assert words == ("</s>", "b")
    assert probabilities == pytest.approx((0.5, 0.5))


def test_predict_refuses(model: NgramModel, stupid: NgramModel) -> None:
    with pytest.raises(SettingError, match="count 0 must be at least 1"):
        predict(model, "the", 0)
    with pytest.raises(
        NotNormalisedError,
        match="predict needs probabilities and the scores of stupid-backoff-3 do not sum to one",
    ):
        predict(stupid, "the")


def test_generation_follows_the_model() -> None:
    chain = Chain(CHAIN)
    drawn = Counter(generate(chain, seed=seed) for seed in range(3000))
    # <unk> is never drawn: after <s> a, b, </s> as 4 : 2 : 1, after b always the end.
    expected = {"a": 4 / 7 / 2, "a b": 4 / 7 / 2, "b": 2 / 7, "": 1 / 7}
    assert set(drawn) == set(expected)
    for text, share in expected.items():
        assert drawn[text] / 3000 == pytest.approx(share, abs=0.04)


def test_generation_is_seeded_and_ends(model: NgramModel) -> None:
    texts = [generate(model, seed=seed) for seed in range(20)]
    assert texts == [generate(model, seed=seed) for seed in range(20)]
    assert len(set(texts)) > 5
    assert generate(model, context="the cat", seed=1).startswith("the cat")
    assert all(len(generate(model, max_words=2, seed=seed).split()) <= 2 for seed in range(9))
    assert generate(model, max_words=0, context="a b") == "a b"
    assert "<unk>" not in " ".join(texts)


@pytest.mark.parametrize("temperature", [1e-320, 1e-9, 0.01])
def test_towards_temperature_0_the_likeliest_word_wins(
    model: NgramModel, temperature: float
) -> None:
    best = generate(model, top_k=1, seed=5)
    assert generate(model, temperature=temperature, seed=6) == best
    words = ["<s>"]
    for word in best.split():
        likeliest = [name for name, _ in predict(model, " ".join(words[1:])) if name != "<unk>"]
        assert word == likeliest[0]
        words.append(word)


def test_a_high_temperature_levels_the_words(model: NgramModel) -> None:
    firsts = Counter(
        generate(model, temperature=1e300, max_words=1, seed=seed) for seed in range(500)
    )
    assert len(firsts) == len(model.vocabulary) - 2  # "" for </s>; neither <s> nor <unk>


def test_where_nothing_is_possible_a_sentence_ends() -> None:
    chain = Chain({"<s>": {"a": 1.0}, "a": {"<unk>": 1.0}})
    assert generate(chain, seed=0) == "a"


@pytest.mark.parametrize("tokens", ["char", "byte"])
def test_generated_characters_are_put_together(tokens: str) -> None:
    options = TextOptions(tokens=tokens)
    model = train_ngram(texts=["é à b"], order=5, smoothing="maximum-likelihood", options=options)
    assert generate(model, seed=1) == "é à b"
    assert generate(model, context="é", seed=1) == "é à b"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"temperature": 0}, "temperature 0 must be above 0 and finite"),
        ({"temperature": -1.0}, "temperature -1.0 must be above 0"),
        ({"temperature": math.inf}, "temperature inf must be above 0 and finite"),
        ({"temperature": math.nan}, "temperature nan must be above 0"),
        ({"top_k": 0}, "top_k 0 must be at least 1"),
        ({"seed": -1}, "seed is -1, allowed are 0 and more"),
    ],
)
def test_generation_refuses(model: NgramModel, chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        generate(model, **chosen)


def test_nothing_is_drawn_from_scores(stupid: NgramModel) -> None:
    with pytest.raises(NotNormalisedError, match="generate needs probabilities"):
        generate(stupid)
    with pytest.raises(NotNormalisedError, match="perplexity needs probabilities"):
        evaluate(stupid, "nowhere.txt")
