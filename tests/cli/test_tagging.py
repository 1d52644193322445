"""``unrolled train tagger``, ``tag`` and ``evaluate``, from a file of two columns to spans."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tagging.small_taggers import sentences, small_tagger
from unrolled.tagging.data.columns import read_columns, write_columns
from unrolled.tagging.data.schemes import convert
from unrolled.tagging.model import Tagger

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tagger") / "names.safetensors"
    small_tagger().save(path)
    return str(path)


def test_train_then_evaluate(run: Run, tmp_path: Path) -> None:
    train, valid, output = (
        tmp_path / "train.txt",
        tmp_path / "valid.txt",
        tmp_path / "m.safetensors",
    )
    write_columns(sentences(60), train)
    write_columns(sentences(20, seed=2), valid)
    code, _, err = run(
        "train", "tagger", train, "--valid", valid, "-o", output, "--hidden", 12,
        "--set", "embedding=12",
        "--epochs", 10, "--rate", 0.02, "--set", "batch=8", "--dropout", "0", "--set", "columns=0",
        "--set", "averaging=0.5", "--set", "pooling=max",
    )  # fmt: skip
    assert code == 0, err
    settings = Tagger.load(output).settings["training"]
    assert settings["averaging"] == 0.5
    code, out, _ = run("evaluate", output, valid)
    assert code == 0
    assert out.startswith("processed ")
    assert "FB1: " in out
    assert "LOC: precision:" in out
    code, out, _ = run("evaluate", output, valid, "--json")
    assert json.loads(out)["f1"] > 0.9


def test_an_interrupted_training_resumes(run: Run, tmp_path: Path) -> None:
    from unrolled.tagging.config import split_settings
    from unrolled.tagging.task import TaggerTask
    from unrolled.training.loop import TrainingLoop

    train, whole, output = (tmp_path / name for name in ("train.txt", "w.safetensors", "m"))
    output = output.with_suffix(".safetensors")
    write_columns(sentences(30), train)
    options = (
        "--hidden", 8, "--set", "embedding=8", "--epochs", 2, "--dropout", "0.1", "--threads", 1
    )  # fmt: skip
    assert run("train", "tagger", train, "-o", whole, *options)[0] == 0
    settings = {"hidden": 8, "embedding": 8, "epochs": 2}
    dropout = {f"dropout_{place}": 0.1 for place in ("input", "layers", "output")}
    configs = split_settings({**settings, **dropout})
    loop = TrainingLoop(TaggerTask(read_columns(train), [], *configs, threads=1))
    loop.enable_checkpoints(tmp_path / "m.safetensors.checkpoint")
    loop.run_epoch()
    loop.end_epoch()
    loop.save()
    code, _, err = run("train", "tagger", train, "-o", output, "--resume", *options)
    assert code == 0, err
    one, other = Tagger.load(whole), Tagger.load(output)
    assert np.array_equal(one.vectors.trained, other.vectors.trained)
    assert len(other.settings["curve"]) == 2
    assert not (tmp_path / "m.safetensors.checkpoint").exists()
    wrong = tmp_path / "state.ckpt"
    wrong.write_text("the cat")
    options = (*options, "--resume", "--set", f"checkpoint={wrong}")
    code, _, err = run("train", "tagger", train, "-o", output, *options)
    assert code == 2
    assert err.startswith(f"unrolled: {wrong}: ")
    assert wrong.read_text() == "the cat"


def test_tag_writes_three_formats(
    run: Run, model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_text("Ann met Bob Miller in Rome.\n\nmet\n", encoding="utf-8")
    code, out, _ = run("tag", model, tmp_path / "in.txt")
    assert code == 0
    assert out.splitlines()[:4] == ["Ann\tB-PER", "met\tO", "Bob\tB-PER", "Miller\tI-PER"]
    code, out, _ = run("tag", model, tmp_path / "in.txt", "--format", "inline")
    assert out.splitlines()[0] == "[PER Ann] met [PER Bob Miller] in [LOC Rome] ."
    code, out, _ = run("tag", model, tmp_path / "in.txt", "--format", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [span["text"] for span in rows[0]["spans"]] == ["Ann", "Bob Miller", "Rome"]
    assert rows[0]["spans"][1]["begin_char"] == 8
    assert all(0 < span["confidence"] <= 1 for span in rows[0]["spans"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Dan met Cleo in Oslo .\n")))
    code, out, _ = run("tag", model, "--input", "words", "--format", "inline", "--batch", 1)
    assert out == "[PER Dan] met [PER Cleo] in [LOC Oslo] .\n"


def test_columns_in_columns_out(run: Run, model: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("Ann\nmet\nBob\n\nBob\nmet\nAnn\n", encoding="utf-8")
    code, out, _ = run("tag", model, tmp_path / "in.txt", "--input", "columns")
    assert code == 0
    assert out == "Ann\tB-PER\nmet\tO\nBob\tB-PER\n\nBob\tB-PER\nmet\tO\nAnn\tB-PER\n\n"


def test_a_tagger_is_described(run: Run, model: str) -> None:
    code, out, _ = run("info", model, "--json", "--verify")
    assert code == 0
    facts = json.loads(out)
    assert "S-PER" in facts["tags"]
    assert facts["words"] > 5
    assert facts["verified"]
    code, out, _ = run("info", model, "--words")
    assert "ann" in out.split()


def test_taggers_are_mixed_and_tag_as_one(run: Run, model: str, tmp_path: Path) -> None:
    other, both = tmp_path / "other.safetensors", tmp_path / "both.safetensors"
    small_tagger(seed=2, hidden=7).save(other)
    code, out, err = run("mix", model, other, "-o", both, "--weights", "0.25 0.75")
    assert code == 0, err
    assert out.splitlines()[1:] == [f"0.2500\t{model}", f"0.7500\t{other}"]
    facts = json.loads(run("info", both, "--json", "--verify")[1])
    assert facts["name"] == "lstm-12-crf + lstm-7-crf"
    assert [part["name"] for part in facts["models"]] == ["lstm-12-crf", "lstm-7-crf"]
    gold = tmp_path / "gold.txt"
    write_columns(sentences(20, seed=5), gold)
    code, out, err = run("evaluate", both, gold, "--json")
    assert code == 0, err
    assert json.loads(out)["f1"] > 0.97
    code, out, _ = run("tag", both, gold, "--input", "columns", "--format", "jsonl")
    expected = Tagger.load(both).tag(sentences(20, seed=5))
    assert [json.loads(line)["tags"] for line in out.splitlines()] == [
        list(tagged.tags) for tagged in expected
    ]
    code, _, err = run("export", both, tmp_path / "both.onnx")
    assert code == 2
    assert "a mixture of taggers" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("score", "MODEL", "FILE"), "score needs a language model, and lstm"),
        (("rank", "MODEL", "a b", "b a"), "crf is a tagger"),
        (("predict", "MODEL", "a"), "crf is a tagger"),
        (("generate", "MODEL"), "crf is a tagger"),
        (("mix", "MODEL", "MODEL", "-o", "m.safetensors", "--weights", "1 1"), "must sum to 1"),
        (("mix", "MODEL", "-o", "m.safetensors"), "two taggers or more, not 1"),
        (("mix", "MODEL", "MODEL", "-o", "m.arpa"), "safetensors"),
        (
            ("mix", "MODEL", "MODEL", "-o", "m.safetensors", "--tune", "FILE", "--cache", "9"),
            "--tune, --cache go with language models, and these are taggers",
        ),
        (("prune", "MODEL", "m.safetensors", "--ngrams", "5"), "prune needs an n-gram model"),
        (("convert", "MODEL", "m.arpa"), "an ARPA file needs an n-gram model"),
        (("gradients", "MODEL", "FILE"), "measuring gradients needs a net"),
        (("tag", "MODEL", "--format", "xml"), "--format is 'xml'"),
        (("tag", "MODEL", "--input", "xml"), "--input is 'xml'"),
        (("tag", "nowhere.safetensors"), "there is no such file"),
        (("train", "tagger", "FILE", "-o", "m.safetensors", "--set", "label_weights=O"), "O=0.6"),
        (("train", "tagger", "FILE", "-o", "m.safetensors", "--task", "cooking"), "task"),
        (
            ("train", "tagger", "FILE", "-o", "m.safetensors", "--set", "cell=tube"),
            "cell is 'tube'",
        ),
        (("train", "tagger", "ONE", "-o", "m.safetensors"), "both in column 0"),
        (("train", "tagger", "FILE", "-o", "m.safetensors", "--device", "tpu"), "device is 'tpu'"),
        (("tag", "MODEL", "FILE", "--device", "tpu"), "the device is 'tpu', allowed are auto, cpu"),
        (("tag", "MODEL", "LATIN"), "LATIN:1: byte 0xe9 at offset 3 is not UTF-8"),
        (("tag", "MODEL", "LATIN", "--encoding", "ascii"), "LATIN:1: the byte 0xe9 is not ascii"),
        (("tag", "MODEL", "LATIN", "--encoding", "wide"), "the encoding 'wide' is unknown"),
        (("evaluate", "MODEL", "EMPTY"), "EMPTY: no sentence was found"),
        (("evaluate", "MODEL", "FILE", "--tag-column", "9"), "FILE:1: there is no column 9"),
    ],
)
def test_errors(
    run: Run, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_columns(sentences(5), tmp_path / "FILE")
    Path("ONE").write_text("a\nb\n", encoding="utf-8")
    Path("LATIN").write_text("Jos\xe9\n", encoding="latin-1")
    Path("EMPTY").write_text("\n")
    code, out, err = run(*[model if word == "MODEL" else word for word in words])
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_text_of_another_encoding(run: Run, model: str, tmp_path: Path) -> None:
    text, table = tmp_path / "text.txt", tmp_path / "table.txt"
    text.write_text("Ann met Jos\xe9 .\r\n", encoding="latin-1", newline="")
    for options, name in (
        (("--encoding", "latin-1"), "Jos\xe9"), (("--invalid", "replace"), "Jos\ufffd")
    ):  # fmt: skip
        code, out, _ = run("tag", model, text, "--input", "words", *options)
        assert code == 0
        assert [line.split("\t")[0] for line in out.splitlines()] == ["Ann", "met", name, ".", ""]
    table.write_text("B-PER,Jos\xe9\nO,met\n", encoding="latin-1")
    code, out, _ = run(
        "evaluate", model, table, "--encoding", "latin-1", "--separator", ",",
        "--word-column", 1, "--tag-column", 0,
    )  # fmt: skip
    assert (code, out.splitlines()[0][:28]) == (0, "processed 2 tokens with 1 ph")


def test_options_of_taggers_are_not_for_language_models(run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a b c\n" * 5)
    model = tmp_path / "m.safetensors"
    assert run("train", "ngram", tmp_path / "t.txt", "-o", model, "--order", 2)[0] == 0
    code, _, err = run("evaluate", model, tmp_path / "t.txt", "--encoding", "latin-1")
    assert code == 2
    assert "--encoding goes with taggers" in err


def test_options_of_language_models_are_not_for_taggers(
    run: Run, model: str, tmp_path: Path
) -> None:
    write_columns(sentences(3), tmp_path / "t.txt")
    code, out, err = run("evaluate", model, tmp_path / "t.txt", "--by", "line", "--lower")
    assert (code, out) == (2, "")
    assert "--by, --lower go with language models, and this is a tagger" in err
    code, out, err = run("tag", model, tmp_path / "t.txt", "--marks", "renew")
    assert (code, out) == (2, "")
    assert "--marks goes with plain text to punctuate" in err


def test_further_columns_are_asked_for_by_name(run: Run, tmp_path: Path) -> None:
    small_tagger(count=10, epochs=1, columns=(0,)).save(tmp_path / "m.safetensors")
    (tmp_path / "t.txt").write_text("Ann ran\n")
    code, _, err = run("tag", tmp_path / "m.safetensors", tmp_path / "t.txt")
    assert code == 2
    assert "as in training: --input columns" in err


def test_confusion_and_errors_are_listed(run: Run, model: str, tmp_path: Path) -> None:
    table = tmp_path / "t.txt"
    table.write_text("%% a note\nAnn B-LOC\nmet O\nBob B-PER\n\nmet B-PER\n")
    options = ("--comment", "%%", "--confusion", "--errors", 9)
    code, out, err = run("evaluate", model, table, *options)
    assert code == 0, err
    scores, confused, errors = out.split("\n\n")
    assert "FB1: " in scores
    assert confused.splitlines() == [
        "gold / predicted  O  LOC  PER",
        "               O  1    0    0",
        "             LOC  0    0    1",
        "             PER  1    0    1",
    ]
    assert errors.splitlines() == [
        "place\terror\tgold\tpredicted\ttext",
        f"{table}:2\tlabel\tLOC\tPER\t[Ann] met Bob",
        f"{table}:6\tmissed\tPER\t\t[met]",
    ]
    numbers = json.loads(run("evaluate", model, table, *options, "--json")[1])
    assert numbers["confusion"] == {
        "labels": ["O", "LOC", "PER"], "counts": [[1, 0, 0], [0, 0, 1], [1, 0, 1]],
    }  # fmt: skip
    assert [row["kind"] for row in numbers["errors"]] == ["label", "missed"]


def test_rows_of_hugging_face_and_bilou_train_and_test(run: Run, tmp_path: Path) -> None:
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    rows, bilou = tmp_path / "rows.jsonl", tmp_path / "bilou.txt"
    given = sentences(20)
    numbers = [[names.index(tag) for tag in sentence.tags] for sentence in given]
    lines = [
        json.dumps({"tokens": sentence.words, "ner_tags": row})
        for sentence, row in zip(given, numbers, strict=True)
    ]
    rows.write_text("\n".join(lines))
    write_columns(
        [replace(one, tags=tuple(convert(one.tags, "BIO", "BILOU B_X"))) for one in given], bilou
    )
    model, small = (
        tmp_path / "m.safetensors",
        ("--hidden", 8, "--set", "embedding=8", "--epochs", 1),
    )
    code, _, err = run("train", "tagger", rows, "-o", model, *small)
    assert (code, "--tag-names" in err) == (2, True)
    code, _, err = run(
        "train", "tagger", rows, "-o", model, *small, "--set", f"tag_names={' '.join(names)}"
    )
    assert code == 0, err
    out = run("evaluate", model, bilou)[1]
    assert out.startswith("processed ")
    assert out == run("evaluate", model, rows, "--tag-names", " ".join(names))[1]
    assert run("train", "tagger", bilou, "-o", model, *small)[0] == 0
    assert Tagger.load(model).tags.output_scheme == "BILOU B_X"
    plain = tmp_path / "plain.txt"
    plain.write_text("Ann NAME\nran O\n\n" * 4)
    code, _, err = run("train", "tagger", plain, "-o", model, *small)
    assert (code, "note: the tags (NAME, ...) are of no known scheme" in err) == (0, True)
    assert "plain labels, no spans" in run("evaluate", model, plain)[1]
