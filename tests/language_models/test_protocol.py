"""What is written once for all language models, on a small n-gram model and on one made by hand."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled import TextOptions, train_ngram
from unrolled.errors import FormatError, NotNormalisedError, SettingError, TextError
from unrolled.language_models.protocol import (
    Perplexity,
    encode_sentences,
    evaluate,
    generate,
    predict,
    rank,
    require_log_probs,
    score_sentences,
    sentence_starts,
    surprisals,
    text_of,
    words_of,
)
from unrolled.ngram.model import NgramModel
from unrolled.text.vocabulary import BOS, EOS, UNK, Vocabulary

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")

TEXTS = ["the cat is small", "the dog is small", "the cat sat", "a cat sat on the dog"] * 3


@pytest.fixture(scope="module")
def model() -> NgramModel:
    return train_ngram(texts=TEXTS, order=3, smoothing="witten-bell")


@pytest.fixture(scope="module")
def stupid() -> NgramModel:
    return train_ngram(texts=TEXTS, order=3, smoothing="stupid-backoff")


class Chain:
    """The protocol by hand: after each word the probabilities of a row, <s> never."""

    name = "chain"
    normalised = True
    text_options = TextOptions()

    def __init__(self, rows: dict[str, dict[str, float]]) -> None:
        self.vocabulary = Vocabulary.from_words(["a", "b"])
        self.rows = np.full((5, 5), -np.inf, np.float32)
        for before, row in rows.items():
            for word, probability in row.items():
                self.rows[self.vocabulary.id(before), self.vocabulary.id(word)] = np.log(
                    probability
                )

    def log_probs(self, ids: Any) -> Any:
        scores = self.rows[np.roll(ids, 1), ids]
        scores[ids == BOS] = 0
        return scores

    def start(self) -> int:
        return BOS

    def advance(self, state: int, word: int) -> int:
        return word

    def next_log_probs(self, state: int) -> Any:
        return self.rows[state]


CHAIN = {
    "<s>": {"a": 0.5, "b": 0.25, "</s>": 0.125, "<unk>": 0.125},
    "a": {"b": 0.5, "</s>": 0.5},
    "b": {"</s>": 0.75, "<unk>": 0.25},
    "<unk>": {"</s>": 1.0},
}


# -- evaluation ------------------------------------------------------------------------------------


def test_perplexity_by_hand(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("a b\nb zzz\n\n")
    result = evaluate(Chain(CHAIN), text)
    # 1/2 1/2 3/4; 1/4 1/4 1; 1/8
    product = 0.5 * 0.5 * 0.75 * 0.25 * 0.25 * 1 * 0.125
    assert result.log_prob == pytest.approx(math.log(product))
    assert (result.tokens, result.sentences, result.oov, result.vocabulary) == (7, 3, 1, 4)
    assert result.perplexity == pytest.approx(product ** (-1 / 7))
    assert result.bits_per_token == pytest.approx(math.log2(result.perplexity))
    assert result.line() == (
        f"ppl {product ** (-1 / 7):.2f} | 7 tokens | vocab 4 | oov 1 as <unk> | eos counted | "
        "chain | unrolled 0.1"
    )
    skipped = evaluate(Chain(CHAIN), text, skip_oov=True)
    assert skipped.perplexity == pytest.approx((product / 0.25) ** (-1 / 6))
    assert "oov 1 skipped" in skipped.line()


def test_unknown_words_that_are_impossible_can_be_skipped(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat\nthe bird sat\n")
    model = train_ngram(texts=TEXTS, order=2, smoothing="witten-bell", closed=True)
    result = evaluate(model, text)
    assert result.log_prob == -math.inf
    assert result.perplexity == result.bits_per_token == math.inf
    assert "ppl inf" in result.line()
    skipped = evaluate(model, text, skip_oov=True)
    assert 1 < skipped.perplexity < 100
    assert skipped.known_log_prob == pytest.approx(
        model.score("the cat")
        + model.log_probs(np.array([1, *model.vocabulary.ids(["the", "bird", "sat"]), 2]))[
            [1, 3, 4]
        ].sum()
    )


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_parts_of_a_text_add_up(model: NgramModel, tmp_path: Path, threads: int) -> None:
    lines = [TEXTS[place % len(TEXTS)] for place in range(3000)]
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.txt")
        paths[-1].write_text("".join(f"{line}\n" for line in lines[number * 1000 :][:1000]))
    counted: list[int] = []
    result = evaluate(model, paths, threads=threads, progress=counted.append)
    assert result.log_prob == pytest.approx(score_sentences(model, lines).sum(), rel=1e-6)
    assert result.tokens == sum(counted) == sum(len(line.split()) + 1 for line in lines)
    assert result.sentences == 3000


@pytest.mark.parametrize("size", [1, 8, 30])
def test_a_block_in_pieces_counts_and_names_lines_alike(
    model: NgramModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat\n\nthe dog sat\ncat")  # no newline at its end
    whole = evaluate(model, text)
    monkeypatch.setattr("unrolled.language_models.protocol.PIECE_BYTES", size)
    parts = evaluate(model, text)
    assert (parts.tokens, parts.sentences, parts.oov) == (10, 4, whole.oov)
    assert parts.log_prob == pytest.approx(whole.log_prob, rel=1e-12)
    text.write_text("the cat\n\nthe dog\nsat <s>\n")
    with pytest.raises(TextError, match=re.escape(f"{text}:4: the text holds <s>")):
        evaluate(model, text)


def test_a_text_is_read_as_the_model_was_trained(tmp_path: Path) -> None:
    options = TextOptions(tokens="char", lower=True)
    model = train_ngram(texts=["Abc", "cab"], order=2, smoothing="witten-bell", options=options)
    text = tmp_path / "text.txt"
    text.write_text("ABC\n")
    assert evaluate(model, text).tokens == 4
    assert evaluate(model, text, options=TextOptions()).oov == 1


def test_marks_in_a_text_follow_its_options(model: NgramModel, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat\nthe <s> cat\n")
    with pytest.raises(TextError, match=re.escape(f"{text}:2: the text holds <s>")):
        evaluate(model, text)
    assert evaluate(model, text, options=TextOptions(specials="skip")).tokens == 6


def test_perplexity_of_nothing_and_of_less_than_anything() -> None:
    nothing = Perplexity(0.0, 0, 0, 0, 0.0, 5, "x")
    assert nothing.perplexity == math.inf
    all_skipped = Perplexity(0.0, 2, 1, 2, -math.inf, 5, "x", skip_oov=True)
    assert all_skipped.perplexity == math.inf
    hopeless = Perplexity(-1e6, 1, 1, 0, 0.0, 5, "x")
    assert hopeless.perplexity == math.exp(700)
    assert hopeless.bits_per_token == pytest.approx(1e6 / math.log(2))


def test_what_no_model_says_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("a\n")
    for value in (np.nan, 1.0, np.inf):
        chain = Chain(CHAIN)
        chain.rows[:] = value
        with pytest.raises(FormatError, match="log-probabilities that are NaN or above 0"):
            evaluate(chain, text)
        with pytest.raises(FormatError):
            require_log_probs(np.array([-1.0, value]))
    require_log_probs(np.array([-np.inf, 0.0, 1e-7]))


# -- sentences -------------------------------------------------------------------------------------


def test_sentence_scores(model: NgramModel, stupid: NgramModel) -> None:
    texts = ["the cat sat", "", "a bird <s> </s> sat", "the\ncat"]
    for each in (model, stupid):
        expected = [each.score(text) for text in texts]
        assert score_sentences(each, texts) == pytest.approx(expected, abs=1e-5)
        expected = [each.score(text, eos=False) for text in texts]
        assert score_sentences(each, texts, eos=False) == pytest.approx(expected, abs=1e-5)
    assert score_sentences(model, []).shape == (0,)
    with pytest.raises(SettingError, match="sentences is one text. Give a list of them"):
        score_sentences(model, "the cat")


def test_sentences_that_hold_marks_keep_their_places(model: NgramModel) -> None:
    texts = ["<s>", "the </s> <s> cat", "cat", "</s>", ""]
    ids = encode_sentences(model.vocabulary, texts, TextOptions())
    starts = sentence_starts(model.vocabulary, texts, TextOptions(), ids)
    assert starts.tolist() == [0, 3, 9, 12, 15, 17]
    assert ids[starts[:-1]].tolist() == [BOS] * 5
    assert ids[starts[1:] - 1].tolist() == [EOS] * 5


def test_rank_prefers_the_lectures_word_order(model: NgramModel, stupid: NgramModel) -> None:
    texts = ["small the is cat", "the cat is small", "the cat is tall"]
    for each in (model, stupid):
        ranked = rank(each, texts)
        assert ranked[0][1] == "the cat is small"
        expected = sorted((each.score(text) for text in texts), reverse=True)
        assert [score for score, _ in ranked] == pytest.approx(expected)
    assert rank(model, []) == []


def test_surprisals_have_words_as_written(model: NgramModel) -> None:
    tokens = list(surprisals(model, ["the Bird sat", ""]))
    assert [(token.sentence, token.word, token.oov) for token in tokens] == [
        (0, "the", False),
        (0, "Bird", True),
        (0, "sat", False),
        (0, "</s>", False),
        (1, "</s>", False),
    ]
    assert sum(token.log_prob for token in tokens[:4]) == pytest.approx(model.score("the Bird sat"))
    assert tokens[0].bits == pytest.approx(-tokens[0].log_prob / math.log(2))


@given(st.text(st.sampled_from("aé ß\t\r\n\0\u2028\u3000\u2581<>"), max_size=12))
@settings(max_examples=60)
def test_tokens_of_one_text_and_of_many_are_the_same(text: str) -> None:
    for options in (TextOptions(), TextOptions(tokens="char"), TextOptions(tokens="byte")):
        words = words_of(text, options)
        vocabulary = Vocabulary.from_words(dict.fromkeys(words))
        ids = encode_sentences(vocabulary, [text], options)
        assert vocabulary.words(ids[1:-1]) == words
    assert text_of(words, options) == re.sub("[\t\r\n\0\u2581]", " ", text).strip()


# -- prediction and generation ---------------------------------------------------------------------


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


def test_unknown_words_are_the_first_id() -> None:
    assert (UNK, BOS, EOS) == (0, 1, 2)
