"""Documents in memory: the same fields as in files, row by row and in real `datasets`."""

from __future__ import annotations

import json
import warnings

import pytest

import unrolled
from unrolled import Annotation, BatchAnnotator, SettingError, TextError, annotate, annotate_file

ROWS = [
    {"id": 1, "text": "the cat sat"},
    {"id": 2, "text": "The Dog\nsat on the cat\n\nthe mat", "other": None},
    {"text": "", "id": 3},
    {"id": 4, "text": "a zebra </s> and <s> é日\ud800\t \r the"},
] * 20


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"by": "paragraph"},
        {"by": "worst", "keep": "oov / tokens < 0.4"},
        {"names": ["x"], "unknown": "skip"},
        {"options": {"lower": True}},
    ],
)
def test_rows_are_those_of_files(models, write_rows, tmp_path, settings):
    model, output = models["words"], tmp_path / "out.jsonl"
    given = {**settings, "names": tuple(settings["names"])} if "names" in settings else settings
    annotate_file([model], write_rows(ROWS), output, Annotation(**given))
    expected = [json.loads(line) for line in output.read_text().splitlines()]
    found = list(annotate(ROWS, model, batch=7, **settings))
    assert found == expected and list(found[0]) == list(expected[0])
    columns = {name: [row.get(name) for row in ROWS] for name in ("id", "text", "other")}
    new = BatchAnnotator(model.path, **settings)(columns)
    for name in new:
        assert new[name] == [row.get(name) for row in expected]
    if "keep" in settings:
        assert len(new["id"]) < len(ROWS)


def test_skipped_words_are_left_out_of_the_mean(models):
    model, text = models["words"], "the zebra sat\na yak"
    (row,) = annotate([{"text": text}], model, unknown="skip")
    whole = unrolled.evaluate(model, texts=text.split("\n"), unknown="skip")
    assert row["perplexity"] == pytest.approx(whole.perplexity, abs=1e-6)
    assert (row["tokens"], row["oov"]) == (7, 2)


def test_rows_are_read_as_they_are_needed(models):
    read = []

    def endless():
        while True:
            read.append(len(read))
            yield {"text": "the cat"}

    rows = annotate(endless(), models["words"], batch=10)
    assert next(rows)["oov"] == 0
    assert len(read) <= 60
    rows.close()


@pytest.mark.parametrize(
    ("rows", "settings", "error", "problem"),
    [
        ([{"text": "a"}, {"x": 1}], {}, TextError, "row 2: the field 'text' is NoneType, not a"),
        ([{"text": "a", "oov": 1}], {}, SettingError, "the rows have the field 'oov' already"),
        ([], {"keeep": ""}, SettingError, "no setting 'keeep'. Did you mean keep"),
        ([], {"buckets": ["a", "b"]}, SettingError, "the cut-offs of buckets take a first pass"),
    ],
)
def test_what_is_refused(models, rows, settings, error, problem):
    with pytest.raises(error, match=problem):
        list(annotate(rows, models["words"], **settings))


def test_no_models():
    with pytest.raises(SettingError, match="no model was given"):
        list(annotate([]))


def test_buckets_of_a_file_of_cutoffs_and_replaced_fields(models, tmp_path):
    (tmp_path / "cuts").write_text('{"low": 7.5}')
    settings = {"buckets": ["low", "high"], "cutoffs": str(tmp_path / "cuts"), "overwrite": True}
    rows = list(annotate([{**row, "oov": "?"} for row in ROWS], models["words"], **settings))
    assert {row["bucket"] for row in rows} == {"low", "high"}
    assert all((row["bucket"] == "low") == (row["perplexity"] < 7.5) for row in rows)
    assert rows[0]["oov"] == 0


def test_a_net(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "text").write_text("the cat sat on the mat\n" * 4)
    small = {"epochs": 1, "batch": 4, "hidden": 8, "classes": 2, "threads": 1}
    net = unrolled.train_net(tmp_path / "text", **small)
    (row,) = annotate([{"text": "the cat\na mat"}], net)
    whole = unrolled.evaluate(net, texts=["the cat"]).log_prob
    whole += unrolled.evaluate(net, texts=["a mat"]).log_prob
    assert row["log_prob"] == pytest.approx(whole, abs=1e-4)


def test_a_sentencepiece_model_travels_with_the_model(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    (tmp_path / "text").write_text("the cat sat on the mat\nthe dog sat\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(tmp_path / "sp"), vocab_size=17,
        minloglevel=2,
    )  # fmt: skip
    pieces = unrolled.TextOptions(tokens=str(tmp_path / "sp.model"))
    model = unrolled.train_ngram(
        tmp_path / "text", order=2, smoothing="witten-bell", options=pieces
    )
    model.save(tmp_path / "m.safetensors")
    (tmp_path / "sp.model").unlink()
    opened = unrolled.load(tmp_path / "m.safetensors")
    (row,) = annotate([{"text": "the cat\nthe dog"}], opened)
    assert row["tokens"] == opened.token_scores(["the cat", "the dog"]).ids.size - 2 > 8
    assert row["log_prob"] == pytest.approx(sum(opened.scores(["the cat", "the dog"])), abs=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_real_datasets(models, tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    rows = [{"id": row["id"], "text": row["text"].replace("\ud800", "")} for row in ROWS]
    expected = list(annotate(rows, models["words"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = datasets.Dataset.from_list(rows)
        once = data.map(BatchAnnotator(models["words"]), batched=True, batch_size=7)
        assert once.to_list() == expected
        twice = data.map(BatchAnnotator(models["words"].path), batched=True, num_proc=2)
        assert twice.to_list() == expected
        kept = data.map(BatchAnnotator(models["words"], keep="oov == 0"), batched=True)
        assert kept.to_list() == [row for row in expected if row["oov"] == 0]
        lists = data.map(BatchAnnotator(models["words"], by="paragraph"), batched=True)
        assert [len(row["oov"]) for row in lists] == [row["text"].count("\n") + 1 for row in rows]
        stream = data.to_iterable_dataset().map(BatchAnnotator(models["words"]), batched=True)
        assert list(stream) == expected
