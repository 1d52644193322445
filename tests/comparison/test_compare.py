"""The ladder: mixtures of earlier rungs, and what it keeps for the report."""

from __future__ import annotations

import json

import pytest

import unrolled
from unrolled.comparison import compare as ladder
from unrolled.comparison import model_specs as rungs
from unrolled.experiments.finished_runs import FinishedRuns

TEXT = "the cat sat on the mat and the dog ran\nthe dog sat\na cat ran\n\nthe cat saw a dog\n" * 6


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return str(path)


def test_a_mixture_brings_the_models_it_is_made_of(text, tmp_path):
    name = "5-gram + cache"
    result = ladder.climb(text, text, text, output=tmp_path / "out", only=[name], min_count=1)
    assert [row.name for row in result.rows] == ["5-gram", name]
    mixed = result.rows[1]
    assert mixed.kind == "mixture"
    assert mixed.train_tokens_per_second == 0
    assert [part["model"] for part in mixed.weights] == ["5-gram", "cache-100"]
    assert sum(part["weight"] for part in mixed.weights) == pytest.approx(1)
    assert mixed.valid_perplexity <= result.rows[0].valid_perplexity * 1.001
    model = unrolled.load(tmp_path / "out" / rungs.file_name(name))
    assert model.weights.tolist() == [part["weight"] for part in mixed.weights]
    assert "  -  " in ladder.format_table(result).splitlines()[3]


def test_two_rungs_mixed(text, tmp_path):
    task = rungs.Task(text, text, text, unrolled.TextOptions(), 1, 1)
    some = [rung for rung in rungs.RUNGS if rung.name in ("bigram", "trigram, Witten-Bell")]
    both = rungs.mixture_rung("both", *(rung.name for rung in some), how="log-linear")
    rows = [ladder.measure(rung, task, tmp_path) for rung in (*some, both)]
    assert rows[2].weights[0]["model"] == "bigram"
    assert rows[2].valid_perplexity <= min(row.valid_perplexity for row in rows[:2]) * 1.001
    assert rows[2].settings["how"] == "log-linear"


def test_rows_keep_the_surprisal_of_the_shown_sentences(text, tmp_path):
    result = ladder.climb(text, text, text, output=tmp_path, only=["bigram", "unigram"])
    assert result.sentences[0] == "the cat sat on the mat and the dog ran"
    assert len(result.sentences) == 5
    for row in result.rows:
        model = unrolled.load(tmp_path / rungs.file_name(row.name))
        for sentence, tokens in zip(result.sentences, row.surprisals, strict=True):
            assert [token["word"] for token in tokens] == [*sentence.split(), "</s>"]
            bits = sum(token["bits"] for token in tokens)
            assert bits == pytest.approx(-model.score(sentence) / 0.6931471805599453, rel=1e-5)
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["rows"][1]["surprisals"] == result.rows[1].surprisals


def test_sentences_that_fit_a_screen_come_first_where_there_are_enough(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("short one\n" + "\n".join(f"{n} b c d e f g h" for n in range(9)) + "\n")
    task = rungs.Task("", "", str(path), unrolled.TextOptions(lower=True, tokens="char"), 1, 1)
    assert ladder.shown_sentences(task, 2) == ["0 b c d e f g h", "1 b c d e f g h"]
    path.write_text("\nOne Two\nthree\n")
    assert ladder.shown_sentences(task) == ["One Two", "three"]


def test_finished_rungs_are_not_trained_again(text, tmp_path):
    def climbed(order: int):
        some = [rungs.ngram_rung("a", 1), rungs.ngram_rung("b", order)]
        some.append(rungs.mixture_rung("both", "a", "b"))
        kept = FinishedRuns(tmp_path / "parts", [text])
        said = []
        result = ladder.climb(
            text, text, text, output=tmp_path, rungs=some, kept=kept, report=said.append
        )
        return result, [line for line in said if line.startswith("[")], said.count(BEFORE)

    first, begun, before = climbed(2)
    assert (len(begun), before) == (3, 0)
    again, begun, before = climbed(2)
    assert (len(begun), before) == (3, 3)
    assert again == first
    assert climbed(3)[2] == 1  # a mixture is as new as what it is made of
    (tmp_path / rungs.file_name("a")).unlink()
    assert climbed(3)[2] == 2


BEFORE = "  finished before"
