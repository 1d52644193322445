"""Perplexity, on a small n-gram model and on one made by hand."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from chain_model import CHAIN, TEXTS, Chain
from unrolled import TextOptions, train_ngram
from unrolled.errors import SettingError, TextError
from unrolled.language_models.evaluation import Perplexity, evaluate
from unrolled.language_models.scoring import score_sentences
from unrolled.language_models.unknown_words import UnknownWords
from unrolled.ngram.model import NgramModel

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")


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
    skipped = evaluate(Chain(CHAIN), text, unknown="skip")
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
    skipped = evaluate(model, text, unknown="skip")
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
    monkeypatch.setattr("unrolled.language_models.evaluation.CHUNK_BYTES", size)
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
    all_skipped = Perplexity(0.0, 2, 1, 2, -math.inf, 5, "x", unknown=UnknownWords("skip"))
    assert all_skipped.perplexity == math.inf
    hopeless = Perplexity(-1e6, 1, 1, 0, 0.0, 5, "x")
    assert hopeless.perplexity == math.exp(700)
    assert hopeless.bits_per_token == pytest.approx(1e6 / math.log(2))


def test_texts_in_memory_are_lines_of_a_text(model: NgramModel, tmp_path: Path) -> None:
    texts = ["the cat sat", "", "a bird\nsat"]
    path = tmp_path / "text.txt"
    path.write_text("the cat sat\n\na bird sat\n")
    assert evaluate(model, texts=texts) == evaluate(model, path)
    assert evaluate(model, texts=iter(texts)) == evaluate(model, path)
    with pytest.raises(TextError, match=r"texts:2: the text holds <s>"):
        evaluate(model, texts=["the", "a <s> cat"])
    with pytest.raises(SettingError, match="either sources or texts"):
        evaluate(model, path, texts=texts)
    with pytest.raises(SettingError, match="either sources or texts"):
        evaluate(model)
    with pytest.raises(SettingError, match="texts is one text. Give a list"):
        evaluate(model, texts="the cat")
    with pytest.raises(TextError, match="the text is empty"):
        evaluate(model, texts=[])


def test_perplexity_is_a_number_that_people_can_read() -> None:
    for entropy, shown in ((2.0, "7.39"), (20.0, "485165195.41"), (650.0, "1.96e+282")):
        assert f"ppl {shown} |" in Perplexity(-entropy, 1, 0, 0, 0.0, 5, "x").line()
    assert "ppl inf |" in Perplexity(-math.inf, 1, 0, 0, 0.0, 5, "x").line()


def test_perplexity_per_word_has_the_end_of_sentences_in_its_sum_only() -> None:
    result = Perplexity(-6.0, 5, 2, 1, -3.0, 10, "x")
    assert result.ppl1 == pytest.approx(math.exp(9 / 3))
    skipped = Perplexity(-6.0, 5, 2, 1, -3.0, 10, "x", unknown=UnknownWords("skip"))
    assert skipped.ppl1 == pytest.approx(math.exp(6 / 2))
    assert Perplexity(-6.0, 2, 2, 0, 0.0, 10, "x").ppl1 == math.inf
