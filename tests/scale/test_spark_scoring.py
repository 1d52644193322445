"""Scores of the rows of a DataFrame, on a real cluster."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import unrolled
from unrolled.errors import NotNormalisedError, SettingError

# pyspark warns of pandas 3, which is not used here.
pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet:FutureWarning")

TEXTS = ["the cat sat", "the dog sat on the mat", "a cat", ""]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    model = unrolled.train_ngram(texts=TEXTS * 3, order=3, smoothing="witten-bell")
    model.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_scores_of_rows(spark: Any, path: Path) -> None:
    texts = [*TEXTS * 20, "the zebra sat", "a\nb <s> c <unk>", None, "naïve ünïcode"]
    frame = spark.createDataFrame(list(enumerate(texts)), "number int, text string")
    scored = unrolled.spark.score(frame.repartition(3), "text", path)
    assert scored.columns == ["number", "text", "perplexity", "log_prob", "tokens", "oov"]
    rows = sorted(scored.collect())
    assert [row.text for row in rows] == texts
    model = unrolled.load(path)
    for row in rows:
        if row.text is None:
            assert row[2:] == (None, None, None, None)
            continue
        found = model.token_scores([row.text])
        assert row.log_prob == pytest.approx(float(found.sums[0]), rel=1e-12)
        assert row.tokens == found.ids.size - 1
        assert row.oov == int(found.oov.sum())
        assert row.perplexity == pytest.approx(math.exp(-row.log_prob / row.tokens))


def test_models_without_a_file_and_models_trained_again(spark: Any, path: Path) -> None:
    frame = spark.createDataFrame([("the cat sat",)], "text string")
    model = unrolled.train_ngram(texts=TEXTS, order=2, smoothing="additive", delta=1.0)
    assert unrolled.spark.score(frame, "text", model).first().log_prob == pytest.approx(
        model.score("the cat sat")
    )
    first = unrolled.spark.score(frame, "text", path).first().log_prob
    again = unrolled.train_ngram(texts=TEXTS, order=1, smoothing="additive", delta=1.0)
    again.save(path)
    second = unrolled.spark.score(frame, "text", path).first().log_prob
    assert first != second == pytest.approx(again.score("the cat sat"))


def test_what_cannot_be_scored(spark: Any, path: Path) -> None:
    frame = spark.createDataFrame([(1, "a", 2)], "number int, text string, oov int")
    for column in ("number", "nowhere"):
        with pytest.raises(SettingError, match=f"has no column '{column}' of text"):
            unrolled.spark.score(frame, column, path)
    with pytest.raises(SettingError, match="has a column 'oov' already"):
        unrolled.spark.score(frame, "text", path)
    stupid = unrolled.train_ngram(texts=TEXTS, order=2, smoothing="stupid-backoff")
    with pytest.raises(NotNormalisedError, match="perplexity needs probabilities"):
        unrolled.spark.score(frame.drop("oov"), "text", stupid)
