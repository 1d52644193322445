"""What an unknown word costs, in perplexities, scores, words and tables."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from chain_model import CHAIN, TEXTS, Chain
from unrolled import (
    Mixture,
    Vocabulary,
    entropy_prune,
    filter_vocabulary,
    load,
    train_net,
    train_ngram,
)
from unrolled.errors import SettingError
from unrolled.language_models.evaluation import evaluate
from unrolled.language_models.scoring import rank, score_sentences, surprisals
from unrolled.language_models.surprisal_table import surprisal_table
from unrolled.language_models.unknown_words import Unknown, unknown_words
from unrolled.ngram.model import NgramModel

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")

TEXT = ["b zzz", "a b"]  # 1/4 1/4 1; 1/2 1/2 3/4
CASES: list[tuple[Unknown, float, int, str]] = [
    ("class", 3 / 256, 6, "oov 1 as <unk>"),
    (10, 3 / 2560, 6, "oov 1 each as 1 of 10 words"),
    ("1000", 3 / 256_000, 6, "oov 1 each as 1 of 1,000 words"),
    ("skip", 3 / 64, 5, "oov 1 skipped"),
]


@pytest.mark.parametrize(("unknown", "product", "counted", "stated"), CASES)
def test_perplexities_by_hand(unknown: Unknown, product: float, counted: int, stated: str) -> None:
    result = evaluate(Chain(CHAIN), texts=TEXT, unknown=unknown)
    assert result.log_prob == pytest.approx(math.log(product))
    assert result.perplexity == pytest.approx(product ** (-1 / counted))
    assert f"| {stated} |" in result.line()
    assert result.perplexity_without_oov == pytest.approx((3 / 64) ** (-1 / 5))
    facts = result.as_dict()
    assert facts["unknown"] in ("class", "each", "skip")
    assert facts["perplexity_without_oov"] == result.perplexity_without_oov


@pytest.mark.parametrize(("unknown", "product", "_counted", "_stated"), CASES)
def test_scores_words_and_tables_have_the_same_cost(
    unknown: Unknown, product: float, _counted: int, _stated: str
) -> None:
    model = Chain(CHAIN)
    log_prob = pytest.approx(math.log(product))
    assert score_sentences(model, TEXT, unknown=unknown).sum() == log_prob
    assert sum(token.log_prob for token in surprisals(model, TEXT, unknown=unknown)) == log_prob
    assert sum(score for score, _ in rank(model, TEXT, unknown=unknown)) == log_prob
    rows = list(surprisal_table(model, TEXT, unknown=unknown, eos=True))
    bits = [row["surprisal"] for row in rows]
    assert (bits[1] is None) == (unknown == "skip")
    assert sum(filter(None, bits)) == pytest.approx(-math.log2(product), abs=1e-6)


def test_each_is_one_of_as_many_words_as_became_unknown(tmp_path: Path) -> None:
    texts = [*TEXTS, "once", "twice thrice"]
    model = train_ngram(texts=texts, order=2, smoothing="witten-bell", min_count=2)
    assert unknown_words("each", model).types == 3
    model.save(tmp_path / "m.safetensors")
    assert unknown_words("each", load(tmp_path / "m.safetensors")).types == 3
    as_class, each = (evaluate(model, texts=["zzz"], unknown=how) for how in ("class", "each"))
    assert each.log_prob == pytest.approx(as_class.log_prob - math.log(3))
    path = tmp_path / "text.txt"
    path.write_text("\n".join(texts * 3))
    net = train_net(str(path), hidden=4, classes=2, epochs=1, batch=2, max_size=5)
    assert unknown_words("each", net).types == len({w for t in texts for w in t.split()}) - 5


def test_mixtures_and_edited_models_know_the_number_if_it_is_right() -> None:
    texts = [*TEXTS, "once", "twice thrice"]
    models = [
        train_ngram(texts=texts, order=n, smoothing="witten-bell", min_count=2) for n in (1, 2)
    ]
    assert unknown_words("each", Mixture(models, [0.5, 0.5])).types == 3
    assert unknown_words("each", entropy_prune(models[1], 1e-9)).types == 3
    assert filter_vocabulary(models[1], ["cat"]).unknown_types == 0


def test_it_is_not_known_how_many_words_a_literal_unk_stands_for(model: NgramModel) -> None:
    texts = ["a <unk> b", "a b", "c"]
    literal = train_ngram(texts=texts, order=1, smoothing="additive", delta=1.0, min_count=2)
    given = train_ngram(
        texts=texts,
        order=1,
        smoothing="additive",
        delta=1.0,
        vocabulary=Vocabulary.from_words(["a"]),
    )
    for one in (literal, given, model):
        with pytest.raises(SettingError, match="it is not known how many words <unk> of .* Give"):
            evaluate(one, texts=["a"], unknown="each")


@pytest.mark.parametrize("unknown", ["words", 0, -3, 1.5, "", True])
def test_other_values_are_refused(model: NgramModel, unknown: Unknown) -> None:
    shown = f"'{unknown}'" if isinstance(unknown, str) else unknown
    with pytest.raises(SettingError, match=f"unknown is {shown}, allowed are class, each, skip"):
        evaluate(model, texts=["a"], unknown=unknown)


def test_arrays_keep_their_type(model: NgramModel) -> None:
    logs, unknown = np.array([-1, -2], np.float32), np.array([False, True])
    for given, second in (("class", -2), (8, -2 - math.log(8)), ("skip", 0)):
        found = unknown_words(given, model).log_probs(logs, unknown)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, [-1, second], rtol=1e-6)
