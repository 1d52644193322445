"""Comparisons: mixtures of earlier models, and what the report needs of each."""

from __future__ import annotations

import json

import pytest

import unrolled
from unrolled.comparison import compare, model_specs
from unrolled.comparison.compare import compare_models
from unrolled.comparison.finished_runs import FinishedRuns

TEXT = "the cat sat on the mat and the dog ran\nthe dog sat\na cat ran\n\nthe cat saw a dog\n" * 6


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return str(path)


def test_a_mixture_brings_the_models_it_is_made_of(text, tmp_path):
    name = "5-gram + cache"
    result = compare_models(text, text, text, output=tmp_path / "out", only=[name], min_count=1)
    assert [row.name for row in result.rows] == ["5-gram", name]
    mixed = result.rows[1]
    assert mixed.kind == "mixture"
    assert mixed.train_tokens_per_second == 0
    assert [part["model"] for part in mixed.weights] == ["5-gram", "cache-100"]
    assert sum(part["weight"] for part in mixed.weights) == pytest.approx(1)
    assert mixed.valid_perplexity <= result.rows[0].valid_perplexity * 1.001
    model = unrolled.load(tmp_path / "out" / model_specs.file_name(name))
    assert model.weights.tolist() == [part["weight"] for part in mixed.weights]
    assert "  -  " in compare.format_table(result).splitlines()[3]


def test_two_models_mixed(text, tmp_path):
    task = model_specs.Task(text, text, text, unrolled.TextOptions(), 1, 1)
    some = [spec for spec in model_specs.MODELS if spec.name in ("bigram", "trigram Witten-Bell")]
    both = model_specs.mixture_spec("both", *(spec.name for spec in some), how="log-linear")
    rows = [compare.measure(spec, task, tmp_path, print) for spec in (*some, both)]
    assert rows[2].weights[0]["model"] == "bigram"
    assert rows[2].valid_perplexity <= min(row.valid_perplexity for row in rows[:2]) * 1.001
    assert rows[2].settings["how"] == "log-linear"


def test_what_an_unknown_word_costs_is_in_every_line(text, tmp_path):
    test = tmp_path / "unknown.txt"
    test.write_text("the zzz sat\n")
    task = model_specs.Task(text, text, str(test), unrolled.TextOptions(), 1, 1, unknown=50)
    specs = [spec for spec in model_specs.MODELS if spec.name in ("5-gram", "5-gram + cache")]
    for spec in specs:
        row = compare.measure(spec, task, tmp_path, print)
        assert "| oov 1 each as 1 of 50 words |" in row.line
        model = unrolled.load(tmp_path / model_specs.file_name(row.name))
        expected = unrolled.evaluate(model, str(test), unknown=50).perplexity
        assert row.test_perplexity == pytest.approx(expected)
    with pytest.raises(unrolled.SettingError, match="unknown is 'most', allowed are class"):
        compare_models(text, text, text, unknown="most")


def test_rows_keep_the_surprisal_of_the_shown_sentences(text, tmp_path):
    result = compare_models(text, text, text, output=tmp_path, only=["bigram", "unigram"])
    assert result.sentences[0] == "the cat sat on the mat and the dog ran"
    assert len(result.sentences) == 5
    for row in result.rows:
        model = unrolled.load(tmp_path / model_specs.file_name(row.name))
        for sentence, tokens in zip(result.sentences, row.surprisals, strict=True):
            assert [token["word"] for token in tokens] == [*sentence.split(), "</s>"]
            bits = sum(token["bits"] for token in tokens)
            assert bits == pytest.approx(-model.score(sentence) / 0.6931471805599453, rel=1e-5)
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["rows"][1]["surprisals"] == result.rows[1].surprisals


def test_sentences_that_fit_a_screen_come_first_where_there_are_enough(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("short one\n" + "\n".join(f"{n} b c d e f g h" for n in range(9)) + "\n")
    task = model_specs.Task(
        "", "", str(path), unrolled.TextOptions(lower=True, tokens="char"), 1, 1
    )
    assert compare.shown_sentences(task, 2) == ["0 b c d e f g h", "1 b c d e f g h"]
    path.write_text("\nOne Two\nthree\n")
    assert compare.shown_sentences(task) == ["One Two", "three"]


def test_finished_models_are_not_trained_again(text, tmp_path):
    def compared(order: int):
        some = [model_specs.ngram_spec("a", 1), model_specs.ngram_spec("b", order)]
        some.append(model_specs.mixture_spec("both", "a", "b"))
        finished = FinishedRuns(tmp_path / "parts", [text])
        said = []
        result = compare_models(
            text, text, text, output=tmp_path, models=some, finished=finished, report=said.append
        )
        return result, [line for line in said if line.startswith("[")], said.count(BEFORE)

    first, begun, before = compared(2)
    assert (len(begun), before) == (3, 0)
    again, begun, before = compared(2)
    assert (len(begun), before) == (3, 3)
    assert again == first
    assert compared(3)[2] == 1  # a mixture is as new as what it is made of
    (tmp_path / model_specs.file_name("a")).unlink()
    assert compared(3)[2] == 2


BEFORE = "  finished earlier"
